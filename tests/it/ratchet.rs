//! The cost of a Stop event may only fall: the figures in `tests/ratchet.json` are the ceiling. A change that lowers
//! one lowers it there too. `cargo bench` compares the figures of the release build, which is slow to build.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::support::{Frosty, Server, feed, fixture};

/// Compares a figure of the debug build with the committed one.
#[track_caller]
fn holds(name: &str, measured: usize, detail: &str) {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ratchet.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let committed = all["debug"][name].as_u64().unwrap_or_else(|| panic!("no {name:?} in tests/ratchet.json")) as usize;
    println!("{name}: {measured} of {committed}");
    assert!(measured <= committed, "{name}: {measured}, and {committed} are committed in tests/ratchet.json\n{detail}");
    if measured < committed {
        println!("{name} fell: lower it in tests/ratchet.json");
    }
}

/// The fewest system calls of three Stop events, on a warm store that refuses them silently. A busy machine may split a
/// read.
fn system_calls(frosty: &Frosty) -> Vec<String> {
    for _ in 0..4 {
        feed(frosty.hook_binary(&[]), fixture("Stop-first.json").as_bytes());
    }
    (0..3).map(|_| traced(frosty)).min_by_key(Vec::len).unwrap()
}

/// The system calls of a Stop event, from the first that the hook makes itself: what a loader does before depends on
/// the machine.
fn traced(frosty: &Frosty) -> Vec<String> {
    let trace = frosty.home.path().join("trace");
    let args = ["-f", "-qq", "-o", trace.to_str().unwrap(), env!("CARGO_BIN_EXE_frosty-hook")];
    feed(frosty.command_of(Path::new("strace"), &args), fixture("Stop-first.json").as_bytes());
    let text = fs::read_to_string(&trace).unwrap();
    let calls = text.lines().filter(|line| line.contains('(')).map(str::to_owned);
    // It checks which of its three streams are open.
    let own: Vec<String> = calls.skip_while(|call| !call.contains("poll([{fd=0, events=0}")).collect();
    assert!(own.last().is_some_and(|last| last.contains("exit_group(0)")), "{text}");
    own
}

#[test]
fn system_calls_on_the_server_path() {
    let server = Server::start();
    let calls = system_calls(&Frosty::bare().var("FROSTY_STORE", &server.url()));
    holds("system calls, server", calls.len(), &calls.join("\n"));
}

#[test]
fn system_calls_on_the_embedded_path() {
    let calls = system_calls(&Frosty::bare().var("FROSTY_STORE", "embedded"));
    holds("system calls, embedded", calls.len(), &calls.join("\n"));
}

/// The heap is the arena's: a Stop event requests no memory from the kernel.
#[test]
fn a_stop_event_asks_for_no_memory() {
    let server = Server::start();
    for store in [server.url(), "embedded".to_owned()] {
        let calls = system_calls(&Frosty::bare().var("FROSTY_STORE", &store));
        let asks = |call: &&String| ["mmap(", "munmap(", "brk(", "mremap("].iter().any(|name| call.contains(name));
        assert_eq!(calls.iter().find(asks), None, "{store}");
    }
}

#[test]
fn round_trips() {
    let server = Server::start();
    let (url, trips) = crate::support::counting_proxy(&server);
    let frosty = Frosty::new().var("FROSTY_STORE", &url);
    let one = || {
        trips.store(0, Ordering::SeqCst);
        feed(frosty.hook_binary(&[]), fixture("Stop-first.json").as_bytes());
        trips.load(Ordering::SeqCst) as usize
    };
    redis::cmd("SCRIPT").arg("FLUSH").query::<()>(&mut server.connection()).unwrap();
    let (cold, warm) = (one(), one());
    holds("round trips, cold", cold, "");
    holds("round trips, warm", warm, "");
}
