//! The last line against a hang: a store that never comes back costs a second and exit 0, whatever it hangs on.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::path::Path;
use std::time::Duration;

use support::{Answer, Frosty, Server, feed, stop};
use tempfile::TempDir;

fn asked(frosty: &Frosty, library: &Path, event: &str) -> Answer {
    let mut hook = frosty.command(&["hook"]);
    hook.env("LD_PRELOAD", library);
    feed(hook, event.as_bytes())
}

#[test]
fn a_stalled_disk_costs_a_second_and_admits_nothing() {
    let dir = TempDir::new().unwrap();
    let library = support::library("stall", dir.path());
    let server = Server::start();
    let away = format!("redis://127.0.0.1:{}", support::free_port());
    let (stop, compaction) = (stop("s"), support::fixture("PreCompact-auto.json"));
    for (frosty, events) in [
        (Frosty::embedded(), vec![&stop, &compaction]),
        // What the server said for the first time is to be kept.
        (Frosty::on(&server), vec![&stop]),
        (Frosty::new().var("FROSTY_STORE", &away), vec![&stop, &compaction]),
    ] {
        for event in events {
            let answer = asked(&frosty, &library, event);
            assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
            assert!(answer.stderr.contains("store_down") && answer.stderr.contains("within a second"), "{answer:?}");
            // No sooner than any deadline, and whoever waits for it does not wait for the disk.
            assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&answer.took), "{answer:?}");
        }
    }
    // With its disk the same scope is decided at once.
    let frosty = Frosty::embedded();
    assert_eq!(asked(&frosty, &library, &stop).code, Some(0));
    assert_eq!(frosty.hook(&stop).code, Some(2));
}
