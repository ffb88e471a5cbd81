//! Tests a waiting engine with changing terms: switches, registration, configuration, a late payload.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use crate::support::place::{Place, goes_on, leaves_silently};
use crate::support::{Engine, Frosty, Server, eventually, free_port, stop, stop_saying};
use serde_json::Value;

const HOUR: &str = r#"{"stop": {"min_interval": "1h"}}"#;

/// Returns a place with one admission of session `s`, and an engine that waits out the minimum interval.
fn waits_out(place: Place, policy: &str) -> (Place, Engine) {
    waits_out_as("s", place, policy)
}

/// As [`waits_out`], with a session of this id.
fn waits_out_as(id: &str, place: Place, policy: &str) -> (Place, Engine) {
    let place = Place { frosty: place.frosty.config(policy), server: place.server };
    goes_on(&place.frosty.hook(&stop(id)));
    let engine = place.resting(id, "on it");
    (place, engine)
}

fn session(frosty: &Frosty) -> Value {
    let told = frosty.run(&["status", "--json"], b"");
    let report: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|e| panic!("{e}: {told:?}"));
    report["sessions"][0].clone()
}

#[test]
fn a_switch_ends_an_engine_that_waits() {
    for place in Place::both() {
        let (place, engine) = waits_out(place, r#"{"stop": {"min_interval": "5s"}}"#);
        assert_eq!(place.run(&["off"]).code, Some(0));
        leaves_silently(&engine.answer());
        assert_eq!(place.admissions().len(), 1);
        is_stopped(&place.frosty, "it was switched off (frosty off)");
    }
}

/// A person wanted the end of the engine: the session is shown as stopped with the reason, and as no loss.
fn is_stopped(frosty: &Frosty, why: &str) {
    let shown = session(frosty);
    assert_eq!((&shown["state"], &shown["undecided"]["reason"]), (&"stopped".into(), &"disarmed".into()), "{shown}");
    assert_eq!(shown["undecided"]["why"], *why, "{shown}");
    let explained = frosty.run(&["explain", "s"], b"").stdout;
    assert!(explained.contains(why) && explained.contains("type in the session"), "{explained}");
    let checked = frosty.run(&["doctor"], b"").stdout;
    assert!(checked.contains("0 waiting on this machine, none lost"), "{checked}");
}

#[test]
fn a_switch_ends_an_engine_whose_server_is_away() {
    let port = free_port();
    let server = Server::start_on(port);
    let frosty = Frosty::on(&server);
    let id = "0a1b2c3d-0000-4000-8000-000000000001";
    let (Place { frosty, server }, engine) =
        waits_out_as(id, Place { frosty, server: Some(server) }, r#"{"stop": {"min_interval": "5s"}}"#);
    drop(server);
    // The names are on the server; an id needs none.
    let unknown = frosty.run(&["off", "--session", "nova"], b"");
    assert_eq!(unknown.code, Some(64), "{unknown:?}");
    assert!(unknown.stderr.contains("the server is unreachable") && unknown.stderr.contains("whole id"), "{unknown:?}");
    assert_eq!(frosty.run(&["off", "--session", id], b"").code, Some(0));
    leaves_silently(&engine.answer());
    assert!(frosty.journal().iter().all(|e| e["verdict"] != "admit"), "{:?}", frosty.journal());
}

/// Engines that become due while the switch is written: none of them sends a request after the command has returned.
#[test]
fn nothing_is_continued_after_the_switch() {
    let frosty = Frosty::embedded().config(r#"{"stop": {"min_interval": "0s", "burst": null}}"#);
    let engines: Vec<Engine> = (0..8)
        .map(|n| {
            let mut command = frosty.command(&["hook", "--wait", "20d", "--timeout", "1900000"]);
            command.env("FROSTY_SCOPE", format!("s{n}"));
            Engine::of(command, &stop_saying(&format!("s{n}"), "frosty: next_check 2s"))
        })
        .collect();
    eventually("all rest", || frosty.journal().iter().filter(|e| e["reason"] == "rest").count() == 8);
    eventually("the first goes on", || frosty.journal().iter().any(|e| e["verdict"] == "admit"));
    assert_eq!(frosty.run(&["off"], b"").code, Some(0));
    let returned = frosty::clock::host_ms();
    let mut continued = 0;
    for engine in engines {
        let answer = engine.answer();
        assert!(matches!(answer.code, Some(0 | 2)), "{answer:?}");
        continued += i64::from(answer.code == Some(2));
    }
    let admitted = frosty.journal().iter().filter(|e| e["verdict"] == "admit").count();
    let before = |e: &&Value| e["verdict"] == "admit" && e["ms"].as_i64().unwrap() <= returned;
    let in_time = i64::try_from(frosty.journal().iter().filter(before).count()).unwrap();
    assert!(
        continued <= in_time,
        "{continued} continued, {in_time} of {admitted} admitted before the command returned"
    );
}

#[test]
fn an_engine_ends_when_its_registration_is_taken_out() {
    for place in Place::both() {
        let place = Place { frosty: place.frosty.config(r#"{"stop": {"min_interval": "5s"}}"#), server: place.server };
        assert_eq!(place.run(&["install"]).code, Some(0));
        let (place, mut engine) = waits_out(place, r#"{"stop": {"min_interval": "5s"}}"#);
        // A file that an editor writes anew does not change the registration.
        let settings = place.frosty.project().join(".claude/settings.json");
        let text = std::fs::read_to_string(&settings).unwrap();
        std::fs::write(&settings, "{").unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        assert!(engine.is_waiting());
        std::fs::write(&settings, text).unwrap();
        let out = place.run(&["uninstall"]);
        assert!(out.code == Some(0) && out.stdout.contains("sessions are not continued any more"), "{out:?}");
        assert_ne!(session(&place.frosty)["state"], "undecided");
        leaves_silently(&engine.answer());
        assert_eq!(place.admissions().len(), 1);
        is_stopped(&place.frosty, "Frosty's hooks were removed or switched off");
    }
}

#[test]
fn a_shorter_interval_is_used_at_once() {
    for place in Place::both() {
        let (place, engine) = waits_out(place, HOUR);
        let frosty = place.frosty.config(r#"{"stop": {"min_interval": "1s"}}"#);
        goes_on(&engine.answer());
        let place = Place { frosty, server: place.server };
        assert_eq!(place.admissions().len(), 2);
    }
}

#[test]
fn a_longer_interval_is_used_at_the_next_request() {
    for place in Place::both() {
        let (place, mut engine) = waits_out(place, r#"{"stop": {"min_interval": "2s"}}"#);
        let place = Place { frosty: place.frosty.config(HOUR), server: place.server };
        let by_hours = |e: &Value| {
            let left = e["retry_after_ms"].as_i64().or_else(|| e["retry_after_ms"].as_str()?.parse().ok());
            e["reason"] == "min_interval" && left.is_some_and(|left| left > 3_000_000)
        };
        eventually("it is refused by the new limit", || place.journal().iter().any(by_hours));
        std::thread::sleep(Duration::from_secs(3));
        assert!(engine.is_waiting() && place.admissions().len() == 1, "{:?}", place.journal());
    }
}

#[test]
fn a_configuration_that_disarms_or_only_looks_on_ends_an_engine() {
    for config in [r#"{"stop": {"min_interval": "1h"}, "arm": "manual"}"#, r#"{"mode": "shadow"}"#] {
        for place in Place::both() {
            let (place, engine) = waits_out(place, HOUR);
            let _place = Place { frosty: place.frosty.config(config), server: place.server };
            leaves_silently(&engine.answer());
        }
    }
}

#[test]
fn a_session_moves_to_the_scope_that_its_configuration_names() {
    for place in Place::both() {
        let (place, engine) = waits_out(place, r#"{"scope": "one", "stop": {"min_interval": "1h"}}"#);
        let frosty = place.frosty.config(r#"{"scope": "two", "stop": {"min_interval": "1s"}}"#);
        let place = Place { frosty, server: place.server };
        goes_on(&engine.answer());
        let last = place.journal().pop().unwrap();
        assert_eq!((&last["scope"], &last["verdict"]), (&"two".into(), &"admit".into()));
    }
}

/// While the file is broken no request is sent; the wait continues afterwards.
#[test]
fn a_configuration_that_breaks_keeps_an_engine_from_asking() {
    for place in Place::both() {
        let (place, mut engine) = waits_out(place, r#"{"stop": {"min_interval": "2s"}}"#);
        let place = Place { frosty: place.frosty.config("{\"stop\": {"), server: place.server };
        eventually("it is noticed", || place.frosty.journal().iter().any(|e| e["reason"] == "bad_config"));
        std::thread::sleep(Duration::from_secs(3));
        assert!(engine.is_waiting() && place.admissions().len() == 1);
        let place = Place { frosty: place.frosty.config(r#"{"stop": {"min_interval": "2s"}}"#), server: place.server };
        goes_on(&engine.answer());
        assert_eq!(place.admissions().len(), 2);
        assert_eq!(session(&place.frosty)["undecided"], Value::Null);
    }
}

/// A wait that continues by itself is not shown as one that a person must end.
#[test]
fn status_shows_that_a_waiting_engine_outlasts_a_broken_configuration() {
    for place in Place::both() {
        let (place, _engine) = waits_out(place, HOUR);
        let place = Place { frosty: place.frosty.project_config("{"), server: place.server };
        eventually("it is noticed", || place.frosty.journal().iter().any(|e| e["reason"] == "bad_config"));
        let mut command = place.frosty.command(&["status", "--json"]);
        command.current_dir(place.frosty.home.path()).env_remove("CLAUDE_PROJECT_DIR");
        let told = crate::support::feed(command, b"").stdout;
        let row = serde_json::from_str::<Value>(&told).unwrap()["sessions"][0].clone();
        assert_eq!((&row["state"], &row["back_by"]), (&"undecided".into(), &"mend".into()), "{row}");
    }
}

/// An editor or a checkout takes a file away and writes it again: no other limits apply meanwhile.
#[test]
fn a_configuration_that_is_away_for_a_moment_keeps_an_engine_from_asking() {
    for place in Place::both() {
        let (place, mut engine) = waits_out(place, HOUR);
        let file = place.frosty.home.path().join(".claude/frosty.json");
        let (asked, text) = (place.journal().len(), std::fs::read_to_string(&file).unwrap());
        std::fs::remove_file(&file).unwrap();
        eventually("it is noticed", || place.frosty.journal().iter().any(|e| e["reason"] == "bad_config"));
        std::fs::write(&file, text).unwrap();
        eventually("it goes on to wait", || session(&place.frosty)["undecided"] == Value::Null);
        let by_others = |e: &&Value| !["min_interval", "bad_config"].contains(&e["reason"].as_str().unwrap());
        let journal = place.journal();
        assert!(engine.is_waiting() && place.admissions().len() == 1);
        assert!(!journal.iter().skip(asked).any(|e| by_others(&e)), "{journal:?}");
    }
}

#[test]
fn a_registration_that_is_away_for_a_moment_ends_no_engine() {
    for place in Place::both() {
        let policy = r#"{"stop": {"min_interval": "1h"}}"#;
        let place = Place { frosty: place.frosty.config(policy), server: place.server };
        assert_eq!(place.run(&["install"]).code, Some(0));
        let (place, mut engine) = waits_out(place, policy);
        let settings = place.frosty.project().join(".claude/settings.json");
        let text = std::fs::read_to_string(&settings).unwrap();
        std::fs::remove_file(&settings).unwrap();
        std::thread::sleep(Duration::from_millis(2500));
        std::fs::write(&settings, text).unwrap();
        eventually("nothing is undecided", || session(&place.frosty)["undecided"] == Value::Null);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(engine.is_waiting());
    }
}

/// A subagent's call without a verdict leaves the session's engine as it is.
#[test]
fn a_subagents_call_that_was_not_decided_ends_no_engine() {
    for place in Place::both() {
        let (place, mut engine) = waits_out(place, HOUR);
        let place = Place { frosty: place.frosty.project_config("{"), server: place.server };
        place.event("s", "Stop", r#","agent_id":"a1""#);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(engine.is_waiting());
        let place = Place { frosty: place.frosty.project_config("{}"), server: place.server };
        eventually("it is decided", || session(&place.frosty)["undecided"] == Value::Null);
        assert!(engine.is_waiting());
    }
}

#[test]
fn a_stop_that_meets_a_half_written_configuration_is_decided_later() {
    for place in Place::both() {
        let good = r#"{"stop": {"min_interval": "1s"}}"#;
        place.event("s", "SessionStart", "");
        let place = Place { frosty: place.frosty.config("{\"stop\": {"), server: place.server };
        // The plain engine answers at once, and status shows the event.
        place.frosty.hook(&stop("s")).stands_down_saying(&["bad_config"]);
        let mut engine = place.wait("s", "on it");
        let marks = place.frosty.state().join("undecided/s");
        let own = format!("\"pid\":\"{}:", engine.pid());
        let waits = || std::fs::read_to_string(&marks).is_ok_and(|mark| mark.contains(&own));
        eventually("it waits", waits);
        assert!(engine.is_waiting());
        // `status` reads the same configuration, so it runs in a place with a valid one.
        let place = Place { frosty: place.frosty.config(good), server: place.server };
        goes_on(&engine.answer());
        assert_eq!(place.admissions().len(), 1);
        assert!(!marks.exists(), "{:?}", std::fs::read_to_string(&marks));
    }
}

#[test]
fn status_and_explain_show_a_call_that_was_not_decided_and_why() {
    for place in Place::both() {
        place.event("s", "SessionStart", "");
        goes_on(&place.frosty.hook(&stop("s")));
        let place = Place { frosty: place.frosty.project_config("{\"stop\": {"), server: place.server };
        place.frosty.hook(&stop("s")).stands_down_saying(&["bad_config"]);
        let mut engine = place.wait("s", "on it");
        let at = |args: &[&str]| {
            let mut command = place.frosty.command(args);
            command.current_dir(place.frosty.home.path()).env_remove("CLAUDE_PROJECT_DIR");
            crate::support::feed(command, b"")
        };
        let told = || serde_json::from_str::<Value>(&at(&["status", "--json"]).stdout).unwrap()["sessions"][0].clone();
        eventually("the engine waits", || told()["back_by"] == "mend");
        let row = told();
        assert_eq!((&row["state"], &row["undecided"]["reason"]), (&"undecided".into(), &"bad_config".into()), "{row}");
        assert!(row["undecided"]["why"].as_str().unwrap().contains("frosty.json"), "{row}");
        let words = at(&["explain", "s"]).stdout;
        assert!(words.contains("was not decided (bad_config)") && words.contains("frosty.json"), "{words}");
        assert!(engine.is_waiting());
        std::fs::write(place.frosty.project().join(".claude/frosty.json"), "{}").unwrap();
        eventually("it is decided", || told()["undecided"] == Value::Null);
    }
}

/// A prompt that meets the same broken file raises no fence, but takes the session over.
#[test]
fn a_prompt_that_was_not_decided_ends_an_engine_that_waits_for_the_configuration() {
    for place in Place::both() {
        let (place, waiting) = waits_out(place, HOUR);
        let place = Place { frosty: place.frosty.config("{"), server: place.server };
        let begins = place.wait("s", "on it");
        let marks = place.frosty.state().join("undecided/s");
        let pid = format!("\"pid\":\"{}:", begins.pid());
        eventually("it waits", || std::fs::read_to_string(&marks).is_ok_and(|mark| mark.contains(&pid)));
        leaves_silently(&waiting.answer());
        place.event("s", "UserPromptSubmit", r#","prompt":"hi""#);
        leaves_silently(&begins.answer());
    }
}

#[test]
fn a_payload_that_comes_late_is_waited_for() {
    for place in Place::both() {
        place.event("s", "SessionStart", "");
        let mut command = place.frosty.command(&["hook", "--wait", "20d", "--timeout", "1900000"]);
        command.env("CLAUDE_CODE_SESSION_ID", "s").stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        eventually("status shows it", || session(&place.frosty)["undecided"]["reason"] == "bad_input");
        assert_eq!(session(&place.frosty)["back_by"], "mend");
        input.write_all(stop("s").as_bytes()).unwrap();
        drop(input);
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(2));
        assert_eq!(session(&place.frosty)["undecided"], Value::Null);
    }
}

#[test]
fn limits_that_are_not_the_reports_own_are_shown_as_not_known() {
    for place in Place::both() {
        let place =
            Place { frosty: place.frosty.project_config(r#"{"stop": {"min_interval": "1h"}}"#), server: place.server };
        goes_on(&place.frosty.hook(&stop("s")));
        let _engine = place.resting("s", "on it");
        let at = |args: &[&str]| {
            let mut command = place.frosty.command(args);
            command.current_dir(place.frosty.home.path()).env_remove("CLAUDE_PROJECT_DIR");
            crate::support::feed(command, b"").stdout
        };
        eventually("its time is not known there", || at(&["status"]).contains("not known here"));
        assert!(at(&["explain", "s"]).contains("Under its own"), "{}", at(&["explain", "s"]));
    }
}
