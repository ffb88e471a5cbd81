//! Durations as people write them: `15s`, `10m`, `1h30m`, `250ms`, `2d`.

use std::fmt::Write;
use std::time::Duration;

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration: whole numbers, each with its unit, the larger units first. `None` for anything else.
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

/// For people: whole seconds, rounded up.
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
    fn shows_whole_seconds_to_people() {
        assert_eq!(about(Duration::from_millis(14_001)), "15s");
        assert_eq!(about(Duration::from_millis(60_000)), "1m");
    }
}
