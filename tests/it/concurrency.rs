//! Many processes on one scope: never more admissions than the policy allows.

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Frosty, Server, distant_proxy, stop};

const PROCESSES: u32 = 64;
/// A quota is contended until it is used up; the first admission starts a minimum interval. Ten thousand requests of
/// quotas over both stores.
const ASKS: u32 = 5_000;
const ASKS_OF_A_GUARD: u32 = 2_000;

/// Sends so many requests from 64 processes at a time; returns the numbers of exit codes 2 and 0.
fn storm(frosty: &Frosty, asks: u32) -> (u32, u32) {
    let (twos, zeros, left) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(asks));
    std::thread::scope(|threads| {
        for i in 0..PROCESSES {
            let (twos, zeros, left) = (&twos, &zeros, &left);
            threads.spawn(move || {
                let payload = stop(&format!("session-{i}"));
                while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                    let answer = frosty.hook(&payload);
                    match answer.code {
                        Some(2) => twos.fetch_add(1, Ordering::SeqCst),
                        Some(0) => zeros.fetch_add(1, Ordering::SeqCst),
                        _ => panic!("{answer:?}"),
                    };
                }
            });
        }
    });
    (twos.into_inner(), zeros.into_inner())
}

const GUARD: &str = r#"{"scope": "one", "stop": {"min_interval": "1h"}}"#;
const QUOTA: &str = r#"{"scope": "one",
    "stop": {"min_interval": "0s", "burst": null, "quotas": [{"limit": 100, "per": "1h"}]}}"#;

/// Exactly so many admissions were committed, and each exit 2 has one. (An answer that comes after its second
/// on a stalled machine is not used: committed, and exit 0.)
fn held_to(limit: u32, committed: usize, (twos, zeros): (u32, u32), asks: u32) {
    println!("{committed} admissions committed, {twos} exits 2, {zeros} exits 0");
    assert_eq!(committed, limit as usize);
    assert!(twos <= limit, "{twos} exits 2 for {limit} admissions");
    assert_eq!(twos + zeros, asks);
}

/// `stand_in`: how many the embedded store may admit besides, if the machine stalls and the server is late once.
fn on_the_server(config: &str, limit: u32, asks: u32, stand_in: usize) {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(config);
    let (twos, zeros) = storm(&frosty, asks);
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut server.connection()).unwrap();
    let goes_on = |fields: &Vec<String>| fields.iter().any(|f| f == "CLAUDE_CODE_RESTART");
    let own = |fields: &Vec<String>| fields.windows(2).any(|w| w[0] == "store" && w[1] == "dragonfly");
    let admitted = entries.iter().filter(|(_, fields)| goes_on(fields) && own(fields)).count();
    let here = frosty.journal();
    let degraded = here.iter().filter(|e| e["next_action"] == "CLAUDE_CODE_RESTART").count();
    println!("{degraded} admissions by the embedded store, in {} asks", here.len());
    assert!(degraded <= stand_in, "{degraded} admissions by the embedded store");
    // Each change of the store starts the minimum interval, so that fewer may be admitted.
    let limit = if here.is_empty() { limit } else { limit.min(admitted as u32) };
    held_to(limit, admitted, (twos.saturating_sub(degraded as u32), zeros + twos.min(degraded as u32)), asks);
}

fn on_the_embedded_store(config: &str, limit: u32, asks: u32) {
    let frosty = Frosty::embedded().config(config);
    let storm = storm(&frosty, asks);
    let admitted = frosty.journal().iter().filter(|e| e["next_action"] == "CLAUDE_CODE_RESTART").count();
    held_to(limit, admitted, storm, asks);
}

/// A test that needs all cores for itself.
static MACHINE: RwLock<()> = RwLock::new(());

#[test]
fn guard_on_the_server() {
    let _beside = MACHINE.read();
    on_the_server(GUARD, 1, ASKS_OF_A_GUARD, 0);
}

#[test]
fn quota_on_the_server() {
    let _beside = MACHINE.read();
    // A quota may be used once more per store.
    on_the_server(QUOTA, 100, ASKS, 100);
}

/// Processes that keep every core busy, ended with the test.
struct Load(Vec<std::process::Child>);

impl Load {
    fn start() -> Self {
        let busy = || std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        Self((0..32).map(|_| busy()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for process in &mut self.0 {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A slow server on a busy machine is not unreachable: with the default budget no other store admits anything.
#[test]
fn quota_on_the_server_of_a_busy_machine() {
    let _alone = MACHINE.write();
    let _load = Load::start();
    let server = Server::start();
    let frosty = Frosty::bare().var("FROSTY_STORE", &server.url());
    std::fs::write(frosty.home.path().join(".claude/frosty.json"), QUOTA).unwrap();
    let (twos, zeros) = storm(&frosty, 600);
    let here = frosty.journal().iter().filter(|e| e["next_action"] == "CLAUDE_CODE_RESTART").count();
    println!("{twos} exits 2, {zeros} exits 0, {here} admissions by the embedded store");
    assert!(here == 0 && twos <= 100, "{twos} exits 2, {here} admissions by the embedded store");
}

/// A silent server on a busy machine is unreachable after ten seconds.
#[test]
fn a_server_that_hangs_on_a_busy_machine() {
    let _alone = MACHINE.write();
    let _load = Load::start();
    let server = Server::start();
    let frosty = Frosty::bare().var("FROSTY_STORE", &server.url());
    std::fs::write(
        frosty.home.path().join(".claude/frosty.json"),
        r#"{"stop": {"min_interval": "1s", "burst": null}}"#,
    )
    .unwrap();
    assert_eq!(frosty.hook(&stop("first")).code, Some(2));
    let hangs = |how| rustix::process::kill_process(rustix::process::Pid::from_raw(server.pid() as i32).unwrap(), how);
    hangs(rustix::process::Signal::STOP).unwrap();
    let begun = Instant::now();
    let mut answers = (0..).map(|n| frosty.hook(&stop(&format!("s{}", n % 2))));
    let refused = answers.next().unwrap();
    assert_eq!(refused.code, Some(0), "{refused:?}");
    let admitted = answers.find(|answer| answer.code == Some(2) || begun.elapsed() > Duration::from_secs(60)).unwrap();
    hangs(rustix::process::Signal::CONT).unwrap();
    assert!(admitted.code == Some(2) && begun.elapsed() > Duration::from_secs(10), "{admitted:?}");
    assert!(frosty.journal().iter().any(|e| e["degraded"] == 1 && e["verdict"] == "admit"));
}

#[test]
fn guard_on_the_embedded_store() {
    let _beside = MACHINE.read();
    on_the_embedded_store(GUARD, 1, ASKS_OF_A_GUARD);
}

#[test]
fn quota_on_the_embedded_store() {
    let _beside = MACHINE.read();
    on_the_embedded_store(QUOTA, 100, ASKS);
}

/// A server at its connection limit causes no failover: other requests are refused, and no other store admits anything.
#[test]
fn quota_on_a_server_that_is_full() {
    let _alone = MACHINE.write();
    let server = Server::start();
    let mut con = server.connection();
    redis::cmd("CONFIG").arg("SET").arg("maxclients").arg(6).query::<()>(&mut con).unwrap();
    let frosty = Frosty::on(&server).config(QUOTA);
    let (twos, zeros) = storm(&frosty, 1_500);
    let stats: String = redis::cmd("INFO").arg("stats").query(&mut con).unwrap();
    let refused = stats.lines().find_map(|line| line.strip_prefix("rejected_connections:")).unwrap();
    let journal = frosty.journal();
    let here = journal.iter().filter(|e| e["next_action"] == "CLAUDE_CODE_RESTART").count();
    let why: std::collections::BTreeSet<String> = journal.iter().map(|e| e["detail"].to_string()).collect();
    println!("{twos} exits 2, {zeros} exits 0, {refused} connections refused, {here} admissions by the embedded store");
    assert_ne!(refused, "0");
    assert!(here == 0 && twos <= 100, "{twos} exits 2, {here} admissions by the embedded store: {why:?}");
    assert!(twos > 50, "those that it took were decided");
}

/// A request from a distance that meets a conflict each time is refused in time, and no error. A near client changes
/// the same session without a pause.
#[test]
fn a_distant_request_that_meets_conflicts_is_busy() {
    let server = Server::start();
    let (far_url, _) = distant_proxy(&server, Duration::from_millis(30));
    let near = Frosty::on(&server).config(r#"{"scope": "one"}"#);
    let far = Frosty::bare().var("FROSTY_STORE", &far_url).config(r#"{"scope": "one", "budget": "250ms"}"#);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                near.hook(&stop("session"));
            }
        });
        for _ in 0..10 {
            far.hook(&stop("session"));
        }
        done.store(true, Ordering::SeqCst);
    });
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut server.connection()).unwrap();
    let busy = entries.iter().filter(|(_, fields)| fields.iter().any(|f| f == "busy")).count();
    let here = far.journal().len();
    println!("{busy} busy, {here} entries on the distant machine");
    assert_eq!(here, 0, "{:?}", far.journal());
    assert!(busy > 0, "no conflict");
}
