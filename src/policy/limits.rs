//! The limits: what a scope is allowed, in the terms of the field.

use std::time::Duration;

/// A time: milliseconds since the Unix epoch, UTC, read from the *store's* clock.
pub type Ms = i64;

/// No configured duration is longer than this. It keeps every product of the policy below 2^53, the largest whole
/// number that the script's arithmetic holds exactly.
pub const LONGEST: Duration = Duration::from_secs(31 * 86_400);

/// No hold that ends by itself is longer than this. A mistyped end is refused, and no end lies beyond the calendar.
pub const LONGEST_HOLD: Duration = Duration::from_secs(365 * 86_400);

/// Strikes are counted no further than this; every loop over them is bounded by it.
pub const MOST_STRIKES: u32 = 1000;

/// A duration in whole milliseconds, saturating.
#[must_use]
pub fn millis(d: Duration) -> Ms {
    Ms::try_from(d.as_millis()).unwrap_or(Ms::MAX)
}

/// What an ask is for. Each class has its own guard, bang window and cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One more turn of the agent (event `Stop`).
    Stop,
    /// One automatic compaction (event `PreCompact`, trigger `auto`).
    Compact,
}

impl Class {
    /// The name used in keys and in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Compact => "compact",
        }
    }
}

/// The bang window (sliding-window log): this many attempts within the window trip a cooldown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// Attempts that fill the window, 1 to 1,000.
    pub limit: u32,
    /// How far back an attempt counts.
    pub window: Duration,
}

/// Exponential backoff without jitter. `factor` is in thousandths (2000 doubles).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first length.
    pub base: Duration,
    /// Growth from one length to the next, in thousandths, 1,000 to 100,000.
    pub factor: u32,
    /// No length is longer.
    pub max: Duration,
}

impl Backoff {
    /// The length for the `strikes`-th time in a row, in milliseconds. Every step floors; multiplying stops at `max`.
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

/// What a trip opens: the backoff, its jitter, and how long a calm forgets the strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cooldown {
    /// How the cooldown grows from trip to trip.
    pub backoff: Backoff,
    /// The largest lengthening by chance, in thousandths of the length, 0 to 1,000.
    pub jitter: u32,
    /// Strikes are forgotten this long after the end of the last cooldown.
    pub calm: Duration,
}

/// At most `limit` admissions in any period `per` (sliding).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Admissions per period, 1 to 10,000.
    pub limit: u32,
    /// The period.
    pub per: Duration,
}

/// The limits of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPolicy {
    /// The guard (minimum interval) between two admissions; zero switches it off.
    pub min_interval: Duration,
    /// The bang window; `None` switches it and its cooldown off.
    pub burst: Option<Burst>,
    /// Whether the bang window also limits admissions where there is a minimum interval: the user's own configuration has no
    /// interval, and a project's comes on top of the window.
    pub window_limits: bool,
    /// What a full bang window opens.
    pub cooldown: Cooldown,
    /// Quotas of the scope (class `stop` only).
    pub quotas: Vec<Quota>,
}

impl ClassPolicy {
    /// Whether the bang window counts every attempt, and not only those that meet the guard closed.
    #[must_use]
    pub fn is_limited_by_window(&self) -> bool {
        self.min_interval.is_zero() || self.window_limits
    }
}

/// How far apart sessions go on that one event frees together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// From one to the next; zero lets them go on at once.
    pub step: Duration,
    /// The same for a session that waited for more than five minutes.
    pub cold: Duration,
}

/// Every limit that a step is decided by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Continuations.
    pub stop: ClassPolicy,
    /// Automatic compactions.
    pub compact: ClassPolicy,
    /// The cooldown that API errors open.
    pub api_error: Backoff,
    /// Quotas over all scopes of the fleet.
    pub fleet_quotas: Vec<Quota>,
    /// Trips of a scope within a day that turn its cooldown into a hold, up to [`MOST_STRIKES`]; 0 is never.
    pub hold_after_strikes: u32,
    /// The release slots.
    pub spread: Spread,
}

impl Policy {
    /// The limits of one class.
    #[must_use]
    pub fn class(&self, class: Class) -> &ClassPolicy {
        match class {
            Class::Stop => &self.stop,
            Class::Compact => &self.compact,
        }
    }

    /// The longest period of any quota, of the scope or the fleet; zero without quotas.
    #[must_use]
    pub fn longest_period(&self) -> Duration {
        let all = self.stop.quotas.iter().chain(&self.fleet_quotas);
        all.map(|q| q.per).max().unwrap_or_default()
    }

    /// How long a scope whose history was lost is kept waiting: no limit of the policy reaches further back.
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
        }
    }
}
