//! The content of a work queue, as a store has it: parsed without the policy's code.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::database::Database;

/// The lists of a queue; the first three can be claimed from.
pub(super) const LISTS: [&str; 5] = ["high", "normal", "low", "later", "dead"];
/// The number of failures that open the breaker.
const MOST_FAILURES: usize = 20;

/// An entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) priority: String,
    pub(super) number: u64,
    pub(super) at: i64,
    pub(super) attempts: u64,
}

/// The place of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// It is in this list.
    In(&'static str, Task),
    /// A session has it in hand.
    Hand(Held),
}

/// An entry that a session has in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) task: Task,
    pub(super) claim: u64,
    pub(super) session: String,
    /// The process id of the client.
    pub(super) client: u32,
    pub(super) is_overdue: bool,
    /// The start token of the client that takes the claim over; empty where there is none.
    pub(super) start: String,
}

/// The content of one queue.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) places: Vec<Place>,
    /// The number of entries of each list, as the queue's document has it.
    pub(super) counts: [u64; 5],
    /// Whether too many attempts failed, so that nothing is claimed for a while.
    pub(super) is_closed: bool,
}

impl Place {
    pub(super) fn task(&self) -> &Task {
        match self {
            Self::In(_, task) | Self::Hand(Held { task, .. }) => task,
        }
    }

    /// Returns the name of its state, as what is known by its id has it.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Hand(_) => "in_hand",
            Self::In("dead", _) => "dead",
            Self::In(..) => "waiting",
        }
    }

    /// Returns whether it can be claimed now.
    pub(super) fn is_claimable(&self) -> bool {
        matches!(self, Self::In(list, _) if LISTS[..3].contains(list))
    }
}

/// A queue's document.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    hand: Vec<InHand>,
    waiting: [u64; 3],
    later: u64,
    dead: u64,
    failures: Vec<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InHand {
    entry: Task,
    claim: u64,
    session: String,
    client: Option<String>,
    overdue: Option<IgnoredAny>,
    start: String,
}

/// What is known by an entry's id.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Known {
    state: String,
}

impl From<InHand> for Held {
    fn from(one: InHand) -> Self {
        let pid = one.client.as_ref().and_then(|client| client.split(':').next()?.parse().ok());
        let (client, is_overdue) = (pid.unwrap_or(0), one.overdue.is_some());
        let InHand { entry: task, claim, session, start, .. } = one;
        Self { task, claim, session, client, is_overdue, start }
    }
}

/// Parses a document; one that cannot be parsed is empty.
fn parsed<'b, T: Default + Deserialize<'b>>(bytes: &'b [u8]) -> T {
    serde_json::from_slice(bytes).unwrap_or_default()
}

impl Content {
    fn of(queue: Document, list: impl Fn(&'static str) -> Vec<Task>) -> Self {
        let mut places: Vec<Place> = Vec::new();
        for name in LISTS {
            places.extend(list(name).into_iter().map(|task| Place::In(name, task)));
        }
        places.extend(queue.hand.into_iter().map(|one| Place::Hand(one.into())));
        let [high, normal, low] = queue.waiting;
        Self {
            places,
            counts: [high, normal, low, queue.later, queue.dead],
            is_closed: queue.failures.len() >= MOST_FAILURES,
        }
    }

    /// Returns the entries in hand.
    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.places.iter().filter_map(|place| if let Place::Hand(held) = place { Some(held) } else { None })
    }

    /// Reads an agent's queue from a server's data; its keys begin with `prefix`.
    pub(super) fn of_server(database: &Database, prefix: &str, agent: &str) -> Self {
        let queue = parsed(database.text(&format!("{prefix}doc:work:{agent}")).unwrap_or_default());
        let list = |name| database.members(&format!("{prefix}work:{name}:{agent}")).into_iter().map(parsed).collect();
        Self::of(queue, list)
    }

    /// Reads an agent's queue from files, with the changes of a transaction that is committed.
    pub(super) fn of_files(files: &Files<'_>, agent: &str) -> Self {
        #[derive(Default, Deserialize)]
        struct File {
            queue: Document,
        }
        let file: File = files.read(&format!("work/{agent}/queue.json")).unwrap_or_default();
        Self::of(file.queue, |name| files.list(&format!("work/{agent}/{name}/")))
    }
}

/// The files of one fleet, with the changes of a transaction.
pub(super) struct Files<'f> {
    dir: &'f Path,
    changes: BTreeMap<String, Option<String>>,
}

impl<'f> Files<'f> {
    pub(super) fn of(dir: &'f Path, changes: &[(&str, Option<&str>)]) -> Self {
        let change = |(file, content): &(&str, Option<&str>)| ((*file).to_owned(), content.map(str::to_owned));
        Self { dir, changes: changes.iter().map(change).collect() }
    }

    /// Reads the files with the transaction that was committed and may not be finished.
    pub(super) fn at_rest(dir: &'f Path) -> Self {
        let redo: Value = parsed(&fs::read(dir.join("redo.json")).unwrap_or_default());
        let change = |one: &Value| {
            let (file, content) = (one["file"].as_str().unwrap_or_default(), &one["content"]);
            (file.to_owned(), (!content.is_null()).then(|| content.to_string()))
        };
        Self { dir, changes: redo["files"].as_array().into_iter().flatten().map(change).collect() }
    }

    fn read<T: Default + DeserializeOwned>(&self, file: &str) -> Option<T> {
        match self.changes.get(file) {
            Some(changed) => changed.as_ref().map(|text| parsed(text.as_bytes())),
            None => fs::read(self.dir.join(file)).ok().map(|bytes| parsed(&bytes)),
        }
    }

    fn list(&self, folder: &str) -> Vec<Task> {
        let there = fs::read_dir(self.dir.join(folder)).into_iter().flatten().flatten();
        let names = there.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter(|name| name.ends_with(".json")).map(|name| format!("{folder}{name}")).collect();
        names.extend(self.changes.keys().filter(|file| file.starts_with(folder)).cloned());
        names.sort();
        names.dedup();
        names.iter().filter_map(|file| self.read(file)).collect()
    }

    /// Returns the state that is known by an entry's id.
    pub(super) fn state(&self, id: &str) -> Option<String> {
        #[derive(Default, Deserialize)]
        struct File {
            record: Known,
        }
        let file: File = self.read(&crate::store::files::paths::work_record(id))?;
        Some(file.record.state)
    }
}

/// Returns the state that is known by an entry's id on a server.
pub(super) fn state(database: &Database, prefix: &str, id: &str) -> Option<String> {
    let known: Known = parsed(database.text(&format!("{prefix}work:id:{id}"))?);
    Some(known.state)
}
