//! Times as people and agents write them: a duration, or a time of day in this machine's time zone.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};

use crate::duration;

/// How long from now until what was said: `20m`, `14:30` (the next one), `tomorrow 09:00`. `None` for anything else.
#[must_use]
pub fn until<Tz: TimeZone>(said: &str, now: &DateTime<Tz>) -> Option<Duration> {
    if let Some(length) = duration::parse(said) {
        return Some(length);
    }
    let (day, clock) = parts(said);
    let time = NaiveTime::parse_from_str(clock, "%H:%M").ok()?;
    let today = now.date_naive();
    let tomorrow = today.checked_add_days(Days::new(1))?;
    let first = match day {
        None => today,
        Some("tomorrow") => tomorrow,
        Some(_) => return None,
    };
    let mut then = at(now, first, time)?;
    if then <= now.to_utc() {
        then = at(now, first.checked_add_days(Days::new(1))?, time)?;
    }
    length(then - now.to_utc())
}

/// How long ago what was said is: `2h`, `14:30` or `14:30:15` (the last one), `yesterday 09:00`, `2026-11-24 09:00`. `None`
/// for anything else, and for what is still to come.
#[must_use]
pub fn since<Tz: TimeZone>(said: &str, now: &DateTime<Tz>) -> Option<Duration> {
    if let Some(length) = duration::parse(said) {
        return Some(length);
    }
    let (day, clock) = parts(said);
    let time = ["%H:%M", "%H:%M:%S"].iter().find_map(|form| NaiveTime::parse_from_str(clock, form).ok())?;
    let today = now.date_naive();
    let yesterday = today.checked_sub_days(Days::new(1))?;
    let mut then = match day {
        None => at(now, today, time)?,
        Some("yesterday") => at(now, yesterday, time)?,
        Some(date) => at(now, NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?, time)?,
    };
    if day.is_none() && then > now.to_utc() {
        then = at(now, yesterday, time)?;
    }
    length(now.to_utc() - then)
}

/// The day that is named before a time, if one is.
fn parts(said: &str) -> (Option<&str>, &str) {
    said.trim().split_once(char::is_whitespace).map_or((None, said.trim()), |(day, clock)| (Some(day), clock.trim()))
}

/// A time of a day where `now` is.
fn at<Tz: TimeZone>(now: &DateTime<Tz>, date: NaiveDate, time: NaiveTime) -> Option<DateTime<Utc>> {
    let local = date.and_time(time);
    // A time that the clocks skip is taken an hour later.
    let zone = now.timezone();
    let found = zone.from_local_datetime(&local).earliest();
    let found = found.or_else(|| zone.from_local_datetime(&(local + TimeDelta::hours(1))).earliest());
    Some(found?.to_utc())
}

/// Not a moment less, though the store counts whole milliseconds.
fn length(delta: TimeDelta) -> Option<Duration> {
    let nanos = delta.to_std().ok()?.as_nanos();
    Some(Duration::from_millis(u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    /// 2026-11-24 13:00 at UTC+1.
    fn noon() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-24T13:00:00+01:00").unwrap()
    }

    fn minutes(length: Option<Duration>) -> Option<u64> {
        length.map(|d| d.as_secs() / 60)
    }

    #[test]
    fn times_to_come() {
        for (said, expected) in [
            ("20m", Some(20)),
            ("14:30", Some(90)),
            ("13:00", Some(24 * 60)),
            ("12:59", Some(24 * 60 - 1)),
            ("tomorrow 09:00", Some(20 * 60)),
            ("tomorrow  14:00", Some(25 * 60)),
            ("yesterday 09:00", None),
            ("tomorrow", None),
            ("25:00", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(minutes(until(said, &noon())), expected, "{said:?}");
        }
    }

    #[test]
    fn times_past() {
        for (said, expected) in [
            ("2h", Some(120)),
            ("12:30", Some(30)),
            ("12:59:00", Some(1)),
            ("13:00", Some(0)),
            ("14:30", Some(24 * 60 - 90)),
            ("yesterday 13:00", Some(24 * 60)),
            ("2026-11-23 12:00", Some(25 * 60)),
            ("2026-11-25 12:00", None),
            ("tomorrow 09:00", None),
            ("2026-11-23", None),
            ("-5m", None),
            ("", None),
        ] {
            assert_eq!(minutes(since(said, &noon())), expected, "{said:?}");
        }
    }
}
