//! A session belongs to one client process: what other processes do under its id, on both stores.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/place.rs"]
mod place;
mod support;

use std::process::{Child, Command};

use place::{Place, goes_on, leaves_silently};
use serde_json::Value;
use support::{Answer, Engine, eventually, feed, stop_saying};

const WAITS: [&str; 5] = ["hook", "--wait", "20d", "--timeout", "1900000"];

/// A client process; it ends with the test.
struct Client(Child);

impl Client {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// A call of the hook by this client, in this scope.
    fn command(&self, place: &Place, scope: &str, args: &[&str]) -> Command {
        let mut command = place.frosty.command(args);
        command.env("CLAUDE_PID", self.0.id().to_string()).env("CLAUDE_CODE_ENTRYPOINT", "cli");
        command.env("FROSTY_SCOPE", scope);
        command
    }

    fn event(&self, place: &Place, scope: &str, event: &str) -> Answer {
        feed(self.command(place, scope, &["hook"]), payload(event).as_bytes())
    }

    /// An engine of this client that rests for an hour.
    fn rests(&self, place: &Place, scope: &str) -> Engine {
        let before = place.journal().len();
        let engine = Engine::of(self.command(place, scope, &WAITS), &stop_saying("s", "frosty: next_check 1h"));
        eventually("the stop is refused", || place.journal().iter().skip(before).any(|e| e["verdict"] == "refuse"));
        engine
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

fn payload(event: &str) -> String {
    let more = r#""prompt":"hi","notification_type":"permission_prompt","reason":"other","source":"resume""#;
    format!(r#"{{"session_id":"s","hook_event_name":"{event}",{more}}}"#)
}

/// The session as `frosty status` shows it.
fn status(place: &Place) -> Value {
    let answer = place.run(&["status", "--json", "--all"]);
    let report: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|e| panic!("{e}: {answer:?}"));
    report["sessions"].as_array().unwrap().iter().find(|s| s["id"] == "s").unwrap().clone()
}

fn wake(place: &Place) {
    let woken = place.run(&["wake", "s"]);
    assert!(woken.stdout.contains("woke s"), "{woken:?}");
}

#[test]
fn a_window_that_is_opened_and_closed_beside_it_changes_nothing() {
    for place in Place::both() {
        let (first, second) = (Client::start(), Client::start());
        first.event(&place, "a", "SessionStart");
        let engine = first.rests(&place, "a");
        let before = status(&place);
        for event in ["SessionStart", "Notification", "SubagentStop", "PreCompact", "SessionEnd"] {
            assert_eq!(second.event(&place, "b", event).code, Some(0), "{event}");
            let after = status(&place);
            for field in ["scope", "state", "needs_you", "pid", "rest", "host"] {
                assert_eq!(after[field], before[field], "{event}: {field}");
            }
        }
        wake(&place);
        goes_on(&engine.answer());
    }
}

#[test]
fn a_prompt_typed_in_another_window_takes_over_and_leaves_one_engine() {
    for place in Place::both() {
        let (first, second) = (Client::start(), Client::start());
        first.event(&place, "a", "SessionStart");
        let engine = first.rests(&place, "a");
        second.event(&place, "b", "SessionStart");
        second.event(&place, "b", "UserPromptSubmit");
        leaves_silently(&engine.answer());
        let engine = second.rests(&place, "b");
        assert_eq!(status(&place)["scope"], "b");
        // Now the first window is the one that is merely open.
        first.event(&place, "a", "SessionEnd");
        assert_eq!((status(&place)["scope"].as_str(), status(&place)["state"].as_str()), (Some("b"), Some("resting")));
        wake(&place);
        goes_on(&engine.answer());
        assert_eq!(place.admissions().len(), 1);
    }
}

#[test]
fn a_print_run_of_the_same_conversation_leaves_the_engine_of_a_live_window() {
    for place in Place::both() {
        let (first, print) = (Client::start(), Client::start());
        let engine = first.rests(&place, "a");
        let before = place.journal().len();
        let run = |event: &str, args: &[&str], on: Option<&str>| {
            let mut command = print.command(&place, "cron", args);
            command.env("CLAUDE_CODE_ENTRYPOINT", "sdk-cli").env("CLAUDE_CODE_SESSION_ATTENDED", "0");
            on.map(|on| command.env("FROSTY_ON", on));
            let answer = feed(command, payload(event).as_bytes());
            assert_eq!(answer.code, Some(0), "{event} {on:?}: {answer:?}");
        };
        for on in [None, Some("1")] {
            for event in ["SessionStart", "UserPromptSubmit", "Stop", "Notification", "PreCompact", "SessionEnd"] {
                run(event, &["hook"], on);
                run(event, &WAITS, on);
            }
        }
        assert_eq!(place.journal().len(), before, "an unattended run is left alone on every event");
        for event in ["SessionStart", "UserPromptSubmit", "SessionEnd"] {
            run(event, &["hook"], Some("print"));
        }
        run("Stop", &["hook"], Some("print"));
        run("Stop", &WAITS, Some("print"));
        assert_eq!(place.journal().len(), before + 5, "each event is journaled once");
        assert_eq!(place.reasons("s").iter().filter(|r| *r == "superseded").count(), 2);
        assert_eq!(status(&place)["scope"], "a");
        wake(&place);
        goes_on(&engine.answer());
    }
}

#[test]
fn a_process_that_has_ended_loses_its_session() {
    for place in Place::both() {
        let (mut first, second) = (Client::start(), Client::start());
        first.event(&place, "a", "SessionStart");
        let engine = first.rests(&place, "a");
        first.end();
        wake_silently(&place);
        leaves_silently(&engine.answer());
        second.event(&place, "b", "SessionStart");
        assert_eq!(status(&place)["scope"], "b");
        second.event(&place, "b", "SessionEnd");
        assert_eq!(status(&place)["state"], "ended");
        // Nor does it stand in the way of an unattended run.
        let mut third = Client::start();
        third.event(&place, "a", "UserPromptSubmit");
        third.end();
        let mut command = second.command(&place, "cron", &["hook"]);
        command.env("CLAUDE_CODE_ENTRYPOINT", "sdk-cli").env("FROSTY_ON", "print");
        assert_eq!(feed(command, payload("Stop").as_bytes()).code, Some(2));
    }
}

/// A wake-up that finds no engine; one that still waits sees that its client is gone.
fn wake_silently(place: &Place) {
    assert_eq!(place.run(&["wake", "s"]).code, Some(0));
}

/// Older clients name no process.
#[test]
fn only_what_raises_the_fence_moves_a_session_of_unknown_processes() {
    for place in Place::both() {
        let seen_in = |scope: &str, event: &str| {
            let mut command = place.frosty.command(&["hook"]);
            command.env("FROSTY_SCOPE", scope);
            assert_eq!(feed(command, payload(event).as_bytes()).code, Some(0), "{event}");
        };
        let mut command = place.frosty.command(&WAITS);
        command.env("FROSTY_SCOPE", "a");
        let engine = Engine::of(command, &stop_saying("s", "frosty: next_check 1h"));
        eventually("the stop is refused", || place.reasons("s") == ["rest"]);
        for event in ["SessionStart", "Notification", "SubagentStop", "PreCompact"] {
            seen_in("b", event);
            assert_eq!(status(&place)["scope"], "a", "{event}");
        }
        wake(&place);
        goes_on(&engine.answer());
        seen_in("b", "UserPromptSubmit");
        assert_eq!(status(&place)["scope"], "b");
    }
}
