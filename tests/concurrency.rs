//! Many processes on one scope: never more admissions than the policy allows.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::atomic::{AtomicU32, Ordering};

use support::{Frosty, Server, stop};

const PROCESSES: u32 = 64;
const ASKS: u32 = 10_000;

/// 64 processes at a time ask 10,000 times; the exit codes 2 and 0.
fn storm(frosty: &Frosty) -> (u32, u32) {
    let (twos, zeros, left) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(ASKS));
    std::thread::scope(|threads| {
        for i in 0..PROCESSES {
            let (twos, zeros, left) = (&twos, &zeros, &left);
            threads.spawn(move || {
                let payload = stop(&format!("session-{i}"));
                while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                    let answer = frosty.hook(&payload);
                    match answer.code {
                        Some(2) => twos.fetch_add(1, Ordering::SeqCst),
                        Some(0) => zeros.fetch_add(1, Ordering::SeqCst),
                        _ => panic!("{answer:?}"),
                    };
                }
            });
        }
    });
    (twos.into_inner(), zeros.into_inner())
}

const GUARD: &str = r#"{"scope": "one", "stop": {"min_interval": "1h"}}"#;
const QUOTA: &str = r#"{"scope": "one",
    "stop": {"min_interval": "0s", "burst": null, "quotas": [{"limit": 100, "per": "1h"}]}}"#;

/// Exactly so many admissions were committed, and no exit 2 was given without one. (An answer that comes past its second
/// on a stalled machine is burnt: committed, and exit 0.)
fn held_to(limit: u32, committed: usize, (twos, zeros): (u32, u32)) {
    println!("{committed} admissions committed, {twos} exits 2, {zeros} exits 0");
    assert_eq!(committed, limit as usize);
    assert!(twos <= limit, "{twos} exits 2 for {limit} admissions");
    assert_eq!(twos + zeros, ASKS);
}

fn on_the_server(config: &str, limit: u32) {
    let server = Server::start();
    let storm = storm(&Frosty::on(&server).config(config));
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut server.connection()).unwrap();
    let admitted = entries.iter().filter(|(_, fields)| fields.iter().any(|f| f == "CLAUDE_CODE_RESTART")).count();
    held_to(limit, admitted, storm);
}

fn on_the_embedded_store(config: &str, limit: u32) {
    let frosty = Frosty::embedded().config(config);
    let storm = storm(&frosty);
    let admitted = frosty.journal().iter().filter(|e| e["next_action"] == "CLAUDE_CODE_RESTART").count();
    held_to(limit, admitted, storm);
}

#[test]
fn guard_on_the_server() {
    on_the_server(GUARD, 1);
}

#[test]
fn quota_on_the_server() {
    on_the_server(QUOTA, 100);
}

#[test]
fn guard_on_the_embedded_store() {
    on_the_embedded_store(GUARD, 1);
}

#[test]
fn quota_on_the_embedded_store() {
    on_the_embedded_store(QUOTA, 100);
}
