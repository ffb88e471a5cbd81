//! Work: one queue per agent. Its sessions claim the entries at their Stop events.
//!
//! An entry is always in exactly one state: it waits in a list of its queue, a session has it in hand, it is a dead
//! letter, or it is over. Every change of a queue is a change of the queue's document, so that two changes never
//! happen at once. A claim is part of the commit of the admission that it permits.

pub mod entry;
pub mod order;
pub mod question;
pub mod queue;
pub(crate) mod rule;
pub(crate) mod start;
mod state;
#[cfg(test)]
mod tests;

pub use start::Start;
pub use state::{Move, NotThere, Record, RecordState, WorkState};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::limits::Ms;
use queue::InHand;

/// Whether a session claims entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkMode {
    /// Never.
    #[default]
    Off,
    /// An entry comes first, else the session's own task.
    Preferred,
    /// The session continues only with an entry.
    Required,
}

impl WorkMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Preferred, Self::Required];

    pub(crate) fn is_off(&self) -> bool {
        *self == Self::Off
    }

    /// Returns the name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Preferred => "preferred",
            Self::Required => "required",
        }
    }

    /// Returns the mode with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// How a session works through its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkPolicy {
    /// Whether the session claims entries.
    pub mode: WorkMode,
    /// The number of turns for one entry, after which it goes back with an attempt counted.
    pub max_turns: u32,
    /// The number of attempts after which an entry becomes a dead letter.
    pub max_attempts: u32,
    /// How long a claim lasts while no machine can see its client.
    pub lease: Duration,
}

impl Default for WorkPolicy {
    fn default() -> Self {
        Self { mode: WorkMode::Off, max_turns: 30, max_attempts: 3, lease: Duration::from_secs(2 * 3600) }
    }
}

/// The entry that a session has in hand, as the session's document names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claimed {
    /// The entry's id.
    pub id: String,
    /// The agent of its queue, encoded.
    pub agent: String,
    /// The claim's fencing token; a later claim of the entry has another one.
    pub claim: u64,
    /// How many sessions one after the other caused the entry.
    #[serde(skip_serializing_if = "is_zero")]
    pub depth: u32,
    /// The turns for this entry so far.
    pub turns: u32,
}

/// The entry that an admission hands out, or leaves in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The entry.
    pub in_hand: InHand,
    /// The turn for this entry that begins, from 1.
    pub turn: u32,
    /// The number of turns after which it goes back.
    pub max_turns: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Returns how long an entry waits after this many failed attempts.
#[must_use]
pub fn backoff(attempts: u32) -> Ms {
    let minutes = match attempts {
        0 => 0,
        1 => 2,
        2 => 5,
        3 => 10,
        _ => 30,
    };
    minutes * 60_000
}
