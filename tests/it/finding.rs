//! Commands for people among many sessions on a server: one is found without reading the others, only by its own
//! names, and many are woken over one connection.

use crate::support::{Frosty, Server, documents, stop};
use redis::Connection;
use serde_json::{Value, json};

const INDEX: &str = "frosty:{default}:sessions";
const JOURNAL: &str = "torch.continuous.ops";
/// A time that no session was seen after.
const NOW: i64 = 4_000_000_000_000;

/// Plants a session: its document, and its member of the index with these names.
fn plant(con: &mut Connection, id: &str, document: &Value, names: Option<&Value>) {
    documents::write(con, &documents::session(id), document);
    let member = names.map_or_else(|| id.to_owned(), |names| format!("{id} {names}"));
    redis::cmd("ZADD").arg(INDEX).arg(NOW).arg(member).query::<()>(con).unwrap();
}

/// Plants so many sessions that rest, with the names `agent-0` and so on.
fn fill(con: &mut Connection, count: usize) {
    for i in 0..count {
        let names = json!({"scope": format!("seat-{i}"), "name": format!("agent-{i}"), "label": format!("night:{i}"), "seen": 0});
        let mut document = names.clone();
        document["seen"] = NOW.into();
        document["rest"] = json!({"kind": "done", "since": 1});
        plant(con, &format!("{i:08x}-0000-4000-8000-000000000000"), &document, Some(&names));
    }
}

fn members(con: &mut Connection) -> Vec<String> {
    redis::cmd("ZRANGE").arg(INDEX).arg(0).arg(-1).query(con).unwrap()
}

fn is_woken(con: &mut Connection, id: &str) -> bool {
    documents::read(con, &documents::session(id))["woken"] == true
}

/// A figure of `INFO`: a field of a section, or of one command's statistics.
fn figure(con: &mut Connection, section: &str, field: &str) -> i64 {
    let info: String = redis::cmd("INFO").arg(section).query(con).unwrap();
    let value = info.lines().find_map(|line| line.strip_prefix(field)).unwrap_or(":0");
    value.trim_start_matches([':', '=']).split(',').next().unwrap().trim().parse().unwrap()
}

#[test]
fn one_session_is_found_without_reading_the_others() {
    let server = Server::start_own();
    let mut con = server.connection();
    fill(&mut con, 1000);
    let frosty = Frosty::on(&server);
    assert_eq!(frosty.run(&["wake", "agent-1"], b"").code, Some(0));
    for args in [
        vec!["wake", "agent-700"],
        vec!["wake", "seat-701"],
        vec!["wake", "night:702"],
        vec!["wake", "703"],
        vec!["wake", "000002c0"],
        vec!["wake", "000002c1-0000-4000-8000-000000000000"],
        vec!["hold", "agent-706", "--for", "20s"],
        vec!["release", "agent-706"],
        vec!["explain", "agent-700"],
    ] {
        let before = figure(&mut con, "commandstats", "cmdstat_get:calls");
        let answer = frosty.run(&args, b"");
        assert_eq!(answer.code, Some(0), "{args:?}: {answer:?}");
        let read = figure(&mut con, "commandstats", "cmdstat_get:calls") - before;
        assert!(read < 40, "{args:?}: {read} documents were read");
    }
    for i in [700, 701, 702, 703, 704, 705] {
        assert!(is_woken(&mut con, &format!("{i:08x}-0000-4000-8000-000000000000")), "{i}");
    }
}

#[test]
fn a_name_that_only_the_index_has_means_no_session() {
    let server = Server::start();
    let mut con = server.connection();
    let frosty = Frosty::on(&server);
    let document = |name: &str, scope: &str| json!({"scope": scope, "name": name, "seen": NOW});
    let names = |name: &str, scope: &str| json!({"scope": scope, "name": name, "seen": 0});
    plant(&mut con, "renamed", &document("other", "seat-1"), Some(&names("nova", "seat-1")));
    let answer = frosty.run(&["wake", "nova"], b"");
    assert!(answer.code == Some(64) && answer.stderr.contains("no session is called \"nova\""), "{answer:?}");
    // A session of which the index knows no name.
    plant(&mut con, "unnamed", &document("nova", "seat-2"), None);
    assert_eq!(frosty.run(&["wake", "nova"], b"").code, Some(0));
    assert!(is_woken(&mut con, "unnamed") && !is_woken(&mut con, "renamed"));
    redis::cmd("ZREM").arg(INDEX).arg("unnamed").query::<()>(&mut con).unwrap();
    plant(&mut con, "named", &document("nova", "seat-3"), Some(&names("nova", "seat-3")));
    assert_eq!(frosty.run(&["wake", "nova"], b"").code, Some(0));
    assert!(is_woken(&mut con, "named") && !is_woken(&mut con, "renamed"));
    // Its document is gone.
    redis::cmd("DEL").arg(documents::session("named")).query::<()>(&mut con).unwrap();
    assert_eq!(frosty.run(&["wake", "nova"], b"").code, Some(64));
    // Another type in the place of the index harms no event.
    redis::cmd("SET").arg(INDEX).arg("text").query::<()>(&mut con).unwrap();
    assert_eq!(frosty.var("FROSTY_NAME", "a").hook(&stop("s")).code, Some(2));
}

#[test]
fn a_session_has_one_member_with_the_names_of_its_document() {
    let server = Server::start();
    let mut con = server.connection();
    let frosty = |name: &str, scope: &str| {
        Frosty::on(&server)
            .config(r#"{"stop": {"min_interval": "0s"}}"#)
            .var("FROSTY_NAME", name)
            .var("FROSTY_SCOPE", scope)
    };
    let mut one = |words: &[&str], lacks: &str| {
        let all = members(&mut con);
        let is_right = |member: &String| words.iter().all(|w| member.contains(w)) && !member.contains(lacks);
        assert!(all.len() == 1 && is_right(&all[0]), "{all:?}");
    };
    let event = |frosty: &Frosty, event: &str| {
        let payload = json!({"session_id": "s", "hook_event_name": event, "source": "startup", "reason": "other"});
        frosty.hook(&payload.to_string())
    };
    event(&frosty("nova", "seat-1"), "Stop");
    one(&["\"name\":\"nova\"", "\"scope\":\"seat-1\""], "ended");
    event(&frosty("echo", "seat-1"), "Stop");
    one(&["\"name\":\"echo\"", "\"scope\":\"seat-1\""], "nova");
    event(&frosty("echo", "seat-2"), "Stop");
    one(&["\"name\":\"echo\"", "\"scope\":\"seat-2\""], "seat-1");
    event(&frosty("echo", "seat-2"), "SessionEnd");
    one(&["\"name\":\"echo\"", "\"state\":\"ended\""], "nova");
    event(&frosty("echo", "seat-2"), "SessionStart");
    one(&["\"name\":\"echo\"", "\"scope\":\"seat-2\""], "ended");
}

#[test]
fn many_are_woken_over_one_connection() {
    let server = Server::start_own();
    let mut con = server.connection();
    fill(&mut con, 500);
    let frosty = Frosty::on(&server);
    let before = figure(&mut con, "stats", "total_connections_received");
    // Both change the same documents.
    let start = |note: &str| frosty.command(&["wake", "--all", "--note", note]).spawn().unwrap();
    let both = [start("one"), start("two")].map(|child| child.wait_with_output().unwrap());
    for output in &both {
        assert!(output.status.success(), "{output:?}");
    }
    let opened = figure(&mut con, "stats", "total_connections_received") - before;
    assert!(opened < 30, "{opened} connections");
    for i in 0..500 {
        let session = documents::read(&mut con, &documents::session(&format!("{i:08x}-0000-4000-8000-000000000000")));
        let note = session["note"].as_str().unwrap_or_default();
        let has_both = note == "one\ntwo" || note == "two\none";
        assert!(session["woken"] == true && has_both, "{i}: {session}");
    }
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg(JOURNAL).arg("-").arg("+").query(&mut con).unwrap();
    let wakes = entries.iter().filter(|(_, words)| words.chunks_exact(2).any(|pair| pair == ["event", "Wake"])).count();
    assert_eq!(wakes, 1000);
}

#[test]
fn a_verdict_beyond_what_is_read_is_not_denied() {
    let server = Server::start();
    let mut con = server.connection();
    let frosty = Frosty::on(&server);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    let explained = frosty.run(&["explain", "s"], b"");
    assert!(explained.code == Some(0) && !explained.stdout.contains("Only the newest"), "{explained:?}");
    let mut pipe = redis::pipe();
    for _ in 0..21_100 {
        let entry = [("fleet", "default"), ("session", "other"), ("scope", "other"), ("event", "Stop")];
        pipe.cmd("XADD").arg(JOURNAL).arg("*").arg(&entry).ignore();
    }
    pipe.query::<()>(&mut con).unwrap();
    let explained = frosty.run(&["explain", "s"], b"");
    assert!(
        explained.code != Some(0) && explained.stderr.contains("in the newest 20000 entries of the journal"),
        "{explained:?}"
    );
}
