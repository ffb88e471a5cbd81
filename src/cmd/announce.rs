//! `frosty announce`: what a hook starts to tell everyone, so that it is not kept itself. Not for people.

use std::io;
use std::time::Duration;

use super::Failure;
use crate::cli::{AnnounceArgs, PlaceArgs};
use crate::config::Env;
use crate::hook::signals;
use crate::read;
use crate::willy::{self, Word, lost};

/// The word is written at once by whoever started this.
const WITHIN: Duration = Duration::from_secs(2);
const LARGEST: usize = 64 * 1024;

/// Tells what stands on its input, or looks for engines that are gone.
///
/// # Errors
/// When the configuration is wrong.
pub fn run(args: &AnnounceArgs) -> Result<(), Failure> {
    // A hook blocks signals, and what it starts inherits that: what the commands start must be stopped by them.
    signals::unshield();
    let config = super::config(&Env::read(), PlaceArgs { store: None, fleet: None })?;
    if args.lost {
        lost::look(&config)?;
        return Ok(());
    }
    let word = read::to_end(io::stdin(), WITHIN, LARGEST).ok();
    if let Some(word) = word.and_then(|bytes| serde_json::from_slice::<Word>(&bytes).ok()) {
        super::say_wrong(&willy::tell(&config, &word));
    }
    Ok(())
}
