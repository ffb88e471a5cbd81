//! The pace over a usage window of five hours: many engines, turns of random length and cost, under the real policy and a
//! simulated clock. It prints where each window ends.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::support::{T0, step, stop_step};
use frosty::policy::decision::{self, State};
use frosty::policy::documents::{FleetState, ScopeState, SessionState};
use frosty::policy::limits::{Ms, Policy, millis};
use frosty::policy::pace::{Pace, Turns, WindowPace};
use frosty::policy::request::{Event, Step};
use frosty::policy::verdict::{Decision, Outcome, Reason};
use frosty::policy::windows::{FIVE_HOURS, Report, Window, Windows};

/// The mean length of a turn, in milliseconds.
const TURN: f64 = 60_000.0;

/// A reproducible source of random numbers (splitmix64).
struct Chance(u64);

impl Chance {
    /// Returns a number from 0 to 1, both exclusive.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + 1e-12
    }

    /// Returns a lognormal number with this mean.
    fn lognormal(&mut self, mean: f64) -> f64 {
        const SIGMA: f64 = 0.8;
        let normal = (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos();
        mean * (SIGMA * normal - SIGMA * SIGMA / 2.0).exp()
    }
}

/// A run of engines over a window.
#[derive(Clone, Copy)]
struct Run {
    engines: usize,
    /// The use without a pace, as a multiple of the window.
    unpaced: f64,
    seed: u64,
    /// The share that is used at the start, in per cent, and how much of the window's time has passed.
    used: f64,
    elapsed: f64,
    /// The share that a person uses beside the engines in the whole window, in per cent.
    person: f64,
    /// Whether one more session repeats its first status line for ever, once a second.
    repeats: bool,
    cap: u32,
}

const RUN: Run =
    Run { engines: 1, unpaced: 4.0, seed: 1, used: 0.0, elapsed: 0.0, person: 0.0, repeats: false, cap: 95 };

/// The end of a run.
struct Ended {
    /// The used share at the reset, in per cent.
    used: f64,
    /// The number of turns of each engine.
    turns: Vec<u32>,
    /// The requests that were refused by the cap.
    limited: u32,
}

/// The engines, their shared state, and the window.
struct World {
    run: Run,
    policy: Policy,
    chance: Chance,
    fleet: FleetState,
    scopes: Vec<ScopeState>,
    sessions: Vec<SessionState>,
    windows: Windows,
    used: f64,
    finished: u32,
    in_flight: u32,
    begins: Ms,
    turns: Vec<u32>,
    limited: u32,
}

impl World {
    fn new(run: Run) -> Self {
        let pace = Pace { five_hour: Some(WindowPace { cap: run.cap, spread: true }), seven_day: None };
        let idle = None;
        let policy = Policy { pace: Some(pace), idle, quiet: Duration::ZERO, ..Policy::default() };
        let begins = T0 - (run.elapsed * millis(FIVE_HOURS) as f64) as Ms;
        let n = run.engines;
        Self {
            run,
            policy,
            chance: Chance(run.seed),
            fleet: FleetState::default(),
            scopes: vec![ScopeState::default(); n],
            sessions: vec![SessionState::default(); n],
            windows: Windows::default(),
            used: run.used,
            finished: if run.used > 0.0 { 100 } else { 0 },
            in_flight: 0,
            begins,
            turns: vec![0; n],
            limited: 0,
        }
    }

    fn resets_at(&self) -> Ms {
        self.begins + millis(FIVE_HOURS)
    }

    /// Sends one request of an engine.
    fn send(&mut self, engine: usize, event: Event, now: Ms) -> Decision {
        let event = match event {
            Event::Ask { .. } => Event::Ask { fence: self.sessions[engine].fence.unwrap(), renew: false },
            other => other,
        };
        let base = if matches!(event, Event::Stop { .. }) { stop_step() } else { step(event) };
        let (session, scope) = (format!("session-{engine}"), format!("scope-{engine}"));
        let ask = Step { paced: true, session, scope, host_ms: now, r: (self.chance.uniform() * 1e6) as u32, ..base };
        let mut state = State {
            fleet: std::mem::take(&mut self.fleet),
            scope: std::mem::take(&mut self.scopes[engine]),
            session: std::mem::take(&mut self.sessions[engine]),
            windows: self.windows,
            turns: Turns { finished: [self.finished, 0], in_flight: self.in_flight },
        };
        let decided = decision::step(&self.policy, &mut state, &ask, now);
        (self.fleet, self.scopes[engine], self.sessions[engine]) = (state.fleet, state.scope, state.session);
        decided
    }

    /// Uses a part of the window, which a status line then shows.
    fn uses(&mut self, share: f64, now: Ms) {
        self.used += share;
        self.shows((self.used * 100.0) as u32, true, now);
    }

    fn shows(&mut self, used: u32, is_fresh: bool, now: Ms) {
        let window = Window::new(self.resets_at(), used, now);
        let report = Report { windows: Windows { five_hour: Some(window), seven_day: None }, is_fresh };
        self.windows = self.windows.merged(&report, now);
    }

    /// Plays until the reset.
    fn play(mut self) -> Ended {
        let span = millis(FIVE_HOURS) as f64;
        let each = TURN + millis(self.policy.stop.min_interval) as f64;
        let cost = self.run.unpaced * 100.0 / (self.run.engines as f64 * span / each);
        let first = (self.used * 100.0) as u32;
        if self.used > 0.0 {
            self.shows(first, true, T0);
        }
        // (time, engine, whether a turn of this cost ends)
        let mut queue: BinaryHeap<Reverse<(Ms, usize, bool, u64)>> = BinaryHeap::new();
        for engine in 0..self.run.engines {
            queue.push(Reverse((T0 + (engine as Ms) * 700, engine, true, 0)));
        }
        let person = self.run.person / (span / 60_000.0);
        let mut next_minute = T0;
        while let Some(Reverse((now, engine, ends, bits))) = queue.pop() {
            if now >= self.resets_at() {
                break;
            }
            while next_minute <= now {
                next_minute += 60_000;
                if person > 0.0 {
                    self.uses(person, now);
                }
                if self.run.repeats {
                    self.shows(first, false, now);
                }
            }
            if ends && bits > 0 {
                self.in_flight -= 1;
                self.finished += 1;
                self.uses(f64::from_bits(bits), now);
            }
            let event = if ends { Event::Stop { rest: None } } else { Event::Ask { fence: 0, renew: false } };
            let decided = self.send(engine, event, now);
            if decided.outcome == Outcome::Admit {
                self.in_flight += 1;
                self.turns[engine] += 1;
                let took = self.chance.lognormal(TURN) as Ms + 1000;
                let used = self.chance.lognormal(cost).to_bits();
                queue.push(Reverse((now + took, engine, true, used)));
            } else {
                self.limited += u32::from(decided.reason == Reason::Limit);
                let left = millis(decided.retry_after.expect("a time")).clamp(1, 900_000);
                queue.push(Reverse((now + left, engine, false, 0)));
            }
        }
        Ended { used: self.used, turns: self.turns, limited: self.limited }
    }
}

/// Returns how equal the shares are: 1 where all are equal (Jain).
fn jain(turns: &[u32]) -> f64 {
    let sum: f64 = turns.iter().map(|n| f64::from(*n)).sum();
    let squares: f64 = turns.iter().map(|n| f64::from(*n) * f64::from(*n)).sum();
    sum * sum / (turns.len() as f64 * squares)
}

#[test]
fn a_window_lasts_until_its_reset() {
    for engines in [1, 4, 40] {
        for unpaced in [1.6, 4.0, 16.0] {
            let ends: Vec<Ended> =
                (1..=8).map(|seed| World::new(Run { engines, unpaced, seed, ..RUN }).play()).collect();
            let used: Vec<f64> = ends.iter().map(|end| end.used).collect();
            let (least, most) =
                (used.iter().copied().fold(f64::MAX, f64::min), used.iter().copied().fold(0.0, f64::max));
            let fair = ends.iter().map(|end| jain(&end.turns)).fold(1.0, f64::min);
            let over = used.iter().filter(|used| **used > 100.0).count();
            println!(
                "{engines:>2} engines, unpaced use {unpaced:>4} x: ends at {least:.1} to {most:.1} %, {over} of 8 over 100 %, Jain {fair:.3}"
            );
            if engines == 40 {
                assert_eq!(over, 0, "{used:?}");
                // With a dozen turns for each engine, their lengths make a difference.
                assert!(fair >= 0.9, "{fair}");
            }
            assert!(least >= 80.0 && most <= 110.0, "{used:?}");
        }
    }
}

#[test]
fn other_beginnings_of_a_window() {
    let four = Run { engines: 4, unpaced: 4.0, ..RUN };
    for (name, run, within) in [
        ("an idle session repeats its status line", Run { repeats: true, ..four }, 90.0..=99.0),
        ("half of the time is over", Run { used: 40.0, elapsed: 0.5, ..four }, 90.0..=99.0),
        ("a person uses 30 % beside it", Run { person: 30.0, ..four }, 85.0..=100.0),
        ("96 % are used, with a cap of 95", Run { used: 96.0, elapsed: 0.5, ..four }, 96.0..=96.0),
    ] {
        let ended = World::new(run).play();
        println!(
            "{name}: ends at {:.1} %, {} turns, {} refused by the cap",
            ended.used,
            ended.turns.iter().sum::<u32>(),
            ended.limited
        );
        assert!(within.contains(&ended.used), "{name}: {}", ended.used);
    }
}
