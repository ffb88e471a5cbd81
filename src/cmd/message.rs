//! Messages between agents: `frosty tell`, `frosty ask` and `frosty reply`.
//!
//! A message is a wake-up with a note. A question is an entry of the queue of the agent that is asked. Both are bounded as the
//! entries that an agent adds, and neither admits anything.

pub mod ask;
pub(super) mod blocked;
pub mod reply;
pub mod tell;

use std::time::Duration;

use crate::cmd::Failure;
use crate::config::Config;
use crate::duration;
use crate::hint::Hint;
use crate::hook;
use crate::policy::request::{Event, Step};
use crate::policy::work::entry::{DEEPEST, LONGEST_TEXT};
use crate::store::work::{self, Change, Changed};
use crate::text;

/// Why a message was not sent, or a question has no reply.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// No session of the agent is known.
    #[error("no session of the agent {agent} is open; nothing was sent")]
    NoSession {
        /// The agent.
        agent: String,
    },
    /// A session sends a message to its own agent.
    #[error("a session cannot send a message to its own agent {agent}; nothing was sent")]
    ToItself {
        /// The agent.
        agent: String,
    },
    /// A message would be too deep.
    #[error(
        "the message would be the {depth}th that sessions caused one after the other, more than {DEEPEST}; nothing was sent"
    )]
    TooDeep {
        /// The depth.
        depth: u32,
    },
    /// The sessions of an agent sent too many messages in a day.
    #[error("the sessions of {agent} have sent 20 messages and entries within a day; nothing was sent")]
    DailyBound {
        /// The agent.
        agent: String,
    },
    /// The entry is a task.
    #[error("the entry {id} is a task, not a question; nothing was changed")]
    NoQuestion {
        /// The id.
        id: String,
    },
    /// Another agent was asked.
    #[error("the question {id} was asked of {agent}; only its sessions or a person can reply")]
    NotAddressee {
        /// The id.
        id: String,
        /// The agent that was asked.
        agent: String,
    },
    /// Another session has the question in hand.
    #[error("another session has the question {id} in hand; nothing was changed")]
    InOtherHand {
        /// The id.
        id: String,
    },
    /// The question has another reply.
    #[error("the question {id} has another reply already; nothing was changed")]
    Replied {
        /// The id.
        id: String,
    },
    /// The question was removed.
    #[error("the question {id} was removed; nothing was changed")]
    Removed {
        /// The id.
        id: String,
    },
    /// There is no reply yet.
    #[error("no reply to {id} within {}; the question remains", duration::show(*.within))]
    NoReply {
        /// The id.
        id: String,
        /// How long the command waited.
        within: Duration,
    },
    /// The question ended without a reply.
    #[error("the question {id} ended without a reply: {state}")]
    Ended {
        /// The id.
        id: String,
        /// The state of its entry.
        state: &'static str,
    },
}

impl Hint for MessageError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoSession { agent } => {
                format!("leave it in its queue: frosty work add --to {} \"TEXT\"", text::word(agent))
            }
            Self::ToItself { .. } => "go on with it in this session, or end with: frosty: next_check 20m".to_owned(),
            Self::TooDeep { .. } | Self::DailyBound { .. } => {
                "tell a person, and end with: frosty: blocked <on whom>".to_owned()
            }
            Self::NoQuestion { id } => format!("acknowledge it: frosty work done {}", text::word(id)),
            Self::NoReply { id, .. } => format!("read the reply later: frosty work show {}", text::word(id)),
            Self::NotAddressee { id, .. }
            | Self::InOtherHand { id }
            | Self::Replied { id }
            | Self::Removed { id }
            | Self::Ended { id, .. } => format!("see it: frosty work show {}", text::word(id)),
        })
    }
}

/// Quotes the text of an agent as lines that no text can leave, and that are no directive.
pub(super) fn quoted(given: &str) -> String {
    let lines: Vec<String> = text::prompt(given, LONGEST_TEXT).trim().lines().map(|line| format!("> {line}")).collect();
    lines.join("\n")
}

/// Counts a message against the day's bound of the agent that sends it.
fn count(config: &Config, agent: &str, session: &str, to: &str) -> Result<(), Failure> {
    let detail = format!("to {to}");
    let step = Step { detail, ..hook::step_of(String::new(), session.to_owned(), "Tell", Event::Other) };
    let change = Change { agent, id: "", by: None, step: &step };
    let counted = work::change(config, &change, |Changed { work, now, .. }| {
        if work.queue.note_added(now) {
            Ok(())
        } else {
            Err(MessageError::DailyBound { agent: text::line(&text::decoded(agent)) })
        }
    })?;
    Ok(counted?)
}
