//! Engines while the server flaps: none exits without an admission, none is left behind, none floods the journal.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::handover::{Gate, nap, stream};
use crate::support::{Engine, Frosty, Server, documents, stop};

#[test]
fn engines_come_back_while_the_server_flaps() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new()
        .var("FROSTY_STORE", &gate.url)
        .var("FROSTY_SCOPE", "x")
        .config(r#"{"stop": {"min_interval": "1s", "burst": null}, "budget": "240ms"}"#);
    let start = Instant::now();
    let (rough, end) = (start + Duration::from_secs(18), start + Duration::from_secs(35));
    let turns = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let frosty = &frosty;
                scope.spawn(move || {
                    let mut turns = Vec::new();
                    while Instant::now() < end {
                        let begun = Instant::now();
                        let mut engine = Engine::start(frosty, &stop(&format!("w{worker}")));
                        while engine.is_waiting() && begun.elapsed() < Duration::from_secs(40) {
                            nap(10);
                        }
                        if engine.is_waiting() {
                            turns.push((begun, None));
                            break;
                        }
                        turns.push((begun, engine.answer().code));
                    }
                    turns
                })
            })
            .collect();
        let mut n = 99u64;
        while Instant::now() < rough {
            n = n.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            match (n >> 50) % 5 {
                0 => gate.shut(),
                1 => gate.late.store((n >> 30) % 300, Ordering::SeqCst),
                2 => {
                    crate::handover::signal(&server, "-STOP");
                    nap((n >> 20) % 3_000);
                    crate::handover::signal(&server, "-CONT");
                }
                3 if (n >> 40).is_multiple_of(3) => {
                    redis::cmd("FLUSHALL").query::<()>(&mut server.connection()).unwrap();
                }
                _ => {
                    gate.late.store(0, Ordering::SeqCst);
                    gate.unlock();
                }
            }
            nap((n >> 33) % 4_000);
        }
        gate.late.store(0, Ordering::SeqCst);
        gate.unlock();
        workers.into_iter().map(|w| w.join().unwrap()).collect::<Vec<_>>()
    });
    let all: Vec<(u128, Option<i32>)> =
        turns.iter().flatten().map(|(b, c)| (b.duration_since(start).as_millis(), *c)).collect();
    let mut per_second: HashMap<String, u32> = HashMap::new();
    for e in stream(&mut server.connection()) {
        *per_second.entry(format!("{} {}", e["session"], e["timestamp"])).or_default() += 1;
    }
    let most = per_second.iter().max_by_key(|(_, n)| **n);
    println!("{} turns, most entries a second: {most:?}", all.len());
    let bad: Vec<_> = all.iter().filter(|(_, code)| *code != Some(2)).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

/// A server that answers TIME but runs no script.
#[test]
fn engines_write_no_more_than_an_entry_a_second_before_a_server_that_runs_no_script() {
    for payload in [stop("s"), crate::handover::event("s", "StopFailure", r#","error":"overloaded""#)] {
        let server = Server::start();
        let frosty = Frosty::on(&server)
            .config(r#"{"stop": {"min_interval": "30s", "burst": null}, "api_error": {"base": "30s", "max": "30s"}}"#);
        frosty.hook(&stop("s"));
        let _engine = Engine::start(&frosty, &payload);
        nap(1_000);
        let mut acl = redis::cmd("ACL");
        acl.arg("SETUSER").arg("default").arg(&["-evalsha", "-eval"]);
        acl.query::<()>(&mut server.connection()).unwrap();
        // It has to send its Stop event: the session is unknown.
        redis::cmd("DEL").arg(documents::session("s")).query::<()>(&mut server.connection()).unwrap();
        nap(20_000);
        let entries = frosty.journal();
        println!("{} entries", entries.len());
        assert!((1..=20).contains(&entries.len()), "{}: {:?}", entries.len(), &entries[..entries.len().min(5)]);
    }
}

/// One request has one entry, also if the server lost its data and gets the state of this machine.
#[test]
fn an_ask_that_finds_the_data_lost_is_journaled_once() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(crate::handover::POLICY);
    let mut con = server.connection();
    frosty.hook(&crate::support::stop_saying("s", "frosty: done"));
    redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
    frosty.hook(&stop("s"));
    let entries = stream(&mut con);
    assert_eq!(entries.len(), 1, "{entries:?}");
}

/// A session that is done stays done, also if the server lost its data.
#[test]
fn a_session_that_is_done_stays_done_when_the_data_is_lost() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(crate::handover::POLICY);
    let mut con = server.connection();
    frosty.hook(&crate::support::stop_saying("s", "frosty: done"));
    // With its data the server refuses each later Stop event: the session is done.
    frosty.hook(&stop("s"));
    assert_eq!(stream(&mut con).last().unwrap()["reason"], "done");
    redis::cmd("FLUSHALL").query::<()>(&mut con).unwrap();
    frosty.hook(&stop("s"));
    nap(2_200);
    let answer = frosty.hook(&stop("s"));
    assert_eq!(answer.code, Some(0), "{answer:?} {:?}", stream(&mut con));
}
