//! The limits of a scope, in the common terms of rate limiting.

use std::time::Duration;

use crate::policy::cadence::Cadence;
use crate::policy::pace::Pace;
use crate::policy::work::WorkPolicy;

/// A time: milliseconds since the Unix epoch, UTC, read from the *store's* clock.
pub type Ms = i64;

/// The longest configured duration.
///
/// It keeps every product of the policy below 2^53, the largest whole number that the script's arithmetic holds
/// exactly.
pub const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// The longest hold that ends by itself: a mistyped end is refused, and no end lies beyond the calendar.
pub const LONGEST_HOLD: Duration = Duration::from_secs(365 * 86_400);

/// The largest count of strikes, which bounds every loop over them.
pub const MOST_STRIKES: u32 = 1000;

/// Returns a duration in whole milliseconds, saturating.
#[must_use]
pub fn millis(d: Duration) -> Ms {
    Ms::try_from(d.as_millis()).unwrap_or(Ms::MAX)
}

/// The class of an admission request. Each class has its own minimum interval, burst window and cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One more turn of the agent (event `Stop`).
    Stop,
    /// One automatic compaction (event `PreCompact`, trigger `auto`).
    Compact,
}

impl Class {
    /// Returns the name used in keys and in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Compact => "compact",
        }
    }
}

/// The burst window (sliding-window log): this many attempts within the window trip a cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// The attempts that fill the window, 1 to 1,000.
    pub limit: u32,
    /// How far back an attempt counts.
    pub window: Duration,
}

/// An exponential backoff without jitter. `factor` is in thousandths (2000 doubles).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first length.
    pub base: Duration,
    /// The growth from one length to the next, in thousandths, 1,000 to 100,000.
    pub factor: u32,
    /// The largest length.
    pub max: Duration,
}

impl Backoff {
    /// Returns the length for the `strikes`-th time in a row, in milliseconds. Every step floors; multiplying stops at
    /// `max`.
    #[must_use]
    pub fn length(&self, strikes: u32) -> Ms {
        let max = millis(self.max);
        let mut len = millis(self.base);
        for _ in 1..strikes {
            if len >= max {
                break;
            }
            len = len.saturating_mul(Ms::from(self.factor)) / 1000;
        }
        len.min(max)
    }
}

/// The cooldown that a trip opens: the backoff, its jitter, and the calm after which the strikes are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooldown {
    /// How the cooldown grows from trip to trip.
    pub backoff: Backoff,
    /// The largest lengthening by chance, in thousandths of the length, 0 to 1,000.
    pub jitter: u32,
    /// Strikes are forgotten this long after the end of the last cooldown.
    pub calm: Duration,
}

/// A quota: at most `limit` admissions in any period `per` (sliding).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The admissions per period, 1 to 10,000.
    pub limit: u32,
    /// The period.
    pub per: Duration,
}

/// The limits of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPolicy {
    /// The minimum interval between two admissions; zero switches it off.
    pub min_interval: Duration,
    /// The burst window; `None` switches it and its cooldown off.
    pub burst: Option<Burst>,
    /// Whether the burst window also limits admissions where there is a minimum interval.
    ///
    /// This is so where the user's own configuration has no interval: a project's interval comes on top of the window.
    pub window_limits: bool,
    /// The cooldown that a full burst window opens.
    pub cooldown: Cooldown,
    /// The quotas of the scope (class `stop` only).
    pub quotas: Vec<Quota>,
}

impl ClassPolicy {
    /// Returns whether the burst window counts every attempt, and not only those within the minimum interval.
    #[must_use]
    pub fn is_limited_by_window(&self) -> bool {
        self.min_interval.is_zero() || self.window_limits
    }
}

/// The distance between sessions that one event frees together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The time from one session to the next; zero lets them continue at once.
    pub step: Duration,
    /// The same for a session that waited for more than five minutes.
    pub cold: Duration,
}

/// A row of the idle table: a run with at least this many units rests this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleRow {
    /// The least units of the run: the tool calls of its turns that were work.
    pub units: u32,
    /// The first rest after such a run.
    pub rest: Duration,
}

/// Idle backoff: how long an agent rests after turns in which it did nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// The first rest, its growth from one idle turn to the next, and the longest rest.
    pub growth: Backoff,
    /// The longest rest after a turn that repeated the tool calls of the turns before it.
    pub looked_max: Duration,
    /// The first rest by the units of the run, in the order of the units; without a row it is `growth.base`.
    pub table: Vec<IdleRow>,
}

impl Default for Idle {
    fn default() -> Self {
        let secs = Duration::from_secs;
        let growth = Backoff { base: secs(120), factor: 2000, max: secs(3600) };
        Self { growth, looked_max: secs(600), table: Vec::new() }
    }
}

impl Idle {
    /// Returns the rest after the `streak`-th idle turn in a row, after a run with this many units.
    #[must_use]
    pub fn length(&self, units: u32, streak: u32, looked: bool) -> Ms {
        let row = self.table.iter().rev().find(|row| row.units <= units);
        let growth = Backoff { base: row.map_or(self.growth.base, |row| row.rest), ..self.growth };
        let length = growth.length(streak.min(MOST_STRIKES));
        if looked { length.min(millis(self.looked_max)) } else { length }
    }
}

/// All limits that decide a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The limits of continuations.
    pub stop: ClassPolicy,
    /// The limits of automatic compactions.
    pub compact: ClassPolicy,
    /// The cooldown that API errors open.
    pub api_error: Backoff,
    /// The quotas over all scopes of the fleet.
    pub fleet_quotas: Vec<Quota>,
    /// The number of trips of a scope within a day that turn its cooldown into a hold, up to [`MOST_STRIKES`]; 0 is
    /// never.
    pub hold_after_strikes: u32,
    /// The release slots.
    pub spread: Spread,
    /// Idle backoff; `None` switches it off.
    pub idle: Option<Idle>,
    /// How long a waiting engine continues nothing after a turn that a person began; zero switches it off.
    pub quiet: Duration,
    /// The pace of the fleet; `None` switches it off.
    pub pace: Option<Pace>,
    /// How a session works through its agent's queue.
    pub work: WorkPolicy,
    /// The agent's cadence.
    pub cadence: Cadence,
}

impl Policy {
    /// Returns the limits of one class.
    #[must_use]
    pub fn class(&self, class: Class) -> &ClassPolicy {
        match class {
            Class::Stop => &self.stop,
            Class::Compact => &self.compact,
        }
    }

    /// Returns the longest period of any quota, of the scope or the fleet; zero without quotas.
    #[must_use]
    pub fn longest_period(&self) -> Duration {
        let all = self.stop.quotas.iter().chain(&self.fleet_quotas);
        all.map(|q| q.per).max().unwrap_or_default()
    }

    /// Returns how long a scope with a lost history must wait: no limit of the policy reaches further back.
    #[must_use]
    pub fn unknown_past(&self) -> Duration {
        let cooldown = self.stop.cooldown.backoff.max;
        cooldown.max(self.stop.min_interval).max(self.longest_period())
    }
}

impl Default for Policy {
    fn default() -> Self {
        let secs = Duration::from_secs;
        let cooldown = |base, max| Cooldown {
            backoff: Backoff { base: secs(base), factor: 2000, max: secs(max) },
            jitter: 200,
            calm: secs(600),
        };
        Self {
            stop: ClassPolicy {
                min_interval: secs(15),
                burst: Some(Burst { limit: 3, window: secs(20) }),
                window_limits: false,
                cooldown: cooldown(60, 900),
                quotas: Vec::new(),
            },
            compact: ClassPolicy {
                min_interval: Duration::ZERO,
                burst: Some(Burst { limit: 4, window: secs(600) }),
                window_limits: false,
                cooldown: cooldown(600, 3600),
                quotas: Vec::new(),
            },
            api_error: Backoff { base: secs(60), factor: 2000, max: secs(3600) },
            fleet_quotas: Vec::new(),
            hold_after_strikes: 5,
            spread: Spread { step: Duration::from_millis(250), cold: secs(2) },
            idle: Some(Idle::default()),
            quiet: secs(60),
            pace: None,
            work: WorkPolicy::default(),
            cadence: Cadence::default(),
        }
    }
}
