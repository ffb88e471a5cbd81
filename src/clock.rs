//! This machine's clocks, name and random numbers, or the simulated ones in a test that simulates them.
//! Decisions use the store's clock. This machine's clock is the embedded store's, and the first number of a
//! fence.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::policy::limits::Ms;
#[cfg(test)]
use crate::store::simulator;
use crate::text;

/// Returns this machine's clock, in milliseconds since the Unix epoch.
#[must_use]
pub fn host_ms() -> Ms {
    #[cfg(test)]
    if let Some(now) = simulator::host_ms() {
        return now;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| Ms::try_from(d.as_millis()).unwrap_or(Ms::MAX))
}

/// Returns the monotonic clock, which is used for deadlines.
#[must_use]
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some(now) = simulator::now() {
        return now;
    }
    Instant::now()
}

/// Waits for this long.
pub fn sleep(time: Duration) {
    #[cfg(test)]
    if simulator::sleep(time) {
        return;
    }
    thread::sleep(time);
}

/// Returns this machine's name.
#[must_use]
pub fn host() -> String {
    #[cfg(test)]
    if let Some(host) = simulator::host() {
        return host;
    }
    static HOST: OnceLock<String> = OnceLock::new();
    HOST.get_or_init(|| text::line(&rustix::system::uname().nodename().to_string_lossy())).clone()
}

/// Returns a random id of sixteen digits.
#[must_use]
pub fn id() -> String {
    format!("{:016x}", chance())
}

/// Returns a random number, distinct from call to call and process to process. Not for secrets.
#[must_use]
pub fn chance() -> u64 {
    #[cfg(test)]
    if let Some(chance) = simulator::chance() {
        return chance;
    }
    RandomState::new().hash_one(0u8)
}
