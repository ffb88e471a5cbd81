//! The start of a session by a dispatcher: the dispatcher claims an entry, and the client that it starts takes the claim over
//! with its first prompt.

use super::queue::{InHand, Queue};
use super::{Claimed, WorkState};
use crate::policy::documents::SessionState;
use crate::policy::fact::fact_id;
use crate::policy::limits::Ms;
use crate::policy::request::{Event, Step};

/// What a dispatcher requires of the queue of an agent that it starts a session or runs a program for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The start token: a random text that the client gets, and no other process. A program has none.
    pub token: String,
    /// The most sessions of the agent that may have an entry in hand, the new one included.
    pub most: usize,
    /// [`Queue::first`] as it was before the dispatcher looked for sessions of the agent, where it did. Each claim changes it.
    pub first: Option<[u64; 3]>,
}

impl Start {
    /// Returns whether no entry was claimed since the dispatcher looked, and the agent may have one more session.
    pub(super) fn is_permitted(&self, queue: &Queue) -> bool {
        self.first.is_none_or(|first| first == queue.first) && queue.hand.len() < self.most
    }
}

/// Returns the first prompt of a started client as the event that it is: Frosty's own, where a dispatcher committed the
/// token and no prompt used it before, else a person's.
pub(crate) fn prompt(work: Option<&WorkState>, token: &str) -> Event {
    match work.and_then(|work| claim_by(&work.queue, token)) {
        Some(_) => Event::ClientPrompt { of_admission: true },
        None => Event::PersonPrompt,
    }
}

/// Passes the claim of the dispatcher to the session that sent the prompt. The token is used up.
pub(crate) fn pass_claim(session: &mut SessionState, work: &mut WorkState, ask: &Step, token: &str, now: Ms) {
    let Some(at) = claim_by(&work.queue, token) else { return };
    let Some(in_hand) = work.queue.hand.get_mut(at) else { return };
    // The dispatcher's own claim is over.
    in_hand.claim = fact_id(&format!("{}-{now}", ask.id));
    in_hand.start.clear();
    in_hand.session.clone_from(&ask.session);
    in_hand.host.clone_from(&ask.host);
    in_hand.client = session.client;
    (in_hand.renewed, in_hand.overdue) = (now, None);
    let InHand { entry, claim, .. } = in_hand.clone();
    session.started = true;
    session.work =
        Some(Claimed { id: entry.id.clone(), agent: work.agent.clone(), claim, depth: entry.depth, turns: 1 });
    work.note_in_hand(&entry, &ask.session, now);
}

fn claim_by(queue: &Queue, token: &str) -> Option<usize> {
    queue.hand.iter().position(|in_hand| !in_hand.start.is_empty() && in_hand.start == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_permitted_while_nothing_was_claimed_and_a_session_fits() {
        let start = |most, first| Start { token: "t".to_owned(), most, first };
        let queue = Queue { first: [1, 2, 3], hand: vec![InHand::default()], ..Queue::default() };
        for (most, first, expected) in [
            (2, None, true),
            (1, None, false),
            (2, Some([1, 2, 3]), true),
            (2, Some([1, 2, 4]), false),
            (1, Some([1, 2, 3]), false),
        ] {
            assert_eq!(start(most, first).is_permitted(&queue), expected, "{most} {first:?}");
        }
    }

    #[test]
    fn only_a_committed_token_makes_a_prompt_frostys_own() {
        let in_hand = |start: &str| InHand { start: start.to_owned(), ..InHand::default() };
        let queue = Queue { hand: vec![in_hand(""), in_hand("t")], ..Queue::default() };
        let work = WorkState { queue, ..WorkState::default() };
        for (work, token, expected) in [
            (Some(&work), "t", Event::ClientPrompt { of_admission: true }),
            (Some(&work), "u", Event::PersonPrompt),
            (Some(&work), "", Event::PersonPrompt),
            (None, "t", Event::PersonPrompt),
        ] {
            assert_eq!(prompt(work, token), expected, "{token}");
        }
    }
}
