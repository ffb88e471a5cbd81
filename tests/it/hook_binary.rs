//! The hook binary replies as `frosty hook` does, and needs no other program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Answer, Engine, Frosty, Server, eventually, feed, fixture, stop};
use serde_json::Value;

fn payloads() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hook");
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 35);
    names
}

/// The output for a person or the client, without the numbers, which are times.
fn shown(answer: &Answer) -> (Option<i32>, String, String) {
    let bare = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    (answer.code, bare(&answer.stdout), bare(&answer.stderr))
}

/// The journal's entries in the fields that do not differ from call to call.
fn journaled(frosty: &Frosty) -> Vec<Vec<Value>> {
    let fields = ["event", "scope", "session", "verdict", "reason", "detail", "mode"];
    frosty.journal().iter().map(|entry| fields.map(|field| entry[field].clone()).to_vec()).collect()
}

/// Every captured payload, and all of them again: then most are refused.
#[test]
fn both_programs_answer_every_captured_payload_alike() {
    let servers = [Server::start(), Server::start()];
    let stores = [[Frosty::embedded(), Frosty::embedded()], [Frosty::on(&servers[0]), Frosty::on(&servers[1])]];
    for [tool, hook] in &stores {
        let mut codes = [0; 2];
        for name in payloads().iter().chain(&payloads()) {
            let payload = fixture(name);
            let answer = feed(hook.hook_binary(&[]), payload.as_bytes());
            assert_eq!(shown(&answer), shown(&tool.hook(&payload)), "{name}");
            codes[usize::from(answer.code == Some(2))] += 1;
        }
        assert_eq!(journaled(hook), journaled(tool));
        assert!(codes[1] >= 4, "admitted or blocked: {codes:?}");
    }
    assert_eq!(stores[0][0].journal().len(), 70);
}

#[test]
fn both_programs_answer_a_wrong_command_line_alike() {
    let (tool, hook) = (Frosty::embedded(), Frosty::embedded());
    let payload = fixture("Stop-first.json");
    for args in [
        &["--wiat", "20d"] as &[&str],
        &["--arm"],
        &["--arm", "sometimes"],
        &["--store"],
        &["--scope", "a", "--scope", "b"],
        &["extra"],
        &[""],
        &["--wait", "soon", "--timeout", "60"],
        &["--timeout", "+5"],
        &["--wait=1s", "--wait=2s"],
        &["--", "redis://u:hunter2@h"],
        &["--store", ""],
        &["--wait", "20d"],
    ] {
        let answer = feed(hook.hook_binary(args), payload.as_bytes());
        let as_tool: Vec<&str> = std::iter::once("hook").chain(args.iter().copied()).collect();
        assert_eq!(shown(&answer), shown(&tool.run(&as_tool, payload.as_bytes())), "{args:?}");
        answer.stands_down_saying(&["hint: see the flags: frosty hook --help"]);
        assert!(!answer.stderr.contains("hunter2"), "{answer:?}");
    }
    assert_eq!(journaled(&hook), journaled(&tool));
    assert_eq!(hook.journal().iter().filter(|e| e["reason"] == "bad_usage").count(), 11);
    // In a session that is not armed, nothing is journaled.
    let hook = Frosty::embedded();
    let answer = feed(hook.hook_binary(&["--arm", "manual", "--wat"]), b"");
    assert_eq!((answer.code, answer.stderr.as_str(), hook.journal().len()), (Some(0), "", 0));
}

#[test]
fn it_prints_its_version_and_where_its_flags_are_described() {
    let frosty = Frosty::embedded();
    for (args, word) in
        [(["--version"], env!("CARGO_PKG_VERSION")), (["--help"], "frosty hook --help"), (["-h"], "JSON")]
    {
        let answer = feed(frosty.hook_binary(&args), b"");
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
        assert!(answer.stdout.contains(word), "{answer:?}");
    }
    assert!(!frosty.state().exists());
}

/// It begins without the standard library's start-up, but does what a hook needs of it.
#[test]
fn a_closed_stream_is_never_exit_2() {
    for redirect in [">&-", "| true", ">/dev/full", "2>&-", "2>/dev/full", ">&- 2>&-", "<&-", "<&- >&- 2>&-"] {
        for args in [&[] as &[&str], &["--version"], &["--wat"]] {
            let frosty = Frosty::embedded();
            // The reader of the pipe is gone before the hook gets its input.
            let script = match redirect {
                "| true" => "(sleep 0.05; cat \"$F\") | \"$0\" \"$@\" | true; exit ${PIPESTATUS[1]}".to_owned(),
                other => format!("\"$0\" \"$@\" < \"$F\" {other}"),
            };
            let mut command = frosty.command_of(Path::new("/bin/bash"), &["-c", &script]);
            command.arg(env!("CARGO_BIN_EXE_frosty-hook")).args(args);
            command.env("F", Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hook/Stop-first.json"));
            let answer = Answer::of(command.output().unwrap(), Duration::ZERO);
            assert_eq!(answer.code, Some(0), "{redirect} {args:?}: {answer:?}");
        }
    }
    let frosty = Frosty::embedded();
    assert_eq!(feed(frosty.hook_binary(&[]), stop("s").as_bytes()).code, Some(2), "with all streams it is");
}

/// The hook binary in a folder of its own, with the tool beside it or without.
fn alone(frosty: &Frosty, has_tool: bool) -> PathBuf {
    let folder = frosty.home.path().join("bin");
    fs::create_dir(&folder).unwrap();
    let names: &[&str] = if has_tool { &["frosty-hook", "frosty"] } else { &["frosty-hook"] };
    for name in names {
        let built = Path::new(env!("CARGO_BIN_EXE_frosty-hook")).with_file_name(name);
        // A process of its own writes it: another test's child may hold a file open for writing that this process
        // writes.
        assert!(Command::new("cp").arg(built).arg(&folder).status().unwrap().success());
    }
    folder.join("frosty-hook")
}

/// Notifications are sent by `frosty announce`. Without the tool none is sent, and each answer is the same.
#[test]
fn a_tool_that_is_missing_does_no_harm() {
    let mut answers = Vec::new();
    for has_tool in [true, false] {
        let frosty = Frosty::embedded();
        let told = frosty.home.path().join("told");
        let frosty = frosty.config(&format!(
            r#"{{"stop": {{"min_interval": "1h"}}, "hold_after_strikes": 1, "notify": ["cat >> '{}'"]}}"#,
            told.display()
        ));
        let hook = alone(&frosty, has_tool);
        let mut all = Vec::new();
        for _ in 0..3 {
            let answer = feed(frosty.command_of(&hook, &[]), stop("s").as_bytes());
            all.push((shown(&answer), answer.signal));
        }
        assert_eq!(frosty.journal().len(), 3);
        let has_told = || fs::read_to_string(&told).is_ok_and(|told| told.contains("willy"));
        if has_tool {
            eventually("the hold is announced", has_told);
        }
        // A link to the hook binary leads to the tool beside the file.
        let link = frosty.home.path().join("link");
        std::os::unix::fs::symlink(&hook, &link).unwrap();
        all.push((shown(&feed(frosty.command_of(&link, &[]), stop("s").as_bytes())), None));
        assert_eq!(has_told(), has_tool);
        // An engine that waits looks for others that are lost, which the tool does as well.
        let mut engine = Engine::of(frosty.command_of(&hook, &["--wait", "20d", "--timeout", "1900000"]), &stop("s"));
        eventually("the engine waits", || frosty.journal().len() == 5);
        assert!(engine.is_waiting(), "has_tool {has_tool}");
        answers.push(all);
    }
    assert_eq!(answers[0], answers[1]);
}

/// No text of a part that only people use: the command line's parser, the settings' editor, the doctor, the views.
#[test]
fn it_holds_nothing_that_only_people_use() {
    let is_in = |program: &str, words: &str| {
        let bytes = fs::read(program).unwrap();
        bytes.windows(words.len()).any(|part| part == words.as_bytes())
    };
    for words in [
        "a similar argument exists",
        "Exit codes: 0 done, 1 failed",
        "installed_plugins.json",
        "settings.json.frosty-backup",
        "no Stop hook runs frosty",
        "No session has called frosty-hook yet",
    ] {
        let (tool, hook) = (env!("CARGO_BIN_EXE_frosty"), env!("CARGO_BIN_EXE_frosty-hook"));
        let words = if is_in(tool, words) { words } else { continue };
        assert!(!is_in(hook, words), "{words:?} is in the hook binary");
    }
    let nm = Command::new("nm").args(["-C", env!("CARGO_BIN_EXE_frosty-hook")]).stderr(Stdio::null()).output();
    let Ok(nm) = nm else { return };
    let symbols = String::from_utf8_lossy(&nm.stdout);
    for part in ["clap", "settings", "doctor", "view", "cmd"] {
        let part = if part == "clap" { "clap::".to_owned() } else { format!("frosty::{part}::") };
        let found = symbols.lines().find(|line| line.contains(&part));
        assert_eq!(found, None, "{part} is in the hook binary");
    }
}
