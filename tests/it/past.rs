//! Many past sessions: tests the cost of a step, the deletions, and the place of a session.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use frosty::store::files::paths;
use serde_json::{Value, json};

use crate::support::{Answer, Frosty, Server, feed, free_port, stop, stop_saying};

/// The system calls of a hook by name, and how many there were of each.
fn calls_of(frosty: &Frosty, payload: &str) -> BTreeMap<String, usize> {
    let trace = frosty.home.path().join("trace");
    let args = ["-f", "-o", trace.to_str().unwrap(), env!("CARGO_BIN_EXE_frosty"), "hook"];
    feed(frosty.command_of(Path::new("strace"), &args), payload.as_bytes());
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(&trace).unwrap().lines() {
        let name = line.split_whitespace().nth(1).and_then(|call| call.split_once('(')).map_or("", |(name, _)| name);
        if !name.is_empty() {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    calls
}

fn event(session: &str, name: &str) -> String {
    json!({"session_id": session, "hook_event_name": name, "source": "startup"}).to_string()
}

/// Writes a file of the fleet's folder.
fn write(frosty: &Frosty, file: &str, content: &Value) -> PathBuf {
    let path = frosty.state().join("default").join(file);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap()).unwrap();
    fs::write(&path, content.to_string()).unwrap();
    path
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A hook in this scope.
fn hook_in(frosty: &Frosty, scope: &str, payload: &str) -> Answer {
    let mut command = frosty.command(&["hook"]);
    command.env("FROSTY_SCOPE", scope);
    feed(command, payload.as_bytes())
}

/// The reads and writes of a step do not depend on the past: 50,000 sessions, all of one scope or each of its own.
#[test]
fn a_step_touches_as_many_files_after_fifty_thousand_sessions() {
    const PAST: usize = 50_000;
    let now = frosty::clock::host_ms();
    for all_in_one in [true, false] {
        let frosty = Frosty::embedded().var("FROSTY_SCOPE", "seat");
        frosty.hook(&event("first", "SessionStart"));
        let payloads = [event("new", "SessionStart"), stop("new"), stop("first")];
        let before = payloads.clone().map(|payload| calls_of(&frosty, &payload.replace("new", "early")));
        for i in 0..PAST {
            let scope = if all_in_one { "seat".to_owned() } else { format!("past-{i}") };
            let session = json!({"v": 1, "session": {"fence": now, "scope": scope, "seen": now}});
            write(&frosty, &paths::session(&format!("past-{i}")), &session);
            if !all_in_one {
                write(&frosty, &paths::scope(&scope), &json!({"v": 1, "scope": {"stop": {"admitted_at": now}}}));
            }
        }
        let after = payloads.map(|payload| calls_of(&frosty, &payload));
        for (i, (before, after)) in before.iter().zip(&after).enumerate() {
            let opened = |calls: &BTreeMap<String, usize>| calls.get("openat").copied().unwrap_or(0);
            assert!(opened(after) <= opened(before) + 4, "{i}: {before:?} {after:?}");
            // The start of a session looks at the files of two folders of 256.
            let most = if i == 0 { 2 * PAST / 256 * 2 } else { 12 };
            let all = |calls: &BTreeMap<String, usize>| calls.values().sum::<usize>();
            assert!(all(after) <= all(before) + most, "{i}: {before:?} {after:?}");
        }
        assert_eq!(frosty.journal().len(), 7);
    }
}

/// The session's file is the one place of a session, whatever scope it is in.
#[test]
fn a_session_that_moves_and_comes_back_keeps_its_rest_and_its_notes() {
    let frosty = Frosty::embedded().config(r#"{"stop": {"min_interval": "1h", "burst": null}}"#);
    assert_eq!(hook_in(&frosty, "a", &stop_saying("s", "frosty: done")).code, Some(0));
    assert_eq!(hook_in(&frosty, "b", &stop("s")).code, Some(0), "it is done in whatever scope");
    assert_eq!(read(&frosty.session_file("s"))["session"]["scope"], "b");
    let woken = frosty.run(&["wake", "s", "--note", "hear me"], b"");
    assert_eq!(woken.code, Some(0), "{woken:?}");
    let answer = hook_in(&frosty, "a", &stop_saying("s", "frosty: done"));
    assert!(answer.code == Some(2) && answer.stderr.contains("hear me"), "{answer:?}");
    let session = read(&frosty.session_file("s"));
    assert!(session["session"]["scope"] == "a" && session["session"]["note"].is_null(), "{session}");
    // In the other scope nothing of it is left.
    assert_eq!(hook_in(&frosty, "b", &stop_saying("s", "frosty: done")).code, Some(0));
    let reasons: Vec<String> = frosty.journal().iter().map(|e| e["reason"].as_str().unwrap().to_owned()).collect();
    assert_eq!(reasons, ["done", "done", "event", "admitted", "done"]);
}

/// A session with an unreadable file is a new one: the lost state grants it nothing.
#[test]
fn a_damaged_session_file_is_set_aside() {
    let frosty = Frosty::embedded().config(r#"{"stop": {"min_interval": "1h", "burst": null}}"#);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    assert_eq!(frosty.run(&["wake", "s", "--note", "hear me"], b"").code, Some(0));
    fs::write(frosty.session_file("s"), "{\"v\":1,").unwrap();
    frosty.hook(&stop("s")).stands_down_saying(&["s.json", "set aside", ".bad-", "less "]);
    let again = frosty.hook(&stop("s"));
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""), "{again:?}");
    let names = fs::read_dir(frosty.session_file("s").parent().unwrap()).unwrap();
    let aside = names.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("s.json.bad-"));
    assert_eq!(aside.count(), 1);
    let doctor = frosty.run(&["doctor"], b"").stdout;
    assert!(doctor.contains("s.json.bad-"), "{doctor}");
}

/// Its last message is unknown: it may be done.
#[test]
fn a_session_whose_past_is_unknown_is_not_admitted_at_once() {
    let frosty = Frosty::embedded().config(r#"{"stop": {"min_interval": "0s", "burst": null}}"#);
    assert_eq!(frosty.hook(&crate::support::stop_saying("s", "frosty: done")).code, Some(0));
    fs::write(frosty.session_file("s"), "x").unwrap();
    let answer = frosty.hook(&stop("s"));
    assert!(answer.code == Some(0) && answer.stdout.contains("the agent rests"), "{answer:?}");
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
}

/// Which scope an unreadable transaction admitted is not known: the whole fleet waits as long as any limit reaches
/// back.
#[test]
fn a_transaction_that_cannot_be_read_holds_the_fleet() {
    let frosty = Frosty::embedded();
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    let redo = frosty.state().join("default/redo.json");
    fs::write(&redo, "{\"v\":1,\"files\":[").unwrap();
    let first = frosty.hook(&event("t", "UserPromptSubmit"));
    assert!(first.stderr.contains("redo.json.bad-"), "{first:?}");
    assert!(!redo.exists());
    let answer = frosty.hook(&stop("u"));
    assert!(answer.code == Some(0) && answer.stdout.contains("held by"), "{answer:?}");
    let hold = read(&frosty.state().join("default/fleet.json"))["fleet"]["hold"].clone();
    assert_eq!(hold["until"].as_i64().unwrap() - hold["since"].as_i64().unwrap(), 900_000);
}

/// A transaction names files of its fleet, and nothing else is written by it.
#[test]
fn a_transaction_writes_into_its_own_fleet_alone() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    let content = json!({"v": 1, "session": {"scope": "s", "seen": 1}});
    let files = ["../../outside.json", "lock", "sessions/../journal.jsonl", "/tmp/x.json", "sessions/00/in.json"];
    let files = files.map(|file| json!({"file": file, "content": content}));
    write(&frosty, "redo.json", &json!({"v": 1, "files": files, "entries": []}));
    assert_eq!(frosty.hook(&stop("t")).code, Some(2));
    assert!(frosty.state().join("default/sessions/00/in.json").exists());
    assert!(!frosty.state().join("outside.json").exists() && !frosty.home.path().join(".local/outside.json").exists());
    assert_eq!(frosty.journal().len(), 2);
}

/// The start of a session deletes expired files in two directories: its session's, and its scope's.
#[test]
fn what_is_over_is_deleted_where_a_session_starts() {
    let frosty = Frosty::embedded().var("FROSTY_SCOPE", "seat");
    let day = 86_400_000;
    let now = frosty::clock::host_ms();
    let long_ago = now - 50 * day;
    let beside = |of: fn(&str) -> String, name: &str| {
        let folder = Path::new(&of(name)).parent().unwrap().to_str().unwrap().to_owned();
        move |name: &str| format!("{folder}/{name}.json")
    };
    let (session, scope) = (beside(paths::session, "s"), beside(paths::scope, "seat"));
    let far =
        (0..).map(|i| format!("far-{i}")).find(|id| paths::session_folder(id) != paths::session_folder("s")).unwrap();
    let said = |more: &Value| {
        let mut session = json!({"scope": "seat", "seen": long_ago});
        session.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"v": 1, "session": session})
    };
    let hold =
        |until: Value| json!({"v": 1, "scope": {"hold": {"reason": "r", "by": "ann", "since": 1, "until": until}}});
    let rest = |until: i64| json!({"rest": {"kind": "rest", "since": long_ago, "until": until}});
    let files = [
        (session("over"), said(&json!({})), false),
        (session("rests"), said(&rest(now + day)), true),
        (session("rested"), said(&rest(long_ago + day)), false),
        (session("seen"), said(&json!({"seen": now - 10 * day})), true),
        (paths::session(&far), said(&json!({})), true),
        (scope("over"), json!({"v": 1, "scope": {"stop": {"admitted_at": long_ago}}}), false),
        (scope("held"), hold(Value::Null), true),
        (scope("held-until"), hold(json!(now - 10 * day)), true),
        (scope("was-held"), hold(json!(long_ago)), false),
        (scope("unread"), json!("noise"), true),
    ];
    let then = SystemTime::now() - Duration::from_secs(50 * 86_400);
    let paths: Vec<PathBuf> = files.iter().map(|(file, content, _)| write(&frosty, file, content)).collect();
    for path in &paths {
        fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    }
    let young = write(&frosty, &session("young"), &said(&json!({})));
    frosty.hook(&stop("s"));
    assert!(paths.iter().all(|path| path.exists()), "a stop deletes nothing");
    frosty.hook(&event("s", "SessionStart"));
    for (path, (file, _, stays)) in paths.iter().zip(&files) {
        assert_eq!(path.exists(), *stays, "{file}");
    }
    assert!(young.exists() && frosty.session_file("s").exists() && frosty.scope_file("seat").exists());
}

/// The layout before had one file for a scope and its sessions. Its restrictions of the scope apply.
#[test]
fn a_hold_in_the_old_layout_holds() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("other"));
    let hold = json!({"reason": "r", "by": "ann", "since": 1});
    let old = json!({"v": 1, "scope": {"hold": hold}, "sessions": {"s": {"scope": "s", "seen": 1}}, "pending": []});
    let path = write(&frosty, "scopes/s.json", &old);
    let status = frosty.run(&["status", "--json", "--all"], b"");
    assert_eq!(status.code, Some(0), "{status:?}");
    let checked = frosty.run(&["check"], stop("s").as_bytes());
    assert!(checked.stdout.contains("reason: hold"), "{checked:?}");
    let answer = frosty.hook(&stop("s"));
    assert!(answer.stdout.contains("held by"), "{answer:?}");
    assert!(!path.exists(), "it was taken over");
    assert_eq!(read(&frosty.scope_file("s"))["scope"]["hold"]["by"], "ann");
    assert_eq!(frosty.run(&["release", "s"], b"").code, Some(0));
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
}

/// A scope that was decided here is sent to the server, though the record that named it was lost.
#[test]
fn a_scope_that_no_record_names_is_told_to_the_server() {
    let port = free_port();
    let config = r#"{"stop": {"min_interval": "1h", "burst": null}, "budget": "250ms"}"#;
    let frosty = Frosty::new().var("FROSTY_STORE", &format!("redis://127.0.0.1:{port}")).config(config);
    assert_eq!(frosty.hook(&stop("s")).code, Some(0), "a change of hands closes the guard");
    let mut file = read(&frosty.scope_file("s"));
    file["scope"]["hold"] = json!({"reason": "r", "by": "ann", "since": frosty::clock::host_ms()});
    fs::write(frosty.scope_file("s"), file.to_string()).unwrap();
    fs::remove_file(frosty.state().join("default/server.json")).unwrap();
    let _server = Server::start_on(port);
    // Another scope writes the record anew, and sends the journal.
    crate::support::eventually("the server decides", || {
        frosty.hook(&stop("t"));
        read(&frosty.state().join("default/server.json"))["unshipped"].is_null()
    });
    let answer = frosty.hook(&stop("s"));
    assert!(answer.stdout.contains("held by"), "{answer:?} {}", read(&frosty.state().join("default/server.json")));
}
