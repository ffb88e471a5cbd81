//! Random policies and histories of events, for the property tests.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::HashMap;
use std::time::Duration;

use frosty::policy::cadence::{Cadence, Dreams};
use frosty::policy::limits::{Backoff, Burst, ClassPolicy, Cooldown, Idle, IdleRow, Ms, Policy, Quota, Spread, millis};
use frosty::policy::process::{Birth, Process};
use frosty::policy::request::{
    Claim, Event, Failure, FailureClass, HoldRequest, R_RANGE, Reset, RestRequest, RunOutcome, RunPart, Step,
};
use frosty::policy::rest::RestKind;
use frosty::policy::turn::{TranscriptPlace, Turn};
use frosty::policy::verdict::Decision;
use frosty::policy::work::WorkPolicy;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runner, RngSeed};

use crate::support::{T0, step};

/// Returns the runner of random histories. It draws the same 2,000 in every run, so that only a change can make
/// a run fail; `FROSTY_HISTORIES=<n>` draws that many new ones.
pub fn runner() -> Runner {
    #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
    let more = std::env::var("FROSTY_HISTORIES").ok().and_then(|n| n.parse().ok());
    let (cases, rng_seed) = more.map_or((2_000, RngSeed::Fixed(1)), |n| (n, RngSeed::Random));
    Runner { cases, rng_seed, ..Runner::default() }
}

fn secs(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> + Clone {
    range.prop_map(Duration::from_secs)
}

fn cooldown() -> impl Strategy<Value = Cooldown> {
    (secs(1..=90), 0u64..=900, 1000u32..=3000, 0u32..=1000, secs(0..=900)).prop_map(
        |(base, more, factor, jitter, calm)| Cooldown {
            backoff: Backoff { base, factor, max: base + Duration::from_secs(more) },
            jitter,
            calm,
        },
    )
}

pub fn class(quotas: bool) -> impl Strategy<Value = ClassPolicy> {
    let interval = prop_oneof![1 => Just(Duration::ZERO), 4 => secs(1..=40), 1 => Just(Duration::from_secs(3600))];
    let burst = prop_oneof![
        1 => Just(None),
        5 => (2u32..=5, secs(1..=60)).prop_map(|(limit, window)| Some(Burst { limit, window })),
    ];
    let quota = (1u32..=6, secs(5..=300)).prop_map(|(limit, per)| Quota { limit, per });
    let most = if quotas { 2 } else { 0 };
    (interval, burst, prop::bool::weighted(0.2), cooldown(), prop::collection::vec(quota, 0..=most)).prop_map(
        |(min_interval, burst, window_limits, cooldown, quotas)| ClassPolicy {
            min_interval,
            burst,
            window_limits,
            cooldown,
            quotas,
        },
    )
}

/// Draws a policy, and one that a project's file may make of it: every limit is the same or tighter.
pub fn tightened() -> impl Strategy<Value = (Policy, Policy)> {
    let more = || prop_oneof![2 => Just(Duration::ZERO), 3 => secs(1..=40)];
    let burst = prop::option::weighted(0.6, (2u32..=5, secs(1..=60)));
    let quota = (1u32..=6, secs(5..=300)).prop_map(|(limit, per)| Quota { limit, per });
    let cooldown = (more(), more(), 0u32..=500, 0u32..=300, more());
    (policy(), more(), burst, cooldown, prop::collection::vec(quota, 0..=1)).prop_map(
        |(mut looser, interval, burst, (base, max, factor, jitter, calm), quotas)| {
            looser.stop.window_limits = false;
            let mut policy = looser.clone();
            let stop = &mut policy.stop;
            stop.window_limits = !interval.is_zero() && stop.is_limited_by_window() && stop.burst.is_some();
            stop.min_interval += interval;
            stop.burst = match (stop.burst, burst) {
                (Some(is), Some((limit, window))) => {
                    Some(Burst { limit: is.limit.min(limit), window: is.window.max(window) })
                }
                (None, Some((limit, window))) => Some(Burst { limit, window }),
                (is, None) => is,
            };
            let Cooldown { backoff, jitter: chance, calm: calms } = &mut stop.cooldown;
            (backoff.base, backoff.max) = (backoff.base + base, backoff.max + base + max);
            backoff.factor += factor;
            *chance = (*chance + jitter).min(1000);
            *calms += calm;
            stop.quotas.extend(quotas);
            (looser, policy)
        },
    )
}

pub fn policy() -> impl Strategy<Value = Policy> {
    let fleet = (1u32..=8, secs(5..=300)).prop_map(|(limit, per)| Quota { limit, per });
    let api = (secs(1..=60), 0u64..=600, 1000u32..=3000).prop_map(|(base, more, factor)| Backoff {
        base,
        factor,
        max: base + Duration::from_secs(more),
    });
    let millis = |most: u64| (0..=most).prop_map(Duration::from_millis);
    let spread = (millis(5_000), millis(20_000)).prop_map(|(step, cold)| Spread { step, cold });
    let idle =
        (secs(1..=60), secs(60..=600), prop::collection::vec(secs(1..=60), 0..=2)).prop_map(|(base, max, rests)| {
            let table = (0..).zip(rests).map(|(units, rest)| IdleRow { units, rest }).collect();
            Idle { growth: Backoff { base, factor: 2000, max }, looked_max: max / 2, table }
        });
    let dreams = prop_oneof![Just(Dreams::Off), Just(Dreams::On)];
    let cadence =
        (0u32..=2, 0u32..=5, dreams, secs(1..=60)).prop_map(|(reflect_every, dump_every, dreams, long_rest)| Cadence {
            reflect_every,
            dump_every,
            dreams,
            long_rest,
            ..Cadence::default()
        });
    let rests = (prop::option::weighted(0.7, idle), prop_oneof![Just(Duration::ZERO), secs(1..=60)], cadence);
    (class(true), class(false), api, prop::collection::vec(fleet, 0..=1), 0u32..=3, spread, rests).prop_map(
        |(stop, compact, api_error, fleet_quotas, hold_after_strikes, spread, (idle, quiet, cadence))| Policy {
            idle,
            cadence,
            quiet,
            pace: None,
            work: WorkPolicy::default(),
            spread,
            stop,
            compact,
            api_error,
            fleet_quotas,
            hold_after_strikes,
        },
    )
}

/// The step of the clock before an event.
#[derive(Debug, Clone, Copy)]
pub enum Ahead {
    /// A step of this length.
    By(Ms),
    /// A step to the retry time of the last answer (plus or minus a millisecond), where the decision changes.
    ToRetry(Ms),
    /// A step to the time when the strikes of the last answer's cooldown expire, plus or minus a millisecond.
    ToCalm(Ms),
}

/// One event of a history, and the step of the clock before it.
#[derive(Debug, Clone)]
pub struct Move {
    pub ahead: Ahead,
    pub step: Step,
    /// Whether an `Ask` has the last fence of its session instead of a random one.
    pub own_fence: bool,
}

/// Plays a history. The time and the fence of each event may depend on the answers before it.
pub fn play(policy: &Policy, moves: &[Move], mut tell: impl FnMut(usize, &Step, Ms) -> Decision) {
    let mut now = T0;
    let mut last: Option<Decision> = None;
    let mut fences: HashMap<String, i64> = HashMap::new();
    let mut begun: HashMap<String, String> = HashMap::new();
    for (i, m) in moves.iter().enumerate() {
        let retry = last.as_ref().and_then(|d| d.retry_after).map_or(0, millis).min(4_000_000);
        now += match m.ahead {
            Ahead::By(ms) => ms,
            Ahead::ToRetry(off) => (retry + off).max(0),
            Ahead::ToCalm(off) => (retry + millis(policy.stop.cooldown.calm) + off).max(0),
        };
        let mut step = Step { host_ms: m.step.host_ms + now - T0, id: format!("{i:016x}"), ..m.step.clone() };
        let begins = step.event.begins();
        if let (true, true, true, Some(id)) = (begins, m.own_fence, step.late.is_some(), begun.get(&step.session)) {
            step.id.clone_from(id);
        } else if begins {
            begun.insert(step.session.clone(), step.id.clone());
        }
        if let (true, Event::Ask { fence, .. } | Event::Expired { fence }, Some(own)) =
            (m.own_fence, &mut step.event, fences.get(&step.session))
        {
            *fence = *own;
        }
        if let (true, Event::Resume { fence, .. }) = (m.own_fence, &mut step.event) {
            *fence = fences.get(&step.session).copied();
        }
        let decided = tell(i, &step, now);
        if let Some(fence) = decided.fence {
            fences.insert(step.session.clone(), fence);
        }
        last = Some(decided);
    }
}

fn rest() -> impl Strategy<Value = RestRequest> {
    let kind = prop::sample::select(RestKind::ALL.to_vec());
    (kind, prop::option::weighted(0.8, secs(1..=120)), "[a-z]{0,4}").prop_map(|(kind, lasting, topic)| RestRequest {
        kind,
        lasting,
        topic,
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let class = prop::sample::select(vec![
        FailureClass::Passing,
        FailureClass::Request,
        FailureClass::Request,
        FailureClass::Request,
        FailureClass::Person,
    ]);
    let reset = prop_oneof![
        3 => Just(None),
        1 => secs(0..=900).prop_map(|d| Some(Reset::After(d))),
        1 => (-100_000i64..=900_000).prop_map(|ms| Some(Reset::At(T0 + ms))),
    ];
    (class, reset, any::<[bool; 2]>()).prop_map(|(class, reset, [too_long, of_key])| Failure {
        class,
        reset,
        of_key: of_key && reset.is_some(),
        model: if too_long { "opus".to_owned() } else { String::new() },
        too_long,
        cure: "mend it".to_owned(),
    })
}

fn hold() -> impl Strategy<Value = HoldRequest> {
    let by = prop::sample::select(vec!["ann@host", "api"]);
    (any::<[bool; 3]>(), by, "[a-z]{0,3}", prop::option::weighted(0.8, secs(0..=120))).prop_map(
        |([fleet, at_once, replace], by, reason, lasting)| HoldRequest {
            fleet,
            by: by.to_owned(),
            reason,
            lasting,
            at_once,
            replace,
        },
    )
}

fn run_part() -> impl Strategy<Value = RunPart> {
    prop_oneof![
        Just(RunPart::Prompt),
        Just(RunPart::Alive),
        prop::option::of(rest()).prop_map(|rest| RunPart::Turn { rest }),
        failure().prop_map(RunPart::Failure),
        prop::sample::select(vec![RunOutcome::None, RunOutcome::Succeeded, RunOutcome::Failed]).prop_map(RunPart::End),
    ]
}

pub fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => Just(Event::Stop { rest: None }),
        2 => rest().prop_map(|r| Event::Stop { rest: Some(r) }),
        2 => ((-300_000i64..=300_000), prop::option::of(rest()))
            .prop_map(|(ms, rest)| Event::Resume { fence: Some(T0 + ms), rest }),
        // Fences around those that a Stop event at this time begins, older and newer.
        6 => (-300_000i64..=300_000, prop::bool::weighted(0.2)).prop_map(|(ms, renew)| Event::Ask { fence: T0 + ms, renew }),
        8 => failure().prop_map(Event::StopFailure),
        4 => Just(Event::PreCompactAuto),
        3 => Just(Event::PersonPrompt),
        1 => Just(Event::ClientPrompt { of_admission: false }),
        2 => Just(Event::ClientPrompt { of_admission: true }),
        1 => Just(Event::SessionEnd),
        1 => Just(Event::Sleep),
        1 => Just(Event::NeedsYou),
        1 => Just(Event::Other),
        1 => ("[a-z]{0,4}", any::<bool>(), prop::option::of("[ab]")).prop_map(|(note, spread, signal)| Event::Wake {
            note: note.repeat(900),
            spread,
            signal,
            depth: 0,
        }),
        1 => (any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(fleet, at_once)| Event::Release { fleet, at_once }),
        1 => hold().prop_map(Event::Hold),
        1 => (-300_000i64..=300_000).prop_map(|ms| Event::Expired { fence: T0 + ms }),
        4 => (-300_000i64..=300_000, run_part()).prop_map(|(ms, part)| Event::Run { fence: T0 + ms, part }),
        1 => "[a-z]{0,3}".prop_map(|label| Event::SessionStart { label }),
    ]
}

/// Returns the turn before a Stop event: not measured, not seen, or with a few tool calls.
fn turn(r: u32) -> Option<Box<Turn>> {
    let calls: Vec<u64> = (1..=3).filter(|bit| r >> bit & 1 == 1).collect();
    let units = u32::try_from(calls.len()).unwrap();
    let place = TranscriptPlace { path: "transcript".to_owned(), inode: 7, offset: r.into() };
    let turn = Turn { seen: !r.is_multiple_of(5), place: Some(place), tools: units, units, calls, ..Turn::default() };
    (!r.is_multiple_of(3)).then(|| Box::new(turn))
}

/// Draws the step of the clock: mostly short, sometimes far ahead, sometimes back.
pub fn ahead(steps_back: bool) -> impl Strategy<Value = Ahead> {
    let back = u32::from(steps_back);
    let by = prop_oneof![
        3 => Just(0i64),
        14 => 1i64..=5_000,
        6 => (1i64..=60).prop_map(|s| s * 1000),
        8 => 5_000i64..=60_000,
        2 => 60_000i64..=4_000_000,
        back => -90_000_000i64..=-1,
    ];
    prop_oneof![
        30 => by.prop_map(Ahead::By),
        6 => (-1i64..=1).prop_map(Ahead::ToRetry),
        1 => (-1i64..=1).prop_map(Ahead::ToCalm),
    ]
}

/// Draws the client process that sends an event, its claim to another one's session, and its machine.
fn sender() -> impl Strategy<Value = (Option<Process>, Claim, &'static str)> {
    let born = |pid, start| Some(Process { pid, birth: Some(Birth { start, namespace: 9 }) });
    let client = vec![None, Some(Process::numbered(1)), born(1, 5), born(1, 6), Some(Process::numbered(2)), born(2, 5)];
    let claim = vec![Claim::Take, Claim::Take, Claim::Yield, Claim::Beside];
    (prop::sample::select(client), prop::sample::select(claim), prop::sample::select(vec!["host", "host", "other"]))
}

pub fn moves(len: usize, steps_back: bool) -> impl Strategy<Value = Vec<Move>> {
    // A Stop event or failure that is retried with the same id: the session's last one, or one that never
    // arrived.
    let late = prop::option::weighted(0.1, (0u64..=90_000).prop_map(Duration::from_millis));
    // In most histories every request has the store's own epoch; in the others some requests have another one.
    let known_epoch = prop::sample::select(vec!["", "", "", "", "", "", "", "", "", "", "another"]);
    let wake_on = prop::option::weighted(0.3, prop::collection::vec("[ab]", 0..=1));
    let one = (
        ahead(steps_back),
        event(),
        any::<[bool; 2]>(),
        0..R_RANGE,
        0u8..3,
        0u8..2,
        (-60_000i64..60_000, late, "[a-c]{0,1}", any::<bool>(), "[a-c]{0,1}", known_epoch, sender(), wake_on),
    )
        .prop_map(|(ahead, event, [paced, own_fence], r, session, scope, more)| {
            let (skew, late, name, named_by_project, project, known_epoch, (client, claim, host), wake_on) = more;
            Move {
                ahead,
                own_fence,
                step: Step {
                    paced,
                    late,
                    name,
                    named_by_project,
                    project,
                    known_epoch: known_epoch.to_owned(),
                    agent: String::new(),
                    wake_on,
                    pid: (r % 2 == 0).then_some(Process::numbered(r)),
                    client,
                    claim,
                    host: host.to_owned(),
                    turn: turn(r).filter(|_| matches!(event, Event::Stop { .. })),
                    r,
                    session: format!("session-{session}"),
                    scope: if event.is_fleets() { String::new() } else { format!("scope-{scope}") },
                    shadow: r % 9 == 0,
                    host_ms: T0 + skew,
                    ..step(event)
                },
            }
        });
    prop::collection::vec(one, len..=len)
}
