//! Work queues on both stores, by the programs: claims at Stop events, their order, their ends, and what no session may do.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use frosty::config::{Config, Flags};
use frosty::env::Env;
use frosty::policy::request::{Event, RestRequest, Step};
use frosty::policy::rest::RestKind;
use frosty::policy::work::entry::WorkEntry;
use frosty::store;
use frosty::store::work::Change;
use serde_json::{Value, json};

use crate::support::place::{Place, goes_on};
use crate::support::{Answer, Engine, Frosty, Server, eventually, feed, step, stop_saying};

const POLICY: &str = r#"{"stop": {"min_interval": "0s", "burst": null}, "idle": null}"#;

/// Both stores, with sessions that work through the queue of `echo`.
fn places(mode: &str) -> [Place; 2] {
    Place::both().map(|place| {
        let Place { frosty, server } = place.var("FROSTY_WORK", mode).var("FROSTY_NAME", "echo");
        Place { frosty: frosty.config(POLICY), server }
    })
}

fn work(place: &Place, args: &[&str]) -> Answer {
    place.run(&[&["work"], args].concat())
}

fn add(place: &Place, args: &[&str]) -> String {
    let added = work(place, &[&["add", "--to", "echo"], args].concat());
    assert_eq!((added.code, added.stderr.as_str()), (Some(0), ""), "{added:?}");
    added.stdout.split_whitespace().nth(1).unwrap().to_owned()
}

fn stops(place: &Place, session: &str, message: &str) -> Answer {
    place.frosty.hook(&stop_saying(session, message))
}

/// Returns the queue of an agent.
fn queue(place: &Place, agent: &str) -> Value {
    let listed = work(place, &["list", agent, "--json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let all: Value = serde_json::from_str(&listed.stdout).unwrap();
    all["queues"][0].clone()
}

fn numbers(place: &Place) -> [u64; 4] {
    let queue = queue(place, "echo");
    ["waiting", "delayed", "in_hand", "dead"].map(|key| queue[key].as_u64().unwrap())
}

/// Returns the id that a prompt hands out.
fn handed_out(answer: &Answer) -> String {
    goes_on(answer);
    let after = answer.stderr.split("the entry ").nth(1).unwrap_or_else(|| panic!("no entry: {answer:?}"));
    after.split_whitespace().next().unwrap().to_owned()
}

#[track_caller]
fn refuses(answer: &Answer, reason: &str) {
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    assert!(answer.stdout.is_empty() || answer.stdout.contains(reason), "{answer:?}");
}

#[test]
fn entries_are_claimed_in_order_and_ended_by_the_agents_words() {
    for place in places("required") {
        refuses(&stops(&place, "s", "hello"), "no work can be claimed");
        let normal = add(&place, &["a normal one"]);
        let low = add(&place, &["a low one", "--priority", "low", "--model", "haiku"]);
        let high = add(&place, &["a high one", "--priority", "high"]);
        assert_eq!(handed_out(&stops(&place, "s", "hello")), high);
        assert_eq!(numbers(&place), [2, 0, 1, 0]);
        // A question, a person's chat and an interrupted turn keep the entry in hand.
        let again = stops(&place, "s", "Shall I?");
        assert!(again.stderr.contains(&format!("In hand: {high} of the work queue, turn 2 of 30")), "{again:?}");
        place.event("s", "UserPromptSubmit", r#","prompt":"how is it?""#);
        let again = stops(&place, "s", "fine");
        assert!(again.stderr.contains(&format!("In hand: {high}")), "{again:?}");
        assert_eq!(handed_out(&stops(&place, "s", "frosty: done")), normal, "the end books no rest");
        assert_eq!(queue(&place, "echo")["entries"][1]["model"], json!("haiku"));
        let shown = work(&place, &["show", &low]).stdout;
        assert!(shown.contains(", 0 attempts, for the model haiku\n"), "{shown}");
        let answer = stops(&place, "s", "frosty: failed no key");
        assert_eq!(handed_out(&answer), low);
        assert!(answer.stderr.contains("(low, added by a person, for the model haiku):"), "{answer:?}");
        assert_eq!(numbers(&place), [0, 1, 1, 0], "it waits before it is tried again");
        refuses(&stops(&place, "s", "frosty: done"), "no work can be claimed");
        let shown = work(&place, &["show", &normal]).stdout;
        assert!(shown.contains("no key") && shown.contains("> a normal one"), "{shown}");
        assert!(work(&place, &["show", &high]).stdout.contains(": done since"));
        // A person lets it be tried at once, and ends it.
        assert_eq!(work(&place, &["retry", &normal]).stdout, format!("{normal} waits again\n"));
        assert_eq!(handed_out(&stops(&place, "s", "hello")), normal);
        assert_eq!(work(&place, &["done", &normal]).stdout, format!("{normal} is done\n"));
        refuses(&stops(&place, "s", "it is on its way"), "no work can be claimed");
        let entries: Vec<String> =
            place.journal().iter().filter_map(|e| Some(e["work_end"].as_str()?.to_owned())).collect();
        let ends = [format!("{high} done"), format!("{normal} failed: no key"), format!("{low} done")];
        assert_eq!(entries[..3], ends);
        assert_eq!(entries[3], format!("{normal} was taken back before"));
    }
}

#[test]
fn an_entry_wakes_the_engine_that_waits() {
    for (place, most) in places("required").into_iter().zip([1000, 2000]) {
        let engine = place.resting("s", "hello");
        let begun = Instant::now();
        let id = add(&place, &["wake up"]);
        let answer = engine.answer();
        assert_eq!(handed_out(&answer), id);
        assert!(answer.stderr.contains("there was no work for you"), "{answer:?}");
        let took = begun.elapsed();
        // The store's own times, since the machine may be busy.
        let at = |event: &str| {
            place
                .journal()
                .iter()
                .rev()
                .find(|e| e["work"] == id.as_str() && e["event"] == event)
                .map(|e| e["ms"].as_i64().unwrap())
        };
        let passed = at("Stop").unwrap() - at("WorkAdd").unwrap();
        assert!(passed < most, "{passed} ms, {took:?} with the programs");
        // A rest after the last entry ends with a delayed one.
        let engine = place.resting("s", "frosty: done");
        let id = add(&place, &["later", "--in", "2s"]);
        assert_eq!(handed_out(&engine.answer()), id);
    }
}

#[test]
fn preferred_work_comes_before_the_sessions_own_task() {
    for place in places("preferred") {
        let own = stops(&place, "s", "on it");
        goes_on(&own);
        assert!(own.stderr.contains("continue with your task"), "{own:?}");
        // Work ends a rest without an end, and not a time that the agent named.
        refuses(&stops(&place, "s", "frosty: done"), "it is done");
        let id = add(&place, &["first"]);
        assert_eq!(handed_out(&stops(&place, "s", "frosty: done")), id);
        goes_on(&stops(&place, "s", "frosty: done"));
        add(&place, &["second"]);
        refuses(&stops(&place, "s", "frosty: next_check 20m"), "rests");
        assert_eq!(numbers(&place), [1, 0, 0, 0]);
    }
}

#[test]
fn an_entry_that_is_not_done_goes_back_and_becomes_a_dead_letter() {
    for place in places("required") {
        let Place { frosty, server } = place;
        let config = r#"{"stop": {"min_interval": "0s", "burst": null}, "idle": null, "work_max_turns": 2, "work_max_attempts": 2}"#;
        let place = Place { frosty: frosty.config(config), server };
        let id = add(&place, &["too much"]);
        assert_eq!(handed_out(&stops(&place, "s", "")), id);
        goes_on(&stops(&place, "s", "more"));
        refuses(&stops(&place, "s", "still more"), "no work");
        assert_eq!(numbers(&place), [0, 1, 0, 0]);
        work(&place, &["retry", &id]);
        assert_eq!(handed_out(&stops(&place, "s", "")), id);
        stops(&place, "s", "frosty: failed first");
        assert_eq!(numbers(&place), [0, 1, 0, 0], "a retry by hand forgets the attempts");
        // The delay is over: by hand, since it takes minutes.
        work(&place, &["drop", &id]);
        let id = add(&place, &["never"]);
        assert_eq!(handed_out(&stops(&place, "s", "")), id);
        assert_eq!(work(&place, &["fail", &id, "--why", "no access"]).code, Some(0));
        assert_eq!(numbers(&place), [0, 1, 0, 0]);
        let shown = work(&place, &["list"]).stdout;
        assert!(shown.contains("1 is delayed") && shown.contains("never (no access)"), "{shown}");
    }
}

#[test]
fn a_route_lets_the_end_of_the_first_turn_end_an_entry() {
    for place in places("required") {
        let Place { frosty, server } = place;
        let route = json!({"to": "echo", "session": "print", "ack": "turn"});
        let config = json!({"stop": {"min_interval": "0s", "burst": null}, "idle": null, "routes": [route]});
        let place = Place { frosty: frosty.config(&config.to_string()), server };
        let (first, second) = (add(&place, &["one"]), add(&place, &["two"]));
        let answer = stops(&place, "s", "hello");
        assert_eq!(handed_out(&answer), first);
        assert!(answer.stderr.contains("(normal, added by a person; this turn ends it):"), "{answer:?}");
        // A person's turn is not one with the entry.
        place.event("s", "UserPromptSubmit", r#","prompt":"how is it?""#);
        let again = stops(&place, "s", "fine");
        assert!(again.stderr.contains(&format!("In hand: {first}")), "{again:?}");
        assert_eq!(handed_out(&stops(&place, "s", "Shall I?")), second);
        refuses(&stops(&place, "s", "frosty: failed no key"), "no work can be claimed");
        assert_eq!(numbers(&place), [0, 1, 0, 0]);
        let shown = work(&place, &["show", &second]).stdout;
        assert!(shown.contains("1 attempt, acknowledged by the end of its first turn\n"), "{shown}");
        assert_eq!(place.run(&["ask", "echo", "why?", "--timeout", "0s"]).code, Some(75));
        assert!(stops(&place, "s", "hello").stderr.contains("Answer with: frosty reply"));
        assert!(stops(&place, "s", "because").stderr.contains("In hand: "));
        assert_eq!(numbers(&place), [0, 1, 1, 0], "a question ends by its reply");
    }
}

/// A client of a session: a process that the hooks name as theirs, and that can be killed.
struct Client(std::process::Child);

impl Client {
    fn new() -> Self {
        Self(Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap())
    }

    fn stops(&self, place: &Place, session: &str, message: &str) -> Answer {
        let mut hook = place.frosty.command(&["hook"]);
        hook.env("CLAUDE_PID", self.0.id().to_string()).env("CLAUDE_CODE_ENTRYPOINT", "cli");
        feed(hook, stop_saying(session, message).as_bytes())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_client_gives_its_entry_back_to_the_next() {
    for place in places("required") {
        let id = add(&place, &["carry on"]);
        let client = Client::new();
        assert_eq!(handed_out(&client.stops(&place, "one", "hello")), id);
        let mut engine = place.resting("two", "hello");
        std::thread::sleep(Duration::from_millis(1500));
        assert!(engine.is_waiting(), "the client runs, however long its turn is");
        let killed = Instant::now();
        client.kill();
        let answer = engine.answer();
        assert_eq!(handed_out(&answer), id);
        assert!(answer.stderr.contains("tried 1 times before (last: the client ended)"), "{answer:?}");
        assert!(killed.elapsed() < Duration::from_secs(20));
        // The first session's claim is an old one: it acknowledges nothing.
        refuses(&stops(&place, "one", "frosty: done"), "it is done");
        assert_eq!(numbers(&place), [0, 0, 1, 0]);
    }
}

#[test]
fn a_session_that_ends_gives_its_entry_back() {
    for place in places("required") {
        let id = add(&place, &["go"]);
        assert_eq!(handed_out(&stops(&place, "one", "")), id);
        place.event("one", "SessionEnd", r#","reason":"prompt_input_exit""#);
        assert_eq!(numbers(&place), [1, 0, 0, 0]);
        let answer = stops(&place, "two", "");
        assert_eq!(handed_out(&answer), id);
        assert!(!answer.stderr.contains("tried"), "{answer:?}");
    }
}

/// Adds an entry as a session does from its shell.
fn add_from(place: &Place, session: &str, args: &[&str]) -> Answer {
    let mut command = place.frosty.command(&[&["work", "add"], args].concat());
    command.env("CLAUDE_CODE_SESSION_ID", session);
    feed(command, b"")
}

#[test]
fn a_session_adds_work_for_others_alone_and_within_bounds() {
    for place in places("required") {
        let as_agent = |name: &str, session: &str, message: &str| {
            let mut hook = place.frosty.command(&["hook"]);
            hook.env("FROSTY_NAME", name);
            feed(hook, stop_saying(session, message).as_bytes())
        };
        as_agent("echo", "e", "hello");
        as_agent("helix", "h", "hello");
        // Without its variable and without its parents it is known by its client's process.
        let client = Client::new();
        client.stops(&place, "e", "hello");
        let mut command = place.frosty.command(&["work", "add", "--to", "echo", "more"]);
        command.env("CLAUDE_PID", client.0.id().to_string());
        let refused = feed(command, b"");
        assert!(
            refused.code == Some(1) && refused.stderr.contains("cannot add work for its own agent echo"),
            "{refused:?}"
        );
        for (args, words) in [
            (&["--to", "echo", "more"][..], "cannot add work for its own agent echo"),
            (&["--to", "e", "more"][..], "cannot add work for its own agent echo"),
            (&["--to", "helix", "--priority", "high", "more"][..], "cannot add an entry of high priority"),
        ] {
            let refused = add_from(&place, "e", args);
            assert_eq!(refused.code, Some(1), "{refused:?}");
            assert!(refused.stderr.contains(words) && refused.stderr.contains("\nhint: "), "{refused:?}");
        }
        // Each adds work for the other: the depth ends it.
        let (mut from, mut to) = (("e", "echo"), ("h", "helix"));
        let mut added = 0;
        loop {
            let answer = add_from(&place, from.0, &["--to", to.1, "ping"]);
            if answer.code != Some(0) {
                assert!(answer.stderr.contains("more than 3"), "{answer:?}");
                break;
            }
            added += 1;
            let claimed = as_agent(to.1, to.0, "frosty: done");
            assert!(claimed.stderr.contains(&format!("added by the agent {}", from.1)), "{claimed:?}");
            (from, to) = (to, from);
        }
        assert_eq!(added, 3);
        // The day's bound ends what the depth does not.
        let mut added = 0;
        while add_from(&place, "fresh", &["--to", "helix", "x"]).code == Some(0) {
            added += 1;
            assert!(added <= 20);
        }
        assert_eq!(added, 20);
        // No session ends what it does not have in hand.
        let id = add(&place, &["a person's"]);
        for what in ["done", "drop", "retry", "fail"] {
            let mut command = place.frosty.command(&["work", what, &id]);
            command.env("CLAUDE_CODE_SESSION_ID", "fresh");
            let refused = feed(command, b"");
            assert!(refused.code == Some(1) && refused.stderr.contains("nothing was changed"), "{refused:?}");
        }
    }
}

#[test]
fn a_repository_gets_no_work_by_the_name_in_its_file() {
    for place in Place::both() {
        let Place { frosty, server } = place.var("FROSTY_WORK", "required");
        let place = Place { frosty: frosty.config(POLICY).project_config(r#"{"name": "echo"}"#), server };
        refuses(&stops(&place, "s", "hello"), "no work");
        let id = add(&place, &["for the real one"]);
        refuses(&stops(&place, "s", "hello"), "no work");
        assert_eq!((numbers(&place), queue(&place, "s")["waiting"].as_u64()), ([1, 0, 0, 0], Some(0)));
        let mut hook = place.frosty.command(&["hook"]);
        hook.env("FROSTY_NAME", "echo");
        assert_eq!(handed_out(&feed(hook, stop_saying("t", "hello").as_bytes())), id);
    }
}

#[test]
fn an_id_is_used_once_and_errors_change_nothing() {
    for place in places("required") {
        assert_eq!(add(&place, &["one", "--id", "build-7"]), "build-7");
        let again = work(&place, &["add", "--to", "echo", "two", "--id", "build-7"]);
        assert!(again.stdout.contains("was added before; nothing was added"), "{again:?}");
        assert_eq!(handed_out(&stops(&place, "s", "")), "build-7");
        stops(&place, "s", "frosty: done");
        assert!(work(&place, &["add", "--to", "echo", "three", "--id", "build-7"]).stdout.contains("added before"));
        assert_eq!(numbers(&place), [0, 0, 0, 0]);
        let long = "x".repeat(4001);
        for (args, code, words) in [
            (&["add", "--to", "echo", long.as_str()][..], 64, "4001 characters, more than 4000"),
            (&["add", "--to", "echo", "--id", "a b", "x"][..], 64, "invalid id \"a b\""),
            (&["add", "--to", "echo", "--model=-p", "x"][..], 64, "invalid model \"-p\""),
            (&["add", "--to", "echo", "--at", "soon", "x"][..], 64, "invalid time \"soon\""),
            (&["show", "nope"][..], 64, "no entry has the id \"nope\""),
            (&["drop", "../../scopes/28/s"][..], 64, "no entry has the id"),
            (&["done", "build-7"][..], 1, "the entry build-7 is done"),
            (&["retry", "build-7"][..], 1, "the entry build-7 is done"),
        ] {
            let answer = work(&place, args);
            assert!(answer.code == Some(code) && answer.stderr.contains(words), "{answer:?}");
            assert!(answer.stderr.contains("\nhint: "), "{answer:?}");
        }
        assert_eq!(numbers(&place), [0, 0, 0, 0]);
    }
}

/// Stops a server for as long as it lives.
struct Silence(u32);

impl Silence {
    fn of(server: &Server) -> Self {
        Self::send("-STOP", server.pid());
        Self(server.pid())
    }

    fn send(signal: &str, pid: u32) {
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        Self::send("-CONT", self.0);
    }
}

#[test]
fn without_its_server_nothing_is_claimed_and_the_entry_in_hand_is_kept() {
    let server = Server::start_own();
    let frosty = Frosty::on(&server).var("FROSTY_WORK", "required").var("FROSTY_NAME", "echo").config(POLICY);
    let place = Place { frosty, server: Some(server) };
    let id = add(&place, &["long"]);
    assert_eq!(handed_out(&stops(&place, "s", "")), id);
    let silence = Silence::of(place.server.as_ref().unwrap());
    let refused = work(&place, &["add", "--to", "echo", "more"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("\nhint: "), "{refused:?}");
    let answer = stops(&place, "s", "on it");
    assert!(answer.code == Some(0) && answer.stdout.contains("no work can be claimed"), "{answer:?}");
    assert!(!place.frosty.state().join("default/work").exists());
    drop(silence);
    // The server's own answer is the first after the breaker.
    eventually("the server decides", || stops(&place, "s", "on it").code == Some(2));
    assert_eq!(numbers(&place), [0, 0, 1, 0]);
    let silence = Silence::of(place.server.as_ref().unwrap());
    assert_eq!(stops(&place, "s", "frosty: done").code, Some(0));
    drop(silence);
    let next = add(&place, &["next"]);
    // The queue did not receive the end, so the agent is asked again.
    eventually("the server decides", || stops(&place, "s", "on it").stderr.contains(&format!("In hand: {id}")));
    assert_eq!(handed_out(&stops(&place, "s", "frosty: done")), next);
    assert!(work(&place, &["show", &id]).stdout.contains(": done since"));
    assert!(work(&place, &["show", &next]).stdout.contains(": in hand since"));
}

#[test]
fn many_sessions_share_a_queue_and_each_entry_is_handed_out_once() {
    for place in places("required") {
        let ids: Vec<String> = (0..12).map(|n| add(&place, &[&format!("entry {n}")])).collect();
        // Each entry is handed out once, whatever asks at the same time.
        let handed: Vec<Answer> = std::thread::scope(|scope| {
            let place = &place;
            let hooks: Vec<_> = (0..16).map(|n| scope.spawn(move || stops(place, &format!("s{n}"), "hello"))).collect();
            hooks.into_iter().map(|hook| hook.join().unwrap()).collect()
        });
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for answer in handed.iter().filter(|answer| answer.code == Some(2)) {
            *counts.entry(handed_out(answer)).or_default() += 1;
        }
        assert_eq!(counts.keys().cloned().collect::<Vec<_>>().len(), 12, "{counts:?}");
        assert!(counts.values().all(|n| *n == 1) && ids.iter().all(|id| counts.contains_key(id)), "{counts:?}");
        assert_eq!(numbers(&place), [0, 0, 12, 0]);
    }
}

#[test]
fn the_server_commands_of_a_claim_do_not_depend_on_the_length_of_the_queue() {
    let [place, _] = places("required");
    let mut con = place.server.as_ref().unwrap().connection();
    let mut commands = || {
        let info: String = redis::cmd("INFO").arg("stats").query(&mut con).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    add(&place, &["first"]);
    let before = commands();
    handed_out(&stops(&place, "s", "frosty: done"));
    let one = commands() - before;
    (0..60).for_each(|n| drop(add(&place, &[&format!("entry {n}")])));
    let before = commands();
    handed_out(&stops(&place, "s", "frosty: done"));
    let many = commands() - before;
    // The second also ends an entry: its record is one more command, beside the counter's own.
    assert!(many <= one + 2, "{one} and {many} commands");
}

#[test]
fn status_and_lists_show_what_is_in_hand() {
    for place in places("required") {
        let id = add(&place, &["shown\u{1b}[31m"]);
        let engine = Engine::start(&place.frosty, &stop_saying("s", "hello"));
        assert_eq!(handed_out(&engine.answer()), id);
        add(&place, &["waiting", "--priority", "low"]);
        let status = place.run(&["status"]).stdout;
        assert!(status.contains("\nwork echo: 1 waits, 1 is in hand; the oldest has waited "), "{status}");
        assert!(status.contains(&format!("work {id} turn 1")), "{status}");
        let status: Value = serde_json::from_str(&place.run(&["status", "--json"]).stdout).unwrap();
        assert_eq!((&status["work"][0]["agent"], &status["work"][0]["waiting"]), (&json!("echo"), &json!(1)));
        assert_eq!(status["sessions"][0]["work"], json!({"id": id, "turns": 1}));
        let shown = work(&place, &["show", &id]).stdout;
        assert!(shown.contains(": in hand since") && shown.contains("\n  session echo\n"), "{shown}");
        let listed = work(&place, &[]).stdout;
        assert!(listed.contains("1 is in hand") && !listed.contains('\u{1b}'), "{listed}");
        let log = place.run(&["log"]).stdout;
        assert!(log.contains(&format!("WorkAdd          recorded  work {id}")), "{log}");
    }
}

/// Prints the cost of adding, claiming and finishing with few and with 100,000 entries that wait. Run it by name, alone:
/// `cargo test --test it -- --ignored --nocapture a_hundred_thousand`.
#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_entries_cost_as_few() {
    for place in places("required") {
        let env = |name: &str| {
            let home = place.frosty.home.path().to_string_lossy().into_owned();
            let store = place.server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
            let value = [("HOME", home), ("FROSTY_STORE", store), ("FROSTY_WORK", "required".to_owned())];
            value.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let config = Config::load(&Env::of(env), None, &Flags::default()).unwrap();
        let add = |n: u32| {
            let step = Step { event_name: "WorkAdd".to_owned(), ..step(Event::Other) };
            let change = Change { agent: "echo", id: "", by: None, step: &step };
            let entry = WorkEntry { text: format!("entry {n}"), ..WorkEntry::default() };
            let added = store::work::change(&config, &change, |changed| {
                Ok::<_, ()>(changed.work.add(entry.clone(), None, changed.now).id)
            });
            added.unwrap().unwrap()
        };
        let turn = || {
            let end = Some(RestRequest { kind: RestKind::Done, lasting: None, topic: String::new() });
            let step = Step { agent: "echo".to_owned(), ..step(Event::Stop { rest: end }) };
            let deadline = Instant::now() + Duration::from_secs(5);
            let verdict = store::open(&config, deadline).unwrap().step(&step).unwrap();
            assert!(verdict.decision.work.is_some(), "{verdict:?}");
        };
        let timed = |what: &str, times: u32, run: &dyn Fn(u32)| {
            let begun = Instant::now();
            (0..times).for_each(run);
            let took = begun.elapsed();
            println!(
                "{what}: {:.0} per second, {:.0} us each",
                f64::from(times) / took.as_secs_f64(),
                took.as_micros() as f64 / f64::from(times)
            );
        };
        let of = if place.server.is_some() { "server" } else { "files" };
        for waiting in [1000, 100_000_u32] {
            let so_far = numbers(&place)[0] as u32;
            (so_far..waiting).for_each(|n| drop(add(n)));
            println!("{of} with {waiting} entries that wait");
            timed("  add", 500, &|n| drop(add(n)));
            timed("  end one and claim the next", 500, &|_| turn());
            timed("  work list", 5, &|_| drop(work(&place, &["list"])));
        }
    }
}
