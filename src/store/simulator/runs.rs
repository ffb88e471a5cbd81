//! The runs: the histories of the test command, those that failed once, and the broken variants.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use super::history::{self, Plan, Stores};
use super::variants::{self, Variant};
use super::world;

/// Histories that failed once: the stores, the seed, and what was wrong.
const KEPT: &str = include_str!("seeds.txt");
/// How many histories are played where `FROSTY_HISTORIES` does not say it.
const USUAL: u64 = 3000;

/// A folder for the histories of this thread.
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

/// Plays one history; returns what is wrong with it.
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

/// Plays a history, and prints it where something is wrong.
fn check(stores: Stores, seed: u64, folder: &Folder) {
    let Err(why) = play(stores, seed, folder, false).0 else { return };
    let told = play(stores, seed, folder, true).1.join("\n");
    panic!("{:?}\n{told}\n{} {seed}: {why}", Plan::of(seed, stores), stores.name());
}

fn number(name: &str, usual: u64) -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Plays as many histories as asked for with these stores, the kept ones first.
fn histories(stores: Stores, share: u64) {
    let folder = Folder::new();
    let (first, count) = (number("FROSTY_SEED", 1), number("FROSTY_HISTORIES", USUAL) * share / 10);
    let kept = KEPT.lines().filter_map(|line| line.strip_prefix(stores.name())?.split(' ').nth(1)?.parse().ok());
    kept.for_each(|seed| check(stores, seed, &folder));
    let begun = Instant::now();
    (first..first + count).for_each(|seed| check(stores, seed, &folder));
    println!("{}: {count} histories, {:.0} a second", stores.name(), count as f64 / begun.elapsed().as_secs_f64());
}

#[test]
fn histories_with_a_server_keep_every_bound() {
    histories(Stores::Server, 10);
}

#[test]
fn histories_with_a_failover_keep_every_bound() {
    histories(Stores::Failover, 2);
}

#[test]
fn histories_on_files_keep_every_bound() {
    histories(Stores::Files, 1);
}

/// Plays histories until a variant is caught; returns the seed and why.
fn caught(stores: Stores, variant: Variant, most: u64, folder: &Folder) -> Option<(u64, String)> {
    variants::set(Some(variant));
    let found = (1..=most).find_map(|seed| Some((seed, play(stores, seed, folder, false).0.err()?)));
    variants::set(None);
    found
}

#[test]
fn every_broken_variant_is_caught() {
    let folder = Folder::new();
    let mut missed = Vec::new();
    for (stores, variant) in [
        (Stores::Server, Variant::NoVersionCheck),
        (Stores::Server, Variant::UncheckedRefusal),
        (Stores::Server, Variant::QuotaNotAdded),
        (Stores::Server, Variant::ShortLifetime),
        (Stores::Server, Variant::ForgottenSession),
        (Stores::Server, Variant::EarlyAcknowledgement),
        (Stores::Server, Variant::RetryCounted),
        (Stores::Server, Variant::HeadNotPassed),
    ] {
        match caught(stores, variant, 10_000, &folder) {
            Some((seed, why)) => println!("{variant:?}: {} {seed}, the {seed}th history: {why}", stores.name()),
            None => missed.push(variant),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
