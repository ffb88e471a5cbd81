//! `frosty tell`: a wake-up whose note is a message to an agent.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::{MessageError, count, quoted};
use crate::cmd::candidates::sessions;
use crate::cmd::dispatch;
use crate::cmd::work::add;
use crate::cmd::work::adder::{self, Adder};
use crate::cmd::{Failure, PlaceArgs, out, target};
use crate::config::Config;
use crate::engine;
use crate::env::Env;
use crate::hook;
use crate::naming::Names;
use crate::policy::documents::{Phase, SessionState};
use crate::policy::request::{Event, Step};
use crate::policy::work::entry::{DEEPEST, LONGEST_TEXT};
use crate::scope;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::server::pipeline;
use crate::text;

/// The arguments of `tell`.
#[derive(Debug, Args)]
pub struct TellArgs {
    /// Send it to this agent: a session's name
    #[arg(value_name = "AGENT", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub agent: String,
    /// The message, at most 4,000 characters
    #[arg(value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub text: String,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Sends the message.
///
/// # Errors
/// When no session of the agent is open, the message is not permitted, or the store cannot be reached.
pub fn run(args: TellArgs) -> Result<(), Failure> {
    let env = Env::read();
    add::check(&args.text)?;
    let config = crate::cmd::config(&env, args.place)?;
    let sessions = FleetReader::open_to_change(&config).sessions()?;
    let agent = add::agent(&sessions, &args.agent)?;
    let sender = adder::find(&env, &config, &sessions).map(Sender::from);
    let to = match receiver(&sessions, &agent) {
        Some(to) => to,
        None if sessions.iter().any(|(_, session)| agent_of(session) == agent) => {
            return Err(MessageError::NoSession { agent: args.agent }.into());
        }
        None => target::one(&sessions, &args.agent)?,
    };
    let names = Names::of_all(&sessions);
    send(&config, sender.as_ref(), to, &args.text)?;
    let how = if engine::waits(&to.1) {
        "has the message, and goes on as its limits allow"
    } else {
        "gets it at its next stop"
    };
    out::say(&format!("{} {how}", names.name(&to.0)));
    Ok(())
}

/// The session that sends a message.
#[derive(Debug)]
pub(in crate::cmd) struct Sender {
    /// The session, encoded.
    pub(in crate::cmd) session: String,
    /// Its agent, encoded.
    pub(in crate::cmd) agent: String,
    /// Every agent that it belongs to.
    pub(in crate::cmd) agents: Vec<String>,
    /// How many sessions one after the other caused its turn.
    pub(in crate::cmd) depth: u32,
}

impl From<Adder> for Sender {
    fn from(adder: Adder) -> Self {
        let Adder { session, agent, agents, depth, .. } = adder;
        Self { session, agent, agents, depth }
    }
}

/// Returns the agent of a session.
pub(in crate::cmd) fn agent_of(session: &SessionState) -> String {
    scope::agent(&session.name, session.named_by_project, &session.scope)
}

/// Returns the session of an agent that gets its message: one that waits, else the one that was last seen.
pub(in crate::cmd) fn receiver<'s>(sessions: &'s [Session], agent: &str) -> Option<&'s Session> {
    let is_own = |(id, session): &&Session| {
        let runs = id.starts_with(dispatch::RUN) || id.starts_with(dispatch::START);
        session.phase != Phase::Ended && agent_of(session) == agent && !runs
    };
    let own = sessions.iter().filter(is_own);
    own.max_by_key(|(_, session)| (engine::waits(session), session.seen))
}

/// Wakes a session with a message. An agent's message is quoted with its origin, and counts.
pub(in crate::cmd) fn send(
    config: &Config,
    sender: Option<&Sender>,
    (id, session): &Session,
    given: &str,
) -> Result<(), Failure> {
    let Some(sender) = sender else {
        return wake(config, (id, session), text::line_of(given, LONGEST_TEXT), 0, "by a person");
    };
    let agent = agent_of(session);
    let shown = text::line(&text::decoded(&agent));
    if sender.agents.contains(&agent) {
        return Err(MessageError::ToItself { agent: shown }.into());
    }
    let depth = sender.depth.saturating_add(1);
    if depth > DEEPEST {
        return Err(MessageError::TooDeep { depth }.into());
    }
    count(config, &sender.agent, &sender.session, &agent)?;
    let by = text::line(&text::decoded(&sender.agent));
    let note = format!("{}\n{}", origin(&by), quoted(given));
    wake(config, (id, session), note, depth, &format!("a message of the agent {by}"))
}

/// Returns the line above an agent's message.
pub(in crate::cmd) fn origin(by: &str) -> String {
    format!("a message of the agent {by}, not of a person:")
}

/// Wakes a session with a note.
pub(super) fn wake(
    config: &Config,
    (id, session): (&str, &SessionState),
    note: String,
    depth: u32,
    detail: &str,
) -> Result<(), Failure> {
    let event = Event::Wake { note, spread: false, signal: None, depth };
    let step = Step { detail: detail.to_owned(), ..hook::step_of(session.scope.clone(), id.to_owned(), "Wake", event) };
    for decided in pipeline::decide(config, &[step]) {
        decided?;
    }
    Ok(())
}
