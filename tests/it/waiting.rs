//! Tests the waiting engine as a process, on both stores: what it waits for, what ends its wait, and what remains.

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::place::{POLICY, Place, goes_on, leaves_silently};
use crate::support::{Engine, Frosty, Server, documents, eventually, stop, stop_saying};
use redis::Connection;

/// The round trips of a Stop event until its engine listens: two for the verdict, two to subscribe, and the look.
const LISTENS: u32 = 5;

#[test]
fn a_loop_of_engines_keeps_the_guard_and_never_trips() {
    for place in Place::both() {
        for _ in 0..4 {
            goes_on(&place.wait("s", "on it").answer());
        }
        let admitted = place.admissions();
        assert_eq!(admitted.len(), 4);
        for pair in admitted.windows(2) {
            assert!(pair[1] - pair[0] >= 1000, "{admitted:?}");
        }
        assert!(place.reasons("s").iter().all(|r| r == "admitted" || r == "min_interval"), "{:?}", place.reasons("s"));
    }
}

#[test]
fn a_next_check_is_kept_to_the_millisecond_and_said_back() {
    for place in Place::both() {
        let answer = place.wait("s", "Tests run.\nfrosty: next_check 2s").answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("next_check 2s was taken as 20") && answer.stderr.contains("UTC"), "{answer:?}");
        let all = place.journal();
        assert_eq!(place.reasons("s"), ["rest", "admitted"]);
        let waited = all[1]["ms"].as_i64().unwrap() - all[0]["ms"].as_i64().unwrap();
        assert!((2000..10_000).contains(&waited), "{waited}");
    }
}

#[test]
fn what_is_not_understood_is_answered_in_the_prompt() {
    for place in Place::both() {
        let answer = place.wait("s", "frosty: take a nap").answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("did not understand your line \"frosty: take a nap\""), "{answer:?}");
    }
}

#[test]
fn a_prompt_a_newer_stop_and_the_sessions_end_retire_it() {
    for place in Place::both() {
        type Retire = fn(&Place);
        let ways: [(&str, Retire); 4] = [
            ("prompt", |p| p.event("s", "UserPromptSubmit", r#","prompt":"hi""#)),
            ("client", |p| p.event("s", "UserPromptSubmit", r#","prompt":"<task-notification>""#)),
            ("end", |p| p.event("s", "SessionEnd", r#","reason":"clear""#)),
            ("stop", |p| goes_on(&p.wait("s", "frosty: next_check 1s").answer())),
        ];
        for (way, retire) in ways {
            let engine = place.resting("s", "frosty: next_check 1h");
            let admitted = place.admissions().len();
            retire(&place);
            leaves_silently(&engine.answer());
            assert_eq!(place.admissions().len(), admitted + usize::from(way == "stop"), "{way}");
        }
        assert_eq!(place.reasons("s").iter().filter(|r| *r == "superseded").count(), 4);
    }
}

#[test]
fn sigterm_ends_it_at_once_and_leaves_nothing() {
    for place in Place::both() {
        let engine = place.resting("s", "frosty: next_check 1h");
        let before = place.journal().len();
        assert!(Command::new("kill").arg(engine.pid().to_string()).status().unwrap().success());
        leaves_silently(&engine.answer());
        assert_eq!(place.journal().len(), before);
        // Nothing but the state, the lock and the journal.
        if place.server.is_none() {
            let names = |dir: &str| {
                let entries = std::fs::read_dir(place.frosty.state().join(dir)).unwrap();
                let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
                names.sort();
                names
            };
            assert_eq!(names("default"), ["journal.jsonl", "lock", "scopes", "sessions", "sleeping"]);
            for file in [place.frosty.scope_file("s"), place.frosty.session_file("s")] {
                assert_eq!(names(file.parent().unwrap().to_str().unwrap()), ["s.json"]);
            }
        }
    }
}

/// A parent that dies by SIGKILL: the engine exits without a request.
#[test]
fn it_does_not_outlive_its_parent() {
    for place in Place::both() {
        let frosty = env!("CARGO_BIN_EXE_frosty");
        // A shell gives what it starts in the background no stdin of its own.
        let script = format!("exec 3<&0; {frosty} hook --wait 20d --timeout 1900000 <&3 & echo $!; wait");
        let mut command = place.frosty.command_of(std::path::Path::new("sh"), &["-c", &script]);
        let mut parent = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(
            &mut parent.stdin.take().unwrap(),
            stop_saying("s", "frosty: next_check 3s").as_bytes(),
        )
        .unwrap();
        eventually("the stop is refused", || place.reasons("s") == ["rest"]);
        let mut line = [0; 16];
        let n = std::io::Read::read(parent.stdout.as_mut().unwrap(), &mut line).unwrap();
        let pid: u32 = std::str::from_utf8(&line[..n]).unwrap().trim().parse().unwrap();
        parent.kill().unwrap();
        parent.wait().unwrap();
        let gone = || !std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
        eventually("the engine is gone", gone);
        assert_eq!(place.reasons("s"), ["rest"], "and no ask after its parent's death");
    }
}

#[test]
fn it_does_not_outlive_the_client_that_the_environment_names() {
    for place in Place::both() {
        let mut client = Command::new("sleep").arg("60").spawn().unwrap();
        let place = place.var("CLAUDE_PID", &client.id().to_string());
        let engine = place.resting("s", "frosty: next_check 2s");
        client.kill().unwrap();
        client.wait().unwrap();
        leaves_silently(&engine.answer());
        assert_eq!(place.reasons("s"), ["rest"]);
    }
}

#[test]
fn an_api_error_is_waited_out_and_three_in_a_row_grow() {
    for place in Place::both() {
        let failure = r#"{"session_id":"s","hook_event_name":"StopFailure","error":"rate_limit"}"#;
        for _ in 0..3 {
            goes_on(&Engine::start(&place.frosty, failure).answer());
        }
        let waits: Vec<_> = place
            .journal()
            .iter()
            .filter(|e| e["reason"] == "api_error")
            .map(|e| e["retry_after_ms"].as_i64().or_else(|| e["retry_after_ms"].as_str()?.parse().ok()).unwrap())
            .collect();
        assert_eq!(waits.len(), 3, "{waits:?}");
        for (waited, length) in waits.iter().zip([1000, 2000, 4000]) {
            assert!((length - 900..=length).contains(waited), "{waits:?}");
        }
    }
}

#[test]
fn parked_by_what_runs_beside_the_turn() {
    for place in Place::both() {
        let place = Place {
            frosty: place.frosty.config(r#"{"stop": {"min_interval": "1s"}, "park_max": "2s"}"#),
            server: place.server,
        };
        let shell =
            r#"{"session_id":"s","hook_event_name":"Stop","background_tasks":[{"type":"shell","status":"running"}]}"#;
        goes_on(&Engine::start(&place.frosty, shell).answer());
        let all = place.journal();
        assert_eq!(place.reasons("s"), ["parked", "admitted"]);
        assert!(all[1]["ms"].as_i64().unwrap() - all[0]["ms"].as_i64().unwrap() >= 2000);
        // Without an engine a shell is no reason to rest, a timer is.
        goes_on(&place.frosty.hook(&shell.replace("\"s\"", "\"plain\"")));
        let cron = r#"{"session_id":"c","hook_event_name":"Stop","session_crons":[{"id":"1"}]}"#;
        assert_eq!(place.frosty.hook(cron).code, Some(0));
        assert_eq!(place.reasons("c"), ["parked"]);
        // The client wakes the session itself.
        place.event("c", "UserPromptSubmit", r#","prompt":"<task-notification>it rang""#);
        goes_on(&place.frosty.hook(&stop("c")));
    }
}

#[test]
fn unattended_sessions_are_left_alone_unless_they_ask_for_it() {
    for place in Place::both() {
        for (name, value) in [("CLAUDE_CODE_SESSION_ATTENDED", "0"), ("CLAUDE_CODE_ENTRYPOINT", "sdk-cli")] {
            for on in [None, Some("1")] {
                let mut command = place.frosty.command(&["hook", "--wait", "20d", "--timeout", "1900000"]);
                command.env(name, value);
                on.map(|on| command.env("FROSTY_ON", on));
                leaves_silently(&Engine::of(command, &stop_saying("s", "frosty: done")).answer());
            }
        }
        assert!(place.journal().is_empty());
        let place = Place {
            frosty: place.frosty.config(r#"{"stop": {"min_interval": "1s"}, "print_wait": "2s"}"#),
            server: place.server,
        };
        let place = place.var("FROSTY_ON", "print").var("CLAUDE_CODE_SESSION_ATTENDED", "0");
        goes_on(&place.wait("s", "on it").answer());
        // No engine waits for an agent that is done in print mode, and no longer than print_wait for any other.
        leaves_silently(&place.wait("s", "frosty: done").answer());
        place.event("s", "UserPromptSubmit", r#","prompt":"hi""#);
        leaves_silently(&place.wait("s", "frosty: next_check 1h").answer());
        assert_eq!(place.reasons("s").last().unwrap(), "waiter_expired");
    }
}

#[test]
fn before_its_end_a_wait_is_renewed_or_journaled() {
    for place in Place::both() {
        let short = |session: &str, message: &str| {
            let command = place.frosty.command(&["hook", "--wait", "2s", "--timeout", "10"]);
            Engine::of(command, &stop_saying(session, message))
        };
        let answer = short("s", "frosty: done").answer();
        goes_on(&answer);
        assert!(answer.stderr.lines().count() == 1 && answer.stderr.contains("renews its wait"), "{answer:?}");
        // The rest continues.
        let mut engine = place.resting("s", "nothing to do");
        assert_eq!(place.reasons("s").last().unwrap(), "done");
        assert!(engine.is_waiting());
        // A hold is not renewed through.
        let failure = r#"{"session_id":"h","hook_event_name":"StopFailure","error":"billing_error"}"#;
        let command = place.frosty.command(&["hook", "--wait", "2s", "--timeout", "10"]);
        leaves_silently(&Engine::of(command, failure).answer());
        assert_eq!(place.reasons("h").last().unwrap(), "waiter_expired");
        assert!(place.run(&["wake", "h"]).stdout.contains("has no engine that waits"));
    }
}

#[test]
fn a_wait_that_the_client_would_cut_short_is_an_error() {
    let frosty = Frosty::embedded();
    for (args, words) in [
        (&["hook", "--wait", "20d"][..], &["--wait", "--timeout"][..]),
        (&["hook", "--wait", "2h", "--timeout", "60"], &["at most --timeout", "2h"]),
        (&["hook", "--wait", "20d", "--timeout", "2592000"], &["2147483", "2592000"]),
        (&["hook", "--wait", "soon", "--timeout", "60"], &["soon"]),
    ] {
        frosty.run(args, stop("s").as_bytes()).stands_down_saying(words);
    }
}

#[test]
fn a_server_that_goes_and_comes_back_is_ridden_out() {
    let port = crate::support::free_port();
    let server = Server::start_on(port);
    let url = server.url();
    let frosty = Frosty::new().config(POLICY).var("FROSTY_STORE", &url);
    let place = Place { frosty, server: Some(server) };
    let engine = place.resting("s", "frosty: next_check 2s");
    let Place { frosty, server } = place;
    drop(server);
    goes_on(&engine.answer());
    let decided = frosty.journal();
    let admitted: Vec<_> = decided.iter().filter(|e| e["verdict"] == "admit").collect();
    assert_eq!((admitted.len(), &admitted[0]["store"]), (1, &"embedded".into()), "{decided:?}");
    assert_eq!(admitted[0]["degraded"], 1);

    // One that rests longer than the outage returns to the server, even if that has lost its data, and is woken there.
    let place = Place { frosty, server: Some(Server::start_on(port)) };
    let mut engine = place.resting("t", "frosty: next_check 1h");
    let Place { frosty, server } = place;
    drop(server);
    eventually("the embedded store stands in", || frosty.journal().iter().any(|e| e["session"] == "t"));
    let place = Place { frosty, server: Some(Server::start_on(port)) };
    eventually("it is told to the server", || place.reasons("t").contains(&"rest".to_owned()));
    assert!(engine.is_waiting());
    let woken = place.frosty.run(&["wake", "t"], b"");
    assert_eq!(woken.code, Some(0), "{woken:?}");
    goes_on(&engine.answer());
}

/// Two Stop events of one session during an outage: the later one has it, and the server gets it when it is back.
#[test]
fn a_server_that_is_away_at_the_stop() {
    let port = crate::support::free_port();
    let frosty = Frosty::new().config(POLICY).var("FROSTY_STORE", &format!("redis://127.0.0.1:{port}"));
    let first = Engine::start(&frosty, &stop_saying("s", "frosty: next_check 1s"));
    eventually("it is told", || !frosty.journal().is_empty());
    let second = Engine::start(&frosty, &stop_saying("s", "frosty: next_check 1s"));
    leaves_silently(&first.answer());
    goes_on(&second.answer());
    let here = frosty.journal();
    assert_eq!(here.iter().filter(|e| e["verdict"] == "admit").count(), 1, "{here:?}");
    assert!(here.iter().any(|e| e["reason"] == "rest"), "the directive was kept: {here:?}");
    let place = Place { frosty, server: Some(Server::start_on(port)) };
    eventually("the server has it all", || {
        place.frosty.hook(r#"{"session_id":"other","hook_event_name":"Notification"}"#);
        place.reasons("s").len() == here.len()
    });
}

#[test]
fn it_holds_one_connection_and_looks_at_most_once_a_second() {
    let [place, _] = Place::both();
    let mut con = place.server.as_ref().unwrap().connection();
    let taken = figure(&mut con, "stats", "total_connections_received:");
    let mut engine = place.wait("s", "frosty: done");
    eventually("it listens", || subscribers(&mut con) == 1);
    let looks = |con: &mut Connection| figure(con, "commandstats", "cmdstat_time:calls=");
    let before = looks(&mut con);
    std::thread::sleep(Duration::from_secs(6));
    let more = looks(&mut con) - before;
    assert!((1..=6).contains(&more), "{more} looks in 6 s");
    assert!(engine.is_waiting());
    // The Stop event, the looks, the wake-up that it sends, and the request that this causes.
    redis::cmd("PUBLISH").arg("frosty.wake.s").arg("now").query::<()>(&mut con).unwrap();
    assert_eq!(engine.answer().code, Some(2));
    assert_eq!(figure(&mut con, "stats", "total_connections_received:") - taken, 1);
}

/// A figure of the server's own.
fn figure(con: &mut Connection, section: &str, name: &str) -> u64 {
    let info: String = redis::cmd("INFO").arg(section).query(con).unwrap();
    let figure = info.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    figure.split(',').next().unwrap().trim().parse().unwrap()
}

fn subscribers(con: &mut Connection) -> u64 {
    let heard: (String, u64) = redis::cmd("PUBSUB").arg("NUMSUB").arg("frosty.wake.s").query(con).unwrap();
    heard.1
}

/// An engine's later request begins with its commit.
#[test]
fn a_later_request_is_one_round_trip_and_three_where_something_changed() {
    for (changes, trips) in [(false, 1), (true, 3)] {
        let server = Server::start();
        let mut con = server.connection();
        let config = r#"{"stop": {"min_interval": "3s"}}"#;
        let direct = Frosty::new().config(config).var("FROSTY_STORE", &server.url());
        assert_eq!(direct.hook(&stop_saying("s", "on it")).code, Some(2), "the guard is closed now");
        let (url, counted) = crate::support::counting_proxy(&server);
        let frosty = Frosty::new().config(config).var("FROSTY_STORE", &url);
        let engine = Engine::start(&frosty, &stop_saying("s", "on it"));
        eventually("it listens", || subscribers(&mut con) == 1);
        let looked = || counted.load(Ordering::SeqCst) == LISTENS;
        eventually("it has looked", looked);
        if changes {
            documents::change(&mut con, &documents::session("s"), &serde_json::json!({}));
        }
        assert_eq!(engine.answer().code, Some(2));
        assert_eq!(counted.load(Ordering::SeqCst) - LISTENS, trips, "{changes}");
    }
}
