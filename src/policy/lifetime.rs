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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fact::Span;
    use crate::policy::rest::{Rest, RestKind};

    #[test]
    fn what_is_kept_outlives_its_last_fact() {
        let (now, scope) = (100_000, millis(SCOPE));
        let hold = |until| Some(Hold { reason: String::new(), by: String::new(), since: 0, until, id: 0 });
        let cooled = |end| ScopeState { api_own: Some(Span::new(0, end)), ..ScopeState::default() };
        for (state, expected) in [
            (ScopeState::default(), Some(scope)),
            (ScopeState { hold: hold(None), ..cooled(now + 5) }, None),
            (ScopeState { hold: hold(Some(now + 7)), ..cooled(now + 5) }, Some(scope + 7)),
            (ScopeState { hold: hold(Some(now - 7)), ..cooled(now + 5) }, Some(scope + 5)),
            (cooled(now - 5), Some(scope)),
        ] {
            assert_eq!(scope_lifetime(&state, now), expected, "{state:?}");
        }
        for (until, longer) in [(None, 0), (Some(now + 9), 9), (Some(now - 9), 0)] {
            let rest = Rest { kind: RestKind::Rest, since: 0, until, topic: String::new(), id: 0 };
            let session = SessionState { rest: Some(rest), ..SessionState::default() };
            assert_eq!(session_lifetime(&session, now), millis(SESSION) + longer, "{until:?}");
        }
    }
}
