//! `<fleet>/server.json`: what this machine knows of the configured server. Read by every ask, written under the fleet's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::local_journal::LocalJournal;
use super::state_file;
use super::{StoreError, place};
use crate::clock;
use crate::read;
use crate::throttle::policy::{Ms, millis};
use crate::throttle::state::Hold;
use crate::throttle::verdict::{Decision, Reason};

/// Between two probes of a server that is away: at first, and at most.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const SLOWEST_PROBE: Duration = Duration::from_secs(10);

/// The end of what no time ends.
pub(super) const FOREVER: Ms = Ms::MAX;

/// No record is larger: thousands of scopes are a fiftieth of it.
const LARGEST: u64 = 8 * 1024 * 1024;

/// No more scopes that are decided here are named, since every request reads the record.
const MOST_NAMED: usize = 1000;

const VERSION: u32 = 1;

/// The record.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    v: u32,
    /// The `born` by which this machine knows each server (its URL without a password) since its first verdict.
    born: BTreeMap<String, String>,
    /// The circuit breaker; closed when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) breaker: Option<Breaker>,
    /// Scopes that the embedded store decides for, or did last.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) away: BTreeSet<String>,
    /// Not every scope is named here whose file holds something for the server: each scope's file is looked into.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unnamed: bool,
    /// Scopes whose file holds what the server said, in case it loses its data.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) marks: BTreeMap<String, Mark>,
    /// The whole fleet's hold on each server (its URL without a password).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fleet_holds: BTreeMap<String, FleetHold>,
    /// When the whole fleet's hold was lifted here, of which that server has not been told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fleet_releases: BTreeMap<String, Ms>,
    /// How much of the journal the server has, while there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unshipped: Option<Unshipped>,
    /// How many bytes of the journal were given up, since it had grown too large to wait for the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) given_up: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// From where on a server does not have the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Unshipped {
    /// The first byte that it may not have.
    pub(super) at: u64,
    /// Which journal: another one, begun anew in its place, is told of from its beginning. Empty while it had no line.
    pub(super) journal: String,
}

/// What is kept of a scope, in short: enough to see that an answer says nothing new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// When nothing of it matters any more (this machine's clock).
    pub(super) until: Ms,
    /// The `born` of the server that said it.
    pub(super) born: String,
    /// The last refusal that was kept: its reason.
    reason: String,
    /// Its end.
    end: Ms,
    /// The sessions that rest, as far as the server said.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    resting: BTreeSet<String>,
}

/// Two answers that name the same end may be so far apart by this machine's clock.
const SAME_END: Ms = 20;

impl Mark {
    pub(super) fn new(until: Ms, born: &str, decided: &Decision, resting: BTreeSet<String>, now: Ms) -> Self {
        Self { until, born: born.to_owned(), reason: door(decided.reason).to_owned(), end: end(decided, now), resting }
    }

    /// Whether the answer to the session is the one that was kept.
    pub(super) fn says(&self, session: &str, decided: &Decision, now: Ms) -> bool {
        // Behind a closed door a rest is not looked at.
        let rest_is_known = is_door(decided.reason) || self.resting.contains(session) == decided.reason.is_rest();
        rest_is_known
            && self.reason == door(decided.reason)
            && self.end.abs_diff(end(decided, now)) <= SAME_END.unsigned_abs()
    }
}

fn door(reason: Reason) -> &'static str {
    // A trip and the cooldown that it opened are one door.
    if reason == Reason::Burst { Reason::Cooldown.code() } else { reason.code() }
}

fn is_door(reason: Reason) -> bool {
    matches!(reason, Reason::Hold | Reason::Cooldown | Reason::Burst | Reason::ApiError | Reason::Superseded)
}

fn end(decided: &Decision, now: Ms) -> Ms {
    decided.retry_after.map_or(FOREVER, |left| now.saturating_add(millis(left)))
}

/// A server that is known to be away: it is not asked but by one prober at a time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Breaker {
    /// Which server (its URL without a password).
    server: String,
    /// Failed tries in a row.
    pub(super) tries: u32,
    /// When the next try is due.
    pub(super) next: Ms,
    /// What was wrong.
    pub(super) why: String,
}

/// The fleet's hold as a server told of it, or as it was opened here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FleetHold {
    /// By this machine's clock.
    pub(super) hold: Hold,
    /// The server's `born`, as far as it is known.
    pub(super) born: String,
    /// When it was last told (this machine's clock).
    pub(super) seen: Ms,
    /// It was opened here, and the server has not been told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) own: bool,
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
    /// The embedded store for a while yet, however well the server is.
    Stays,
}

/// Where the record of a fleet's folder is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("server.json")
}

/// Reads the record; `None` when there is none or it cannot be read: then nothing is known.
pub(super) fn read(dir: &Path) -> Option<Record> {
    let record = read::short(&path(dir), LARGEST, |bytes| serde_json::from_slice::<Record>(bytes).ok()).ok()?;
    record.filter(|r| r.v == VERSION)
}

/// Reads the record to change it, under the fleet's lock. One that is not there names no scope.
pub(super) fn read_or_rebuild(dir: &Path) -> Record {
    if let Some(record) = read(dir) {
        return record;
    }
    let mut record = Record { v: VERSION, ..Record::default() };
    record.unnamed = fs::read_dir(dir.join(place::SCOPES)).is_ok_and(|mut all| all.next().is_some());
    if fs::metadata(dir.join("journal.jsonl")).is_ok_and(|about| about.len() > 0) {
        record.unshipped = Some(Unshipped::default());
    }
    record
}

/// Removes the names of scopes whose files were removed, under the fleet's lock.
pub(super) fn forget_removed(dir: &Path, files: &[PathBuf]) {
    let Some(mut record) = read(dir) else { return };
    let names = files.iter().filter_map(|path| path.file_stem()?.to_str());
    let known = names.filter(|name| record.away.remove(*name)).count();
    if known > 0 {
        let _ = write(dir, &record);
    }
}

/// Replaces the record, under the fleet's lock.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(dir: &Path, record: &Record) -> Result<(), StoreError> {
    state_file::replace(&path(dir), record)
}

/// Records, under the fleet's lock, that what is journaled from now on is to be shipped.
///
/// # Errors
/// When it cannot be written: then nothing may be journaled that is to be shipped.
pub(super) fn begin_shipping(dir: &Path, journal: &LocalJournal) -> Result<(), StoreError> {
    let mut record = read_or_rebuild(dir);
    if record.unshipped.is_some() {
        return Ok(());
    }
    record.unshipped = Some(journal.unshipped());
    write(dir, &record)
}

impl Record {
    /// Names a scope that the embedded store decides for; returns whether that changed anything.
    pub(super) fn name_away(&mut self, scope: &str) -> bool {
        if self.away.contains(scope) {
            return false;
        }
        if self.away.len() >= MOST_NAMED {
            return !std::mem::replace(&mut self.unnamed, true);
        }
        self.away.insert(scope.to_owned())
    }

    /// How an ask of this scope goes at `now` (this machine's clock).
    pub(super) fn route(&self, server: &str, scope: &str, now: Ms) -> Route {
        match self.breaker_of(server) {
            Some(breaker) if breaker.is_due(now) => Route::Probe,
            Some(_) => Route::Away,
            None if self.unshipped.is_some() || self.away.contains(scope) => Route::Home,
            // The server has lost its data since.
            None if self.mark(scope, now).is_some_and(|m| m.born != self.born(server)) => Route::Home,
            None if self.fleet_hold(server).is_some_and(|f| f.born != self.born(server)) => Route::Home,
            None if self.owes_fleet(server) => Route::Home,
            None => Route::Server,
        }
    }

    /// The `born` by which this machine knows the server; empty before its first verdict.
    pub(super) fn born(&self, server: &str) -> &str {
        self.born.get(server).map_or("", String::as_str)
    }

    /// Takes note of a server's `born`; tells whether it is another than before.
    pub(super) fn knows(&mut self, server: &str, born: &str) -> bool {
        !born.is_empty() && self.born.insert(server.to_owned(), born.to_owned()).as_deref() != Some(born)
    }

    /// The whole fleet's hold, as this server last told of it or as it was opened in its place.
    pub(super) fn fleet_hold(&self, server: &str) -> Option<&FleetHold> {
        self.fleet_holds.get(server)
    }

    /// Keeps what a server told of the fleet's hold.
    pub(super) fn hold_fleet(&mut self, server: &str, hold: Hold, now: Ms) {
        let born = self.born(server).to_owned();
        self.fleet_holds.insert(server.to_owned(), FleetHold { hold, born, seen: now, own: false });
    }

    /// Forgets what this server told of the fleet's hold; tells whether that changed anything.
    pub(super) fn free_fleet(&mut self, server: &str) -> bool {
        self.fleet_holds.remove(server).is_some()
    }

    /// As [`Hold::rebase`], for the whole fleet's; tells whether that changed anything.
    pub(super) fn rebase_fleet(&mut self, server: &str, now: Ms) -> bool {
        let later = self.fleet_holds.get_mut(server).filter(|f| f.hold.since > now);
        later.map(|f| f.hold.rebase(now)).is_some()
    }

    /// The whole fleet was held or released in this server's place. A hold that `replaces` whatever stands lifts what the
    /// server holds, before it is opened there.
    pub(super) fn decide_fleet(&mut self, server: &str, hold: Option<Hold>, replaces: bool, now: Ms) {
        match hold {
            Some(hold) => {
                if replaces {
                    self.fleet_releases.insert(server.to_owned(), now - 1);
                }
                let own = FleetHold { hold, born: String::new(), seen: now, own: true };
                self.fleet_holds.insert(server.to_owned(), own);
            }
            None => {
                self.fleet_holds.remove(server);
                self.fleet_releases.insert(server.to_owned(), now);
            }
        }
    }

    /// When the whole fleet's hold was lifted here, of which this server has not been told.
    pub(super) fn fleet_released(&self, server: &str) -> Option<Ms> {
        self.fleet_releases.get(server).copied()
    }

    /// Whether this server has not been told of all that was decided here of the whole fleet.
    pub(super) fn owes_fleet(&self, server: &str) -> bool {
        self.fleet_releases.contains_key(server) || self.fleet_hold(server).is_some_and(|f| f.own)
    }

    /// The server, which is `born` so, has been told what stood in an earlier record; tells whether that changed anything.
    pub(super) fn fleet_is_told(&mut self, server: &str, told: &Self, born: &str) -> bool {
        let released = told.fleet_released(server).filter(|at| self.fleet_released(server) == Some(*at));
        let mut changed = released.and_then(|_| self.fleet_releases.remove(server)).is_some();
        let same = |f: &&mut FleetHold| told.fleet_hold(server).is_some_and(|t| (&t.hold, t.seen) == (&f.hold, f.seen));
        let told = self.fleet_holds.get_mut(server).filter(|f| f.own || f.born != born).filter(same);
        if let Some(hold) = told {
            hold.own = false;
            born.clone_into(&mut hold.born);
            changed = true;
        }
        changed
    }

    /// The scope's mark, while it matters.
    pub(super) fn mark(&self, scope: &str, now: Ms) -> Option<&Mark> {
        self.marks.get(scope).filter(|mark| mark.until > now)
    }

    /// The open breaker of this server.
    pub(super) fn breaker_of(&self, server: &str) -> Option<&Breaker> {
        self.breaker.as_ref().filter(|b| b.server == server)
    }

    /// Takes a scope's mark away, and those whose time is over; tells whether that changed anything.
    pub(super) fn unmark(&mut self, scope: &str, now: Ms) -> bool {
        let before = self.marks.len();
        self.marks.retain(|name, mark| name != scope && mark.until > now);
        self.marks.len() != before
    }

    /// Notes a failed try. One that began before another's failure was noted counts once with it.
    pub(super) fn failed(&mut self, server: &str, why: &str, now: Ms) {
        if let Some(open) = self.breaker.as_mut().filter(|b| b.server == server && !b.is_due(now)) {
            why.clone_into(&mut open.why);
            return;
        }
        let open = self.breaker_of(server);
        let tries = open.map_or(0, |b| b.tries);
        let grown = FIRST_PROBE.saturating_mul(1 << tries.min(10)).min(SLOWEST_PROBE);
        // Up to a quarter longer, so that many machines do not probe as one.
        let wait = grown + grown.mul_f64((clock::chance() % 1000) as f64 / 4000.0);
        self.breaker = Some(Breaker {
            server: server.to_owned(),
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
