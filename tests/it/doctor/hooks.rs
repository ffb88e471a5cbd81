//! Tests the checks of the registration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use frosty::client_settings::owner::Engine;
use frosty::settings::registration::{EVENTS, Registration};
use serde_json::{Value, json};

use crate::doctor::{doctor, doctor_by, register, registration, well};

/// The registration with its `Stop` entry changed.
fn stop_with(engine: Engine, change: impl FnOnce(&mut Value)) -> Value {
    let mut settings = registration(engine);
    change(&mut settings["hooks"]["Stop"][0]["hooks"][0]);
    settings
}

#[test]
fn none_two_and_twice() {
    let frosty = well();
    register(&frosty, "project", &json!({}));
    doctor(&frosty).shows("FAIL", "hooks", &["no Stop hook runs frosty", "-> frosty install"]);

    register(&frosty, "project", &registration(Engine::Continuous));
    register(&frosty, "local", &registration(Engine::Continuous));
    let twice = ["registered more than once", "decided 2 times", "-> frosty uninstall --local"];
    doctor(&frosty).shows("FAIL", "hooks", &twice);

    register(&frosty, "local", &registration(Engine::Plain));
    let two = [
        "two engines in one session",
        "continuous in the project",
        "plain in the local",
        "-> frosty uninstall --local",
    ];
    doctor(&frosty).shows("FAIL", "hooks", &two);

    // A second registration by hand, of one event.
    register(
        &frosty,
        "local",
        &json!({"hooks": {"SessionStart": [
        {"hooks": [{"type": "command", "command": "frosty hook"}]}]}}),
    );
    doctor(&frosty).shows("warn", "hooks", &["more than once on SessionStart"]);
    fs::remove_file(frosty.project().join(".claude/settings.local.json")).unwrap();

    register(&frosty, "project", &json!({}));
    register(&frosty, "user", &registration(Engine::Continuous));
    let everywhere = ["continues every session of every project", "-> frosty install --user --continuous"];
    doctor(&frosty).shows("warn", "hooks", &everywhere).shows("ok", "hooks", &["in the user settings"]);
    let manual = frosty.config(r#"{"arm": "manual"}"#);
    doctor(&manual).only(&["ok", "note"]).shows("note", "armed", &["arm: manual", "-> frosty on"]);
}

#[test]
fn as_a_plugin() {
    let frosty = well();
    let plugin = frosty.home.path().join(".claude/skills/frosty");
    fs::create_dir_all(plugin.join(".claude-plugin")).unwrap();
    fs::create_dir_all(plugin.join("hooks")).unwrap();
    let root = env!("CARGO_MANIFEST_DIR");
    fs::copy(format!("{root}/.claude-plugin/plugin.json"), plugin.join(".claude-plugin/plugin.json")).unwrap();
    fs::copy(format!("{root}/hooks/hooks.json"), plugin.join("hooks/hooks.json")).unwrap();
    let two = ["two engines", "plain in the plugin frosty@skills-dir", "-> mv "];
    doctor(&frosty).shows("FAIL", "hooks", &two);
    register(&frosty, "project", &json!({}));
    doctor(&frosty).shows("ok", "hooks", &["plain, in the plugin frosty@skills-dir"]);
    fs::remove_dir_all(frosty.home.path().join(".claude/skills")).unwrap();
    register(&frosty, "local", &json!({"enabledPlugins": {"frosty@somewhere": true}}));
    let unknown = ["the plugin frosty@somewhere is enabled", "-> claude plugin disable frosty@somewhere"];
    doctor(&frosty).shows("note", "hooks", &unknown);
}

/// Settings come with a cloned repository: their text must not get into a command that a person pastes.
#[test]
fn names_bring_no_command() {
    let frosty = well();
    register(&frosty, "local", &json!({"enabledPlugins": {"frosty@x; touch y": true}}));
    doctor(&frosty).shows("note", "hooks", &["-> claude plugin disable 'frosty@x; touch y'"]);
    let odd = frosty.home.path().join("a; touch y");
    fs::create_dir_all(odd.join(".claude")).unwrap();
    fs::write(odd.join(".claude/settings.json"), "{").unwrap();
    let mut command = frosty.command(&["doctor", "--project"]);
    command.arg(&odd);
    let cure = "/a; touch y/.claude/settings.json'";
    let report = doctor_by(&frosty, command);
    report.shows(
        "FAIL",
        "hooks",
        &["is not valid JSON", &format!("  -> ${{EDITOR:-vi}} '{}{cure}", frosty.home.path().display())],
    );
}

#[test]
fn passwords_in_commands_are_masked() {
    let frosty = well();
    let stop = json!({"hooks": {"Stop": [{"hooks": [
        {"type": "command", "command": "frosty", "args": ["hook", "--store", "redis://u:hunter2@127.0.0.1:1"]},
        {"type": "command", "command": "curl -u me:hunter2 http://u:hunter2@localhost/xadd/x"}]}]}});
    register(&frosty, "local", &stop);
    doctor(&frosty).shows("FAIL", "hooks", &["curl -u *** http://***@localhost/xadd/x"]);
    let install = frosty.run(&["install"], b"");
    assert!(install.stderr.contains("hook --store redis://***@127.0.0.1:1"), "{install:?}");
    assert!(!install.stderr.contains("hunter2"), "{install:?}");
}

/// A cure keeps the engine, and its flags go together.
#[test]
fn what_registers_anew_registers_the_same() {
    let frosty = well();
    let gone = |engine| {
        let mut settings = registration(engine);
        for list in settings["hooks"].as_object_mut().unwrap().values_mut() {
            list[0]["hooks"][0]["command"] = "/gone/frosty-hook".into();
        }
        settings
    };
    register(&frosty, "project", &gone(Engine::Plain));
    let report = doctor(&frosty);
    report.shows("FAIL", "binary", &["/gone/frosty-hook, which does not exist", "-> frosty install --plain"]);
    register(&frosty, "project", &json!({}));
    register(&frosty, "user", &gone(Engine::Continuous));
    let mut command = frosty.command(&["doctor", "--project"]);
    command.arg(frosty.project()).current_dir(frosty.home.path());
    let report = doctor_by(&frosty, command);
    let cure = report.lines.iter().find(|line| line.contains("which does not exist")).unwrap();
    assert!(cure.ends_with("  -> frosty install --user"), "{cure}");
}

#[test]
fn not_whole() {
    let frosty = well();
    let mut settings = registration(Engine::Continuous);
    for event in ["SessionStart", "UserPromptSubmit", "SessionEnd", "StopFailure", "Notification"] {
        settings["hooks"].as_object_mut().unwrap().remove(event);
    }
    register(&frosty, "project", &settings);
    doctor(&frosty)
        .shows(
            "warn",
            "hooks",
            &["without SessionStart, UserPromptSubmit, SessionEnd, StopFailure", "-> frosty install"],
        )
        .shows("note", "hooks", &["not registered on Notification"]);
}

#[test]
fn beside_an_old_one() {
    let frosty = well();
    let old = json!({"hooks": {"Stop": [{"hooks": [
        {"type": "command", "command": "curl -X POST http://localhost:18000/xadd/torch.continuous.ops -d '{}'"},
        {"type": "command", "command": "echo again >&2; exit 2"}]}]}});
    register(&frosty, "user", &old);
    doctor(&frosty)
        .shows("FAIL", "hooks", &["writes to /xadd/", "continues without a limit", "/.claude/settings.json"])
        .shows("FAIL", "hooks", &["a bare exit 2"]);
}

#[test]
fn unread_settings() {
    let frosty = well();
    fs::write(frosty.home.path().join(".claude/settings.json"), "{ \"hooks\": ").unwrap();
    doctor(&frosty)
        .shows("FAIL", "hooks", &["is not valid JSON", "at line 1", "edit the file  -> ${EDITOR:-vi} "])
        .shows("ok", "hooks", &["continuous"]);
}

#[test]
fn switched_off() {
    let frosty = well();
    register(&frosty, "user", &json!({"disableAllHooks": true}));
    doctor(&frosty).shows("FAIL", "hooks off", &["disableAllHooks is true in", "no hook runs"]);
    // Text elsewhere in the file that was cut in the middle of a character hides nothing.
    let users = frosty.home.path().join(".claude/settings.json");
    fs::write(users, r#"{"a": "\ud83d", "disableAllHooks": true}"#).unwrap();
    doctor(&frosty).shows("FAIL", "hooks off", &["disableAllHooks is true in", "no hook runs"]);
    // The nearest file decides.
    register(&frosty, "local", &json!({"disableAllHooks": false}));
    doctor(&frosty).only(&["ok", "note"]).shows("ok", "hooks off", &[]);
    register(&frosty, "local", &json!({"disableAllHooks": false, "env": {"FROSTY_DISABLE": "1", "FROSTY_FLEET": "x"}}));
    doctor(&frosty).shows("FAIL", "hooks off", &["FROSTY_DISABLE is set for every hook", "settings.local.json"]).shows(
        "note",
        "environment",
        &["settings set FROSTY_FLEET for the hooks"],
    );
    let mut command = frosty.command(&["doctor"]);
    command.env("FROSTY_DISABLE", "1");
    doctor_by(&frosty, command).shows("FAIL", "armed", &["every hook exits at once", "-> unset FROSTY_DISABLE"]);
}

#[test]
fn timeouts_and_waits() {
    let frosty = well();
    let args =
        |words: &'static str| move |entry: &mut Value| entry["args"] = words.split(' ').map(Value::from).collect();
    for (settings, mark, words) in [
        (
            stop_with(Engine::Continuous, args("--wait 30d --timeout 1900000")),
            "FAIL",
            &["--wait 30d is longer than --timeout 1900000", "bad_config"][..],
        ),
        (stop_with(Engine::Continuous, args("--wait 1d")), "FAIL", &["--wait 1d without --timeout"]),
        (
            stop_with(Engine::Continuous, args("--wait 20d --timeout 3000000")),
            "FAIL",
            &["--timeout 3000000 is past 2147483"],
        ),
        (
            stop_with(Engine::Continuous, |e| e["timeout"] = 600.into()),
            "FAIL",
            &["\"timeout\" is 600 and --timeout 1900000", "ends it while it waits"],
        ),
        (stop_with(Engine::Continuous, |e| e["timeout"] = Value::Null), "FAIL", &["and no \"timeout\""]),
        (
            stop_with(Engine::Continuous, |e| e["timeout"] = 2_592_000.into()),
            "FAIL",
            &["timer overflows and ends it at once"],
        ),
        (stop_with(Engine::Continuous, args("--wiat 20d")), "FAIL", &["a wrong command line", "--wiat"]),
        (
            stop_with(Engine::Continuous, |e| e["asyncRewake"] = false.into()),
            "note",
            &["--wait without asyncRewake holds the screen"],
        ),
        (stop_with(Engine::Plain, |e| e["timeout"] = 0.2.into()), "warn", &["less than the budget of a verdict, 1s"]),
        (stop_with(Engine::Plain, |e| e["asyncRewake"] = true.into()), "warn", &["asyncRewake without --wait"]),
    ] {
        register(&frosty, "project", &settings);
        doctor(&frosty).shows(mark, "timeouts", words);
    }
}

#[test]
fn capped() {
    let frosty = well();
    register(&frosty, "project", &registration(Engine::Plain));
    let lift = ["after 8 continuations in a row", r#""env": {"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP": "0"}"#];
    doctor(&frosty).shows("note", "block cap", &lift);
    register(&frosty, "local", &json!({"env": {"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP": "20"}}));
    doctor(&frosty).shows("note", "block cap", &["after 20 continuations"]);
    register(&frosty, "local", &json!({"env": {"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP": "0"}}));
    doctor(&frosty).only(&["ok"]);
}

#[test]
fn the_program_that_is_registered() {
    let frosty = well();
    let command = |path: String| move |entry: &mut Value| entry["command"] = path.into();
    let home = frosty.home.path().display().to_string();

    register(&frosty, "project", &stop_with(Engine::Continuous, command(format!("{home}/gone/frosty-hook"))));
    doctor(&frosty).shows("FAIL", "binary", &["/gone/frosty-hook, which does not exist", "-> frosty install"]);

    let copy = format!("{home}/frosty-hook");
    fs::copy(env!("CARGO_BIN_EXE_frosty-hook"), &copy).unwrap();
    register(&frosty, "project", &stop_with(Engine::Continuous, command(copy.clone())));
    let another = ["the hooks run another one", &copy, &format!("-> {home}/frosty doctor")];
    doctor(&frosty).shows("note", "binary", &another);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
    doctor(&frosty).shows("FAIL", "binary", &["not executable", &format!("-> chmod +x {copy}")]);

    register(&frosty, "project", &stop_with(Engine::Continuous, command("frosty-hook".to_owned())));
    let frosty = frosty.var("PATH", "/usr/bin:/bin");
    doctor(&frosty).shows("FAIL", "binary", &["the hooks run frosty-hook, which is not on the PATH"]);
    let other = frosty.home.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_frosty"), other.join("frosty")).unwrap();
    let frosty = frosty.var("PATH", &other.display().to_string());
    doctor(&frosty).shows("note", "binary", &["but frosty on the PATH is", "-> type -a frosty"]);
}

/// The registration of versions before the hook binary works, and is worth replacing.
#[test]
fn the_old_form_is_named() {
    let frosty = well();
    let old = Registration {
        command: env!("CARGO_BIN_EXE_frosty").to_owned(),
        engine: Engine::Plain,
        manual: false,
        resumes: true,
    };
    let of = |event: &str| json!([{"hooks": old.entries(event)}]);
    let hooks: serde_json::Map<String, Value> = EVENTS.iter().map(|event| ((*event).to_owned(), of(event))).collect();
    register(&frosty, "project", &json!({ "hooks": hooks }));
    let report = doctor(&frosty);
    report.shows("note", "binary", &["frosty hook, and frosty-hook starts faster", "-> frosty install --plain"]);
    report.shows("ok", "hooks", &["plain, in the project settings"]).shows("ok", "timeouts", &[]);
}

/// The tool and the hook binary belong together.
#[test]
fn a_hook_binary_that_is_missing_or_of_another_version() {
    let frosty = well();
    let folder = frosty.home.path().join("own");
    fs::create_dir(&folder).unwrap();
    let (tool, hook) = (folder.join("frosty"), folder.join("frosty-hook"));
    // A process of its own writes it: another test's child may hold a file open for writing that this process writes.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_frosty")).arg(&tool).status().unwrap().success());
    let report = || doctor_by(&frosty, frosty.command_of(&tool, &["doctor"]));
    report().shows("warn", "binary", &["no frosty-hook beside ", "./install.sh puts both in place", "-> ls -l "]);
    for (prints, shown) in [("frosty-hook 0.0.9", "is 0.0.9, and frosty "), ("nonsense", "is without a version")] {
        fs::write(&hook, format!("#!/bin/sh\necho {prints}\n")).unwrap();
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        report().shows("warn", "binary", &["own/frosty-hook", shown, "-> ls -l "]);
    }
}
