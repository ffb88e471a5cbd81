//! Marks of sessions that were taken over while the store could not hear of it, or in a seat whose file it is not.
//!
//! A waiting engine has its session's fence from the store. Where a prompt or the session's end could not be told, or the
//! session came up in another scope's file, a mark on this machine tells the engine all the same. It names the step that took
//! over; an engine heeds one that was not there when it began. No clock has a say in that: a mark from a wrong one would
//! send away every engine to come.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::read;

/// A mark that no engine can be waiting under any more.
const OLD: Duration = Duration::from_secs(31 * 86_400);

fn folder(config: &Config) -> Option<PathBuf> {
    Some(config.state.as_ref()?.join(&config.fleet).join("marks"))
}

/// Marks that the step with this id took the session over.
pub(crate) fn take_over(config: &Config, session: &str, id: &str) {
    let Some(folder) = folder(config) else { return };
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    if let Ok(mut file) =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.join(session))
    {
        let _ = file.write_all(id.as_bytes());
    }
    // Whoever writes one clears away what is old.
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let written = entry.metadata().and_then(|m| m.modified()).ok();
        if written.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > OLD) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The id of the step that last took the session over, if one did.
#[must_use]
pub(crate) fn taken_over_by(config: &Config, session: &str) -> Option<String> {
    read::text(&folder(config)?.join(session)).ok()
}
