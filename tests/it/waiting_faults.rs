//! The waiting engine under faults: a server that refuses, loses data, replies falsely or is unreachable, signals, odd
//! keys.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Engine, Frosty, Server, documents, eventually, stop, stop_saying};
use redis::Connection;
use serde_json::{Value, json};

const POLICY: &str = r#"{"stop": {"min_interval": "1s"}}"#;
const DONE: &str = "frosty: done";

fn frosty(url: &str) -> Frosty {
    Frosty::new().config(POLICY).var("FROSTY_STORE", url)
}

fn reasons(con: &mut Connection, session: &str) -> Vec<String> {
    let entries: Vec<(String, std::collections::HashMap<String, String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(con).unwrap();
    entries.into_iter().filter(|(_, e)| e["session"] == session).map(|(_, e)| e["reason"].clone()).collect()
}

/// Starts an engine that rests, and waits until the server knows.
fn resting(frosty: &Frosty, con: &mut Connection, message: &str) -> Engine {
    let engine = Engine::start(frosty, &stop_saying("s", message));
    eventually("it rests", || matches!(reasons(con, "s").last().map(String::as_str), Some("done" | "rest")));
    engine
}

fn calls(con: &mut Connection, command: &str) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query(con).unwrap();
    let line = info.lines().find(|l| l.starts_with(&format!("cmdstat_{command}:")));
    line.map_or(0, |l| l.split(['=', ',']).nth(1).unwrap().parse().unwrap())
}

/// The processor's time that a process has used, in hundredths of a second.
fn used(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn wakes(frosty: &Frosty, engine: Engine) {
    let woke = frosty.run(&["wake", "s", "--note", "hear me"], b"");
    assert_eq!(woke.stdout, "woke s\n", "{woke:?}");
    let answer = engine.answer();
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stderr.contains("hear me"), "{answer:?}");
}

#[test]
fn what_is_published_the_moment_it_listens_is_heard() {
    let server = Server::start();
    let mut con = server.connection();
    for _ in 0..12 {
        redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
        let home = frosty(&server.url());
        let engine = Engine::start(&home, &stop_saying("s", DONE));
        while redis::cmd("PUBLISH").arg("frosty.wake.s").arg("now").query::<u32>(&mut con).unwrap() == 0 {}
        assert_eq!(engine.answer().code, Some(2));
    }
}

#[test]
fn a_message_too_long_to_read_wakes_all_the_same() {
    let server = Server::start();
    let mut con = server.connection();
    let engine = resting(&frosty(&server.url()), &mut con, DONE);
    let long = vec![b'x'; 3 << 20];
    eventually("it listens", || {
        redis::cmd("PUBLISH").arg("frosty.wake.s").arg(&long).query::<u32>(&mut con).unwrap() == 1
    });
    assert_eq!(engine.answer().code, Some(2));
}

#[test]
fn without_notifications_an_engine_is_woken_by_looking() {
    let server = Server::start();
    let mut con = server.connection();
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg("quiet").arg(&["on", ">secret", "~*", "+@all", "resetchannels"]);
    acl.query::<()>(&mut con).unwrap();
    // A server that has only the old protocol cannot carry commands on a connection that is subscribed.
    let old = Server::start_with(&["--rename-command", "HELLO", ""]);
    let denied = format!("redis://quiet:secret@127.0.0.1:{}", server.port);
    for (mut con, url) in [(con, denied), (old.connection(), old.url())] {
        let frosty = frosty(&url);
        let engine = resting(&frosty, &mut con, DONE);
        wakes(&frosty, engine);
    }
}

#[test]
fn a_server_that_lost_its_data_is_told_of_the_session_and_its_rest() {
    let server = Server::start();
    let mut con = server.connection();
    let frosty = frosty(&server.url());
    let engine = resting(&frosty, &mut con, DONE);
    redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
    eventually("it is known again", || reasons(&mut con, "s") == ["done"]);
    wakes(&frosty, engine);
}

#[test]
fn a_hold_with_an_end_that_is_none_is_not_asked_about_without_end() {
    let server = Server::start();
    let mut con = server.connection();
    for (until, reason) in [
        (json!(9_999_999_999_999_999_i64), "hold"),
        (json!(i64::MAX), "hold"),
        // An impossible end: the document is damaged, and its past unknown.
        (json!(u64::MAX), "cooldown"),
        (json!("+99"), "cooldown"),
        (json!("soon"), "cooldown"),
    ] {
        redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
        let hold = json!({"hold": {"reason": "", "by": "ann", "since": 1, "until": until}});
        documents::write(&mut con, &documents::scope("s"), &hold);
        let home = frosty(&server.url());
        let mut engine = Engine::start(&home, &stop_saying("s", "on it"));
        eventually("it is refused", || reasons(&mut con, "s") == [reason]);
        std::thread::sleep(Duration::from_secs(2));
        assert!(reasons(&mut con, "s").len() <= 3, "{until}: {:?}", reasons(&mut con, "s"));
        assert!(engine.is_waiting());
    }
}

#[test]
fn notifications_without_end_are_not_looked_at_without_end() {
    let server = Server::start();
    let mut con = server.connection();
    documents::hold(&mut con, &documents::scope("s"), "", 1, None);
    let home = frosty(&server.url());
    let mut engine = Engine::start(&home, &stop_saying("s", "on it"));
    eventually("it is held", || reasons(&mut con, "s") == ["hold"]);
    let before = calls(&mut con, "time");
    let end = std::time::Instant::now() + Duration::from_secs(4);
    while std::time::Instant::now() < end {
        redis::cmd("PUBLISH").arg("frosty.wake.s").arg("x").query::<()>(&mut con).unwrap();
        redis::cmd("PUBLISH").arg("frosty.wake.{default}:scope:s").arg("hold").query::<()>(&mut con).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    // One TIME for a look and one for each wake-up that was sent.
    let looks = calls(&mut con, "time") - before;
    assert!((2..=20).contains(&looks), "{looks}");
    assert!(engine.is_waiting());
}

/// Servers that reply at once, always the same: none gets requests in haste.
#[test]
fn a_server_that_talks_nonsense_is_asked_ever_more_slowly() {
    for answer in [
        "+OK\r\n",
        "*-1\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-NOAUTH no\r\n",
        "HTTP/1.1 400\r\n\r\n",
        "",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let counted = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = std::sync::Arc::clone(&counted);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                std::thread::spawn(move || {
                    let mut bytes = [0; 65536];
                    while !answer.is_empty() && matches!(client.read(&mut bytes), Ok(n) if n > 0) {
                        if client.write_all(answer.repeat(8).as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let home = frosty(&url);
        let mut engine = Engine::start(&home, &stop_saying("s", DONE));
        std::thread::sleep(Duration::from_millis(2500));
        let asked = counted.load(std::sync::atomic::Ordering::SeqCst);
        assert!((1..=6).contains(&asked), "{answer:?}: {asked} connections");
        assert!(engine.is_waiting() && used(engine.pid()) < 50, "{answer:?}: {}", used(engine.pid()));
    }
}

#[test]
fn a_signal_while_the_store_is_away_does_not_make_it_spin() {
    let port = crate::support::free_port();
    let home = frosty(&format!("redis://127.0.0.1:{port}"));
    let mut engine = Engine::start(&home, &stop_saying("s", DONE));
    std::thread::sleep(Duration::from_millis(300));
    assert!(Command::new("kill").args(["-HUP", &engine.pid().to_string()]).status().unwrap().success());
    std::thread::sleep(Duration::from_secs(2));
    assert!(engine.is_waiting() && used(engine.pid()) < 50, "{} hundredths", used(engine.pid()));
}

/// A server before which the first connection is cut after so many answers, before or after what it sent next reached
/// the server.
fn cutting(server: &Server, answers: usize, delivers: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, port) = (format!("redis://{}", listener.local_addr().unwrap()), server.port);
    std::thread::spawn(move || {
        for (i, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            let mut upstream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            if i == 0 {
                let mut bytes = [0; 65536];
                for _ in 0..answers {
                    let n = client.read(&mut bytes).unwrap();
                    upstream.write_all(&bytes[..n]).unwrap();
                    let n = upstream.read(&mut bytes).unwrap();
                    client.write_all(&bytes[..n]).unwrap();
                }
                let n = client.read(&mut bytes).unwrap();
                if delivers {
                    upstream.write_all(&bytes[..n]).unwrap();
                    let _ = upstream.read(&mut bytes);
                }
                continue;
            }
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || std::io::copy(&mut upstream, &mut client));
        }
    });
    url
}

#[test]
fn a_stop_whose_answer_was_lost_keeps_its_engine_whatever_the_clocks_say() {
    let server = Server::start();
    let mut con = server.connection();
    // The first request reads, the second commits.
    for (answers, delivers) in [(0, false), (0, true), (1, false), (1, true)] {
        redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
        // The script is known, so that what is delivered decides.
        Frosty::on(&server).hook(r#"{"session_id":"other","hook_event_name":"Stop"}"#);
        // A fence from a machine with a clock that is an hour ahead.
        let ahead = frosty::clock::host_ms() + 3_600_000;
        documents::write(&mut con, &documents::session("s"), &json!({"fence": ahead}));
        let home = frosty(&cutting(&server, answers, delivers));
        let engine = Engine::start(&home, &stop_saying("s", "frosty: next_check 3s"));
        assert_eq!(engine.answer().code, Some(2));
        let reasons = reasons(&mut con, "s");
        assert_eq!(reasons.iter().filter(|r| *r == "superseded").count(), 0, "{reasons:?}");
        let session = documents::read(&mut con, &documents::session("s"));
        assert_eq!(session["fence"], ahead + 1, "raised once: {session}");
    }
}

#[test]
fn a_session_that_ends_while_the_store_is_away_is_not_continued() {
    for event in [r#""SessionEnd","reason":"clear""#, r#""UserPromptSubmit","prompt":"hi""#] {
        let port = crate::support::free_port();
        let server = Server::start_on(port);
        let frosty = frosty(&server.url());
        let mut con = server.connection();
        let engine = resting(&frosty, &mut con, "frosty: next_check 3s");
        drop(server);
        let ended = frosty.hook(&format!(r#"{{"session_id":"s","hook_event_name":{event}}}"#));
        assert_eq!(ended.code, Some(0));
        let _server = Server::start_on(port);
        let answer = engine.answer();
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
    }
}

#[test]
fn in_files_a_session_that_moves_to_another_seat_takes_its_engine_along() {
    let old = Frosty::embedded().config(POLICY).var("FROSTY_SCOPE", "old");
    let engine = Engine::start(&old, &stop_saying("s", "frosty: next_check 1h"));
    eventually("it rests", || old.journal().iter().any(|e| e["reason"] == "rest"));
    let mut prompt = old.command(&["hook", "--scope", "new"]);
    prompt.env_remove("FROSTY_SCOPE");
    crate::support::feed(prompt, br#"{"session_id":"s","hook_event_name":"UserPromptSubmit","prompt":"hi"}"#);
    assert_eq!(engine.answer().code, Some(0));
}

/// A mark of an earlier outage ends no later engine, whatever clock it was made by.
#[test]
fn an_old_mark_does_not_concern_a_new_engine() {
    let port = crate::support::free_port();
    let frosty = frosty(&format!("redis://127.0.0.1:{port}"));
    frosty.hook(r#"{"session_id":"s","hook_event_name":"UserPromptSubmit","prompt":"hi"}"#);
    let mark = frosty.state().join("default/marks/s");
    assert!(mark.exists());
    std::fs::write(&mark, "9999999999999").unwrap();
    let _server = Server::start_on(port);
    assert_eq!(Engine::start(&frosty, &stop_saying("s", "on it")).answer().code, Some(2));
}

/// The replies of a server with a stopped clock to the reads of a step; empty to anything else.
fn frozen(call: &str) -> String {
    let now = 1_800_000_000_000_i64;
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let words: Vec<&str> = call.split("\r\n").collect();
    if words.get(2) != Some(&"TIME") {
        return String::new();
    }
    let answer = |(i, word): (usize, &&str)| match *word {
        "TIME" => format!("*2\r\n{}{}", bulk("1800000000"), bulk("0")),
        "ZRANGE" => "*0\r\n".to_owned(),
        "GET" if words[i + 2] == documents::FLEET => bulk(&documents::text(&json!({"born": "born"}))),
        "GET" if words[i + 2] == documents::scope("s") => {
            let cooldown = json!({"start": now - 1000, "end": now + 1});
            bulk(&documents::text(&json!({"stop": {"cooldown": cooldown}})))
        }
        "GET" => "$-1\r\n".to_owned(),
        _ => String::new(),
    };
    words.iter().enumerate().map(answer).collect()
}

/// Replies that no server gives: a commit without one, a refusal that is over at once.
#[test]
fn answers_that_are_none_are_not_asked_for_without_end() {
    // An invalid reply to a commit, and a cooldown that always ends in a millisecond, because the server's clock does
    // not move.
    for (committed, least) in [("$5\r\nready\r\n", 1), ("*3\r\n$4\r\ndone\r\n$13\r\n1800000000000\r\n$0\r\n\r\n", 2)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = std::sync::Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let count = std::sync::Arc::clone(&count);
                std::thread::spawn(move || {
                    let mut bytes = [0; 65536];
                    while let Ok(n @ 1..) = client.read(&mut bytes) {
                        let call = String::from_utf8_lossy(&bytes[..n]).into_owned();
                        let answer = if call.contains("EVALSHA") {
                            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            committed.to_owned()
                        } else {
                            frozen(&call)
                        };
                        // It replies to nothing else.
                        if answer.is_empty() || client.write_all(answer.as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let home = frosty(&url);
        let mut engine = Engine::start(&home, &stop_saying("s", DONE));
        let asked = || asked.load(std::sync::atomic::Ordering::SeqCst);
        // After an invalid reply the engine retries as with an unreachable server: the embedded store decides
        // meanwhile.
        eventually("it is asked for again", || asked() >= least);
        let before = asked();
        std::thread::sleep(Duration::from_secs(3));
        let more = asked() - before;
        assert!(more <= 9, "{committed:?}: {more} asks in 3 s: {:?}", home.journal());
        assert!(engine.is_waiting());
    }
}

/// An admission that took longer than a second is not used: another store may have decided meanwhile.
#[test]
fn an_admission_that_comes_late_is_not_used() {
    let frosty = Frosty::embedded().config(POLICY);
    let mut slow = frosty.command(&["hook", "--wait", "20d", "--timeout", "1900000"]);
    slow.env("LD_PRELOAD", crate::support::library("stall", frosty.home.path())).env("FROSTY_TEST_STALL_MS", "1200");
    let mut engine = Engine::of(slow, &stop("s"));
    let admitted = || frosty.journal().iter().filter(|e| e["verdict"] == "admit").count();
    eventually("it is admitted late", || admitted() > 0);
    eventually("it is admitted late again", || admitted() > 1 || !engine.is_waiting());
    assert!(engine.is_waiting(), "{:?} {:?}", engine.answer(), frosty.journal());
}

/// An engine of the old scope with a request after the session has moved neither continues nor takes the session back.
#[test]
fn in_files_an_ask_from_a_seat_that_was_left_is_superseded() {
    let old = Frosty::embedded().config(POLICY).var("FROSTY_SCOPE", "old");
    let engine = Engine::start(&old, &stop_saying("s", "frosty: next_check 2s"));
    eventually("it rests", || old.journal().iter().any(|e| e["reason"] == "rest"));
    let new = |payload: &str| {
        let mut command = old.command(&["hook"]);
        command.env("FROSTY_SCOPE", "new");
        crate::support::feed(command, payload.as_bytes())
    };
    assert_eq!(new(r#"{"session_id":"s","hook_event_name":"UserPromptSubmit","prompt":"hi"}"#).code, Some(0));
    assert!(!old.state().join("default/marks").exists(), "the engine learns of it from the session's file");
    let answer = engine.answer();
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
    let file = std::fs::read_to_string(old.session_file("s")).unwrap();
    assert!(file.contains("\"scope\":\"new\""), "{file}");
}

#[test]
fn in_files_a_session_that_moves_keeps_what_it_was_told() {
    let old = Frosty::embedded().config(POLICY).var("FROSTY_SCOPE", "old");
    old.hook(&stop_saying("s", "on it"));
    assert_eq!(old.run(&["wake", "s", "--note", "hear me"], b"").code, Some(0));
    let new = |args: &[&str], payload: &str| {
        let mut command = old.command(args);
        command.env("FROSTY_SCOPE", "new");
        crate::support::feed(command, payload.as_bytes())
    };
    new(&["hook"], r#"{"session_id":"s","hook_event_name":"SessionStart","source":"resume"}"#);
    let answer = new(&["hook"], &stop_saying("s", "frosty: done"));
    assert!(answer.code == Some(2) && answer.stderr.contains("hear me"), "{answer:?}");
    let file = std::fs::read_to_string(old.session_file("s")).unwrap();
    assert!(file.contains("\"scope\":\"new\""), "{file}");
}

#[test]
fn a_client_of_an_impossible_number_is_nobody() {
    let server = Server::start();
    for pid in ["-1", "0", "x", ""] {
        let frosty = frosty(&server.url()).var("CLAUDE_PID", pid);
        let answer = Engine::start(&frosty, &stop_saying(&format!("s{pid}"), "on it")).answer();
        assert_eq!(answer.code, Some(2), "{pid}: {answer:?}");
    }
}

/// A killed engine sends nothing: an engine beside it finds out within its minute, and runs the commands.
#[test]
fn an_engine_that_was_killed_is_found_by_one_that_waits() {
    let frosty = Frosty::embedded();
    let told = frosty.home.path().join("told");
    let frosty = frosty.config(&format!(r#"{{"notify": ["cat >> '{}'"]}}"#, told.display()));
    let rests = |session: &str| Engine::start(&frosty, &stop_saying(session, "frosty: next_check 20m"));
    let (killed, mut waits) = (rests("killed"), rests("waits"));
    eventually("both rest", || frosty.journal().iter().filter(|e| e["reason"] == "rest").count() == 2);
    assert!(Command::new("kill").args(["-9", &killed.pid().to_string()]).status().unwrap().success());
    let end = Instant::now() + Duration::from_secs(100);
    while fs::metadata(&told).map_or(0, |about| about.len()) == 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
    }
    let words = fs::read_to_string(&told).unwrap();
    let word: Value = serde_json::from_str(words.trim_end()).expect("one word");
    assert_eq!((&word["kind"], &word["session"]), (&"waiter_lost".into(), &"killed".into()));
    assert!(waits.is_waiting());
}

/// How many connections the server has taken.
fn connections(con: &mut Connection) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query(con).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:")).unwrap();
    line.trim().parse().unwrap()
}

fn subscribers(con: &mut Connection) -> u64 {
    let told: (String, u64) = redis::cmd("PUBSUB").arg("NUMSUB").arg("frosty.wake.s").query(con).unwrap();
    told.1
}

#[test]
fn a_subscription_that_is_cut_is_opened_again_and_not_without_end() {
    let server = Server::start();
    let mut con = server.connection();
    let frosty = frosty(&server.url());
    let mut engine = resting(&frosty, &mut con, DONE);
    eventually("it listens", || subscribers(&mut con) == 1);
    let cut = |con: &mut Connection| {
        let killed: u64 = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").query(con).unwrap();
        assert_eq!(killed, 1);
    };
    cut(&mut con);
    eventually("it listens again", || subscribers(&mut con) == 1);
    let before = connections(&mut con);
    cut(&mut con);
    std::thread::sleep(Duration::from_secs(8));
    let more = connections(&mut con) - before;
    assert!(more <= 1, "{more} connections in 8 s");
    assert!(engine.is_waiting());
    let journal = frosty.journal();
    let lost: Vec<_> = journal.iter().filter(|e| e["event"] == "Subscription").collect();
    assert_eq!(lost.len(), 1, "{journal:?}");
    eventually("it listens once more", || subscribers(&mut con) == 1);
    redis::cmd("PUBLISH").arg("frosty.wake.s").arg("now").query::<u32>(&mut con).unwrap();
    assert_eq!(engine.answer().code, Some(2));
}

#[test]
fn an_engine_that_asks_often_keeps_one_connection() {
    let server = Server::start();
    let mut con = server.connection();
    let frosty = frosty(&server.url());
    let mut engine = resting(&frosty, &mut con, DONE);
    let key = documents::session("s");
    for asked in 1..5 {
        let before = reasons(&mut con, "s").len();
        let fence = documents::read(&mut con, &key)["fence"].as_i64().unwrap();
        // An older fence than its own makes it send its Stop event again.
        let older = json!({"rest": {"kind": "done", "since": 0}, "fence": fence - 1});
        documents::change(&mut con, &key, &older);
        eventually(&format!("it asked {asked} times more"), || reasons(&mut con, "s").len() > before);
    }
    let mut clients = || -> String { redis::cmd("CLIENT").arg("LIST").query(&mut con).unwrap() };
    eventually("one is left", || clients().lines().count() == 2);
    assert!(engine.is_waiting());
}

#[test]
fn a_proxy_that_cuts_what_is_idle_costs_no_more_than_a_connection_in_ten_seconds() {
    let server = Server::start();
    let mut con = server.connection();
    let home = frosty(&impatient(&server, Duration::from_millis(2500)));
    let mut engine = resting(&home, &mut con, DONE);
    eventually("it listens", || subscribers(&mut con) == 1);
    let before = connections(&mut con);
    std::thread::sleep(Duration::from_secs(9));
    let more = connections(&mut con) - before;
    assert!(more <= 1, "{more} connections in 9 s");
    assert!(engine.is_waiting());
    wakes(&home, engine);
}

/// A proxy that closes a connection after so long a silence.
fn impatient(server: &Server, idle: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = server.port;
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let Ok(upstream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
            let last = std::sync::Arc::new(std::sync::Mutex::new(Instant::now()));
            for (mut from, mut to) in [(client.try_clone().unwrap(), upstream.try_clone().unwrap()), (upstream, client)]
            {
                let last = std::sync::Arc::clone(&last);
                from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                std::thread::spawn(move || {
                    let mut bytes = [0; 65536];
                    loop {
                        match from.read(&mut bytes) {
                            Ok(0) => break,
                            Ok(n) => {
                                *last.lock().unwrap() = Instant::now();
                                if to.write_all(&bytes[..n]).is_err() {
                                    break;
                                }
                            }
                            Err(_) if last.lock().unwrap().elapsed() > idle => break,
                            Err(_) => {}
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Both);
                    let _ = from.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    url
}
