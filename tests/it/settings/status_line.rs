//! Tests `frosty install --statusline`: the question before it replaces a status line, the operator's command beside it, and
//! the way back.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use frosty::client_settings::owner::Engine;
use frosty::settings::edit::{self, Without};
use frosty::settings::registration::Registration;
use frosty::settings::status_line::{StatusLine, of, put, take};
use proptest::prelude::*;

use crate::support::{Answer, Frosty, feed, stop};

const PROGRAM: &str = "/home/ann/.local/bin/frosty";

fn file() -> &'static Path {
    Path::new("/p/.claude/settings.json")
}

fn hooks() -> Registration {
    Registration { command: format!("{PROGRAM}-hook"), engine: Engine::Continuous, manual: false, resumes: true }
}

/// Every layout is restored byte for byte, with the hooks installed before, after, and not at all.
#[test]
fn each_layout_is_restored() {
    let own = r#""statusLine":{"command" :"echo \"it's\" $(date)","type":"command", "padding": 0}"#;
    let texts = [
        "{}".to_owned(),
        "{ }\n".to_owned(),
        "{\n}".to_owned(),
        " \n".to_owned(),
        "{\"a\": 1}".to_owned(),
        "{\r\n\t\"a\": [1, 2],\r\n\t\"b\": {}\r\n}\r\n".to_owned(),
        format!("{{{own}}}"),
        format!("{{\n  \"a\": 1,\n  {own},\n  \"b\": 2\n}}\n"),
        "{\"statusLine\": null}".to_owned(),
    ];
    for before in texts.iter().map(|text| Some(text.as_str())).chain([None]) {
        let was = before.map_or(Without::NoFile, |text| Without::Text(text.to_owned()));
        let lined = put(before, PROGRAM, file());
        if before.is_some_and(|text| text.contains("null")) {
            // Its key occurs twice then, and the client takes the last.
            assert!(matches!(of(&lined.unwrap(), file()), Ok(Some(StatusLine::Frostys(None)))));
            continue;
        }
        let lined = lined.unwrap();
        let command = before.filter(|text| text.contains("echo")).map(|_| "echo \"it's\" $(date)".to_owned());
        assert_eq!(of(&lined, file()).unwrap(), Some(StatusLine::Frostys(command)), "{lined}");
        assert_eq!(put(Some(&lined), PROGRAM, file()).unwrap(), lined, "twice is once");
        assert_eq!(take(&lined, file()).unwrap(), was, "{lined}");

        // Hooks first and last; both are taken out in the same order.
        let last = edit::put(Some(&lined), &hooks(), file()).unwrap();
        let first = put(Some(&edit::put(before, &hooks(), file()).unwrap()), PROGRAM, file()).unwrap();
        for both in [last, first] {
            let Without::Text(hookless) = edit::take(&both, file()).unwrap() else { panic!("{both}") };
            assert_eq!(take(&hookless, file()).unwrap(), was, "{both}");
        }
        // A moved program replaces the old path.
        let moved = put(Some(&lined), "/opt/it's here/frosty", file()).unwrap();
        assert_eq!(take(&moved, file()).unwrap(), was, "{moved}");
    }
}

#[test]
fn what_is_no_command_is_refused_and_a_line_by_hand_is_the_operators() {
    for text in [r#"{"statusLine": 7}"#, r#"{"statusLine": {"type": "command"}}"#, r#"{"statusLine": {"command": 7}}"#]
    {
        assert!(put(Some(text), PROGRAM, file()).is_err(), "{text}");
        assert_eq!(take(text, file()).unwrap(), Without::Text(text.to_owned()));
    }
    for command in
        ["frosty statusline", "cd /x; /bin/frosty status", "/bin/other statusline", "x | /bin/frosty statusline"]
    {
        let text = serde_json::json!({"statusLine": {"type": "command", "command": command}}).to_string();
        assert_eq!(of(&text, file()).unwrap(), Some(StatusLine::Operators(command.to_owned())));
        assert_eq!(take(&text, file()).unwrap(), Without::Text(text), "{command}");
    }
}

proptest! {
    /// Any command is restored, and a shell passes it on unchanged.
    #[test]
    fn any_command_is_restored(command in "[ -~\n]{0,30}|.{0,12}") {
        let text = serde_json::json!({"statusLine": {"type": "command", "command": command}}).to_string();
        let lined = put(Some(&text), PROGRAM, file()).unwrap();
        prop_assert_eq!(take(&lined, file()).unwrap(), Without::Text(text));
    }
}

fn settings(frosty: &Frosty, place: &str) -> std::path::PathBuf {
    match place {
        "user" => frosty.home.path().join(".claude/settings.json"),
        _ => frosty.project().join(".claude/settings.json"),
    }
}

#[test]
fn it_asks_before_it_replaces_and_gives_back() {
    let frosty = Frosty::embedded();
    let users = settings(&frosty, "user");
    let before = "{\n  \"statusLine\": {\"type\": \"command\", \"command\": \"echo mine; cat >&2\"}\n}\n";
    fs::write(&users, before).unwrap();
    // Without a terminal it cannot ask.
    let refused = frosty.run(&["install", "--statusline", "--user"], b"y\n");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
    assert!(refused.stderr.contains("has a status line: echo mine; cat >&2; nothing was written\n"), "{refused:?}");
    assert!(
        refused
            .stderr
            .ends_with("hint: show its output above Frosty's line: frosty install --statusline --user --replace\n"),
        "{refused:?}"
    );
    // A project's line would hide the user's.
    let hidden = frosty.run(&["install", "--statusline"], b"");
    assert!(
        hidden.code == Some(1) && hidden.stderr.contains("frosty install --statusline --user --replace"),
        "{hidden:?}"
    );
    let dry = frosty.run(&["install", "--statusline", "--user", "--dry-run"], b"");
    assert!(dry.code == Some(0) && dry.stdout.contains(" statusline --beside 'echo mine"), "{dry:?}");
    assert_eq!(fs::read_to_string(&users).unwrap(), before);

    let done = frosty.run(&["install", "--statusline", "--user", "--replace"], b"");
    assert!(done.code == Some(0) && done.stdout.contains("your own command"), "{done:?}");
    let again = frosty.run(&["install", "--statusline", "--user"], b"");
    assert!(again.stdout.starts_with("Nothing to do: "), "{again:?}");
    let undone = frosty.run(&["uninstall", "--user"], b"");
    assert!(
        undone.stdout.starts_with("Removed 0 hooks and the status line, in whose place is yours again,"),
        "{undone:?}"
    );
    assert!(undone.stdout.contains("  undo     frosty install --statusline --user\n"), "{undone:?}");
    assert_eq!(fs::read_to_string(&users).unwrap(), before);

    // A file of its own comes and goes.
    fs::remove_file(&users).unwrap();
    assert_eq!(frosty.run(&["install", "--statusline"], b"").code, Some(0));
    assert!(settings(&frosty, "project").exists());
    let undone = frosty.run(&["uninstall"], b"");
    assert!(undone.stdout.starts_with("Removed 0 hooks and the status line from "), "{undone:?}");
    assert!(!settings(&frosty, "project").exists());
    assert_eq!(frosty.run(&["install", "--statusline", "--plain"], b"").code, Some(64));
    assert_eq!(frosty.run(&["install", "--replace"], b"").code, Some(64));
}

/// At a terminal it asks, and anything but a yes leaves the file alone.
#[test]
fn at_a_terminal_it_asks() {
    let frosty = Frosty::embedded();
    let users = settings(&frosty, "user");
    let before = r#"{"statusLine": {"type": "command", "command": "echo mine"}}"#;
    for (answer, is_changed) in [("\n", false), ("n\n", false), ("yes\n", true)] {
        fs::write(&users, before).unwrap();
        let mut command = frosty.command_of(Path::new("script"), &["-qec"]);
        let line = format!("{} install --statusline --user", env!("CARGO_BIN_EXE_frosty"));
        command.arg(line).arg("/dev/null");
        let said = feed(command, answer.as_bytes());
        assert!(said.stdout.contains("Show its output above Frosty's line? [y/N]"), "{said:?}");
        assert_eq!(fs::read_to_string(&users).unwrap() != before, is_changed, "{answer:?} {said:?}");
        assert_eq!(said.stdout.contains("Nothing was written."), !is_changed, "{said:?}");
    }
}

fn line(frosty: &Frosty, args: &[&str]) -> Answer {
    frosty.run(&[&["statusline"], args].concat(), br#"{"session_id": "s", "x": 1}"#)
}

/// The line that the client shows: the operator's output as it is, then Frosty's.
#[test]
fn both_lines_are_shown() {
    let frosty = Frosty::embedded();
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    let own = line(&frosty, &[]).stdout;
    assert!(own.starts_with("❄ running"), "{own}");
    for (command, printed) in [
        ("cat", "{\"session_id\": \"s\", \"x\": 1}\n"),
        ("printf 'a\\nb'", "a\nb\n"),
        ("printf '\\033[31mred\\033[0m\\n'; exit 3", "\u{1b}[31mred\u{1b}[0m\n"),
        ("exit 7", ""),
        ("nowhere-at-all", ""),
        ("yes", ""),
        // What stays in the background and keeps the output open is not waited for without end.
        ("echo late; sleep 60", ""),
    ] {
        let begun = Instant::now();
        let answer = line(&frosty, &["--beside", command]);
        assert_eq!((answer.code, answer.stdout), (Some(0), format!("{printed}{own}")), "{command}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{command}");
    }
    let off = frosty.var("FROSTY_DISABLE", "1");
    assert_eq!(line(&off, &["--beside", "echo mine"]).stdout, "mine\n");
    assert_eq!(line(&off, &[]).stdout, "");
}

/// The client ends a command that it no longer needs: nothing that the operator's command started stays.
#[test]
fn a_command_that_is_ended_leaves_nothing() {
    let frosty = Frosty::embedded();
    let mark = frosty.home.path().join("pid");
    let does = format!("sleep 300 & echo $! > {}.new; mv {0}.new {0}; wait", mark.display());
    let mut child = frosty.command(&["statusline", "--beside", &does]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{}").unwrap();
    crate::support::eventually("it runs", || mark.exists());
    let pid = fs::read_to_string(&mark).unwrap().trim().to_owned();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    crate::support::eventually("it is gone", || {
        !fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    });
}
