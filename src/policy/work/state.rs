//! The changes of a queue: adding, claiming, finishing, giving back. They are pure, and both stores apply their moves.

use serde::{Deserialize, Serialize};

use super::entry::{List, Priority, WorkEntry};
use super::question::Question;
use super::queue::{InHand, Next, Queue, of_mut};
use super::{Claimed, WorkPolicy, backoff, order};
use crate::policy::limits::{Ms, millis};
use crate::policy::process::Process;

/// A queue as a step or a command read it, and the moves that it made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkState {
    /// The agent, encoded.
    pub agent: String,
    /// The queue's document.
    pub queue: Queue,
    /// The first entries of the lists of high, normal and low entries.
    pub heads: [Option<WorkEntry>; 3],
    /// The first delayed entries.
    pub later: Vec<WorkEntry>,
    /// The entry that a command names, where it waits or is a dead letter.
    pub picked: Option<(List, WorkEntry)>,
    /// The claims of clients that this machine can see, and whether they run.
    pub seen: Vec<(u64, bool)>,
    /// The moves of entries, in their order.
    pub moves: Vec<Move>,
}

/// A move of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The entry leaves the list.
    Take(List, WorkEntry),
    /// The entry joins the list.
    Put(List, WorkEntry),
    /// What is known by the entry's id changes.
    Note(Record),
}

/// What is known by an entry's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The id.
    pub id: String,
    /// The agent of the entry's queue, encoded.
    pub agent: String,
    /// The state.
    pub state: RecordState,
    /// Where the entry is in its list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<(List, Ms)>,
    /// When the state began.
    pub at: Ms,
    /// Further words: the session that has it or finished it, or the reason of a failure.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The question that the entry is, and its reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
}

/// The states of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// It waits.
    #[default]
    Waiting,
    /// A session has it in hand.
    InHand,
    /// It is acknowledged.
    Done,
    /// It is a dead letter.
    Dead,
    /// A person removed it.
    Dropped,
}

impl RecordState {
    /// Returns the words for the state.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::InHand => "in hand",
            Self::Done => "done",
            Self::Dead => "dead letter",
            Self::Dropped => "dropped",
        }
    }

    /// Returns whether the entry is over, so that only its id is remembered.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Dropped)
    }
}

/// The error for an entry that is not in the state that a change needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotThere;

impl WorkState {
    /// Adds an entry, from `at` on where that is later than now. Returns the entry as it was added.
    pub fn add(&mut self, mut entry: WorkEntry, at: Option<Ms>, now: Ms) -> WorkEntry {
        self.queue.ids = self.queue.ids.saturating_add(1);
        if entry.id.is_empty() {
            entry.id = format!("{}:{}", self.agent, self.queue.ids);
        }
        entry.added = now;
        match at.filter(|at| *at > now) {
            Some(at) => self.delay(entry.clone(), at, now),
            None => self.put(entry.clone(), now),
        }
        entry
    }

    /// Returns whether an entry can be claimed.
    #[must_use]
    pub fn has_work(&self, now: Ms) -> bool {
        let is_due = || self.later.iter().any(|entry| entry.at <= now);
        self.queue.broken_until(now).is_none() && (order::next(&self.queue, &self.heads).is_some() || is_due())
    }

    /// Returns when the next entry can be claimed by time alone.
    #[must_use]
    pub fn next_due(&self, now: Ms) -> Option<Ms> {
        let broken = self.queue.broken_until(now);
        let has_head = self.heads.iter().any(Option::is_some);
        let due = if has_head { Some(now) } else { self.later.iter().map(|entry| entry.at).min() };
        due.map(|due| due.max(broken.unwrap_or(due)))
    }

    /// Claims the next entry for a session.
    ///
    /// `claim` is the fencing token: no other claim has the same one.
    pub fn claim(&mut self, session: &str, claim: u64, client: &InHand, now: Ms) -> Option<InHand> {
        if self.queue.broken_until(now).is_some() {
            return None;
        }
        self.bring_due(now);
        let priority = order::next(&self.queue, &self.heads)?;
        let entry = self.take_head(priority)?;
        let in_hand = InHand {
            entry: WorkEntry { stored: String::new(), ..entry },
            claim,
            session: session.to_owned(),
            since: now,
            renewed: now,
            overdue: None,
            ..client.clone()
        };
        self.note(&in_hand.entry, RecordState::InHand, None, session, now);
        self.queue.hand.push(in_hand.clone());
        Some(in_hand)
    }

    /// Notes that another session has an entry in hand.
    pub(super) fn note_in_hand(&mut self, entry: &WorkEntry, session: &str, now: Ms) {
        self.note(entry, RecordState::InHand, None, session, now);
    }

    /// Returns the claim of a session, where it is still valid.
    #[must_use]
    pub fn held(&self, id: &str, claim: u64) -> Option<&InHand> {
        self.queue.hand.iter().find(|in_hand| in_hand.entry.id == id && in_hand.claim == claim)
    }

    /// Returns whether the claim is one of this queue, and still valid.
    #[must_use]
    pub fn has(&self, claimed: &Claimed) -> bool {
        self.agent == claimed.agent && self.held(&claimed.id, claimed.claim).is_some()
    }

    /// Acknowledges an entry in hand. `claim` is the session's claim; a person needs none.
    ///
    /// # Errors
    /// When no session has it in hand by this claim.
    pub fn finish(&mut self, id: &str, claim: Option<u64>, now: Ms) -> Result<(), NotThere> {
        let in_hand = self.let_go(id, claim)?;
        self.note(&in_hand.entry, RecordState::Done, None, &in_hand.session, now);
        Ok(())
    }

    /// Takes an entry back from a session that did not finish it, for the reason `why`.
    ///
    /// Where it counts as an attempt, the entry waits longer from one to the next, and becomes a dead letter in the end.
    ///
    /// # Errors
    /// When no session has it in hand by this claim.
    pub fn give_back(
        &mut self,
        id: &str,
        claim: Option<u64>,
        why: &str,
        policy: &WorkPolicy,
        now: Ms,
    ) -> Result<(), NotThere> {
        let InHand { mut entry, .. } = self.let_go(id, claim)?;
        entry.attempts = entry.attempts.saturating_add(1);
        why.clone_into(&mut entry.why);
        self.queue.note_failure(now);
        if entry.attempts >= policy.max_attempts {
            self.bury(entry, now);
        } else {
            let at = now.saturating_add(backoff(entry.attempts));
            self.delay(entry, at, now);
        }
        Ok(())
    }

    /// Takes an entry back from a session that rests until a time, from which on it waits again.
    ///
    /// # Errors
    /// When no session has it in hand by this claim.
    pub fn put_off(&mut self, id: &str, claim: u64, until: Ms, now: Ms) -> Result<(), NotThere> {
        let InHand { entry, .. } = self.let_go(id, Some(claim))?;
        self.delay(entry, until, now);
        Ok(())
    }

    /// Takes an entry back after the client left the session: it waits again at once.
    ///
    /// The client's death counts as an attempt, the end of its session does not.
    ///
    /// # Errors
    /// When no session has it in hand by this claim.
    pub fn release(&mut self, id: &str, claim: u64, died: Option<&WorkPolicy>, now: Ms) -> Result<(), NotThere> {
        let InHand { mut entry, .. } = self.let_go(id, Some(claim))?;
        if let Some(policy) = died {
            entry.attempts = entry.attempts.saturating_add(1);
            "the client ended".clone_into(&mut entry.why);
            self.queue.note_failure(now);
            if entry.attempts >= policy.max_attempts {
                self.bury(entry, now);
                return Ok(());
            }
        }
        self.put(entry, now);
        Ok(())
    }

    /// Ends the claims of clients that have ended, and of clients that were silent for the lease and a minute.
    pub fn expire(&mut self, policy: &WorkPolicy, now: Ms) {
        // The clock may have been set back.
        for at in self.queue.failures.iter_mut().chain(&mut self.queue.added) {
            *at = (*at).min(now);
        }
        let lease = millis(policy.lease);
        let mut ended = Vec::new();
        for in_hand in &mut self.queue.hand {
            let runs = self.seen.iter().find(|(claim, _)| *claim == in_hand.claim).map(|(_, runs)| *runs);
            in_hand.renewed = in_hand.renewed.min(now);
            match in_hand.next(runs, lease, now) {
                Next::Renew => renew(in_hand, lease, now),
                Next::Keep => {}
                Next::Mark => in_hand.overdue = Some(now),
                Next::End => ended.push((in_hand.entry.id.clone(), in_hand.claim)),
            }
        }
        for (id, claim) in ended {
            let _ = self.release(&id, claim, Some(policy), now);
        }
    }

    /// Notes that the client of a claim runs, on this host. Another client may have resumed the session since the claim.
    pub fn renew(&mut self, claim: u64, (host, client): (&str, Option<Process>), policy: &WorkPolicy, now: Ms) {
        let Some(in_hand) = self.queue.hand.iter_mut().find(|in_hand| in_hand.claim == claim) else { return };
        renew(in_hand, millis(policy.lease), now);
        if client.is_some() && (client != in_hand.client || host != in_hand.host) {
            (in_hand.client, in_hand.host) = (client, host.to_owned());
            // The earlier client was seen.
            self.seen.retain(|(seen, _)| *seen != claim);
        }
    }

    /// Takes back the entries of a client's earlier sessions: the client process now has this session.
    pub fn release_others(&mut self, session: &str, (host, client): (&str, Process), now: Ms) {
        let is_earlier =
            |in_hand: &&InHand| in_hand.session != session && in_hand.host == host && in_hand.client == Some(client);
        let earlier = self.queue.hand.iter().filter(is_earlier);
        let earlier: Vec<_> = earlier.map(|in_hand| (in_hand.entry.id.clone(), in_hand.claim)).collect();
        for (id, claim) in earlier {
            let _ = self.release(&id, claim, None, now);
        }
    }

    /// Removes the picked entry, or the one in hand.
    ///
    /// # Errors
    /// When it is neither.
    pub fn drop_entry(&mut self, id: &str, now: Ms) -> Result<(), NotThere> {
        let entry = match self.picked.take() {
            Some((list, entry)) => self.take(list, entry),
            None => self.let_go(id, None)?.entry,
        };
        self.note(&entry, RecordState::Dropped, None, "", now);
        Ok(())
    }

    /// Lets the picked dead letter or delayed entry wait again at once, without its attempts.
    ///
    /// # Errors
    /// When no such entry is picked.
    pub fn retry(&mut self, now: Ms) -> Result<(), NotThere> {
        let (list, entry) =
            self.picked.take().filter(|(list, _)| matches!(list, List::Dead | List::Later)).ok_or(NotThere)?;
        let entry = self.take(list, entry);
        self.put(WorkEntry { attempts: 0, ..entry }, now);
        Ok(())
    }

    /// Acknowledges the picked entry, which no session has in hand.
    ///
    /// # Errors
    /// When none is picked.
    pub fn finish_picked(&mut self, now: Ms) -> Result<(), NotThere> {
        let (list, entry) = self.picked.take().ok_or(NotThere)?;
        let entry = self.take(list, entry);
        self.note(&entry, RecordState::Done, None, "", now);
        Ok(())
    }

    /// Moves the entries that may be claimed by now into the lists of their priorities.
    fn bring_due(&mut self, now: Ms) {
        let (due, later) = std::mem::take(&mut self.later).into_iter().partition(|entry| entry.at <= now);
        self.later = later;
        for entry in due {
            self.moves.push(Move::Take(List::Later, entry.clone()));
            self.queue.later = self.queue.later.saturating_sub(1);
            self.put(entry, now);
        }
    }

    fn take_head(&mut self, priority: Priority) -> Option<WorkEntry> {
        let [high, normal, low] = &mut self.heads;
        let head = match priority {
            Priority::High => high,
            Priority::Normal => normal,
            Priority::Low => low,
        };
        let entry = head.take()?;
        *of_mut(&mut self.queue.first, priority) = entry.number.saturating_add(1);
        Some(self.take(priority.list(), entry))
    }

    /// Takes an entry out of its list.
    pub(super) fn take(&mut self, list: List, entry: WorkEntry) -> WorkEntry {
        let count = match list {
            List::Later => &mut self.queue.later,
            List::Dead => &mut self.queue.dead,
            List::High | List::Normal | List::Low => of_mut(&mut self.queue.waiting, entry.priority),
        };
        *count = count.saturating_sub(1);
        self.moves.push(Move::Take(list, entry.clone()));
        entry
    }

    /// Takes an entry out of the hands of its session.
    pub(super) fn let_go(&mut self, id: &str, claim: Option<u64>) -> Result<InHand, NotThere> {
        let is_it = |in_hand: &InHand| in_hand.entry.id == id && claim.is_none_or(|claim| claim == in_hand.claim);
        let at = self.queue.hand.iter().position(is_it).ok_or(NotThere)?;
        Ok(self.queue.hand.remove(at))
    }

    /// Puts an entry at the end of the list of its priority.
    fn put(&mut self, entry: WorkEntry, now: Ms) {
        let mut entry = WorkEntry { stored: String::new(), at: 0, ..entry };
        self.queue.place(&mut entry);
        let waiting = of_mut(&mut self.queue.waiting, entry.priority);
        *waiting = waiting.saturating_add(1);
        let list = entry.priority.list();
        self.note(&entry, RecordState::Waiting, Some(list), "", now);
        self.moves.push(Move::Put(list, entry.clone()));
        let [high, normal, low] = &mut self.heads;
        let head = match entry.priority {
            Priority::High => high,
            Priority::Normal => normal,
            Priority::Low => low,
        };
        // The store read no entry before it, whatever the document counts. A claim comes last in a step.
        head.get_or_insert(entry);
    }

    fn delay(&mut self, entry: WorkEntry, at: Ms, now: Ms) {
        let entry = WorkEntry { stored: String::new(), at, ..entry };
        self.queue.later = self.queue.later.saturating_add(1);
        self.note(&entry, RecordState::Waiting, Some(List::Later), &entry.why.clone(), now);
        self.moves.push(Move::Put(List::Later, entry.clone()));
        self.later.push(entry);
    }

    fn bury(&mut self, entry: WorkEntry, now: Ms) {
        let entry = WorkEntry { stored: String::new(), at: now, ..entry };
        self.queue.dead = self.queue.dead.saturating_add(1);
        self.note(&entry, RecordState::Dead, Some(List::Dead), &entry.why.clone(), now);
        self.moves.push(Move::Put(List::Dead, entry));
    }

    fn note(&mut self, entry: &WorkEntry, state: RecordState, list: Option<List>, detail: &str, now: Ms) {
        self.moves.push(Move::Note(Record {
            id: entry.id.clone(),
            agent: self.agent.clone(),
            state,
            place: list.map(|list| (list, entry.score(list))),
            at: now,
            detail: detail.to_owned(),
            question: entry.question.clone(),
        }));
    }
}

/// Renews a claim; seldom, because each renewal is a change of the queue.
fn renew(in_hand: &mut InHand, lease: Ms, now: Ms) {
    if in_hand.overdue.is_some() || now.saturating_sub(in_hand.renewed) >= lease / 4 {
        (in_hand.renewed, in_hand.overdue) = (now, None);
    }
}
