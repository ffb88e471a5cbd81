//! Merges the documents of two stores that decided apart from each other.
//!
//! Holds, rests and cooldowns are merged by their identity. A fact that both stores had in common (the base) and that
//! is gone on one side was lifted there. A fact that is new on one side is kept. Of two new facts the longer one is
//! kept. Without a base every fact is new, so the merge is the union of the restrictions. A time of one clock is never
//! compared with a time of the other. A fact moves from one side to the other as an age or as the time that is left.

#[cfg(test)]
mod tests;

use crate::policy::api_error::BY_API;
use crate::policy::documents::{Begun, FleetState, Phase, ScopeState, SessionState};
use crate::policy::fact::{FactId, Span, note_lifted};
use crate::policy::hold::Hold;
use crate::policy::limits::Ms;
use crate::policy::rest::Rest;
use crate::policy::wake_up::add_note;

/// The two clocks, read one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// The clock of the store that the decisions come from.
    pub here: Ms,
    /// The clock of the store that the decisions move to.
    pub there: Ms,
}

impl Clocks {
    /// Converts a past time from the clock of `here` to the clock of `there`.
    #[must_use]
    pub fn ago(self, at: Ms) -> Ms {
        self.there.saturating_sub(self.here.saturating_sub(at).max(0)).max(0)
    }

    /// Converts an end from the clock of `here` to the clock of `there`.
    fn ahead(self, at: Ms) -> Ms {
        self.there.saturating_add(at.saturating_sub(self.here).max(0))
    }

    /// Returns the clocks of a move in the other direction.
    #[must_use]
    pub fn turned(self) -> Self {
        Self { here: self.there, there: self.here }
    }
}

/// A fact that refuses requests until a time, or until it is lifted.
trait Fact: Clone {
    fn id(&self) -> FactId;
    fn since(&self) -> Ms;
    fn end(&self) -> Option<Ms>;
    /// Returns the same fact with another beginning and end.
    fn at(&self, since: Ms, end: Option<Ms>) -> Self;
    /// Returns the rank: of two new facts, the one with the higher rank is kept, however long it lasts.
    fn rank(&self) -> u8 {
        0
    }
    fn lasts(&self, now: Ms) -> bool {
        self.end().is_none_or(|end| end > now)
    }
    fn length(&self) -> Option<Ms> {
        self.end().map(|end| end.saturating_sub(self.since()))
    }
    fn over(&self, clocks: Clocks) -> Self {
        self.at(clocks.ago(self.since()), self.end().map(|end| clocks.ahead(end)))
    }
}

impl Fact for Span {
    fn id(&self) -> FactId {
        self.identity()
    }
    fn since(&self) -> Ms {
        self.start
    }
    fn end(&self) -> Option<Ms> {
        Some(self.end)
    }
    fn at(&self, since: Ms, end: Option<Ms>) -> Self {
        Self { start: since, end: end.unwrap_or(Ms::MAX), id: self.identity() }
    }
}

impl Fact for Hold {
    fn id(&self) -> FactId {
        self.identity()
    }
    fn since(&self) -> Ms {
        self.since
    }
    fn end(&self) -> Option<Ms> {
        self.until
    }
    fn at(&self, since: Ms, until: Option<Ms>) -> Self {
        Self { since, until, id: self.identity(), ..self.clone() }
    }
    /// A successful turn lifts a hold of API errors, and must not lift a person's hold with it.
    fn rank(&self) -> u8 {
        u8::from(self.by != BY_API)
    }
}

impl Fact for Rest {
    fn id(&self) -> FactId {
        self.identity()
    }
    fn since(&self) -> Ms {
        self.since
    }
    fn end(&self) -> Option<Ms> {
        self.until
    }
    fn at(&self, since: Ms, until: Option<Ms>) -> Self {
        Self { since, until, id: self.identity(), ..self.clone() }
    }
}

/// A document as both stores had it in common, where that is known, and as each of them has it now.
struct Sides<'a, T> {
    base: Option<&'a T>,
    here: &'a T,
    there: &'a T,
}

impl<T> Sides<'_, T> {
    /// Returns the merged fact.
    fn fact<F: Fact>(&self, of: fn(&T) -> &Option<F>, lifted: [&[FactId]; 2], clocks: Clocks) -> Option<F> {
        let sides = [self.base, Some(self.here), Some(self.there)];
        let [base, here, there] = sides.map(|side| side.and_then(|s| of(s).as_ref()));
        let [lifted_here, lifted_there] = lifted;
        let is = |fact: &F, other: Option<&F>| other.is_some_and(|other| other.id() == fact.id());
        let mut theirs = there.filter(|f| !lifted_here.contains(&f.id()) && (!is(f, base) || is(f, here))).cloned();
        // The fact was cut short on one side.
        if let Some((fact, own)) = theirs.as_mut().zip(here.filter(|own| there.is_some_and(|f| is(f, Some(own)))))
            && let Some(length) = own.length().filter(|length| fact.length().is_none_or(|longer| longer > *length))
        {
            *fact = fact.at(fact.since(), Some(fact.since().saturating_add(length)));
        }
        let is_new = |f: &&F| !is(f, base) && !is(f, there) && !lifted_there.contains(&f.id());
        let own = here.filter(|f| f.lasts(clocks.here)).filter(is_new).map(|f| f.over(clocks));
        let theirs = theirs.filter(|f| own.is_none() || f.lasts(clocks.there));
        let reach = |f: &F| (f.rank(), f.end().unwrap_or(Ms::MAX));
        match (own, theirs) {
            (Some(own), Some(theirs)) if reach(&own) <= reach(&theirs) => Some(theirs),
            (own, theirs) => own.or(theirs),
        }
    }

    /// Merges a number that counts up and is reset: the changed one, or the larger one where both sides changed it.
    fn number(&self, of: fn(&T) -> u32) -> u32 {
        let (base, here, there) = (self.base.map(of), of(self.here), of(self.there));
        match base {
            Some(base) if base == here => there,
            Some(base) if base == there => here,
            _ => here.max(there),
        }
    }

    /// Returns when something was last lifted, by the clock of `there`.
    fn lifted_at(&self, of: fn(&T) -> Option<Ms>, clocks: Clocks) -> Option<Ms> {
        let own = of(self.here).filter(|at| *at <= clocks.here && self.base.and_then(of) != Some(*at));
        of(self.there).max(own.map(|at| clocks.ago(at)))
    }
}

/// Drops a hold kept for a store that lost its data, if the store received a release since.
///
/// Such a release lifted a hold that the store no longer knew.
pub fn heed_release(hold: &mut Option<Hold>, kept: Option<&Hold>, released: Option<Ms>, clocks: Clocks) {
    let is_kept = |own: &Hold| kept.is_some_and(|kept| kept.identity() == own.identity());
    *hold = hold.take().filter(|own| !is_kept(own) || released.is_none_or(|at| at < clocks.ago(own.since)));
}

fn lifted_by_either(here: &[FactId], there: &[FactId]) -> Vec<FactId> {
    let mut all = there.to_vec();
    here.iter().for_each(|id| note_lifted(&mut all, *id));
    all
}

/// Merges a scope. The counted facts move separately.
#[must_use]
pub fn scope(base: Option<&ScopeState>, here: &ScopeState, there: &ScopeState, clocks: Clocks) -> ScopeState {
    let sides = Sides { base, here, there };
    let lifted = [here.lifted.as_slice(), there.lifted.as_slice()];
    let mut merged = there.clone();
    merged.hold = sides.fact(|s| &s.hold, lifted, clocks);
    merged.lifted = lifted_by_either(&here.lifted, &there.lifted);
    merged.released = sides.lifted_at(|s| s.released, clocks);
    merged.stop.cooldown = sides.fact(|s| &s.stop.cooldown, [&[]; 2], clocks);
    merged.stop.strikes = sides.number(|s| s.stop.strikes);
    merged.stop.attempts_keep = here.stop.attempts_keep.max(there.stop.attempts_keep);
    merged.compact.cooldown = sides.fact(|s| &s.compact.cooldown, [&[]; 2], clocks);
    merged.compact.strikes = sides.number(|s| s.compact.strikes);
    merged.api = sides.fact(|s| &s.api, [&[]; 2], clocks);
    merged.api_own = sides.fact(|s| &s.api_own, [&[]; 2], clocks);
    if merged.api.map(|api| api.identity()) != there.api.map(|api| api.identity()) {
        // Whether a successful turn disproves the cooldown depends on times of both clocks, so it lasts until its end.
        merged.api_of_key = false;
        merged.api_model.clear();
    }
    merged.api_strikes = sides.number(|s| s.api_strikes);
    merged.api_row = sides.number(|s| s.api_row);
    merged.api_holds = sides.number(|s| s.api_holds);
    merged.quota.keep = here.quota.keep.max(there.quota.keep);
    merged
}

/// Merges a fleet's hold and its release.
#[must_use]
pub fn fleet(base: Option<&FleetState>, here: &FleetState, there: &FleetState, clocks: Clocks) -> FleetState {
    let sides = Sides { base, here, there };
    let mut merged = there.clone();
    merged.hold = sides.fact(|s| &s.hold, [&here.lifted, &there.lifted], clocks);
    merged.lifted = lifted_by_either(&here.lifted, &there.lifted);
    merged.released = sides.lifted_at(|s| s.released, clocks);
    let id = |state: &FleetState| state.hold.as_ref().map(Hold::identity);
    if id(&merged) != id(there) && id(&merged) == id(here) {
        merged.hold_at_once = here.hold_at_once;
    }
    merged
}

/// Merges a session: the side where its fence was raised last wins, except for the rest, the wake-up and its notes.
#[must_use]
pub fn session(base: Option<&SessionState>, here: &SessionState, there: &SessionState, clocks: Clocks) -> SessionState {
    let sides = Sides { base, here, there };
    let mut merged = match newer(base, here, there, clocks) {
        Newer::There => there.clone(),
        Newer::Same => same_turn(here, there, clocks),
        Newer::Here(fence) => SessionState { fence, ..moved(here, there, clocks) },
    };
    merged.rest = sides.fact(|s| &s.rest, [&here.lifted, &there.lifted], clocks);
    merged.lifted = lifted_by_either(&here.lifted, &there.lifted);
    // The queue itself is on one side alone, and it knows which claims are valid.
    merged.work = match base {
        Some(base) if base.work == here.work => there.work.clone(),
        Some(_) => here.work.clone(),
        None => here.work.clone().or_else(|| there.work.clone()),
    };
    let wakes = |side: &SessionState| (side.woken, side.note.clone(), side.note_depth);
    (merged.woken, merged.note, merged.note_depth) = match base.map(wakes) {
        Some(base) if base == wakes(here) => wakes(there),
        Some(base) if base == wakes(there) => wakes(here),
        _ => {
            let depth = here.note_depth.max(there.note_depth);
            (here.woken || there.woken, notes(&there.note, &here.note), depth)
        }
    };
    merged
}

/// Joins both notes; a note that `there` already contains is not added again.
fn notes(there: &str, here: &str) -> String {
    let mut all = there.to_owned();
    if !format!("\n{there}\n").contains(&format!("\n{here}\n")) {
        add_note(&mut all, here);
    }
    all
}

/// The side on which a session's fence was raised last.
enum Newer {
    There,
    /// Both sides know the session by the same turn.
    Same,
    /// This side, with the fence of the session from now on.
    Here(Option<i64>),
}

fn newer(base: Option<&SessionState>, here: &SessionState, there: &SessionState, clocks: Clocks) -> Newer {
    let (Some(own), Some(other)) = (here.fence, there.fence) else {
        return if here.fence.is_some() || there.seen == 0 { Newer::Here(here.fence) } else { Newer::There };
    };
    if own == other {
        return Newer::Same;
    }
    let raised = |fence: i64| base.is_none_or(|base| base.fence != Some(fence));
    if own > other && raised(own) {
        return Newer::Here(Some(own));
    }
    if !raised(own) {
        return Newer::There;
    }
    // The two fences were counted apart from each other, so the larger one need not be the newer one.
    let (Some(begun), Some(begun_there)) = (&here.begun, &there.begun) else { return Newer::There };
    let is_same = !begun.id.is_empty() && begun.id == begun_there.id;
    match (is_same, clocks.ago(begun.at) >= begun_there.at || !raised(other)) {
        (true, _) => Newer::Here(Some(other)),
        (false, true) => Newer::Here(Some(other.saturating_add(1))),
        (false, false) => Newer::There,
    }
}

/// Returns the session of `here` by the clock of `there`; unknown fields are taken from `there`.
fn moved(here: &SessionState, there: &SessionState, clocks: Clocks) -> SessionState {
    let known = |own: &String, other: &String| if own.is_empty() { other.clone() } else { own.clone() };
    let begun = here.begun.as_ref().map(|begun| Begun { at: clocks.ago(begun.at), id: begun.id.clone() });
    SessionState {
        scope: known(&here.scope, &there.scope),
        name: known(&here.name, &there.name),
        named_by_project: if here.name.is_empty() { there.named_by_project } else { here.named_by_project },
        label: known(&here.label, &there.label),
        project: known(&here.project, &there.project),
        begun: begun.or_else(|| there.begun.clone()),
        // The store that frees the sessions gives the slots.
        slot: here.slot.map(|_| 0),
        admitted: None,
        seen: clocks.ago(here.seen),
        ..here.clone()
    }
}

/// Merges a session of one turn that both stores know.
fn same_turn(here: &SessionState, there: &SessionState, clocks: Clocks) -> SessionState {
    SessionState {
        count: here.count.max(there.count),
        gate: here.gate || there.gate,
        started: here.started || there.started,
        failures: here.failures.max(there.failures),
        phase: if here.phase == Phase::Open { there.phase } else { here.phase },
        pid: here.pid.or(there.pid),
        client: here.client.or(there.client),
        seen: clocks.ago(here.seen).max(there.seen),
        ..there.clone()
    }
}
