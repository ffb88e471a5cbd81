//! `frosty announce`: sends a notification, or looks for lost engines. A hook starts it, so that the hook itself does
//! not wait. It is not for people.

pub mod commands;
pub mod context_audit;
pub(crate) mod haiku;
pub mod lost_engines;
pub mod stream;

use crate::cmd::PlaceArgs;
use crate::config::Config;
use crate::hint::Problem;
use crate::policy::documents::SessionState;
use crate::store;
use crate::store::fleet_reader::FleetReader;
use clap::Args;
use std::io;
use std::time::Duration;

use super::{Failure, message};
use crate::env::Env;
use crate::hook::signals;
use crate::notify::{Kind, Notification};
use crate::read;

/// The flags of `announce`.
#[derive(Debug, Args)]
pub struct AnnounceArgs {
    /// Look for lost engines of this machine
    #[arg(long)]
    pub lost: bool,
}

/// The process that started this one writes its input at once.
const WITHIN: Duration = Duration::from_secs(2);
const LARGEST: usize = 64 * 1024;

/// Sends the notification on the standard input, or looks for lost engines.
///
/// # Errors
/// When the configuration is wrong.
pub fn run(args: &AnnounceArgs) -> Result<(), Failure> {
    // A hook blocks signals, and its child inherits that. The notify commands must be stoppable by signals.
    signals::unshield();
    let config = super::config(&Env::read(), PlaceArgs { store: None, fleet: None })?;
    if args.lost {
        lost_engines::look(&config)?;
        return Ok(());
    }
    let word = read::to_end(io::stdin(), WITHIN, LARGEST).ok();
    if let Some(word) = word.and_then(|bytes| serde_json::from_slice::<Notification>(&bytes).ok()) {
        super::say_wrong(&tell(&config, &word));
        if word.kind == Kind::Blocked {
            message::blocked::tell(&config, &word)?;
        }
    }
    Ok(())
}

/// How long the store may take to return a session's name.
const NAMED_WITHIN: Duration = Duration::from_secs(1);

/// Sends a notification to the subscribers on the server, to Willy's stream, and to the configured commands. Returns
/// each failure: a hold is in force whether or not its notification was delivered.
pub fn tell(config: &Config, word: &Notification) -> Vec<Problem> {
    // A notification without a name is sent, too.
    let is_meant = |id: &str, s: &SessionState| *id == word.session || s.scope == word.scope;
    let sessions = FleetReader::open_for(config, NAMED_WITHIN).sessions_where(is_meant).unwrap_or_default();
    let word = &word.clone().named(&sessions);
    // The commands are slowest, so they start first and run while the store is written.
    let running = commands::start(&config.notify, word);
    let mut wrong = Vec::new();
    if word.kind.is_of_holds() {
        let told = stream::write(&mut FleetReader::open(config), config, word);
        wrong.extend(told.err().map(|e| Problem::from(&e)));
    }
    wrong.extend(commands::finish(running));
    // A command may print secrets of its environment.
    let masked = |text: String| store::server(config).map_or(text.clone(), |(server, _)| server.masked(&text));
    let masked = |Problem { message, hint }: Problem| Problem { message: masked(message), hint: hint.map(masked) };
    wrong.into_iter().map(masked).collect()
}
