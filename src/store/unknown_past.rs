//! The replacements of a state that could not be read: a pause as long as any limit reaches back, never a clean slate.

use crate::config::Config;
use crate::policy::documents::{FleetState, QuotaLog, ScopeState, SessionState};
use crate::policy::fact::Span;
use crate::policy::hold::Hold;
use crate::policy::limits::{LONGEST, Ms, millis};
use crate::policy::rest::{Rest, RestKind};

/// Returns the state of a scope with a lost past.
pub(crate) fn scope(config: &Config, now: Ms) -> ScopeState {
    let end = now.saturating_add(millis(config.policy.unknown_past()));
    let mut scope = ScopeState::default();
    scope.stop.cooldown = Some(Span::new(now, end));
    // The counts of other requests are not known.
    scope.quota.keep = millis(LONGEST);
    scope.stop.attempts_keep = millis(LONGEST);
    scope
}

/// Returns the state of a session with a lost past, in which its agent may have reported that it is done.
pub(crate) fn session(config: &Config, now: Ms) -> SessionState {
    let until = Some(now.saturating_add(millis(config.policy.unknown_past())));
    let rest = Rest { kind: RestKind::Rest, since: now, until, topic: String::new(), id: 0 };
    SessionState { rest: Some(rest), ..SessionState::default() }
}

/// Returns the state of a fleet with a lost past.
pub(crate) fn fleet(config: &Config, now: Ms) -> FleetState {
    let hold = Hold {
        reason: "the fleet's state could not be read and was set aside".to_owned(),
        by: "frosty".to_owned(),
        since: now,
        until: Some(now.saturating_add(millis(config.policy.unknown_past()))),
        id: 0,
    };
    let quota = QuotaLog { keep: millis(LONGEST), ..QuotaLog::default() };
    FleetState { hold: Some(hold), quota, ..FleetState::default() }
}
