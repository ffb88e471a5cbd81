//! `frosty hook`: the hot path, top to bottom.
//!
//! stdin → [`payload`] → `config`, `arm`, `scope` → `store.step` → verdict → [`reply`] → exit code. Every
//! failure on the way ends in exit 0 with one message.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::Local;

pub(crate) mod claim;
mod client;
pub mod directive;
pub(crate) mod engine;
mod failure;
pub mod flags;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod gate;
mod local;
pub mod look;
mod memory;
mod pace;
mod pane;
mod parked;
mod patience;
pub mod payload;
pub mod prompt;
pub mod reply;
pub(crate) mod reset;
mod resume;
pub(crate) mod run;
pub(crate) mod signals;
mod start;
mod streams;
mod subscription;
pub(crate) mod terms;
mod told;
mod transcript;
mod turn_prompts;
pub(crate) mod wait;
mod watchdog;

pub use reply::Code;
pub use start::begin;

pub use crate::notify::detached::Program;

use crate::arm;
use crate::clock;
use crate::config::{Arm, Config, ConfigError, Flags, encoded};
use crate::env::Env;
use crate::hint::Problem;
use crate::notify::detached;
use crate::notify::detached::Caller;
use crate::policy::limits::Class;
use crate::policy::request::{Claim, Event, R_RANGE, Step};
use crate::policy::verdict::{Reason, Verdict};
use crate::policy::work::WorkMode;
use crate::process;
use crate::scope;
use crate::store::{self, StoreError};
use crate::text;
use local::Known;
use payload::Payload;
use prompt::Prompt;
use reply::Streams;
use terms::{EngineTerms, Terms};

/// Answers one hook call, in either of the two programs.
#[must_use]
pub fn run(flags: &Flags, program: Program) -> Code {
    let env = Env::read();
    if env.disabled() {
        return Code::ZERO;
    }
    if !flags.wait.is_zero() {
        return run_waiting(&env, flags, program);
    }
    let bytes = payload::read(io::stdin());
    let payload = match bytes.as_deref().map(payload::parse) {
        Ok(Ok(payload)) => payload,
        Ok(Err(e)) => return unread(&env, flags, Reason::BadInput, &Problem::from(&e)),
        Err(e) => return unread(&env, flags, Reason::BadInput, &Problem::from(e)),
    };
    let project = project(&env, payload.cwd());
    let mut known = Known::of(&payload);
    match prepare(&env, flags, &payload, project.as_deref(), &mut known) {
        Ok(None) => Code::ZERO,
        Ok(Some(call)) => match begin_session(&env, flags, call, &payload) {
            Some(call) => answer(&env, &known, Caller { program, flags, project: project.as_deref() }, call),
            None => Code::ZERO,
        },
        Err((reason, why)) => failed_early(&env, &known, reason, &why),
    }
}

/// Does the same as [`run`] in a process that may wait for its payload, for a readable configuration, and for
/// its admission.
#[cold]
#[inline(never)]
fn run_waiting(env: &Env, flags: &Flags, program: Program) -> Code {
    // These come before anything slow: the client that started this process, and the signals that end it.
    let (client, signals) = (client::Client::now(env), signals::Signals::listen());
    let since = Instant::now();
    let signals = match signals {
        Ok(signals) => signals,
        Err(e) => return unread(env, flags, Reason::StoreDown, &Problem::new(format!("cannot make a pipe: {e}"))),
    };
    let patience = patience::Patience::new(env, flags, &client, &signals, since);
    let bytes = match patience.payload() {
        Some(Ok(bytes)) => bytes,
        Some(Err(e)) => return unread(env, flags, Reason::BadInput, &Problem::from(&e)),
        None => return Code::ZERO,
    };
    let payload = match payload::parse(&bytes) {
        Ok(payload) => payload,
        Err(e) => return unread(env, flags, Reason::BadInput, &Problem::from(&e)),
    };
    let project = project(env, payload.cwd());
    let mut known = Known { id: patience.id.clone(), ..Known::of(&payload) };
    let call = loop {
        match prepare(env, flags, &payload, project.as_deref(), &mut known) {
            Ok(None) => return Code::ZERO,
            Ok(Some(call)) => break call,
            Err((reason, why)) if patience.waits_for(&payload, &known, reason, &why) => {}
            Err((reason, why)) => return failed_early(env, &known, reason, &why),
        }
        if !patience.goes_on(&mut known) {
            return Code::ZERO;
        }
    };
    let Some(call) = begin_session(env, flags, call, &payload) else { return Code::ZERO };
    let caller = Caller { program, flags, project: project.as_deref() };
    if !call.waits() {
        signals::let_in_alarm();
        return answer(env, &known, caller, call);
    }
    let turn_end = turn_end(&payload, &call.step.event);
    // A payload may be large and a wait long, so the payload is freed first.
    drop(bytes);
    wait_out(env, known, caller, (call, turn_end), &engine::Start { client, signals: &signals, since })
}

/// Returns the data about the turn that a Stop event ended, where the client writes a transcript.
fn turn_end(payload: &Payload<'_>, event: &Event) -> Option<engine::TurnEnd> {
    let transcript = payload.transcript_path().filter(|_| matches!(event, Event::Stop { .. }))?;
    Some(engine::TurnEnd { transcript, last_message: payload.last_message() })
}

/// Answers at once.
fn answer(env: &Env, known: &Known, caller: Caller<'_>, call: Call) -> Code {
    let watchdog = watchdog::Watchdog::arm();
    match ask(&call) {
        Ok(verdict) => {
            if verdict.degraded.is_some() && verdict.decision.fence.is_some() {
                call.mark_take_over();
            }
            if call.config.shadow {
                return Code::ZERO;
            }
            let word = told::word(&call.config.fleet, &call.step, &verdict.decision);
            if word.is_some() {
                // A notification may take longer than a verdict.
                watchdog.disarm();
            }
            let then = if verdict.admission.is_some() { detached::ADMITTED } else { detached::PLAIN };
            let code = say(&call.step.event, verdict, &call.prompt);
            if let Some(word) = word {
                detached::tell(&call.config, caller, &word, then);
            }
            code
        }
        Err(e) => {
            call.mark_take_over();
            failed(env, known, Reason::StoreDown, &Problem::from(&e))
        }
    }
}

/// Prepares a call on `SessionStart`. A hook that waits continues interrupted work or ends; the hook beside
/// it announces that. Every other call is returned unchanged.
fn begin_session(env: &Env, flags: &Flags, mut call: Call, payload: &Payload<'_>) -> Option<Call> {
    let waits = !call.wait.is_zero();
    if !matches!(call.step.event, Event::SessionStart { .. }) {
        return Some(call);
    }
    // The client's own timeout for a hook that announces is short.
    let _watchdog = (!waits).then(watchdog::Watchdog::arm);
    if !waits && !call.unattended {
        pane::end_old_hold(&call.config, env, &call.step);
    }
    if !(waits || flags.show_resume) {
        return Some(call);
    }
    let source = resume::Source::of(payload).filter(|_| !call.unattended && !call.config.shadow);
    let transcript = payload.transcript_path();
    let found = source.and_then(|source| resume::find(&call.config, env, &call.step, source, transcript.as_deref()));
    let Some(found) = found else { return (!waits).then_some(call) };
    if waits {
        call.step = found.begin(&call.config, &call.step)?;
        return Some(call);
    }
    let message = found.announcement(&call.config);
    if found.registers() {
        if let Some(message) = message {
            let _ = writeln!(io::stdout(), "{}", serde_json::json!({ "systemMessage": message }));
        }
        return None;
    }
    call.prompt.message = message;
    Some(call)
}

/// Reports a failure before any request to a store. Its journal entry is also a file on this machine.
fn failed_early(env: &Env, known: &Known, reason: Reason, why: &Problem) -> Code {
    signals::let_in_alarm();
    let _watchdog = watchdog::Watchdog::arm();
    failed(env, known, reason, why)
}

fn failed(env: &Env, known: &Known, reason: Reason, why: &Problem) -> Code {
    known.journal(env, reason, &why.to_string());
    reply::failed(reason, why)
}

fn say(event: &Event, verdict: Verdict, prompt: &Prompt) -> Code {
    let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr());
    reply::answer(event, verdict, prompt, Streams { stdout: &mut stdout, stderr: &mut stderr })
}

/// Answers a wrong command line under `hook`: it is journaled locally, with exit code 0. `manual` is whether
/// the command line still concerns only an armed session.
#[must_use]
pub fn bad_usage(why: &Problem, manual: bool) -> Code {
    let env = Env::read();
    if env.disabled() {
        return Code::ZERO;
    }
    let flags = Flags { arm: manual.then(|| "manual".to_owned()), ..Flags::default() };
    unread(&env, &flags, Reason::BadUsage, why)
}

/// One call of an armed session, ready to be sent.
struct Call {
    config: Config,
    step: Step,
    prompt: Prompt,
    /// How long a refusal is waited out; zero for the plain engine.
    wait: Duration,
    unattended: bool,
}

impl Call {
    /// Notifies an engine that listens to a server which did not receive this event.
    #[cold]
    #[inline(never)]
    fn mark_take_over(&self) {
        if self.step.event.raises_fence() && !self.step.event.begins() {
            let ended = self.step.client.filter(|_| self.step.event.ends());
            store::files::taken_over::take_over(&self.config, &self.step.session, &self.step.id, ended.as_ref());
        }
    }

    fn waits(&self) -> bool {
        !self.wait.is_zero() && !self.config.shadow && self.step.event.begins()
    }
}

/// Builds the call from the payload and the environment, or returns `None` for a session that is not armed.
/// Facts found on the way are stored in `known`.
fn prepare(
    env: &Env,
    flags: &Flags,
    payload: &Payload<'_>,
    project: Option<&Path>,
    known: &mut Known,
) -> Result<Option<Call>, (Reason, Problem)> {
    let bad_config = |e: ConfigError| (Reason::BadConfig, Problem::from(&e));
    if let Some(run) = run::of(env) {
        return run::call(env, flags, run, payload, project, known);
    }
    let session = encoded(&payload.session_id, "the payload", "session_id").map_err(bad_config)?;
    known.session.clone_from(&session);
    known.asked_to_go_on = payload.hook_event_name == "Stop" && !payload.is_subagents();
    let told = arm::told(env, Some(&session), project).map_err(bad_config)?;
    if told.or(by_flag(flags)) == Some(false) {
        return Ok(None);
    }
    // In an unattended run the client waits for the engine, so such a run must opt in with `FROSTY_ON=print`.
    // Without that none of its events counts, not even towards the limits of an attended window of the same
    // conversation.
    let unattended = env.unattended();
    // A run inside a session of the dispatcher inherits its variables, and is no part of its work.
    if unattended && (env.on.as_deref() != Some("print") || env.is_nested_in_start(&payload.session_id)) {
        return Ok(None);
    }
    let Some(mut config) = armed(env, flags, told, project)? else { return Ok(None) };
    known.fleet.clone_from(&config.fleet);
    let scope = scope::settle(&mut config, env, &session).map_err(bad_config)?;
    known.scope.clone_from(&scope);
    let mut prompt = Prompt { scope: scope.clone(), ..Prompt::default() };
    prompt.adopt(&config);
    let waits = !flags.wait.is_zero();
    prompt.waits = waits;
    prompt.works = !waits && config.policy.work.mode != WorkMode::Off;
    let mut notes = Vec::new();
    let event = event(payload, &config, env, waits, (&mut prompt.answer, &mut notes));
    let detail = match &event {
        Event::StopFailure(failure) if !failure.cure.is_empty() => text::line(&failure.cure),
        _ => payload.error().as_deref().map(text::line).unwrap_or_else(|| prompt.answer.clone()),
    };
    let paced = waits && event.asks() != Some(Class::Compact);
    let name = config.name.as_deref().map(text::line).unwrap_or_default();
    let shadow = config.shadow;
    // An engine in shadow mode exits at once.
    let pid = (waits && !shadow).then(process::own);
    let (client, claim) = (claim::client_of(env, &event, waits), claim::of(&event, unattended));
    let project = project.map(|dir| text::line_of(&dir.to_string_lossy(), text::LONGEST_FOLDER)).unwrap_or_default();
    let agent = scope::agent(&name, config.named_by_project, &scope);
    let step = Step {
        detail,
        agent,
        paced,
        shadow,
        pid,
        client,
        claim,
        name,
        named_by_project: config.named_by_project,
        project,
        wake_on: config.wake_on.clone(),
        notes,
        recalls: !waits && recalls(payload),
        ..step_of(scope, session, &payload.hook_event_name, event)
    };
    Ok(Some(Call { config, step, prompt, wait: flags.wait, unattended }))
}

/// Returns whether the agent's context is about to lose what it contains, or has lost it.
fn recalls(payload: &Payload<'_>) -> bool {
    match payload.hook_event_name.as_str() {
        "PreCompact" => !payload.is_subagents(),
        "SessionStart" => matches!(payload.source().as_deref(), Some("compact" | "resume")),
        _ => false,
    }
}

/// Returns the configuration of a session that is armed. `told` is the setting of its switches.
fn armed(
    env: &Env,
    flags: &Flags,
    told: Option<bool>,
    project: Option<&Path>,
) -> Result<Option<Config>, (Reason, Problem)> {
    let config = match Config::load(env, project, flags) {
        Ok(config) => config,
        // A project's broken file must cause no output in a session that the user's own configuration leaves
        // alone.
        Err(_) if told.or_else(|| by_own_configuration(env, flags)) == Some(false) => return Ok(None),
        Err(e) => return Err((Reason::BadConfig, Problem::from(&e))),
    };
    Ok(told.unwrap_or(config.arm == Arm::Always).then_some(config))
}

/// Builds a step of this session at the present time.
pub(crate) fn step_of(scope: String, session: String, name: &str, event: Event) -> Step {
    Step {
        event_name: text::line(name),
        detail: String::new(),
        scope,
        session,
        name: String::new(),
        named_by_project: false,
        project: String::new(),
        wake_on: None,
        paced: false,
        shadow: false,
        pid: None,
        client: None,
        claim: Claim::Beside,
        late: None,
        start: None,
        host: clock::host(),
        host_ms: clock::host_ms(),
        r: u32::try_from(clock::chance() % u64::from(R_RANGE)).unwrap_or(0),
        id: clock::id(),
        turn: None,
        notes: Vec::new(),
        cache_is_warm: None,
        recalls: false,
        known_epoch: String::new(),
        agent: String::new(),
        event,
    }
}

/// Sends the request to the store once.
fn ask(call: &Call) -> Result<Verdict, StoreError> {
    let mut store = store::open(&call.config, Instant::now() + call.config.budget)?;
    let verdict = claim::step(&mut *store, &call.step);
    // The process is about to end, and freeing its memory piece by piece would only delay that.
    std::mem::forget(store);
    verdict
}

/// Waits until the session is admitted. Prints nothing when it is not.
#[cold]
#[inline(never)]
fn wait_out(
    env: &Env,
    mut known: Known,
    caller: Caller<'_>,
    (call, turn_end): (Call, Option<engine::TurnEnd>),
    start: &engine::Start<'_>,
) -> Code {
    let Call { mut config, mut step, mut prompt, wait, unattended } = call;
    let rest = match &step.event {
        Event::Stop { rest } => rest.clone(),
        _ => None,
    };
    known.waits = true;
    let session = step.session.clone();
    let mut standing = EngineTerms::new(env, caller.flags, &session, caller.project);
    let mut seen = engine::Seen::new(&config, &session);
    seen.turn_end = turn_end;
    let bounds = |config: &Config| {
        let most = if unattended { wait.min(config.print_wait) } else { wait };
        wait::Bounds::of(start.since, most, unattended)
    };
    // The session is marked if its payload or its configuration arrived late.
    let marked = start.since.elapsed() > wait::LATEST;
    let mut wait = wait::Wait::new(bounds(&config), step.event.asks().is_some(), unattended, marked);
    loop {
        let engine = engine::Engine {
            config: &config,
            env,
            known: &known,
            caller,
            start,
            standing: &mut standing,
            seen: &mut seen,
            begin: step.clone(),
            is_gate: false,
        };
        match engine.run(&mut wait) {
            engine::Ended::Over(_) => return Code::ZERO,
            engine::Ended::Admitted(admitted) => {
                prompt.rest = match &step.event {
                    Event::Resume { .. } => step.detail.clone(),
                    _ => admitted.paused.map(|refused| prompt::paused(&refused, rest.as_ref())).unwrap_or_default(),
                };
                let word = told::word(&config.fleet, &step, &admitted.verdict.decision);
                let code = say(&Event::Stop { rest: None }, admitted.verdict, &prompt);
                if let Some(word) = word {
                    detached::tell(&config, caller, &word, detached::ADMITTED);
                }
                // The file stays locked until the process has ended. A switch returns only after that.
                std::mem::forget(admitted.kept);
                return code;
            }
            engine::Ended::Changed(terms) => {
                let Terms { config: new, scope } = *terms;
                if config.fleet != new.fleet {
                    seen.moves(&new, &session);
                }
                let elsewhere = config.fleet != new.fleet || config.store != new.store || step.scope != scope;
                wait.moves(bounds(&new), elsewhere);
                step.name = new.name.as_deref().map(text::line).unwrap_or_default();
                step.wake_on.clone_from(&new.wake_on);
                prompt.adopt(&new);
                (known.fleet, known.scope) = (new.fleet.clone(), scope.clone());
                (step.scope, prompt.scope) = (scope.clone(), scope);
                config = new;
            }
        }
    }
}

/// Returns the client's event in the policy's terms.
///
/// The answer to the agent's own directive is stored in `answer`, and its notes in `notes`.
fn event(
    payload: &Payload<'_>,
    config: &Config,
    env: &Env,
    waits: bool,
    (answer, notes): (&mut String, &mut Vec<String>),
) -> Event {
    if payload.is_subagents() {
        return Event::Other;
    }
    match payload.hook_event_name.as_str() {
        "Stop" => {
            let said = payload.last_message().map(|m| directive::read(&m, Local::now)).unwrap_or_default();
            (*answer, *notes) = (said.answer, said.notes);
            Event::Stop { rest: said.rest.or_else(|| parked::rest(payload, waits.then_some(config.park_max))) }
        }
        "StopFailure" => Event::StopFailure(failure::of(payload)),
        // Every trigger except a person's counts against the limits.
        "PreCompact" if !payload.is_manual() => Event::PreCompactAuto,
        "UserPromptSubmit" if payload.is_client_prompt() => {
            Event::ClientPrompt { of_admission: payload.is_hook_feedback() }
        }
        "UserPromptSubmit" => match env.start_token() {
            Some(token) => Event::StartPrompt { token: token.to_owned() },
            None => Event::PersonPrompt,
        },
        "SessionStart" => Event::SessionStart { label: scope::label(env).unwrap_or_default() },
        // The supervisor sends no reason of its own.
        "SessionEnd" if env.claude_job_dir.is_some() && payload.reason().as_deref() == Some("other") => Event::Sleep,
        "SessionEnd" => Event::SessionEnd,
        "Notification" if payload.needs_permission() => Event::NeedsYou,
        _ => Event::Other,
    }
}

/// Returns the project: the client's value, else the payload's working directory.
fn project(env: &Env, cwd: Option<String>) -> Option<PathBuf> {
    env.claude_project_dir.clone().or_else(|| cwd.map(PathBuf::from))
}

/// Returns whether the registration itself arms the session. It takes precedence over every file.
fn by_flag(flags: &Flags) -> Option<bool> {
    Some(Arm::from_name(flags.arm.as_deref()?)? == Arm::Always)
}

/// Returns whether the configuration without the project's file arms the session, or `None` when it cannot be
/// read either.
fn by_own_configuration(env: &Env, flags: &Flags) -> Option<bool> {
    Some(Config::load(env, None, flags).ok()?.arm == Arm::Always)
}

/// Answers a hook call without a known payload, from the environment alone.
fn unread(env: &Env, flags: &Flags, reason: Reason, why: &Problem) -> Code {
    if is_left_alone(env, flags) {
        return Code::ZERO;
    }
    let fleet = Config::load(env, project(env, None).as_deref(), flags).map(|c| c.fleet).unwrap_or_default();
    let known = Known { fleet, session: own_session(env).unwrap_or_default(), id: clock::id(), ..Known::default() };
    failed_early(env, &known, reason, why)
}

/// Returns whether the session is not armed, as far as the environment shows.
fn is_left_alone(env: &Env, flags: &Flags) -> bool {
    let told = arm::told(env, own_session(env).as_deref(), project(env, None).as_deref()).unwrap_or(None);
    told.or(by_flag(flags)).or_else(|| by_own_configuration(env, flags)) == Some(false)
}

fn own_session(env: &Env) -> Option<String> {
    env.claude_session_id.as_deref().and_then(|id| encoded(id, "", "").ok())
}
