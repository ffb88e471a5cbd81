//! Runs `frosty doctor` on each broken set-up that it detects. The line that it prints is shown by
//! `cargo test --test it doctor:: -- --nocapture`. Every call is compared with the files before and after it.

mod client_engines;
mod fake;
mod hooks;
mod machine;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::support::{Answer, Frosty};
use frosty::client_settings::owner::Engine;
use frosty::settings::registration::{EVENTS, Registration};
use serde_json::{Value, json};

/// A home without any fault, with plain files as the store.
fn well() -> Frosty {
    let frosty = Frosty::new();
    let bin = frosty.home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_frosty"), bin.join("frosty")).unwrap();
    program(&frosty, "claude", "echo '2.1.332 (Claude Code)'");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    register(&frosty, "project", &registration(Engine::Continuous));
    register(&frosty, "user", &json!({"autoContinueAtUsageLimit": true}));
    frosty.var("PATH", &path).var("FROSTY_STORE", "embedded")
}

/// A script on the PATH.
fn program(frosty: &Frosty, name: &str, does: &str) {
    let path = frosty.home.path().join("bin").join(name);
    fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes the settings of `frosty install`.
fn registration(engine: Engine) -> Value {
    let frosty =
        Registration { command: env!("CARGO_BIN_EXE_frosty-hook").to_owned(), engine, manual: false, resumes: true };
    let of = |event: &str| json!([{"hooks": frosty.entries(event)}]);
    let hooks: serde_json::Map<String, Value> = EVENTS.iter().map(|event| ((*event).to_owned(), of(event))).collect();
    json!({ "hooks": hooks })
}

/// Writes a settings file.
fn register(frosty: &Frosty, place: &str, settings: &Value) {
    let path = match place {
        "user" => frosty.home.path().join(".claude/settings.json"),
        "local" => frosty.project().join(".claude/settings.local.json"),
        _ => frosty.project().join(".claude/settings.json"),
    };
    fs::write(path, settings.to_string()).unwrap();
}

/// The output.
struct Report {
    lines: Vec<String>,
    answer: Answer,
}

/// Returns every file and directory of a home.
fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let about = entry.path().symlink_metadata().unwrap();
        let is = format!("{:o} {} {}.{}", about.mode(), about.size(), about.mtime(), about.mtime_nsec());
        all.insert(entry.path().display().to_string(), is);
        if about.is_dir() {
            all.extend(snapshot(&entry.path()));
        }
    }
    all
}

fn doctor(frosty: &Frosty) -> Report {
    doctor_by(frosty, frosty.command(&["doctor"]))
}

/// The beginning of every cure.
const COMMANDS: [&str; 18] = [
    "${EDITOR:-vi}",
    "chmod",
    "claude",
    "df",
    "dragonfly",
    "export",
    "frosty",
    "less",
    "ls",
    "mv",
    "namei",
    "redis-cli",
    "rm",
    "ss",
    "sudo",
    "tmux",
    "type",
    "unset",
];

/// Runs the doctor: it changes nothing, its exit code fits its lines, and each failure has its cure.
fn doctor_by(frosty: &Frosty, mut command: Command) -> Report {
    let before = snapshot(frosty.home.path());
    let started = std::time::Instant::now();
    let answer = Answer::of(command.output().unwrap(), started.elapsed());
    assert_eq!(snapshot(frosty.home.path()), before, "it changed something");
    let lines: Vec<String> = answer.stdout.lines().map(str::to_owned).collect();
    let fails = lines.iter().filter(|line| line.starts_with("FAIL  ")).count();
    assert_eq!(answer.code, Some(i32::from(fails > 0)), "{answer:#?}");
    assert_eq!(answer.stderr.is_empty(), fails == 0, "{answer:#?}");
    for line in &lines {
        assert!(["ok    ", "note  ", "warn  ", "FAIL  "].iter().any(|mark| line.starts_with(mark)), "{line}");
        let needs_cure = line.starts_with("FAIL") || line.starts_with("warn");
        assert!(!needs_cure || line.contains("  -> "), "no cure in {line}");
        assert!(!line.contains('\x1b') && !line.contains("hunter2"), "{line}");
        if let Some((_, cure)) = line.rsplit_once("  -> ") {
            let word = cure.split(' ').next().unwrap();
            assert!(COMMANDS.contains(&word) || word.ends_with("/frosty"), "{word:?} is no command in {line}");
            let bare = cure.split('\'').step_by(2).collect::<String>().replace("&&", "");
            assert!(!bare.contains(['&', ';', '|', '*', '(']), "a shell would make more of it: {line}");
            assert!(!cure.contains("  #"), "an interactive zsh takes a comment for words: {line}");
        }
    }
    Report { lines, answer }
}

impl Report {
    /// Prints the one line with this mark and name that has all of these words.
    #[track_caller]
    fn shows(&self, mark: &str, name: &str, words: &[&str]) -> &Self {
        let head = format!("{mark:<4}  {name:<14}");
        let has = |line: &&String| line.starts_with(&head) && words.iter().all(|word| line.contains(word));
        let found: Vec<&String> = self.lines.iter().filter(has).collect();
        assert_eq!(found.len(), 1, "{head} {words:?} in {:#?}", self.lines);
        println!("{}", found[0]);
        self
    }

    /// No line but these marks.
    #[track_caller]
    fn only(&self, marks: &[&str]) -> &Self {
        let other = |line: &&String| !marks.iter().any(|mark| line.starts_with(&format!("{mark:<4}  ")));
        assert_eq!(self.lines.iter().find(other), None, "{:#?}", self.lines);
        self
    }
}

#[test]
fn a_set_up_that_is_well() {
    let frosty = well();
    let report = doctor(&frosty);
    report.only(&["ok"]).shows("ok", "hooks", &["continuous, in the project settings"]);
    for name in ["binary", "hooks off", "timeouts", "client", "config", "armed", "scope", "state", "store", "engines"] {
        report.shows("ok", name, &[]);
    }
    let json = frosty.run(&["doctor", "--json"], b"");
    let value: Value = serde_json::from_str(&json.stdout).unwrap();
    let checks = value["checks"].as_array().unwrap();
    assert_eq!(checks.len(), report.lines.len());
    for (check, line) in checks.iter().zip(&report.lines) {
        assert!(line.contains(check["found"].as_str().unwrap()), "{check} {line}");
        assert_eq!((check["state"].as_str(), check["cure"].is_null()), (Some("ok"), true));
        assert!(line[6..].starts_with(check["name"].as_str().unwrap()));
    }
}
