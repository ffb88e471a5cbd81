//! Work queues for commands: one change of a queue, and what a queue contains.
//!
//! A server's queue is changed on the server alone: while it cannot be reached, a change fails and nothing is lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{Value, cmd};

use crate::clock;
use crate::config::Config;
use crate::journal::Entry;
use crate::policy::decision;
use crate::policy::limits::Ms;
use crate::policy::process::Process;
use crate::policy::request::Step;
use crate::policy::verdict::{Decision, Outcome, Reason};
use crate::policy::work::entry::{List, WorkEntry, can_be_known};
use crate::policy::work::queue::{InHand, Queue};
use crate::policy::work::{Move, Record, WorkState};
use crate::process::{self, ProcessStatus};
use crate::store::StoreError;
use crate::store::files::transaction::{self, Transaction};
use crate::store::files::work::QueueFile;
use crate::store::files::{self as local, paths};
use crate::store::fleet_reader::FleetReader;
use crate::store::server::commit::{COMMIT, Commit, Committed, committed};
use crate::store::server::connection::Link;
use crate::store::server::document::Document;
use crate::store::server::keys::Keys;
use crate::store::server::load::{document, get, time};
use crate::store::server::work as remote;
use crate::store::server::{NAME, changes};
use crate::text;

/// How long a command tries to change a queue that others change too.
const WITHIN: Duration = Duration::from_secs(5);

/// A change of a queue: what it concerns, and its entry in the journal.
pub struct Change<'c> {
    /// The agent, encoded.
    pub agent: &'c str,
    /// The id of the entry that it concerns; empty for a new entry without an id of its own.
    pub id: &'c str,
    /// The agent of the session that makes the change, encoded; `None` for a person.
    pub by: Option<&'c str>,
    /// The step for the journal.
    pub step: &'c Step,
}

/// The data that a change works on.
pub struct Changed<'s> {
    /// The queue.
    pub work: &'s mut WorkState,
    /// What is known by the entry's id.
    pub record: Option<&'s Record>,
    /// The queue of the session's own agent, where a session makes the change.
    pub own: Option<&'s mut Queue>,
    /// The store's clock.
    pub now: Ms,
}

/// Returns the claims of clients that this machine can see, and whether they run.
#[must_use]
pub fn seen(hand: &[InHand]) -> Vec<(u64, bool)> {
    let runs = |client: &Process, host: &str| match process::standing(client, host, None) {
        ProcessStatus::Runs => Some(true),
        ProcessStatus::Gone => Some(false),
        ProcessStatus::Unknown => None,
    };
    let known = |in_hand: &InHand| Some((in_hand.claim, runs(in_hand.client.as_ref()?, &in_hand.host)?));
    hand.iter().filter_map(known).collect()
}

/// Applies a change to a queue and commits it with its entry in the journal.
///
/// `apply` may run several times, each time on a queue as it is then. Its inner error leaves the queue as it is.
///
/// # Errors
/// When the store cannot be reached or written.
pub fn change<T, E>(
    config: &Config,
    change: &Change<'_>,
    apply: impl FnMut(Changed<'_>) -> Result<T, E>,
) -> Result<Result<T, E>, StoreError> {
    let mut reader = FleetReader::open_to_change(config);
    if let Some(away) = reader.take_away() {
        return Err(away);
    }
    match reader.parts() {
        (_, Some(link)) => on_server(config, link, change, apply),
        (_, None) => in_files(config, change, apply),
    }
}

fn recorded(now: Ms) -> Decision {
    decision::decision(Outcome::Record, Reason::Event, now)
}

fn on_server<T, E>(
    config: &Config,
    link: &mut Link<'_>,
    change: &Change<'_>,
    mut apply: impl FnMut(Changed<'_>) -> Result<T, E>,
) -> Result<Result<T, E>, StoreError> {
    let Change { agent, id, by, step } = *change;
    let keys = Keys::of(&config.fleet);
    let until = clock::now() + WITHIN;
    loop {
        let mut questions = vec![cmd("TIME")];
        questions.extend(remote::questions(keys, agent));
        questions.push(get(&keys.work_record(id)));
        questions.extend(by.map(|own| get(&keys.work(own))));
        let mut answers = link.ask(&questions)?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let clock_answer = next();
        let now = time(&clock_answer).ok_or_else(|| link.nonsense(&clock_answer))?;
        let server = link.server();
        let loaded = remote::answers(server, keys, agent, &mut next)?.ok_or_else(|| unreadable(agent))?;
        let record = remote::record(server, keys, id, &next())?;
        let own = match by {
            Some(own) => Some(document(server, keys.work(own), &next(), Queue::default)?.0),
            None => None,
        };
        let known = (!record.version.is_empty()).then_some(&record.state);
        let mut state = loaded.state.clone();
        state.picked = match known.and_then(|record| record.place) {
            Some((list, place)) => remote::at(link, keys, agent, list, place, id)?,
            None => None,
        };
        let mut own_queue = own.as_ref().map(|own: &Document<Queue>| own.state.clone());
        let done = apply(Changed { work: &mut state, record: known, own: own_queue.as_mut(), now });
        let Ok(done) = done else { return Ok(done) };
        if state.moves.is_empty() && state.queue == loaded.state.queue {
            return Ok(Ok(done));
        }
        let mut commit = Commit::default();
        if !id.is_empty() {
            commit.only_at_version(keys.work_record(id), &record.version);
        }
        if let (Some(name), Some(own), Some(queue)) = (by, &own, &own_queue) {
            changes::put(&mut commit, keys.work(name), own, queue, None, false);
        }
        remote::changes(&mut commit, keys, &loaded, &state, false);
        commit.notify(&keys.work_channel(agent), "work");
        let decided = recorded(now);
        let entry = Entry { work: moved(&state), ..Entry::of(step, &decided, agent, &config.fleet, NAME) };
        commit.journal(&config.stream, config.journal_max.into(), entry.words());
        let answer = link.call(&[], &commit.call("EVAL", COMMIT))?;
        match committed(&answer) {
            Some(Committed::Done { .. }) => return Ok(Ok(done)),
            Some(Committed::Conflict) if clock::now() < until => {}
            _ => return Err(link.nonsense(&answer)),
        }
    }
}

fn in_files<T, E>(
    config: &Config,
    change: &Change<'_>,
    mut apply: impl FnMut(Changed<'_>) -> Result<T, E>,
) -> Result<Result<T, E>, StoreError> {
    let Change { agent, id, by, step } = *change;
    let dir = folder(config)?;
    let _lock = local::lock(&dir, clock::now() + WITHIN, WITHIN)?;
    let now = clock::host_ms();
    let (mut transaction, _) = Transaction::begin(config, &dir, false, now)?;
    let loaded = local::work::load(&dir, agent)?.ok_or_else(|| unreadable(agent))?;
    let record = local::work::record(&dir, id)?;
    let own = match by {
        Some(own) => Some(local::work::load(&dir, own)?.ok_or_else(|| unreadable(own))?),
        None => None,
    };
    let mut state = loaded.state.clone();
    state.picked = record
        .as_ref()
        .and_then(|record| record.place)
        .and_then(|(list, place)| local::work::at(&dir, agent, list, place, id).map(|entry| (list, entry)));
    let mut own_queue = own.as_ref().map(|own| own.state.queue.clone());
    let done = apply(Changed { work: &mut state, record: record.as_ref(), own: own_queue.as_mut(), now });
    let Ok(done) = done else { return Ok(done) };
    if state.moves.is_empty() && state.queue == loaded.state.queue {
        return Ok(Ok(done));
    }
    if let (Some(name), Some(own), Some(queue)) = (by, &own, own_queue) {
        transaction.put(paths::queue(name), &QueueFile::new(queue), own.before())?;
    }
    local::work::changes(&mut transaction, loaded.before(), &state)?;
    let decided = recorded(now);
    let entry = Entry { work: moved(&state), ..Entry::of(step, &decided, agent, &config.fleet, local::NAME) };
    transaction.commit(Some(entry.line()))?;
    local::work::clear(&dir, now);
    Ok(Ok(done))
}

/// Returns the id of the entry that was moved.
fn moved(state: &WorkState) -> String {
    let id = |change: &Move| if let Move::Note(record) = change { Some(record.id.clone()) } else { None };
    state.moves.iter().find_map(id).unwrap_or_default()
}

fn folder(config: &Config) -> Result<PathBuf, StoreError> {
    Ok(config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet))
}

fn unreadable(agent: &str) -> StoreError {
    let (place, cause) = (format!("the work queue of {agent}"), "a part of it is damaged or missing".to_owned());
    StoreError::WorkUnreadable { place, cause }
}

/// What a queue contains.
#[derive(Debug)]
pub struct Contents {
    /// The agent, encoded.
    pub agent: String,
    /// The queue's document.
    pub queue: Queue,
    /// The first entries of each list.
    pub entries: Vec<(List, Vec<WorkEntry>)>,
}

/// Reads the queues of these agents, or of all, with up to `most` entries of each list.
///
/// # Errors
/// When the store cannot be read. Without a server that is configured, its queues are unknown.
pub fn contents(reader: &mut FleetReader<'_>, agent: Option<&str>, most: usize) -> Result<Vec<Contents>, StoreError> {
    if let Some(away) = reader.take_away() {
        return Err(away);
    }
    let (config, link) = reader.parts();
    let Some(link) = link else {
        let dir = folder(config)?;
        settle(config, &dir)?;
        let agents = agent.map_or_else(|| local::work::agents(&dir), |agent| vec![agent.to_owned()]);
        return agents.into_iter().map(|agent| here(&dir, agent, most)).collect();
    };
    let keys = Keys::of(&config.fleet);
    let agents = match agent {
        Some(agent) => vec![agent.to_owned()],
        None => {
            let names = link.ask(&[remote::range(&keys.index("work"), 0, 9999)])?.pop().unwrap_or(Value::Nil);
            let names: Vec<String> = redis::FromRedisValue::from_redis_value(names).unwrap_or_default();
            names.into_iter().filter(|name| text::is_encoded(name)).collect()
        }
    };
    agents.into_iter().map(|agent| there(link, keys, agent, most)).collect()
}

/// Finishes a change that was not finished, so that no entry is shown in two places.
fn settle(config: &Config, dir: &Path) -> Result<(), StoreError> {
    if transaction::path(dir).exists() {
        let _lock = local::lock(dir, clock::now() + WITHIN, WITHIN)?;
        Transaction::begin(config, dir, false, clock::host_ms())?;
    }
    Ok(())
}

fn here(dir: &Path, agent: String, most: usize) -> Result<Contents, StoreError> {
    let lists = if most == 0 { &[][..] } else { &List::ALL };
    let found = local::work::load(dir, &agent)?.ok_or_else(|| unreadable(&agent))?;
    let of = |list: &List| Ok((*list, local::work::list(dir, &agent, *list, most).map_err(|_| unreadable(&agent))?));
    let entries = lists.iter().map(of).collect::<Result<_, StoreError>>()?;
    Ok(Contents { queue: found.state.queue, entries, agent })
}

fn there(link: &mut Link<'_>, keys: Keys<'_>, agent: String, most: usize) -> Result<Contents, StoreError> {
    let lists = if most == 0 { &[][..] } else { &List::ALL };
    let mut questions = vec![get(&keys.work(&agent))];
    let range = |list: &List| remote::range(&keys.work_list(&agent, *list), 0, most.saturating_sub(1));
    questions.extend(lists.iter().map(range));
    let mut answers = link.ask(&questions)?.into_iter();
    let first = answers.next().unwrap_or(Value::Nil);
    let (queue, damaged) = document(link.server(), keys.work(&agent), &first, Queue::default)?;
    let of = |(list, answer): (&List, Value)| Some((*list, remote::entries(&answer)?));
    let entries: Option<Vec<_>> = lists.iter().zip(answers).map(of).collect();
    let entries = entries.filter(|_| damaged.is_none()).ok_or_else(|| unreadable(&agent))?;
    let is_gone = queue.version.is_empty() && entries.iter().any(|(_, all)| !all.is_empty());
    if is_gone { Err(unreadable(&agent)) } else { Ok(Contents { entries, queue: queue.state, agent }) }
}

/// Reads what is known by an id.
///
/// # Errors
/// As [`contents`].
pub fn record(reader: &mut FleetReader<'_>, id: &str) -> Result<Option<(Record, Option<WorkEntry>)>, StoreError> {
    if let Some(away) = reader.take_away() {
        return Err(away);
    }
    // An id is part of a path and of a key.
    if !can_be_known(id) {
        return Ok(None);
    }
    let (config, link) = reader.parts();
    let in_hand = |queue: &Queue| queue.hand.iter().find(|in_hand| in_hand.entry.id == id).map(|h| h.entry.clone());
    let Some(link) = link else {
        let dir = folder(config)?;
        settle(config, &dir)?;
        let Some(record) = local::work::record(&dir, id)? else { return Ok(None) };
        let entry = match record.place {
            Some((list, place)) => local::work::at(&dir, &record.agent, list, place, id),
            None => in_hand(&here(&dir, record.agent.clone(), 0)?.queue),
        };
        return Ok(Some((record, entry)));
    };
    let keys = Keys::of(&config.fleet);
    let answer = link.ask(&[get(&keys.work_record(id))])?.pop().unwrap_or(Value::Nil);
    let found = remote::record(link.server(), keys, id, &answer)?;
    if found.version.is_empty() {
        return Ok(None);
    }
    let record = found.state;
    let entry = match record.place {
        Some((list, place)) => remote::at(link, keys, &record.agent, list, place, id)?.map(|(_, entry)| entry),
        None => in_hand(&there(link, keys, record.agent.clone(), 0)?.queue),
    };
    Ok(Some((record, entry)))
}
