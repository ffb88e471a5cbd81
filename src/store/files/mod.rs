//! The embedded store: plain files for one machine, with the pure policy under one lock per fleet.
//!
//! A step reads the files of its scope, its session and the fleet, decides, and commits the changes together with the
//! journal entry ([`Transaction`]). Its cost does not depend on how many scopes and sessions there were. No file is
//! synced to the disk. A power cut that empties a file is read as an unknown past.

pub(crate) mod expiry;
pub(crate) mod journal_file;
pub mod paths;
pub(crate) mod state_file;
pub(crate) mod taken_over;
pub(crate) mod transaction;
pub mod undecided;
pub(crate) mod work;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::Config;
use crate::hint::Problem;
use crate::journal::Entry;
use crate::policy::decision;
use crate::policy::decision::State;
use crate::policy::documents::{FleetState, SessionState};
use crate::policy::fact::fact_id;
use crate::policy::limits::{Class, Ms};
use crate::policy::min_interval;
use crate::policy::request::{Event, Step};
use crate::policy::verdict::{Decision, Outcome, Reason, Verdict};
use crate::policy::windows::Windows;
use crate::policy::work::rule::reads_queue;
use crate::read;
use crate::store::failover::merge_base::Away;
use crate::store::failover::server_record::Record;
use crate::store::failover::{changed_store, reached, server_record};
use crate::store::files::journal_file::LocalJournal;
use crate::store::files::state_file::{Before, FleetFile, Found, ScopeFile, SessionFile};
use crate::store::files::transaction::Transaction;
use crate::store::files::work::LoadedWork;
use crate::store::{Store, StoreError, sleeping, unknown_past, windows};
use crate::text;

/// The name of this store in the journal.
pub const NAME: &str = "embedded";

/// How long release slots are kept after the last of them.
const SLOTS_KEEP: Ms = 600_000;

/// The most admissions that are sent to a server; no quota is larger.
const MOST_TOLD: usize = 10_000;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_micros(500);

/// The files of one fleet.
pub struct Embedded<'a> {
    config: &'a Config,
    dir: PathBuf,
    deadline: Instant,
    outage: Option<Outage<'a>>,
}

/// The server that the embedded store replaces.
pub(crate) struct Outage<'a> {
    /// The server (its URL without a password).
    pub(crate) server: &'a str,
    /// The server's error.
    pub(crate) why: &'a Problem,
    /// Whether there is no error, because no server was ever there.
    pub(crate) quiet: bool,
    /// Whether the error concerns other requests too, so that the breaker opens.
    pub(crate) breaks: bool,
    /// Whether a scope that changes stores too often stays here.
    pub(crate) keeps: bool,
}

impl<'a> Embedded<'a> {
    /// Returns the embedded store of the configured fleet. It opens nothing yet.
    ///
    /// # Errors
    /// When there is no state folder.
    pub fn new(config: &'a Config, deadline: Instant) -> Result<Self, StoreError> {
        let dir = config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet);
        Ok(Self { config, dir, deadline, outage: None })
    }

    /// Returns the same store in the place of a server.
    pub(crate) fn in_outage(self, outage: Outage<'a>) -> Self {
        Self { outage: Some(outage), ..self }
    }

    /// Works as [`Store::step`] at a given time; tests use it to move the clock.
    ///
    /// # Errors
    /// As [`Store::step`].
    pub fn step_at(&mut self, step: &Step, clock: impl Fn() -> Ms) -> Result<Verdict, StoreError> {
        let _lock = lock(&self.dir, self.deadline, self.config.budget)?;
        // The clock is read only under the lock: a time read before it may lie before another admission.
        let mut now = clock();
        let (mut changes, note) = Transaction::begin(self.config, &self.dir, self.degraded().is_some(), now)?;
        let mut notes: Vec<String> = note.into_iter().collect();
        if step.event.is_fleets() {
            return self.step_fleet(step, changes, now, notes);
        }
        let Read { state: mut file, before: mut scope_before } = self.scope(step, &mut changes, now, &mut notes)?;
        let is_new = scope_before.is_empty();
        let (takes_over, servers) = self.take_over_scope(step, &mut file, now)?;
        if takes_over {
            (changes, scope_before) = self.show(step, changes, &file, &scope_before, now)?;
            now = clock();
        }
        if let Some(outage) = &self.outage {
            file.stay_over(now, !outage.quiet);
        }
        let mut fleet = self.fleet_of(step, &mut file, is_new, now, &mut notes)?;
        let session =
            if step.event.is_of_holds() { Read::default() } else { self.session(step, &file, now, &mut notes)? };
        let mut state = State {
            fleet: std::mem::take(&mut fleet.state.fleet),
            scope: file.scope,
            session: session.state.as_ref().map(|file| file.session.clone()).unwrap_or_default(),
            windows: self.windows(step, now, &mut notes)?,
            work: None,
        };
        let work = self.work(step)?;
        state.work = work.as_ref().map(|work| work.state.clone());
        #[cfg(test)]
        crate::store::simulator::loaded(&mut state, step);
        forget_slots(&mut state.fleet, now);
        if let Some(hold) = &mut state.fleet.hold {
            hold.rebase(now);
        }
        // The fleet's hold on the server is in force while the server is away, and this store does not keep it.
        let own = (state.fleet.hold.clone(), state.fleet.hold_at_once);
        if servers.hold.is_some() && !own.0.as_ref().is_some_and(|h| h.holds(now)) {
            (state.fleet.hold, state.fleet.hold_at_once) = (servers.hold, servers.hold_at_once);
        }
        let mut decided = decision::step(&self.config.policy, &mut state, step, now);
        (state.fleet.hold, state.fleet.hold_at_once) = own;
        let is_aside = decided.reason == Reason::Contested || decided.repeated;
        if is_aside && notes.is_empty() {
            return Ok(Verdict { by_files: true, ..Verdict::committed(decided, notes) });
        }
        let line = self.entry(step, &decided, &state.session.label, takes_over);
        fleet.state.fleet = state.fleet;
        put_fleet(&mut changes, &fleet.state, &fleet.before)?;
        file.scope = state.scope;
        if !step.event.is_of_holds() {
            let Read { state: old, before } = session;
            put_session(&mut changes, step, state.session, old, &before, &mut file, now)?;
        }
        if let Some(away) = &mut file.away {
            record(away, step, &decided, now);
        }
        if let (Some(work), Some(state)) = (&work, &state.work) {
            work::changes(&mut changes, work.before(), state)?;
        }
        changes.put(paths::scope(&step.scope), &file, &scope_before)?;
        changes.commit(Some(line))?;
        if matches!(step.event, Event::SessionStart { .. }) {
            expiry::clear(&self.dir, &step.scope, &step.session, now);
        }
        decided.store_epoch.clear();
        Ok(Verdict { by_files: true, ..Verdict::committed(decided, notes) })
    }

    /// The line of the journal for a step.
    fn entry(&self, step: &Step, decided: &Decision, label: &str, takes_over: bool) -> String {
        let window = if label.is_empty() { &step.scope } else { label };
        let mut entry = Entry::of(step, decided, window, &self.config.fleet, NAME);
        let why;
        if let Some(outage) = self.degraded() {
            entry.degraded = 1;
            why = text::line(&outage.why.to_string());
            if takes_over && entry.detail.is_empty() {
                entry.detail = &why;
            }
        }
        entry.line()
    }

    /// Holds or releases the whole fleet, without any scope's file.
    ///
    /// In a server's place the result is kept with what is known of that server, and sent when it is back.
    fn step_fleet(
        &self,
        step: &Step,
        mut changes: Transaction<'_>,
        now: Ms,
        mut notes: Vec<String>,
    ) -> Result<Verdict, StoreError> {
        let mut own = self.fleet(now, &mut notes)?;
        self.come_back(&mut own.state, now)?;
        let mut state = State { fleet: std::mem::take(&mut own.state.fleet), ..State::default() };
        let mut record = self.outage.as_ref().map(|_| server_record::read_or_rebuild(&self.dir));
        if let (Some(outage), Some(record)) = (&self.outage, &mut record) {
            if let Some(kept) = record.fleet(outage.server)
                && !state.fleet.hold.as_ref().is_some_and(|h| h.holds(now))
            {
                let known = kept.known().clone();
                let (hold, released) = (known.hold.filter(|h| h.holds(now)), known.released);
                state.fleet = FleetState {
                    hold,
                    released,
                    hold_at_once: known.hold_at_once,
                    lifted: known.lifted,
                    ..state.fleet
                };
            }
            self.note_absence(outage, record, now);
        }
        let decided = decision::step(&self.config.policy, &mut state, step, now);
        if let (Some(outage), Some(mut record)) = (&self.outage, record) {
            if decided.outcome != Outcome::Refuse {
                record.decide_fleet(outage.server, &state.fleet);
                state.fleet.hold = None;
            }
            server_record::write(&self.dir, &record)?;
        }
        own.state.fleet = state.fleet;
        put_fleet(&mut changes, &own.state, &own.before)?;
        let mut entry = Entry::of(step, &decided, "", &self.config.fleet, NAME);
        entry.degraded = u8::from(self.degraded().is_some());
        changes.commit(Some(entry.line()))?;
        Ok(Verdict { by_files: true, ..Verdict::committed(decided, notes) })
    }

    /// Returns the server that the store replaces, where there is an error.
    fn degraded(&self) -> Option<&Outage<'a>> {
        self.outage.as_ref().filter(|s| !s.quiet)
    }

    /// Records that the server was not there; returns whether that changed anything.
    fn note_absence(&self, outage: &Outage<'_>, record: &mut Record, now: Ms) -> bool {
        let Outage { server, why, quiet, breaks, .. } = outage;
        let mut changed = *breaks;
        if *breaks {
            record.failed(server, why, now);
        } else if *quiet {
            changed |= record.breaker.take().is_some();
        }
        if !quiet && record.unshipped.is_none() {
            let here = LocalJournal::open(&self.dir).map(|journal| journal.unshipped());
            record.unshipped = Some(here.unwrap_or_default());
            changed = true;
        }
        changed
    }

    /// Takes the scope over in a server's place, and records that the server has to receive it.
    ///
    /// Returns whether it took over, and the fleet as this machine knows it on the server, if it is held.
    fn take_over_scope(&self, step: &Step, file: &mut ScopeFile, now: Ms) -> Result<(bool, FleetState), StoreError> {
        let Some(outage) = &self.outage else { return Ok((false, FleetState::default())) };
        let Outage { server, quiet, keeps, .. } = outage;
        if *quiet && reached::ever(self.config) {
            return Err(StoreError::Met);
        }
        let mut record = server_record::read_or_rebuild(&self.dir);
        // The mark precedes the scope's file: without the mark no request would read the file.
        let is_new = record.name_away(&step.scope);
        let moved = record.rebase_fleet(server, now);
        if self.note_absence(outage, &mut record, now) || is_new || moved {
            server_record::write(&self.dir, &record)?;
        }
        let takes_over = file.away.is_none();
        if takes_over {
            let pause = min_interval::pause(&self.config.policy.stop);
            file.take_over(now, pause);
            if let Some(away) = file.away.as_mut().filter(|_| !keeps) {
                away.stays_until = None;
            }
        }
        let known = record.fleet(server).map(|kept| kept.known().clone());
        let held = known.filter(|fleet| fleet.hold.as_ref().is_some_and(|h| h.holds(now)));
        Ok((takes_over && !quiet, held.unwrap_or_default()))
    }

    /// Writes the file of a scope that is taken over, before anything is decided from it, and returns the next
    /// transaction.
    ///
    /// Other processes that see the file send no more requests to the server.
    fn show<'t>(
        &'t self,
        step: &Step,
        mut changes: Transaction<'t>,
        file: &ScopeFile,
        before: &Before,
        now: Ms,
    ) -> Result<(Transaction<'t>, Before), StoreError> {
        changes.put(paths::scope(&step.scope), file, before)?;
        changes.commit(None)?;
        let (next, _) = Transaction::begin(self.config, &self.dir, true, now)?;
        Ok((next, Before::read::<ScopeFile>(&state_file::scope(&self.dir, &step.scope))))
    }

    /// Reads the scope's file.
    fn scope(
        &self,
        step: &Step,
        changes: &mut Transaction<'_>,
        now: Ms,
        notes: &mut Vec<String>,
    ) -> Result<Read<ScopeFile>, StoreError> {
        let found = state_file::load::<ScopeFile>(&state_file::scope(&self.dir, &step.scope), now)?;
        let state = match found {
            Found::State { state, before } => return Ok(Read { state, before }),
            Found::SetAside(note) => {
                notes.push(note);
                unknown_past::scope(self.config, now)
            }
            Found::Nothing => {
                let old = state_file::peek_old_scope(&self.dir, &step.scope);
                if old.is_some() {
                    changes.remove(state_file::old_scope(&step.scope));
                }
                old.unwrap_or_default()
            }
        };
        Ok(Read { state: ScopeFile::new(state), before: Before::default() })
    }

    /// Reads the session's file, if it is up to date. An unreadable file gives a session without known facts.
    fn session(
        &self,
        step: &Step,
        scope: &ScopeFile,
        now: Ms,
        notes: &mut Vec<String>,
    ) -> Result<Read<Option<SessionFile>>, StoreError> {
        let id = &step.session;
        Ok(match state_file::load::<SessionFile>(&state_file::session(&self.dir, id), now)? {
            Found::State { state, before } => {
                let state = state.counts(&self.dir, id, &step.scope, scope).then_some(state);
                Read { state, before }
            }
            Found::Nothing => Read::default(),
            Found::SetAside(note) => {
                notes.push(note);
                let session = unknown_past::session(self.config, now);
                Read { state: Some(SessionFile::decided(session, None, scope)), before: Before::default() }
            }
        })
    }

    /// Reads the fleet where the step needs it. Files adopt a scope of a server with its first event, before that changes it.
    fn fleet_of(
        &self,
        step: &Step,
        file: &mut ScopeFile,
        is_new: bool,
        now: Ms,
        notes: &mut Vec<String>,
    ) -> Result<Read<FleetFile>, StoreError> {
        let paced = self.config.policy.pace.is_some() && step.event.ends_turn();
        let is_anothers = self.outage.is_none() && (is_new || !file.is_files());
        let reads = step.event.touches_fleet() || paced || is_anothers;
        let mut fleet = if reads { self.fleet(now, notes)? } else { Read::default() };
        if let Some(since) = self.come_back(&mut fleet.state, now)?
            && is_anothers
        {
            file.adopt(since, now);
        }
        Ok(fleet)
    }

    /// Returns when files became the configured store after a server; `None` in a server's place.
    fn come_back(&self, fleet: &mut FleetFile, now: Ms) -> Result<Option<Ms>, StoreError> {
        if self.outage.is_some() {
            return Ok(None);
        }
        if fleet.left {
            changed_store::to_files(&self.dir, fleet, now)?;
        }
        Ok(fleet.since)
    }

    /// Returns the usage windows, where the step is decided from them.
    fn windows(&self, step: &Step, now: Ms, notes: &mut Vec<String>) -> Result<Windows, StoreError> {
        if self.config.policy.pace.is_none() || step.event.asks() != Some(Class::Stop) {
            return Ok(Windows::default());
        }
        windows::for_step(&self.dir, now, notes)
    }

    /// Reads the queue that the step's session works through. A server's queue is not known here.
    fn work(&self, step: &Step) -> Result<Option<LoadedWork>, StoreError> {
        let is_here = self.degraded().is_none() && !step.agent.is_empty();
        if !is_here || !reads_queue(&self.config.policy, &step.event, step.shadow) {
            return Ok(None);
        }
        work::load(&self.dir, &step.agent)
    }

    fn fleet(&self, now: Ms, notes: &mut Vec<String>) -> Result<Read<FleetFile>, StoreError> {
        Ok(match state_file::load::<FleetFile>(&state_file::fleet(&self.dir), now)? {
            Found::State { state, before } => Read { state, before },
            Found::Nothing => Read::default(),
            Found::SetAside(note) => {
                notes.push(note);
                Read { state: FleetFile::new(unknown_past::fleet(self.config, now)), before: Before::default() }
            }
        })
    }
}

/// A state, and the file that it was read from.
#[derive(Default)]
struct Read<T> {
    state: T,
    before: Before,
}

impl Store for Embedded<'_> {
    fn step(&mut self, step: &Step) -> Result<Verdict, StoreError> {
        self.step_at(step, clock::host_ms)
    }
}

/// Writes a session's file: the session belongs to the step's scope, or stays in the scope where it was last seen.
fn put_session(
    changes: &mut Transaction<'_>,
    step: &Step,
    session: SessionState,
    file: Option<SessionFile>,
    before: &Before,
    scope: &mut ScopeFile,
    now: Ms,
) -> Result<(), StoreError> {
    if !step.shadow {
        put_sleeping(changes, file.as_ref(), &session, now);
    }
    let is_here = session.scope == step.scope || session.scope.is_empty();
    if is_here && (scope.away.is_some() || scope.base.is_some()) {
        scope.list(&step.session, &session, now);
    }
    let file = match file {
        Some(mut file) if !is_here => {
            file.session = session;
            file
        }
        file => {
            let base = file.and_then(|file| if file.mirror { Some(file.session) } else { file.base });
            SessionFile::decided(session, base, scope)
        }
    };
    changes.put(paths::session(&step.session), &file, before)
}

/// Writes or removes the text of the session's rest.
fn put_sleeping(changes: &mut Transaction<'_>, old: Option<&SessionFile>, session: &SessionState, now: Ms) {
    let unknown = SessionState::default();
    let before = old.map_or(&unknown, |file| &file.session);
    for change in sleeping::changes(before, session, false, now) {
        let file = paths::sleeping(&change.agent);
        match change.text {
            Some((text, _)) => changes.put_text(file, text),
            None => changes.remove(file),
        }
    }
}

/// Writes the fleet's file, which exists only while there is something to keep. `before` is its present content.
fn put_fleet(changes: &mut Transaction<'_>, file: &FleetFile, before: &Before) -> Result<(), StoreError> {
    if file.left || file.since.is_some() || is_kept(&file.fleet) || before.has_unknown() {
        return changes.put(paths::FLEET.to_owned(), file, before);
    }
    if !before.is_empty() {
        changes.remove(paths::FLEET.to_owned());
    }
    Ok(())
}

fn is_kept(fleet: &FleetState) -> bool {
    let times = [fleet.released, fleet.answered, fleet.probed, fleet.freed_at, fleet.at_once];
    let spans = [fleet.limit, fleet.slots];
    let any = times.iter().any(Option::is_some) || spans.iter().any(Option::is_some);
    any || fleet.hold.is_some() || !fleet.limits.is_empty() || !fleet.quota.is_empty()
}

/// Removes release slots that are long over, which matter no more and keep no file.
fn forget_slots(fleet: &mut FleetState, now: Ms) {
    if fleet.slots.is_none_or(|slots| slots.end < now.saturating_sub(SLOTS_KEEP)) {
        fleet.slots = None;
        fleet.freed_at = fleet.freed_at.filter(|at| *at >= now.saturating_sub(SLOTS_KEEP));
    }
}

/// Takes the fleet's lock and creates its folders if they are missing. Dropping the file releases the lock.
///
/// # Errors
/// When the folders cannot be created or the lock is held past the deadline.
pub fn lock(dir: &Path, deadline: Instant, budget: Duration) -> Result<File, StoreError> {
    crate::ownership::check(dir)?;
    #[cfg(test)]
    crate::store::simulator::operation("lock");
    let path = dir.join("lock");
    let files = |cause: io::Error| StoreError::Files { doing: "open", path: path.clone(), cause };
    let open = || read::at_once().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = match open() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|cause| StoreError::Files { doing: "make", path: dir.to_owned(), cause })?;
            open().map_err(files)?
        }
        opened => opened.map_err(files)?,
    };
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if clock::now() < deadline => clock::sleep(RETRY),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path, within_ms: budget.as_millis() });
            }
            Err(TryLockError::Error(e)) => return Err(files(e)),
        }
    }
}

/// Records a step that this store decided in the server's place, for the failback.
fn record(away: &mut Away, step: &Step, decided: &Decision, now: Ms) {
    away.steps = away.steps.wrapping_add(1);
    if step.event.asks() == Some(Class::Stop) && decided.outcome == Outcome::Admit {
        away.admitted.push((now, fact_id(&step.id)));
        let over = away.admitted.len().saturating_sub(MOST_TOLD);
        away.admitted.drain(..over);
    }
}
