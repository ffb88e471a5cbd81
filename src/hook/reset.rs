//! Reads the reset time out of the text of an API error.

use std::time::Duration;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime};

use super::subscription;
use crate::clock;
use crate::policy::limits::Ms;
use crate::policy::request::Reset;
use crate::zone::{self, Offsets};

/// A distance beyond every plausible reset time, in seconds.
const FAR: u64 = 400 * 86_400;
/// A time this long ago has passed, and does not mean tomorrow.
const JUST_OVER: i64 = 300;
/// A session is released this long after a time that the client rounded to a minute, and up to 55 s later by chance.
const AFTER_ROUNDED: Ms = 5_000;
/// The same for a claude.ai subscription. There the client continues by itself, up to 91 s after the reset (measured with
/// 2.1.332) and whatever happened meanwhile, so that an earlier turn would be one of two. Its prompt supersedes the
/// request that waits.
const AFTER_CLIENT: Ms = 100_000;
const MORE_BY_CHANCE: u64 = 55_000;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Reads a reset time: `retry-after: <s>`, `|<unix seconds>`, an RFC 3339 time, or `resets 7pm (Zone/City)`.
pub(super) fn read(text: &str) -> Option<Reset> {
    read_with(text, || if subscription::is_used() { AFTER_CLIENT } else { AFTER_ROUNDED })
}

/// Reads a reset time; `after` is how long after a rounded one the session is released.
fn read_with(text: &str, after: impl FnOnce() -> Ms) -> Option<Reset> {
    let now = clock::host_ms() / 1000;
    exact(text).or_else(|| {
        let at = wall_clock(text, now, &zone::local, &|name| zone::named(name))?;
        let by_chance = Ms::try_from(clock::chance() % MORE_BY_CHANCE).unwrap_or(0);
        let rounded = at.saturating_mul(1000);
        Some(Reset::At(if at > now { rounded + after() + by_chance } else { rounded }))
    })
}

/// Reads the forms that name one moment.
fn exact(text: &str) -> Option<Reset> {
    let lower = text.to_ascii_lowercase();
    if let Some((_, after)) = lower.split_once("retry-after") {
        let after = after.trim_start_matches([' ', ':', '"', '=', '\'']);
        if let Some(secs) = digits(after).and_then(|d| d.parse::<u64>().ok()) {
            return Some(Reset::After(Duration::from_secs(secs.min(FAR))));
        }
    }
    let unix = |part: &str| digits(part).filter(|d| (9..=11).contains(&d.len()))?.parse::<i64>().ok();
    if let Some(secs) = text.split('|').skip(1).find_map(unix) {
        return Some(Reset::At(secs.saturating_mul(1000)));
    }
    let words = text.split(|c: char| c.is_whitespace() || "\"'(),;".contains(c));
    words.filter(|w| w.len() >= 20).find_map(rfc3339)
}

fn rfc3339(word: &str) -> Option<Reset> {
    let time = DateTime::parse_from_rfc3339(word.trim_end_matches('.')).ok()?;
    Some(Reset::At(time.timestamp_millis().clamp(0, 99_999_999_999_999)))
}

fn digits(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).filter(|d| !d.is_empty())
}

/// The text that the client writes after `resets`: a date, a time of day, or both, and a zone in parentheses.
#[derive(Debug, PartialEq, Eq)]
struct Written<'a> {
    date: Option<(Option<i32>, u32, u32)>,
    time: Option<NaiveTime>,
    zone: Option<&'a str>,
}

/// Returns the moment of a time of day in the text, in seconds.
fn wall_clock<'z>(
    text: &str,
    now: i64,
    local: &Offsets<'_>,
    named: &dyn Fn(&str) -> Option<Box<Offsets<'z>>>,
) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let written = lower.match_indices("resets").find_map(|(at, word)| written(text.get(at + word.len()..)?))?;
    match written.zone {
        Some(zone) => moment(&written, now, &*named(zone)?),
        None => moment(&written, now, local),
    }
}

/// Reads `[at] [Mon D[, YYYY][,]] [h[:mm]am|pm] [(Zone/City)]`; returns `None` without a date and a time.
fn written(text: &str) -> Option<Written<'_>> {
    let mut words = Words(text);
    words.skip("at");
    let date = words.date();
    if date.is_some() {
        words.skip("at");
    }
    let time = words.time();
    if date.is_none() && time.is_none() {
        return None;
    }
    let rest = words.0.trim_start();
    let zone = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(zone, _)| zone.trim());
    Some(Written { date, time, zone })
}

/// A text that is read from its beginning.
#[derive(Clone, Copy)]
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn rest(self) -> &'a str {
        self.0.trim_start_matches(|c: char| c.is_whitespace() || c == ',')
    }

    fn take(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let (word, rest) = rest.split_at(rest.find(|c| !of(c)).unwrap_or(rest.len()));
        self.0 = rest;
        word
    }

    fn skip(&mut self, word: &str) {
        let mut ahead = *self;
        if ahead.take(|c| c.is_ascii_alphabetic()).eq_ignore_ascii_case(word) {
            *self = ahead;
        }
    }

    fn number(&mut self) -> Option<u32> {
        let word = self.take(|c| c.is_ascii_digit());
        (word.len() <= 4).then(|| word.parse().ok())?
    }

    fn date(&mut self) -> Option<(Option<i32>, u32, u32)> {
        let mut ahead = *self;
        let word = ahead.take(|c| c.is_ascii_alphabetic()).to_ascii_lowercase();
        let month = MONTHS.iter().position(|m| word.get(..3) == Some(m))?;
        let day = ahead.number()?;
        *self = ahead;
        let year = ahead.number().filter(|year| *year > 1000).and_then(|year| i32::try_from(year).ok());
        if year.is_some() {
            *self = ahead;
        }
        Some((year, u32::try_from(month).ok()? + 1, day))
    }

    /// Reads a time of day. A number alone is not one.
    fn time(&mut self) -> Option<NaiveTime> {
        let mut ahead = *self;
        let hour = ahead.number()?;
        let minute = match ahead.0.strip_prefix(':') {
            Some(rest) => {
                ahead.0 = rest;
                Some(ahead.number()?)
            }
            None => None,
        };
        let half = {
            let mut after = ahead;
            let word = after.take(|c| c.is_ascii_alphabetic()).to_ascii_lowercase();
            let is_half = matches!(word.as_str(), "am" | "pm");
            if is_half {
                ahead = after;
            }
            is_half.then_some(word == "pm")
        };
        let hour = match half {
            Some(pm) if (1..=12).contains(&hour) => hour % 12 + if pm { 12 } else { 0 },
            None if minute.is_some() => hour,
            _ => return None,
        };
        *self = ahead;
        NaiveTime::from_hms_opt(hour, minute.unwrap_or(0), 0)
    }
}

/// Returns the intended moment: the next such time of day, or the nearest such date.
fn moment(written: &Written<'_>, now: i64, zone: &Offsets<'_>) -> Option<i64> {
    // A date alone is the API's, which uses UTC.
    let zone: &Offsets<'_> = if written.time.is_none() { &|_| Some(0) } else { zone };
    let time = written.time.unwrap_or_default();
    let today = DateTime::from_timestamp(now.saturating_add(zone(now)?), 0)?.date_naive();
    let at = |date: NaiveDate| in_zone(date.and_time(time), zone);
    match written.date {
        Some((year, month, day)) => {
            let years = year.map_or(today.year() - 1..=today.year() + 1, |year| year..=year);
            let all = years.filter_map(|year| at(NaiveDate::from_ymd_opt(year, month, day)?));
            all.min_by_key(|at| at.abs_diff(now))
        }
        None => {
            let yesterday = today.checked_sub_days(Days::new(1))?;
            let all = (0..4).filter_map(|day| at(yesterday.checked_add_days(Days::new(day))?));
            all.filter(|at| *at > now.saturating_sub(JUST_OVER)).min()
        }
    }
}

/// Returns a zone's time in UTC. Of an hour that occurs twice, the later is taken. A time in an hour that is
/// left out moves as far as the clocks went ahead. So nothing is resumed too early.
fn in_zone(time: NaiveDateTime, zone: &Offsets<'_>) -> Option<i64> {
    let as_utc = time.and_utc().timestamp();
    let around = [as_utc.saturating_sub(86_400), as_utc.saturating_add(86_400)];
    let all = around.into_iter().filter_map(|at| Some((as_utc.saturating_sub(zone(at)?), zone(at)?)));
    all.max_by_key(|(at, offset)| (zone(*at) == Some(*offset), *at)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tuesday 2026-12-01 12:00 UTC.
    const NOON: i64 = 1_796_126_400;

    fn at(text: &str, now: i64) -> Option<i64> {
        wall_clock(text, now, &|_| Some(3600), &|name| zone::named(name))
    }

    fn utc(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp()
    }

    #[test]
    fn moments() {
        for (text, reset) in [
            ("429 retry-after: 90", Some(Reset::After(Duration::from_secs(90)))),
            ("{\"Retry-After\": \"7\"}", Some(Reset::After(Duration::from_secs(7)))),
            ("Claude AI usage limit reached|1764000000", Some(Reset::At(1_764_000_000_000))),
            ("resets at 2026-11-24T15:00:00Z.", Some(Reset::At(1_795_532_400_000))),
            ("resets at 2026-11-24T16:00:00+01:00", Some(Reset::At(1_795_532_400_000))),
            ("a|b|12", None),
            ("no time at all", None),
        ] {
            assert_eq!(exact(text), reset, "{text}");
        }
    }

    #[test]
    fn the_clients_words() {
        for (text, expected) in [
            ("You've hit your session limit · resets 7pm (Europe/London)", Some("2026-12-01T19:00:00Z")),
            ("resets 10:30pm (America/New_York)", Some("2026-12-02T03:30:00Z")),
            ("resets 7pm (Asia/Kathmandu)", Some("2026-12-01T13:15:00Z")),
            // Without a zone the time is in the machine's zone, an hour ahead of UTC here.
            ("resets 7pm", Some("2026-12-01T18:00:00Z")),
            ("Paused until your limit resets at 9am · continue", Some("2026-12-02T08:00:00Z")),
            ("resets 9 AM", Some("2026-12-02T08:00:00Z")),
            ("resets 9\u{202f}AM", Some("2026-12-02T08:00:00Z")),
            ("resets 12am", Some("2026-12-01T23:00:00Z")),
            ("resets 12pm", Some("2026-12-02T11:00:00Z")),
            ("resets 19:05", Some("2026-12-01T18:05:00Z")),
            ("resets Dec 3, 9am", Some("2026-12-03T08:00:00Z")),
            ("weekly limit · resets Dec 3 at 9:15am (Europe/Paris)", Some("2026-12-03T08:15:00Z")),
            ("resets Jan 2, 2027, 9am (UTC)", Some("2027-01-02T09:00:00Z")),
            ("resets Jan 2, 9am (UTC)", Some("2027-01-02T09:00:00Z")),
            ("spend limit reached · resets Dec 3", Some("2026-12-03T00:00:00Z")),
            // This time has passed, and does not mean tomorrow.
            ("resets 12:58pm", Some("2026-12-01T11:58:00Z")),
            ("resets 1pm (Nowhere/City)", None),
            ("resets 1pm (../../etc/passwd)", None),
            ("resets 13pm", None),
            ("resets 25:00", None),
            ("resets 7", None),
            ("resets Feb 30, 9am", None),
            ("resets soon", None),
            ("the counter resets 3 times, then resets 7pm (UTC)", Some("2026-12-01T19:00:00Z")),
        ] {
            assert_eq!(at(text, NOON), expected.map(utc), "{text}");
        }
    }

    #[test]
    fn clocks_that_change() {
        for (text, now, expected) in [
            // 01:30 occurs twice on 25 October, and is left out on 29 March.
            ("resets 1:30am (Europe/London)", "2026-10-24T12:00:00Z", "2026-10-25T01:30:00Z"),
            ("resets 1:30am (Europe/London)", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
            ("resets 9am (Europe/London)", "2026-03-28T12:00:00Z", "2026-03-29T08:00:00Z"),
            ("resets 9am (Europe/London)", "2026-10-24T12:00:00Z", "2026-10-25T09:00:00Z"),
            // By the rule at the end of the zone's file, in a year beyond every list of transitions.
            ("resets 9am (America/New_York)", "2056-07-01T00:00:00Z", "2056-07-01T13:00:00Z"),
            ("resets 7pm (Pacific/Kiritimati)", "2026-12-01T04:50:00Z", "2026-12-01T05:00:00Z"),
        ] {
            assert_eq!(at(text, utc(now)), Some(utc(expected)), "{text} at {now}");
        }
    }

    #[test]
    fn a_rounded_time_is_passed_by_a_little() {
        // Half a day away at any time of the test.
        let hour = (chrono::Timelike::hour(&chrono::Utc::now()) + 12) % 24;
        let half = if hour < 12 { "am" } else { "pm" };
        let text = format!("resets {}{half} (UTC)", (hour + 11) % 12 + 1);
        let Some(Reset::At(at)) = read_with(&text, || AFTER_ROUNDED) else { panic!("it is a time") };
        let over = at % 60_000;
        assert!((5_000..60_000).contains(&over), "{over} ms after the minute");
    }
}
