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
