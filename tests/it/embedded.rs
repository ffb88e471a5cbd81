//! Tests the embedded store alone: killed at every step, with damaged files, with a held lock.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::support::{Answer, Frosty, eventually, feed, stop};

/// The system calls of a Stop event, in order: each as its name and its count until then.
fn calls_of(frosty: &Frosty, payload: &str) -> Vec<(String, usize)> {
    let trace = frosty.home.path().join("trace");
    let path = trace.to_str().unwrap().to_owned();
    let command = frosty.command_of(Path::new("strace"), &["-o", &path, env!("CARGO_BIN_EXE_frosty"), "hook"]);
    feed(command, payload.as_bytes());
    let mut seen = std::collections::HashMap::new();
    let name =
        |l: &str| l.split('(').next().filter(|n| n.chars().all(|c| c.is_alphanumeric() || c == '_')).map(str::to_owned);
    let names = fs::read_to_string(trace).unwrap().lines().filter_map(name).collect::<Vec<_>>();
    // The first call is strace's own execve, which cannot be killed in.
    let numbered = names.into_iter().map(|name| {
        let n = seen.entry(name.clone()).and_modify(|n| *n += 1).or_insert(1);
        (name, *n)
    });
    numbered.skip(1).collect()
}

/// Runs one Stop event under strace, which kills it at the start of this call. Returns whether it was killed.
fn killed_at(frosty: &Frosty, call: &(String, usize), payload: &str) -> (bool, Answer) {
    let (name, n) = call;
    let inject = format!("inject={name}:signal=SIGKILL:when={n}");
    let mut command = frosty
        .command_of(Path::new("strace"), &["-o", "/dev/null", "-e", &inject, env!("CARGO_BIN_EXE_frosty"), "hook"]);
    command.stdout(Stdio::piped());
    let answer = feed(command, payload.as_bytes());
    (answer.signal == Some(9) || answer.code == Some(137), answer)
}

fn ids(frosty: &Frosty) -> Vec<String> {
    frosty.journal().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
}

/// Runs one Stop event that is killed after it journaled its entry, while the entry is still pending.
fn leave_pending(frosty: &Frosty, payload: &str) {
    let (was_killed, _) = killed_at(frosty, &("unlink".to_owned(), 1), payload);
    assert!(was_killed && frosty.state().join("default/redo.json").exists());
}

fn read(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// kill -9 between any two system calls of a Stop event: the next runs work, nothing is admitted twice, every committed
/// entry is journaled once, and either all or none of the files that the event changes are changed.
#[test]
fn killed_between_any_two_system_calls() {
    let quota = r#"{"fleet_quotas": [{"limit": 4, "per": "1h"}], "stop": {"min_interval": "1h", "burst": null}}"#;
    let (mut killed, mut burnt, mut completed) = (0usize, 0, 0);
    let rehearsal = Frosty::embedded().config(quota);
    rehearsal.hook(&stop("other"));
    let calls = calls_of(&rehearsal, &stop("s"));
    for n in &calls {
        let frosty = Frosty::embedded().config(quota);
        // A first Stop event of another session in the same fleet, so that directories and files exist.
        assert_eq!(frosty.hook(&stop("other")).code, Some(2));
        let (was_killed, answer) = killed_at(&frosty, n, &stop("s"));
        let n = format!("{n:?}");
        let delivered = u32::from(answer.code == Some(2));
        if was_killed {
            killed += 1;
        }
        let before = ids(&frosty).len();
        // The other session appends in between, at the place of the pending entry.
        assert_eq!(frosty.hook(&stop("other")).code, Some(0), "after a kill at call {n}");
        let counted = read(&frosty.state().join("default/fleet.json"))["fleet"]["quota"]["admitted"].clone();
        let counted = counted.as_array().unwrap().len() == 2;
        let changed = [frosty.scope_file("s"), frosty.session_file("s")].map(|file| file.exists());
        assert_eq!(changed, [counted; 2], "half of it after a kill at call {n}");
        let codes: Vec<_> = (0..3).map(|_| frosty.hook(&stop("s")).code).collect();
        let later = codes.iter().filter(|c| **c == Some(2)).count() as u32;
        assert!(delivered + later <= 1, "two admissions after a kill at call {n}: {codes:?}");
        if delivered + later == 0 {
            burnt += 1;
        }
        let journal = frosty.journal();
        let distinct: BTreeSet<String> = ids(&frosty).into_iter().collect();
        assert_eq!(distinct.len(), journal.len(), "an entry stands twice after a kill at call {n}");
        let admitted = journal.iter().filter(|e| e["session"] == "s" && e["verdict"] == "admit").count();
        assert_eq!(admitted, 1, "committed once, journaled once: call {n}");
        // One entry of the other's first Stop event, one of its second, three of this one's, and the killed one if it
        // was committed.
        let committed = u32::from(later == 0);
        assert_eq!(journal.len() as u32, 5 + committed, "call {n}");
        if committed == 1 && before == 1 {
            completed += 1;
        }
        // Other scopes are not harmed.
        (0..4).for_each(|i| drop(frosty.hook(&stop(&format!("other-{i}")))));
        let is_others =
            |e: &serde_json::Value| e["session"].as_str().unwrap().starts_with("other-") && e["verdict"] == "admit";
        let places = frosty.journal().iter().filter(|e| is_others(e)).count();
        assert_eq!(places, 2, "places left after a kill at {n}");
    }
    println!("{killed} kills, {burnt} admissions burnt, {completed} entries completed by a later run");
    assert!(killed + 2 >= calls.len(), "only {killed} kills in {} calls", calls.len());
    assert!(burnt >= 2 && completed >= 1, "{burnt} burnt, {completed} completed");
}

fn scope_file(frosty: &Frosty) -> std::path::PathBuf {
    frosty.scope_file("s")
}

/// A damaged state is set aside and read as a cooldown of the length of the longest limit.
#[test]
fn a_damaged_state_file_is_a_cooldown_and_never_a_clean_slate() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 8] = [
        ("cut short", |p| {
            let text = fs::read(p).unwrap();
            fs::write(p, &text[..text.len() / 2]).unwrap();
        }),
        ("emptied", |p| fs::write(p, "").unwrap()),
        ("noise", |p| fs::write(p, (0..3000u32).map(|i| ((i * 7919) >> 3) as u8).collect::<Vec<_>>()).unwrap()),
        ("not an object", |p| fs::write(p, "[]").unwrap()),
        ("an empty object", |p| fs::write(p, "{}").unwrap()),
        ("an older version", |p| {
            let text = fs::read_to_string(p).unwrap();
            fs::write(p, text.replacen("\"v\":1", "\"v\":0", 1)).unwrap();
        }),
        ("a folder", |p| {
            fs::remove_file(p).unwrap();
            fs::create_dir(p).unwrap();
        }),
        ("a dangling loop", |p| {
            fs::remove_file(p).unwrap();
            std::os::unix::fs::symlink("s.json", p).unwrap();
        }),
    ];
    for (name, damage) in cases {
        let frosty = Frosty::embedded();
        assert_eq!(frosty.hook(&stop("s")).code, Some(2));
        damage(&scope_file(&frosty));
        let answer = frosty.hook(&stop("s"));
        answer.stands_down_saying(&["s.json", "set aside", ".bad-", "less "]);
        assert!(answer.stdout.contains("a cooldown is open"), "{name}: {answer:?}");
        let state: serde_json::Value = serde_json::from_str(&fs::read_to_string(scope_file(&frosty)).unwrap()).unwrap();
        let cooldown = &state["scope"]["stop"]["cooldown"];
        let length = cooldown["end"].as_i64().unwrap() - cooldown["start"].as_i64().unwrap();
        assert_eq!(length, 900_000, "{name}");
        let aside = fs::read_dir(scope_file(&frosty).parent().unwrap())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains(".json.bad-"))
            .count();
        assert_eq!(aside, 1, "{name}: kept for a person to look at");
        let again = frosty.hook(&stop("s"));
        assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""), "{name}");
    }
}

#[test]
fn the_unknown_past_is_as_long_as_the_longest_limit() {
    for (config, length) in [
        (r#"{"stop": {"min_interval": "2h"}}"#, 7_200_000),
        (r#"{"stop": {"quotas": [{"limit": 1, "per": "1d"}]}}"#, 86_400_000),
        (r#"{"fleet_quotas": [{"limit": 9, "per": "3h"}]}"#, 10_800_000),
    ] {
        let frosty = Frosty::embedded().config(config);
        frosty.hook(&stop("s"));
        fs::write(scope_file(&frosty), "").unwrap();
        frosty.hook(&stop("s"));
        let state: serde_json::Value = serde_json::from_str(&fs::read_to_string(scope_file(&frosty)).unwrap()).unwrap();
        let cooldown = &state["scope"]["stop"]["cooldown"];
        assert_eq!(cooldown["end"].as_i64().unwrap() - cooldown["start"].as_i64().unwrap(), length);
    }
}

/// Killed while a damaged file is being replaced: the next run still finds no clean slate.
#[test]
fn killed_while_setting_a_file_aside() {
    let damaged = || {
        let frosty = Frosty::embedded();
        assert_eq!(frosty.hook(&stop("s")).code, Some(2));
        fs::write(scope_file(&frosty), "noise").unwrap();
        frosty
    };
    let calls = calls_of(&damaged(), &stop("s"));
    let mut killed = 0;
    for call in &calls {
        let frosty = damaged();
        killed += usize::from(killed_at(&frosty, call, &stop("s")).0);
        let next = frosty.hook(&stop("s"));
        assert_eq!(next.code, Some(0), "a clean slate after a kill at {call:?}");
    }
    assert!(killed + 2 >= calls.len(), "only {killed} kills in {} calls", calls.len());
}

#[test]
fn a_damaged_fleet_file_holds_the_fleet() {
    let frosty = Frosty::embedded().config(r#"{"fleet_quotas": [{"limit": 5, "per": "1h"}]}"#);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    let file = frosty.state().join("default/fleet.json");
    fs::write(&file, "noise").unwrap();
    for session in ["s", "another"] {
        let answer = frosty.hook(&stop(session));
        assert!(answer.stdout.contains("held by"), "{answer:?}");
    }
    // Compaction is not touched.
    let compact = crate::support::fixture("PreCompact-auto.json");
    assert_eq!(frosty.hook(&compact).code, Some(0));
}

#[test]
fn a_fleet_file_stands_only_where_there_is_something_to_keep() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    assert!(!frosty.state().join("default/fleet.json").exists());
}

#[test]
fn folders_and_files_are_the_users_own() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    let mode = |p: &str| fs::metadata(frosty.state().join(p)).unwrap().permissions().mode() & 0o777;
    for folder in ["", "default", "default/scopes", "default/sessions"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    for file in ["default/lock", "default/journal.jsonl"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    for file in [frosty.scope_file("s"), frosty.session_file("s")] {
        assert_eq!(mode(file.parent().unwrap().to_str().unwrap()), 0o700, "{file:?}");
        assert_eq!(mode(file.to_str().unwrap()), 0o600, "{file:?}");
    }
}

#[test]
fn a_held_lock_ends_in_exit_0_within_the_budget() {
    let frosty = Frosty::bare().var("FROSTY_STORE", "embedded");
    frosty.hook(&stop("s"));
    let lock = fs::OpenOptions::new().write(true).open(frosty.state().join("default/lock")).unwrap();
    lock.lock().unwrap();
    let answer = frosty.hook(&stop("other"));
    answer.stands_down_saying(&["store_down", "default/lock", "250 ms", "fuser"]);
    assert!((250..2_500).contains(&answer.took.as_millis()), "{answer:?}");
    drop(lock);
    let attempts = std::cell::Cell::new(0);
    eventually("the store decides again", || {
        let nth = attempts.replace(attempts.get() + 1);
        frosty.hook(&stop(&format!("other-{nth}"))).code == Some(2)
    });
}

/// A pipe in the place of a file has no other end to wait for.
#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    let pipe = |path: &Path| {
        let _ = fs::remove_file(path);
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    pipe(&frosty.state().join("default/journal.jsonl"));
    assert_eq!(frosty.hook(&stop("t")).code, Some(2), "the journal stops no verdict");
    assert_eq!(frosty.hook(&stop("t")).code, Some(0));
    pipe(&frosty.state().join("default/lock"));
    frosty.hook(&stop("u")).stands_down_saying(&["store_down", "default/lock"]);
}

#[test]
fn a_state_folder_that_cannot_be_made_ends_in_exit_0() {
    let frosty = Frosty::embedded().var("XDG_STATE_HOME", "/proc/nowhere");
    frosty.hook(&stop("s")).stands_down_saying(&["store_down", "/proc/nowhere/frosty/default", "namei"]);
}

#[test]
fn a_folder_that_somebody_removed_comes_back() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    fs::remove_dir_all(frosty.state().join("default/scopes")).unwrap();
    assert_eq!(frosty.hook(&stop("t")).code, Some(2));
}

/// A line that a crash left unfinished is cut off, and the pending entry is written whole.
#[test]
fn a_torn_line_is_mended() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    leave_pending(&frosty, &stop("s"));
    let path = frosty.state().join("default/journal.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, &text[..text.len() - 40]).unwrap();
    frosty.hook(&stop("other"));
    frosty.hook(&stop("s"));
    let journal = frosty.journal();
    assert_eq!(journal.len(), 4);
    let distinct: BTreeSet<String> = ids(&frosty).into_iter().collect();
    assert_eq!(distinct.len(), 4);
}

/// The journal is on a full disk: entries wait in the state and are written, in order, once there is room.
#[test]
fn entries_wait_for_a_journal_that_cannot_be_written() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    let path = frosty.state().join("default/journal.jsonl");
    let kept = frosty.state().join("default/kept");
    fs::rename(&path, &kept).unwrap();
    fs::create_dir(&path).unwrap();
    for _ in 0..3 {
        assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    }
    fs::remove_dir(&path).unwrap();
    fs::rename(&kept, &path).unwrap();
    frosty.hook(&stop("s"));
    let reasons: Vec<String> = frosty.journal().iter().map(|e| e["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["admitted", "min_interval", "burst", "cooldown", "cooldown"]);
}

#[test]
fn the_journal_is_rotated_by_size() {
    let limits = r#"{"stop": {"min_interval": "1h", "burst": {"limit": 3, "window": "1h"}}}"#;
    let frosty = Frosty::embedded().config(limits);
    leave_pending(&frosty, &stop("s"));
    let path = frosty.state().join("default/journal.jsonl");
    let line = format!("{{\"id\":\"{}\"}}\n", "x".repeat(1_000_000));
    fs::write(&path, line.repeat(34)).unwrap();
    frosty.hook(&stop("s"));
    frosty.hook(&stop("s"));
    // The entry of the first Stop event was overwritten by hand. It is pending, so it is written again, once.
    let reasons: Vec<String> = frosty.journal().iter().map(|e| e["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["admitted", "min_interval", "burst"]);
    assert_eq!(fs::metadata(frosty.state().join("default/journal.1.jsonl")).unwrap().len(), 34 * line.len() as u64);

    // Rotated away altogether while it was pending: it is not written a second time.
    leave_pending(&frosty, &stop("s"));
    let later = format!("{{\"ms\":{}}}\n", i64::MAX);
    fs::write(frosty.state().join("default/journal.1.jsonl"), &later).unwrap();
    fs::write(&path, &later).unwrap();
    frosty.hook(&stop("s"));
    assert_eq!(frosty.journal().len(), 2);
}
