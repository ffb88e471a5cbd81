//! `frosty work add`.

use chrono::Local;

use super::adder::{self, Adder};
use super::{AddArgs, WorkError};
use crate::clock;
use crate::cmd::target::TargetError;
use crate::cmd::{Failure, TimeError, out, target};
use crate::config::encoded;
use crate::engine;
use crate::env::Env;
use crate::hook;
use crate::local_time;
use crate::naming::Names;
use crate::policy::documents::Phase;
use crate::policy::limits::{Ms, millis};
use crate::policy::request::{Event, Step};
use crate::policy::work::entry::{DEEPEST, LONGEST_TEXT, Priority, WorkEntry, is_id};
use crate::policy::work::queue::of;
use crate::scope;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::work::{self, Change, Changed};
use crate::text;

/// Adds an entry to the queue of an agent.
pub(super) fn run(args: AddArgs) -> Result<(), Failure> {
    let env = Env::read();
    let length = args.text.chars().count();
    if length > LONGEST_TEXT {
        return Err(WorkError::TooLong { found: length }.into());
    }
    if text::prompt(&args.text, LONGEST_TEXT).trim().is_empty() {
        return Err(WorkError::Blank.into());
    }
    if let Some(id) = args.id.as_ref().filter(|id| !is_id(id)) {
        return Err(WorkError::BadId { found: text::line(id) }.into());
    }
    let delay = delay(&args)?;
    let config = crate::cmd::config(&env, args.place)?;
    let sessions = FleetReader::open_to_change(&config).sessions()?;
    let agent = agent(&sessions, &args.to)?;
    let adder = adder::find(&env, &sessions);
    let priority = args.priority.priority();
    let depth = adder.as_ref().map_or(Ok(0), |adder| permitted(adder, &agent, priority))?;
    let by = adder.as_ref().map(|adder| adder.agent.as_str());
    let (id, given) = (args.id.unwrap_or_default(), text::prompt(&args.text, LONGEST_TEXT));
    let entry = WorkEntry {
        id: id.clone(),
        text: given,
        priority,
        by: by.unwrap_or_default().to_owned(),
        depth,
        ..WorkEntry::default()
    };
    let detail = match by {
        Some(by) => format!("{} by the agent {by}", priority.code()),
        None => format!("{} by {}", priority.code(), crate::cmd::origin::by()),
    };
    let session = adder.as_ref().map(|adder| adder.session.clone()).unwrap_or_default();
    let step = Step { detail, ..hook::step_of(String::new(), session, "WorkAdd", Event::Other) };
    let change = Change { agent: &agent, id: &id, by, step: &step };
    let added = work::change(&config, &change, |Changed { work, record, own, now }| {
        if record.is_some() {
            return Ok(None);
        }
        if own.is_some_and(|own| !own.note_added(now)) {
            return Err(WorkError::DailyBound { agent: by.unwrap_or_default().to_owned() });
        }
        let before = of(&work.queue.waiting, priority);
        let at = delay.map(|delay| now.saturating_add(delay));
        Ok(Some((work.add(entry.clone(), at, now), before, at, now)))
    })??;
    let Some((entry, before, at, now)) = added else {
        out::say(&format!("an entry with the id {} was added before; nothing was added", text::line(&id)));
        return Ok(());
    };
    out::say(&format!("added {} for {}: {}", entry.id, text::line(&agent), waits(before, priority, at, now)));
    out::say(&claimed_by(&sessions, &agent));
    Ok(())
}

fn delay(args: &AddArgs) -> Result<Option<Ms>, Failure> {
    let Some(time) = &args.at else { return Ok(args.after.map(millis)) };
    let until = crate::when::until(time, &Local::now());
    until.map(|until| Some(millis(until))).ok_or_else(|| TimeError::At { found: text::line(time) }.into())
}

/// Returns the agent that a word names: one with this name, else the agent of the session that it names, else one to come.
///
/// A name that a project's file chose names no agent, so that no repository takes the work of another agent.
pub(super) fn agent(sessions: &[Session], word: &str) -> Result<String, Failure> {
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
    let depth = adder.work.as_ref().map_or(0, |work| work.depth).saturating_add(1);
    if depth > DEEPEST { Err(WorkError::TooDeep { depth }) } else { Ok(depth) }
}

/// Describes when a new entry can be claimed.
fn waits(before: u64, priority: Priority, at: Option<Ms>, now: Ms) -> String {
    let priority = priority.code();
    match (at.filter(|at| *at > now), before) {
        (Some(at), _) => format!("{priority}, from {} on", local_time::zoned(at, now)),
        (None, 0) => format!("{priority}, the first of its priority"),
        (None, 1) => format!("{priority}, after 1 other of its priority"),
        (None, n) => format!("{priority}, after {n} others of its priority"),
    }
}

/// Describes which session claims the entry.
fn claimed_by(sessions: &[Session], agent: &str) -> String {
    let is_agents =
        |(_, s): &&Session| s.phase == Phase::Open && scope::agent(&s.name, s.named_by_project, &s.scope) == agent;
    let own: Vec<&Session> = sessions.iter().filter(is_agents).collect();
    let names = Names::of_all(sessions);
    let waiting = own.iter().find(|(_, session)| session.work.is_none() && engine::waits(session));
    match (waiting, own.first()) {
        (Some((id, _)), _) => format!("{} waits, and claims work if its `work` is on", names.name(id)),
        (None, Some((id, _))) => format!("{} claims work at its next stop, if its `work` is on", names.name(id)),
        (None, None) => "no session of this agent is known yet".to_owned(),
    }
}

/// Returns this machine's clock, for ages that are shown.
pub(super) fn now() -> Ms {
    clock::host_ms()
}
