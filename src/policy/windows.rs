//! Usage windows: the used shares of the API key's limits, as the client's status line reports them.
//!
//! A window is known by its reset, to the minute. Within a window the used share only grows, because a session that is
//! idle repeats its old report for ever. A session that has used the API since the share last changed may also lower it.

use serde::{Deserialize, Serialize};

use crate::policy::limits::Ms;

/// One point: a per cent of a window, in the unit of the shares (hundredths of a per cent).
pub const POINT: u32 = 100;
/// The share of a whole window.
pub const WHOLE: u32 = 100 * POINT;

/// The largest share that is believed: a window may be exceeded.
const MOST: u32 = 10 * WHOLE;
/// The used points from which the cost of a turn is known.
const LEAST_POINTS: u32 = 2 * POINT;
/// The number of sessions whose last report is remembered.
const MOST_REPORTERS: usize = 64;
const MINUTE: Ms = 60_000;
/// How much later than its length a window may end, because resets are rounded and clocks differ.
const TOLERANCE: Ms = 2 * MINUTE;

/// How long windows that could not be read restrict at most: until a five-hour window is over.
const LONGEST_UNKNOWN: Ms = FIVE_HOURS;

/// The length of a five-hour window.
pub const FIVE_HOURS: Ms = 5 * 3_600_000;
/// The length of a seven-day window.
pub const SEVEN_DAYS: Ms = 7 * 86_400_000;

/// A usage window of the API key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// When the window ends, to the minute.
    pub resets_at: Ms,
    /// The used share, in hundredths of a per cent.
    pub used: u32,
    /// When the share was last reported.
    pub seen: Ms,
    /// When the share last changed.
    pub changed: Ms,
    /// The used share at the first report.
    pub first_used: u32,
    /// The turns that the fleet was admitted between the first report and the last one.
    pub turns: u32,
    /// The cost of a turn in the window before, in thousandths of the share's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_cost: Option<u64>,
}

impl Window {
    /// Returns the cost of a turn in thousandths of the share's unit, with this many turns still in flight.
    ///
    /// Returns `None` while the fleet has used less than two points under observation.
    #[must_use]
    pub fn cost(&self, in_flight: u32) -> Option<u64> {
        let used = self.used.saturating_sub(self.first_used);
        if used < LEAST_POINTS || self.turns == 0 {
            return self.earlier_cost;
        }
        let finished = self.turns.saturating_sub(in_flight).max(1);
        Some((u64::from(used) * 1000).div_ceil(u64::from(finished)))
    }
}

/// The session whose report was merged last of its reports, and how long it had used the API until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reporter {
    /// The session, encoded.
    pub session: String,
    /// Its `total_api_duration_ms`.
    pub api_ms: u64,
    /// When it was merged.
    #[serde(default)]
    pub at: Ms,
}

/// The usage windows of one API key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Windows {
    /// The five-hour window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub five_hour: Option<Window>,
    /// The seven-day window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seven_day: Option<Window>,
    /// Since when the windows are unknown, because what was stored of them could not be read. A report ends that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<Ms>,
    /// Up to when the fleet's admissions are counted as turns.
    pub counted: Ms,
    /// The last reports, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reporters: Vec<Reporter>,
}

/// A reported share of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// When the window ends, to the minute.
    pub resets_at: Ms,
    /// The used share, in hundredths of a per cent.
    pub used: u32,
}

impl Share {
    /// Returns a share from the client's numbers: per cent, and Unix seconds. `None` where they are impossible.
    #[must_use]
    pub fn of(percentage: f64, resets_at: f64) -> Option<Self> {
        let is_time = (1.0e9..1.0e11).contains(&resets_at);
        if !is_time || !percentage.is_finite() || percentage < 0.0 {
            return None;
        }
        let minutes = (resets_at / 60.0).round() as Ms;
        let used = (percentage * f64::from(POINT)).round().min(f64::from(MOST)) as u32;
        Some(Self { resets_at: minutes.saturating_mul(MINUTE), used })
    }
}

/// A report of the status line of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The session, encoded.
    pub session: String,
    /// How long the session has used the API (`total_api_duration_ms`).
    pub api_ms: Option<u64>,
    /// The share of the five-hour window.
    pub five_hour: Option<Share>,
    /// The share of the seven-day window.
    pub seven_day: Option<Share>,
}

impl Windows {
    /// Returns windows of which nothing is known since `now`.
    #[must_use]
    pub fn unreadable(now: Ms) -> Self {
        Self { unknown: Some(now), ..Self::default() }
    }

    /// Returns whether such windows can be at `now`. A window that ends later than any window can would restrict for
    /// ever.
    #[must_use]
    pub fn are_possible(&self, now: Ms) -> bool {
        let is_possible = |window: Option<Window>, length| window.is_none_or(|w| is_within(w.resets_at, length, now));
        is_possible(self.five_hour, FIVE_HOURS)
            && is_possible(self.seven_day, SEVEN_DAYS)
            && self.unknown.is_none_or(|since| since <= now)
    }

    /// Returns until when nothing is known of the windows, so that every share must be assumed.
    #[must_use]
    pub fn unknown_until(&self, now: Ms) -> Option<Ms> {
        self.unknown.map(|since| since.min(now).saturating_add(LONGEST_UNKNOWN)).filter(|until| *until > now)
    }

    /// Merges a report at `now`, and returns whether that changed anything.
    ///
    /// `finished` is the number of the fleet's admissions since [`Windows::counted`].
    pub fn merge(&mut self, report: &Report, finished: u32, now: Ms) -> bool {
        let last = self.reporters.iter().find(|known| known.session == report.session).cloned();
        // What the session used the API for before another report changed the share shows nothing of the share since.
        let used_since = |changed: Ms| {
            let is_more = report.api_ms.zip(last.as_ref()).is_some_and(|(api_ms, last)| api_ms > last.api_ms);
            is_more && last.as_ref().is_some_and(|last| (changed..=now).contains(&last.at))
        };
        let changes = [
            merge(&mut self.five_hour, report.five_hour, used_since, FIVE_HOURS, now),
            merge(&mut self.seven_day, report.seven_day, used_since, SEVEN_DAYS, now),
        ];
        let is_new = changes.contains(&Change::Share);
        let is_unnoted = |changed: Ms| last.as_ref().is_none_or(|last| !(changed..=now).contains(&last.at));
        let open = [self.five_hour, self.seven_day].into_iter().flatten().map(|window| window.changed).max();
        let notes = report.has_share() && report.api_ms.is_some() && open.is_some_and(is_unnoted);
        if is_new {
            self.unknown = None;
            // The turns are counted when a share is known, so that both have the same time.
            for window in [&mut self.five_hour, &mut self.seven_day].into_iter().flatten() {
                window.turns = window.turns.saturating_add(if window.seen == 0 { 0 } else { finished });
            }
            self.counted = now;
        }
        for (window, change) in [&mut self.five_hour, &mut self.seven_day].into_iter().zip(&changes) {
            if let Some(window) = window.as_mut().filter(|_| *change != Change::Nothing) {
                window.seen = now;
            }
        }
        if !is_new && !notes && !changes.contains(&Change::Seen) {
            return false;
        }
        if let Some(api_ms) = report.api_ms {
            self.note(Reporter { session: report.session.clone(), api_ms, at: now });
        }
        true
    }

    fn note(&mut self, reporter: Reporter) {
        self.reporters.retain(|known| known.session != reporter.session);
        self.reporters.push(reporter);
        let over = self.reporters.len().saturating_sub(MOST_REPORTERS);
        self.reporters.drain(..over);
    }

    /// Returns the end and the used share of each window.
    #[must_use]
    pub fn shares(&self) -> [Option<(Ms, u32)>; 2] {
        [self.five_hour, self.seven_day].map(|window| window.map(|window| (window.resets_at, window.used)))
    }

    /// Returns the windows that have not ended, with their names.
    pub fn open(&self, now: Ms) -> impl Iterator<Item = (&'static str, Window)> {
        let named = [("5h", self.five_hour), ("7d", self.seven_day)];
        named.into_iter().filter_map(move |(name, window)| Some((name, window.filter(|w| w.resets_at > now)?)))
    }
}

impl Report {
    /// Returns whether it contains a share.
    #[must_use]
    pub fn has_share(&self) -> bool {
        self.five_hour.is_some() || self.seven_day.is_some()
    }
}

/// What a report changes of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// The window or its share.
    Share,
    /// The share is confirmed.
    Seen,
    Nothing,
}

/// Returns whether a window of this length can end at this time.
fn is_within(resets_at: Ms, length: Ms, now: Ms) -> bool {
    resets_at <= now.saturating_add(length).saturating_add(TOLERANCE)
}

/// Merges the share of one window. `used_since` returns whether its session has used the API since a time.
fn merge(
    known: &mut Option<Window>,
    share: Option<Share>,
    used_since: impl Fn(Ms) -> bool,
    length: Ms,
    now: Ms,
) -> Change {
    let Some(Share { resets_at, used }) = share else { return Change::Nothing };
    // A window that ended, or that ends later than any window can, was reported by mistake.
    if resets_at <= now || !is_within(resets_at, length, now) {
        return Change::Nothing;
    }
    match known {
        Some(window) if window.resets_at > resets_at && window.resets_at > now => Change::Nothing,
        Some(window) if window.resets_at == resets_at => {
            if used == window.used {
                return if used_since(window.changed) { Change::Seen } else { Change::Nothing };
            }
            if used < window.used && !used_since(window.changed) {
                return Change::Nothing;
            }
            if used < window.first_used {
                (window.first_used, window.turns) = (used, 0);
            }
            (window.used, window.changed) = (used, now);
            Change::Share
        }
        earlier => {
            let earlier_cost = earlier.and_then(|window| window.cost(0));
            *earlier =
                Some(Window { resets_at, used, first_used: used, changed: now, earlier_cost, ..Window::default() });
            Change::Share
        }
    }
}

#[cfg(test)]
mod tests;
