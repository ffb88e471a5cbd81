//! Draws what slows agents beside their limits: idle turns, a person's quiet minute, API errors, usage windows, and
//! rests that only a wake-up ends.

use std::time::Duration;

use super::chance::Chance;
use super::plan::{Plan, Stores, secs};
use super::world::{MILLISECOND, SECOND, Time};
use crate::policy::cadence::{Cadence, Dreams};
use crate::policy::limits::{Backoff, Idle, IdleRow, millis};
use crate::policy::pace::{Pace, WindowPace};
use crate::policy::request::{Failure, FailureClass, Reset};
use crate::policy::turn::Turn;

/// The model of every turn, as transcripts name it, and as the text of a limit names it.
const MODEL: &str = "claude-opus-5";
const MODEL_OF_LIMIT: &str = "opus";

/// The outcome of an agent's turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Nothing measures its turns.
    Unmeasured,
    /// Each turn does something new.
    Useful,
    /// Each turn is empty, or repeats its tool call.
    Idle,
    /// Any of these.
    Mixed,
}

/// The use of the API that the sessions report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// The used share at the first report, and the share that each turn uses, in hundredths of a per cent.
    pub(super) first: u32,
    pub(super) per_turn: u32,
    /// When the window is over at the latest, if no clock is stepped.
    pub(super) resets: Time,
    /// The share that the fleet may use, in per cent.
    pub(super) cap: u32,
}

/// The failed turns and the usage windows of a history.
#[derive(Debug, Clone, Default)]
pub(super) struct Rhythm {
    /// The rate of the turns that end on an API error, in thousandths.
    pub(super) failing: u64,
    pub(super) usage: Option<Usage>,
}

/// Draws the rhythm from numbers of its own, so that the other draws of a seed do not depend on it.
pub(super) fn draw(plan: &mut Plan) {
    let mut chance = Chance::of(plan.seed ^ 0x0a11_da75);
    if chance.happens(300) {
        plan.policy.quiet = secs(chance.one_of(&[3, 6, 12]));
    }
    plan.policy.idle = chance.happens(500).then(|| idle(&mut chance));
    plan.policy.api_error = Backoff { base: secs(chance.between(1, 2)), factor: 2000, max: secs(6) };
    plan.rhythm.failing = if chance.happens(300) { chance.one_of(&[100, 400]) } else { 0 };
    if chance.happens(200) {
        usage(plan, &mut chance);
    }
    let habits = [Habit::Unmeasured, Habit::Useful, Habit::Idle, Habit::Mixed];
    let calms_at = plan.calms_at;
    if plan.stores == Stores::Failover && chance.happens(150) {
        plan.leaves_server = Some(chance.below(calms_at));
    }
    for (nth, session) in plan.sessions.iter_mut().enumerate().filter(|(_, session)| session.waits) {
        session.habit = chance.one_of(&habits);
        session.wake_on =
            chance.happens(400).then(|| chance.one_of(&["infra", "ping"])).map(|one| vec![one.to_owned()]);
        session.is_done = nth > 0 && chance.happens(250);
        session.leaves = (nth > 0 && chance.happens(150)).then(|| chance.below(calms_at));
    }
    if chance.happens(300) {
        plan.policy.cadence = Cadence {
            reflect_every: u32::try_from(chance.between(0, 2)).unwrap(),
            dreams: chance.one_of(&[Dreams::Off, Dreams::On]),
            between_dreams: 1,
            long_rest: secs(1),
            ..Cadence::default()
        };
    }
}

fn idle(chance: &mut Chance) -> Idle {
    let growth = Backoff { base: secs(chance.between(1, 2)), factor: 2000, max: secs(chance.one_of(&[4, 9])) };
    let row = |(units, rest)| IdleRow { units, rest: secs(rest) };
    let table = if chance.happens(300) { [(0, 3), (2, 1)].map(row).into() } else { Vec::new() };
    Idle { growth, looked_max: secs(chance.one_of(&[2, 3])), table }
}

fn usage(plan: &mut Plan, chance: &mut Chance) {
    let cap = chance.one_of(&[90, 95]);
    let window = WindowPace { cap, spread: chance.happens(600) };
    plan.policy.pace = Some(Pace { five_hour: Some(window), seven_day: None });
    plan.rhythm.usage = Some(Usage {
        first: chance.one_of(&[0, 5000, 8600, 9600]),
        per_turn: chance.one_of(&[50, 300, 2000]),
        resets: chance.between(10, 40) * SECOND,
        cap,
    });
}

/// Returns how much longer than by its limits a session with a waiting engine may stay away.
pub(super) fn bound(plan: &Plan) -> Time {
    let policy = &plan.policy;
    let idle = policy.idle.as_ref().map_or(Duration::ZERO, |idle| idle.growth.max);
    let errors = if plan.rhythm.failing > 0 { policy.api_error.max } else { Duration::ZERO };
    let rests = u64::try_from((policy.quiet + idle + errors).as_millis()).unwrap() * MILLISECOND;
    // The sessions continue up to a minute after the reset, and two steps of a clock may postpone it by 40 s.
    let window = plan.rhythm.usage.map_or(0, |usage| (usage.resets + 110 * SECOND).saturating_sub(plan.calms_at));
    rests + window
}

/// Returns the measured turn before a Stop event, and whether it was of no use.
pub(super) fn turn(habit: Habit, chance: &mut Chance) -> (Option<Turn>, bool) {
    let idles = match habit {
        Habit::Unmeasured => {
            let unseen = chance.happens(500).then(Turn::default);
            return (unseen, false);
        }
        Habit::Useful => false,
        Habit::Idle => true,
        Habit::Mixed => chance.happens(600),
    };
    let repeats = chance.happens(500);
    let (calls, tokens_out) = match (idles, repeats) {
        (true, true) => (vec![7], 10),
        (true, false) => (Vec::new(), 399),
        (false, true) => (vec![chance.next(), 7], 10),
        (false, false) => (Vec::new(), 400),
    };
    let tools = u32::try_from(calls.len()).unwrap();
    let turn = Turn { seen: true, calls, tools, units: tools, tokens_out, model: MODEL.to_owned(), ..Turn::default() };
    (Some(turn), idles)
}

/// Returns an API error that passes, with a reset time or without one.
pub(super) fn failure(chance: &mut Chance) -> Failure {
    let reset = chance.one_of(&[None, Some(2), Some(5)]).map(secs);
    let model = if reset.is_some() && chance.happens(300) { MODEL_OF_LIMIT } else { "" };
    Failure {
        class: FailureClass::Passing,
        reset: reset.map(Reset::After),
        of_key: reset.is_some(),
        model: model.to_owned(),
        too_long: false,
        cure: String::new(),
    }
}

/// Returns the least time for which an API error keeps its scope away, in milliseconds.
pub(super) fn least(plan: &Plan, failure: &Failure) -> i64 {
    let base = millis(plan.policy.api_error.base);
    match failure.reset {
        Some(Reset::After(after)) => millis(after).max(base),
        _ => base,
    }
}
