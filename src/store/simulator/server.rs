//! A simulated server: its data, its clock, its scripts, and all its journal entries.

use std::collections::BTreeMap;

use super::content::{self, Content};
use super::database::{Database, Reply};
use super::ledger::{At, Commit, Fields, Ledger};
use super::oracle::DECIDED;
use super::script::{self, Written};
use super::world::{Clock, Time};
use crate::store::outbox::SHIP;
use crate::store::server::commit::{COMMIT, COMMIT_SHA};

/// The beginning of every key, and of the keys of queues' documents.
const PREFIX: &str = "frosty:{default}:";
const WORK: &[u8] = b"frosty:{default}:doc:work:";

/// An entry of a journal, as it was committed.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) at: Time,
    /// The life of the server's data to which it belongs. Each loss begins another one.
    pub(super) life: u64,
    /// The id of the step for which it was written.
    pub(super) step: String,
    /// Whether an earlier entry was written for the step, maybe in an earlier life.
    pub(super) is_again: bool,
    pub(super) fields: BTreeMap<String, String>,
}

impl Entry {
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Returns whether it is an admission by which an agent may continue.
    pub(super) fn admits(&self) -> bool {
        self.field("next_action") == "CLAUDE_CODE_RESTART"
    }
}

/// A server.
pub(super) struct Server {
    pub(super) clock: Clock,
    pub(super) is_up: bool,
    /// The number of its starts. Connections of an earlier start are closed.
    pub(super) start: u64,
    /// The life of its data, which grows with each loss.
    pub(super) life: u64,
    database: Database,
    knows_script: bool,
    snapshots: Vec<Database>,
    /// When it lost data, and whether it lost all of it.
    pub(super) losses: Vec<(Time, bool)>,
    /// Every entry that was ever added to its journal.
    pub(super) journal: Vec<Entry>,
    /// The messages that were published and not sent yet: the channel and the text.
    pub(super) published: Vec<(Vec<u8>, Vec<u8>)>,
    /// A violation that no server may see, found while it ran.
    pub(super) broken: Option<String>,
    /// The work queues, as each commit left them.
    pub(super) ledger: Ledger,
    /// How long each document has the newer program's field.
    newer: BTreeMap<Vec<u8>, i64>,
}

impl Server {
    pub(super) fn with(clock: Clock) -> Self {
        Self {
            clock,
            is_up: true,
            start: 0,
            life: 0,
            database: Database::default(),
            knows_script: false,
            snapshots: Vec::new(),
            losses: Vec::new(),
            journal: Vec::new(),
            published: Vec::new(),
            broken: None,
            ledger: Ledger::default(),
            newer: BTreeMap::new(),
        }
    }

    pub(super) fn snapshot(&mut self) {
        self.snapshots.push(self.database.clone());
    }

    /// Stops the server. `Some(true)` loses all data, `Some(false)` the data since the last snapshot, `None`
    /// nothing.
    pub(super) fn stop(&mut self, time: Time, loses: Option<bool>) {
        self.is_up = false;
        self.start += 1;
        self.knows_script = false;
        match loses {
            Some(true) => self.database = Database::default(),
            Some(false) => self.database = self.snapshots.pop().unwrap_or_default(),
            None => return,
        }
        self.life += 1;
        self.losses.push((time, loses == Some(true)));
        self.newer.clear();
        let (database, life) = (&self.database, self.life);
        let state = |id: &str| content::state(database, PREFIX, id);
        self.ledger.restart(life, |agent| Content::of_server(database, PREFIX, agent), state);
    }

    /// Looks at the queues when nothing runs any more.
    pub(super) fn look_at_rest(&mut self, time: Time) {
        for agent in self.ledger.agents() {
            self.look(time, &agent, &Fields::new());
        }
    }

    /// Looks at a queue after a commit.
    fn look(&mut self, time: Time, agent: &str, fields: &Fields) {
        let at = At {
            time,
            ms: self.clock.shows(time) / 1000,
            is_stepped: self.clock.is_stepped(time.saturating_sub(DECIDED), time),
        };
        let database = &self.database;
        let commit = Commit { at, fields, state: &|id| content::state(database, PREFIX, id) };
        self.ledger.look(self.life, agent, &Content::of_server(database, PREFIX, agent), &commit);
    }

    /// Runs one command.
    pub(super) fn run(&mut self, time: Time, words: &[&[u8]], step: &str) -> Reply {
        let now = self.clock.shows(time);
        let (script, is_new) = match words[0] {
            b"EVALSHA" if words[1] == COMMIT_SHA.as_bytes() && self.knows_script => (COMMIT, false),
            b"EVALSHA" => return Reply::Error("NOSCRIPT No matching script. Please use EVAL.".to_owned()),
            b"EVAL" if words[1] == COMMIT.as_bytes() => (COMMIT, true),
            b"EVAL" if words[1] == SHIP.as_bytes() => (SHIP, false),
            _ => return self.database.run(now, words),
        };
        self.knows_script |= is_new;
        let keys: usize = String::from_utf8_lossy(words[2]).parse().unwrap();
        let (keys, words) = words[3..].split_at(keys);
        let (reply, written) = script::eval(&mut self.database, now, script, keys, words);
        let (journaled, is_written) = (self.journal.len(), !written.is_empty());
        written.into_iter().for_each(|one| self.wrote(time, one, step));
        let queue = |key: &&[u8]| Some(String::from_utf8_lossy(key.strip_prefix(WORK)?).into_owned());
        for agent in keys.iter().filter(|_| is_written).filter_map(queue) {
            let fields = self.journal.get(journaled).map(|entry| entry.fields.clone()).unwrap_or_default();
            self.look(time, &agent, &fields);
        }
        reply
    }

    fn wrote(&mut self, time: Time, written: Written, step: &str) {
        match written {
            Written::Published { channel, text } => self.published.push((channel, text)),
            // What is known by an entry's id is written anew each time.
            Written::Document { key, .. } if key.windows(9).any(|part| part == b":work:id:") => {}
            Written::Document { key, is_newer, lifetime } => {
                // A document that had a field of a newer program keeps it.
                let now = self.clock.shows(time) / 1000;
                let until = if is_newer { lifetime.map_or(i64::MAX, |ms| now + ms) } else { 0 };
                let was_newer = self.newer.insert(key.clone(), until).is_some_and(|until| until > now);
                if was_newer && !is_newer {
                    let key = String::from_utf8_lossy(&key);
                    self.broken = Some(format!("a newer program's field is lost in {key}"));
                }
            }
            Written::Entry { stream, fields } if stream == super::history::STREAM.as_bytes() => {
                // A dispatcher's steps have no name here.
                let step = if step.is_empty() { format!("entry-{}", self.journal.len()) } else { step.to_owned() };
                let is_again = self.journal.iter().any(|entry| entry.step == step);
                let fields = fields.into_iter().collect();
                self.journal.push(Entry { at: time, life: self.life, step, is_again, fields });
            }
            Written::Entry { .. } => {}
        }
    }
}
