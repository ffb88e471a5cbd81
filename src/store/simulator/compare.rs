//! Compares the simulated server with a real one: random commits, raw and damaged keys, and the shipping of a
//! journal.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::{Arg, Cmd, Value, cmd};

use super::chance::Chance;
use super::database::Reply;
use super::server::Server;
use super::world::Clock;
use crate::store::outbox::SHIP;
use crate::store::server::commit::{COMMIT, Commit};

/// A `redis-server` of its own.
struct Real {
    child: Child,
    connection: redis::Connection,
}

impl Real {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server must be installed: ./tests/run.sh does it");
        let end = Instant::now() + Duration::from_secs(40);
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let connection = loop {
            match client.get_connection() {
                Ok(connection) => break connection,
                Err(e) => assert!(Instant::now() < end, "redis-server did not start: {e}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Self { child, connection }
    }

    fn run(&mut self, command: &Cmd) -> Reply {
        match redis::ConnectionLike::req_command(&mut self.connection, command) {
            Ok(value) => reply(value),
            Err(e) => Reply::Error(e.to_string()),
        }
    }

    /// Returns the server's clock, in milliseconds.
    fn clock(&mut self) -> i64 {
        let Reply::Array(parts) = self.run(&cmd("TIME")) else { panic!("no TIME") };
        let part = |nth: usize| match &parts[nth] {
            Reply::Bulk(digits) => std::str::from_utf8(digits).unwrap().parse::<i64>().unwrap(),
            other => panic!("{other:?}"),
        };
        part(0) * 1000 + part(1) / 1000
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(n) => Reply::Int(n),
        Value::BulkString(bytes) => Reply::Bulk(bytes),
        Value::SimpleString(_) | Value::Okay => Reply::Status("OK"),
        Value::Array(all) => Reply::Array(all.into_iter().map(reply).collect()),
        Value::ServerError(e) => Reply::Error(e.code().to_owned()),
        other => panic!("{other:?}"),
    }
}

fn words(command: &Cmd) -> Vec<&[u8]> {
    command
        .args_iter()
        .map(|word| match word {
            Arg::Simple(bytes) => bytes,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Returns whether two replies are the same, apart from a small difference of their times and from an error's
/// text.
fn is_same(a: &Reply, b: &Reply) -> bool {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<i64>().ok().filter(|n| *n > 1_000_000_000_000);
    match (a, b) {
        (Reply::Error(_), Reply::Error(_)) => true,
        (Reply::Array(a), Reply::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Reply::Bulk(a), Reply::Bulk(b)) => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.abs_diff(b) < 2000,
            _ => a == b,
        },
        (a, b) => a == b,
    }
}

const KEYS: [&str; 6] = ["{f}:doc:a", "{f}:doc:b", "{f}:set:a", "{f}:set:b", "{f}:stream", "{f}:queue"];

/// Returns a random commit. Some operations are on a key of another type.
fn commit(chance: &mut Chance, now: i64, shortest: i64) -> Commit {
    let mut commit = Commit::default();
    let ages = [-40_000, 0, 500, 20_000, 60_000];
    for _ in 0..chance.between(1, 6) {
        let is_wrong = chance.happens(30);
        let mut key = |all: &[usize]| if is_wrong { KEYS[0] } else { KEYS[chance.one_of(all)] }.to_owned();
        let (document, set, stream) = (key(&[0, 1]), key(&[2, 3, 5]), key(&[4]));
        let member = format!("m{}", chance.below(5));
        let period = chance.one_of(&[5_000, 35_000, 95_000]);
        let at = now - chance.one_of(&ages);
        let nth = u32::try_from(chance.between(1, 3)).unwrap();
        match chance.below(18) {
            0 => commit.only_at_version(
                document,
                chance.one_of(&["", "{\"version\":\"1-a\"", "{\"version\":\"2-b\""]).as_bytes(),
            ),
            1 => commit.only_soon_after(at),
            2 => commit.only_if_free(set, nth, period),
            3 => commit.only_up_to(set, period, nth),
            4 | 5 => {
                let text = chance.one_of(&["{\"version\":\"1-a\",\"x\":1}", "{\"version\":\"2-b\"}", ""]);
                commit.set(document, chance.one_of(&[None, Some(100_000), Some(shortest)]), text.to_owned());
            }
            6 | 7 => commit.add(set, period, member),
            8 => commit.add_past(set, at, member),
            9 => commit.rank(set, at, &member),
            10 | 11 => commit.touch(document, 100_000),
            12 => commit.remove(set, &member),
            13 => commit.empty(set, chance.one_of(&[None, Some(at)])),
            14 => commit.clamp(set),
            15 => commit.index(set, member, chance.one_of(&["", "m0", "m1"]).to_owned()),
            16 => commit.notify("frosty.wake.x", "wake"),
            _ => commit.journal(&stream, 10, vec!["scope".to_owned(), member]),
        }
    }
    commit
}

#[test]
fn the_simulated_server_does_what_a_real_one_does() {
    let mut real = Real::start();
    let mut chance = Chance::of(7);
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let offset = i64::try_from(begun.as_micros()).unwrap() - Clock::ahead_by(0).shows(0);
    let mut simulated = Server::with(Clock::ahead_by(offset));
    let since = Instant::now();
    let mut applied = 0;
    for round in 0..3000 {
        if round % 100 == 0 {
            real.run(&cmd("FLUSHALL"));
            simulated.stop(0, Some(true));
            simulated.is_up = true;
        }
        let time = u64::try_from(since.elapsed().as_micros()).unwrap();
        // Some lifetimes end before anything else is compared.
        let shortest = if round % 10 == 0 { 1 } else { 50_000 };
        let now = simulated.clock.shows(time) / 1000;
        let commit = commit(&mut chance, now, shortest);
        let command = match round % 50 {
            49 => ship(&mut chance),
            _ => commit.call("EVAL", COMMIT),
        };
        let mut is_timed = true;
        let mut compare = |command: &Cmd| {
            let before = real.clock();
            let expected = real.run(command);
            // At this very moment the order depends on the millisecond. An error has no time, and came between these two.
            let ms = said(&expected).or_else(|| Some(before).filter(|before| real.clock() == *before));
            let time = ms.map_or(time, |ms| simulated.clock.time_of(ms, 0, u64::MAX));
            is_timed = ms.is_some();
            let found = simulated.run(time, &words(command), "");
            assert!(is_same(&expected, &found), "round {round}: expected {expected:?}, found {found:?}: {commit:?}");
            applied +=
                u32::from(matches!(&found, Reply::Array(all) if all.first() == Some(&Reply::Bulk(b"done".to_vec()))));
        };
        compare(&command);
        if !is_timed {
            // What it wrote before the error may be a millisecond off.
            real.run(&cmd("FLUSHALL"));
            simulated.stop(0, Some(true));
            simulated.is_up = true;
        }
        std::thread::sleep(Duration::from_millis(if round % 10 == 0 { 3 } else { 0 }));
        if round % 10 != 0 {
            continue;
        }
        for key in KEYS {
            let mut range = cmd("ZRANGE");
            range.arg(key).arg(chance.one_of(&[-3, 0])).arg(chance.one_of(&[-1, 1])).arg("WITHSCORES");
            let mut get = cmd("GET");
            get.arg(key);
            let mut by_score = cmd("ZRANGE");
            by_score.arg(key).arg(now - chance.one_of(&[0, 20_000, 60_000])).arg(now).arg("BYSCORE");
            for command in [range, by_score, get] {
                // On a busy machine one of the two may keep a key a little longer than the other.
                for tries in 1.. {
                    let expected = real.run(&command);
                    let later = u64::try_from(since.elapsed().as_micros()).unwrap();
                    let found = simulated.run(later, &words(&command), "");
                    if is_same(&expected, &found) {
                        break;
                    }
                    assert!(tries < 20, "{key}, round {round}: expected {expected:?}, found {found:?}");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }
    assert!(applied > 500, "only {applied} commits were applied");
}

/// Returns the clock in a commit's reply, in milliseconds.
fn said(reply: &Reply) -> Option<i64> {
    let Reply::Array(all) = reply else { return None };
    let Reply::Bulk(clock) = all.get(1)? else { return None };
    std::str::from_utf8(clock).ok()?.parse().ok()
}

/// Returns a command that ships a part of a journal, some of which was shipped before.
fn ship(chance: &mut Chance) -> Cmd {
    let mut ship = cmd("EVAL");
    ship.arg(SHIP).arg(2).arg(KEYS[4]).arg("{f}:shipped").arg(100).arg(100_000);
    for ends in 1..=chance.between(1, 6) {
        ship.arg(ends * 10).arg(2).arg("scope").arg(ends);
    }
    ship
}
