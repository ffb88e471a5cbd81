//! The connection that a waiting engine keeps, and the state that it read last over it.

use std::time::Instant;

use crate::clock;
use crate::policy::limits::millis;
use crate::store::server::connection::Link;
use crate::store::server::load::Loaded;

/// A connection that is logged in, from one request to the next.
pub(crate) struct Line<'a> {
    link: Link<'a>,
    remembered: Option<Remembered>,
}

/// The state that a request may be decided from before it is sent.
pub(crate) struct Remembered {
    loaded: Loaded,
    at: Instant,
}

impl Remembered {
    /// Returns the state as it would be read now, with the server's clock moved on.
    pub(crate) fn now(self) -> Loaded {
        let now = self.loaded.now.saturating_add(millis(clock::now().saturating_duration_since(self.at)));
        Loaded { now, ..self.loaded }
    }
}

impl<'a> Line<'a> {
    /// Makes the connection of a verdict. The state that the verdict was decided from is out of date.
    pub(crate) fn of(link: Link<'a>) -> Self {
        Self { link, remembered: None }
    }

    /// Makes a connection over which this state was just read.
    pub(crate) fn after(link: Link<'a>, loaded: Loaded) -> Self {
        Self { link, remembered: Some(Remembered { loaded, at: clock::now() }) }
    }

    pub(crate) fn link(&mut self) -> &mut Link<'a> {
        &mut self.link
    }

    pub(crate) fn into_link(self) -> Link<'a> {
        self.link
    }

    pub(crate) fn into_parts(self) -> (Link<'a>, Option<Remembered>) {
        (self.link, self.remembered)
    }
}
