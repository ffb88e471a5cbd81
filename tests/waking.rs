//! Wake-ups and releases on both stores: who is meant, what is told, and what they end.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/place.rs"]
mod place;
mod support;

use std::time::Duration;

use place::{Place, goes_on};
use support::{Engine, eventually, stop};

#[test]
fn wake_by_session_scope_and_name_with_its_notes() {
    for place in Place::both() {
        let place = place.var("FROSTY_NAME", "willy").var("FROSTY_SCOPE", "seat 1");
        for whom in ["s", "seat 1", "seat%201", "willy"] {
            let engine = place.resting("s", "frosty: done");
            let woke = place.run(&["wake", whom, "--note", "the build\u{1b}[31m is green"]);
            assert_eq!((woke.code, woke.stdout.as_str()), (Some(0), "woke s in seat%201\n"), "{woke:?}");
            let answer = engine.answer();
            goes_on(&answer);
            assert!(
                answer.stderr.contains("with this note: the build [31m is green\n")
                    || answer.stderr.ends_with("is green\n")
            );
            assert!(!answer.stderr.contains('\u{1b}'));
        }
        assert_eq!(place.admissions().len(), 4);
    }
}

#[test]
fn a_wake_up_before_the_rest_is_not_lost_even_if_the_turn_says_done() {
    for place in Place::both() {
        goes_on(&place.wait("s", "on it").answer());
        for note in ["one", "two"] {
            assert_eq!(place.run(&["wake", "s", "--note", note]).code, Some(0));
        }
        let answer = place.wait("s", "frosty: done").answer();
        goes_on(&answer);
        assert!(answer.stderr.ends_with("with this note: one\ntwo\n"), "{answer:?}");
        // The admission answered it.
        let mut engine = place.resting("s", "frosty: done");
        assert!(engine.is_waiting());
    }
}

#[test]
fn topics_and_all() {
    for place in Place::both() {
        let builds = place.resting("a", "frosty: wait_for the build");
        let mut deploys = place.resting("b", "frosty: wait_for the deploy");
        let mut blocked = place.resting("c", "frosty: blocked Ann");
        let woke = place.run(&["wake", "--topic", "the build", "--note", "it is green"]);
        assert_eq!(woke.stdout, "woke a in a\n");
        goes_on(&builds.answer());
        assert!(deploys.is_waiting() && blocked.is_waiting());
        let nobody = place.run(&["wake", "--topic", "the biuld"]);
        assert!(nobody.code == Some(64) && nobody.stderr.contains("  the deploy"), "{nobody:?}");
        assert_eq!(place.run(&["wake", "b", "--note", &"x".repeat(1001)]).code, Some(64));
        assert_eq!(place.run(&["wake", "--all"]).code, Some(0));
        goes_on(&deploys.answer());
        goes_on(&blocked.answer());
    }
}

#[test]
fn an_ambiguous_word_lists_and_a_wrong_one_tells_who_is_there() {
    for place in Place::both() {
        let place = place.var("FROSTY_NAME", "twins");
        place.event("a", "SessionStart", "");
        place.event("b", "SessionStart", "");
        let several = place.run(&["wake", "twins"]);
        assert_eq!(several.code, Some(64));
        assert!(
            several.stderr.contains("a  scope a  name twins") && several.stderr.contains("b  scope b"),
            "{several:?}"
        );
        let nobody = place.run(&["wake", "nova"]);
        assert_eq!(nobody.code, Some(64));
        assert!(nobody.stderr.contains("found \"nova\"") && nobody.stderr.contains("a  scope a"), "{nobody:?}");
        place.event("b", "SessionEnd", "");
        let woke = place.run(&["wake", "twins"]);
        assert_eq!(woke.stdout, "a has no engine that waits: it hears of this at its next stop\n");
        for args in [
            &["wake"][..],
            &["wake", "a", "--all"],
            &["wake", "--al"],
            &["release", "--x"],
            &["wake", ""],
            &["release", ""],
        ] {
            assert_eq!(place.run(args).code, Some(64), "{args:?}");
        }
    }
}

#[test]
fn a_plain_publish_wakes_with_its_text() {
    let [place, _] = Place::both();
    let place = place.var("FROSTY_NAME", "willy").var("FROSTY_SCOPE", "seat");
    let mut con = place.server.as_ref().unwrap().connection();
    for channel in ["trigger.nova.willy", "trigger.nova.seat", "frosty.wake.seat"] {
        let engine = place.resting("s", "frosty: done");
        eventually("somebody hears", || {
            redis::cmd("PUBLISH").arg(channel).arg("come\x07 back").query::<u32>(&mut con).unwrap() > 0
        });
        let answer = engine.answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("come  back"), "{answer:?}");
    }
    assert_eq!(place.admissions().len(), 3);
}

#[test]
fn a_wake_up_ends_no_cooldown_and_no_hold() {
    for place in Place::both() {
        // Two plain stops at once and a third: a cooldown of a minute.
        for _ in 0..3 {
            place.frosty.hook(&stop("s"));
        }
        let mut engine = place.resting("s", "frosty: done");
        assert_eq!(place.reasons("s").last().unwrap(), "cooldown");
        place.run(&["wake", "s"]);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(engine.is_waiting());
        assert_eq!(place.admissions().len(), 1);
    }
}

#[test]
fn a_hold_is_waited_for_and_released() {
    for place in Place::both() {
        let failure = r#"{"session_id":"s","hook_event_name":"StopFailure","error":"authentication_failed"}"#;
        let engine = Engine::start(&place.frosty, failure);
        eventually("it is held", || place.reasons("s").contains(&"hold".to_owned()));
        let released = place.run(&["release"]);
        assert_eq!(released.code, Some(0));
        assert!(released.stdout.contains("released s: it was held by api: authentication_failed: log in again"));
        let answer = engine.answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("held by api: authentication_failed: log in again"), "{answer:?}");
        assert_eq!(place.run(&["release"]).stdout, "nothing is held\n");
        assert_eq!(place.run(&["release", "s"]).stdout, "s was not held\n");
        assert_eq!(place.run(&["release", "nobody"]).code, Some(64));
    }
}

#[test]
fn a_release_ends_an_api_cooldown_that_an_engine_waits_out() {
    for place in Place::both() {
        let failure = r#"{"session_id":"s","hook_event_name":"StopFailure","error":"rate_limit","error_details":"retry-after: 900"}"#;
        let mut engine = Engine::start(&place.frosty, failure);
        eventually("it waits", || place.reasons("s").contains(&"api_error".to_owned()));
        assert!(engine.is_waiting());
        let released = place.run(&["release", "s"]);
        assert!(released.stdout.starts_with("ended the API cooldown of s, of which 1"), "{released:?}");
        goes_on(&engine.answer());
        assert_eq!(place.run(&["release", "s"]).stdout, "s was not held\n");
    }
}

/// A full-screen dialog was open: the client delivers the wake-up when it closes, and two calls must not follow at once.
#[test]
fn an_admission_that_the_client_delivers_late_closes_the_guard_again() {
    for place in Place::both() {
        goes_on(&place.wait("s", "on it").answer());
        std::thread::sleep(Duration::from_millis(1100));
        let rewake =
            support::fixture("UserPromptSubmit-own-rewake.json").replace("487c3025-9cbb-40aa-a51b-3d0583301f00", "s");
        assert_eq!(place.frosty.hook(&rewake).code, Some(0));
        goes_on(&place.wait("s", "on it").answer());
        let begun = place.journal().iter().find(|e| e["event"] == "UserPromptSubmit").unwrap()["ms"].as_i64().unwrap();
        let late = place.admissions()[1] - begun;
        assert!(late >= 1000, "the next was admitted {late} ms after the turn of a late admission began");
    }
}
