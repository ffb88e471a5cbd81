//! The stores of the state: a Redis-protocol server, or plain files on one machine.
//!
//! A store has one operation, [`Store::step`]; a verdict that it returns is committed.

pub mod files;
pub mod fleet_reader;
pub(crate) mod known_session;
pub(crate) mod outbox;
pub mod server;

use std::time::{Duration, Instant};

use crate::config::{Config, Server, StoreChoice};
use crate::policy::request::Step;
use crate::policy::verdict::Verdict;

pub(crate) mod error;
pub(crate) mod failover;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod listen;
pub(crate) mod parallel;
pub mod reflect;
#[cfg(test)]
pub(crate) mod simulator;
pub(crate) mod sleeping;
pub(crate) mod unknown;
pub(crate) mod unknown_past;
pub(crate) mod windows;
pub mod work;

pub use error::StoreError;
pub(crate) use failover::decider::refusal as refusal_of_a_step;
pub(crate) use failover::reached::ever as ever_reached;

/// How long a connection may take to open, within the budget of a verdict.
pub const CONNECT: Duration = Duration::from_millis(100);

/// A store that keeps state and decides.
pub trait Store {
    /// Applies one event, decides its admission request, journals it, and commits all of that in one atomic operation.
    ///
    /// # Errors
    /// When nothing is known to be committed. The caller must then refuse; an admission may be burnt, never doubled.
    fn step(&mut self, step: &Step) -> Result<Verdict, StoreError>;
}

/// Returns the configured server, and whether it is optional; `None` where files are the choice.
pub(crate) fn server(config: &Config) -> Option<(&Server, bool)> {
    match &config.store {
        StoreChoice::Embedded => None,
        StoreChoice::Server(server) => Some((server, false)),
        StoreChoice::Auto(server) => Some((server, true)),
    }
}

/// Returns the store that the configuration names, with `deadline` for its verdict. It opens nothing yet.
///
/// `auto` is the server on port 18000, or files where no server listens and none was ever reached. The embedded store
/// replaces a server that is unreachable.
///
/// # Errors
/// When files are the choice and there is no state folder.
pub fn open<'a>(config: &'a Config, deadline: Instant) -> Result<Box<dyn Store + 'a>, StoreError> {
    Ok(match server(config) {
        Some((server, optional)) => Box::new(failover::Failover::new(config, server, optional, deadline)),
        None => Box::new(files::Embedded::new(config, deadline)?),
    })
}

/// Sends to the configured store over the connection in `line`, if there is one, and keeps there the one that gave the
/// verdict.
///
/// # Errors
/// As [`open`] and `send`; then no connection is kept.
pub(crate) fn over<'a>(
    config: &'a Config,
    deadline: Instant,
    line: &mut Option<server::kept_connection::Line<'a>>,
    send: impl FnOnce(&mut dyn Store) -> Result<Verdict, StoreError>,
) -> Result<Verdict, StoreError> {
    let Some((server, optional)) = server(config) else { return send(&mut files::Embedded::new(config, deadline)?) };
    let mut store = failover::Failover::new(config, server, optional, deadline).over(line.take());
    let verdict = send(&mut store)?;
    *line = store.line();
    Ok(verdict)
}
