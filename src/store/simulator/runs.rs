//! Runs the histories of the test command, those that failed once, and the broken variants.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use super::history;
use super::plan::{Plan, Stores};
use super::variants::{self, Variant};
use super::world;

/// Histories that failed once: the stores, the seed, and the violation.
const KEPT: &str = include_str!("seeds.txt");
/// The number of histories where `FROSTY_HISTORIES` does not set it.
const USUAL: u64 = 3000;
/// The number of histories within which a variant is caught.
const MOST: u64 = 5000;
/// The number of threads, each with worlds of its own.
const THREADS: u64 = 2;

/// A directory for the histories of this thread.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let base = PathBuf::from("/dev/shm");
        let base = if base.is_dir() { base } else { std::env::temp_dir() };
        Self(base.join(format!("frosty-simulator-{}-{:?}", std::process::id(), std::thread::current().id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Plays one history; returns its violation.
fn play(stores: Stores, seed: u64, folder: &Folder, tells: bool) -> (Result<(), String>, Vec<String>) {
    let plan = Plan::of(seed, stores);
    if stores != Stores::Server {
        let _ = std::fs::remove_dir_all(&folder.0);
    }
    let played = catch_unwind(AssertUnwindSafe(|| history::play(&plan, &folder.0, tells)));
    played.unwrap_or_else(|panic| {
        let told = world::clear().and_then(|world| world.told).unwrap_or_default();
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
        (Err(why.unwrap_or_else(|| "a panic".to_owned())), told)
    })
}

/// Plays a history, and prints it after a violation.
fn check(stores: Stores, seed: u64, folder: &Folder) {
    let Err(why) = play(stores, seed, folder, false).0 else { return };
    let told = play(stores, seed, folder, true).1.join("\n");
    panic!("{:?}\n{told}\n{} {seed}: {why}", Plan::of(seed, stores), stores.name());
}

fn number(name: &str, usual: u64) -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Plays this many histories with these stores, the kept ones first.
fn histories(stores: Stores, count: u64) {
    let folder = Folder::new();
    let first = number("FROSTY_SEED", 1);
    let kept = KEPT.lines().filter_map(|line| line.strip_prefix(stores.name())?.split(' ').nth(1)?.parse().ok());
    kept.for_each(|seed| check(stores, seed, &folder));
    let begun = Instant::now();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let folder = Folder::new();
                let seeds = (first + thread..first + count).step_by(THREADS as usize);
                seeds.for_each(|seed| check(stores, seed, &folder));
            });
        }
    });
    println!("{}: {count} histories, {:.0} a second", stores.name(), count as f64 / begun.elapsed().as_secs_f64());
}

#[test]
fn histories_with_a_server_keep_every_bound() {
    histories(Stores::Server, number("FROSTY_HISTORIES", USUAL));
}

#[test]
fn histories_with_a_failover_keep_every_bound() {
    histories(Stores::Failover, number("FROSTY_FAILOVER_HISTORIES", USUAL / 5));
}

#[test]
fn histories_on_files_keep_every_bound() {
    histories(Stores::Files, number("FROSTY_FILES_HISTORIES", USUAL / 10));
}

/// Plays histories until a variant is caught in one that has no violation without it. Returns the seed and the
/// violation.
fn caught(stores: Stores, variant: Variant, first: u64, folder: &Folder) -> Option<(u64, String)> {
    (first..first + MOST).find_map(|seed| {
        variants::set(Some(variant));
        let broken = play(stores, seed, folder, false).0;
        variants::set(None);
        let why = broken.err()?;
        play(stores, seed, folder, false).0.ok().map(|()| (seed, why))
    })
}

#[test]
fn every_broken_variant_is_caught() {
    let folder = Folder::new();
    let mut missed = Vec::new();
    // The first seed saves time where a variant is seldom caught.
    for (stores, variant, first) in [
        (Stores::Server, Variant::NoVersionCheck, 1),
        (Stores::Server, Variant::UncheckedRefusal, 1),
        (Stores::Server, Variant::QuotaNotAdded, 1),
        (Stores::Server, Variant::ShortLifetime, 1),
        (Stores::Server, Variant::ForgottenSession, 1),
        (Stores::Server, Variant::EarlyAcknowledgement, 1),
        (Stores::Server, Variant::RetryCounted, 1),
        (Stores::Server, Variant::HeadNotPassed, 5001),
        (Stores::Failover, Variant::OneSidedTime, 11001),
        (Stores::Failover, Variant::ShippedTwice, 1),
        (Stores::Failover, Variant::NoIntervalAtFailover, 1),
        (Stores::Failover, Variant::NoIntervalAtFailback, 2001),
        (Stores::Failover, Variant::ReleaseForgotten, 401),
        (Stores::Failover, Variant::BaseOfAnotherEpoch, 201),
        (Stores::Failover, Variant::MergeByClocks, 1),
    ] {
        match caught(stores, variant, first, &folder) {
            Some((seed, why)) => {
                println!("{variant:?}: {} {seed}, history {} since {first}: {why}", stores.name(), seed - first + 1)
            }
            None => missed.push(variant),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
