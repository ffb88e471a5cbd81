//! The embedded store: plain files for one machine, the pure model run under one lock per fleet.
//!
//! A step reads the scope's file, decides, replaces the file with the new state and the entry still to be journaled,
//! and appends the entry. Whatever it is killed between, the next step on the scope finds either nothing done or the
//! entry pending. Nothing is synced to the disk: a power cut that empties a file is read as an unknown past.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::local_journal::LocalJournal;
use super::marks;
use super::server_record::{self, Record};
use super::state_file::{self, FleetFile, Found, Pending, ScopeFile};
use super::{Store, StoreError, reached, unknown_past};
use crate::clock;
use crate::config::Config;
use crate::journal::Entry;
use crate::read;
use crate::text;
use crate::throttle::model::{self, State};
use crate::throttle::policy::{Class, Ms, millis};
use crate::throttle::state::{FleetState, Hold, ScopeState};
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Outcome, Reason, Verdict};

/// The name of this store in the journal.
pub const NAME: &str = "embedded";

/// A session that was not seen for this long is forgotten.
const SESSION_KEEP: Duration = Duration::from_secs(30 * 86_400);

/// How long release slots are kept after the last of them.
const SLOTS_KEEP: Ms = 600_000;

/// Entries that wait for a journal that cannot be written; beyond these the oldest are dropped.
const MOST_PENDING: usize = 100;

/// Admissions that a server is told of; no quota is larger.
const MOST_TOLD: usize = 10_000;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_micros(500);

/// The files of one fleet.
pub struct Embedded<'a> {
    config: &'a Config,
    dir: PathBuf,
    deadline: Instant,
    stands_in: Option<StandIn<'a>>,
}

/// For whom the embedded store stands in.
pub(super) struct StandIn<'a> {
    /// The server (its URL without a password).
    pub(super) server: &'a str,
    /// What is wrong with it.
    pub(super) why: &'a str,
    /// Nothing is: no server was ever there.
    pub(super) quiet: bool,
    /// Whether the others need not ask it either.
    pub(super) breaks: bool,
}

impl<'a> Embedded<'a> {
    /// The embedded store of the configured fleet. Nothing is opened yet.
    ///
    /// # Errors
    /// When there is no state folder.
    pub fn new(config: &'a Config, deadline: Instant) -> Result<Self, StoreError> {
        let dir = config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet);
        Ok(Self { config, dir, deadline, stands_in: None })
    }

    /// The same, in the place of a server.
    pub(super) fn standing_in(self, stands_in: StandIn<'a>) -> Self {
        Self { stands_in: Some(stands_in), ..self }
    }

    /// As [`Store::step`] at a given time; tests use it to move the clock.
    ///
    /// # Errors
    /// As [`Store::step`].
    pub fn step_at(&mut self, step: &Step, clock: impl FnOnce() -> Ms) -> Result<Verdict, StoreError> {
        let _lock = lock(&self.dir, self.deadline, self.config.budget)?;
        // Only under the lock: a time read before it may lie before another's admission.
        let now = clock();
        if step.event.is_fleets() {
            return self.step_fleet(step, now);
        }
        let mut notes = Vec::new();
        let path = state_file::scope(&self.dir, &step.scope);
        let mut file = match state_file::load::<ScopeFile>(&path, now)? {
            Found::State(file) => file,
            Found::Nothing => ScopeFile::new(ScopeState::default()),
            Found::SetAside(note) => {
                notes.push(note);
                ScopeFile::new(unknown_past::scope(self.config, now))
            }
        };
        let (takes_over, fleet_hold) = self.stand_in(step, &mut file, now)?;
        let fleet = if step.event.touches_fleet() { self.fleet(now, &mut notes)? } else { None };

        let mut state = State {
            fleet: fleet.unwrap_or_default(),
            scope: file.scope,
            session: file.sessions.remove(&step.session).unwrap_or_default(),
        };
        let moved = if step.event.is_clients() && state.session.seen == 0 { self.elsewhere(step) } else { None };
        if let Some((_, from)) = &moved {
            state.session = from.sessions.get(&step.session).cloned().unwrap_or_default();
        }
        let had_fleet = is_kept(&state.fleet);
        forget_slots(&mut state.fleet, now);
        if let Some(hold) = &mut state.fleet.hold {
            hold.rebase(now);
        }
        // What the server said of the fleet binds while the server is away, and is not this store's to keep.
        let own_hold = state.fleet.hold.clone();
        if fleet_hold.is_some() && !own_hold.as_ref().is_some_and(|h| h.holds(now)) {
            state.fleet.hold = fleet_hold;
        }
        let mut decided = model::step(&self.config.policy, &mut state, step, now);
        state.fleet.hold = own_hold;
        if decided.reason == Reason::Contested && notes.is_empty() {
            return Ok(Verdict { by_files: true, ..Verdict::committed(decided, notes) });
        }
        // Only an event that raises the fence moves a session out of the scope that it was last seen in.
        let stays = moved.is_some() && state.session.scope != step.scope;
        let (stayed, left) = if stays { (moved, None) } else { (None, moved) };
        if left.is_some() && !matches!(step.event, Event::Ask { .. }) {
            // An engine in that seat has its fence from the other file.
            marks::take_over(self.config, &step.session, &step.id, None);
        }
        if let Some((path, mut from)) = stayed
            && from.sessions.get(&step.session) != Some(&state.session)
        {
            from.sessions.insert(step.session.clone(), state.session.clone());
            state_file::replace(&path, &from)?;
        }
        let window = if state.session.label.is_empty() { &step.scope } else { &state.session.label };
        let mut entry = Entry::of(step, &decided, window, &self.config.fleet, NAME);
        let why;
        if let Some(stand_in) = self.degraded() {
            entry.degraded = 1;
            why = text::line(stand_in.why);
            if takes_over && entry.detail.is_empty() {
                entry.detail = &why;
            }
        }
        let line = entry.line();

        let (mut journal, mut pending) = settle(&self.dir, file.pending);
        pending.push(Pending { at: journal.as_ref().map_or(0, LocalJournal::len), line });
        let over = pending.len().saturating_sub(MOST_PENDING);
        pending.drain(..over);

        // The quota first: a crash between the two then burns an admission, and grants none.
        if is_kept(&state.fleet) || had_fleet {
            self.keep_fleet(state.fleet)?;
        }
        file.scope = state.scope;
        file.sessions.retain(|_, s| s.seen > now - millis(SESSION_KEEP));
        if !stays && !step.event.is_of_holds() {
            file.sessions.insert(step.session.clone(), state.session);
        }
        file.pending = pending;
        if file.away.is_some() && file.scope.hold.is_none() {
            file.lift_api_hold();
        }
        if matches!(&step.event, Event::Hold(asked) if asked.replace) {
            // The server may hold for longer: what it holds is lifted there, before this one is opened.
            file.lift_hold(now - 1);
        }
        if let Some(away) = &mut file.away {
            away.steps = away.steps.wrapping_add(1);
            if step.event.asks() == Some(Class::Stop) && decided.outcome == Outcome::Admit {
                away.admitted.push(now);
                let over = away.admitted.len().saturating_sub(MOST_TOLD);
                away.admitted.drain(..over);
            }
        }
        state_file::replace(&path, &file)?;
        if let (Some(journal), Some(entry)) = (&mut journal, file.pending.last())
            && journal.len() == entry.at
        {
            // One that cannot be written stays pending and stops no verdict.
            let _ = journal.append(&entry.line);
        }
        if let Some((path, mut from)) = left {
            from.sessions.remove(&step.session);
            // Left behind it does no harm: the seat where it was last seen counts.
            let _ = state_file::replace(&path, &from);
        }
        decided.born.clear();
        Ok(Verdict { by_files: true, ..Verdict::committed(decided, notes) })
    }

    /// The whole fleet is held or released: no scope's file is concerned. In a server's place it is kept with what is known of
    /// that, and told when it is back.
    fn step_fleet(&self, step: &Step, now: Ms) -> Result<Verdict, StoreError> {
        let mut notes = Vec::new();
        let own = self.fleet(now, &mut notes)?;
        let had_own = own.is_some();
        let mut state = State { fleet: own.unwrap_or_default(), ..State::default() };
        let mut record = self.stands_in.as_ref().map(|_| server_record::read_or_rebuild(&self.dir));
        if let (Some(stand_in), Some(record)) = (&self.stands_in, &mut record) {
            let said = record.fleet_hold(stand_in.server).map(|f| f.hold.clone()).filter(|h| h.holds(now));
            state.fleet.hold = state.fleet.hold.filter(|h| h.holds(now)).or(said);
            self.note_absence(stand_in, record, now);
        }
        let decided = model::step(&self.config.policy, &mut state, step, now);
        match (&self.stands_in, record) {
            (Some(stand_in), Some(mut record)) => {
                let replaces = matches!(&step.event, Event::Hold(asked) if asked.replace);
                if decided.outcome != Outcome::Refuse {
                    record.decide_fleet(stand_in.server, state.fleet.hold.take(), replaces, now);
                }
                server_record::write(&self.dir, &record)?;
                if had_own {
                    self.keep_fleet(state.fleet)?;
                }
            }
            _ => self.keep_fleet(state.fleet)?,
        }
        let mut entry = Entry::of(step, &decided, "", &self.config.fleet, NAME);
        entry.degraded = u8::from(self.degraded().is_some());
        // One that cannot be written stops no hold.
        let _ = LocalJournal::open(&self.dir).and_then(|mut journal| journal.append(&entry.line()));
        Ok(Verdict { by_files: true, ..Verdict::committed(decided, notes) })
    }

    /// For whom it stands in, where something is amiss.
    fn degraded(&self) -> Option<&StandIn<'a>> {
        self.stands_in.as_ref().filter(|s| !s.quiet)
    }

    /// Records that the server was not there; whether that changed anything.
    fn note_absence(&self, stand_in: &StandIn<'_>, record: &mut Record, now: Ms) -> bool {
        let StandIn { server, why, quiet, breaks } = stand_in;
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

    /// In a server's place: takes the scope over, and records that the server is to be told. Tells whether it took over, and
    /// what the server last said of the fleet's hold.
    fn stand_in(&self, step: &Step, file: &mut ScopeFile, now: Ms) -> Result<(bool, Option<Hold>), StoreError> {
        let Some(stand_in) = &self.stands_in else { return Ok((false, None)) };
        let StandIn { server, quiet, .. } = stand_in;
        if *quiet && reached::ever(self.config) {
            return Err(StoreError::Met);
        }
        let mut record = server_record::read_or_rebuild(&self.dir);
        // Before the scope's file says so: without the mark nobody would look into it.
        let is_new = record.away.insert(step.scope.clone());
        let moved = record.rebase_fleet(server, now);
        if self.note_absence(stand_in, &mut record, now) || is_new || moved {
            server_record::write(&self.dir, &record)?;
        }
        let takes_over = file.away.is_none();
        if takes_over {
            let pause = model::pause(&self.config.policy.stop);
            file.take_over(now, !quiet, pause);
        } else {
            file.stay_over(now, !quiet);
        }
        if matches!(step.event, Event::Release { .. }) {
            file.lift_hold(now);
        }
        let fleet_hold = record.fleet_hold(server).map(|f| f.hold.clone()).filter(|h| h.holds(now));
        Ok((takes_over && !quiet, fleet_hold))
    }

    /// Another scope's file that holds the session: it came from that seat. Looked for once in a session's time in a seat.
    fn elsewhere(&self, step: &Step) -> Option<(PathBuf, ScopeFile)> {
        let own = state_file::scope(&self.dir, &step.scope);
        let files = fs::read_dir(self.dir.join("scopes")).into_iter().flatten().flatten().map(|f| f.path());
        let others = files.filter(|path| *path != own && path.extension().is_some_and(|e| e == "json"));
        let all = others.filter_map(|path| Some((state_file::peek::<ScopeFile>(&path)?, path)));
        // What a server said there may be long over.
        let all = all.filter(|(file, _)| file.decided_here(&step.session));
        let seen = |(file, _): &(ScopeFile, PathBuf)| file.sessions.get(&step.session).map(|s| s.seen);
        all.filter(|f| seen(f).is_some()).max_by_key(seen).map(|(file, path)| (path, file))
    }

    fn fleet(&self, now: Ms, notes: &mut Vec<String>) -> Result<Option<FleetState>, StoreError> {
        Ok(match state_file::load::<FleetFile>(&state_file::fleet(&self.dir), now)? {
            Found::State(file) => Some(file.fleet),
            Found::Nothing => None,
            Found::SetAside(note) => {
                notes.push(note);
                Some(unknown_past::fleet(self.config, now))
            }
        })
    }

    /// A fleet file stands only while a fleet hold or quota exists.
    fn keep_fleet(&self, fleet: FleetState) -> Result<(), StoreError> {
        let path = state_file::fleet(&self.dir);
        if is_kept(&fleet) {
            return state_file::replace(&path, &FleetFile::new(fleet));
        }
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                Err(StoreError::Files { doing: "remove", path, cause })
            }
            _ => Ok(()),
        }
    }
}

impl Store for Embedded<'_> {
    fn step(&mut self, step: &Step) -> Result<Verdict, StoreError> {
        self.step_at(step, clock::host_ms)
    }
}

/// Opens the journal and appends what earlier steps left pending; returns what is still to be written.
pub(super) fn settle(dir: &Path, pending: Vec<Pending>) -> (Option<LocalJournal>, Vec<Pending>) {
    let Ok(mut journal) = LocalJournal::open(dir) else { return (None, pending) };
    let mut left = Vec::new();
    for entry in pending {
        let settled = left.is_empty()
            && matches!(journal.holds(entry.at, &entry.line), Ok(there) if there || journal.append(&entry.line).is_ok());
        if !settled {
            left.push(entry);
        }
    }
    // Out of order is worse than late: nothing new is written before what is left.
    let journal = left.is_empty().then_some(journal);
    (journal, left)
}

fn is_kept(fleet: &FleetState) -> bool {
    let times = [fleet.released, fleet.answered, fleet.freed_at, fleet.at_once];
    let spans = [fleet.limit, fleet.slots];
    let any = times.iter().any(Option::is_some) || spans.iter().any(Option::is_some);
    any || fleet.hold.is_some() || !fleet.quota.is_empty()
}

/// Release slots that are long over say nothing any more, and keep no file.
fn forget_slots(fleet: &mut FleetState, now: Ms) {
    if fleet.slots.is_none_or(|slots| slots.end < now.saturating_sub(SLOTS_KEEP)) {
        fleet.slots = None;
        fleet.freed_at = fleet.freed_at.filter(|at| *at >= now.saturating_sub(SLOTS_KEEP));
    }
}

/// Takes the fleet's lock, making its folders if they are missing. Dropping the file releases it.
///
/// # Errors
/// When the folders cannot be made or the lock is held past the deadline.
pub fn lock(dir: &Path, deadline: Instant, budget: Duration) -> Result<File, StoreError> {
    super::private::check(dir)?;
    let path = dir.join("lock");
    let files = |cause: io::Error| StoreError::Files { doing: "open", path: path.clone(), cause };
    let open = || read::at_once().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = match open() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let scopes = dir.join("scopes");
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&scopes);
            made.map_err(|cause| StoreError::Files { doing: "make", path: scopes, cause })?;
            open().map_err(files)?
        }
        opened => opened.map_err(files)?,
    };
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(RETRY),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path, within_ms: budget.as_millis() });
            }
            Err(TryLockError::Error(e)) => return Err(files(e)),
        }
    }
}
