//! Wake-ups and releases on both stores: which sessions they mean, their output, and their effect.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::place::{Place, goes_on};
use crate::support::{Engine, eventually, feed, free_port, stop, stop_saying};

#[test]
fn wake_by_session_scope_and_name_with_its_notes() {
    for place in Place::both() {
        let place = place.var("FROSTY_NAME", "willy").var("FROSTY_SCOPE", "seat 1");
        for whom in ["s", "seat 1", "seat%201", "willy"] {
            let engine = place.resting("s", "frosty: done");
            let woke = place.run(&["wake", whom, "--note", "the build\u{1b}[31m is green"]);
            assert_eq!((woke.code, woke.stdout.as_str()), (Some(0), "woke willy\n"), "{woke:?}");
            let answer = engine.answer();
            goes_on(&answer);
            assert!(
                answer.stderr.contains("with this note: the build [31m is green\n")
                    || answer.stderr.ends_with("is green\n")
            );
            assert!(!answer.stderr.contains('\u{1b}'));
        }
        // On a busy machine an admission may be answered too late, and its request is admitted once more: never too soon.
        let times = place.admissions();
        assert!(times.len() >= 4 && times.windows(2).all(|pair| pair[1] - pair[0] >= 900), "{:#?}", place.journal());
    }
}

#[test]
fn a_wake_up_before_the_rest_is_not_lost_even_if_the_turn_says_done() {
    for place in Place::both() {
        goes_on(&place.wait("s", "on it").answer());
        for note in ["one", "two"] {
            assert_eq!(place.run(&["wake", "s", "--note", note]).code, Some(0));
        }
        let answer = place.wait("s", "frosty: done").answer();
        goes_on(&answer);
        assert!(answer.stderr.ends_with("with this note: one\ntwo\n"), "{answer:?}");
        // The admission cleared it.
        let mut engine = place.resting("s", "frosty: done");
        assert!(engine.is_waiting());
    }
}

#[test]
fn topics_and_all() {
    for place in Place::both() {
        let builds = place.resting("a", "frosty: wait_for the build");
        let mut deploys = place.resting("b", "frosty: wait_for the deploy");
        let mut blocked = place.resting("c", "frosty: blocked Ann");
        let woke = place.run(&["wake", "--topic", "the build", "--note", "it is green"]);
        assert_eq!(woke.stdout, "woke a\n");
        goes_on(&builds.answer());
        assert!(deploys.is_waiting() && blocked.is_waiting());
        let nobody = place.run(&["wake", "--topic", "the biuld"]);
        assert!(nobody.code == Some(64) && nobody.stderr.contains("  the deploy"), "{nobody:?}");
        assert_eq!(place.run(&["wake", "b", "--note", &"x".repeat(1001)]).code, Some(64));
        assert_eq!(place.run(&["wake", "--all"]).code, Some(0));
        goes_on(&deploys.answer());
        goes_on(&blocked.answer());
    }
}

#[test]
fn an_ambiguous_word_lists_and_a_wrong_one_tells_who_is_there() {
    for place in Place::both() {
        let place = place.var("FROSTY_NAME", "twins");
        place.event("a", "SessionStart", "");
        place.event("b", "SessionStart", "");
        let several = place.run(&["wake", "twins"]);
        assert_eq!(several.code, Some(64));
        assert!(
            several.stderr.contains("\n  twins-b  id b") && several.stderr.contains("\n  twins-a  id a"),
            "{several:?}"
        );
        let nobody = place.run(&["wake", "nova"]);
        assert_eq!(nobody.code, Some(64));
        assert!(nobody.stderr.contains("no session is called \"nova\""), "{nobody:?}");
        assert!(
            nobody.stderr.contains("\nhint: there are twins-b, twins-a; see all of them: frosty status\n"),
            "{nobody:?}"
        );
        place.event("b", "SessionEnd", "");
        let woke = place.run(&["wake", "twins"]);
        assert_eq!(woke.stdout, "twins has no engine that waits: the wake-up is kept for its next stop\n");
        for args in [
            &["wake"][..],
            &["wake", "a", "--all"],
            &["wake", "--al"],
            &["release", "--x"],
            &["wake", ""],
            &["release", ""],
        ] {
            assert_eq!(place.run(args).code, Some(64), "{args:?}");
        }
    }
}

#[test]
fn of_many_that_are_woken_the_first_are_named_and_the_others_counted() {
    for place in Place::both() {
        for nth in 0..23 {
            place.frosty.hook(&stop_saying(&format!("s{nth}"), "frosty: next_check 1h"));
        }
        let woke = place.run(&["wake", "--all"]);
        let lines: Vec<&str> = woke.stdout.lines().collect();
        assert_eq!((woke.code, lines.len()), (Some(0), 21), "{woke:?}");
        let one = " has no engine that waits: the wake-up is kept for its next stop";
        assert!(lines[..20].iter().all(|line| line.ends_with(one)), "{woke:?}");
        assert_eq!(lines[20], "and 3 more have no engine that waits: the wake-ups are kept for their next stops");
        assert_eq!(place.journal().iter().filter(|e| e["event"] == "Wake").count(), 23);
    }
}

#[test]
fn a_plain_publish_wakes_with_its_text() {
    let [place, _] = Place::both();
    let place = place.var("FROSTY_NAME", "willy").var("FROSTY_SCOPE", "seat");
    let mut con = place.server.as_ref().unwrap().connection();
    for channel in ["trigger.nova.willy", "trigger.nova.seat", "frosty.wake.seat"] {
        let engine = place.resting("s", "frosty: done");
        eventually("somebody hears", || {
            redis::cmd("PUBLISH").arg(channel).arg("come\x07 back").query::<u32>(&mut con).unwrap() > 0
        });
        let answer = engine.answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("come  back"), "{answer:?}");
    }
    assert_eq!(place.admissions().len(), 3);
}

#[test]
fn a_wake_up_ends_no_cooldown_and_no_hold() {
    for place in Place::both() {
        // Two plain Stop events at once and a third: a cooldown of a minute.
        for _ in 0..3 {
            place.frosty.hook(&stop("s"));
        }
        let mut engine = place.resting("s", "frosty: done");
        assert_eq!(place.reasons("s").last().unwrap(), "cooldown");
        place.run(&["wake", "s"]);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(engine.is_waiting());
        assert_eq!(place.admissions().len(), 1);
    }
}

#[test]
fn a_hold_is_waited_for_and_released() {
    for place in Place::both() {
        let failure = r#"{"session_id":"s","hook_event_name":"StopFailure","error":"authentication_failed"}"#;
        let engine = Engine::start(&place.frosty, failure);
        eventually("it is held", || place.reasons("s").contains(&"hold".to_owned()));
        let released = place.run(&["release"]);
        assert_eq!(released.code, Some(0));
        assert!(released.stdout.contains("released s: it was held by api: authentication_failed: log in again"));
        let answer = engine.answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("held by api: authentication_failed: log in again"), "{answer:?}");
        assert_eq!(place.run(&["release"]).stdout, "nothing is held\n");
        assert_eq!(place.run(&["release", "s"]).stdout, "s was not held\n");
        assert_eq!(place.run(&["release", "nobody"]).code, Some(64));
    }
}

const ONE: &str = "3f2a9c1e-0000-4000-8000-000000000001";
const TWO: &str = "71d09c1e-0000-4000-8000-000000000002";

/// A session of a project, by its start; with a file of that project, if it has one.
fn start(place: &Place, id: &str, project: &str, file: Option<&str>) {
    let folder = place.frosty.home.path().join(project);
    std::fs::create_dir_all(folder.join(".claude")).unwrap();
    if let Some(file) = file {
        std::fs::write(folder.join(".claude/frosty.json"), file).unwrap();
    }
    let mut command = place.frosty.command(&["hook"]);
    command.env("CLAUDE_PROJECT_DIR", &folder);
    let payload = format!(r#"{{"session_id":"{id}","hook_event_name":"SessionStart"}}"#);
    assert_eq!(crate::support::feed(command, payload.as_bytes()).code, Some(0));
}

/// Every command that names a session accepts the same words for it, shows it by the same name, and does nothing for a
/// word that names none.
#[test]
fn every_command_takes_the_same_words() {
    for place in Place::both() {
        start(&place, ONE, "web site", None);
        start(&place, TWO, "api", None);
        let folder = place.frosty.home.path().join("web site").display().to_string();
        for word in [ONE, "3f2a", "3f2a9c1e-0000", "web site", "web site-3f2a", &folder, &format!("{folder}/")] {
            let woke = place.run(&["wake", word]);
            assert!(woke.stdout.starts_with("web site-3f2a has no engine"), "{word} {woke:?}");
            let held = place.run(&["hold", word, "--for", "1h"]);
            assert!(held.stdout.starts_with("web site-3f2a is held until "), "{word} {held:?}");
            assert!(
                held.stdout.ends_with("to release it earlier: frosty release 'web site-3f2a'\n"),
                "{word} {held:?}"
            );
            let released = place.run(&["release", word]);
            assert!(released.stdout.starts_with("released web site-3f2a: "), "{word} {released:?}");
            for command in ["off", "on"] {
                let switched = place.run(&[command, "--session", word]);
                assert!(switched.stdout.starts_with("session web site-3f2a "), "{word} {switched:?}");
                let switch = place.frosty.state().join(format!("arm/session-{ONE}"));
                assert_eq!(std::fs::read_to_string(switch).unwrap(), format!("{command}\n"), "{word}");
            }
            assert_eq!(place.run(&["log", "--scope", word]).code, Some(0), "{word}");
            let told = place.run(&["explain", word]);
            assert!(told.stdout.starts_with("web site-3f2a "), "{word} {told:?}");
        }
        std::fs::remove_dir_all(place.frosty.state().join("arm")).unwrap();
        let before = place.journal().len();
        for command in [
            &["wake", "web sit"][..],
            &["hold", "web sit"],
            &["release", "web sit"],
            &["explain", "web sit"],
            &["log", "--scope", "web sit"],
            &["off", "--session", "web sit"],
            &["on", "--session", "web sit"],
        ] {
            let answer = place.run(command);
            assert_eq!((answer.code, answer.stdout.as_str()), (Some(64), ""), "{command:?} {answer:?}");
            let said = "frosty: no session is called \"web sit\"\nhint: did you mean web site, web site-3f2a\n";
            assert_eq!(answer.stderr, said, "{command:?}");
        }
        assert_eq!(place.journal().len(), before, "nothing was done");
        assert!(!place.frosty.state().join("arm").exists());
        // An id of the client's form may be that of a session that is not armed yet, and so not known.
        let unseen = "9a9c1e00-0000-4000-8000-000000000003";
        let armed = place.run(&["on", "--session", unseen]);
        assert_eq!(armed.stdout, format!("session {unseen} (not seen yet) armed: Frosty continues it\n"));
    }
}

#[test]
fn a_name_of_the_users_own_is_meant_before_one_that_a_repository_chose() {
    for place in Place::both() {
        start(&place, TWO, "cloned", Some(r#"{"name": "nova"}"#));
        assert!(place.run(&["hold", "nova"]).stdout.starts_with("nova is held "), "no other one bears that name");
        assert!(place.run(&["release", "nova"]).stdout.starts_with("released nova: "));
        let place = place.var("FROSTY_NAME", "nova");
        start(&place, ONE, "own", None);
        // Seen later, it does not take the name.
        let mut command = place.frosty.command(&["hook"]);
        command.env_remove("FROSTY_NAME").env("CLAUDE_PROJECT_DIR", place.frosty.home.path().join("cloned"));
        assert_eq!(crate::support::feed(command, stop(TWO).as_bytes()).code, Some(2));
        let held = place.run(&["hold", "nova"]);
        assert!(held.stdout.starts_with("nova is held ") && held.stdout.contains("\nit stops 1 session: nova\n"));
        assert_eq!(place.journal().last().unwrap()["scope"], ONE);
        assert!(place.run(&["hold", "nova-71d0"]).stdout.starts_with("nova-71d0 is held "));
        assert_eq!(place.journal().last().unwrap()["scope"], TWO);
    }
}

#[test]
fn a_release_ends_an_api_cooldown_that_an_engine_waits_out() {
    for place in Place::both() {
        let failure = r#"{"session_id":"s","hook_event_name":"StopFailure","error":"rate_limit","error_details":"retry-after: 900"}"#;
        let mut engine = Engine::start(&place.frosty, failure);
        eventually("it waits", || place.reasons("s").contains(&"api_error".to_owned()));
        assert!(engine.is_waiting());
        let released = place.run(&["release", "s"]);
        assert!(released.stdout.starts_with("ended the API cooldown of s, of which 1"), "{released:?}");
        goes_on(&engine.answer());
        assert_eq!(place.run(&["release", "s"]).stdout, "s was not held\n");
    }
}

/// A full-screen dialog was open: the client delivers the wake-up when it closes, and two calls must not follow at
/// once.
#[test]
fn an_admission_that_the_client_delivers_late_closes_the_guard_again() {
    for place in Place::both() {
        goes_on(&place.wait("s", "on it").answer());
        std::thread::sleep(Duration::from_millis(1100));
        let rewake = crate::support::fixture("UserPromptSubmit-own-rewake.json")
            .replace("487c3025-9cbb-40aa-a51b-3d0583301f00", "s");
        assert_eq!(place.frosty.hook(&rewake).code, Some(0));
        goes_on(&place.wait("s", "on it").answer());
        let begun = place.journal().iter().find(|e| e["event"] == "UserPromptSubmit").unwrap()["ms"].as_i64().unwrap();
        let late = place.admissions()[1] - begun;
        // The policy counts from its decision, which was made up to a commit's time before the entry.
        assert!(late >= 900, "the next was admitted {late} ms after the turn of a late admission began");
    }
}

#[test]
fn each_line_of_stdin_wakes_a_session() {
    for place in Place::both() {
        let engines = ["a", "b", "c"].map(|session| place.resting(session, "frosty: done"));
        let lines = "a the build is green\n\nnobody hello\nb\n";
        let answer = feed(place.frosty.command(&["wake", "--stdin"]), lines.as_bytes());
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), "woke a\nwoke b\n"), "{answer:?}");
        assert!(answer.stderr.contains("no session is called \"nobody\"\nhint: "), "{answer:?}");
        let [a, b, mut c] = engines;
        let woken = a.answer();
        goes_on(&woken);
        assert!(woken.stderr.contains("You were woken with this note: the build is green"), "{woken:?}");
        goes_on(&b.answer());
        assert!(c.is_waiting());
        let both = feed(place.frosty.command(&["wake", "--stdin", "--all"]), b"");
        assert!(both.code == Some(64) && both.stderr.contains("cannot be used with"), "{both:?}");
    }
}

/// A subscriber of a NATS server that writes `agent note` for each message, in the protocol's own words.
const SUBSCRIBER: &str = r#"
import socket, sys
server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
server.sendall(b'CONNECT {"verbose":false}\r\nSUB nova.wakeup.* 1\r\nPING\r\n')
lines = server.makefile("rb")
for line in lines:
    if line.startswith(b"PONG"): print("ready", file=sys.stderr, flush=True)
    if line.startswith(b"MSG"):
        subject, size = line.split()[1].decode(), int(line.split()[-1])
        print(subject.split(".")[-1], lines.read(size + 2).decode().strip(), flush=True)
"#;

/// A process that is killed with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_nats_server_wakes_a_session() {
    let port = free_port().to_string();
    let server = Command::new("nats-server").args(["-a", "127.0.0.1", "-p", &port]).stderr(Stdio::null()).spawn();
    let _server = Killed(server.unwrap());
    eventually("the server listens", || TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    for place in Place::both() {
        let engine = place.resting("helix", "frosty: done");
        let mut subscriber = Command::new("python3");
        subscriber.args(["-c", SUBSCRIBER, &port]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut subscriber = Killed(subscriber.spawn().unwrap());
        let mut ready = [0; 6];
        subscriber.0.stderr.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let mut wake = place.frosty.command(&["wake", "--stdin"]);
        let _wake = Killed(wake.stdin(subscriber.0.stdout.take().unwrap()).spawn().unwrap());
        let mut publisher = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        publisher.write_all(b"CONNECT {\"verbose\":false}\r\nPUB nova.wakeup.helix 5\r\nhello\r\nPING\r\n").unwrap();
        let answer = engine.answer();
        goes_on(&answer);
        assert!(answer.stderr.contains("You were woken with this note: hello"), "{answer:?}");
    }
}
