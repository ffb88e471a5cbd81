//! The ids of a step's facts: those that it begins get one, and those that it ends are noted.

use crate::policy::decision::State;
use crate::policy::fact::{FactId, fact_id, note_lifted};
use crate::policy::hold::Hold;
use crate::policy::limits::Ms;
use crate::policy::rest::Rest;

/// The ids of the facts that a step may begin, lift or replace, as they were before the step.
pub(crate) struct FactIds {
    scope_hold: Option<FactId>,
    fleet_hold: Option<FactId>,
    rest: Option<FactId>,
    spans: [Option<FactId>; 4],
}

impl FactIds {
    pub(crate) fn of(state: &State) -> Self {
        let scope = &state.scope;
        Self {
            scope_hold: scope.hold.as_ref().map(Hold::identity),
            fleet_hold: state.fleet.hold.as_ref().map(Hold::identity),
            rest: state.session.rest.as_ref().map(Rest::identity),
            spans: [scope.stop.cooldown, scope.compact.cooldown, scope.api, scope.api_own]
                .map(|span| span.map(|s| s.identity())),
        }
    }

    /// Gives the facts that the step began its id, and notes the facts that it lifted or replaced.
    pub(crate) fn settle(self, state: &mut State, id: &str, now: Ms) {
        let State { fleet, scope, session, .. } = state;
        let spans = [&mut scope.stop.cooldown, &mut scope.compact.cooldown, &mut scope.api, &mut scope.api_own];
        for (span, before) in spans.into_iter().zip(self.spans) {
            if let Some(span) = span.as_mut().filter(|s| s.id == 0 && s.start == now && Some(s.identity()) != before) {
                span.id = fact_id(id);
            }
        }
        let holds = [
            (&mut scope.hold, &mut scope.lifted, self.scope_hold),
            (&mut fleet.hold, &mut fleet.lifted, self.fleet_hold),
        ];
        for (hold, lifted, before) in holds {
            if let Some(hold) = hold.as_mut().filter(|h| h.id == 0 && h.since == now && Some(h.identity()) != before) {
                hold.id = fact_id(id);
            }
            if let Some(before) = before.filter(|before| hold.as_ref().map(Hold::identity) != Some(*before)) {
                note_lifted(lifted, before);
            }
        }
        let rest = &mut session.rest;
        if let Some(rest) = rest.as_mut().filter(|r| r.id == 0 && r.since == now && Some(r.identity()) != self.rest) {
            rest.id = fact_id(id);
        }
        if let Some(before) = self.rest.filter(|before| rest.as_ref().map(Rest::identity) != Some(*before)) {
            note_lifted(&mut session.lifted, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fact::Span;
    use crate::policy::rest::RestKind;

    /// A state with the same fact, an id and a beginning, in every place.
    fn state(fact: Option<(FactId, Ms)>) -> State {
        let mut state = State::default();
        let Some((id, since)) = fact else { return state };
        let hold = Hold { reason: String::new(), by: String::new(), since, until: None, id };
        let span = Some(Span { id, ..Span::new(since, 999) });
        (state.scope.hold, state.fleet.hold) = (Some(hold.clone()), Some(hold));
        (state.scope.stop.cooldown, state.scope.compact.cooldown) = (span, span);
        (state.scope.api, state.scope.api_own) = (span, span);
        state.session.rest = Some(Rest { kind: RestKind::Rest, since, until: None, topic: String::new(), id });
        state
    }

    #[test]
    fn a_fact_that_begins_has_the_id_of_its_step_and_one_that_ends_is_noted() {
        let own = fact_id("step");
        for (name, before, after, id, lifted) in [
            ("it begins", None, Some((0, 100)), Some(own), None),
            ("it begins elsewhere", None, Some((5, 100)), Some(5), None),
            ("it began earlier", None, Some((0, 50)), Some(0), None),
            ("it stays", Some((5, 50)), Some((5, 50)), Some(5), None),
            ("it stays without an id", Some((0, 100)), Some((0, 100)), Some(0), None),
            ("it ends", Some((5, 50)), None, None, Some(5)),
            ("it ends without an id", Some((0, 50)), None, None, Some(fact_id("50"))),
            ("another one replaces it", Some((5, 50)), Some((0, 100)), Some(own), Some(5)),
        ] {
            let mut state = state(after);
            FactIds::of(&self::state(before)).settle(&mut state, "step", 100);
            let State { scope, fleet, session, .. } = &state;
            let holds = [&scope.hold, &fleet.hold].map(|hold| hold.as_ref().map(|hold| hold.id));
            let spans = [scope.stop.cooldown, scope.compact.cooldown, scope.api, scope.api_own];
            let rest = session.rest.as_ref().map(|rest| rest.id);
            assert_eq!((holds, spans.map(|span| span.map(|span| span.id)), rest), ([id; 2], [id; 4], id), "{name}");
            let lifted: Vec<FactId> = lifted.into_iter().collect();
            assert_eq!([&scope.lifted, &fleet.lifted, &session.lifted], [&lifted; 3], "{name}");
        }
    }
}
