//! The answer: admitted, refused or recorded, why, and when to come back.

use std::time::Duration;

use crate::policy::documents::Hold;
use crate::policy::limits::Ms;
use crate::policy::process::Process;

pub use crate::policy::reason::End;
pub use crate::policy::reason::Reason;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The ask may go on.
    Admit,
    /// The ask may not go on now.
    Refuse,
    /// No ask: the event was journaled.
    Record,
}

impl Outcome {
    /// The journal's word for it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Refuse => "refuse",
            Self::Record => "record",
        }
    }
}

/// What the policy decided, before any store has committed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Admitted, refused or recorded.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// How long until the ask would be admitted as things stand; `None` when no time ends it. After a release: what was left
    /// of the API cooldown that it ended.
    pub retry_after: Option<Duration>,
    /// Attempts in the bang window when it was decided, this one included if it was noted.
    pub attempts: u32,
    /// Trips of the class that are not forgotten; for `api_error` the API errors in a row.
    pub strikes: u32,
    /// The session's fence after the event, where it has one.
    pub fence: Option<i64>,
    /// Whether the session's last ask was answered with another reason.
    pub reason_changed: bool,
    /// Who holds, and why, where `reason` is [`Reason::Hold`] or the event opened the hold; after a release, what was lifted;
    /// on an admission, by whom the session was held when it last asked.
    pub held: Option<Held>,
    /// The hold that another one replaced.
    pub replaced: Option<Hold>,
    /// On an admission: how many continuations in a row it is, since a person's last prompt.
    pub count: u32,
    /// On an admission: what came with the wake-ups, one line each; empty for nothing.
    pub note: String,
    /// On an admission: the session's rest goes on, and only the wait for it is renewed.
    pub renewed: bool,
    /// The store's clock when it was decided.
    pub now: Ms,
    /// For a continuation: the store's `born`, which another one would tell from it; else empty.
    pub born: String,
    /// The client process that the session belongs to, where `reason` is [`Reason::Contested`].
    pub client: Option<Process>,
    /// The request was admitted before, and its answer was lost: nothing more is committed.
    pub repeated: bool,
    /// What became of the attempts that the burst window counts.
    pub attempt: Attempt,
}

/// What a request does to the attempts of its scope and class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attempt {
    /// It was not counted.
    #[default]
    Uncounted,
    /// It was counted beside those before it.
    Counted,
    /// It was admitted, and is the only one that counts from now on.
    First,
    /// It filled the window, which is empty now.
    Emptied,
}

/// Who holds and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Who opened the hold: a person's name, or `api`.
    pub by: String,
    /// The reason given.
    pub reason: String,
    /// Whether it is the whole fleet that is held, and not the scope.
    pub fleet: bool,
}

/// A store's answer to one step, after it was committed.
#[derive(Debug)]
pub struct Verdict {
    /// What was decided.
    pub decision: Decision,
    /// The proof of a committed admission; `Some` exactly when the outcome is [`Outcome::Admit`].
    pub admission: Option<Admission>,
    /// What a person should know of the store, one line each (a file set aside, say).
    pub notes: Vec<String>,
    /// Whether files on this machine decided, and not a server.
    pub by_files: bool,
    /// Whether the store could not take the journal's entry.
    pub unjournaled: bool,
    /// Why the embedded store stood in for the configured server, where it did.
    pub degraded: Option<String>,
    /// Whether that server may have committed the step all the same: its answer was lost.
    pub unconfirmed: bool,
}

impl Verdict {
    /// Wraps a decision that a store **has committed**. Only stores call this: an admission is worth its commit.
    pub(crate) fn committed(decision: Decision, notes: Vec<String>) -> Self {
        let admission = (decision.outcome == Outcome::Admit).then_some(Admission(()));
        Self { decision, admission, notes, by_files: false, unjournaled: false, degraded: None, unconfirmed: false }
    }
}

/// Proof that a store committed one admission. It cannot be made outside this crate's stores, nor copied.
#[derive(Debug)]
pub struct Admission(());
