//! Tests `frosty status` and `frosty statusline`: every state by real hooks on both stores, thousands of sessions on a
//! real server, the table's width, hostile names, an unreachable store, and the screen that is drawn again and again.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::place::Place;
use crate::support::{Engine, Frosty, Server, counting_proxy, documents, eventually, fixture, stop, stop_saying};
use serde_json::{Value, json};

/// A policy under which an engine waits for its minimum interval, and every quota is wide.
const POLICY: &str = r#"{"stop": {"min_interval": "1h", "quotas": [{"limit": 9, "per": "1d"}]},
    "fleet_quotas": [{"limit": 7, "per": "1h"}]}"#;

fn report(frosty: &Frosty, args: &[&str]) -> Value {
    let answer = frosty.run(&[&["status", "--json"], args].concat(), b"");
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    assert_eq!(answer.stdout.lines().count(), 1);
    serde_json::from_str(&answer.stdout).unwrap()
}

/// The sessions by their ids.
fn sessions(report: &Value) -> BTreeMap<String, Value> {
    let all = report["sessions"].as_array().unwrap().iter();
    all.map(|s| (s["id"].as_str().unwrap().to_owned(), s.clone())).collect()
}

fn lines(frosty: &Frosty, args: &[&str]) -> Vec<String> {
    let answer = frosty.run(&[&["status"], args].concat(), b"");
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    answer.stdout.lines().map(str::to_owned).collect()
}

/// Opens a hold as a person would, in either store.
fn hold(place: &Place, scope: &str, until: Option<i64>) {
    let Some(server) = &place.server else {
        let path = place.frosty.scope_file(scope);
        let mut file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        file["scope"]["hold"] = json!({"reason": "look at it", "by": "ann", "since": 1, "until": until});
        std::fs::write(path, file.to_string()).unwrap();
        return;
    };
    documents::hold(&mut server.connection(), &documents::scope(scope), "look at it", 1, until);
}

#[test]
fn every_state_by_real_hooks_on_both_stores() {
    for place in Place::both() {
        let place = Place { frosty: place.frosty.config(POLICY), ..place };
        let frosty = &place.frosty;
        let empty = lines(frosty, &[]).join("\n");
        assert!(empty.contains("frosty install") && empty.contains("frosty doctor"), "{empty}");

        // Admitted once, then refused by its minimum interval: 1 h.
        assert_eq!(frosty.hook(&stop("guarded")).code, Some(2));
        let mut engines = vec![place.resting("guarded", "more")];
        engines.push(place.resting("naps", "frosty: next_check 20m"));
        engines.push(place.resting("waits", "frosty: wait_for the build"));
        engines.push(place.resting("blocked", "frosty: blocked Zoë"));
        engines.push(place.resting("done", "frosty: done"));
        engines.push(place.resting("held", "frosty: done"));
        hold(&place, "held", None);
        let mut dies = place.resting("dies", "frosty: done");
        assert!(dies.is_waiting());
        drop(dies);
        frosty.hook(&stop_saying("plain", "frosty: next_check 20m"));
        for _ in 0..4 {
            frosty.hook(&stop("bangs"));
        }
        engines.push(place.resting("bangs", "again"));
        let failure = fixture("StopFailure-rate_limit.json");
        let mut failure: Value = serde_json::from_str(&failure).unwrap();
        failure["session_id"] = "errs".into();
        engines.push(Engine::start(frosty, &failure.to_string()));
        eventually("the failed turn waits", || place.reasons("errs").contains(&"api_error".to_owned()));
        place.event("new", "SessionStart", "");
        place.event("asked", "UserPromptSubmit", r#","prompt":"go""#);
        place.event("dialog", "Notification", r#","notification_type":"permission_prompt""#);
        place.event("over", "SessionEnd", "");

        let report = report(frosty, &[]);
        let found = sessions(&report);
        let states: Vec<(&str, &str)> =
            found.iter().map(|(id, s)| (id.as_str(), s["state"].as_str().unwrap())).collect();
        assert_eq!(
            states,
            [
                ("asked", "running"),
                ("bangs", "cooldown"),
                ("blocked", "blocked"),
                ("dialog", "needs_you"),
                ("dies", "waiter_lost"),
                ("done", "done"),
                ("errs", "api_cooldown"),
                ("guarded", "guard"),
                ("held", "hold"),
                ("naps", "resting"),
                ("new", "idle"),
                ("plain", "stopped"),
                ("waits", "wait_for"),
            ]
        );
        let back: Vec<Option<&str>> = found.values().map(|s| s["back_by"].as_str()).collect();
        let time = Some("time");
        let [answer, prompt, wake] = ["answer", "prompt", "wake"].map(Some);
        assert_eq!(
            back,
            [None, time, time, answer, prompt, wake, time, time, Some("release"), time, None, prompt, time]
        );
        let at = report["at"].as_i64().unwrap();
        let left = |id: &str| found[id]["back_at"].as_i64().unwrap() - at;
        assert!((3_500_000..=3_600_000).contains(&left("guarded")), "{}", left("guarded"));
        assert!((1_100_000..=1_200_000).contains(&left("naps")), "{}", left("naps"));
        // Two continuations were admitted, one of each scope.
        let admissions = |id: &str| found[id]["admissions_last_hour"].as_i64().unwrap();
        assert_eq!([admissions("guarded"), admissions("bangs"), admissions("naps")], [1, 1, 0]);
        assert_eq!([&found["guarded"]["quota_left"], &found["naps"]["quota_left"]], [5, 5]);
        assert_eq!(found["bangs"]["strikes"], 1);
        assert_eq!(found["errs"]["api_strikes"], 1);
        assert_eq!(found["held"]["hold"]["by"], "ann");
        assert_eq!(found["dies"]["engine"], "gone");
        assert_eq!(found["waits"]["rest"]["topic"], "the build");
        assert_eq!(report["left_out"], json!({"ended": 1, "old": 0}));

        // The sessions that need a person come first, the done and running ones last.
        let shown = lines(frosty, &[]);
        let rows: Vec<&String> = shown.iter().skip_while(|l| !l.starts_with("SESSION")).skip(1).collect();
        let order: Vec<&str> = rows.iter().filter_map(|l| l.split_whitespace().next()).take(5).collect();
        assert_eq!(order, ["dialog", "blocked", "plain", "dies", "held"]);
        // It was refused because it is done, and is held besides.
        assert!(rows[4].contains("  held by ann") && !rows[4].contains("done"), "{rows:?}");
        assert!(
            shown.iter().any(|l| l.starts_with("13 sessions: 1 needs you, 1 blocked, 1 stopped, 1 waiter lost")),
            "{shown:?}"
        );
        assert!(rows.last().unwrap().starts_with("left out: 1 ended"), "{rows:?}");
        for line in &shown {
            assert!(!line.contains('\u{1b}'), "no colours where there is no terminal: {line}");
        }
        let foot = "left out: 1 ended; to see them too: frosty status --all --fleet default";
        assert_eq!(lines(frosty, &["--fleet", "default"]).last().unwrap(), foot);
        assert!(lines(frosty, &["--all"]).iter().any(|l| l.starts_with("over ") && l.contains("ended")));

        // A prompt takes the dead engine's place.
        place.event("dies", "UserPromptSubmit", r#","prompt":"go on""#);
        assert_eq!(sessions(&self::report(frosty, &[]))["dies"]["state"], "running");
        drop(engines);
    }
}

/// Five thousand sessions, written at once.
fn fill(server: &Server, n: usize) {
    let mut con = server.connection();
    let now = frosty::clock::host_ms();
    let mut pipe = redis::pipe();
    for i in 0..n {
        let (id, scope) = (format!("{i:08x}-0000"), format!("tmux-default-p{i}"));
        let seen = now - 60_000 - i64::try_from(i).unwrap();
        let reason = ["admitted", "cooldown", "rest", "done"][i % 4];
        let mut session = json!({
            "scope": &scope, "name": format!("agent-{i}"), "seen": seen, "host": "elsewhere", "pid": 7,
            "begun": {"at": seen, "id": "stop"}, "fence": seen, "last_reason": reason,
        });
        if i % 4 >= 2 {
            session["rest"] = json!({"kind": reason, "since": seen});
        }
        if i % 4 == 2 {
            session["rest"]["until"] = (now + 600_000).into();
        }
        let mut state = json!({"stop": {"strikes": 2}});
        if i % 4 == 1 {
            state["stop"]["cooldown"] = json!({"start": seen, "end": now + 900_000});
        }
        pipe.cmd("SET").arg(documents::session(&id)).arg(documents::text(&session)).ignore();
        pipe.cmd("SET").arg(documents::scope(&scope)).arg(documents::text(&state)).ignore();
        pipe.cmd("ZADD").arg(documents::admissions(&scope)).arg(seen).arg("stop").ignore();
        pipe.cmd("ZADD").arg("frosty:{default}:sessions").arg(seen).arg(&id).ignore();
        pipe.cmd("ZADD").arg("frosty:{default}:scopes").arg(seen).arg(&scope).ignore();
        for event in ["Stop", "SessionStart"] {
            let goes_on = if event == "Stop" { "CLAUDE_CODE_RESTART" } else { "NONE" };
            let entry = [("next_action", goes_on), ("fleet", "default"), ("session", &id), ("event", event)];
            pipe.cmd("XADD").arg("torch.continuous.ops").arg("*").arg(&entry).ignore();
        }
    }
    pipe.query::<()>(&mut con).unwrap();
}

#[test]
fn five_thousand_sessions_in_few_round_trips() {
    let server = Server::start();
    fill(&server, 5000);
    let (url, trips) = counting_proxy(&server);
    let frosty = Frosty::on(&server).var("FROSTY_STORE", &url);
    let answer = frosty.run(&["status"], b"");
    let rows = answer.stdout.lines().filter(|l| l.starts_with("agent-")).count();
    assert_eq!(rows, 5000, "{}{}", answer.stderr, answer.stdout.chars().take(600).collect::<String>());
    let totals = "5000 sessions: 1250 cooldown, 1250 resting, 1250 done, 1250 running";
    assert!(answer.stdout.lines().any(|l| l == totals), "{:?}", answer.stdout.lines().nth(1));
    // 250 at once: 20 for the sessions, 20 for their scopes, 20 for what the scopes were admitted; the journal's 10,000
    // entries in pieces of 1,000; and few more.
    let trips = trips.load(Ordering::SeqCst);
    assert!(trips <= 80, "{trips} round trips");
    println!("5,000 sessions: {:?}, {trips} round trips", answer.took);

    let report = report(&frosty, &[]);
    let found = sessions(&report);
    assert_eq!(found.len(), 5000);
    assert!(found.values().all(|s| s["admissions_last_hour"] == 1));
    assert_eq!(report["admissions_cut"], false);
    assert!(found.values().filter(|s| s["state"] == "cooldown").all(|s| s["strikes"] == 2));
}

#[test]
fn more_entries_than_are_read_make_a_count_the_least() {
    let server = Server::start();
    fill(&server, 5_001);
    let frosty = Frosty::on(&server);
    // For a person the server has half a second for each part of the count. A busy machine may need longer, and shows
    // `?`.
    eventually("the count of agent-5000 is shown as the least", || {
        let shown = frosty.run(&["status"], b"").stdout;
        let row = shown.lines().find(|l| l.starts_with("agent-5000 "));
        assert!(row.is_none_or(|row| row.contains(" 1+ ") || row.contains(" ? ")), "{row:?}");
        row.is_some_and(|row| row.contains(" 1+ "))
    });
    // Programs get twice as many.
    let report = report(&frosty, &[]);
    assert_eq!(report["admissions_cut"], false);
    assert!(sessions(&report).values().all(|s| s["admissions_last_hour"] == 1));
}

/// A server in front of a server, which answers the count of admissions with `answer`: after this delay, and with these
/// bytes, or with the server's own. Without any it closes the connection.
fn counts_otherwise(server: &Server, wait: Duration, answer: Option<&'static [u8]>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = server.port;
    std::thread::spawn(move || {
        for client in listener.incoming().map(Result::unwrap) {
            std::thread::spawn(move || {
                let (mut client, mut bytes) = (client, [0; 65536]);
                let mut upstream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
                let (mut back, mut down) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut back, &mut down));
                while let Ok(n @ 1..) = client.read(&mut bytes) {
                    let is_count = String::from_utf8_lossy(&bytes[..n]).contains("Counts each session");
                    match answer {
                        _ if !is_count => upstream.write_all(&bytes[..n]).unwrap(),
                        None => {
                            let _ = client.shutdown(std::net::Shutdown::Both);
                        }
                        Some(answer) => {
                            std::thread::sleep(wait);
                            let _ = client.write_all(answer);
                        }
                    }
                }
            });
        }
    });
    url
}

#[test]
fn a_server_that_does_not_count_has_its_journal_read() {
    let server = Server::start();
    let limits = r#"{"stop": {"min_interval": "1h", "burst": {"limit": 3, "window": "1h"}}}"#;
    let frosty = Frosty::on(&server).config(limits);
    frosty.hook(&stop("went"));
    let at_once = Duration::ZERO;
    let answers: [(&str, Duration, Option<&'static [u8]>); 8] = [
        ("it may not", at_once, Some(b"-NOPERM this user has no permissions to run the 'eval' command\r\n")),
        ("an error", at_once, Some(b"-ERR Error running script\r\n")),
        ("no list", at_once, Some(b"+OK\r\n")),
        ("an empty list", at_once, Some(b"*0\r\n")),
        ("no id", at_once, Some(b"*2\r\n$3\r\n500\r\n$1\r\nx\r\n")),
        ("no number", at_once, Some(b"*4\r\n$1\r\n1\r\n$3\r\n5-1\r\n$4\r\nwent\r\n$1\r\nx\r\n")),
        ("it hangs up", at_once, None),
        // Its late reply is not taken for that to another command.
        ("too late", Duration::from_millis(700), Some(b"*0\r\n")),
    ];
    for (what, wait, answer) in answers {
        let url = counts_otherwise(&server, wait, answer);
        let shown = lines(&frosty, &["--store", &url]);
        let row = shown.iter().find(|l| l.starts_with("went ")).unwrap();
        assert!(row.contains("1/3   0  1  "), "{what}: {row}");
    }
    // An invalid journal hides no session, and is not shown as a journal without admissions.
    let mut con = server.connection();
    redis::cmd("DEL").arg("torch.continuous.ops").query::<()>(&mut con).unwrap();
    redis::cmd("SET").arg("torch.continuous.ops").arg("x").query::<()>(&mut con).unwrap();
    let row = lines(&frosty, &[]).into_iter().find(|l| l.starts_with("went ")).unwrap();
    assert!(row.contains("1/3   0  ?  "), "{row}");
    assert_eq!(sessions(&report(&frosty, &[]))["went"]["admissions_last_hour"], Value::Null);
    let log = frosty.run(&["log"], b"");
    let cure = "RENAME torch.continuous.ops torch.continuous.ops.other";
    assert!(log.code == Some(1) && log.stderr.trim_end().ends_with(cure), "{log:?}");
}

#[test]
fn names_from_elsewhere_stay_in_their_columns() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(POLICY);
    let mut con = server.connection();
    let names =
        ["\u{1b}]0;title\u{7}\u{1b}[2Jx", "日本語のとても長い名前のエージェント🧊🧊🧊", "a\nb\rc", "\u{202e}desrever"];
    for (i, name) in names.iter().enumerate() {
        let session = json!({
            "scope": "seat", "name": name, "label": name, "last_reason": name, "seen": 1,
            "rest": {"kind": "wait_for", "since": 0, "topic": name},
        });
        documents::write(&mut con, &documents::session(&format!("s{i}")), &session);
        redis::cmd("ZADD").arg("frosty:{default}:sessions").arg(1).arg(format!("s{i}")).query::<()>(&mut con).unwrap();
    }
    // Two sessions of one name are distinguished.
    for (id, name) in [("11111111-2222", "twin"), ("33333333-4444", "twin")] {
        documents::write(&mut con, &documents::session(id), &json!({"scope": "seat", "name": name, "seen": 1}));
        redis::cmd("ZADD").arg("frosty:{default}:sessions").arg(1).arg(id).query::<()>(&mut con).unwrap();
    }
    let shown = lines(&frosty, &["--all"]).join("\n");
    assert!(shown.contains("\ntwin-1111  ") && shown.contains("\ntwin-3333  "), "{shown}");
    let held = json!({"hold": {"reason": names[0], "by": names[1], "since": 1}});
    documents::change(&mut con, documents::FLEET, &held);
    for columns in [20, 40, 80, 133] {
        // The head, the hold, the totals, an empty line, the titles, and one for each.
        let drawn = on_a_terminal(&frosty, &["status", "--all"], columns);
        assert!(drawn.len() >= 5 + names.len() + 2, "{drawn:?}");
        for line in drawn {
            assert!(frosty::view::sessions::width::of(&line) <= columns, "{columns}: {line}");
            assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{columns}: {line:?}");
        }
    }
    // No output to a pipe is cut, and none with `--no-trunc`.
    let piped = lines(&frosty, &["--all"]);
    assert!(piped.iter().all(|line| !line.contains('…')) && piped.iter().any(|l| l.contains(names[1])), "{piped:?}");
    let whole = on_a_terminal(&frosty, &["status", "--all", "--no-trunc"], 40);
    assert!(whole.iter().all(|line| !line.contains('…')), "{whole:?}");
}

#[test]
fn a_store_that_is_away_is_named_and_what_this_machine_knows_is_shown() {
    let port = crate::support::free_port();
    let frosty = Frosty::new().var("FROSTY_STORE", &format!("redis://127.0.0.1:{port}"));
    frosty.hook(&stop("local"));
    let shown = lines(&frosty, &[]);
    assert!(shown[0].contains("embedded"), "{shown:?}");
    assert!(shown[1].contains("the server is unreachable"), "{shown:?}");
    assert!(shown.iter().any(|l| l.starts_with("degraded: ")), "{shown:?}");
    assert!(shown.iter().any(|l| l.starts_with("local ")), "{shown:?}");
    let report = report(&frosty, &[]);
    assert!(report["away"].as_str().unwrap().contains("connection refused"));
    assert!(report["backlog"]["journal_bytes"].as_u64().unwrap() > 0);
    assert_eq!(report["backlog"]["scopes"], 1);

    // An earlier reply about a session's cooldown does not show that it does not run by now.
    let server = Server::start_own();
    let other = Frosty::on(&server).config(r#"{"api_error": {"base": "1s"}}"#);
    let failed = r#"{"session_id":"failed","hook_event_name":"StopFailure","error":"overloaded"}"#;
    let answer = Engine::start(&other, failed).answer();
    assert_eq!(answer.code, Some(2), "{answer:?}");
    let state = |report: &Value| sessions(report)["failed"]["state"].clone();
    assert_eq!(state(&self::report(&other, &[])), "running");
    drop(server);
    assert_eq!(state(&self::report(&other, &[])), "unknown");

    // The server is back, and does not have the decisions of the outage yet.
    let _server = Server::start_on(port);
    crate::support::eventually("the breaker lets it be asked", || lines(&frosty, &[])[0].contains("redis://"));
    let shown = lines(&frosty, &[]);
    assert!(!shown[1].contains("away:"), "{shown:?}");
    assert!(shown.iter().any(|l| l.starts_with("degraded: ")), "{shown:?}");
}

#[test]
fn a_line_for_the_clients_status_line() {
    for place in Place::both() {
        let frosty = Place { frosty: place.frosty.config(POLICY), ..place };
        let (place, frosty) = (&frosty, &frosty.frosty);
        let say = |stdin: &str, args: &[&str]| {
            let answer = frosty.run(&[&["statusline"], args].concat(), stdin.as_bytes());
            assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
            answer.stdout
        };
        let of = |session: &str| {
            let project = frosty.project();
            let workspace = json!({"current_dir": project, "project_dir": project});
            json!({"session_id": session, "model": {"id": "x"}, "workspace": workspace}).to_string()
        };
        assert_eq!(say(&of("a"), &[]), "", "nothing is known of it");
        frosty.hook(&stop("a"));
        assert_eq!(say(&of("a"), &[]), "❄ running · 1 in a row · 6 left\n");
        let engine = place.resting("a", "frosty: done");
        assert_eq!(say(&of("a"), &[]), "❄ done · 6 left\n");
        drop(engine);
        assert_eq!(say(&of("a"), &[]), "❄ waiter lost, type to continue · 6 left\n");
        hold(place, "a", None);
        let engine = place.resting("a", "more");
        assert_eq!(say(&of("a"), &[]), "❄ hold by ann: look at it, until it is released · 6 left\n");
        drop(engine);
        place.event("a", "UserPromptSubmit", r#","prompt":"go""#);
        let why = ["--replace", "--for", "2h", "--reason", "日本語の理由はとても長いので途中で切られてしまいます"];
        assert_eq!(frosty.run(&[&["hold", "a"], &why[..]].concat(), b"").code, Some(0));
        let engine = place.resting("a", "more");
        let line = say(&of("a"), &[]);
        assert!(line.contains(": 日本語の理由はとても長いので途中で切ら…, until "), "{line}");
        drop(engine);

        for nonsense in ["", "[]", "{", "null", r#"{"session_id": 7}"#, r#"{"session_id": ""}"#, "\u{0}"] {
            assert_eq!(say(nonsense, &[]), "", "{nonsense}");
        }
        assert_eq!(frosty.run(&["off", "--session", "a"], b"").code, Some(0));
        assert_eq!(say(&of("a"), &[]), "", "it is not armed");
    }
}

#[test]
fn where_it_only_looks_on_nobody_is_told_to_have_been_stopped() {
    let frosty = Frosty::embedded().config(r#"{"mode": "shadow", "stop": {"min_interval": "1h"}}"#);
    let waits = ["hook", "--wait", "20d", "--timeout", "1900000"];
    for (session, args) in [("plain", &waits[..1]), ("waits", &waits[..])] {
        for _ in 0..2 {
            assert_eq!(frosty.run(args, stop(session).as_bytes()).code, Some(0));
        }
        let line = frosty.run(&["statusline"], json!({"session_id": session}).to_string().as_bytes()).stdout;
        assert!(line.starts_with("❄ shadow: guard until "), "{session}: {line}");
    }
    let report = report(&frosty, &[]);
    assert_eq!((&report["mode"], &report["totals"]), (&json!("shadow"), &json!({"guard": 2})));
    assert!(lines(&frosty, &[])[1].starts_with("SHADOW MODE: "));
    // Without the mode, no dead engine is shown.
    let enforced = frosty.config(r#"{"stop": {"min_interval": "1h"}}"#);
    assert_eq!(self::report(&enforced, &[])["totals"], json!({"stopped": 2}));
}

#[test]
fn the_status_line_waits_for_nobody() {
    // A server that accepts connections and sends nothing, and a client that never closes its pipe.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", mute.local_addr().unwrap());
    let frosty = Frosty::bare().var("FROSTY_STORE", &url);
    let answer = frosty.run(&["statusline"], br#"{"session_id": "a"}"#);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), "❄ store away\n"));
    // A session that would not be continued prints nothing either.
    let frosty = frosty.config(r#"{"arm": "manual"}"#);
    assert_eq!(frosty.run(&["statusline"], br#"{"session_id": "a"}"#).stdout, "");

    let mut child = frosty.command(&["statusline"]).stdin(Stdio::piped()).spawn().unwrap();
    let held_open = child.stdin.take();
    let end = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "it waits for a pipe that nobody closes");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(held_open);
}

/// `frosty status --watch` on a terminal of its own, by `script` of util-linux.
struct Watch {
    script: std::process::Child,
    keys: std::process::ChildStdin,
    seen: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Watch {
    fn start(frosty: &Frosty, size: &str) -> Self {
        let mut command = frosty.command_of("script".as_ref(), &["-qfec"]);
        // The shell shows how the terminal is left.
        let watch = format!("trap : INT; stty {size}; {} status --watch; stty -a", env!("CARGO_BIN_EXE_frosty"));
        command.arg(watch).arg("/dev/null").env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        let mut script =
            command.stdin(Stdio::piped()).spawn().expect("script must be installed: ./tests/run.sh does it");
        let keys = script.stdin.take().unwrap();
        let mut out = script.stdout.take().unwrap();
        let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let into = std::sync::Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut bytes = [0; 65536];
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { script, keys, seen }
    }

    /// Returns the last whole frame, line by line.
    fn frame(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let frame = seen.split("\u{1b}[H").filter(|f| f.contains("\u{1b}[J")).last().unwrap_or_default();
        frame.split("\r\n").map(|l| l.replace("\u{1b}[K", "")).collect()
    }

    fn raw_first_line(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let frame = seen.split("\u{1b}[H").filter(|f| f.contains("\u{1b}[J")).last().unwrap_or_default();
        frame.split("\r\n").next().unwrap().to_owned()
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// Leaves it by Ctrl-C or `q`; what it wrote to its end.
    fn leave(mut self, key: &[u8]) -> String {
        self.press(key);
        eventually("it ends", || self.script.try_wait().unwrap().is_some());
        assert!(self.script.wait().unwrap().success(), "{:?}", self.seen.lock().unwrap());
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// Returns the output of a command on a terminal of this width.
fn on_a_terminal(frosty: &Frosty, args: &[&str], columns: usize) -> Vec<String> {
    let line = format!("stty rows 50 cols {columns}; exec {} {}", env!("CARGO_BIN_EXE_frosty"), args.join(" "));
    let mut command = frosty.command_of("script".as_ref(), &["-qec", &line, "/dev/null"]);
    command.env("TERM", "xterm-256color").env("SHELL", "/bin/sh").env("NO_COLOR", "1");
    let drawn = crate::support::feed(command, b"").stdout;
    drawn.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

#[test]
fn nothing_is_running_for_ever() {
    for place in Place::both() {
        let place = Place { frosty: place.frosty.config(r#"{"park_max": "1s"}"#), ..place };
        place.event("asked", "UserPromptSubmit", r#","prompt":"go""#);
        place.event("dialog", "Notification", r#","notification_type":"permission_prompt""#);
        let state = |id: &str| sessions(&report(&place.frosty, &[]))[id]["state"].clone();
        assert_eq!(state("dialog"), "needs_you");
        eventually("its turn is not taken to run any more", || state("asked") == "no_event");
        let shown = lines(&place.frosty, &[]);
        assert!(shown.iter().any(|l| l.starts_with("asked ") && l.contains("  no event for ")), "{shown:?}");
        place.event("asked", "SubagentStop", "");
        assert_eq!(state("asked"), "running", "an event came");
        place.event("dialog", "SubagentStop", "");
        assert_ne!(state("dialog"), "needs_you", "any event ends it");
        let Some(server) = &place.server else { continue };
        // A while ago, by the store's clock.
        let frosty = Frosty::on(server);
        let back = |id: &str, event: &str, more: &str, by: i64| {
            place.event(id, event, more);
            let mut con = server.connection();
            let key = documents::session(id);
            let seen = documents::read(&mut con, &key)["seen"].as_i64().unwrap();
            documents::change(&mut con, &key, &json!({"seen": seen - by}));
        };
        back("asked", "UserPromptSubmit", r#","prompt":"go""#, 185_000);
        back("dialog", "Notification", r#","notification_type":"permission_prompt""#, 3_700_000);
        let shown = lines(&frosty, &[]);
        for (id, state) in [("asked ", "  running 3m  "), ("dialog ", "  needs you 1h1m  ")] {
            assert!(shown.iter().any(|l| l.starts_with(id) && l.contains(state)), "{shown:?}");
        }
        let found = sessions(&report(&frosty, &[]));
        assert!(found["asked"]["quiet_ms"].as_i64().unwrap() >= 185_000);
    }
}

#[test]
fn what_the_server_counts_is_unknown_while_it_is_away() {
    let server = Server::start_own();
    let frosty = Frosty::on(&server).config(r#"{"stop": {"quotas": [{"limit": 5, "per": "1h"}]}}"#);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    let line =
        |session: &str| frosty.run(&["statusline"], format!(r#"{{"session_id":"{session}"}}"#).as_bytes()).stdout;
    assert!(line("s").contains("4 left"), "{}", line("s"));
    drop(server);
    // Decided by this machine, which has another count.
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    let away = line("s");
    assert!(away.contains("store away") && !away.contains("left") && !away.contains("in a row"), "{away}");
    let found = sessions(&report(&frosty, &[]));
    assert_eq!((&found["s"]["quota_left"], &found["s"]["admissions_last_hour"]), (&Value::Null, &Value::Null));
}

#[test]
fn what_only_a_person_can_mend_comes_first() {
    for place in Place::both() {
        let place = Place { frosty: place.frosty.config(POLICY), ..place };
        let failure = |session: &str| {
            format!(r#"{{"session_id":"{session}","hook_event_name":"StopFailure","error":"billing_error"}}"#)
        };
        let engine = Engine::start(&place.frosty, &failure("pays"));
        eventually("it is held", || place.reasons("pays").contains(&"hold".to_owned()));
        let blocked = place.resting("blocked", "frosty: blocked ann");
        let held = place.resting("held", "frosty: done");
        hold(&place, "held", None);
        place.event("dialog", "Notification", r#","notification_type":"permission_prompt""#);
        let shown = lines(&place.frosty, &[]);
        let rows = shown.iter().skip_while(|l| !l.starts_with("SESSION")).skip(1);
        let order: Vec<&str> = rows.filter_map(|l| l.split_whitespace().next()).collect();
        assert_eq!(order, ["dialog", "pays", "blocked", "held"]);
        drop((engine, blocked, held));
    }
}

#[test]
fn q_leaves_the_watch_and_the_terminal_as_it_was() {
    let mut watch = Watch::start(&Frosty::embedded(), "rows 12 cols 70");
    eventually("it is drawn", || watch.frame().iter().any(|l| l.contains("fleet default")));
    watch.press(b"xy");
    let all = watch.leave(b"q");
    let (_, after) = all.rsplit_once("\u{1b}[?1049l").unwrap();
    assert!(after.contains(" icanon") && after.contains(" echo ") && !after.contains("-icanon"), "{after}");
}

#[test]
fn watching_draws_anew_outlives_its_store_and_gives_the_screen_back() {
    let port = crate::support::free_port();
    let server = Server::start_on(port);
    fill(&server, 40);
    let frosty = Frosty::on(&server);
    let mut watch = Watch::start(&frosty, "rows 12 cols 70");
    eventually("it is drawn", || watch.frame().iter().any(|l| l.starts_with("… and ")));
    let frame = watch.frame();
    assert!(frame.len() <= 12, "{frame:?}");
    // The first line is as wide as the terminal, and nothing of it is erased: it ends with the time.
    let first = watch.raw_first_line();
    assert_eq!(frosty::view::sessions::width::of_painted(&first), 70, "{first:?}");
    assert!(!first.ends_with("\u{1b}[K"), "{first:?}");
    assert_eq!(frame.iter().filter(|l| l.starts_with("agent-")).count(), 7, "{frame:?}");
    assert!(frame.iter().any(|l| l.starts_with("… and 33 more")), "{frame:?}");
    assert!(frame.iter().any(|l| l.contains("\u{1b}[36mresting") || l.contains("\u{1b}[33mcooldown")), "{frame:?}");

    // Ctrl-Z gives the screen back; here no shell stops it, and it takes the screen again at once.
    watch.press(b"\x1a");
    eventually("it steps aside", || watch.seen.lock().unwrap().contains("\u{1b}[?25h\u{1b}[?1049l\u{1b}[?1049h"));

    drop(server);
    eventually("the server is missed", || watch.frame().iter().any(|l| l.contains("the server is unreachable")));
    let server = Server::start_on(port);
    fill(&server, 3);
    eventually("it is found again", || watch.frame().iter().any(|l| l.starts_with("3 sessions")));

    let all = watch.leave(b"\x03");
    assert!(all.starts_with("\u{1b}[?1049h\u{1b}[?25l"), "{all:?}");
    // The last that is written but for what the shell says of the terminal.
    let (_, after) = all.rsplit_once("\u{1b}[?25h\u{1b}[?1049l").unwrap();
    assert!(!after.contains('\u{1b}'), "the screen is given back: {all:?}");
}

#[test]
fn watching_needs_a_terminal() {
    let frosty = Frosty::embedded();
    let answer = frosty.run(&["status", "--watch"], b"");
    assert_eq!(answer.code, Some(64));
    assert!(answer.stderr.contains("--watch needs a terminal"), "{answer:?}");
    assert_eq!(frosty.run(&["status", "--watch", "--json"], b"").code, Some(64));
}
