//! Tests that a waiting engine measures the turn that its Stop event ended, on both stores.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::place::{Place, goes_on, leaves_silently};
use crate::support::{Engine, Frosty, Server, counting_proxy, documents, eventually};

/// The transcript of a session in the place's project.
struct Transcript {
    path: PathBuf,
}

impl Transcript {
    fn of(frosty: &Frosty) -> Self {
        let path = frosty.project().join("transcript.jsonl");
        fs::create_dir_all(frosty.project()).unwrap();
        fs::write(&path, "").unwrap();
        Self { path }
    }

    fn write(&self, value: &Value) {
        let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
        file.write_all(format!("{value}\n").as_bytes()).unwrap();
    }

    fn prompt(&self, origin: &str) {
        self.write(&json!({"type": "user", "message": {"role": "user", "content": "go"}, "turnOrigin": origin,
            "version": "2.1.331", "timestamp": "2026-11-24T13:00:00.000Z"}));
    }

    /// A message of the agent with one block, in a request of its own.
    fn message(&self, id: u32, block: &Value, stop: &str) {
        self.write(&json!({"type": "assistant", "version": "2.1.331", "requestId": format!("req_{id}"),
            "timestamp": "2026-11-24T13:00:02.500Z",
            "message": {"id": format!("msg_{id}"), "model": "claude-opus-5-5", "content": [block],
                "stop_reason": stop, "usage": {"input_tokens": 10, "cache_creation_input_tokens": 200,
                    "cache_read_input_tokens": 300, "output_tokens": 25}}}));
    }

    fn bash(&self, id: u32, command: &str, output: &str) {
        let block =
            json!({"type": "tool_use", "id": format!("toolu_{id}"), "name": "Bash", "input": {"command": command}});
        self.message(id, &block, "tool_use");
        self.write(&json!({"type": "user", "message": {"role": "user",
            "content": [{"type": "tool_result", "tool_use_id": format!("toolu_{id}"), "content": output}]}}));
    }

    fn ends(&self, id: u32, text: &str) {
        self.message(id, &json!({"type": "text", "text": text}), "end_turn");
    }

    fn payload(&self, message: &str) -> String {
        json!({"session_id": "s", "hook_event_name": "Stop", "last_assistant_message": message,
            "transcript_path": self.path})
        .to_string()
    }

    fn stop(&self, frosty: &Frosty, message: &str) -> Engine {
        Engine::start(frosty, &self.payload(message))
    }

    /// Returns whether the process has the file open.
    fn is_read_by(&self, pid: u32) -> bool {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| path == self.path)
    }
}

/// A number in an entry, which a server's stream contains as text.
fn number(entry: &Value, field: &str) -> Option<i64> {
    entry[field].as_i64().or_else(|| entry[field].as_str()?.parse().ok())
}

fn session(place: &Place) -> Value {
    match &place.server {
        Some(server) => documents::read(&mut server.connection(), &documents::session("s")),
        None => serde_json::from_slice::<Value>(&fs::read(place.frosty.session_file("s")).unwrap()).unwrap()["session"]
            .clone(),
    }
}

#[test]
fn a_turn_is_in_the_journal_once() {
    for place in Place::both() {
        let transcript = Transcript::of(&place.frosty);
        transcript.prompt("human");
        transcript.bash(1, "make", "ok");
        transcript.ends(2, "All done.");
        goes_on(&transcript.stop(&place.frosty, "All done.").answer());
        transcript.prompt("task_notification");
        transcript.bash(3, "git status", "clean");
        transcript.ends(4, "Nothing new.");
        goes_on(&transcript.stop(&place.frosty, "Nothing new.").answer());
        let all = place.journal();
        let measured: Vec<&Value> = all.iter().filter(|e| e.get("outcome").is_some()).collect();
        let text = |field: &str| measured.iter().map(|e| e[field].as_str().unwrap_or("")).collect::<Vec<_>>();
        assert_eq!(text("outcome"), ["worked", "worked"], "{all:?}");
        assert_eq!(text("event"), ["Stop", "Stop"]);
        assert_eq!(text("turn"), ["human", "task_notification"]);
        assert_eq!(text("model"), ["claude-opus-5-5", "claude-opus-5-5"]);
        assert_eq!(text("request_id"), ["req_2", "req_4"]);
        for (field, value) in [
            ("turn_ms", 2500),
            ("tools", 1),
            ("tokens_in", 20),
            ("tokens_out", 50),
            ("tokens_cached", 1000),
            ("requests", 2),
        ] {
            assert_eq!(measured.iter().map(|e| number(e, field)).collect::<Vec<_>>(), [Some(value); 2], "{field}");
        }
        // The second Stop event was refused first, and only its first entry has the turn.
        assert!(all.len() > measured.len(), "{all:?}");
        let place_of = &session(&place)["transcript"];
        assert_eq!(place_of["offset"].as_u64(), Some(fs::metadata(&transcript.path).unwrap().len()));
    }
}

#[test]
fn a_poll_that_repeats_rests() {
    for place in Place::both() {
        let transcript = Transcript::of(&place.frosty);
        transcript.prompt("human");
        transcript.bash(1, "git status", "clean");
        transcript.ends(2, "Clean.");
        goes_on(&transcript.stop(&place.frosty, "Clean.").answer());
        transcript.prompt("task_notification");
        transcript.bash(3, "git status", "clean");
        transcript.ends(4, "Still clean.");
        let engine = transcript.stop(&place.frosty, "Still clean.");
        eventually("it rests", || place.reasons("s").last().is_some_and(|reason| reason == "idle"));
        let all = place.journal();
        assert_eq!(all.last().unwrap()["outcome"], "looked");
        assert!(place.run(&["wake", "s"]).code == Some(0));
        goes_on(&engine.answer());
    }
}

#[test]
fn the_last_message_may_be_written_after_the_stop() {
    for place in Place::both() {
        let transcript = Transcript::of(&place.frosty);
        transcript.prompt("human");
        let mut engine = transcript.stop(&place.frosty, "Done.");
        eventually("it reads", || transcript.is_read_by(engine.pid()));
        assert!(place.journal().is_empty() && engine.is_waiting());
        transcript.bash(1, "make", "ok");
        transcript.ends(2, "Done.");
        goes_on(&engine.answer());
        let all = place.journal();
        assert_eq!((&all[0]["outcome"], number(&all[0], "tokens_out")), (&json!("worked"), Some(50)), "{all:?}");
    }
}

#[test]
fn a_message_that_never_comes_is_unknown_and_delays_nothing_else() {
    for place in Place::both() {
        let transcript = Transcript::of(&place.frosty);
        transcript.prompt("human");
        goes_on(&transcript.stop(&place.frosty, "Done.").answer());
        let all = place.journal();
        assert_eq!((&all[0]["outcome"], &all[0]["reason"]), (&json!("unknown"), &json!("admitted")), "{all:?}");
        assert!(all[0].get("tokens_out").is_none() && all[0].get("model").is_none());
        let state = session(&place);
        assert!(state["unmeasured"].is_i64() && state.get("transcript").is_none(), "{state}");
        assert_eq!(state["client_version"], "2.1.331");
        transcript.ends(1, "Done.");
        transcript.prompt("task_notification");
        transcript.bash(2, "make", "ok");
        transcript.ends(3, "More.");
        goes_on(&transcript.stop(&place.frosty, "More.").answer());
        assert!(session(&place).get("unmeasured").is_none());
    }
}

#[test]
fn a_prompt_while_the_turn_is_measured_takes_precedence() {
    for place in Place::both() {
        let transcript = Transcript::of(&place.frosty);
        transcript.prompt("human");
        let engine = transcript.stop(&place.frosty, "Done.");
        eventually("it reads", || transcript.is_read_by(engine.pid()));
        place.event("s", "UserPromptSubmit", r#","prompt":"hi""#);
        transcript.ends(1, "Done.");
        leaves_silently(&engine.answer());
        assert!(place.admissions().is_empty());
        assert_eq!(place.reasons("s").last().unwrap(), "superseded");
    }
}

#[test]
fn sigterm_ends_the_measuring() {
    for place in Place::both() {
        let transcript = Transcript::of(&place.frosty);
        transcript.prompt("human");
        let engine = transcript.stop(&place.frosty, "Done.");
        eventually("it reads", || transcript.is_read_by(engine.pid()));
        assert!(Command::new("kill").arg(engine.pid().to_string()).status().unwrap().success());
        leaves_silently(&engine.answer());
        assert!(place.journal().is_empty());
    }
}

#[test]
fn a_plain_stop_measures_nothing() {
    for place in Place::both() {
        let transcript = Transcript::of(&place.frosty);
        transcript.prompt("human");
        transcript.ends(1, "Done.");
        assert_eq!(place.frosty.hook(&transcript.payload("Done.")).code, Some(2));
        assert!(place.journal()[0].get("outcome").is_none());
        assert!(session(&place).get("transcript").is_none());
    }
}

/// The read of the place is also the read of the decision.
#[test]
fn a_measured_stop_that_is_admitted_takes_two_round_trips() {
    let server = Server::start_own();
    let (url, trips) = counting_proxy(&server);
    let frosty = Frosty::on(&server).var("FROSTY_STORE", &url);
    // The first commit also sends the script.
    assert_eq!(frosty.hook(&crate::support::stop("warm")).code, Some(2));
    let transcript = Transcript::of(&frosty);
    transcript.prompt("human");
    transcript.bash(1, "make", "ok");
    transcript.ends(2, "Done.");
    let before = trips.load(Ordering::SeqCst);
    goes_on(&Engine::start(&frosty.var("FROSTY_SCOPE", "other"), &transcript.payload("Done.")).answer());
    assert_eq!(trips.load(Ordering::SeqCst) - before, 2);
}

#[test]
fn the_log_shows_turns_and_their_sums() {
    for place in Place::both() {
        let transcript = Transcript::of(&place.frosty);
        transcript.prompt("human");
        transcript.bash(1, "make", "ok");
        transcript.ends(2, "All done.");
        goes_on(&transcript.stop(&place.frosty, "All done.").answer());
        transcript.prompt("task_notification");
        transcript.bash(3, "git status", "clean");
        goes_on(&transcript.stop(&place.frosty, "Not written.").answer());
        let shown = place.run(&["log", "--turns"]);
        let lines: Vec<Vec<&str>> = shown.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 6, "{shown:?}");
        assert_eq!(
            lines[1][3..],
            ["worked", "work", "human", "claude-opus-5-5", "3s", "1", "2", "20", "50", "1000"],
            "{shown:?}"
        );
        assert_eq!(lines[2][3..], ["unknown", "work", "-", "-", "-", "-", "-", "-", "-", "-"], "{shown:?}");
        assert_eq!(lines[5][1..], ["2", "1", "0", "0", "1", "20", "50", "1000"], "{shown:?}");
        let json = place.run(&["log", "--turns", "--json"]).stdout;
        let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["tokens_cached"], &first["turn_ms"], &first["outcome"]),
            (&json!(1000), &json!(2500), &json!("worked"))
        );
        assert_eq!(json.lines().count(), 2);
        let explained = place.run(&["explain", "s"]).stdout;
        assert!(
            explained.contains("counted as unknown: its last message was not found in the transcript (client 2.1.331)"),
            "{explained}"
        );
        let status: Value = serde_json::from_str(&place.run(&["status", "--json"]).stdout).unwrap();
        let session = &status["sessions"][0];
        assert!(session["unmeasured_since"].is_i64() && session["client_version"] == "2.1.331", "{status}");
        let doctor = place.run(&["doctor"]).stdout;
        assert!(doctor.contains("turns of unknown outcome"), "{doctor}");
    }
}
