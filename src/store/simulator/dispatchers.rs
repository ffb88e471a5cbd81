//! The dispatchers of a history: the product's own starters and workers, and the clients that these start.
//!
//! Each dispatcher is one process for each route. It is killed and paused like the others, and started again after a while.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::agent;
use super::chance::Chance;
use super::plan::{Plan, Session, Stores, secs};
use super::rhythm::Habit;
use super::story::{Shared, Story, ask, step};
use super::variants::{Variant, is_broken};
use super::work;
use super::world::{self, Ended, Happening, MILLISECOND, SECOND, Time, World};
use crate::clock;
use crate::cmd::dispatch::EVERY;
use crate::cmd::dispatch::starter::{Admitted, Launcher, Over, Starter, works};
use crate::cmd::dispatch::worker::{Runner, Worker};
use crate::config::{Config, Route, SessionKind, SessionRoute};
use crate::policy::process::{Birth, Process};
use crate::policy::request::Event;
use crate::policy::work::Given;
use crate::policy::work::entry::Priority;
use crate::store::fleet_reader;

/// The longest lease whose end a history waits for.
const SHORT_LEASE: Duration = Duration::from_secs(5);
/// The time for which a claim is overdue before it ends, and a refused dispatcher pauses at most, with the seconds around both.
const OVERDUE: Time = 62 * SECOND;
const PAUSE: Time = 62 * SECOND;
/// After this many claims since the last fault a queue is known to go on.
const CLAIMS: usize = 3;

/// The dispatchers of a history, and their routes.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pub(super) routes: Vec<Way>,
    dispatchers: Vec<Place>,
}

/// A route to an agent.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) agent: usize,
    /// The most sessions, or `None` for a program.
    sessions: Option<usize>,
    idle_stop: Duration,
    kind: SessionKind,
    /// Whether the agent has no other sessions than those that are started.
    is_alone: bool,
    /// The number of entries that people add, before and after the last fault.
    adds: (u64, u64),
}

/// The machine of a dispatcher, and when it ends for good, if it does.
#[derive(Debug, Clone)]
struct Place {
    host: usize,
    leaves: Option<Time>,
}

impl Way {
    /// Returns how many entries dispatchers may have in hand, or clients that they start.
    fn most(&self) -> usize {
        self.sessions.unwrap_or(1)
    }
}

/// Draws the dispatchers of a history from numbers of its own, in `share` thousandths of the histories with work.
pub(super) fn draw(plan: &mut Plan, share: u64) {
    let mut chance = Chance::of(plan.seed ^ 0xd15b_a7c4);
    // A dispatcher keeps the store that its configuration named when it began.
    let (Some(work), None) = (&mut plan.work, plan.leaves_server) else { return };
    if !chance.happens(share) {
        return;
    }
    let own = work.agents.iter().max().map_or(0, |last| last + 1);
    let mut routes = Vec::new();
    for nth in 0..usize::try_from(chance.between(1, 2)).unwrap() {
        // No two routes start sessions or programs of the same agent.
        let is_alone = chance.happens(700) || routes.iter().any(|other: &Way| !other.is_alone);
        let agent = if is_alone { own + nth } else { usize::try_from(chance.below(own as u64)).unwrap() };
        routes.push(Way {
            agent,
            sessions: chance.happens(700).then(|| usize::try_from(chance.between(1, 3)).unwrap()),
            idle_stop: secs(chance.one_of(&[2, 10, 1800])),
            kind: chance.one_of(&[SessionKind::Background, SessionKind::Print]),
            is_alone,
            adds: (chance.between(1, 5), chance.below(3)),
        });
    }
    let (hosts, calms_at) = (plan.hosts as u64, plan.calms_at);
    let place = |_| Place {
        host: usize::try_from(chance.below(hosts)).unwrap(),
        leaves: chance.happens(150).then(|| chance.below(calms_at)),
    };
    let count = Chance::of(plan.seed ^ 0x1d15).between(1, 3);
    work.dispatch = Some(Dispatch { routes, dispatchers: (0..count).map(place).collect() });
}

/// Ends the dispatchers of one of two machines for good, before the last fault.
pub(super) fn leaves(plan: &mut Plan) {
    let at = plan.calms_at * 3 / 4;
    let Some(dispatch) = plan.work.as_mut().and_then(|work| work.dispatch.as_mut()) else { return };
    dispatch.dispatchers = vec![Place { host: 0, leaves: Some(at) }, Place { host: 1, leaves: None }];
}

/// Returns a process of a history as a machine names it.
pub(super) fn process(number: usize) -> Process {
    let pid = 100_000 + u32::try_from(number).unwrap();
    Process { pid, birth: Some(Birth { start: u64::from(pid), namespace: 1 }) }
}

/// Notes that a process has ended.
pub(super) fn is_over(number: usize) {
    world::with(|world| {
        let time = world.time;
        world.gone.entry(process(number).pid).or_insert(time);
    });
}

/// Plans the dispatchers, and the people that add entries for their agents.
pub(super) fn plan(world: &mut World, shared: &Shared) {
    let plan = shared.borrow().plan.clone();
    let Some(dispatch) = plan.work.and_then(|work| work.dispatch) else { return };
    for way in &dispatch.routes {
        let most = way.most();
        let ledgers = world.files.iter_mut().chain(world.servers.iter_mut().map(|server| &mut server.ledger));
        for ledger in ledgers {
            ledger.most.insert(work::agent(way.agent), most);
        }
    }
    for nth in 0..dispatch.dispatchers.len() {
        for (route, way) in dispatch.routes.iter().enumerate() {
            let shared_again = Rc::clone(shared);
            let at = world.chance.below(3 * SECOND);
            world.later(at, move || begins(&shared_again, nth, route));
            let hosts: Vec<usize> = dispatch.dispatchers.iter().map(|place| place.host).collect();
            if nth > 0 {
                continue;
            }
            for n in 0..way.adds.0 + way.adds.1 {
                let late = if n < way.adds.0 { 0 } else { plan.calms_at };
                let at = late + world.chance.below(if late > 0 { 6 * SECOND } else { plan.calms_at });
                let (host, agent) = (world.chance.one_of(&hosts), way.agent);
                let priority = world.chance.one_of(&[Priority::High, Priority::Normal, Priority::Low]);
                let shared = Rc::clone(shared);
                world.later(at, move || work::adds_by_person(&shared, host, agent, priority));
            }
        }
    }
}

/// Starts the process of a dispatcher for one route, and another one some time after its end.
fn begins(shared: &Shared, nth: usize, route: usize) {
    let Place { host, leaves } = place(shared, nth);
    let has_left = move || world::with(|world| leaves.is_some_and(|at| at <= world.time));
    if has_left() {
        return;
    }
    let (body, again) = (Rc::clone(shared), Rc::clone(shared));
    let number = Rc::new(Cell::new(0));
    let own = Rc::clone(&number);
    let run = move || dispatches(&body, host, route);
    let then = move |_| {
        is_over(own.get());
        let after = world::with(|world| world.chance.between(200, 9000) * MILLISECOND);
        world::with(|world| world.later(after, move || begins(&again, nth, route)));
    };
    let process = world::with(|world| {
        let process = world.start((host, false), true, run, then);
        if let Some(at) = leaves {
            world.after(at.saturating_sub(world.time), Happening::Kill { process });
        }
        process
    });
    number.set(process);
}

fn place(shared: &Shared, nth: usize) -> Place {
    let story = shared.borrow();
    let dispatch = story.plan.work.as_ref().and_then(|work| work.dispatch.as_ref()).unwrap();
    dispatch.dispatchers[nth].clone()
}

/// Runs one route until the process is killed, or the history is over.
fn dispatches(shared: &Shared, host: usize, nth: usize) {
    let (config, way) = {
        let story = shared.borrow();
        let dispatch = story.plan.work.as_ref().and_then(|work| work.dispatch.as_ref()).unwrap();
        (story.configs[host].clone(), dispatch.routes[nth].clone())
    };
    let session = way.sessions.map(|most| SessionRoute {
        kind: way.kind,
        folder: None,
        model: None,
        system_prompt: None,
        env: std::collections::BTreeMap::new(),
        keys: Vec::new(),
        max_sessions: if is_broken(Variant::MostSessionsUnchecked) { 16 } else { most },
        idle_stop: way.idle_stop,
    });
    let route = Route {
        to: work::agent(way.agent),
        from: None,
        topic: None,
        cover: None,
        priority: Priority::Normal,
        ack_turn: false,
        run: None,
        session: session.clone(),
    };
    let clients = Clients { shared: Rc::clone(shared), agent: way.agent, host, kind: way.kind };
    match &session {
        Some(session) => {
            let mut starter = Starter::new(works(&config, &route), Vec::new(), (&route, session), clients);
            loop {
                if !starter.turn() {
                    clock::sleep(pause(starter.pause()));
                }
            }
        }
        None => {
            let mut worker = Worker::new(&config, &route, nth, clients);
            loop {
                if !worker.turn() {
                    clock::sleep(pause(worker.pause()));
                }
            }
        }
    }
}

/// Returns how long a dispatcher waits for its next look: where nothing is due, longer than the command does, to save time.
fn pause(pause: Duration) -> Duration {
    let longer = world::with(|world| world.chance.one_of(&[1, 2, 6]));
    if pause < EVERY { pause } else { pause * longer }
}

/// Starts simulated clients, and runs simulated programs.
struct Clients {
    shared: Shared,
    agent: usize,
    host: usize,
    kind: SessionKind,
}

/// A client that was started: its session, and how its process ends before its first prompt.
struct Client {
    session: usize,
    fails: bool,
}

impl Launcher for Clients {
    type Client = Client;

    fn missing(&self) -> Option<(String, String)> {
        None
    }

    fn start(&self, _: &Config, given: &Given, admitted: Admitted) -> Result<Client, String> {
        let Admitted { token, .. } = admitted;
        let in_hand = &given.in_hand;
        let mut story = self.shared.borrow_mut();
        world::with(|world| {
            world.tell(|| format!("a client is started for {} with {token}", in_hand.entry.id));
            let is_committed = ledgers(world).any(|ledger| ledger.tokens.contains(&token));
            let is_again = !story.tokens.insert(token.clone());
            if !is_committed || is_again {
                broken(world, format!("a client is started for {in_hand:?} by no commit of its own with {token}"));
            }
        });
        let (fails_to_start, start) = world::with(|world| {
            let is_calm = world.time >= world.calms_at;
            (!is_calm && world.chance.happens(80), Start::draw(world, is_calm))
        });
        if fails_to_start {
            return Err("no client".to_owned());
        }
        let session = story.adds_session(self.host, self.agent);
        drop(story);
        let fails = start == Start::Ends;
        runs(&self.shared, session, token, start);
        Ok(Client { session, fails })
    }

    fn over(&self, client: &mut Client) -> Option<Over> {
        let is_gone = self.shared.borrow().plan.sessions[client.session].leaves.is_some();
        match self.kind {
            SessionKind::Background => Some(Over { is_well: !client.fails, how: "exit".to_owned() }),
            SessionKind::Print => is_gone.then(|| Over { is_well: false, how: "killed".to_owned() }),
        }
    }

    fn kill(&self, client: &mut Client) -> String {
        ends(&self.shared, client.session);
        String::new()
    }

    fn output(&self, _: &Client) -> String {
        String::new()
    }

    fn detach(&self, _: Client) {}

    fn stop(&self, (id, _): &fleet_reader::Session) -> Result<(), String> {
        let session = id.strip_prefix("session-").and_then(|nth| nth.parse().ok()).ok_or("no session")?;
        if world::with(|world| world.chance.happens(500)) {
            let step = step(&self.shared, session, Event::SessionEnd);
            ask(&self.shared, (session, 0), &step);
            world::with(|world| world.begins(""));
        }
        ends(&self.shared, session);
        Ok(())
    }
}

impl Runner for Clients {
    fn run(&self, given: &Given) -> Result<(), String> {
        let in_hand = &given.in_hand;
        let (takes, fails) = world::with(|world| {
            world.tell(|| format!("a program runs for {}", in_hand.entry.id));
            if !ledgers(world).any(|ledger| ledger.has_claimed(in_hand.claim)) {
                broken(world, format!("a program runs for {in_hand:?}, which no commit claimed"));
            }
            (world.chance.below(3000), world.chance.happens(150))
        });
        clock::sleep(Duration::from_millis(takes));
        if fails { Err("exit status: 3".to_owned()) } else { Ok(()) }
    }
}

fn ledgers(world: &World) -> impl Iterator<Item = &super::ledger::Ledger> {
    world.files.iter().chain(world.servers.iter().map(|server| &server.ledger))
}

fn broken(world: &mut World, why: String) {
    world.servers[0].broken.get_or_insert(why);
}

/// The course of a client's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// It sends its first prompt after this time; where `is_copied`, another client sends the same token later.
    Prompts { after: Time, is_copied: bool },
    /// It ends before its first prompt.
    Ends,
    /// It sends no prompt, and runs on.
    Hangs,
}

impl Start {
    fn draw(world: &mut World, is_calm: bool) -> Self {
        let most = world.chance.one_of(&[100 * MILLISECOND, 100 * MILLISECOND, SECOND, 5 * SECOND]);
        let prompts = |world: &mut World, most| Self::Prompts {
            after: world.chance.below(most),
            is_copied: world.chance.happens(150),
        };
        match world.chance.below(100) {
            _ if is_calm => prompts(world, most),
            0..8 => Self::Ends,
            8..13 => Self::Hangs,
            13..20 => prompts(world, 75 * SECOND),
            _ => prompts(world, most),
        }
    }
}

/// Starts the process of a client's start: it sends its first prompt, and works then as other sessions do.
fn runs(shared: &Shared, session: usize, token: String, start: Start) {
    let (body, next) = (Rc::clone(shared), Rc::clone(shared));
    let host = shared.borrow().plan.sessions[session].host;
    let run = move || match start {
        Start::Ends => {
            let takes = world::with(|world| world.chance.below(2000));
            clock::sleep(Duration::from_millis(takes));
            ends(&body, session);
        }
        Start::Hangs => {}
        Start::Prompts { after, .. } => {
            clock::sleep(Duration::from_micros(after));
            let step = step(&body, session, Event::StartPrompt { token: token.clone() });
            ask(&body, (session, 0), &step);
            if let Start::Prompts { is_copied: true, .. } = start {
                copies(&body, host, session, token);
            }
        }
    };
    let then = move |ended: Ended| {
        if ended == Ended::Killed {
            return ends(&next, session);
        }
        if matches!(start, Start::Prompts { .. }) && next.borrow().plan.sessions[session].leaves.is_none() {
            let after = world::with(|world| world.chance.between(100, 3000) * MILLISECOND);
            world::with(|world| world.later(after, move || agent::stops(&next, session, false)));
        }
    };
    let process = world::with(|world| world.start((host, false), true, run, then));
    shared.borrow_mut().process[session] = Some(process);
}

/// Starts a client in the environment of another one: it sends the same token, and ends.
fn copies(shared: &Shared, host: usize, of: usize, token: String) {
    let agent = shared.borrow().plan.work.as_ref().unwrap().agents[of];
    let session = shared.borrow_mut().adds_session(host, agent);
    let (body, next) = (Rc::clone(shared), Rc::clone(shared));
    let run = move || {
        let after = world::with(|world| world.chance.below(4000));
        clock::sleep(Duration::from_millis(after));
        let prompt = step(&body, session, Event::StartPrompt { token });
        ask(&body, (session, 0), &prompt);
        let end = step(&body, session, Event::SessionEnd);
        ask(&body, (session, 0), &end);
    };
    world::with(|world| world.start((host, false), true, run, move |_| ends(&next, session)));
}

/// Ends the client of a session that was started.
pub(super) fn ends(shared: &Shared, session: usize) {
    work::ends(shared, session);
    let process = {
        let mut story = shared.borrow_mut();
        let time = world::with(|world| world.time);
        story.plan.sessions[session].leaves.get_or_insert(time);
        story.process[session]
    };
    let current = world::with(|world| world.current());
    if let Some(process) = process.filter(|process| current != Some(*process)) {
        world::with(|world| world.after(0, Happening::Kill { process }));
    }
}

/// Returns a session that a dispatcher starts.
pub(super) fn session(host: usize, chance: &mut Chance) -> Session {
    Session {
        host,
        scope: usize::MAX,
        waits: true,
        habit: chance.one_of(&[Habit::Unmeasured, Habit::Useful, Habit::Mixed]),
        wake_on: None,
        is_done: false,
        leaves: None,
        is_started: true,
    }
}

/// What is known of a queue that dispatchers work through.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// The number of claims at the last fault, and at the last look.
    first: Option<usize>,
    last: usize,
    /// Since when an entry waits although one more session may have it, and nothing is claimed.
    since: Option<Time>,
}

/// Looks at the queues of the dispatchers after the last fault. Returns whether each of them goes on or has nothing to claim,
/// and describes one that does not go on.
pub(super) fn look(story: &mut Story) -> Result<bool, String> {
    let Some(dispatch) = story.plan.work.as_ref().and_then(|work| work.dispatch.clone()) else { return Ok(true) };
    let hosts = if story.plan.stores == Stores::Files { story.plan.hosts } else { 1 };
    let mut is_settled = true;
    for host in 0..hosts {
        for (nth, way) in dispatch.routes.iter().enumerate() {
            let Some(most) = bound(story, &dispatch, way, host) else { continue };
            let agent = work::agent(way.agent);
            let (claims, waits, time) = world::with(|world| {
                let ledger = work::ledger(world, story, host);
                (ledger.claims(&agent), ledger.waits(&agent, way.most(), &world.gone), world.time)
            });
            let progress = story.progress.entry((host, nth)).or_default();
            let first = *progress.first.get_or_insert(claims);
            if !waits || claims != progress.last {
                (progress.last, progress.since) = (claims, None);
            }
            if !waits {
                continue;
            }
            let since = *progress.since.get_or_insert(time);
            if time > since + most {
                return Err(format!("the queue of {agent} waits since {since}, and no dispatcher claims from it"));
            }
            is_settled &= claims >= first + CLAIMS;
        }
    }
    Ok(is_settled)
}

/// Returns the time within which an entry of a queue is claimed, where a dispatcher can claim any.
fn bound(story: &Story, dispatch: &Dispatch, way: &Way, host: usize) -> Option<Time> {
    let is_there = |host: usize| dispatch.dispatchers.iter().any(|place| place.host == host && place.leaves.is_none());
    let lease = story.plan.policy.work.lease;
    // Only the dispatchers of its own machine see that a client is gone. To others its session counts for the lease.
    let is_seen = match story.plan.stores {
        Stores::Files => is_there(host),
        _ => {
            dispatch.dispatchers.iter().all(|place| place.host == dispatch.dispatchers[0].host && is_there(place.host))
        }
    };
    let can = dispatch.dispatchers.iter().any(|place| place.leaves.is_none())
        && (story.plan.stores != Stores::Files || is_there(host));
    let sends = dispatch.dispatchers.len() + way.most();
    let burst = story.plan.policy.stop.burst;
    let trips = trips(&story.plan) || (counts(&story.plan) && burst.is_some_and(|burst| sends >= burst.limit as usize));
    let short = (lease <= SHORT_LEASE).then(|| u64::try_from(lease.as_micros()).unwrap() + OVERDUE);
    let silent = if is_seen { Some(0) } else { short }?;
    (can && way.is_alone && !trips).then(|| story.plan.bound() + PAUSE + 2 * silent)
}

/// Returns whether each request counts in the burst window, because that limits without a minimum interval.
fn counts(plan: &Plan) -> bool {
    plan.policy.stop.burst.is_some() && plan.policy.stop.is_limited_by_window()
}

/// Returns whether requests that the fleet's quota refuses again and again may open a cooldown each time.
pub(super) fn trips(plan: &Plan) -> bool {
    let has_dispatchers = plan.work.as_ref().is_some_and(|work| work.dispatch.is_some());
    has_dispatchers && counts(plan) && !plan.policy.fleet_quotas.is_empty()
}
