//! Durations as people write them: `15s`, `10m`, `1h30m`, `250ms`, `2d`.

use std::fmt::Write;
use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration: whole numbers, each with its unit, the larger units first. Returns `None` for anything
/// else.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if *ms >= smallest {
            return None;
        }
        smallest = *ms;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*ms)?)?;
        rest = tail;
    }
    (smallest != u64::MAX).then(|| Duration::from_millis(total))
}

/// Reads a duration as people and agents write it: `10 minutes`, `1h 30m`, `1 hour and 30 min`, `in 10 s`, or
/// the form of [`parse`].
#[must_use]
pub fn spoken(said: &str) -> Option<Duration> {
    let said = said.trim().to_lowercase();
    let mut rest = said.strip_prefix("in ").unwrap_or(&said).trim_start();
    let mut written = String::new();
    while !rest.is_empty() {
        let (number, tail) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let unit = match unit {
            "d" | "day" | "days" => "d",
            "h" | "hr" | "hrs" | "hour" | "hours" => "h",
            "m" | "min" | "mins" | "minute" | "minutes" => "m",
            "s" | "sec" | "secs" | "second" | "seconds" => "s",
            "ms" => "ms",
            _ => return None,
        };
        written.extend([number, unit]);
        let tail = tail.trim_start().trim_start_matches(',').trim_start();
        rest = tail.strip_prefix("and ").unwrap_or(tail).trim_start();
    }
    parse(&written)
}

/// Writes a duration so that [`parse`] reads it back, to the millisecond.
#[must_use]
pub fn show(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, ms) in UNITS {
        if left >= ms {
            let _ = write!(out, "{}{unit}", left / ms);
            left %= ms;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// Writes a duration for people: whole seconds, rounded up.
#[must_use]
pub fn about(duration: Duration) -> String {
    let secs = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    show(Duration::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, ms) in [
            ("15s", 15_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("0s", 0),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "15", "s", "1s2m", "1s1s", "-5s", "1.5h", " 5s", "5 s", "99999999999999999999s", "5S"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn as_it_is_said() {
        for (said, ms) in [
            ("10 minutes", 600_000),
            ("10 s", 10_000),
            ("in 10s", 10_000),
            ("In 1 Hour", 3_600_000),
            ("1h 30m", 5_400_000),
            ("1 hour and 30 minutes", 5_400_000),
            ("1 day, 2 hrs", 93_600_000),
            ("20m", 1_200_000),
            ("250ms", 250),
        ] {
            assert_eq!(spoken(said), Some(Duration::from_millis(ms)), "{said}");
        }
        for said in
            ["", "in", "in ", "10", "minutes", "10 apples", "30m 1h", "1h 1h", "a minute", "-5m", "1.5 hours", "5m and"]
        {
            assert_eq!(spoken(said), None, "{said:?}");
        }
    }

    #[test]
    fn shows_whole_seconds_to_people() {
        assert_eq!(about(Duration::from_millis(14_001)), "15s");
        assert_eq!(about(Duration::from_millis(60_000)), "1m");
    }
}
