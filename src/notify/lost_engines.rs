//! Decides when to look again for waiting engines of this machine that ended without a notification.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::config::Config;

/// The time between two looks. The first engine that finds it over performs the next look.
pub const EVERY: Duration = Duration::from_secs(60);

/// Returns the file with the list of lost engines that were already reported. Its time is the time of the last
/// look.
#[must_use]
pub fn file(config: &Config) -> Option<PathBuf> {
    Some(config.state.as_ref()?.join(&config.fleet).join("watch.json"))
}

/// Returns whether no process has looked for [`EVERY`].
#[must_use]
pub fn is_due(config: &Config) -> bool {
    let looked = file(config).and_then(|file| fs::metadata(file).ok()?.modified().ok());
    // A time in the future means that the clock was stepped back.
    looked.is_none_or(|at| SystemTime::now().duration_since(at).is_ok_and(|ago| ago >= EVERY) || at > SystemTime::now())
}
