//! A session belongs to one client process: tests the effect of other processes under its id, on both stores.

use std::process::{Child, Command};

use crate::support::place::{Place, goes_on, leaves_silently};
use crate::support::{Answer, Engine, eventually, feed, stop_saying};
use serde_json::Value;

const WAITS: [&str; 5] = ["hook", "--wait", "20d", "--timeout", "1900000"];

/// A client process, which ends with the test.
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
    assert!(woken.stdout.starts_with("woke "), "{woken:?}");
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
        // Now the first window is the one that is only open.
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
        // Nor does it prevent an unattended run.
        let mut third = Client::start();
        third.event(&place, "a", "UserPromptSubmit");
        third.end();
        let mut command = second.command(&place, "cron", &["hook"]);
        command.env("CLAUDE_CODE_ENTRYPOINT", "sdk-cli").env("FROSTY_ON", "print");
        assert_eq!(feed(command, payload("Stop").as_bytes()).code, Some(2));
    }
}

/// A wake-up without an engine; a waiting engine detects that its client is gone.
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

#[test]
fn a_session_that_moves_to_another_scope_and_back_keeps_its_rest_and_has_one_engine() {
    for place in Place::both() {
        let waits_in = |scope: &str, message: &str, refusals: usize| {
            let mut command = place.frosty.command(&WAITS);
            command.env("FROSTY_SCOPE", scope);
            let engine = Engine::of(command, &stop_saying("s", message));
            let is_refused = || place.reasons("s").iter().filter(|reason| *reason == "rest").count() == refusals;
            eventually("the stop is refused", is_refused);
            assert_eq!(status(&place)["scope"], scope);
            engine
        };
        let first = waits_in("a", "frosty: next_check 1h", 1);
        let rest = status(&place)["rest"]["until"].clone();
        assert!(rest.is_i64(), "{}", status(&place));
        let second = waits_in("b", "on it", 2);
        leaves_silently(&first.answer());
        let third = waits_in("a", "on it", 3);
        leaves_silently(&second.answer());
        assert_eq!(status(&place)["rest"]["until"], rest);
        assert_eq!(place.run(&["wake", "s", "--note", "the build is green"]).code, Some(0));
        let answer = third.answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("the build is green"), "{answer:?}");
        assert_eq!(place.admissions().len(), 1);
    }
}

const STARTED: &str = r#"{"session_id":"s","hook_event_name":"SessionStart","source":"resume"}"#;

fn resuming(after: &str) -> [Place; 2] {
    Place::both().map(|place| {
        let config = format!(r#"{{"stop": {{"min_interval": "1s"}}, "resume_after": "{after}"}}"#);
        Place { frosty: place.frosty.config(&config), server: place.server }
    })
}

fn announces(place: &Place, client: &Client, left: &str) {
    let shown = feed(client.command(place, "b", &["hook", "--show-resume"]), STARTED.as_bytes());
    assert!(shown.stdout.contains("systemMessage") && shown.stdout.contains(left), "{shown:?}");
}

#[test]
fn a_session_whose_client_was_killed_resumes_by_itself() {
    for place in resuming("2s") {
        for work in ["runs", "waits"] {
            let (mut first, second) = (Client::start(), Client::start());
            first.event(&place, "a", "UserPromptSubmit");
            if work == "waits" {
                let engine = Engine::of(first.command(&place, "a", &WAITS), &stop_saying("s", "frosty: next_check 1s"));
                eventually("it rests", || place.reasons("s").last().is_some_and(|r| r == "rest"));
                first.end();
                leaves_silently(&engine.answer());
            }
            first.end();
            announces(&place, &second, "resumes in 2s");
            let before = place.admissions().len();
            let answer = Engine::of(second.command(&place, "b", &WAITS), STARTED).answer();
            goes_on(&answer);
            assert!(answer.stderr.contains("the client ended in the middle of its work"), "{answer:?}");
            assert_eq!(place.admissions().len(), before + 1, "{work}");
            assert_eq!(status(&place)["scope"], "b");
            second.event(&place, "b", "SessionEnd");
        }
    }
}

#[test]
fn a_prompt_cancels_what_would_resume() {
    for place in resuming("1h") {
        let (mut first, second) = (Client::start(), Client::start());
        first.event(&place, "a", "UserPromptSubmit");
        first.end();
        let engine = Engine::of(second.command(&place, "b", &WAITS), STARTED);
        eventually("it rests", || place.reasons("s").last().is_some_and(|r| r == "rest"));
        // The client starts both hooks at once.
        announces(&place, &second, "resumes in 1h");
        second.event(&place, "b", "UserPromptSubmit");
        leaves_silently(&engine.answer());
        assert!(place.admissions().is_empty());
    }
}

/// A wake-up that came before the client is back leaves a person the time to cancel.
#[test]
fn an_earlier_wake_up_does_not_shorten_the_pause_of_what_resumes() {
    for place in resuming("2s") {
        let (mut first, second) = (Client::start(), Client::start());
        first.event(&place, "a", "UserPromptSubmit");
        first.end();
        assert_eq!(place.run(&["wake", "s", "--note", "the build is green"]).code, Some(0));
        announces(&place, &second, "resumes in 2s");
        let answer = Engine::of(second.command(&place, "b", &WAITS), STARTED).answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("the build is green"), "{answer:?}");
        let reasons = place.reasons("s");
        assert!(reasons.ends_with(&["rest".to_owned(), "admitted".to_owned()]), "{reasons:?}");
    }
}

/// A longer rest of the agent's own continues.
#[test]
fn what_resumes_keeps_its_own_rest() {
    for place in resuming("1s") {
        let (first, second) = (Client::start(), Client::start());
        let engine = first.rests(&place, "a");
        let until = status(&place)["rest"]["until"].as_i64().unwrap();
        // Neither learns of its end before its next request.
        drop(engine);
        drop(first);
        let mut engine = Engine::of(second.command(&place, "b", &WAITS), STARTED);
        eventually("it rests there", || status(&place)["scope"] == "b" && place.reasons("s").last().unwrap() == "rest");
        let left = status(&place)["rest"]["until"].as_i64().unwrap() - until;
        assert!(left.abs() < 20_000 && engine.is_waiting(), "{left} ms later");
    }
}

#[test]
fn only_a_session_that_was_left_at_work_resumes() {
    for place in resuming("1h") {
        let (mut first, second) = (Client::start(), Client::start());
        let opened = |what: &str| {
            let shown = feed(second.command(&place, "b", &["hook", "--show-resume"]), STARTED.as_bytes());
            assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), ""), "{what}: {shown:?}");
            leaves_silently(&Engine::of(second.command(&place, "b", &WAITS), STARTED).answer());
        };
        opened("never seen before");
        second.event(&place, "b", "SessionEnd");
        first.event(&place, "a", "SessionStart");
        opened("of a live client");
        first.event(&place, "a", "UserPromptSubmit");
        opened("of a live client at work");
        first.event(&place, "a", "SessionEnd");
        opened("left by /exit");
        second.event(&place, "b", "SessionEnd");
        // Opened after its end, and killed before anything was typed.
        first.event(&place, "a", "SessionStart");
        first.end();
        opened("opened to be read");
        assert!(place.admissions().is_empty());
    }
}

/// The client moves a conversation to the background: another process, another id, its parent on the command line.
#[test]
fn a_fork_goes_on_and_ends_the_session_that_it_left() {
    for place in resuming("1s") {
        let first = Client::start();
        first.event(&place, "a", "UserPromptSubmit");
        let left = first.rests(&place, "a");
        let child = Command::new("sh")
            .args(["-c", "read line", "claude", "--session-id", "n", "--fork-session", "--resume", "/x/s.jsonl"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let fork = Client(child);
        let started = STARTED.replace("\"s\"", "\"n\"").replace("resume", "fork");
        assert_eq!(place.run(&["wake", "s", "--note", "the build is green"]).code, Some(0));
        // Its wake-up reaches a client that has left the conversation.
        goes_on(&left.answer());
        let mut command = fork.command(&place, "n", &WAITS);
        command.env("CLAUDE_JOB_DIR", "/tmp/job").env("CLAUDE_CODE_SESSION_ATTENDED", "0");
        let answer = Engine::of(command, &started).answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("the build is green"), "{answer:?}");
        assert_eq!(status(&place)["state"], "ended");
        let reasons = place.reasons("n");
        assert!(reasons.ends_with(&["rest".to_owned(), "admitted".to_owned()]), "{reasons:?}");
    }
}

/// The client's supervisor stops background sessions: that is no end by a person.
#[test]
fn a_background_session_that_was_stopped_is_asleep() {
    for place in Place::both() {
        let client = Client::start();
        let end = |reason: &str| {
            let mut command = client.command(&place, "n", &["hook"]);
            command.env("CLAUDE_JOB_DIR", "/tmp/job").env("CLAUDE_CODE_SESSION_ATTENDED", "0");
            assert_eq!(feed(command, payload("SessionEnd").replace("other", reason).as_bytes()).code, Some(0));
        };
        let engine = client.rests(&place, "n");
        end("other");
        leaves_silently(&engine.answer());
        assert_eq!(status(&place)["state"], "asleep");
        client.event(&place, "n", "SessionStart");
        assert_eq!(status(&place)["state"], "idle");
        end("prompt_input_exit");
        assert_eq!(status(&place)["state"], "ended");
    }
}
