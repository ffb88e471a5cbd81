//! The configured server, with the embedded store to stand in for it.
//!
//! Usually the server is asked and that is all. What it says of holds, cooldowns and rests is kept on this machine. If it
//! cannot be asked, the embedded store takes the scope over and says so; once it can, it is told what happened, and decides
//! again. At each change of hands the scope's guard is closed, since neither knows whom the other admitted last.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::carry::{Carry, FleetTold};
use super::decider;
use super::dragonfly::{self, Dragonfly};
use super::embedded::{self, Embedded, StandIn};
use super::line::Line;
use super::link::Link;
use super::local_journal::LocalJournal;
use super::mirror::{self, Away};
use super::server_record::{self, Mark, Record, Route};
use super::state_file::{self, Found, ScopeFile, SessionFile};
use super::transaction::{self, Transaction};
use super::{Store, StoreError, expiry, place, private, probe, reached, ship, starvation};
use crate::clock;
use crate::config::{Config, DEFAULT_BUDGET, Server};
use crate::journal::Entry;
use crate::text;
use crate::throttle::policy::{Class, Ms, millis};
use crate::throttle::state::{Hold, ScopeState, SessionState};
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Decision, Reason, Verdict};

/// How long what is only kept may wait for the fleet's lock, and how long one ask ships old entries.
const ASIDE: Duration = Duration::from_millis(50);

/// How long a server that takes no more connections is left alone, and up to twice that by chance.
const ROOM: Duration = Duration::from_millis(10);

/// Nothing takes longer, from the beginning of the ask.
const LATEST: Duration = Duration::from_millis(900);

/// A server and its stand-in.
pub struct Failover<'a> {
    config: &'a Config,
    server: &'a Server,
    /// Where nobody ever listened, nothing is amiss.
    optional: bool,
    dir: Option<PathBuf>,
    deadline: Instant,
    /// The connection that gave the verdict. A hook that is about to end forgets the whole store, and closes nothing.
    answered: Option<Dragonfly<'a>>,
    /// Whether it was ever reached, or has to be there.
    met: bool,
    /// Until when the server may answer, where that is not its part of the budget.
    patience: Option<Instant>,
    /// A connection that was kept since the last request.
    line: Option<Line<'a>>,
}

impl<'a> Failover<'a> {
    /// Nothing is opened yet. `optional` is a server that need not be there.
    pub(super) fn new(config: &'a Config, server: &'a Server, optional: bool, deadline: Instant) -> Self {
        let dir = config.state.as_ref().map(|state| state.join(&config.fleet));
        Self { config, server, optional, dir, deadline, answered: None, met: !optional, patience: None, line: None }
    }

    /// Sends over a connection that was kept since the last request.
    pub(super) fn over(self, line: Option<Line<'a>>) -> Self {
        Self { line, ..self }
    }

    /// The connection that gave the last verdict, or was not used.
    pub(super) fn line(&mut self) -> Option<Line<'a>> {
        self.answered.take().map(Dragonfly::into_line).or(self.line.take())
    }

    /// The server has three quarters of the budget; what is left is the stand-in's.
    fn servers_deadline(&self) -> Instant {
        let kept = self.config.budget / 4;
        self.patience.unwrap_or_else(|| self.deadline.checked_sub(kept).unwrap_or(self.deadline))
    }

    /// Until when more than the verdict itself may take: another budget, and in all less than the watchdog's second.
    fn latest(&self) -> Instant {
        let begun = self.deadline.checked_sub(self.config.budget).unwrap_or(self.deadline);
        (clock::now() + self.config.budget).min(begun + LATEST)
    }

    fn born<'r>(&self, record: &'r Record) -> &'r str {
        record.born(&self.server.shown)
    }

    /// The server over the connection that is there, or over a new one.
    fn reach(&mut self) -> Result<Dragonfly<'a>, StoreError> {
        let deadline = self.servers_deadline();
        match self.line() {
            Some(line) => Ok(Dragonfly::over(self.config, line, deadline)),
            None => Ok(Dragonfly::new(self.config, Link::connect(self.config, self.server, deadline)?)),
        }
    }

    /// Keeps the connection of a verdict, and gives up that of none.
    fn decided(
        &mut self,
        mut server: Dragonfly<'a>,
        verdict: Result<Verdict, StoreError>,
    ) -> Result<Verdict, StoreError> {
        match &verdict {
            Ok(_) => self.answered = Some(server),
            Err(_) => server.link().abandon(),
        }
        verdict
    }

    /// Asks the server and nothing else.
    fn ask(&mut self, step: &Step, known_born: &str) -> Result<Verdict, StoreError> {
        let mut server = self.reach()?;
        let verdict = server.step(step, known_born);
        self.decided(server, verdict)
    }

    /// Keeps what an answer says. A server that has lost what it said of the scope is told that first, and asked again.
    #[cold]
    #[inline(never)]
    fn learn(&mut self, dir: &Path, record: &Record, step: &Step, verdict: Verdict) -> Result<Verdict, StoreError> {
        let decided = &verdict.decision;
        if decided.reason == Reason::Lost {
            let at_home = self.go_home(dir, record, step)?;
            return Ok(Verdict { notes: [verdict.notes, at_home.notes].concat(), ..at_home });
        }
        self.keep(dir, step, decided, None);
        Ok(verdict)
    }

    /// Tells the server what it may not know, then asks it.
    #[cold]
    #[inline(never)]
    fn go_home(&mut self, dir: &Path, record: &Record, step: &Step) -> Result<Verdict, StoreError> {
        let mut server = self.reach()?;
        let verdict = self.decide_at_home(dir, record, step, &mut server);
        self.decided(server, verdict)
    }

    fn decide_at_home(
        &self,
        dir: &Path,
        record: &Record,
        step: &Step,
        server: &mut Dragonfly<'_>,
    ) -> Result<Verdict, StoreError> {
        // Others of this scope may be deciding here right now.
        for _ in 0..3 {
            if self.tell(dir, record, step, server)? {
                let known = server.born().unwrap_or_else(|| self.born(record).to_owned());
                let verdict = server.step(step, &known)?;
                if verdict.decision.reason == Reason::Lost {
                    // It is told what the scope's file holds, and asked as what it is now.
                    server.is(verdict.decision.born);
                    continue;
                }
                if verdict.decision.reason == Reason::Contested {
                    return Ok(verdict);
                }
                self.keep(dir, step, &verdict.decision, Some((record, &known)));
                if verdict.unjournaled {
                    self.journal_here(dir, step, &verdict.decision);
                }
                ship::ship(self.config, dir, server.link(), clock::now() + ASIDE, self.latest());
                return Ok(verdict);
            }
        }
        // The server did answer: whoever tried it has found it well.
        probe::close_breaker(dir);
        Err(StoreError::Away { why: "other asks of this scope are still decided on this machine".to_owned() })
    }

    /// Tells the server what the scope's file holds; false when the file went on meanwhile.
    fn tell(&self, dir: &Path, record: &Record, step: &Step, server: &mut Dragonfly<'_>) -> Result<bool, StoreError> {
        let path = state_file::scope(dir, &step.scope);
        let now = clock::host_ms();
        let found = state_file::peek::<ScopeFile>(&path);
        let lost = found.is_none() && (record.away.contains(&step.scope) || path.exists());
        let file = found.filter(|f| f.away.is_some() || f.mirror.is_some());
        let mut fleet_hold = record.fleet_hold(&self.server.shown).cloned();
        if let Some(fleet) = &mut fleet_hold {
            fleet.hold.rebase(now);
        }
        let fleet_released = record.fleet_released(&self.server.shown);
        if file.is_none() && fleet_hold.is_none() && fleet_released.is_none() && !lost {
            return Ok(true);
        }
        // What others may have written here is told to nobody.
        private::check(dir)?;
        let mut file = file.unwrap_or_else(|| ScopeFile::new(ScopeState::default()));
        file.rebase(now);
        if lost {
            // Whatever was decided here is not known any more, but when it may have been: until now.
            file.away = Some(Away { since: now, ..Away::default() });
        }
        let fleet = FleetTold { hold: fleet_hold.as_ref(), released: fleet_released };
        let known_born = self.born(record);
        let mut sessions = state_file::listed(dir, &step.scope, &file);
        sessions.iter_mut().filter_map(|(_, session)| session.rest.as_mut()).for_each(|rest| rest.rebase(now));
        let (scope, sessions) = (step.scope.as_str(), sessions.as_slice());
        server.tell(&Carry { config: self.config, scope, file: &file, sessions, fleet, known_born, now })?;
        let Some(told) = file.away.map(|away| (away.id, away.steps)) else { return Ok(true) };
        let _lock = embedded::lock(dir, self.servers_deadline(), self.config.budget)?;
        let now = clock::host_ms();
        let (mut changes, _) = Transaction::begin(self.config, dir, true, now)?;
        if lost {
            // Told once: one that cannot be read would be told of with every ask.
            if let Found::SetAside(_) = state_file::load::<ScopeFile>(&path, now)? {
                let mut file = ScopeFile::new(ScopeState::default());
                file.tenure = clock::id();
                changes.put(place::scope(scope), &file, &[])?;
                changes.commit(None)?;
            }
            return Ok(true);
        }
        let Some(mut file) = state_file::peek::<ScopeFile>(&path) else { return Ok(false) };
        match &file.away {
            Some(away) if (&away.id, away.steps) != (&told.0, told.1) => return Ok(false),
            Some(_) => {
                file.give_back(now);
                changes.put(place::scope(scope), &file, &[])?;
                if let Err(e) = changes.commit(None) {
                    remove_told(dir, &path, sessions).map_err(|_| e)?;
                }
            }
            None => {}
        }
        Ok(true)
    }

    /// The embedded store decides.
    #[cold]
    #[inline(never)]
    fn stand_in(&self, step: &Step, server: StoreError) -> Result<Verdict, StoreError> {
        let nobody = matches!(server, StoreError::NobodyListens { .. });
        let quiet = nobody && !self.met;
        let why = server.to_string();
        let breaks = !quiet && server.concerns_all();
        let stand_in = StandIn { server: &self.server.shown, why: &why, quiet, breaks, keeps: !server.is_full() };
        // Many may want the files at once when a server goes: each gets its turn.
        let deadline = self.deadline.max(self.latest());
        let decided = Embedded::new(self.config, deadline).and_then(|store| store.standing_in(stand_in).step(step));
        match decided {
            Ok(mut verdict) => {
                verdict.degraded = (!quiet).then_some(why);
                Ok(verdict)
            }
            Err(files) if quiet => Err(files),
            Err(files) => Err(StoreError::NoStandIn { server: Box::new(server), files: Box::new(files) }),
        }
    }

    /// The server's verdict stands, but its journal could not take the entry: it is kept here, and shipped like a stand-in's.
    #[cold]
    #[inline(never)]
    fn journal_here(&self, dir: &Path, step: &Step, decided: &Decision) {
        let Ok(_lock) = embedded::lock(dir, clock::now() + ASIDE, ASIDE) else { return };
        let Ok(mut journal) = LocalJournal::open(dir) else { return };
        if server_record::begin_shipping(dir, &journal).is_err() {
            return;
        }
        let entry = Entry::of(step, decided, &step.scope, &self.config.fleet, dragonfly::NAME);
        let _ = journal.append(&entry.line());
    }

    /// Keeps what the server's answer says, should it fall silent. It concerns no verdict: what cannot be kept is not. `told` is
    /// the record of which it was told before, and its `born`.
    #[cold]
    #[inline(never)]
    fn keep(&self, dir: &Path, step: &Step, decided: &Decision, told: Option<(&Record, &str)>) {
        let Ok(_lock) = embedded::lock(dir, clock::now() + ASIDE, ASIDE) else { return };
        let now = clock::host_ms();
        let Ok((mut changes, _)) = Transaction::begin(self.config, dir, true, now) else { return };
        let mut record = server_record::read_or_rebuild(dir);
        let mut changed = false;
        if let Some((told, born)) = told {
            changed = record.fleet_is_told(&self.server.shown, told, born);
            changed |= record.breaker.take().is_some();
        }
        if record.knows(&self.server.shown, &decided.born) {
            reached::remember(self.config, self.server);
            changed = true;
        }
        let born = self.born(&record).to_owned();
        changed |= keep_fleet_hold(&mut record, &self.server.shown, step, decided, now);
        let path = state_file::scope(dir, &step.scope);
        let worth = mirror::is_worth_keeping(step, decided);
        let found = state_file::peek::<ScopeFile>(&path);
        // One that was taken over meanwhile says more than this answer.
        if found.as_ref().is_none_or(|f| f.away.is_none()) {
            changed |= record.away.remove(&step.scope);
            let file = found.or_else(|| worth.then(|| ScopeFile::new(ScopeState::default())));
            let file = file.filter(|f| worth || f.mirror.is_some());
            let noted = file.and_then(|mut file| {
                let until = note_session(&mut changes, dir, &mut file, step, decided, &born, now)?;
                changes.put(place::scope(&step.scope), &file, &[]).ok()?;
                Some((until, file))
            });
            match &noted {
                // Marked first: without that nobody would look into the file.
                Some((Some(until), file)) => {
                    let mark = Mark::new(*until, &born, decided, file.resting(now), now);
                    changed |= record.marks.insert(step.scope.clone(), mark.clone()) != Some(mark);
                }
                _ => changed |= record.unmark(&step.scope, now),
            }
            if noted.is_some() {
                if changed && server_record::write(dir, &record).is_err() {
                    return;
                }
                changed = false;
                let _ = changes.commit(None);
            }
        }
        if changed {
            let _ = server_record::write(dir, &record);
        }
    }

    /// Deletes what is over where a session begins; see [`expiry`].
    #[cold]
    #[inline(never)]
    fn clear_away(&self, dir: &Path, step: &Step) {
        let now = clock::host_ms();
        if expiry::expired(dir, &step.scope, &step.session, now).is_empty() || private::check(dir).is_err() {
            return;
        }
        let Ok(_lock) = embedded::lock(dir, clock::now() + ASIDE, ASIDE) else { return };
        expiry::clear(dir, &step.scope, &step.session, now);
    }
}

/// On a full disk a file can still be removed: the server has been told what these files held.
fn remove_told(dir: &Path, scope: &Path, sessions: &[(String, SessionState)]) -> io::Result<()> {
    match fs::remove_file(transaction::path(dir)) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::remove_file(scope)?;
    for (id, _) in sessions {
        let _ = fs::remove_file(state_file::session(dir, id));
    }
    Ok(())
}

/// Writes what the server said of the step's scope and session; returns until when the scope is to be marked. `None` outside
/// where it cannot be written.
fn note_session(
    changes: &mut Transaction<'_>,
    dir: &Path,
    file: &mut ScopeFile,
    step: &Step,
    decided: &Decision,
    born: &str,
    now: Ms,
) -> Option<Option<Ms>> {
    let id = &step.session;
    let known =
        if step.event.is_of_holds() { None } else { state_file::peek::<SessionFile>(&state_file::session(dir, id)) };
    let said = known.as_ref().filter(|known| known.mirror && known.counts(dir, id, &step.scope, file));
    let noted = file.note(step, decided, said.map(|known| &known.session), born, now);
    match &noted.session {
        // What was decided here in another scope the server has still to be told.
        Some(_) if known.as_ref().is_some_and(|known| is_untold(dir, id, &step.scope, known)) => {}
        Some(session) => changes.put(place::session(id), &SessionFile::said(session.clone()), &[]).ok()?,
        None if said.is_some() => changes.remove(place::session(id)),
        None => {}
    }
    Some(noted.until)
}

/// Whether the session was decided here in another scope, of which the server has not been told.
fn is_untold(dir: &Path, id: &str, scope: &str, known: &SessionFile) -> bool {
    let of = &known.session.scope;
    if known.mirror || of == scope || !text::is_encoded(of) {
        return false;
    }
    let file = state_file::peek::<ScopeFile>(&state_file::scope(dir, of));
    file.as_ref().is_some_and(|file| file.away.is_some()) && known.is_current(id, file.as_ref())
}

/// Whether an answer tells something that is not kept yet.
fn is_news(record: &Record, server: &str, step: &Step, decided: &Decision) -> bool {
    // It is asked again with what it needs to know.
    if matches!(decided.reason, Reason::Contested | Reason::Busy) {
        return false;
    }
    let now = clock::host_ms();
    if step.event.is_fleets()
        || decided.reason == Reason::Lost
        || (!decided.born.is_empty() && decided.born != record.born(server))
    {
        return true;
    }
    let asks = step.event.asks() == Some(Class::Stop) && !matches!(decided.reason, Reason::Superseded | Reason::Busy);
    if asks && record.fleet_hold(server).is_some() && decided.reason != Reason::Hold {
        return true;
    }
    match record.mark(&step.scope, now) {
        Some(mark) if step.event.asks().is_some() => !mark.says(&step.session, decided, now),
        Some(_) => mirror::is_worth_keeping(step, decided) || step.event.raises_fence() || !step.event.is_clients(),
        None => mirror::is_worth_keeping(step, decided),
    }
}

impl Store for Failover<'_> {
    fn step(&mut self, step: &Step) -> Result<Verdict, StoreError> {
        let Some(dir) = self.dir.take() else {
            return self.ask(step, "").or_else(|e| self.stand_in(step, e));
        };
        let verdict = self.step_in(&dir, step);
        if matches!(step.event, Event::SessionStart { .. }) && verdict.as_ref().is_ok_and(|v| !v.by_files) {
            self.clear_away(&dir, step);
        }
        self.dir = Some(dir);
        verdict
    }
}

impl Failover<'_> {
    /// As [`Store::step`], with this fleet's folder.
    fn step_in(&mut self, dir: &Path, step: &Step) -> Result<Verdict, StoreError> {
        let record = server_record::read(dir);
        let route = decider::route(dir, record.as_ref(), &self.server.shown, &step.scope);
        let record = record.unwrap_or_default();
        self.met = !self.optional || !record.born(&self.server.shown).is_empty() || reached::ever(self.config);
        let asked = match route {
            Route::Server if !self.met => self.meet(dir, step),
            Route::Server => match self.ask(step, record.born(&self.server.shown)) {
                Ok(verdict) if verdict.unjournaled => {
                    self.journal_here(dir, step, &verdict.decision);
                    self.learn(dir, &record, step, verdict)
                }
                Ok(verdict) if !is_news(&record, &self.server.shown, step, &verdict.decision) => {
                    if self.born(&record).is_empty() {
                        reached::remember(self.config, self.server);
                    }
                    Ok(verdict)
                }
                Ok(verdict) => self.learn(dir, &record, step, verdict),
                Err(e) => Err(e),
            },
            Route::Stays => Err(decider::staying()),
            Route::Home => self.meet_or_go_home(dir, &record, step),
            // A person's word is not kept here because of what others found a moment ago.
            Route::Away if step.event.is_persons() && !decider::stays(dir, &step.scope) => {
                self.meet_or_go_home(dir, &record, step)
            }
            Route::Probe
                if step.event.is_persons() || probe::take(dir, &self.server.shown, self.servers_deadline()) =>
            {
                self.meet_or_go_home(dir, &record, step)
            }
            Route::Probe | Route::Away => {
                Err(StoreError::Away { why: record.breaker.as_ref().map(|b| b.why.clone()).unwrap_or_default() })
            }
        };
        let asked = match asked {
            Err(e) if !self.met => match self.stand_in(step, e) {
                // Another process met the server while this one asked for the lock.
                Err(StoreError::Met) => self.go_home(dir, &record, step),
                decided => return decided,
            },
            asked => asked,
        };
        match asked {
            Err(e) if self.met && e.is_full() => self.ask_when_there_is_room(dir, &record, step, e),
            Err(StoreError::TimedOut { .. }) if self.config.budget == DEFAULT_BUDGET && starvation::is_starved() => {
                self.ask_longer(dir, &record, step)
            }
            Err(e) => self.stand_in(step, e),
            Ok(verdict) => Ok(verdict),
        }
    }

    fn meet_or_go_home(&mut self, dir: &Path, record: &Record, step: &Step) -> Result<Verdict, StoreError> {
        if self.met { self.go_home(dir, record, step) } else { self.meet(dir, step) }
    }

    /// Asks a server where none ever was. That it is there is noted under the fleet's lock before anything is asked of it: from
    /// then on files are no choice of their own any more, and the server is told what they decided until then.
    #[cold]
    #[inline(never)]
    fn meet(&mut self, dir: &Path, step: &Step) -> Result<Verdict, StoreError> {
        let mut server = self.reach()?;
        server.greet()?;
        let lock = embedded::lock(dir, self.servers_deadline(), self.config.budget)?;
        reached::remember(self.config, self.server);
        drop(lock);
        let record = server_record::read(dir).unwrap_or_default();
        let verdict = self.decide_at_home(dir, &record, step, &mut server);
        self.decided(server, verdict)
    }

    /// Asks a server once more that was slow on a busy machine: it is not away, and a quota must not be used twice for that.
    #[cold]
    #[inline(never)]
    fn ask_longer(&mut self, dir: &Path, record: &Record, step: &Step) -> Result<Verdict, StoreError> {
        self.patience = Some(self.latest());
        self.go_home(dir, record, step).or_else(|e| self.stand_in(step, e))
    }
}

impl Failover<'_> {
    /// Asks a server again that takes no more connections. It decides for others meanwhile, so that a request is refused rather
    /// than decided beside it. Any other event is kept in files, and sent with the next step.
    #[cold]
    #[inline(never)]
    fn ask_when_there_is_room(
        &mut self,
        dir: &Path,
        record: &Record,
        step: &Step,
        mut full: StoreError,
    ) -> Result<Verdict, StoreError> {
        let latest = self.latest();
        self.patience = Some(latest);
        loop {
            let pause = ROOM + ROOM.mul_f64((clock::chance() % 1000) as f64 / 1000.0);
            if clock::now() + pause >= latest {
                break;
            }
            clock::sleep(pause);
            match self.go_home(dir, record, step) {
                Err(e) if e.is_full() => full = e,
                // A request is refused all the same: the next one finds out what it was.
                Err(e) => {
                    full = e;
                    break;
                }
                decided => return decided,
            }
        }
        if step.event.asks().is_some() { Err(full) } else { self.stand_in(step, full) }
    }
}

/// The fleet's hold, as far as the answer tells of it; whether that changed anything.
fn keep_fleet_hold(record: &mut Record, server: &str, step: &Step, decided: &Decision, now: Ms) -> bool {
    // Older than what was decided here since.
    if record.owes_fleet(server) {
        return false;
    }
    if matches!(step.event, Event::Release { fleet: true, .. }) {
        return record.free_fleet(server);
    }
    let asks = step.event.asks() == Some(Class::Stop) && !matches!(decided.reason, Reason::Superseded | Reason::Busy);
    if !asks && !step.event.is_fleets() {
        return false;
    }
    // On an admission it is said who held the session before.
    match decided.held.as_ref().filter(|_| !decided.reason.is_admission()) {
        Some(held) if held.fleet => {
            let until = decided.retry_after.map(|left| now.saturating_add(millis(left)));
            let hold = Hold { reason: held.reason.clone(), by: held.by.clone(), since: now, until, id: 0 };
            record.hold_fleet(server, hold, now);
            true
        }
        // The scope's own hides it.
        Some(_) => false,
        None => record.free_fleet(server),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::step_of;
    use crate::throttle::model::{self, State};
    use crate::throttle::policy::Policy;

    /// An answer that was on its way when the server fell silent comes after what was decided in its place.
    #[test]
    fn an_answer_from_before_undoes_nothing_that_was_decided_here() {
        let step = step_of("s".to_owned(), "s".to_owned(), "Stop", Event::Stop { rest: None });
        let hold = |by: &str| Hold { reason: String::new(), by: by.to_owned(), since: 5, until: None, id: 0 };
        let mut held = State::default();
        held.fleet.hold = Some(hold("ann"));
        let answers = [State::default(), held].map(|mut at| model::step(&Policy::default(), &mut at, &step, 10));
        for (own, decided) in
            [None, Some(hold("bob"))].into_iter().flat_map(|own| answers.iter().map(move |d| (own.clone(), d)))
        {
            let mut record = Record::default();
            keep_fleet_hold(&mut record, "a", &step, decided, 11);
            record.decide_fleet("a", own.clone(), false, 12);
            let before = record.clone();
            assert!(!keep_fleet_hold(&mut record, "a", &step, decided, 13));
            assert_eq!(record.fleet_hold("a").map(|f| f.hold.clone()), own);
            // Told of it, the server has the last word again.
            assert!(record.owes_fleet("a") && record.fleet_is_told("a", &before, "x") && !record.owes_fleet("a"));
            keep_fleet_hold(&mut record, "a", &step, decided, 14);
            let by = |held: &Decision| held.held.as_ref().map(|h| h.by.clone());
            assert_eq!(record.fleet_hold("a").map(|f| f.hold.by.clone()), by(decided));
        }
    }
}
