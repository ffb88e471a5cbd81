//! The script is the model's projection: the same random histories against a real server, the same verdicts, counts
//! and stored state; and it names every key it touches.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/histories.rs"]
mod histories;
mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::histories::{moves, play, policy, runner};
use frosty::config::Config;
use frosty::store::script::{SCRIPT, decision, invocation};
use frosty::throttle::model::{self, State};
use frosty::throttle::policy::{Class, Ms, Policy};
use frosty::throttle::process::Process;
use frosty::throttle::state::{FleetState, ScopeState, SessionState};
use frosty::throttle::step::Step;
use frosty::throttle::verdict::Decision;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runner, FileFailurePersistence, TestRunner};
use redis::{Connection, ConnectionLike, Value};
use support::Server;

/// The two that tell the server what happened without it.
const CARRY: &str = include_str!("../src/store/carry.lua");
const SHIP: &str = include_str!("../src/store/ship.lua");

/// The script with its clock as the last argument.
fn clocked() -> String {
    let mut lines: Vec<&str> = SCRIPT.lines().collect();
    let clock = lines.iter().position(|l| l.starts_with("local now = ")).expect("the clock is one line");
    assert!(lines[clock].contains("redis.call('TIME')"), "{}", lines[clock]);
    lines[clock] = "local now = tonumber(ARGV[#ARGV])";
    lines.join("\n")
}

struct Both {
    script: String,
    con: Connection,
    fleet: FleetState,
    scopes: HashMap<String, ScopeState>,
    sessions: HashMap<String, SessionState>,
}

impl Both {
    fn new(server: &Server) -> Self {
        Self {
            script: clocked(),
            con: server.connection(),
            fleet: FleetState::default(),
            scopes: HashMap::new(),
            sessions: HashMap::new(),
        }
    }

    fn reset(&mut self) {
        redis::cmd("FLUSHALL").query::<()>(&mut self.con).unwrap();
        self.fleet = FleetState::default();
        self.scopes.clear();
        self.sessions.clear();
    }

    fn model(&mut self, policy: &Policy, step: &Step, now: Ms) -> Decision {
        let mut state = State {
            fleet: self.fleet.clone(),
            scope: self.scopes.get(&step.scope).cloned().unwrap_or_default(),
            session: self.sessions.get(&step.session).cloned().unwrap_or_default(),
        };
        let decided = model::step(policy, &mut state, step, now);
        self.fleet = state.fleet;
        self.scopes.insert(step.scope.clone(), state.scope);
        self.sessions.insert(step.session.clone(), state.session);
        decided
    }

    fn script(&mut self, config: &Config, step: &Step, now: Ms) -> Decision {
        let mut call = invocation("EVAL", &self.script, config, step);
        call.arg(now);
        let answer = self.con.req_command(&call).unwrap();
        decision(&answer).unwrap_or_else(|| panic!("{answer:?}"))
    }

    fn hash(&mut self, key: &str) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = redis::cmd("HGETALL").arg(key).query(&mut self.con).unwrap();
        all.retain(|_, v| !v.is_empty());
        all
    }

    /// Holds the model's state against the server's hashes, field by field.
    fn same_state(&mut self) {
        for (name, scope) in self.scopes.clone() {
            let stored = self.hash(&format!("frosty:{{default}}:scope:{name}"));
            let number = |f: &str| stored.get(f).map(|v| v.parse::<Ms>().unwrap());
            for (class, own) in [("stop", &scope.stop), ("compact", &scope.compact)] {
                assert_eq!(number(&format!("{class}_admitted_at")), own.admitted_at, "{stored:?}");
                let attempts: Vec<String> = own.attempts.iter().map(ToString::to_string).collect();
                let found = stored.get(&format!("{class}_attempts")).cloned().unwrap_or_default();
                assert_eq!(found, attempts.join(","), "{class}");
                assert_eq!(number(&format!("{class}_cooldown_start")), own.cooldown.map(|c| c.start));
                assert_eq!(number(&format!("{class}_cooldown_end")), own.cooldown.map(|c| c.end));
                assert_eq!(number(&format!("{class}_strikes")).unwrap_or(0), Ms::from(own.strikes));
            }
            assert_eq!(number("api_start"), scope.api.map(|a| a.start));
            assert_eq!(number("api_end"), scope.api.map(|a| a.end));
            assert_eq!(number("api_strikes").unwrap_or(0), Ms::from(scope.api_strikes));
            assert_eq!(number("api_row").unwrap_or(0), Ms::from(scope.api_row));
            assert_eq!(number("api_holds").unwrap_or(0), Ms::from(scope.api_holds));
            assert_eq!(number("hold_since"), scope.hold.as_ref().map(|h| h.since));
            assert_eq!(number("hold_until"), scope.hold.as_ref().and_then(|h| h.until));
            assert_eq!(stored.get("hold_by"), scope.hold.as_ref().map(|h| &h.by));
            assert_eq!(number("released"), scope.released);
            assert_eq!(stored.contains_key("api_of_key"), scope.api_of_key);
            assert_eq!(number("taken"), scope.taken);
            let trips: Vec<String> = scope.trips.iter().map(ToString::to_string).collect();
            assert_eq!(stored.get("trips").cloned().unwrap_or_default(), trips.join(","));
            self.same_log(&format!("frosty:{{default}}:scope:{name}:quota"), &scope.quota.admitted);
            assert_eq!(number("quota_keep").unwrap_or(0), scope.quota.keep);
        }
        for (name, session) in self.sessions.clone() {
            let stored = self.hash(&format!("frosty:{{default}}:session:{name}"));
            let number = |f: &str| stored.get(f).map(|v| v.parse::<Ms>().unwrap());
            let text = |f: &str| stored.get(f).cloned().unwrap_or_default();
            assert_eq!(number("fence"), session.fence);
            assert_eq!(text("rest"), session.rest.as_ref().map_or("", |r| r.kind.code()));
            assert_eq!(number("rest_since"), session.rest.as_ref().map(|r| r.since));
            assert_eq!(number("rest_until"), session.rest.as_ref().and_then(|r| r.until));
            assert_eq!(text("rest_topic"), session.rest.as_ref().map_or("", |r| &r.topic));
            assert_eq!(text("woken") == "1", session.woken);
            assert_eq!(text("note"), session.note);
            assert_eq!(text("given"), session.given);
            let begun = session.begun.as_ref().map(|b| format!("{} {}", b.at, b.id)).unwrap_or_default();
            assert_eq!(text("begun"), begun);
            let process = |p: Option<Process>| p.map(|p| p.to_string()).unwrap_or_default();
            assert_eq!((text("pid"), text("client")), (process(session.pid), process(session.client)));
            assert_eq!(text("host"), session.host);
            assert_eq!(number("count").unwrap_or(0), Ms::from(session.count));
            assert_eq!(text("state"), session.phase.code());
            assert_eq!(text("needs_you") == "1", session.needs_you);
            assert_eq!(text("by_person") == "1", session.by_person);
            assert_eq!(number("slot"), session.slot);
            assert_eq!(text("last_reason"), session.last_reason);
            assert_eq!((text("held_by"), text("held_reason")), (session.held_by, session.held_reason));
            assert_eq!((text("name"), text("label")), (session.name, session.label));
            assert_eq!((text("named_by_project") == "1", text("project")), (session.named_by_project, session.project));
            assert_eq!(text("scope"), session.scope);
            assert_eq!(number("seen").unwrap_or(0), session.seen);
        }
        let fleet = self.fleet.clone();
        assert_eq!(self.hash("frosty:{default}:fleet").get("born").cloned().unwrap_or_default(), fleet.born);
        let stored = self.hash("frosty:{default}:fleet");
        let number = |f: &str| stored.get(f).map(|v| v.parse::<Ms>().unwrap());
        assert_eq!((number("lost"), number("released")), (fleet.lost, fleet.released));
        assert_eq!((number("answered"), number("at_once")), (fleet.answered, fleet.at_once));
        let span = |start, end| (number(start), number(end));
        assert_eq!(span("limit_start", "limit_end"), (fleet.limit.map(|l| l.start), fleet.limit.map(|l| l.end)));
        assert_eq!(span("slot_from", "slot_next"), (fleet.slots.map(|s| s.start), fleet.slots.map(|s| s.end)));
        assert_eq!((number("freed_at"), stored.contains_key("hold_at_once")), (fleet.freed_at, fleet.hold_at_once));
        let hold = fleet.hold.as_ref();
        assert_eq!((number("hold_since"), number("hold_until")), (hold.map(|h| h.since), hold.and_then(|h| h.until)));
        self.same_log("frosty:{default}:fleet:quota", &fleet.quota.admitted);
    }

    fn same_log(&mut self, key: &str, log: &[Ms]) {
        let stored: Vec<(String, f64)> =
            redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES").query(&mut self.con).unwrap();
        let mut scores: Vec<Ms> = stored.iter().map(|(_, score)| *score as Ms).collect();
        let mut log = log.to_vec();
        scores.sort_unstable();
        log.sort_unstable();
        assert_eq!(scores, log, "{key}");
    }
}

fn config(policy: &Policy) -> Config {
    Config { policy: policy.clone(), ..Config::default() }
}

#[test]
fn same_verdicts_counts_and_state() {
    let server = Server::start();
    let both = std::cell::RefCell::new(Both::new(&server));
    let (asked, admitted) = (std::cell::Cell::new(0u32), std::cell::Cell::new(0u32));
    let reasons = std::cell::RefCell::new(BTreeSet::new());
    let mut test = TestRunner::new(Runner {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        source_file: Some(file!()),
        max_shrink_iters: 4_000,
        ..runner()
    });
    let held = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>());
    // The policy changes midway: another asker of the same scope, or an edited configuration.
    let policies = (policy(), policy());
    let result = test.run(
        &(policies, moves(50, true), held),
        |((first, second), moves, (hold, woken, fleet_hold, taken, slots))| {
            let mut both = both.borrow_mut();
            both.reset();
            let configs = [config(&first), config(&second)];
            play(&first, &moves, |i, step, now| {
                let config = &configs[i * 2 / moves.len()];
                // Holds and wake-ups come from outside the step: plant them in both.
                if i == usize::from(hold) % 100 {
                    both.plant_hold(&step.scope, now, Some(now + 30_000));
                }
                if i == usize::from(fleet_hold) % 200 {
                    both.plant_fleet_hold(now, Some(now + 20_000));
                }
                if i == usize::from(taken) % 100 {
                    both.plant_taken(&step.scope, now);
                }
                if i == usize::from(woken) % 60 {
                    both.plant_wake(&step.session);
                }
                if i % 9 == usize::from(slots) % 9 {
                    both.plant_slots(&step.session, now);
                }
                let by_model = both.model(&config.policy, step, now);
                let by_script = both.script(config, step, now);
                assert_eq!(by_model, by_script, "event {i} at {now}: {step:?}");
                asked.set(asked.get() + 1);
                admitted.set(admitted.get() + u32::from(by_model.reason.code() == "admitted"));
                reasons.borrow_mut().insert(by_model.reason.code());
                by_model
            });
            both.same_state();
            Ok(())
        },
    );
    if let Err(e) = result {
        panic!("{e}");
    }
    println!("{} histories, {} events, {} admitted", runner().cases, asked.get(), admitted.get());
    // Every rule was met, so the comparison says something of each.
    let all = ["admitted", "probe", "min_interval", "burst", "cooldown", "api_error", "hold", "rest", "done"];
    for reason in
        all.into_iter().chain(["blocked", "wait_for", "parked", "spread", "quota", "superseded", "contested", "event"])
    {
        assert!(runner().cases < 1_000 || reasons.borrow().contains(reason), "no history met {reason}");
    }
}

impl Both {
    fn plant_hold(&mut self, scope: &str, now: Ms, until: Option<Ms>) {
        let hold = frosty::throttle::state::Hold { reason: "why".into(), by: "someone".into(), since: now, until };
        self.scopes.entry(scope.to_owned()).or_default().hold = Some(hold);
        self.put_hold(&format!("frosty:{{default}}:scope:{scope}"), now, until);
    }

    fn plant_fleet_hold(&mut self, now: Ms, until: Option<Ms>) {
        let hold = frosty::throttle::state::Hold { reason: "why".into(), by: "someone".into(), since: now, until };
        self.fleet.hold = Some(hold);
        self.put_hold("frosty:{default}:fleet", now, until);
    }

    fn put_hold(&mut self, key: &str, now: Ms, until: Option<Ms>) {
        redis::cmd("HSET")
            .arg(key)
            .arg(&[("hold_reason", "why"), ("hold_by", "someone")])
            .arg("hold_since")
            .arg(now)
            .arg("hold_until")
            .arg(until.map_or_else(String::new, |t| t.to_string()))
            .query::<()>(&mut self.con)
            .unwrap();
    }

    fn plant_taken(&mut self, scope: &str, now: Ms) {
        self.scopes.entry(scope.to_owned()).or_default().taken = Some(now);
        let key = format!("frosty:{{default}}:scope:{scope}");
        redis::cmd("HSET").arg(key).arg("taken").arg(now).query::<()>(&mut self.con).unwrap();
    }

    /// The session is freed together with others, to which slots were given.
    fn plant_slots(&mut self, session: &str, now: Ms) {
        self.sessions.entry(session.to_owned()).or_default().slot = Some(0);
        self.fleet.slots = Some(frosty::throttle::state::Span { start: now, end: now + 3_000 });
        self.fleet.freed_at = Some(now);
        let key = format!("frosty:{{default}}:session:{session}");
        redis::cmd("HSET").arg(key).arg("slot").arg(0).query::<()>(&mut self.con).unwrap();
        let times = [("slot_from", now), ("slot_next", now + 3_000), ("freed_at", now)];
        redis::cmd("HSET").arg("frosty:{default}:fleet").arg(&times).query::<()>(&mut self.con).unwrap();
    }

    fn plant_wake(&mut self, session: &str) {
        self.sessions.entry(session.to_owned()).or_default().woken = true;
        let key = format!("frosty:{{default}}:session:{session}");
        redis::cmd("HSET").arg(key).arg("woken").arg(1).query::<()>(&mut self.con).unwrap();
    }
}

/// Lua 5.1 gives a function 60 names from without, and 200 of its own: a script that is written further must find room.
#[test]
fn the_scripts_leave_room_in_lua() {
    let server = Server::start();
    let names: Vec<String> = (0..8).map(|i| format!("spare_{i}")).collect();
    let spare: String = names.iter().map(|name| format!("local {name} = 0\n")).collect();
    for (script, function) in [(SCRIPT, "local function decide("), (CARRY, "local function span(")] {
        let (before, rest) = script.split_once(function).unwrap();
        let (arguments, body) = rest.split_once('\n').unwrap();
        let wider = format!("{before}{spare}{function}{arguments}\nlocal _ = {}\n{body}", names.join("+"));
        redis::cmd("SCRIPT").arg("LOAD").arg(&wider).query::<String>(&mut server.connection()).unwrap();
    }
}

#[test]
fn every_key_is_declared() {
    for (script, names, calls) in [(SCRIPT, 8, 15), (CARRY, 5, 12), (SHIP, 2, 4)] {
        declares_its_keys(script, names, calls);
    }
    // The helpers of the admission that take a key are given K_ names only.
    for helper in ["quota_left(", "quota_add("] {
        let uses = SCRIPT.matches(helper).count();
        assert!(uses >= 2, "{helper}");
    }
    for part in SCRIPT.split("quota_left(").skip(1) {
        assert!(
            part.starts_with("key, list)") || part.starts_with("K_SCOPE_QUOTA") || part.starts_with("K_FLEET_QUOTA")
        );
    }
    for part in SCRIPT.split("quota_add(").skip(1) {
        assert!(part.starts_with("key, kept)") || part.starts_with("quota[1], quota[2])"));
    }
    for part in SCRIPT.split("ring(").skip(1) {
        assert!(
            part.starts_with("key, what)") || part.starts_with("K_WAKE, event)") || part.starts_with("K_BELL, event)")
        );
    }
    for part in SCRIPT.split("quota_puts + 1] = { ").skip(1) {
        assert!(part.starts_with("K_SCOPE_QUOTA,") || part.starts_with("K_FLEET_QUOTA,"));
    }
}

/// Each K_ name is assigned once, from KEYS, and every call names one of them (or the key parameter that is given one).
fn declares_its_keys(script: &str, keys: usize, least: usize) {
    let mut names = BTreeSet::new();
    for line in script.lines().filter(|l| l.trim_start().starts_with("local K_")) {
        let (left, right) = line.trim().split_once(" = ").unwrap();
        for name in left.trim_start_matches("local ").split(", ") {
            assert!(names.insert(name.to_owned()), "{name} is assigned twice");
        }
        assert!(right.contains("KEYS["), "{line}");
    }
    assert_eq!(names.len(), keys, "{names:?}");
    for (i, line) in script.lines().enumerate() {
        let assigned = names.iter().any(|n| line.contains(&format!("{n} =")) && !line.trim().starts_with("local K_"));
        assert!(!assigned || line.contains("=="), "line {}: {line}", i + 1);
    }
    const ALLOWED: [&str; 18] = [
        "HGET",
        "HMGET",
        "HSET",
        "HDEL",
        "HGETALL",
        "GET",
        "SET",
        "ZADD",
        "ZCOUNT",
        "ZCARD",
        "ZRANGE",
        "ZREM",
        "ZREMRANGEBYSCORE",
        "XADD",
        "PEXPIRE",
        "PERSIST",
        "DEL",
        "TIME",
    ];
    let mut calls = 0;
    for how in ["redis.call(", "redis.pcall("] {
        for part in script.split(how).skip(1) {
            calls += 1;
            let (command, rest) = part.strip_prefix('\'').unwrap().split_once('\'').unwrap();
            assert!(ALLOWED.contains(&command), "{command} is not allowed in a script");
            if command == "TIME" {
                assert!(rest.starts_with(')'), "{part}");
                continue;
            }
            let key = rest.strip_prefix(", ").unwrap().split([',', ')']).next().unwrap();
            assert!(names.contains(key) || key == "key", "{command} touches {key}");
        }
    }
    assert_eq!(calls, script.matches("redis.call").count() + script.matches("redis.pcall").count());
    assert!(calls >= least, "only {calls} calls were read");
}

#[test]
fn no_global_and_nothing_that_differs_between_the_two_lua_versions() {
    for forbidden in ["math.pow", "os.", "cjson", "loadstring", "setfenv", "//", "#!lua", "FCALL", "goto "] {
        assert!([SCRIPT, CARRY, SHIP].iter().all(|script| !script.contains(forbidden)), "{forbidden}");
    }
    let server = Server::start();
    let mut con = server.connection();
    // Redis itself refuses a script that assigns a global; run every event once.
    let config = Config::default();
    for event in [
        frosty::throttle::step::Event::Stop { rest: None },
        frosty::throttle::step::Event::PreCompactAuto,
        frosty::throttle::step::Event::SessionEnd,
    ] {
        let answer = con.req_command(&invocation("EVAL", SCRIPT, &config, &support::step(event))).unwrap();
        assert!(matches!(answer, Value::Array(_)), "{answer:?}");
    }
}

#[test]
fn a_warm_stop_touches_four_keys_each_read_and_written_once() {
    let server = Server::start();
    let mut con = server.connection();
    let config = Config::default();
    let step = support::stop_step();
    con.req_command(&invocation("EVAL", SCRIPT, &config, &step)).unwrap();
    let before = commands(&mut con);
    con.req_command(&invocation("EVAL", SCRIPT, &config, &step)).unwrap();
    let after = commands(&mut con);
    let calls: BTreeMap<&str, u64> = after
        .iter()
        .filter(|(name, _)| *name != "info" && *name != "eval")
        .map(|(name, n)| (name.as_str(), n - before.get(name).copied().unwrap_or(0)))
        .filter(|(_, n)| *n > 0)
        .collect();
    // Session, scope and fleet are read; session and scope are written; the journal is appended to.
    let expected = BTreeMap::from([("hmget", 3), ("hset", 2), ("pexpire", 2), ("time", 1), ("xadd", 1)]);
    assert_eq!(calls, expected);
}

fn commands(con: &mut Connection) -> BTreeMap<String, u64> {
    let text: String = redis::cmd("INFO").arg("commandstats").query(con).unwrap();
    let line = |l: &str| {
        let (name, stats) = l.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), stats.split(',').next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// A person may write a hold by hand, and forget half of it.
#[test]
fn half_a_hold_or_cooldown_still_refuses() {
    let server = Server::start();
    let mut both = Both::new(&server);
    let config = Config::default();
    let later = (support::T0 + 60_000).to_string();
    for (key, field, value, reason) in [
        ("scope:scope", "hold_reason", "lunch", "hold"),
        ("scope:scope", "hold_by", "ann", "hold"),
        ("fleet", "hold_since", "1", "hold"),
        ("scope:scope", "stop_cooldown_end", later.as_str(), "cooldown"),
        ("scope:scope", "api_end", later.as_str(), "api_error"),
    ] {
        both.reset();
        let key = format!("frosty:{{default}}:{key}");
        redis::cmd("HSET").arg(key).arg(field).arg(value).query::<()>(&mut both.con).unwrap();
        assert_eq!(both.script(&config, &support::stop_step(), support::T0).reason.code(), reason, "{field}");
    }
}

#[test]
fn keys_outlive_their_facts_and_an_endless_hold_has_no_end() {
    let server = Server::start();
    let mut both = Both::new(&server);
    let policy = support::policy(|p| p.stop.min_interval = std::time::Duration::from_secs(20 * 86_400));
    let config = config(&policy);
    let step = support::stop_step();
    both.script(&config, &step, support::T0);
    let ttl = |both: &mut Both, key: &str| -> i64 { redis::cmd("PTTL").arg(key).query(&mut both.con).unwrap() };
    // Longer than the longest limit that anybody else may ask the same scope with.
    assert!(ttl(&mut both, "frosty:{default}:scope:scope") > 31 * 86_400_000);
    assert!(ttl(&mut both, "frosty:{default}:session:session") > 24 * 86_400_000);
    assert_eq!(ttl(&mut both, "frosty:{default}:fleet"), -1);
    assert_eq!(ttl(&mut both, "torch.continuous.ops"), -1);
    both.plant_hold("scope", support::T0, None);
    let refused = both.script(&config, &support::step(frosty::throttle::step::Event::PreCompactAuto), support::T0 + 1);
    assert_eq!(refused.reason.code(), "admitted", "a hold does not touch compaction");
    assert_eq!(ttl(&mut both, "frosty:{default}:scope:scope"), -1);
    assert_eq!(step.event.asks(), Some(Class::Stop));
}
