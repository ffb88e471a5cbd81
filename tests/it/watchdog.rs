//! The watchdog: a store that never replies costs a second and exit 0, whatever it hangs on.

use std::path::Path;
use std::time::Duration;

use crate::support::{Answer, Frosty, Server, feed, stop};
use tempfile::TempDir;

fn asked(frosty: &Frosty, library: &Path, event: &str) -> Answer {
    let mut hook = frosty.command(&["hook"]);
    hook.env("LD_PRELOAD", library);
    feed(hook, event.as_bytes())
}

#[test]
fn a_stalled_disk_costs_a_second_and_admits_nothing() {
    let dir = TempDir::new().unwrap();
    let library = crate::support::library("stall", dir.path());
    let server = Server::start();
    let away = format!("redis://127.0.0.1:{}", crate::support::free_port());
    let (stop, compaction) = (stop("s"), crate::support::fixture("PreCompact-auto.json"));
    for (frosty, events) in [
        (Frosty::embedded(), vec![&stop, &compaction]),
        // The server's first reply is to be kept.
        (Frosty::on(&server), vec![&stop]),
        (Frosty::new().var("FROSTY_STORE", &away), vec![&stop, &compaction]),
    ] {
        for event in events {
            let answer = asked(&frosty, &library, event);
            assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
            assert!(answer.stderr.contains("store_down") && answer.stderr.contains("within a second"), "{answer:?}");
            // No sooner than any deadline, and a caller of it does not wait for the disk.
            assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&answer.took), "{answer:?}");
        }
    }
    // With its disk the same scope is decided at once.
    let frosty = Frosty::embedded();
    assert_eq!(asked(&frosty, &library, &stop).code, Some(0));
    assert_eq!(frosty.hook(&stop).code, Some(2));
}

#[test]
fn a_stalled_disk_keeps_no_engine_that_leaves_at_once() {
    let dir = TempDir::new().unwrap();
    let library = crate::support::library("stall", dir.path());
    let frosty = Frosty::embedded();
    let mut hook = frosty.command(&["hook", "--wait", "20d", "--timeout", "1900000"]);
    hook.env("LD_PRELOAD", &library);
    let answer = feed(hook, br#"{"session_id":"s","hook_event_name":"Notification"}"#);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
    assert!(answer.stderr.contains("within a second") && answer.took < Duration::from_secs(5), "{answer:?}");
}

/// Blocks the signals that would end a process.
fn shields(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or("0").trim().to_owned();
    u64::from_str_radix(&blocked, 16).is_ok_and(|blocked| blocked != 0)
}

fn send(signal: i32, pid: u32) {
    let sent = std::process::Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Every signal that ends a process and can be caught, but those of a fault of its own.
fn signals() -> impl Iterator<Item = i32> {
    let kept = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, libc::SIGCONT];
    (1..=31).filter(move |signal| !kept.contains(signal))
}

#[test]
fn no_signal_ends_a_hook_with_anything_but_exit_0() {
    let frosty = Frosty::embedded();
    let mut running = Vec::new();
    for signal in signals() {
        let mut command = frosty.command(&["hook"]);
        command.stdin(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        crate::support::eventually("it blocks signals", || shields(child.id()));
        send(signal, child.id());
        running.push((signal, child));
    }
    for (signal, mut child) in running {
        let _ = std::io::Write::write_all(
            &mut child.stdin.take().unwrap(),
            br#"{"session_id":"s","hook_event_name":"Notification"}"#,
        );
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "signal {signal}: {ended:?}");
    }
}

#[test]
fn a_waiting_engine_outlasts_signals_that_are_not_meant_to_end_it() {
    let frosty = Frosty::embedded();
    let ends = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];
    let mut engine = crate::support::Engine::start(&frosty, &crate::support::stop_saying("s", "frosty: done"));
    crate::support::eventually("it rests", || frosty.journal().iter().any(|e| e["reason"] == "done"));
    for signal in signals().filter(|signal| !ends.contains(signal)) {
        send(signal, engine.pid());
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert!(engine.is_waiting());
    for signal in ends {
        let engine = crate::support::Engine::start(&frosty, &crate::support::stop_saying("t", "frosty: done"));
        crate::support::eventually("it blocks signals", || shields(engine.pid()));
        std::thread::sleep(Duration::from_millis(100));
        send(signal, engine.pid());
        assert_eq!(engine.answer().code, Some(0));
    }
}

#[test]
fn a_file_that_may_not_grow_costs_no_more_than_the_verdict() {
    let frosty = Frosty::embedded();
    let program = env!("CARGO_BIN_EXE_frosty");
    let command = frosty.command_of(Path::new("sh"), &["-c", &format!("ulimit -f 0; exec {program} hook")]);
    let answer = feed(command, stop("s").as_bytes());
    assert_eq!((answer.code, answer.signal), (Some(0), None), "{answer:?}");
}
