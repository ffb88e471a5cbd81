//! Ends an old hold on a tmux pane after the pane's number was used again. The hold of the pane's previous
//! agent must not apply to the new one.

use std::time::{Duration, Instant};

use super::step_of;
use crate::config::Config;
use crate::env::Env;
use crate::policy::limits::millis;
use crate::policy::request::{Event, HoldRequest, Step};
use crate::process;
use crate::store;
use crate::store::fleet_reader::FleetReader;

/// The start of a process is known to one tick of the kernel's clock, which is not the store's clock.
const SLACK: Duration = Duration::from_secs(1);

/// The journal's text about the hold that is over.
const WHY: &str = "tmux was started anew, and another project has the pane: its old hold is over";

/// Ends the hold of a session's pane where it was opened before the tmux server was started, and for another
/// project.
///
/// A tmux server numbers its panes from the beginning. The hold remains where either fact is unknown: a person
/// placed the hold, and the same agent may have returned to its pane. The hold also remains after any failure.
pub(super) fn end_old_hold(config: &Config, env: &Env, start: &Step) {
    if config.scope.is_some() || config.shadow || start.project.is_empty() {
        return;
    }
    let Some(server_age) = env.tmux_server().and_then(process::age) else { return };
    let mut reader = FleetReader::open_for(config, config.budget);
    let (Ok(now), Ok(state)) = (reader.now(), reader.state(&start.scope, "")) else { return };
    let server_start = now.saturating_sub(millis(server_age));
    let Some(hold) =
        state.scope.hold.filter(|hold| hold.holds(now) && hold.since < server_start.saturating_sub(millis(SLACK)))
    else {
        return;
    };
    let sessions = reader.sessions().unwrap_or_default();
    let Some((_, last)) = sessions.iter().find(|(_, session)| session.scope == start.scope) else { return };
    if last.seen.saturating_add(millis(SLACK)) >= server_start
        || last.project.is_empty()
        || last.project == start.project
    {
        return;
    }
    // A hold that ends as it begins. A release would also end the API's refusal of the scope.
    let over = HoldRequest {
        reason: hold.reason,
        by: hold.by,
        lasting: Some(Duration::ZERO),
        replace: true,
        ..HoldRequest::default()
    };
    let step = step_of(start.scope.clone(), String::new(), "Hold", Event::Hold(over));
    let step = Step { detail: WHY.to_owned(), ..step };
    let _ = store::open(config, Instant::now() + config.budget).and_then(|mut store| store.step(&step));
}
