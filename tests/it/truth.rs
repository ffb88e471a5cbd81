//! With each error of a server, the reading commands show the same as `frosty hook` does, change nothing, and
//! `frosty doctor` fails with the remedy.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::place::Place;
use crate::support::proxy::{Mode, Proxy};
use crate::support::{Answer, Frosty, Server, eventually, stop};
use redis::cmd;
use serde_json::Value;

/// Which store decides during an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decides {
    Server,
    /// The embedded store, and a breaker keeps the next hooks from the server.
    Files,
    /// The embedded store, for one scope or for Stop events alone.
    FilesForScope,
}
use Decides::{Files, FilesForScope, Server as TheServer};

/// How an error comes about.
enum How {
    /// A proxy before a real server.
    Proxy(Mode),
    /// Commands to a real server, given by its administrator.
    Admin(&'static [&'static str]),
    /// A real server that was started so: nothing was ever decided there.
    Started(&'static [&'static str]),
}

struct Case {
    name: &'static str,
    how: How,
    decides: Decides,
    /// The budget of a hook; a long one where no answer is waited for in vain.
    budget: &'static str,
    /// The finding of `frosty doctor`, and a part of its command.
    doctor: [&'static str; 2],
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn proxied(name: &'static str, mode: Mode, budget: &'static str, doctor: [&'static str; 2]) -> Case {
    Case { name, how: How::Proxy(mode), decides: Files, budget, doctor }
}

const fn says(name: &'static str, answer: &'static [u8], doctor: [&'static str; 2]) -> Case {
    proxied(name, Mode::Says(answer), "1s", doctor)
}

const fn admin(name: &'static str, commands: &'static [&'static str], doctor: [&'static str; 2]) -> Case {
    Case { name, how: How::Admin(commands), decides: Files, budget: "1s", doctor }
}

/// How many cases run at once.
const AT_ONCE: usize = 6;
/// A budget for errors that are a silence.
const BRIEF: &str = "500ms";
const NO_VERDICT: [&str; 2] = ["unexpected reply from", "INFO server"];
const NO_ANSWER: [&str; 2] = ["in time", "--latency"];
const PASSWORD: [&str; 2] = ["", "export FROSTY_STORE_PASSWORD_FILE"];

const OK: &[u8] = b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n";
const SHORT: &[u8] = b"*2\r\n$4\r\ndone\r\n$1\r\n0\r\n";
const ODD: &[u8] = b"*3\r\n$5\r\nadmit\r\n$13\r\n1800000000000\r\n$0\r\n\r\n";
const CONFLICT: &[u8] = b"*3\r\n$8\r\nconflict\r\n$13\r\n1800000000000\r\n$0\r\n\r\n";
const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
const TLS: &[u8] = b"\x16\x03\x01\x00\xa5\xff\xfe garbage";
const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";
const NOAUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
const MOVED: &[u8] = b"-MOVED 866 127.0.0.1:7001\r\n";

const CASES: &[Case] = &[
    // The errors of the fault suite.
    proxied("refuses", Mode::Refuse, "1s", ["connection refused", "FROSTY_STORE=embedded"]),
    proxied("backlog_full", Mode::Unaccepted, BRIEF, NO_ANSWER),
    proxied("silent", Mode::Silent, BRIEF, NO_ANSWER),
    proxied("cut_before_the_reply", Mode::Cut(0), "1s", NO_VERDICT),
    proxied("cut_in_the_reply", Mode::Cut(60), "1s", ["a connection that ended early", "INFO server"]),
    Case {
        name: "late_within_the_budget",
        how: How::Proxy(Mode::Delay(ms(40))),
        decides: TheServer,
        budget: "1s",
        doctor: ["", ""],
    },
    proxied("late_past_the_budget", Mode::Delay(ms(700)), BRIEF, NO_ANSWER),
    proxied("drips", Mode::Drip(ms(60)), BRIEF, NO_ANSWER),
    says("says_http", HTTP, NO_VERDICT),
    says("says_tls", TLS, NO_VERDICT),
    says("says_ok", OK, NO_VERDICT),
    proxied("answers_a_commit_too_briefly", Mode::Forges(SHORT), "1s", NO_VERDICT),
    proxied("answers_a_commit_oddly", Mode::Forges(ODD), "1s", NO_VERDICT),
    proxied("answers_a_commit_with_conflicts", Mode::Forges(CONFLICT), BRIEF, NO_VERDICT),
    proxied("says_a_huge_array", Mode::Says(b"*99999999999\r\n"), BRIEF, ["redis://", "redis-cli"]),
    says("says_loading", LOADING, ["LOADING", "INFO persistence"]),
    says("says_noauth", NOAUTH, PASSWORD),
    says("says_moved", MOVED, ["MOVED 866", "export FROSTY_STORE=redis://frosty@127.0.0.1:7001"]),
    // The errors of a real server.
    admin("no_password_any_more", &["CONFIG SET requirepass other", "ACL DELUSER frosty"], PASSWORD),
    admin("another_password", &["ACL SETUSER frosty resetpass >other"], PASSWORD),
    admin("read_only", &["REPLICAOF 127.0.0.1 1"], ["replica", "export FROSTY_STORE=redis://"]),
    admin("memory_full", &["CONFIG SET maxmemory 1"], ["OOM", "CONFIG GET maxmemory"]),
    admin("may_not_evalsha", &["ACL SETUSER frosty -evalsha"], ["NOPERM", "ACL SETUSER frosty"]),
    admin("may_not_set", &["ACL SETUSER frosty -set"], ["NOPERM", "ACL SETUSER frosty"]),
    Case {
        decides: FilesForScope,
        ..admin(
            "fleet_of_another_type",
            &["DEL frosty:{default}:doc:fleet", "LPUSH frosty:{default}:doc:fleet x"],
            ["WRONGTYPE", "--scan"],
        )
    },
    Case {
        decides: FilesForScope,
        ..admin(
            "scope_of_another_type",
            &["DEL frosty:{default}:doc:scope:s", "LPUSH frosty:{default}:doc:scope:s x"],
            ["", ""],
        )
    },
    Case {
        decides: FilesForScope,
        ..admin(
            "session_of_another_type",
            &["DEL frosty:{default}:doc:session:s", "LPUSH frosty:{default}:doc:session:s x"],
            ["", ""],
        )
    },
    Case {
        how: How::Started(&["--rename-command", "EVALSHA", ""]),
        ..admin("evalsha_renamed", &[], ["unknown command", "INFO server"])
    },
    Case {
        how: How::Started(&["--rename-command", "SET", "SET-OTHERWISE"]),
        ..admin("set_renamed", &[], ["", "INFO server"])
    },
];

#[test]
fn every_command_shows_what_the_hook_does() {
    // The cases mostly wait.
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let run = || {
        while let Some(case) = CASES.get(next.fetch_add(1, Ordering::SeqCst)) {
            if catch_unwind(AssertUnwindSafe(|| play(case))).is_err() {
                failed.lock().unwrap().push(case.name);
            }
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(run))));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:?}");
}

/// A server that takes no more connections decides for those that it took, so nothing decides in its place.
#[test]
fn beside_a_server_that_is_full_nothing_is_decided() {
    let cure = "CONFIG SET maxclients";
    let full = admin("max_clients", &["CONFIG SET maxclients 1"], ["max number of clients", cure]);
    let mut stage = Stage::new(&full);
    stage.budget("1s");
    assert_eq!(stage.frosty.hook(&stop("s")).code, Some(2));
    stage.bring_about(&full);
    let check = stage.check();
    assert_eq!((&check["would_exit"], &check["reason"]), (&0.into(), &"store_down".into()), "{check}");
    let hook = stage.frosty.hook(&stop("s"));
    assert_eq!((hook.code, hook.stderr.contains(cure)), (Some(0), true), "{hook:?}");
    let journal = stage.frosty.journal();
    let last = journal.last().unwrap();
    assert_eq!((&last["reason"], &last["store"]), (&"store_down".into(), &"none".into()), "{journal:?}");
    let doctor = stage.looks(&["doctor", "--json"], "");
    let report: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let check = |name: &str| report["checks"].as_array().unwrap().iter().find(|c| c["name"] == name).cloned();
    let store = check("store").unwrap();
    assert!(store["state"] == "fail" && store["cure"].as_str().unwrap().contains(cure), "{store}");
    assert_eq!(check("stand-in"), None, "{report}");
    // An event without a request is kept until the server accepts it.
    let ended = stage.frosty.hook(r#"{"session_id":"s","hook_event_name":"SessionEnd","reason":"clear"}"#);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let admin = stage.admin.as_mut().unwrap();
    cmd("CONFIG").arg("SET").arg("maxclients").arg(100).query::<()>(admin).unwrap();
    let is_end = |fields: &Vec<String>| fields.iter().any(|word| word == "SessionEnd");
    let mut ends = 0;
    crate::support::eventually("the server has it", || {
        stage.frosty.hook(r#"{"session_id":"s","hook_event_name":"Notification"}"#);
        let entries: Vec<(String, Vec<String>)> =
            cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(admin).unwrap();
        ends = entries.iter().filter(|(_, fields)| is_end(fields)).count();
        ends > 0
    });
    assert_eq!(ends, 1);
}

/// A store with its administrator, and the proxy before it.
struct Stage {
    frosty: Frosty,
    server: Server,
    proxy: Option<Proxy>,
    admin: Option<redis::Connection>,
}

impl Stage {
    fn new(case: &Case) -> Self {
        let options = if let How::Started(options) = case.how { options } else { &[] };
        let server = Server::start_with(options);
        let mut admin = server.connection();
        let everything = ["on", ">secret", "+@all", "~*", "&*"];
        cmd("ACL").arg("SETUSER").arg("frosty").arg(&everything).query::<()>(&mut admin).unwrap();
        let proxy = matches!(case.how, How::Proxy(_)).then(|| Proxy::to(server.port));
        let port = proxy.as_ref().map_or(server.port, |p| p.url().rsplit_once(':').unwrap().1.parse().unwrap());
        let url = format!("redis://frosty:secret@127.0.0.1:{port}");
        let frosty = Frosty::new().var("FROSTY_STORE", &url);
        Self { frosty, server, proxy, admin: Some(admin) }
    }

    fn budget(&self, budget: &str) {
        let json = format!(r#"{{"budget": "{budget}", "stop": {{"min_interval": "1ms", "burst": null}}}}"#);
        fs::write(self.frosty.home.path().join(".claude/frosty.json"), json).unwrap();
    }

    fn bring_about(&mut self, case: &Case) {
        match case.how {
            How::Proxy(mode) => self.proxy.as_ref().unwrap().set(mode),
            How::Admin(commands) => {
                let admin = self.admin.as_mut().unwrap();
                for words in commands {
                    let mut words = words.split(' ');
                    let mut call = cmd(words.next().unwrap());
                    call.arg(words.collect::<Vec<_>>()).query::<redis::Value>(admin).unwrap();
                }
            }
            How::Started(_) => {}
        }
    }

    /// Runs a reading command: no file may change.
    fn looks(&self, args: &[&str], stdin: &str) -> Answer {
        let before = files(self.frosty.home.path());
        let answer = self.frosty.run(args, stdin.as_bytes());
        assert_eq!(files(self.frosty.home.path()), before, "{args:?} changed something");
        answer
    }

    fn check(&self) -> Value {
        let answer = self.looks(&["check", "--json"], &stop("s"));
        assert_eq!(answer.code, Some(0), "{answer:?}");
        serde_json::from_str(&answer.stdout).unwrap()
    }

    /// The verdict of `check` is the next verdict of the hook.
    fn check_and_hook(&self, case: &Case) -> Value {
        let check = self.check();
        let entries = self.frosty.journal().len();
        let hook = self.frosty.hook(&stop("s"));
        // Its request may have been admitted there with a lost reply: that starts the minimum interval once more.
        // The server is contacted or not, by the time at which the breaker permits it.
        if case.name == "cut_in_the_reply" && check["reason"] == "admitted" && hook.code == Some(0) {
            return check;
        }
        assert_eq!(check["would_exit"].as_i64(), hook.code.map(i64::from), "{check} {hook:?}");
        let journal = self.frosty.journal();
        match case.decides {
            TheServer => assert_eq!((journal.len(), &check["store"]), (entries, &"dragonfly".into()), "{check}"),
            Files | FilesForScope => {
                assert_eq!(journal.len(), entries + 1, "{hook:?}");
                let entry = &journal[entries];
                for field in ["verdict", "reason", "store"] {
                    assert_eq!(check[field], entry[field], "{field} of {check} and {entry}");
                }
                assert_eq!(check["degraded"].as_bool().unwrap(), entry["degraded"] == 1, "{check} {entry}");
                assert!(check["note"].as_str().unwrap().contains("the server does not decide: "), "{check}");
            }
        }
        check
    }
}

/// Every file of a home and what is in it.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    all
}

fn play(case: &Case) {
    let mut stage = Stage::new(case);
    stage.budget("1s");
    if !matches!(case.how, How::Started(_)) {
        let before = stage.frosty.hook(&stop("s"));
        assert_eq!(before.code, Some(2), "before the error: {before:?}");
    }
    stage.budget(case.budget);
    stage.bring_about(case);
    doctor(&stage, case);
    // Twice, for the second finds the breaker open, and once more when a hook admits again.
    for reason in ["min_interval", "min_interval", "admitted"] {
        if reason == "admitted" {
            thread::sleep(ms(1200));
        }
        let check = stage.check_and_hook(case);
        if case.decides == TheServer {
            assert_eq!(check["reason"], "admitted", "{check}");
        } else if reason == "admitted" {
            assert_eq!(check["reason"], reason, "{check}");
        }
    }
    assert!(stage.server.pid() > 0);
    people(&stage, case);
}

/// Compares the commands for people.
fn people(stage: &Stage, case: &Case) {
    let status = stage.looks(&["status", "--json"], "");
    let report: Value = serde_json::from_str(&status.stdout).unwrap_or_else(|e| panic!("{e}: {status:?}"));
    let is_away = matches!(case.decides, Files) || case.name == "fleet_of_another_type";
    assert_eq!(report["away"].is_string(), is_away, "{report}");
    assert_eq!(report["store"] == "embedded", is_away, "{report}");
    assert!(report["sessions"].as_array().unwrap().iter().any(|s| s["id"] == "s"), "{report}");

    let log = stage.looks(&["log", "--json", "-n", "1"], "");
    let entry: Value = serde_json::from_str(&log.stdout).unwrap_or_else(|e| panic!("{e}: {log:?}"));
    assert_eq!((log.code, &entry["session"]), (Some(0), &"s".into()), "{log:?}");
    let degraded = entry["degraded"].as_i64().or_else(|| entry["degraded"].as_str()?.parse().ok());
    assert_eq!(degraded, Some(i64::from(case.decides != TheServer)), "{log:?}");

    let explain = stage.looks(&["explain", "s"], "");
    assert_eq!(explain.code, Some(0), "{explain:?}");
    let by_files = explain.stdout.contains("the embedded store on this machine decided");
    assert_eq!(by_files, case.decides != TheServer, "{explain:?}");
    assert_eq!(explain.stderr.is_empty(), case.decides == TheServer, "{explain:?}");

    let line = stage
        .looks(&["statusline"], &format!(r#"{{"session_id": "s", "cwd": "{}"}}"#, stage.frosty.project().display()));
    assert_eq!(line.stdout.contains("store away"), case.decides != TheServer, "{line:?}");

    let woke = stage.frosty.run(&["wake", "s"], b"");
    assert_eq!((woke.code, woke.stdout.starts_with('s')), (Some(0), true), "{woke:?}");
    assert_eq!(woke.stderr.contains("the server is unreachable"), matches!(case.decides, Files), "{woke:?}");
}

/// It fails if the server does not decide, with the cure.
fn doctor(stage: &Stage, case: &Case) {
    let answer = stage.looks(&["doctor", "--json"], "");
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    let check = |name: &str| report["checks"].as_array().unwrap().iter().find(|c| c["name"] == name).cloned();
    let store = check("store").unwrap();
    let [found, cure] = case.doctor;
    let fails = case.decides != TheServer && !cure.is_empty();
    assert_eq!(store["state"] == "fail", fails, "{store}");
    assert_eq!(check("stand-in").is_some(), fails, "{report}");
    if fails {
        assert!(store["found"].as_str().unwrap().contains(found), "{found:?} in {store}");
        assert!(store["cure"].as_str().unwrap().contains(cure), "{cure:?} in {store}");
    }
}

/// A command that opened no hold, and an older engine's request, decide nothing.
#[test]
fn explain_skips_what_does_not_decide() {
    for place in Place::both() {
        let Place { frosty, server } = place;
        let place = Place { frosty: frosty.config(r#"{"stop": {"min_interval": "1h"}}"#), server };
        assert_eq!(place.frosty.hook(&stop("nova")).code, Some(2));
        let older = place.resting("nova", "first");
        let newer = place.resting("nova", "second");
        eventually("the older engine is superseded", || place.reasons("nova").iter().any(|why| why == "superseded"));
        let explained = place.run(&["explain"]).stdout;
        assert!(explained.contains("rule 5, minimum interval"), "{explained}");
        assert_eq!(place.run(&["hold", "--fleet", "--reason", "long", "--for", "2h"]).code, Some(0));
        assert_eq!(place.run(&["hold", "--fleet", "--reason", "short", "--for", "1m"]).code, Some(1));
        let explained = place.run(&["explain"]).stdout;
        assert!(explained.starts_with("nova was refused"), "{explained}");
        drop((older, newer));
    }
}
