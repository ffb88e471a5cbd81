//! One history: the actions of its faults, agents and people.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::chance::Chance;
use super::network::{HOST, PORT};
use super::oracle;
use super::plan::{Plan, Stores, secs};
use super::server::Server;
use super::world::{self, Clock, Ended, MILLISECOND, Rates, SECOND, Time, World};
use crate::clock;
use crate::config::{self, Config, StoreChoice};
use crate::hook::step_of;
use crate::policy::request::{Event, HoldRequest, RestRequest, Step};
use crate::policy::rest::RestKind;
use crate::policy::verdict::{Outcome, Reason, Verdict};
use crate::store;
use crate::store::failover::{decider, server_record};

/// The journal's stream.
pub(super) const STREAM: &str = "torch.continuous.ops";
/// The age after which no caller uses an admission.
const LATEST: Duration = Duration::from_millis(900);

/// The result of one call of the store, as its process saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) session: usize,
    pub(super) host: usize,
    pub(super) scope: String,
    pub(super) id: String,
    pub(super) event: String,
    pub(super) begun: Time,
    pub(super) at: Time,
    /// The answer; `None` for an error.
    pub(super) answer: Option<Answer>,
}

/// A step that was sent, whether an answer arrived or not.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) session: usize,
    /// When its Stop event was first sent; for a step that is not an engine's request, when the step itself was
    /// first sent.
    pub(super) since: Time,
    /// Whether it is a request with a fence.
    pub(super) asks: bool,
    pub(super) begun: Time,
}

#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The time until it is over or would be admitted.
    pub(super) left: Option<Duration>,
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) by_files: bool,
    pub(super) repeated: bool,
    pub(super) unjournaled: bool,
    /// Whether the agent continues by it.
    pub(super) goes_on: bool,
}

/// The recorded facts of a history while it is played.
pub(super) struct Story {
    pub(super) plan: Plan,
    pub(super) configs: Vec<Config>,
    pub(super) seen: Vec<Seen>,
    /// The last time each step was sent, by the step's id.
    pub(super) sent: BTreeMap<String, Sent>,
    /// The machines with a journal that is not known to have been shipped.
    pub(super) unshipped: BTreeSet<usize>,
    /// The newest Stop event of each session.
    newest: Vec<u64>,
    /// Whether there may be a hold that the person does not know of.
    is_unsure: bool,
    /// The ids of the releases.
    releases: BTreeSet<String>,
    /// When each session was first admitted after the last fault.
    pub(super) admitted: Vec<Option<Time>>,
    /// The session that was not admitted in time, which ends the history.
    pub(super) starved: Option<usize>,
}

impl Story {
    /// Returns whether a release was sent meanwhile.
    pub(super) fn is_released(&self, from: Time, to: Time) -> bool {
        let sent = self.releases.iter().filter_map(|id| self.sent.get(id));
        sent.into_iter().any(|sent| sent.begun >= from && sent.begun <= to)
    }

    /// Returns whether a step is a release.
    pub(super) fn is_release(&self, id: &str) -> bool {
        self.releases.contains(id)
    }
}

type Shared = Rc<RefCell<Story>>;

/// Plays a history in a directory of its own; `Err` describes the violation.
pub(super) fn play(plan: &Plan, folder: &Path, tells: bool) -> (Result<(), String>, Vec<String>) {
    let mut world = World::of(plan.seed ^ 0x5eed, tells);
    let chance = &mut world.chance;
    let offset = |chance: &mut Chance| i64::try_from(chance.below(7_200_000_000)).unwrap() - 3_600_000_000;
    let clocks: Vec<Clock> = (0..plan.hosts).map(|_| Clock::ahead_by(offset(chance))).collect();
    let clock = Clock::ahead_by(offset(chance));
    world.hosts = clocks;
    world.servers = vec![Server::with(clock)];
    world.rates = plan.rates;
    world.calms_at = plan.calms_at;
    let configs = (0..plan.hosts).map(|host| config(plan, host, folder)).collect();
    let count = plan.sessions.len();
    let story = Story {
        plan: plan.clone(),
        configs,
        seen: Vec::new(),
        sent: BTreeMap::new(),
        unshipped: BTreeSet::new(),
        newest: vec![0; count],
        is_unsure: false,
        releases: BTreeSet::new(),
        admitted: vec![None; count],
        starved: None,
    };
    let shared = Rc::new(RefCell::new(story));
    let loses = faults(&mut world, plan);
    people(&mut world, &shared, loses);
    for session in 0..count {
        let shared = Rc::clone(&shared);
        let begins = world.chance.below(3 * SECOND);
        world.later(begins, move || stops(&shared, session, false));
    }
    let calm = Rc::clone(&shared);
    world.later(plan.calms_at, move || {
        world::with(|world| world.rates = Rates::default());
        look(&calm);
    });
    let mut world = world::play(world);
    let told = world.told.take().unwrap_or_default();
    let judged = oracle::judge(&shared.borrow(), &world);
    (judged, told)
}

fn config(plan: &Plan, host: usize, folder: &Path) -> Config {
    let server = config::Server::parse(&format!("redis://{HOST}:{PORT}")).unwrap();
    let store = if plan.stores == Stores::Files { StoreChoice::Embedded } else { StoreChoice::Server(server) };
    let state = (plan.stores != Stores::Server).then(|| folder.join(format!("host-{host}")));
    Config { store, state, policy: plan.policy.clone(), ..Config::default() }
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

/// Plans the actions of people.
fn people(world: &mut World, shared: &Shared, loses: bool) {
    let plan = shared.borrow().plan.clone();
    let calms = plan.calms_at;
    let session = |world: &mut World| usize::try_from(world.chance.below(plan.sessions.len() as u64)).unwrap();
    if world.chance.happens(350) {
        let (about, at, is_fleets) = (session(world), world.chance.below(calms), world.chance.happens(300));
        let lasting = world.chance.one_of(&[None, Some(secs(2)), Some(secs(9))]);
        let hold = Event::Hold(HoldRequest {
            fleet: is_fleets,
            by: "ann".to_owned(),
            reason: "look".to_owned(),
            lasting,
            ..HoldRequest::default()
        });
        let release = Event::Release { fleet: is_fleets, at_once: false };
        let after = world.chance.below(6 * SECOND);
        // A message that the network held back may arrive after the release, and a server may lose the release.
        shared.borrow_mut().is_unsure = loses || plan.rates.held_back > 0 || plan.rates.doubled > 0;
        person(world, shared, at, about, vec![(0, hold), (after, release)]);
    }
    if world.chance.happens(200) {
        let (about, at) = (session(world), world.chance.below(calms));
        person(
            world,
            shared,
            at,
            about,
            vec![(0, Event::Wake { note: "look".to_owned(), spread: false, signal: None })],
        );
    }
    if world.chance.happens(300) {
        let (about, at) = (session(world), world.chance.below(calms));
        let shared = Rc::clone(shared);
        world.later(at, move || stops(&shared, about, true));
    }
}

/// Plans a person's commands, each at an interval after the one before it, and repeated until it is answered.
/// Where there may be a hold that the person does not know of, a release is also repeated until a calm server
/// has it.
fn person(world: &mut World, shared: &Shared, at: Time, session: usize, mut commands: Vec<(Time, Event)>) {
    if commands.is_empty() {
        return;
    }
    let (after, event) = commands.remove(0);
    let shared = Rc::clone(shared);
    world.later(at + after, move || {
        let (body, again) = (Rc::clone(&shared), Rc::clone(&shared));
        let host = shared.borrow().plan.sessions[session].host;
        let retried = event.clone();
        let answer = Rc::new(RefCell::new(None));
        let answered = Rc::clone(&answer);
        let run = move || {
            let step = step(&body, session, event.clone());
            *answered.borrow_mut() = ask(&body, (session, 0), &step).map(|(verdict, _)| verdict.by_files);
        };
        let then = move |_| {
            world::with(|world| {
                let (is_hold, answer) = (matches!(retried, Event::Hold(_)), *answer.borrow());
                // No hold is placed after the last fault.
                let gives_up = is_hold && world.time + 2 * SECOND > world.calms_at;
                let is_unsure = {
                    let mut story = again.borrow_mut();
                    story.is_unsure |= is_hold && answer.is_none();
                    let by_files = answer == Some(true) && story.plan.stores == Stores::Failover;
                    story.is_unsure && !is_hold && (by_files || world.time < world.calms_at)
                };
                if gives_up || (answer.is_some() && !is_unsure) {
                    return person(world, &again, 0, session, commands);
                }
                let calm = (world.calms_at + SECOND).saturating_sub(world.time);
                let after = if is_unsure { calm.max(2 * SECOND) } else { 2 * SECOND };
                commands.insert(0, (after, retried));
                person(world, &again, 0, session, commands);
            });
        };
        world::with(|world| world.start((host, false), true, run, then));
    });
}

/// Starts the process of a session's next Stop event, and of a person's prompt before it, if there is one.
fn stops(shared: &Shared, session: usize, is_prompted: bool) {
    let (host, newest) = {
        let mut story = shared.borrow_mut();
        story.newest[session] += 1;
        (story.plan.sessions[session].host, story.newest[session])
    };
    let (body, next) = (Rc::clone(shared), Rc::clone(shared));
    let goes_on = Rc::new(RefCell::new(false));
    let went_on = Rc::clone(&goes_on);
    let run = move || {
        if is_prompted {
            let prompt = step(&body, session, Event::PersonPrompt);
            ask(&body, (session, 0), &prompt);
            clock::sleep(Duration::from_millis(200));
        }
        *went_on.borrow_mut() = engine(&body, session);
    };
    let then = move |ended: Ended| {
        let is_calm = world::with(|world| world.time >= world.calms_at);
        let story = next.borrow();
        if story.newest[session] != newest || (is_calm && story.admitted[session].is_some()) {
            return;
        }
        drop(story);
        let goes_on = *goes_on.borrow() && ended == Ended::ByItself;
        // The length of the agent's turn, or the time until a person finds the agent idle.
        let after = world::with(|world| match goes_on {
            true => world.chance.between(100, 3000) * MILLISECOND,
            false => world.chance.between(300, 9000) * MILLISECOND,
        });
        world::with(|world| world.later(after, move || stops(&next, session, !goes_on)));
    };
    world::with(|world| {
        let is_newer = world.chance.happens(150);
        world.start((host, is_newer), true, run, then);
    });
}

/// Returns a step of a session.
fn step(shared: &Shared, session: usize, event: Event) -> Step {
    let plan = &shared.borrow().plan;
    let about = &plan.sessions[session];
    let name = match &event {
        Event::Hold(_) => "Hold",
        Event::Release { .. } => "Release",
        Event::Stop { .. } => "Stop",
        Event::PersonPrompt => "UserPromptSubmit",
        Event::Wake { .. } => "Wake",
        _ => "Notification",
    };
    let scope = if event.is_fleets() { String::new() } else { plan.scope(session) };
    let id = if event.is_of_holds() { String::new() } else { format!("session-{session}") };
    let host = format!("host-{}", about.host);
    Step { paced: about.waits, host, ..step_of(scope, id, name, event) }
}

/// Runs the engine of one Stop event by the answers it gets. Returns whether the agent continues.
fn engine(shared: &Shared, session: usize) -> bool {
    let flow = world::with(|world| world.time);
    let waits = shared.borrow().plan.sessions[session].waits;
    let rest = world::with(|world| world.chance.happens(100)).then(|| RestRequest {
        kind: RestKind::Rest,
        lasting: Some(secs(3)),
        topic: String::new(),
    });
    let begin = step(shared, session, Event::Stop { rest });
    let since = clock::now();
    let told_again = || {
        let waited = clock::now().saturating_duration_since(since);
        let mut step = Step { late: Some(waited), ..begin.clone() };
        if let Event::Stop { rest: Some(rest) } = &mut step.event {
            rest.lasting = rest.lasting.map(|lasting| lasting.saturating_sub(waited));
        }
        step
    };
    let mut next = begin.clone();
    loop {
        let answer = ask(shared, (session, flow), &next);
        if answer.as_ref().is_some_and(|(_, goes_on)| *goes_on) {
            return true;
        }
        if !waits {
            return false;
        }
        let Some((verdict, _)) = answer else {
            clock::sleep(Duration::from_millis(world::with(|world| world.chance.between(1000, 4000))));
            next = told_again();
            continue;
        };
        let decided = &verdict.decision;
        let Some(fence) = decided.fence.filter(|_| decided.reason != Reason::Superseded) else { return false };
        // The engine polls for changes by people, in place of a notification.
        let most = secs(5);
        clock::sleep(decided.retry_after.unwrap_or(most).min(most));
        next = match () {
            () if verdict.by_files && verdict.degraded.is_some() || decided.reason == Reason::Busy => told_again(),
            () => Step {
                event: Event::Ask { fence, renew: false },
                id: clock::id(),
                late: None,
                host_ms: clock::host_ms(),
                ..begin.clone()
            },
        };
    }
}

/// Sends a step to the store once, and records the answer. `flow` is when the Stop event of an engine was first
/// sent.
fn ask(shared: &Shared, (session, flow): (usize, u64), step: &Step) -> Option<(Verdict, bool)> {
    let begun = world::with(|world| world.time);
    let (host, config) = {
        let mut story = shared.borrow_mut();
        let asks = matches!(step.event, Event::Ask { .. });
        if matches!(step.event, Event::Release { .. }) {
            story.releases.insert(step.id.clone());
        }
        let since = match step.event {
            Event::Ask { .. } => flow,
            _ => story.sent.get(&step.id).map_or(begun, |sent| sent.since),
        };
        story.sent.insert(step.id.clone(), Sent { session, since, asks, begun });
        let host = story.plan.sessions[session].host;
        (host, story.configs[host].clone())
    };
    let (sent, begun) = (begun, clock::now());
    world::with(|world| world.begins(&step.id));
    world::tell(|| format!("session-{session} sends {:?} {}", step.event, step.id));
    let result = store::open(&config, begun + config.budget).and_then(|mut store| store.step(step));
    world::tell(|| match &result {
        Ok(v) => format!(
            "session-{session} is answered {:?} {:?} by files: {}",
            v.decision.reason, v.decision.retry_after, v.by_files
        ),
        Err(e) => format!("session-{session} is answered {e}"),
    });
    let is_late = clock::now().saturating_duration_since(begun) > LATEST;
    let verdict = result.ok();
    let goes_on = !is_late && verdict.as_ref().is_some_and(|v| v.admission.is_some());
    let answer = verdict.as_ref().map(|v| Answer {
        left: v.decision.retry_after,
        outcome: v.decision.outcome,
        reason: v.decision.reason,
        by_files: v.by_files,
        repeated: v.decision.repeated,
        unjournaled: v.unjournaled,
        goes_on,
    });
    let at = world::with(|world| world.time);
    let mut story = shared.borrow_mut();
    if goes_on && at >= story.plan.calms_at {
        story.admitted[session].get_or_insert(at);
    }
    let (id, event, scope) = (step.id.clone(), step.event_name.clone(), step.scope.clone());
    story.seen.push(Seen { session, host, scope, id, event, begun: sent, at, answer });
    drop(story);
    if is_late && goes_on { None } else { verdict.map(|verdict| (verdict, goes_on)) }
}

/// Checks once a second whether every session was admitted since the last fault, and every journal shipped.
fn look(shared: &Shared) {
    let time = world::with(|world| world.time);
    let mut story = shared.borrow_mut();
    let waits = |session: &usize| story.plan.sessions[*session].waits && story.admitted[*session].is_none();
    let left = (0..story.plan.sessions.len()).find(waits);
    if left.is_some() && time > story.plan.calms_at + story.plan.bound() {
        story.starved = left;
        return world::with(|world| world.is_over = true);
    }
    story.unshipped = (0..story.plan.hosts).filter(|host| owes(&story, *host)).collect();
    let is_over = left.is_none() && (story.unshipped.is_empty() || time > story.plan.calms_at + SHIPPED * SECOND);
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
    let folder = decider::dir(&story.configs[host]).filter(|_| story.plan.stores == Stores::Failover);
    folder
        .and_then(|folder| server_record::read(&folder))
        .is_some_and(|record| record.unshipped.is_some() || !record.away.is_empty())
}

/// Plays events on a machine, as later turns of its agents cause them. After a verdict the hook sends the
/// server's missing data.
fn ship(shared: &Shared, host: usize) {
    let body = Rc::clone(shared);
    let run = move || {
        let count = body.borrow().plan.sessions.len();
        for session in 0..count {
            if body.borrow().plan.sessions[session].host == host {
                let event = step(&body, session, Event::Other);
                ask(&body, (session, 0), &event);
            }
        }
    };
    world::with(|world| world.start((host, false), false, run, |_| ()));
}
