//! Spreads work on many small items over the cores, for the commands that read every session of a fleet.

use std::num::NonZero;
use std::thread;

/// The smallest number of items that is worth a thread.
const LEAST: usize = 200;

/// Returns the result of `work` for each item, in the order of the items.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let part = items.len().div_ceil(cores).max(LEAST);
    let Some((own, others)) = items.split_at_checked(part) else { return items.iter().map(work).collect() };
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> =
            others.chunks(part).map(|some| scope.spawn(move || some.iter().map(work).collect::<Vec<R>>())).collect();
        let mut all: Vec<R> = own.iter().map(work).collect();
        for thread in threads {
            match thread.join() {
                Ok(some) => all.extend(some),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_once_and_in_order() {
        for count in [0, 1, LEAST, LEAST + 1, 10 * LEAST + 3] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(map(&items, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
        }
    }
}
