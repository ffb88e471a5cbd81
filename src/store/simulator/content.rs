//! The content of a work queue, as a store has it: parsed without the policy's code.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::database::Database;

/// The lists of a queue; the first three can be claimed from.
pub(super) const LISTS: [&str; 5] = ["high", "normal", "low", "later", "dead"];
/// The number of failures that open the breaker.
const MOST_FAILURES: usize = 20;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
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

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn task(entry: &Value) -> Task {
    Task {
        id: text(&entry["id"]),
        priority: text(&entry["priority"]),
        number: number(&entry["number"]),
        at: entry["at"].as_i64().unwrap_or(0),
        attempts: number(&entry["attempts"]),
    }
}

fn held(in_hand: &Value) -> Held {
    let client = text(&in_hand["client"]);
    Held {
        task: task(&in_hand["entry"]),
        claim: number(&in_hand["claim"]),
        session: text(&in_hand["session"]),
        client: client.split(':').next().and_then(|pid| pid.parse().ok()).unwrap_or(0),
        is_overdue: !in_hand["overdue"].is_null(),
    }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

impl Content {
    fn of(queue: &Value, list: impl Fn(&'static str) -> Vec<Value>) -> Self {
        let mut places: Vec<Place> = Vec::new();
        for name in LISTS {
            places.extend(list(name).iter().map(|entry| Place::In(name, task(entry))));
        }
        places.extend(queue["hand"].as_array().into_iter().flatten().map(|one| Place::Hand(held(one))));
        let waiting = |nth: usize| number(&queue["waiting"][nth]);
        Self {
            places,
            counts: [waiting(0), waiting(1), waiting(2), number(&queue["later"]), number(&queue["dead"])],
            is_closed: queue["failures"].as_array().is_some_and(|failures| failures.len() >= MOST_FAILURES),
        }
    }

    /// Reads an agent's queue from a server's data; its keys begin with `prefix`.
    pub(super) fn of_server(database: &Database, prefix: &str, agent: &str) -> Self {
        let queue = parsed(database.text(&format!("{prefix}doc:work:{agent}")).unwrap_or_default());
        let list = |name| database.members(&format!("{prefix}work:{name}:{agent}")).into_iter().map(parsed).collect();
        Self::of(&queue, list)
    }

    /// Reads an agent's queue from files, with the changes of a transaction that is committed.
    pub(super) fn of_files(files: &Files<'_>, agent: &str) -> Self {
        let queue = files.read(&format!("work/{agent}/queue.json")).unwrap_or_default();
        Self::of(&queue["queue"], |name| files.list(&format!("work/{agent}/{name}/")))
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
        let redo = parsed(&fs::read(dir.join("redo.json")).unwrap_or_default());
        let change = |one: &Value| {
            let content = &one["content"];
            (text(&one["file"]), (!content.is_null()).then(|| content.to_string()))
        };
        Self { dir, changes: redo["files"].as_array().into_iter().flatten().map(change).collect() }
    }

    fn read(&self, file: &str) -> Option<Value> {
        match self.changes.get(file) {
            Some(changed) => changed.as_ref().map(|text| parsed(text.as_bytes())),
            None => fs::read(self.dir.join(file)).ok().map(|bytes| parsed(&bytes)),
        }
    }

    fn list(&self, folder: &str) -> Vec<Value> {
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
        let file = crate::store::files::paths::work_record(id);
        Some(text(&self.read(&file)?["record"]["state"]))
    }
}

/// Returns the state that is known by an entry's id on a server.
pub(super) fn state(database: &Database, prefix: &str, id: &str) -> Option<String> {
    Some(text(&parsed(database.text(&format!("{prefix}work:id:{id}"))?)["state"]))
}
