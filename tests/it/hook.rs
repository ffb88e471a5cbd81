//! The hook's contract, through the built binary: every captured payload, every bad input, every usage error.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Answer, Frosty, Server, fixture, stop};

/// Every fixture on a fresh store: its exit code, stdout and stderr.
#[test]
fn every_captured_payload_on_both_stores() {
    let server = Server::start();
    let mut names: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hook"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 35);
    let embedded = Frosty::embedded();
    let dragonfly = Frosty::on(&server);
    let mut admitted = 0;
    for name in &names {
        for frosty in [&embedded, &dragonfly] {
            let answer = frosty.hook(&fixture(name));
            if name.starts_with("Stop-") {
                admitted += 1;
                assert_eq!(answer.code, Some(2), "{name}: {answer:?}");
                assert_eq!(answer.stdout, "{\"suppressOutput\":true}\n", "{name}");
                assert!(answer.stderr.starts_with("Frosty, the throttle of this session, lets you go on"), "{name}");
            } else {
                assert_eq!(answer.code, Some(0), "{name}: {answer:?}");
                assert_eq!((answer.stdout.as_str(), answer.stderr.as_str()), ("", ""), "{name}");
            }
        }
    }
    assert_eq!(admitted, 8);
    let entries = embedded.journal();
    assert_eq!(entries.len(), names.len());
    let stream: Vec<redis::Value> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut server.connection()).unwrap();
    assert_eq!(stream.len(), names.len());
}

#[test]
fn three_stops_and_the_messages_of_the_refused() {
    let frosty = Frosty::embedded();
    let payload = fixture("Stop-first.json");
    let [first, second, third, fourth, fifth] = [(); 5].map(|()| frosty.hook(&payload));
    assert_eq!([first.code, second.code, third.code], [Some(2), Some(0), Some(0)]);
    for (answer, reason) in [
        (second, "too soon after the last turn"),
        (third, "3 attempts in a short time opened cooldown number 1"),
        (fourth, "a cooldown is open"),
    ] {
        let message: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        let text = message["systemMessage"].as_str().unwrap();
        // A short pause is reported without a clock time.
        assert!(text.starts_with("❄ Paused ") && !text.contains("until"), "{text}");
        assert!(text.ends_with(&format!("s: {reason}. Type to continue.")), "{text}");
        assert_eq!(answer.stderr, "");
    }
    assert_eq!((fifth.code, fifth.stdout.as_str()), (Some(0), ""), "the reason did not change");
}

#[test]
fn the_fourth_automatic_compaction_is_blocked_and_a_manual_one_never() {
    let server = Server::start();
    for frosty in [Frosty::embedded(), Frosty::on(&server)] {
        for _ in 0..3 {
            let passed = frosty.hook(&fixture("PreCompact-auto.json"));
            assert_eq!((passed.code, passed.stdout.as_str(), passed.stderr.as_str()), (Some(0), "", ""));
        }
        let blocked = frosty.hook(&fixture("PreCompact-auto.json"));
        assert_eq!((blocked.code, blocked.stdout.as_str()), (Some(2), ""));
        assert!(blocked.stderr.starts_with("❄ Compaction paused "), "{blocked:?}");
        let manual = fixture("PreCompact-manual-noargs.json");
        assert_eq!(frosty.hook(&manual).code, Some(0));
    }
}

#[test]
fn a_subagents_stop_is_journaled_only() {
    let frosty = Frosty::embedded();
    let mut payload: serde_json::Value = serde_json::from_str(&fixture("Stop-first.json")).unwrap();
    payload["agent_id"] = "a1".into();
    for _ in 0..3 {
        assert_eq!(frosty.hook(&payload.to_string()).code, Some(0));
    }
    payload.as_object_mut().unwrap().remove("agent_id");
    assert_eq!(frosty.hook(&payload.to_string()).code, Some(2), "the subagent took nothing from the agent");
}

#[test]
fn api_errors_refuse_the_next_stops() {
    let frosty = Frosty::embedded().config(r#"{"scope": "seat"}"#);
    assert_eq!(frosty.hook(&fixture("StopFailure-rate_limit.json")).code, Some(0));
    let refused = frosty.hook(&stop("s"));
    assert_eq!(refused.code, Some(0));
    assert!(refused.stdout.contains("the API failed"), "{refused:?}");

    let frosty = Frosty::embedded().config(r#"{"scope": "seat"}"#);
    frosty.hook(&fixture("StopFailure-authentication_failed-http401.json"));
    let state = fs::read_to_string(frosty.scope_file("seat")).unwrap();
    assert!(state.contains("\"by\":\"api\"") && state.contains("/login"), "{state}");
}

#[test]
fn unknown_events_and_fields_pass() {
    let frosty = Frosty::embedded();
    let payload = r#"{"session_id":"s","hook_event_name":"BrandNew","x":{"y":[1,2,{"z":null}]},"prompt_id":7}"#;
    let answer = frosty.hook(payload);
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (Some(0), "", ""));
    assert_eq!(frosty.journal()[0]["event"], "BrandNew");
}

#[test]
fn the_journal_has_the_fields_that_consumers_know() {
    let server = Server::start();
    let frosty = Frosty::on(&server);
    frosty.hook(&stop("a"));
    frosty.hook(&stop("a"));
    let mut con = server.connection();
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut con).unwrap();
    let field = |i: usize, name: &str| {
        let fields = &entries[i].1;
        let at = fields.iter().step_by(2).position(|f| f == name).unwrap_or_else(|| panic!("no {name}"));
        fields[at * 2 + 1].clone()
    };
    let names: Vec<&String> = entries[0].1.iter().step_by(2).collect();
    assert_eq!(
        names,
        [
            "timestamp",
            "window",
            "status",
            "next_action",
            "infrastructure_mode",
            "v",
            "scope",
            "fleet",
            "session",
            "event",
            "verdict",
            "reason",
            "retry_after_ms",
            "attempts",
            "strikes",
            "store",
            "degraded",
            "host",
        ]
    );
    let ms: i64 = entries[0].0.split('-').next().unwrap().parse().unwrap();
    assert_eq!(field(0, "timestamp"), frosty::journal::stamp(ms));
    for (i, name, value) in [
        (0, "window", "a"),
        (0, "status", "RESTARTING"),
        (0, "next_action", "CLAUDE_CODE_RESTART"),
        (0, "infrastructure_mode", "GUARDED_CONTINUOUS"),
        (0, "reason", "admitted"),
        (1, "status", "STANDING_DOWN"),
        (1, "next_action", "NONE"),
        (1, "reason", "min_interval"),
        (1, "attempts", "2"),
    ] {
        assert_eq!(field(i, name), value, "{name} of entry {i}");
    }
    assert!((1..=15_000).contains(&field(1, "retry_after_ms").parse::<u64>().unwrap()));

    // The embedded store's journal is the same, field by field.
    let local = Frosty::embedded();
    local.hook(&stop("a"));
    let entry = &local.journal()[0];
    for name in names.iter().filter(|n| !["timestamp", "retry_after_ms", "store", "degraded"].contains(&n.as_str())) {
        let value = entry[name.as_str()].as_str().map_or_else(|| entry[name.as_str()].to_string(), str::to_owned);
        assert_eq!(value, field(0, name), "{name}");
    }
}

#[test]
fn a_journal_that_cannot_be_written_does_not_stop_the_verdict() {
    let server = Server::start();
    let mut con = server.connection();
    redis::cmd("SET").arg("torch.continuous.ops").arg("no stream").query::<()>(&mut con).unwrap();
    let frosty = Frosty::on(&server);
    assert_eq!(frosty.hook(&stop("a")).code, Some(2));
    assert_eq!(frosty.hook(&stop("a")).code, Some(0));
}

#[test]
fn a_warm_verdict_is_two_round_trips_and_a_cold_one_three() {
    let server = Server::start();
    let (url, trips) = crate::support::counting_proxy(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &url);
    let counted = |payload: &str| {
        trips.store(0, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(frosty.hook(payload).code, Some(0));
        trips.load(std::sync::atomic::Ordering::SeqCst)
    };
    assert_eq!(counted(&fixture("SessionStart-startup.json")), 3);
    for event in ["PreCompact-auto.json", "StopFailure-rate_limit.json", "SessionEnd-other.json"] {
        assert_eq!(counted(&fixture(event)), 2, "{event}");
    }
    // A Stop event after that failure is in another session of another scope: admit it, then count a refused one.
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    assert_eq!(counted(&stop("s")), 2);
}

#[test]
fn a_cold_script_is_loaded_and_another_script_flush_survived() {
    let server = Server::start();
    let frosty = Frosty::on(&server);
    assert_eq!(frosty.hook(&stop("a")).code, Some(2));
    redis::cmd("SCRIPT").arg("FLUSH").query::<()>(&mut server.connection()).unwrap();
    assert_eq!(frosty.hook(&stop("b")).code, Some(2));
}

// ---- input ------------------------------------------------------------------------------------------------------

#[test]
fn bad_input_is_told_in_one_line_and_exits_0() {
    let big = format!("{{\"session_id\":\"{}\"}}", "x".repeat(9 * 1024 * 1024));
    let mut not_utf8 = fixture("Stop-first.json").into_bytes();
    not_utf8[20] = 0xff;
    let cases: [(&str, &[u8], &str); 10] = [
        ("empty", b"", "stdin is empty"),
        ("blank", b"  \n", "stdin is empty"),
        ("not JSON", b"hello", "no object"),
        ("half JSON", b"{\"session_id\":\"s\",", "EOF"),
        ("an array", b"[\"Stop\",\"s\"]", "no object"),
        ("no event", b"{\"session_id\":\"s\"}", "hook_event_name"),
        ("no session", b"{\"hook_event_name\":\"Stop\"}", "session_id"),
        ("an empty session", b"{\"hook_event_name\":\"Stop\",\"session_id\":\"\"}", "empty session_id"),
        ("9 MiB", big.as_bytes(), "8 MiB"),
        ("invalid UTF-8", &not_utf8, "UTF-8"),
    ];
    for (name, bytes, words) in cases {
        let frosty = Frosty::embedded();
        let answer = frosty.run(&["hook"], bytes);
        answer.stands_down_saying(&["bad_input", words, "hint: try the payload by hand: frosty check < payload.json"]);
        assert!(answer.took < Duration::from_millis(2_500), "{name}: {answer:?}");
        assert_eq!(answer.stdout, "", "{name}");
        let journal = frosty.journal();
        assert_eq!((journal.len(), journal[0]["reason"].as_str()), (1, Some("bad_input")), "{name}");
    }
}

#[test]
fn no_stdin_at_all() {
    let frosty = Frosty::embedded();
    let mut command = frosty.command_of(Path::new("/bin/sh"), &["-c", "exec \"$0\" hook <&-"]);
    command.arg(env!("CARGO_BIN_EXE_frosty"));
    Answer::of(command.output().unwrap(), Duration::ZERO).stands_down_saying(&["bad_input", "stdin is empty"]);
}

#[test]
fn a_stdin_that_never_closes() {
    let frosty = Frosty::embedded();
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::io::Write::write_all(&mut &ours, fixture("Stop-first.json").as_bytes()).unwrap();
    let started = Instant::now();
    let mut command = frosty.command(&["hook"]);
    let output = command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).output().unwrap();
    let answer = Answer::of(output, started.elapsed());
    answer.stands_down_saying(&["bad_input", "after 2 s", "bytes"]);
    assert!(answer.took >= Duration::from_millis(1_900), "{answer:?}");
    assert!(answer.took < Duration::from_millis(2_500), "{answer:?}");
    drop(ours);
}

#[test]
fn a_large_message_is_no_obstacle() {
    let frosty = Frosty::embedded();
    let payload = serde_json::json!({"session_id": "s", "hook_event_name": "Stop",
        "last_assistant_message": "x".repeat(7 * 1024 * 1024)});
    assert_eq!(frosty.hook(&payload.to_string()).code, Some(2));
}

/// Half a surrogate pair (text that the client cut in the middle of a character) and values of unexpected types.
#[test]
fn a_field_that_is_not_needed_keeps_no_agent_from_its_verdict() {
    for fields in [
        r#""last_assistant_message":"cut \ud83d""#,
        r#""prompt":[],"trigger":7,"cwd":null,"error":{},"notification_type":false"#,
        r#""agent_id":null"#,
    ] {
        let frosty = Frosty::embedded();
        let payload = format!("{{\"session_id\":\"s\",\"hook_event_name\":\"Stop\",{fields}}}");
        assert_eq!(frosty.hook(&payload).code, Some(2), "{fields}");
    }
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    let prompt = r#"{"session_id":"s","hook_event_name":"UserPromptSubmit","prompt":"<task-notification>\ud83d"}"#;
    assert_eq!(frosty.hook(prompt).code, Some(0));
    let state = fs::read_to_string(frosty.session_file("s")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert!(state["session"]["fence"].as_i64().is_some());
    assert_eq!(frosty.journal()[1]["event"], "UserPromptSubmit");
}

/// In print mode the client sends SIGTERM about 25 ms after a `StopFailure` hook started: the failure is committed
/// first.
#[test]
fn a_failed_turn_is_committed_under_sigterm() {
    let frosty = Frosty::embedded().config(r#"{"budget": "1s"}"#);
    frosty.hook(&stop("other"));
    // The lock is held, so that the signal comes while the hook waits for it.
    let lock = fs::OpenOptions::new().write(true).open(frosty.state().join("default/lock")).unwrap();
    lock.lock().unwrap();
    let mut child = frosty.command(&["hook"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), fixture("StopFailure-rate_limit.json").as_bytes())
        .unwrap();
    // Bit 14 of the blocked signals is SIGTERM.
    let blocks = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|l| l.strip_prefix("SigBlk:")).unwrap().trim();
        u64::from_str_radix(mask, 16).unwrap() & (1 << 14) != 0
    };
    let end = Instant::now() + Duration::from_secs(5);
    while !blocks() {
        assert!(Instant::now() < end, "SIGTERM is not blocked");
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    drop(lock);
    let answer = Answer::of(child.wait_with_output().unwrap(), Duration::ZERO);
    assert_eq!((answer.code, answer.signal), (Some(0), None), "{answer:?}");
    let entry = frosty.journal().pop().unwrap();
    assert_eq!((entry["event"].as_str(), entry["detail"].as_str()), (Some("StopFailure"), Some("rate_limit")));
}

// ---- usage and broken outputs -----------------------------------------------------------------------------------

#[test]
fn no_usage_error_is_exit_2() {
    let frosty = Frosty::embedded();
    let payload = fixture("Stop-first.json");
    for args in [
        &["hook", "--wiat", "20d"] as &[&str],
        &["hook", "--arm"],
        &["hook", "--arm", "sometimes"],
        &["hook", "--store"],
        &["hook", "--scope", "a", "--scope", "b"],
        &["hook", "extra"],
        &["hook", ""],
        &["hook", "--store", ""],
        &["hook", "--fleet", ""],
    ] {
        let answer = frosty.run(args, payload.as_bytes());
        assert_eq!(answer.code, Some(0), "{args:?}: {answer:?}");
        answer.stands_down_saying(&["hint: see the flags: frosty hook --help"]);
    }
    let reasons: Vec<String> = frosty.journal().iter().map(|e| e["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons.iter().filter(|r| *r == "bad_usage").count(), 7, "{reasons:?}");
    for args in [
        &["hok"] as &[&str],
        &["--wat"],
        &["on", "--wat"],
        &["on", "--session"],
        &["on", "--session", "a", "--project", "."],
        &["off", "--wat"],
        &["off", "--project"],
        &["on", "extra"],
    ] {
        let answer = frosty.run(args, payload.as_bytes());
        assert_eq!(answer.code, Some(64), "{args:?}: {answer:?}");
        assert!(!answer.stderr.is_empty(), "{args:?}");
    }
    for args in [&["--help"] as &[&str], &["--version"], &["hook", "--help"], &["on", "--help"], &["help"]] {
        let answer = frosty.run(args, b"");
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{args:?}: {answer:?}");
        assert!(!answer.stdout.is_empty());
    }
}

/// Stdout closed from the start, closed by its reader, and full: no exit 2 anywhere, not even for an admission.
#[test]
fn a_closed_stdout_is_never_exit_2() {
    for redirect in [">&-", "| true", ">/dev/full", "2>&-", "2>/dev/full"] {
        for args in
            [&["hook"] as &[&str], &["on"], &["off"], &["--help"], &["--version"], &["--wat"], &["hook", "--wat"], &[]]
        {
            let frosty = Frosty::embedded();
            // The reader of the pipe is gone before frosty gets its input.
            let script = match redirect {
                "| true" => "(sleep 0.05; cat \"$F\") | \"$0\" \"$@\" | true; exit ${PIPESTATUS[1]}".to_owned(),
                other => format!("\"$0\" \"$@\" < \"$F\" {other}"),
            };
            let mut command = frosty.command_of(Path::new("/bin/bash"), &["-c", &script]);
            command.arg(env!("CARGO_BIN_EXE_frosty")).args(args);
            command.env("F", Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hook/Stop-first.json"));
            let answer = Answer::of(command.output().unwrap(), Duration::ZERO);
            let is_unwritten = redirect == ">/dev/full" && answer.code == Some(1) && args != ["hook"];
            assert!(matches!(answer.code, Some(0 | 64)) || is_unwritten, "{redirect} {args:?}: {answer:?}");
            if args == ["hook"] {
                assert_eq!(answer.code, Some(0), "{redirect}: {answer:?}");
            }
        }
    }
}

#[test]
fn exit_2_stands_at_one_place_that_takes_an_admission() {
    let mut places = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for line in text.lines().filter(|l| makes_a_code(l)) {
                places.push((path.file_name().unwrap().to_owned(), line.trim().to_owned()));
            }
        }
    }
    let twos: Vec<_> = places.iter().filter(|(_, line)| line.contains("Code(2)")).collect();
    assert_eq!(twos.len(), 1, "{places:?}");
    assert_eq!(twos[0].0, "reply.rs");
    assert!(twos[0].1.contains("Two::GoOn(Admission"), "{}", twos[0].1);
    // All others are zero, or constants of other commands.
    let others = ["pub const ZERO: Self = Self(0);", "libc::_exit(self.0.into())", "libc::_exit(0);"];
    for (file, line) in places.iter().filter(|p| !twos.contains(p)) {
        assert!(others.contains(&line.as_str()), "{file:?}: {line}");
    }
}

fn makes_a_code(line: &str) -> bool {
    let makes = ["ExitCode::from(", "process::exit(", "libc::_exit(", "ZERO: Self"];
    // `Code::ZERO` is used everywhere; what holds a number is made here.
    makes.iter().any(|word| line.contains(word)) || (line.contains(" Code(") && !line.contains("struct"))
}

#[test]
fn disabled_is_before_everything() {
    let frosty = Frosty::embedded().config("not JSON").var("FROSTY_DISABLE", "1");
    for args in [&["hook"] as &[&str], &["hook", "--wat"]] {
        let answer = frosty.run(args, b"garbage");
        assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (Some(0), "", ""));
    }
    assert!(!frosty.state().exists());
}

#[test]
fn no_home_is_told() {
    let frosty = Frosty::new();
    let mut command = frosty.command(&["hook", "--store", "embedded"]);
    command.env_remove("HOME");
    crate::support::feed(command, stop("s").as_bytes()).stands_down_saying(&["store_down", "XDG_STATE_HOME"]);
}

#[test]
fn the_prompt_is_the_configured_one_without_control_characters() {
    let frosty = Frosty::embedded().config(
        &serde_json::json!({"stop": {"prompt": format!("go\u{1b}[31m on\nnow{}", "x".repeat(9_985))}}).to_string(),
    );
    let answer = frosty.hook(&stop("s"));
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.starts_with("go[31m on\nnowxxx"), "{}", &answer.stderr[..40]);
    assert_eq!(answer.stderr.trim_end().chars().count(), "go[31m on\nnow".len() + 9_985);
}
