//! The pace: a quota of the whole fleet with a rate that is derived from a usage window, so that the window lasts until
//! its reset.

use std::time::Duration;

use crate::policy::limits::{Ms, Quota, millis};
use crate::policy::windows::{FIVE_HOURS, SEVEN_DAYS, Window, Windows};

/// How long requests wait where a turn under way may use the rest of the window.
const FULL: Duration = Duration::from_secs(30);
/// Below this share of use, in hundredths of a per cent, the cost of a turn is unknown.
const KNOWN_FROM: u32 = 200;
/// The shortest and the longest distance of two slots.
const SHORTEST: Ms = 1;
const LONGEST: Ms = 3_600_000;

/// The pace of one usage window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowPace {
    /// The share up to which the fleet uses the window, in per cent, 1 to 100.
    pub cap: u32,
    /// Whether the turns are spread over the rest of the window, and not only ended at the cap.
    pub spread: bool,
}

impl Default for WindowPace {
    fn default() -> Self {
        Self { cap: 95, spread: false }
    }
}

/// The paces of the usage windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// The pace of the window of five hours.
    pub five_hour: Option<WindowPace>,
    /// The pace of the window of seven days.
    pub seven_day: Option<WindowPace>,
}

impl Pace {
    /// Returns the length of the longest window over which the turns are spread.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let of = |pace: Option<WindowPace>, length| pace.filter(|pace| pace.spread).map(|_| length);
        of(self.seven_day, SEVEN_DAYS).or(of(self.five_hour, FIVE_HOURS)).unwrap_or_default()
    }
}

/// The fleet's turns, as far as a pace needs them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turns {
    /// The turns that ended in the window of five hours, and in that of seven days.
    pub finished: [u32; 2],
    /// The turns that were admitted and have not ended.
    pub in_flight: u32,
}

/// What a pace requires of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paced {
    /// Nothing.
    Free,
    /// A place in this quota of the fleet.
    Slot(Quota),
    /// To wait this long: the turns under way may use the rest.
    Wait(Duration),
    /// To wait for the reset of the window.
    Limit(Ms),
}

/// Returns what the paces require at `now`: the strictest of the windows.
#[must_use]
pub fn required(pace: &Pace, windows: &Windows, turns: &Turns, now: Ms) -> Paced {
    let five = of_window(pace.five_hour, windows.five_hour, turns.finished[0], turns.in_flight, now);
    let seven = of_window(pace.seven_day, windows.seven_day, turns.finished[1], turns.in_flight, now);
    stricter(five, seven)
}

fn stricter(a: Paced, b: Paced) -> Paced {
    let rank = |paced: &Paced| match paced {
        Paced::Free => (0, 0),
        Paced::Slot(quota) => (1, millis(quota.per)),
        Paced::Wait(left) => (2, millis(*left)),
        Paced::Limit(until) => (3, *until),
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// Returns what the pace of one window requires. Shares are in hundredths of a per cent.
fn of_window(pace: Option<WindowPace>, window: Option<Window>, finished: u32, in_flight: u32, now: Ms) -> Paced {
    let (Some(pace), Some(window)) = (pace, window.filter(|window| window.resets_at > now)) else { return Paced::Free };
    let (cap, used) = (u64::from(pace.cap) * 100, u64::from(window.used));
    if used >= cap {
        return Paced::Limit(window.resets_at);
    }
    if !pace.spread || window.used < KNOWN_FROM || finished == 0 {
        return Paced::Free;
    }
    // In thousandths of the share's unit, so that a cheap turn is not counted as free.
    let cost = (used * 1000 / u64::from(finished)).max(1);
    let room = ((cap - used) * 1000).saturating_sub(cost * u64::from(in_flight));
    if room < cost {
        return Paced::Wait(FULL);
    }
    let left = window.resets_at.saturating_sub(now).unsigned_abs();
    let per = Ms::try_from(u128::from(left) * u128::from(cost) / u128::from(room)).unwrap_or(LONGEST);
    Paced::Slot(Quota { limit: 1, per: Duration::from_millis(per.clamp(SHORTEST, LONGEST).unsigned_abs()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Ms = 3_600_000;

    fn at(used: u32, left: Ms, finished: u32, in_flight: u32) -> Paced {
        let pace = Pace { five_hour: Some(WindowPace { cap: 95, spread: true }), seven_day: None };
        let windows = Windows { five_hour: Some(Window { resets_at: left, used, seen: 0 }), seven_day: None };
        required(&pace, &windows, &Turns { finished: [finished, 0], in_flight }, 0)
    }

    fn slot(ms: u64) -> Paced {
        Paced::Slot(Quota { limit: 1, per: Duration::from_millis(ms) })
    }

    #[test]
    fn the_slots_divide_what_is_left() {
        // 50 turns used 25 points, so 45 points are 90 more turns of 100 s.
        assert_eq!(at(5000 - 2500, 2 * HOUR + HOUR / 2, 50, 0), slot(9_000_000 / 140), "70 points are 140 turns");
        assert_eq!(at(5000, HOUR, 100, 0), slot(HOUR.unsigned_abs() / 90));
        assert_eq!(at(5000, HOUR, 100, 10), slot(HOUR.unsigned_abs() / 80), "those under way count");
        assert_eq!(at(9500 - 50, HOUR, 189, 0), slot(HOUR.unsigned_abs()), "one more turn");
        assert_eq!(at(9500 - 49, HOUR, 189, 0), Paced::Wait(FULL));
        assert_eq!(at(5000, HOUR, 100, 90), Paced::Wait(FULL));
    }

    #[test]
    fn what_is_not_paced() {
        assert_eq!(at(199, HOUR, 1, 0), Paced::Free, "below two points the cost is unknown");
        assert_eq!(at(5000, HOUR, 0, 0), Paced::Free);
        assert_eq!(at(9600, 0, 100, 0), Paced::Free, "the window is over");
        assert_eq!(at(0, millis(FIVE_HOURS), 0, 0), Paced::Free, "a window that has just begun");
        assert_eq!(required(&Pace::default(), &Windows::default(), &Turns::default(), 0), Paced::Free);
    }

    #[test]
    fn at_the_cap_it_is_a_limit() {
        assert_eq!(at(9500, HOUR, 100, 0), Paced::Limit(HOUR));
        assert_eq!(at(9600, HOUR, 0, 0), Paced::Limit(HOUR));
    }

    #[test]
    fn the_strictest_window_counts() {
        let pace = Pace {
            five_hour: Some(WindowPace { cap: 95, spread: true }),
            seven_day: Some(WindowPace { cap: 98, spread: false }),
        };
        let window = |used, resets_at| Some(Window { resets_at, used, seen: 0 });
        let both = |five, seven| {
            let windows = Windows { five_hour: window(five, HOUR), seven_day: window(seven, 9 * HOUR) };
            required(&pace, &windows, &Turns { finished: [100, 100], in_flight: 0 }, 0)
        };
        assert_eq!(both(5000, 9700), slot(HOUR.unsigned_abs() / 90));
        assert_eq!(both(5000, 9800), Paced::Limit(9 * HOUR));
        assert_eq!(both(9600, 9800), Paced::Limit(9 * HOUR));
        assert_eq!(both(9600, 100), Paced::Limit(HOUR));
    }
}
