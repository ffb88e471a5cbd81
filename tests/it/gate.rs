//! `frosty gate`: one admission for each run, the lease of a scope, and what the run leaves for the next one.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;

use crate::support::place::Place;
use crate::support::{Answer, Engine, Frosty, Server, eventually, stop_saying};

/// The words of a shell that notes its run in a file, and then does this.
fn noted(place: &Place, then: &str) -> Vec<String> {
    let file = runs_file(place);
    vec!["sh".to_owned(), "-c".to_owned(), format!("date +%s%N >> '{}'; {then}", file.display())]
}

fn runs_file(place: &Place) -> PathBuf {
    place.frosty.home.path().join("runs")
}

/// Returns the number of runs.
fn runs(place: &Place) -> usize {
    fs::read_to_string(runs_file(place)).unwrap_or_default().lines().count()
}

fn command(place: &Place, flags: &[&str], words: &[String]) -> Command {
    let args: Vec<&str> =
        ["gate"].iter().chain(flags).copied().chain(["--"]).chain(words.iter().map(String::as_str)).collect();
    place.frosty.command(&args)
}

fn gate(place: &Place, flags: &[&str], then: &str) -> Answer {
    Engine::of(command(place, flags, &noted(place, then)), "").answer()
}

fn start(place: &Place, flags: &[&str], then: &str) -> Child {
    command(place, flags, &noted(place, then)).stdin(Stdio::null()).spawn().unwrap()
}

/// Returns a shell that sends the Stop event of an agent in print mode.
fn agent(place: &Place, message: &str) -> String {
    let payload = place.frosty.home.path().join("stop.json");
    fs::write(&payload, stop_saying("the-childs-own-session", message)).unwrap();
    let frosty = env!("CARGO_BIN_EXE_frosty-hook");
    format!("CLAUDE_CODE_ENTRYPOINT=sdk-cli '{frosty}' < '{}'", payload.display())
}

fn kill(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn each_run_takes_one_admission_and_keeps_the_interval() {
    for place in Place::both() {
        let first = gate(&place, &["--name", "n"], "echo out; exit 7");
        assert_eq!((first.code, first.stdout.as_str()), (Some(7), "out\n"), "{first:?}");
        let place = &place;
        let refused = gate(place, &["--name", "m"], "true");
        assert_eq!(refused.code, Some(0), "{refused:?}");
        let refused = gate(place, &["--name", "m"], "true");
        assert_eq!(refused.code, Some(75), "{refused:?}");
        assert!(refused.stderr.starts_with("frosty: not now (min_interval), possible in "), "{refused:?}");
        for _ in 0..2 {
            assert_eq!(gate(place, &["--name", "m", "--wait"], "true").code, Some(0));
        }
        assert_eq!((runs(place), place.admissions().len()), (4, 4), "{:#?}", place.journal());
        let own: Vec<i64> = place.admissions().into_iter().skip(1).collect();
        assert!(own.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "{own:?}");
    }
}

#[test]
fn a_wrong_gate_runs_nothing() {
    for place in Place::both() {
        let code = |place: &Place, args: &[&str]| place.run(args).code;
        assert_eq!(code(&place, &["gate"]), Some(64));
        assert_eq!(code(&place, &["gate", "true"]), Some(64), "the command follows --");
        assert_eq!(code(&place, &["gate", "--max", "1s", "--", "true"]), Some(64), "--max belongs to --wait");
        assert_eq!(code(&place, &["gate", "--", "no-such-program"]), Some(64));
        assert_eq!(code(&place, &["gate", "--store", "redis", "--", "true"]), Some(64));
        assert!(place.admissions().is_empty());
        let off = place.var("FROSTY_DISABLE", "1");
        assert_eq!(gate(&off, &[], "true").code, Some(78));
        let shadow = off.var("FROSTY_DISABLE", "0").var("FROSTY_MODE", "shadow");
        assert_eq!(gate(&shadow, &[], "true").code, Some(78));
        let broken = shadow.var("FROSTY_MODE", "enforce").var("FROSTY_STORE", "nonsense");
        assert_eq!(gate(&broken, &[], "true").code, Some(78));
        assert_eq!(runs(&broken), 0);
    }
}

#[test]
fn the_childs_agent_books_the_rest_and_makes_no_request() {
    for place in Place::both() {
        let flags = ["--name", "n"];
        let run = gate(&place, &flags, &agent(&place, "all of it works\n\nfrosty: done"));
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
        let again = gate(&place, &flags, "true");
        assert_eq!(again.code, Some(3), "{again:?}");
        assert!(again.stderr.contains("frosty wake n"), "{again:?}");
        assert_eq!(gate(&place, &["--name", "n", "--wait"], "true").code, Some(3), "a gate that waits ends too");
        assert_eq!(place.run(&["wake", "n"]).code, Some(0));
        assert_eq!(gate(&place, &["--name", "n", "--wait"], &agent(&place, "frosty: next_check 20m")).code, Some(0));
        let rests = gate(&place, &["--name", "n", "--wait", "--max", "2s"], "true");
        assert!(rests.code == Some(75) && rests.stderr.contains("(rest)"), "{rests:?}");
        assert_eq!((runs(&place), place.admissions().len()), (2, 2), "{:#?}", place.journal());
    }
}

/// Writes the transcript of a turn in which the agent did nothing, and returns a shell that sends its Stop event.
fn idle_agent(place: &Place, session: &str) -> String {
    let home = place.frosty.home.path();
    let transcript = home.join(format!("{session}.jsonl"));
    let lines = [
        json!({"type": "user", "message": {"role": "user", "content": "go"}, "turnOrigin": "sdk", "version": "2.1.331"}),
        json!({"type": "assistant", "version": "2.1.331", "requestId": "req_1", "message": {"id": "msg_1",
            "model": "claude-opus-5-5", "content": [{"type": "text", "text": "Nothing to do."}],
            "stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 5}}}),
    ];
    fs::write(&transcript, lines.map(|line| format!("{line}\n")).concat()).unwrap();
    let payload = json!({"session_id": session, "hook_event_name": "Stop",
        "last_assistant_message": "Nothing to do.", "transcript_path": transcript});
    fs::write(home.join("stop.json"), payload.to_string()).unwrap();
    let frosty = env!("CARGO_BIN_EXE_frosty-hook");
    format!("CLAUDE_CODE_ENTRYPOINT=sdk-cli '{frosty}' < '{}'", home.join("stop.json").display())
}

#[test]
fn a_run_that_did_nothing_books_an_idle_rest() {
    for place in Place::both() {
        let flags = ["--name", "n", "--wait"];
        let run = gate(&place, &flags, &idle_agent(&place, "one"));
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:?}");
        let entry = place.journal().into_iter().find(|entry| entry["outcome"] == "empty");
        assert_eq!(entry.expect("the turn is measured")["session"], "gate-n", "{:#?}", place.journal());
        let rests = gate(&place, &["--name", "n"], "true");
        assert!(rests.code == Some(75) && rests.stderr.contains("(idle), possible in 2m"), "{rests:?}");
        assert_eq!(place.run(&["wake", "n"]).code, Some(0));
        assert_eq!(gate(&place, &flags, &idle_agent(&place, "two")).code, Some(0));
        let rests = gate(&place, &["--name", "n"], "true");
        assert!(rests.stderr.contains("(idle), possible in 4m"), "the second in a row: {rests:?}");
        assert_eq!((runs(&place), place.admissions().len()), (2, 2), "{:#?}", place.journal());
    }
}

/// A clock that was set back leaves times that are in the future: of the last run, and of the last admission.
#[test]
fn a_gate_runs_after_its_clock_was_set_back() {
    let place = Place { frosty: Frosty::embedded().config(crate::support::place::POLICY), server: None };
    assert_eq!(gate(&place, &["--name", "n"], "true").code, Some(0));
    let lock = place.frosty.home.path().join(".local/state/frosty/default/gates/gate-n");
    let later = frosty::clock::host_ms() + 86_400_000;
    fs::write(&lock, json!({"gate": null, "command": null, "ran": later}).to_string()).unwrap();
    let file = place.frosty.session_file("gate-n");
    let text = fs::read_to_string(&file).unwrap();
    let mut session: serde_json::Value = serde_json::from_str(&text).unwrap();
    session["session"]["admitted"] = json!({"at": later, "id": "x"});
    fs::write(&file, session.to_string()).unwrap();
    assert_eq!(gate(&place, &["--name", "n", "--wait", "--max", "9s"], "true").code, Some(0), "{:#?}", place.journal());
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &lock).unwrap();
    assert_eq!(gate(&place, &["--name", "n", "--wait", "--max", "9s"], "true").code, Some(0), "not a file of Frosty's");
}

/// A server without memory answers reads and takes no writes, so this machine's files decide.
#[test]
fn a_gate_runs_while_its_server_takes_no_writes() {
    let server = Server::start_own();
    let frosty = Frosty::on(&server).config(r#"{"stop": {"min_interval": "100ms"}}"#);
    let place = Place { frosty, server: None };
    let flags = ["--name", "n", "--wait", "--max", "20s"];
    assert_eq!(gate(&place, &flags, "true").code, Some(0));
    let memory = |most: &str| {
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", most]).exec(&mut server.connection()).unwrap();
    };
    memory("1");
    for run in 0..3 {
        let answer = gate(&place, &flags, "true");
        assert_eq!(answer.code, Some(0), "{run}: {answer:?} {:#?}", place.journal());
    }
    memory("0");
    assert_eq!(gate(&place, &flags, "true").code, Some(0));
    let is_superseded = |entry: &serde_json::Value| entry["reason"] == "superseded";
    let superseded = place.journal().into_iter().filter(is_superseded).count();
    assert!(superseded <= 2, "{superseded}: {:#?}", place.journal());
    assert_eq!(runs(&place), 5);
}

/// The run belongs to the terms under which it was admitted, not to those under which the gate began.
#[test]
fn a_run_is_recorded_under_the_terms_of_its_admission() {
    let place = Place { frosty: Frosty::embedded().config(crate::support::place::POLICY), server: None };
    assert_eq!(place.run(&["hold", "--reason", "x"]).code, Some(0));
    let mut waits = start(&place, &["--name", "n", "--wait"], "echo $FROSTY_GATE > mark");
    eventually("it is refused", || place.reasons("gate-n").last().is_some_and(|r| r == "hold"));
    let frosty = place.frosty.config(r#"{"fleet": "other", "stop": {"min_interval": "1s"}}"#);
    assert_eq!(waits.wait().unwrap().code(), Some(0));
    let mark = fs::read_to_string(frosty.project().join("mark")).unwrap();
    assert!(mark.starts_with("other:n:gate-n:"), "{mark}");
    let journal = fs::read_to_string(frosty.state().join("other/journal.jsonl")).unwrap();
    let reasons: Vec<serde_json::Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reasons: Vec<&str> = reasons.iter().map(|entry| entry["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["admitted", "event"], "its admission and its end");
}

/// A process may name any session in its variable. A session that is no gate's stays as it is.
#[test]
fn a_forged_run_changes_no_other_session() {
    for place in Place::both() {
        assert_eq!(place.frosty.hook(&stop_saying("s", "hello")).code, Some(2));
        let forged = place.var("FROSTY_GATE", "default:s:s:999999999999999").var("CLAUDE_CODE_ENTRYPOINT", "sdk-cli");
        assert_eq!(forged.frosty.hook(&stop_saying("x", "frosty: done")).code, Some(0));
        assert_eq!(forged.reasons("s"), ["admitted", "superseded"], "{:#?}", forged.journal());
    }
}

#[test]
fn two_gates_at_once_cause_one_run() {
    for place in Place::both() {
        for flags in [&["--name", "a"] as &[&str], &["--name", "b", "--wait"]] {
            let before = runs(&place);
            let both = [start(&place, flags, "sleep 2"), start(&place, flags, "sleep 2")];
            let codes: Vec<_> = both.into_iter().map(|mut child| child.wait().unwrap().code()).collect();
            assert!(codes.contains(&Some(0)) && codes.contains(&Some(75)), "{codes:?}");
            assert_eq!(runs(&place), before + 1, "{:#?}", place.journal());
        }
        assert_eq!(place.admissions().len(), 2);
    }
}

#[test]
fn a_killed_gate_frees_its_scope_once_its_command_has_ended() {
    for place in Place::both() {
        let flags = ["--name", "n"];
        let mut first = start(&place, &flags, "sleep 3");
        eventually("it runs", || runs(&place) == 1);
        kill(first.id(), Signal::KILL);
        first.wait().unwrap();
        let busy = gate(&place, &flags, "true");
        assert!(busy.code == Some(75) && busy.stderr.contains("at work"), "its command still runs: {busy:?}");
        // A gate that was killed is no run that ended, so the one that waits runs.
        assert_eq!(gate(&place, &["--name", "n", "--wait"], "true").code, Some(0));
        assert_eq!((runs(&place), place.admissions().len()), (2, 2));
        let mut waits = start(&place, &["--name", "n", "--wait"], "true");
        eventually("it is refused", || place.reasons("gate-n").last().is_some_and(|r| r == "min_interval"));
        kill(waits.id(), Signal::KILL);
        waits.wait().unwrap();
        assert_eq!(gate(&place, &["--name", "n", "--wait"], "true").code, Some(0), "nothing is left of it");
    }
}

/// A gate may be killed after it started its command and before it noted the process.
#[test]
fn a_command_that_was_not_noted_is_found() {
    let place = Place { frosty: Frosty::embedded().config(crate::support::place::POLICY), server: None };
    let mut first = start(&place, &["--name", "n"], "sleep 4");
    eventually("it runs", || runs(&place) == 1);
    kill(first.id(), Signal::KILL);
    first.wait().unwrap();
    let lock = place.frosty.state().join("default/gates/gate-n");
    let mut note: serde_json::Value = serde_json::from_str(&fs::read_to_string(&lock).unwrap()).unwrap();
    note["command"] = serde_json::Value::Null;
    fs::write(&lock, note.to_string()).unwrap();
    let busy = gate(&place, &["--name", "n"], "true");
    assert!(busy.code == Some(75) && busy.stderr.contains("its command is process"), "{busy:?}");
    assert_eq!(gate(&place, &["--name", "n", "--wait"], "true").code, Some(0));
    assert_eq!((runs(&place), place.admissions().len()), (2, 2));
}

#[test]
fn a_command_that_fails_backs_off_until_it_succeeds() {
    for place in Place::both() {
        // The backoff is 1 s, 2 s, 4 s at most.
        for _ in 0..3 {
            assert_eq!(gate(&place, &["--name", "n", "--wait"], "false").code, Some(1));
        }
        let rests = gate(&place, &["--name", "n"], "true");
        assert!(rests.code == Some(75) && rests.stderr.contains("(failed)"), "{rests:?}");
        let times = place.admissions();
        let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] >= 1000 && gaps[1] >= 2000, "{gaps:?}");
        assert_eq!(gate(&place, &["--name", "n", "--wait"], "true").code, Some(0));
        assert!(place.admissions()[3] - times[2] >= 4000);
        assert_eq!(gate(&place, &["--name", "n", "--wait"], "false").code, Some(1));
        let times = place.admissions();
        assert!(times[4] - times[3] < 4000, "the streak began again: {times:?}");
    }
}

#[test]
fn a_signal_ends_the_wait_or_reaches_the_command() {
    for place in Place::both() {
        let flags = ["--name", "n", "--wait"];
        let mut runs_it = start(&place, &flags, "trap 'exit 9' TERM; sleep 20 & wait");
        eventually("it runs", || runs(&place) == 1);
        std::thread::sleep(std::time::Duration::from_millis(300));
        kill(runs_it.id(), Signal::TERM);
        assert_eq!(runs_it.wait().unwrap().code(), Some(9));
        let mut waits = start(&place, &flags, "true");
        eventually("it is refused", || {
            place.reasons("gate-n").last().is_some_and(|r| r == "min_interval" || r == "failed")
        });
        kill(waits.id(), Signal::INT);
        assert_eq!(waits.wait().unwrap().signal(), Some(libc::SIGINT), "a shell's loop ends with it");
        assert_eq!((runs(&place), place.admissions().len()), (1, 1));
    }
}

/// As with any other command, Ctrl-C ends a loop of gates, and it is no failure of the command.
#[test]
fn ctrl_c_ends_a_loop_and_is_no_failure() {
    for place in Place::both() {
        let program = env!("CARGO_BIN_EXE_frosty");
        let words = noted(&place, "sleep 20");
        let gates = format!("while :; do {program} gate --name n --wait -- sh -c \"{}\"; done", words[2]);
        let mut bash = place.frosty.command_of(Path::new("bash"), &["-c", &gates]).process_group(0).spawn().unwrap();
        let group = Pid::from_raw(i32::try_from(bash.id()).unwrap()).unwrap();
        let ctrl_c = || kill_process_group(group, Signal::INT).unwrap();
        eventually("it runs", || runs(&place) == 1);
        std::thread::sleep(std::time::Duration::from_millis(300));
        ctrl_c();
        assert_eq!(bash.wait().unwrap().signal(), Some(libc::SIGINT));
        assert_eq!(runs(&place), 1);
        assert!(!gate(&place, &["--name", "n"], "true").stderr.contains("(failed)"));
    }
}

#[test]
fn a_gate_outlasts_its_server() {
    let server = Server::start_own();
    let port = server.port;
    let frosty = crate::support::Frosty::on(&server)
        .config(r#"{"stop": {"min_interval": "1s", "quotas": [{"limit": 1, "per": "3s"}]}}"#);
    let place = Place { frosty, server: None };
    let flags = ["--name", "n", "--wait"];
    assert_eq!(gate(&place, &flags, "true").code, Some(0));
    drop(server);
    assert_eq!(gate(&place, &flags, "true").code, Some(0), "the files decide in an outage");
    let _server = Server::start_on(port);
    assert_eq!(gate(&place, &flags, "true").code, Some(0));
    let text = fs::read_to_string(runs_file(&place)).unwrap();
    let times: Vec<i64> = text.lines().map(|line| line.parse::<i64>().unwrap() / 1_000_000).collect();
    assert_eq!(times.len(), 3);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "{times:?}");
}

/// Elsewhere nothing is printed while a gate waits.
#[test]
fn a_terminal_shows_why_a_gate_waits() {
    for place in Place::both() {
        let frosty = place.frosty.config(r#"{"stop": {"min_interval": "15s"}}"#);
        let place = Place { frosty, server: place.server };
        assert_eq!(gate(&place, &["--name", "n"], "true").code, Some(0));
        let waits = ["gate", "--name", "n", "--wait", "--max", "1s", "--", "true"];
        let plain = place.frosty.run(&waits, b"");
        assert!(plain.code == Some(75) && !plain.stderr.contains("waiting"), "{plain:?}");
        let line = format!("{} {}", env!("CARGO_BIN_EXE_frosty"), waits.join(" "));
        let mut script = place.frosty.command_of(Path::new("/usr/bin/script"), &["-qec", &line, "/dev/null"]);
        let shown = script.output().expect("script of bsdutils runs");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.starts_with("frosty: waiting (min_interval), for 1"), "{shown}");
        assert!(shown.contains(" at least: too soon after the last turn") && shown.contains("not now"), "{shown}");
    }
}
