//! The agents: their turns, their Stop events, and the engines that wait after these.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::dispatchers;
use super::plan::secs;
use super::rhythm;
use super::story::{Shared, Turned, ask, step};
use super::variants::{Variant, is_broken};
use super::waiting::Engine;
use super::work;
use super::world::{self, Ended, Happening, MILLISECOND};
use crate::clock;
use crate::policy::request::{Event, RestRequest};
use crate::policy::rest::RestKind;
use crate::policy::turn::Turn;
use crate::process;

/// Starts the process of a session's next Stop event, and of a person's prompt before it, if there is one.
pub(super) fn stops(shared: &Shared, session: usize, is_prompted: bool) {
    let (host, newest) = {
        let mut story = shared.borrow_mut();
        let has_left = world::with(|world| story.plan.sessions[session].leaves.is_some_and(|at| at <= world.time));
        if story.plan.work.is_some() && has_left {
            return;
        }
        story.newest[session] += 1;
        (story.plan.sessions[session].host, story.newest[session])
    };
    let (body, next) = (Rc::clone(shared), Rc::clone(shared));
    let goes_on = Rc::new(RefCell::new(false));
    let went_on = Rc::clone(&goes_on);
    let number = Rc::new(Cell::new(0));
    let own = Rc::clone(&number);
    let run = move || {
        reopens(&body, session);
        if is_prompted {
            let prompt = step(&body, session, Event::PersonPrompt);
            ask(&body, (session, 0), &prompt);
            clock::sleep(Duration::from_millis(200));
        }
        *went_on.borrow_mut() = engine(&body, session, is_prompted);
    };
    let then = move |ended: Ended| {
        let story = next.borrow();
        let lasts = story.plan.work.as_ref().map_or(0, |work| work.lasts);
        let is_calm = world::with(|world| world.time >= world.calms_at + lasts);
        let has_left = world::with(|world| story.plan.sessions[session].leaves.is_some_and(|at| at <= world.time));
        let is_started = story.plan.sessions[session].is_started;
        let is_done = is_calm && story.admitted[session].is_some() && !is_started;
        if has_left || story.newest[session] != newest || is_done {
            return;
        }
        drop(story);
        let goes_on = *goes_on.borrow() && ended == Ended::ByItself;
        if is_started {
            dispatchers::is_over(own.get());
            if !goes_on {
                // A client without an engine and a person does nothing more. A kill ends the client too.
                return dispatchers::ends(&next, session);
            }
        }
        // The length of the agent's turn, or the time until a person finds the agent idle.
        let after = world::with(|world| match goes_on {
            true => world.chance.between(100, 3000) * MILLISECOND,
            false => world.chance.between(300, 9000) * MILLISECOND,
        });
        world::with(|world| world.later(after, move || stops(&next, session, !goes_on)));
    };
    let process = world::with(|world| {
        let is_newer = world.chance.happens(150);
        world.start((host, is_newer), true, run, then)
    });
    number.set(process);
    shared.borrow_mut().process[session] = Some(process);
}

/// Ends some sessions and opens them again, where there is work.
fn reopens(shared: &Shared, session: usize) {
    let ends = shared.borrow().plan.work.is_some()
        && !shared.borrow().plan.sessions[session].is_started
        && world::with(|world| world.time < world.calms_at && world.chance.happens(80));
    if !ends {
        return;
    }
    let end = step(shared, session, Event::SessionEnd);
    ask(shared, (session, 0), &end);
    clock::sleep(Duration::from_millis(700));
    let start = step(shared, session, Event::SessionStart { label: String::new() });
    ask(shared, (session, 0), &start);
}

/// Kills a client for good, with the process that its session has.
pub(super) fn leaves(shared: &Shared, session: usize) {
    if let Some(process) = shared.borrow().process[session] {
        world::with(|world| world.after(0, Happening::Kill { process }));
    }
}

/// Draws the event that ends a session's turn, and the turn as it is measured.
fn turned(shared: &Shared, session: usize, is_prompted: bool) -> (Event, Option<Turn>, Turned) {
    let story = shared.borrow();
    let about = &story.plan.sessions[session];
    world::with(|world| {
        let is_calm = world.time >= world.calms_at;
        let chance = &mut world.chance;
        if about.waits && !is_calm && chance.happens(story.plan.rhythm.failing) {
            let failure = rhythm::failure(chance);
            let turned = Turned { is_prompted, failure: Some(failure.clone()), ..Turned::default() };
            return (Event::StopFailure(failure), None, turned);
        }
        let (turn, idles) = rhythm::turn(about.habit, chance);
        let rest = |kind, lasting| RestRequest { kind, lasting, topic: String::new() };
        let rest = match story.is_done(session) {
            _ if story.plan.work.is_some() => work::words(chance),
            true => Some(rest(RestKind::Done, None)),
            false => chance.happens(100).then(|| rest(RestKind::Rest, Some(secs(3)))),
        };
        let is_done = rest.as_ref().is_some_and(|rest| rest.kind == RestKind::Done);
        (Event::Stop { rest }, turn.filter(|_| about.waits), Turned { idles, is_prompted, is_done, failure: None })
    })
}

/// Runs the process of one Stop event. Returns whether the agent continues.
fn engine(shared: &Shared, session: usize, is_prompted: bool) -> bool {
    let flow = world::with(|world| world.time);
    let (event, turn, turned) = turned(shared, session, is_prompted);
    shared.borrow_mut().turned.insert((session, flow), turned);
    let mut begin = step(shared, session, event);
    // A dispatcher sees whether an engine waits.
    begin.pid = shared.borrow().plan.sessions[session].is_started.then(process::own);
    if !begin.paced {
        return ask(shared, (session, flow), &begin).is_some_and(|(_, goes_on)| goes_on);
    }
    let turn = turn.map(|turn| {
        let takes = world::with(|world| world.chance.one_of(&[0, 3, 20, 400, 2000]));
        let turn = if is_broken(Variant::UsefulTurnIdle) { Turn { seen: true, ..Turn::default() } } else { turn };
        (turn, Duration::from_millis(takes))
    });
    Engine::new(shared, (session, flow), begin, turn).waits()
}
