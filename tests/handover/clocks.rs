//! This machine's clock is stepped in an outage.

use crate::support::{Answer, Frosty, Server, feed, stop};
use crate::{Gate, event, nap, stream};

const FAKE: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

fn at(frosty: &Frosty, clock: &str, payload: &str) -> Answer {
    let mut command = frosty.command(&["hook"]);
    command.env("LD_PRELOAD", FAKE).env("FAKETIME", clock);
    feed(command, payload.as_bytes())
}

fn admitted(frosty: &Frosty, clock: &str, within: u64) -> bool {
    (0..within / 300).any(|_| {
        nap(300);
        at(frosty, clock, &stop("s")).code == Some(2)
    })
}

#[test]
fn a_stepped_clock_starves_nobody() {
    let mut bad = Vec::new();
    for (before, after) in [("+2h", "+0"), ("+0", "+2h"), ("+0", "-2h"), ("+40d", "+0")] {
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

/// The same with what closes doors: an API cooldown that began here.
#[test]
fn a_cooldown_of_an_outage_keeps_its_length_whatever_the_clock_does() {
    let mut bad = Vec::new();
    for (before, after) in [("+2h", "+0"), ("+0", "-2h")] {
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
        // The first ask after the step is the one that goes home.
        nap(1_600);
        at(&frosty, after, &stop("s"));
        if !admitted(&frosty, after, 9_000) {
            bad.push((before, after, stream(&mut con).last().cloned()));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}
