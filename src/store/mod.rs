//! Where the state lives: a Redis-protocol server, or plain files on one machine. A store answers one question,
//! [`Store::step`]; a verdict it returns is committed.

use std::time::{Duration, Instant};

use crate::config::{Config, StoreChoice};
use crate::throttle::step::Step;
use crate::throttle::verdict::Verdict;

pub mod dragonfly;
pub mod embedded;
mod error;
pub(crate) mod link;
pub mod listen;
pub(crate) mod local_journal;
pub(crate) mod marks;
mod reached;
pub mod roll;
pub mod script;
mod state_file;

pub use error::StoreError;

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

/// Where the state of a configuration lives, and the connection to it.
pub(crate) enum Place<'a> {
    /// On a server.
    Server(link::Link<'a>),
    /// In files on this machine.
    Files,
}

/// Finds the place that the configuration names.
///
/// `auto` is the server on port 18000; where nobody listens and none was ever reached, files.
///
/// # Errors
/// When the server cannot be reached.
pub(crate) fn place<'a>(config: &'a Config, deadline: Instant) -> Result<Place<'a>, StoreError> {
    match &config.store {
        StoreChoice::Embedded => Ok(Place::Files),
        StoreChoice::Server(server) => link::Link::connect(config, server, deadline).map(Place::Server),
        StoreChoice::Auto(server) => match link::Link::connect(config, server, deadline) {
            Ok(link) => Ok(Place::Server(link)),
            Err(StoreError::NobodyListens { .. }) if !reached::ever(config) => Ok(Place::Files),
            Err(e) => Err(e),
        },
    }
}

/// Opens the store that the configuration names; the verdict must be there by `deadline`.
///
/// # Errors
/// When the server cannot be reached or there is no state folder.
pub fn open<'a>(config: &'a Config, deadline: Instant) -> Result<Box<dyn Store + 'a>, StoreError> {
    Ok(match place(config, deadline)? {
        Place::Server(link) => Box::new(dragonfly::Dragonfly::new(config, link)),
        Place::Files => Box::new(embedded::Embedded::new(config, deadline)?),
    })
}
