//! Reads the state from which a request would be decided now, without sending the request.

use std::io::ErrorKind;

use crate::clock;
use crate::hint::Problem;
use crate::ownership;
use crate::policy::decision::State;
use crate::policy::documents::ScopeState;
use crate::policy::limits::Ms;
use crate::policy::min_interval;
use crate::store::failover::server_record::Route;
use crate::store::failover::{decider, server_record};
use crate::store::files::state_file;
use crate::store::files::state_file::{FleetFile, ScopeFile};
use crate::store::files::work;
use crate::store::fleet_reader::{FleetReader, fleet_hold_here};
use crate::store::{StoreError, server, unknown_past, windows};

/// A state, and when it was read.
#[derive(Debug)]
pub struct Foreseen {
    /// The state from which the request would be decided.
    pub state: State,
    /// The store's clock.
    pub now: Ms,
    /// Whether the embedded store would decide.
    pub by_files: bool,
    /// Why the embedded store would decide in the server's place, where it would.
    pub away: Option<Problem>,
    /// What may change the answer; empty where nothing may.
    pub note: String,
}

const TO_TELL: &str =
    "this machine must first send data to the server: a request may be refused once with min_interval";

impl FleetReader<'_> {
    /// Reads the state from which a request of this scope and session would be decided, with the effect of a change of
    /// store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn foresee(&mut self, scope: &str, session: &str) -> Result<Foreseen, StoreError> {
        let config = self.config;
        // A full server decides for other machines, so no store decides in its place.
        if let Some(full) = self.take_full() {
            return Err(full);
        }
        let mut away = self.away().map(Problem::from);
        if self.server.is_some() {
            match self.foresee_on_server(scope, session) {
                Ok(foreseen) => return Ok(foreseen),
                // A request that gets an error is decided by the embedded store, and so is this one.
                Err(why) => away = Some(Problem::from(&why)),
            }
        }
        let dir = decider::dir(config).ok_or(StoreError::NoStateFolder)?;
        ownership::check(&dir)?;
        let path = state_file::scope(&dir, scope);
        let now = clock::host_ms();
        let is_new = matches!(path.symlink_metadata(), Err(e) if e.kind() == ErrorKind::NotFound);
        let mut file = match state_file::peek_scope(&dir, scope) {
            Some(file) => file,
            None if is_new => ScopeFile::new(ScopeState::default()),
            // The next request will find the same state.
            None => ScopeFile::new(unknown_past::scope(config, now)),
        };
        if server(config).is_some() {
            if file.away.is_none() {
                file.take_over(now, min_interval::pause(&config.policy.stop));
            }
            file.stay_over(now, away.is_some());
        }
        let fleet = state_file::peek::<FleetFile>(&state_file::fleet(&dir)).unwrap_or_default();
        let since = fleet.since.or(fleet.left.then_some(now));
        if let (None, Some(since)) = (server(config), since)
            && (is_new || !file.is_files())
        {
            file.adopt(since, now);
        }
        let own = state_file::peek_session(&dir, session, scope, &file).unwrap_or_default();
        let mut fleet = fleet.fleet;
        fleet.hold = fleet_hold_here(config)?;
        let work = if away.is_none() { work::of_session(config, &dir, &own) } else { None };
        Ok(Foreseen {
            state: State { fleet, scope: file.scope, session: own, windows: windows::here(&dir), work },
            now,
            by_files: true,
            away,
            note: String::new(),
        })
    }

    /// Reads the same state where the server decides.
    fn foresee_on_server(&mut self, scope: &str, session: &str) -> Result<Foreseen, StoreError> {
        let config = self.config;
        let dir = decider::dir(config);
        let record = dir.as_deref().and_then(server_record::read);
        let way = dir.as_deref().zip(record.as_ref()).zip(server(config));
        let way =
            way.map(|((dir, record), (server, _))| decider::route(config, dir, Some(record), &server.shown, scope));
        let note = match way {
            Some(Route::Stays) => return Err(decider::staying()),
            None | Some(Route::Server) => "",
            Some(_) => TO_TELL,
        };
        let now = self.now()?;
        Ok(Foreseen { state: self.state(scope, session)?, now, by_files: false, away: None, note: note.to_owned() })
    }
}
