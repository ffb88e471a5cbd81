//! This machine's clock is stepped in an outage.

use std::path::PathBuf;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::handover::{Gate, event, nap, stream};
use crate::support::{Answer, Frosty, Server, feed, library, stop};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Runs a hook with a wall clock that is so many seconds from the true one.
fn at(frosty: &Frosty, seconds: i64, payload: &str) -> Answer {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        let library = library("clock", dir.path());
        (dir, library)
    });
    let clock = frosty.home.path().join("clock");
    std::fs::write(&clock, seconds.to_string()).unwrap();
    let mut command = frosty.command(&["hook"]);
    command.env("LD_PRELOAD", library).env("FAULTS_CLOCK", clock);
    feed(command, payload.as_bytes())
}

/// The changed clock works at all: the journal has its times.
#[test]
fn a_hook_can_be_lent_another_clock() {
    let frosty = Frosty::embedded();
    at(&frosty, 40 * DAY, &stop("s"));
    let ms = frosty.journal()[0]["ms"].as_i64().unwrap();
    let ahead = ms - frosty::clock::host_ms();
    assert!((ahead - 40_000 * DAY).abs() < 60_000, "{ahead}");
}

fn admitted(frosty: &Frosty, clock: i64, within: u64) -> bool {
    (0..within / 300).any(|_| {
        nap(300);
        at(frosty, clock, &stop("s")).code == Some(2)
    })
}

#[test]
fn a_stepped_clock_starves_nobody() {
    let mut bad = Vec::new();
    for (before, after) in [(2 * HOUR, 0), (0, 2 * HOUR), (0, -2 * HOUR), (40 * DAY, 0)] {
        for twice in [false, true] {
            let server = Server::start();
            let gate = Gate::before(&server);
            let frosty = Frosty::new()
                .var("FROSTY_STORE", &gate.url)
                .config(r#"{"stop": {"min_interval": "1s", "burst": null}}"#);
            let mut con = server.connection();
            at(&frosty, before, &stop("s"));
            gate.shut();
            at(&frosty, before, &stop("s"));
            if twice {
                gate.unlock();
                nap(1_400);
                at(&frosty, before, &stop("s"));
                gate.shut();
                at(&frosty, before, &stop("s"));
            }
            at(&frosty, after, &event("s", "UserPromptSubmit", r#","prompt":"go""#));
            let here = admitted(&frosty, after, 6_000);
            gate.unlock();
            let own = stream(&mut con).iter().filter(|e| e["degraded"] == "0").count();
            let there = (0..20).any(|_| {
                admitted(&frosty, after, 1_500);
                stream(&mut con).iter().filter(|e| e["degraded"] == "0" && e["verdict"] == "admit").count() > own.min(1)
            });
            if !here || !there {
                bad.push((before, after, twice, here, there, stream(&mut con).last().cloned()));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

/// The same with an API cooldown that began here.
#[test]
fn a_cooldown_of_an_outage_keeps_its_length_whatever_the_clock_does() {
    let mut bad = Vec::new();
    for (before, after) in [(2 * HOUR, 0), (0, -2 * HOUR)] {
        let server = Server::start();
        let gate = Gate::before(&server);
        let frosty = Frosty::new()
            .var("FROSTY_STORE", &gate.url)
            .config(r#"{"stop": {"min_interval": "1s", "burst": null}, "api_error": {"base": "2s", "max": "2s"}}"#);
        let mut con = server.connection();
        at(&frosty, before, &stop("s"));
        gate.shut();
        at(&frosty, before, &event("s", "StopFailure", r#","error":"overloaded""#));
        at(&frosty, before, &event("t", "Notification", ""));
        gate.unlock();
        // The first request after the step is the one that fails back.
        nap(1_600);
        at(&frosty, after, &stop("s"));
        if !admitted(&frosty, after, 9_000) {
            bad.push((before, after, stream(&mut con).last().cloned()));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}
