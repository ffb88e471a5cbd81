//! A server that cannot decide: whatever its reply, the embedded store decides in its place, in time, with a line
//! that names the cure; the server's first reply starts the minimum interval.
//! Real servers for the replies of real servers; a plain socket for all others.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::support::{Answer, Frosty, Server, documents, eventually, free_port, stop};
use frosty::config::{Config, Flags};
use frosty::env::Env;
use frosty::policy::request::Step;
use frosty::policy::verdict::Outcome;
use frosty::store;

fn told(answer: &Answer, words: &[&str]) {
    answer.stands_down_saying(&[&["local files decide instead of the server"], words].concat());
    assert!(
        answer.stdout.contains("too soon after the last turn")
            && answer.stdout.contains("Local files decide instead of the server"),
        "{answer:?}"
    );
    assert!(answer.took < Duration::from_millis(2_500), "{answer:?}");
}

/// Answers every connection with these bytes, piece by piece, and keeps it open.
fn says(pieces: &'static [&'static [u8]], pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                for piece in pieces {
                    if stream.write_all(piece).is_err() {
                        return;
                    }
                    std::thread::sleep(pause);
                }
                let _ = stream.read(&mut [0; 4096]);
            });
        }
    });
    url
}

/// A proxy to a server on which each commit gets this reply and does not arrive.
fn forges(server: &Server, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, port) = (format!("redis://{}", listener.local_addr().unwrap()), server.port);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut upstream) = (client.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            let (mut from, mut to) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            std::thread::spawn(move || {
                let mut bytes = [0; 65536];
                while let Ok(n @ 1..) = client.read(&mut bytes) {
                    let commits = bytes[..n].windows(4).any(|word| word == b"EVAL");
                    let sent = if commits { client.write_all(answer) } else { upstream.write_all(&bytes[..n]) };
                    if sent.is_err() {
                        break;
                    }
                }
                let _ = upstream.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    url
}

fn asked(url: &str) -> Answer {
    Frosty::new().var("FROSTY_STORE", url).hook(&stop("s"))
}

/// The server decides: a new session is admitted, which the embedded store in its place never does. Each attempt is
/// another session's, so that a late reply on a busy machine spoils none.
fn admits(url: &str) {
    let attempts = std::cell::Cell::new(0);
    eventually("the server decides", || {
        let nth = attempts.replace(attempts.get() + 1);
        Frosty::new().var("FROSTY_STORE", url).hook(&stop(&format!("new-{nth}"))).code == Some(2)
    });
}

#[test]
fn errors_of_a_real_server() {
    let server = Server::start_with(&["--requirepass", "hunter2secret"]);
    told(&asked(&server.url()), &["NOAUTH", "FROSTY_STORE_PASSWORD_FILE"]);
    let wrong = format!("redis://:wrong@127.0.0.1:{}", server.port);
    let answer = asked(&wrong);
    told(&answer, &["WRONGPASS", "FROSTY_STORE_PASSWORD_FILE"]);
    assert!(!format!("{answer:?}").contains("wrong@"), "{answer:?}");
    let right = format!("redis://:hunter2secret@127.0.0.1:{}", server.port);
    admits(&right);

    // Nothing is decided as another user or in another database: a failed login or `SELECT` ends the call.
    let open = Server::start();
    told(&asked(&format!("redis://:secret@127.0.0.1:{}", open.port)), &["without any password", "unset"]);
    told(&asked(&format!("redis://127.0.0.1:{}/99", open.port)), &["DB index", "/0"]);
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut open.connection()).unwrap();
    assert_eq!(keys, Vec::<String>::new());
    admits(&format!("redis://127.0.0.1:{}/3", open.port));
    admits(&format!("redis://localhost:{}", open.port));

    let server = Server::start();
    let mut con = server.connection();
    for key in [&documents::scope("s"), &documents::session("s"), documents::FLEET, &documents::admissions("s")] {
        redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
        documents::plant(&mut con, key);
        told(&asked(&server.url()), &["WRONGTYPE", "--scan --pattern 'frosty:*'"]);
    }
    redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
    // The two indexes only list: one of another type harms no verdict.
    redis::cmd("SET").arg("frosty:{default}:scopes").arg("no set").query::<()>(&mut con).unwrap();
    admits(&server.url());

    redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1").query::<()>(&mut con).unwrap();
    told(&asked(&server.url()), &["OOM", "maxmemory"]);

    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &server.port.to_string()]);
    told(&asked(&replica.url()), &["READONLY", "primary"]);
}

#[test]
fn errors_that_are_spoken_by_a_socket() {
    // Dragonfly's way of naming an error inside a script.
    let server = Server::start();
    let url = forges(&server, b"-ERR Error running script (call to f_1): -WRONGTYPE Operation against a key\r\n");
    told(&asked(&url), &["WRONGTYPE", "--scan"]);
    for (answer, word) in [
        (b"-ERR something else\r\n" as &[u8], "something else"),
        (b"-OOM command not allowed\r\n", "OOM"),
        (b"-NOAUTH Authentication required.\r\n", "NOAUTH"),
        (b"-READONLY You can't write\r\n", "READONLY"),
    ] {
        told(&asked(&forges(&server, answer)), &[word]);
    }
    // One reply for all commands, and then silence.
    for (bytes, word) in [
        (&[b"-LOADING Redis is loading the dataset in memory\r\n" as &[u8]] as &'static [&'static [u8]], "LOADING"),
        (&[b"-WRONGTYPE Operation against a key\r\n"], "WRONGTYPE"),
        (&[b"-NOAUTH Authentication required.\r\n"], "NOAUTH"),
    ] {
        told(&asked(&says(bytes, Duration::ZERO)), &[word]);
    }
}

#[test]
fn what_is_no_verdict() {
    const BIG: &[u8] = &[b'x'; 40_000];
    for pieces in [
        &[b"HTTP/1.1 400 Bad Request\r\n\r\n" as &[u8]] as &'static [&'static [u8]],
        &[b"\x16\x03\x01\x00\xa5\xff\xfe garbage"],
        &[b":2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n:2\r\n"],
        &[b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n"],
        &[b"$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n"],
        &[b"*99999999999\r\n"],
        &[b"%99999999999\r\n"],
        &[b"|9223372036854775807\r\n"],
        &[b"~-5\r\n"],
        &[b"$-99\r\n:0\r\n"],
        &[b"$99999999999999\r\nx"],
        &[b"+", BIG, BIG, BIG, BIG],
    ] {
        let answer = asked(&says(pieces, Duration::from_millis(1)));
        told(&answer, &["redis-cli -u redis://127.0.0.1:"]);
    }
    let server = Server::start();
    for answer in [
        b":2\r\n" as &[u8],
        b"+OK\r\n",
        b"$-1\r\n",
        b"$4\r\ndone\r\n",
        b"$5\r\nready\r\n",
        b"*0\r\n",
        b"*1\r\n$4\r\ndone\r\n",
        b"*2\r\n$4\r\ndone\r\n$1\r\n0\r\n",
        b"*3\r\n$4\r\ndone\r\n:0\r\n$0\r\n\r\n",
        // A whole reply, but not of the script.
        b"*3\r\n$5\r\nadmit\r\n$1\r\n0\r\n$0\r\n\r\n",
        b"*3\r\n$5\r\ndone \r\n$1\r\n0\r\n$0\r\n\r\n",
        b"*4\r\n$4\r\ndone\r\n$1\r\n0\r\n$0\r\n\r\n$0\r\n\r\n",
    ] {
        let answer = asked(&forges(&server, answer));
        told(&answer, &["unexpected reply from", "redis-cli -u redis://127.0.0.1:"]);
    }
}

/// A damaged document is kept for inspection, and noted. Its past is unknown: the server decides with a closed limit,
/// never as after a clean start.
fn is_set_aside(damaged: &[&[u8]]) {
    let server = Server::start();
    let mut con = server.connection();
    for (key, reason, words) in
        [(documents::scope("s").as_str(), "cooldown", "a cooldown is open"), (documents::FLEET, "hold", "held by")]
    {
        for damaged in damaged {
            let shown = String::from_utf8_lossy(damaged);
            redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
            let frosty = Frosty::on(&server).config(r#"{"stop": {"min_interval": "1ms", "burst": null}}"#);
            assert_eq!(frosty.hook(&stop("s")).code, Some(2));
            redis::cmd("SET").arg(key).arg(damaged).query::<()>(&mut con).unwrap();
            let answer = frosty.hook(&stop("s"));
            let aside = format!("{key}:unreadable");
            let noted = ["could not be read", "set aside", &format!("GET '{aside}'")];
            answer.stands_down_saying(&noted);
            assert!(answer.stdout.contains(words), "{key} {shown:?} {answer:?}");
            let kept: Vec<u8> = redis::cmd("GET").arg(&aside).query(&mut con).unwrap();
            assert_eq!(String::from_utf8_lossy(&kept), shown, "{key}");
            // From now on it is whole, and as closed.
            let after = frosty.hook(&stop("s"));
            assert_eq!((after.code, after.stderr.as_str()), (Some(0), ""), "{key} {shown:?} {after:?}");
            let journal: Vec<(String, std::collections::HashMap<String, String>)> =
                redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut con).unwrap();
            let reasons: Vec<&str> = journal.iter().map(|(_, entry)| entry["reason"].as_str()).collect();
            assert_eq!(reasons, ["admitted", reason, reason], "{key}");
        }
    }
}

#[test]
fn a_damaged_document_is_set_aside_and_refuses() {
    let odd = r#"{"version":"1-a","format":1,"hold":3}"#;
    is_set_aside(&[b"x", b"{}", odd.as_bytes(), &odd.as_bytes()[..30], &[b'x'; 10_000]]);
}

#[test]
fn a_damaged_document_that_is_empty_is_set_aside_and_refuses() {
    is_set_aside(&[b""]);
}

#[test]
fn a_damaged_document_that_is_no_text_is_set_aside_and_refuses() {
    is_set_aside(&[b"\xff\xfe", "x\u{fffd}".as_bytes(), &[0; 200]]);
}

/// The document of a session that is damaged: its rest is not known to be over.
#[test]
fn a_damaged_document_of_a_session_is_no_clean_slate() {
    let server = Server::start();
    let mut con = server.connection();
    let frosty = Frosty::on(&server).config(r#"{"stop": {"min_interval": "1ms", "burst": null}}"#);
    assert_eq!(frosty.hook(&crate::support::stop_saying("s", "frosty: done")).code, Some(0));
    let key = documents::session("s");
    redis::cmd("SET").arg(&key).arg("x").query::<()>(&mut con).unwrap();
    let answer = frosty.hook(&stop("s"));
    let kept: Option<String> = redis::cmd("GET").arg(format!("{key}:unreadable")).query(&mut con).unwrap();
    assert_eq!(kept.as_deref(), Some("x"), "{answer:?}");
    answer.stands_down_saying(&["could not be read", "set aside"]);
}

/// A document of a newer format is left as it is, and the embedded store decides.
#[test]
fn a_document_of_a_newer_format_is_left_alone() {
    let server = Server::start();
    let mut con = server.connection();
    for key in [&documents::scope("s"), &documents::session("s"), documents::FLEET] {
        redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
        let newer = r#"{"version":"7-a","format":2,"mood":"calm"}"#;
        redis::cmd("SET").arg(key).arg(newer).query::<()>(&mut con).unwrap();
        told(&asked(&server.url()), &[key, "has the format 2", "newer frosty"]);
        let kept: String = redis::cmd("GET").arg(key).query(&mut con).unwrap();
        assert_eq!(kept, newer);
    }
}

/// A server that answers each commit with a conflict is given up in time.
#[test]
fn conflicts_without_end() {
    let server = Server::start();
    let conflict = b"*3\r\n$8\r\nconflict\r\n$1\r\n0\r\n$0\r\n\r\n";
    told(&asked(&forges(&server, conflict)), &["conflict"]);
}

#[test]
fn silence_and_a_drip_end_at_the_budget() {
    let asked = |url: &str| Frosty::new().var("FROSTY_STORE", url).config(r#"{"budget": "240ms"}"#).hook(&stop("s"));
    told(&asked(&says(&[], Duration::ZERO)), &["in time (budget 240 ms)", "--latency"]);
    const DRIP: [&[u8]; 60] = [b"+"; 60];
    let answer = asked(&says(&DRIP, Duration::from_millis(20)));
    told(&answer, &["in time (budget 240 ms)"]);
}

#[test]
fn a_server_that_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream.unwrap());
        }
    });
    let answer = asked(&url);
    told(&answer, &["redis-cli -u"]);
}

#[test]
fn nobody_listens() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let frosty = Frosty::new().var("FROSTY_STORE", &url);
    let answer = frosty.hook(&stop("s"));
    told(&answer, &["connection refused", "FROSTY_STORE=embedded"]);
    let said = |entry: &serde_json::Value| {
        ["reason", "status", "verdict", "store"].map(|field| entry[field].as_str().unwrap().to_owned())
    };
    let first = &frosty.journal()[0];
    assert_eq!(said(first), ["min_interval", "STANDING_DOWN", "refuse", "embedded"]);
    assert_eq!(first["degraded"], 1);
    assert!(first["detail"].as_str().unwrap().contains("connection refused"), "{first}");
    for (event, reason, verdict) in
        [("PreCompact-auto.json", "admitted", "admit"), ("SessionStart-startup.json", "event", "record")]
    {
        assert_eq!(frosty.hook(&crate::support::fixture(event)).code, Some(0));
        let entry = frosty.journal().pop().unwrap();
        assert_eq!(said(&entry), [reason, "RECORDED", verdict, "embedded"], "{event}");
        assert_eq!(entry["degraded"], 1);
    }
}

/// Neither store: the only case left that is refused for want of one. Both are named, each with its cure.
#[test]
fn without_either_store_nothing_is_admitted() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let frosty = Frosty::new().var("FROSTY_STORE", &url);
    std::fs::create_dir_all(frosty.state().parent().unwrap()).unwrap();
    std::fs::write(frosty.state(), "no folder").unwrap();
    let answer = frosty.hook(&stop("s"));
    answer.stands_down_saying(&[
        "store_down",
        "connection refused",
        "local files cannot decide in its place",
        "namei -l",
    ]);
    assert_eq!(answer.stdout, "");
}

#[test]
fn a_password_file() {
    let server = Server::start_with(&["--requirepass", "hunter2secret"]);
    let frosty = Frosty::on(&server);
    let file = frosty.home.path().join("password");
    std::fs::write(&file, "hunter2secret\n").unwrap();
    let frosty = frosty.var("FROSTY_STORE_PASSWORD_FILE", file.to_str().unwrap());
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    assert!(!frosty.hook(&stop("s")).stdout.contains("hunter2"));
    std::fs::remove_file(&file).unwrap();
    told(&frosty.hook(&stop("t")), &["password", "FROSTY_STORE_PASSWORD_FILE"]);
    let journal = std::fs::read_to_string(frosty.state().join("default/journal.jsonl")).unwrap();
    assert!(!journal.contains("hunter2secret"));
}

/// `auto`: with no server on port 18000, and none ever reached, the embedded store decides silently; afterwards it is a
/// fault.
///
/// The port is the product's own, so the test runs in a network namespace where nothing else can have it.
#[test]
fn auto_is_embedded_until_a_server_was_reached() {
    let frosty = Frosty::new();
    let output = in_a_network_of_its_own(
        &frosty,
        r#"#!/bin/bash
set -u
ip link set lo up
ask() { "$FROSTY" hook <<<"{\"session_id\":\"$1\",\"hook_event_name\":\"Stop\"}" >/dev/null 2>"$DIR/err"; echo "$1 $? $(head -c 20 "$DIR/err")"; }
ask first
# Nobody is amiss, and nothing is kept for anybody.
"$FROSTY" status | grep degraded
# Somebody else's server on the port is no store, and none was reached.
python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 18000)); print(flush=True); s.accept()[0].sendall(b"HTTP/1.1 400 Bad\r\n\r\n")' | { read -r; ask stranger; }
sleep 1.5
ask fourth
test -e "$HOME/.local/state/frosty/reached.json" && echo "reached too early"
redis-server --port 18000 --save '' --dir "$DIR" >/dev/null & pid=$!
for _ in $(seq 200); do redis-cli -p 18000 PING >/dev/null 2>&1 && break; sleep 0.05; done
FROSTY_STORE=redis://127.0.0.1:18000 ask second
redis-cli -p 18000 EXISTS 'frosty:{default}:doc:scope:second'
kill $pid; wait $pid
ask third
"#,
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{output:?}");
    assert!(lines[0].starts_with("first 2 Frosty, the thro"), "{lines:?}");
    assert!(lines[1].starts_with("stranger 0 frosty: local files"), "{lines:?}");
    assert!(lines[2].starts_with("fourth 2 Frosty, the thro"), "{lines:?}");
    assert!(lines[3].starts_with("second 2 Frosty, the thro"), "{lines:?}");
    assert_eq!(lines[4], "1");
    assert!(lines[5].starts_with("third 0 frosty: local files"), "{lines:?}");
}

/// `auto`, and a silent program on port 18000 that is no store: it costs one hook its budget, and not every one.
/// The reply to a refusal was lost, and the same request is sent again: it is refused once more, and has one entry.
#[test]
fn a_refusal_that_is_sent_again_has_one_entry() {
    let server = Server::start();
    let frosty = Frosty::on(&server);
    let env = Env { home: Some(frosty.home.path().to_owned()), store: Some(server.url()), ..Env::default() };
    let config = Config::load(&env, None, &Flags::default()).unwrap();
    for paced in [false, true] {
        let ask = |id: &str| {
            let step = Step { id: format!("{paced} {id}"), paced, ..crate::support::stop_step() };
            let mut store = store::open(&config, Instant::now() + Duration::from_secs(1)).unwrap();
            store.step(&step).unwrap().decision
        };
        ask("first");
        let once = ask("lost");
        let entries = || redis::cmd("XLEN").arg("torch.continuous.ops").query::<u32>(&mut server.connection()).unwrap();
        let before = entries();
        let again = ask("lost");
        assert_eq!((once.outcome, again.outcome), (Outcome::Refuse, Outcome::Refuse));
        assert_eq!((once.attempts, entries()), (again.attempts, before));
        assert_eq!(ask("next").outcome, Outcome::Refuse);
        assert_eq!(entries(), before + 1);
    }
}

#[test]
fn a_silent_stranger_costs_auto_one_try() {
    let frosty = Frosty::new();
    let output = in_a_network_of_its_own(
        &frosty,
        r#"#!/bin/bash
set -u
ip link set lo up
python3 -c '
import os, socket
s = socket.create_server(("127.0.0.1", 18000))
s.settimeout(0.5)
held = []
while not os.path.exists("'$DIR'/over"):
    try: held.append(s.accept())
    except OSError: pass
print(len(held), flush=True)' & stranger=$!
for _ in $(seq 200); do (ss -ltn 2>/dev/null || cat /proc/net/tcp) | grep -qE '18000|:4650' && break; sleep 0.05; done
ask() { "$FROSTY" hook <<<'{"session_id":"s","hook_event_name":"Notification"}' >/dev/null 2>&1; }
for _ in 1 2 3 4 5 6; do ask; done
touch "$DIR/over"; wait $stranger
"#,
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let tries: u32 = text.trim().parse().unwrap_or_else(|e| panic!("{e}: {output:?}"));
    // On a stalled machine a probe is due meanwhile.
    assert!((1..=2).contains(&tries), "{tries} connections of 6 hooks");
}

/// `auto` without a server, and one is started later: a waiting engine finds it, and is woken through it.
#[test]
fn a_server_that_is_started_later_is_found_by_who_waits() {
    let frosty = Frosty::new();
    let output = in_a_network_of_its_own(
        &frosty,
        r#"#!/bin/bash
set -u
ip link set lo up
rest() { redis-cli -p 18000 GET 'frosty:{default}:doc:session:s' 2>/dev/null | sed -n 's/.*"kind":"\([a-z_]*\)".*/\1/p'; }
echo '{"session_id":"s","hook_event_name":"Stop","last_assistant_message":"frosty: done"}' |
  "$FROSTY" hook --wait 20d --timeout 1900000 >/dev/null 2>"$DIR/err" & engine=$!
for _ in $(seq 200); do grep -q '"done"' "$HOME/.local/state/frosty/default/journal.jsonl" 2>/dev/null && break; sleep 0.05; done
redis-server --port 18000 --save '' --dir "$DIR" >/dev/null & pid=$!
for _ in $(seq 400); do
  [ "$(rest)" = done ] && break; sleep 0.05
done
echo "rest $(rest)"
sleep 1
"$FROSTY" wake s
for _ in $(seq 400); do kill -0 $engine 2>/dev/null || break; sleep 0.05; done
kill -0 $engine 2>/dev/null && { echo "still waiting"; kill $engine; }
wait $engine; echo "engine $?"
kill $pid; wait $pid
"#,
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text, "rest done\nwoke s\nengine 2\n", "{output:?}");
}

/// The agent reads the prompt of an admission: a decision of the embedded store is shown in the journal alone. A
/// refusal reports it on stderr.
#[test]
fn an_admission_by_the_embedded_store_has_no_degraded_line() {
    let frosty = Frosty::new()
        .var("FROSTY_STORE", &format!("redis://127.0.0.1:{}", free_port()))
        .config(r#"{"stop": {"min_interval": "0s", "burst": null, "quotas": [{"limit": 1, "per": "1h"}]}}"#);
    let mut answers = Vec::new();
    crate::support::eventually("it admits", || {
        answers.push(frosty.hook(&stop("s")));
        answers.last().unwrap().code == Some(2)
    });
    let admitted = answers.last().unwrap();
    assert_eq!(admitted.stdout, "{\"suppressOutput\":true}\n");
    assert!(!admitted.stderr.contains("degraded") && !admitted.stderr.contains("server"), "{admitted:?}");
    frosty.hook(&stop("s")).stands_down_saying(&["local files decide instead of the server"]);
    let journal = frosty.journal();
    assert!(
        journal.iter().all(|e| e["degraded"] == 1) && journal.iter().any(|e| e["verdict"] == "admit"),
        "{journal:?}"
    );
}

/// A server behind a narrow window. Once it is stuck it reads no more than the beginning of a commit until `resumed`;
/// then it sends how much of the rest arrived, and how the connection ended.
fn stuck_server(
    server: &Server,
    stuck: &Arc<AtomicBool>,
    resumed: Receiver<()>,
) -> (String, Receiver<(usize, Option<ErrorKind>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 4096).unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (ended, ends) = channel();
    let (port, is_stuck) = (server.port, Arc::clone(stuck));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            if !is_stuck.load(Ordering::SeqCst) {
                let mut upstream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
                let _ = std::io::copy(&mut upstream, &mut client);
                continue;
            }
            let mut upstream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from, mut to) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let mut bytes = [0; 4096];
            let early = loop {
                match client.read(&mut bytes) {
                    Ok(n @ 1..) if bytes[..n].windows(4).any(|word| word == b"EVAL") => break None,
                    Ok(n @ 1..) => upstream.write_all(&bytes[..n]).unwrap(),
                    // A stalled machine: it was given up before that.
                    end => break end.err().map(|e| e.kind()),
                }
            };
            resumed.recv().unwrap();
            let mut rest = Vec::new();
            let end = early.or_else(|| client.read_to_end(&mut rest).err().map(|e| e.kind()));
            ended.send((rest.len(), end)).unwrap();
        }
    });
    (url, ends)
}

/// How much longer than its state a document is made.
const PADDING: usize = 50_000;

/// A request is given up with its connection: the kernel, which has most of it, sends none of it once another store
/// decided.
#[test]
fn what_is_given_up_is_not_sent_later() {
    let server = Server::start();
    let (stuck, (resume, resumed)) = (Arc::new(AtomicBool::new(false)), channel());
    let (url, ends) = stuck_server(&server, &stuck, resumed);
    let frosty =
        Frosty::new().var("FROSTY_STORE", &url).config(r#"{"stop": {"min_interval": "1s"}, "budget": "800ms"}"#);
    crate::support::eventually("the server decides", || {
        frosty.hook(&stop("s"));
        frosty.journal().is_empty()
    });
    // A commit larger than any window: unknown fields of a document are carried over.
    let padding = "x".repeat(PADDING);
    documents::change(&mut server.connection(), &documents::scope("s"), &serde_json::json!({"padding": padding}));
    stuck.store(true, Ordering::SeqCst);
    // The first request is for a server that is known, the second for one that is tried again.
    for way in ["asked", "tried again"] {
        let answer = frosty.hook(&stop("s"));
        answer.stands_down_saying(&["local files decide instead"]);
        resume.send(()).unwrap();
        let (arrived, end) = ends.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(end, Some(ErrorKind::ConnectionReset), "{way}: {arrived} bytes arrived");
        assert!(arrived < PADDING, "{way}: {arrived} bytes arrived, the document has {PADDING} and more");
        std::thread::sleep(Duration::from_millis(1_300));
    }
}

/// Runs a script where port 18000, the product's own, is free. `$FROSTY` is the program, `$DIR` a scratch directory.
fn in_a_network_of_its_own(frosty: &Frosty, text: &str) -> std::process::Output {
    let dir = tempfile::TempDir::new().unwrap();
    let script = dir.path().join("story.sh");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Root needs no user namespace, which a container may forbid.
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let namespaces = if root { "-n" } else { "-rn" };
    let mut command = frosty.command_of(std::path::Path::new("unshare"), &[namespaces, script.to_str().unwrap()]);
    command.env("FROSTY", env!("CARGO_BIN_EXE_frosty")).env("DIR", dir.path());
    command.output().unwrap()
}
