//! A quota that many sessions share gives each of them its part, on both stores, whatever the length of their turns.
//!
//! `FROSTY_FAIRNESS=long` plays ten minutes with turns of 2 to 14 s and a place every 500 ms; without it a fifth of
//! each, for less long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Frosty, Server};
use frosty::config::{Config, Flags};
use frosty::env::Env;
use frosty::policy::limits::Quota;
use frosty::policy::request::{Event, HoldRequest, Step};
use frosty::policy::verdict::{Outcome, Reason};
use frosty::store;

const SESSIONS: usize = 40;

struct Scale {
    place: Duration,
    turn: (u64, u64),
    lasts: Duration,
}

#[allow(clippy::disallowed_methods, reason = "a test's own knob")]
fn is_long() -> bool {
    std::env::var("FROSTY_FAIRNESS").is_ok_and(|how| how == "long")
}

fn scale() -> Scale {
    if is_long() {
        return Scale { place: Duration::from_millis(500), turn: (2000, 14_000), lasts: Duration::from_secs(600) };
    }
    Scale { place: Duration::from_millis(100), turn: (400, 2800), lasts: Duration::from_secs(30) }
}

/// The result of one session: how often it was admitted, and its longest wait.
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
    config.budget = Duration::from_secs(1);
    config
}

/// The sessions of a run.
#[derive(Debug, Clone, Copy)]
struct Cast {
    /// The number of waiting sessions that never return, one after the other.
    dying: usize,
    /// The number of sessions that send requests without waiting, beside the others.
    plain: usize,
    /// The number of scopes that have the sessions in equal parts.
    scopes: usize,
    /// Whether the whole fleet is held for the third fifth of the time.
    held: bool,
}

const CAST: Cast = Cast { dying: 0, plain: 0, scopes: SESSIONS, held: false };

/// A session is in one wait queue at most: that of the quota which is the last to refuse it.
fn waits_in_one_queue(server: Option<&Server>, scope: &str, session: &str) {
    let Some(mut con) = server.map(Server::connection) else { return };
    let mut waits = |queue: &str| {
        let key = format!("frosty:{{default}}:queue:since:{queue}");
        redis::cmd("ZSCORE").arg(key).arg(session).query::<Option<f64>>(&mut con).unwrap().is_some()
    };
    let (own, fleets) = (waits(&format!("scope:{scope}")), waits("fleet"));
    assert!(!(own && fleets), "{session} waits in two queues");
}

/// Sends requests as an engine does, again at the time of each refusal.
fn play(config: &Config, index: usize, cast: Cast, server: Option<&Server>, over: &AtomicBool) -> Share {
    let (paced, scale) = (index < SESSIONS, scale());
    let mut share = Share::default();
    let mut random = index as u64 * 7919 + 17;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below.max(1)
    };
    let step = |event| Step {
        scope: format!("scope-{}", index % cast.scopes),
        session: format!("session-{index}"),
        id: format!("{index}-{}", frosty::clock::id()),
        paced,
        ..crate::support::step(event)
    };
    thread::sleep(Duration::from_millis(draw(scale.turn.1)));
    while !over.load(Ordering::SeqCst) {
        let since = Instant::now();
        let mut event = Event::Stop { rest: None };
        let mut fence = 0;
        while !over.load(Ordering::SeqCst) {
            let deadline = Instant::now() + config.budget;
            // If a busy machine comes to no verdict, an engine sends the request again.
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
            let expected = matches!(decided.reason, Reason::Quota | Reason::Busy)
                || (cast.held && matches!(decided.reason, Reason::Hold | Reason::Spread));
            assert!(expected, "{decided:?}");
            waits_in_one_queue(server, &format!("scope-{}", index % cast.scopes), &format!("session-{index}"));
            event = if paced { Event::Ask { fence, renew: false } } else { Event::Stop { rest: None } };
            // An engine gets a notification of a release; this one polls.
            let is_held = decided.reason == Reason::Hold;
            let pause = if paced && !is_held { decided.retry_after.unwrap() } else { scale.place / 2 };
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

fn hold(config: &Config, event: Event) {
    let step = Step { scope: String::new(), session: String::new(), ..crate::support::step(event) };
    store::open(config, Instant::now() + config.budget).unwrap().step(&step).unwrap();
}

/// Plays the scale; returns what each session got, and the part of the places that was used.
fn shares(config: &Config, cast: Cast, server: Option<&Arc<Server>>) -> (Vec<Share>, f64) {
    let scale = scale();
    let all = SESSIONS + cast.plain;
    let dead: Arc<Vec<AtomicBool>> = Arc::new((0..all).map(|_| AtomicBool::new(false)).collect());
    let running: Vec<_> = (0..all)
        .map(|i| {
            let (config, dead, server) = (config.clone(), dead.clone(), server.cloned());
            thread::spawn(move || play(&config, i, cast, server.as_deref(), &dead[i]))
        })
        .collect();
    let begun = Instant::now();
    for i in 0..cast.dying {
        thread::sleep(scale.lasts / (cast.dying as u32 + 1));
        dead[SESSIONS - 1 - i].store(true, Ordering::SeqCst);
    }
    let mut held = Duration::ZERO;
    if cast.held {
        thread::sleep(scale.lasts * 2 / 5);
        let (by, reason) = ("ann".to_owned(), String::new());
        let asked = HoldRequest { fleet: true, by, reason, lasting: None, replace: false, at_once: true };
        hold(config, Event::Hold(asked));
        let from = Instant::now();
        thread::sleep(scale.lasts / 5);
        hold(config, Event::Release { fleet: true, at_once: true });
        held = from.elapsed();
    }
    thread::sleep(scale.lasts.saturating_sub(begun.elapsed()));
    let lasted = begun.elapsed() - held;
    dead.iter().for_each(|dead| dead.store(true, Ordering::SeqCst));
    let all: Vec<Share> = running.into_iter().map(|thread| thread.join().unwrap()).collect();
    let admitted: u32 = all.iter().map(|s| s.admitted).sum();
    let places = lasted.as_secs_f64() / scale.place.as_secs_f64();
    (all, f64::from(admitted) / places)
}

fn is_fair(what: &str, config: &Config, cast: Cast, server: Option<&Arc<Server>>) {
    let (all, used) = shares(config, cast, server);
    let living = &all[..SESSIONS - cast.dying];
    let (fairness, longest) = (jain(living), living.iter().map(|s| s.longest).max().unwrap());
    let fair = scale().place * u32::try_from(SESSIONS + cast.plain).unwrap();
    println!(
        "{what}: Jain {fairness:.3}, longest wait {longest:?} of a fair share of {fair:?}, {:.1} % of the places used",
        used * 100.0
    );
    assert!(fairness >= 0.95, "{living:?}");
    let held = if cast.held { scale().lasts / 5 } else { Duration::ZERO };
    assert!(longest <= fair * 3 / 2 + held, "{longest:?} of {fair:?}");
    // A place of 100 ms is used less, the longer a busy machine takes to wake a thread. If most sessions die, the last
    // ten are busy with their turns for longer than the places last.
    let least = if is_long() && cast.dying == 0 { 0.95 } else { 0.8 };
    assert!(used >= least, "{used}");
}

fn one_place() -> Quota {
    Quota { limit: 1, per: scale().place }
}

#[test]
fn a_fleets_quota_on_the_server_is_shared() {
    let (server, frosty) = (Server::start(), Frosty::new());
    is_fair("server", &config(&frosty, &server.url(), (&[], &[one_place()])), CAST, None);
}

#[test]
fn a_fleets_quota_in_files_is_shared() {
    let frosty = Frosty::new();
    is_fair("files", &config(&frosty, "embedded", (&[], &[one_place()])), CAST, None);
}

#[test]
fn sessions_that_die_in_the_queue_hold_up_nobody() {
    let (server, frosty) = (Server::start(), Frosty::new());
    let dying = if is_long() { 30 } else { 10 };
    let config = config(&frosty, &server.url(), (&[], &[one_place()]));
    is_fair(&format!("{dying} die"), &config, Cast { dying, ..CAST }, None);
}

#[test]
fn plain_and_waiting_sessions_share() {
    let (server, frosty) = (Server::start(), Frosty::new());
    let config = config(&frosty, &server.url(), (&[], &[one_place()]));
    is_fair("five plain", &config, Cast { plain: 5, ..CAST }, None);
}

#[test]
fn a_scopes_quota_beside_the_fleets() {
    let (server, frosty) = (Arc::new(Server::start()), Frosty::new());
    // Four scopes that together have an eighth more places than the fleet.
    let own = Quota { limit: 2, per: scale().place * 7 };
    let config = config(&frosty, &server.url(), (&[own], &[one_place()]));
    is_fair("four scopes", &config, Cast { scopes: 4, ..CAST }, Some(&server));
}

#[test]
fn a_fleets_hold_in_the_middle() {
    let (server, frosty) = (Server::start(), Frosty::new());
    let config = config(&frosty, &server.url(), (&[], &[one_place()]));
    is_fair("held", &config, Cast { held: true, ..CAST }, None);
}
