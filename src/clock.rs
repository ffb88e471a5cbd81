//! This machine's clocks, name and chance, the simulated ones where a test simulates them. The store's clock is the one that decides; this one is the embedded store's, and
//! the first number of a fence.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::policy::limits::Ms;
#[cfg(test)]
use crate::store::simulator;
use crate::text;

/// This machine's clock, in milliseconds since the Unix epoch.
#[must_use]
pub fn host_ms() -> Ms {
    #[cfg(test)]
    if let Some(now) = simulator::host_ms() {
        return now;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| Ms::try_from(d.as_millis()).unwrap_or(Ms::MAX))
}

/// The monotonic clock, by which deadlines are kept.
#[must_use]
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some(now) = simulator::now() {
        return now;
    }
    Instant::now()
}

/// Waits.
pub fn sleep(time: Duration) {
    #[cfg(test)]
    if simulator::sleep(time) {
        return;
    }
    thread::sleep(time);
}

/// This machine's name.
#[must_use]
pub fn host() -> String {
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| text::line(&rustix::system::uname().nodename().to_string_lossy())).clone()
}

/// A random id, sixteen digits.
#[must_use]
pub fn id() -> String {
    format!("{:016x}", chance())
}

/// A random number, distinct from call to call and process to process. Not for secrets.
#[must_use]
pub fn chance() -> u64 {
    #[cfg(test)]
    if let Some(chance) = simulator::chance() {
        return chance;
    }
    RandomState::new().hash_one(0u8)
}
