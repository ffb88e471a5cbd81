//! The worth of a turn: what the agent did since its last Stop event, and the class that idle backoff goes by.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The number of earlier turns whose tool calls are remembered.
const REMEMBERED: usize = 3;
/// The most tool calls of one turn that are remembered. A turn with more of them counts as work.
pub const MOST_CALLS: usize = 32;
/// A turn with at least this many tokens of answer is work, even without a tool.
const ENOUGH_TOKENS: u64 = 400;

/// The class of a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worth {
    /// The agent did something new.
    Worked,
    /// The agent repeated tool calls of its last turns: it polled.
    Looked,
    /// The agent used no tool except bookkeeping, and wrote little.
    Empty,
    /// The turn could not be measured. It counts as work.
    #[default]
    Unknown,
}

impl Worth {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Worked, Self::Looked, Self::Empty, Self::Unknown];

    /// Returns the name in the journal and on screens.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Worked => "worked",
            Self::Looked => "looked",
            Self::Empty => "empty",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the class with this name, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|worth| worth.code() == code)
    }

    /// Returns whether the turn was of no use, so that the agent may rest.
    #[must_use]
    pub fn is_idle(self) -> bool {
        matches!(self, Self::Looked | Self::Empty)
    }
}

/// A position in a transcript, up to which its turns are measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscriptPlace {
    /// The path of the file, as the client names it.
    pub path: String,
    /// The file's number in its file system. Another number is another file, which is measured from its beginning.
    pub inode: u64,
    /// The first byte that is not measured.
    pub offset: u64,
}

/// The facts of one turn, measured from the transcript by a waiting engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    /// Whether the payload's last message was found. Without it nothing else is known, and the next turn is measured
    /// from the same place.
    pub seen: bool,
    /// The position after the turn.
    pub place: Option<TranscriptPlace>,
    /// The origin of the turn as the client names it (`human`, `task_notification`, `sdk`); empty where unknown.
    pub origin: String,
    /// The time from the turn's first line to its last.
    pub took: Option<Duration>,
    /// The number of tool calls.
    pub tools: u32,
    /// The number of tool calls except bookkeeping: todo lists, schedules, `frosty`.
    pub units: u32,
    /// A hash of each tool call except bookkeeping (name, input and result, with digits folded), each once, at most
    /// [`MOST_CALLS`]; one more entry shows that there were more.
    pub calls: Vec<u64>,
    /// Whether the turn started a subagent, or left a shell or a monitor running in the background.
    pub delegated: bool,
    /// The tokens of input that were not cached.
    pub tokens_in: u64,
    /// The tokens of output.
    pub tokens_out: u64,
    /// The tokens of input that the cache served or took in.
    pub tokens_cached: u64,
    /// The number of API requests.
    pub requests: u32,
    /// The model of the last request.
    pub model: String,
    /// The id of the last request.
    pub request_id: String,
    /// The version of the client that wrote the transcript; empty where unknown. It is also known of a turn that was
    /// not seen.
    pub version: String,
    /// How long the measuring took. The Stop event is sent later by this time.
    pub spent: Duration,
}

impl Turn {
    /// Returns the class of the turn. `recent` are the tool calls of the turns before it.
    #[must_use]
    pub fn worth(&self, recent: &[Vec<u64>]) -> Worth {
        if !self.seen {
            return Worth::Unknown;
        }
        if self.delegated || self.calls.len() > MOST_CALLS {
            return Worth::Worked;
        }
        if self.calls.is_empty() {
            return if self.tokens_out < ENOUGH_TOKENS { Worth::Empty } else { Worth::Worked };
        }
        let is_known = |call: &u64| recent.iter().any(|turn| turn.contains(call));
        if self.calls.iter().all(is_known) { Worth::Looked } else { Worth::Worked }
    }
}

/// Notes a turn's tool calls, and forgets those of turns before the last [`REMEMBERED`].
pub(crate) fn remember(recent: &mut Vec<Vec<u64>>, turn: &Turn) {
    if turn.calls.is_empty() {
        return;
    }
    recent.push(turn.calls.iter().copied().take(MOST_CALLS).collect());
    let over = recent.len().saturating_sub(REMEMBERED);
    recent.drain(..over);
}
