//! Whether this machine is too busy for its processes: a server that is slow then is not away.
//!
//! A machine that fails over only because it is busy would count its admissions in addition to the server's, so a quota
//! would be used twice. The check is made only where an answer did not come in time, and never on the way to a verdict.

use std::fs;
use std::thread;
use std::time::Duration;

/// The wait of a process for a core since it began, from which on the machine is busy.
const WAITED: Duration = Duration::from_millis(20);
/// The share of the last ten seconds in which some process waited for a core, in per cent.
const PRESSURE: f64 = 40.0;
/// The processes that want to run, for each core, in the mean of the last minute.
const LOAD: f64 = 3.0;

/// Returns whether processes of this machine wait long for a core, as far as the system shows it (Linux).
pub(crate) fn is_starved() -> bool {
    #[cfg(test)]
    if let Some(is_starved) = crate::store::simulator::is_starved() {
        return is_starved;
    }
    waited().is_some_and(|waited| waited >= WAITED)
        || pressure().is_some_and(|share| share >= PRESSURE)
        || load().is_some_and(|load| load >= LOAD)
}

/// Returns how long this process was ready but did not run: the second number of `/proc/self/schedstat`, in
/// nanoseconds.
fn waited() -> Option<Duration> {
    let text = fs::read_to_string("/proc/self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().nth(1)?.parse().ok()?))
}

/// Returns `some avg10` of `/proc/pressure/cpu`.
fn pressure() -> Option<f64> {
    let text = fs::read_to_string("/proc/pressure/cpu").ok()?;
    text.lines().find_map(|line| line.strip_prefix("some avg10="))?.split(' ').next()?.parse().ok()
}

fn load() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = text.split(' ').next()?.parse().ok()?;
    let cores = u32::try_from(thread::available_parallelism().ok()?.get()).ok()?;
    Some(load / f64::from(cores))
}
