//! What stands in the place of a state that could not be read: as long a pause as any limit reaches back, never a clean slate.

use crate::config::Config;
use crate::throttle::policy::{LONGEST, Ms, millis};
use crate::throttle::state::{FleetState, Hold, QuotaLog, Rest, RestKind, ScopeState, SessionState, Span};

/// A scope whose past was lost.
pub(super) fn scope(config: &Config, now: Ms) -> ScopeState {
    let end = now.saturating_add(millis(config.policy.unknown_past()));
    let mut scope = ScopeState::default();
    scope.stop.cooldown = Some(Span::new(now, end));
    // What others count is not known.
    scope.quota.keep = millis(LONGEST);
    scope.stop.attempts_keep = millis(LONGEST);
    scope
}

/// A session whose past was lost: it may have said that it is done.
pub(super) fn session(config: &Config, now: Ms) -> SessionState {
    let until = Some(now.saturating_add(millis(config.policy.unknown_past())));
    let rest = Rest { kind: RestKind::Rest, since: now, until, topic: String::new(), id: 0 };
    SessionState { rest: Some(rest), ..SessionState::default() }
}

/// A fleet whose past was lost.
pub(super) fn fleet(config: &Config, now: Ms) -> FleetState {
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
