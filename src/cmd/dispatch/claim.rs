//! The claims of a starter, as the store has them: whether the agent needs one more session, the request for an entry, the
//! takeover by the client, and the end.

use std::time::Duration;

use super::live;
use super::starter::{AFTER_ERROR, Admitted};
use crate::clock;
use crate::config::Config;
use crate::hook::wait::{LATEST, Request};
use crate::hook::{self, engine};
use crate::policy::request::{Event, Step};
use crate::policy::verdict::{Decision, Outcome, Reason};
use crate::policy::work::entry::List;
use crate::policy::work::queue::InHand;
use crate::policy::work::{NotThere, Record, RecordState, Start};
use crate::process;
use crate::store::fleet_reader::FleetReader;
use crate::store::work::{Change, Changed};
use crate::store::{self, StoreError, work as queues};
use crate::text;

/// The most characters of the host's name in the session's id.
const LONGEST_HOST: usize = 80;

/// What became of the claim for a client that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No client has it yet.
    Open,
    /// The client's first prompt has taken it over.
    TakenOver,
    /// A person dropped or finished its entry.
    Ended,
}

/// The claims of the starter of a route.
pub(super) struct Claims {
    pub(super) config: Config,
    /// The agent, encoded.
    pub(super) agent: String,
    /// The agent's name.
    name: String,
    /// The most sessions of the agent.
    most: usize,
    /// The session by which the next entry is claimed.
    own: String,
    /// Whether a store has received a request of it.
    has_session: bool,
    /// Its request that was refused.
    waiting: Waiting,
}

/// A request that is sent until it is admitted. It keeps the place that its first refusal gave it in the wait queues.
#[derive(Debug, Default)]
pub(super) struct Waiting(Option<(Step, i64)>);

impl Waiting {
    /// Returns the request that was refused, as it is sent now.
    pub(super) fn again(&self) -> Option<Step> {
        let (begin, fence) = self.0.as_ref()?;
        Some(engine::step_for(begin, &mut None, Request::Ask { fence: *fence, renew: false, again: false }))
    }

    /// Notes the answer to a request.
    pub(super) fn note(&mut self, step: &Step, decision: &Decision) {
        let fence = decision.fence.filter(|_| decision.reason != Reason::Superseded);
        let is_refused = decision.outcome == Outcome::Refuse;
        self.0 = fence.filter(|_| is_refused).map(|fence| (step.clone(), fence));
    }

    /// Gives the place up.
    pub(super) fn give_up(&mut self) {
        self.0 = None;
    }
}

impl Claims {
    pub(super) fn new(config: Config, name: &str, most: usize) -> Self {
        let (agent, name) = (text::encode(name), text::line(name));
        Self { config, agent, name, most, own: own_session(), has_session: false, waiting: Waiting::default() }
    }

    /// Ends the session by which the starter claims, where a store knows it.
    pub(super) fn leave(&self) {
        self.end(&self.own, "");
    }

    /// Sends one request. Returns the time after which the next one may be admitted, where this one was refused.
    pub(super) fn ask(&mut self, first: [u64; 3]) -> Result<Result<Admitted, Duration>, StoreError> {
        let step = self.waiting.again();
        let step = step.unwrap_or_else(|| self.step(&self.own, Event::Stop { rest: None }));
        let token = step.start.as_ref().map_or_else(|| clock::id() + &clock::id(), |start| start.token.clone());
        let start = Start { token: token.clone(), most: self.most, first: Some(first) };
        let step = Step { start: Some(Box::new(start)), paced: true, client: Some(process::own()), ..step };
        self.has_session = true;
        let begun = clock::now();
        let verdict = store::open(&self.config, begun + self.config.budget)?.step(&step)?;
        let decision = verdict.decision;
        if verdict.degraded.is_some() {
            // The queue is on the server, which did not answer or whose answer was lost.
            return Ok(Err(AFTER_ERROR));
        }
        self.waiting.note(&step, &decision);
        let Some(admission) = verdict.admission.filter(|_| decision.work.is_some()) else {
            return Ok(Err(decision.retry_after.unwrap_or(AFTER_ERROR)));
        };
        if clock::now().saturating_duration_since(begun) > LATEST {
            // Another store may have taken over meanwhile.
            self.renew_own("the answer came too late");
            return Ok(Err(AFTER_ERROR));
        }
        if decision.work.as_ref().is_some_and(|given| given.in_hand.start != token) {
            // An earlier request, whose answer was lost, has claimed the entry with its own token.
            self.renew_own("an earlier request has the entry");
            return Ok(Err(AFTER_ERROR));
        }
        Ok(Ok(Admitted { admission, decision, token }))
    }

    /// Returns the queue's counts of claims, where the agent needs one more session for an entry.
    pub(super) fn needs_one(&mut self) -> Result<Option<[u64; 3]>, StoreError> {
        let needed = self.is_needed()?;
        if needed.is_none() {
            self.waiting.give_up();
        }
        Ok(needed)
    }

    fn is_needed(&self) -> Result<Option<[u64; 3]>, StoreError> {
        let mut reader = FleetReader::open_to_change(&self.config);
        let now = reader.now()?;
        let all = queues::contents(&mut reader, Some(&self.agent), 1)?;
        let Some(contents) = all.first() else { return Ok(None) };
        let most = self.most;
        // An admission with a lost answer, or a failure of the store, left an entry in hand of this dispatcher.
        let is_left =
            |in_hand: &&InHand| in_hand.session.starts_with(live::OWN) && in_hand.client == Some(process::own());
        if let Some(left) = contents.queue.hand.iter().find(is_left) {
            self.end(&left.session, "no client was started");
            return Ok(None);
        }
        let lease = self.config.policy.work.lease;
        let lasting = contents.queue.lasting(&queues::seen(&contents.queue.hand), lease, now);
        let mut entries = contents.entries.iter().filter(|(list, _)| *list != List::Dead).flat_map(|(_, all)| all);
        let is_due = contents.queue.broken_until(now).is_none() && entries.any(|entry| entry.at <= now);
        let is_lost = lasting.len() < contents.queue.hand.len();
        if !(is_lost || (is_due && lasting.len() < most)) {
            return Ok(None);
        }
        let sessions = reader.sessions()?;
        let live = live::of(&sessions, &self.agent, lease, now);
        let starting = lasting.iter().filter(|in_hand| !in_hand.start.is_empty()).count();
        // A session without an entry claims this one.
        let are_busy = live.iter().all(|(_, session)| session.work.is_some());
        Ok((are_busy && live.len() + starting < most).then_some(contents.queue.first))
    }

    fn step(&self, session: &str, event: Event) -> Step {
        Step {
            name: self.name.clone(),
            agent: self.agent.clone(),
            ..hook::step_of(self.agent.clone(), session.to_owned(), "Start", event)
        }
    }

    /// Returns what became of the claim of an entry with this token.
    pub(super) fn standing(&self, id: &str, token: &str) -> Result<Standing, StoreError> {
        let mut reader = FleetReader::open_to_change(&self.config);
        let all = queues::contents(&mut reader, Some(&self.agent), 0)?;
        if all.iter().flat_map(|contents| &contents.queue.hand).any(|in_hand| in_hand.start == token) {
            return Ok(Standing::Open);
        }
        // A session that took it over may have ended it already, in any other way.
        let ended_here = |record: &Record| match record.state {
            RecordState::Dropped => true,
            RecordState::Done => record.detail == self.own,
            _ => false,
        };
        let known = queues::record(&mut reader, id)?;
        Ok(if known.is_some_and(|(record, _)| ended_here(&record)) { Standing::Ended } else { Standing::TakenOver })
    }

    /// Gives back the entry of a client that did not start. It waits longer from one failure to the next.
    pub(super) fn give_back(&self, (id, claim): (&str, u64), why: &str) -> Result<Result<(), NotThere>, StoreError> {
        let policy = self.config.policy.work;
        let step = Step { detail: text::line(why), ..self.step(&self.own, Event::Other) };
        let change = Change { agent: &self.agent, id, by: None, step: &step };
        queues::change(&self.config, &change, |Changed { work, now, .. }| {
            work.give_back(id, Some(claim), &text::line(why), &policy, now)
        })
    }

    /// Ends the session by which the starter claimed, and takes another one. Returns the ended one.
    pub(super) fn renew_own(&mut self, detail: &str) -> String {
        let ended = std::mem::replace(&mut self.own, own_session());
        self.end(&ended, detail);
        self.has_session = false;
        self.waiting.give_up();
        ended
    }

    pub(super) fn end(&self, session: &str, detail: &str) {
        if !self.has_session && session == self.own {
            return;
        }
        let step = Step { detail: text::line(detail), ..self.step(session, Event::SessionEnd) };
        let _ = store::open(&self.config, clock::now() + self.config.budget).and_then(|mut store| store.step(&step));
    }
}

/// Returns a new session by which entries are claimed.
fn own_session() -> String {
    let host: String = text::encode(&clock::host()).chars().take(LONGEST_HOST).collect();
    format!("{}{host}-{}", live::OWN, clock::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision::decision;

    #[test]
    fn a_refused_request_keeps_its_place() {
        let start = Start { token: "t".to_owned(), most: 1, first: None };
        let stop = Event::Stop { rest: None };
        let begin = hook::step_of("echo".to_owned(), "start-a".to_owned(), "Start", stop);
        let begin = Step { start: Some(Box::new(start)), ..begin };
        let answer = |outcome, reason| Decision { fence: Some(7), ..decision(outcome, reason, 0) };
        let mut waiting = Waiting::default();
        assert!(waiting.again().is_none());
        waiting.note(&begin, &answer(Outcome::Refuse, Reason::Quota));
        for _ in 0..2 {
            let again = waiting.again().unwrap();
            assert_eq!((&again.event, &again.start), (&Event::Ask { fence: 7, renew: false }, &begin.start));
            waiting.note(&again, &answer(Outcome::Refuse, Reason::Quota));
        }
        for (outcome, reason) in [(Outcome::Admit, Reason::Admitted), (Outcome::Refuse, Reason::Superseded)] {
            waiting.note(&begin, &answer(Outcome::Refuse, Reason::Quota));
            waiting.note(&begin, &answer(outcome, reason));
            assert!(waiting.again().is_none(), "{reason:?}");
        }
    }
}
