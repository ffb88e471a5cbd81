//! The dispatcher, by the program: streams into queues, and programs that work through queues.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use frosty::policy::request::{Event, Step};
use frosty::policy::work::entry::WorkEntry;
use frosty::store::work::{Change, Changed, change as change_queue};
use serde_json::{Value, json};

use crate::support::place::Place;
use crate::support::{Answer, Frosty, eventually};

/// Both stores, with a route for each of these agents to a script that notes the task.
fn places(routes: &Value) -> [Place; 2] {
    Place::both().map(|Place { frosty, server }| {
        let config = json!({"stop": {"min_interval": "0s", "burst": null}, "spread": {"step": "0s"}, "routes": routes});
        Place { frosty: frosty.config(&config.to_string()), server }
    })
}

/// A route to a program that notes each task and its model in the file `done`, and fails on one that contains `fail`.
fn worker(agent: &str) -> Value {
    let script = r#"read -r task; echo "$FROSTY_WORK_ID $FROSTY_WORK_AGENT $task${FROSTY_WORK_MODEL+ by $FROSTY_WORK_MODEL}" >> "$HOME/done"; case $task in *fail*) exit 3;; esac"#;
    json!({"to": agent, "run": script})
}

fn add(place: &Place, agent: &str, task: &str) -> String {
    add_with(place, &["--to", agent, task])
}

fn add_with(place: &Place, args: &[&str]) -> String {
    let added = place.run(&[&["work", "add"], args].concat());
    assert_eq!(added.code, Some(0), "{added:?}");
    added.stdout.split_whitespace().nth(1).unwrap().to_owned()
}

fn done(place: &Place) -> Vec<String> {
    let text = fs::read_to_string(done_file(place)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn done_file(place: &Place) -> PathBuf {
    place.frosty.home.path().join("done")
}

/// Returns a queue's numbers of entries that wait, are delayed, are in hand, and are dead letters.
fn numbers(place: &Place, agent: &str) -> [u64; 4] {
    let listed = place.run(&["work", "list", agent, "--json"]);
    let all: Value = serde_json::from_str(&listed.stdout).unwrap_or_else(|e| panic!("{e}: {listed:?}"));
    ["waiting", "delayed", "in_hand", "dead"].map(|key| all["queues"][0][key].as_u64().unwrap())
}

/// A dispatcher that runs until the test ends or kills it.
struct Dispatcher(Child);

impl Dispatcher {
    fn start(frosty: &Frosty) -> Self {
        let mut command = frosty.command(&["dispatch"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn once(place: &Place) -> Answer {
    let answer = place.run(&["dispatch", "--once"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    answer
}

#[test]
fn a_program_works_through_a_queue() {
    for place in places(&json!([worker("echo")])) {
        let place = place.var("FROSTY_WORK_MODEL", "of the outer program");
        let first = add(&place, "echo", "one");
        let failing = add(&place, "echo", "fail");
        let last = add_with(&place, &["--to", "echo", "three", "--model", "haiku"]);
        add(&place, "helix", "of another agent");
        once(&place);
        assert_eq!(
            done(&place),
            [format!("{first} echo one"), format!("{failing} echo fail"), format!("{last} echo three by haiku")]
        );
        assert_eq!(numbers(&place, "echo"), [0, 1, 0, 0]);
        assert_eq!(numbers(&place, "helix"), [1, 0, 0, 0]);
        let shown = place.run(&["work", "show", &failing]).stdout;
        assert!(shown.contains("exit status: 3"), "{shown}");
        // Each run is an admission of the policy, in the journal with its entry.
        let admitted: Vec<Value> = place.journal().into_iter().filter(|e| e["verdict"] == "admit").collect();
        assert_eq!(admitted.iter().map(|e| e["work"].as_str().unwrap()).collect::<Vec<_>>(), [&first, &failing, &last]);
        once(&place);
        assert_eq!(done(&place).len(), 3);
    }
}

#[test]
fn a_dispatcher_runs_what_arrives_as_its_limits_allow() {
    for place in places(&json!([worker("echo")])) {
        let Place { frosty, server } = place;
        let config = json!({"stop": {"min_interval": "1s"}, "routes": [worker("echo")]});
        let place = Place { frosty: frosty.config(&config.to_string()), server };
        let _dispatchers = [Dispatcher::start(&place.frosty), Dispatcher::start(&place.frosty)];
        (0..3).for_each(|n| drop(add(&place, "echo", &n.to_string())));
        eventually("all are done", || done(&place).len() == 3 && numbers(&place, "echo") == [0; 4]);
        let times = place.admissions();
        assert!(times.len() == 3 && times.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "{times:?}");
        // A hold holds the program too.
        assert_eq!(place.run(&["hold", "echo", "--reason", "look", "--for", "1h"]).code, Some(0));
        add(&place, "echo", "held");
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(done(&place).len(), 3);
    }
}

#[test]
fn each_task_of_a_stream_is_added_once() {
    let [place, files] = places(&json!([
        {"to": "echo", "from": "task.pipeline", "priority": "low", "ack": "turn"},
        {"to": "echo", "from": "torch.continuous.ops"},
    ]));
    let refused = files.run(&["dispatch", "--once"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("the stream task.pipeline"), "{refused:?}");
    let mut con = place.server.as_ref().unwrap().connection();
    let mut write = |stream: &str, fields: &[(&str, &str)]| {
        redis::cmd("XADD").arg(stream).arg("*").arg(fields).query::<String>(&mut con).unwrap();
    };
    write("task.pipeline", &[("text", "before the dispatcher began")]);
    once(&place);
    write("task.pipeline", &[("text", "plain")]);
    write("task.pipeline", &[("task", "urgent"), ("priority", "high")]);
    write("task.pipeline", &[("status", "no task")]);
    write("torch.continuous.ops", &[("text", "of a journal"), ("infrastructure_mode", "GUARDED_CONTINUOUS")]);
    std::thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(|| once(&place))));
    });
    // The journal itself is such a stream: an agent that loops adds nothing.
    (0..20).for_each(|_| drop(place.frosty.hook(&crate::support::stop("looping"))));
    once(&place);
    let listed = place.run(&["work", "list", "echo", "--json"]);
    let all: Value = serde_json::from_str(&listed.stdout).unwrap();
    let entries = all["queues"][0]["entries"].as_array().unwrap();
    let found: Vec<_> =
        entries.iter().map(|e| (e["priority"].as_str().unwrap(), e["text"].as_str().unwrap())).collect();
    assert_eq!(found, [("high", "urgent"), ("low", "plain")]);
    assert!(entries.iter().all(|e| e["ack"] == "turn"), "{entries:?}");
}

#[test]
fn a_cover_gets_the_new_tasks_of_a_topic_and_a_stream_while_the_agent_is_held() {
    let topic = json!({"to": "vaeris", "from": "infra.alerts.urgent", "topic": "alerts", "cover": "echo"});
    for place in places(&json!([topic])) {
        for agent in ["vaeris", "echo"] {
            let stop = crate::support::stop(&format!("s-{agent}"));
            assert_eq!(crate::support::feed(frosty_of(&place, agent), stop.as_bytes()).code, Some(2));
        }
        let waiting = || ["vaeris", "echo"].map(|agent| numbers(&place, agent)[0]);
        let add = |id: &str, words: &str| {
            let added = place.run(&["work", "add", "--to", "alerts", "--id", id, "look"]);
            assert!(added.code == Some(0) && added.stdout.contains(words), "{added:?}");
        };
        add("first", "added first for vaeris: ");
        let held = place.run(&["hold", "vaeris", "--reason", "look", "--for", "1h"]);
        assert_eq!(held.code, Some(0), "{held:?}");
        add("second", "added second for echo, since vaeris is held: ");
        // What has its id was added before, wherever it is.
        assert!(
            place.run(&["work", "add", "--to", "alerts", "--id", "first", "x"]).stdout.contains("was added before")
        );
        assert_eq!(waiting(), [1, 1]);
        if let Some(server) = &place.server {
            once(&place);
            let mut con = server.connection();
            redis::cmd("XADD")
                .arg("infra.alerts.urgent")
                .arg("*")
                .arg("text")
                .arg("x")
                .query::<String>(&mut con)
                .unwrap();
            let took = once(&place).stdout;
            assert!(took.contains(" for echo, since vaeris is held"), "{took}");
        }
        // A cover that is held too gets nothing, and one who adds for the agent itself means it.
        assert_eq!(place.run(&["hold", "echo", "--reason", "look", "--for", "1h"]).code, Some(0));
        add("third", "added third for vaeris: ");
        let named = place.run(&["work", "add", "--to", "vaeris", "x"]);
        assert!(named.stdout.contains(" for vaeris: "), "{named:?}");
        assert_eq!(waiting(), [3, 1 + u64::from(place.server.is_some())]);
    }
}

#[test]
fn a_stream_that_fails_stops_no_other_and_a_new_one_is_read_from_its_beginning() {
    let routes =
        json!([{"to": "a", "from": "t.bad"}, {"to": "echo", "from": "t.one"}, {"to": "helix", "from": "t.two"}]);
    let [place, _] = places(&routes);
    let mut con = place.server.as_ref().unwrap().connection();
    redis::cmd("SET").arg("t.bad").arg("no stream").exec(&mut con).unwrap();
    let _dispatcher = Dispatcher::start(&place.frosty);
    let mut exists = |stream: &str| redis::cmd("EXISTS").arg(stream).query::<bool>(&mut con).unwrap();
    eventually("the groups are made", || exists("t.one") && exists("t.two"));
    let mut write = |stream: &str, text: &[u8], by: &[u8]| {
        redis::cmd("XADD").arg(stream).arg("*").arg(&[("text", text), ("by", by)]).exec(&mut con).unwrap();
    };
    (0..250).for_each(|n| write("t.one", format!("task {n}").as_bytes(), b"ann"));
    write("t.two", b"with bytes", b"\xff\xfe");
    write("t.two", b"  ", b"blank");
    write("t.two", "long ".repeat(2000).as_bytes(), b"ann");
    eventually("all are taken", || numbers(&place, "echo")[0] == 250 && numbers(&place, "helix")[0] == 2);
    let listed = place.run(&["work", "list", "helix", "--json"]).stdout;
    assert!(listed.contains("(cut off; all of it: XRANGE t.two "), "{listed}");
    let mut con = place.server.as_ref().unwrap().connection();
    redis::cmd("DEL").arg("t.one").exec(&mut con).unwrap();
    redis::cmd("XADD").arg("t.one").arg("*").arg(&[("text", "anew")]).exec(&mut con).unwrap();
    eventually("the new stream is read", || numbers(&place, "echo")[0] == 251);
    let once = place.run(&["dispatch", "--once"]);
    assert!(once.code == Some(1) && once.stderr.contains("frosty: the stream t.bad: "), "{once:?}");
}

#[test]
fn nothing_is_lost_or_acknowledged_twice_while_dispatchers_are_killed() {
    let routes = json!([worker("echo"), worker("helix"), worker("vaeris")]);
    for place in places(&routes) {
        let agents = ["echo", "helix", "vaeris"];
        let ids: Vec<String> = (0..60).map(|n| add(&place, agents[n % 3], &format!("task {n}"))).collect();
        let mut dispatchers: Vec<Dispatcher> = (0..3).map(|_| Dispatcher::start(&place.frosty)).collect();
        let begun = Instant::now();
        let is_over = || agents.iter().all(|agent| numbers(&place, agent)[..3] == [0; 3]);
        let mut kills = 0;
        while !is_over() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", agents.map(|agent| numbers(&place, agent)));
            std::thread::sleep(Duration::from_millis(300));
            // A death counts as an attempt: after the third an entry would be a dead letter.
            if kills < 12 {
                kills += 1;
                drop(dispatchers.remove(0));
                dispatchers.push(Dispatcher::start(&place.frosty));
            }
        }
        let mut runs: BTreeMap<String, u32> = BTreeMap::new();
        done(&place).iter().for_each(|line| *runs.entry(line.split(' ').next().unwrap().to_owned()).or_default() += 1);
        let mut acknowledged: BTreeMap<String, u32> = BTreeMap::new();
        for entry in place.journal() {
            if let Some(id) = entry["work_end"].as_str().and_then(|end| end.strip_suffix(" done")) {
                *acknowledged.entry(id.to_owned()).or_default() += 1;
            }
        }
        let dead: u64 = agents.iter().map(|agent| numbers(&place, agent)[3]).sum();
        assert_eq!(acknowledged.len() as u64 + dead, ids.len() as u64, "{kills} kills");
        assert!(acknowledged.values().all(|n| *n == 1), "{acknowledged:?}");
        assert!(ids.iter().filter(|id| acknowledged.contains_key(*id)).all(|id| runs[id] >= 1));
        assert!(runs.keys().all(|id| ids.contains(id)));
    }
}

#[test]
fn the_unit_is_one_of_systemd() {
    let frosty = Frosty::new();
    let unit = frosty.run(&["dispatch", "--print-unit", "--store", "redis://127.0.0.1:18000"], b"");
    assert!(
        unit.stdout.contains("\" dispatch --store \"redis://127.0.0.1:18000\"\nKillMode=process\nRestart=always\n"),
        "{unit:?}"
    );
    let file = frosty.home.path().join("frosty-dispatch.service");
    fs::write(&file, &unit.stdout).unwrap();
    // Only where the machine has systemd.
    if let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&file).output() {
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    }
    let none = Frosty::embedded().run(&["dispatch"], b"");
    assert!(none.code == Some(1) && none.stderr.contains("no route is configured\nhint: "), "{none:?}");
}

#[test]
fn one_run_of_an_agent_takes_place_at_a_time() {
    let script = r#"mkdir "$HOME/runs" || echo twice >> "$HOME/done"; sleep 0.1; rmdir "$HOME/runs""#;
    let [_, place] = places(&json!([{"to": "echo", "run": script}]));
    (0..6).for_each(|n| drop(add(&place, "echo", &n.to_string())));
    let _dispatchers = [Dispatcher::start(&place.frosty), Dispatcher::start(&place.frosty)];
    eventually("all are done", || numbers(&place, "echo") == [0; 4]);
    assert_eq!(done(&place), Vec::<String>::new());
}

#[test]
fn a_worker_takes_the_entry_of_a_machine_that_is_gone() {
    for place in places(&json!([{"to": "echo", "run": "[ -e $HOME/hangs ] && exec sleep 60; echo run >> $HOME/done"}]))
    {
        let hangs = place.frosty.home.path().join("hangs");
        fs::write(&hangs, "").unwrap();
        add(&place, "echo", "one");
        let dispatcher = Dispatcher::start(&place.frosty);
        eventually("a program runs", || numbers(&place, "echo") == [0, 0, 1, 0]);
        drop(dispatcher);
        fs::remove_file(&hangs).unwrap();
        let lease = Duration::from_secs(2 * 3600);
        for (silent, overdue, runs) in [(lease / 2, false, 0), (lease / 2, false, 0), (lease, true, 1)] {
            assert_eq!(lose_machine(&place, "echo", silent), overdue);
            once(&place);
            assert_eq!(done(&place).len(), runs);
        }
        assert_eq!(numbers(&place, "echo"), [0; 4]);
    }
}

#[test]
fn work_that_waits_beside_no_session_is_reported_once() {
    for place in places(&json!([])) {
        let Place { frosty, server } = place;
        let told = frosty.home.path().join("told");
        let notify = format!("cat >> {}", told.display());
        let config =
            json!({"stop": {"min_interval": "0s", "burst": null}, "routes": [worker("build")], "notify": [notify]});
        let place = Place { frosty: frosty.config(&config.to_string()), server };
        let told = || {
            let text = fs::read_to_string(&told).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        add(&place, "echo", "a new one");
        once(&place);
        assert_eq!(told(), Vec::<Value>::new(), "it waits for a moment");
        add_before(&place, "helix", 660_000);
        add_before(&place, "rested", 660_000);
        add_before(&place, "working", 660_000);
        for (agent, message) in [("rested", "frosty: next_check 20m"), ("working", "on it")] {
            let place = frosty_of(&place, agent);
            let stop = crate::support::stop_saying(agent, message);
            crate::support::feed(place, stop.as_bytes());
        }
        std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(|| once(&place)))));
        let mut found = told();
        found.sort_by_key(|word| word["text"].to_string());
        let texts: Vec<_> = found.iter().map(|word| word["text"].as_str().unwrap()).collect();
        let expected = [
            "work of helix: old-helix has waited 11m, and no session of it lives",
            "work of rested: old-rested has waited 11m, and a session of it rests",
        ];
        assert_eq!(texts, expected);
        assert!(found.iter().all(|word| word["kind"] == "work_waiting"), "{found:?}");
        assert_eq!((&found[1]["session"], &found[1]["name"]), (&json!("rested"), &json!("rested")));
        assert_eq!(place.journal().iter().filter(|e| e["event"] == "WorkWaiting").count(), 2);
    }
}

/// Returns the command of a hook of an agent's session.
fn frosty_of(place: &Place, agent: &str) -> Command {
    let mut hook = place.frosty.hook_binary(&[]);
    hook.env("FROSTY_NAME", agent).stdin(Stdio::piped());
    hook
}

/// Changes the one claim of an agent to that of a machine which is gone, and which was `silent` for so long; returns whether it
/// was noted as overdue.
pub(crate) fn lose_machine(place: &Place, agent: &str, silent: Duration) -> bool {
    let step = Step { event_name: "Test".to_owned(), ..crate::support::step(Event::Other) };
    let change = Change { agent, id: "", by: None, step: &step };
    let silent = i64::try_from(silent.as_millis()).unwrap();
    let changed = change_queue(&place.config(), &change, |Changed { work, .. }| {
        let [in_hand] = &mut work.queue.hand[..] else { panic!("one entry is in hand") };
        "elsewhere".clone_into(&mut in_hand.host);
        in_hand.renewed -= silent;
        in_hand.overdue = in_hand.overdue.map(|since| since - silent);
        Ok::<_, ()>(in_hand.overdue.is_some())
    });
    changed.unwrap().unwrap()
}

/// Adds an entry that has waited for `age` milliseconds.
fn add_before(place: &Place, agent: &str, age: i64) {
    let (id, text) = (format!("old-{agent}"), "old".to_owned());
    place.put(agent, WorkEntry { id, text, ..WorkEntry::default() }, age);
}
