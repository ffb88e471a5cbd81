//! The people of a history: holds, releases, wake-ups, prompts, and the status lines that report usage windows.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use super::agent::stops;
use super::network;
use super::plan::{Stores, secs};
use super::story::{Reported, Shared, ask, step};
use super::world::{self, SECOND, Time, World};
use crate::policy::request::{Event, HoldRequest};
use crate::policy::windows::{Report, Share};
use crate::store::fleet_reader::FleetReader;
use crate::store::windows;

/// Plans the actions of people.
pub(super) fn people(world: &mut World, shared: &Shared, loses: bool) {
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
        let signal = world.chance.one_of(&[None, Some("infra"), Some("ping"), Some("other")]);
        person(world, shared, at, about, vec![(0, wake(signal.map(str::to_owned)))]);
    }
    for _ in 0..if world.chance.happens(200) { world.chance.between(1, 2) } else { 0 } {
        // Another program publishes a text, which only the engines that listen at that moment receive.
        let (about, at) = (session(world), world.chance.below(calms));
        let channel = format!("frosty.wake.{}", plan.scope(about));
        let text = world.chance.one_of(&["look", "infra: look", "other: look"]);
        world.later(at, move || {
            world::tell(|| format!("{text} is published on {channel}"));
            world::with(|world| network::publish(world, 0, channel.as_bytes(), text.as_bytes()));
        });
    }
    for (about, done) in plan.sessions.iter().enumerate().filter(|(_, session)| session.is_done) {
        let (at, signal) =
            (calms + world.chance.below(9 * SECOND), done.wake_on.as_ref().map(|listed| listed[0].clone()));
        person(world, shared, at, about, vec![(0, wake(signal))]);
    }
    if world.chance.happens(300) {
        let (about, at) = (session(world), world.chance.below(calms));
        let shared = Rc::clone(shared);
        world.later(at, move || stops(&shared, about, true));
    }
}

fn wake(signal: Option<String>) -> Event {
    Event::Wake { note: "look".to_owned(), spread: false, signal, depth: 0 }
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

/// Plans the reports of the status lines.
pub(super) fn reports(world: &mut World, shared: &Shared) {
    let count = shared.borrow().plan.sessions.len() as u64;
    if shared.borrow().plan.rhythm.usage.is_none() {
        return;
    }
    for nth in 0..world.chance.between(1, 5) {
        let (at, session) = (world.chance.below(30 * SECOND), world.chance.below(count));
        let shared = Rc::clone(shared);
        world.later(at, move || {
            let session = usize::try_from(session).unwrap();
            let host = shared.borrow().plan.sessions[session].host;
            world::with(|world| world.start((host, false), true, move || report(&shared, session, nth), |_| ()));
        });
    }
}

/// Reports the usage window, and records a report that the store and the machine have.
fn report(shared: &Shared, session: usize, nth: u64) {
    let (mut config, used, resets_at, host) = {
        let story = shared.borrow();
        let (Some(usage), host) = (story.plan.rhythm.usage, story.plan.sessions[session].host) else { return };
        let turns = story.seen.iter().filter(|seen| seen.answer.as_ref().is_some_and(|answer| answer.goes_on)).count();
        let used = usage.first + usage.per_turn * u32::try_from(turns).unwrap();
        (story.configs[host].clone(), used, story.resets[host], host)
    };
    if config.state.is_none() {
        // The status line keeps its windows in files, and a machine reports once a minute.
        config.state = Some(shared.borrow().folder.join(format!("report-{nth}")));
    }
    let file = config.state.as_ref().unwrap().join(&config.fleet).join("windows.json");
    let (before, life) = (fs::read(&file).ok(), world::with(|world| world.servers[0].life));
    let share = Some(Share { resets_at, used });
    let report = Report { session: format!("session-{session}"), api_ms: Some(nth), five_hour: share, seven_day: None };
    let mut reader = FleetReader::open_for(&config, Duration::from_millis(900));
    let reported = windows::report(&mut reader, &report, None);
    world::tell(|| format!("session-{session} reports {used} until {resets_at}: {reported:?}"));
    if reported.is_err() || fs::read(&file).ok() == before {
        return;
    }
    let (at, life_now) = world::with(|world| (world.time, world.servers[0].life));
    let life = reader.server().is_some().then_some(life).filter(|life| *life == life_now);
    shared.borrow_mut().reported.push(Reported { at, host, life, used, resets_at });
}
