//! `frosty hook`: the hot path, top to bottom.
//!
//! stdin → [`payload`] → `config`, `arm`, `scope` → `store.step` → verdict → [`reply`] → exit code. Whatever fails on
//! the way ends in exit 0 with one line.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

mod failure;
pub mod payload;
pub mod reply;
mod stdout;

use crate::arm;
use crate::clock;
use crate::config::{Arm, Config, ConfigError, Env, Flags, encoded};
use crate::journal::{self, Entry};
use crate::scope;
use crate::store::{self, embedded, local_journal::LocalJournal};
use crate::text;
use crate::throttle::step::{Event, R_RANGE, Step};
use crate::throttle::verdict::{Reason, Verdict};
use payload::Payload;
use reply::Streams;

/// Answers one hook call.
#[must_use]
pub fn run(flags: &Flags) -> ExitCode {
    let env = Env::read();
    if env.disabled() {
        return ExitCode::SUCCESS;
    }
    let payload = match payload::read(io::stdin()) {
        Ok(payload) => payload,
        Err(e) => return unread(&env, flags, Reason::BadInput, &e.to_string()),
    };
    let project = project(&env, payload.cwd.as_deref());
    match ask(&env, flags, &payload, project.as_deref()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(Answer { event, verdict, prompt })) => {
            let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr());
            let out = Streams { stdout: &mut stdout, stderr: &mut stderr };
            reply::answer(&event, verdict, prompt.as_deref(), out)
        }
        Err(Failure { reason, why, journal }) => {
            journal.write(&env, reason, &why, &payload.hook_event_name);
            reply::failed(reason, &why)
        }
    }
}

/// Answers a command line under `hook` that is wrong: journaled locally, exit 0.
#[must_use]
pub fn bad_usage(why: &str) -> ExitCode {
    let env = Env::read();
    if env.disabled() {
        return ExitCode::SUCCESS;
    }
    unread(&env, &Flags::default(), Reason::BadUsage, why)
}

struct Answer {
    event: Event,
    verdict: Verdict,
    prompt: Option<String>,
}

struct Failure {
    reason: Reason,
    why: String,
    journal: FailureEntry,
}

/// Asks the store; `None` for a session that is not armed.
fn ask(env: &Env, flags: &Flags, payload: &Payload, project: Option<&Path>) -> Result<Option<Answer>, Failure> {
    let mut at = FailureEntry::default();
    let bad_config = |at: &FailureEntry, e: ConfigError| Failure {
        reason: Reason::BadConfig,
        why: e.to_string(),
        journal: at.clone(),
    };
    let session = encoded(&payload.session_id, "the payload", "session_id").map_err(|e| bad_config(&at, e))?;
    at.session.clone_from(&session);
    let told = arm::told(env, Some(&session), project).map_err(|e| bad_config(&at, e))?;
    // The flag is stronger than every file: a session that it leaves unarmed needs no configuration.
    let flag = flags.arm.as_deref().and_then(Arm::from_name).map(arm::by_registration);
    if told.or(flag) == Some(false) {
        return Ok(None);
    }
    let config = Config::load(env, project, flags).map_err(|e| bad_config(&at, e))?;
    if !told.unwrap_or(arm::by_registration(config.arm)) {
        return Ok(None);
    }
    at.fleet.clone_from(&config.fleet);
    let scope = scope::resolve(&config, env, &session).map_err(|e| bad_config(&at, e))?;
    at.scope.clone_from(&scope);
    let event = event(payload, &config, env);
    let step = Step {
        event_name: text::line(&payload.hook_event_name),
        detail: payload.error.as_deref().map(text::line).unwrap_or_default(),
        scope,
        session,
        paced: false,
        host: host(),
        host_ms: clock::host_ms(),
        r: u32::try_from(clock::chance() % u64::from(R_RANGE)).unwrap_or(0),
        id: format!("{:016x}", clock::chance()),
        event,
    };
    let deadline = Instant::now() + config.budget;
    let verdict = store::open(&config, deadline).and_then(|mut store| store.step(&step)).map_err(|e| Failure {
        reason: Reason::StoreDown,
        why: e.to_string(),
        journal: at,
    })?;
    Ok(Some(Answer { event: step.event, verdict, prompt: config.prompt }))
}

/// The client's event in the policy's terms.
fn event(payload: &Payload, config: &Config, env: &Env) -> Event {
    if payload.is_subagents() {
        return Event::Other;
    }
    match payload.hook_event_name.as_str() {
        "Stop" => Event::Stop { rest: None },
        "StopFailure" => Event::StopFailure(failure::of(payload)),
        // Every trigger but a person's counts against the limits.
        "PreCompact" if payload.trigger.as_deref() != Some("manual") => Event::PreCompactAuto,
        "UserPromptSubmit" if payload.is_client_prompt() => Event::ClientPrompt,
        "UserPromptSubmit" => Event::PersonPrompt,
        "SessionStart" => Event::SessionStart {
            name: config.name.as_deref().map(text::line).unwrap_or_default(),
            label: scope::label(env).unwrap_or_default(),
        },
        "SessionEnd" => Event::SessionEnd,
        "Notification" if payload.notification_type.as_deref() == Some("permission_prompt") => Event::NeedsYou,
        _ => Event::Other,
    }
}

/// The project: what the client says, else the payload's working folder.
fn project(env: &Env, cwd: Option<&str>) -> Option<PathBuf> {
    env.claude_project_dir.clone().or_else(|| cwd.map(PathBuf::from))
}

fn host() -> String {
    text::line(&rustix::system::uname().nodename().to_string_lossy())
}

/// A hook call whose payload is not known: the environment tells what can be told.
fn unread(env: &Env, flags: &Flags, reason: Reason, why: &str) -> ExitCode {
    let session = env.claude_session_id.as_deref().and_then(|id| encoded(id, "", "").ok());
    let project = project(env, None);
    let flag = flags.arm.as_deref().and_then(Arm::from_name).map(arm::by_registration);
    let told = arm::told(env, session.as_deref(), project.as_deref()).unwrap_or(None);
    if told.or(flag) == Some(false) {
        return ExitCode::SUCCESS;
    }
    let mut at = FailureEntry { session: session.unwrap_or_default(), ..FailureEntry::default() };
    if let Ok(config) = Config::load(env, project.as_deref(), flags) {
        if !told.unwrap_or(arm::by_registration(config.arm)) {
            return ExitCode::SUCCESS;
        }
        at.fleet.clone_from(&config.fleet);
    }
    at.write(env, reason, why, "");
    reply::failed(reason, why)
}

/// Where a failure is journaled: only on this machine, since no store may be at hand.
#[derive(Debug, Clone, Default)]
struct FailureEntry {
    fleet: String,
    scope: String,
    session: String,
}

impl FailureEntry {
    fn write(&self, env: &Env, reason: Reason, why: &str, event: &str) {
        let Some(state) = env.state_dir() else { return };
        let fleet = if self.fleet.is_empty() { "default" } else { &self.fleet };
        let dir = state.join(fleet);
        let budget = Config::default().budget;
        let Ok(_lock) = embedded::lock(&dir, Instant::now() + budget, budget) else { return };
        let now = clock::host_ms();
        let (host, id) = (host(), format!("{:016x}", clock::chance()));
        let entry = Entry {
            timestamp: journal::stamp(now),
            window: &self.scope,
            status: journal::status(reason),
            next_action: "NONE",
            infrastructure_mode: journal::MODE,
            v: 1,
            scope: &self.scope,
            fleet,
            session: &self.session,
            event: &text::line(event),
            verdict: "refuse",
            reason: reason.code(),
            retry_after_ms: None,
            attempts: 0,
            strikes: 0,
            store: "none",
            degraded: false,
            host: &host,
            detail: &text::line(why),
            ms: now,
            id: &id,
        };
        if let Ok(mut journal) = LocalJournal::open(&dir) {
            let _ = journal.append(&entry.line());
        }
    }
}
