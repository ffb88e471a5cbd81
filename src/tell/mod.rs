//! The journal in words: an entry on one line, and a verdict with its rule, its numbers, and what comes next.

use std::time::Duration;

use crate::duration;
use crate::throttle::policy::Ms;

mod back;
pub mod explain;
pub mod line;
mod rule;

/// How long a stretch of milliseconds is, for people.
fn long(ms: Ms) -> String {
    duration::about(Duration::from_millis(ms.max(0).unsigned_abs()))
}
