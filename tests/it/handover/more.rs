//! More stories of a change of store.

use std::sync::atomic::Ordering;

use frosty::store::files::paths;
use serde_json::{Value, json};

use crate::handover::{Gate, POLICY, event, home, nap, stream, support_now};
use crate::support::{Answer, Frosty, Server, documents, eventually, feed, stop, stop_saying};

pub fn hold(server: &Server, key: &str) {
    documents::hold(&mut server.connection(), key, "wait for me", support_now(), None);
}

pub fn edit(frosty: &Frosty, file: &str, change: impl FnOnce(&mut Value)) {
    let path = frosty.state().join("default").join(file);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

fn read(frosty: &Frosty, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(frosty.state().join("default").join(file)).unwrap()).unwrap()
}

/// A scope that is decided here for a damaged key obeys the fleet's hold that this machine knows.
#[test]
fn a_fleets_hold_holds_a_scope_with_a_damaged_key() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(POLICY);
    documents::plant(&mut server.connection(), &documents::session("s"));
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    hold(&server, documents::FLEET);
    assert_eq!(frosty.hook(&stop("t")).code, Some(0));
    assert!(read(&frosty, "server.json")["fleets"].as_object().is_some_and(|all| all.len() == 1), "it is known here");
    for _ in 0..6 {
        nap(1_100);
        let answer = frosty.hook(&stop("s"));
        assert_eq!(answer.code, Some(0), "{answer:?}");
    }
}

/// `frosty release` of a scope lifts that scope's hold, and never the fleet's.
#[test]
fn a_scopes_release_in_an_outage_leaves_the_fleets_hold() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    hold(&server, documents::FLEET);
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    frosty.run(&["release", "s"], b"");
    assert_eq!(frosty.hook(&stop("s")).code, Some(0), "the server keeps the fleet's hold");
    gate.shut();
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    let released = frosty.run(&["release", "s"], b"");
    for _ in 0..6 {
        nap(1_100);
        let answer = frosty.hook(&stop("s"));
        assert_eq!(answer.code, Some(0), "{answer:?} {released:?}");
    }
}

/// A server 60 ms away (one trip to connect, two more for a step) is within the budget; its entries arrive too.
#[test]
fn entries_reach_a_server_that_is_far_away() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    gate.shut();
    frosty.hook(&stop("s"));
    gate.late.store(60, Ordering::SeqCst);
    gate.unlock();
    home(&frosty, &mut server.connection());
    for _ in 0..20 {
        frosty.hook(&stop("s"));
        nap(50);
    }
    let record = read(&frosty, "server.json");
    assert!(record["unshipped"].is_null(), "{record}");
}

/// Several sessions in one scope. One is done, another continues; the first is woken from another machine.
#[test]
fn a_rest_that_a_wake_up_ended_elsewhere_is_over_here() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let here = Frosty::new().var("FROSTY_STORE", &gate.url).var("FROSTY_SCOPE", "x").config(POLICY);
    let there = Frosty::on(&server).config(POLICY);
    assert_eq!(here.hook(&stop_saying("a", "frosty: done")).code, Some(0));
    assert_eq!(here.hook(&stop("b")).code, Some(2));
    let woke = there.run(&["wake", "a"], b"");
    nap(2_100);
    assert_eq!(here.hook(&stop("a")).code, Some(2), "{woke:?}");
    gate.shut();
    let mut answers = vec![here.hook(&stop("a"))];
    nap(3_300);
    answers.push(here.hook(&stop("a")));
    gate.unlock();
    for _ in 0..4 {
        nap(2_600);
        answers.push(here.hook(&stop("a")));
    }
    assert!(answers.iter().any(|a| a.code == Some(2)), "{answers:?}");
}

/// A weekend without a server: 30 sessions used one scope, which was admitted every 25 s.
#[test]
fn a_long_outage_comes_home() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new()
        .var("FROSTY_STORE", &gate.url)
        .config(r#"{"stop": {"min_interval": "2s", "burst": null}, "budget": "240ms"}"#);
    frosty.hook(&stop("s"));
    gate.shut();
    frosty.hook(&stop("s"));
    edit(&frosty, &paths::scope("s"), |file| {
        let now = support_now();
        file["away"]["admitted"] = (0..10_000).map(|i| json!([now - (10_000 - i) * 25_000, i])).collect();
        file["away"]["since"] = json!(now - 250_000_000);
        let session = file["sessions"]["s"].clone();
        for i in 0..30 {
            file["sessions"][format!("other-{i}")] = session.clone();
        }
    });
    for i in 0..30 {
        let other = frosty.session_file(&format!("other-{i}"));
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::copy(frosty.session_file("s"), other).unwrap();
    }
    gate.unlock();
    let mut con = server.connection();
    let before = stream(&mut con).len();
    for _ in 0..8 {
        nap(1_500);
        frosty.hook(&stop("s"));
    }
    assert!(stream(&mut con).len() > before, "{}", read(&frosty, "server.json"));
}

/// The clock was stepped back by two hours after the server reported a cooldown; then the server loses its data.
#[test]
fn a_kept_cooldown_is_brought_with_its_length_after_a_clock_was_stepped_back() {
    let server = Server::start();
    let frosty = Frosty::on(&server)
        .config(r#"{"stop": {"min_interval": "2s", "burst": null}, "api_error": {"base": "3s", "max": "4s"}}"#);
    frosty.hook(&event("s", "StopFailure", r#","error":"overloaded""#));
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    let back = 7_200_000;
    edit(&frosty, &paths::scope("s"), |file| {
        for field in ["start", "end"] {
            let api = &mut file["base"]["scope"]["api"];
            api[field] = json!(api[field].as_i64().unwrap() + back);
        }
    });
    edit(&frosty, "server.json", |record| {
        record["marks"]["s"]["until"] = json!(record["marks"]["s"]["until"].as_i64().unwrap() + back);
    });
    redis::cmd("FLUSHALL").query::<()>(&mut server.connection()).unwrap();
    frosty.hook(&stop("s"));
    nap(5_000);
    let answers: Vec<_> = (0..2)
        .map(|_| {
            nap(2_200);
            frosty.hook(&stop("s"))
        })
        .collect();
    assert!(answers.iter().any(|a| a.code == Some(2)), "{answers:?} {:?}", stream(&mut server.connection()).last());
}

/// A hold that was the server's own is lifted there in the outage, while the clock here is stepped back.
#[test]
fn a_hold_lifted_on_the_server_stays_lifted_whatever_the_clock_here_did() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    hold(&server, &documents::scope("s"));
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    gate.shut();
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    // As if the clock had been stepped back by an hour since.
    edit(&frosty, &paths::scope("s"), |file| {
        let later = json!(file["scope"]["hold"]["since"].as_i64().unwrap() + 3_600_000);
        file["scope"]["hold"]["since"] = later.clone();
        file["base"]["scope"]["hold"]["since"] = later;
        file["away"]["since"] = json!(file["away"]["since"].as_i64().unwrap() + 3_600_000);
    });
    frosty.hook(&event("s", "UserPromptSubmit", r#","prompt":"go on""#));
    nap(50);
    frosty.hook(&stop("s"));
    let there = Frosty::on(&server).config(POLICY);
    // Otherwise a stalled machine's own files would decide in the server's place.
    eventually("the server hears of the release", || {
        let released = there.run(&["release", "s"], b"");
        released.code == Some(0) && released.stderr.is_empty()
    });
    gate.unlock();
    home(&frosty, &mut server.connection());
    let scope = documents::read(&mut server.connection(), &documents::scope("s"));
    assert!(scope["hold"].is_null(), "{scope} {}", read(&frosty, &paths::scope("s")));
}

pub fn at(frosty: &Frosty, url: &str, payload: &str) -> Answer {
    let mut command = frosty.command(&["hook"]);
    command.env("FROSTY_STORE", url);
    feed(command, payload.as_bytes())
}

/// A release from an outage that is delivered late lifts no hold that was opened since.
#[test]
fn a_release_that_arrives_late_lifts_no_later_hold() {
    let server = Server::start();
    let (gate, direct) = (Gate::before(&server), Gate::before(&server));
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    hold(&server, &documents::scope("s"));
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    gate.shut();
    frosty.hook(&stop("s"));
    let mut release = frosty.command(&["release", "s"]);
    // If no server listens, the command uses the files.
    release.env("FROSTY_STORE", format!("redis://127.0.0.1:{}", crate::support::free_port()));
    let released = feed(release, b"");
    assert!(released.stdout.starts_with("released s"), "{released:?}");
    gate.holds.store(true, Ordering::SeqCst);
    gate.unlock();
    nap(1_500);
    frosty.hook(&stop("s"));
    // The connection works again; the first message is still delayed somewhere.
    at(&frosty, &direct.url, &stop("s"));
    hold(&server, &documents::scope("s"));
    at(&frosty, &direct.url, &stop("s"));
    let held = |con: &mut redis::Connection| {
        stream(con).iter().rev().find(|e| e["degraded"] == "0").unwrap()["reason"].clone()
    };
    assert_eq!(held(&mut server.connection()), "hold");
    nap(4_000);
    gate.holds.store(false, Ordering::SeqCst);
    nap(1_000);
    let answers: Vec<_> = (0..2)
        .map(|_| {
            nap(2_200);
            at(&frosty, &direct.url, &stop("s"))
        })
        .collect();
    assert!(answers.iter().all(|a| a.code == Some(0)), "{answers:?}");
}

/// Between the message and the failback the scope failed back and was taken over again, with as many steps as before.
#[test]
fn what_was_told_of_one_outage_is_not_taken_for_the_next() {
    for overlapping in [false, true] {
        told_of_one_outage(overlapping);
    }
}

fn told_of_one_outage(overlapping: bool) {
    let server = Server::start();
    let (gate, direct) = (Gate::before(&server), Gate::before(&server));
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    let dead = format!("redis://127.0.0.1:{}", crate::support::free_port());
    at(&frosty, &direct.url, &stop("s"));
    at(&frosty, &dead, &stop("s"));
    gate.late.store(300, Ordering::SeqCst);
    std::thread::scope(|scope| {
        if overlapping {
            scope.spawn(|| frosty_at(&frosty, &gate));
        }
        nap(80);
        at(&frosty, &direct.url, &stop("s"));
        at(&frosty, &dead, &event("s", "StopFailure", r#","error":"overloaded""#));
    });
    let mut answers = Vec::new();
    for _ in 0..3 {
        nap(2_200);
        answers.push(at(&frosty, &direct.url, &stop("s")));
    }
    assert!(
        answers.iter().all(|a| a.code == Some(0)),
        "{overlapping}, an API cooldown of a minute is open: {answers:?}"
    );
}

fn frosty_at(frosty: &Frosty, gate: &Gate) {
    at(frosty, &gate.url, &stop("s"));
}

/// A server that hangs still accepts connections: people's commands apply on this machine.
#[test]
fn people_release_and_wake_before_a_server_that_hangs() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(POLICY);
    hold(&server, &documents::scope("s"));
    frosty.hook(&stop("s"));
    frosty.hook(&stop_saying("t", "frosty: done"));
    crate::handover::signal(&server, "-STOP");
    frosty.hook(&stop("s"));
    let released = frosty.run(&["release", "s"], b"");
    let woken = frosty.run(&["wake", "t"], b"");
    crate::handover::signal(&server, "-CONT");
    assert!(released.stdout.starts_with("released s"), "{released:?}");
    assert!(woken.stdout.starts_with("t "), "{woken:?}");
}

/// An emptied scope file (a power cut), while entries wait for a journal of another type: the server is well and
/// decides.
#[test]
fn a_scope_file_that_cannot_be_read_starves_nobody() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(POLICY);
    frosty.hook(&stop("s"));
    redis::cmd("DEL").arg("torch.continuous.ops").query::<()>(&mut server.connection()).unwrap();
    redis::cmd("SET").arg("torch.continuous.ops").arg("x").query::<()>(&mut server.connection()).unwrap();
    frosty.hook(&stop("s"));
    std::fs::create_dir_all(frosty.scope_file("s").parent().unwrap()).unwrap();
    std::fs::write(frosty.scope_file("s"), "").unwrap();
    let mut codes = Vec::new();
    for _ in 0..5 {
        nap(2_200);
        codes.push(frosty.hook(&stop("s")).code);
    }
    assert!(codes.contains(&Some(2)), "{codes:?} {:?}", frosty.journal().last());
}

/// A scope file that cannot be read is sent to the server as lost. This machine's last admission is unknown, so the
/// server starts the minimum interval, though its own last admission is long past.
#[test]
fn a_scope_file_that_cannot_be_read_closes_the_guard_on_the_server() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    let mut con = server.connection();
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    gate.shut();
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    nap(2_200);
    gate.unlock();
    let own = |con: &mut redis::Connection| {
        stream(con).into_iter().filter(|e| e["degraded"] == "0").skip(1).map(|e| e["reason"].clone()).next()
    };
    // A request that still finds the server unreachable writes the file anew.
    eventually("the server decides again", || {
        std::fs::write(frosty.scope_file("s"), "{").unwrap();
        frosty.hook(&stop("s"));
        own(&mut con).is_some()
    });
    assert_eq!(own(&mut con).as_deref(), Some("min_interval"), "{:?}", stream(&mut con));
}

/// A reply that arrives after the scope was taken over does not give the scope back: the decisions of this machine
/// are sent to the server before the server decides again.
#[test]
fn a_late_answer_does_not_undo_what_was_decided_here() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new()
        .var("FROSTY_STORE", &gate.url)
        .config(r#"{"stop": {"min_interval": "1s", "burst": null}, "api_error": {"base": "60s"}}"#);
    let in_scope = |scope: &str, payload: &str| {
        let mut command = frosty.command(&["hook"]);
        command.env("FROSTY_SCOPE", scope);
        feed(command, payload.as_bytes())
    };
    let mut con = server.connection();
    assert_eq!(in_scope("x", &stop("s")).code, Some(2));
    let of = |con: &mut redis::Connection, session: &str, event: &str| {
        stream(con).iter().filter(|e| e["session"] == session && e["event"] == event).count()
    };
    gate.late_commit.store(450, Ordering::SeqCst);
    std::thread::scope(|scope| {
        // The server decides at once, and its answer comes late.
        let late = scope.spawn(|| in_scope("x", &stop_saying("t", "frosty: done")));
        eventually("the server has decided", || of(&mut con, "t", "Stop") == 1);
        gate.shut();
        in_scope("x", &event("s", "StopFailure", r#","error":"overloaded""#));
        assert_eq!(of(&mut con, "s", "StopFailure"), 0, "this machine was to decide that");
        let late = late.join().unwrap();
        assert!(late.code == Some(0) && late.stderr.is_empty(), "the answer was to come: {late:?}");
    });
    gate.late_commit.store(0, Ordering::SeqCst);
    gate.unlock();
    // Another scope finds the server well.
    eventually("the server decides again", || {
        nap(200);
        in_scope("y", &stop("u"));
        of(&mut con, "u", "Stop") > 0
    });
    nap(1_100);
    in_scope("x", &stop("s"));
    let last = stream(&mut con).into_iter().rev().find(|e| e["session"] == "s" && e["event"] == "Stop").unwrap();
    assert_eq!((last["degraded"].as_str(), last["reason"].as_str()), ("0", "api_error"), "{:?}", stream(&mut con));
}

/// A release from a clock that was ahead lifts no hold that was opened after it.
#[test]
fn a_release_by_a_clock_that_was_ahead_lifts_no_later_hold() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    frosty.hook(&stop("s"));
    gate.shut();
    frosty.hook(&stop("s"));
    let mut release = frosty.command(&["release", "s"]);
    release.env("FROSTY_STORE", format!("redis://127.0.0.1:{}", crate::support::free_port()));
    feed(release, b"");
    edit(&frosty, &paths::scope("s"), |file| {
        file["scope"]["released"] = json!(file["scope"]["released"].as_i64().unwrap() + 7_200_000);
    });
    nap(1_000);
    hold(&server, &documents::scope("s"));
    nap(1_000);
    gate.unlock();
    home(&frosty, &mut server.connection());
    let scope = documents::read(&mut server.connection(), &documents::scope("s"));
    assert_eq!(scope["hold"]["by"], "ann", "{scope}");
}

/// Faults in three stores: admissions of one scope are never closer than its minimum interval.
#[test]
fn admissions_keep_their_distance_while_the_server_flaps() {
    flaps(false);
}

/// The same, with hooks that are killed at random points.
#[test]
fn admissions_keep_their_distance_while_hooks_are_killed() {
    flaps(true);
}

fn flaps(kills: bool) {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new()
        .var("FROSTY_STORE", &gate.url)
        .var("FROSTY_SCOPE", "x")
        .config(r#"{"stop": {"min_interval": "1s", "burst": null}, "budget": "240ms"}"#);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    std::thread::scope(|scope| {
        for worker in 0..4u64 {
            let frosty = &frosty;
            scope.spawn(move || {
                let mut n = worker;
                while std::time::Instant::now() < end {
                    n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    match n >> 60 {
                        0 => frosty.hook(&event(&format!("w{worker}"), "UserPromptSubmit", r#","prompt":"go""#)),
                        1..7 if kills => {
                            let mut command = frosty.command(&["hook"]);
                            let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
                            let _ = std::io::Write::write_all(
                                &mut child.stdin.take().unwrap(),
                                stop(&format!("w{worker}")).as_bytes(),
                            );
                            std::thread::sleep(std::time::Duration::from_micros((n >> 20) % 12_000));
                            let _ = child.kill();
                            let _ = child.wait();
                            continue;
                        }
                        _ => frosty.hook(&stop(&format!("w{worker}"))),
                    };
                    nap((n >> 40) % 300);
                }
            });
        }
        let mut n = 7u64;
        while std::time::Instant::now() < end {
            n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            match (n >> 50) % 4 {
                0 => gate.shut(),
                1 => gate.late.store((n >> 30) % 400, Ordering::SeqCst),
                2 => {
                    crate::handover::signal(&server, "-STOP");
                    nap((n >> 20) % 1_500);
                    crate::handover::signal(&server, "-CONT");
                }
                _ => {
                    gate.late.store(0, Ordering::SeqCst);
                    gate.unlock();
                }
            }
            nap((n >> 33) % 3_000);
        }
    });
    gate.late.store(0, Ordering::SeqCst);
    gate.unlock();
    let mut con = server.connection();
    eventually("all is shipped", || {
        nap(100);
        frosty.hook(&stop("w0"));
        read(&frosty, "server.json")["unshipped"].is_null()
    });
    let here: Vec<String> =
        frosty.journal().iter().filter(|e| e["degraded"] == 1).map(|e| e["id"].as_str().unwrap().to_owned()).collect();
    let told: Vec<String> =
        stream(&mut con).into_iter().filter(|e| e["degraded"] == "1").map(|e| e["id"].clone()).collect();
    println!("{} entries of the stand-in", here.len());
    assert_eq!(here, told, "each once and in order");
    let entries: Vec<(String, std::collections::HashMap<String, String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut con).unwrap();
    let mut at: Vec<(i64, String)> = Vec::new();
    for (id, e) in entries.iter().filter(|(_, e)| e["degraded"] == "0" && e["next_action"] == "CLAUDE_CODE_RESTART") {
        at.push((id.split('-').next().unwrap().parse().unwrap(), e["store"].clone()));
    }
    for e in frosty.journal().iter().filter(|e| e["degraded"] == 1 && e["next_action"] == "CLAUDE_CODE_RESTART") {
        at.push((e["ms"].as_i64().unwrap(), "embedded".to_owned()));
    }
    at.sort();
    let close: Vec<_> = at.windows(2).filter(|w| w[1].0 - w[0].0 < 1_000).collect();
    println!("{} admissions, {} here", at.len(), at.iter().filter(|a| a.1 == "embedded").count());
    assert!(close.is_empty(), "{close:?}");
}
