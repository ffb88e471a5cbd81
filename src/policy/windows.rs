//! The usage windows of an API key: the shares that the client's status line shows (client 2.1.332).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::limits::Ms;

/// The length of the client's `five_hour` window.
pub const FIVE_HOURS: Duration = Duration::from_secs(5 * 3600);
/// The length of the client's `seven_day` window.
pub const SEVEN_DAYS: Duration = Duration::from_secs(7 * 86_400);

/// A whole minute: the client's reset times differ by seconds from report to report.
const MINUTE: Ms = 60_000;

/// One usage window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When the window ends, rounded to the minute.
    pub resets_at: Ms,
    /// The share that is used, in hundredths of a per cent.
    pub used: u32,
    /// When a session last reported a new share.
    pub seen: Ms,
}

impl Window {
    /// Makes a window from a report.
    #[must_use]
    pub fn new(resets_at: Ms, used: u32, seen: Ms) -> Self {
        Self { resets_at: resets_at.saturating_add(MINUTE / 2).div_euclid(MINUTE).saturating_mul(MINUTE), used, seen }
    }

    /// Returns the window after a report about the same one or another one.
    ///
    /// An idle session repeats its old report for ever, so a smaller share counts only where the report is fresh.
    fn after(own: Option<Self>, report: Option<Self>, is_fresh: bool, now: Ms) -> Option<Self> {
        let own = own.filter(|own| own.resets_at > now);
        let Some(report) = report.filter(|report| report.resets_at > now) else { return own };
        let Some(own) = own else { return Some(report) };
        match report.resets_at.cmp(&own.resets_at) {
            std::cmp::Ordering::Greater => Some(report),
            std::cmp::Ordering::Equal if is_fresh || report.used > own.used => Some(report),
            _ => Some(own),
        }
    }
}

/// The usage windows of one API key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Windows {
    /// The window of five hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub five_hour: Option<Window>,
    /// The window of seven days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seven_day: Option<Window>,
}

/// What one session's status line showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// The windows, each seen now.
    pub windows: Windows,
    /// Whether the session called the API since its last report.
    pub is_fresh: bool,
}

impl Windows {
    /// Returns the windows after a report. A past reset and one before the known one are dropped.
    #[must_use]
    pub fn merged(self, report: &Report, now: Ms) -> Self {
        let Report { windows, is_fresh } = report;
        Self {
            five_hour: Window::after(self.five_hour, windows.five_hour, *is_fresh, now),
            seven_day: Window::after(self.seven_day, windows.seven_day, *is_fresh, now),
        }
    }

    /// Returns each window with the client's name of it and its length.
    #[must_use]
    pub fn all(self) -> [(&'static str, Duration, Option<Window>); 2] {
        [("five_hour", FIVE_HOURS, self.five_hour), ("seven_day", SEVEN_DAYS, self.seven_day)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESET: Ms = 1_796_083_200_000;

    fn five(resets_at: Ms, used: u32, seen: Ms) -> Windows {
        Windows { five_hour: Some(Window::new(resets_at, used, seen)), seven_day: None }
    }

    #[test]
    fn within_a_window_the_share_only_grows() {
        let known = five(RESET, 6200, 1);
        let after = |resets_at, used, is_fresh, now| {
            let merged = known.merged(&Report { windows: five(resets_at, used, now), is_fresh }, now);
            merged.five_hour.map(|w| (w.used, w.seen))
        };
        assert_eq!(after(RESET, 6300, false, 9), Some((6300, 9)));
        assert_eq!(after(RESET, 6100, false, 9), Some((6200, 1)), "an idle session repeats itself");
        assert_eq!(after(RESET, 6200, false, 9), Some((6200, 1)), "and makes nothing younger");
        assert_eq!(after(RESET, 6100, true, 9), Some((6100, 9)), "the session worked since");
        assert_eq!(after(RESET + 20_000, 6300, false, 9), Some((6300, 9)), "the same minute");
        assert_eq!(after(RESET - 3_600_000, 9000, true, 9), Some((6200, 1)), "an older reset");
        assert_eq!(after(RESET + 18_000_000, 100, false, 9), Some((100, 9)), "the next window");
        assert_eq!(after(RESET, 6300, true, RESET), None, "over");
        assert_eq!(Windows::default().merged(&Report { windows: known, is_fresh: false }, 5), known);
    }
}
