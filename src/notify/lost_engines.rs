//! Waiting engines of this machine that ended without a word: when it is time to look for them again.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::config::Config;

/// How often is looked, by whichever engine finds that it is time.
pub const EVERY: Duration = Duration::from_secs(60);

/// The file that holds which lost engines a notification was sent for; its time is when the last look was.
#[must_use]
pub fn file(config: &Config) -> Option<PathBuf> {
    Some(config.state.as_ref()?.join(&config.fleet).join("watch.json"))
}

/// Whether nobody has looked for [`EVERY`].
#[must_use]
pub fn is_due(config: &Config) -> bool {
    let looked = file(config).and_then(|file| fs::metadata(file).ok()?.modified().ok());
    // A time in the future is a clock that was stepped back.
    looked.is_none_or(|at| SystemTime::now().duration_since(at).is_ok_and(|ago| ago >= EVERY) || at > SystemTime::now())
}
