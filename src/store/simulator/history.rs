//! One history: the actions of its faults, agents and people.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use super::agent::{leaves, stops};
use super::chance::Chance;
use super::dispatchers;
use super::ledger::Ledger;
use super::network::{self, HOST, PORT};
use super::oracle;
use super::people::{people, reports};
use super::plan::{Plan, Stores};
use super::server::Server;
use super::story::{Shared, Story, ask, step};
use super::variants;
use super::work;
use super::world::{self, Clock, MILLISECOND, Rates, SECOND, Time, World};
use crate::config::{self, Config, StoreChoice};
use crate::policy::request::Event;
use crate::store::failover::{decider, server_record};

/// The journal's stream.
pub(super) const STREAM: &str = "torch.continuous.ops";

/// A history that was played.
pub(super) struct Played {
    /// The violation, if there is one.
    pub(super) judged: Result<(), String>,
    /// Its text, where it is to be printed.
    pub(super) told: Vec<String>,
    /// How often each reason was answered.
    pub(super) reasons: BTreeMap<&'static str, u64>,
}

/// Plays a history in a directory of its own.
pub(super) fn play(plan: &Plan, folder: &Path, tells: bool) -> Played {
    let mut world = World::of(plan.seed ^ 0x5eed, tells);
    let chance = &mut world.chance;
    // Usage windows end at one time, at a whole minute, which clocks that agree reach together.
    let (around, widest) = match plan.rhythm.usage {
        Some(usage) => (4 * SECOND + 60 * SECOND - (20 * SECOND + usage.resets) % (60 * SECOND), 2 * SECOND),
        None => (0, 3600 * SECOND),
    };
    let signed = |time: Time| i64::try_from(time).unwrap();
    let offset = |chance: &mut Chance| signed(around + chance.below(2 * widest)) - signed(widest);
    let clocks: Vec<Clock> = (0..plan.hosts).map(|_| Clock::ahead_by(offset(chance))).collect();
    let clock = Clock::ahead_by(offset(chance));
    world.hosts = clocks;
    world.servers = vec![Server::with(clock)];
    world.rates = plan.rates;
    world.calms_at = plan.calms_at;
    world.files = (0..plan.hosts).map(|_| Ledger::default()).collect();
    let configs = (0..plan.hosts).map(|host| config(plan, host, folder)).collect();
    let story = Story::of(plan, configs, resets(&world, plan), folder);
    let shared = Rc::new(RefCell::new(story));
    let loses = faults(&mut world, plan);
    people(&mut world, &shared, loses);
    reports(&mut world, &shared);
    work::people(&mut world, &shared);
    dispatchers::plan(&mut world, &shared);
    for session in 0..plan.sessions.len() {
        let shared = Rc::clone(&shared);
        let begins = world.chance.below(3 * SECOND);
        let again = Rc::clone(&shared);
        match plan.sessions[session].leaves {
            Some(at) if at <= begins => continue,
            Some(at) => world.later(at, move || {
                work::ends(&again, session);
                leaves(&again, session);
            }),
            None => {}
        }
        world.later(begins, move || stops(&shared, session, false));
    }
    if let Some(at) = plan.leaves_server {
        let shared = Rc::clone(&shared);
        world.later(at, move || {
            world::tell(|| "the configuration names files".to_owned());
            shared.borrow_mut().configs.iter_mut().for_each(|config| config.store = StoreChoice::Embedded);
        });
    }
    let calm = Rc::clone(&shared);
    world.later(plan.calms_at, move || {
        world::with(|world| world.rates = Rates::default());
        look(&calm);
    });
    let mut world = world::play(world);
    let told = world.told.take().unwrap_or_default();
    let story = shared.borrow();
    work::look_at_rest(&story, &mut world);
    let mut reasons = work::counts(&world);
    for answer in story.seen.iter().filter_map(|seen| seen.answer.as_ref()) {
        *reasons.entry(answer.reason.code()).or_default() += 1;
        if !answer.turn_kind.is_work() {
            *reasons.entry(answer.turn_kind.code()).or_default() += 1;
        }
    }
    Played { judged: oracle::judge(&story, &world), told, reasons }
}

/// Returns the end of the usage window by each machine's clock, or by that of the server, rounded to the minute.
fn resets(world: &World, plan: &Plan) -> Vec<i64> {
    let Some(usage) = plan.rhythm.usage else { return Vec::new() };
    let own = |clock: &Clock| (clock.shows(usage.resets) / 60_000_000) * 60_000;
    let server = own(&world.servers[0].clock);
    world.hosts.iter().map(|host| if plan.stores == Stores::Files { own(host) } else { server }).collect()
}

fn config(plan: &Plan, host: usize, folder: &Path) -> Config {
    let server = config::Server::parse(&format!("redis://{HOST}:{PORT}")).unwrap();
    let store = if plan.stores == Stores::Files { StoreChoice::Embedded } else { StoreChoice::Server(server) };
    let state = (plan.stores != Stores::Server).then(|| folder.join(format!("host-{host}")));
    let mut policy = plan.policy.clone();
    variants::loosen(&mut policy);
    Config { store, state, policy, ..Config::default() }
}

/// Plans the faults that have no rate: restarts, cuts, clock steps. Returns whether the server loses data.
fn faults(world: &mut World, plan: &Plan) -> bool {
    let mut loses_any = false;
    let calms = plan.calms_at;
    let some = |world: &mut World, rate| if world.chance.happens(rate) { world.chance.between(1, 2) } else { 0 };
    for _ in 0..some(world, 300) {
        let (at, lasts) = (world.chance.below(calms), world.chance.one_of(&[MILLISECOND, SECOND, 8 * SECOND]));
        let loses = world.chance.one_of(&[None, None, Some(true), Some(false)]);
        loses_any |= loses.is_some();
        let lasts = lasts.min(calms - at);
        let snapshot = world.chance.below(at.max(1));
        world.later(snapshot, || world::with(|world| world.servers[0].snapshot()));
        world.later(at, move || {
            world::tell(|| format!("the server stops and loses {loses:?}"));
            world::with(|world| {
                let time = world.time;
                world.servers[0].stop(time, loses);
                if world.chance.happens(700) {
                    network::close_all(world, 0);
                }
            });
        });
        world.later(at + lasts, || {
            world::tell(|| "the server is up".to_owned());
            world::with(|world| world.servers[0].is_up = true);
        });
    }
    for _ in 0..some(world, 300) {
        let (at, host) = (world.chance.below(calms), world.chance.below(plan.hosts as u64));
        let lasts = world.chance.below(10 * SECOND).min(calms - at);
        world.later(at, move || {
            world::tell(|| format!("machine {host} is cut off for {lasts} us"));
            world::with(|world| world.network.cut(usize::try_from(host).unwrap(), 0, at + lasts));
        });
    }
    for _ in 0..some(world, 250) {
        let (at, of) = (world.chance.below(calms), world.chance.below(plan.hosts as u64 + 1));
        let by = world.chance.one_of(&[-3_600_000, -20_000, -1_500, -900, 900, 1_500, 20_000, 3_600_000]) * 1000;
        let by = if plan.rhythm.usage.is_some() { by.clamp(-20_000_000, 20_000_000) } else { by };
        world.later(at, move || {
            world::tell(|| format!("the clock {of} is stepped by {by} us"));
            world::with(|world| {
                let time = world.time;
                match usize::try_from(of).unwrap().checked_sub(1) {
                    Some(host) => world.hosts[host].step(time, by),
                    None => world.servers[0].clock.step(time, by),
                }
            });
        });
    }
    loses_any
}

/// Checks once a second whether every session was admitted since the last fault, and every journal shipped.
fn look(shared: &Shared) {
    let time = world::with(|world| world.time);
    let mut story = shared.borrow_mut();
    work::note(&mut story);
    let can_starve = !dispatchers::trips(&story.plan);
    let waits = |session: &usize| {
        let about = &story.plan.sessions[*session];
        let is_due = work::due_since(&story, *session).is_some();
        can_starve && about.waits && about.leaves.is_none() && story.admitted[*session].is_none() && is_due
    };
    let left: Vec<usize> = (0..story.plan.sessions.len()).filter(waits).collect();
    // A wake-up is answered within a minute.
    let since = |session: usize| match story.is_done(session) {
        true => story.plan.calms_at + 60 * SECOND,
        false => {
            let due = work::due_since(&story, session).unwrap_or(0);
            story.woken[session].unwrap_or(0).max(story.plan.calms_at).max(due)
        }
    };
    let can_starve = !dispatchers::trips(&story.plan);
    let starved =
        left.iter().copied().filter(|_| can_starve).find(|session| time > since(*session) + story.plan.bound());
    if starved.is_some() {
        story.starved = starved;
        return world::with(|world| world.is_over = true);
    }
    story.unshipped = (0..story.plan.hosts).filter(|host| owes(&story, *host)).collect();
    // The last entries come within some seconds, and the sessions may continue for a while.
    let last = story.plan.work.as_ref().map_or(0, |work| story.plan.calms_at + 10 * SECOND + work.lasts);
    let settled = dispatchers::look(&mut story);
    if let Err(why) = settled {
        story.stalled = Some(why);
        return world::with(|world| world.is_over = true);
    }
    let is_over = left.is_empty()
        && settled == Ok(true)
        && time >= last
        && (story.unshipped.is_empty() || time > story.plan.calms_at + SHIPPED * SECOND);
    if is_over {
        return world::with(|world| world.is_over = true);
    }
    let unshipped = story.unshipped.clone();
    drop(story);
    unshipped.into_iter().for_each(|host| ship(shared, host));
    let shared = Rc::clone(shared);
    world::with(|world| world.later(SECOND, move || look(&shared)));
}

/// The number of seconds after the last fault within which every journal is shipped.
const SHIPPED: u64 = 200;

/// Returns whether a machine has entries or changes to send to the server.
fn owes(story: &Story, host: usize) -> bool {
    let folder = decider::dir(&story.configs[host])
        .filter(|_| story.plan.stores == Stores::Failover && story.plan.leaves_server.is_none());
    // A scope is sent with its next event, which that of a dispatcher may never have.
    let is_owed = |scope: &String| !scope.starts_with("agent-");
    let has_sessions = story.plan.sessions.iter().any(|session| session.host == host);
    folder
        .and_then(|folder| server_record::read(&folder))
        .is_some_and(|record| has_sessions && (record.unshipped.is_some() || record.away.iter().any(is_owed)))
}

/// Plays events on a machine, as later turns of its agents cause them. After a verdict the hook sends the
/// server's missing data.
fn ship(shared: &Shared, host: usize) {
    let body = Rc::clone(shared);
    let run = move || {
        let count = body.borrow().plan.sessions.len();
        for session in 0..count {
            let is_its = {
                let story = body.borrow();
                let about = &story.plan.sessions[session];
                // A client that hangs in its start has no session yet.
                about.host == host && (!about.is_started || story.newest[session] > 0)
            };
            if is_its {
                let event = step(&body, session, Event::Other);
                ask(&body, (session, 0), &event);
            }
        }
    };
    world::with(|world| world.start((host, false), false, run, |_| ()));
}
