//! Pace: one smooth quota of the fleet, derived from the usage windows, so that a window lasts until its reset.

use std::time::Duration;

use crate::policy::documents::Flight;
use crate::policy::limits::{Ms, Quota};
use crate::policy::windows::{POINT, Window, Windows};

/// How long a turn in flight is counted at most: a client that was killed sends no event.
pub const LONGEST_FLIGHT: Ms = 3_600_000;
/// How long a request waits where the turns in flight may use up the room.
pub const NO_ROOM: Ms = 30_000;
/// The room below which turns of an unknown cost are paced, in hundredths of a per cent.
const LITTLE_ROOM: u32 = 10 * POINT;
/// How long a paced request waits at most before it is decided again: the pace changes with each report.
pub(crate) const LONGEST_LOOK: Ms = 300_000;

/// The pace of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowPace {
    /// The share that the fleet may use, in per cent.
    pub cap: u32,
    /// Whether the turns are spread over the window, or continue until the cap.
    pub spread: bool,
}

/// The pace of the fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// The pace of the five-hour window.
    pub five_hour: Option<WindowPace>,
    /// The pace of the seven-day window.
    pub seven_day: Option<WindowPace>,
}

/// What the pace permits now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paced {
    /// No window restricts.
    #[default]
    Free,
    /// One turn per period, until the windows change at the time.
    Slot(Quota, Ms),
    /// The turns in flight may use up the room, so the request waits.
    NoRoom,
    /// The cap is reached, until the reset.
    Limit(Ms),
    /// The windows could not be read, so any share must be assumed until this time.
    Unknown(Ms),
}

impl Paced {
    /// Returns the quota of the fleet.
    #[must_use]
    pub fn quota(self) -> Option<Quota> {
        if let Self::Slot(quota, _) = self { Some(quota) } else { None }
    }

    /// Returns until when nothing is admitted, where that is so, and whether the time is a rounded reset.
    #[must_use]
    pub(crate) fn closed_until(self) -> Option<(Ms, bool)> {
        match self {
            Self::Limit(until) => Some((until, true)),
            Self::Unknown(until) => Some((until, false)),
            _ => None,
        }
    }

    /// Returns how long a request waits at most before it is decided again.
    #[must_use]
    pub(crate) fn longest_wait(self, now: Ms) -> Ms {
        if let Self::Slot(_, until) = self { until.saturating_sub(now).clamp(1, LONGEST_LOOK) } else { Ms::MAX }
    }

    fn strictness(self) -> (u8, Ms) {
        match self {
            Self::Free => (0, 0),
            Self::Slot(quota, _) => (1, Ms::try_from(quota.per.as_millis()).unwrap_or(Ms::MAX)),
            Self::NoRoom => (2, 0),
            Self::Limit(until) | Self::Unknown(until) => (3, until),
        }
    }
}

/// Derives what the pace permits from the windows and the number of turns in flight. Of several windows the most
/// restrictive one applies.
#[must_use]
pub fn derive(pace: &Pace, windows: &Windows, in_flight: u32, now: Ms) -> Paced {
    let is_paced = pace.five_hour.is_some() || pace.seven_day.is_some();
    if let Some(until) = windows.unknown_until(now).filter(|_| is_paced) {
        return Paced::Unknown(until);
    }
    let of = |pace: Option<WindowPace>, window: Option<Window>| {
        pace.zip(window).map_or(Paced::Free, |(pace, window)| in_window(pace, &window, in_flight, now))
    };
    let five_hour = of(pace.five_hour, windows.five_hour);
    let seven_day = of(pace.seven_day, windows.seven_day);
    if seven_day.strictness() > five_hour.strictness() { seven_day } else { five_hour }
}

fn in_window(pace: WindowPace, window: &Window, in_flight: u32, now: Ms) -> Paced {
    let left = window.resets_at.saturating_sub(now);
    if left <= 0 {
        return Paced::Free;
    }
    let cap = pace.cap.saturating_mul(POINT);
    if window.used >= cap {
        return Paced::Limit(window.resets_at);
    }
    if !pace.spread {
        return Paced::Free;
    }
    let slot = |per: Ms| {
        Paced::Slot(Quota { limit: 1, per: Duration::from_millis(per.max(1).unsigned_abs()) }, window.resets_at)
    };
    let unused = cap.saturating_sub(window.used);
    let Some(cost) = window.cost(in_flight) else {
        return if unused < LITTLE_ROOM { slot(NO_ROOM.min(left)) } else { Paced::Free };
    };
    let room = (u64::from(unused) * 1000).saturating_sub(cost.saturating_mul(in_flight.into()));
    if room < cost {
        return Paced::NoRoom;
    }
    // Rounded up, so that no rounding makes a turn come sooner.
    let per = (u128::from(left.unsigned_abs()) * u128::from(cost)).div_ceil(u128::from(room));
    slot(Ms::try_from(per).unwrap_or(Ms::MAX).min(left))
}

/// Removes the turn of a session that ended, and turns that are counted no more.
pub(crate) fn land(in_flight: &mut Vec<Flight>, session: &str, now: Ms) {
    in_flight.retain(|flight| flight.session != session && flight.at > now.saturating_sub(LONGEST_FLIGHT));
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
