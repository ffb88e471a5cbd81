//! The errors of the API: cooldowns, the limits of the key, and the holds of errors that only a person mends.

use std::time::Duration;

use crate::policy::documents::{FleetState, ScopeState};
use crate::policy::fact::Span;
use crate::policy::hold::Hold;
use crate::policy::limits::{Backoff, MOST_STRIKES, Ms, millis};
use crate::policy::request::{Event, Failure, FailureClass, Reset, RunPart, Step};

/// The name on the holds of API errors; a successful turn lifts these holds and no others.
pub const BY_API: &str = "api";

/// The furthest reset time that is believed.
const FURTHEST_RESET: Duration = Duration::from_secs(7 * 86_400);

/// The first hold of API errors; each further one doubles, up to [`LONGEST_API_HOLD`].
const FIRST_API_HOLD: Duration = Duration::from_secs(30 * 60);

const LONGEST_API_HOLD: Duration = Duration::from_secs(4 * 3600);

/// The number of `invalid_request` and `max_output_tokens` errors in a row that only lengthen the cooldown.
const PASSING_IN_A_ROW: u32 = 3;

/// Applies a successful turn or an error with a reset time to the limits of the fleet's key, already rebased to `now`.
pub(crate) fn on_key(fleet: &mut FleetState, api_error: &Backoff, ask: &Step, now: Ms) {
    match &ask.event {
        _ if ask.shows_answer() => {
            let model = ask.turn.as_deref().filter(|turn| turn.seen).map_or("", |turn| &turn.model);
            fleet.answer(model, now.saturating_sub(ask.age().map_or(0, millis)), now);
        }
        Event::StopFailure(failure) | Event::Run { part: RunPart::Failure(failure), .. } if failure.of_key => {
            if let Some(len) = reset_in(failure, api_error, now) {
                fleet.meet(&failure.model, Span::new(now, now.saturating_add(len)));
            }
        }
        _ => {}
    }
}

/// Returns how long the API error lasts by the API's own answer, as far as that is believed.
fn reset_in(failure: &Failure, api_error: &Backoff, now: Ms) -> Option<Ms> {
    let len = match failure.reset? {
        Reset::At(at) => at.saturating_sub(now),
        Reset::After(after) => millis(after),
    };
    Some(len.min(millis(FURTHEST_RESET)).max(millis(api_error.base)))
}

/// Books an API error.
///
/// A turn that a person began counts no strike and lengthens nothing by itself, because the person retries and not the
/// agent. An end that the API gives is a fact in both cases.
pub(crate) fn fail(
    scope: &mut ScopeState,
    fleet: &FleetState,
    api_error: &Backoff,
    failure: &Failure,
    by_person: bool,
    now: Ms,
) {
    // A reset time that was disproved hides no later error.
    if fleet.disproves(scope) {
        (scope.api, scope.api_of_key) = (None, false);
        scope.api_model.clear();
    }
    if failure.too_long
        && let Some(cooldown) = &mut scope.compact.cooldown
    {
        cooldown.end = cooldown.end.min(now);
    }
    if !by_person {
        scope.api_row = match failure.class {
            FailureClass::Request => scope.api_row.saturating_add(1).min(MOST_STRIKES),
            _ => 0,
        };
    }
    if failure.class == FailureClass::Person || (!by_person && scope.api_row > PASSING_IN_A_ROW) {
        return hold(scope, &failure.cure, by_person, now);
    }
    if !by_person {
        scope.api_strikes = scope.api_strikes.saturating_add(1).min(MOST_STRIKES);
    }
    let reset = reset_in(failure, api_error, now);
    let len = match reset {
        Some(len) => len,
        None if by_person && scope.api.is_some_and(|open| open.end > now) => return,
        None => api_error.length(scope.api_strikes),
    };
    let end = now.saturating_add(len);
    // A good answer of another scope may disprove a reset time, and no cooldown beside it.
    let is_of_key = failure.of_key && reset.is_some();
    if scope.api.is_none_or(|open| open.end < end) {
        let replaced = scope.api.filter(|_| is_of_key && !scope.api_of_key);
        scope.api = Some(Span::new(now, end));
        scope.api_of_key = is_of_key;
        scope.api_model.clone_from(&failure.model);
        keep_own(scope, replaced);
    } else if scope.api_of_key && !is_of_key {
        keep_own(scope, Some(Span::new(now, end)));
    }
}

/// Keeps a cooldown without a reset time beside the reset time of the scope.
fn keep_own(scope: &mut ScopeState, own: Option<Span>) {
    let ends = |span: Option<Span>| span.map_or(Ms::MIN, |span| span.end);
    if ends(own) > ends(scope.api_own) {
        scope.api_own = own;
    }
}

fn hold(scope: &mut ScopeState, cure: &str, by_person: bool, now: Ms) {
    let in_force = scope.hold.as_ref().filter(|h| h.holds(now));
    if in_force.is_some_and(|h| h.by != BY_API || by_person) {
        return;
    }
    let booked = in_force.and_then(|h| h.until);
    if !by_person {
        scope.api_holds = scope.api_holds.saturating_add(1).min(MOST_STRIKES);
    }
    let doubling = Backoff { base: FIRST_API_HOLD, factor: 2000, max: LONGEST_API_HOLD };
    let until = now.saturating_add(doubling.length(scope.api_holds));
    scope.hold = Some(Hold {
        reason: cure.to_owned(),
        by: BY_API.to_owned(),
        since: now,
        until: Some(booked.map_or(until, |b| b.max(until))),
        id: 0,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), factor: 2000, max: Duration::from_secs(1) };

    fn failure(reset: Option<Ms>, of_key: bool) -> Failure {
        let (class, reset) = (FailureClass::Passing, reset.map(Reset::At));
        Failure { class, reset, of_key, model: String::new(), too_long: false, cure: String::new() }
    }

    /// Each error comes at 500, while a reset time of the key is open.
    #[test]
    fn an_error_beside_the_cooldown_that_is_open() {
        for (name, open, failure, by_person, expected) in [
            ("a reset time of the scope alone", 400, failure(Some(900), false), false, (500, 900, false)),
            ("a later reset time of the key", 800, failure(Some(900), true), false, (500, 900, true)),
            ("the same reset time", 900, failure(Some(900), true), false, (0, 900, true)),
            ("a person's turn before the end", 501, failure(None, false), true, (0, 501, true)),
            ("a person's turn at the end", 500, failure(None, false), true, (500, 600, false)),
        ] {
            let mut scope = ScopeState { api: Some(Span::new(0, open)), api_of_key: true, ..ScopeState::default() };
            fail(&mut scope, &FleetState::default(), &BACKOFF, &failure, by_person, 500);
            let api = scope.api.unwrap();
            assert_eq!((api.start, api.end, scope.api_of_key), expected, "{name}");
            assert_eq!(scope.api_own, None, "{name}");
        }
    }
}
