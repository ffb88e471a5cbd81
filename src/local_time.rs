//! Formats times for people by their own clock: in this machine's time zone, and as the time until then.

use std::time::Duration;

use chrono::{DateTime, Local, TimeZone};

use crate::duration;
use crate::policy::limits::Ms;

const MINUTE: Ms = 60_000;
const HOUR: Ms = 60 * MINUTE;
const DAY: Ms = 24 * HOUR;
/// The text for a time beyond the calendar.
const BEYOND: &str = "the far future";

/// Returns a time of day. On another day than today's it contains the day, and no seconds.
#[must_use]
pub fn clock(at: Ms, now: Ms) -> String {
    clock_in(&Local, at, now)
}

fn clock_in<Tz: TimeZone>(zone: &Tz, at: Ms, now: Ms) -> String
where
    Tz::Offset: std::fmt::Display,
{
    let local = |ms| DateTime::from_timestamp_millis(ms).map(|utc| utc.with_timezone(zone));
    let (Some(at), Some(now)) = (local(at), local(now)) else { return BEYOND.to_owned() };
    let days = at.date_naive().signed_duration_since(now.date_naive()).num_days();
    let format = match days {
        0 => "%H:%M:%S",
        -6..=6 => "%a %H:%M",
        _ => "%Y-%m-%d %H:%M",
    };
    at.format(format).to_string()
}

/// Returns a time of day as [`clock`] does, with its zone. It is for texts that may be read elsewhere, or on a
/// machine of another zone.
#[must_use]
pub fn zoned(at: Ms, now: Ms) -> String {
    format!("{}{}", clock(at, now), zone(at))
}

/// Returns this machine's zone at that time, after a space: `UTC`, or the offset from UTC. The text is empty
/// beyond the calendar.
fn zone(at: Ms) -> String {
    let local = DateTime::from_timestamp_millis(at).map(|utc| utc.with_timezone(&Local));
    let offset = local.map(|at| at.format(" UTC%:z").to_string()).unwrap_or_default();
    offset.strip_suffix("+00:00").map_or(offset.clone(), ToOwned::to_owned)
}

/// Returns a time of day with its day and zone, for a text that may be read on another day and machine.
#[must_use]
pub fn dated(at: Ms) -> String {
    let local = DateTime::from_timestamp_millis(at).map(|utc| utc.with_timezone(&Local));
    local.map_or_else(|| BEYOND.to_owned(), |local| format!("{}{}", local.format("%Y-%m-%d %H:%M"), zone(at)))
}

/// Returns the time until then, in its two largest units, rounded up.
#[must_use]
pub fn left(until: Ms, now: Ms) -> String {
    let left = until.saturating_sub(now).max(0);
    let unit = match left {
        DAY.. => HOUR,
        HOUR.. => MINUTE,
        _ => 1000,
    };
    let whole = left.saturating_add(unit - 1) / unit * unit;
    duration::show(Duration::from_millis(whole.unsigned_abs()))
}

/// Returns the elapsed time, in its two largest units, rounded down.
#[must_use]
pub fn age(lasted: Ms) -> String {
    let lasted = lasted.max(0);
    let unit = match lasted {
        DAY.. => HOUR,
        MINUTE.. => MINUTE,
        _ => 1000,
    };
    duration::show(Duration::from_millis((lasted / unit * unit).unsigned_abs()))
}

/// Returns both: `14:05:10 in 3m10s`.
#[must_use]
pub fn at(at: Ms, now: Ms) -> String {
    format!("{} in {}", clock(at, now), left(at, now))
}

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    #[test]
    fn no_time_is_empty() {
        assert_eq!((zoned(Ms::MAX, 0), dated(Ms::MAX)), (BEYOND.to_owned(), BEYOND.to_owned()));
    }

    #[test]
    fn a_time_and_how_long_until_then() {
        let zone = FixedOffset::east_opt(2 * 3600).unwrap();
        // A Friday, 15:00:00 there.
        let now = 1_800_018_000_000;
        for (after, clock, long) in [
            (0, "15:00:00", "0s"),
            (190_000, "15:03:10", "3m10s"),
            (189_001, "15:03:09", "3m10s"),
            (3_600_001, "16:00:00", "1h1m"),
            (14 * HOUR, "Sat 05:00", "14h"),
        ] {
            assert_eq!((clock_in(&zone, now + after, now).as_str(), left(now + after, now).as_str()), (clock, long));
        }
        assert_eq!(left(now + 47 * HOUR + 1, now), "2d");
        assert_eq!(clock_in(&zone, now + 30 * DAY, now), "2027-02-14 15:00");
        assert_eq!(left(now - 5, now), "0s");
        for (lasted, shown) in [(0, "0s"), (59_999, "59s"), (61_000, "1m"), (3_700_000, "1h1m"), (90_000_000, "1d1h")] {
            assert_eq!(age(lasted), shown);
        }
    }
}
