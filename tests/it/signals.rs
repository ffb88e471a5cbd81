//! Wake-ups with a signal: which signals end a rest (`wake_on`), and what happens to the note of the others.

use std::fs;
use std::time::Duration;

use crate::support::place::{POLICY, Place, goes_on};
use crate::support::{Frosty, documents, eventually};

const LISTED: &str = r#""wake_on": ["urgent", "infra"]"#;

/// Both stores, for agents that only these two signals wake.
fn listed() -> [Place; 2] {
    Place::both().map(|place| {
        let frosty = place.frosty.config(&with(LISTED));
        Place { frosty, server: place.server }
    })
}

fn with(key: &str) -> String {
    format!("{}, {key}}}", POLICY.strip_suffix('}').unwrap())
}

/// The session's document on either store.
fn document(place: &Place) -> serde_json::Value {
    match &place.server {
        Some(server) => documents::read(&mut server.connection(), &documents::session("s")),
        None => {
            let file = fs::read_to_string(place.frosty.session_file("s")).unwrap();
            serde_json::from_str::<serde_json::Value>(&file).unwrap()["session"].clone()
        }
    }
}

#[test]
fn a_signal_that_is_not_listed_leaves_its_note_and_no_more() {
    for place in listed() {
        let mut engine = place.resting("s", "frosty: done");
        let kept = place.run(&["wake", "s", "--signal", "ping", "--note", "still there?"]);
        let line = "s was not woken: its wake_on does not contain ping; the note is kept for its next prompt\n";
        assert_eq!((kept.code, kept.stdout.as_str()), (Some(0), line), "{kept:?}");
        // A look comes at most five seconds later, and a notification at once.
        std::thread::sleep(Duration::from_millis(5_500));
        assert!(engine.is_waiting());
        assert_eq!(place.reasons("s"), ["done", "note_kept"]);
        let entry = place.journal().pop().unwrap();
        assert_eq!(
            (entry["event"].as_str(), entry["verdict"].as_str(), entry["detail"].as_str()),
            (Some("Wake"), Some("record"), Some("ping: still there?"))
        );
        let document = document(&place);
        assert!(document.get("woken").is_none(), "{document}");
        assert_eq!(document["wake_on"], serde_json::json!(["urgent", "infra"]));

        let woke = place.run(&["wake", "s", "--signal", "infra", "--note", "the disk is full"]);
        assert_eq!(woke.stdout, "woke s\n");
        let answer = engine.answer();
        goes_on(&answer);
        assert!(answer.stderr.ends_with("with this note: ping: still there?\ninfra: the disk is full\n"), "{answer:?}");
    }
}

#[test]
fn a_wake_up_without_a_signal_always_wakes_and_without_a_list_each_signal_does() {
    for place in listed() {
        let engine = place.resting("s", "frosty: done");
        assert_eq!(place.run(&["wake", "s", "--note", "ping is no signal here"]).stdout, "woke s\n");
        goes_on(&engine.answer());
    }
    for place in Place::both() {
        let engine = place.resting("s", "frosty: done");
        assert_eq!(place.run(&["wake", "s", "--signal", "anything-7"]).stdout, "woke s\n");
        let answer = engine.answer();
        goes_on(&answer);
        assert!(answer.stderr.ends_with("with this note: anything-7\n"), "{answer:?}");
        assert!(document(&place).get("wake_on").is_none(), "only a configured list is stored");
    }
}

/// An empty list: no signal wakes. The note arrives with the next continuation, whatever caused it.
#[test]
fn a_kept_note_is_in_the_next_prompt_and_ends_no_later_rest() {
    for place in Place::both() {
        let frosty = place.frosty.config(&with(r#""wake_on": []"#));
        let place = Place { frosty, server: place.server };
        goes_on(&place.wait("s", "on it").answer());
        let kept = place.run(&["wake", "s", "--signal", "urgent", "--note", "one"]);
        assert!(kept.stdout.starts_with("s was not woken: "), "{kept:?}");
        // The turn under way ends in a rest, which the signal does not end either.
        let mut engine = place.resting("s", "frosty: next_check 3s");
        assert!(engine.is_waiting());
        let answer = engine.answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("with this note: urgent: one\n"), "{answer:?}");
        let rests = place.journal().iter().filter(|e| e["reason"] == "rest").count();
        assert!(rests >= 1, "{:#?}", place.journal());
        let times = place.admissions();
        assert!(times[1] - times[0] >= 3_000, "{times:?}");
    }
}

#[test]
fn of_several_sessions_each_has_a_list_of_its_own() {
    for place in Place::both() {
        let woken = place.resting("a", "frosty: done");
        let frosty = place.frosty.project_config(r#"{"wake_on": ["urgent"]}"#);
        let place = Place { frosty, server: place.server };
        let mut kept = place.resting("b", "frosty: done");
        let said = place.run(&["wake", "--all", "--signal", "ping", "--at-once"]);
        let mut lines: Vec<&str> = said.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["b was not woken: its wake_on does not contain ping; the note is kept for its next prompt", "woke a"]
        );
        goes_on(&woken.answer());
        assert!(kept.is_waiting());
    }
}

/// The list is that of the session's last Stop event, and of an engine that waits when it changes.
#[test]
fn a_changed_list_applies_to_an_engine_that_waits() {
    for place in listed() {
        let engine = place.resting("s", "frosty: done");
        let file = place.frosty.home.path().join(".claude/frosty.json");
        fs::write(file, with(r#""wake_on": ["ping"]"#)).unwrap();
        eventually("the list is registered", || document(&place)["wake_on"] == serde_json::json!(["ping"]));
        let kept = place.run(&["wake", "s", "--signal", "urgent"]);
        assert!(kept.stdout.starts_with("s was not woken"), "{kept:?}");
        assert_eq!(place.run(&["wake", "s", "--signal", "ping"]).stdout, "woke s\n");
        goes_on(&engine.answer());
    }
}

#[test]
fn a_published_text_may_begin_with_a_signal() {
    let [place, _] = listed();
    let mut con = place.server.as_ref().unwrap().connection();
    let mut publish = |text: &str| redis::cmd("PUBLISH").arg("frosty.wake.s").arg(text).query::<u32>(&mut con).unwrap();
    let mut engine = place.resting("s", "frosty: done");
    eventually("the engine listens", || publish("ping: a\x07b") > 0);
    eventually("the note is stored", || place.reasons("s").contains(&"note_kept".to_owned()));
    // A name that is not in the list does not wake, whether it is meant as a signal or not.
    publish("fix: the login");
    eventually("it is stored, too", || place.reasons("s").iter().filter(|r| *r == "note_kept").count() >= 2);
    assert!(engine.is_waiting());
    let details: Vec<_> =
        place.journal().iter().filter(|e| e["event"] == "Wake").map(|e| e["detail"].clone()).collect();
    assert!(details.contains(&"ping: a b".into()) && details.contains(&"fix: the login".into()), "{details:?}");
    // Neither a title of several words nor a URL is a signal.
    publish("the build: https://ci/7 is green");
    let answer = engine.answer();
    goes_on(&answer);
    assert!(answer.stderr.contains("fix: the login\nthe build: https://ci/7 is green\n"), "{answer:?}");
}

/// A text that wakes may be published in the same instant as one that does not.
#[test]
fn a_signal_that_does_not_wake_takes_no_other_text_along() {
    let [place, _] = listed();
    let mut con = place.server.as_ref().unwrap().connection();
    let engine = place.resting("s", "frosty: done");
    let count = || {
        let mut con = place.server.as_ref().unwrap().connection();
        redis::cmd("PUBSUB").arg("NUMSUB").arg("frosty.wake.s").query::<(String, u32)>(&mut con).unwrap().1
    };
    eventually("the engine listens", || count() > 0);
    let mut both = redis::pipe();
    for text in ["ping: a", "come back", "ping: b"] {
        both.cmd("PUBLISH").arg("frosty.wake.s").arg(text);
    }
    both.query::<Vec<u32>>(&mut con).unwrap();
    let answer = engine.answer();
    goes_on(&answer);
    assert!(answer.stderr.contains("ping: a / b\ncome back\n"), "{answer:?}");
}

#[test]
fn a_wrong_signal_is_a_wrong_command_line() {
    let frosty = Frosty::embedded();
    for wrong in ["", "Urgent", "two words", "a:b", &"x".repeat(33)] {
        let answer = frosty.run(&["wake", "s", "--signal", wrong], b"");
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(64), ""), "{answer:?}");
        assert!(answer.stderr.contains("expected 1 to 32 of a-z, 0-9, _ and -"), "{answer:?}");
    }
}
