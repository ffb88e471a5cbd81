//! Tests the checks of this machine: the client, the configuration, the switches, the state directory, tmux, the
//! engines.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use frosty::client_settings::owner::Engine;

use crate::doctor::{doctor, doctor_by, program, register, registration, well};
use crate::support::{Engine as Waiting, Frosty, eventually, free_port, stop, stop_saying};

#[test]
fn clients() {
    let frosty = well();
    for (says, mark, words) in [
        (
            "echo '2.1.330 (Claude Code)'",
            "note",
            &["older than 2.1.332, with which Frosty was tested", "-> claude update"][..],
        ),
        ("echo '2.1.150 (Claude Code)'", "warn", &["may not know asyncRewake", "-> claude update"]),
        ("echo '2.1.100 (Claude Code)'", "FAIL", &["\"args\" came with 2.1.139", "-> claude update"]),
        ("echo 'hello there'", "note", &["which is not a version"]),
        ("exec sleep 20", "note", &["did not print its version within 3 s"]),
    ] {
        program(&frosty, "claude", says);
        let report = doctor(&frosty);
        report.shows(mark, "client", words).shows("ok", "store", &[]);
        assert!(report.answer.took.as_secs() < 10);
    }
    fs::remove_file(frosty.home.path().join("bin/claude")).unwrap();
    doctor(&frosty).shows("note", "client", &["no claude on the PATH"]);
}

#[test]
fn configurations() {
    let frosty = well().config("{ \"fleet\": ");
    doctor(&frosty)
        .shows("ok", "config", &["frosty.json (left out)", "< FROSTY_STORE"])
        .shows("FAIL", "config", &["is not valid JSON", "edit the file  -> ${EDITOR:-vi} "])
        .shows("ok", "engines", &[]);
    let frosty = well().config(r#"{"fleet": "night"}"#).project_config(r#"{"store": "embedded"}"#);
    doctor(&frosty)
        .shows(
            "FAIL",
            "config",
            &["project/.claude/frosty.json:1: invalid value ", " for store", "only in your own configuration"],
        )
        .shows("ok", "config", &["/.claude/frosty.json (budget, fleet, person) <", "(left out) < FROSTY_STORE"])
        .shows("ok", "scope", &["fleet night"]);
    let frosty = well().var("FROSTY_STORE", "rediss//u:hunter2@h").var("FROSTY_CONFIG", "/nowhere.json");
    doctor(&frosty).shows("FAIL", "config", &["for FROSTY_STORE; expected", "***@h", "-> unset FROSTY_STORE"]).shows(
        "FAIL",
        "config",
        &["/nowhere.json", "-> unset FROSTY_CONFIG"],
    );
    let told = r#"{"mode": "shadow", "notify": [["/no/such/bell"], "true"]}"#;
    doctor(&well().config(told)).shows("note", "mode", &["shadow"]).shows("warn", "notify", &["/no/such/bell"]);
    let frosty = well().var("FROSTY_SKIP_CLIENT", "1").var("FROSTY_STROE", "embedded");
    doctor(&frosty).shows("warn", "environment", &["FROSTY_SKIP_CLIENT, FROSTY_STROE  -> unset"]);
}

#[test]
fn a_project_that_is_gone() {
    let frosty = well();
    let gone = frosty.command(&["doctor", "--project", "/nowhere"]);
    doctor_by(&frosty, gone).shows("FAIL", "project", &["/nowhere is not a directory"]).shows("FAIL", "hooks", &[]);
}

#[test]
fn switches() {
    let frosty = well();
    assert_eq!(frosty.run(&["off"], b"").code, Some(0));
    doctor(&frosty).shows("note", "armed", &["no, by the switch of the project", "-> frosty on"]);
    let mut elsewhere = frosty.command(&["doctor", "--project"]);
    elsewhere.arg(frosty.project()).current_dir(frosty.home.path()).env_remove("CLAUDE_PROJECT_DIR");
    doctor_by(&frosty, elsewhere).shows("note", "armed", &["no, by the switch", "-> frosty on --project /"]);
    let here = frosty.var("CLAUDE_CODE_SESSION_ID", "s");
    assert_eq!(here.run(&["on"], b"").code, Some(0));
    doctor(&here).shows("ok", "armed", &["yes, by this session's switch"]).shows("ok", "scope", &["s (no tmux"]);
    fs::write(here.state().join("arm/session-s"), "perhaps").unwrap();
    doctor(&here).shows("FAIL", "armed", &["invalid value \"perhaps\" for the switch; expected on or off"]);
    let frosty = well().var("FROSTY_ON", "0");
    doctor(&frosty).shows("note", "armed", &["no, by FROSTY_ON=0", "-> unset FROSTY_ON"]);
    let frosty = well().var("FROSTY_ON", "maybe");
    doctor(&frosty).shows("FAIL", "armed", &["expected 1, print or 0"]);
    let frosty = well().var("CLAUDE_CODE_ENTRYPOINT", "sdk-cli");
    doctor(&frosty).shows("note", "armed", &["print mode", "-> export FROSTY_ON=print"]);
    register(&frosty, "project", &registration(Engine::Plain));
    doctor(&frosty).shows("note", "armed", &["print mode", "-> export FROSTY_ON=print"]);
    let frosty = frosty.var("CLAUDE_CODE_ENTRYPOINT", "cli").var("CLAUDE_CODE_SESSION_ATTENDED", "0");
    doctor(&frosty).shows("ok", "armed", &[]);
}

#[test]
fn a_state_folder_that_cannot_be_made() {
    let frosty = well();
    let program = frosty.home.path().join("copy");
    // A process of its own writes it: another test's child may hold a file open for writing that this process writes.
    assert!(Command::new("cp").args([Path::new(env!("CARGO_BIN_EXE_frosty")), &program]).status().unwrap().success());
    let is_root = fs::metadata(&program).unwrap().uid() == 0;
    fs::set_permissions(frosty.home.path(), fs::Permissions::from_mode(if is_root { 0o755 } else { 0o555 })).unwrap();
    let plain = frosty.command_of(&program, &["doctor"]);
    // Only root may do everything.
    let mut lowered = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        lowered.args(["--reuid", "65534", "--clear-groups"]);
    }
    lowered.arg(plain.get_program()).args(plain.get_args()).env_clear();
    lowered.envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?)))).current_dir(frosty.project());
    doctor_by(&frosty, lowered).shows("FAIL", "state", &["does not exist and cannot be created", "-> namei -l /"]);
    fs::set_permissions(frosty.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn state_folders() {
    let frosty = well();
    doctor(&frosty).shows("ok", "state", &["does not exist yet"]);
    frosty.hook(&stop("s"));
    doctor(&frosty).shows("ok", "state", &["yours alone", "MB free"]);
    let scope = frosty.scope_file("s");
    fs::write(&scope, "{").unwrap();
    frosty.hook(&stop("s"));
    let report = doctor(&frosty);
    report.shows("warn", "set aside", &["1 state file could not be read", "s.json.bad-", "-> less /"]);
    fs::set_permissions(frosty.state(), fs::Permissions::from_mode(0o777)).unwrap();
    doctor(&frosty).shows("FAIL", "state", &["writable by others (mode 0777)", "chmod -R go-w"]);
    let mut nowhere = frosty.command(&["doctor"]);
    nowhere.env_remove("HOME").env("CLAUDE_CONFIG_DIR", frosty.home.path().join(".claude"));
    doctor_by(&frosty, nowhere).shows("FAIL", "state", &["neither XDG_STATE_HOME nor HOME"]).shows(
        "FAIL",
        "store",
        &["neither XDG_STATE_HOME nor HOME"],
    );
}

#[test]
fn a_tmux_that_is_gone() {
    let frosty = well().var("TMUX", "/nowhere/default,1,0");
    doctor(&frosty).shows("note", "tmux", &["TMUX_PANE is not"]);
    let frosty = frosty.var("TMUX_PANE", "%3");
    doctor(&frosty).shows("note", "tmux", &["tmux does not answer", "-> tmux display-message"]).shows(
        "ok",
        "scope",
        &["tmux-default-p3 (this tmux pane)"],
    );
}

#[test]
fn engines_that_are_lost() {
    let frosty = well();
    let resting = |session: &str| {
        let engine = Waiting::start(&frosty, &stop_saying(session, "frosty: done"));
        let rests = |e: &serde_json::Value| e["session"] == session && e["reason"] == "done";
        eventually("it rests", || frosty.journal().iter().any(rests));
        engine
    };
    let (alive, lost) = (resting("alive"), resting("gone"));
    // No message is sent.
    drop(lost);
    let said = ["1 waiting on this machine, 1 lost", ": gone", "-> claude --resume gone"];
    doctor(&frosty).shows("warn", "engines", &said);
    drop(alive);
}

#[test]
fn a_server_that_is_away() {
    let frosty = well().var("FROSTY_STORE", &format!("redis://127.0.0.1:{}", free_port()));
    frosty.hook(&stop("s"));
    doctor(&frosty).shows("FAIL", "store", &["connection refused", "FROSTY_STORE=embedded"]).shows(
        "warn",
        "spool",
        &["the server is unreachable (1 failed attempt in a row", "bytes of the journal wait", "1 scope decided on"],
    );
    let record = frosty.state().join("default/server.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    json["given_up"] = 4096.into();
    json.as_object_mut().unwrap().remove("breaker");
    fs::write(&record, json.to_string()).unwrap();
    doctor(&frosty).shows("warn", "spool", &["4096 bytes were given up"]);
}

/// 80 columns on a terminal, with colours unless they are switched off.
#[test]
fn on_a_terminal() {
    let frosty = well();
    register(&frosty, "local", &registration(Engine::Plain));
    for (no_color, coloured) in [("", true), ("1", false)] {
        let shown = on_terminal(&frosty, no_color);
        assert_eq!(shown.contains("\x1b[31;1mFAIL\x1b[0m"), coloured, "{shown:?}");
        let plain =
            ["\x1b[32m", "\x1b[36m", "\x1b[33m", "\x1b[31;1m", "\x1b[0m"].iter().fold(shown, |s, c| s.replace(c, ""));
        let long: Vec<&str> = plain.lines().filter(|l| l.trim_end().chars().count() > 80).collect();
        // A command or a path is never broken.
        assert!(long.iter().all(|l| l.trim_start().starts_with("->") || l.contains('/')), "{long:#?}");
        assert!(plain.contains("\n      -> frosty uninstall"), "{plain}");
    }
}

/// Returns the output on a terminal from `script`.
fn on_terminal(frosty: &Frosty, no_color: &str) -> String {
    let mut command = frosty.command_of("script".as_ref(), &["-qec"]);
    command.arg(format!("{} doctor", env!("CARGO_BIN_EXE_frosty"))).arg("/dev/null").env("NO_COLOR", no_color);
    let shell: &mut Command = command.env("SHELL", "/bin/sh");
    String::from_utf8(shell.output().expect("script (util-linux) must be installed").stdout).unwrap()
}
