//! The configured server, with the embedded store in its place while it cannot decide.
//!
//! Usually the request goes to the server only, and this machine keeps the server's holds, cooldowns and rests. If the
//! server cannot decide, the embedded store takes the scope over and reports that. Once the server can decide again, it
//! receives what happened here first. At each change the scope's minimum interval begins, because neither store knows
//! the other's last admission.

pub(crate) mod busy_machine;
pub(crate) mod carry;
pub(crate) mod changed_store;
pub(crate) mod decider;
pub(crate) mod failback;
pub(crate) mod merge_base;
pub(crate) mod probe;
pub(crate) mod reached;
pub(crate) mod server_record;
pub(crate) mod unreachable;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::{Config, DEFAULT_BUDGET, Server};
use crate::hint::Problem;
use crate::journal::Entry;
use crate::ownership;
use crate::policy::request::{Event, Step};
use crate::policy::verdict::{Decision, Reason, Verdict};
use crate::store::failover::merge_base::Seen;
use crate::store::failover::server_record::{Breaker, Record, Route};
use crate::store::files::journal_file::LocalJournal;
use crate::store::files::{Embedded, Outage, expiry};
use crate::store::server::Dragonfly;
use crate::store::server::connection::Link;
use crate::store::server::kept_connection::Line;
use crate::store::{Store, StoreError, files, server};

/// How long optional writes may wait for the fleet's lock, and how long one request sends old journal entries.
pub(crate) const ASIDE: Duration = Duration::from_millis(50);

/// How long a server that takes no more connections is left alone; chance makes it up to twice as long.
const ROOM: Duration = Duration::from_millis(10);

/// The longest time of any step, from the beginning of the request.
const LATEST: Duration = Duration::from_millis(900);

/// A server, with the embedded store for its failures.
pub struct Failover<'a> {
    pub(crate) config: &'a Config,
    pub(crate) server: &'a Server,
    /// Whether the server is optional: where no server ever listened, nothing is degraded.
    optional: bool,
    dir: Option<PathBuf>,
    deadline: Instant,
    /// The connection that gave the verdict. A hook that is about to end leaks the whole store and closes nothing.
    answered: Option<Dragonfly<'a>>,
    /// Whether the server was ever reached, or is required.
    met: bool,
    /// Until when the server may answer, where that is not its part of the budget.
    patience: Option<Instant>,
    /// Whether the server may have committed the step that it did not answer.
    unconfirmed: bool,
    /// Whether the server answers too late because this machine is busy.
    slow: bool,
    /// A connection that was kept since the last request.
    line: Option<Line<'a>>,
}

impl<'a> Failover<'a> {
    /// Makes the store and opens nothing yet. `optional` is whether the server may be missing.
    pub(crate) fn new(config: &'a Config, server: &'a Server, optional: bool, deadline: Instant) -> Self {
        let dir = config.state.as_ref().map(|state| state.join(&config.fleet));
        Self {
            config,
            server,
            optional,
            dir,
            deadline,
            answered: None,
            met: !optional,
            patience: None,
            unconfirmed: false,
            slow: false,
            line: None,
        }
    }

    /// Sends over a connection that was kept since the last request.
    pub(crate) fn over(self, line: Option<Line<'a>>) -> Self {
        Self { line, ..self }
    }

    /// Returns the connection that gave the last verdict, or was not used.
    pub(crate) fn line(&mut self) -> Option<Line<'a>> {
        self.answered.take().map(Dragonfly::into_line).or(self.line.take())
    }

    /// Returns the deadline of the server, which has three quarters of the budget; the rest is the embedded store's.
    pub(crate) fn servers_deadline(&self) -> Instant {
        let kept = self.config.budget / 4;
        self.patience.unwrap_or_else(|| self.deadline.checked_sub(kept).unwrap_or(self.deadline))
    }

    /// Returns the deadline of work beyond the verdict: another budget, and in all less than the watchdog's second.
    pub(crate) fn latest(&self) -> Instant {
        let begun = self.deadline.checked_sub(self.config.budget).unwrap_or(self.deadline);
        (clock::now() + self.config.budget).min(begun + LATEST)
    }

    pub(crate) fn store_epoch<'r>(&self, record: &'r Record) -> &'r str {
        record.store_epoch(&self.server.shown)
    }

    /// Returns the server over the existing connection, or over a new one.
    fn reach(&mut self) -> Result<Dragonfly<'a>, StoreError> {
        let deadline = self.servers_deadline();
        match self.line() {
            Some(line) => Ok(Dragonfly::over(self.config, line, deadline)),
            None => Ok(Dragonfly::new(self.config, Link::connect(self.config, self.server, deadline)?)),
        }
    }

    /// Keeps the connection that gave a verdict, and abandons one that gave none.
    fn decided(
        &mut self,
        mut server: Dragonfly<'a>,
        verdict: Result<Verdict, StoreError>,
    ) -> Result<Verdict, StoreError> {
        match &verdict {
            Ok(_) => self.answered = Some(server),
            Err(_) => {
                self.unconfirmed |= server.is_unconfirmed();
                server.link().abandon();
            }
        }
        verdict
    }

    /// Sends the step to the server and does nothing else.
    fn ask(&mut self, step: &Step, known_epoch: &str) -> Result<Verdict, StoreError> {
        let mut server = self.reach()?;
        let verdict = server.step(step, known_epoch);
        self.decided(server, verdict)
    }

    /// Keeps the new contents of the server's documents. A server that lost the scope's data gets it first, and then
    /// the step again.
    fn learn(&mut self, dir: &Path, record: &Record, step: &Step, verdict: Verdict) -> Result<Verdict, StoreError> {
        if verdict.decision.reason == Reason::Lost {
            let at_home = self.fail_back(dir, record, step)?;
            return Ok(Verdict { notes: [verdict.notes, at_home.notes].concat(), ..at_home });
        }
        if let Some(seen) = self.answered.as_mut().and_then(Dragonfly::take_seen) {
            self.keep_news(dir, record, step, seen);
        }
        Ok(verdict)
    }

    /// Keeps documents with contents that are not kept yet.
    pub(crate) fn keep_news(&self, dir: &Path, record: &Record, step: &Step, seen: Seen) {
        let (server, scope) = (&self.server.shown, &step.scope);
        if !seen.restricts() && !record.keeps(server, scope, seen.store_epoch()) {
            return;
        }
        let seen = seen.here(clock::host_ms());
        if record.is_other(server, seen.store_epoch()) || seen.is_news(record, server, scope) {
            self.keep(dir, step, &seen, None, false);
        }
    }

    /// Sends the server what it may not know, then the step.
    #[cold]
    #[inline(never)]
    fn fail_back(&mut self, dir: &Path, record: &Record, step: &Step) -> Result<Verdict, StoreError> {
        let mut server = self.reach()?;
        let verdict = self.decide_on_server(dir, record, step, &mut server);
        self.decided(server, verdict)
    }

    /// Decides by the embedded store.
    #[cold]
    #[inline(never)]
    fn take_over_scope(&self, step: &Step, server: StoreError) -> Result<Verdict, StoreError> {
        let nobody = matches!(server, StoreError::NoListener { .. });
        let quiet = nobody && !self.met;
        let why = Problem::from(&server);
        let breaks = !quiet && server.concerns_all() && !self.slow;
        let outage =
            Outage { server: &self.server.shown, why: &why, quiet, breaks, keeps: !server.is_full() && !self.slow };
        // Many processes may want the files at once when a server fails: each gets its turn.
        let deadline = self.deadline.max(self.latest());
        let decided = Embedded::new(self.config, deadline).and_then(|store| store.in_outage(outage).step(step));
        match decided {
            Ok(mut verdict) => {
                verdict.degraded = (!quiet).then(|| why.to_string());
                verdict.unconfirmed = self.unconfirmed;
                Ok(verdict)
            }
            Err(files) if quiet => Err(files),
            Err(files) => Err(StoreError::NoOutage { server: Box::new(server), files: Box::new(files) }),
        }
    }

    /// Writes the entry of a server's verdict to the local journal where the server's journal could not take it.
    ///
    /// It is sent later, as an entry of a failover is.
    #[cold]
    #[inline(never)]
    pub(crate) fn journal_here(&self, dir: &Path, step: &Step, decided: &Decision) {
        let Ok(_lock) = files::lock(dir, clock::now() + ASIDE, ASIDE) else { return };
        let Ok(mut journal) = LocalJournal::open(dir) else { return };
        if server_record::begin_shipping(dir, &journal).is_err() {
            return;
        }
        let entry = Entry::of(step, decided, &step.scope, &self.config.fleet, server::NAME);
        let _ = journal.append(&entry.line());
    }

    /// Deletes expired files where a session begins; see [`expiry`].
    #[cold]
    #[inline(never)]
    fn clear_away(&self, dir: &Path, step: &Step) {
        let now = clock::host_ms();
        if expiry::expired(dir, &step.scope, &step.session, now).is_empty() || ownership::check(dir).is_err() {
            return;
        }
        let Ok(_lock) = files::lock(dir, clock::now() + ASIDE, ASIDE) else { return };
        expiry::clear(dir, &step.scope, &step.session, now);
    }
}

impl Store for Failover<'_> {
    fn step(&mut self, step: &Step) -> Result<Verdict, StoreError> {
        let Some(dir) = self.dir.take() else {
            return self.ask(step, "").or_else(|e| self.take_over_scope(step, e));
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
    /// Works as [`Store::step`], with this fleet's folder.
    fn step_in(&mut self, dir: &Path, step: &Step) -> Result<Verdict, StoreError> {
        let mut record = server_record::read(dir);
        if (!self.optional || reached::ever(self.config))
            && record.as_ref().is_none_or(|record| record.store != self.server.shown)
        {
            match self.hand_over(dir) {
                Ok(new) => record = Some(new),
                Err(e) if changed_store::matters(dir, record.as_ref()) => return self.take_over_scope(step, e),
                Err(_) => {}
            }
        }
        let route = decider::route(self.config, dir, record.as_ref(), &self.server.shown, &step.scope);
        let record = record.unwrap_or_default();
        self.met = !self.optional || !record.store_epoch(&self.server.shown).is_empty() || reached::ever(self.config);
        let asked = match route {
            Route::Server if !self.met => self.meet(dir, step),
            Route::Server => match self.ask(step, record.store_epoch(&self.server.shown)) {
                Ok(verdict) => {
                    if verdict.unjournaled {
                        self.journal_here(dir, step, &verdict.decision);
                    }
                    if record.silent.is_some() {
                        unreachable::is_heard(dir);
                    }
                    if self.store_epoch(&record).is_empty() {
                        reached::remember(self.config, self.server);
                    }
                    self.learn(dir, &record, step, verdict)
                }
                Err(e) => Err(e),
            },
            Route::Stays => Err(decider::staying()),
            Route::Failback => self.meet_or_fail_back(dir, &record, step),
            // A person's command is not kept here because of an earlier failure of other requests.
            Route::Away if step.event.is_persons() && !decider::stays(dir, &step.scope) => {
                self.meet_or_fail_back(dir, &record, step)
            }
            Route::Probe
                if step.event.is_persons() || probe::take(dir, &self.server.shown, self.servers_deadline()) =>
            {
                self.meet_or_fail_back(dir, &record, step)
            }
            Route::Probe | Route::Away => {
                Err(StoreError::Away(record.breaker.as_ref().map(Breaker::problem).unwrap_or_default()))
            }
        };
        let asked = match asked {
            Err(e) if !self.met => match self.take_over_scope(step, e) {
                // Another process reached the server while this one waited for the lock.
                Err(StoreError::Met) => self.fail_back(dir, &record, step),
                decided => return decided,
            },
            asked => asked,
        };
        match asked {
            Err(e) if self.met && e.is_full() => self.ask_when_there_is_room(dir, &record, step, e),
            Err(StoreError::TimedOut { .. }) if self.config.budget == DEFAULT_BUDGET && busy_machine::is_starved() => {
                self.ask_longer(dir, &record, step)
            }
            Err(e) => self.take_over_scope(step, e),
            Ok(verdict) => Ok(verdict),
        }
    }

    /// Handles a configuration that named another store before.
    #[cold]
    #[inline(never)]
    fn hand_over(&self, dir: &Path) -> Result<Record, StoreError> {
        let _lock = files::lock(dir, self.servers_deadline(), self.config.budget)?;
        let mut record = server_record::read_or_rebuild(dir);
        if record.store != self.server.shown {
            changed_store::to_server(self.config, dir, &mut record, &self.server.shown, clock::host_ms())?;
        }
        Ok(record)
    }

    fn meet_or_fail_back(&mut self, dir: &Path, record: &Record, step: &Step) -> Result<Verdict, StoreError> {
        if self.met { self.fail_back(dir, record, step) } else { self.meet(dir, step) }
    }

    /// Sends the first step to a server that was never there before.
    ///
    /// This machine notes under the fleet's lock that the server exists, before it sends any request. From then on
    /// files are no longer the configured choice, and the server receives what they decided until then.
    #[cold]
    #[inline(never)]
    fn meet(&mut self, dir: &Path, step: &Step) -> Result<Verdict, StoreError> {
        let mut server = self.reach()?;
        server.greet()?;
        let lock = files::lock(dir, self.servers_deadline(), self.config.budget)?;
        reached::remember(self.config, self.server);
        drop(lock);
        let record = self.hand_over(dir)?;
        let verdict = self.decide_on_server(dir, &record, step, &mut server);
        self.decided(server, verdict)
    }

    /// Retries a server that was slow on a busy machine: it is not away, and a quota must not be used twice for that.
    #[cold]
    #[inline(never)]
    fn ask_longer(&mut self, dir: &Path, record: &Record, step: &Step) -> Result<Verdict, StoreError> {
        self.patience = Some(self.latest());
        let e = match self.fail_back(dir, record, step) {
            Err(e) => e,
            decided => return decided,
        };
        let is_open = record.breaker_of(&self.server.shown).is_some();
        self.slow = matches!(e, StoreError::TimedOut { .. }) && !is_open && !unreachable::is_silent(dir);
        // The server decides for other machines meanwhile.
        if self.slow && step.event.asks().is_some() { Err(e) } else { self.take_over_scope(step, e) }
    }
}

impl Failover<'_> {
    /// Retries a server that takes no more connections.
    ///
    /// The server decides for others meanwhile, so a request is refused rather than decided a second time here. Any
    /// other event is kept in files, and sent with the next step.
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
            match self.fail_back(dir, record, step) {
                Err(e) if e.is_full() => full = e,
                // A request is refused in both cases, and the next request finds the cause.
                Err(e) => {
                    full = e;
                    break;
                }
                decided => return decided,
            }
        }
        if step.event.asks().is_some() { Err(full) } else { self.take_over_scope(step, full) }
    }
}
