//! The dispatchers of a history.

use crate::policy::process::{Birth, Process};

/// Returns a process of a history as a machine names it.
pub(super) fn process(number: usize) -> Process {
    let pid = 100_000 + u32::try_from(number).unwrap();
    Process { pid, birth: Some(Birth { start: u64::from(pid), namespace: 1 }) }
}
