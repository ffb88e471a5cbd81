//! The answer to a step: admitted, refused or recorded, the reason, and the time of the next try.

use std::time::Duration;

use crate::policy::cadence::TurnKind;
use crate::policy::hold::Hold;
use crate::policy::limits::Ms;
use crate::policy::process::Process;
use crate::policy::rest::Rest;
use crate::policy::turn::Worth;
use crate::policy::work::Given;

pub use crate::policy::reason::{End, Reason};

/// The result of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request is admitted.
    Admit,
    /// The request is refused for now.
    Refuse,
    /// The event made no request and was journaled.
    Record,
}

impl Outcome {
    /// Returns the journal's word for the outcome.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Refuse => "refuse",
            Self::Record => "record",
        }
    }
}

/// The policy's decision, before a store has committed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Admitted, refused or recorded.
    pub outcome: Outcome,
    /// The reason of the decision.
    pub reason: Reason,
    /// How long until the request would be admitted in the present state; `None` when no time ends the refusal.
    ///
    /// After a release it is what was left of the API cooldown that the release ended.
    pub retry_after: Option<Duration>,
    /// The attempts in the burst window at the decision, with this one if it was counted.
    pub attempts: u32,
    /// The trips of the class that are not forgotten; for `api_error` the API errors in a row.
    pub strikes: u32,
    /// The session's fence after the event, where it has one.
    pub fence: Option<i64>,
    /// Whether the reason differs from the one of the session's last request.
    pub reason_changed: bool,
    /// The hold in question: where `reason` is [`Reason::Hold`] or the event opened a hold, that hold.
    ///
    /// After a release it is the hold that was lifted. On an admission it is the hold at the session's last request.
    pub held: Option<Held>,
    /// The hold that another one replaced.
    pub replaced: Option<Hold>,
    /// On an admission, the number of continuations in a row, since a person's last prompt.
    pub count: u32,
    /// On an admission, the notes of the wake-ups, one line each; empty for none.
    pub note: String,
    /// On an admission, whether the session's rest goes on, and only the wait for its end is renewed.
    pub renewed: bool,
    /// The store's clock at the decision.
    pub now: Ms,
    /// For a continuation, the store epoch, which distinguishes this store from another one; else empty.
    pub store_epoch: String,
    /// The client process that the session belongs to, where `reason` is [`Reason::Contested`].
    pub client: Option<Process>,
    /// Whether the request was admitted before and its answer was lost; nothing more is committed then.
    pub repeated: bool,
    /// The effect on the attempts that the burst window counts.
    pub attempt: Attempt,
    /// For a Stop event with a measured turn, the worth of the turn.
    pub worth: Option<Worth>,
    /// On an admission, the entry that the session has in hand.
    pub work: Option<Box<Given>>,
    /// The id of the entry that the event ended, and how; empty for none.
    pub work_end: String,
    /// On an admission, what the turn is for.
    pub turn_kind: TurnKind,
    /// For a Stop event with a measured turn, what that turn was for.
    pub turn_was: TurnKind,
    /// On an admission, whether the agent's context contains the directives already.
    pub briefed: bool,
    /// Whether the admitted reflection ends in a state dump.
    pub dumps: bool,
    /// The agent's notes for its prompt, newest first.
    pub notes: Vec<String>,
    /// What the agent's context must contain after a compaction, where the step asked for it.
    pub memory: Option<Box<Memory>>,
}

/// What an agent must not forget, beside its notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// The id of the entry of work in hand; empty for none.
    pub work: String,
    /// The session's rest, where it lasts.
    pub rest: Option<Rest>,
}

/// The effect of a request on the attempts of its scope and class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attempt {
    /// The request was not counted.
    #[default]
    Uncounted,
    /// The request was counted in addition to earlier ones.
    Counted,
    /// The request was admitted, and is the only one that counts from now on.
    First,
    /// The request filled the window, which is empty now.
    Emptied,
}

/// The name and the reason of a hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The name on the hold: a person's, or `api`.
    pub by: String,
    /// The reason given.
    pub reason: String,
    /// Whether the hold is for the whole fleet, and not for the scope.
    pub fleet: bool,
}

/// A store's answer to one step, after the commit.
#[derive(Debug)]
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    /// The proof of a committed admission; `Some` exactly when the outcome is [`Outcome::Admit`].
    pub admission: Option<Admission>,
    /// The notes about the store for a person, one line each (for example a file that was set aside).
    pub notes: Vec<String>,
    /// Whether files on this machine decided, and not a server.
    pub by_files: bool,
    /// Whether the store could not take the journal's entry.
    pub unjournaled: bool,
    /// Why the embedded store decided in place of the configured server, where it did.
    pub degraded: Option<String>,
    /// Whether that server may have committed the step nevertheless, because its answer was lost.
    pub unconfirmed: bool,
}

impl Verdict {
    /// Wraps a decision that a store **has committed**. Only stores call it, because an admission requires its commit.
    pub(crate) fn committed(decision: Decision, notes: Vec<String>) -> Self {
        let admission = (decision.outcome == Outcome::Admit).then_some(Admission(()));
        Self { decision, admission, notes, by_files: false, unjournaled: false, degraded: None, unconfirmed: false }
    }
}

/// The proof that a store committed one admission. It cannot be made outside this crate's stores, and cannot be copied.
#[derive(Debug)]
pub struct Admission(());
