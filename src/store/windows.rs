//! The usage windows in the stores: a key of the server that no decision checks, and a file on each machine.
//!
//! The file is also this machine's copy for the time in which the server is unreachable.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{FromRedisValue, Value, cmd};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::config::Config;
use crate::policy::limits::Ms;
use crate::policy::windows::{Report, SEVEN_DAYS, Windows};
use crate::read;
use crate::store::StoreError;
use crate::store::files;
use crate::store::files::state_file::{self, FleetFile, Found, Versioned};
use crate::store::fleet_reader::FleetReader;
use crate::store::server::changes;
use crate::store::server::commit::{COMMIT, Commit, Committed, committed};
use crate::store::server::connection::Link;
use crate::store::server::keys::Keys;
use crate::store::server::load::{self, get, time};
use crate::text;

/// The name of the file in the fleet's folder.
const FILE: &str = "windows.json";
/// The version of the file.
const VERSION: u32 = 1;
/// How often a machine writes a share, and a reporter, at most.
const EVERY: Ms = 60_000;
/// The largest file that is read.
const LARGEST: u64 = 256 * 1024;
/// The number of times that a conflict is retried.
const TRIES: u32 = 5;
/// How long the key is kept after a report.
pub(crate) const KEEP: Ms = SEVEN_DAYS + 86_400_000;
/// How long a report may wait for the fleet's lock.
const LOCK: Duration = Duration::from_millis(100);

/// The content of the file.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct WindowsFile {
    v: u32,
    /// When this machine last wrote a share, by its own clock.
    written: Ms,
    /// When it last wrote no more than a reporter.
    noted: Ms,
    windows: Windows,
}

impl Versioned for WindowsFile {
    fn version(&self) -> u32 {
        self.v
    }
}

/// Returns the path of the file in the fleet's folder.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Reads the file; `None` where a newer program wrote it. Windows that cannot be read are unknown from now on.
fn file(dir: &Path) -> Option<WindowsFile> {
    let now = clock::host_ms();
    let unknown = || WindowsFile { v: VERSION, windows: Windows::unreadable(now), ..WindowsFile::default() };
    let bytes = match read::file(&path(dir), LARGEST) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Some(WindowsFile { v: VERSION, ..WindowsFile::default() }),
        bytes => bytes.unwrap_or_default(),
    };
    match serde_json::from_slice::<WindowsFile>(&bytes) {
        Ok(found) if found.v > VERSION => None,
        Ok(found) if found.v == VERSION && found.windows.are_possible(now) => Some(found),
        _ => Some(unknown()),
    }
}

/// Returns the usage windows that this machine knows.
pub(crate) fn here(dir: &Path) -> Windows {
    file(dir).map(|file| file.windows).unwrap_or_default()
}

/// Returns the usage windows that a step on this machine is decided from, under the fleet's lock.
///
/// Windows that cannot be read are set aside, and are unknown from now on. A line in `notes` reports that.
///
/// # Errors
/// When a newer program wrote them, or they cannot be replaced.
pub(crate) fn for_step(dir: &Path, now: Ms, notes: &mut Vec<String>) -> Result<Windows, StoreError> {
    let path = path(dir);
    let why = match state_file::load::<WindowsFile>(&path, now)? {
        Found::Nothing => return Ok(Windows::default()),
        Found::State { state, .. } if state.windows.are_possible(now) => return Ok(state.windows),
        Found::State { .. } => format!("the usage windows in {} have impossible times", text::path(&path)),
        Found::SetAside(why) => why,
    };
    notes.push(why);
    let windows = Windows::unreadable(now);
    state_file::replace(&path, &WindowsFile { v: VERSION, windows: windows.clone(), ..WindowsFile::default() })?;
    Ok(windows)
}

/// Returns whether a report is written now, by how often this machine writes.
fn is_due(known: &Windows, merged: &Windows, file: &WindowsFile, now: Ms) -> bool {
    let ends = |windows: &Windows| windows.shares().map(|share| share.map(|(resets_at, _)| resets_at));
    let is_past = |at: Ms| !(0..EVERY).contains(&now.saturating_sub(at));
    if known.unknown.is_some() || ends(known) != ends(merged) {
        return true;
    }
    is_past(if known.shares() == merged.shares() { file.noted.max(file.written) } else { file.written })
}

/// Merges a report of the status line into the store that `reader` reads and into this machine's file.
///
/// `stored` are the store's windows, where they were read. A report that changes nothing writes nothing, and a machine
/// writes at most once a minute. Returns the windows with the report.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn report(
    reader: &mut FleetReader<'_>,
    report: &Report,
    stored: Option<&Windows>,
) -> Result<Windows, StoreError> {
    let (config, mut link) = reader.parts();
    let dir = config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet);
    let Some(before) = file(&dir) else { return Ok(Windows::default()) };
    let now = clock::host_ms();
    let known = stored.filter(|_| link.is_some()).unwrap_or(&before.windows);
    let mut windows = known.clone();
    if !report.has_share() || !windows.merge(report, 0, now) || !is_due(known, &windows, &before, now) {
        return Ok(windows);
    }
    let is_note = known.shares() == windows.shares();
    let merged = match &mut link {
        Some(link) => Some(to_server(config, link, report, &before.windows)?),
        None => None,
    };
    let _lock = files::lock(&dir, clock::now() + LOCK, LOCK)?;
    let windows = merged.unwrap_or_else(|| {
        let mut windows = here(&dir);
        let fleet = state_file::peek::<FleetFile>(&state_file::fleet(&dir)).map(|file| file.fleet);
        let admitted = fleet.map(|fleet| fleet.quota.admitted).unwrap_or_default();
        let finished = admitted.iter().filter(|at| **at > windows.counted).count();
        windows.merge(report, u32::try_from(finished).unwrap_or(u32::MAX), now);
        windows
    });
    let (written, noted) = if is_note { (before.written, now) } else { (now, before.noted) };
    state_file::replace(&path(&dir), &WindowsFile { v: VERSION, written, noted, windows: windows.clone() })?;
    Ok(windows)
}

/// Merges a report into the server's key. Where that cannot be read, this machine's windows `here` take its place.
fn to_server(config: &Config, link: &mut Link<'_>, report: &Report, here: &Windows) -> Result<Windows, StoreError> {
    let keys = Keys::of(&config.fleet);
    let mut last = Windows::default();
    for _ in 0..TRIES {
        let mut answers = link.ask(&[cmd("TIME"), get(&keys.windows())])?.into_iter();
        let clock = answers.next().unwrap_or(Value::Nil);
        let now = time(&clock).ok_or_else(|| link.nonsense(&clock))?;
        let found = answers.next().unwrap_or(Value::Nil);
        let (known, damaged) = load::windows(link.server(), keys.windows(), &found, now)?;
        let is_lost = known.state.unknown.is_some() && here.are_possible(now);
        let mut windows = if is_lost { here.clone() } else { known.state.clone() };
        let mut count = cmd("ZCOUNT");
        count.arg(keys.fleet_admissions()).arg(format!("({}", windows.counted)).arg("+inf");
        let finished = link.ask(&[count])?.pop().unwrap_or(Value::Nil);
        let finished = u32::from_redis_value(finished).unwrap_or(0);
        if !windows.merge(report, finished, now) && !is_lost {
            return Ok(windows);
        }
        let mut commit = Commit::default();
        changes::set_aside(&mut commit, damaged.as_slice());
        changes::put(&mut commit, keys.windows(), &known, &windows, Some(KEEP), false);
        let answer = link.call(&[], &commit.call("EVAL", COMMIT))?;
        match committed(&answer) {
            Some(Committed::Done { .. }) => return Ok(windows),
            Some(Committed::Conflict) => last = windows,
            None => return Err(link.nonsense(&answer)),
        }
    }
    // Other machines wrote their reports meanwhile, so this one is not needed. What was read of them is kept here.
    Ok(last)
}
