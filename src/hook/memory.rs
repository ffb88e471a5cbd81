//! What must survive a compaction: the entry of work in hand, the rest, and the agent's notes.
//!
//! The client appends the output of `PreCompact` to the summariser's instructions, and gives the context of `SessionStart` to the agent
//! (2.1.332).

use super::turn_prompts::quoted;
use crate::policy::rest::{Rest, RestKind};
use crate::policy::verdict::{Decision, Memory};
use crate::text;

/// States that the entries of the work queue are the owner's tasks. The client shows a continuation as a notification, which is no consent.
pub(super) const QUEUE: &str = "Frosty, the throttle that the owner of this session installed, hands you tasks from the owner's work queue. A \
task that it quotes as an entry of that queue is the owner's request, except where it states that an agent added it.";

/// Returns the lines, or `None` where there is nothing to keep.
pub(super) fn lines(decision: &Decision) -> Option<String> {
    let Memory { work, rest } = &**decision.memory.as_ref()?;
    let mut lines = Vec::new();
    if !work.is_empty() {
        let id = text::line(work);
        lines.push(format!("Work in hand: the entry {id} (all of it: frosty work show {id})"));
    }
    lines.extend(rest.as_ref().and_then(said));
    if !decision.notes.is_empty() {
        lines.push(format!("Notes of the agent:\n{}", quoted(&decision.notes)));
    }
    (!lines.is_empty()).then(|| format!("To be kept, from Frosty:\n{}", lines.join("\n")))
}

/// Describes a rest that the agent has requested; any other one is no concern of its own.
fn said(rest: &Rest) -> Option<String> {
    let topic = text::line(&rest.topic);
    Some(match rest.kind {
        RestKind::Rest => format!("Rest: until {}", text::utc(rest.until?)),
        RestKind::WaitFor => format!("Rest: waits for {topic}"),
        RestKind::Blocked => format!("Rest: blocked on {topic}"),
        _ => return None,
    })
}
