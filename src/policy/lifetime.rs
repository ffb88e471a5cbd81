//! The lifetime of stored state: longer than every fact in it, so that deletion never lifts a limit.

use std::time::Duration;

use crate::policy::documents::{ScopeState, SessionState};
use crate::policy::hold::Hold;
use crate::policy::limits::{LONGEST, Ms, millis};

/// A session is deleted after it was not seen for this long.
pub const SESSION: Duration = Duration::from_secs(30 * 86_400);

/// How long a scope outlives its furthest end: the longest limit of any request, and seven days of a release.
pub const SCOPE: Duration = LONGEST.saturating_add(Duration::from_secs(8 * 86_400));

/// Returns how long a scope is kept from `now` on; `None` where a hold has no end.
#[must_use]
pub fn scope_lifetime(scope: &ScopeState, now: Ms) -> Option<Ms> {
    let hold = match &scope.hold {
        Some(Hold { until: None, .. }) => return None,
        Some(Hold { until, .. }) => *until,
        None => None,
    };
    let cooldowns =
        [scope.stop.cooldown, scope.compact.cooldown, scope.api, scope.api_own].map(|span| span.map(|s| s.end));
    let furthest = cooldowns.into_iter().chain([hold]).flatten().max().unwrap_or(now).max(now);
    Some(millis(SCOPE).saturating_add(furthest.saturating_sub(now)))
}

/// Returns how long a session is kept from `now` on.
#[must_use]
pub fn session_lifetime(session: &SessionState, now: Ms) -> Ms {
    let rest = session.rest.as_ref().and_then(|rest| rest.until).unwrap_or(now);
    millis(SESSION).saturating_add(rest.saturating_sub(now).max(0))
}
