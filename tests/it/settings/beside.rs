//! Tests the choice of settings and program, and the conflicts with other Stop hooks.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use frosty::client_settings::hooks;
use frosty::client_settings::owner::Engine;
use frosty::settings::edit::put;
use frosty::settings::registration::Registration;
use serde_json::json;

use crate::settings::files::{copy, done, names, owners, program, refused, run, settings};
use crate::support::{Frosty, feed};

fn commands(file: &Path) -> Vec<String> {
    let mut all: Vec<String> = hooks(file).unwrap().into_iter().map(|h| h.command).collect();
    all.dedup();
    all
}

fn users(frosty: &Frosty) -> PathBuf {
    frosty.home.path().join(".claude/settings.json")
}

/// `--plain` beside a conflict warns on stderr, and registers.
#[track_caller]
fn done_beside(frosty: &Frosty, args: &[&str], words: &[&str]) {
    let answer = run(frosty, args);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    for word in words {
        assert!(answer.stderr.contains(word), "no {word:?} in {}", answer.stderr);
    }
}

#[test]
fn user_settings_wait_to_be_armed() {
    let frosty = Frosty::embedded();
    assert!(done(&run(&frosty, &["install", "--user"])).contains("only those that you arm"));
    let all = hooks(&users(&frosty)).unwrap();
    assert_eq!(all.len(), 8);
    for hook in &all {
        let args = hook.args.clone().unwrap();
        assert!(hook.command.ends_with("/frosty-hook"), "{hook:?}");
        assert_eq!(args[..2], ["--arm", "manual"], "{hook:?}");
        let words: Vec<_> = args.iter().map(std::ffi::OsString::from).collect();
        assert!(frosty::hook::flags::parse(&words).is_ok(), "{hook:?}");
        // The timeout that the client permits is the one in the program's flags.
        let told = args.iter().position(|a| a == "--timeout").map(|i| args[i + 1].parse::<f64>().unwrap());
        assert_eq!(hook.async_rewake, told.is_some(), "{hook:?}");
        assert_eq!(hook.timeout, Some(told.unwrap_or(10.0)), "{hook:?}");
    }
    assert!(names(&settings(&frosty)).is_empty(), "a project was touched");
    done(&run(&frosty, &["uninstall", "--user"]));
    assert!(!users(&frosty).exists());
    let elsewhere = frosty.home.path().join("elsewhere");
    let frosty = frosty.var("CLAUDE_CONFIG_DIR", elsewhere.to_str().unwrap());
    done(&run(&frosty, &["install", "--user", "--plain"]));
    assert_eq!(owners(&elsewhere.join("settings.json")).len(), 7);
}

#[test]
fn the_project_is_the_one_named_else_the_clients_else_here() {
    let frosty = Frosty::new();
    let other = frosty.home.path().join("other");
    fs::create_dir(&other).unwrap();
    done(&run(&frosty, &["install", "--project", "../other"]));
    assert_eq!(owners(&other.join(".claude/settings.json")).len(), 8);
    let mut here = frosty.command_of(program(), &["install"]);
    here.env_remove("CLAUDE_PROJECT_DIR").current_dir(frosty.project());
    done(&feed(here, b""));
    assert_eq!(owners(&settings(&frosty)).len(), 8);
    let nowhere = run(&frosty, &["install", "--project", "nowhere"]);
    assert!(nowhere.code == Some(64) && nowhere.stderr.contains("project directory at nowhere"), "{nowhere:?}");
    // In the home directory a project's settings are the user's, and would apply to every project.
    let mut home = frosty.command_of(program(), &["install"]);
    home.env_remove("CLAUDE_PROJECT_DIR").current_dir(frosty.home.path());
    refused(&feed(home, b""), &["your own settings", "frosty install --user"]);
    assert!(!users(&frosty).exists());
    for wrong in [&["install", "--user", "--local"] as &[&str], &["install", "--plain", "--continuous"]] {
        assert_eq!(run(&frosty, wrong).code, Some(64));
    }
}

#[test]
fn the_hook_binary_is_named_beside_the_program_as_it_was_called() {
    let frosty = Frosty::new();
    let file = settings(&frosty);
    let of = |name: &str| frosty.home.path().join(name);
    fs::create_dir_all(of("opt/1.0")).unwrap();
    fs::create_dir_all(of("bin")).unwrap();
    for name in ["frosty", "frosty-hook"] {
        copy(&program().with_file_name(name), &of("opt/1.0").join(name));
        symlink(Path::new("../opt/1.0").join(name), of("bin").join(name)).unwrap();
    }
    // A link to the newest version is what lasts.
    for (program, named) in [
        (of("bin/frosty"), of("bin/frosty-hook")),
        (PathBuf::from("../bin/../bin/frosty"), of("bin/frosty-hook")),
        (PathBuf::from("frosty"), of("bin/frosty-hook")),
        (of("opt/1.0/frosty"), of("opt/1.0/frosty-hook")),
    ] {
        let mut command = frosty.command_of(&program, &["install"]);
        command.env("PATH", of("bin"));
        done(&feed(command, b""));
        assert_eq!(commands(&file), [named.to_str().unwrap()], "{}", program.display());
    }
    // A link to the tool alone: the hook binary is the one beside the file.
    fs::remove_file(of("bin/frosty-hook")).unwrap();
    done(&feed(frosty.command_of(&of("bin/frosty"), &["install"]), b""));
    assert_eq!(commands(&file), [of("opt/1.0/frosty-hook").canonicalize().unwrap().to_str().unwrap()]);
    // The directory was renamed: the marker identifies the entries, and they are replaced.
    fs::rename(of("opt/1.0"), of("opt/snow man")).unwrap();
    let told = done(&feed(frosty.command_of(&of("opt/snow man/frosty"), &["install"]), b""));
    assert!(told.contains("instead of 8 older ones that run") && told.contains("opt/1.0/frosty-hook"), "{told}");
    assert_eq!(commands(&file), [of("opt/snow man/frosty-hook").to_str().unwrap()]);
    // The one that is not named removes them, too.
    done(&run(&frosty, &["uninstall"]));
    assert!(!file.exists());
    let built = of("target/debug");
    for folder in ["deps", ".fingerprint"] {
        fs::create_dir_all(built.join(folder)).unwrap();
    }
    for name in ["frosty", "frosty-hook"] {
        copy(&of("opt/snow man").join(name), &built.join(name));
    }
    let answer = feed(frosty.command_of(&built.join("frosty"), &["install"]), b"");
    assert!(answer.code == Some(0) && answer.stderr.contains("cargo clean"), "{answer:?}");
    done(&run(&frosty, &["uninstall"]));
    // Without the hook binary nothing is registered.
    fs::remove_file(of("opt/snow man/frosty-hook")).unwrap();
    let answer = feed(frosty.command_of(&of("opt/snow man/frosty"), &["install"]), b"");
    refused(&answer, &["no frosty-hook beside", "./install.sh"]);
    assert!(!file.exists());
}

/// The entries of versions before the hook binary: `frosty hook`, by the tool's path.
#[test]
fn entries_of_the_old_form_are_frostys_own() {
    let frosty = Frosty::new();
    let file = settings(&frosty);
    for engine in [Engine::Continuous, Engine::Plain] {
        let old = Registration { command: "/b/frosty".to_owned(), engine, manual: false, resumes: true };
        let written = put(None, &old, &file).unwrap();
        assert!(written.contains(r#""command": "/b/frosty", "args": ["hook"]"#), "{written}");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &written).unwrap();
        let flag = format!("--{}", engine.name());
        let told = done(&run(&frosty, &["install", &flag]));
        let count = old.count();
        assert!(told.contains(&format!("instead of {count} older ones that run /b/frosty")), "{told}");
        assert_eq!(commands(&file), [program().with_file_name("frosty-hook").to_str().unwrap()]);
        assert_eq!(owners(&file).len(), count);
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("\"hook\""), "{text}");
        // And each form is removed without a trace.
        done(&run(&frosty, &["uninstall"]));
        assert!(!file.exists());
        fs::write(&file, &written).unwrap();
        done(&run(&frosty, &["uninstall"]));
        assert!(!file.exists());
    }
}

#[test]
fn a_second_engine_is_named_and_refused() {
    let frosty = Frosty::new();
    done(&run(&frosty, &["install", "--user"]));
    let words = [
        "other hooks decide stops here",
        ".claude/settings.json: Stop: ",
        "a second engine, continuous",
        "frosty uninstall --user",
    ];
    refused(&run(&frosty, &["install"]), &words);
    refused(&run(&frosty, &["install", "--dry-run"]), &words);
    assert!(!settings(&frosty).exists());
    done_beside(&frosty, &["install", "--plain"], &words);
    refused(&run(&frosty, &["install", "--local"]), &["a second engine, plain", "frosty uninstall --project "]);
    done_beside(&frosty, &["install", "--local", "--keep-others"], &["a second engine, plain", "--user"]);
    let told = done(&run(&frosty, &["uninstall", "--user"]));
    assert!(told.contains("stays registered elsewhere") && told.contains("uninstall --local --project"), "{told}");
    // The file of an entry is not in conflict with itself, whatever it is called.
    let frosty = Frosty::new();
    done(&run(&frosty, &["install"]));
    symlink(frosty.project(), frosty.home.path().join("link")).unwrap();
    done(&run(&frosty, &["install", "--project", "../link"]));
}

#[test]
fn what_a_person_registered_is_named_and_stays() {
    let frosty = Frosty::new();
    let file = settings(&frosty);
    let before = r#"{"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "frosty hook", "timeout": 5}]}]}}"#;
    fs::write(&file, before).unwrap();
    refused(&run(&frosty, &["install"]), &["Stop: frosty hook", "registered by hand", "EDITOR"]);
    done_beside(&frosty, &["install", "--plain"], &["registered by hand"]);
    assert_eq!(owners(&file).len(), 8);
    done(&run(&frosty, &["uninstall"]));
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
}

#[test]
fn stop_hooks_that_do_not_ask_are_named() {
    let frosty = Frosty::new();
    let script = frosty.project().join("loop it.sh");
    fs::write(&script, "#!/bin/bash\necho again >&2\nexit 2\n\n").unwrap();
    let hook = |command: &str| json!({"type": "command", "command": command});
    let all = json!({"hooks": {
        "PreToolUse": [{"hooks": [hook("echo innocent >&2; exit 2")]}],
        "Stop": [{"hooks": [
            hook("curl -X POST http://localhost:18000/xadd/torch.continuous.ops"),
            hook("claude -c -p \"go on\" > /dev/null 2>&1 &"),
            hook("$CLAUDE_PROJECT_DIR/loop\u{20}it.sh"),
            {"type": "command", "command": "bash", "args": ["-c", "date\nexit 2"]},
            hook("say done"),
        ]}],
        "SubagentStop": [{"hooks": [hook("echo also innocent; exit 2")]}],
    }});
    fs::write(users(&frosty), all.to_string()).unwrap();
    let answer = run(&frosty, &["install"]);
    refused(&answer, &["/xadd/", "claude -c", "loop it.sh", "date exit 2", "beside it nothing is throttled", "EDITOR"]);
    assert_eq!(answer.stderr.matches("remove it: ").count(), 4, "{answer:?}");
    assert!(!answer.stderr.contains("innocent") && !answer.stderr.contains("say done"), "{answer:?}");
    assert!(!settings(&frosty).exists());
    done_beside(&frosty, &["install", "--keep-others"], &["loop it.sh"]);
    assert_eq!(owners(&settings(&frosty)).len(), 8);
    // The steps that are still needed are reported completely.
    let told = run(&frosty, &["install", "--plain", "--dry-run", "--keep-others"]).stdout;
    assert!(told.contains("To do it: frosty install --plain --project") && told.contains(" --keep-others\n"));
    let told = done(&run(&frosty, &["uninstall"]));
    assert!(told.contains("undo     frosty install --continuous") && told.contains("--keep-others"), "{told}");
    done_beside(&frosty, &["install", "--keep-others"], &["loop it.sh"]);
    // A file that cannot be parsed is reported, and prevents no registration elsewhere.
    fs::write(users(&frosty), "{").unwrap();
    done_beside(&frosty, &["install", "--plain"], &["cannot look for other engines: "]);
}

#[test]
fn the_plugin_is_named() {
    let frosty = Frosty::new();
    let folder = frosty.home.path().join(".claude/plugins");
    let unpacked = folder.join("cache/m/throttle/0.1.0");
    fs::create_dir_all(unpacked.join("hooks")).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks/hooks.json"), unpacked.join("hooks/hooks.json"))
        .unwrap();
    // As the client 2.1.331 writes it.
    let installed = json!({"version": 2, "plugins": {"throttle@m": [{"scope": "user", "installPath": unpacked}]}});
    fs::write(folder.join("installed_plugins.json"), installed.to_string()).unwrap();
    fs::write(users(&frosty), r#"{"enabledPlugins": {"frosty@m": true, "throttle@m": true, "else@m": true}}"#).unwrap();
    let answer = run(&frosty, &["install"]);
    refused(&answer, &["plugin frosty@m", "plugin throttle@m", "claude plugin disable throttle@m"]);
    assert!(!answer.stderr.contains("else@m"), "{answer:?}");
    // The settings nearer to the project decide.
    let off = r#"{"enabledPlugins": {"frosty@m": false, "throttle@m": false}}"#;
    fs::write(frosty.project().join(".claude/settings.local.json"), off).unwrap();
    done(&run(&frosty, &["install"]));
    done(&run(&frosty, &["uninstall"]));
    // A plugin in the skills directory is enabled by its place.
    let lying = frosty.home.path().join(".claude/skills/frosty/.claude-plugin");
    fs::create_dir_all(&lying).unwrap();
    fs::write(lying.join("plugin.json"), "{}").unwrap();
    refused(&run(&frosty, &["install"]), &["plugin frosty@skills-dir", "remove it: mv "]);
}

#[test]
fn what_keeps_it_from_working_is_told() {
    let frosty = Frosty::new();
    fs::write(settings(&frosty), r#"{"disableAllHooks": true}"#).unwrap();
    done_beside(&frosty, &["install"], &["no hook runs while", "disableAllHooks"]);
    // The nearest file decides.
    fs::write(settings(&frosty).with_file_name("settings.local.json"), r#"{"disableAllHooks": false}"#).unwrap();
    done(&run(&frosty, &["install", "--plain"]));
    let frosty = Frosty::new().var("FROSTY_DISABLE", "1");
    done_beside(&frosty, &["install"], &["unset FROSTY_DISABLE"]);
    let frosty = Frosty::new();
    let cap = "CLAUDE_CODE_STOP_HOOK_BLOCK_CAP";
    assert!(!done(&run(&frosty, &["install"])).contains(cap), "it counts the plain engine's alone");
    assert!(done(&run(&frosty, &["install", "--plain"])).contains(cap));
    fs::write(settings(&frosty), format!(r#"{{"env": {{"{cap}": "0"}}}}"#)).unwrap();
    assert!(!done(&run(&frosty, &["install", "--plain"])).contains(cap));
}
