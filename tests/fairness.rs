//! A quota that many sessions share gives each of them its part, on both stores, whatever their turns are.
//!
//! `FROSTY_FAIRNESS=long` plays ten minutes with turns of 2 to 14 s and a place every 500 ms; without it a fifth of each, for less
//! long.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods, reason = "a test's own knob")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use frosty::config::{Config, DEFAULT_BUDGET, Env, Flags};
use frosty::store;
use frosty::throttle::policy::Quota;
use frosty::throttle::step::{Event, Step};
use frosty::throttle::verdict::{Outcome, Reason};
use support::{Frosty, Server};

const SESSIONS: usize = 40;

struct Scale {
    place: Duration,
    turn: (u64, u64),
    lasts: Duration,
}

fn is_long() -> bool {
    std::env::var("FROSTY_FAIRNESS").is_ok_and(|how| how == "long")
}

fn scale() -> Scale {
    if is_long() {
        return Scale { place: Duration::from_millis(500), turn: (2000, 14_000), lasts: Duration::from_secs(600) };
    }
    Scale { place: Duration::from_millis(100), turn: (400, 2800), lasts: Duration::from_secs(30) }
}

/// What one session got: how often it was admitted, and how long it waited at most.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    admitted: u32,
    longest: Duration,
}

fn config(frosty: &Frosty, store: &str, quotas: (&[Quota], &[Quota])) -> Config {
    let env = Env { home: Some(frosty.home.path().to_owned()), store: Some(store.to_owned()), ..Env::default() };
    let mut config = Config::load(&env, None, &Flags::default()).unwrap();
    config.policy.stop.min_interval = Duration::ZERO;
    config.policy.stop.burst = None;
    config.policy.stop.quotas = quotas.0.to_vec();
    config.policy.fleet_quotas = quotas.1.to_vec();
    config.budget = DEFAULT_BUDGET;
    config
}

/// Asks as an engine does, again at the time that it was given.
fn play(config: &Config, index: usize, paced: bool, scale: &Scale, over: &AtomicBool) -> Share {
    let mut share = Share::default();
    let mut random = index as u64 * 7919 + 17;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below.max(1)
    };
    let step = |event| Step {
        scope: format!("scope-{index}"),
        session: format!("session-{index}"),
        id: format!("{index}-{}", frosty::clock::id()),
        paced,
        ..support::step(event)
    };
    thread::sleep(Duration::from_millis(draw(scale.turn.1)));
    while !over.load(Ordering::SeqCst) {
        let since = Instant::now();
        let mut event = Event::Stop { rest: None };
        let mut fence = 0;
        while !over.load(Ordering::SeqCst) {
            let deadline = Instant::now() + config.budget;
            // Where a busy machine comes to no verdict, an engine asks again.
            let Ok(verdict) = store::open(config, deadline).unwrap().step(&step(event.clone())) else {
                thread::sleep(scale.place);
                continue;
            };
            assert!(verdict.degraded.is_none(), "{:?}", verdict.degraded);
            let decided = verdict.decision;
            fence = decided.fence.unwrap_or(fence);
            if decided.outcome == Outcome::Admit {
                share.admitted += 1;
                share.longest = share.longest.max(since.elapsed());
                break;
            }
            assert!(matches!(decided.reason, Reason::Quota | Reason::Busy), "{decided:?}");
            event = if paced { Event::Ask { fence, renew: false } } else { Event::Stop { rest: None } };
            let pause = if paced { decided.retry_after.unwrap() } else { scale.place / 2 };
            thread::sleep(pause);
        }
        thread::sleep(Duration::from_millis(scale.turn.0 + draw(scale.turn.1 - scale.turn.0)));
    }
    share
}

fn jain(shares: &[Share]) -> f64 {
    let sum: f64 = shares.iter().map(|s| f64::from(s.admitted)).sum();
    let squares: f64 = shares.iter().map(|s| f64::from(s.admitted).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// Plays the scale; of these sessions some never come back, and some ask without waiting.
fn shares(config: &Config, dying: usize, plain: usize) -> (Vec<Share>, f64) {
    let scale = Arc::new(scale());
    let dead: Arc<Vec<AtomicBool>> = Arc::new((0..SESSIONS + plain).map(|_| AtomicBool::new(false)).collect());
    let running: Vec<_> = (0..SESSIONS + plain)
        .map(|i| {
            let (config, scale, dead) = (config.clone(), scale.clone(), dead.clone());
            thread::spawn(move || play(&config, i, i < SESSIONS, &scale, &dead[i]))
        })
        .collect();
    let begun = Instant::now();
    // Those that die do so one after the other.
    for i in 0..dying {
        thread::sleep(scale.lasts / (dying as u32 + 1));
        dead[SESSIONS - 1 - i].store(true, Ordering::SeqCst);
    }
    thread::sleep(scale.lasts.saturating_sub(begun.elapsed()));
    let lasted = begun.elapsed();
    dead.iter().for_each(|dead| dead.store(true, Ordering::SeqCst));
    let all: Vec<Share> = running.into_iter().map(|thread| thread.join().unwrap()).collect();
    let admitted: u32 = all.iter().map(|s| s.admitted).sum();
    let places = lasted.as_secs_f64() / scale.place.as_secs_f64();
    (all, f64::from(admitted) / places)
}

fn is_fair(what: &str, config: &Config, dying: usize, plain: usize) {
    let (all, used) = shares(config, dying, plain);
    let living = &all[..SESSIONS - dying];
    let (fairness, longest) = (jain(living), living.iter().map(|s| s.longest).max().unwrap());
    let fair = scale().place * u32::try_from(SESSIONS + plain).unwrap();
    println!(
        "{what}: Jain {fairness:.3}, longest wait {longest:?} of a fair share of {fair:?}, {:.1} % of the places used",
        used * 100.0
    );
    assert!(fairness >= 0.95, "{living:?}");
    assert!(longest <= fair * 3 / 2, "{longest:?} of {fair:?}");
    // A place of 100 ms is used the less the longer a busy machine takes to wake a thread.
    let least = if is_long() { 0.95 } else { 0.8 };
    assert!(used >= least, "{used}");
}

fn one_place() -> Quota {
    Quota { limit: 1, per: scale().place }
}

#[test]
fn a_fleets_quota_on_the_server_is_shared() {
    let (server, frosty) = (Server::start(), Frosty::new());
    is_fair("server", &config(&frosty, &server.url(), (&[], &[one_place()])), 0, 0);
}

#[test]
fn a_fleets_quota_in_files_is_shared() {
    let frosty = Frosty::new();
    is_fair("files", &config(&frosty, "embedded", (&[], &[one_place()])), 0, 0);
}

#[test]
fn sessions_that_die_in_the_queue_hold_up_nobody() {
    let (server, frosty) = (Server::start(), Frosty::new());
    is_fair("ten die", &config(&frosty, &server.url(), (&[], &[one_place()])), 10, 0);
}

#[test]
fn plain_and_waiting_sessions_share() {
    let (server, frosty) = (Server::start(), Frosty::new());
    is_fair("five plain", &config(&frosty, &server.url(), (&[], &[one_place()])), 0, 5);
}
