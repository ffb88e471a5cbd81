//! A simulated five-hour window: agents with turns of random length, the policy's own steps, and a status line that
//! reports at most once a minute.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::policy::decision::{self, State};
use crate::policy::documents::{FleetState, ScopeState, SessionState};
use crate::policy::limits::{Ms, Policy};
use crate::policy::pace::{Pace, WindowPace};
use crate::policy::request::{Claim, Event, Step};
use crate::policy::verdict::Outcome;
use crate::policy::windows::{FIVE_HOURS, Report, Share, Windows};

const BEGIN: Ms = 1_800_000_000_000;
const REPORT: Ms = 60_000;

/// A linear congruential generator, so that a run is the same each time.
struct Chance(u64);

impl Chance {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// The length of a turn: lognormal, with a median of a minute.
    fn turn(&mut self) -> f64 {
        let normal = (-2.0 * self.share().ln()).sqrt() * (std::f64::consts::TAU * self.share()).cos();
        60_000.0 * (0.8 * normal).exp()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happens {
    Stop,
    Ask,
    Report,
}

#[derive(Default)]
struct Agent {
    scope: ScopeState,
    session: SessionState,
    /// The begin, the end and the points of the running turn.
    turn: Option<(Ms, Ms, f64)>,
    turns: Vec<Ms>,
}

pub(super) struct Simulation {
    pub(super) agents: usize,
    /// The use without a pace, in windows.
    pub(super) unpaced: f64,
    /// The points that were used when the agents began.
    pub(super) used_before: f64,
    /// The points that a person uses beside them, over the window.
    pub(super) person: f64,
    /// How far the window has passed when the agents begin.
    pub(super) elapsed: Ms,
    /// The length of the run.
    pub(super) length: Ms,
    pub(super) seed: u64,
}

pub(super) struct Run {
    /// The points of each window at its end.
    pub(super) ends: Vec<f64>,
    /// The turns of each agent in the last four fifths of the run.
    pub(super) turns: Vec<usize>,
}

fn step(agent: usize, event: Event, now: Ms, chance: &mut Chance) -> Step {
    Step {
        event,
        event_name: String::new(),
        detail: String::new(),
        scope: format!("s{agent}"),
        session: format!("a{agent}"),
        name: String::new(),
        named_by_project: false,
        project: String::new(),
        wake_on: None,
        paced: true,
        shadow: false,
        pid: None,
        client: None,
        claim: Claim::Beside,
        late: None,
        start: None,
        host: String::new(),
        host_ms: now,
        r: (chance.share() * 1000.0) as u32,
        id: format!("{agent}-{now}"),
        turn: None,
        notes: Vec::new(),
        cache_is_warm: None,
        recalls: false,
        known_epoch: String::new(),
        agent: String::new(),
    }
}

/// Returns what a session's status line shows.
fn report(session: &str, api_ms: u64, used: u32, reset: Ms) -> Report {
    let five_hour = Some(Share { resets_at: reset / 60_000 * 60_000 + 60_000, used });
    Report { session: session.to_owned(), api_ms: Some(api_ms), five_hour, seven_day: None }
}

impl Simulation {
    fn policy() -> Policy {
        let pace = Pace { five_hour: Some(WindowPace { cap: 95, spread: true }), seven_day: None };
        Policy { pace: Some(pace), idle: None, quiet: std::time::Duration::ZERO, ..Policy::default() }
    }

    pub(super) fn run(&self) -> Run {
        let policy = Self::policy();
        let mut chance = Chance(self.seed);
        let mut reset = BEGIN + FIVE_HOURS - self.elapsed;
        let per_ms = self.unpaced * 100.0 / (FIVE_HOURS as f64 * self.agents as f64);
        let (mut done, mut ends) = (self.used_before, Vec::new());
        let (mut fleet, mut windows) = (FleetState::default(), Windows::default());
        let mut agents: Vec<Agent> = (0..self.agents).map(|_| Agent::default()).collect();
        let mut heap = BinaryHeap::new();
        for agent in 0..self.agents {
            heap.push(Reverse((BEGIN + (chance.share() * 60_000.0) as Ms, Happens::Stop, agent)));
        }
        heap.push(Reverse((BEGIN, Happens::Report, 0)));
        let end = BEGIN + self.length;
        let (mut last, mut reports) = (BEGIN, 0_u64);
        while let Some(Reverse((now, what, who))) = heap.pop() {
            if now > end {
                break;
            }
            done += self.person * (now - last) as f64 / FIVE_HOURS as f64;
            last = now;
            if now >= reset {
                ends.push(done + running(&agents, reset));
                // What a turn uses after the reset counts for the new window.
                done = -running(&agents, reset);
                reset += FIVE_HOURS;
            }
            if what == Happens::Report {
                reports += 1;
                let used = ((done + running(&agents, now)).max(0.0) * 100.0) as u32 / 100 * 100;
                let finished = fleet.quota.admitted.iter().filter(|at| **at > windows.counted).count() as u32;
                windows.merge(&report("busy", reports, used, reset), finished, now);
                // An idle session repeats its first report.
                windows.merge(&report("idle", 1, (self.used_before * 100.0) as u32, reset), 0, now);
                heap.push(Reverse((now + REPORT, Happens::Report, 0)));
                continue;
            }
            let agent = &mut agents[who];
            if let Some((_, _, points)) = agent.turn.take() {
                done += points;
            }
            let event = match what {
                Happens::Stop => Event::Stop { rest: None },
                _ => Event::Ask { fence: agent.session.fence.unwrap_or(0), renew: false },
            };
            let (scope, session) = (std::mem::take(&mut agent.scope), std::mem::take(&mut agent.session));
            let fleet_now = std::mem::take(&mut fleet);
            let mut state = State { fleet: fleet_now, scope, session, windows: windows.clone(), work: None };
            let decided = decision::step(&policy, &mut state, &step(who, event, now, &mut chance), now);
            (fleet, agent.scope, agent.session) = (state.fleet, state.scope, state.session);
            if decided.outcome == Outcome::Admit {
                let length = chance.turn();
                agent.turn = Some((now, now + length as Ms, length * per_ms));
                agent.turns.push(now);
                heap.push(Reverse((now + length as Ms, Happens::Stop, who)));
            } else {
                let left = decided.retry_after.expect("a time ends it").as_millis() as Ms;
                heap.push(Reverse((now + left.min(15_000.max(left / 4)), Happens::Ask, who)));
            }
        }
        if ends.is_empty() {
            ends.push(done + running(&agents, end));
        }
        let from = BEGIN + self.length / 5;
        let turns = agents.iter().map(|agent| agent.turns.iter().filter(|at| **at > from).count()).collect();
        Run { ends, turns }
    }
}

/// The points that the running turns have used at this time.
fn running(agents: &[Agent], now: Ms) -> f64 {
    let part = |(begin, end, points): (Ms, Ms, f64)| {
        points * ((now - begin) as f64 / (end - begin).max(1) as f64).clamp(0.0, 1.0)
    };
    agents.iter().filter_map(|agent| agent.turn).map(part).sum()
}

fn whole(agents: usize, unpaced: f64, seed: u64) -> Simulation {
    Simulation { agents, unpaced, used_before: 0.0, person: 0.0, elapsed: 0, length: FIVE_HOURS, seed }
}

/// Jain's index of fairness: 1 where all are equal.
fn jain(turns: &[usize]) -> f64 {
    let sum: f64 = turns.iter().map(|n| *n as f64).sum();
    let squares: f64 = turns.iter().map(|n| (*n as f64).powi(2)).sum();
    sum * sum / (turns.len() as f64 * squares)
}

/// The ends of the last window in 20 runs, in order, and the least fairness of a run.
fn ends(simulation: impl Fn(u64) -> Simulation) -> (Vec<f64>, f64) {
    let runs: Vec<Run> = (0..20).map(|seed| simulation(seed).run()).collect();
    let mut ends: Vec<f64> = runs.iter().map(|run| *run.ends.last().unwrap()).collect();
    ends.sort_by(f64::total_cmp);
    (ends, runs.iter().map(|run| jain(&run.turns)).fold(1.0, f64::min))
}

#[test]
fn a_window_ends_near_its_cap() {
    for agents in [1, 4, 40] {
        for unpaced in [1.6, 4.0, 16.0] {
            let (ends, fairness) = ends(|seed| whole(agents, unpaced, seed));
            let over = ends.iter().filter(|end| **end > 100.0).count();
            let shown = format!(
                "{agents} agents, {unpaced} windows: {:.1} to {:.1} (median {:.1}), {over} over 100, fairness {fairness:.3}",
                ends[0], ends[19], ends[10]
            );
            println!("{shown}");
            assert!((90.0..99.0).contains(&ends[10]), "{shown}");
            assert!(fairness > 0.95, "{shown}");
            // A turn of one of few agents may cost more than the last points.
            let is_smooth = unpaced / agents as f64 <= 1.6;
            assert!(!is_smooth || (ends[19] <= 99.0 && over == 0), "{shown}");
            assert!(agents < 40 || ends[0] >= 90.0, "{shown}");
        }
    }
}

/// Returns the simulation of a seed.
type Case = Box<dyn Fn(u64) -> Simulation>;

/// Each case is another begin of the window, with 40 agents and 4 windows of use.
#[test]
fn a_window_ends_near_its_cap_however_it_begins() {
    let base = |seed| whole(40, 4.0, seed);
    let half = FIVE_HOURS / 2;
    let cases: [(&str, Case); 3] = [
        ("a person uses 30 points", Box::new(move |seed| Simulation { person: 30.0, ..base(seed) })),
        (
            "half of it is over and used",
            Box::new(move |seed| Simulation { used_before: 50.0, elapsed: half, length: half, ..base(seed) }),
        ),
        (
            "it is new, after a reset in the middle",
            Box::new(move |seed| Simulation { elapsed: half, length: FIVE_HOURS + half, ..base(seed) }),
        ),
    ];
    for (case, simulation) in cases {
        let (ends, _) = ends(simulation);
        println!("{case}: {:.1} to {:.1}", ends[0], ends[19]);
        assert!(ends[0] >= 90.0 && ends[19] <= 99.0, "{case}: {:.1} to {:.1}", ends[0], ends[19]);
    }
}

#[test]
fn nothing_is_admitted_above_the_cap() {
    let simulation = Simulation { used_before: 96.0, length: FIVE_HOURS / 2, ..whole(40, 4.0, 1) };
    let run = simulation.run();
    assert_eq!(run.turns.iter().sum::<usize>(), 0);
}
