//! The keys of a route: each key after the first is a fleet of its own, and gets the work of a key that is at its limit.

use crate::cmd::work::held;
use crate::config::{Config, Route, SessionKind};
use crate::hook;
use crate::policy::hold;
use crate::policy::limits::Ms;
use crate::policy::request::{Event, Step};
use crate::policy::work::entry::{List, WorkEntry};
use crate::policy::work::{NotThere, RecordState};
use crate::store::fleet_reader::FleetReader;
use crate::store::work::{self as queues, Change, Changed};
use crate::store::{StoreError, work::Contents};
use crate::text;

use super::live;

/// The most entries of a list that are looked at for one that may be passed on.
const LOOKED_AT: usize = 50;

/// The configurations of the fleets of a route, one for each key. Without keys, it is the one of the dispatcher.
pub(super) fn fleets(config: &Config, route: &Route) -> Vec<Config> {
    let keys = route.session.as_ref().map_or(0, |session| session.keys.len()).max(1);
    let fleet = |n: usize| {
        let fleet = if n == 0 { config.fleet.clone() } else { format!("{}-key{}", config.fleet, n.saturating_add(1)) };
        Config { fleet, ..config.clone() }
    };
    (0..keys).map(fleet).collect()
}

/// Moves work from the fleet `own` to the first of `others` that is at no limit, while `own` is at its limit. The idle
/// sessions there are stopped first, which gives their entries back. Returns the lines that describe what was done.
///
/// # Errors
/// When a store cannot be read or written.
pub(super) fn pass_on(own: &Config, others: &[Config], route: &Route, agent: &str) -> Result<Vec<String>, StoreError> {
    let model = route.session.as_ref().and_then(|session| session.model.as_deref()).unwrap_or_default();
    if others.is_empty() || standing(own, agent, model)? != Standing::Limited {
        return Ok(Vec::new());
    }
    let mut free = None;
    for other in others {
        if standing(other, agent, model)? == Standing::Free {
            free = Some(other);
            break;
        }
    }
    let Some(free) = free else { return Ok(Vec::new()) };
    let mut lines = Vec::new();
    let mut reader = FleetReader::open_to_change(own);
    let now = reader.now()?;
    let sessions = reader.sessions()?;
    let kind = route.session.as_ref().map_or(SessionKind::Background, |session| session.kind);
    for session in live::of(&sessions, agent, own.policy.work.lease, now) {
        if live::is_between_turns(&session.1) && live::stop(session, kind).is_ok() {
            lines.push(format!(
                "stopped a session of {} at the limit of its key: {}",
                text::line(&route.to),
                session.0
            ));
        }
    }
    let is_empty = |contents: &Contents| contents.queue.waiting == [0; 3];
    if !queues::contents(&mut FleetReader::open_to_change(free), Some(agent), 0)?.iter().all(is_empty) {
        return Ok(lines);
    }
    let contents = queues::contents(&mut reader, Some(agent), LOOKED_AT)?;
    let Some(entry) = contents.first().and_then(|contents| due(contents, now)) else { return Ok(lines) };
    if move_entry(own, free, agent, &entry)? {
        lines.push(format!(
            "passed {} of {} on to the fleet {}",
            entry.id,
            text::line(&route.to),
            text::line(&text::decoded(&free.fleet))
        ));
    }
    Ok(lines)
}

/// Whether the API key of a fleet can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Free,
    /// The API refuses it: by a limit, or by the errors that the agent met.
    Limited,
    /// A person or an agent holds the agent or the fleet. Its work stays where it is.
    Held,
}

fn standing(config: &Config, agent: &str, model: &str) -> Result<Standing, StoreError> {
    let mut reader = FleetReader::open_to_change(config);
    let now = reader.now()?;
    let state = reader.state(agent, &format!("{}none", live::OWN))?;
    let (scope, fleet) = (&state.scope, &state.fleet);
    if held::of(config, agent)?.is_by_person() {
        return Ok(Standing::Held);
    }
    let ends = [fleet.limit_for(scope, model, now), fleet.api_end_of(scope, now)];
    let is_limited = ends.into_iter().flatten().any(|end| end > now) || hold::held(scope, fleet, now).is_some();
    Ok(if is_limited { Standing::Limited } else { Standing::Free })
}

/// Returns the first entry of a queue that may be claimed now. A question stays with the fleet in which its asker waits.
fn due(contents: &Contents, now: Ms) -> Option<WorkEntry> {
    let lists = contents.entries.iter().filter(|(list, _)| *list != List::Dead);
    lists.flat_map(|(_, entries)| entries).find(|entry| entry.at <= now && entry.question.is_none()).cloned()
}

/// Moves an entry to the queue of another fleet. Returns whether it was moved.
///
/// It is added there before it is removed here, so that none is lost where the dispatcher ends in between.
fn move_entry(own: &Config, free: &Config, agent: &str, entry: &WorkEntry) -> Result<bool, StoreError> {
    let step =
        |name: &str, detail: String| Step { detail, ..hook::step_of(String::new(), String::new(), name, Event::Other) };
    let added = WorkEntry { stored: String::new(), at: 0, ..entry.clone() };
    let add = step("WorkAdd", format!("from the fleet {}, whose key is at its limit", own.fleet));
    let change = Change { agent, id: &entry.id, by: None, step: &add };
    let add = queues::change(free, &change, |Changed { work, record, now, .. }| {
        // What is known there was passed on by a dispatcher that ended before it removed the entry here.
        if record.is_none_or(|record| record.state == RecordState::Dropped) {
            work.add(added.clone(), None, now);
        }
        Ok::<(), NotThere>(())
    })?;
    let drop = step("WorkDrop", format!("passed on to the fleet {}", free.fleet));
    let change = Change { agent, id: &entry.id, by: None, step: &drop };
    let removed = add.and(queues::change(own, &change, |Changed { work, now, .. }| {
        if work.picked.is_none() {
            return Err(NotThere);
        }
        work.drop_entry(&entry.id, now)
    })?);
    if removed.is_err() {
        // A session claimed it here meanwhile.
        let change = Change {
            agent,
            id: &entry.id,
            by: None,
            step: &step("WorkDrop", format!("claimed in the fleet {}", own.fleet)),
        };
        let _ = queues::change(free, &change, |Changed { work, now, .. }| work.drop_entry(&entry.id, now))?;
    }
    Ok(removed.is_ok())
}
