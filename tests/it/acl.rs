//! Tests the least-privilege user of docs/stores.md: everything works with it on a real server, each
//! command in it is needed, and nothing else is allowed.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Engine, Frosty, Server, documents, fixture, stop, stop_saying};
use redis::{Value, cmd};

const SECRET: &str = "hunter2secret";

/// The words of the rule after `ACL SETUSER frosty`.
fn rule() -> Vec<String> {
    let doc = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stores.md")).unwrap();
    let lines: Vec<&str> = doc.lines().filter_map(|l| l.strip_prefix("ACL SETUSER frosty ")).collect();
    assert_eq!(lines.len(), 1, "docs/stores.md tells one user");
    lines[0].split(' ').map(|word| word.replace("CHANGE-ME", SECRET)).collect()
}

/// Creates the user anew, without rights that are not in the rule.
fn apply(admin: &mut redis::Connection, rule: &[String]) {
    cmd("ACL").arg("DELUSER").arg("frosty").query::<()>(admin).unwrap();
    change(admin, rule);
}

fn change(admin: &mut redis::Connection, rule: &[String]) {
    cmd("ACL").arg("SETUSER").arg("frosty").arg(rule).query::<()>(admin).unwrap();
}

/// A real server with its administrator, and frosty as its user.
struct Stage {
    server: Server,
    admin: redis::Connection,
    frosty: Frosty,
}

impl Stage {
    fn new(rule: &[String]) -> Self {
        // Otherwise the server itself denies DEBUG to every user.
        let server = Server::start_with(&["--enable-debug-command", "yes"]);
        let mut admin = server.connection();
        apply(&mut admin, rule);
        let url = format!("redis://frosty:{SECRET}@127.0.0.1:{}", server.port);
        let quotas = r#"[{"limit": 1000, "per": "1h"}]"#;
        let json = format!(
            r#"{{"fleet_quotas": {quotas}, "stop": {{"quotas": {quotas}, "min_interval": "1ms", "burst": null}}}}"#
        );
        let frosty = Frosty::new().config(&json).var("FROSTY_STORE", &url);
        Self { server, admin, frosty }
    }

    fn fresh(&mut self) {
        // Removes the effects of an earlier denial: a breaker, and a scope that the embedded store decides for.
        let _ = std::fs::remove_dir_all(self.frosty.state());
        let _ = std::fs::remove_dir_all(self.frosty.home.path().join("elsewhere"));
        // Also the scripts, so that one of the calls contains the text.
        for words in [&["FLUSHALL"][..], &["SCRIPT", "FLUSH"], &["ACL", "LOG", "RESET"]] {
            cmd(words[0]).arg(&words[1..]).query::<()>(&mut self.admin).unwrap();
        }
    }

    /// Whether the server has refused the user anything since.
    fn denied(&mut self) -> String {
        match cmd("ACL").arg("LOG").query::<Value>(&mut self.admin).unwrap() {
            Value::Array(none) if none.is_empty() => String::new(),
            some => format!("{some:?}"),
        }
    }

    fn publish(&mut self, channel: &str, text: &str) -> u32 {
        cmd("PUBLISH").arg(channel).arg(text).query(&mut self.admin).unwrap()
    }

    /// An engine that listens.
    fn resting(&mut self, session: &str) -> Result<Engine, String> {
        let mut engine = Engine::start(&self.frosty, &stop_saying(session, "frosty: next_check 20m"));
        let channel = format!("trigger.nova.{session}");
        let end = Instant::now() + Duration::from_secs(10);
        while engine.is_waiting() && self.denied().is_empty() && Instant::now() < end {
            let heard: Vec<(String, u32)> = cmd("PUBSUB").arg("NUMSUB").arg(&channel).query(&mut self.admin).unwrap();
            if heard[0].1 == 1 {
                return Ok(engine);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("{session} does not listen: {}", self.denied()))
    }

    /// Runs everything that frosty does, and returns an error for each denied command.
    fn everything(&mut self) -> Result<(), String> {
        self.fresh();
        for event in [
            "SessionStart-startup.json",
            "UserPromptSubmit-print.json",
            "UserPromptSubmit-own-rewake.json",
            "Stop-first.json",
            "Stop-active.json",
            "Stop-background-task.json",
            "SubagentStop-first.json",
            "PreCompact-auto.json",
            "PreCompact-manual-noargs.json",
            "PostCompact-auto.json",
            "Notification-permission_prompt.json",
            "StopFailure-rate_limit.json",
            "StopFailure-billing_error-http400.json",
            "SessionEnd-other.json",
        ] {
            let answer = self.frosty.hook(&fixture(event));
            if answer.stderr.starts_with("frosty: ") {
                return Err(format!("{event}: {}", answer.stderr));
            }
        }
        let answer = self.frosty.hook(&stop("plain"));
        if answer.code != Some(2) {
            return Err(format!("a stop: {answer:?}"));
        }
        let mut other = self.frosty.command(&["hook"]);
        other.env("FROSTY_STORE", format!("redis://frosty:{SECRET}@127.0.0.1:{}/3", self.server.port));
        // Another database is another store: its first request would be refused for that.
        other.env("XDG_STATE_HOME", self.frosty.home.path().join("elsewhere"));
        let answer = crate::support::feed(other, stop("elsewhere").as_bytes());
        if answer.code != Some(2) {
            return Err(format!("a stop in another database: {answer:?}"));
        }

        // An outage, and decisions in it.
        let mut cut_off = self.frosty.command(&["hook"]);
        cut_off.env("FROSTY_STORE", format!("redis://127.0.0.1:{}", crate::support::free_port()));
        crate::support::feed(cut_off, stop("back").as_bytes());
        let answer = self.frosty.hook(&stop("back"));
        if answer.stderr.starts_with("frosty: ") {
            return Err(format!("the way back: {answer:?}"));
        }
        let arrived = |entries: &[(String, Vec<String>)]| {
            entries.iter().any(|(_, e)| e.windows(2).any(|w| w[0] == "degraded" && w[1] == "1"))
        };
        let entries: Vec<(String, Vec<String>)> =
            cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut self.admin).unwrap();
        if !arrived(&entries) {
            return Err("what was journaled in an outage did not arrive".to_owned());
        }

        // A hold without an end, and a failure during it.
        let key = documents::scope("held");
        documents::hold(&mut self.admin, &key, "look at it", 1, None);
        cmd("PEXPIRE").arg(&key).arg(1_000_000).query::<()>(&mut self.admin).unwrap();
        let failure =
            serde_json::json!({"session_id": "held", "hook_event_name": "StopFailure", "error": "rate_limit"});
        let answer = self.frosty.hook(&failure.to_string());
        let ttl: i64 = cmd("PTTL").arg(&key).query(&mut self.admin).unwrap();
        if !answer.stderr.is_empty() || ttl != -1 {
            return Err(format!("a failure under a hold (its key ends in {ttl} ms): {answer:?}"));
        }
        let released = self.frosty.run(&["release", "held"], b"");
        if !released.stdout.ends_with("released held: it was held by ann: look at it\n") {
            return Err(format!("{released:?}"));
        }

        // A hold of the whole fleet, with its notifications.
        for words in [&["hold", "--for", "1h", "--reason", "why"][..], &["release", "--fleet"]] {
            let told = self.frosty.run(words, b"");
            if told.code != Some(0) || !told.stderr.is_empty() {
                return Err(format!("{words:?}: {told:?}"));
            }
        }

        // The status: with quotas, and the last hour's admissions.
        let status = self.frosty.run(&["status", "--json"], b"");
        let report: serde_json::Value = serde_json::from_str(&status.stdout).map_err(|_| format!("{status:?}"))?;
        let sessions = report["sessions"].as_array().ok_or("no sessions")?;
        let plain = sessions.iter().find(|s| s["id"] == "plain").ok_or("a session is missing")?;
        if plain["quota_left"].is_null() || plain["admissions_last_hour"] != 1 {
            return Err(format!("{plain}"));
        }

        // A plain publish of another tool, and frosty's own wake-up.
        let engine = self.resting("a")?;
        if self.publish("trigger.nova.a", "the build is green") != 1 {
            return Err("nobody hears what is published".to_owned());
        }
        let answer = engine.answer();
        if answer.code != Some(2) || !answer.stderr.contains("the build is green") {
            return Err(format!("published: {answer:?}"));
        }
        let engine = self.resting("b")?;
        let woke = self.frosty.run(&["wake", "--all", "--note", "up"], b"");
        if woke.stdout != "woke b\n" {
            return Err(format!("{woke:?}"));
        }
        let answer = engine.answer();
        if answer.code != Some(2) {
            return Err(format!("woken: {answer:?}"));
        }
        let listed = self.frosty.run(&["wake", "whom"], b"");
        if !listed.stderr.contains("no session is called \"whom\"") || !listed.stderr.contains("plain") {
            return Err(format!("{listed:?}"));
        }

        // The journal, and its new entries.
        let logged = self.frosty.run(&["log", "-n", "1"], b"");
        if logged.code != Some(0) || logged.stdout.is_empty() {
            return Err(format!("{logged:?}"));
        }
        let mut follows =
            self.frosty.command(&["log", "-f"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while self.denied().is_empty() && Instant::now() < end {
            let clients: String = cmd("CLIENT").arg("LIST").query(&mut self.admin).unwrap();
            if clients.contains("cmd=xread") {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        follows.kill().unwrap();
        follows.wait().unwrap();

        // A silent refusal would be missing here.
        let denied = self.denied();
        if !denied.is_empty() {
            return Err(denied);
        }
        let entries: u32 = cmd("XLEN").arg("torch.continuous.ops").query(&mut self.admin).unwrap();
        let (scopes, sessions): (u32, u32) = redis::pipe()
            .zcard("frosty:{default}:scopes")
            .zcard("frosty:{default}:sessions")
            .query(&mut self.admin)
            .unwrap();
        if entries < 18 || scopes < 4 || sessions < 4 {
            return Err(format!("{entries} entries, {scopes} scopes, {sessions} sessions"));
        }
        Ok(())
    }
}

#[test]
fn everything_works_and_each_permission_is_needed() {
    let rule = rule();
    let mut stage = Stage::new(&rule);
    stage.everything().unwrap();
    assert!(stage.frosty.journal().iter().all(|e| e["degraded"] == 1), "what failed would be journaled here");

    for word in rule.iter().filter(|word| word.starts_with(['+', '~', '&'])) {
        let without: Vec<String> = rule.iter().filter(|w| *w != word).cloned().collect();
        apply(&mut stage.admin, &without);
        let failed = stage.everything().expect_err(word);
        let denied = stage.denied();
        // As the log quotes it: a command whole, of a key or channel its beginning.
        let what = word.strip_prefix('+').map(|name| format!("\"{name}\""));
        let what = what.unwrap_or_else(|| format!("\"{}", word[1..].trim_end_matches('*')));
        assert!(denied.contains(&what), "without {word} it fails otherwise: {failed}; {denied}");
    }
    apply(&mut stage.admin, &rule);
    stage.everything().unwrap();
}

#[test]
fn nothing_else_is_allowed() {
    let stage = Stage::new(&rule());
    let url = format!("redis://frosty:{SECRET}@127.0.0.1:{}", stage.server.port);
    let mut user = redis::Client::open(url).unwrap().get_connection().unwrap();
    for words in [
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET *",
        "CONFIG SET maxmemory 1",
        "KEYS *",
        "SCAN 0",
        "DEBUG SLEEP 0",
        "ACL LIST",
        "ACL SETUSER frosty +@all",
        "SHUTDOWN NOSAVE",
        "CLIENT LIST",
        "CLIENT KILL TYPE normal",
        "REPLICAOF NO ONE",
        "MONITOR",
        "INFO",
        "SAVE",
        "SCRIPT FLUSH",
        "FUNCTION LIST",
        "MODULE LIST",
        "PUBLISH elsewhere x",
        "PSUBSCRIBE *",
        "SUBSCRIBE elsewhere",
        "RENAME frosty:a frosty:b",
        "XTRIM torch.continuous.ops MAXLEN 0",
        "XRANGE torch.continuous.ops - +",
        // Keys and scripts beside its own.
        "HSET frosty:{default}:x a 1",
        "DEL frosty:{default}:x",
        "GET other",
        "SET frosty x",
        "DEL other",
        "XADD torch.continuous.ops2 * a 1",
        "XREAD STREAMS other 0",
        "ZADD other 1 a",
        "EVAL return(redis.call('SET','other','1')) 0",
        "EVAL return(redis.call('FLUSHALL')) 0",
        "EVAL return(redis.call('SET',KEYS[1],'1')) 1 other",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let answer = cmd(words[0]).arg(&words[1..]).query::<Value>(&mut user);
        let said = answer.expect_err(&words.join(" ")).to_string().to_lowercase();
        let denied = ["permission", "can't access at least one of the keys", "can't run this command"];
        assert!(denied.iter().any(|d| said.contains(d)), "{words:?}: {said}");
    }
    // The keys exist, since its own are allowed.
    cmd("SET").arg("frosty:{default}:x").arg(1).query::<()>(&mut user).unwrap();
    cmd("XADD").arg("torch.continuous.ops").arg(&["*", "a", "1"]).query::<String>(&mut user).unwrap();
    let script = "return redis.call('GET', KEYS[1])";
    let one: String = cmd("EVAL").arg(script).arg(1).arg("frosty:{default}:x").query(&mut user).unwrap();
    assert_eq!(one, "1");
}

/// The command that a denied hook prints repairs the user as it is.
#[test]
fn the_cure_of_a_denied_user_is_this_user() {
    let rule = rule();
    let mut stage = Stage::new(&["on", &format!(">{SECRET}")].map(str::to_owned));
    let answer = stage.frosty.hook(&stop("s"));
    answer.stands_down_saying(&["NOPERM"]);
    let (_, cure) = answer.stderr.trim_end().rsplit_once(": ").unwrap();
    let (_, rights) = cure.split_once(" ACL SETUSER frosty ").unwrap();
    let given: Vec<String> = rule.into_iter().filter(|w| w.starts_with(['+', '~', '&'])).collect();
    assert_eq!(rights.replace('\'', ""), given.join(" "), "the cure and docs/stores.md tell the same");
    // Pasted into a shell, as a person would.
    let paste = || {
        let pasted = Command::new("bash").args(["-c", cure]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&pasted.stdout), "OK\n", "{pasted:?}");
    };
    paste();
    // A script with a denied command has an error of its own.
    change(&mut stage.admin, &["-set".to_owned()]);
    stage.fresh();
    stage.frosty.hook(&stop("s")).stands_down_saying(&["ACL SETUSER frosty +select"]);
    paste();
    stage.fresh();
    assert_eq!(stage.frosty.hook(&stop("s")).code, Some(2));
}
