//! The connection that a waiting engine keeps, and what it read last over it.

use std::time::Instant;

use super::link::Link;
use super::loaded::Loaded;
use crate::clock;
use crate::throttle::policy::millis;

/// A connection that is logged in, from one request to the next.
pub(crate) struct Line<'a> {
    link: Link<'a>,
    remembered: Option<Remembered>,
}

/// What a request may be decided from before it is sent.
pub(super) struct Remembered {
    loaded: Loaded,
    at: Instant,
}

impl Remembered {
    /// As it would be read now: by the server's clock, which went on since.
    pub(super) fn now(self) -> Loaded {
        let now = self.loaded.now.saturating_add(millis(clock::now().saturating_duration_since(self.at)));
        Loaded { now, ..self.loaded }
    }
}

impl<'a> Line<'a> {
    /// A connection that gave a verdict. What it was decided from is not what is there now.
    pub(super) fn of(link: Link<'a>) -> Self {
        Self { link, remembered: None }
    }

    /// A connection over which this was just read.
    pub(super) fn after(link: Link<'a>, loaded: Loaded) -> Self {
        Self { link, remembered: Some(Remembered { loaded, at: clock::now() }) }
    }

    pub(super) fn link(&mut self) -> &mut Link<'a> {
        &mut self.link
    }

    pub(super) fn into_link(self) -> Link<'a> {
        self.link
    }

    pub(super) fn into_parts(self) -> (Link<'a>, Option<Remembered>) {
        (self.link, self.remembered)
    }
}
