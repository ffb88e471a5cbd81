//! Tests the checks of a server: real ones first, then states that no real one here can have.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use redis::{Connection, cmd};

use crate::doctor::fake::{Says, serve};
use crate::doctor::{doctor, well};
use crate::support::{Frosty, Server, distant_proxy};

const SECRET: &str = "hunter2secret";

fn on(url: &str) -> Frosty {
    well().var("FROSTY_STORE", url)
}

fn set(admin: &mut Connection, name: &str, value: &str) {
    cmd("CONFIG").arg("SET").arg(name).arg(value).query::<()>(admin).unwrap();
}

/// The digest of the commit script, as a server names it.
fn digest() -> String {
    let script = include_str!("../../../src/store/server/commit.lua");
    cmd("SCRIPT").arg("LOAD").arg(script).query(&mut Server::start().connection()).unwrap()
}

/// Returns how many changes a server ever saw, and its data.
fn changes(admin: &mut Connection) -> (String, u32) {
    let info: String = cmd("INFO").arg("persistence").query(admin).unwrap();
    let line = info.lines().find(|l| l.starts_with("rdb_changes_since_last_save")).unwrap().to_owned();
    (line, cmd("DBSIZE").query(admin).unwrap())
}

#[test]
fn a_server_that_takes_few_connections() {
    let server = Server::start();
    let (mut admin, at) = (server.connection(), server.url());
    let frosty = on(&at);
    doctor(&frosty).shows("ok", "connections", &["engines that wait: 0"]);
    let mut engine = crate::support::Engine::start(&frosty, &crate::support::stop_saying("s", "frosty: done"));
    crate::support::eventually("it waits", || {
        let heard: (String, u32) = cmd("PUBSUB").arg("NUMSUB").arg("trigger.nova.s").query(&mut admin).unwrap();
        heard.1 == 1
    });
    set(&mut admin, "maxclients", "40");
    let cure = format!("-> redis-cli -u {at} CONFIG SET maxclients ");
    let report = doctor(&frosty);
    report.shows(
        "warn",
        "connections",
        &["allows 40;", "engines that wait: 1", "for hooks and commands it needs", &cure],
    );
    // Pasted into a shell, as a person would.
    let line = report.lines.iter().find(|line| line.starts_with("warn  connections")).unwrap();
    let pasted = std::process::Command::new("bash").args(["-c", line.split("-> ").nth(1).unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&pasted.stdout), "OK\n", "{pasted:?}");
    doctor(&frosty).shows("ok", "connections", &["engines that wait: 1"]);
    // The limit is in CONFIG and in INFO, and a user may be refused both.
    for (rules, state) in [(&["+@all", "-config"][..], "ok"), (&["+@all", "-config", "-info"], "note")] {
        let user = ["on", ">secret", "~*", "&*"];
        cmd("ACL").arg("SETUSER").arg("few").arg(&user).arg(rules).query::<()>(&mut admin).unwrap();
        let found = if state == "ok" { "the server allows" } else { "limit is unknown" };
        doctor(&on(&at.replace("redis://", "redis://few:secret@"))).shows(state, "connections", &[found]);
    }
    assert!(engine.is_waiting());
}

#[test]
fn real_servers() {
    let server = Server::start();
    let mut admin = server.connection();
    let at = server.url();
    let untouched = changes(&mut admin);

    let report = doctor(&on(&at));
    report.only(&["ok", "note"]).shows("ok", "store", &["Redis ", "answers in "]).shows("ok", "rights", &["default"]);
    report.shows("ok", "script", &["the server accepts it"]).shows("ok", "clock", &[]).shows("ok", "open port", &[]);
    let cure = format!("-> redis-cli -u {at} CONFIG SET appendonly yes");
    report.shows("note", "persistence", &["off", &cure]);
    doctor(&on(&at)).shows("ok", "script", &["in the server's cache"]);
    let digests = cmd("SCRIPT").arg("EXISTS").arg(digest()).query::<Vec<bool>>(&mut admin).unwrap();
    assert_eq!(digests, [true]);

    set(&mut admin, "maxmemory-policy", "allkeys-lru");
    set(&mut admin, "maxmemory", "100mb");
    let cure = format!("-> redis-cli -u {at} CONFIG SET maxmemory-policy noeviction");
    doctor(&on(&at)).shows("warn", "memory", &["maxmemory-policy allkeys-lru: it evicts keys", &cure]);
    set(&mut admin, "maxmemory-policy", "noeviction");
    set(&mut admin, "maxmemory", "1");
    doctor(&on(&at)).shows("FAIL", "store", &["OOM", "its memory is full"]);
    set(&mut admin, "maxmemory", "0");

    // The user of docs/stores.md has all rights that are needed, and no check asks for more.
    let doc = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/stores.md")).unwrap();
    let rule = doc.lines().find_map(|l| l.strip_prefix("ACL SETUSER frosty ")).unwrap().replace("CHANGE-ME", SECRET);
    let rule: Vec<&str> = rule.split(' ').collect();
    cmd("ACL").arg("SETUSER").arg("frosty").arg(&rule).query::<()>(&mut admin).unwrap();
    let as_frosty = format!("redis://frosty:{SECRET}@127.0.0.1:{}/1", server.port);
    let report = doctor(&on(&as_frosty));
    report.only(&["ok", "note"]).shows("ok", "rights", &["the user frosty may do all"]);
    report.shows("ok", "store", &["does not show this user its version"]).shows("ok", "script", &["not checked"]);
    report.shows("note", "memory", &["not known"]);
    for word in rule.iter().filter(|word| word.starts_with(['+', '~', '&'])) {
        let without: Vec<&&str> = rule.iter().filter(|w| w != &word).collect();
        cmd("ACL").arg("DELUSER").arg("frosty").query::<()>(&mut admin).unwrap();
        cmd("ACL").arg("SETUSER").arg("frosty").arg(&without).query::<()>(&mut admin).unwrap();
        let shown = if word.starts_with('+') { (*word).to_owned() } else { format!("'{word}'") };
        let report = doctor(&on(&as_frosty));
        if *word == "+select" {
            report.shows("FAIL", "store", &["NOPERM", "ACL SETUSER frosty +select"]);
            continue;
        }
        let cure = format!("ACL SETUSER frosty {shown}");
        report.shows("FAIL", "rights", &["the user frosty may not do all", &shown, &cure]);
    }

    let wrong = format!("redis://frosty:hunter2wrong@127.0.0.1:{}", server.port);
    let report = doctor(&on(&wrong));
    report.shows("FAIL", "store", &["WRONGPASS", "FROSTY_STORE_PASSWORD_FILE"]).shows(
        "note",
        "engines",
        &["not known"],
    );
    let file = on(&format!("redis://frosty@127.0.0.1:{}", server.port)).var("FROSTY_STORE_PASSWORD_FILE", "/nowhere");
    doctor(&file).shows("FAIL", "store", &["cannot read the password in /nowhere"]);
    cmd("ACL").arg("DELUSER").arg("frosty").query::<()>(&mut admin).unwrap();

    let replica = Server::start_with(&["--replicaof", "127.0.0.1", &server.port.to_string()]);
    let primary = format!("-> export FROSTY_STORE=redis://127.0.0.1:{}", server.port);
    doctor(&on(&replica.url())).shows("FAIL", "store", &["it is a replica, and refuses writes", &primary]);
    drop(replica);

    set(&mut admin, "requirepass", SECRET);
    doctor(&on(&at)).shows("FAIL", "store", &["NOAUTH", "FROSTY_STORE_PASSWORD_FILE"]);
    let locked = on(&format!("redis://:{SECRET}@127.0.0.1:{}", server.port));
    doctor(&locked).shows("ok", "open port", &["requires a password"]);
    assert_eq!(changes(&mut admin), untouched, "it wrote something");
}

#[test]
fn data_of_an_earlier_format() {
    let server = Server::start();
    let mut admin = server.connection();
    let frosty = on(&server.url());
    frosty.hook(&crate::support::stop("session"));
    let keys = |admin: &mut Connection| cmd("KEYS").arg("frosty:*").query::<Vec<String>>(admin).unwrap().len();
    let before = keys(&mut admin);
    cmd("HSET").arg("frosty:{default}:fleet").arg("hold_by").arg("ann").exec(&mut admin).unwrap();
    let report = doctor(&frosty);
    report.shows("warn", "store", &["data of an earlier format of fleet default"]);
    let line = report.lines.iter().find(|line| line.contains("earlier format")).unwrap();
    let pasted = std::process::Command::new("bash").args(["-c", line.split("-> ").nth(1).unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&pasted.stdout), "1\n", "{pasted:?}");
    assert_eq!(keys(&mut admin), before);
    assert!(!doctor(&frosty).lines.iter().any(|line| line.contains("earlier format")));
}

#[test]
fn a_server_that_is_far_away() {
    let server = Server::start();
    let report = |away| doctor(&on(&distant_proxy(&server, Duration::from_millis(away)).0));
    report(1).shows("ok", "store", &["answers in "]);
    report(270).shows("warn", "store", &["a verdict takes 3 round trips, ", "this machine's files decide instead"]);
}

#[test]
fn no_redis_at_all() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    doctor(&on(&url)).shows("FAIL", "store", &["unexpected reply from", "check what listens there  -> redis-cli"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let report = doctor(&on(&format!("redis://{}", silent.local_addr().unwrap())));
    report.shows("FAIL", "store", &["no answer from", "in time", "--latency"]).shows("ok", "state", &[]);
    assert!(report.answer.took.as_secs() < 8, "{:?}", report.answer.took);
}

const REDIS: &str =
    "redis_version:7.0.15\r\nrole:master\r\nloading:0\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n";

fn redis(info: &str) -> Says {
    Says { info: format!("{REDIS}{info}"), ..Says::default() }
}

#[test]
fn servers_that_only_say_so() {
    for (says, mark, name, words) in [
        (redis("redis_version:6.0.16\r\n"), "FAIL", "store", &["Redis 6.0.16", "expected 6.2 or newer"][..]),
        // No part of its reply gets into a command.
        (
            redis("role:slave\r\nmaster_host:h;touch y\r\nmaster_port:1\r\n"),
            "FAIL",
            "store",
            &["it is a replica", "-> export FROSTY_STORE=redis://'h;touch y:1'"],
        ),
        (Says { ends_at: "SCRIPT", ..redis("") }, "FAIL", "store", &["a connection that ended early"]),
        (redis("loading:1\r\n"), "warn", "store", &["still loading its data"]),
        (Says { ahead: 3600, ..redis("") }, "warn", "clock", &["ahead of this machine's", "timedatectl"]),
        (Says { ahead: -60, ..redis("") }, "warn", "clock", &["is 1m", "behind this machine's"]),
        (Says { load: Some("$3\r\nabc\r\n"), ..redis("") }, "FAIL", "script", &["names the script \"abc\""]),
        (Says { load: Some("-ERR no scripts here\r\n"), ..redis("") }, "FAIL", "script", &["no scripts here"]),
        (
            Says { writes: Some("-MISCONF cannot persist\r\n"), ..redis("") },
            "FAIL",
            "store",
            &["MISCONF cannot persist"],
        ),
        (
            Says { settings: [("bind", "0.0.0.0"), ("protected-mode", "no")].into(), ..redis("") },
            "warn",
            "open port",
            &["requires no password, and other machines reach it", "CONFIG SET bind '127.0.0.1 -::1'"],
        ),
    ] {
        doctor(&on(&serve(says))).shows(mark, name, words);
    }
}

/// The reply of Dragonfly 1.40.
fn dragonfly(threads: u32, settings: &[(&'static str, &'static str)]) -> Says {
    let info = format!(
        "# Server\r\nredis_version:7.4.0\r\ndragonfly_version:df-v1.40.1\r\nredis_mode:standalone\r\n\
thread_count:{threads}\r\n\r\n# Memory\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\ncache_mode:store\r\n\r\n\
# Replication\r\nrole:master\r\n"
    );
    Says { info, settings: settings.iter().copied().collect::<BTreeMap<_, _>>(), http: true, ..Says::default() }
}

#[test]
fn dragonflies() {
    let open = dragonfly(1, &[("bind", "")]);
    doctor(&on(&serve(open.clone())))
        .shows("ok", "store", &["Dragonfly df-v1.40.1"])
        .shows("ok", "threads", &["one thread"])
        .shows("warn", "open port", &["and its HTTP console require no password", "-> dragonfly --bind 127.0.0.1"]);
    let without = Says { http: false, ..open };
    let report = doctor(&on(&serve(without)));
    report.shows("warn", "open port", &["requires no password, and other machines"]);
    // It does not report its address, so the system's list is used.
    let closed = doctor(&on(&serve(dragonfly(1, &[]))));
    closed.shows("ok", "open port", &["only this machine reaches it"]);

    let co_locate = ["-> dragonfly --lock_on_hashtags", r#""stream": "torch.continuous.ops{default}""#];
    for settings in [&[("lock_on_hashtags", "false"), ("cluster_mode", "")][..], &[]] {
        doctor(&on(&serve(dragonfly(8, settings)))).shows(
            "note",
            "threads",
            &["8 threads", "spread", co_locate[0], co_locate[1]],
        );
    }
    for settings in [&[("lock_on_hashtags", "true")], &[("cluster_mode", "emulated")]] {
        let url = serve(dragonfly(8, settings));
        doctor(&on(&url)).shows("note", "threads", &["torch.continuous.ops has no {default}", co_locate[1]]);
        let tagged = on(&url).var("FROSTY_STREAM", "torch.continuous.ops{default}");
        doctor(&tagged).shows("ok", "threads", &["a fleet's keys are on one of them"]);
    }
    let mut cache = dragonfly(1, &[]);
    cache.info = cache.info.replace("cache_mode:store", "cache_mode:cache");
    doctor(&on(&serve(cache))).shows("warn", "memory", &["a cache: it evicts keys", "-> dragonfly --cache_mode=false"]);
}
