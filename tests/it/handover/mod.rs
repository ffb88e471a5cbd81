//! The store changes: tests, one story each, of the knowledge that one store needs of the other.
mod clocks;
mod engines;
mod holds;
mod more;
mod signals;
mod stores;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{Engine, Frosty, Server, documents, stop, stop_saying};
use redis::Connection;

const POLICY: &str = r#"{"stop": {"min_interval": "2s", "burst": null}}"#;

fn nap(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// A proxy to a server that can be closed: connections then end at once.
struct Gate {
    url: String,
    open: Arc<AtomicBool>,
    /// The delay of each reply, in ms.
    late: Arc<AtomicU64>,
    /// The additional delay of the reply to a commit, in ms.
    late_commit: Arc<AtomicU64>,
    /// The next answer to the commit of a hold or a release is cut off.
    cuts: Arc<AtomicBool>,
    /// A commit is kept until this is over: then it is delivered, though no client waits for its reply.
    holds: Arc<AtomicBool>,
}

impl Gate {
    fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let open = Arc::new(AtomicBool::new(true));
        let (late, late_commit) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (holds, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (is_open, lag, commit_lag) = (Arc::clone(&open), Arc::clone(&late), Arc::clone(&late_commit));
        let (hold, cut, port) = (Arc::clone(&holds), Arc::clone(&cuts), server.port);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if !is_open.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(upstream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let held = hold.load(Ordering::SeqCst);
                let is_commit = Arc::new(AtomicBool::new(false));
                let is_persons = Arc::new(AtomicBool::new(false));
                for (asks, mut from, mut to) in
                    [(true, client.try_clone().unwrap(), upstream.try_clone().unwrap()), (false, upstream, client)]
                {
                    let (lag, commit_lag, hold) = (Arc::clone(&lag), Arc::clone(&commit_lag), Arc::clone(&hold));
                    let (is_commit, cut) = (Arc::clone(&is_commit), Arc::clone(&cut));
                    let is_persons = Arc::clone(&is_persons);
                    std::thread::spawn(move || {
                        let mut bytes = [0; 65536];
                        while let Ok(n @ 1..) = from.read(&mut bytes) {
                            if asks {
                                let names = |word: &[u8]| bytes[..n].windows(word.len()).any(|found| found == word);
                                is_commit.store(names(b"EVAL"), Ordering::SeqCst);
                                let is_of_holds = names(b"\r\nHold\r\n") || names(b"\r\nRelease\r\n");
                                is_persons.store(is_of_holds, Ordering::SeqCst);
                            }
                            let commits = is_commit.load(Ordering::SeqCst);
                            while asks && commits && held && hold.load(Ordering::SeqCst) {
                                nap(5);
                            }
                            if !asks && is_persons.load(Ordering::SeqCst) && cut.swap(false, Ordering::SeqCst) {
                                break;
                            }
                            if !asks {
                                let more = if commits { commit_lag.load(Ordering::SeqCst) } else { 0 };
                                nap(lag.load(Ordering::SeqCst) + more);
                            }
                            if to.write_all(&bytes[..n]).is_err() {
                                break;
                            }
                        }
                        if held {
                            nap(500);
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { url, open, late, late_commit, cuts, holds }
    }

    fn shut(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    fn unlock(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

fn stream(con: &mut Connection) -> Vec<HashMap<String, String>> {
    let entries: Vec<(String, HashMap<String, String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(con).unwrap();
    entries.into_iter().map(|(_, e)| e).collect()
}

fn signal(server: &Server, signal: &str) {
    assert!(Command::new("kill").args([signal, &server.pid().to_string()]).status().unwrap().success());
}

fn event(session: &str, event: &str, more: &str) -> String {
    format!(r#"{{"session_id":"{session}","hook_event_name":"{event}"{more}}}"#)
}

/// Sends Stop events until the server decides again.
fn home(frosty: &Frosty, con: &mut Connection) {
    let own = |con: &mut Connection| stream(con).iter().filter(|e| e["degraded"] == "0").count();
    let before = own(con);
    crate::support::eventually("the server decides again", || {
        nap(300);
        frosty.hook(&stop("s"));
        own(con) > before
    });
}

/// A server that hangs for some seconds runs the commands sent meanwhile when it returns, as if they were new.
#[test]
fn a_prompt_that_a_hung_server_runs_late_sends_no_later_engine_away() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(POLICY);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    signal(&server, "-STOP");
    // A person prompts, the agent works and stops; its engine waits.
    assert_eq!(frosty.hook(&event("s", "UserPromptSubmit", r#","prompt":"go on""#)).code, Some(0));
    nap(300);
    let engine = Engine::start(&frosty, &stop("s"));
    nap(500);
    signal(&server, "-CONT");
    let answer = engine.answer();
    assert_eq!(answer.code, Some(2), "{answer:?} {:?}", stream(&mut server.connection()));
}

/// Two projects with a server each, both in the default fleet of one machine.
#[test]
fn two_servers_of_one_fleet_starve_nobody() {
    let servers = [Server::start(), Server::start()];
    let frosty = Frosty::new().config(POLICY);
    let ask = |i: usize| {
        let mut command = frosty.command(&["hook"]);
        command.env("FROSTY_STORE", servers[i].url());
        crate::support::feed(command, stop(&format!("s{i}")).as_bytes()).code
    };
    // Each sends its request long after its minimum interval.
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push([ask(0), ask(1)]);
        nap(2_500);
    }
    for i in 0..2 {
        assert!(codes[1..].iter().any(|c| c[i] == Some(2)), "{codes:?}");
    }
}

/// A successful Stop event lifts a hold by `api`, and no other: a person's hold stays, also if a machine does not know
/// it.
#[test]
fn a_good_stop_in_an_outage_lifts_no_persons_hold() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    let mut con = server.connection();
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    // A person holds the scope; then this machine is cut off.
    documents::hold(&mut con, &documents::scope("s"), "wait for me", support_now(), None);
    gate.shut();
    frosty.hook(&event("s", "StopFailure", r#","error":"authentication_failed""#));
    frosty.hook(&stop("s"));
    gate.unlock();
    home(&frosty, &mut con);
    let scope = documents::read(&mut con, &documents::scope("s"));
    assert_eq!(scope["hold"]["by"], "ann", "{scope} {:?}", stream(&mut con));
}

fn support_now() -> i64 {
    frosty::clock::host_ms()
}

/// An entry that could not be written to the journal for a while is written and sent once that is possible.
#[test]
fn what_was_left_pending_reaches_the_server() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    frosty.hook(&stop("s"));
    gate.shut();
    // As if killed between the scope's file and the journal: the entry is pending.
    let journal = frosty.state().join("default/journal.jsonl");
    let _ = std::fs::remove_file(&journal);
    std::fs::create_dir(&journal).unwrap();
    frosty.hook(&stop("s"));
    std::fs::remove_dir(&journal).unwrap();
    gate.unlock();
    nap(1_600);
    home(&frosty, &mut server.connection());
    nap(500);
    frosty.hook(&stop("s"));
    let told = stream(&mut server.connection());
    assert!(told.iter().any(|e| e["degraded"] == "1"), "{told:?}");
}

/// A journal that was removed during the outage (by a person, logrotate) begins anew and is sent.
#[test]
fn a_journal_begun_anew_in_an_outage_is_shipped() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    gate.shut();
    // Old entries, already sent.
    for _ in 0..3 {
        frosty.hook(&event("s", "SessionStart", ""));
    }
    gate.unlock();
    home(&frosty, &mut server.connection());
    gate.shut();
    frosty.hook(&stop("s"));
    std::fs::rename(frosty.state().join("default/journal.jsonl"), frosty.state().join("taken-away")).unwrap();
    frosty.hook(&event("s", "Notification", ""));
    gate.unlock();
    home(&frosty, &mut server.connection());
    nap(500);
    frosty.hook(&stop("s"));
    let told = stream(&mut server.connection());
    let found = told.iter().any(|e| e["degraded"] == "1" && e["event"] == "Notification");
    assert!(found, "{told:?} {:?}", frosty.journal());
}

/// Without a minimum interval and a burst window nothing is limited, but holds are kept.
#[test]
fn a_kept_hold_outlives_the_servers_data_without_a_minimum_interval() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(r#"{"stop": {"min_interval": "0s", "burst": null}}"#);
    let mut con = server.connection();
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    for key in [&documents::scope("s"), documents::FLEET] {
        documents::hold(&mut con, key, "wait for me", support_now(), None);
        assert_eq!(frosty.hook(&stop("s")).code, Some(0));
        redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
        let codes: Vec<_> = (0..3).map(|_| frosty.hook(&stop("s")).code).collect();
        assert_eq!(codes, [Some(0); 3], "{key}");
    }
}

/// The server lost its data, and this machine cannot store its new epoch.
#[test]
fn a_record_that_cannot_be_written_starves_nobody() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(POLICY);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    redis::cmd("FLUSHALL").query::<()>(&mut server.connection()).unwrap();
    // A full disk, a directory that other users may write to, a file system that became read-only.
    std::fs::create_dir(frosty.state().join("default/server.json.tmp")).unwrap();
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(frosty.hook(&stop("s")).code);
        nap(2_300);
    }
    assert!(codes.contains(&Some(2)), "{codes:?} {:?}", stream(&mut server.connection()));
}

/// The same, where a scope was decided here when the disk filled up.
#[test]
fn a_scope_that_cannot_be_given_back_is_decided_by_the_server_all_the_same() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    gate.shut();
    frosty.hook(&stop("s"));
    std::fs::create_dir(frosty.scope_file("s").with_extension("json.tmp")).unwrap();
    gate.unlock();
    let mut answers = Vec::new();
    for _ in 0..5 {
        nap(2_600);
        answers.push(frosty.hook(&stop("s")));
    }
    assert!(answers.iter().any(|a| a.code == Some(2)), "{answers:?}");
}

/// A session that was done in one pane is resumed in another, and prompted there; then the server goes.
#[test]
fn what_a_session_said_in_another_seat_does_not_bind_it_for_good() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    let at = |scope: &str, payload: &str| {
        let mut command = frosty.command(&["hook"]);
        command.env("FROSTY_SCOPE", scope);
        crate::support::feed(command, payload.as_bytes())
    };
    assert_eq!(at("a", &stop_saying("s", "frosty: done")).code, Some(0));
    assert_eq!(at("b", &event("s", "UserPromptSubmit", r#","prompt":"go on""#)).code, Some(0));
    assert_eq!(at("b", &stop("s")).code, Some(2), "the prompt ended the rest");
    gate.shut();
    let mut answers = vec![at("b", &stop("s"))];
    nap(3_500);
    answers.push(at("b", &stop("s")));
    gate.unlock();
    for _ in 0..4 {
        nap(2_600);
        answers.push(at("b", &stop("s")));
    }
    assert!(answers.iter().any(|a| a.code == Some(2)), "{answers:?}");
}

/// A journal that is still to be sent waits for the server, but not without end.
#[test]
fn a_journal_that_has_grown_too_large_is_put_aside_and_counted() {
    let frosty = Frosty::new().var("FROSTY_STORE", "redis://127.0.0.1:1").config(POLICY);
    frosty.hook(&stop("s"));
    let (journal, old) =
        ["journal.jsonl", "journal.1.jsonl"].map(|name| frosty.state().join("default").join(name)).into();
    let first = std::fs::metadata(&journal).unwrap().len();
    // Mostly holes: it only has to be long, and to end as an entry does.
    let grow = |to: u64| {
        let file = std::fs::OpenOptions::new().write(true).open(&journal).unwrap();
        file.set_len(to - 1).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"\n", to - 1).unwrap();
    };
    let given_up = || {
        let record = std::fs::read_to_string(frosty.state().join("default/server.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&record).unwrap()["given_up"].as_u64()
    };
    grow(300 << 20);
    frosty.hook(&stop("s"));
    assert!(!old.exists() && given_up().is_none());
    let len = (320 << 20) + 1;
    grow(len);
    let answer = frosty.hook(&stop("s"));
    assert!(answer.took < Duration::from_millis(900), "{answer:?}");
    assert_eq!(std::fs::metadata(&old).unwrap().len(), len);
    assert!(std::fs::metadata(&journal).unwrap().len() < 4 * first);
    assert_eq!(given_up(), Some(len), "nothing of it was shipped");
}

/// The time in a refusal after a change of store is when the next request is admitted, in both directions.
#[test]
fn what_is_reported_after_a_change_of_store_is_right() {
    let port = crate::support::free_port();
    let frosty = Frosty::new().config(POLICY).var("FROSTY_STORE", &format!("redis://127.0.0.1:{port}"));
    let left = |entry: &serde_json::Value| {
        let left = &entry["retry_after_ms"];
        left.as_u64().or_else(|| left.as_str()?.parse().ok()).unwrap()
    };
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    nap(left(frosty.journal().last().unwrap()) + 5);
    let answer = frosty.hook(&stop("s"));
    assert_eq!(answer.code, Some(2), "{answer:?} {:?}", frosty.journal());

    let server = Server::start_on(port);
    let mut con = server.connection();
    // Hooks try the server again a while after it failed.
    crate::support::eventually("the server decides", || {
        frosty.hook(r#"{"session_id":"o","hook_event_name":"Notification"}"#);
        redis::cmd("EXISTS").arg(documents::session("o")).query::<bool>(&mut con).unwrap()
    });
    let first = frosty.hook(&stop("s"));
    assert_eq!(first.code, Some(0), "{first:?}");
    let entries: Vec<(String, HashMap<String, String>)> =
        redis::cmd("XREVRANGE").arg("torch.continuous.ops").arg("+").arg("-").query(&mut con).unwrap();
    let refused = entries.iter().find(|(_, e)| e["session"] == "s" && e["store"] == "dragonfly").expect("a verdict");
    nap(refused.1["retry_after_ms"].parse::<u64>().unwrap() + 5);
    let answer = frosty.hook(&stop("s"));
    assert_eq!(answer.code, Some(2), "{answer:?}");
}
