//! What the fuzzers in `fuzz/` reach besides the public items. No other build has it.

use std::collections::BTreeMap;

use super::StoreError;
use super::link;
use super::state_file::{FleetFile, ScopeFile};
use crate::config::Server;
use crate::throttle::state::{FleetState, ScopeState, SessionState};

/// The bytes of a scope's file as the embedded store reads them.
#[must_use]
pub fn scope_file(bytes: &[u8]) -> Option<(ScopeState, BTreeMap<String, SessionState>)> {
    serde_json::from_slice::<ScopeFile>(bytes).ok().map(|file| (file.scope, file.sessions))
}

/// The bytes of a fleet's file as the embedded store reads them.
#[must_use]
pub fn fleet_file(bytes: &[u8]) -> Option<FleetState> {
    serde_json::from_slice::<FleetFile>(bytes).ok().map(|file| file.fleet)
}

/// What is made of an error that a server answers.
#[must_use]
pub fn refused(server: &Server, said: &redis::ServerError) -> StoreError {
    link::refused(server, &link::error_text(said))
}
