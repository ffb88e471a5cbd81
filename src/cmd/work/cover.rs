//! The agent that gets the task of a route: the route's own, or the one that covers for it while it is held.

use crate::config::{Config, Route};
use crate::policy::documents::Phase;
use crate::policy::limits::Ms;
use crate::scope;
use crate::store::StoreError;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;

/// Returns the agent that gets a new task of a route, encoded, and whether it covers for the route's own.
///
/// # Errors
/// When the store cannot be read.
pub(in crate::cmd) fn receiver(config: &Config, route: &Route) -> Result<(String, bool), StoreError> {
    let own = text::encode(&route.to);
    let Some(cover) = route.cover.as_deref().map(text::encode) else { return Ok((own, false)) };
    let mut reader = FleetReader::open_to_change(config);
    let now = reader.now()?;
    let sessions = reader.sessions()?;
    let covers = is_held(&mut reader, &sessions, &own, now)? && !is_held(&mut reader, &sessions, &cover, now)?;
    Ok(if covers { (cover, true) } else { (own, false) })
}

/// Returns whether each session of an agent is held by its scope; without a session, whether the scope with its name is.
fn is_held(reader: &mut FleetReader<'_>, sessions: &[Session], agent: &str, now: Ms) -> Result<bool, StoreError> {
    let is_own =
        |(_, s): &&Session| s.phase == Phase::Open && scope::agent(&s.name, s.named_by_project, &s.scope) == agent;
    let mut scopes: Vec<&str> = sessions.iter().filter(is_own).map(|(_, session)| session.scope.as_str()).collect();
    if scopes.is_empty() {
        scopes.push(agent);
    }
    scopes.sort_unstable();
    scopes.dedup();
    for scope in scopes {
        let state = reader.state(scope, "")?;
        if !state.scope.hold.is_some_and(|hold| hold.holds(now)) {
            return Ok(false);
        }
    }
    Ok(true)
}
