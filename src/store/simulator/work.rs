//! The work of a history: the agents' queues, the words that end an entry, and the people that add entries and end them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::chance::Chance;
use super::dispatchers::Dispatch;
use super::ledger::{self, Ledger};
use super::plan::{Plan, Session, Stores, secs};
use super::rhythm::Habit;
use super::server::Entry;
use super::story::{Shared, Story};
use super::world::{self, MILLISECOND, SECOND, Time, World};
use crate::hook::step_of;
use crate::policy::process::{Birth, Process};
use crate::policy::request::{Event, RestRequest, Step};
use crate::policy::rest::RestKind;
use crate::policy::work::entry::{Priority, WorkEntry};
use crate::policy::work::{NotThere, RecordState, WorkMode, WorkPolicy};
use crate::store::failover::decider;
use crate::store::work::{Change, Changed, change};

/// The queues of a history.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// The agent of each session. Several sessions may work through one queue.
    pub(super) agents: Vec<usize>,
    /// The number of entries that people add before the last fault is over, and of their other commands.
    adds: u64,
    commands: u64,
    /// Whether the entries that are added first are of low priority, and those after them of high priority.
    pub(super) is_rush: bool,
    /// How long the sessions continue after the last fault.
    pub(super) lasts: Time,
    /// When a client ends and another one takes its session over.
    restarts: Vec<Option<Time>>,
    /// The dispatchers, where there are any.
    pub(super) dispatch: Option<Dispatch>,
}

impl Work {
    /// Lets all sessions share one queue, and ends each client at this time.
    pub(super) fn share_and_restart(&mut self, at: Time) {
        self.agents.fill(0);
        self.restarts.fill(Some(at));
    }
}

/// An entry that an add reported.
#[derive(Debug, Clone)]
pub(super) struct Added {
    agent: usize,
    host: usize,
    id: String,
    /// The life of the server's data, where it is known; `None` for files.
    life: Option<u64>,
}

/// Draws the work of a history from numbers of its own, in `share` thousandths of the histories.
pub(super) fn draw(plan: &mut Plan, share: u64) {
    let mut chance = Chance::of(plan.seed ^ 0x3041_c0e7);
    if !chance.happens(share) {
        return;
    }
    let count = usize::try_from(chance.between(1, 8)).unwrap();
    let (hosts, scopes) = (plan.hosts as u64, plan.scopes as u64);
    plan.sessions.truncate(count);
    while plan.sessions.len() < count {
        plan.sessions.push(Session {
            host: usize::try_from(chance.below(hosts)).unwrap(),
            scope: usize::try_from(chance.below(scopes)).unwrap(),
            waits: chance.happens(850),
            habit: chance.one_of(&[Habit::Unmeasured, Habit::Useful, Habit::Mixed]),
            wake_on: None,
            is_done: false,
            leaves: None,
            is_started: false,
        });
    }
    let agents = chance.between(1, count as u64);
    let calms_at = plan.calms_at;
    for session in &mut plan.sessions[1..] {
        session.is_done = false;
        session.leaves = session.leaves.or(chance.happens(150).then(|| chance.below(calms_at)));
    }
    plan.policy.work = WorkPolicy {
        mode: chance.one_of(&[WorkMode::Preferred, WorkMode::Required]),
        max_turns: chance.one_of(&[1, 2, 30]),
        max_attempts: u32::try_from(chance.between(1, 3)).unwrap(),
        lease: secs(chance.one_of(&[5, 1800, 7200])),
    };
    plan.work = Some(Work {
        agents: (0..count).map(|_| usize::try_from(chance.below(agents)).unwrap()).collect(),
        adds: chance.between(1, 14),
        commands: chance.below(6),
        is_rush: chance.happens(250),
        lasts: if chance.happens(150) { 8 * SECOND } else { 0 },
        restarts: (0..count).map(|_| chance.happens(250).then(|| chance.below(calms_at))).collect(),
        dispatch: None,
    });
}

pub(super) fn agent(nth: usize) -> String {
    format!("agent-{nth}")
}

/// Returns the words at the end of a turn.
pub(super) fn words(chance: &mut Chance) -> Option<RestRequest> {
    let rest = |kind, lasting| RestRequest { kind, lasting, topic: "no".to_owned() };
    match chance.below(100) {
        0..35 => Some(rest(RestKind::Done, None)),
        35..47 => Some(rest(RestKind::Failed, None)),
        47..53 => Some(rest(RestKind::Rest, Some(secs(3)))),
        _ => None,
    }
}

/// Returns the client of a session. Each one that takes it over is another process.
pub(super) fn client(session: usize, nth: u32) -> Process {
    let pid = 1000 + 16 * u32::try_from(session).unwrap() + nth;
    Process { pid, birth: Some(Birth { start: u64::from(nth), namespace: 1 }) }
}

/// Ends the client of a session, which its machine sees.
pub(super) fn ends(shared: &Shared, session: usize) {
    let story = shared.borrow();
    if story.plan.work.is_some() {
        let client = client(session, story.clients[session]);
        world::tell(|| format!("the client {client} of session-{session} ends"));
        world::with(|world| {
            world.gone.entry(client.pid).or_insert(world.time);
        });
    }
}

/// Plans the ends of clients, and the actions of people.
pub(super) fn people(world: &mut World, shared: &Shared) {
    let plan = shared.borrow().plan.clone();
    let Some(work) = &plan.work else { return };
    let calms = plan.calms_at;
    for (session, at) in work.restarts.iter().enumerate().filter_map(|(n, at)| Some((n, (*at)?))) {
        let shared = Rc::clone(shared);
        world.later(at, move || {
            let leaves = shared.borrow().plan.sessions[session].leaves;
            if world::with(|world| leaves.is_some_and(|at| at <= world.time)) {
                return;
            }
            ends(&shared, session);
            shared.borrow_mut().clients[session] += 1;
            super::agent::leaves(&shared, session);
        });
    }
    let mut at = 0;
    for nth in 0..work.adds {
        let session = usize::try_from(world.chance.below(plan.sessions.len() as u64)).unwrap();
        let session = if work.is_rush { 0 } else { session };
        let priority = match nth {
            0 if work.is_rush => Priority::Low,
            1 if work.is_rush => Priority::Normal,
            _ if work.is_rush => Priority::High,
            _ => world.chance.one_of(&[Priority::High, Priority::Normal, Priority::Normal, Priority::Low]),
        };
        at = if work.is_rush { at + 100 * MILLISECOND } else { world.chance.below(calms) };
        let delay = (!work.is_rush && world.chance.happens(250)).then(|| secs(world.chance.between(1, 6)));
        plans_add(world, shared, at, session, priority, delay);
    }
    // Some entries come when no fault happens any more.
    for session in 0..plan.sessions.len() {
        if world.chance.happens(600) {
            let at = calms + world.chance.below(6 * SECOND);
            plans_add(world, shared, at, session, Priority::Normal, None);
        }
    }
    for _ in 0..work.commands {
        let (shared, at) = (Rc::clone(shared), world.chance.below(calms));
        world.later(at, move || ends_one(&shared));
    }
}

fn plans_add(
    world: &mut World,
    shared: &Shared,
    at: Time,
    session: usize,
    priority: Priority,
    delay: Option<Duration>,
) {
    let has_id = world.chance.happens(600);
    let shared = Rc::clone(shared);
    world.later(at, move || adds(&shared, session, priority, delay, has_id));
}

/// Adds an entry for the agent of a session, by its machine. One with an id of its own is added again until an answer
/// comes. A session of another agent may add it.
fn adds(shared: &Shared, session: usize, priority: Priority, delay: Option<Duration>, has_id: bool) {
    let (host, to, id, by) = {
        let mut story = shared.borrow_mut();
        let plan = &story.plan;
        let work = plan.work.as_ref().unwrap();
        let to = work.agents[session];
        let others = work.agents.iter().copied().find(|agent| *agent != to && priority != Priority::High);
        let (host, by) = (plan.sessions[session].host, others.filter(|_| has_id).map(agent));
        story.tasks += 1;
        (host, to, if has_id { format!("task-{}", story.tasks) } else { String::new() }, by)
    };
    tries_to_add(
        shared,
        host,
        to,
        WorkEntry { id, priority, by: by.unwrap_or_default(), ..WorkEntry::default() },
        delay,
    );
}

/// Adds an entry for an agent, by a person on this machine.
pub(super) fn adds_by_person(shared: &Shared, host: usize, to: usize, priority: Priority) {
    let id = {
        let mut story = shared.borrow_mut();
        story.tasks += 1;
        format!("task-{}", story.tasks)
    };
    tries_to_add(shared, host, to, WorkEntry { id, priority, ..WorkEntry::default() }, None);
}

fn tries_to_add(shared: &Shared, host: usize, to: usize, entry: WorkEntry, delay: Option<Duration>) {
    let (body, again) = (Rc::clone(shared), Rc::clone(shared));
    let retried = entry.clone();
    let answered = Rc::new(std::cell::Cell::new(false));
    let is_answered = Rc::clone(&answered);
    let run = move || {
        let by = (!entry.by.is_empty()).then_some(entry.by.as_str());
        let id = entry.id.clone();
        let added = changes(&body, host, (&agent(to), &id, by), "WorkAdd", |Changed { work, record, own, now }| {
            if record.is_some() {
                return Ok(id.clone());
            }
            if own.is_some_and(|own| !own.note_added(now)) {
                return Err(NotThere);
            }
            let at = delay.map(|delay| now.saturating_add(i64::try_from(delay.as_millis()).unwrap()));
            Ok(work.add(WorkEntry { text: "work".to_owned(), ..entry.clone() }, at, now).id)
        });
        is_answered.set(added.is_some());
        if let Some((id, life)) = added {
            body.borrow_mut().added.push(Added { agent: to, host, id, life });
        }
    };
    let then = move |_| {
        if !retried.id.is_empty() && !answered.get() {
            let again = Rc::clone(&again);
            world::with(|world| {
                world.later(2 * SECOND, move || tries_to_add(&again, host, to, retried, delay));
            });
        }
    };
    world::with(|world| world.start((host, false), true, run, then));
}

/// Ends an entry that was added before, or lets it wait again, as a person does.
fn ends_one(shared: &Shared) {
    let picked = {
        let story = shared.borrow();
        let count = story.added.len() as u64;
        let nth = world::with(|world| world.chance.below(count));
        story.added.get(usize::try_from(nth).unwrap()).cloned()
    };
    let Some(Added { agent: of, host, id, .. }) = picked else { return };
    let event =
        world::with(|world| world.chance.one_of(&["WorkDone", "WorkDrop", "WorkRetry", "WorkRetry", "WorkFail"]));
    let body = Rc::clone(shared);
    let policy = shared.borrow().plan.policy.work;
    let run = move || {
        changes(&body, host, (&agent(of), &id, None), event, |Changed { work, record, now, .. }| {
            let state = record.map(|record| record.state).unwrap_or_default();
            match (event, state) {
                ("WorkDone", RecordState::InHand) => work.finish(&id, None, now),
                ("WorkDone", RecordState::Waiting) => work.finish_picked(now),
                ("WorkFail", RecordState::InHand) => work.give_back(&id, None, "no", &policy, now),
                ("WorkRetry", RecordState::Waiting | RecordState::Dead) => work.retry(now),
                ("WorkDrop", RecordState::Waiting | RecordState::Dead | RecordState::InHand) => {
                    work.drop_entry(&id, now)
                }
                _ => Err(NotThere),
            }
            .map(|()| id.clone())
        });
    };
    world::with(|world| world.start((host, false), true, run, |_| ()));
}

/// Changes a queue as a command does. Returns the id of the entry, and the life of the server's data that has it.
fn changes(
    shared: &Shared,
    host: usize,
    (agent, id, by): (&str, &str, Option<&str>),
    event: &str,
    apply: impl FnMut(Changed<'_>) -> Result<String, NotThere>,
) -> Option<(String, Option<u64>)> {
    let config = shared.borrow().configs[host].clone();
    let on_server = !matches!(config.store, crate::config::StoreChoice::Embedded);
    let step = Step { host: format!("host-{host}"), ..step_of(String::new(), String::new(), event, Event::Other) };
    world::with(|world| world.begins(&step.id));
    let life = world::with(|world| world.servers[0].life);
    world::tell(|| format!("{event} {id} of {agent} {}", step.id));
    let changed = change(&config, &Change { agent, id, by, step: &step }, apply);
    world::tell(|| format!("{event} {id} of {agent} is answered {changed:?}"));
    let id = changed.ok()?.ok()?;
    let is_same = world::with(|world| world.servers[0].life) == life;
    (is_same || !on_server).then_some((id, on_server.then_some(life)))
}

/// Returns the queues of the store that decides for a machine.
pub(super) fn ledger<'w>(world: &'w World, story: &Story, host: usize) -> &'w Ledger {
    let has_left = story.plan.leaves_server.is_some_and(|at| at <= world.time);
    if story.plan.stores == Stores::Files || has_left { &world.files[host] } else { &world.servers[0].ledger }
}

/// Notes for each session since when it has an entry in hand or could claim one.
pub(super) fn note(story: &mut Story) {
    let Some(work) = story.plan.work.clone() else { return };
    world::with(|world| {
        for (session, of) in work.agents.iter().enumerate() {
            // A client that is started works from its first Stop event on.
            if story.plan.sessions[session].is_started && story.newest[session] == 0 {
                continue;
            }
            let host = story.plan.sessions[session].host;
            let has_work = ledger(world, story, host).has_work(&agent(*of), &format!("session-{session}"));
            let since = story.claimable[session].filter(|_| has_work);
            story.claimable[session] = since.or(has_work.then_some(world.time));
        }
    });
}

/// Returns since when a session should be admitted; `None` where nothing requires that.
pub(super) fn due_since(story: &Story, session: usize) -> Option<Time> {
    if story.plan.work.is_some() { story.claimable[session] } else { Some(0) }
}

/// Looks at every queue once more when the history is over.
pub(super) fn look_at_rest(story: &Story, world: &mut World) {
    let time = world.time;
    world.servers[0].look_at_rest(time);
    for host in 0..world.files.len() {
        if let Some(dir) = decider::dir(&story.configs[host]) {
            ledger::files_at_rest(world, host, &dir);
        }
    }
}

/// Judges the work of a history; `Err` describes the violation.
pub(super) fn judge(story: &Story, world: &World) -> Result<(), String> {
    let Some(work) = &story.plan.work else { return Ok(()) };
    for ledger in world.files.iter().chain([&world.servers[0].ledger]) {
        if let Some(broken) = &ledger.broken {
            return Err(broken.clone());
        }
        let runs = |taken: &&ledger::Taken| world.gone.get(&taken.client).is_none_or(|gone| *gone > taken.at);
        if let Some(taken) = ledger.taken.iter().find(runs) {
            return Err(format!("an entry is taken from a client that runs: {taken:?}"));
        }
    }
    for added in &story.added {
        let ledger = if added.life.is_some() { &world.servers[0].ledger } else { &world.files[added.host] };
        if !ledger.known.contains(&(added.life.unwrap_or(0), added.id.clone())) {
            return Err(format!("an entry that was added is nowhere: {added:?}"));
        }
    }
    if story.plan.policy.work.mode == WorkMode::Required || work.dispatch.is_some() {
        let server = world.servers[0].journal.iter().filter(|entry| entry.field("store") == "dragonfly").collect();
        let mut journals: Vec<Vec<&Entry>> = vec![server];
        let own: Vec<Vec<Entry>> = match story.plan.stores {
            Stores::Server => Vec::new(),
            _ => (0..story.plan.hosts).map(|host| super::machines::entries(story, world, host)).collect(),
        };
        journals.extend(own.iter().map(|entries| entries.iter().collect()));
        required(story, work, &journals, !world.servers[0].losses.is_empty())?;
    }
    Ok(())
}

/// With `required` each admission has an entry, or a wake-up that no earlier one used.
fn required(story: &Story, work: &Work, journals: &[Vec<&Entry>], loses: bool) -> Result<(), String> {
    let are_all = story.plan.policy.work.mode == WorkMode::Required;
    for session in (0..work.agents.len()).filter(|session| are_all || story.plan.sessions[*session].is_started) {
        let name = format!("session-{session}");
        let mut wakes = story.sent.values().filter(|sent| sent.is_wake && sent.session == session).count();
        // A merge or older data may bring a wake-up back that was used.
        let is_unsure = story.plan.stores == Stores::Failover || loses;
        let is_free =
            |entry: &&&Entry| entry.admits() && entry.field("session") == name && entry.field("work").is_empty();
        for entry in journals.iter().flatten().filter(is_free) {
            if wakes == 0 {
                return Err(format!("{name} is admitted at {} without an entry and without a wake-up", entry.at));
            }
            wakes -= usize::from(!is_unsure);
        }
    }
    Ok(())
}

/// Returns how often each kind of change happened.
pub(super) fn counts(world: &World) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for ledger in world.files.iter().chain([&world.servers[0].ledger]) {
        for (name, count) in &ledger.counts {
            *all.entry(*name).or_default() += count;
        }
    }
    all
}
