//! `<fleet>/server.json`: this machine's record of the server. Every request reads it; writes need the fleet's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::hint::Problem;
use crate::policy::documents::FleetState;
use crate::policy::fact::FactId;
use crate::policy::hold::Hold;
use crate::policy::limits::{Ms, millis};
use crate::read;
use crate::store::StoreError;
use crate::store::failover::merge_base::Restrictions;
use crate::store::files::journal_file::LocalJournal;
use crate::store::files::{paths, state_file};

/// The time between two probes of a server that is away: the first and the longest.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const SLOWEST_PROBE: Duration = Duration::from_secs(10);

/// The end of a restriction that no time ends.
pub(crate) const FOREVER: Ms = Ms::MAX;

/// The largest record: thousands of scopes are a fiftieth of it.
const LARGEST: u64 = 8 * 1024 * 1024;

/// The name of the files as a store.
pub(crate) const FILES: &str = "embedded";

/// The most scopes decided here that the record names, because every request reads the record.
const MOST_NAMED: usize = 1000;

const VERSION: u32 = 1;

/// The record of the configured server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    v: u32,
    /// The store that decided last: a server (its URL without a password), or [`FILES`]. Empty before any did.
    pub(crate) store: String,
    /// When that store began to decide, where another one did before.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Ms>,
    /// The scopes that sent a request soon after a change of the store, and the store that each used.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    scopes: BTreeMap<String, String>,
    /// The store epoch of each server (its URL without a password) as this machine knows it since the first verdict.
    #[serde(rename = "born")]
    store_epoch: BTreeMap<String, String>,
    /// The circuit breaker; closed when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) breaker: Option<Breaker>,
    /// Since when no answer came to this machine, which is too busy; `None` once one came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) silent: Option<Ms>,
    /// The scopes that the embedded store decides for, or decided for last.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) away: BTreeSet<String>,
    /// Whether some scope with data for the server is not named here, so that each scope's file must be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unnamed: bool,
    /// The scopes with a file that contains the server's restrictions, in case the server loses its data.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) marks: BTreeMap<String, Mark>,
    /// Each server's fleet document (by its URL without a password), where it has a hold or one was decided here.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fleets: BTreeMap<String, FleetSeen>,
    /// How much of the journal the server has, while there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unshipped: Option<Unshipped>,
    /// The bytes of the journal that were given up, because it had grown too large to wait for the server.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) given_up: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The part of the journal that a server does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Unshipped {
    /// The first byte that the server may not have.
    pub(crate) at: u64,
    /// The name of the journal: a new journal in its place is sent from its beginning. Empty while the journal had no
    /// line.
    pub(crate) journal: String,
}

/// A summary of what is kept of a scope, which shows whether its documents contain anything new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Mark {
    /// When it no longer matters (this machine's clock).
    pub(crate) until: Ms,
    /// The store epoch of the server.
    #[serde(rename = "born")]
    pub(crate) store_epoch: String,
    /// The restrictions of the scope's document.
    pub(crate) facts: Restrictions,
    /// The rests of the scope's sessions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rests: BTreeMap<String, FactId>,
}

/// The breaker of a server that is known to be away: only one prober at a time sends to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Breaker {
    /// The server (its URL without a password).
    server: String,
    /// The failed tries in a row.
    pub(crate) tries: u32,
    /// When the next try is due.
    pub(crate) next: Ms,
    /// The error of the last try.
    why: String,
    /// Its remedy.
    #[serde(default)]
    hint: Option<String>,
}

/// A server's fleet document, by this machine's clock: its hold and its releases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FleetSeen {
    /// The store epoch of the server.
    #[serde(rename = "born")]
    pub(crate) store_epoch: String,
    /// The document as the server last had it.
    pub(crate) base: FleetState,
    /// The document after the decisions made here, while the server does not have those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) here: Option<FleetState>,
}

impl FleetSeen {
    /// Returns the fleet as this machine knows it.
    pub(crate) fn known(&self) -> &FleetState {
        self.here.as_ref().unwrap_or(&self.base)
    }

    /// Works as [`Hold::rebase`], for both documents.
    pub(crate) fn rebase(&mut self, now: Ms) {
        let holds = [Some(&mut self.base), self.here.as_mut()].into_iter().flatten().filter_map(|f| f.hold.as_mut());
        holds.for_each(|hold| hold.rebase(now));
    }
}

/// The way in which a scope's request finds its store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The server, without anything else to do.
    Server,
    /// The server, after it received what it may not know.
    Failback,
    /// The server is away, and a try is due.
    Probe,
    /// The server is away.
    Away,
    /// The embedded store for a while, however well the server is.
    Stays,
}

/// Returns the part of a fleet's document that is kept: its hold and its releases.
fn of_fleet(fleet: &FleetState) -> FleetState {
    FleetState {
        hold: fleet.hold.clone(),
        hold_at_once: fleet.hold_at_once,
        released: fleet.released,
        lifted: fleet.lifted.clone(),
        ..FleetState::default()
    }
}

/// Returns the path of the record in a fleet's folder.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("server.json")
}

/// Reads the record; `None` when there is none or it cannot be read, and then nothing is known.
pub(crate) fn read(dir: &Path) -> Option<Record> {
    let record = read::short(&path(dir), LARGEST, |bytes| serde_json::from_slice::<Record>(bytes).ok()).ok()?;
    record.filter(|r| r.v == VERSION)
}

/// Reads the record to change it, under the fleet's lock. A missing record names no scope.
pub(crate) fn read_or_rebuild(dir: &Path) -> Record {
    if let Some(record) = read(dir) {
        return record;
    }
    let mut record = Record { v: VERSION, ..Record::default() };
    record.unnamed = fs::read_dir(dir.join(paths::SCOPES)).is_ok_and(|mut all| all.next().is_some());
    if fs::metadata(dir.join("journal.jsonl")).is_ok_and(|about| about.len() > 0) {
        record.unshipped = Some(Unshipped::default());
    }
    record
}

/// Removes the names of scopes with removed files, under the fleet's lock.
pub(crate) fn forget_removed(dir: &Path, files: &[PathBuf]) {
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
pub(crate) fn write(dir: &Path, record: &Record) -> Result<(), StoreError> {
    state_file::replace(&path(dir), record)
}

/// Records, under the fleet's lock, that later journal entries are to be sent to the server.
///
/// # Errors
/// When it cannot be written: then no such entry may be journaled.
pub(crate) fn begin_shipping(dir: &Path, journal: &LocalJournal) -> Result<(), StoreError> {
    let mut record = read_or_rebuild(dir);
    if record.unshipped.is_some() {
        return Ok(());
    }
    record.unshipped = Some(journal.unshipped());
    write(dir, &record)
}

impl Record {
    /// Names a scope that the embedded store decides for; returns whether that changed anything.
    pub(crate) fn name_away(&mut self, scope: &str) -> bool {
        if self.away.contains(scope) {
            return false;
        }
        if self.away.len() >= MOST_NAMED {
            return !std::mem::replace(&mut self.unnamed, true);
        }
        self.away.insert(scope.to_owned())
    }

    /// Returns how a request of this scope is handled at `now` (this machine's clock).
    pub(crate) fn route(&self, server: &str, scope: &str, pause: Ms, now: Ms) -> Route {
        match self.breaker_of(server) {
            Some(breaker) if breaker.is_due(now) => Route::Probe,
            Some(_) => Route::Away,
            None if !self.store.is_empty() && self.store != server => Route::Failback,
            None if self.comes_from_another(server, scope, pause, now) => Route::Failback,
            None if self.unshipped.is_some() || self.away.contains(scope) => Route::Failback,
            // The server has lost its data since, or may have, where its epoch was not known then.
            None if self.mark(scope, now).is_some_and(|m| self.is_doubtful(server, &m.store_epoch)) => Route::Failback,
            None if self
                .fleet(server)
                .is_some_and(|f| f.here.is_some() || self.is_doubtful(server, &f.store_epoch)) =>
            {
                Route::Failback
            }
            None => Route::Server,
        }
    }

    /// Returns whether the server may have lost its data since this machine saw it with this epoch.
    fn is_doubtful(&self, server: &str, store_epoch: &str) -> bool {
        store_epoch.is_empty() || store_epoch != self.store_epoch(server)
    }

    /// Notes that the configuration names another store. Returns the fleet as known at the earlier server, if there was
    /// one.
    pub(crate) fn hand_over(&mut self, to: &str, now: Ms) -> Option<FleetState> {
        let from = std::mem::replace(&mut self.store, to.to_owned());
        // Each scope of the files has a file that shows it.
        if !from.is_empty() && from != FILES {
            self.since = Some(now);
        }
        self.fleet(&from).map(|kept| kept.known().clone())
    }

    /// Returns whether another store may have admitted the scope within the pause of a change.
    pub(crate) fn comes_from_another(&self, store: &str, scope: &str, pause: Ms, now: Ms) -> bool {
        match (self.scopes.get(scope), self.since) {
            _ if scope.is_empty() => false,
            (Some(asked), _) => asked != store,
            (None, Some(since)) => self.store == store && now < since.saturating_add(pause),
            (None, None) => false,
        }
    }

    /// Notes that this store decides for the scope from now on.
    pub(crate) fn arrived(&mut self, store: &str, scope: &str) {
        // The removed scopes count once more as scopes of another store.
        if self.scopes.len() >= MOST_NAMED {
            self.scopes.clear();
        }
        self.scopes.insert(scope.to_owned(), store.to_owned());
    }

    /// Returns the store epoch by which this machine knows the server; empty before its first verdict.
    pub(crate) fn store_epoch(&self, server: &str) -> &str {
        self.store_epoch.get(server).map_or("", String::as_str)
    }

    /// Returns whether anything is kept that a server's documents of this scope may differ from.
    pub(crate) fn keeps(&self, server: &str, scope: &str, store_epoch: &str) -> bool {
        self.is_other(server, store_epoch) || self.fleets.contains_key(server) || self.marks.contains_key(scope)
    }

    /// Returns whether this is another store epoch than the one that this machine knows.
    pub(crate) fn is_other(&self, server: &str, store_epoch: &str) -> bool {
        !store_epoch.is_empty() && store_epoch != self.store_epoch(server)
    }

    /// Notes a server's store epoch; returns whether it differs from the one before.
    pub(crate) fn knows(&mut self, server: &str, store_epoch: &str) -> bool {
        !store_epoch.is_empty()
            && self.store_epoch.insert(server.to_owned(), store_epoch.to_owned()).as_deref() != Some(store_epoch)
    }

    /// Returns this server's fleet document, as far as it is kept.
    pub(crate) fn fleet(&self, server: &str) -> Option<&FleetSeen> {
        self.fleets.get(server)
    }

    /// Returns the whole fleet's hold, as this server last had it or as it was decided in its place.
    pub(crate) fn fleet_hold(&self, server: &str) -> Option<&Hold> {
        self.fleet(server)?.known().hold.as_ref()
    }

    /// Returns whether a server's fleet document (by this machine's clock) has another hold than is kept.
    pub(crate) fn is_news_of_fleet(&self, server: &str, seen: &FleetState) -> bool {
        let id = |hold: Option<&Hold>| hold.map(Hold::identity);
        match self.fleet(server) {
            // The decision made here is newer.
            Some(kept) => kept.here.is_none() && id(kept.base.hold.as_ref()) != id(seen.hold.as_ref()),
            None => seen.hold.is_some(),
        }
    }

    /// Keeps a server's fleet document (by this machine's clock); returns whether that changed anything.
    ///
    /// `told` is what was decided here, where the document contains it.
    pub(crate) fn see_fleet(&mut self, server: &str, seen: &FleetState, told: Option<&FleetState>) -> bool {
        if self.fleet(server).is_some_and(|kept| kept.here.is_some() && kept.here.as_ref() != told) {
            return false;
        }
        if seen.hold.is_none() {
            return self.fleets.remove(server).is_some();
        }
        let new = FleetSeen { store_epoch: self.store_epoch(server).to_owned(), base: of_fleet(seen), here: None };
        self.fleets.insert(server.to_owned(), new.clone()).as_ref() != Some(&new)
    }

    /// Works as [`FleetSeen::rebase`]; returns whether that changed anything.
    pub(crate) fn rebase_fleet(&mut self, server: &str, now: Ms) -> bool {
        let Some(kept) = self.fleets.get_mut(server) else { return false };
        let before = kept.clone();
        kept.rebase(now);
        *kept != before
    }

    /// Keeps a hold or a release of the whole fleet that was decided in this server's place.
    pub(crate) fn decide_fleet(&mut self, server: &str, here: &FleetState) {
        self.fleets.entry(server.to_owned()).or_default().here = Some(of_fleet(here));
    }

    /// Returns the scope's mark, while it matters.
    pub(crate) fn mark(&self, scope: &str, now: Ms) -> Option<&Mark> {
        self.marks.get(scope).filter(|mark| mark.until > now)
    }

    /// Returns the open breaker of this server.
    pub(crate) fn breaker_of(&self, server: &str) -> Option<&Breaker> {
        self.breaker.as_ref().filter(|b| b.server == server)
    }

    /// Removes a scope's mark and expired marks; returns whether that changed anything.
    pub(crate) fn unmark(&mut self, scope: &str, now: Ms) -> bool {
        let before = self.marks.len();
        self.marks.retain(|name, mark| name != scope && mark.until > now);
        self.marks.len() != before
    }

    /// Notes a failed try. A try that began before another failure was noted counts once with it.
    pub(crate) fn failed(&mut self, server: &str, why: &Problem, now: Ms) {
        if let Some(open) = self.breaker.as_mut().filter(|b| b.server == server && !b.is_due(now)) {
            (open.why, open.hint) = (why.message.clone(), why.hint.clone());
            return;
        }
        let open = self.breaker_of(server);
        let tries = open.map_or(0, |b| b.tries);
        let grown = FIRST_PROBE.saturating_mul(1 << tries.min(10)).min(SLOWEST_PROBE);
        // The wait is up to a quarter longer, so that many machines do not probe at once.
        let wait = grown + grown.mul_f64((clock::chance() % 1000) as f64 / 4000.0);
        self.breaker = Some(Breaker {
            server: server.to_owned(),
            tries: tries.saturating_add(1),
            next: now.saturating_add(millis(wait)),
            why: why.message.clone(),
            hint: why.hint.clone(),
        });
    }
}

impl Breaker {
    /// What was wrong, with its remedy.
    pub(crate) fn problem(&self) -> Problem {
        Problem { message: self.why.clone(), hint: self.hint.clone() }
    }

    /// Returns whether a try is due. A clock that was set back must not put it off.
    pub(crate) fn is_due(&self, now: Ms) -> bool {
        self.next <= now || self.next > now.saturating_add(2 * millis(SLOWEST_PROBE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document that was on its way when the server failed is older than the decision made in its place.
    #[test]
    fn a_document_from_before_undoes_nothing_that_was_decided_here() {
        let fleet = |by: &str, id| FleetState {
            hold: Some(Hold { reason: String::new(), by: by.to_owned(), since: 5, until: None, id }),
            ..FleetState::default()
        };
        let seen = [FleetState::default(), fleet("ann", 1)];
        for (here, seen) in
            [FleetState::default(), fleet("bob", 2)].iter().flat_map(|h| seen.iter().map(move |s| (h, s)))
        {
            let mut record = Record::default();
            record.see_fleet("a", seen, None);
            record.decide_fleet("a", here);
            assert!(!record.is_news_of_fleet("a", seen) && !record.see_fleet("a", seen, None));
            assert_eq!(record.fleet_hold("a"), here.hold.as_ref());
            // Once it has received the decision, the server decides again.
            assert!(record.see_fleet("a", seen, Some(here)));
            assert_eq!(record.fleet_hold("a"), seen.hold.as_ref());
        }
    }
}
