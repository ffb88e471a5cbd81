//! What people see of the work queues: their numbers, the age of the oldest entry, and agents that are idle beside work.

use crate::engine;
use crate::local_time;
use crate::policy::documents::Phase;
use crate::policy::limits::Ms;
use crate::policy::rest::RestKind;
use crate::policy::work::entry::List;
use crate::policy::work::queue::Queue;
use crate::scope;
use crate::store::StoreError;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::work::{self, Contents};
use crate::text;

/// The age from which on an entry that waits beside an idle agent is an alarm.
const TOO_OLD: Ms = 60_000;

/// A queue in a few numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The agent, encoded.
    pub agent: String,
    /// The queue's document.
    pub queue: Queue,
    /// How long the oldest entry that can be claimed has waited.
    pub oldest: Option<Ms>,
}

impl Summary {
    /// Returns the numbers of a queue.
    #[must_use]
    pub fn of(contents: &Contents, now: Ms) -> Self {
        let waits = |list: &List| !matches!(list, List::Dead | List::Later);
        let heads = contents.entries.iter().filter(|(list, _)| waits(list)).filter_map(|(_, entries)| entries.first());
        let oldest = heads.map(|entry| now.saturating_sub(entry.added).max(0)).max();
        Self { agent: contents.agent.clone(), queue: contents.queue.clone(), oldest }
    }

    /// Returns the queue in one line.
    #[must_use]
    pub fn line(&self, now: Ms) -> String {
        let mut line = format!("{}: {}", text::line(&text::decoded(&self.agent)), numbers(&self.queue));
        if let Some(age) = self.oldest {
            line.push_str(&format!("; the oldest has waited {}", local_time::age(age)));
        }
        if let Some(until) = self.queue.broken_until(now) {
            line.push_str(&format!("; too many failed: none is claimed before {}", local_time::zoned(until, now)));
        }
        line
    }

    /// Returns whether a session of this agent waits for work, while work has waited for it.
    #[must_use]
    pub fn is_stuck(&self, sessions: &[Session]) -> bool {
        let is_idle = |(_, session): &&Session| {
            let rest = session.rest.as_ref().map(|rest| rest.kind);
            let agent = scope::agent(&session.name, session.named_by_project, &session.scope);
            agent == self.agent
                && session.phase == Phase::Open
                && session.work.is_none()
                && matches!(rest, Some(RestKind::NoWork | RestKind::Done | RestKind::Idle))
                && engine::waits(session)
        };
        self.oldest.is_some_and(|age| age > TOO_OLD) && sessions.iter().any(|session| is_idle(&session))
    }
}

/// Returns the queues that have an entry, by the names of their agents.
///
/// # Errors
/// When one of them cannot be read.
pub fn summaries(reader: &mut FleetReader<'_>, now: Ms) -> Result<Vec<Summary>, StoreError> {
    let queues = work::contents(reader, None, 1)?;
    let mut all: Vec<Summary> = queues.iter().map(|contents| Summary::of(contents, now)).collect();
    all.retain(|summary| !summary.queue.is_empty());
    all.sort_by(|a, b| a.agent.cmp(&b.agent));
    Ok(all)
}

fn numbers(queue: &Queue) -> String {
    let part = |n: u64, one: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let parts = [
        part(queue.waiting.iter().sum(), "waits", "wait"),
        part(queue.later, "is delayed", "are delayed"),
        part(queue.hand.len() as u64, "is in hand", "are in hand"),
        part(queue.dead, "dead letter", "dead letters"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "empty".to_owned() } else { parts.join(", ") }
}
