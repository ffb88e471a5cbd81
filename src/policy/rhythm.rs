//! The rhythm of a session: its turns of the last day by class, and the mood that they amount to.
//!
//! The counts are kept in periods of six hours: the present one and the four before it, so 24 to 30 hours.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::policy::limits::Ms;
use crate::policy::turn::Worth;

/// The length of a period.
pub const PERIOD: Ms = 6 * 3_600_000;
/// The number of periods that are kept, with the present one.
pub const PERIODS: usize = 5;
/// The highest count of a class in a period. A full rhythm is therefore no longer than 120 bytes in a document.
pub const MOST: u32 = 999;
/// The number of classes.
const CLASSES: usize = 5;

/// Fewer turns in a day are a quiet day, whatever they did: a share of so few is chance.
const QUIET: u32 = 5;
/// Fewer failed turns are no trouble: the API refuses a turn now and then on a good day.
const TROUBLE: u32 = 3;
/// Trouble is one failed turn in four or more: an outage that the agent meets again and again.
const TROUBLED: Share = Share(1, 4);
/// More than the usual reflections and dreams, which are about one turn in four at most.
const REFLECTIVE: Share = Share(1, 3);
/// Two turns in three worked: with the usual reflections, nearly every turn that was free to work.
const FOCUSED: Share = Share(2, 3);
/// One turn in three worked: an agent that paces itself, and works between its checks.
const STEADY: Share = Share(1, 3);

/// A share of all turns: a numerator and a denominator.
struct Share(u32, u32);

impl Share {
    /// Returns whether so many of all turns are this share or more.
    fn is_reached(&self, turns: u32, all: u32) -> bool {
        turns.saturating_mul(self.1) >= all.saturating_mul(self.0)
    }
}

/// The classes of turns that a rhythm counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The agent did something new.
    Worked,
    /// The agent polled.
    Looked,
    /// The agent did nothing.
    Empty,
    /// The turn was a reflection or a dream.
    Reflect,
    /// An API error ended the turn.
    Failed,
}

impl Counted {
    /// Every class, in the order of the counts.
    pub const ALL: [Self; CLASSES] = [Self::Worked, Self::Looked, Self::Empty, Self::Reflect, Self::Failed];

    /// Returns the class of a turn by its worth; `None` where it was not measured.
    #[must_use]
    pub fn of(worth: Worth) -> Option<Self> {
        match worth {
            Worth::Worked => Some(Self::Worked),
            Worth::Looked => Some(Self::Looked),
            Worth::Empty => Some(Self::Empty),
            Worth::Unknown => None,
        }
    }
}

/// The turns of a session's last day, by class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rhythm {
    /// The present period, counted since 1970.
    at: i64,
    /// The counts of the periods, the present one first, each in the order of the classes; without the zeros at the end.
    #[serde(rename = "n")]
    counts: Vec<u32>,
}

impl Rhythm {
    /// Returns whether nothing was ever counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Counts a turn.
    ///
    /// A turn of the period before the present one, by a clock that was set back, counts in the present one. A clock that
    /// was set back further begins anew, because the counts are of a time that is yet to come.
    pub fn note(&mut self, class: Counted, now: Ms) {
        let mut counts = self.kept(now);
        let place = Counted::ALL.iter().position(|known| *known == class).unwrap_or(0);
        counts.resize(counts.len().max(place + 1), 0);
        if let Some(count) = counts.get_mut(place) {
            *count = count.saturating_add(1).min(MOST);
        }
        let period = now.div_euclid(PERIOD);
        self.at = if self.at == period + 1 && !self.is_empty() { self.at } else { period };
        self.counts = counts;
    }

    /// Returns the counts as they are at this time, without the periods that are over.
    fn kept(&self, now: Ms) -> Vec<u32> {
        let older = match now.div_euclid(PERIOD).saturating_sub(self.at) {
            _ if self.is_empty() => return Vec::new(),
            -1 => 0,
            older => match usize::try_from(older) {
                Ok(older) if older < PERIODS => older * CLASSES,
                _ => return Vec::new(),
            },
        };
        let counts = self.counts.iter().map(|count| (*count).min(MOST)).take(PERIODS * CLASSES - older);
        let mut kept: Vec<u32> = std::iter::repeat_n(0, older).chain(counts).collect();
        let length = kept.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        kept.truncate(length);
        kept
    }

    /// Returns the turns of the last day by class.
    #[must_use]
    pub fn shares(&self, now: Ms) -> Shares {
        let kept = self.kept(now);
        let of = |class: usize| kept.iter().skip(class).step_by(CLASSES).sum();
        Shares { worked: of(0), looked: of(1), empty: of(2), reflect: of(3), failed: of(4) }
    }

    /// Returns the mood of the last day.
    #[must_use]
    pub fn mood(&self, now: Ms) -> Mood {
        let shares = self.shares(now);
        let (all, Shares { worked, looked, empty, reflect, failed }) = (shares.all(), shares);
        if all == 0 {
            Mood::Unknown
        } else if failed >= TROUBLE && TROUBLED.is_reached(failed, all) {
            Mood::Troubled
        } else if all < QUIET {
            Mood::Quiet
        } else if REFLECTIVE.is_reached(reflect, all) {
            Mood::Reflective
        } else if FOCUSED.is_reached(worked, all) {
            Mood::Focused
        } else if STEADY.is_reached(worked, all) {
            Mood::Steady
        } else if looked >= empty {
            Mood::Watchful
        } else {
            Mood::Drowsy
        }
    }

    /// Returns the counts that the mood is derived from, such as `12 of 40 turns of the last day worked`.
    #[must_use]
    pub fn reason(&self, now: Ms) -> String {
        let shares = self.shares(now);
        let all = shares.all();
        let of = |turns: u32, did: &str| match all {
            1 => format!("{turns} of 1 turn of the last day {did}"),
            _ => format!("{turns} of {all} turns of the last day {did}"),
        };
        match self.mood(now) {
            Mood::Unknown => "no turn of the last day was measured".to_owned(),
            Mood::Quiet if all == 1 => "1 turn in the last day".to_owned(),
            Mood::Quiet => format!("{all} turns in the last day"),
            Mood::Focused | Mood::Steady => of(shares.worked, "worked"),
            Mood::Watchful => of(shares.looked, "polled"),
            Mood::Drowsy => of(shares.empty, "did nothing"),
            Mood::Reflective => of(shares.reflect, "reflected"),
            Mood::Troubled => of(shares.failed, "ended in an API error"),
        }
    }
}

/// The turns of a session's last day, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shares {
    /// The turns that worked.
    pub worked: u32,
    /// The turns that polled.
    pub looked: u32,
    /// The turns that did nothing.
    pub empty: u32,
    /// The reflections and dreams.
    pub reflect: u32,
    /// The turns that an API error ended.
    pub failed: u32,
}

impl Shares {
    /// Returns the number of all turns.
    #[must_use]
    pub fn all(&self) -> u32 {
        [self.looked, self.empty, self.reflect, self.failed].iter().fold(self.worked, |all, n| all.saturating_add(*n))
    }
}

/// The mood of a session: its last day in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mood {
    /// Most turns worked.
    Focused,
    /// A good part of the turns worked.
    Steady,
    /// The agent mostly polled.
    Watchful,
    /// The agent mostly did nothing.
    Drowsy,
    /// Many turns were reflections or dreams.
    Reflective,
    /// Many turns ended in an API error.
    Troubled,
    /// There were few turns.
    Quiet,
    /// No turn was measured.
    Unknown,
}

impl Mood {
    /// Returns the word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Focused => "focused",
            Self::Steady => "steady",
            Self::Watchful => "watchful",
            Self::Drowsy => "drowsy",
            Self::Reflective => "reflective",
            Self::Troubled => "troubled",
            Self::Quiet => "quiet",
            Self::Unknown => "unknown",
        }
    }
}
