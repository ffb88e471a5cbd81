//! Failback: the server receives what is kept here, and its documents are kept.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::clock;
use crate::hint::Problem;
use crate::ownership;
use crate::policy::documents::{FleetState, ScopeState, SessionState};
use crate::policy::min_interval;
use crate::policy::request::Step;
use crate::policy::verdict::{Reason, Verdict};
use crate::store::failover::carry::Carry;
use crate::store::failover::merge_base::{Away, Seen};
use crate::store::failover::server_record::Record;
use crate::store::failover::{ASIDE, Failover, probe, reached, server_record};
use crate::store::files::state_file::{Before, Found, ScopeFile, SessionFile};
use crate::store::files::transaction::Transaction;
use crate::store::files::{paths, state_file, transaction};
use crate::store::server::Dragonfly;
use crate::store::{StoreError, files, outbox, sleeping};
use crate::text;

impl Failover<'_> {
    /// Sends the server what is kept here, then the step, and keeps the server's documents.
    pub(crate) fn decide_on_server(
        &self,
        dir: &Path,
        record: &Record,
        step: &Step,
        server: &mut Dragonfly<'_>,
    ) -> Result<Verdict, StoreError> {
        let told = record.fleet(&self.server.shown).and_then(|fleet| fleet.here.as_ref());
        let mut known = String::new();
        // Other processes may be deciding for this scope here right now.
        for _ in 0..3 {
            let Some(fleet) = self.tell(dir, record, &step.scope, server)? else { continue };
            if !fleet.store_epoch.is_empty() {
                known = fleet.store_epoch;
            } else if known.is_empty() {
                self.store_epoch(record).clone_into(&mut known);
            }
            let verdict = server.step(step, &known)?;
            if verdict.decision.reason == Reason::Lost {
                // The server receives the contents of the scope's file, and then the step with its present epoch.
                known = verdict.decision.store_epoch;
                continue;
            }
            if let Some(seen) = server.take_seen() {
                self.keep(dir, step, &seen.here(clock::host_ms()), told, true);
            }
            if verdict.unjournaled {
                self.journal_here(dir, step, &verdict.decision);
            }
            if verdict.decision.reason != Reason::Contested {
                outbox::ship(self.config, dir, server.link(), clock::now() + ASIDE, self.latest());
            }
            return Ok(verdict);
        }
        // The server did answer, so the try shows that it is well.
        probe::close_breaker(dir);
        Err(StoreError::Away(Problem::new("other requests of this scope are still decided on this machine")))
    }

    /// Sends the server what is kept here for it, and returns its documents after that.
    ///
    /// Returns `None` when other steps changed the scope's file meanwhile.
    fn tell(
        &self,
        dir: &Path,
        record: &Record,
        scope: &str,
        server: &mut Dragonfly<'_>,
    ) -> Result<Option<FleetState>, StoreError> {
        let path = state_file::scope(dir, scope);
        let now = clock::host_ms();
        let found = if scope.is_empty() { None } else { state_file::peek::<ScopeFile>(&path) };
        let lost = found.is_none() && !scope.is_empty() && (record.away.contains(scope) || path.exists());
        let pause = min_interval::pause(&self.config.policy.stop);
        let comes_from_another = record.comes_from_another(&self.server.shown, scope, pause, now);
        let is_of_files = found.as_ref().is_some_and(ScopeFile::is_files);
        let file = found.filter(|f| is_of_files || f.away.is_some() || f.base.is_some());
        let mut fleet = record.fleet(&self.server.shown).cloned();
        if file.is_none() && fleet.is_none() && !lost && !comes_from_another {
            return Ok(Some(FleetState::default()));
        }
        // Data that other users may have written here is not sent.
        ownership::check(dir)?;
        let mut file = file.unwrap_or_else(|| ScopeFile::new(ScopeState::default()));
        file.rebase(now);
        if lost || is_of_files {
            // The decisions made here are lost. They may have been made at any time until now.
            file.away = Some(Away::default());
        }
        if let Some(fleet) = &mut fleet {
            fleet.rebase(now);
        }
        let mut sessions = state_file::listed(dir, scope, &file);
        sessions.iter_mut().for_each(|(_, session)| session.rebase(now));
        let (known_epoch, sessions) = (self.store_epoch(record), sessions.as_slice());
        let starts_interval = file.away.is_some() || comes_from_another;
        let fleet = fleet.as_ref();
        let carry =
            Carry { config: self.config, scope, file: &file, sessions, fleet, starts_interval, known_epoch, now };
        let seen = server.tell(&carry)?.here(clock::host_ms());
        let merged = seen.fleet.clone();
        let is_done = match &file.away {
            Some(_) if lost => self.set_aside(dir, scope).map(|()| true)?,
            Some(away) => self.give_back(dir, scope, away, &seen, sessions)?,
            None => true,
        };
        Ok(is_done.then_some(merged).flatten())
    }

    /// Notes that the server has the data of an unreadable scope file; otherwise every request would send it again.
    fn set_aside(&self, dir: &Path, scope: &str) -> Result<(), StoreError> {
        let _lock = files::lock(dir, self.servers_deadline(), self.config.budget)?;
        let now = clock::host_ms();
        let (mut changes, _) = Transaction::begin(self.config, dir, true, now)?;
        if let Found::SetAside(_) = state_file::load::<ScopeFile>(&state_file::scope(dir, scope), now)? {
            let mut file = ScopeFile::new(ScopeState::default());
            file.give_back(now);
            changes.put(paths::scope(scope), &file, &Before::read::<ScopeFile>(&state_file::scope(dir, scope)))?;
            changes.commit(None)?;
        }
        Ok(())
    }

    /// Gives the scope back to the server, which has received `told`; false when other steps changed the scope's file
    /// meanwhile.
    fn give_back(
        &self,
        dir: &Path,
        scope: &str,
        told: &Away,
        seen: &Seen,
        sessions: &[(String, SessionFile)],
    ) -> Result<bool, StoreError> {
        let _lock = files::lock(dir, self.servers_deadline(), self.config.budget)?;
        let now = clock::host_ms();
        let (mut changes, _) = Transaction::begin(self.config, dir, true, now)?;
        let path = state_file::scope(dir, scope);
        let Some(mut file) = state_file::peek::<ScopeFile>(&path) else { return Ok(false) };
        match &file.away {
            Some(away) if (&away.id, away.steps) != (&told.id, told.steps) => return Ok(false),
            None if !file.is_files() => return Ok(true),
            _ => {}
        }
        file.give_back(now);
        let (_, kept) = file.see(seen, seen.store_epoch());
        put_seen(&mut changes, dir, scope, &kept)?;
        // The server has the texts of the rests from now on.
        for (_, SessionFile { session, .. }) in sessions.iter().filter(|(_, file)| file.session.rest.is_some()) {
            changes.remove(paths::sleeping(&sleeping::agent(session)));
        }
        changes.put(paths::scope(scope), &file, &Before::read::<ScopeFile>(&state_file::scope(dir, scope)))?;
        if let Err(e) = changes.commit(None) {
            remove_told(dir, &path, sessions).map_err(|_| e)?;
        }
        Ok(true)
    }

    /// Keeps the server's documents (by this machine's clock) for a later failover.
    ///
    /// This concerns no verdict, so a failure is ignored. `told` is the fleet as it was decided here, where the server
    /// has received that.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep(&self, dir: &Path, step: &Step, seen: &Seen, told: Option<&FleetState>, is_home: bool) {
        let scope = step.scope.as_str();
        // A person waits longer than a hook.
        let deadline = if step.event.is_persons() { self.latest() } else { clock::now() + ASIDE };
        let Ok(_lock) = files::lock(dir, deadline, ASIDE) else { return };
        let now = clock::host_ms();
        let Ok((mut changes, _)) = Transaction::begin(self.config, dir, true, now) else { return };
        let mut record = server_record::read_or_rebuild(dir);
        let before = record.clone();
        record.breaker = record.breaker.take().filter(|_| !is_home);
        record.silent = None;
        if record.knows(&self.server.shown, seen.store_epoch()) {
            reached::remember(self.config, self.server);
        }
        let pause = min_interval::pause(&self.config.policy.stop);
        if is_home && record.comes_from_another(&self.server.shown, scope, pause, now) {
            record.arrived(&self.server.shown, scope);
        }
        let store_epoch = self.store_epoch(&record).to_owned();
        if let Some(fleet) = &seen.fleet {
            record.see_fleet(&self.server.shown, fleet, told);
        }
        let path = state_file::scope(dir, scope);
        let mut found = if scope.is_empty() { None } else { state_file::peek::<ScopeFile>(&path) };
        let put = |changes: &mut Transaction<'_>, file: &ScopeFile| {
            changes.put(paths::scope(scope), file, &Before::read::<ScopeFile>(&path)).is_ok()
        };
        let mut written = false;
        if let Some(mut file) = found.take_if(|file| file.away.is_some()) {
            // The scope was taken over meanwhile, and its file contains more than this answer.
            file.see_beside(seen, &store_epoch);
            written = put(&mut changes, &file);
        } else if !scope.is_empty() {
            record.away.remove(scope);
            let had_base = found.as_ref().is_some_and(|file| file.base.is_some());
            let mut file = found.unwrap_or_else(|| ScopeFile::new(ScopeState::default()));
            let (mark, kept) = file.see(seen, &store_epoch);
            record.unmark(scope, now);
            let is_kept = mark.is_some();
            if let Some(mark) = mark {
                record.marks.insert(scope.to_owned(), mark);
            }
            written =
                (is_kept || had_base) && put_seen(&mut changes, dir, scope, &kept).is_ok() && put(&mut changes, &file);
        }
        // The mark is written first: without it no request would read the file.
        if record != before && server_record::write(dir, &record).is_err() {
            return;
        }
        if written {
            let _ = changes.commit(None);
        }
    }
}

/// Removes files that the server has the contents of: on a full disk a file can still be removed.
fn remove_told(dir: &Path, scope: &Path, sessions: &[(String, SessionFile)]) -> io::Result<()> {
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

/// Writes the sessions' documents into their files, except a session that was decided here in another scope.
fn put_seen(
    changes: &mut Transaction<'_>,
    dir: &Path,
    scope: &str,
    kept: &[&(String, SessionState)],
) -> Result<(), StoreError> {
    for (id, session) in kept {
        let known = state_file::peek::<SessionFile>(&state_file::session(dir, id));
        // The server still has to receive the decisions made here in another scope.
        if known.is_none_or(|known| !is_untold(dir, id, scope, &known)) {
            let before = Before::read::<SessionFile>(&state_file::session(dir, id));
            changes.put(paths::session(id), &SessionFile::seen(session.clone()), &before)?;
        }
    }
    Ok(())
}

/// Returns whether the session was decided here in another scope, and the server has not received that.
fn is_untold(dir: &Path, id: &str, scope: &str, known: &SessionFile) -> bool {
    let of = &known.session.scope;
    if known.mirror || of == scope || !text::is_encoded(of) {
        return false;
    }
    let file = state_file::peek::<ScopeFile>(&state_file::scope(dir, of));
    file.as_ref().is_some_and(|file| file.away.is_some()) && known.is_current(id, file.as_ref())
}
