//! The sessions of an agent that live, and the end of those that are idle.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::client::PROGRAM;
use crate::clock;
use crate::config::SessionKind;
use crate::duration;
use crate::engine;
use crate::policy::documents::{Phase, SessionState};
use crate::policy::limits::{Ms, millis};
use crate::policy::process::Process;
use crate::policy::rest::RestKind;
use crate::process::{self, ProcessStatus};
use crate::scope;
use crate::store::fleet_reader::Session;
use crate::text;

pub(super) use super::START as OWN;
/// How long the client may take to stop a background session.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked at meanwhile.
const EACH: Duration = Duration::from_millis(50);

/// Returns the sessions of an agent with a client that runs. A session of another machine counts for `lease` after its last
/// event.
pub(super) fn of<'s>(sessions: &'s [Session], agent: &str, lease: Duration, now: Ms) -> Vec<&'s Session> {
    let lives = |session: &SessionState| {
        let is_recent = now.saturating_sub(session.seen) < millis(lease);
        match session.client.map(|client| process::standing(&client, &session.host, None)) {
            Some(ProcessStatus::Runs) => true,
            Some(ProcessStatus::Gone) => false,
            Some(ProcessStatus::Unknown) | None => is_recent,
        }
    };
    let is_agents = |session: &SessionState| {
        let own = scope::agent(&session.name, session.named_by_project, &session.scope);
        session.phase != Phase::Ended && session.phase != Phase::Asleep && own == agent
    };
    sessions.iter().filter(|(id, s)| !id.starts_with(OWN) && is_agents(s) && lives(s)).collect()
}

/// Returns whether a session that a dispatcher started on this machine has no turn under way.
pub(super) fn is_between_turns(session: &SessionState) -> bool {
    let is_stopped = session.begun.as_ref().is_some_and(|begun| !begun.id.is_empty()) && session.admitted.is_none();
    is_stopped && session.started && session.host == clock::host()
}

/// Returns for how long a session that a dispatcher started on this machine is idle, where it is.
///
/// It is while no turn is under way, and it has no entry in hand and no task of its own.
pub(super) fn idle_for(session: &SessionState, now: Ms) -> Option<Ms> {
    let stopped = session.begun.as_ref().filter(|_| is_between_turns(session))?;
    let is_parked = session.rest.as_ref().is_some_and(|rest| rest.kind == RestKind::Parked && rest.lasts(now));
    (session.work.is_none() && !is_parked).then(|| now.saturating_sub(stopped.at))
}

/// Returns whether a session is to be stopped: it is idle for `most`, or for ten seconds where no engine waits that work could
/// wake.
pub(super) fn is_over(session: &SessionState, most: Duration, now: Ms) -> bool {
    let least = Duration::from_secs(10).min(most);
    let most = if engine::waits(session) { most } else { least };
    idle_for(session, now).is_some_and(|idle| idle >= millis(most))
}

/// Stops a session. Returns why it could not be stopped.
pub(super) fn stop((id, session): &Session, kind: SessionKind) -> Result<(), String> {
    match kind {
        SessionKind::Background => stop_background(id.get(..8).unwrap_or(id)),
        SessionKind::Print => {
            let runs = |client: &Process| process::standing(client, &session.host, None) == ProcessStatus::Runs;
            let client = session.client.filter(|client| client.birth.is_some() && runs(client));
            let pid = client.and_then(|client| Pid::from_raw(i32::try_from(client.pid).ok()?));
            let Some(pid) = pid else { return Ok(()) };
            kill_process(pid, Signal::TERM).map_err(|why| why.to_string())
        }
    }
}

/// Stops a background session by the client's own id, which is the beginning of the session's.
pub(super) fn stop_background(id: &str) -> Result<(), String> {
    let mut command = Command::new(PROGRAM);
    command.args(["stop", id]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match ended(command.spawn().map_err(|why| why.to_string())?, STOPS_WITHIN) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("claude stop {} failed: {status}", text::line(id))),
        None => Err(format!("claude stop {} took longer than {}", text::line(id), duration::show(STOPS_WITHIN))),
    }
}

/// Waits for the end of a program. One that runs longer is killed.
fn ended(mut child: Child, within: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + within;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => std::thread::sleep(EACH),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}
