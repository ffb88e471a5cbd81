//! The fault simulator: the store's own code under simulated servers, networks, clocks and processes, in one
//! process and from one seed.
//!
//! Each history plays a few agents on one or two machines for a minute of simulated time. Their processes are
//! coroutines that run [`Failover`](crate::store::failover) with everything below it. Simulated are
//!
//! - servers ([`server`], [`database`]) that run the real `commit.lua` and `ship.lua` ([`script`]), restart,
//!   and lose data;
//! - the network ([`network`]), which delays, loses, doubles, holds back and cuts;
//! - the clocks of machines and servers, which are stepped, and the monotonic clock;
//! - processes ([`world`]) that are paused or killed at any operation, and newer programs with an additional
//!   field in their documents.
//!
//! Files are real ones, in a fresh directory for each history. [`plan`] and [`rhythm`] draw a history, and [`history`] plays
//! it. The [`oracle`] knows nothing of the policy's code: it checks the admissions against the written bounds.
//! [`variants`] break the store on purpose, to show that the oracle notices.
//!
//! The product's code calls the functions of this module in builds of its unit tests alone.

use std::path::Path;
use std::time::{Duration, Instant};

use mimalloc::MiMalloc;

use crate::policy::limits::Ms;
use crate::policy::process::Process;
use crate::process::ProcessStatus;

mod agent;
mod chance;
mod compare;
mod content;
mod database;
mod dispatchers;
mod history;
mod ledger;
mod machines;
mod message;
mod network;
mod oracle;
mod people;
mod plan;
mod restraints;
mod rhythm;
mod runs;
mod script;
mod server;
mod story;
mod variants;
mod waiting;
mod work;
mod world;

/// The allocator of the unit tests. Half of the simulator's calls are of it, and it is faster than that of the system.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

pub(crate) use network::{Stream, connect};
pub(crate) use variants::{Variant, is_broken, loaded};

/// Returns the monotonic clock, in a simulated process.
pub(crate) fn now() -> Option<Instant> {
    world::in_process(|world| world.now())
}

/// Returns the machine's clock, in a simulated process.
pub(crate) fn host_ms() -> Option<Ms> {
    world::in_process(|world| world.hosts[world.host()].shows(world.time) / 1000)
}

/// Returns this machine's name, in a simulated process.
pub(crate) fn host() -> Option<String> {
    world::in_process(|world| format!("host-{}", world.host()))
}

/// Returns the simulated process itself.
pub(crate) fn own() -> Option<Process> {
    world::in_process(|world| world.current().map(dispatchers::process))?
}

/// Adds a line that a command prints to the history, in a simulated process. Returns whether the caller is one.
pub(crate) fn prints(line: &str) -> bool {
    world::in_process(|world| world.tell(|| line.to_owned())).is_some()
}

/// Waits, in a simulated process; returns whether the caller is one.
pub(crate) fn sleep(time: Duration) -> bool {
    let is_simulated = world::in_process(|_| ()).is_some();
    if is_simulated {
        world::suspend(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }
    is_simulated
}

/// Returns a random number, in a simulated process.
pub(crate) fn chance() -> Option<u64> {
    world::in_process(|world| world.chance.next())
}

/// Returns whether the machine has no time for its processes, in a simulated process.
pub(crate) fn is_starved() -> Option<bool> {
    world::in_process(|world| world.chance.happens(world.rates.starved))
}

/// Waits until a waiting engine's connection can be read, in a simulated process. `has_connection` is whether it has
/// one. Returns whether it can be read.
pub(crate) fn poll(has_connection: bool, most: Duration) -> Option<bool> {
    world::in_process(|_| ())?;
    Some(network::poll(has_connection, most))
}

/// Returns whether a client runs, in a simulated process: its own machine's clients are seen there.
pub(crate) fn standing(process: &Process, host: &str) -> Option<ProcessStatus> {
    let is_gone = world::in_process(|world| {
        (host == format!("host-{}", world.host())).then(|| world.gone.contains_key(&process.pid))
    })?;
    Some(match is_gone {
        None => ProcessStatus::Unknown,
        Some(is_gone) if is_gone || is_broken(Variant::RunningClientTakenFrom) => ProcessStatus::Gone,
        Some(_) => ProcessStatus::Runs,
    })
}

/// Announces the commit of a transaction of files, with the journal's line. The work queues are looked at.
pub(crate) fn committed(dir: &Path, changes: &[(&str, Option<&str>)], line: Option<&str>) {
    world::in_process(|world| ledger::files(world, dir, changes, line));
}

/// Announces an operation on a file. A simulated process may be paused or killed before it.
pub(crate) fn operation(name: &str) {
    if world::in_process(|world| world.tell(|| name.to_owned())).is_some() {
        let takes = world::with(|world| world.chance.below(40));
        world::suspend(takes);
    }
}
