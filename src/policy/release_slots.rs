//! Release slots: sessions that one event frees together continue one after the other, and not at once.

use crate::policy::documents::{FleetState, SessionState};
use crate::policy::fact::Span;
use crate::policy::limits::{Ms, Spread, millis};
use crate::policy::request::R_RANGE;

/// A session that waited longer than this has lost its prompt cache, so its next request costs more.
const COLD_AFTER: Ms = 5 * 60_000;

/// The value of `slot` for a session that needs a slot and has none yet.
const NONE_YET: Ms = 0;

/// Marks a session that waits for an event that frees many sessions at once.
pub(crate) fn mark(session: &mut SessionState) {
    session.slot = Some(NONE_YET);
}

/// Clears the mark and the slot: a new Stop event, a prompt, the session's end or a wake-up begins anew.
pub(crate) fn clear(session: &mut SessionState) {
    session.slot = None;
}

/// Returns how long until a freed session's slot; `None` when it may continue, or was not freed with others.
///
/// The first request is admitted at once. Each later slot is a step after the one before it, and up to 40 % of a step
/// later by chance. A gap of 70 % of a step holds, however late the machines are.
pub(crate) fn left(fleet: &mut FleetState, session: &mut SessionState, spread: Spread, r: u32, now: Ms) -> Option<Ms> {
    let slot = session.slot?;
    let begun = session.begun.as_ref().map(|begun| begun.at);
    if begun.zip(fleet.at_once).is_some_and(|(begun, at)| begun <= at) {
        return None;
    }
    let is_cold = begun.is_some_and(|begun| now.saturating_sub(begun) > COLD_AFTER);
    let step = millis(if is_cold { spread.cold } else { spread.step });
    let next = fleet.slots.filter(|slots| slots.start <= now).map_or(now, |slots| slots.end.max(now));
    // A slot beyond the next one was given by a clock that was ahead.
    let slot = if slot == NONE_YET || slot > next {
        let chance = (step * 2 / 5) * Ms::from(r.min(R_RANGE - 1)) / Ms::from(R_RANGE);
        fleet.slots = Some(Span::new(now, next.saturating_add(step)));
        if next > now { next.saturating_add(chance) } else { now }
    } else {
        slot
    };
    session.slot = Some(slot);
    if slot > now {
        return Some(slot.saturating_sub(now));
    }
    let opens = fleet.freed_at.filter(|at| *at <= now).map(|at| at.saturating_add(step * 7 / 10));
    opens.map(|opens| opens.saturating_sub(now)).filter(|left| *left > 0)
}

/// Clears the slot of a freed session that continues.
pub(crate) fn taken(fleet: &mut FleetState, session: &mut SessionState, now: Ms) {
    if session.slot.take().is_some() {
        fleet.freed_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::documents::Begun;

    const NOW: Ms = 1_000_000;
    const SPREAD: Spread = Spread { step: Duration::from_millis(1000), cold: Duration::from_millis(4000) };

    fn freed(slot: Option<Ms>, begun: Option<Ms>) -> SessionState {
        let begun = begun.map(|at| Begun { at, id: String::new() });
        SessionState { slot, begun, ..SessionState::default() }
    }

    #[test]
    fn a_freed_session_waits_for_its_slot() {
        let slots = |start, end| Some(Span::new(NOW + start, NOW + end));
        let none = FleetState::default;
        let at_once = || FleetState { at_once: Some(NOW - 50), slots: slots(-1, 900), ..none() };
        let given = |slots| FleetState { slots, ..none() };
        let last = |ago: Ms| FleetState { freed_at: Some(NOW - ago), slots: slots(-2000, 0), ..none() };
        let cold = NOW - COLD_AFTER;
        for (name, fleet, slot, begun, r, left, slot_after) in [
            ("it was not freed", given(slots(-1, 900)), None, None, 0, None, None),
            ("the first", none(), Some(NONE_YET), None, 500_000, None, Some(0)),
            ("the next", given(slots(-1, 900)), Some(NONE_YET), None, 0, Some(900), Some(900)),
            ("by chance", given(slots(-1, 900)), Some(NONE_YET), None, 500_000, Some(1100), Some(1100)),
            ("at most", given(slots(-1, 900)), Some(NONE_YET), None, R_RANGE, Some(1299), Some(1299)),
            ("a cold cache", given(slots(-1, 900)), Some(NONE_YET), Some(cold - 1), 500_000, Some(1700), Some(1700)),
            ("a warm cache", given(slots(-1, 900)), Some(NONE_YET), Some(cold), 500_000, Some(1100), Some(1100)),
            ("slots of the future", given(slots(1, 900)), Some(NONE_YET), None, 500_000, None, Some(0)),
            ("slots that are over", given(slots(-9, -5)), Some(NONE_YET), None, 500_000, None, Some(0)),
            ("released at once", at_once(), Some(NONE_YET), Some(NOW - 50), 0, None, Some(-NOW)),
            ("stopped since", at_once(), Some(NONE_YET), Some(NOW - 49), 0, Some(900), Some(900)),
            ("its slot comes", given(slots(-1, 900)), Some(NOW + 300), None, 0, Some(300), Some(300)),
            ("a slot that is too late", given(slots(-1, 900)), Some(NOW + 901), None, 0, Some(900), Some(900)),
            ("the last is too near", last(699), Some(NOW), None, 0, Some(1), Some(0)),
            ("the last is far enough", last(700), Some(NOW), None, 0, None, Some(0)),
            ("the last is of the future", last(-1), Some(NOW), None, 0, None, Some(0)),
        ] {
            let (mut fleet, mut session) = (fleet, freed(slot, begun));
            assert_eq!(super::left(&mut fleet, &mut session, SPREAD, r, NOW), left, "{name}");
            assert_eq!(session.slot, slot_after.map(|after| NOW + after), "{name}");
        }
    }

    #[test]
    fn a_slot_moves_the_next_one_by_a_step() {
        let mut fleet = FleetState::default();
        let ends: Vec<Ms> = (0..3)
            .map(|_| {
                left(&mut fleet, &mut freed(Some(NONE_YET), None), SPREAD, 0, NOW);
                fleet.slots.unwrap().end - NOW
            })
            .collect();
        assert_eq!(ends, [1000, 2000, 3000]);
        for (slot, freed_at) in [(None, None), (Some(NOW), Some(NOW + 5))] {
            let (mut fleet, mut session) = (FleetState::default(), freed(slot, None));
            taken(&mut fleet, &mut session, NOW + 5);
            assert_eq!((fleet.freed_at, session.slot), (freed_at, None));
        }
    }
}
