//! The hooks of an agent in a run of `frosty gate`. They record what the agent does, and make no request: the next
//! gate requests the next run.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use chrono::Local;

use super::local::Known;
use super::payload::Payload;
use super::prompt::Prompt;
use super::{Call, directive, failure, step_of, transcript};
use crate::config::{Config, ConfigError, Flags};
use crate::env::Env;
use crate::hint::Problem;
use crate::policy::request::{Event, RunPart, Step};
use crate::policy::turn::Turn;
use crate::policy::verdict::Reason;
use crate::store::known_session;
use crate::text;

/// A run of a gate, as `FROSTY_GATE` names it to the hooks in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunMark {
    /// The fleet.
    pub(crate) fleet: String,
    /// The gate's scope, encoded.
    pub(crate) scope: String,
    /// The gate's session, encoded.
    pub(crate) session: String,
    /// The fence of the gate.
    pub(crate) fence: i64,
}

impl fmt::Display for RunMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fleet, scope, session, fence } = self;
        write!(f, "{fleet}:{scope}:{session}:{fence}")
    }
}

impl FromStr for RunMark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(':');
        let mut name = || parts.next().filter(|part| text::is_encoded(part)).map(str::to_owned).ok_or(());
        let (fleet, scope, session) = (name()?, name()?, name()?);
        let fence = parts.next().and_then(|part| part.parse().ok()).ok_or(())?;
        if parts.next().is_some() { Err(()) } else { Ok(Self { fleet, scope, session, fence }) }
    }
}

/// Returns the run that this hook's agent is part of. Only an agent without a person is part of one, because a
/// window that was opened in a run may outlast it.
pub(super) fn of(env: &Env) -> Option<RunMark> {
    env.gate.as_deref().filter(|_| env.unattended())?.parse().ok()
}

/// Builds the call that records an event of the run, or returns `None` for an event that is not recorded.
pub(super) fn call(
    env: &Env,
    flags: &Flags,
    run: RunMark,
    payload: &Payload<'_>,
    project: Option<&Path>,
    known: &mut Known,
) -> Result<Option<Call>, (Reason, Problem)> {
    known.session.clone_from(&run.session);
    known.scope.clone_from(&run.scope);
    known.fleet.clone_from(&run.fleet);
    let (mut answer, mut notes) = (String::new(), Vec::new());
    let Some(part) = part(payload, &mut answer, &mut notes) else { return Ok(None) };
    let is_turn = matches!(part, RunPart::Turn { .. });
    let bad_config = |e: ConfigError| (Reason::BadConfig, Problem::from(&e));
    let flags = Flags { fleet: Some(run.fleet), scope: None, ..flags.clone() };
    let config = Config::load(env, project, &flags).map_err(bad_config)?;
    let detail = match &part {
        RunPart::Failure(failure) if !failure.cure.is_empty() => text::line(&failure.cure),
        _ => payload.error().as_deref().map(text::line).unwrap_or(answer),
    };
    let event = Event::Run { fence: run.fence, part };
    let mut step = Step { detail, notes, ..step_of(run.scope, run.session, &payload.hook_event_name, event) };
    if is_turn && let Some(path) = payload.transcript_path() {
        step.turn = Some(Box::new(measured(&config, &step, &path, payload.last_message().as_deref())));
    }
    Ok(Some(Call { config, step, prompt: Prompt::default(), wait: Duration::ZERO, unattended: true }))
}

/// Measures the turn that ended, as a waiting engine does.
fn measured(config: &Config, step: &Step, path: &str, last_message: Option<&str>) -> Turn {
    let begun = Instant::now();
    let session = known_session::read(config, step, begun + config.budget, &mut None);
    let place = session.and_then(|session| session.transcript);
    let turn = transcript::measure(path, place.as_ref(), last_message, begun + transcript::LONGEST, || false);
    Turn { spent: begun.elapsed(), ..turn }
}

fn part(payload: &Payload<'_>, answer: &mut String, notes: &mut Vec<String>) -> Option<RunPart> {
    if payload.is_subagents() {
        return None;
    }
    match payload.hook_event_name.as_str() {
        "UserPromptSubmit" => Some(RunPart::Prompt),
        "Stop" => {
            let said = payload.last_message().map(|m| directive::read(&m, Local::now)).unwrap_or_default();
            (*answer, *notes) = (said.answer, said.notes);
            Some(RunPart::Turn { rest: said.rest })
        }
        "StopFailure" => Some(RunPart::Failure(failure::of(payload))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_by_its_text() {
        let run = RunMark {
            fleet: "default".to_owned(),
            scope: "nova".to_owned(),
            session: "gate-nova".to_owned(),
            fence: 17,
        };
        assert_eq!((run.to_string().as_str(), run.to_string().parse()), ("default:nova:gate-nova:17", Ok(run)));
        for text in ["", "a:b:c", "a:b:c:x", "a:b:c:1:2", "a b:b:c:1", ":b:c:1"] {
            assert_eq!(text.parse::<RunMark>(), Err(()), "{text:?}");
        }
    }
}
