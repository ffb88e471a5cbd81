//! Tests holds of a scope and of a whole fleet, holds by Willy, their notifications, and the shadow mode.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::place::{Place, goes_on};
use crate::support::{Engine, Frosty, Server, documents, eventually, stop, stop_saying};
use serde_json::Value;

const FREE: &str = r#"{"stop": {"min_interval": "0s", "burst": null}}"#;

/// Returns the input of the notify commands.
fn notified(frosty: &Frosty) -> Vec<Value> {
    let text = fs::read_to_string(frosty.home.path().join("told")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Stores its input, one line each.
fn teller(frosty: &Frosty) -> String {
    let file = frosty.home.path().join("told");
    serde_json::to_string(&format!("cat >> '{}'", file.display())).unwrap()
}

fn willys(place: &Place) -> Vec<HashMap<String, String>> {
    let Some(server) = &place.server else {
        let text = fs::read_to_string(place.frosty.state().join("default/reflect.willy.jsonl")).unwrap_or_default();
        let entry = |line: &str| {
            let fields: HashMap<String, Value> = serde_json::from_str(line).unwrap();
            let text = |v: Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            fields.into_iter().map(|(k, v)| (k, text(v))).collect()
        };
        return text.lines().map(entry).collect();
    };
    let mut con = server.connection();
    let all: Vec<(String, HashMap<String, String>)> =
        redis::cmd("XRANGE").arg("reflect.willy").arg("-").arg("+").query(&mut con).unwrap();
    all.into_iter().map(|(_, entry)| entry).collect()
}

#[test]
fn a_trip_too_many_holds_and_everyone_is_told() {
    for mut place in Place::both() {
        let config = format!(
            r#"{{"stop": {{"min_interval": "1h", "burst": {{"limit": 2, "window": "20s"}}}}, "hold_after_strikes": 1, "notify": [{}]}}"#,
            teller(&place.frosty)
        );
        place.frosty = place.frosty.config(&config);
        assert_eq!(place.frosty.hook(&stop("s")).code, Some(2));
        let held = place.frosty.hook(&stop("s"));
        assert_eq!(held.code, Some(0));
        assert!(held.stdout.contains("held by willy: cooldown number 1 within a day"), "{held:?}");
        eventually("the command is fed", || notified(&place.frosty).len() == 1);
        let word = &notified(&place.frosty)[0];
        assert_eq!((&word["kind"], &word["by"], &word["scope"]), (&"hold".into(), &"willy".into(), &"s".into()));
        let length = word["until"].as_i64().unwrap() - word["at"].as_i64().unwrap();
        assert_eq!(length, 3_600_000);
        // A hold that is already in force causes no notification.
        assert_eq!(place.frosty.hook(&stop("s")).code, Some(0));
        eventually("Willy keeps it", || willys(&place).len() == 1);
        let audit: Vec<Value> = serde_json::from_str(&willys(&place)[0]["audit"]).unwrap();
        assert!(audit.len() >= 2 && audit[0]["reason"] == "hold" && audit[1]["reason"] == "admitted", "{audit:?}");
        assert!(!willys(&place)[0]["haiku"].is_empty());
        // A person may lift it, and the cooldown under it stays.
        let released = place.run(&["release", "s"]);
        assert!(released.stdout.starts_with("released s: it was held by willy"), "{released:?}");
        assert_eq!(place.frosty.hook(&stop("s")).code, Some(0));
        assert_eq!(place.journal().iter().filter(|e| e["reason"] == "cooldown").count(), 1);
        assert_eq!(place.admissions().len(), 1);
    }
}

/// A hold from another terminal: no agent continues in it, an engine resumes by itself, and its agent is asked to
/// reflect.
#[test]
fn a_hold_with_an_end_is_waited_out_and_reflected_on() {
    for place in Place::both() {
        goes_on(&place.wait("s", "on it").answer());
        let held = place.run(&["hold", "--for", "2s", "--reason", "the key is shared today"]);
        assert_eq!(held.code, Some(0), "{held:?}");
        assert!(held.stdout.starts_with("the whole fleet default is held until "), "{held:?}");
        let since = place.journal().iter().find(|e| e["event"] == "Hold").unwrap()["ms"].as_i64().unwrap();
        let answer = place.wait("s", "on it").answer();
        goes_on(&answer);
        let asks = "the key is shared today\nBefore you go on, reflect in two or three sentences: why were you held";
        assert!(answer.stderr.contains("You were held by ") && answer.stderr.contains(asks), "{answer:?}");
        assert!(!answer.stderr.contains("You paused"), "said once: {answer:?}");
        let admitted = place.admissions();
        assert_eq!(admitted.len(), 2);
        assert!(admitted[1] >= since + 2000, "{admitted:?} {since}");
        // Reported once.
        let again = place.wait("s", "on it").answer();
        assert!(!again.stderr.contains("You were held"), "{again:?}");
        eventually("Willy heard of both", || willys(&place).len() == 2);
        let kinds: Vec<_> = willys(&place).iter().map(|e| e["kind"].clone()).collect();
        assert_eq!(kinds, ["hold", "resume"]);
    }
}

#[test]
fn holds_are_named_listed_and_lifted() {
    for mut place in Place::both() {
        place.frosty = place.frosty.config(FREE);
        for session in ["a", "b"] {
            assert_eq!(place.frosty.hook(&stop(session)).code, Some(2));
        }
        assert_eq!(place.run(&["release"]).stdout, "nothing is held\n");
        assert_eq!(place.run(&["hold", "a", "--reason", "look\u{1b}[31m here"]).code, Some(0));
        assert_eq!(place.frosty.hook(&stop("a")).code, Some(0));
        assert_eq!(place.frosty.hook(&stop("b")).code, Some(2), "another scope is not held");
        assert_eq!(place.run(&["hold", "--fleet", "--until", "tomorrow 09:00"]).code, Some(0));
        assert_eq!(place.frosty.hook(&stop("b")).code, Some(0));
        let several = place.run(&["release"]);
        assert_eq!(several.code, Some(64));
        assert!(
            several.stderr.contains("  --fleet  held by ") && several.stderr.contains("  a  held by "),
            "{several:?}"
        );
        assert!(!several.stderr.contains('\u{1b}'));
        assert!(place.run(&["release", "--fleet"]).stdout.starts_with("released the whole fleet default"));
        assert_eq!(place.frosty.hook(&stop("b")).code, Some(2));
        assert!(place.run(&["release"]).stdout.starts_with("released a: "));
        assert_eq!(place.frosty.hook(&stop("a")).code, Some(2));
        for (wrong, code) in [
            (&["hold", "nobody"][..], 64),
            (&["hold", "--until", "soon"], 64),
            (&["hold", "--for", "soon"], 64),
            (&["hold", "--for", "0s"], 64),
            (&["hold", "--for", "366d"], 64),
            (&["hold", "--until", "366 days"], 64),
            (&["hold", "--until", "0s"], 64),
            (&["hold", "--for", "1h", "--until", "18:00"], 64),
            (&["hold", "a", "--fleet"], 64),
        ] {
            let answer = place.run(wrong);
            assert_eq!(answer.code, Some(code), "{wrong:?} {answer:?}");
            assert_eq!(place.frosty.hook(&stop("a")).code, Some(2), "{wrong:?} holds nothing");
        }
        for (flag, value) in [("--for", "9223372036854775807ms"), ("--until", "9223372036854775807ms")] {
            let far = place.run(&["hold", flag, value]);
            assert_eq!((far.code, far.stdout.as_str()), (Some(64), ""), "{far:?}");
            for words in [value, "365d", &format!("\nhint: for a hold without an end, omit {flag}\n")] {
                assert!(far.stderr.contains(words), "no {words:?} in {far:?}");
            }
        }
        let both = place.run(&["release", "a", "--fleet"]);
        assert!(both.code == Some(64) && both.stderr.contains("frosty release --fleet"), "{both:?}");
        // The command that it prints lifts the hold, in another fleet too.
        for args in [&["hold"][..], &["hold", "--fleet", "green"], &["hold", "a", "--for", "1h"]] {
            let held = place.run(args);
            assert_eq!(held.stderr.contains("no session of this fleet is known"), args.contains(&"green"), "{held:?}");
            let paste = held.stdout.trim().rsplit_once(": frosty ").unwrap().1;
            let released = place.run(&paste.split(' ').collect::<Vec<_>>());
            assert!(released.stdout.starts_with("released "), "{paste} {released:?}");
        }
        let by: Vec<Value> = place.journal().into_iter().filter(|e| e["event"] == "Hold").collect();
        assert!(by.iter().all(|e| e["detail"].as_str().unwrap().starts_with("by ")), "{by:?}");
    }
}

/// A process in the place of a tmux server, killed with the test.
struct TmuxServer(std::process::Child);

impl TmuxServer {
    fn start() -> Self {
        // Events within a second of its start cannot be distinguished from earlier ones.
        std::thread::sleep(Duration::from_millis(1200));
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    /// Calls a hook of a session in pane 3 of this server.
    fn hook(&self, place: &Place, project: &str, session: &str, event: &str) -> Option<i32> {
        let mut command = place.frosty.command(&["hook"]);
        command.env("TMUX", format!("/tmp/tmux-0/default,{},0", self.0.id())).env("TMUX_PANE", "%3");
        command.env("CLAUDE_PROJECT_DIR", place.frosty.home.path().join(project));
        let payload = format!(r#"{{"session_id":"{session}","hook_event_name":"{event}","source":"startup"}}"#);
        crate::support::feed(command, payload.as_bytes()).code
    }
}

impl Drop for TmuxServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_hold_of_an_old_pane_is_not_another_projects() {
    for mut place in Place::both() {
        place.frosty = place.frosty.config(FREE);
        let first = TmuxServer::start();
        assert_eq!(first.hook(&place, "nova", "a", "SessionStart"), Some(0));
        assert_eq!(first.hook(&place, "nova", "a", "Stop"), Some(2));
        assert_eq!(place.run(&["hold", "tmux-default-p3", "--reason", "look here"]).code, Some(0));
        assert_eq!(first.hook(&place, "echo", "b", "SessionStart"), Some(0));
        assert_eq!(first.hook(&place, "echo", "b", "Stop"), Some(0), "the pane is the one that was held");
        drop(first);

        assert_eq!(place.run(&["release"]).code, Some(0));
        let second = TmuxServer::start();
        assert_eq!(second.hook(&place, "nova", "c", "SessionStart"), Some(0));
        assert_eq!(place.run(&["hold", "tmux-default-p3", "--reason", "look here"]).code, Some(0));
        drop(second);
        let third = TmuxServer::start();
        assert_eq!(third.hook(&place, "nova", "d", "SessionStart"), Some(0));
        assert_eq!(third.hook(&place, "nova", "d", "Stop"), Some(0), "the held project is back in its pane");
        drop(third);
        let fourth = TmuxServer::start();
        assert_eq!(fourth.hook(&place, "echo", "e", "SessionStart"), Some(0));
        assert_eq!(fourth.hook(&place, "echo", "e", "Stop"), Some(2), "the hold was of another project's pane");
        let holds: Vec<Value> = place.journal().into_iter().filter(|e| e["event"] == "Hold").collect();
        let why = holds.last().unwrap()["detail"].as_str().unwrap();
        assert!(why.starts_with("tmux was started anew"), "{holds:?}");
        assert_eq!(place.run(&["release"]).stdout, "nothing is held\n");
    }
}

#[test]
fn a_shorter_hold_replaces_a_longer_one_only_when_told_to() {
    for mut place in Place::both() {
        place.frosty = place.frosty.config(FREE);
        for session in ["a", "b"] {
            place.frosty.hook(&stop(session));
        }
        place.event("over", "SessionEnd", "");
        for (target, what, stops) in [
            (&["a"][..], "a", "it stops 1 session: a"),
            (&["--fleet"], "the whole fleet default", "it stops 2 sessions: b, a"),
        ] {
            let hold = |more: &[&str]| place.run(&[&["hold"], target, more].concat());
            let first = hold(&["--for", "2h", "--reason", "first"]);
            assert!(first.stdout.contains(&format!("\n{stops}\n")), "{first:?}");
            assert!(!first.stdout.contains("replaces"), "{first:?}");
            let before = place.journal().len();
            let shorter = hold(&["--for", "1h", "--reason", "it's short"]);
            assert_eq!((shorter.code, shorter.stdout.as_str()), (Some(1), ""), "{shorter:?}");
            assert!(shorter.stderr.starts_with(&format!("frosty: {what} is held until ")), "{shorter:?}");
            assert!(shorter.stderr.contains(" already: first\nhint: "), "{shorter:?}");
            assert_eq!(place.journal().len(), before + 1);
            assert_eq!(place.journal()[before]["verdict"], "refuse");
            let longer = hold(&["--for", "3h", "--reason", "longer"]);
            assert!(longer.stdout.contains("\nit replaces the hold by "), "{longer:?}");
            assert!(longer.stdout.contains(": first\n"), "{longer:?}");
            // The command that it prints replaces the hold.
            let paste = shorter.stderr.trim().rsplit_once(": frosty ").unwrap().1;
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &format!("{} {paste}", env!("CARGO_BIN_EXE_frosty"))]);
            let as_here = place.frosty.command(&[]);
            shell.env_clear().envs(as_here.get_envs().filter_map(|(k, v)| Some((k, v?))));
            shell.current_dir(place.frosty.project());
            let pasted = shell.output().unwrap();
            let pasted = String::from_utf8(pasted.stdout).unwrap();
            assert!(pasted.contains("(in 1h): it's short\n") && pasted.contains(": longer\n"), "{paste} {pasted}");
            // Without an end it is longer than any with one.
            assert!(hold(&["--reason", "endless"]).stdout.contains(": it's short\n"));
            assert_eq!(hold(&["--for", "31d"]).code, Some(1));
            assert!(hold(&["--reason", "again"]).stdout.contains("without an end: endless\n"));
            assert_eq!(place.run(&[&["release"], target].concat()).code, Some(0));
        }
    }
}

#[test]
fn a_blocked_agent_reaches_the_commands_once_and_by_its_name() {
    for mut place in Place::both() {
        let config = format!(r#"{{"stop": {{"min_interval": "1s"}}, "notify": [{}]}}"#, teller(&place.frosty));
        place.frosty = place.frosty.config(&config).var("FROSTY_NAME", "nova");
        let engine = place.resting("s", "frosty: blocked Zoë");
        eventually("it is told", || !notified(&place.frosty).is_empty());
        place.frosty.hook(&stop_saying("plain", "frosty: blocked ann"));
        eventually("both are told", || notified(&place.frosty).len() >= 2);
        let told = notified(&place.frosty);
        assert_eq!(told[0]["text"], "nova is blocked on Zoë");
        for (field, value) in
            [("kind", "blocked"), ("name", "nova"), ("shown", "nova"), ("session", "s"), ("reason", "Zoë")]
        {
            assert_eq!(told[0][field], value, "{told:?}");
        }
        assert_eq!(told[0]["project"], place.frosty.project().display().to_string());
        assert_eq!(told[1]["reason"], "ann");
        drop(engine);
        assert_eq!(notified(&place.frosty).len(), 2);
    }
}

#[test]
fn a_hold_is_published() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(FREE);
    let mut con = server.connection();
    let mut heard = con.as_pubsub();
    heard.subscribe("frosty.hold").unwrap();
    heard.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    frosty.hook(&stop("s"));
    assert_eq!(frosty.run(&["hold", "s", "--reason", "why"], b"").code, Some(0));
    let word: Value = serde_json::from_str(&heard.get_message().unwrap().get_payload::<String>().unwrap()).unwrap();
    assert_eq!((&word["kind"], &word["scope"], &word["reason"]), (&"hold".into(), &"s".into(), &"why".into()));
    frosty.run(&["release"], b"");
    let word: Value = serde_json::from_str(&heard.get_message().unwrap().get_payload::<String>().unwrap()).unwrap();
    assert_eq!(word["kind"], "release");
}

/// A hold from an outage is in force when the server is back; a release then releases it.
#[test]
fn a_fleets_hold_goes_along_through_an_outage() {
    let port = crate::support::free_port();
    let frosty = Frosty::new()
        .var("FROSTY_STORE", &format!("redis://127.0.0.1:{port}"))
        .config(r#"{"stop": {"min_interval": "200ms", "burst": null}}"#);
    frosty.hook(&stop("s"));
    let held = frosty.run(&["hold", "--for", "1h", "--reason", "wait"], b"");
    assert!(held.code == Some(0) && held.stderr.contains("the server is unreachable"), "{held:?}");
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    assert_eq!(frosty.journal().last().unwrap()["reason"], "hold");
    let server = Server::start_on(port);
    let mut con = server.connection();
    // A scope that was never seen before sends the first request.
    eventually("the server is told", || {
        frosty.hook(&stop("new"));
        std::thread::sleep(Duration::from_millis(300));
        documents::read(&mut con, documents::FLEET)["hold"]["reason"] == "wait"
    });
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    let stays = documents::read(&mut con, documents::FLEET);
    assert!(stays["hold"]["until"].is_i64(), "{stays}");
    // Unreachable again, and released here.
    drop(con);
    drop(server);
    let released = frosty.run(&["release", "--fleet"], b"");
    assert!(released.stdout.starts_with("released the whole fleet"), "{released:?}");
    let server = Server::start_on(port);
    let mut con = server.connection();
    // It has kept its documents.
    documents::write(&mut con, documents::FLEET, &stays);
    eventually("the server is told of the release", || {
        std::thread::sleep(Duration::from_millis(300));
        frosty.hook(&stop("s"));
        documents::read(&mut con, documents::FLEET)["hold"].is_null()
    });
    eventually("the agent goes on", || {
        std::thread::sleep(Duration::from_millis(300));
        frosty.hook(&stop("s")).code == Some(2)
    });
    let after = documents::read(&mut con, documents::FLEET);
    assert!(after["released"].is_i64(), "{after}");
}

#[test]
fn a_permission_dialog_and_a_lost_engine_reach_the_commands() {
    for mut place in Place::both() {
        let slow = r#"{"command": ["sleep", "30"], "timeout": "500ms"}"#;
        let config = format!(r#"{{"stop": {{"min_interval": "1s"}}, "notify": [{slow}, {}]}}"#, teller(&place.frosty));
        place.frosty = place.frosty.config(&config);
        let before = std::time::Instant::now();
        place.event("s", "Notification", r#","notification_type":"permission_prompt""#);
        assert!(before.elapsed() < Duration::from_secs(5), "a slow command does not keep the hook");
        eventually("somebody is told", || !notified(&place.frosty).is_empty());
        assert_eq!(notified(&place.frosty)[0]["kind"], "needs_you");
        let engine = place.resting("s", "frosty: next_check 20m");
        assert!(Command::new("kill").args(["-9", &engine.pid().to_string()]).status().unwrap().success());
        assert_eq!(engine.answer().code, None);
        // Another engine does this once a minute.
        for _ in 0..2 {
            assert_eq!(place.run(&["announce", "--lost"]).code, Some(0));
        }
        let told = notified(&place.frosty);
        assert_eq!(told.len(), 2, "told once: {told:?}");
        assert_eq!((&told[1]["kind"], &told[1]["session"]), (&"waiter_lost".into(), &"s".into()));
        // A person prompts: the agent is at work, and no engine is lost.
        fs::remove_file(place.frosty.state().join("default/watch.json")).unwrap();
        place.event("s", "UserPromptSubmit", r#","prompt":"go on""#);
        assert_eq!(place.run(&["announce", "--lost"]).code, Some(0));
        assert_eq!(notified(&place.frosty).len(), 2);
    }
}

/// A failure that opens a hold: its engine waits, its notification process has ended, and a signal stops the engine as
/// any other.
#[test]
fn who_tells_leaves_nothing_behind() {
    let frosty = Frosty::embedded();
    let deaf = frosty.home.path().join("deaf");
    let command = serde_json::to_string(&format!("kill -TERM $$; echo deaf > '{}'", deaf.display())).unwrap();
    let config = format!(r#"{{"notify": [{command}, {}]}}"#, teller(&frosty));
    let frosty = frosty.config(&config);
    let failed = crate::support::fixture("StopFailure-authentication_failed-http401.json");
    let engine = Engine::start(&frosty, &failed);
    eventually("it is told of the hold", || notified(&frosty).len() == 1);
    let zombies = || {
        let stats = fs::read_dir("/proc").unwrap().flatten();
        let stats = stats.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
        let is = |stat: &String| {
            let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, after)| after).split_whitespace().collect();
            fields.first() == Some(&"Z") && fields.get(1) == Some(&engine.pid().to_string().as_str())
        };
        stats.filter(is).count()
    };
    let children = || fs::read_to_string(format!("/proc/{0}/task/{0}/children", engine.pid())).unwrap_or_default();
    eventually("they have ended", || children().is_empty() || zombies() > 0);
    eventually("no zombie is left", || zombies() == 0);
    assert_eq!(frosty.hook(&failed).code, Some(0));
    eventually("a plain hook tells of it too", || notified(&frosty).len() == 2);
    assert!(!deaf.exists(), "it was stopped");
}

#[test]
fn a_look_that_fails_is_not_repeated_at_once() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    fs::remove_dir_all(frosty.state().join("default/sessions")).unwrap();
    fs::write(frosty.state().join("default/sessions"), "no folder").unwrap();
    assert_eq!(frosty.run(&["announce", "--lost"], b"").code, Some(1));
    let state = frosty.state().join("default/watch.json");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(600);
    fs::File::options().write(true).open(&state).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(frosty.run(&["announce", "--lost"], b"").code, Some(1));
    assert!(fs::metadata(&state).unwrap().modified().unwrap() > long_ago + Duration::from_secs(60));
}

#[test]
fn what_a_notify_command_may_be() {
    let frosty = Frosty::embedded();
    for (notify, fine) in [
        (r#"[]"#, true),
        (r#"["true"]"#, true),
        (r#"[["true", "x"]]"#, true),
        (r#"[{"command": "true"}]"#, true),
        (r#"[{"command": ["true"], "timeout": "1m"}]"#, true),
        (r#""true""#, false),
        (r#"[""]"#, false),
        (r#"[[]]"#, false),
        (r#"[{"command": "true", "timeout": "2m"}]"#, false),
        (r#"[{"timeout": "1s"}]"#, false),
        (r#"[{"command": "true", "shell": "bash"}]"#, false),
        (r#"[7]"#, false),
    ] {
        let frosty = Frosty::embedded().config(&format!(r#"{{"notify": {notify}}}"#));
        let answer = frosty.run(&["hold", "--for", "1s"], b"");
        assert_eq!(answer.code == Some(0), fine, "{notify} {answer:?}");
    }
    // A failing command is reported, with a hint that can be pasted, and the hold applies. Neither long output nor
    // child processes of a command delay the caller.
    let frosty = frosty.config(
        r#"{"notify": ["sleep 30 & echo no phone >&2; exit 3", ["/no/such/program"], "head -c 200000 /dev/zero >&2"]}"#,
    );
    let held = frosty.run(&["hold", "--reason", "why"], b"");
    assert_eq!((held.code, held.stderr.matches("notify command").count()), (Some(0), 2), "{held:?}");
    assert!(held.took < Duration::from_secs(9), "{held:?}");
    assert!(held.stderr.contains("exit status: 3 no phone") && held.stderr.contains("/no/such/program"), "{held:?}");
    assert!(held.stderr.contains("| /bin/sh -c 'sleep 30 & echo no phone >&2; exit 3'"), "{held:?}");
    assert_eq!(frosty.hook(&stop("s")).code, Some(0));
    // Whatever its output is, a store's password is not shown.
    let frosty = Frosty::embedded()
        .var("FROSTY_STORE", &format!("redis://:open-sesame@127.0.0.1:{}", crate::support::free_port()))
        .config(r#"{"notify": ["echo found $FROSTY_STORE >&2; exit 3"]}"#);
    let held = frosty.run(&["hold"], b"");
    assert!(held.stderr.contains("found redis://") && !held.stderr.contains("sesame"), "{held:?}");
    // A project's file may configure no notifications.
    let frosty = Frosty::embedded().project_config(r#"{"notify": ["true"]}"#);
    frosty.hook(&stop("s")).stands_down_saying(&["bad_config", "notify"]);
}

/// It decides and journals without enforcing: the client gets the reply of no hook.
#[test]
fn shadow_mode_only_looks_on() {
    for place in Place::both() {
        let mut place = place.var("FROSTY_MODE", "shadow");
        let config =
            crate::support::place::POLICY.replacen('{', &format!(r#"{{"notify": [{}], "#, teller(&place.frosty)), 1);
        place.frosty = place.frosty.config(&config);
        for _ in 0..3 {
            crate::support::place::leaves_silently(&place.frosty.hook(&stop("s")));
        }
        for _ in 0..5 {
            crate::support::place::leaves_silently(
                &place.frosty.hook(&crate::support::fixture("PreCompact-auto.json")),
            );
        }
        crate::support::place::leaves_silently(&place.wait("w", "frosty: next_check 20m").answer());
        let journal = place.journal();
        assert!(journal.iter().all(|e| e["mode"] == "shadow" && e["status"] == "RECORDED"), "{journal:?}");
        assert_eq!(place.reasons("s"), ["admitted", "min_interval", "burst"]);
        assert_eq!(place.reasons("w"), ["rest"]);
        assert_eq!(journal.iter().filter(|e| e["event"] == "PreCompact" && e["verdict"] == "refuse").count(), 2);
        assert_eq!(place.admissions().len(), 0, "nobody went on by it");
        // No engine waits there that could be lost.
        assert_eq!(place.run(&["announce", "--lost"]).code, Some(0));
        assert_eq!(notified(&place.frosty).len(), 0);
        assert!(place.run(&["hold", "s", "--for", "1s"]).stderr.contains("in that mode continue"), "it is said");
    }
    let wrong = Frosty::embedded().var("FROSTY_MODE", "ghost").hook(&stop("s"));
    wrong.stands_down_saying(&["bad_config", "FROSTY_MODE", "\"enforce\" or \"shadow\""]);
}
