//! The usage windows in the stores: a key of the server that no decision checks, and a file on each machine.
//!
//! The file is also this machine's copy for the time in which the server is unreachable.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Value, cmd};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::config::Config;
use crate::policy::limits::Ms;
use crate::policy::windows::{Report, SEVEN_DAYS, Windows};
use crate::read;
use crate::store::StoreError;
use crate::store::files;
use crate::store::files::state_file::{self, FleetFile};
use crate::store::fleet_reader::FleetReader;
use crate::store::server::changes;
use crate::store::server::commit::{COMMIT, Commit, Committed, committed};
use crate::store::server::connection::Link;
use crate::store::server::document::Document;
use crate::store::server::keys::Keys;
use crate::store::server::load::{document, get, time};

/// The name of the file in the fleet's folder.
const FILE: &str = "windows.json";
/// The version of the file.
const VERSION: u32 = 1;
/// How often a machine writes the windows at most.
const EVERY: Ms = 60_000;
/// The largest file that is read.
const LARGEST: u64 = 256 * 1024;
/// The number of times that a conflict is retried.
const TRIES: u32 = 5;
/// How long the key is kept after a report.
const KEEP: Ms = SEVEN_DAYS + 86_400_000;
/// How long a report may wait for the fleet's lock.
const LOCK: Duration = Duration::from_millis(100);

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct WindowsFile {
    v: u32,
    /// When this machine last wrote it, by its own clock.
    written: Ms,
    windows: Windows,
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// Reads the file; `None` where a newer program wrote it. A damaged file has no windows.
fn file(dir: &Path) -> Option<WindowsFile> {
    let bytes = read::file(&path(dir), LARGEST).unwrap_or_default();
    let found: WindowsFile = serde_json::from_slice(&bytes).unwrap_or_default();
    (found.v <= VERSION).then_some(found)
}

/// Returns the usage windows that this machine knows.
pub(crate) fn here(dir: &Path) -> Windows {
    file(dir).map(|file| file.windows).unwrap_or_default()
}

/// Merges a report of the status line into the store that `reader` reads and into this machine's file.
///
/// A report that changes nothing writes nothing, and a machine writes at most once a minute. Returns the windows with
/// the report.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn report(reader: &mut FleetReader<'_>, report: &Report) -> Result<Windows, StoreError> {
    let (config, mut link) = reader.parts();
    let dir = config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet);
    let Some(before) = file(&dir) else { return Ok(Windows::default()) };
    let (now, mut windows) = (clock::host_ms(), before.windows);
    let ends = |windows: &Windows| [windows.five_hour, windows.seven_day].map(|w| w.map(|w| w.resets_at));
    let known = ends(&windows);
    let is_recent = (0..EVERY).contains(&now.saturating_sub(before.written));
    if !report.has_share() || !windows.merge(report, 0, now) || (is_recent && ends(&windows) == known) {
        return Ok(windows);
    }
    let merged = match &mut link {
        Some(link) => Some(to_server(config, link, report)?),
        None => None,
    };
    let _lock = files::lock(&dir, Instant::now() + LOCK, LOCK)?;
    let windows = merged.unwrap_or_else(|| {
        let mut windows = here(&dir);
        let fleet = state_file::peek::<FleetFile>(&state_file::fleet(&dir)).map(|file| file.fleet);
        let admitted = fleet.map(|fleet| fleet.quota.admitted).unwrap_or_default();
        let finished = admitted.iter().filter(|at| **at > windows.counted).count();
        windows.merge(report, u32::try_from(finished).unwrap_or(u32::MAX), now);
        windows
    });
    state_file::replace(&path(&dir), &WindowsFile { v: VERSION, written: now, windows: windows.clone() })?;
    Ok(windows)
}

/// Merges a report into the server's key.
fn to_server(config: &Config, link: &mut Link<'_>, report: &Report) -> Result<Windows, StoreError> {
    let keys = Keys::of(&config.fleet);
    let mut last = Windows::default();
    for _ in 0..TRIES {
        let mut answers = link.ask(&[cmd("TIME"), get(&keys.windows())])?.into_iter();
        let clock = answers.next().unwrap_or(Value::Nil);
        let now = time(&clock).ok_or_else(|| link.nonsense(&clock))?;
        let found = answers.next().unwrap_or(Value::Nil);
        let (known, _): (Document<Windows>, _) = document(link.server(), keys.windows(), &found, Windows::default)?;
        let mut windows = known.state.clone();
        let mut count = cmd("ZCOUNT");
        count.arg(keys.fleet_admissions()).arg(format!("({}", windows.counted)).arg("+inf");
        let finished = link.ask(&[count])?.pop().unwrap_or(Value::Nil);
        let finished = u32::from_redis_value(finished).unwrap_or(0);
        if !windows.merge(report, finished, now) {
            return Ok(windows);
        }
        let mut commit = Commit::default();
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
