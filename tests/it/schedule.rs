//! Tests `frosty schedule`, the moods in `frosty status`, and the plain text of an agent's rest, on real stores.

use std::fs;

use serde_json::{Value, json};

use crate::support::place::{Place, goes_on};
use crate::support::{Frosty, Server, documents, eventually, stop, stop_saying};

const POLICY: &str = r#"{"stop": {"min_interval": "1ms", "burst": null}, "person": {"quiet": "0s"}}"#;

/// Returns the text of an agent's rest, and on a server the time until it expires.
fn sleeping(place: &Place, agent: &str) -> Option<(String, Option<i64>)> {
    let Some(server) = &place.server else {
        let path = place.frosty.state().join("default/sleeping").join(agent);
        return fs::read_to_string(path).ok().map(|text| (text, None));
    };
    let mut con = server.connection();
    let key = format!("frosty:{{default}}:sleeping:{agent}");
    let (text, ttl): (Option<String>, i64) = redis::pipe().get(&key).pttl(&key).query(&mut con).unwrap();
    text.map(|text| (text, Some(ttl)))
}

#[test]
fn the_text_of_a_rest_for_other_programs() {
    for place in Place::both() {
        let place = Place { frosty: place.frosty.config(POLICY), ..place };
        assert_eq!(place.frosty.hook(&stop("plain")).code, Some(2));
        assert_eq!(sleeping(&place, "plain"), None);

        let before = frosty::clock::host_ms();
        place.frosty.hook(&stop_saying("naps", "frosty: next_check 20m"));
        let (text, ttl) = sleeping(&place, "naps").unwrap();
        let (end, reason) = text.split_once(' ').unwrap();
        let left = end.parse::<i64>().unwrap() - before;
        assert!((1_199_000..1_260_000).contains(&left), "{text}");
        assert_eq!(reason, "rest");
        assert!(ttl.is_none_or(|ttl| (1_100_000..=1_200_000).contains(&ttl)), "{ttl:?}");

        place.frosty.hook(&stop_saying("naps", "frosty: done"));
        let (text, ttl) = sleeping(&place, "naps").unwrap();
        assert_eq!(text, " done");
        assert!(ttl.is_none_or(|ttl| ttl > 86_400_000), "{ttl:?}");
        place.event("naps", "UserPromptSubmit", r#","prompt":"go on""#);
        assert_eq!(sleeping(&place, "naps"), None);

        // A wake-up ends the rest at once, and the session is admitted.
        let engine = place.resting("naps", "frosty: wait_for the build");
        assert!(sleeping(&place, "naps").unwrap().0.ends_with(" wait_for"));
        assert_eq!(place.run(&["wake", "naps"]).code, Some(0));
        assert_eq!(sleeping(&place, "naps"), None);
        goes_on(&engine.answer());
        assert_eq!(sleeping(&place, "naps"), None);

        // The name that the user gave, and the last of two sessions with it.
        let place = place.var("FROSTY_NAME", "echo");
        place.frosty.hook(&stop_saying("one", "frosty: done"));
        place.frosty.hook(&stop_saying("two", "frosty: blocked ann"));
        assert!(sleeping(&place, "echo").unwrap().0.ends_with(" blocked"));
        assert_eq!(sleeping(&place, "one"), None);
        place.event("two", "SessionEnd", r#","reason":"other""#);
        assert_eq!(sleeping(&place, "echo"), None);
    }
}

/// A text that cannot be written or removed stops no step.
#[test]
fn a_broken_text_harms_nothing() {
    let frosty = Frosty::embedded().config(POLICY);
    frosty.hook(&stop("s"));
    let folder = frosty.state().join("default/sleeping");
    fs::create_dir_all(folder.join("s/inner")).unwrap();
    for message in ["frosty: done", "frosty: next_check 20m"] {
        let answer = frosty.hook(&stop_saying("s", message));
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    }
    frosty.hook(r#"{"session_id":"s","hook_event_name":"UserPromptSubmit","prompt":"go on"}"#);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    assert!(!frosty.state().join("default/redo.json").exists());
    // The folder itself.
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "x").unwrap();
    assert_eq!(frosty.hook(&stop_saying("t", "frosty: done")).code, Some(0));
    assert_eq!(frosty.hook(&stop("u")).code, Some(2));
    assert!(!frosty.state().join("default/redo.json").exists());
}

/// What a machine decided in a server's place has no text here once the server has it.
#[test]
fn the_server_receives_the_text_of_an_outage() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(POLICY);
    frosty.hook(&stop("s"));
    let port = crate::support::free_port();
    let mut cut_off = frosty.command(&["hook"]);
    cut_off.env("FROSTY_STORE", format!("redis://127.0.0.1:{port}"));
    // Another server: its first request is refused.
    crate::support::feed(cut_off, stop_saying("s", "frosty: done").as_bytes());
    let place = Place { frosty, server: None };
    assert_eq!(sleeping(&place, "s").unwrap().0, " done");
    let place = Place { server: Some(server), ..place };
    place.frosty.hook(&stop_saying("s", "frosty: done"));
    assert_eq!(sleeping(&place, "s").unwrap().0, " done");
    let place = Place { server: None, ..place };
    assert_eq!(sleeping(&place, "s"), None);
}

const AGENTS: &str = r#"{"agents": {"echo": {"profile": "staccato"}, "vaeris": {"profile": "measured"}}}"#;

/// Three agents: one rests and has a mood, one is due to reflect, and one has no profile.
fn fleet(server: &Server) -> Frosty {
    let frosty = Frosty::on(server).config(AGENTS);
    let mut con = server.connection();
    let now = frosty::clock::host_ms();
    let rest = |kind: &str, left: Option<i64>| {
        let mut rest = json!({"kind": kind, "since": now - 60_000});
        if let Some(left) = left {
            rest["until"] = (now + left).into();
        }
        rest
    };
    let begun = json!({"at": now - 60_000, "id": "stop"});
    let of_day = |n: Value| json!({"at": now.div_euclid(6 * 3_600_000), "n": n});
    for (id, more) in [
        (
            "echo",
            json!({"last_reason": "idle", "rest": rest("idle", Some(720_000)), "idle": 2,
            "rhythm": of_day(json!([2, 9, 1])), "cadence": {"cycles": 10, "reflections": 3}}),
        ),
        (
            "vaeris",
            json!({"last_reason": "rest", "rest": rest("rest", Some(1_200_000)),
            "rhythm": of_day(json!([9, 1, 1, 2])), "cadence": {"cycles": 4, "reflections": 1, "since_dream": 5,
                "dreams": [now - 3_600_000, now - 7_200_000]}}),
        ),
        ("helix", json!({"last_reason": "done", "rest": rest("done", None)})),
    ] {
        let mut session = json!({"scope": id, "name": id, "fence": 7, "begun": begun, "seen": now - 60_000,
            "pid": 7, "host": "elsewhere"});
        for (name, value) in more.as_object().unwrap() {
            session[name] = value.clone();
        }
        documents::write(&mut con, &documents::session(id), &session);
        redis::cmd("ZADD").arg("frosty:{default}:sessions").arg(now).arg(id).query::<()>(&mut con).unwrap();
    }
    frosty
}

#[test]
fn the_schedule_and_the_moods_of_a_fleet() {
    let server = Server::start();
    let frosty = fleet(&server);
    let all = frosty.run(&["schedule"], b"");
    println!("{}", all.stdout);
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""), "{all:?}");
    let one = frosty.run(&["schedule", "vaeris"], b"");
    for (shown, words) in [
        (&all.stdout, "echo (staccato) rests until "),
        (&all.stdout, " (its last 2 turns did nothing new).\n  After 2 more cycles: a reflection on itself.\n"),
        (&all.stdout, "  Mood: watchful (9 of 12 turns of the last day polled).\n"),
        (&all.stdout, "helix (no profile) rests until a wake-up (it reported that it is done).\n  Mood: unknown"),
        (&one.stdout, "(it named the time of its next check); then a reflection on itself.\n"),
        (
            &one.stdout,
            "  Dreams: 2 of 6 in the last day; the next one after 4 more turns, before a rest of 20m or more.\n",
        ),
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    assert!(!one.stdout.contains("echo"), "{one:?}");
    let unknown = frosty.run(&["schedule", "nobody"], b"");
    assert_eq!(unknown.code, Some(64), "{unknown:?}");

    let json = |args: &[&str]| -> Value { serde_json::from_str(&frosty.run(args, b"").stdout).unwrap() };
    let schedule = json(&["schedule", "--json"]);
    let status = json(&["status", "--json"]);
    let found = |report: &Value, name: &str| {
        report["sessions"].as_array().unwrap().iter().find(|s| s["id"] == name).unwrap().clone()
    };
    for name in ["echo", "vaeris", "helix"] {
        let (next, shown) = (found(&schedule, name), found(&status, name));
        for field in ["state", "back_by", "back_at", "profile", "mood", "mood_reason"] {
            assert_eq!(next[field], shown[field], "{name} {field}");
        }
    }
    let vaeris = found(&schedule, "vaeris");
    assert_eq!(vaeris["next_turn"], "reflection_on_self");
    assert_eq!(vaeris["dreams"]["turns_left"], 4);
    assert_eq!(found(&schedule, "helix")["profile"], Value::Null);
    assert_eq!(found(&status, "helix")["mood"], "unknown");

    let table = frosty.run(&["status"], b"").stdout;
    println!("{table}");
    let moods: Vec<&str> = table.lines().filter(|line| line.contains("watchful") || line.contains("focused")).collect();
    assert_eq!(moods.len(), 2, "{table}");
    let head = table.lines().find(|line| line.starts_with("SESSION")).unwrap();
    assert!(head.contains("  MOOD "), "{table}");
}

/// The journal shows what a turn is for, and what a measured turn was for.
#[test]
fn the_kind_of_a_turn_is_shown() {
    let config = r#"{"stop": {"min_interval": "1ms", "burst": null}, "person": {"quiet": "0s"},
        "agents": {"*": {"profile": "even"}}, "profiles": {"even": {"reflect_every": 1}}}"#;
    let frosty = Frosty::embedded().config(config);
    frosty.hook(&stop("s"));
    frosty.hook(&stop_saying("s", "frosty: next_check 1s"));
    eventually("a reflection", || {
        frosty.hook(&stop("s"));
        frosty.run(&["log"], b"").stdout.contains("admitted  reflection_on_cycle")
    });
    let told = frosty.run(&["explain", "s"], b"");
    let words = "The turn is a reflection on its last cycles (reflection_on_cycle), and not its work.";
    assert!(told.stdout.contains(words), "{told:?}");
}
