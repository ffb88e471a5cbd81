//! Reads times as people and agents write them: a duration, or a time of day in this machine's time zone.

use std::time::Duration;

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};

use crate::duration;

/// The time of a day that is named without one.
const MORNING: NaiveTime = match NaiveTime::from_hms_opt(9, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// Returns the duration from now until the given time: `20m`, `10 minutes`, `14:30` (the next one), `tomorrow
/// 09:00`, `tomorrow` (09:00). Returns `None` for anything else.
#[must_use]
pub fn until<Tz: TimeZone>(said: &str, now: &DateTime<Tz>) -> Option<Duration> {
    if let Some(length) = duration::spoken(said) {
        return Some(length);
    }
    let (day, clock) = parts(said);
    let today = now.date_naive();
    let tomorrow = today.checked_add_days(Days::new(1))?;
    let (first, time) = match (day, clock) {
        (None, "tomorrow") => (tomorrow, MORNING),
        (None, clock) => (today, time_of(clock)?),
        (Some("tomorrow"), clock) => (tomorrow, time_of(clock.strip_prefix("at ").unwrap_or(clock).trim())?),
        (Some(_), _) => return None,
    };
    let days = [first, first.checked_add_days(Days::new(1))?];
    // Of an hour that occurs twice, this is the nearer one in the future.
    let then = days.iter().flat_map(|day| at(now, *day, time)).find(|then| *then > now.to_utc())?;
    length(then - now.to_utc())
}

fn time_of(clock: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(clock, "%H:%M").ok()
}

/// Returns the duration since the given time: `2h`, `14:30` or `14:30:15` (the last one), `yesterday 09:00`,
/// `2026-11-24 09:00`. Returns `None` for anything else, and for a time in the future.
#[must_use]
pub fn since<Tz: TimeZone>(said: &str, now: &DateTime<Tz>) -> Option<Duration> {
    if let Some(length) = duration::parse(said) {
        return Some(length);
    }
    let (day, clock) = parts(said);
    let time = ["%H:%M", "%H:%M:%S"].iter().find_map(|form| NaiveTime::parse_from_str(clock, form).ok())?;
    let today = now.date_naive();
    let yesterday = today.checked_sub_days(Days::new(1))?;
    let days = match day {
        None => vec![today, yesterday],
        Some("yesterday") => vec![yesterday],
        Some(date) => vec![NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?],
    };
    // Of an hour that occurs twice, this is the nearer one in the past.
    let then = days.iter().flat_map(|day| at(now, *day, time).rev()).find(|then| *then <= now.to_utc())?;
    length(now.to_utc() - then)
}

/// Returns the day before a time, if there is one.
fn parts(said: &str) -> (Option<&str>, &str) {
    said.trim().split_once(char::is_whitespace).map_or((None, said.trim()), |(day, clock)| (Some(day), clock.trim()))
}

/// Returns a time of a day in the zone of `now`. Where the clocks go back over it, the earlier one comes first.
fn at<Tz: TimeZone>(
    now: &DateTime<Tz>,
    date: NaiveDate,
    time: NaiveTime,
) -> impl DoubleEndedIterator<Item = DateTime<Utc>> {
    let local = date.and_time(time);
    let zone = now.timezone();
    let found = match zone.from_local_datetime(&local) {
        // A time that the clocks skip counts an hour later.
        LocalResult::None => zone.from_local_datetime(&(local + TimeDelta::hours(1))),
        found => found,
    };
    let (first, second) = match found {
        LocalResult::None => (None, None),
        LocalResult::Single(one) => (Some(one), None),
        LocalResult::Ambiguous(earlier, later) => (Some(earlier), Some(later)),
    };
    [first, second].into_iter().flatten().map(|then| then.to_utc())
}

/// Returns the length, rounded up to the store's whole milliseconds.
fn length(delta: TimeDelta) -> Option<Duration> {
    let nanos = delta.to_std().ok()?.as_nanos();
    Some(Duration::from_millis(u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, NaiveDateTime};

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
            ("tomorrow", Some(20 * 60)),
            ("tomorrow at 09:00", Some(20 * 60)),
            ("10 minutes", Some(10)),
            ("tomorrow noon", None),
            ("25:00", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(minutes(until(said, &noon())), expected, "{said:?}");
        }
    }

    #[test]
    fn tomorrow_just_after_midnight_is_the_next_day() {
        let one = DateTime::parse_from_rfc3339("2026-11-24T01:00:00+01:00").unwrap();
        assert_eq!(minutes(until("tomorrow 09:00", &one)), Some(32 * 60));
        assert_eq!(minutes(until("tomorrow", &one)), Some(32 * 60));
    }

    /// Central Europe in the autumn of 2026: at 03:00 of October 25 (01:00 UTC) the clocks go back to 02:00.
    #[derive(Clone, Copy, Debug)]
    struct Autumn;

    impl TimeZone for Autumn {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Self
        }

        fn offset_from_local_date(&self, local: &NaiveDate) -> LocalResult<FixedOffset> {
            self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
        }

        fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> LocalResult<FixedOffset> {
            let [summer, winter] = [2, 1].map(|h| FixedOffset::east_opt(h * 3600).unwrap());
            let back: NaiveDateTime = "2026-10-25T02:00:00".parse().unwrap();
            match *local {
                local if local < back => LocalResult::Single(summer),
                local if local < back + TimeDelta::hours(1) => LocalResult::Ambiguous(summer, winter),
                _ => LocalResult::Single(winter),
            }
        }

        fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
            self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
        }

        fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
            let back: NaiveDateTime = "2026-10-25T01:00:00".parse().unwrap();
            FixedOffset::east_opt(if *utc < back { 7200 } else { 3600 }).unwrap()
        }
    }

    #[test]
    fn an_hour_that_occurs_twice() {
        let utc = |time: &str| DateTime::parse_from_rfc3339(time).unwrap().with_timezone(&Autumn);
        // 02:10 in summer time: the first 02:30 is still in the future.
        let first = utc("2026-10-25T00:10:00Z");
        assert_eq!(minutes(until("02:30", &first)), Some(20));
        // 02:40 in summer time: the second one is.
        let between = utc("2026-10-25T00:40:00Z");
        assert_eq!(minutes(until("02:30", &between)), Some(50));
        assert_eq!(minutes(since("02:30", &between)), Some(10));
        // 02:40 in winter time: both have passed.
        let after = utc("2026-10-25T01:40:00Z");
        assert_eq!(minutes(until("02:30", &after)), Some(24 * 60 - 10));
        assert_eq!(minutes(since("02:30", &after)), Some(10));
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
