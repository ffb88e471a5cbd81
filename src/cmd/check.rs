//! `frosty check`: shows the verdict that `frosty hook` would give, without a request and without writing anything.

use crate::cmd::HookArgs;
use crate::hint::{Hint, Problem};
use clap::Args;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::{Failure, out};
use crate::duration;
use crate::env::Env;
use crate::hook::look::{self, HookRequest, Looked};
use crate::journal;
use crate::naming;
use crate::policy::decision;
use crate::policy::decision::State;
use crate::policy::limits::{Class, millis};
use crate::policy::request::Event;
use crate::policy::verdict::{Decision, Outcome, Reason};
use crate::store::fleet_reader::FleetReader;
use crate::store::{StoreError, files, server};
use crate::text;
use crate::view::forecast::Foreseen;
use crate::view::sessions::screen;
use crate::view::wrap;

/// The flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The flags of the `frosty hook` call.
    #[command(flatten)]
    pub hook: HookArgs,
}

/// A call that works everywhere.
const SAMPLE: &str = "echo '{\"session_id\":\"test\",\"hook_event_name\":\"Stop\"}' | frosty check";
/// The indent of a continued line.
const INDENT: usize = 2;
const SHADOW: &str = "shadow mode: the verdict is only journaled, and does not reach the client";

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The standard input is a terminal.
    #[error("the standard input is a terminal; expected the JSON of one hook call")]
    NoPayload,
}

impl Hint for CheckError {
    fn hint(&self) -> Option<String> {
        Some(SAMPLE.to_owned())
    }
}

/// The answer that the hook would give.
#[derive(Debug, Default, Serialize)]
struct Answer {
    /// The exit code; `None` where the hook would wait instead of exiting.
    would_exit: Option<u8>,
    armed: bool,
    event: String,
    verdict: &'static str,
    reason: &'static str,
    why: String,
    retry_after_ms: Option<i64>,
    attempts: u32,
    strikes: u32,
    scope: String,
    session: String,
    /// The session's shown name.
    shown: String,
    fleet: String,
    store: &'static str,
    degraded: bool,
    note: String,
}

/// Shows the answer to the call on the standard input.
///
/// # Errors
/// When the standard input is a terminal.
pub fn run(args: CheckArgs) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Err(CheckError::NoPayload.into());
    }
    let env = Env::read();
    let answer = match look::look(&env, &args.hook.flags()) {
        Looked::Unarmed(why) => {
            Answer { would_exit: Some(0), verdict: "none", reason: "unarmed", why, ..Answer::default() }
        }
        Looked::Fails(Reason::BadInput, why) => fails(Reason::BadInput, &why.with_hint(SAMPLE)),
        Looked::Fails(reason, why) => fails(reason, &why),
        Looked::Asks(asked) => asks(&asked),
    };
    let mut out = out::stdout();
    // A closed pipe is no failure of the check.
    let _ = if args.json {
        writeln!(out, "{}", serde_json::to_string(&answer).unwrap_or_default())
    } else {
        out.write_all(lines(&answer, screen::columns(io::stdout())).as_bytes())
    };
    Ok(())
}

fn fails(reason: Reason, why: &Problem) -> Answer {
    let why = text::line_of(&why.to_string(), 2000);
    Answer { would_exit: Some(0), armed: true, verdict: "none", reason: reason.code(), why, ..Answer::default() }
}

fn asks(asked: &HookRequest) -> Answer {
    let (config, step) = (&asked.config, &asked.step);
    let foreseen = FleetReader::open(config).foresee(&step.scope, &step.session);
    let whose = Answer {
        armed: true,
        event: step.event_name.clone(),
        scope: step.scope.clone(),
        session: step.session.clone(),
        fleet: config.fleet.clone(),
        ..Answer::default()
    };
    let foreseen = match foreseen {
        Ok(foreseen) => foreseen,
        Err(e) => {
            let Answer { would_exit, verdict, reason, why, .. } = down(&e);
            return Answer { would_exit, verdict, reason, why, ..whose };
        }
    };
    let Foreseen { mut state, now, by_files, away, note } = foreseen;
    let away = away.map(|why| format!("the server does not decide: {}", text::line_of(&why.to_string(), 2000)));
    let shadow = step.shadow.then(|| SHADOW.to_owned());
    let notes = [shadow, away.clone(), Some(note)].into_iter().flatten().filter(|note| !note.is_empty());
    let note = notes.collect::<Vec<_>>().join("; ");
    let decided = decision::step(&config.policy, &mut state, step, now);
    Answer {
        shown: naming::shown(&step.session, &state.session),
        would_exit: asked.would_exit(&decided),
        verdict: decided.outcome.code(),
        reason: decided.reason.code(),
        why: why(&decided, asked, &state),
        retry_after_ms: decided.retry_after.map(millis),
        attempts: decided.attempts,
        strikes: decided.strikes,
        store: if by_files { files::NAME } else { server::NAME },
        degraded: away.is_some(),
        note,
        ..whose
    }
}

fn down(e: &StoreError) -> Answer {
    fails(Reason::StoreDown, &e.into())
}

/// Explains the verdict; `state` is the state after the request.
fn why(decided: &Decision, asked: &HookRequest, state: &State) -> String {
    let limits = asked.config.policy.class(asked.step.event.asks().unwrap_or(Class::Stop));
    match (asked.step.event.asks(), decided.outcome) {
        (None, _) if matches!(asked.step.event, Event::StopFailure(_)) => {
            let hold = state.scope.hold.as_ref().filter(|hold| hold.holds(decided.now));
            let opened = hold.map_or_else(
                || "the cooldown after API errors is open".to_owned(),
                |hold| format!("held by {}: {}", text::line(&hold.by), text::line(&hold.reason)),
            );
            let then = if asked.waits { "; the engine waits that out, and then sends a request" } else { "" };
            format!("the API error is recorded: {opened}{then}")
        }
        (None, _) => "no request is made: the event is journaled".to_owned(),
        (_, Outcome::Admit) if decided.reason == Reason::Probe => decided.reason.words().to_owned(),
        (_, Outcome::Admit) => "no limit applies".to_owned(),
        _ if decided.reason == Reason::MinInterval => {
            format!("{} (min_interval is {})", journal::why(decided), duration::show(limits.min_interval))
        }
        _ => journal::why(decided),
    }
}

/// Returns the session's name, and its id where that is not its name.
fn session(answer: &Answer) -> String {
    let Answer { session, shown, .. } = answer;
    if shown.is_empty() || shown == session { session.clone() } else { format!("{shown} ({session})") }
}

fn lines(answer: &Answer, columns: Option<usize>) -> String {
    let would_exit = answer.would_exit.map_or_else(|| "none, it would wait".to_owned(), |code| code.to_string());
    let retry = answer.retry_after_ms.and_then(|ms| u64::try_from(ms).ok()).map(std::time::Duration::from_millis);
    let store = if answer.degraded {
        format!("{}, in place of an unreachable server", answer.store)
    } else {
        answer.store.to_owned()
    };
    let (why, hint) = answer.why.split_once("; hint: ").unwrap_or((&answer.why, ""));
    let number = |n: u32| if answer.store.is_empty() { String::new() } else { n.to_string() };
    let all = [
        ("would_exit", would_exit),
        ("verdict", answer.verdict.to_owned()),
        ("reason", answer.reason.to_owned()),
        ("why", why.to_owned()),
        ("hint", hint.to_owned()),
        ("retry_after", retry.map_or_else(String::new, duration::about)),
        ("attempts", number(answer.attempts)),
        ("strikes", number(answer.strikes)),
        ("event", answer.event.clone()),
        ("scope", answer.scope.clone()),
        ("session", session(answer)),
        ("fleet", answer.fleet.clone()),
        ("store", store),
        ("armed", if answer.armed { "yes" } else { "no" }.to_owned()),
        ("note", answer.note.clone()),
    ];
    let said = all.iter().filter(|(_, value)| !value.is_empty());
    let columns = columns.unwrap_or(usize::MAX);
    let line = |name: &str, value: &str| match name {
        // A command is pasted, and so it stays whole.
        "hint" => value.to_owned(),
        _ => wrap::words_of(value, name.len() + 2, INDENT, columns),
    };
    said.map(|(name, value)| format!("{name}: {}\n", line(name, value))).collect()
}
