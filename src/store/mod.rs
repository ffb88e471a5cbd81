//! Where the state lives: a Redis-protocol server, or plain files on one machine. A store answers one question,
//! [`Store::step`]; a verdict it returns is committed.

use std::time::{Duration, Instant};

use crate::config::{Config, Server, StoreChoice};
use crate::throttle::step::Step;
use crate::throttle::verdict::Verdict;

pub mod backlog;
mod carry;
mod changes;
pub(crate) mod commit;
mod decider;
mod document;
pub mod dragonfly;
pub mod embedded;
mod error;
mod expiry;
mod failback;
mod failover;
pub mod foresee;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod keys;
#[doc(hidden)]
pub mod limit;
pub(crate) mod line;
pub(crate) mod link;
pub mod listen;
pub(crate) mod loaded;
pub(crate) mod local_journal;
pub(crate) mod marks;
mod parallel;
pub mod past;
pub mod pipeline;
pub mod place;
pub(crate) mod private;
mod probe;
mod reached;
pub mod reflect;
mod refusal;
pub mod roll;
mod seen;
mod server_record;
mod session_index;
mod ship;
#[cfg(test)]
pub(crate) mod simulator;
mod starvation;
mod state_file;
pub mod survey;
#[cfg(feature = "tls")]
mod tls;
mod transaction;
pub(crate) mod trial;
pub mod undecided;
mod unknown;
mod unknown_past;
mod wire;

pub(crate) use decider::refusal as refusal_of_a_step;
pub use error::StoreError;
pub(crate) use reached::ever as ever_reached;

/// How long a connection may take to open, within the budget of a verdict.
pub const CONNECT: Duration = Duration::from_millis(100);

/// A place that keeps state and decides.
pub trait Store {
    /// Applies one event, decides what it asks, journals it, and commits all of that in one atomic operation.
    ///
    /// # Errors
    /// When nothing is known to be committed. The caller must then refuse; an admission may be burnt, never doubled.
    fn step(&mut self, step: &Step) -> Result<Verdict, StoreError>;
}

/// The server that the configuration names, and whether it need not be there; `None` where files are the choice.
pub(crate) fn server(config: &Config) -> Option<(&Server, bool)> {
    match &config.store {
        StoreChoice::Embedded => None,
        StoreChoice::Server(server) => Some((server, false)),
        StoreChoice::Auto(server) => Some((server, true)),
    }
}

/// The store that the configuration names; the verdict must be there by `deadline`, and nothing is opened yet.
///
/// `auto` is the server on port 18000; where nobody listens and none was ever reached, files. A server that cannot be asked
/// has the embedded store to stand in.
///
/// # Errors
/// When files are the choice and there is no state folder.
pub fn open<'a>(config: &'a Config, deadline: Instant) -> Result<Box<dyn Store + 'a>, StoreError> {
    Ok(match server(config) {
        Some((server, optional)) => Box::new(failover::Failover::new(config, server, optional, deadline)),
        None => Box::new(embedded::Embedded::new(config, deadline)?),
    })
}

/// Sends to the store that the configuration names over the connection in `line`, where there is one, and keeps in it the
/// one that gave the verdict.
///
/// # Errors
/// As [`open`] and `send`; then no connection is kept.
pub(crate) fn over<'a>(
    config: &'a Config,
    deadline: Instant,
    line: &mut Option<line::Line<'a>>,
    send: impl FnOnce(&mut dyn Store) -> Result<Verdict, StoreError>,
) -> Result<Verdict, StoreError> {
    let Some((server, optional)) = server(config) else { return send(&mut embedded::Embedded::new(config, deadline)?) };
    let mut store = failover::Failover::new(config, server, optional, deadline).over(line.take());
    let verdict = send(&mut store)?;
    *line = store.line();
    Ok(verdict)
}
