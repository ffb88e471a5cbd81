//! The keys of a route: each key after the first is a fleet of its own, and gets the work of a key that is at its limit.

use crate::config::{Config, Route, SessionKind};
use crate::hook;
use crate::policy::limits::Ms;
use crate::policy::request::{Event, Step};
use crate::policy::work::NotThere;
use crate::policy::work::entry::{List, WorkEntry};
use crate::store::fleet_reader::FleetReader;
use crate::store::work::{self as queues, Change, Changed};
use crate::store::{StoreError, work::Contents};
use crate::text;

use super::live;

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
    if others.is_empty() || !is_limited(own, agent, model)? {
        return Ok(Vec::new());
    }
    let mut free = None;
    for other in others {
        if !is_limited(other, agent, model)? {
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
    let is_empty = |contents: &Contents| contents.queue.length() == 0;
    if !queues::contents(&mut FleetReader::open_to_change(free), Some(agent), 0)?.iter().all(is_empty) {
        return Ok(lines);
    }
    let contents = queues::contents(&mut reader, Some(agent), 1)?;
    let Some(entry) = contents.first().and_then(|contents| due(contents, now)) else { return Ok(lines) };
    if move_entry(own, free, agent, &entry)? {
        lines.push(format!("passed {} of {} on to the fleet {}", entry.id, text::line(&route.to), free.fleet));
    }
    Ok(lines)
}

/// Returns whether the API refuses the key of a fleet: by a limit, or by the errors that the agent met.
fn is_limited(config: &Config, agent: &str, model: &str) -> Result<bool, StoreError> {
    let mut reader = FleetReader::open_to_change(config);
    let now = reader.now()?;
    let state = reader.state(agent, &format!("{}none", live::OWN))?;
    let ends = [state.fleet.limit_for(&state.scope, model, now), state.fleet.api_end_of(&state.scope, now)];
    Ok(ends.into_iter().flatten().any(|end| end > now))
}

/// Returns the first entry of a queue that may be claimed now.
fn due(contents: &Contents, now: Ms) -> Option<WorkEntry> {
    let lists = contents.entries.iter().filter(|(list, _)| *list != List::Dead);
    lists.flat_map(|(_, entries)| entries).find(|entry| entry.at <= now).cloned()
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
        if record.is_none_or(|record| record.state.is_over()) {
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
