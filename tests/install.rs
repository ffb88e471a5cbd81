//! `install.sh`: the try, the install, and what it finds of old hooks; and the registrations it ships.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs install.sh from a project folder, with a home of its own but this machine's toolchain.
#[allow(clippy::disallowed_methods, reason = "the toolchain is found by the environment")]
fn install(home: &Path, args: &[&str]) -> Output {
    let real = PathBuf::from(std::env::var_os("HOME").unwrap());
    let of = |name: &str, folder: &str| std::env::var_os(name).map_or_else(|| real.join(folder), PathBuf::from);
    fs::create_dir_all(home.join("project/.claude")).unwrap();
    Command::new(root().join("install.sh"))
        .args(args)
        .current_dir(home.join("project"))
        .env("HOME", home)
        .env("CARGO_HOME", of("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", of("RUSTUP_HOME", ".rustup"))
        .env("TMUX", "/tmp/tmux-0/default,1,0")
        .env("TMUX_PANE", "%1")
        .env("FROSTY_STORE", "redis://127.0.0.1:1")
        .env("FROSTY_DISABLE", "1")
        .output()
        .unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { all.push(path) }
        }
    }
    all
}

#[test]
fn the_try_shows_2_0_0_0_and_leaves_nothing() {
    let home = TempDir::new().unwrap();
    let output = install(home.path(), &["--try"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let codes: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("exit code  ")).collect();
    assert_eq!(codes, ["2", "0", "0", "0"], "{text}");
    for word in ["reason admitted", "reason min_interval", "reason burst", "the client goes on", "stands down"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert_eq!(files(home.path()), Vec::<PathBuf>::new());
}

#[test]
fn installing_twice_and_what_it_finds() {
    let home = TempDir::new().unwrap();
    let claude = home.path().join(".claude");
    fs::create_dir(&claude).unwrap();
    fs::create_dir_all(home.path().join("project/.claude")).unwrap();
    let script = home.path().join("loop.sh");
    fs::write(&script, "#!/bin/bash\necho again >&2\nexit 2\n\n").unwrap();
    let settings = serde_json::json!({"hooks": {
        "PreToolUse": [{"hooks": [{"type": "command", "command": "echo innocent >&2; exit 2"}]}],
        "Stop": [{"hooks": [
            {"type": "command", "command": "curl -X POST http://localhost:18000/xadd/torch.continuous.ops -d '{\"a\":1}'"},
            {"type": "command", "command": "claude -c -p \"go on\" > /dev/null 2>&1 &"},
            {"type": "command", "command": format!("{}", script.display())},
            {"type": "command", "command": "say done"},
        ]}],
        "SubagentStop": [{"hooks": [{"type": "command", "command": "echo also innocent; exit 2"}]}],
    }});
    fs::write(claude.join("settings.json"), serde_json::to_string_pretty(&settings).unwrap()).unwrap();
    let inline = r#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"bash","args":["-c","date\nexit 2"]}]}]}}"#;
    fs::write(home.path().join("project/.claude/settings.json"), inline).unwrap();
    for _ in 0..2 {
        let output = install(home.path(), &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        let binary = home.path().join(".local/bin/frosty");
        assert!(text.contains(&format!("as {}", binary.display())), "{text}");
        let found: Vec<&str> = text.lines().filter(|l| l.contains("settings.json: ")).collect();
        assert_eq!(found.len(), 4, "{text}");
        for word in ["/xadd/", "claude -c -p", "loop.sh", "exit 2"] {
            assert!(found.iter().any(|l| l.contains(word)), "no {word} in {found:?}");
        }
        assert!(!text.contains("innocent") && !text.contains("say done"), "{text}");
        // What it says to paste is JSON and names the binary in full.
        let pasted = &text[text.find("\n{").unwrap()..=text.rfind('}').unwrap()];
        let pasted: serde_json::Value = serde_json::from_str(pasted).unwrap();
        assert_eq!(pasted["hooks"]["Stop"][0]["hooks"][0]["command"], binary.to_str().unwrap());
        let version = Command::new(&binary).arg("--version").output().unwrap();
        assert!(version.status.success());
        assert_eq!(fs::read_dir(home.path().join(".local/bin")).unwrap().count(), 1);
    }
    let elsewhere = home.path().join("else \"where\" a&b|c");
    let output = install(home.path(), &["--bin-dir", elsewhere.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    let pasted: serde_json::Value =
        serde_json::from_str(&text[text.find("\n{").unwrap()..=text.rfind('}').unwrap()]).unwrap();
    assert_eq!(pasted["hooks"]["Stop"][0]["hooks"][0]["command"], elsewhere.join("frosty").to_str().unwrap());
    assert!(elsewhere.join("frosty").exists());
    let output = install(home.path(), &["--bin-dir=relative", "--project", "nowhere"]);
    assert!(home.path().join("project/relative/frosty").exists(), "relative to where it was called from");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("nowhere/.claude") && text.contains("loop.sh"), "{text}");
}

#[test]
fn a_wrong_argument_is_told() {
    let home = TempDir::new().unwrap();
    for args in [&["--wat"] as &[&str], &["--bin-dir"], &["--bin-dir", "--try"], &["--project="]] {
        let output = install(home.path(), args);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("found: --"), "{output:?}");
    }
}

#[test]
fn the_registrations_are_exec_form_with_a_timeout_and_read_off_the_hot_path() {
    let read =
        |p: &str| -> serde_json::Value { serde_json::from_str(&fs::read_to_string(root().join(p)).unwrap()).unwrap() };
    const WAITS: [&str; 5] = ["hook", "--wait", "20d", "--timeout", "1900000"];
    for (file, args, engine) in [
        ("hooks/settings.example.json", &["hook"] as &[&str], &["hook"] as &[&str]),
        ("hooks/hooks.json", &["hook", "--arm", "manual"], &["hook", "--arm", "manual"]),
        ("hooks/continuous.example.json", &["hook"], &WAITS),
    ] {
        let hooks = read(file)["hooks"].as_object().unwrap().clone();
        let mut events: Vec<&String> = hooks.keys().collect();
        events.sort();
        assert_eq!(
            events,
            ["Notification", "PreCompact", "SessionEnd", "SessionStart", "Stop", "StopFailure", "UserPromptSubmit"]
        );
        for (event, list) in &hooks {
            assert_eq!(list.as_array().unwrap().len(), 1, "{file} {event}");
            let hook = &list[0]["hooks"][0];
            assert_eq!(hook["command"], "frosty");
            let waits = engine.len() == WAITS.len() && matches!(event.as_str(), "Stop" | "StopFailure");
            let args = if waits { engine } else { args };
            assert_eq!(hook["args"], serde_json::json!(args), "{file} {event}");
            assert_eq!(hook["asyncRewake"] == true, waits, "{file} {event}");
            if waits {
                // What the binary is told of the client's timer is what the client is told.
                assert_eq!(hook["timeout"].to_string(), args[4]);
            }
            assert!(hook["timeout"].as_u64().is_some_and(|t| t >= 5), "{file} {event}");
            let argv: Vec<_> = ["frosty"].iter().chain(args).map(std::ffi::OsString::from).collect();
            assert!(frosty::cli::exact(&argv).is_some(), "{file} is not read off the hot path");
        }
    }
    assert_eq!(read(".claude-plugin/plugin.json")["name"], "frosty");
    assert_eq!(read(".claude-plugin/plugin.json")["version"], env!("CARGO_PKG_VERSION"));
}
