//! Whether the client's prompt cache is warm for a session, as its status line last reported it (client 2.1.332).
//!
//! `frosty statusline` notes the report in a file of the session on this machine, and a waiting engine reads it before a dream.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::config::Config;
use crate::read;

/// The folder in the fleet's folder.
const FOLDER: &str = "warm";
/// An older report tells nothing of the turn that has just ended.
const FRESH: Duration = Duration::from_secs(300);
/// A file of a session that was not seen for this long is removed.
const KEEP: Duration = Duration::from_secs(86_400);
const LARGEST: u64 = 64;

/// The client's report, `prompt_cache` in the input of its status line.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct CacheReport {
    /// Whether the cache is warm.
    pub(crate) warm: bool,
    /// When it expires, in seconds since the Unix epoch.
    #[serde(default)]
    pub(crate) expires_at: Option<f64>,
}

fn folder(config: &Config) -> Option<PathBuf> {
    Some(config.state.as_ref()?.join(&config.fleet).join(FOLDER))
}

/// Notes a report. A report that cannot be written is repeated by the next one.
pub(crate) fn note(config: &Config, session: &str, report: CacheReport) {
    let Some(folder) = folder(config) else { return };
    let path = folder.join(session);
    if !path.exists() {
        if DirBuilder::new().recursive(true).mode(0o700).create(&folder).is_err() {
            return;
        }
        remove_old(&folder);
    }
    // A cold cache with an end has expired since its last request. One without an end had no part in that request.
    let end = match report.expires_at {
        Some(end) if report.warm || end <= now() as f64 => end,
        None if report.warm => f64::MAX,
        _ => 0.0,
    };
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let _ = file.and_then(|mut file| write!(file, "{}", end as u64));
}

fn remove_old(folder: &Path) {
    let is_old = |file: &fs::DirEntry| age(file.metadata().ok()).is_some_and(|age| age > KEEP);
    for file in fs::read_dir(folder).into_iter().flatten().flatten().filter(is_old) {
        let _ = fs::remove_file(file.path());
    }
}

fn age(about: Option<fs::Metadata>) -> Option<Duration> {
    about?.modified().ok()?.elapsed().ok()
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns whether the cache is warm; `None` without a fresh report.
///
/// The turn that has just ended filled the cache again, but the client may report that only after the end of the turn. So
/// a report that has expired does not count.
pub(crate) fn is_warm(config: &Config, session: &str) -> Option<bool> {
    let path = folder(config)?.join(session);
    age(fs::metadata(&path).ok()).filter(|age| *age <= FRESH)?;
    let end: u64 = String::from_utf8(read::file(&path, LARGEST).ok()?).ok()?.trim().parse().ok()?;
    match end {
        0 => Some(false),
        end => (end > now()).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_report_by_its_file() {
        let home = tempfile::TempDir::new().unwrap();
        let config = Config { state: Some(home.path().join("frosty")), ..Config::default() };
        assert_eq!(is_warm(&config, "s"), None);
        let now = now() as f64;
        for (warm, expires_at, expected) in [
            (true, Some(now + 60.0), Some(true)),
            (true, Some(now - 1.0), None),
            (false, Some(now - 1.0), None),
            (true, None, Some(true)),
            (false, None, Some(false)),
            (false, Some(now + 60.0), Some(false)),
            (true, Some(f64::NAN), Some(false)),
        ] {
            note(&config, "s", CacheReport { warm, expires_at });
            assert_eq!(is_warm(&config, "s"), expected, "{warm} {expires_at:?}");
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = folder(&config).unwrap();
        assert_eq!([mode(&home.path().join("frosty")), mode(&folder), mode(&folder.join("s"))], [0o700, 0o700, 0o600]);
        fs::write(folder.join("s"), "x").unwrap();
        assert_eq!(is_warm(&config, "s"), None);
    }
}
