//! A wake-up with a signal during an outage: the machine decides it by the list that the server's document had, and the note
//! comes along.

use crate::handover::{Gate, event, nap};
use crate::support::{Engine, Frosty, Server, documents, eventually, stop_saying};

#[test]
fn a_signal_in_an_outage_is_decided_by_the_sessions_list() {
    let server = Server::start();
    let gate = Gate::before(&server);
    let frosty = Frosty::new()
        .var("FROSTY_STORE", &gate.url)
        .config(r#"{"stop": {"min_interval": "1s", "burst": null}, "wake_on": ["urgent"]}"#);
    let mut con = server.connection();
    let mut document = move || documents::read(&mut con, &documents::session("s"));
    let mut engine = Engine::start(&frosty, &stop_saying("s", "frosty: done"));
    eventually("the server has refused it", || document()["last_reason"] == "done");
    // Other processes of this machine no longer reach the server.
    gate.shut();
    let kept = |word: &str| frosty.journal().iter().filter(|e| e["reason"] == word && e["degraded"] == 1).count();
    eventually("this machine decides", || {
        let wake = frosty.run(&["wake", "s", "--signal", "ping", "--note", "one"], b"");
        nap(500);
        wake.stdout.starts_with("s was not woken: its wake_on does not contain ping") && kept("note_kept") > 0
    });
    nap(1_500);
    assert!(engine.is_waiting());
    gate.unlock();
    eventually("the note is on the server", || {
        frosty.hook(&event("s", "Notification", ""));
        nap(200);
        document()["note"].as_str().is_some_and(|note| note.contains("ping: one"))
    });
    let merged = document();
    assert!(merged.get("woken").is_none() && merged["wake_on"] == serde_json::json!(["urgent"]), "{merged}");
    assert!(engine.is_waiting());
    let woke = frosty.run(&["wake", "s", "--signal", "urgent", "--note", "two"], b"");
    assert_eq!(woke.stdout, "woke s\n");
    let answer = engine.answer();
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stderr.contains("ping: one\n") && answer.stderr.ends_with("urgent: two\n"), "{answer:?}");
}
