//! What a project's file may set: it only tightens the user's limits.

use serde_json::Value;

use super::Reader;
use crate::config::error::ConfigError;

/// The trust in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The user's own file: it may set every key.
    Own,
    /// A project's file: it may set `name`, `stop.prompt`, and tighter limits.
    Project,
}

/// The direction in which a limit gets tighter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tighter {
    Larger,
    Smaller,
}

impl Reader<'_> {
    /// Sets a limit. One that a project's file loosens is an error.
    pub(super) fn set<T: Ord + Copy>(
        &self,
        slot: &mut T,
        new: T,
        tighter: Tighter,
        key: &str,
        v: &Value,
    ) -> Result<(), ConfigError> {
        let looser = match tighter {
            Tighter::Larger => new < *slot,
            Tighter::Smaller => new > *slot,
        };
        if looser && self.trust == Trust::Project {
            return Err(self.looser(key, v));
        }
        *slot = new;
        Ok(())
    }

    pub(super) fn looser(&self, key: &str, v: &Value) -> ConfigError {
        self.value(key, v, "no looser limit than in your own configuration (a project's file may only tighten)")
    }
}
