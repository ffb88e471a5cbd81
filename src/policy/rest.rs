//! A rest: why and how long a session does not continue, until its end or a wake-up.

use serde::{Deserialize, Serialize};

use crate::policy::fact::{FactId, identity, is_unnamed};
use crate::policy::limits::Ms;

/// The kinds of a session's rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestKind {
    /// Until a time.
    Rest,
    /// For good: the agent reported that it is done.
    Done,
    /// Until a person answers.
    Blocked,
    /// Until a topic is woken.
    WaitFor,
    /// Until the client wakes the session by itself (a cron, a task).
    Parked,
    /// Until a time, because the agent's last turns did nothing.
    Idle,
    /// Until a time, because the command of `frosty gate` failed.
    Failed,
}

impl RestKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Rest, Self::Done, Self::Blocked, Self::WaitFor, Self::Parked, Self::Idle, Self::Failed];

    /// Returns the kind with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }

    /// Returns the stored code, which is also the reason code of a refusal.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Done => "done",
            Self::Blocked => "blocked",
            Self::WaitFor => "wait_for",
            Self::Parked => "parked",
            Self::Idle => "idle",
            Self::Failed => "failed",
        }
    }

    /// Returns whether the agent requested the rest itself. Only such a rest outlasts a turn that the client began.
    #[must_use]
    pub fn is_agents(self) -> bool {
        !matches!(self, Self::Parked | Self::Idle | Self::Failed)
    }
}

/// A rest of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// The kind of the rest.
    pub kind: RestKind,
    /// When the rest began.
    pub since: Ms,
    /// When the rest ends, if a time ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Ms>,
    /// The topic that the session waits for, or the person that it is blocked on; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// The id of the rest.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Rest {
    /// Returns the id of the rest.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.since)
    }

    /// Works as [`Span::rebase`].
    pub fn rebase(&mut self, now: Ms) {
        if self.since > now {
            self.id = self.identity();
            if let Some(until) = &mut self.until {
                *until = now.saturating_add(until.saturating_sub(self.since).max(0));
            }
            self.since = now;
        }
    }

    /// Returns whether the rest lasts at `now`.
    #[must_use]
    pub fn lasts(&self, now: Ms) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}
