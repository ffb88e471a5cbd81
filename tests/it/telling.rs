//! Tests `frosty log`, `frosty explain` and `frosty check`: requests and verdicts in words, from either store.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::place::Place;
use crate::support::{Answer, Engine, Frosty, Server, eventually, feed, stop, stop_saying};
use serde_json::{Value, json};

fn lines(answer: &Answer) -> Vec<&str> {
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    answer.stdout.lines().collect()
}

fn objects(answer: &Answer) -> Vec<Value> {
    lines(answer).iter().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn the_journal_on_lines_from_either_store() {
    for place in Place::both() {
        let frosty = place.frosty.config(r#"{"stop": {"min_interval": "1h"}}"#);
        let place = Place { frosty, server: place.server };
        let frosty = &place.frosty;
        assert_eq!(place.run(&["log"]).stderr, "frosty: the journal of fleet default has no such entry\n");
        frosty.hook(&stop("one"));
        frosty.hook(&stop("one"));
        place.event("two", "Notification", r#","notification_type":"permission_prompt""#);
        let failed = r#"{"session_id":"two","hook_event_name":"StopFailure","error":"billing_error"}"#;
        frosty.hook(failed);
        let log = place.run(&["log"]);
        let shown = lines(&log);
        let tails = [
            "one                Stop             admitted",
            "one                Stop             refused min_interval, back in ",
            "two                Notification     recorded",
            "two                StopFailure      recorded, back in 30m  billing_error: add credit or mend the payment \
method of the account",
        ];
        assert_eq!(shown.len(), 4, "{log:?}");
        for (line, tail) in shown.iter().zip(tails) {
            let (time, told) = line.split_at(line.find(tail).unwrap_or_else(|| panic!("no {tail:?} in {line:?}")));
            assert!(time.trim().matches(':').count() == 2, "{line}");
            assert!(told == tail || tail.ends_with("back in "), "{line}");
        }
        // Narrowed, and no longer than requested.
        assert_eq!(lines(&place.run(&["log", "--reason", "admitted"])), shown[..1]);
        assert_eq!(lines(&place.run(&["log", "-n", "1"])), shown[3..]);
        assert_eq!(lines(&place.run(&["log", "--scope", "one", "-n", "1"])), shown[1..2]);
        assert_eq!(lines(&place.run(&["log", "--since", "1h"])), shown);
        assert_eq!(place.run(&["log", "--since", "0s"]).stdout, "");
        // The fields are the journal's, numbers as numbers.
        let all = objects(&place.run(&["log", "--json"]));
        for (told, own) in all.iter().zip(place.journal()) {
            for field in ["timestamp", "scope", "session", "verdict", "reason", "store", "host", "ms"] {
                assert_eq!(told[field], own[field], "{field} in {told}");
            }
            assert!(told["attempts"].is_i64() && told["v"] == 1, "{told}");
        }
        assert_eq!((&all[0]["retry_after_ms"], all[3]["retry_after_ms"].as_i64()), (&Value::Null, Some(1_800_000)));
    }
}

#[test]
fn who_is_meant_and_what_cannot_be() {
    for place in Place::both() {
        let place = place.var("FROSTY_SCOPE", "seat 1").var("FROSTY_NAME", "willy");
        place.frosty.hook(&stop("one"));
        for whom in ["one", "seat 1", "seat%201", "willy"] {
            assert_eq!(lines(&place.run(&["log", "--scope", whom])).len(), 1, "{whom}");
        }
        // Ended sessions are known by the same names.
        place.event("one", "SessionEnd", "");
        assert_eq!(lines(&place.run(&["log", "--scope", "willy"])).len(), 2);
        let told = place.run(&["explain", "willy"]);
        assert!(lines(&told)[1] == "The session has ended." && lines(&told).len() == 2, "{told:?}");
        place.event("one", "SessionStart", "");
        let nobody = place.run(&["log", "--scope", "nobody"]);
        assert!(nobody.code == Some(64) && nobody.stderr.contains("\nhint: there are willy; "), "{nobody:?}");
        let reason = place.run(&["log", "--reason", "tired"]);
        assert!(reason.code == Some(64) && reason.stderr.contains("min_interval, burst, cooldown"), "{reason:?}");
        let since = place.run(&["log", "--since", "someday"]);
        assert!(since.code == Some(64) && since.stderr.contains("yesterday 09:00"), "{since:?}");
    }
}

#[test]
fn entries_too_large_to_be_read_at_once_are_read_one_by_one() {
    let server = Server::start();
    let frosty = Frosty::on(&server);
    let mut con = server.connection();
    let large = "x".repeat(8 * 1024 * 1024);
    for nth in 0..9 {
        let event = format!("E{nth}");
        let entry = [("fleet", "default"), ("event", &event), ("scope", "s"), ("session", "s"), ("detail", &large)];
        redis::cmd("XADD").arg("torch.continuous.ops").arg("*").arg(&entry).query::<()>(&mut con).unwrap();
    }
    let log = frosty.run(&["log"], b"");
    let events: Vec<&str> = lines(&log).iter().filter_map(|l| l.split_whitespace().nth(2)).collect();
    assert_eq!(events, ["E0", "E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8"]);
}

#[test]
fn the_beginning_of_an_id_means_that_session_and_not_its_seat() {
    let frosty = Frosty::embedded().config(r#"{"stop": {"min_interval": "1h"}}"#).var("FROSTY_SCOPE", "seat");
    frosty.hook(&stop("11111111-aaaa"));
    frosty.hook(&stop("22222222-bbbb"));
    for (id, told) in [("11111111", "was admitted"), ("22222222", "was refused")] {
        assert!(lines(&frosty.run(&["explain", id], b""))[0].contains(told), "{id}");
        assert_eq!(lines(&frosty.run(&["log", "--scope", id], b"")).len(), 1);
    }
    assert_eq!(lines(&frosty.run(&["log", "--scope", "seat"], b"")).len(), 2);
}

/// An entry's line as the embedded store writes it.
fn entry(ms: i64, id: u64, detail: &str) -> String {
    let entry = json!({"window": "w", "scope": "s", "fleet": "default", "session": "s", "event": "Stop",
        "verdict": "refuse", "reason": "cooldown", "detail": detail, "ms": ms, "id": format!("{id:016x}")});
    format!("{entry}\n")
}

#[test]
fn wide_names_keep_the_columns_in_a_pipe() {
    let frosty = Frosty::embedded();
    fs::create_dir_all(frosty.state().join("default")).unwrap();
    let wide = entry(2000, 2, "").replace("\"window\":\"w\"", "\"window\":\"日本語\"");
    fs::write(frosty.state().join("default/journal.jsonl"), entry(1000, 1, "") + &wide).unwrap();
    let log = frosty.run(&["log"], b"");
    let columns = |line: &&str| frosty::view::sessions::width::of(line.split("Stop").next().unwrap());
    let all: Vec<usize> = lines(&log).iter().map(columns).collect();
    assert!(log.stdout.contains("日本語") && all.len() == 2 && all[0] == all[1], "{log:?}");
}

#[test]
fn files_are_read_backwards_across_rotation_blocks_and_damage() {
    let frosty = Frosty::embedded();
    let dir = frosty.state().join("default");
    fs::create_dir_all(&dir).unwrap();
    let detail = "x".repeat(500);
    let part = |from: i64, to: i64| (from..to).map(|n| entry(n, n.unsigned_abs(), &detail)).collect::<String>();
    let mut damaged = part(1000, 1400);
    damaged.push_str(&"\0".repeat(200_000));
    damaged.push('\n');
    // One that a crash delayed, hours old.
    damaged.push_str(&entry(5, 5, "late"));
    damaged.push_str(&part(1400, 1800));
    damaged.push_str(r#"{"ms":1800,"scope":"#);
    fs::write(dir.join("journal.1.jsonl"), part(1, 5) + &part(6, 1000)).unwrap();
    fs::write(dir.join("journal.jsonl"), damaged).unwrap();
    let times = |args: &[&str]| -> Vec<i64> {
        objects(&frosty.run(args, b"")).iter().map(|e| e["ms"].as_i64().unwrap()).collect()
    };
    assert_eq!(times(&["log", "--json", "-n", "5000"]), (1..1800).collect::<Vec<_>>());
    assert_eq!(times(&["log", "--json", "-n", "900"]), (900..1800).collect::<Vec<_>>());
    assert_eq!(times(&["log", "--json"]), (1780..1800).collect::<Vec<_>>());
}

#[test]
fn a_long_stream_that_is_shared_is_read_in_pages() {
    let server = Server::start();
    let mut con = server.connection();
    let mut pipe = redis::pipe();
    for n in 1..=2500 {
        let fleet = if n % 5 == 0 { "other" } else { "default" };
        // Many in one millisecond, as under load.
        let id = format!("{}-{}", 1000 + n / 700, n);
        pipe.cmd("XADD").arg("torch.continuous.ops").arg(id).arg("fleet").arg(fleet).arg("n").arg(n).ignore();
    }
    pipe.cmd("XADD").arg("torch.continuous.ops").arg("*").arg("message").arg("not ours").ignore();
    pipe.exec(&mut con).unwrap();
    let frosty = Frosty::on(&server);
    let told = objects(&frosty.run(&["log", "--json", "-n", "5000"], b""));
    let numbers: Vec<i64> = told.iter().map(|e| e["n"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=2500).filter(|n| n % 5 != 0).collect::<Vec<_>>());
}

/// A running command, and the lines of its two outputs.
struct Going {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Going {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        fn hear(from: impl Read + Send + 'static) -> Receiver<String> {
            let (told, heard) = channel();
            std::thread::spawn(move || {
                for line in BufReader::new(from).lines().map_while(Result::ok) {
                    if told.send(line).is_err() {
                        break;
                    }
                }
            });
            heard
        }
        Self { child, out: hear(out), err: hear(err) }
    }

    #[track_caller]
    fn next(&self) -> Value {
        let line = self.out.recv_timeout(Duration::from_secs(20)).expect("another entry");
        serde_json::from_str(&line).unwrap()
    }

    /// The sessions of the next entries, in whatever order they came.
    #[track_caller]
    fn sessions(&self, count: usize) -> Vec<String> {
        let mut all: Vec<String> = (0..count).map(|_| self.next()["session"].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    }

    #[track_caller]
    fn says(&self, word: &str) {
        let line = self.err.recv_timeout(Duration::from_secs(20)).expect("a line on stderr");
        assert!(line.contains(word), "no {word:?} in {line:?}");
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn followed_across_a_failover_there_and_back_nothing_is_lost_or_told_twice() {
    let server = Server::start_own();
    let port = server.port;
    let frosty = Frosty::on(&server).config(crate::support::place::POLICY);
    frosty.hook(&stop("before"));
    let log = Going::start(frosty.command(&["log", "-f", "--json"]));
    assert_eq!(log.sessions(1), ["before"]);
    frosty.hook(&stop("at-the-server"));
    assert_eq!(log.sessions(1), ["at-the-server"]);
    drop(server);
    log.says("became unreachable");
    log.says("hint: ");
    for session in ["a", "b", "c"] {
        frosty.hook(&stop(session));
    }
    assert_eq!(log.sessions(3), ["a", "b", "c"]);
    // A decision made here is shown once, though it is in the files and will be in the stream.
    let server = Server::start_on(port);
    log.says("answers again");
    let shipped = || {
        frosty.hook(&stop("late"));
        let mut con = server.connection();
        let len: usize = redis::cmd("XLEN").arg("torch.continuous.ops").query(&mut con).unwrap();
        let entries: Vec<Value> = objects(&frosty.run(&["log", "--json", "-n", "1000"], b""));
        len > 0 && entries.iter().filter(|e| e["session"] == "c").count() == 1 && !unshipped(&frosty)
    };
    eventually("the server has it all", shipped);
    frosty.hook(&stop("last"));
    let mut seen = Vec::new();
    loop {
        let told = log.next();
        seen.push(told["session"].as_str().unwrap().to_owned());
        if told["session"] == "last" {
            break;
        }
    }
    assert!(seen.iter().all(|s| s == "late" || s == "last"), "told twice: {seen:?}");
    // Read anew, each is shown once: sent or not.
    let all = objects(&frosty.run(&["log", "--json", "-n", "1000"], b""));
    let count = |session: &str| all.iter().filter(|e| e["session"] == session).count();
    assert_eq!(["a", "b", "c", "last"].map(count), [1; 4], "{all:?}");
    assert_eq!(count("late"), seen.len() - 1);
}

fn unshipped(frosty: &Frosty) -> bool {
    fs::read_to_string(frosty.state().join("default/server.json")).unwrap().contains("unshipped")
}

#[test]
fn followed_from_a_server_that_is_away_only_what_was_asked_for_is_told() {
    let port = crate::support::free_port();
    let frosty =
        Frosty::new().config(crate::support::place::POLICY).var("FROSTY_STORE", &format!("redis://127.0.0.1:{port}"));
    // More than is read to show one, and all of it will be sent.
    let old = |n: u64| entry(1000, n, &"x".repeat(300)).replacen('{', "{\"degraded\":1,", 1);
    fs::create_dir_all(frosty.state().join("default")).unwrap();
    fs::write(frosty.state().join("default/journal.jsonl"), (0..400).map(old).collect::<String>()).unwrap();
    for session in ["a", "b", "c"] {
        frosty.hook(&stop(session));
    }
    let log = Going::start(frosty.command(&["log", "-f", "-n", "1", "--json"]));
    log.says("the server is unreachable");
    log.says("hint: ");
    assert_eq!(log.sessions(1), ["c"]);
    frosty.hook(&stop("d"));
    assert_eq!(log.sessions(1), ["d"]);
    let server = Server::start_on(port);
    log.says("answers again");
    eventually("all is shipped", || {
        frosty.hook(r#"{"session_id":"ship","hook_event_name":"SessionStart"}"#);
        !unshipped(&frosty)
    });
    frosty.hook(&stop("last"));
    let mut told = log.next();
    while told["session"] == "ship" {
        told = log.next();
    }
    assert_eq!(told["session"], "last");
    let len: usize = redis::cmd("XLEN").arg("torch.continuous.ops").query(&mut server.connection()).unwrap();
    assert!(len > 400, "{len} were shipped");
}

#[test]
fn the_documented_user_may_do_it_all() {
    let server = Server::start_own();
    let docs = include_str!("../../docs/stores.md");
    let line = docs.lines().find(|l| l.starts_with("ACL SETUSER frosty")).unwrap();
    let mut acl = redis::cmd("ACL");
    line.split_whitespace().skip(1).for_each(|word| {
        acl.arg(word);
    });
    acl.exec(&mut server.connection()).unwrap();
    let url = format!("redis://frosty:CHANGE-ME@127.0.0.1:{}", server.port);
    let frosty = Frosty::new().config(r#"{"stop": {"quotas": [{"limit": 5, "per": "1h"}]}}"#).var("FROSTY_STORE", &url);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    assert_eq!(lines(&frosty.run(&["log"], b"")).len(), 1);
    assert!(lines(&frosty.run(&["explain"], b""))[0].contains("(rule 9)"));
    assert_eq!(check(&frosty, &stop("s"))["reason"], "min_interval");
    let log = Going::start(frosty.command(&["log", "-f", "--json"]));
    assert_eq!(log.sessions(1), ["s"]);
    frosty.hook(&stop("t"));
    assert_eq!(log.sessions(1), ["t"]);
    assert!(log.err.try_recv().is_err());
}

#[test]
fn a_server_that_says_nothing_keeps_nothing_from_who_follows() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", mute.local_addr().unwrap());
    let frosty = Frosty::new().config(r#"{"budget": "50ms"}"#).var("FROSTY_STORE", &url);
    let log = Going::start(frosty.command(&["log", "-f", "-n", "0", "--json"]));
    log.says("the server is unreachable");
    log.says("hint: ");
    // Those that it would be tried in again, each of which took five seconds.
    let begun = std::time::Instant::now();
    for nth in 0..3 {
        frosty.hook(&stop(&format!("s{nth}")));
        assert_eq!(log.sessions(1), [format!("s{nth}")]);
        std::thread::sleep(Duration::from_millis(400));
    }
    assert!(begun.elapsed() < Duration::from_millis(4900), "{:?}", begun.elapsed());
}

#[test]
fn ctrl_c_ends_it_as_it_ends_tail() {
    for place in Place::both() {
        place.frosty.hook(&stop("one"));
        // A shell starts background processes with the signal ignored, and would start this one so.
        let mut command = place.frosty.command_of(Path::new("env"), &["--default-signal=INT"]);
        command.arg(env!("CARGO_BIN_EXE_frosty")).args(["log", "-f", "--json"]);
        let mut log = Going::start(command);
        assert_eq!(log.sessions(1), ["one"]);
        let pid = rustix::process::Pid::from_raw(i32::try_from(log.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        // The exit code 130 of a shell.
        assert_eq!(log.child.wait().unwrap().signal(), Some(2));
        assert_eq!(log.err.iter().next(), None);
    }
}

#[test]
fn what_is_not_shipped_yet_is_merged_in_and_what_never_will_be_too() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(crate::support::place::POLICY);
    frosty.hook(&stop("at-the-server"));
    frosty.hook("no payload");
    // The state of a server in an outage before the next request sends it.
    let journal = frosty.state().join("default/journal.jsonl");
    let mut line: Value = serde_json::from_str(&entry(crate::support::T0, 7, "")).unwrap();
    line["degraded"] = 1.into();
    line["session"] = "here".into();
    let at = fs::metadata(&journal).unwrap().len();
    fs::OpenOptions::new().append(true).open(&journal).unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    let told = |frosty: &Frosty| -> Vec<String> {
        let all = objects(&frosty.run(&["log", "--json"], b""));
        all.iter().map(|e| format!("{} {}", e["session"].as_str().unwrap(), e["reason"].as_str().unwrap())).collect()
    };
    let record = frosty.state().join("default/server.json");
    let mut known: Value = serde_json::from_str(&fs::read_to_string(&record).unwrap()).unwrap();
    assert_eq!(told(&frosty), ["at-the-server admitted", " bad_input"], "all of it counts as shipped");
    known["unshipped"] = json!({"at": at, "journal": ""});
    fs::write(&record, known.to_string()).unwrap();
    assert_eq!(told(&frosty), ["at-the-server admitted", " bad_input", "here cooldown"]);
    // Sent, but not noted yet.
    let mut con = server.connection();
    let mut add = redis::cmd("XADD");
    add.arg("torch.continuous.ops").arg("*");
    for (name, value) in line.as_object().unwrap() {
        add.arg(name).arg(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    add.exec(&mut con).unwrap();
    assert_eq!(told(&frosty), ["at-the-server admitted", " bad_input", "here cooldown"]);
}

#[test]
fn a_reader_that_goes_away_ends_it_and_a_terminal_has_colours() {
    let frosty = Frosty::embedded();
    for _ in 0..3 {
        frosty.hook(&stop("one"));
    }
    for (args, reader) in [("log", "head -n 1"), ("log -f", "head -n 1"), ("log -f -n 0", "true")] {
        let line = format!("({} {args}; echo ended $? >&2) | {reader}", env!("CARGO_BIN_EXE_frosty"));
        let ended = feed(frosty.command_of(Path::new("/bin/sh"), &["-c", &line]), b"");
        assert_eq!(ended.stderr, "ended 0\n", "{args}");
    }
    let frosty = frosty.var("TERM", "xterm");
    let on_terminal = |frosty: &Frosty| {
        let shown = frosty
            .command_of(Path::new("script"), &["-qec", concat!(env!("CARGO_BIN_EXE_frosty"), " log"), "/dev/null"]);
        feed(shown, b"").stdout
    };
    let coloured = on_terminal(&frosty);
    assert!(coloured.contains("\u{1b}[32madmitted\u{1b}[0m"), "{coloured:?}");
    assert!(!on_terminal(&frosty.var("NO_COLOR", "1")).contains('\u{1b}'));
}

#[test]
fn a_failed_turn_is_explained_with_its_error_and_remedy_by_either_engine() {
    for place in Place::both() {
        let failure = |session: &str, error: &str| {
            format!(r#"{{"session_id":"{session}","hook_event_name":"StopFailure","error":"{error}"}}"#)
        };
        for (error, remedy) in [
            ("billing_error", "(billing_error). To fix that: add credit or mend the payment method of the account."),
            ("overloaded", "(overloaded). That may pass by itself; there is nothing to fix here."),
        ] {
            let (plain, waits) = (format!("plain-{error}"), format!("waits-{error}"));
            // The first event of a session, and after an admission.
            for _ in 0..2 {
                place.frosty.hook(&failure(&plain, error));
                let told = place.run(&["explain", &plain]);
                assert!(told.stdout.contains("Its last turn failed at ") && told.stdout.contains(remedy), "{told:?}");
                place.run(&["release", &plain]);
                place.frosty.hook(&stop(&plain));
            }
            let told = place.run(&["explain", &plain]);
            assert!(!told.stdout.contains("Its last turn failed"), "{told:?}");
            let engine = Engine::start(&place.frosty, &failure(&waits, error));
            eventually("it is refused", || place.reasons(&waits).len() >= 2);
            let told = place.run(&["explain", &waits]);
            assert!(told.stdout.contains("Its last turn failed at ") && told.stdout.contains(remedy), "{told:?}");
            drop(engine);
        }
    }
}

/// A bare id is never shown if a name is known.
#[test]
fn sessions_are_shown_by_their_names() {
    let id = "3f2a9c1e-0000-4000-8000-000000000001";
    for place in Place::both() {
        place.event(id, "SessionStart", "");
        place.frosty.hook(&stop(id));
        place.frosty.hook(&stop(id));
        place.run(&["hold", "project", "--for", "1h"]);
        for command in [&["log"][..], &["explain"], &["status"], &["explain", "project"]] {
            let shown = place.run(command);
            assert!(shown.stdout.contains("project-3f2a") && !shown.stdout.contains(id), "{command:?} {shown:?}");
        }
        let status = place.run(&["status", "--json"]).stdout;
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["sessions"][0]["shown"], "project-3f2a");
        assert_eq!(status["sessions"][0]["project"], place.frosty.project().display().to_string());
        let kept = &lines(&place.run(&["log"]))[0].to_owned();
        assert!(kept.contains(" project-3f2a ") && kept.contains("SessionStart"), "{kept}");
    }
}

#[test]
fn the_last_verdict_in_words() {
    for place in Place::both() {
        let frosty = place.frosty.config(r#"{"stop": {"min_interval": "1h", "burst": null}}"#);
        let run = |args: &[&str]| frosty.run(args, b"");
        let nothing = run(&["explain"]);
        assert!(nothing.code == Some(1) && nothing.stderr.contains("hint: see the journal: frosty log"), "{nothing:?}");
        frosty.hook(&stop("one"));
        let told = run(&["explain"]);
        assert!(lines(&told)[0].starts_with("one was admitted at "), "{told:?}");
        frosty.hook(&stop("one"));
        let told = run(&["explain", "one"]);
        let all = lines(&told);
        assert!(all[0].contains("(rule 7, minimum interval): the last continuation was admitted "), "{told:?}");
        assert!(all[0].ends_with(" before, and stop.min_interval is 1h."), "{told:?}");
        assert!(all[1].starts_with("It would be admitted from ") && all[1].contains("(in "), "{told:?}");
        assert_eq!(
            all[2],
            "It has no waiting engine (it uses the plain one), so nothing resumes it: type in the session to continue."
        );
        let engine = Engine::start(&frosty, &stop_saying("two", "frosty: blocked Ann"));
        eventually("it rests", || run(&["explain", "two"]).code == Some(0));
        let told = run(&["explain", "two"]);
        let all = lines(&told);
        assert!(all[0].contains("(rule 4, rest): the agent wrote \"frosty: blocked Ann\"."), "{told:?}");
        let asks = format!("Its waiting engine (pid {} on this machine) sends a new request then.", engine.pid());
        assert_eq!(all[2..4], [asks.as_str(), "To wake it: frosty wake two"]);
        drop(engine);
        let told = run(&["explain", "two"]);
        assert!(lines(&told)[2].contains("ended, so nothing resumes it"), "{told:?}");
        // This session's, without being named.
        let mut own = frosty.command(&["explain"]);
        own.env("CLAUDE_CODE_SESSION_ID", "one");
        assert!(feed(own, b"").stdout.starts_with("one was refused"));
        frosty.hook(r#"{"session_id":"two","hook_event_name":"StopFailure","error":"billing_error"}"#);
        frosty.hook(&stop_saying("three", ""));
        assert!(lines(&run(&["explain"]))[0].starts_with("three was admitted"));
    }
}

fn check(frosty: &Frosty, payload: &str) -> Value {
    let answer = frosty.run(&["check", "--json"], payload.as_bytes());
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap()
}

/// Limits that no time ends during a test: an earlier answer is still true.
const LIMITS: [&str; 2] = [
    r#"{"stop": {"min_interval": "1h", "burst": {"limit": 3, "window": "1h"}}, "compact": {"burst": {"limit": 2, "window": "1h"}}}"#,
    r#"{"stop": {"min_interval": "0s", "burst": null, "quotas": [{"limit": 3, "per": "1h"}]}, "fleet_quotas": [{"limit": 9, "per": "1h"}]}"#,
];

#[test]
fn what_check_says_is_what_the_hook_then_does() {
    let mut reasons = BTreeMap::new();
    let mut chance = 7u64;
    let mut draw = |n: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % n
    };
    for (limits, place) in LIMITS.into_iter().flat_map(|limits| Place::both().map(|place| (limits, place))) {
        let place = Place { frosty: place.frosty.config(limits), server: place.server };
        for step in 0..40 {
            // A new scope now and then: the old one may be refused for good.
            let session = format!("s{}", step / 8);
            let event =
                |event: &str, more: &str| format!(r#"{{"session_id":"{session}","hook_event_name":"{event}"{more}}}"#);
            let payload = match draw(16) {
                0 => stop_saying(&session, "frosty: done"),
                1 => stop_saying(&session, "frosty: wait_for the build"),
                2 => event("UserPromptSubmit", r#","prompt":"go on""#),
                3 => event("StopFailure", r#","error":"overloaded""#),
                4 => event("StopFailure", r#","error":"billing_error""#),
                5 | 6 => event("PreCompact", r#","trigger":"auto""#),
                7 => event("SessionEnd", ""),
                _ => stop(&session),
            };
            let said = check(&place.frosty, &payload);
            let answer = place.frosty.hook(&payload);
            let entry = place.journal().pop().unwrap();
            for field in ["verdict", "reason", "attempts", "strikes", "scope", "session", "event", "store"] {
                let value = |of: &Value| of.as_str().map_or_else(|| of.to_string(), str::to_owned);
                assert_eq!(value(&said[field]), value(&entry[field]), "{field} of {said} and {entry}, step {step}");
            }
            assert_eq!(said["would_exit"], json!(answer.code), "{said} and {answer:?}");
            *reasons.entry(said["reason"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
    }
    let met: Vec<&str> = reasons.keys().map(String::as_str).collect();
    let expected = ["admitted", "api_error", "burst", "cooldown", "done", "event", "min_interval", "quota", "wait_for"];
    assert_eq!(met, expected, "{reasons:?}");
}

#[test]
fn check_writes_nothing_anywhere() {
    for place in Place::both() {
        let frosty = &place.frosty;
        frosty.hook(&stop("one"));
        let before = (keyspace(&place), folder(&frosty.state()));
        let payloads = [
            stop("one"),
            stop("new"),
            stop_saying("one", "frosty: done"),
            "no payload".to_owned(),
            crate::support::fixture("Stop-interactive.json"),
            crate::support::fixture("StopFailure-rate_limit.json"),
        ];
        for payload in payloads {
            check(frosty, &payload);
            frosty.run(&["check"], payload.as_bytes());
            frosty.run(&["explain"], b"");
            frosty.run(&["log"], b"");
        }
        assert!((keyspace(&place), folder(&frosty.state())) == before, "something was written");
    }
}

/// Returns every key and its value, in the form of the server's `DUMP`.
fn keyspace(place: &Place) -> BTreeMap<String, (Vec<u8>, i64)> {
    let Some(server) = &place.server else { return BTreeMap::new() };
    let mut con = server.connection();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut con).unwrap();
    let mut value = |key: &String| {
        let dump = redis::cmd("DUMP").arg(key).query(&mut con).unwrap();
        let ends: i64 = redis::cmd("PEXPIRETIME").arg(key).query(&mut con).unwrap();
        (dump, ends)
    };
    keys.iter().map(|key| (key.clone(), value(key))).collect()
}

/// Returns every file and its bytes.
fn folder(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            all.extend(folder(&path));
        } else {
            all.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn check_where_nothing_would_be_asked() {
    let frosty = Frosty::embedded();
    let unarmed = |said: &Value, word: &str| {
        assert_eq!(
            (&said["would_exit"], &said["armed"], &said["reason"]),
            (&json!(0), &json!(false), &json!("unarmed"))
        );
        assert!(said["why"].as_str().unwrap().contains(word), "{said}");
    };
    let manual = frosty.run(&["check", "--json", "--arm", "manual"], stop("s").as_bytes());
    unarmed(&serde_json::from_str(&manual.stdout).unwrap(), "--arm manual");
    let said = check(&frosty, "{}");
    assert_eq!((&said["would_exit"], &said["reason"]), (&json!(0), &json!("bad_input")), "{said}");
    let waiting =
        frosty.run(&["check", "--wait", "20d", "--timeout", "1900000"], stop_saying("s", "frosty: done").as_bytes());
    assert!(
        waiting.stdout.starts_with("would_exit: none, it would wait\nverdict: refuse\nreason: done\n"),
        "{waiting:?}"
    );
    // An API error requests nothing, and is booked all the same.
    for (error, why) in [
        ("overloaded", "the API error is recorded: the cooldown after API errors is open"),
        ("billing_error", "the API error is recorded: held by api: billing_error: add credit"),
    ] {
        let failure = format!(r#"{{"session_id":"s","hook_event_name":"StopFailure","error":"{error}"}}"#);
        let said = check(&frosty, &failure);
        assert!(said["why"].as_str().unwrap().starts_with(why) && said["would_exit"] == 0, "{said}");
        let waits = ["check", "--json", "--wait", "20d", "--timeout", "1900000"];
        let said: Value = serde_json::from_str(&frosty.run(&waits, failure.as_bytes()).stdout).unwrap();
        assert!(
            said["why"].as_str().unwrap().ends_with("; the engine waits that out, and then sends a request"),
            "{said}"
        );
        assert_eq!(said["would_exit"], Value::Null);
    }
    let mut looks_on = frosty.command(&["check", "--json"]);
    looks_on.env("FROSTY_MODE", "shadow");
    let said: Value = serde_json::from_str(&feed(looks_on, stop("s").as_bytes()).stdout).unwrap();
    assert!(said["would_exit"] == 0 && said["verdict"] == "admit", "{said}");
    assert!(said["note"].as_str().unwrap().starts_with("shadow mode: "), "{said}");
    let frosty = frosty.var("FROSTY_ON", "0");
    unarmed(&check(&frosty, &stop("s")), "FROSTY_ON=0");
    let frosty = frosty.var("FROSTY_DISABLE", "1");
    unarmed(&check(&frosty, &stop("s")), "FROSTY_DISABLE");
    let broken = Frosty::embedded().config("{\"stop\": 7}");
    let said = check(&broken, &stop("s"));
    assert_eq!((&said["would_exit"], &said["reason"]), (&json!(0), &json!("bad_config")), "{said}");
    assert!(!broken.state().exists() && !frosty.state().exists());
    let terminal = concat!(env!("CARGO_BIN_EXE_frosty"), " check");
    let shown = feed(broken.command_of(Path::new("script"), &["-qec", terminal, "/dev/null"]), b"");
    assert!(shown.code == Some(64) && shown.stdout.contains("| frosty check"), "{shown:?}");
}

#[test]
fn check_tells_what_a_stand_in_would_do() {
    let server = Server::start_own();
    let frosty = Frosty::on(&server);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    drop(server);
    let said = check(&frosty, &stop("new"));
    assert_eq!(
        (&said["reason"], &said["degraded"], &said["would_exit"]),
        (&json!("min_interval"), &json!(true), &json!(0))
    );
    assert_eq!(frosty.hook(&stop("new")).code, Some(0));
    assert_eq!(frosty.journal().last().unwrap()["reason"], "min_interval");
}

/// Runs where the first process reaps only its own children, as in many containers.
#[test]
fn what_tells_leaves_no_zombie_where_nobody_reaps() {
    let frosty = Frosty::embedded();
    let told = frosty.home.path().join("told");
    let frosty = frosty.config(&format!(
        r#"{{"stop": {{"min_interval": "1h"}}, "hold_after_strikes": 1, "notify": ["cat >> '{}'"]}}"#,
        told.display()
    ));
    let script = frosty.home.path().join("first.py");
    let text = format!(
        r#"
import glob, json, subprocess, time
stop = json.dumps({{"session_id": "s", "hook_event_name": "Stop"}}).encode()
for _ in range(3):
    subprocess.run(["{}", "hook"], input=stop, capture_output=True)
end = time.time() + 15
while time.time() < end:
    try:
        if open("{}").read().strip(): break
    except OSError: pass
    time.sleep(0.05)
time.sleep(0.5)
states = [open(f).read().rsplit(")", 1) for f in glob.glob("/proc/[0-9]*/stat")]
print([name for name, rest in states if rest.split()[0] == "Z"])
"#,
        env!("CARGO_BIN_EXE_frosty"),
        told.display()
    );
    std::fs::write(&script, text).unwrap();
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let namespaces = if root { "-pf" } else { "-rpf" };
    let args = [namespaces, "--mount-proc", "python3", script.to_str().unwrap()];
    let done = crate::support::feed(frosty.command_of(std::path::Path::new("unshare"), &args), b"");
    assert_eq!(done.stdout, "[]\n", "{done:?}");
    assert!(std::fs::read_to_string(&told).unwrap().contains("willy"));
}

/// An admission is used at once, however long the commands take.
#[test]
fn what_tells_keeps_no_admission_where_nobody_reaps() {
    let frosty = Frosty::embedded();
    let script = frosty.home.path().join("first.py");
    let frosty = frosty.config(r#"{"stop": {"min_interval": "0s"}, "notify": ["sleep 9"]}"#);
    let text = format!(
        r#"
import json, os, subprocess, time
frosty = "{}"
stop = json.dumps({{"session_id": "s", "hook_event_name": "Stop"}}).encode()
os.environ["FROSTY_SCOPE"] = "a"
subprocess.run([frosty, "hook"], input=stop.replace(b"Stop", b"SessionStart"))
held = subprocess.Popen([frosty, "hold", "s", "--reason", "x"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
journal = "{}"
def has(word):
    try: return word in open(journal).read()
    except OSError: return False
def until(word):
    end = time.time() + 15
    while not has(word) and time.time() < end: time.sleep(0.02)
until('"event":"Hold"')
engine = subprocess.Popen([frosty, "hook", "--wait", "20d", "--timeout", "1900000"], stdin=subprocess.PIPE,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
engine.stdin.write(stop); engine.stdin.close()
until('"reason":"hold"')
lifted = subprocess.Popen([frosty, "release", "s"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
until('"verdict":"admit"')
since = time.time()
code = engine.wait()
print(code, time.time() - since < 5)
lifted.wait(); held.wait()
"#,
        env!("CARGO_BIN_EXE_frosty"),
        frosty.state().join("default/journal.jsonl").display()
    );
    std::fs::write(&script, text).unwrap();
    let root = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0;
    let namespaces = if root { "-pf" } else { "-rpf" };
    let args = [namespaces, "--mount-proc", "python3", script.to_str().unwrap()];
    let done = crate::support::feed(frosty.command_of(std::path::Path::new("unshare"), &args), b"");
    assert_eq!(done.stdout, "2 True\n", "{done:?}");
}
