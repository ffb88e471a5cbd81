//! The admission: what it counts, starts, and hands out to the session (rule 9 of `docs/policy.md`).

use crate::policy::cadence;
use crate::policy::decision::{Case, State, duration};
use crate::policy::documents::{Begun, Flight};
use crate::policy::limits::{Quota, millis};
use crate::policy::quota::count;
use crate::policy::request::Event;
use crate::policy::verdict::{Attempt, Decision, Held, Outcome, Reason};
use crate::policy::work::rule as work_rule;
use crate::policy::{notes, pace, release_slots, wake_up};

/// The largest count of continuations in a row.
const MOST_COUNTED: u32 = 1_000_000_000;

/// The prompt of an ordinary turn names the directives again after so many continuations.
const BRIEFED_EVERY: u32 = 10;

impl Case<'_> {
    /// Counts the continuation, and hands out what the session's next prompt contains.
    pub(super) fn continue_session(&self, state: &mut State, answer: &mut Decision) {
        let now = self.now;
        let has_work = work_rule::has_ended_rest(self, state);
        let State { fleet, scope, session, .. } = state;
        count(&mut scope.quota, &self.limits.quotas, now);
        let mut quotas = self.fleet_quotas(fleet);
        if self.policy.pace.is_some() {
            // The next report of the usage windows counts the turns since the last one.
            quotas.push(Quota { limit: 1, per: duration(pace::LONGEST_FLIGHT) });
            fleet.quota.in_flight.push(Flight { session: self.ask.session.clone(), at: now });
        }
        count(&mut fleet.quota, &quotas, now);
        fleet.note_probe(scope, session, now);
        session.woken = false;
        release_slots::taken(fleet, session, now);
        session.count = session.count.saturating_add(1).min(MOST_COUNTED);
        session.admitted = Some(Begun { at: now, id: self.ask.id.clone() });
        answer.count = session.count;
        // A rest that is over is removed. A rest that lasts is left in place by a renewal, and by the dream before it.
        let rested = session.rest.take();
        let since = session.begun.as_ref().map(|begun| begun.at);
        let has_dreamt = session.cadence.has_just_dreamt();
        session.rest = rested.filter(|r| r.lasts(now) && !has_work);
        let dreams = session.rest.is_some() && cadence::dreams_before(self, session, state.work.as_ref());
        answer.renewed = session.rest.is_some() && !dreams;
        if !answer.renewed && !session.held_by.is_empty() {
            let (by, reason) = (std::mem::take(&mut session.held_by), std::mem::take(&mut session.held_reason));
            answer.held = Some(Held { by, reason, fleet: false });
        }
        if answer.renewed {
            return;
        }
        answer.note = wake_up::hand_out(session);
        if !dreams {
            answer.work = work_rule::hand_out(self, state);
        }
        let session = &mut state.session;
        let has_word = answer.work.is_some() || answer.held.is_some() || !answer.note.is_empty();
        let is_called = has_word || matches!(self.ask.event, Event::Resume { .. });
        (answer.turn_kind, answer.dumps) = cadence::admit(self, session, dreams, is_called);
        answer.briefed = session.briefed && !session.count.is_multiple_of(BRIEFED_EVERY);
        // After an entry of work the agent is reminded of its own task.
        session.briefed = answer.work.is_none() && (session.briefed || answer.turn_kind.is_work());
        let has_rested = since.is_some_and(|at| now.saturating_sub(at) >= millis(self.policy.cadence.long_rest));
        if answer.turn_kind.is_reflection() || has_dreamt || (has_rested && !dreams) {
            answer.notes = notes::hand_out(session, now);
        }
    }

    /// Admits the request: the minimum interval starts.
    pub(super) fn admit(&self, state: &mut State, mut answer: Decision) -> Decision {
        let own = state.scope.class_mut(self.class);
        let probes = own.cooldown.is_some_and(|c| own.admitted_at.is_none_or(|at| at <= c.start));
        own.admitted_at = Some(self.now);
        if !self.limits.is_limited_by_window() && self.limits.burst.is_some() {
            own.attempts = vec![self.now];
            answer.attempt = Attempt::First;
        }
        answer.outcome = Outcome::Admit;
        answer.reason = if probes { Reason::Probe } else { Reason::Admitted };
        answer
    }
}
