//! Holds and releases that people give while a server is unreachable, or has just returned.

use std::sync::atomic::Ordering;

use redis::Connection;
use serde_json::json;

use crate::handover::more::{at, edit, hold};
use crate::handover::{Gate, nap, support_now};
use crate::support::documents::{self, FLEET};
use crate::support::{Answer, Frosty, Server, eventually, feed, free_port, stop};

const QUICK: &str = r#"{"stop": {"min_interval": "200ms", "burst": null}}"#;

pub fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

pub fn run_at(frosty: &Frosty, url: &str, args: &[&str]) -> Answer {
    let mut command = frosty.command(args);
    command.env("FROSTY_STORE", url);
    feed(command, b"")
}

pub fn why(con: &mut Connection, key: &str) -> String {
    documents::read(con, key)["hold"]["reason"].as_str().unwrap_or_default().to_owned()
}

/// Of a hold opened here in an outage and one opened on the server, the longer one stays.
#[test]
fn the_longer_of_two_holds_stands() {
    for (left_there, stands) in [(1_800_000, "mine"), (7_200_000, "theirs")] {
        let port = free_port();
        let frosty = Frosty::new().var("FROSTY_STORE", &url(port)).config(QUICK);
        frosty.hook(&stop("s"));
        for args in
            [&["hold", "--for", "1h", "--reason", "mine"][..], &["hold", "s", "--for", "1h", "--reason", "mine"]]
        {
            assert_eq!(frosty.run(args, b"").code, Some(0));
        }
        let since = support_now();
        let server = Server::start_on(port);
        let mut con = server.connection();
        let scope = documents::scope("s");
        for key in [FLEET, &scope] {
            documents::hold(&mut con, key, "theirs", since, Some(since + left_there));
        }
        eventually("the server is told", || {
            frosty.hook(&stop("s"));
            !documents::read(&mut con, &scope)["taken"].is_null()
        });
        assert_eq!((why(&mut con, FLEET), why(&mut con, &scope)), (stands.to_owned(), stands.to_owned()));
        nap(300);
        assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    }
}

/// A hold that is delivered late replaces none that was opened since.
#[test]
fn a_hold_that_arrives_late_replaces_no_later_one() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(QUICK);
    frosty.hook(&stop("s"));
    gate.shut();
    frosty.hook(&stop("s"));
    for args in [&["hold", "--reason", "mine"][..], &["hold", "s", "--reason", "mine"]] {
        assert_eq!(frosty.run(args, b"").code, Some(0));
    }
    gate.holds.store(true, Ordering::SeqCst);
    gate.unlock();
    edit(&frosty, "server.json", |record| record["breaker"]["next"] = json!(0));
    frosty.hook(&stop("s"));
    let scope = documents::scope("s");
    for key in [FLEET, &scope] {
        hold(&server, key);
    }
    nap(1_500);
    gate.holds.store(false, Ordering::SeqCst);
    nap(500);
    let mut con = server.connection();
    assert_eq!([why(&mut con, FLEET), why(&mut con, &scope)], ["wait for me", "wait for me"]);
}

/// A person's command tries a server that other processes found unreachable a moment ago, and reports a failure.
#[test]
fn a_hold_does_not_wait_for_the_breakers_next_try() {
    let port = free_port();
    let frosty = Frosty::new().var("FROSTY_STORE", &url(port)).config(QUICK);
    frosty.hook(&stop("s"));
    let held = frosty.run(&["hold", "--reason", "here"], b"");
    assert!(held.stderr.contains("applies to this machine only") && !held.stdout.contains("nobody"), "{held:?}");
    // The breaker is open for long.
    edit(&frosty, "server.json", |record| record["breaker"]["next"] = json!(support_now() + 15_000));
    let server = Server::start_on(port);
    let held = frosty.run(&["hold", "--reason", "there"], b"");
    assert_eq!((held.code, held.stderr.contains("alone")), (Some(0), false), "{held:?}");
    assert_eq!(why(&mut server.connection(), FLEET), "there");
}

/// If the server refuses the user, files decide, and the hold is there.
#[test]
fn a_fleet_is_held_where_the_server_lets_nobody_in() {
    let server = Server::start_with(&["--requirepass", "secret"]);
    let frosty = Frosty::on(&server).config(QUICK);
    frosty.hook(&stop("s"));
    let held = frosty.run(&["hold"], b"");
    assert!(held.code == Some(0) && held.stderr.contains("applies to this machine only"), "{held:?}");
    assert!(held.stderr.contains("FROSTY_STORE_PASSWORD_FILE"), "{held:?}");
    nap(300);
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    assert!(frosty.run(&["release"], b"").stdout.starts_with("released the whole fleet"));
    assert_eq!(frosty.run(&["hold", "s"], b"").code, Some(0));
    nap(300);
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    assert_eq!(frosty.journal().last().unwrap()["reason"], "hold");
    assert!(frosty.run(&["release"], b"").stdout.starts_with("released s"));
    eventually("the agent goes on", || {
        nap(300);
        frosty.hook(&stop("s")).code == Some(2)
    });
}

/// Two servers under one fleet: decisions in the place of one do not concern the other, and are not lost because of it.
#[test]
fn a_fleets_hold_and_release_are_of_one_server() {
    let (port, other) = (free_port(), Server::start());
    let frosty = Frosty::new().config(QUICK);
    hold(&other, FLEET);
    let ask_other = |times| (0..times).all(|_| at(&frosty, &other.url(), &stop("s")).code == Some(0));
    nap(5);
    assert_eq!(run_at(&frosty, &url(port), &["release", "--fleet"]).code, Some(0));
    assert!(ask_other(3), "lifted there and not here");
    assert_eq!(why(&mut other.connection(), FLEET), "wait for me");
    assert_eq!(run_at(&frosty, &url(port), &["hold", "--reason", "mine"]).code, Some(0));
    assert!(ask_other(3));
    let server = Server::start_on(port);
    let mut con = server.connection();
    eventually("the one that was away is told", || {
        at(&frosty, &url(port), &stop("s"));
        why(&mut con, FLEET) == "mine"
    });
}

/// A clock that is stepped back lengthens a fleet's hold by no more than its length.
#[test]
fn a_fleets_hold_keeps_its_length_when_the_clock_is_stepped_back() {
    let away = url(free_port());
    for (store, file) in [("embedded", "fleet.json"), (away.as_str(), "server.json")] {
        let frosty = Frosty::new().var("FROSTY_STORE", store).config(QUICK);
        frosty.hook(&stop("s"));
        assert_eq!(frosty.run(&["hold", "--for", "1s"], b"").code, Some(0));
        edit(&frosty, file, |value| {
            let hold = match file {
                "fleet.json" => &mut value["fleet"]["hold"],
                _ => &mut value["fleets"][&away]["here"]["hold"],
            };
            for field in ["since", "until"] {
                hold[field] = json!(hold[field].as_i64().unwrap() + 3_600_000);
            }
        });
        assert_eq!(frosty.hook(&stop("s")).code, Some(0));
        nap(1_300);
        assert_eq!(frosty.hook(&stop("s")).code, Some(2), "{store}");
    }
}
