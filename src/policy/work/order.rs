//! The order in which entries are claimed: by priority, with an aging deficit, so that nothing waits for ever.

use super::entry::{Priority, WorkEntry};
use super::queue::Queue;

/// A normal entry waits behind at most this many later high entries.
pub const NORMAL_WAITS_FOR: u64 = 4;
/// A low entry waits behind at most this many later high or normal entries.
pub const LOW_WAITS_FOR: u64 = 12;

/// Returns the priority of the entry that is claimed next: the first of its list. `heads` are the first entries of the lists.
///
/// Each list is first in, first out. The first entry of a list was overtaken by at least as many later entries as
/// those behind it, so only the heads are compared.
#[must_use]
pub fn next(queue: &Queue, heads: &[Option<WorkEntry>; 3]) -> Option<Priority> {
    let [high, normal, low] = heads;
    let [highs, normals, _] = queue.placed;
    // The number of entries of a list that were claimed or removed before its head.
    let done = |head: &Option<WorkEntry>, placed: u64| head.as_ref().map_or(placed, |head| head.number);
    let (done_high, done_normal) = (done(high, highs), done(normal, normals));
    let overtaken = |entry: &WorkEntry| {
        let [high, normal] = entry.after;
        (done_high.saturating_sub(high), done_normal.saturating_sub(normal))
    };
    if let Some(low) = low {
        let (by_high, by_normal) = overtaken(low);
        if by_high.saturating_add(by_normal) >= LOW_WAITS_FOR {
            return Some(Priority::Low);
        }
    }
    let is_overdue = normal.as_ref().is_some_and(|entry| overtaken(entry).0 >= NORMAL_WAITS_FOR);
    match (high, normal, low) {
        (Some(_), _, _) if !is_overdue => Some(Priority::High),
        (_, Some(_), _) => Some(Priority::Normal),
        (_, None, Some(_)) => Some(Priority::Low),
        _ => None,
    }
}
