//! An agent's calendar: its working hours and its fixed times, by the clock of one zone.
//!
//! One rule covers the changes of a zone's clock: a time of day happens at the first moment at which the clock shows it
//! or a later time. A time that is left out in spring therefore happens at the change, and a time that occurs twice in
//! autumn happens once, the first time. Hours that lie within what is left out do not happen that day.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::policy::limits::Ms;

const MINUTE: Ms = 60_000;
const DAY: Ms = 24 * 60 * MINUTE;
const DAY_MINUTES: u16 = 24 * 60;
/// Monday first.
const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// How many days ahead a beginning is looked for. Every calendar has one within a week, and a change of the clock may
/// leave it out once.
const AHEAD: Ms = 15;
/// Hours that have not ended after so many days never end: their gaps recur every week.
const NEVER_ENDS: Ms = 8 * DAY;
/// How many days around the present one hours may begin that are open now: they pass midnight, and a clock is set back
/// by a day at most.
const AROUND: Ms = 2;

/// The offsets of a zone around a time. Without any it is UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zone {
    /// Since when the clock is so many seconds east of UTC, ascending. The first offset also applies before it.
    offsets: Vec<(Ms, i32)>,
}

impl Zone {
    /// Returns the zone with these offsets: since when, and the seconds east of UTC.
    #[must_use]
    pub fn new(mut offsets: Vec<(Ms, i32)>) -> Self {
        offsets.sort_unstable();
        Self { offsets }
    }

    /// Returns the time that the zone's clock shows, as milliseconds since its own 1970.
    #[must_use]
    pub fn local(&self, at: Ms) -> Ms {
        let later = self.offsets.partition_point(|(since, _)| *since <= at);
        let offset = self.offsets.get(later.saturating_sub(1));
        at.saturating_add(offset.map_or(0, |(_, east)| millis(*east)))
    }

    /// Returns the first moment at which the zone's clock shows this time or a later one.
    fn first(&self, local: Ms) -> Ms {
        let ends = self.offsets.iter().skip(1).map(|(since, _)| Some(*since)).chain([None]);
        let mut segments = self.offsets.iter().zip(ends).enumerate();
        let found = segments.find_map(|(nth, ((since, east), end))| {
            let at = local.saturating_sub(millis(*east));
            let is_in = end.is_none_or(|end| at < end);
            is_in.then_some(if nth == 0 { at } else { at.max(*since) })
        });
        found.unwrap_or(local)
    }
}

fn millis(east: i32) -> Ms {
    Ms::from(east) * 1000
}

/// The error for a text that is no hours or times of a calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOfCalendar {
    /// A part that is not a list of days.
    #[error("expected days such as mon-fri or sat,sun, found {0:?}")]
    Days(String),
    /// A part that is not a time of day.
    #[error("expected a time of day such as 09:00, found {0:?}")]
    Time(String),
    /// A part that is not a time of day, a hyphen, and another.
    #[error("expected hours such as 08:00-18:00, found {0:?}")]
    Hours(String),
    /// Hours that end when they begin.
    #[error("expected hours that end later than they begin, found {0:?}")]
    NoLength(String),
}

/// Days of the week, one bit each, Monday first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Days(u8);

impl Days {
    const ALL: Self = Self(0x7f);

    /// Returns whether a day, counted since 1970, is one of these. Its first day was a Thursday.
    fn has(self, day: Ms) -> bool {
        self.0 >> (day.saturating_add(3)).rem_euclid(7) & 1 == 1
    }

    /// Reads `mon`, `mon-fri`, or several of these with commas; a range may pass Sunday.
    fn read(text: &str) -> Result<Self, NotOfCalendar> {
        let wrong = || NotOfCalendar::Days(text.to_owned());
        let day = |name: &str| NAMES.iter().position(|known| known.eq_ignore_ascii_case(name.trim())).ok_or_else(wrong);
        let mut days = 0;
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (day(from)?, day(to)?);
            let more = (to + 7 - from) % 7;
            days = (from..=from + more).fold(days, |days, at| days | 1 << (at % 7));
        }
        Ok(Self(days))
    }

    /// Splits a text into its days, all where it names none, and the part after them.
    fn before(text: &str) -> Result<(Self, &str), NotOfCalendar> {
        match text.trim().rsplit_once(char::is_whitespace) {
            Some((days, rest)) => Ok((Self::read(days.trim())?, rest)),
            None => Ok((Self::ALL, text.trim())),
        }
    }
}

/// Writes the days so that they are read back, and a space; nothing for all days.
impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return Ok(());
        }
        let has = |day: usize| self.0 >> day & 1 == 1;
        let mut mark = "";
        let mut from = 0;
        while from < 7 {
            let length = (from..7).take_while(|day| has(*day)).count();
            if let (Some(first), Some(last)) = (NAMES.get(from), NAMES.get((from + length).saturating_sub(1)))
                && length > 0
            {
                write!(f, "{mark}{first}")?;
                if length > 1 {
                    write!(f, "-{last}")?;
                }
                mark = ",";
            }
            from += length + 1;
        }
        f.write_str(" ")
    }
}

/// Reads a time of day as minutes after midnight; `24:00` is one.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str, lengths: Range<usize>| {
        let is_number = lengths.contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse::<u16>().ok())?
    };
    let minute = number(minute, 2..3).filter(|minute| *minute < 60)?;
    Some(number(hour, 1..3)? * 60 + minute).filter(|at| *at <= DAY_MINUTES)
}

fn show(f: &mut fmt::Formatter<'_>, minutes: u16) -> fmt::Result {
    write!(f, "{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Working hours: on some days, from one time of day to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// The days on which they begin.
    days: Days,
    /// The beginning, in minutes after midnight.
    begin: u16,
    /// The end, in minutes after the midnight before the beginning: more than a day where they pass midnight.
    end: u16,
}

/// Reads `08:00-18:00`, `mon-fri 08:00-18:00`, or `sat,sun 22:00-02:00`.
impl FromStr for Hours {
    type Err = NotOfCalendar;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (days, rest) = Days::before(text)?;
        let (begin, end) = rest.split_once('-').ok_or_else(|| NotOfCalendar::Hours(text.to_owned()))?;
        let time = |text: &str| minutes(text).ok_or_else(|| NotOfCalendar::Time(text.to_owned()));
        let (from, to) = (time(begin)?, time(end)?);
        if from == DAY_MINUTES {
            return Err(NotOfCalendar::Time(begin.to_owned()));
        }
        if from == to {
            return Err(NotOfCalendar::NoLength(rest.to_owned()));
        }
        Ok(Self { days, begin: from, end: if to > from { to } else { to + DAY_MINUTES } })
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.days)?;
        show(f, self.begin)?;
        f.write_str("-")?;
        show(f, if self.end > DAY_MINUTES { self.end - DAY_MINUTES } else { self.end })
    }
}

/// A fixed time: on some days, at a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    days: Days,
    /// In minutes after midnight.
    at: u16,
}

/// Reads `09:00` or `mon-fri 17:30`.
impl FromStr for Times {
    type Err = NotOfCalendar;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (days, rest) = Days::before(text)?;
        let at = minutes(rest).filter(|at| *at < DAY_MINUTES);
        at.map(|at| Self { days, at }).ok_or_else(|| NotOfCalendar::Time(rest.to_owned()))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.days)?;
        show(f, self.at)
    }
}

/// An agent's working hours and fixed times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    /// The zone of the times of day.
    pub zone: Zone,
    /// The working hours; without any the agent works at every time.
    pub hours: Vec<Hours>,
    /// The fixed times.
    pub times: Vec<Times>,
}

impl Calendar {
    /// Returns when the hours begin next; `None` within them, and without hours.
    #[must_use]
    pub fn opens(&self, now: Ms) -> Option<Ms> {
        if self.hours.is_empty() || self.end_at(now).is_some() {
            return None;
        }
        self.next(now, |day| {
            let all = self.hours.iter().filter_map(|hours| self.on(hours, day));
            all.map(|open| open.start).filter(|start| *start > now).min()
        })
    }

    /// Returns when the hours end; `None` outside of them, without hours, and where they never end.
    ///
    /// Hours that begin where others end are one.
    #[must_use]
    pub fn closes(&self, now: Ms) -> Option<Ms> {
        let mut closes = self.end_at(now)?;
        while let Some(end) = self.end_at(closes) {
            closes = end;
            if closes.saturating_sub(now) > NEVER_ENDS {
                return None;
            }
        }
        Some(closes)
    }

    /// Returns the first fixed time after now.
    #[must_use]
    pub fn next_time(&self, now: Ms) -> Option<Ms> {
        self.next(now, |day| {
            let all = self.times.iter().filter(|times| times.days.has(day));
            all.map(|times| self.moment(day, times.at)).filter(|at| *at > now).min()
        })
    }

    /// Returns the moment of the first day with one, from the present day on.
    ///
    /// Moments ascend with the days, and the times that the clock has shown are over.
    fn next(&self, now: Ms, of_day: impl Fn(Ms) -> Option<Ms>) -> Option<Ms> {
        let today = self.day(now);
        (today..=today + AHEAD).find_map(of_day)
    }

    /// Returns the latest end of the hours that are open at this moment.
    fn end_at(&self, at: Ms) -> Option<Ms> {
        let today = self.day(at);
        let days = today - AROUND..=today + AROUND;
        let all = days.flat_map(|day| self.hours.iter().filter_map(move |hours| self.on(hours, day)));
        all.filter(|open| open.contains(&at)).map(|open| open.end).max()
    }

    /// Returns the period of hours that begin on a day, where they have any length on it.
    fn on(&self, hours: &Hours, day: Ms) -> Option<Range<Ms>> {
        let open = || self.moment(day, hours.begin)..self.moment(day, hours.end);
        hours.days.has(day).then(open).filter(|open| !open.is_empty())
    }

    fn moment(&self, day: Ms, minutes: u16) -> Ms {
        self.zone.first(day.saturating_mul(DAY).saturating_add(Ms::from(minutes) * MINUTE))
    }

    /// Returns the zone's day, counted since 1970.
    fn day(&self, at: Ms) -> Ms {
        self.zone.local(at).div_euclid(DAY)
    }
}
