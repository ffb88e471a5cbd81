//! What an event does before anything is decided: to the session (fence, rest, registration) and to the scope (API
//! errors).

use std::time::Duration;

use super::policy::{Backoff, MOST_STRIKES, Ms, millis};
use super::state::{Hold, Rest, RestKind, ScopeState, SessionState, Span};
use super::step::{Event, Failure, FailureClass, Reset, RestRequest, Step};

/// Who opens the holds of API errors; a good stop lifts these and no others.
pub const BY_API: &str = "api";

/// No fence is larger: it stays a whole number of at most fifteen digits in every store.
pub const HIGHEST_FENCE: i64 = 999_999_999_999_999;

/// A reset time further away than this is not believed.
const FURTHEST_RESET: Duration = Duration::from_secs(7 * 86_400);
/// The first hold of API errors; each further one doubles, up to [`LONGEST_API_HOLD`].
const FIRST_API_HOLD: Duration = Duration::from_secs(30 * 60);
const LONGEST_API_HOLD: Duration = Duration::from_secs(4 * 3600);
/// `invalid_request` and `max_output_tokens` in a row that only lengthen the cooldown.
const PASSING_IN_A_ROW: u32 = 3;

/// Whether an ask that holds `fence` is still the session's own; then the session remembers it.
pub(super) fn keeps_fence(session: &mut SessionState, fence: i64) -> bool {
    match stored(session) {
        Some(newer) if newer > fence => false,
        _ => {
            session.fence = Some(fence.clamp(0, HIGHEST_FENCE));
            true
        }
    }
}

fn stored(session: &SessionState) -> Option<i64> {
    session.fence.filter(|f| (0..=HIGHEST_FENCE).contains(f))
}

/// The event's effects on its session.
pub(super) fn on_session(session: &mut SessionState, ask: &Step, now: Ms) {
    if ask.event.raises_fence() {
        let next = stored(session).map_or(0, |f| f + 1);
        session.fence = Some(next.max(ask.host_ms).clamp(0, HIGHEST_FENCE));
    }
    if let Some(rest) = &mut session.rest {
        rest.rebase(now);
    }
    match &ask.event {
        Event::Stop { rest: Some(rest) } => book(session, rest, now),
        Event::PersonPrompt | Event::SessionEnd => session.rest = None,
        Event::ClientPrompt => session.rest = session.rest.take().filter(|r| r.kind != RestKind::Parked),
        Event::SessionStart { name, label } => {
            session.name.clone_from(name);
            session.label.clone_from(label);
        }
        _ => {}
    }
    match ask.event {
        Event::Ask { .. } => {}
        Event::NeedsYou => session.needs_you = true,
        _ => session.needs_you = false,
    }
    session.scope.clone_from(&ask.scope);
    session.host.clone_from(&ask.host);
    session.seen = now;
}

fn book(session: &mut SessionState, rest: &RestRequest, now: Ms) {
    // What the agent itself said stands against the client's own tasks.
    let says_otherwise = |r: &Rest| r.kind != RestKind::Parked && r.lasts(now);
    if rest.kind == RestKind::Parked && session.rest.as_ref().is_some_and(says_otherwise) {
        return;
    }
    session.rest = Some(Rest {
        kind: rest.kind,
        since: now,
        until: rest.lasting.map(|d| now.saturating_add(millis(d))),
        topic: rest.topic.clone(),
    });
}

/// The event's effects on its scope, which is already rebased to `now`.
pub(super) fn on_scope(scope: &mut ScopeState, api_error: &Backoff, event: &Event, now: Ms) {
    match event {
        Event::Stop { .. } => {
            scope.api_strikes = 0;
            scope.api_row = 0;
            scope.api_holds = 0;
            if scope.hold.as_ref().is_some_and(|h| h.by == BY_API) {
                scope.hold = None;
                scope.released = Some(now);
            }
        }
        Event::StopFailure(failure) => fail(scope, api_error, failure, now),
        _ => {}
    }
}

fn fail(scope: &mut ScopeState, api_error: &Backoff, failure: &Failure, now: Ms) {
    if failure.too_long
        && let Some(cooldown) = &mut scope.compact.cooldown
    {
        cooldown.end = cooldown.end.min(now);
    }
    scope.api_row = match failure.class {
        FailureClass::Request => scope.api_row.saturating_add(1).min(MOST_STRIKES),
        _ => 0,
    };
    if failure.class == FailureClass::Person || scope.api_row > PASSING_IN_A_ROW {
        return hold(scope, &failure.cure, now);
    }
    scope.api_strikes = scope.api_strikes.saturating_add(1).min(MOST_STRIKES);
    let len = match failure.reset {
        Some(Reset::At(at)) => believed(at.saturating_sub(now), api_error),
        Some(Reset::After(after)) => believed(millis(after), api_error),
        None => api_error.length(scope.api_strikes),
    };
    let end = now.saturating_add(len);
    if scope.api.is_none_or(|open| open.end < end) {
        scope.api = Some(Span { start: now, end });
    }
}

fn believed(len: Ms, api_error: &Backoff) -> Ms {
    len.min(millis(FURTHEST_RESET)).max(millis(api_error.base))
}

fn hold(scope: &mut ScopeState, cure: &str, now: Ms) {
    let in_force = scope.hold.as_ref().filter(|h| h.holds(now));
    if in_force.is_some_and(|h| h.by != BY_API) {
        return;
    }
    let booked = in_force.and_then(|h| h.until);
    scope.api_holds = scope.api_holds.saturating_add(1).min(MOST_STRIKES);
    let doubling = Backoff { base: FIRST_API_HOLD, factor: 2000, max: LONGEST_API_HOLD };
    let until = now.saturating_add(doubling.length(scope.api_holds));
    scope.hold = Some(Hold {
        reason: cure.to_owned(),
        by: BY_API.to_owned(),
        since: now,
        until: Some(booked.map_or(until, |b| b.max(until))),
    });
}
