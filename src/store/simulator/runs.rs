//! Runs the histories of the test command, those that failed once, and the broken variants.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use super::history::{self, Played};
use super::plan::{Plan, Stores};
use super::variants::{self, Variant};
use super::world;

/// Histories that failed once: the stores, the seed, and the violation.
const KEPT: &str = include_str!("seeds.txt");
/// What follows the stores of a kept history with dispatchers.
const DISPATCHERS: &str = "+dispatchers";
/// The number of histories where `FROSTY_HISTORIES` does not set it.
const USUAL: u64 = 3000;
/// The number of histories within which a variant is caught, where `FROSTY_VARIANT_HISTORIES` does not set it.
const MOST: u64 = 5000;
/// The share of the histories with work, in thousandths, where `FROSTY_WORK_SHARE` does not set it.
const WORK: u64 = 300;
/// The share of those with dispatchers, in thousandths, where `FROSTY_DISPATCH_SHARE` does not set it.
const DISPATCH: u64 = 100;
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

/// The reasons that the histories with a server must contain, so that what is drawn for them happens.
const REASONS: [&str; 33] = [
    "admitted",
    "api_error",
    "burst",
    "cooldown",
    "done",
    "dream",
    "hold",
    "idle",
    "limit",
    "min_interval",
    "no_work",
    "note_kept",
    "pace",
    "quiet",
    "quota",
    "reflection_on_cycle",
    "rest",
    "spread",
    "superseded",
    "work aged",
    "work claimed",
    "work claimed for a program",
    "work claimed for a start",
    "work done",
    "work done by hand",
    "work dropped",
    "work due",
    "work failed",
    "work given up",
    "work of a client that is gone",
    "work of an ended session",
    "work passed to a client",
    "work retried",
];

type Reasons = BTreeMap<&'static str, u64>;

/// Plays one history. A panic is a violation.
fn play(plan: &Plan, folder: &Folder, tells: bool) -> Played {
    if plan.stores != Stores::Server || plan.rhythm.usage.is_some() {
        let _ = std::fs::remove_dir_all(&folder.0);
    }
    let played = catch_unwind(AssertUnwindSafe(|| history::play(plan, &folder.0, tells)));
    played.unwrap_or_else(|panic| {
        let told = world::clear().and_then(|world| world.told).unwrap_or_default();
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
        Played { judged: Err(why.unwrap_or_else(|| "a panic".to_owned())), told, reasons: Reasons::new() }
    })
}

/// Plays a history, and prints it after a violation. Returns how often each reason was answered.
fn check(stores: Stores, seed: u64, dispatch: u64, folder: &Folder) -> Reasons {
    let plan = Plan::of(seed, stores).with_work(number("FROSTY_WORK_SHARE", WORK)).with_dispatchers(dispatch);
    let played = play(&plan, folder, false);
    let Err(why) = played.judged else { return played.reasons };
    let told = play(&plan, folder, true).told.join("\n");
    panic!("{plan:?}\n{told}\n{} {seed}: {why}", stores.name());
}

fn number(name: &str, usual: u64) -> u64 {
    #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Plays this many histories with these stores, the kept ones first. Returns how often each reason was answered.
fn histories(stores: Stores, count: u64) -> Reasons {
    let folder = Folder::new();
    let first = number("FROSTY_SEED", 1);
    let dispatch = number("FROSTY_DISPATCH_SHARE", DISPATCH);
    for line in KEPT.lines().filter_map(|line| line.strip_prefix(stores.name())) {
        let (of, line) = line.split_once(' ').unwrap();
        let seed = line.split(' ').next().unwrap().parse().unwrap();
        check(stores, seed, if of == DISPATCHERS { 1000 } else { 0 }, &folder);
    }
    let begun = Instant::now();
    let mut reasons = Reasons::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let folder = Folder::new();
                    let seeds = (first + thread..first + count).step_by(THREADS as usize);
                    seeds.flat_map(|seed| check(stores, seed, dispatch, &folder)).fold(Reasons::new(), add)
                })
            })
            .collect();
        for thread in threads {
            let found = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            reasons = found.into_iter().fold(std::mem::take(&mut reasons), add);
        }
    });
    println!("{}: {count} histories, {:.0} a second", stores.name(), count as f64 / begun.elapsed().as_secs_f64());
    println!("{}: {reasons:?}", stores.name());
    reasons
}

fn add(mut reasons: Reasons, (reason, count): (&'static str, u64)) -> Reasons {
    *reasons.entry(reason).or_default() += count;
    reasons
}

#[test]
fn histories_with_a_server_keep_every_bound() {
    let count = number("FROSTY_HISTORIES", USUAL);
    let found = histories(Stores::Server, count);
    let missing: Vec<_> = REASONS.iter().filter(|reason| !found.contains_key(*reason)).collect();
    assert!(count < USUAL || missing.is_empty(), "no history has {missing:?}");
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
    let most = number("FROSTY_VARIANT_HISTORIES", MOST);
    (first..first + most).find_map(|seed| {
        let mut plan = Plan::of(seed, stores).with_work(if variants::is_of_work(variant) { 1000 } else { 0 });
        plan = plan.with_dispatchers(if variants::is_of_dispatchers(variant) { 1000 } else { 0 });
        variants::provoke(variant, &mut plan);
        variants::set(Some(variant));
        let broken = play(&plan, folder, false).judged;
        variants::set(None);
        let why = broken.err()?;
        play(&plan, folder, false).judged.ok().map(|()| (seed, why))
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
        (Stores::Server, Variant::HeadNotPassed, 1),
        (Stores::Server, Variant::NoQuietMinute, 1),
        (Stores::Server, Variant::LongIdleRest, 1),
        (Stores::Server, Variant::UsefulTurnIdle, 1),
        (Stores::Server, Variant::ShortApiCooldown, 1),
        (Stores::Server, Variant::WindowsNotRead, 1),
        (Stores::Server, Variant::EverySignalWakes, 1),
        (Stores::Server, Variant::ClaimUnversioned, 1),
        (Stores::Server, Variant::ClaimedStaysListed, 1),
        (Stores::Server, Variant::OldClaimEnds, 1),
        (Stores::Server, Variant::GivenBackStaysInHand, 1),
        (Stores::Server, Variant::RunningClientTakenFrom, 1),
        (Stores::Server, Variant::EndLosesEntry, 1),
        (Stores::Server, Variant::AgingIgnored, 1),
        (Stores::Server, Variant::DelayIgnored, 1),
        (Stores::Server, Variant::RetryClaimsAgain, 1),
        (Stores::Server, Variant::TokenUsedTwice, 1),
        (Stores::Server, Variant::ClaimOfGoneDispatcherKept, 70),
        (Stores::Server, Variant::MostSessionsUnchecked, 1),
        (Stores::Server, Variant::StartWithoutCommit, 1),
        (Stores::Server, Variant::SilentClaimKept, 38),
        (Stores::Failover, Variant::RequiredIgnored, 1),
        (Stores::Failover, Variant::OneSidedTime, 1),
        (Stores::Failover, Variant::ShippedTwice, 1),
        (Stores::Failover, Variant::NoIntervalAtFailover, 1),
        (Stores::Failover, Variant::NoIntervalAtFailback, 1),
        (Stores::Failover, Variant::ReleaseForgotten, 1),
        (Stores::Failover, Variant::BaseOfAnotherEpoch, 1),
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
