//! Release slots on both stores, with engines as processes of their own: sessions freed by one event resume one after
//! the other.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::place::{Place, goes_on};
use crate::support::{Engine, Frosty, Server, eventually, stop, stop_saying};
use serde_json::Value;

/// Less than 70 % of the step of 250 ms, by the possible difference between a journal's time and a verdict's.
const GAP: i64 = 150;
const POLICY: &str = r#"{"stop": {"min_interval": "1ms"}, "api_error": {"base": "1s", "max": "4s"}}"#;

fn places() -> [Place; 2] {
    let server = Server::start();
    [
        Place { frosty: Frosty::on(&server).config(POLICY), server: Some(server) },
        Place { frosty: Frosty::embedded().config(POLICY), server: None },
    ]
}

fn engines(place: &Place, sessions: &[String], message: &str) -> Vec<Engine> {
    sessions.iter().map(|s| Engine::start(&place.frosty, &stop_saying(s, message))).collect()
}

fn names(many: usize) -> Vec<String> {
    (0..many).map(|i| format!("s{i}")).collect()
}

/// Waits until so many sessions were refused for this reason since an entry.
#[track_caller]
fn refused(place: &Place, since: usize, reason: &str, many: usize) {
    eventually("they are refused", || {
        let journal = place.journal();
        let own = |e: &&Value| e["reason"] == reason && e["session"] != "";
        let mut all: Vec<_> = journal.iter().skip(since).filter(own).map(|e| e["session"].to_string()).collect();
        all.sort();
        all.dedup();
        all.len() >= many
    });
}

/// Returns when the sessions were admitted since an entry, in their order.
fn admissions(place: &Place, since: usize) -> Vec<i64> {
    let journal = place.journal();
    let admitted = journal.iter().skip(since).filter(|e| e["next_action"] == "CLAUDE_CODE_RESTART");
    let mut all: Vec<i64> = admitted.map(|e| e["ms"].as_i64().unwrap()).collect();
    all.sort_unstable();
    all
}

#[track_caller]
fn apart(times: &[i64]) {
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= GAP), "{gaps:?}");
}

fn at_of(place: &Place, event: &str) -> i64 {
    place.journal().iter().rfind(|e| e["event"] == event).unwrap()["ms"].as_i64().unwrap()
}

fn repetitions() -> usize {
    #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
    std::env::var("FROSTY_REPETITIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Returns how many entries the embedded store wrote: a machine that stalls for longer than a budget has its admissions
/// there.
fn degraded(place: &Place) -> usize {
    place.frosty.journal().iter().filter(|e| e["degraded"] == 1).count()
}

/// `FROSTY_REPETITIONS=20` repeats it as often.
#[test]
fn forty_engines_go_on_one_after_the_other_when_the_fleet_is_released() {
    const MANY: usize = 40;
    for place in places() {
        let (mut good, mut stalled) = (0, 0);
        while good < repetitions() {
            let (since, before) = (place.journal().len(), degraded(&place));
            assert_eq!(place.run(&["hold", "--reason", "a test"]).code, Some(0));
            let waiting = engines(&place, &names(MANY), "on it");
            refused(&place, since, "hold", MANY);
            let released = place.run(&["release", "--fleet"]);
            assert_eq!(released.code, Some(0));
            let waited = released.stdout.lines().nth(1).unwrap_or_default();
            assert!(waited.starts_with("40 sessions waited for it and resume one after the other: s"), "{released:?}");
            assert!(waited.ends_with(" and 35 more"), "{released:?}");
            for engine in waiting {
                goes_on(&engine.answer());
            }
            if degraded(&place) > before {
                stalled += 1;
                assert!(stalled < 5, "the server was away again and again");
                continue;
            }
            let times = admissions(&place, since);
            assert_eq!(times.len(), MANY);
            apart(&times);
            let took = times[MANY - 1] - at_of(&place, "Release");
            assert!(took <= 15_000, "the last one went on after {took} ms");
            println!("repetition {good}: {MANY} engines within {took} ms");
            good += 1;
        }
    }
}

#[test]
fn a_reset_time_is_a_fact_of_the_fleet_and_frees_one_after_the_other() {
    for place in places() {
        // Two of them rest while the other two meet the limit.
        let mut waiting = engines(&place, &names(2), "frosty: next_check 3s");
        refused(&place, 0, "rest", 2);
        let reset = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 6;
        for session in ["s2", "s3"] {
            let failure = format!(
                r#"{{"session_id":"{session}","hook_event_name":"StopFailure","error":"rate_limit","error_details":"usage limit reached|{reset}"}}"#
            );
            waiting.push(Engine::start(&place.frosty, &failure));
        }
        refused(&place, 0, "api_error", 4);
        for engine in waiting {
            goes_on(&engine.answer());
        }
        let times = admissions(&place, 0);
        assert_eq!(times.len(), 4);
        let reset = i64::try_from(reset).unwrap() * 1000;
        assert!(times[0] >= reset, "{} ms before the reset", reset - times[0]);
        apart(&times);
    }
}

#[test]
fn a_good_answer_lifts_the_limit_of_all() {
    for place in places() {
        let failure = r#"{"session_id":"s0","hook_event_name":"StopFailure","error":"rate_limit","error_details":"retry-after: 3000"}"#;
        let mut failed = Engine::start(&place.frosty, failure);
        refused(&place, 0, "api_error", 1);
        let mut waiting = engines(&place, &["s1".to_owned()], "frosty: next_check 1s");
        assert!(failed.is_waiting());
        // The Stop event of s1 was a successful one after the limit was learnt.
        goes_on(&failed.answer());
        goes_on(&waiting.remove(0).answer());
        let status = place.run(&["status"]).stdout;
        assert!(!status.contains("api cooldown"), "{status}");
    }
}

#[test]
fn one_named_session_goes_on_at_once_and_all_of_them_where_that_is_asked_for() {
    for place in places() {
        let waiting = engines(&place, &names(3), "frosty: done");
        refused(&place, 0, "done", 3);
        let mut waiting: Vec<_> = waiting.into_iter().collect();
        assert_eq!(place.run(&["wake", "s1"]).code, Some(0));
        goes_on(&waiting.remove(1).answer());
        assert!(!place.reasons("s1").contains(&"spread".to_owned()));
        waiting.push(Engine::start(&place.frosty, &stop_saying("s1", "frosty: done")));
        refused(&place, place.journal().len() - 1, "done", 1);

        let since = place.journal().len();
        place.run(&["wake", "--all"]);
        waiting.into_iter().for_each(|engine| goes_on(&engine.answer()));
        apart(&admissions(&place, since));
        assert_eq!(admissions(&place, since).len(), 3);

        let since = place.journal().len();
        let waiting = engines(&place, &names(3), "frosty: done");
        refused(&place, since, "done", 3);
        place.run(&["wake", "--all", "--at-once"]);
        waiting.into_iter().for_each(|engine| goes_on(&engine.answer()));
        for at_once in [&["hold", "--at-once"][..], &["hold"]] {
            let held = place.journal().len();
            place.run(at_once);
            let waiting = engines(&place, &names(3), "on it");
            refused(&place, held, "hold", 3);
            let how: &[&str] =
                if at_once.len() > 1 { &["release", "--fleet"] } else { &["release", "--fleet", "--at-once"] };
            let released = place.run(how).stdout;
            assert!(released.contains("\n3 sessions waited for it and resume together: "), "{released}");
            waiting.into_iter().for_each(|engine| goes_on(&engine.answer()));
        }
        let spread = place.journal().iter().skip(since).filter(|e| e["reason"] == "spread").count();
        assert_eq!(spread, 0, "--at-once gives no slots");
    }
}

/// A plain hook runs again only with its agent's next turn, and waits for no slot.
#[test]
fn a_plain_stop_waits_for_no_slot() {
    for place in places() {
        place.run(&["hold"]);
        for session in names(3) {
            assert_eq!(place.frosty.hook(&stop(&session)).code, Some(0));
        }
        place.run(&["release", "--fleet"]);
        for session in names(3) {
            assert_eq!(place.frosty.hook(&stop(&session)).code, Some(2));
        }
    }
}
