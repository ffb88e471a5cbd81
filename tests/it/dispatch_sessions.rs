//! Routes that start sessions, by the program. In the client's place is a script that ends before its first prompt; the
//! scenarios on the real client are in `tests/client/scenarios_dispatch.py`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use frosty::policy::work::entry::WorkEntry;
use frosty::policy::work::question::Question;
use serde_json::{Value, json};

use crate::support::place::Place;
use crate::support::{Answer, eventually};

/// Both stores, with the script on the path.
fn places(config: &Value) -> [Place; 2] {
    Place::both().map(|Place { frosty, server }| {
        let bin = frosty.home.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let client = bin.join("claude");
        fs::write(&client, "#!/bin/sh\necho \"$@\" >> \"$HOME/started\"\nexit 3\n").unwrap();
        fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        Place { frosty: frosty.var("PATH", &path).config(&config.to_string()), server }
    })
}

fn route(more: &Value) -> Value {
    let mut route = json!({"to": "echo", "session": "print"});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    route
}

fn config(routes: &Value, more: &Value) -> Value {
    let mut config =
        json!({"stop": {"min_interval": "0s", "burst": null}, "spread": {"step": "0s"}, "routes": [routes]});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn starts(place: &Place) -> usize {
    fs::read_to_string(place.frosty.home.path().join("started")).unwrap_or_default().lines().count()
}

fn add(place: &Place, args: &[&str]) {
    let added = place.run(&[&["work", "add", "--to", "echo"], args].concat());
    assert_eq!(added.code, Some(0), "{added:?}");
}

fn once(place: &Place) -> Answer {
    place.run(&["dispatch", "--once"])
}

/// Returns the ids of the entries that wait or are delayed in a fleet.
fn waiting(place: &Place, fleet: &str) -> Vec<String> {
    let listed = place.run(&["work", "list", "echo", "--json", "--fleet", fleet]);
    let all: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {listed:?}"));
    let entries =
        all["queues"].as_array().unwrap().iter().flat_map(|queue| queue["entries"].as_array().unwrap().clone());
    let mut ids: Vec<String> = entries.map(|entry| entry["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_session_is_started_only_where_a_session_may_continue() {
    for place in places(&config(&route(&json!({})), &json!({}))) {
        add(&place, &["--id", "one", "task"]);
        let held = place.run(&["hold", "--fleet", "--reason", "look", "--for", "1h"]);
        assert_eq!(held.code, Some(0), "{held:?}");
        once(&place);
        assert_eq!(starts(&place), 0);
        assert_eq!(place.run(&["release", "--fleet", "--at-once"]).code, Some(0));
        for (name, value, words) in
            [("FROSTY_MODE", "shadow", "export FROSTY_MODE=enforce"), ("FROSTY_DISABLE", "1", "unset FROSTY_DISABLE")]
        {
            let mut dispatch = place.frosty.command(&["dispatch", "--once"]);
            let refused = Answer::of(dispatch.env(name, value).output().unwrap(), std::time::Duration::ZERO);
            assert!(refused.code == Some(1) && refused.stderr.contains(words), "{refused:?}");
        }
        let project = place.frosty.project();
        let of_project = ["--project", project.to_str().unwrap()];
        assert_eq!(place.run(&[&["off"], &of_project[..]].concat()).code, Some(0));
        let off = once(&place);
        assert!(off.stderr.contains("Frosty is off in") && off.stderr.contains("frosty on"), "{off:?}");
        assert_eq!(starts(&place), 0);
        assert_eq!(place.run(&[&["on"], &of_project[..]].concat()).code, Some(0));
        let failed = once(&place);
        assert!(failed.stderr.contains("the client ended before its first prompt (exit status: 3)"), "{failed:?}");
        assert_eq!((starts(&place), waiting(&place, "default")), (1, vec!["one".to_owned()]));
    }
}

#[test]
fn a_program_that_is_missing_claims_nothing_and_a_refusal_is_named() {
    for run in ["./none", "no-such-program"] {
        for place in places(&config(&json!({"to": "echo", "run": [run]}), &json!({}))) {
            add(&place, &["task"]);
            let answer = once(&place);
            assert!(answer.stderr.contains(run) && answer.stderr.contains("\nhint: see "), "{answer:?}");
            let listed = place.run(&["work", "list", "echo", "--json"]).stdout;
            assert!(listed.contains("\"attempts\":0") && listed.contains("\"delayed\":0"), "{listed}");
        }
    }
    for place in places(&config(&json!({"to": "echo", "run": ["cat"]}), &json!({"stop": {"min_interval": "1h"}}))) {
        (0..2).for_each(|_| add(&place, &["task"]));
        let said = once(&place).stdout;
        assert!(
            said.contains("the next task of echo is refused until ") && said.contains(": min_interval\n"),
            "{said}"
        );
    }
}

#[test]
fn a_hold_of_an_agents_session_holds_its_programs_and_a_route_can_be_held_beforehand() {
    for place in places(&config(&json!({"to": "echo", "run": "echo run >> \"$HOME/started\""}), &json!({}))) {
        let held = |word: &str| place.run(&["hold", word, "--reason", "look", "--for", "1h"]);
        assert_eq!(held("echo").code, Some(0), "no session of it is known yet");
        add(&place, &["task"]);
        once(&place);
        assert_eq!(place.run(&["release", "echo", "--at-once"]).code, Some(0));
        // A window of the agent has a scope of its own.
        let mut hook = place.frosty.hook_binary(&[]);
        hook.env("FROSTY_NAME", "echo").env("FROSTY_SCOPE", "window").stdin(std::process::Stdio::piped());
        crate::support::feed(hook, crate::support::stop("s").as_bytes());
        assert!(held("echo").stdout.contains("echo is held"));
        once(&place);
        assert_eq!(starts(&place), 0);
        assert_eq!(place.run(&["release", "echo", "--at-once"]).code, Some(0));
        once(&place);
        assert_eq!(starts(&place), 1);
    }
}

#[test]
fn a_dispatcher_goes_by_the_configuration_as_it_is() {
    let [_, place] = places(&json!({}));
    let set = |mode: &str| {
        let route = json!({"to": "echo", "run": "echo run >> \"$HOME/started\""});
        let config = config(&route, &json!({"mode": mode, "budget": "1s"}));
        fs::write(place.frosty.home.path().join(".claude/frosty.json"), config.to_string()).unwrap();
    };
    set("enforce");
    let mut dispatcher = place.frosty.command(&["dispatch"]).spawn().unwrap();
    add(&place, &["one"]);
    eventually("the first runs", || starts(&place) == 1);
    set("shadow");
    std::thread::sleep(std::time::Duration::from_secs(1));
    add(&place, &["two"]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(starts(&place), 1);
    set("enforce");
    eventually("the second runs", || starts(&place) == 2);
    dispatcher.kill().unwrap();
    dispatcher.wait().unwrap();
}

#[test]
fn what_a_dispatcher_starts_has_its_fleet() {
    let run = json!({"to": "echo", "run": "echo \"$FROSTY_FLEET\" >> \"$HOME/started\""});
    let [_, place] = places(&config(&run, &json!({"fleet": "my fleet"})));
    add(&place, &["task"]);
    once(&place);
    let started = || fs::read_to_string(place.frosty.home.path().join("started")).unwrap();
    assert_eq!(started(), "my fleet\n");
    let [_, place] = places(&config(&route(&json!({})), &json!({"fleet": "my fleet"})));
    add(&place, &["task"]);
    once(&place);
    let started = fs::read_to_string(place.frosty.home.path().join("started")).unwrap();
    let (_, file) = started.split_once("--settings ").unwrap();
    let settings: Value = serde_json::from_str(&fs::read_to_string(file.trim()).unwrap()).unwrap();
    assert_eq!(settings["env"]["FROSTY_FLEET"], "my fleet");
}

#[test]
fn a_key_that_is_a_pipe_blocks_nothing() {
    let [_, place] = places(&config(&route(&json!({"keys": ["~/key"]})), &json!({})));
    let key = place.frosty.home.path().join("key");
    assert!(Command::new("mkfifo").arg(&key).status().unwrap().success());
    add(&place, &["task"]);
    let refused = once(&place);
    assert!(refused.stderr.contains("the API key in") && refused.stderr.contains("ls -ld"), "{refused:?}");
    assert_eq!(starts(&place), 0);
}

#[test]
fn no_session_is_started_outside_the_working_hours() {
    let at = |hours: i64| (chrono::Local::now() + chrono::Duration::hours(hours)).format("%H:%M").to_string();
    for (from, to, starts_then) in [(6, 8, 0), (-2, 2, 1)] {
        let hours = json!({"profiles": {"day": {"hours": [format!("{}-{}", at(from), at(to))]}}, "agents": {"echo": {"profile": "day"}}});
        for place in places(&config(&route(&json!({})), &hours)) {
            add(&place, &["task"]);
            once(&place);
            assert_eq!(starts(&place), starts_then, "from {from} to {to}");
        }
    }
}

#[test]
fn work_is_passed_on_from_a_key_at_its_limit_and_not_from_a_hold() {
    const OTHER: &str = "default-key2";
    let places = || places(&config(&route(&json!({"keys": ["~/a", "~/b"]})), &json!({})));
    for (place, is_held) in places().map(|place| (place, false)).into_iter().chain(places().map(|place| (place, true)))
    {
        ["a", "b"].iter().for_each(|key| fs::write(place.frosty.home.path().join(key), "key").unwrap());
        let reset = (chrono::Utc::now() + chrono::Duration::hours(5)).format("%-I%P");
        let text = format!("You've hit your session limit · resets {reset} (UTC)");
        let failure = json!({"hook_event_name": "StopFailure", "session_id": "s", "cwd": "/w", "error": "rate_limit",
            "last_assistant_message": text});
        place.frosty.hook(&failure.to_string());
        // One that the other fleet finished: a dispatcher ended after it had added it there.
        add(&place, &["--id", "finished", "--fleet", OTHER, "task"]);
        let finished = place.run(&["work", "done", "finished", "--fleet", OTHER]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        place.put("echo", WorkEntry { question: Some(Question::default()), ..entry("question") }, 2);
        place.put("echo", entry("finished"), 1);
        place.put("echo", entry("task"), 0);
        if is_held {
            assert_eq!(place.run(&["hold", "--fleet", "--reason", "look", "--for", "1h"]).code, Some(0));
        }
        once(&place);
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let here = if is_held { ids(&["finished", "question", "task"]) } else { ids(&["question", "task"]) };
        assert_eq!((waiting(&place, "default"), waiting(&place, OTHER)), (here, ids(&[])));
        if is_held {
            continue;
        }
        // One that is delayed there keeps none away.
        add(&place, &["--id", "later", "--fleet", OTHER, "--in", "1h", "task"]);
        let said = once(&place);
        assert_eq!(waiting(&place, "default"), ["question"], "{said:?}");
        assert_eq!(waiting(&place, OTHER).iter().filter(|id| *id == "task").count(), 1);
        let shown = place.run(&["work", "show", "task"]).stdout;
        assert!(shown.starts_with("task of echo: dropped since "), "{shown}");
    }
}

fn entry(id: &str) -> WorkEntry {
    WorkEntry { id: id.to_owned(), text: "task".to_owned(), ..WorkEntry::default() }
}
