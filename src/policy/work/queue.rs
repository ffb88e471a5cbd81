//! The document of a work queue: what an agent's queue has given out, and the entries that are in hand.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::entry::{Priority, WorkEntry};
use crate::policy::limits::{Ms, millis};
use crate::policy::process::Process;

/// The failures that the breaker counts.
const MOST_FAILURES: usize = 20;
/// The period in which it counts them.
const FAILURES_WITHIN: Ms = 30 * 60_000;
/// How many entries the sessions of one agent may add in a day.
const MOST_ADDED: usize = 20;
const DAY: Ms = 86_400_000;
/// How long a claim is overdue before it ends, so that a client that was only silent can renew it.
const OVERDUE: Ms = 60_000;

/// The state of one agent's queue, without the waiting entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// The number of ids that the queue gave.
    pub ids: u64,
    /// The number of places given in the lists of high, normal and low entries.
    pub placed: [u64; 3],
    /// The number below which no entry of these lists is left.
    pub first: [u64; 3],
    /// The number of entries that wait in these lists.
    pub waiting: [u64; 3],
    /// The number of delayed entries.
    pub later: u64,
    /// The number of dead letters.
    pub dead: u64,
    /// The entries that sessions have in hand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hand: Vec<InHand>,
    /// When attempts failed, within the period of the breaker, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Ms>,
    /// When sessions of this agent added entries within a day, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Ms>,
    /// When it was last reported that its work waits; zero for never.
    #[serde(skip_serializing_if = "is_never")]
    pub reported: Ms,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_never(at: &Ms) -> bool {
    *at == 0
}

/// An entry that a session has in hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InHand {
    /// The entry.
    pub entry: WorkEntry,
    /// The claim's fencing token, which no other claim has.
    pub claim: u64,
    /// The session, encoded.
    pub session: String,
    /// The machine of the session's client.
    pub host: String,
    /// The client's process, where it is known: the claim ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Process>,
    /// When the entry was claimed.
    pub since: Ms,
    /// When the client was last seen to run.
    pub renewed: Ms,
    /// The start token of the client that takes the claim over; empty where a session has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// Since when the claim is overdue, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Ms>,
}

/// What the next change of a queue does with a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It renews the claim, since its client is seen to run.
    Renew,
    /// It leaves the claim as it is.
    Keep,
    /// It notes that the claim is overdue.
    Mark,
    /// It ends the claim.
    End,
}

impl InHand {
    /// Returns what the next change does with the claim. `runs` is whether this machine sees the client run.
    pub(super) fn next(&self, runs: Option<bool>, lease: Ms, now: Ms) -> Next {
        match (runs, self.overdue) {
            (Some(true), _) => Next::Renew,
            (Some(false), _) => Next::End,
            (None, _) if now.saturating_sub(self.renewed) < lease => Next::Keep,
            (None, None) => Next::Mark,
            (None, Some(since)) if (0..OVERDUE).contains(&now.saturating_sub(since)) => Next::Keep,
            (None, Some(_)) => Next::End,
        }
    }
}

impl Queue {
    /// Returns the claims that the next change of the queue neither ends nor notes as overdue. `seen` are those of clients that
    /// this machine sees, and whether they run.
    #[must_use]
    pub fn lasting(&self, seen: &[(u64, bool)], lease: Duration, now: Ms) -> Vec<&InHand> {
        let lasts = |in_hand: &&InHand| {
            let runs = seen.iter().find(|(claim, _)| *claim == in_hand.claim).map(|(_, runs)| *runs);
            !matches!(in_hand.next(runs, millis(lease), now), Next::Mark | Next::End)
        };
        self.hand.iter().filter(lasts).collect()
    }

    /// Returns when the breaker closes again; `None` while it is closed.
    #[must_use]
    pub fn broken_until(&self, now: Ms) -> Option<Ms> {
        let first = self.failures.len().checked_sub(MOST_FAILURES).and_then(|at| self.failures.get(at))?;
        let end = first.saturating_add(FAILURES_WITHIN).min(now.saturating_add(FAILURES_WITHIN));
        (end > now).then_some(end)
    }

    /// Returns whether no report about the queue was sent within `quiet`. The clock may have been set back since.
    pub(crate) fn may_report(&self, now: Ms, quiet: Ms) -> bool {
        !(0..quiet).contains(&now.saturating_sub(self.reported))
    }

    /// Counts a failed attempt.
    pub(crate) fn note_failure(&mut self, now: Ms) {
        self.failures.push(now);
        let over = self.failures.len().saturating_sub(MOST_FAILURES);
        self.failures.drain(..over);
    }

    /// Counts an entry that a session of this agent added; returns false where the day's bound is reached.
    pub(crate) fn note_added(&mut self, now: Ms) -> bool {
        self.added.retain(|at| now.saturating_sub(*at) < DAY);
        let fits = self.added.len() < MOST_ADDED;
        if fits {
            self.added.push(now);
        }
        fits
    }

    /// Returns the number of entries that wait, those of later included.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.waiting.iter().sum::<u64>().saturating_add(self.later)
    }

    /// Returns whether nothing is left to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length() == 0 && self.dead == 0 && self.hand.is_empty()
    }

    /// Gives an entry the next place in the list of its priority.
    pub(crate) fn place(&mut self, entry: &mut WorkEntry) {
        let [high, normal, _] = self.placed;
        entry.after = [high, normal];
        let placed = of_mut(&mut self.placed, entry.priority);
        entry.number = *placed;
        *placed = placed.saturating_add(1);
    }
}

/// Returns the number that belongs to a priority.
#[must_use]
pub fn of(numbers: &[u64; 3], priority: Priority) -> u64 {
    let [high, normal, low] = *numbers;
    match priority {
        Priority::High => high,
        Priority::Normal => normal,
        Priority::Low => low,
    }
}

pub(crate) fn of_mut(numbers: &mut [u64; 3], priority: Priority) -> &mut u64 {
    let [high, normal, low] = numbers;
    match priority {
        Priority::High => high,
        Priority::Normal => normal,
        Priority::Low => low,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_adds_twenty_entries_a_day() {
        let mut queue = Queue::default();
        let added: Vec<bool> = (0..21).map(|n| queue.note_added(n)).collect();
        assert_eq!((added.iter().filter(|added| **added).count(), added[20], queue.added.len()), (20, false, 20));
        assert!(!queue.note_added(DAY - 1));
        assert!(queue.note_added(DAY), "the first was a day ago");
        assert!(!queue.note_added(DAY));
    }

    #[test]
    fn the_breaker_opens_for_half_an_hour_from_the_first_of_its_failures() {
        let mut queue = Queue::default();
        (1..=19).for_each(|n| queue.note_failure(n * 1000));
        assert_eq!(queue.broken_until(20_000), None);
        queue.note_failure(20_000);
        assert_eq!(queue.broken_until(20_000), Some(1000 + FAILURES_WITHIN));
        assert_eq!(queue.broken_until(1000 + FAILURES_WITHIN), None);
        assert_eq!(queue.broken_until(0), Some(FAILURES_WITHIN), "the clock was set back");
        queue.note_failure(21_000);
        assert_eq!((queue.failures.len(), queue.broken_until(21_000)), (20, Some(2000 + FAILURES_WITHIN)));
    }

    #[test]
    fn a_queue_is_empty_without_entries_and_claims() {
        let empty = Queue { ids: 9, placed: [1, 2, 3], ..Queue::default() };
        assert!(empty.is_empty() && empty.length() == 0);
        for (queue, length) in [
            (Queue { waiting: [1, 2, 3], later: 4, ..empty.clone() }, 10),
            (Queue { later: 1, ..empty.clone() }, 1),
            (Queue { dead: 1, ..empty.clone() }, 0),
            (Queue { hand: vec![InHand::default()], ..empty.clone() }, 0),
        ] {
            assert!(!queue.is_empty() && queue.length() == length, "{queue:?}");
        }
        let numbers = [1, 2, 3];
        assert_eq!(Priority::ALL.map(|priority| of(&numbers, priority)), numbers);
    }
}
