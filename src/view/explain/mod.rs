//! Describes the journal in words: an entry on one line, and a verdict with its rule, its numbers, and the next step.

pub(crate) mod comes_back;
pub mod entry;
pub(crate) mod rule;
pub mod verdict;

use std::time::Duration;

use crate::duration;
use crate::policy::limits::Ms;

/// Formats a duration in milliseconds for people.
fn long(ms: Ms) -> String {
    duration::about(Duration::from_millis(ms.max(0).unsigned_abs()))
}

pub(crate) use comes_back::release_command;
