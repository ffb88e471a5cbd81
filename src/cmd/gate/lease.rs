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
use crate::policy::request::Step;
use crate::process::{self, ProcessStatus};
use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;
use crate::store::{known_session, listen};
use crate::text;

/// The folder of the lock files in a fleet's folder.
const FOLDER: &str = "gates";
/// The most that is read of a lock file, whatever is in its place.
const LONGEST_NOTE: u64 = 64 * 1024;
/// The least length of a note.
const LENGTH: usize = 1024;
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
    /// The variable of the command that it starts, `NAME=value`.
    starts: Option<String>,
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
        let mut has_waited = false;
        loop {
            let is_locked = match file.as_ref().map(File::try_lock) {
                None | Some(Ok(())) => true,
                Some(Err(TryLockError::WouldBlock)) => false,
                Some(Err(TryLockError::Error(e))) => return Err(Busy::Lock(format!("cannot lock a file: {e}"))),
            };
            let mut note = file.as_mut().map(read).unwrap_or_default();
            let runs = |of: &Option<Process>| {
                of.is_some_and(|one| process::standing(&one, &clock::host(), None) == ProcessStatus::Runs)
            };
            // A gate that was killed leaves its command behind, which it may not have noted yet.
            if is_locked && note.command.is_none() {
                note.command = note.starts.as_deref().and_then(process::started_with);
            }
            let is_left = runs(&note.command);
            if is_locked && !is_left {
                // A run that ended in the future was dated by a clock that has been set back.
                let now = clock::host_ms();
                if has_waited && note.ran.is_some_and(|ran| ran > began && ran <= now) {
                    return Err(Busy::Ran);
                }
                let mut lease = Self { config, session, file, note };
                lease.write(|note| (note.gate, note.command, note.starts) = (Some(process::own()), None, None));
                return Ok(lease);
            }
            has_waited = true;
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
    ///
    /// `step` is a request of the gate.
    pub(super) fn fence(&self, step: &Step, most: Option<Duration>, signals: &Signals) -> Result<Option<i64>, Busy> {
        let until = Instant::now() + most.unwrap_or_default();
        let mut before = None;
        loop {
            let (why, each) = match self.known(step) {
                Ok(known) => {
                    // An admission since the first look is a run of another gate.
                    let admitted = known.admitted.clone();
                    let is_same = *before.get_or_insert_with(|| admitted.clone()) == admitted;
                    match known.holder {
                        None if admitted.is_some() && !is_same => return Err(Busy::Ran),
                        None => return Ok(known.fence),
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

    /// Reads the gate's session as the next step is decided from it. A server that answers reads may refuse that step,
    /// and this machine's files then decide, so the newer fence of the two applies.
    fn known(&self, step: &Step) -> Result<Known, StoreError> {
        let now = FleetReader::open_for(self.config, self.config.budget).now()?;
        let session = known_session::read(self.config, step, Instant::now() + self.config.budget, &mut None);
        let dir = self.config.state.as_ref().map(|state| state.join(&self.config.fleet));
        let here = dir.and_then(|dir| known_session::here(&dir, &step.scope, self.session));
        let both = [session.as_ref(), here.as_ref()];
        Ok(Known {
            holder: both.into_iter().flatten().find_map(|session| holder(session, now)),
            fence: both.into_iter().flatten().filter_map(|session| session.fence).max(),
            admitted: session
                .as_ref()
                .and_then(|session| session.admitted.as_ref())
                .map(|admitted| admitted.id.clone()),
        })
    }

    /// Notes that a command starts with this variable, by which it is found if this process is killed meanwhile.
    pub(super) fn starts(&mut self, variable: String) {
        self.write(|note| note.starts = Some(variable));
    }

    /// Notes the command that runs, so that it is found if this process is killed.
    pub(super) fn runs(&mut self, pid: u32) {
        self.write(|note| note.command = Some(process::exact(pid)));
    }

    /// Notes that the command has ended.
    pub(super) fn ran(&mut self) {
        self.write(|note| (note.command, note.starts, note.ran) = (None, None, Some(clock::host_ms())));
    }

    fn write(&mut self, change: impl FnOnce(&mut Note)) {
        change(&mut self.note);
        let Some(file) = &mut self.file else { return };
        let text = serde_json::to_string(&self.note).unwrap_or_default();
        // White space ends the text, so that no moment has a note that is cut short, unless the system fails.
        let text = format!("{text:<LENGTH$}");
        let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(text.as_bytes()));
        let _ = file.set_len(text.len() as u64);
    }
}

/// What the stores know of the gate's session.
struct Known {
    /// The gate of another machine or container that has the session, in words.
    holder: Option<String>,
    fence: Option<i64>,
    /// The id of the last request that was admitted.
    admitted: Option<String>,
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
    listen::pause(most.min(left), [signals.fd()]);
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
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(LONGEST_NOTE).read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
}
