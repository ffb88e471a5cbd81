//! A question: an entry of the queue of the agent that is asked. A reply ends it, and is kept with what is known by its id.

use serde::{Deserialize, Serialize};

use super::state::{Move, NotThere, Record, RecordState, WorkState};
use crate::policy::limits::Ms;
use crate::policy::process::Process;

/// How long a reply is kept.
pub const REPLY_KEEP: Ms = 86_400_000;

/// The question that an entry is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Question {
    /// The session that asked, encoded; empty for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// How many sessions one after the other caused the question: 0 for a person's.
    pub depth: u32,
    /// The machine of the process that waits for the reply.
    pub host: String,
    /// The process that waits for the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiter: Option<Process>,
    /// The reply; empty while there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reply: String,
}

impl Record {
    /// Returns whether the record has a reply, which may have expired.
    #[must_use]
    pub fn has_reply(&self) -> bool {
        self.question.as_ref().is_some_and(|question| !question.reply.is_empty())
    }

    /// Returns the reply to a question, until it expires.
    #[must_use]
    pub fn reply(&self, now: Ms) -> Option<&str> {
        let reply = self.question.as_ref().map(|question| question.reply.as_str()).filter(|reply| !reply.is_empty())?;
        (now.saturating_sub(self.at) < REPLY_KEEP).then_some(reply)
    }
}

impl WorkState {
    /// Ends a question with its reply. `claim` is the claim of the session that replies, and `None` for another author.
    ///
    /// A question that its agent ended without a reply can still get one.
    ///
    /// # Errors
    /// When the record is no question, or its entry is in another hand.
    pub fn reply(
        &mut self,
        record: &Record,
        reply: &str,
        claim: Option<u64>,
        by: &str,
        now: Ms,
    ) -> Result<(), NotThere> {
        let question = record.question.as_ref().ok_or(NotThere)?;
        match record.state {
            RecordState::InHand => drop(self.let_go(&record.id, claim)?),
            RecordState::Waiting | RecordState::Dead => {
                let (list, entry) = self.picked.take().ok_or(NotThere)?;
                self.take(list, entry);
            }
            RecordState::Done => {}
            RecordState::Dropped => return Err(NotThere),
        }
        let question = Question { reply: reply.to_owned(), ..question.clone() };
        self.moves.push(Move::Note(Record {
            state: RecordState::Done,
            place: None,
            at: now,
            detail: by.to_owned(),
            question: Some(question),
            ..record.clone()
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::work::entry::{List, WorkEntry};
    use crate::policy::work::queue::{InHand, Queue};

    fn record(state: RecordState, reply: &str) -> Record {
        let question = Question { reply: reply.to_owned(), ..Question::default() };
        Record { id: "e".to_owned(), state, at: 1000, question: Some(question), ..Record::default() }
    }

    #[test]
    fn a_reply_is_kept_for_a_day() {
        let replied = record(RecordState::Done, "yes");
        assert!(replied.has_reply() && replied.reply(1000) == Some("yes"));
        assert_eq!(replied.reply(999 + REPLY_KEEP), Some("yes"));
        assert_eq!(replied.reply(1000 + REPLY_KEEP), None);
        for other in [record(RecordState::Done, ""), Record { question: None, ..replied }] {
            assert!(!other.has_reply() && other.reply(1000).is_none());
        }
    }

    #[test]
    fn a_question_is_replied_to_where_it_is() {
        let entry = WorkEntry { id: "e".to_owned(), ..WorkEntry::default() };
        let hand = vec![InHand { entry: entry.clone(), claim: 7, ..InHand::default() }];
        let queue = Queue { hand, waiting: [0, 1, 0], ..Queue::default() };
        for (state, claim, picked, ends) in [
            (RecordState::InHand, Some(7), false, true),
            (RecordState::InHand, None, false, true),
            (RecordState::InHand, Some(8), false, false),
            (RecordState::Waiting, None, true, true),
            (RecordState::Dead, None, true, true),
            (RecordState::Waiting, None, false, false),
            (RecordState::Done, None, false, true),
            (RecordState::Dropped, None, false, false),
        ] {
            let picked = picked.then(|| (List::Normal, entry.clone()));
            let is_picked = picked.is_some();
            let mut work = WorkState { queue: queue.clone(), picked, ..WorkState::default() };
            let replied = work.reply(&record(state, ""), "yes", claim, "ann", 2000);
            assert_eq!(replied.is_ok(), ends, "{state:?} {claim:?}");
            assert_eq!(work.queue.hand.is_empty(), ends && state == RecordState::InHand, "{state:?}");
            assert_eq!(work.queue.waiting, if is_picked { [0, 0, 0] } else { [0, 1, 0] });
            let noted = work.moves.iter().rev().find_map(|one| match one {
                Move::Note(record) => Some((record.state, record.detail.as_str(), record.reply(2000))),
                _ => None,
            });
            assert_eq!(noted, ends.then_some((RecordState::Done, "ann", Some("yes"))), "{state:?}");
        }
    }
}
