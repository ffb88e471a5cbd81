//! `frosty work add`.

use chrono::Local;

use super::adder::{self, Adder};
use super::{AddArgs, WorkError, cover};
use crate::clock;
use crate::cmd::target::TargetError;
use crate::cmd::{Failure, TimeError, out, target};
use crate::config::{Config, Route, encoded};
use crate::engine;
use crate::env::Env;
use crate::hook;
use crate::local_time;
use crate::naming::Names;
use crate::policy::documents::{Phase, SessionState};
use crate::policy::limits::{Ms, millis};
use crate::policy::request::{Event, Step};
use crate::policy::rest::RestKind;
use crate::policy::work::entry::{DEEPEST, LONGEST_TEXT, Priority, WorkEntry, is_id, is_model};
use crate::policy::work::question::Question;
use crate::policy::work::queue::of;
use crate::scope;
use crate::store::StoreError;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::work::{self, Change, Changed};
use crate::text;

/// An entry to add.
pub(in crate::cmd) struct NewEntry<'n> {
    /// The text.
    pub(in crate::cmd) text: &'n str,
    /// The priority.
    pub(in crate::cmd) priority: Priority,
    /// The id, where the caller chose one.
    pub(in crate::cmd) id: Option<String>,
    /// The model for the entry; empty for the session's own.
    pub(in crate::cmd) model: String,
    /// How long the entry waits first.
    pub(in crate::cmd) delay: Option<Ms>,
    /// The question that it is.
    pub(in crate::cmd) question: Option<Question>,
}

/// What adding an entry did.
enum Added {
    /// The entry was added, with its place in the queue.
    New(Place),
    /// An entry with its id was there.
    Before,
    /// The entry was added, and the answer to that was lost.
    Again,
}

/// The place of a new entry.
struct Place {
    before: u64,
    at: Option<Ms>,
    now: Ms,
}

/// Adds an entry to the queue of an agent.
pub(super) fn run(args: AddArgs) -> Result<(), Failure> {
    let env = Env::read();
    check(&args.text)?;
    if let Some(id) = args.id.as_ref().filter(|id| !is_id(id)) {
        return Err(WorkError::BadId { found: text::line(id) }.into());
    }
    if let Some(model) = args.model.as_ref().filter(|model| !is_model(model)) {
        return Err(WorkError::BadModel { found: text::line(model) }.into());
    }
    let delay = delay(&args)?;
    let config = crate::cmd::config(&env, args.place)?;
    let sessions = FleetReader::open_to_change(&config).sessions()?;
    let (agent, aside) = match config.routes.iter().find(|route| route.topic.as_ref() == Some(&args.to)) {
        None => (agent(&sessions, &args.to)?, String::new()),
        Some(route) => match cover::receiver(&config, route)? {
            (agent, false) => (agent, String::new()),
            (cover, true) => (cover, format!(", since {} is held", text::line(&route.to))),
        },
    };
    let adder = adder::find(&env, &config, &sessions);
    let priority = args.priority.priority();
    let model = args.model.unwrap_or_default();
    let new = NewEntry { text: &args.text, priority, id: args.id, model, delay, question: None };
    let (id, added) = put(&config, adder.as_ref(), &agent, new)?;
    let (shown, of) = (text::line(&id), text::line(&text::decoded(&agent)));
    match added {
        Added::Before => {
            out::say(&format!("an entry with the id {shown} was added before; nothing was added"));
            return Ok(());
        }
        Added::Again => out::say(&format!("added {shown} for {of}{aside}")),
        Added::New(place) => out::say(&format!("added {shown} for {of}{aside}: {}", waits(&place, priority))),
    }
    out::say(&claimed_by(&config, &sessions, &agent));
    Ok(())
}

/// Checks the length of a text, and whether a character of it is shown.
pub(in crate::cmd) fn check(given: &str) -> Result<(), WorkError> {
    let length = given.chars().count();
    if length > LONGEST_TEXT {
        return Err(WorkError::TooLong { found: length });
    }
    if text::prompt(given, LONGEST_TEXT).trim().is_empty() { Err(WorkError::Blank) } else { Ok(()) }
}

/// Adds a question to the queue of an agent, and returns its id.
pub(in crate::cmd) fn ask(
    config: &Config,
    adder: Option<&Adder>,
    agent: &str,
    text: &str,
    question: Question,
) -> Result<String, Failure> {
    let (id, model, question) = (None, String::new(), Some(question));
    let new = NewEntry { text, priority: Priority::Normal, id, model, delay: None, question };
    Ok(put(config, adder, agent, new)?.0)
}

/// Adds an entry to the queue of an agent, under an id that it has before the first attempt: where the answer is lost, the
/// second attempt adds nothing twice.
fn put(config: &Config, adder: Option<&Adder>, agent: &str, new: NewEntry<'_>) -> Result<(String, Added), Failure> {
    let NewEntry { text: given, priority, id, model, delay, question } = new;
    let depth = adder.map_or(Ok(0), |adder| permitted(adder, agent, priority))?;
    let by = adder.map(|adder| adder.agent.as_str());
    let is_chosen = id.is_some();
    let id = id.unwrap_or_else(|| own_id(agent));
    // A question ends by its reply.
    let ack_turn = question.is_none() && route_of(config, agent).is_some_and(|route| route.ack_turn);
    let entry = WorkEntry {
        id: id.clone(),
        text: text::prompt(given, LONGEST_TEXT),
        priority,
        by: by.unwrap_or_default().to_owned(),
        depth,
        model,
        ack_turn,
        question: question.map(|question| Question { depth, ..question }),
        ..WorkEntry::default()
    };
    let detail = match by {
        Some(by) => format!("{} by the agent {by}", priority.code()),
        None => format!("{} by {}", priority.code(), crate::cmd::origin::by()),
    };
    let session = adder.map(|adder| adder.session.clone()).unwrap_or_default();
    let step = Step { detail, ..hook::step_of(String::new(), session, "WorkAdd", Event::Other) };
    let change = Change { agent, id: &id, by, step: &step };
    let attempt = || {
        work::change(config, &change, |Changed { work, record, own, now }| {
            if record.is_some() {
                return Ok(None);
            }
            if own.is_some_and(|own| !own.note_added(now)) {
                return Err(WorkError::DailyBound { agent: text::line(&text::decoded(by.unwrap_or_default())) });
            }
            let before = of(&work.queue.waiting, priority);
            let at = delay.map(|delay| now.saturating_add(delay));
            work.add(entry.clone(), at, now);
            Ok(Some(Place { before, at, now }))
        })
    };
    let (added, is_second) = match attempt() {
        Err(StoreError::TimedOut { .. } | StoreError::Unreachable { .. } | StoreError::Nonsense { .. }) => {
            (attempt()??, true)
        }
        first => (first??, false),
    };
    let added = match added {
        Some(place) => Added::New(place),
        None if is_second && !is_chosen => Added::Again,
        None => Added::Before,
    };
    Ok((id, added))
}

/// Returns an id that no other entry has.
fn own_id(agent: &str) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let chance = clock::chance();
    let digit = |n: u32| DIGITS.get((chance >> (5 * n)) as usize % DIGITS.len()).copied().map_or('a', char::from);
    format!("{agent}:{}", (0..6).map(digit).collect::<String>())
}

fn delay(args: &AddArgs) -> Result<Option<Ms>, Failure> {
    let Some(time) = &args.at else { return Ok(args.after.map(millis)) };
    let until = crate::when::until(time, &Local::now());
    until.map(|until| Some(millis(until))).ok_or_else(|| TimeError::At { found: text::line(time) }.into())
}

/// Returns the agent that a word names: one with this name, else the agent of the session that it names, else one to come.
///
/// A name that a project's file chose names no agent, so that no repository takes the work of another agent.
pub(in crate::cmd) fn agent(sessions: &[Session], word: &str) -> Result<String, Failure> {
    let name = encoded(word, crate::config::COMMAND_LINE, "--to")?;
    let is_name = |(_, session): &Session| session.name == word && !session.named_by_project;
    if sessions.iter().any(is_name) {
        return Ok(name);
    }
    let own: Vec<Session> = sessions.iter().filter(|(_, s)| !(s.named_by_project && s.name == word)).cloned().collect();
    match target::one(&own, word) {
        Ok((_, session)) => Ok(scope::agent(&session.name, session.named_by_project, &session.scope)),
        Err(TargetError::Unknown { .. }) => Ok(name),
        Err(several) => Err(several.into()),
    }
}

/// Returns the depth of an entry that a session adds, where it may.
fn permitted(adder: &Adder, agent: &str, priority: Priority) -> Result<u32, WorkError> {
    if priority == Priority::High {
        return Err(WorkError::HighBySession);
    }
    if adder.agents.iter().any(|own| own == agent) {
        return Err(WorkError::ToItself { agent: text::line(agent) });
    }
    let depth = adder.depth.saturating_add(1);
    if depth > DEEPEST { Err(WorkError::TooDeep { depth }) } else { Ok(depth) }
}

/// Describes when a new entry can be claimed.
fn waits(place: &Place, priority: Priority) -> String {
    let priority = priority.code();
    match (place.at.filter(|at| *at > place.now), place.before) {
        (Some(at), _) => format!("{priority}, from {} on", local_time::zoned(at, place.now)),
        (None, 0) => format!("{priority}, the first of its priority"),
        (None, 1) => format!("{priority}, after 1 other of its priority"),
        (None, n) => format!("{priority}, after {n} others of its priority"),
    }
}

/// Returns the route by which the dispatcher works through the queue of an agent, where there is one.
pub(in crate::cmd) fn route_of<'c>(config: &'c Config, agent: &str) -> Option<&'c Route> {
    config.routes.iter().find(|route| route.works() && text::encode(&route.to) == agent)
}

/// Describes which session claims the entry.
pub(in crate::cmd) fn claimed_by(config: &Config, sessions: &[Session], agent: &str) -> String {
    let route = route_of(config, agent);
    let is_agents =
        |(_, s): &&Session| s.phase == Phase::Open && scope::agent(&s.name, s.named_by_project, &s.scope) == agent;
    let own: Vec<&Session> = sessions.iter().filter(is_agents).collect();
    let names = Names::of_all(sessions);
    let rests = |session: &SessionState| session.rest.as_ref().is_some_and(|rest| rest.kind == RestKind::NoWork);
    let waiting = own.iter().find(|(_, session)| session.work.is_none() && engine::waits(session));
    match (waiting, own.first()) {
        // The dispatcher sees which sessions live.
        (None, _) if route.is_some_and(|route| route.session.is_some()) => {
            "frosty dispatch starts a session for it, where none is there".to_owned()
        }
        (None, _) if route.is_some() => "frosty dispatch runs the program of its route".to_owned(),
        (Some((id, session)), _) if rests(session) => format!("{} waits for work, and claims it", names.name(id)),
        (Some((id, _)), _) => format!("{} waits, and claims work where its FROSTY_WORK is not off", names.name(id)),
        (None, Some((id, _))) => {
            format!("{} claims work at its next stop, where its FROSTY_WORK is not off", names.name(id))
        }
        (None, None) => "no session of this agent is known yet".to_owned(),
    }
}

/// Returns this machine's clock, for ages that are shown.
pub(super) fn now() -> Ms {
    clock::host_ms()
}
