//! `frosty hook`: the hot path, top to bottom.
//!
//! stdin → [`payload`] → `config`, `arm`, `scope` → `store.step` → verdict → [`reply`] → exit code. Whatever fails on
//! the way ends in exit 0 with one line.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

mod failure;
mod local;
pub mod payload;
pub mod reply;
mod signals;
mod streams;

use crate::arm;
use crate::clock;
use crate::config::{Arm, Config, ConfigError, Env, Flags, encoded};
use crate::scope;
use crate::store;
use crate::text;
use crate::throttle::step::{Event, R_RANGE, Step};
use crate::throttle::verdict::{Reason, Verdict};
use local::Known;
use payload::Payload;
use reply::Streams;

/// Answers one hook call.
#[must_use]
pub fn run(flags: &Flags) -> ExitCode {
    let env = Env::read();
    if env.disabled() {
        return ExitCode::SUCCESS;
    }
    let bytes = payload::read(io::stdin());
    let payload = match bytes.as_deref().map(payload::parse) {
        Ok(Ok(payload)) => payload,
        Ok(Err(e)) => return unread(&env, flags, Reason::BadInput, &e.to_string()),
        Err(e) => return unread(&env, flags, Reason::BadInput, &e.to_string()),
    };
    let project = project(&env, payload.cwd());
    let mut known = Known { event: payload.hook_event_name.clone(), ..Known::default() };
    match ask(&env, flags, &payload, project.as_deref(), &mut known) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(Answer { event, verdict, prompt })) => {
            let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr());
            let streams = Streams { stdout: &mut stdout, stderr: &mut stderr };
            reply::answer(&event, verdict, prompt.as_deref(), streams)
        }
        Err((reason, why)) => {
            known.journal(&env, reason, &why);
            reply::failed(reason, &why)
        }
    }
}

/// Answers a command line under `hook` that is wrong: journaled locally, exit 0. `manual` tells whether it still says
/// that only an armed session is concerned.
#[must_use]
pub fn bad_usage(why: &str, manual: bool) -> ExitCode {
    let env = Env::read();
    if env.disabled() {
        return ExitCode::SUCCESS;
    }
    let flags = Flags { arm: manual.then(|| "manual".to_owned()), ..Flags::default() };
    unread(&env, &flags, Reason::BadUsage, why)
}

struct Answer {
    event: Event,
    verdict: Verdict,
    prompt: Option<String>,
}

/// Asks the store; `None` for a session that is not armed. What is found out on the way is left in `known`.
fn ask(
    env: &Env,
    flags: &Flags,
    payload: &Payload<'_>,
    project: Option<&Path>,
    known: &mut Known,
) -> Result<Option<Answer>, (Reason, String)> {
    let bad_config = |e: ConfigError| (Reason::BadConfig, e.to_string());
    let session = encoded(&payload.session_id, "the payload", "session_id").map_err(bad_config)?;
    known.session.clone_from(&session);
    known.asked_to_go_on = payload.hook_event_name == "Stop" && !payload.is_subagents();
    let told = arm::told(env, Some(&session), project).map_err(bad_config)?;
    if told.or(by_flag(flags)) == Some(false) {
        return Ok(None);
    }
    let config = match Config::load(env, project, flags) {
        Ok(config) => config,
        // A project's broken file must not be heard in a session that the user's own configuration leaves alone.
        Err(_) if told.or_else(|| by_own_configuration(env, flags)) == Some(false) => return Ok(None),
        Err(e) => return Err(bad_config(e)),
    };
    if !told.unwrap_or(config.arm == Arm::Always) {
        return Ok(None);
    }
    known.fleet.clone_from(&config.fleet);
    let scope = scope::resolve(&config, env, &session).map_err(bad_config)?;
    known.scope.clone_from(&scope);
    let event = event(payload, &config, env);
    if matches!(event, Event::StopFailure(_)) {
        signals::ignore_termination();
    }
    let step = Step {
        event_name: text::line(&payload.hook_event_name),
        detail: payload.error().as_deref().map(text::line).unwrap_or_default(),
        scope,
        session,
        paced: false,
        host: clock::host(),
        host_ms: clock::host_ms(),
        r: u32::try_from(clock::chance() % u64::from(R_RANGE)).unwrap_or(0),
        id: clock::id(),
        event,
    };
    let deadline = Instant::now() + config.budget;
    let mut store = store::open(&config, deadline).map_err(|e| (Reason::StoreDown, e.to_string()))?;
    let verdict = store.step(&step).map_err(|e| (Reason::StoreDown, e.to_string()))?;
    // The process is about to end: giving back its memory piece by piece would only delay that.
    std::mem::forget(store);
    Ok(Some(Answer { event: step.event, verdict, prompt: config.prompt.clone() }))
}

/// The client's event in the policy's terms.
fn event(payload: &Payload<'_>, config: &Config, env: &Env) -> Event {
    if payload.is_subagents() {
        return Event::Other;
    }
    match payload.hook_event_name.as_str() {
        "Stop" => Event::Stop { rest: None },
        "StopFailure" => Event::StopFailure(failure::of(payload)),
        // Every trigger but a person's counts against the limits.
        "PreCompact" if !payload.is_manual() => Event::PreCompactAuto,
        "UserPromptSubmit" if payload.is_client_prompt() => Event::ClientPrompt,
        "UserPromptSubmit" => Event::PersonPrompt,
        "SessionStart" => Event::SessionStart {
            name: config.name.as_deref().map(text::line).unwrap_or_default(),
            label: scope::label(env).unwrap_or_default(),
        },
        "SessionEnd" => Event::SessionEnd,
        "Notification" if payload.needs_permission() => Event::NeedsYou,
        _ => Event::Other,
    }
}

/// The project: what the client says, else the payload's working folder.
fn project(env: &Env, cwd: Option<String>) -> Option<PathBuf> {
    env.claude_project_dir.clone().or_else(|| cwd.map(PathBuf::from))
}

/// Whether the registration itself says who is armed. It is stronger than every file.
fn by_flag(flags: &Flags) -> Option<bool> {
    Some(Arm::from_name(flags.arm.as_deref()?)? == Arm::Always)
}

/// Whether the configuration without the project's file arms; `None` when it cannot be read either.
fn by_own_configuration(env: &Env, flags: &Flags) -> Option<bool> {
    Some(Config::load(env, None, flags).ok()?.arm == Arm::Always)
}

/// A hook call whose payload is not known: the environment tells what can be told.
fn unread(env: &Env, flags: &Flags, reason: Reason, why: &str) -> ExitCode {
    let session = env.claude_session_id.as_deref().and_then(|id| encoded(id, "", "").ok());
    let project = project(env, None);
    let told = arm::told(env, session.as_deref(), project.as_deref()).unwrap_or(None).or(by_flag(flags));
    if told.or_else(|| by_own_configuration(env, flags)) == Some(false) {
        return ExitCode::SUCCESS;
    }
    let fleet = Config::load(env, project.as_deref(), flags).map(|c| c.fleet).unwrap_or_default();
    let known = Known { fleet, session: session.unwrap_or_default(), ..Known::default() };
    known.journal(env, reason, why);
    reply::failed(reason, why)
}
