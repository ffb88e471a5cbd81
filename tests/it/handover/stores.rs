//! The configuration names another store: the minimum interval starts, and the holds move along.

use std::sync::atomic::Ordering;

use crate::handover::holds::{run_at, url, why};
use crate::handover::more::at;
use crate::handover::{Gate, nap, stream};
use crate::support::documents::{self, FLEET};
use crate::support::{Frosty, Server, eventually, free_port, stop};

const POLICY: &str = r#"{"stop": {"min_interval": "1500ms", "burst": null}, "spread": {"step": "0s", "cold": "0s"}}"#;
/// Longer than the minimum interval.
const INTERVAL: u64 = 1_700;

#[test]
fn a_changed_store_begins_the_minimum_interval_and_keeps_the_holds() {
    let servers = [Server::start(), Server::start()];
    let [a, b] = servers.each_ref().map(Server::url);
    let files = "embedded".to_owned();
    std::thread::scope(|threads| {
        for (from, to) in [(&files, &a), (&a, &files), (&a, &b)] {
            threads.spawn(move || changes(from, to));
        }
    });
}

/// Each history has scopes of its own.
fn changes(from: &str, to: &str) {
    let frosty = Frosty::new().config(POLICY).var("FROSTY_FLEET", &format!("from-{}", from.len() + 10 * to.len()));
    let ask = |store: &str, session: &str| at(&frosty, store, &stop(session));
    let change = format!("{from} to {to}");
    assert_eq!(ask(from, "s").code, Some(2), "{change}");
    assert_eq!(ask(from, "t").code, Some(2), "{change}");
    // The other store does not know of that admission.
    assert_eq!(ask(to, "s").code, Some(0), "{change}");
    nap(INTERVAL);
    assert_eq!(ask(to, "s").code, Some(2), "{change}");
    // And back again.
    assert_eq!(ask(from, "s").code, Some(0), "{change}");
    nap(INTERVAL);
    assert_eq!(ask(from, "s").code, Some(2), "{change}");

    for args in [&["hold", "--reason", "all"][..], &["hold", "t", "--for", "1h", "--reason", "own"]] {
        let held = run_at(&frosty, from, args);
        assert!(held.code == Some(0) && held.stderr.is_empty(), "{change}: {held:?}");
    }
    nap(INTERVAL);
    for session in ["s", "t", "new"] {
        let answer = ask(to, session);
        assert_eq!(answer.code, Some(0), "{change}: {answer:?}");
    }
    nap(INTERVAL);
    let looked = run_at(&frosty, to, &["status"]);
    assert!(looked.stdout.contains("all"), "{change}: {looked:?}");
    assert_eq!(ask(to, "new").code, Some(0), "{change}: held");
    let released = run_at(&frosty, to, &["release", "--fleet"]);
    assert!(released.stdout.contains("all"), "{change}: {released:?}");
    assert_eq!(ask(to, "s").code, Some(2), "{change}: released");
    assert_eq!(ask(to, "t").code, Some(0), "{change}: its own hold stands");
    let released = run_at(&frosty, to, &["release", "t"]);
    assert!(released.stdout.contains("own"), "{change}: {released:?}");
    eventually("it goes on", || {
        nap(INTERVAL);
        ask(to, "t").code == Some(2)
    });
}

/// One request of a machine with the old epoch suffices for every scope, whatever machine sends the next one.
#[test]
fn a_server_that_lost_its_data_begins_the_minimum_interval_of_every_scope() {
    let server = Server::start();
    let (old, new) = (Frosty::on(&server).config(POLICY), Frosty::on(&server).config(POLICY));
    for session in ["s", "t"] {
        assert_eq!(old.hook(&stop(session)).code, Some(2));
    }
    redis::cmd("FLUSHALL").query::<()>(&mut server.connection()).unwrap();
    assert_eq!(old.hook(&stop("s")).code, Some(0));
    assert_eq!(new.hook(&stop("t")).code, Some(0), "{:?}", stream(&mut server.connection()));
    nap(INTERVAL);
    assert_eq!(new.hook(&stop("t")).code, Some(2));
    assert_eq!(old.hook(&stop("s")).code, Some(2));
}

/// The decisions in the place of a server that is never contacted again move to the next store.
#[test]
fn what_a_stand_in_decided_goes_to_the_next_store() {
    let (dead, server) = (url(free_port()), Server::start());
    for to in [server.url(), "embedded".to_owned()] {
        let frosty = Frosty::new().config(POLICY);
        at(&frosty, &dead, &stop("s"));
        for args in [&["hold", "--reason", "all"][..], &["hold", "s", "--reason", "own"]] {
            assert_eq!(run_at(&frosty, &dead, args).code, Some(0));
        }
        at(&frosty, &to, &stop("s"));
        nap(INTERVAL);
        run_at(&frosty, &to, &["release", "--fleet"]);
        assert_eq!(at(&frosty, &to, &stop("s")).code, Some(0), "{to}: its own hold stands");
        assert!(run_at(&frosty, &to, &["release", "s"]).stdout.contains("own"), "{to}");
        eventually("it goes on", || {
            nap(INTERVAL);
            at(&frosty, &to, &stop("s")).code == Some(2)
        });
    }
}

/// The reply to a hold is lost: the command finds out that it was opened, and opens it once.
#[test]
fn a_hold_whose_answer_is_lost_is_opened_once_and_reported_as_it_is() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &gate.url).config(POLICY);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    let mut con = server.connection();
    for (args, word, told) in
        [(&["hold", "s", "--reason", "look"][..], "is held", 1), (&["release", "s"], "released", 2)]
    {
        gate.cuts.store(true, Ordering::SeqCst);
        let said = frosty.run(args, b"");
        assert!(said.code == Some(0) && said.stdout.contains(word) && said.stderr.is_empty(), "{said:?}");
        assert!(!gate.cuts.load(Ordering::SeqCst), "an answer was cut off");
        let entries = stream(&mut con);
        let named = |e: &&std::collections::HashMap<String, String>| e["event"] == "Hold" || e["event"] == "Release";
        assert_eq!(entries.iter().filter(named).count(), told, "{entries:?}");
    }
    assert_eq!(why(&mut con, &documents::scope("s")), "");
    // It comes so late that the command cannot wait for it.
    gate.late_commit.store(1_500, Ordering::SeqCst);
    let said = frosty.run(&["hold", "--reason", "late"], b"");
    gate.late_commit.store(0, Ordering::SeqCst);
    assert!(said.code == Some(0) && said.stderr.contains("answer was lost"), "{said:?}");
    assert_eq!(why(&mut con, FLEET), "late");
    // Released on the server meanwhile, it is not opened again by this machine's own.
    assert_eq!(Frosty::on(&server).run(&["release", "--fleet"], b"").code, Some(0));
    eventually("the server decides again", || {
        nap(300);
        frosty.hook(&stop("s")).code == Some(2)
    });
    assert_eq!(why(&mut con, FLEET), "");
}
