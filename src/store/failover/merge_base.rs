//! The server's documents as this machine last saw them, and the decisions of the embedded store in the server's place.
//!
//! Documents are kept where they restrict anything. All times in the files are this machine's clock.

#[cfg(test)]
pub(crate) mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::policy::documents::{FleetState, IN_FLIGHT, QuotaLog, ScopeState, SessionState};
use crate::policy::fact::FactId;
use crate::policy::hold::Hold;
use crate::policy::limits::{Ms, millis};
use crate::policy::merge;
use crate::policy::merge::Clocks;
use crate::store::failover::server_record::{FOREVER, Mark, Record};
use crate::store::files::state_file;
use crate::store::files::state_file::ScopeFile;
#[cfg(test)]
use crate::store::simulator::{Variant, is_broken};

/// The longest rest of a directive, except `done`.
const LONGEST_REST: Duration = Duration::from_secs(2 * 86_400);

/// The server's documents after one step, by the server's clock; those that the step did not touch are missing.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The server's clock.
    pub(crate) now: Ms,
    pub(crate) fleet: Option<FleetState>,
    pub(crate) scope: Option<ScopeState>,
    /// The sessions, by id.
    pub(crate) sessions: Vec<(String, SessionState)>,
}

impl Seen {
    /// Returns whether any of the documents restricts anything, by the server's clock.
    pub(crate) fn restricts(&self) -> bool {
        self.fleet.as_ref().is_some_and(|f| f.hold.as_ref().is_some_and(|hold| hold.holds(self.now)))
            || self.scope.as_ref().is_some_and(|s| Restrictions::of(s, self.now) != Restrictions::default())
            || self.sessions.iter().any(|(_, s)| state_file::restricting(s, self.now).is_some())
    }

    /// Returns the same documents by this machine's clock, without what is counted.
    pub(crate) fn here(self, now: Ms) -> Self {
        let clocks = Clocks { here: self.now, there: now };
        // A merge into empty documents leaves them as they are, with converted times.
        let scope = |scope: ScopeState| merge::scope(None, &scope, &ScopeState::default(), clocks);
        let fleet = |fleet: FleetState| {
            let merged = merge::fleet(None, &fleet, &FleetState::default(), clocks);
            FleetState { store_epoch: fleet.store_epoch, ..merged }
        };
        let session = |(id, session): (String, SessionState)| {
            (id, merge::session(None, &session, &SessionState::default(), clocks))
        };
        Self {
            now,
            fleet: self.fleet.map(fleet),
            scope: self.scope.map(scope),
            sessions: self.sessions.into_iter().map(session).collect(),
        }
    }

    /// Returns the server's store epoch, where the step read it.
    pub(crate) fn store_epoch(&self) -> &str {
        self.fleet.as_ref().map_or("", |fleet| &fleet.store_epoch)
    }

    /// Returns whether the documents, by this machine's clock, differ in any restriction from what is kept.
    pub(crate) fn is_news(&self, record: &Record, server: &str, scope: &str) -> bool {
        let mark = record.mark(scope, self.now);
        let facts = mark.map(|m| m.facts).unwrap_or_default();
        let is_new_session = |(id, session): &(String, SessionState)| {
            let rest = state_file::restricting(session, self.now).map(|rest| rest.identity());
            rest != mark.and_then(|m| m.rests.get(id)).copied()
        };
        self.fleet.as_ref().is_some_and(|fleet| record.is_news_of_fleet(server, fleet))
            || self.scope.as_ref().is_some_and(|scope| Restrictions::of(scope, self.now) != facts)
            || self.sessions.iter().any(is_new_session)
    }
}

/// The ids of a scope's hold and of its cooldowns, as far as they last; zero for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restrictions([FactId; 4]);

impl Restrictions {
    fn of(scope: &ScopeState, now: Ms) -> Self {
        let hold = scope.hold.as_ref().filter(|hold| hold.holds(now)).map_or(0, Hold::identity);
        let spans = [scope.stop.cooldown, scope.compact.cooldown, scope.api];
        let [stop, compact, api] = spans.map(|span| span.filter(|s| s.end > now).map_or(0, |s| s.identity()));
        Self([hold, stop, compact, api])
    }
}

/// Returns when the last of a scope's restrictions ends; `None` without any.
fn restricted_until(scope: &ScopeState, now: Ms) -> Option<Ms> {
    let hold = scope.hold.as_ref().map(|h| h.until.unwrap_or(FOREVER));
    let spans =
        [scope.stop.cooldown, scope.compact.cooldown, scope.api, scope.api_own].into_iter().flatten().map(|s| s.end);
    spans.chain(hold).max().filter(|end| *end > now)
}

/// A scope's document as the server last had it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Base {
    /// The store epoch of the server.
    #[serde(rename = "born")]
    pub(crate) store_epoch: String,
    /// The document.
    pub(crate) scope: ScopeState,
}

/// The state of a scope that the embedded store decides for, and that the server has not received yet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Away {
    /// The id of this failover, distinct from all others.
    pub(crate) id: String,
    /// When the failover began, by a clock that was read after this file was visible; `None` until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Ms>,
    /// The number of steps decided here; a transfer after fewer steps is incomplete.
    pub(crate) steps: u64,
    /// The times of the admitted continuations, and the id of each admission.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) admitted: Vec<(Ms, FactId)>,
    /// Until when the scope stays here, unless it is admitted here first, because it changes stores too often.
    ///
    /// Each change starts the minimum interval. A server that fails only where it would admit could otherwise refuse
    /// the scope for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stays_until: Option<Ms>,
}

impl Away {
    /// Returns whether the scope stays here, however well the server is.
    pub(crate) fn stays(&self, now: Ms) -> bool {
        let is_in_force = self.since.is_some_and(|since| now >= since);
        self.admitted.is_empty() && is_in_force && self.stays_until.is_some_and(|until| until > now)
    }
}

impl ScopeFile {
    /// Keeps the server's documents (by this machine's clock). Returns the scope's mark, and the sessions that are
    /// kept.
    pub(crate) fn see<'s>(
        &mut self,
        seen: &'s Seen,
        store_epoch: &str,
    ) -> (Option<Mark>, Vec<&'s (String, SessionState)>) {
        let now = seen.now;
        let base = self.base.get_or_insert_default();
        store_epoch.clone_into(&mut base.store_epoch);
        if let Some(scope) = &seen.scope {
            // Where the step did not read the epoch, the server may have lost what was seen before.
            let clocks = Clocks { here: now, there: now };
            let is_known = !seen.store_epoch().is_empty();
            base.scope = if is_known { scope.clone() } else { merge::scope(None, &base.scope, scope, clocks) };
        }
        let (facts, until) = (Restrictions::of(&base.scope, now), restricted_until(&base.scope, now));
        self.sessions.retain(|_, listed| listed.rests(now) || until.is_some());
        let mut kept = Vec::new();
        for session in &seen.sessions {
            let (id, state) = session;
            if state.seen > 0 && (until.is_some() || state_file::restricting(state, now).is_some()) {
                self.list(id, state, now);
                kept.push(session);
            } else {
                self.sessions.remove(id);
            }
        }
        // The engine that waits for a rest without an end sends it again, so its file is not read for good.
        let most = now.saturating_add(millis(LONGEST_REST));
        let rests = self.sessions.values().filter_map(|listed| listed.rest_until).map(|until| until.min(most));
        let until = rests.chain(until).max().filter(|end| *end > now);
        if until.is_none() {
            self.base = None;
        }
        // A server decides for the scope.
        self.given_back.get_or_insert(0);
        let resting = self.sessions.iter().filter(|(_, listed)| listed.rests(now));
        let rests = resting.map(|(id, listed)| (id.clone(), listed.rest)).collect();
        (until.map(|until| Mark { until, store_epoch: store_epoch.to_owned(), facts, rests }), kept)
    }

    /// Keeps the server's document (by this machine's clock) of a scope that was taken over while the server answered.
    ///
    /// New restrictions in it are in force here, too.
    pub(crate) fn see_beside(&mut self, seen: &Seen, store_epoch: &str) {
        let Some(scope) = &seen.scope else { return };
        // Where the step did not read the epoch, the server may have lost what was seen before.
        let is_known = !seen.store_epoch().is_empty();
        let base = self.base.as_ref().filter(|base| is_known && base.store_epoch == store_epoch);
        let clocks = Clocks { here: seen.now, there: seen.now };
        self.scope = merge::scope(base.map(|base| &base.scope), scope, &self.scope, clocks);
        if is_known {
            self.base = Some(Base { store_epoch: store_epoch.to_owned(), scope: scope.clone() });
        }
        if let Some(away) = &mut self.away {
            away.steps = away.steps.wrapping_add(1);
        }
    }

    /// Returns whether files decided for the scope as the configured store, in no server's place.
    pub(crate) fn is_files(&self) -> bool {
        self.away.is_none() && self.base.is_none() && self.given_back.is_none()
    }

    /// Makes files the scope's store by the configuration, from the time `since`.
    pub(crate) fn adopt(&mut self, since: Ms, now: Ms) {
        if let (None, Some(mut base)) = (&self.away, self.base.take()) {
            base.scope.rebase(now);
            let clocks = Clocks { here: now, there: now };
            let scope = merge::scope(None, &base.scope, &self.scope, clocks);
            self.scope = with_restrictions_of(&self.scope, &scope);
        }
        (self.away, self.base, self.given_back) = (None, None, None);
        self.scope.taken = self.scope.taken.max(Some(since.min(now)));
    }

    /// Makes the embedded store decide for the scope from now on, from the server's last document.
    ///
    /// [`ScopeFile::stay_over`] begins the minimum interval once the file is visible, because until then other
    /// processes still send requests to the server. `pause` is the length of the interval.
    pub(crate) fn take_over(&mut self, now: Ms, pause: Ms) {
        if let Some(base) = &mut self.base {
            base.scope.rebase(now);
            self.scope = with_restrictions_of(&self.scope, &base.scope);
        }
        let term = pause.saturating_add(IN_FLIGHT).saturating_mul(2);
        let was_here = self.given_back.is_some_and(|at| at <= now && at.saturating_add(term) > now);
        let stays_until = was_here.then(|| now.saturating_add(term));
        self.away = Some(Away { id: clock::id(), stays_until, ..Away::default() });
    }

    /// Begins the minimum interval of a scope that was taken over, as if the server had admitted it at that time.
    pub(crate) fn stay_over(&mut self, now: Ms, starts_interval: bool) {
        let Some(away) = &mut self.away else { return };
        let before = away.since.unwrap_or(now);
        let since = before.min(now);
        away.since = Some(since);
        // The clock was set back: the stay is no longer than it was to be.
        let set_back = before.saturating_sub(since);
        away.stays_until = away.stays_until.map(|until| until.saturating_sub(set_back));
        #[cfg(test)]
        let starts_interval = starts_interval && !is_broken(Variant::NoIntervalAtFailover);
        if starts_interval {
            // Requests sent to the server before may be admitted there until then.
            self.scope.taken = self.scope.taken.max(Some(since.saturating_add(IN_FLIGHT)));
        }
    }

    /// Works as [`ScopeState::rebase`], for the whole file.
    pub(crate) fn rebase(&mut self, now: Ms) {
        self.scope.rebase(now);
        if let Some(base) = &mut self.base {
            base.scope.rebase(now);
        }
    }

    /// Returns the scope as this machine knows it: by the server's last document, unless something was decided here
    /// since.
    pub(crate) fn as_known(&self) -> ScopeState {
        match (&self.away, &self.base) {
            (None, Some(base)) => with_restrictions_of(&self.scope, &base.scope),
            _ => self.scope.clone(),
        }
    }

    /// Gives the scope back to the server, which has received everything.
    pub(crate) fn give_back(&mut self, now: Ms) {
        self.away = None;
        self.given_back = Some(now);
        self.scope = with_restrictions_of(&self.scope, &ScopeState::default());
        self.sessions.clear();
        self.tenure = clock::id();
    }
}

/// Returns the counted facts of one document with the restrictions of another.
fn with_restrictions_of(counts: &ScopeState, scope: &ScopeState) -> ScopeState {
    let mut new = scope.clone();
    new.stop.admitted_at = counts.stop.admitted_at;
    new.stop.attempts.clone_from(&counts.stop.attempts);
    new.stop.attempts_keep = counts.stop.attempts_keep;
    new.compact.admitted_at = counts.compact.admitted_at;
    new.compact.attempts.clone_from(&counts.compact.attempts);
    new.compact.attempts_keep = counts.compact.attempts_keep;
    new.quota = QuotaLog { places: Vec::new(), ..counts.quota.clone() };
    new.trips.clone_from(&counts.trips);
    new.taken = counts.taken;
    new
}
