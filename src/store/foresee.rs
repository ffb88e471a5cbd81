//! What a step would be decided from if it were asked now, for whoever looks at what would come of it and takes nothing.

use std::io::ErrorKind;

use super::roll::{Roll, scope_files};
use super::server_record::{self, Route};
use super::state_file::{self, FleetFile, ScopeFile};
use super::{StoreError, embedded, server};
use crate::clock;
use crate::throttle::model::{self, State};
use crate::throttle::policy::Ms;
use crate::throttle::state::ScopeState;

/// A state, and when it was looked at.
#[derive(Debug)]
pub struct Foreseen {
    /// All that the step would be decided from.
    pub state: State,
    /// The store's clock.
    pub now: Ms,
    /// Whether the embedded store would stand in for a server.
    pub stands_in: bool,
    /// What may make the answer another one; empty for nothing.
    pub note: &'static str,
}

const TO_TELL: &str = "this machine has something to tell the server first: an ask may be refused min_interval once";

impl Roll<'_> {
    /// All that a step of this scope and session would be decided from, with what a change of store does to it.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn foresee(&mut self, scope: &str, session: &str) -> Result<Foreseen, StoreError> {
        let config = self.config;
        let dir = config.state.as_ref().map(|state| state.join(&config.fleet));
        if self.server.is_some() {
            let now = self.now()?;
            let record = dir.as_deref().and_then(server_record::read);
            let route =
                record.zip(server(config)).map(|(r, (server, _))| r.route(&server.shown, scope, clock::host_ms()));
            let note = if route.is_none_or(|route| route == Route::Server) { "" } else { TO_TELL };
            return Ok(Foreseen { state: self.state(scope, session)?, now, stands_in: false, note });
        }
        let dir = dir.ok_or(StoreError::NoStateFolder)?;
        let path = state_file::scope(&dir, scope);
        let now = clock::host_ms();
        let mut file = match state_file::peek::<ScopeFile>(&path) {
            Some(file) => file,
            None if matches!(path.symlink_metadata(), Err(e) if e.kind() == ErrorKind::NotFound) => {
                ScopeFile::new(ScopeState::default())
            }
            // As the next step will find it.
            None => ScopeFile::new(embedded::unknown_scope(config, now)),
        };
        let stands_in = self.away().is_some();
        if server(config).is_some() {
            if file.away.is_none() {
                file.take_over(now, stands_in, model::pause(&config.policy.stop));
            } else {
                file.stay_over(now, stands_in);
            }
        }
        let mut own = file.sessions.remove(session).unwrap_or_default();
        if own.seen == 0 {
            let others =
                scope_files(config)?.into_iter().filter(|(name, file)| name != scope && file.decided_here(session));
            let left = others.filter_map(|(_, mut file)| file.sessions.remove(session)).max_by_key(|s| s.seen);
            own = left.unwrap_or(own);
        }
        let fleet = state_file::peek::<FleetFile>(&state_file::fleet(&dir)).map(|f| f.fleet);
        let mut fleet = fleet.unwrap_or_default();
        fleet.hold = self.fleet_hold()?;
        Ok(Foreseen { state: State { fleet, scope: file.scope, session: own }, now, stands_in, note: "" })
    }
}
