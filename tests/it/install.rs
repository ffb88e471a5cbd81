//! Tests `install.sh`: the try, the install, and the place of the registration; and the registrations in the
//! repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Frosty, stop_saying};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs install.sh from a project directory, with a home of its own but this machine's toolchain.
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
        // The release build takes minutes to optimize, and no test here measures it.
        .env("CARGO_TARGET_DIR", root().join("target/install"))
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
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
fn the_try_shows_2_0_0_0_2_and_leaves_nothing() {
    let home = TempDir::new().unwrap();
    let output = install(home.path(), &["--try"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    let codes: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("exit code  ")).collect();
    assert_eq!(codes, ["2", "0", "0", "0", "2"], "{text}");
    let engine = text.split("with the engine that waits").nth(1).unwrap();
    assert!(engine.contains("refuse, reason min_interval\n  verdict    admit, reason admitted\n"), "{text}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("takes a few minutes") && told.contains("Built in "), "{told}");
    for word in ["reason admitted", "reason min_interval", "reason burst", "the client goes on", "❄ Paused"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert_eq!(files(home.path()), Vec::<PathBuf>::new());
}

fn program(home: &Path) -> PathBuf {
    home.join(".local/bin/frosty")
}

/// The programs that a settings file's hooks run.
fn registered(file: &Path) -> Vec<String> {
    let mut all: Vec<String> =
        frosty::client_settings::hooks(file).unwrap().into_iter().map(|hook| hook.command).collect();
    all.dedup();
    all
}

#[test]
fn installing_twice_registers_nothing_and_says_what_is_in_the_way() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join(".claude")).unwrap();
    let stop =
        |command: &str| serde_json::json!({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": command}]}]}});
    for _ in 0..2 {
        let output = install(home.path(), &[]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(text.contains(&format!(":\n  {}\n", program(home.path()).display())), "{text}");
        assert!(text.contains("Nothing else was\nregistered") && !text.contains("decide stops already"), "{text}");
        for line in ["install --project DIR", "install --local --project DIR", "install --user"] {
            assert!(text.contains(&format!("{} {line}", program(home.path()).display())), "{text}");
        }
        assert!(Command::new(program(home.path())).arg("--version").output().unwrap().status.success());
        let hook_binary = program(home.path()).with_file_name("frosty-hook");
        let version = Command::new(hook_binary).arg("--version").output().unwrap();
        assert_eq!(version.stdout, concat!("frosty-hook ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
        assert_eq!(fs::read_dir(home.path().join(".local/bin")).unwrap().count(), 2);
    }
    let is_settings = |path: &PathBuf| path.to_string_lossy().contains("settings");
    assert_eq!(files(home.path()).into_iter().filter(is_settings).count(), 0);
    let users = home.path().join(".claude/settings.json");
    fs::write(&users, stop("curl http://localhost:18000/xadd/x").to_string()).unwrap();
    let here = home.path().join("project/.claude/settings.json");
    fs::write(&here, stop("echo again; exit 2").to_string()).unwrap();
    let output = install(home.path(), &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("/xadd/") && text.contains("exit 2") && text.contains("decide stops already"), "{text}");
}

#[test]
fn it_registers_where_it_is_told() {
    let home = TempDir::new().unwrap();
    let file = home.path().join("project/.claude/settings.local.json");
    let elsewhere = home.path().join("else \"where\" a&b|c");
    let output = install(home.path(), &["--bin-dir", elsewhere.to_str().unwrap(), "--local", "--plain"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(registered(&file), [elsewhere.join("frosty-hook").to_str().unwrap()]);
    assert!(!fs::read_to_string(&file).unwrap().contains("--wait"));
    // Relative to the caller's directory; the program's own error reports a refused registration.
    let output = install(home.path(), &["--bin-dir=relative", "--user"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("a second engine, plain"), "{output:?}");
    assert!(!home.path().join(".claude/settings.json").exists());
    fs::create_dir(home.path().join("other")).unwrap();
    let output = install(home.path(), &["--bin-dir=relative", "--project", "../other"]);
    assert!(output.status.success(), "{output:?}");
    let program = home.path().canonicalize().unwrap().join("project/relative/frosty-hook");
    assert_eq!(registered(&home.path().join("other/.claude/settings.json")), [program.to_str().unwrap()]);
}

#[test]
fn what_it_says_can_be_pasted() {
    let home = TempDir::new().unwrap();
    let elsewhere = home.path().join("a b");
    let output = install(home.path(), &["--bin-dir", elsewhere.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    let said = |command: &str| {
        let said = Command::new("bash").args(["-c", command]).output().unwrap();
        assert!(said.status.success(), "{command}: {said:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    let path = text.split("for the commands:\n").nth(1).unwrap().lines().next().unwrap();
    assert_eq!(said(&format!("{path}; command -v frosty")).trim(), elsewhere.join("frosty").to_str().unwrap());
    let user = text.lines().find(|line| line.ends_with(" install --user")).unwrap();
    assert!(said(&format!("{user} --help")).contains("--dry-run"));
    // A terminal would break a longer line in the middle of a word.
    let is_command = |line: &&str| line.starts_with("  ");
    assert!(text.lines().filter(|line| !is_command(line)).all(|line| line.len() <= 80), "{text}");
    // A file in place of the directory, and a directory in place of the program.
    fs::write(home.path().join("file"), "").unwrap();
    fs::create_dir_all(home.path().join("full/frosty")).unwrap();
    fs::create_dir_all(home.path().join("hook/frosty-hook")).unwrap();
    for wrong in ["file", "full", "hook"] {
        let output = install(home.path(), &["--bin-dir", home.path().join(wrong).to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("that you may write to at") && told.contains("--bin-dir ~/bin"), "{told}");
    }
    for wrong in ["full", "hook"] {
        assert_eq!(fs::read_dir(home.path().join(wrong)).unwrap().count(), 1, "{wrong}");
    }
}

/// Completes as bash does: its function gets the words, and answers in COMPREPLY.
#[test]
fn bash_completes_commands_sessions_topics_and_reasons() {
    let frosty = Frosty::embedded();
    for (session, message) in [("nova-1", "frosty: wait_for ci"), ("nova-2", "frosty: done"), ("echo", "")] {
        frosty.hook(&stop_saying(session, message));
    }
    let completed = |words: &str, last: &str| {
        let ask = format!(
            "source <(\"$0\" completions bash); COMP_WORDS=(frosty {words} '{last}'); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
COMP_TYPE=9; function=$(complete -p frosty | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
\"$function\" frosty '{last}' ''; echo \"${{COMPREPLY[*]}}\""
        );
        let mut bash = frosty.command_of(Path::new("bash"), &["-c", &ask]);
        let said = bash.arg(env!("CARGO_BIN_EXE_frosty")).output().unwrap();
        assert!(said.stderr.is_empty(), "{said:?}");
        let mut words: Vec<String> =
            String::from_utf8(said.stdout).unwrap().split_whitespace().map(str::to_owned).collect();
        words.sort();
        words
    };
    assert_eq!(completed("", "ho"), ["hold", "hook"]);
    assert_eq!(completed("install", "--k"), ["--keep-others"]);
    assert!(!completed("", "").contains(&"announce".to_owned()), "a hidden command");
    for command in ["hold", "release", "wake", "explain", "on --session", "log --scope"] {
        assert_eq!(completed(command, "nova"), ["nova-1", "nova-2"], "{command}");
    }
    assert_eq!(completed("wake --topic", ""), ["ci"]);
    assert_eq!(completed("log --reason", "min"), ["min_interval"]);
}

#[test]
fn each_shell_has_a_script() {
    let frosty = Frosty::embedded();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = frosty.run(&["completions", shell], b"");
        assert!(script.code == Some(0) && script.stdout.contains(env!("CARGO_BIN_EXE_frosty")), "{shell}: {script:?}");
    }
    // The variable alone changes nothing.
    let asked = frosty.var("FROSTY_COMPLETE", "bash").run(&["--version"], b"");
    assert!(asked.stdout.starts_with("frosty "), "{asked:?}");
}

#[test]
fn its_help_is_there_however_it_is_called() {
    let home = TempDir::new().unwrap();
    std::os::unix::fs::symlink(root().join("install.sh"), home.path().join("link")).unwrap();
    let relative = Path::new(".").join(root().file_name().unwrap()).join("install.sh");
    for (program, from) in [(relative.as_path(), root().parent().unwrap()), (Path::new("./link"), home.path())] {
        let output = Command::new("bash").arg(program).arg("--help").current_dir(from).output().unwrap();
        assert!(output.status.success() && output.stdout.starts_with(b"Builds Frosty"), "{output:?}");
    }
}

#[test]
fn an_old_rust_is_told_before_anything_is_built() {
    let home = TempDir::new().unwrap();
    let bin = home.path().join(".cargo/bin");
    fs::create_dir_all(&bin).unwrap();
    for (name, says) in [("cargo", "cargo 1.70.0"), ("rustc", "rustc 1.70.0 (90c541806 2023-05-31)")] {
        let file = bin.join(name);
        fs::write(
            &file,
            format!("#!/bin/sh\n[ \"$1\" = --version ] && echo '{says}' && exit\necho built >&2; exit 1\n"),
        )
        .unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let output = install(home.path(), &["--try"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("expected Rust 1.89 or newer, found 1.70.0") && told.contains("rustup update"), "{told}");
    assert!(!told.contains("built"), "{told}");
}

#[test]
fn a_wrong_argument_is_told() {
    let home = TempDir::new().unwrap();
    for args in [&["--wat"] as &[&str], &["--bin-dir"], &["--bin-dir", "--try"], &["--project="], &["--plain"]] {
        let output = install(home.path(), args);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("found: --"), "{output:?}");
    }
}

#[test]
fn the_registrations_are_exec_form_with_a_timeout_and_flags_that_can_be_read() {
    let read =
        |p: &str| -> serde_json::Value { serde_json::from_str(&fs::read_to_string(root().join(p)).unwrap()).unwrap() };
    const WAITS: [&str; 4] = ["--wait", "20d", "--timeout", "1900000"];
    for (file, args, engine) in [
        ("hooks/settings.example.json", &[] as &[&str], &[] as &[&str]),
        ("hooks/hooks.json", &["--arm", "manual"], &["--arm", "manual"]),
        ("hooks/continuous.example.json", &[], &WAITS),
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
            let hooks = list[0]["hooks"].as_array().unwrap();
            for hook in hooks {
                assert_eq!(hook["command"], "frosty-hook");
                let is_continuous = engine.len() == WAITS.len();
                let waits = is_continuous
                    && (matches!(event.as_str(), "Stop" | "StopFailure")
                        || (event == "SessionStart" && hook != &hooks[0]));
                let announces = is_continuous && event == "SessionStart" && !waits;
                let args = if announces {
                    &["--show-resume"]
                } else if waits {
                    engine
                } else {
                    args
                };
                assert_eq!(hook["args"], serde_json::json!(args), "{file} {event}");
                assert_eq!(hook["asyncRewake"] == true, waits, "{file} {event}");
                if waits {
                    // The timeout in the binary's flags is the timeout in the client's settings.
                    assert_eq!(hook["timeout"].to_string(), args[3]);
                }
                assert!(hook["timeout"].as_u64().is_some_and(|t| t >= 5), "{file} {event}");
                let words: Vec<_> = args.iter().map(std::ffi::OsString::from).collect();
                assert!(frosty::hook::flags::parse(&words).is_ok(), "{file}");
            }
        }
    }
    assert_eq!(read(".claude-plugin/plugin.json")["name"], "frosty");
    assert_eq!(read(".claude-plugin/plugin.json")["version"], env!("CARGO_PKG_VERSION"));
}
