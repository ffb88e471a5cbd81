//! Really Chill Willy: what everyone is told when something is held, goes on again, or wants a person.
//!
//! `word` is what is told; `notify` feeds it to the configured commands, `reflect` writes it to Willy's own stream, and
//! `detached` has a process of its own do both for a hook, which must not be kept.

pub mod audit;
pub mod detached;
mod haiku;
pub mod lost;
pub mod notify;
pub mod reflect;
pub mod word;

use std::time::Duration;

use crate::config::Config;
use crate::store::{self, roll::Roll};
use crate::throttle::state::SessionState;
pub use word::{Kind, Word};

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
    let running = notify::start(&config.notify, word);
    let mut wrong = Vec::new();
    if word.kind.is_of_holds() {
        let told = reflect::write(&mut Roll::open(config), config, word);
        wrong.extend(told.err().map(|e| e.to_string()));
    }
    wrong.extend(notify::finish(running));
    // A command may say whatever it finds in its environment.
    let masked = |line: String| store::server(config).map_or(line.clone(), |(server, _)| server.masked(&line));
    wrong.into_iter().map(masked).collect()
}
