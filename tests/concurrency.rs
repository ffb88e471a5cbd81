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

const GUARD: &str = r#"{"scope": "one", "budget": "1s", "stop": {"min_interval": "1h"}}"#;
const QUOTA: &str = r#"{"scope": "one", "budget": "1s",
    "stop": {"min_interval": "0s", "burst": null, "quotas": [{"limit": 100, "per": "1h"}]}}"#;

#[test]
fn guard_on_the_server() {
    let server = Server::start();
    assert_eq!(storm(&Frosty::on(&server).config(GUARD)), (1, ASKS - 1));
}

#[test]
fn quota_on_the_server() {
    let server = Server::start();
    assert_eq!(storm(&Frosty::on(&server).config(QUOTA)), (100, ASKS - 100));
}

#[test]
fn guard_on_the_embedded_store() {
    assert_eq!(storm(&Frosty::embedded().config(GUARD)), (1, ASKS - 1));
}

#[test]
fn quota_on_the_embedded_store() {
    let frosty = Frosty::embedded().config(QUOTA);
    let (twos, zeros) = storm(&frosty);
    // An ask that waits for the lock past its budget stands down, so all that can be said is: no more than 100. They
    // are reached as long as fewer than 9,900 of 10,000 give up.
    assert_eq!((twos, zeros), (100, ASKS - 100));
    let admitted = frosty.journal().iter().filter(|e| e["verdict"] == "admit").count();
    assert_eq!(admitted, 100);
}
