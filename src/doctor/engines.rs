//! Checks whether the engines that should wait on this machine are running.

use super::report::Check;
use crate::clock;
use crate::config::Config;
use crate::engine;
use crate::local_time;
use crate::naming::Names;
use crate::policy::documents::{Phase, SessionState};
use crate::policy::limits::Ms;
use crate::process::ProcessStatus;
use crate::store::files::undecided;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;

const ENGINES: &str = "engines";
const TURNS: &str = "turns";
/// The number of lost sessions that are named.
const MOST_NAMED: usize = 3;

/// Returns how many engines wait on this machine, and which are lost.
pub(super) fn check(config: &Config) -> Check {
    let mut reader = FleetReader::open(config);
    match reader.sessions() {
        Ok(sessions) if reader.away().is_none() => of(config, &sessions, reader.now().unwrap_or_default()),
        Ok(sessions) if !sessions.is_empty() => {
            let known = of(config, &sessions, reader.now().unwrap_or_default());
            Check { found: format!("{}, as far as this machine knows without the server", known.found), ..known }
        }
        // The check of the store reports the error.
        _ => Check::note(ENGINES, "not known while the store does not list its sessions"),
    }
}

/// Returns how many engines wait in the fleet, on all machines; `None` where the store does not list its sessions.
pub(super) fn waiting(config: &Config) -> Option<usize> {
    let mut reader = FleetReader::open(config);
    let sessions = reader.sessions().ok().filter(|_| reader.away().is_none())?;
    Some(sessions.iter().filter(|(_, s)| s.phase == Phase::Open && engine::waits(s)).count())
}

/// Returns which sessions have turns that could not be measured, since when, and with which client.
pub(super) fn measuring(config: &Config) -> Option<Check> {
    let mut reader = FleetReader::open(config);
    let sessions = reader.sessions().ok()?;
    let is_open = |session: &&Session| session.1.phase == Phase::Open;
    let unmeasured = sessions.iter().filter(is_open).filter_map(|all| Some((all, all.1.unmeasured?)));
    let ((id, session), since) = unmeasured.clone().min_by_key(|(_, since)| *since)?;
    let version = if session.client_version.is_empty() { "unknown" } else { &session.client_version };
    let have = match unmeasured.count() {
        1 => "1 session has".to_owned(),
        n => format!("{n} sessions have"),
    };
    let found = format!(
        "{have} turns of unknown outcome, {} since {} with client {}; they count as work",
        Names::of_all(&sessions).name(id),
        local_time::dated(since),
        text::line(version)
    );
    Some(Check::note(TURNS, found))
}

fn of(config: &Config, sessions: &[Session], now: Ms) -> Check {
    let host = clock::host();
    let here = || sessions.iter().filter(|(_, s)| s.host == host && s.phase == Phase::Open);
    let of = |standing| here().filter(|(_, s)| engine::standing(s) == Some(standing)).count();
    let (waiting, elsewhere) = (of(ProcessStatus::Runs), of(ProcessStatus::Unknown));
    let is_disarmed = |id: &str, s: &SessionState| undecided::is_disarmed(config.state.as_deref(), (id, s), now);
    let lost: Vec<&Session> = here().filter(|(id, s)| engine::lost(s) && !is_disarmed(id, s)).collect();
    let mut alive = format!("{waiting} waiting on this machine");
    if elsewhere > 0 {
        alive.push_str(&format!(", {elsewhere} of another container, not known from here"));
    }
    let Some((first, _)) = lost.first() else { return Check::ok(ENGINES, format!("{alive}, none lost")) };
    let names = Names::of_all(sessions);
    let named: Vec<String> = lost.iter().take(MOST_NAMED).map(|(id, _)| names.name(id)).collect();
    let more = if lost.len() > MOST_NAMED { ", …" } else { "" };
    let found = format!(
        "{alive}, {} lost (their waiting engine ended, so nothing resumes them): {}{more}",
        lost.len(),
        named.join(", ")
    );
    Check::warn(ENGINES, found, format!("claude --resume {}", text::word(first)))
}
