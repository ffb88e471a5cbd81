//! Measures the cost of a Stop event, as whole processes: `cargo bench`.
//!
//! Programs are run in a new order each round. A figure is the median of the per-round ratios, so that a busy
//! machine disturbs both sides of it. One program is listed twice, and its ratio to itself shows how reliable
//! the others are. `FROSTY_BENCH_ROUNDS` (default 400) sets the rounds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::disallowed_methods, reason = "a bench is no part of the product")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use frosty::config::Config;
use frosty::store::server::request_bytes::requests;
use support::{Frosty, Server, step};

const MUSL: &str = "x86_64-unknown-linux-musl";

struct Built {
    frosty: PathBuf,
    hook: PathBuf,
    limit: PathBuf,
    noop: PathBuf,
    target: String,
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = tempfile::TempDir::new().unwrap();
    let built = build(root, dir.path());
    let server = Server::start();
    println!("target {}, {} cores", built.target, std::thread::available_parallelism().map_or(0, usize::from));
    let stop = root.join("fixtures/hook/Stop-first.json");

    // The same request as frosty's, as bytes.
    let requests = prepared(dir.path(), "the-limit");
    // The usual case of a user, without a configuration.
    let on_server = Frosty::bare().var("FROSTY_STORE", &server.url());
    let embedded = Frosty::bare().var("FROSTY_STORE", "embedded");
    let port = server.port.to_string();
    let limit: Vec<&str> = std::iter::once(port.as_str()).chain(requests.iter().map(String::as_str)).collect();
    let old = root.join("benches/programs/old_hook.sh");
    let programs: Vec<(&str, Command)> = vec![
        ("limit", on_server.command_of(&built.limit, &limit)),
        ("limit again", on_server.command_of(&built.limit, &limit)),
        ("no-op", on_server.command_of(&built.noop, &[])),
        ("frosty-hook, server", on_server.command_of(&built.hook, &[])),
        ("frosty-hook, embedded", embedded.command_of(&built.hook, &[])),
        ("the bash", on_server.command_of(&old, &[&port])),
        ("frosty hook, server", on_server.command_of(&built.frosty, &["hook"])),
        ("frosty hook, embedded", embedded.command_of(&built.frosty, &["hook"])),
    ];
    // Loads the script.
    support::feed(on_server.command_of(&built.hook, &[]), &fs::read(&stop).unwrap());
    let times = interleaved(programs, &stop);
    let ratio = |a: usize, b: usize| {
        let mut ratios: Vec<f64> = times[a].iter().zip(&times[b]).map(|(a, b)| a / b).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let median = |a: usize| {
        let mut t = times[a].clone();
        t.sort_by(f64::total_cmp);
        t[t.len() / 2] * 1e3
    };
    println!();
    row("whole process, interleaved, median of per-round ratios", "goal", "measured".into());
    row("---", "---", "---".into());
    row("limit ÷ limit (control)", "1.00", format!("{:.3}", ratio(1, 0)));
    row("`frosty-hook` on Stop, warm script ÷ limit", "≤ 1.15", format!("{:.2} ({:.2} ms)", ratio(3, 0), median(3)));
    row("`frosty-hook` ÷ no-op", "≤ 2.3", format!("{:.2} ({:.2} ms)", ratio(3, 2), median(2)));
    row("the bash it replaces ÷ frosty-hook", "≥ 65", format!("{:.0} ({:.1} ms)", ratio(5, 3), median(5)));
    row("`frosty-hook`, embedded store ÷ limit", "≤ 1.05", format!("{:.2} ({:.2} ms)", ratio(4, 0), median(4)));
    row(
        "`frosty-hook` ÷ `frosty hook`, server / embedded",
        "≤ 1.00",
        format!("{:.2} / {:.2}", ratio(3, 6), ratio(4, 7)),
    );
    let mut ratchet = Ratchet::read(root);
    let (warm, cold) = round_trips(&server, &built.hook, &stop);
    ratchet.row("round trips, warm", "1", warm.into());
    ratchet.row("round trips, cold", "2", cold.into());
    costs(&mut ratchet, &built, [&on_server, &embedded], &stop);
    ratchet.row("bytes", "≤ 1400000", fs::metadata(&built.hook).unwrap().len());
    let size = fs::metadata(&built.frosty).unwrap().len() as f64 / 1e6;
    row("`frosty`, stripped", "≤ 8 MB", format!("{size:.2} MB"));
    let rate = server_rate(&server);
    row("verdicts/s of this redis-server, 16 connections, one scope", "–", format!("{rate:.0}"));
    storms(&server, &built.hook);
    ratchet.holds();
}

/// Prints the system calls and the page faults of a Stop event, and holds them against the ratchet.
fn costs(ratchet: &mut Ratchet, built: &Built, [on_server, embedded]: [&Frosty; 2], stop: &Path) {
    for (name, frosty, goals) in [("server", on_server, ["≤ 40", "≤ 42"]), ("embedded", embedded, ["–", "–"])] {
        let (calls, outside) = system_calls(frosty, &built.hook, stop);
        ratchet.row(&format!("system calls, {name}"), goals[0], calls as u64);
        row(&format!("files opened outside its own config and state, {name}"), "0", outside.to_string());
        let faults = faults(frosty.command_of(&built.hook, &[]), stop);
        let floor = faults_of_noop(on_server, &built.noop, stop);
        ratchet.row(&format!("page faults, {name}"), goals[1], faults);
        row(&format!("of them the no-op's, {name}"), "–", floor.to_string());
    }
}

/// Prints the verdicts of many processes on one scope.
fn storms(server: &Server, hook: &Path) {
    println!();
    for processes in [1, 8, 64] {
        for name in ["server", "embedded"] {
            let frosty = if name == "server" { Frosty::on(server) } else { Frosty::embedded() };
            let frosty = frosty.config(
                r#"{"budget": "1s", "fleet": "storm", "scope": "one", "stop": {"min_interval": "0s", "burst": null,
                    "quotas": [{"limit": 50, "per": "1h"}]}}"#,
            );
            let (asks, twos, took) = storm(&frosty, hook, processes);
            let rate = f64::from(asks) / took.as_secs_f64();
            let beyond = twos.saturating_sub(50);
            println!(
                "{name:>8}, {processes:>2} processes on one scope: {rate:>5.0} verdicts/s, {asks} asks, {twos} admitted of 50, {beyond} beyond policy"
            );
            redis::cmd("FLUSHALL").query::<()>(&mut server.connection()).unwrap();
        }
    }
}

fn row(what: &str, goal: &str, measured: String) {
    println!("| {what:<58} | {goal:<16} | {measured:<22} |");
}

/// The steady figures of the release build, beside the committed ones.
struct Ratchet {
    committed: serde_json::Value,
    broken: Vec<String>,
}

impl Ratchet {
    fn read(root: &Path) -> Self {
        let text = fs::read_to_string(root.join("tests/ratchet.json")).unwrap();
        let all: serde_json::Value = serde_json::from_str(&text).unwrap();
        Self { committed: all["release"].clone(), broken: Vec::new() }
    }

    fn row(&mut self, name: &str, goal: &str, measured: u64) {
        let committed = self.committed[name].as_u64().unwrap_or_else(|| panic!("no {name:?} in tests/ratchet.json"));
        row(name, goal, format!("{measured} (ratchet {committed})"));
        if measured > committed {
            self.broken.push(format!("{name}: {measured}, and {committed} are committed in tests/ratchet.json"));
        }
    }

    /// Fails above a committed figure.
    fn holds(self) {
        assert!(self.broken.is_empty(), "{:#?}", self.broken);
    }
}

fn rounds() -> usize {
    std::env::var("FROSTY_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(400)
}

/// Builds the binary as install.sh does, and its two companions of the same target.
fn build(root: &Path, dir: &Path) -> Built {
    let installed = Command::new(root.join("install.sh")).args(["--bin-dir", dir.to_str().unwrap()]).output().unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let mut flags = vec!["-O", "-C", "panic=abort", "-C", "strip=symbols", "-C", "lto=fat", "--edition", "2024"];
    let has_musl = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", MUSL])
        .output()
        .is_ok_and(|o| o.status.success() && Path::new(String::from_utf8_lossy(&o.stdout).trim()).exists());
    if has_musl {
        flags.extend(["--target", MUSL, "-C", "relocation-model=static", "-C", "target-feature=+crt-static"]);
    }
    let program = |name: &str| {
        let out = dir.join(name);
        let source = root.join(format!("benches/programs/{name}.rs"));
        assert!(Command::new("rustc").args(&flags).arg(source).arg("-o").arg(&out).status().unwrap().success());
        out
    };
    let target = if has_musl { MUSL.to_owned() } else { "native".to_owned() };
    Built {
        frosty: dir.join("frosty"),
        hook: dir.join("frosty-hook"),
        limit: program("limit"),
        noop: program("noop"),
        target,
    }
}

fn stop_of(session: &str) -> frosty::policy::request::Step {
    frosty::policy::request::Step {
        session: session.to_owned(),
        scope: session.to_owned(),
        event_name: "Stop".to_owned(),
        ..step(frosty::policy::request::Event::Stop { rest: None })
    }
}

/// Returns the requests of a Stop event of this session, as files, and the number of replies to each.
fn prepared(dir: &Path, session: &str) -> Vec<String> {
    let (load, replies, commit) = requests(&Config::default(), &stop_of(session));
    let files = [(dir.join("load"), load, replies), (dir.join("commit"), commit, 1)];
    let written = files.into_iter().flat_map(|(file, bytes, replies)| {
        fs::write(&file, bytes).unwrap();
        [file.to_str().unwrap().to_owned(), replies.to_string()]
    });
    written.collect()
}

/// Returns the seconds of each program, a list per program, one entry per round.
fn interleaved(mut programs: Vec<(&str, Command)>, stdin: &Path) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); programs.len()];
    for round in 0..rounds() {
        // In a random order, since the previous program affects the caches.
        let mut order: Vec<usize> = (0..programs.len()).collect();
        order.sort_by_key(|_| frosty::clock::chance());
        for i in order {
            let (name, command) = &mut programs[i];
            // The bash is so much slower that a few rounds of it are enough.
            if *name == "the bash" && round % 20 != 0 && round > 0 {
                let last = times[i].last().copied().unwrap_or(f64::NAN);
                times[i].push(last);
                continue;
            }
            command.stdin(File::open(stdin).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
            let started = Instant::now();
            let status = command.spawn().unwrap().wait().unwrap();
            times[i].push(started.elapsed().as_secs_f64());
            assert!(matches!(status.code(), Some(0 | 2)), "{name}: {status}");
        }
    }
    times
}

/// Returns the round trips of one Stop event with a warm and with a cold script.
fn round_trips(server: &Server, program: &Path, stdin: &Path) -> (u32, u32) {
    let (url, trips) = support::counting_proxy(server);
    let frosty = Frosty::new().var("FROSTY_STORE", &url);
    let payload = fs::read(stdin).unwrap();
    let one = || {
        trips.store(0, Ordering::SeqCst);
        support::feed(frosty.command_of(program, &[]), &payload);
        trips.load(Ordering::SeqCst)
    };
    redis::cmd("SCRIPT").arg("FLUSH").query::<()>(&mut server.connection()).unwrap();
    let cold = one();
    (one(), cold)
}

/// Returns the system calls of one warm Stop event, and the files opened that are neither configuration nor
/// state.
fn system_calls(frosty: &Frosty, program: &Path, stdin: &Path) -> (usize, usize) {
    let trace = frosty.home.path().join("trace");
    let args = ["-f", "-o", trace.to_str().unwrap(), program.to_str().unwrap()];
    let payload = fs::read(stdin).unwrap();
    // The last is refused for the same reason as the one before, and so prints nothing.
    for _ in 0..5 {
        support::feed(frosty.command_of(Path::new("strace"), &args), &payload);
    }
    let text = fs::read_to_string(&trace).unwrap();
    let home = frosty.home.path().to_str().unwrap();
    let opened = |l: &&str| l.contains(" open(") || l.contains(" openat(");
    let outside = text.lines().filter(opened).filter(|l| !l.contains(home)).count();
    (text.lines().filter(|l| l.contains('(')).count(), outside)
}

/// Returns the minor page faults of one warm Stop event, the median of a few.
fn faults(mut command: Command, stdin: &Path) -> u64 {
    let mut all: Vec<u64> = (0..9)
        .map(|_| {
            command.stdin(File::open(stdin).unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
            let before = children_faults();
            command.spawn().unwrap().wait().unwrap();
            children_faults() - before
        })
        .collect();
    all.sort_unstable();
    all[all.len() / 2]
}

fn faults_of_noop(frosty: &Frosty, noop: &Path, stdin: &Path) -> u64 {
    faults(frosty.command_of(noop, &[]), stdin)
}

/// Returns `cminflt` of this process: minor faults of the children it has waited for.
fn children_faults() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    after_name.split_whitespace().nth(8).unwrap().parse().unwrap()
}

fn server_rate(server: &Server) -> f64 {
    let done = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|threads| {
        for _ in 0..16 {
            threads.spawn(|| {
                let mut con = server.connection();
                let (load, replies, commit) = requests(&Config::default(), &stop_of("rate"));
                while started.elapsed() < Duration::from_secs(3) {
                    con.send_packed_command(&load).unwrap();
                    (0..replies).for_each(|_| drop(con.recv_response().unwrap()));
                    con.send_packed_command(&commit).unwrap();
                    con.recv_response().unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / started.elapsed().as_secs_f64()
}

/// Runs this many processes at a time for three seconds, each in a session of its own and all in one scope.
fn storm(frosty: &Frosty, program: &Path, processes: u32) -> (u32, u32, Duration) {
    let (asks, twos) = (AtomicU32::new(0), AtomicU32::new(0));
    let started = Instant::now();
    std::thread::scope(|threads| {
        for i in 0..processes {
            let (asks, twos) = (&asks, &twos);
            threads.spawn(move || {
                let payload = support::stop(&format!("s{i}"));
                while started.elapsed() < Duration::from_secs(3) {
                    let answer = support::feed(frosty.command_of(program, &[]), payload.as_bytes());
                    asks.fetch_add(1, Ordering::Relaxed);
                    twos.fetch_add(u32::from(answer.code == Some(2)), Ordering::Relaxed);
                }
            });
        }
    });
    (asks.into_inner(), twos.into_inner(), started.elapsed())
}
