//! The decisions and documents of this machine, sent to the server before the server decides again.

use redis::{Cmd, Value, cmd};

use crate::clock;
use crate::config::{Config, Server};
use crate::policy::documents::{FleetState, ScopeState, SessionState};
use crate::policy::limits::{Ms, Quota, millis};
use crate::policy::merge;
use crate::policy::merge::Clocks;
use crate::store::StoreError;
use crate::store::failover::merge_base::Seen;
use crate::store::failover::server_record::FleetSeen;
use crate::store::files::state_file::{ScopeFile, SessionFile};
use crate::store::server::changes::{put, put_scope, put_session};
use crate::store::server::commit::Commit;
use crate::store::server::document::Document;
use crate::store::server::keys::Keys;
use crate::store::server::load::{SetAside, document, get, time};
use crate::store::server::{changes, session_index};
#[cfg(test)]
use crate::store::simulator::{Variant, is_broken};
use crate::store::unknown_past;

/// All that is kept here for the server, as found at `now` (this machine's clock).
pub(crate) struct Carry<'a> {
    pub(crate) config: &'a Config,
    pub(crate) scope: &'a str,
    pub(crate) file: &'a ScopeFile,
    /// The sessions that the scope's file lists.
    pub(crate) sessions: &'a [(String, SessionFile)],
    pub(crate) fleet: Option<&'a FleetSeen>,
    /// Whether the minimum interval begins, because another store may have admitted the scope.
    pub(crate) starts_interval: bool,
    /// The server's epoch as this machine knows it.
    pub(crate) known_epoch: &'a str,
    pub(crate) now: Ms,
}

/// The documents as the server has them now.
struct Found {
    now: Ms,
    fleet: Document<FleetState>,
    scope: Document<ScopeState>,
    sessions: Vec<Document<SessionState>>,
    set_aside: Vec<SetAside>,
}

impl Carry<'_> {
    /// Returns the reads that come first.
    pub(crate) fn questions(&self) -> Vec<Cmd> {
        let keys = Keys::of(&self.config.fleet);
        let mut all = vec![cmd("TIME"), get(&keys.fleet()), get(&keys.scope(self.scope))];
        all.extend(self.sessions.iter().map(|(id, _)| get(&keys.session(id))));
        all
    }

    fn found(&self, server: &Server, answers: Vec<Value>) -> Result<Found, StoreError> {
        let keys = Keys::of(&self.config.fleet);
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let clock = next();
        let now = time(&clock)
            .ok_or_else(|| StoreError::Nonsense { at: server.shown.clone(), found: format!("{clock:?}") })?;
        let mut set_aside = Vec::new();
        let (fleet, damaged) = document(server, keys.fleet(), &next(), || unknown_past::fleet(self.config, now))?;
        set_aside.extend(damaged);
        let unknown = || unknown_past::scope(self.config, now);
        let (scope, damaged) = document(server, keys.scope(self.scope), &next(), unknown)?;
        set_aside.extend(damaged);
        let mut sessions = Vec::new();
        for (id, _) in self.sessions {
            let (session, damaged) =
                document(server, keys.session(id), &next(), || unknown_past::session(self.config, now))?;
            sessions.push(session);
            set_aside.extend(damaged);
        }
        Ok(Found { now, fleet, scope, sessions, set_aside })
    }

    /// Returns the commit that sends all of it, and the server's documents after it.
    ///
    /// # Errors
    /// When a document of the server is of a newer format.
    pub(crate) fn merge(&self, server: &Server, answers: Vec<Value>) -> Result<(Commit, Seen), StoreError> {
        let found = self.found(server, answers)?;
        let clocks = self.clocks(found.now);
        let keys = Keys::of(&self.config.fleet);
        let fleet = self.fleet(&found);
        let base = self.file.base.as_ref();
        // A base of another store epoch does not count, because the server has lost that data.
        let known = base.filter(|base| is_common(&base.store_epoch, &fleet.store_epoch));
        let here = if self.file.away.is_some() { Some(&self.file.scope) } else { base.map(|base| &base.scope) };
        let mut scope = found.scope.state.clone();
        if let Some(here) = here {
            let mut here = here.clone();
            #[cfg(test)]
            if is_broken(Variant::ReleaseForgotten) {
                here.lifted.clear();
            }
            if let (None, Some(base)) = (known, base) {
                merge::heed_release(&mut here.hold, base.scope.hold.as_ref(), scope.released, clocks);
            }
            scope = merge::scope(known.map(|base| &base.scope), &here, &scope, clocks);
        }
        let starts_interval = self.starts_interval;
        #[cfg(test)]
        let starts_interval = starts_interval && !is_broken(Variant::NoIntervalAtFailback);
        if starts_interval {
            scope.taken = Some(found.now);
        }
        let mut commit = Commit::default();
        changes::set_aside(&mut commit, &found.set_aside);
        self.admissions(&mut commit, keys, clocks);
        put_scope(&mut commit, keys.scope(self.scope), &found.scope, &scope, found.now);
        put(&mut commit, keys.fleet(), &found.fleet, &fleet, None, false);
        let mut sessions = Vec::new();
        for ((id, file), document) in self.sessions.iter().zip(&found.sessions) {
            let base = file.base().filter(|_| known.is_some());
            let mut session = merge::session(base, &file.session, &document.state, clocks);
            if session.scope.is_empty() {
                self.scope.clone_into(&mut session.scope);
            }
            put_session(&mut commit, keys.session(id), document, &session, found.now);
            changes::sleeping(&mut commit, keys, &document.state, &session, found.now);
            let member = |session| session_index::member(id, session);
            let before = Some(&document.state).filter(|before| !session_index::is_same(before, &session)).map(member);
            commit.index(keys.index("session"), member(&session), before.unwrap_or_default());
            sessions.push((id.clone(), session));
        }
        if !self.scope.is_empty() {
            commit.index(keys.index("scope"), self.scope.to_owned(), String::new());
        }
        Ok((commit, Seen { now: found.now, fleet: Some(fleet), scope: Some(scope), sessions }))
    }

    fn clocks(&self, there: Ms) -> Clocks {
        #[cfg(test)]
        let there = if is_broken(Variant::MergeByClocks) { self.now } else { there };
        Clocks { here: self.now, there }
    }

    /// Returns the fleet's document with the decisions made here.
    fn fleet(&self, found: &Found) -> FleetState {
        let mut fleet = found.fleet.state.clone();
        if !self.known_epoch.is_empty() && self.known_epoch != fleet.store_epoch && fleet.lost.is_none() {
            fleet.lost = Some(found.now);
        }
        if fleet.store_epoch.is_empty() {
            fleet.store_epoch = clock::id();
        }
        let clocks = self.clocks(found.now);
        let Some(kept) = self.fleet else { return fleet };
        let base = Some(&kept.base).filter(|_| is_common(&kept.store_epoch, &fleet.store_epoch));
        let mut here = kept.known().clone();
        #[cfg(test)]
        if is_broken(Variant::ReleaseForgotten) {
            here.lifted.clear();
        }
        if base.is_none() {
            merge::heed_release(&mut here.hold, kept.base.hold.as_ref(), fleet.released, clocks);
        }
        merge::fleet(base, &here, &fleet, clocks)
    }

    /// Adds the admissions made here that a limit may still count. Each counts once, however often it is sent.
    fn admissions(&self, commit: &mut Commit, keys: Keys<'_>, clocks: Clocks) {
        let Some(away) = &self.file.away else { return };
        let policy = &self.config.policy;
        let longest = |quotas: &[Quota]| quotas.iter().map(|q| millis(q.per)).max().unwrap_or(0);
        let interval = millis(policy.stop.min_interval);
        let (own, fleets) = (longest(&policy.stop.quotas).max(interval), longest(&policy.fleet_quotas));
        for (at, id) in &away.admitted {
            let member = format!("{at}-{id}");
            let age = self.now.saturating_sub(*at);
            if age < own {
                commit.add_past(keys.admissions(self.scope), clocks.ago(*at), member.clone());
            }
            if age < fleets {
                commit.add_past(keys.fleet_admissions(), clocks.ago(*at), member);
            }
        }
    }
}

/// Returns whether both stores had a document in common, by the server's epoch when it was seen and its epoch now.
fn is_common(seen: &str, store_epoch: &str) -> bool {
    #[cfg(test)]
    if is_broken(Variant::ReleaseForgotten) || is_broken(Variant::BaseOfAnotherEpoch) {
        return is_broken(Variant::BaseOfAnotherEpoch);
    }
    !seen.is_empty() && seen == store_epoch
}
