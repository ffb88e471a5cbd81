//! Routes that start sessions: the dispatcher, the hooks and the store, with a script in the place of the client.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::dispatch::lose_machine;
use crate::support::place::Place;
use crate::support::{Frosty, eventually};

/// A client: it notes its arguments and its prompt, and sends the hooks' events of a session that runs until it is stopped.
const CLIENT: &str = r#"#!/bin/bash
set -u
say() { echo "$*" >> "$HOME/calls"; }
if [ "$1" = stop ]; then say "stop $2"; kill "$(cat "$HOME/pid-$2")"; exit; fi
say "$*"
cat >> "$HOME/prompts"
[ -e "$HOME/broken" ] && { echo "no key" >&2; exit 3; }
[ -e "$HOME/hangs" ] && { echo $$ > "$HOME/pid-hangs"; exec sleep 60; }
while [ "$1" != --settings ]; do shift; done
for name in NAME SCOPE FLEET WORK ON START STORE; do
  value=$(sed -n "s/.*\"FROSTY_$name\":\"\([^\"]*\)\".*/\1/p" "$2")
  [ -z "$value" ] || export "FROSTY_$name=$value"
done
id=$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
export CLAUDE_CODE_ENTRYPOINT=cli CLAUDE_CODE_SESSION_ATTENDED=0 CLAUDE_JOB_DIR="$HOME/job"
run() {
  export CLAUDE_PID=$BASHPID
  echo $BASHPID > "$HOME/pid-$id"
  event() { echo "{\"session_id\":\"$id-0000\",\"hook_event_name\":\"$1\"$2}" | "$HOOK"; }
  event SessionStart ',"source":"startup"'
  event UserPromptSubmit ',"prompt":"a task"'
  [ -e "$HOME/ends" ] && event Stop ',"last_assistant_message":"Well.\nfrosty: done"'
  exec sleep 60
}
(run </dev/null >/dev/null 2>&1 &)
echo "backgrounded · $id · echo"
"#;

/// A place with that client, and a route to it.
fn place(Place { frosty, server }: Place, route: &Value) -> Place {
    let config = json!({"stop": {"min_interval": "0s", "burst": null}, "spread": {"step": "0s"}, "routes": [route]});
    let frosty = frosty.config(&config.to_string());
    let (home, hook) = (frosty.home.path().to_owned(), env!("CARGO_BIN_EXE_frosty-hook"));
    fs::create_dir(home.join("bin")).unwrap();
    let client = home.join("bin/claude");
    fs::write(&client, CLIENT).unwrap();
    fs::set_permissions(&client, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", home.join("bin").display());
    Place { frosty: frosty.var("PATH", &path).var("HOOK", hook), server }
}

fn route() -> Value {
    json!({"to": "echo", "session": "background", "model": "haiku", "idle_stop": "1s", "env": {"SECRET": "s3cret-value"}})
}

fn file(place: &Place, name: &str) -> String {
    fs::read_to_string(place.frosty.home.path().join(name)).unwrap_or_default()
}

fn add(place: &Place, task: &str) -> String {
    add_with(place, &[task])
}

fn add_with(place: &Place, args: &[&str]) -> String {
    let added = place.run(&[&["work", "add", "--to", "echo"], args].concat());
    assert!(added.stdout.contains("frosty dispatch starts a session for it"), "{added:?}");
    added.stdout.split_whitespace().nth(1).unwrap().to_owned()
}

fn in_hand(place: &Place) -> Vec<Value> {
    let listed = place.run(&["work", "list", "echo", "--json"]).stdout;
    let all: Value = serde_json::from_str(&listed).unwrap();
    let entries = all["queues"][0]["entries"].as_array().cloned().unwrap_or_default();
    entries.into_iter().filter(|entry| entry["state"] == "in_hand").collect()
}

/// A dispatcher that runs until the test ends; the clients end with it.
struct Dispatcher<'a>(Child, &'a Frosty);

impl<'a> Dispatcher<'a> {
    fn start(frosty: &'a Frosty) -> Self {
        let mut command = frosty.command(&["dispatch"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), frosty)
    }
}

impl Drop for Dispatcher<'_> {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        end_clients(self.1);
    }
}

fn end_clients(frosty: &Frosty) {
    for entry in fs::read_dir(frosty.home.path()).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("pid-") {
            let pid = fs::read_to_string(entry.path()).unwrap();
            // The client may be over.
            let _ = std::process::Command::new("kill").arg(pid.trim()).stderr(Stdio::null()).status();
        }
    }
}

#[test]
fn racing_dispatchers_start_one_session_with_one_admission() {
    for place in Place::both() {
        let place = self::place(place, &route());
        let first = add(&place, "one");
        add(&place, "two");
        let _dispatchers = [Dispatcher::start(&place.frosty), Dispatcher::start(&place.frosty)];
        let is_claimed = || in_hand(&place).iter().any(|e| e["session"].as_str().unwrap().ends_with("-0000"));
        eventually("the client has the entry", is_claimed);
        std::thread::sleep(Duration::from_millis(1200));
        let calls = file(&place, "calls");
        assert!(
            calls.lines().count() == 1 && calls.starts_with("--bg --name echo --model haiku --settings /"),
            "{calls}"
        );
        assert_eq!(in_hand(&place).iter().map(|e| e["id"].clone()).collect::<Vec<_>>(), [json!(first)]);
        let prompt = file(&place, "prompts");
        assert!(
            prompt.contains(&format!("the entry {first} of the owner's work queue")) && prompt.contains("> one"),
            "{prompt}"
        );
        let admitted: Vec<Value> = place.journal().into_iter().filter(|e| e["verdict"] == "admit").collect();
        assert_eq!(admitted.iter().map(|e| e["work"].as_str().unwrap()).collect::<Vec<_>>(), [&first]);
        // The token was used, and a made-up one is a person's prompt: neither moves the claim.
        let token = file(&place, calls.trim().rsplit_once(' ').unwrap().1);
        let token = token.split("\"FROSTY_START\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        for (session, token) in [("again", token.as_str()), ("forged", "0123456789abcdef0123456789abcdef")] {
            let vars = [("FROSTY_START", token), ("FROSTY_NAME", "echo"), ("FROSTY_WORK", "required")];
            let mut hook = place.frosty.hook_binary(&[]);
            hook.envs(vars).stdin(Stdio::piped());
            let payload = format!(r#"{{"session_id":"{session}","hook_event_name":"UserPromptSubmit","prompt":"x"}}"#);
            let answer = crate::support::feed(hook, payload.as_bytes());
            assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
        }
        assert!(is_claimed());
        let shown = place.run(&["config", "--json"]).stdout + &place.run(&["config"]).stdout;
        assert!(!shown.contains("s3cret") && !file(&place, "calls").contains("s3cret"), "{shown}");
    }
}

#[test]
fn a_session_that_is_idle_is_stopped_and_started_again_by_work() {
    let [_, files] = Place::both();
    let place = place(files, &route());
    fs::write(place.frosty.home.path().join("ends"), "").unwrap();
    let first = add(&place, "one");
    let _dispatcher = Dispatcher::start(&place.frosty);
    eventually("the idle session is stopped", || file(&place, "calls").contains("\nstop "));
    assert!(in_hand(&place).is_empty());
    let shown = place.run(&["work", "show", &first]).stdout;
    assert!(shown.contains("done"), "{shown}");
    add_with(&place, &["two", "--model", "opus[1m]"]);
    eventually("another one is started", || file(&place, "calls").matches("--bg").count() == 2);
    let calls = file(&place, "calls");
    assert!(
        calls.contains("--bg --name echo --model haiku ") && calls.contains("--name echo --model opus[1m] "),
        "{calls}"
    );
    eventually("it has the entry", || file(&place, "prompts").contains("> two"));
}

#[test]
fn a_client_that_does_not_start_gives_its_entry_back() {
    let [_, files] = Place::both();
    let place = place(files, &route());
    let entry = add(&place, "one");
    fs::write(place.frosty.home.path().join("broken"), "").unwrap();
    let answer = place.run(&["dispatch", "--once"]);
    let why = format!(
        "no session of echo was started for {entry}: the client ended before its first prompt (exit status: 3): no key"
    );
    assert!(answer.code == Some(0) && answer.stderr.contains(&why), "{answer:?}");
    let shown = place.run(&["work", "show", &entry]).stdout;
    assert!(shown.contains("before its first prompt") && in_hand(&place).is_empty(), "{shown}");
    // It waits, so nothing is started now.
    place.run(&["dispatch", "--once"]);
    assert_eq!(file(&place, "calls").lines().count(), 1);
    // Without the program nothing is claimed.
    assert_eq!(place.run(&["work", "retry", &entry]).code, Some(0));
    fs::remove_file(place.frosty.home.path().join("bin/claude")).unwrap();
    let admitted = || place.journal().iter().filter(|e| e["verdict"] == "admit").count();
    let before = admitted();
    let answer = place.run(&["dispatch", "--once"]);
    let missing = "no session of echo is started: the client's program claude is not found on PATH\nhint: ";
    assert!(answer.stderr.contains(missing), "{answer:?}");
    assert_eq!(admitted(), before);
}

#[test]
fn the_entry_of_a_dispatcher_that_is_gone_is_claimed_again() {
    for (place, is_machine) in Place::both().into_iter().zip([true, false]) {
        let place = self::place(place, &route());
        let hangs = place.frosty.home.path().join("hangs");
        fs::write(&hangs, "").unwrap();
        let entry = add(&place, "one");
        let mut dispatcher = Dispatcher::start(&place.frosty);
        eventually("a client is started", || place.frosty.home.path().join("pid-hangs").exists());
        let [held] = &in_hand(&place)[..] else { panic!("one entry is in hand") };
        assert!(held["session"].as_str().unwrap().starts_with("start-"), "{held:?}");
        let _ = dispatcher.0.kill();
        let _ = dispatcher.0.wait();
        fs::remove_file(&hangs).unwrap();
        let starts = || file(&place, "calls").matches("--bg").count();
        if is_machine {
            let lease = Duration::from_secs(2 * 3600);
            for (silent, overdue) in [(lease / 2, false), (lease / 2, false), (lease, true)] {
                assert_eq!((lose_machine(&place, "echo", silent), starts()), (overdue, 1));
                place.run(&["dispatch", "--once"]);
            }
        } else {
            place.run(&["dispatch", "--once"]);
        }
        let [held] = &in_hand(&place)[..] else { panic!("one entry is in hand") };
        assert!(held["session"].as_str().unwrap().ends_with("-0000") && held["id"] == entry.as_str(), "{held:?}");
        assert_eq!(starts(), 2);
    }
}

#[test]
fn a_run_inside_a_started_print_session_has_no_part_in_its_work() {
    let [_, files] = Place::both();
    let place = place(files, &route());
    add(&place, "one");
    let before = place.journal().len();
    let vars =
        [("FROSTY_ON", "print"), ("FROSTY_NAME", "echo"), ("FROSTY_WORK", "required"), ("FROSTY_START", "t.started")];
    let stop = |session: &str| {
        let mut hook = place.frosty.hook_binary(&[]);
        hook.envs(vars).env("CLAUDE_CODE_ENTRYPOINT", "sdk-cli");
        crate::support::feed(hook, crate::support::stop(session).as_bytes())
    };
    assert_eq!((stop("nested").code, place.journal().len()), (Some(0), before));
    assert_eq!((stop("started").code, in_hand(&place).len()), (Some(2), 1));
}
