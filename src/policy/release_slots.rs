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
