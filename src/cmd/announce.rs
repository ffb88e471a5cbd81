//! `frosty announce`: what a hook starts to tell everyone, so that it is not kept itself. Not for people.

pub mod commands;
pub mod context_audit;
pub(crate) mod haiku;
pub mod lost_engines;
pub mod stream;

use crate::cmd::PlaceArgs;
use crate::config::Config;
use crate::policy::documents::SessionState;
use crate::store;
use crate::store::fleet_reader::Roll;
use clap::Args;
use std::io;
use std::time::Duration;

use super::Failure;
use crate::env::Env;
use crate::hook::signals;
use crate::notify::Word;
use crate::read;

/// What `announce` tells: what stands on its input, or what it finds.
#[derive(Debug, Args)]
pub struct AnnounceArgs {
    /// Look for waiting engines of this machine that are gone
    #[arg(long)]
    pub lost: bool,
}

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
        lost_engines::look(&config)?;
        return Ok(());
    }
    let word = read::to_end(io::stdin(), WITHIN, LARGEST).ok();
    if let Some(word) = word.and_then(|bytes| serde_json::from_slice::<Word>(&bytes).ok()) {
        super::say_wrong(&tell(&config, &word));
    }
    Ok(())
}

/// How long the store may take to name a session.
const NAMED_WITHIN: Duration = Duration::from_secs(1);

/// Tells everyone: whoever listens on the server, Willy's stream, and the configured commands. Returns what went wrong, a
/// line each: a hold holds whether or not it was heard of.
pub fn tell(config: &Config, word: &Word) -> Vec<String> {
    // One that cannot be named is told all the same.
    let is_meant = |id: &str, s: &SessionState| *id == word.session || s.scope == word.scope;
    let sessions = Roll::open_for(config, NAMED_WITHIN).sessions_where(is_meant).unwrap_or_default();
    let word = &word.clone().named(&sessions);
    // The slowest first: they run while the store is told.
    let running = commands::start(&config.notify, word);
    let mut wrong = Vec::new();
    if word.kind.is_of_holds() {
        let told = stream::write(&mut Roll::open(config), config, word);
        wrong.extend(told.err().map(|e| e.to_string()));
    }
    wrong.extend(commands::finish(running));
    // A command may say whatever it finds in its environment.
    let masked = |line: String| store::server(config).map_or(line.clone(), |(server, _)| server.masked(&line));
    wrong.into_iter().map(masked).collect()
}
