//! A work queue in files: its document, a file for each entry, and a file for what is known by an entry's id.
//!
//! A list is a folder, and an entry's file has its place as its name. The document names the first place of a list that may
//! have an entry, so that no step reads a folder with all of the entries that wait.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::config::Config;
use crate::policy::documents::SessionState;
use crate::policy::limits::Ms;
use crate::policy::work::entry::{List, Priority, WorkEntry};
use crate::policy::work::question::REPLY_KEEP;
use crate::policy::work::queue::{self, Queue};
use crate::policy::work::{Move, Record, WorkMode, WorkState};
use crate::read;
use crate::scope;
use crate::store::StoreError;
use crate::store::files::paths;
use crate::store::files::state_file::{self, Before, Found, VERSION, Versioned};
use crate::store::files::transaction::Transaction;
use crate::store::work::seen;
use crate::text;

/// The largest file of an entry: each of its characters may be escaped.
const LARGEST_ENTRY: u64 = 256 * 1024;
/// The most delayed entries that one step makes claimable.
const MOST_DUE: usize = 8;

/// The content of `<fleet>/work/<agent>/queue.json`.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct QueueFile {
    v: u32,
    pub(crate) queue: Queue,
}

impl Versioned for QueueFile {
    fn version(&self) -> u32 {
        self.v
    }
}

impl QueueFile {
    /// Makes the file of a queue.
    pub(crate) fn new(queue: Queue) -> Self {
        Self { v: VERSION, queue }
    }
}

/// The content of `<fleet>/work-ids/<xx>/<id>.json`.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct RecordFile {
    v: u32,
    pub(crate) record: Record,
}

impl Versioned for RecordFile {
    fn version(&self) -> u32 {
        self.v
    }
}

/// A queue as it was read.
pub(crate) struct LoadedWork {
    before: Before,
    /// The queue with the heads of its lists.
    pub(crate) state: WorkState,
}

/// Reads the queue of an agent; `None` for one that cannot be read, from which nothing is claimed.
///
/// # Errors
/// When a newer program wrote it.
pub(crate) fn load(dir: &Path, agent: &str) -> Result<Option<LoadedWork>, StoreError> {
    let (mut queue, before) = match state_file::load_in_place::<QueueFile>(&dir.join(paths::queue(agent)))? {
        Found::State { state, before } => (state.queue, before),
        // The numbers that the document gave are unknown.
        Found::Nothing if has_entries(dir, agent) => return Ok(None),
        Found::Nothing => (Queue::default(), Before::default()),
        Found::SetAside(_) => return Ok(None),
    };
    let mut heads = [None, None, None];
    for (priority, head) in Priority::ALL.into_iter().zip(&mut heads) {
        let Ok(found) = first(dir, agent, &mut queue, priority) else { return Ok(None) };
        *head = found;
    }
    let Ok(later) = list(dir, agent, List::Later, MOST_DUE) else { return Ok(None) };
    let seen = seen(&queue.hand);
    let state = WorkState { agent: agent.to_owned(), queue, heads, later, seen, ..WorkState::default() };
    Ok(Some(LoadedWork { before, state }))
}

/// Returns the queue that a session works through by this configuration, as this machine's files have it.
pub(crate) fn of_session(config: &Config, dir: &Path, session: &SessionState) -> Option<WorkState> {
    if config.policy.work.mode == WorkMode::Off {
        return None;
    }
    let agent = scope::agent(&session.name, session.named_by_project, &session.scope);
    load(dir, &agent).ok()?.map(|work| work.state)
}

/// Returns whether a list of the queue has an entry.
fn has_entries(dir: &Path, agent: &str) -> bool {
    let has =
        |list: List| fs::read_dir(dir.join(paths::entries(agent, list))).is_ok_and(|mut files| files.next().is_some());
    List::ALL.into_iter().any(has)
}

/// Returns the first entry of a priority, and notes where it is.
fn first(dir: &Path, agent: &str, known: &mut Queue, priority: Priority) -> io::Result<Option<WorkEntry>> {
    if queue::of(&known.waiting, priority) == 0 {
        return Ok(None);
    }
    let (from, to) = (queue::of(&known.first, priority), queue::of(&known.placed, priority));
    for number in from..to {
        let place = Ms::try_from(number).unwrap_or(Ms::MAX);
        if let Some(entry) = entry(&dir.join(paths::entry(agent, priority.list(), place, "")))? {
            *queue::of_mut(&mut known.first, priority) = number;
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// Reads the file of an entry; `None` where there is none.
fn entry(path: &Path) -> io::Result<Option<WorkEntry>> {
    match read::file(path, LARGEST_ENTRY) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(serde_json::from_slice(&bytes?)?)),
    }
}

/// Returns the first entries of a list, of which this reads the folder.
///
/// # Errors
/// When one of them cannot be read.
pub(crate) fn list(dir: &Path, agent: &str, list: List, most: usize) -> io::Result<Vec<WorkEntry>> {
    let folder = dir.join(paths::entries(agent, list));
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut names: Vec<PathBuf> = names.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    if names.len() > most {
        names.select_nth_unstable(most);
        names.truncate(most);
    }
    names.sort();
    names.iter().filter_map(|path| entry(path).transpose()).collect()
}

/// Returns an entry by its place.
pub(crate) fn at(dir: &Path, agent: &str, list: List, place: Ms, id: &str) -> Option<WorkEntry> {
    entry(&dir.join(paths::entry(agent, list, place, id))).ok()?
}

/// Adds the changes of a queue to a transaction.
///
/// # Errors
/// When they cannot be serialized.
pub(crate) fn changes(transaction: &mut Transaction<'_>, loaded: &Before, state: &WorkState) -> Result<(), StoreError> {
    let agent = &state.agent;
    transaction.put(paths::queue(agent), &QueueFile::new(state.queue.clone()), loaded)?;
    for change in &state.moves {
        match change {
            Move::Take(list, entry) => transaction.remove(paths::entry(agent, *list, entry.score(*list), &entry.id)),
            Move::Put(list, entry) => {
                let path = paths::entry(agent, *list, entry.score(*list), &entry.id);
                transaction.put(path, entry, &Before::default())?;
            }
            Move::Note(record) => {
                let file = RecordFile { v: VERSION, record: record.clone() };
                transaction.put(paths::work_record(&record.id), &file, &Before::default())?;
            }
        }
    }
    Ok(())
}

impl LoadedWork {
    /// Returns the file that the queue was read from.
    pub(crate) fn before(&self) -> &Before {
        &self.before
    }
}

/// Reads what is known by an id; `None` where nothing is.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn record(dir: &Path, id: &str) -> Result<Option<Record>, StoreError> {
    let path = dir.join(paths::work_record(id));
    match state_file::load_in_place::<RecordFile>(&path)? {
        Found::State { state, .. } => Ok(Some(state.record)),
        Found::Nothing => Ok(None),
        Found::SetAside(cause) => Err(StoreError::WorkUnreadable { place: text::path(&path), cause }),
    }
}

/// Returns the agents with a queue.
pub(crate) fn agents(dir: &Path) -> Vec<String> {
    let folders = fs::read_dir(dir.join(paths::WORK)).into_iter().flatten().flatten();
    let names = folders.filter_map(|folder| folder.file_name().into_string().ok());
    names.filter(|name| dir.join(paths::queue(name)).is_file()).collect()
}

/// Removes what is known of entries that were over for 30 days, in one folder of many each time.
pub(crate) fn clear(dir: &Path, now: Ms) {
    const KEEP: Ms = 30 * 86_400_000;
    let folder = dir.join(paths::work_records(u8::try_from(clock::chance() % 256).unwrap_or(0)));
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = file.path();
        let known = state_file::peek::<RecordFile>(&path).map(|file| file.record);
        let is_kept =
            |known: &Record| now.saturating_sub(known.at) <= if known.has_reply() { REPLY_KEEP } else { KEEP };
        if known.is_some_and(|known| known.state.is_over() && !is_kept(&known)) {
            let _ = fs::remove_file(path);
        }
    }
}
