//! The connection that a waiting engine keeps, and what it read last over it.

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

/// What a request may be decided from before it is sent.
pub(crate) struct Remembered {
    loaded: Loaded,
    at: Instant,
}

impl Remembered {
    /// As it would be read now: by the server's clock, which went on since.
    pub(crate) fn now(self) -> Loaded {
        let now = self.loaded.now.saturating_add(millis(clock::now().saturating_duration_since(self.at)));
        Loaded { now, ..self.loaded }
    }
}

impl<'a> Line<'a> {
    /// A connection that gave a verdict. What it was decided from is not what is there now.
    pub(crate) fn of(link: Link<'a>) -> Self {
        Self { link, remembered: None }
    }

    /// A connection over which this was just read.
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
