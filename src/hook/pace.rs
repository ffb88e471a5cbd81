//! Limits how soon a waiting engine sends, looks and retries.

use std::time::{Duration, Instant};

use crate::policy::verdict::{Decision, Reason};

/// The time between two looks, or between two requests, except for [`QUICK`] of them.
pub(super) const PACE: Duration = Duration::from_secs(1);
/// The number of looks, or of requests, that may follow the one before sooner than [`PACE`].
const QUICK: u32 = 3;
/// The first and the longest time between two tries to reach a store that is unreachable.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(10);
/// The shortest time between two requests of an engine that waits long for its place in a quota.
const SOONEST: Duration = Duration::from_secs(15);

/// Keeps looks, or requests, from following each other without end, whatever the store answers.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    /// The number that followed the one before sooner than [`PACE`], less the number that did not.
    quick: u32,
}

impl Pace {
    /// Returns how long to wait before the next one; `None` counts one that happens now.
    pub(super) fn holds(&mut self, now: Instant) -> Option<Duration> {
        let rest = self.last.map(|last| PACE.saturating_sub(now.saturating_duration_since(last)));
        let rest = rest.filter(|rest| !rest.is_zero());
        if self.last.is_some() {
            self.quick = if rest.is_some() { (self.quick + 1).min(QUICK + 1) } else { self.quick.saturating_sub(1) };
        }
        let held = rest.filter(|_| self.quick > QUICK);
        if held.is_none() {
            self.last = Some(now);
        }
        held
    }
}

/// The tries to reach a store that is unreachable.
#[derive(Debug, Default)]
pub(super) struct Retry {
    tries: u32,
}

impl Retry {
    /// Returns whether the next failure is the first.
    pub(super) fn is_first(&self) -> bool {
        self.tries == 0
    }

    /// Returns how long to wait before the next try. The time doubles, and is up to a quarter longer at random,
    /// so that many engines do not return at the same moment.
    pub(super) fn next(&mut self, chance: u64) -> Duration {
        let grown = FIRST_RETRY.saturating_mul(1 << self.tries.min(10)).min(SLOWEST_RETRY);
        self.tries = self.tries.saturating_add(1);
        grown + grown.mul_f64((chance % 1000) as f64 / 4000.0)
    }
}

/// The longest time between two requests of an engine that waits for a usage window: a report may correct it.
const LONGEST_LIMIT: Duration = Duration::from_secs(300);

/// Returns when an engine sends its next request after a refusal: at the refusal's end. A place in a quota may
/// become free sooner, because a session before it in the wait queue may be gone, and so may a usage window.
/// No notification is sent of that, so a long wait is divided.
pub(super) fn next_request_in(refused: &Decision) -> Option<Duration> {
    let left = refused.retry_after?;
    Some(match refused.reason {
        Reason::Quota | Reason::Pace => left.min(SOONEST.max(left / 4)),
        Reason::Limit => left.min(LONGEST_LIMIT),
        _ => left,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decision;

    #[test]
    fn a_long_wait_for_a_place_is_divided() {
        let seconds = |reason, left| {
            let refused = Decision { retry_after: Some(Duration::from_secs(left)), ..decision::refusal(reason, 0) };
            next_request_in(&refused).map(|again| again.as_secs())
        };
        assert_eq!(seconds(Reason::Quota, 3600), Some(900));
        assert_eq!(seconds(Reason::Quota, 40), Some(15));
        assert_eq!(seconds(Reason::Quota, 10), Some(10));
        assert_eq!([7200, 40].map(|left| seconds(Reason::Limit, left)), [Some(300), Some(40)]);
        assert_eq!(seconds(Reason::MinInterval, 3600), Some(3600));
        assert_eq!(next_request_in(&decision::refusal(Reason::Hold, 0)), None);
    }

    #[test]
    fn what_follows_quickly_is_held_to_one_a_second() {
        let (begun, mut pace) = (Instant::now(), Pace::default());
        let mut held = |ms| pace.holds(begun + Duration::from_millis(ms)).map(|left| left.as_millis());
        assert_eq!([held(0), held(10), held(20), held(30)], [None; 4], "three more may be quick");
        assert_eq!((held(40), held(500)), (Some(990), Some(530)), "by the last that came");
        assert_eq!((held(1031), held(2040)), (None, None));
        assert_eq!((held(2100), held(2200)), (None, Some(900)));
        assert_eq!([held(3100), held(4100), held(4110)], [None; 3], "exactly a second later is not sooner");
    }

    #[test]
    fn an_unreachable_store_is_tried_ever_more_slowly() {
        let mut retry = Retry::default();
        assert!(retry.is_first());
        let waits: Vec<u128> = (0..6).map(|_| retry.next(0).as_millis()).collect();
        assert_eq!(waits, [1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert!(!retry.is_first());
        assert_eq!(retry.next(999).as_millis(), 12_497, "up to a quarter longer");
    }
}
