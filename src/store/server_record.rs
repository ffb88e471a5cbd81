//! `<fleet>/server.json`: what this machine knows of the configured server. Read by every ask, written under the fleet's lock.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::state_file::{self, ScopeFile};
use crate::clock;
use crate::read;
use crate::throttle::policy::{Ms, millis};
use crate::throttle::state::Hold;

/// Between two probes of a server that is away: at first, and at most.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const SLOWEST_PROBE: Duration = Duration::from_secs(10);

/// The end of what no time ends.
pub(super) const FOREVER: Ms = Ms::MAX;

/// No record is larger: thousands of scopes are a fiftieth of it.
const LARGEST: u64 = 8 * 1024 * 1024;

const VERSION: u32 = 1;

/// The record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    v: u32,
    /// The `born` by which this machine knows the server; empty before its first verdict.
    pub(super) born: String,
    /// The circuit breaker; closed when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) breaker: Option<Breaker>,
    /// Scopes that the server is not simply asked for, since their file holds something that it may not know: until when
    /// (this machine's clock).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    marks: BTreeMap<String, Ms>,
    /// The whole fleet's hold, as the server last told of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fleet_hold: Option<FleetHold>,
    /// How much of the journal the server has, while there is more: the first byte that it may not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unshipped: Option<u64>,
    /// Entries that were given up since the journal had grown too large to wait for the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) given_up: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A server that is known to be away: it is not asked but by one prober at a time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Breaker {
    /// Which server (its URL without a password).
    server: String,
    /// Since when.
    pub(super) since: Ms,
    /// Failed tries in a row.
    tries: u32,
    /// When the next try is due.
    pub(super) next: Ms,
    /// What was wrong.
    pub(super) why: String,
}

/// The fleet's hold as the server told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FleetHold {
    /// By this machine's clock.
    pub(super) hold: Hold,
    /// The server's `born`.
    pub(super) born: String,
    /// When it was last told (this machine's clock).
    pub(super) seen: Ms,
}

/// How a scope's ask finds its store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The server, and nothing else is to be thought of.
    Server,
    /// The server, after it was told what it may not know.
    Home,
    /// The server is away, and a try is due.
    Probe,
    /// The server is away.
    Away,
}

/// Where the record of a fleet's folder is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("server.json")
}

/// Reads the record; `None` when there is none or it cannot be read: then nothing is known.
pub(super) fn read(dir: &Path) -> Option<Record> {
    let bytes = read::at_most(&path(dir), LARGEST).ok()?;
    serde_json::from_slice::<Record>(&bytes).ok().filter(|r| r.v == VERSION)
}

/// Reads the record to change it, under the fleet's lock. One that is not there is made anew from the scopes' files: each
/// that holds something the server may not know is marked.
pub(super) fn read_or_rebuild(dir: &Path) -> Record {
    if let Some(record) = read(dir) {
        return record;
    }
    let mut record = Record { v: VERSION, ..Record::default() };
    for entry in fs::read_dir(dir.join("scopes")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().strip_suffix(".json").map(str::to_owned);
        if let Some(scope) = name
            && state_file::peek::<ScopeFile>(&entry.path()).is_some_and(|f| f.away.is_some() || f.mirror.is_some())
        {
            record.mark(&scope, FOREVER);
        }
    }
    if fs::metadata(dir.join("journal.jsonl")).is_ok_and(|about| about.len() > 0) {
        record.unshipped = Some(0);
    }
    record
}

/// Replaces the record, under the fleet's lock.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(dir: &Path, record: &Record) -> Result<(), StoreError> {
    state_file::replace(&path(dir), record)
}

impl Record {
    /// How an ask of this scope goes at `now` (this machine's clock).
    pub(super) fn route(&self, server: &str, scope: &str, now: Ms) -> Route {
        match self.breaker_of(server) {
            Some(breaker) if breaker.is_due(now) => Route::Probe,
            Some(_) => Route::Away,
            None if self.unshipped.is_some() || self.fleet_hold.is_some() || self.is_marked(scope, now) => Route::Home,
            None => Route::Server,
        }
    }

    pub(super) fn is_marked(&self, scope: &str, now: Ms) -> bool {
        self.marks.get(scope).is_some_and(|until| *until > now)
    }

    /// The open breaker of this server.
    pub(super) fn breaker_of(&self, server: &str) -> Option<&Breaker> {
        self.breaker.as_ref().filter(|b| b.server == server)
    }

    /// Marks a scope until a time; tells whether that changed anything.
    pub(super) fn mark(&mut self, scope: &str, until: Ms) -> bool {
        self.marks.insert(scope.to_owned(), until) != Some(until)
    }

    /// Takes a scope's mark away, and those whose time is over; tells whether that changed anything.
    pub(super) fn unmark(&mut self, scope: &str, now: Ms) -> bool {
        let before = self.marks.len();
        self.marks.retain(|name, until| name != scope && *until > now);
        self.marks.len() != before
    }

    /// Notes a failed try. One that began before another's failure was noted counts once with it.
    pub(super) fn failed(&mut self, server: &str, why: &str, now: Ms) {
        let open = self.breaker_of(server);
        if open.is_some_and(|b| !b.is_due(now)) {
            return;
        }
        let (since, tries) = open.map_or((now, 0), |b| (b.since.min(now), b.tries));
        let grown = FIRST_PROBE.saturating_mul(1 << tries.min(10)).min(SLOWEST_PROBE);
        // Up to a quarter longer, so that many machines do not probe as one.
        let wait = grown + grown.mul_f64((clock::chance() % 1000) as f64 / 4000.0);
        self.breaker = Some(Breaker {
            server: server.to_owned(),
            since,
            tries: tries.saturating_add(1),
            next: now.saturating_add(millis(wait)),
            why: why.to_owned(),
        });
    }
}

impl Breaker {
    /// Whether a try is due. A clock that was stepped back must not put it off.
    pub(super) fn is_due(&self, now: Ms) -> bool {
        self.next <= now || self.next > now.saturating_add(2 * millis(SLOWEST_PROBE))
    }
}
