//! Random histories of several writers at once, each on its own connection: the commits of both stores, in their order,
//! keep every limit of the policy. The order and the times are the store's own.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::place::Place;
use frosty::config::{Config, Flags};
use frosty::env::Env;
use frosty::policy::limits::{Burst, Ms, Policy, Quota, millis};
use frosty::policy::request::{Event, HoldRequest, Step};
use frosty::policy::verdict::Outcome;
use frosty::store;
use serde_json::Value;

const WRITERS: u64 = 6;
const SCOPES: u64 = 2;
const LASTS: Duration = Duration::from_secs(5);

fn policy() -> Policy {
    crate::support::policy(|p| {
        p.stop.min_interval = Duration::from_millis(25);
        p.stop.burst = Some(Burst { limit: 8, window: Duration::from_millis(150) });
        p.stop.cooldown.backoff.base = Duration::from_millis(60);
        p.stop.cooldown.backoff.max = Duration::from_millis(120);
        p.stop.cooldown.calm = Duration::from_millis(200);
        p.stop.quotas = vec![Quota { limit: 12, per: Duration::from_secs(1) }];
        p.fleet_quotas = vec![Quota { limit: 20, per: Duration::from_secs(1) }];
        p.hold_after_strikes = 0;
    })
}

fn config(place: &Place) -> Config {
    let store = place.server.as_ref().map_or_else(|| "embedded".to_owned(), crate::support::Server::url);
    let env = Env { home: Some(place.frosty.home.path().to_owned()), store: Some(store), ..Env::default() };
    let mut config = Config::load(&env, None, &Flags::default()).unwrap();
    config.policy = policy();
    config.budget = Duration::from_secs(1);
    config
}

/// Numbers by chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn event(&mut self) -> Event {
        match self.below(40) {
            0 => Event::PersonPrompt,
            1 => Event::SessionStart { label: String::new() },
            2 => Event::Wake { note: "look".to_owned(), spread: false, signal: None, depth: 0 },
            3 => Event::Hold(HoldRequest {
                by: "ann".to_owned(),
                reason: "look".to_owned(),
                lasting: Some(Duration::from_millis(20 + self.below(80))),
                ..HoldRequest::default()
            }),
            4 => Event::Release { fleet: false, at_once: false },
            5 => Event::Other,
            _ => Event::Stop { rest: None },
        }
    }
}

/// One writer: returns how many continuations it was admitted.
fn write(config: &Config, seed: u64) -> usize {
    let mut chance = Chance(seed);
    let until = Instant::now() + LASTS;
    let mut admitted = 0;
    while Instant::now() < until {
        let event = chance.event();
        let name = match &event {
            Event::Hold(_) => "Hold",
            Event::Release { .. } => "Release",
            _ => "Other",
        };
        let session = if event.is_of_holds() { String::new() } else { format!("session-{}", chance.below(5)) };
        let step = Step {
            scope: format!("scope-{}", chance.below(SCOPES)),
            session,
            event_name: name.to_owned(),
            paced: chance.below(3) == 0,
            r: u32::try_from(chance.below(1_000_000)).unwrap(),
            id: frosty::clock::id(),
            host_ms: frosty::clock::host_ms(),
            ..crate::support::step(event)
        };
        let verdict = store::open(config, Instant::now() + config.budget).unwrap().step(&step).unwrap();
        assert!(verdict.degraded.is_none(), "{:?}", verdict.degraded);
        admitted += usize::from(verdict.decision.outcome == Outcome::Admit);
        thread::sleep(Duration::from_millis(chance.below(8)));
    }
    admitted
}

/// The times of the admissions of one scope, or of all, in the order in which they were committed.
fn admissions(journal: &[Value], scope: Option<&str>) -> Vec<Ms> {
    let own = |e: &&Value| e["next_action"] == "CLAUDE_CODE_RESTART" && scope.is_none_or(|scope| e["scope"] == scope);
    journal.iter().filter(own).map(|e| e["ms"].as_i64().unwrap()).collect()
}

/// An entry's id in the stream is so much later than the script's time, at most, on a busy machine.
const LATE: Ms = 5;

fn keeps(times: &[Ms], quotas: &[Quota], what: &str) {
    for quota in quotas {
        for window in times.windows(quota.limit as usize + 1) {
            let apart = window[window.len() - 1] - window[0];
            assert!(apart + LATE >= millis(quota.per), "{what}: {} within {apart} ms", window.len());
        }
    }
}

/// No continuation of a held scope is committed between its hold and the end or the release of the hold.
fn holds_hold(journal: &[Value]) {
    let mut held: HashMap<String, Ms> = HashMap::new();
    for entry in journal {
        let (scope, ms) = (entry["scope"].as_str().unwrap().to_owned(), entry["ms"].as_i64().unwrap());
        match entry["event"].as_str().unwrap() {
            "Hold" if entry["verdict"] == "record" => {
                let left = entry["retry_after_ms"]
                    .as_str()
                    .map_or_else(|| entry["retry_after_ms"].as_i64(), |t| t.parse().ok());
                // Dated by when it was decided, at most a moment before it was committed.
                held.insert(scope, ms + left.unwrap() - 15);
            }
            "Release" => {
                held.remove(&scope);
            }
            _ if entry["next_action"] == "CLAUDE_CODE_RESTART" => {
                let until = held.get(&scope).copied().unwrap_or(0);
                assert!(ms >= until, "admitted {} ms before the end of a hold: {entry}", until - ms);
            }
            _ => {}
        }
    }
}

#[test]
fn what_several_writers_commit_keeps_every_limit() {
    for place in Place::both() {
        let config = config(&place);
        let store = if place.server.is_some() { "server" } else { "files" };
        let writers: Vec<_> = (0..WRITERS)
            .map(|i| {
                let config = config.clone();
                thread::spawn(move || write(&config, 1000 + i * 7919))
            })
            .collect();
        let admitted: usize = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        let journal = place.journal();
        println!("{store}: {} commits, {admitted} admissions", journal.len());
        assert!(admitted > 40, "only {admitted}");
        assert_eq!(admissions(&journal, None).len(), admitted, "every admission is journaled once");
        keeps(&admissions(&journal, None), &config.policy.fleet_quotas, "the fleet");
        for scope in 0..SCOPES {
            let times = admissions(&journal, Some(&format!("scope-{scope}")));
            let interval = Quota { limit: 1, per: config.policy.stop.min_interval };
            keeps(&times, &[interval], "the minimum interval");
            keeps(&times, &config.policy.stop.quotas, "the scope");
        }
        holds_hold(&journal);
    }
}

/// A window that is nearly full refuses nothing by itself after the minimum interval: a quota's refusal stays the
/// quota's.
#[test]
fn a_used_up_quota_is_the_reason_though_the_window_is_nearly_full() {
    for mut place in Place::both() {
        let config = r#"{"stop": {"min_interval": "100ms", "burst": {"limit": 3, "window": "20s"},
            "quotas": [{"limit": 1, "per": "1h"}]}}"#;
        place.frosty = place.frosty.config(config);
        let reasons: Vec<String> = (0..5)
            .map(|_| {
                place.frosty.hook(&crate::support::stop("s"));
                thread::sleep(Duration::from_millis(120));
                place.reasons("s").last().unwrap().clone()
            })
            .collect();
        assert_eq!(reasons, ["admitted", "quota", "quota", "quota", "quota"]);
    }
}
