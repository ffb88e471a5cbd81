//! The lease of a gate: one gate of a scope at a time.
//!
//! On one machine it is a locked file, which the kernel frees when the gate's process ends. Across machines it is the
//! client process of the gate's session in the store, which a gate on another machine believes for a while.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::command::ALIVE;
use crate::clock;
use crate::config::Config;
use crate::hook::signals::Signals;
use crate::ownership;
use crate::policy::documents::SessionState;
use crate::policy::limits::{Ms, millis};
use crate::policy::process::Process;
use crate::process::{self, ProcessStatus};
use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;
use crate::store::listen;
use crate::text;

/// The folder of the lock files in a fleet's folder.
const FOLDER: &str = "gates";
/// How often a gate that waits for another one looks.
const EACH: Duration = Duration::from_millis(500);
/// How often it reads the store for that.
const EACH_READ: Duration = Duration::from_secs(5);
/// After this long without a sign, a gate of another machine or container counts as ended.
const SILENT: Duration = ALIVE.saturating_mul(3);

/// Why a gate cannot begin.
#[derive(Debug)]
pub(super) enum Busy {
    /// Another gate of the scope is at work.
    Gate(String),
    /// Another gate of the scope ran while this one waited for its end.
    Ran,
    /// The lock file cannot be used.
    Lock(String),
    /// The store cannot be read.
    Store(String),
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(at) => write!(f, "another gate of this scope is at work ({at})"),
            Self::Ran => f.write_str("another gate of this scope ran meanwhile"),
            Self::Lock(why) | Self::Store(why) => f.write_str(why),
        }
    }
}

/// The contents of a lock file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    /// The gate that took the lock last.
    gate: Option<Process>,
    /// The command that it started, while that runs.
    command: Option<Process>,
    /// When a command last ended, by this machine's clock.
    ran: Option<Ms>,
}

/// The lease of a gate, until it is dropped.
pub(super) struct Lease<'a> {
    config: &'a Config,
    session: &'a str,
    /// The locked file; `None` where there is no state folder.
    file: Option<File>,
    note: Note,
}

impl<'a> Lease<'a> {
    /// Takes the lock of this machine. Waits for another gate for up to `most`, where that is given.
    pub(super) fn take(
        config: &'a Config,
        session: &'a str,
        most: Option<Duration>,
        signals: &Signals,
    ) -> Result<Self, Busy> {
        let (began, until) = (clock::host_ms(), Instant::now() + most.unwrap_or_default());
        let mut file = file(config, session)?;
        loop {
            let is_locked = match file.as_ref().map(File::try_lock) {
                None | Some(Ok(())) => true,
                Some(Err(TryLockError::WouldBlock)) => false,
                Some(Err(TryLockError::Error(e))) => return Err(Busy::Lock(format!("cannot lock a file: {e}"))),
            };
            let note = file.as_mut().map(read).unwrap_or_default();
            let runs = |of: &Option<Process>| {
                of.is_some_and(|one| process::standing(&one, &clock::host(), None) == ProcessStatus::Runs)
            };
            // A gate that was killed leaves its command behind.
            let is_left = runs(&note.command);
            if is_locked && !is_left {
                if note.ran.is_some_and(|ran| ran > began) {
                    return Err(Busy::Ran);
                }
                let mut lease = Self { config, session, file, note };
                lease.write(|note| (note.gate, note.command) = (Some(process::own()), None));
                return Ok(lease);
            }
            if Instant::now() >= until || signals.terminated() {
                let of = if is_left { note.command } else { note.gate };
                let what = if is_left { "its command is process" } else { "process" };
                return Err(Busy::Gate(of.map_or_else(|| "unknown".to_owned(), |of| format!("{what} {}", of.pid))));
            }
            if is_locked {
                let _ = file.as_ref().map(File::unlock);
            }
            pause(EACH, until, signals);
        }
    }

    /// Returns the fence of the gate's session, once no gate of another machine has it.
    pub(super) fn fence(&self, most: Option<Duration>, signals: &Signals) -> Result<Option<i64>, Busy> {
        let until = Instant::now() + most.unwrap_or_default();
        let mut since = None;
        loop {
            let (why, each) = match self.session_in_store() {
                Ok((None, _)) => return Ok(None),
                Ok((Some(session), now)) => {
                    let since = *since.get_or_insert(now);
                    match holder(&session, now) {
                        None if session.admitted.as_ref().is_some_and(|a| a.at > since) => return Err(Busy::Ran),
                        None => return Ok(session.fence),
                        Some(at) => (Busy::Gate(at), EACH_READ),
                    }
                }
                Err(e) => (Busy::Store(e.to_string()), Duration::from_secs(1)),
            };
            if Instant::now() >= until || signals.terminated() {
                return Err(why);
            }
            pause(each, until, signals);
        }
    }

    fn session_in_store(&self) -> Result<(Option<SessionState>, Ms), StoreError> {
        let mut reader = FleetReader::open_for(self.config, self.config.budget);
        Ok((reader.session(self.session)?, reader.now()?))
    }

    /// Notes the command that runs, so that it is found if this process is killed.
    pub(super) fn runs(&mut self, pid: u32) {
        self.write(|note| note.command = Some(process::exact(pid)));
    }

    /// Notes that the command has ended.
    pub(super) fn ran(&mut self) {
        self.write(|note| (note.command, note.ran) = (None, Some(clock::host_ms())));
    }

    fn write(&mut self, change: impl FnOnce(&mut Note)) {
        change(&mut self.note);
        let Some(file) = &mut self.file else { return };
        let text = serde_json::to_string(&self.note).unwrap_or_default();
        // A note that is cut short is read as none, and the lock decides.
        let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        let _ = file.write_all(text.as_bytes());
    }
}

/// Returns the gate of another machine or container that has the session, in words.
fn holder(session: &SessionState, now: Ms) -> Option<String> {
    let owner = session.client.filter(|owner| *owner != process::own())?;
    let is_recent = now.saturating_sub(session.seen) < millis(SILENT);
    let is_at_work = match process::standing(&owner, &session.host, None) {
        ProcessStatus::Runs => true,
        ProcessStatus::Gone => false,
        ProcessStatus::Unknown => is_recent,
    };
    is_at_work.then(|| format!("process {} on {}", owner.pid, text::line(&session.host)))
}

fn pause(most: Duration, until: Instant, signals: &Signals) {
    let left = until.saturating_duration_since(Instant::now());
    listen::pause(most.min(left), signals.fd());
    signals.clear();
}

/// Opens the lock file of a gate.
fn file(config: &Config, session: &str) -> Result<Option<File>, Busy> {
    let Some(state) = &config.state else { return Ok(None) };
    let dir = state.join(&config.fleet);
    ownership::check(&dir).map_err(|e| Busy::Lock(e.to_string()))?;
    let folder = dir.join(FOLDER);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    let path = folder.join(session);
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = made.and_then(|()| open());
    file.map(Some).map_err(|e| Busy::Lock(format!("cannot open the file {}: {e}", text::path(&path))))
}

fn read(file: &mut File) -> Note {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
}
