//! What this machine decided or remembers, brought to the server before the server decides again.
//!
//! Two clocks never meet: what this machine dates is taken by its age, and its ends by what is left of them.

use redis::{Cmd, Value, cmd};

use super::changes::{self, put, put_scope, put_session};
use super::commit::Commit;
use super::document::Document;
use super::keys::Keys;
use super::loaded::{SetAside, document, get, time};
use super::mirror::Doors;
use super::server_record::FleetHold;
use super::state_file::ScopeFile;
use super::{StoreError, unknown_past};
use crate::clock;
use crate::config::{Config, Server};
use crate::throttle::effects::{BY_API, add_note};
use crate::throttle::policy::{Ms, millis};
use crate::throttle::state::{Begun, FleetState, Hold, Rest, ScopeState, SessionState, Span};
use crate::throttle::willy::BY_WILLY;

/// What is brought of the whole fleet.
#[derive(Clone, Copy)]
pub(super) struct FleetTold<'a> {
    /// Its hold: the server's earlier word, or one that was opened here.
    pub(super) hold: Option<&'a FleetHold>,
    /// When its hold was lifted here (this machine's clock).
    pub(super) released: Option<Ms>,
}

/// All that a scope's file holds for the server, as seen at `now` (this machine's clock).
pub(super) struct Carry<'a> {
    pub(super) config: &'a Config,
    pub(super) scope: &'a str,
    pub(super) file: &'a ScopeFile,
    /// The sessions that its file lists.
    pub(super) sessions: &'a [(String, SessionState)],
    pub(super) fleet: FleetTold<'a>,
    /// The server's epoch as this machine knows it.
    pub(super) known_born: &'a str,
    pub(super) now: Ms,
}

/// Where a fact comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was decided on this machine.
    Own,
    /// The server decided it, and may have lost it since.
    Mirror,
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
    /// What is asked of the server first.
    pub(super) fn questions(&self) -> Vec<Cmd> {
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

    /// The commit that brings all of it, and the server's epoch.
    ///
    /// # Errors
    /// When what the server has is of a newer format.
    pub(super) fn merge(&self, server: &Server, answers: Vec<Value>) -> Result<(Commit, String), StoreError> {
        let found = self.found(server, answers)?;
        let clocks = Clocks { here: self.now, there: found.now };
        let keys = Keys::of(&self.config.fleet);
        let mut fleet = found.fleet.state.clone();
        if !self.known_born.is_empty() && self.known_born != fleet.born && fleet.lost.is_none() {
            fleet.lost = Some(found.now);
        }
        if fleet.born.is_empty() {
            fleet.born = clock::id();
        }
        let mirror = self.file.mirror.as_ref();
        // The fleet's hold and the scope's are told together, so they bear one epoch: where they differ, both are old.
        let mirror_born = mirror.map(|m| &m.born).or_else(|| self.fleet.hold.map(|f| &f.born));
        let merge = Merge {
            carry: self,
            clocks,
            knows_mirror: mirror_born.is_some_and(|born| *born == fleet.born),
            seen: mirror.map(|m| m.seen).or_else(|| self.fleet.hold.map(|f| f.seen)).unwrap_or(self.now),
        };
        merge.fleet(&mut fleet);
        let mut scope = found.scope.state.clone();
        merge.scope(&mut scope);

        let mut commit = Commit::default();
        changes::set_aside(&mut commit, &found.set_aside);
        self.admissions(&mut commit, keys, clocks);
        put_scope(&mut commit, keys.scope(self.scope), &found.scope, &scope, found.now);
        put(&mut commit, keys.fleet(), &found.fleet, &fleet, None, false);
        for ((id, own), document) in self.sessions.iter().zip(&found.sessions) {
            let mut session = document.state.clone();
            merge.session(own, &mut session, document.version.is_empty());
            put_session(&mut commit, keys.session(id), document, &session, found.now);
            commit.index(keys.index("session"), id);
        }
        commit.index(keys.index("scope"), self.scope);
        Ok((commit, fleet.born))
    }

    /// The admissions made here that a limit may still count. A member is named by its time here, so that it counts once however
    /// often it is brought.
    fn admissions(&self, commit: &mut Commit, keys: Keys<'_>, clocks: Clocks) {
        let Some(away) = &self.file.away else { return };
        let policy = &self.config.policy;
        let longest =
            |quotas: &[crate::throttle::policy::Quota]| quotas.iter().map(|q| millis(q.per)).max().unwrap_or(0);
        let interval = millis(policy.stop.min_interval);
        let (own, fleets) = (longest(&policy.stop.quotas).max(interval), longest(&policy.fleet_quotas));
        for at in &away.admitted {
            let member = format!("{at}-{}", self.scope);
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

/// This machine's clock and the server's, read one after the other.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    here: Ms,
    there: Ms,
}

impl Clocks {
    /// A past time of this machine, by the server's clock.
    fn ago(self, at: Ms) -> Ms {
        self.there.saturating_sub(self.here.saturating_sub(at).max(0)).max(0)
    }

    /// An end of this machine, by the server's clock.
    fn ahead(self, at: Ms) -> Ms {
        self.there.saturating_add(at.saturating_sub(self.here).max(0))
    }

    fn span(self, span: Span) -> Span {
        Span { start: self.ago(span.start), end: self.ahead(span.end), ..span }
    }

    fn hold(self, hold: &Hold) -> Hold {
        Hold { since: self.ago(hold.since), until: hold.until.map(|at| self.ahead(at)), ..hold.clone() }
    }
}

struct Merge<'a> {
    carry: &'a Carry<'a>,
    clocks: Clocks,
    /// The server has not lost what it said.
    knows_mirror: bool,
    /// When the server said it (this machine's clock).
    seen: Ms,
}

impl Merge<'_> {
    fn counts(&self, origin: Origin) -> bool {
        origin == Origin::Own || !self.knows_mirror
    }

    /// Whether a hold of this machine stands against the server's. A person's replaces an older one that ends sooner, as it would
    /// have here.
    fn stands(&self, origin: Origin, hold: &Hold, stored: Option<&Hold>, released: Option<Ms>) -> bool {
        if !self.counts(origin) {
            return false;
        }
        let dated = self.clocks.ago(if origin == Origin::Own { hold.since } else { self.seen });
        let mut holds = stored.filter(|stored| stored.holds(self.clocks.there));
        let is_persons = origin == Origin::Own && hold.by != BY_API && hold.by != BY_WILLY;
        let until = hold.until.map(|at| self.clocks.ahead(at));
        let lasts_longer = |stored: &Hold| until.is_some_and(|end| stored.until.is_none_or(|at| at > end));
        if is_persons && holds.is_some_and(|stored| stored.since <= dated && !lasts_longer(stored)) {
            holds = None;
        }
        holds.is_none() && released.unwrap_or(0) < dated
    }

    fn fleet(&self, fleet: &mut FleetState) {
        let told = self.carry.fleet;
        // By a clock that was ahead a release would lift what came after it.
        if let Some(released) = told.released.filter(|at| *at <= self.clocks.here).map(|at| self.clocks.ago(at))
            && fleet.hold.as_ref().is_none_or(|hold| hold.since <= released)
        {
            fleet.hold = None;
            fleet.released = fleet.released.max(Some(released));
        }
        let Some(brought) = told.hold else { return };
        let origin = if brought.own { Origin::Own } else { Origin::Mirror };
        let in_force = brought.hold.holds(self.clocks.here);
        if in_force && self.stands(origin, &brought.hold, fleet.hold.as_ref(), fleet.released) {
            fleet.hold = Some(self.clocks.hold(&brought.hold));
        }
    }

    fn scope(&self, scope: &mut ScopeState) {
        let (file, here) = (self.carry.file, self.clocks.here);
        let away = file.away.as_ref();
        if away.is_some() {
            scope.taken = Some(self.clocks.there);
        }
        let empty = Doors::default();
        let own = Doors::of(&file.scope);
        let brought = away.map_or(&empty, |a| &a.brought);
        let said = file.mirror.as_ref().map_or(&empty, |m| &m.doors);
        let (origin, hold) = match &own.hold {
            Some(hold) if away.is_some() && own.hold != brought.hold => (Origin::Own, Some(hold)),
            _ => (Origin::Mirror, said.hold.as_ref()),
        };
        self.lifted(scope);
        if let Some(hold) = hold.filter(|hold| hold.holds(here)) {
            let stored = scope.hold.clone();
            // A person's replaces one of API errors.
            let is_persons = origin == Origin::Own && hold.by != BY_API;
            let stored = stored.filter(|stored| !(is_persons && stored.by == BY_API));
            if self.stands(origin, hold, stored.as_ref(), scope.released) {
                scope.hold = Some(self.clocks.hold(hold));
            }
        }
        // What changed since the failover is this machine's own; what did not is the server's own word.
        let pick = |own: Option<Span>, brought: Option<Span>, said: Option<Span>| match away {
            Some(_) if own != brought => own.map(|span| (Origin::Own, span)),
            _ => said.map(|span| (Origin::Mirror, span)),
        };
        let stop = pick(own.stop, brought.stop, said.stop);
        self.span(stop, own.stop_strikes.max(said.stop_strikes), &mut scope.stop.cooldown, &mut scope.stop.strikes);
        let compact = pick(own.compact, brought.compact, said.compact);
        let strikes = own.compact_strikes.max(said.compact_strikes);
        self.span(compact, strikes, &mut scope.compact.cooldown, &mut scope.compact.strikes);
        let api = pick(own.api, brought.api, said.api);
        if self.span(api, own.api_strikes.max(said.api_strikes), &mut scope.api, &mut scope.api_strikes) {
            // Whether it is a reset time is not known: it runs out.
            scope.api_of_key = false;
        }
    }

    /// What was lifted here: by hand, or by a good stop, which lifts a hold of API errors only.
    fn lifted(&self, scope: &mut ScopeState) {
        let (file, here) = (self.carry.file, self.clocks.here);
        let Some(away) = &file.away else { return };
        let by_hand = away.released.filter(|at| *at <= here);
        let by_stop = file.scope.released.filter(|at| *at >= away.since && *at <= here);
        let is_apis = scope.hold.as_ref().is_some_and(|hold| hold.by == BY_API);
        let lifted = by_hand.or(by_stop.filter(|_| is_apis)).map(|at| self.clocks.ago(at));
        if let Some(at) = lifted.filter(|at| scope.hold.as_ref().is_none_or(|hold| hold.since <= *at)) {
            scope.hold = None;
            scope.released = scope.released.max(Some(at));
        }
        // A release by hand ended the API cooldown too.
        if let (Some(at), Some(api)) = (by_hand.map(|at| self.clocks.ago(at)), &mut scope.api)
            && api.start <= at
        {
            api.end = api.end.min(self.clocks.there);
        }
    }

    /// The later of two ends, and the more strikes; returns whether the span changed.
    fn span(
        &self,
        told: Option<(Origin, Span)>,
        told_strikes: u32,
        stored: &mut Option<Span>,
        strikes: &mut u32,
    ) -> bool {
        let Some((_, span)) = told.filter(|(origin, _)| self.counts(*origin)) else { return false };
        *strikes = told_strikes.max(*strikes);
        let span = self.clocks.span(span);
        let is_later = span.end > self.clocks.there && stored.is_none_or(|stored| span.end > stored.end);
        if is_later {
            *stored = Some(span);
        }
        is_later
    }

    fn session(&self, own: &SessionState, stored: &mut SessionState, is_new: bool) {
        let clocks = self.clocks;
        let away = self.carry.file.away.as_ref().map(|away| away.since);
        let origin =
            if away.is_some_and(|since| own.seen >= since || own.woken) { Origin::Own } else { Origin::Mirror };
        let mut fence = own.fence;
        // Which of two fences is newer shows when they were raised: each was counted without the other.
        let mut is_newer = stored.fence.is_some_and(|stored| stored > fence.unwrap_or(0));
        if let (true, Some(begun)) = (is_newer, &stored.begun) {
            let is_same = own.begun.as_ref().is_some_and(|own| !own.id.is_empty() && own.id == begun.id);
            let is_later = own.begun.as_ref().is_some_and(|own| clocks.ago(own.at) >= begun.at);
            if is_same || is_later {
                fence = stored.fence.map(|stored| if is_same { stored } else { stored.saturating_add(1) });
                is_newer = false;
            }
        }
        if self.counts(origin) && !is_newer && (origin == Origin::Own || is_new || stored.fence.is_none()) {
            stored.fence = fence.or(stored.fence);
            let rest = own.rest.as_ref().filter(|rest| rest.lasts(clocks.here));
            stored.rest = rest.map(|rest| Rest {
                since: clocks.ago(rest.since),
                until: rest.until.map(|at| clocks.ahead(at)),
                ..rest.clone()
            });
            stored.count = own.count;
            if let Some(begun) = &own.begun {
                stored.begun = Some(Begun { at: clocks.ago(begun.at), id: begun.id.clone() });
            }
            let scope = if own.scope.is_empty() { self.carry.scope } else { &own.scope };
            scope.clone_into(&mut stored.scope);
            if !own.name.is_empty() {
                stored.name.clone_from(&own.name);
                stored.named_by_project = own.named_by_project;
            }
            if !own.project.is_empty() {
                stored.project.clone_from(&own.project);
            }
            if !own.label.is_empty() {
                stored.label.clone_from(&own.label);
            }
            stored.host.clone_from(&own.host);
            (stored.pid, stored.client) = (own.pid, own.client);
            stored.seen = clocks.ago(own.seen);
        }
        if origin == Origin::Own && own.woken {
            stored.woken = true;
            // Brought twice where the first answer was lost.
            let is_there = format!("\n{}\n", stored.note).contains(&format!("\n{}\n", own.note));
            if !is_there {
                add_note(&mut stored.note, &own.note);
            }
        }
    }
}
