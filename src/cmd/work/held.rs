//! Whether an agent is held: by a hold of the scope with its name, of a scope where its session was last, or of the fleet.

use crate::config::Config;
use crate::policy::hold::Hold;
use crate::scope;
use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;

/// Returns the holds in force that apply to an agent, by the agent's encoded name.
///
/// # Errors
/// When the store cannot be read.
pub(in crate::cmd) fn of(config: &Config, agent: &str) -> Result<Held, StoreError> {
    let mut reader = FleetReader::open_to_change(config);
    let holds = reader.holds()?;
    let fleet = reader.fleet_hold()?;
    if holds.is_empty() {
        return Ok(Held { own: None, fleet });
    }
    let sessions = reader.sessions()?;
    let is_own = |held: &str| {
        // The last session of a scope gives the scope its name.
        let last = sessions.iter().filter(|(_, session)| session.scope == held).max_by_key(|(_, session)| session.seen);
        held == agent || last.is_some_and(|(_, s)| scope::agent(&s.name, s.named_by_project, &s.scope) == agent)
    };
    let own = holds.into_iter().find(|(scope, _)| is_own(scope)).map(|(_, hold)| hold);
    Ok(Held { own, fleet })
}

/// The holds that apply to an agent.
pub(in crate::cmd) struct Held {
    /// That of a scope of the agent.
    pub(in crate::cmd) own: Option<Hold>,
    /// That of the whole fleet.
    pub(in crate::cmd) fleet: Option<Hold>,
}

impl Held {
    /// Returns whether a person or an agent opened one of them.
    pub(in crate::cmd) fn is_by_person(&self) -> bool {
        [&self.own, &self.fleet].into_iter().flatten().any(|hold| hold.by != crate::policy::api_error::BY_API)
    }
}
