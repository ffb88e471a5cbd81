//! Draws a history from its seed: the stores, the limits, the sessions, and the rates of the faults.

use std::time::Duration;

use super::chance::Chance;
use super::dispatchers;
use super::rhythm::{self, Habit, Rhythm};
use super::work::{self, Work};
use super::world::{Rates, SECOND, Time};
use crate::policy::limits::{Burst, Policy, Quota};

/// The name of the window that limits without a minimum interval.
pub(super) const WINDOW: &str = "window";

/// The stores of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stores {
    /// A server without a replacement.
    Server,
    /// A server, and files in its place after a failover.
    Failover,
    /// Files alone.
    Files,
}

impl Stores {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Failover => "failover",
            Self::Files => "files",
        }
    }
}

/// A session and its agent.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) host: usize,
    pub(super) scope: usize,
    /// Whether an engine waits for it. Otherwise its agent sends requests continuously, as in a storm.
    pub(super) waits: bool,
    /// The outcome of its turns.
    pub(super) habit: Habit,
    /// The signals that wake it; `None` for all.
    pub(super) wake_on: Option<Vec<String>>,
    /// Whether its agent reports that it is done, until a wake-up after the last fault.
    pub(super) is_done: bool,
    /// When its client is killed for good.
    pub(super) leaves: Option<Time>,
    /// Whether a dispatcher started it.
    pub(super) is_started: bool,
}

/// The drawn plan of a history.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) stores: Stores,
    pub(super) policy: Policy,
    pub(super) hosts: usize,
    pub(super) scopes: usize,
    pub(super) sessions: Vec<Session>,
    pub(super) rates: Rates,
    /// When the last fault ends.
    pub(super) calms_at: Time,
    /// When the configuration names files, and no longer the server.
    pub(super) leaves_server: Option<Time>,
    /// The failed turns and the usage windows.
    pub(super) rhythm: Rhythm,
    /// The work queues, where the sessions work through any.
    pub(super) work: Option<Work>,
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn quotas(chance: &mut Chance) -> Vec<Quota> {
    if chance.happens(550) {
        return Vec::new();
    }
    let limit = u32::try_from(chance.between(1, 4)).unwrap();
    vec![Quota { limit, per: secs(chance.one_of(&[2, 5, 15])) }]
}

fn policy(chance: &mut Chance) -> Policy {
    // The default quiet minute and idle rests are longer than a history.
    let mut policy = Policy { hold_after_strikes: 0, quiet: Duration::ZERO, idle: None, ..Policy::default() };
    policy.stop.min_interval = secs(chance.one_of(&[0, 1, 3, 8]));
    policy.stop.burst = match chance.below(3) {
        0 => None,
        _ => Some(Burst {
            limit: u32::try_from(chance.between(2, 6)).unwrap(),
            window: secs(chance.one_of(&[2, 5, 12])),
        }),
    };
    policy.stop.window_limits = chance.happens(150);
    policy.stop.cooldown.backoff.base = secs(2);
    policy.stop.cooldown.backoff.max = secs(6);
    if let Some(burst) = policy.stop.burst.filter(|_| policy.stop.is_limited_by_window()) {
        // A trip empties the window, so the window limits only if no cooldown is shorter.
        policy.stop.cooldown.backoff.base = burst.window;
        policy.stop.cooldown.backoff.max = burst.window.max(secs(6));
    }
    policy.stop.cooldown.calm = secs(20);
    policy.stop.quotas = quotas(chance);
    policy.fleet_quotas = quotas(chance);
    // Without any limit nothing can go wrong.
    if policy.stop.min_interval.is_zero() && policy.fleet_quotas.is_empty() {
        policy.fleet_quotas = vec![Quota { limit: 2, per: secs(5) }];
    }
    policy
}

fn rates(chance: &mut Chance) -> Rates {
    let mut some = |all: &[u64]| if chance.happens(500) { chance.one_of(all) } else { 0 };
    Rates {
        delayed: some(&[20, 100, 400]),
        lost: some(&[10, 40, 150]),
        held_back: some(&[300, 1000]),
        doubled: some(&[20, 100]),
        paused: some(&[2, 10, 40]),
        killed: some(&[2, 10, 30]),
        starved: some(&[500]),
    }
}

impl Plan {
    /// Draws a history.
    pub(super) fn of(seed: u64, stores: Stores) -> Self {
        let mut chance = Chance::of(seed);
        let hosts = usize::try_from(chance.between(1, 2)).unwrap();
        let scopes = usize::try_from(chance.between(1, 3)).unwrap();
        let count = chance.between(1, 4);
        let policy = policy(&mut chance);
        let session = |_| Session {
            host: usize::try_from(chance.below(hosts as u64)).unwrap(),
            scope: usize::try_from(chance.below(scopes as u64)).unwrap(),
            waits: chance.happens(800),
            habit: Habit::Unmeasured,
            wake_on: None,
            is_done: false,
            leaves: None,
            is_started: false,
        };
        let mut sessions: Vec<Session> = (0..count).map(session).collect();
        sessions[0].waits = true;
        let rates = rates(&mut chance);
        let calms_at = chance.between(2, 9) * SECOND;
        let rhythm = Rhythm::default();
        let mut plan = Self {
            seed,
            stores,
            policy,
            hosts,
            scopes,
            sessions,
            rates,
            calms_at,
            leaves_server: None,
            rhythm,
            work: None,
        };
        rhythm::draw(&mut plan);
        plan
    }

    /// Adds work to the history, in this share of the seeds (in thousandths).
    pub(super) fn with_work(mut self, share: u64) -> Self {
        work::draw(&mut self, share);
        self
    }

    /// Adds dispatchers to the history, in this share of the seeds with work (in thousandths).
    pub(super) fn with_dispatchers(mut self, share: u64) -> Self {
        dispatchers::draw(&mut self, share);
        self
    }

    /// Returns the scope of a session. One that a dispatcher started has the name of its agent.
    pub(super) fn scope(&self, session: usize) -> String {
        match &self.work {
            Some(work) if self.sessions[session].is_started => work::agent(work.agents[session]),
            _ => format!("scope-{}", self.sessions[session].scope),
        }
    }

    /// Returns the scopes of all sessions and dispatchers.
    pub(super) fn all_scopes(&self) -> Vec<String> {
        let dispatch = self.work.as_ref().and_then(|work| work.dispatch.as_ref());
        let agents = dispatch.into_iter().flat_map(|dispatch| &dispatch.routes).map(|way| work::agent(way.agent));
        (0..self.scopes).map(|n| format!("scope-{n}")).chain(agents).collect()
    }

    /// Returns the limits of a scope as quotas: its minimum interval, the window that limits without one, and
    /// its quotas.
    pub(super) fn limits(&self) -> Vec<(&'static str, Quota)> {
        let stop = &self.policy.stop;
        let mut all = vec![("minimum interval", Quota { limit: 1, per: stop.min_interval })];
        if let Some(burst) = stop.burst.filter(|_| stop.is_limited_by_window()) {
            all.push((WINDOW, Quota { limit: burst.limit.saturating_sub(1).max(1), per: burst.window }));
        }
        all.extend(stop.quotas.iter().map(|quota| ("quota", *quota)));
        all
    }

    /// Returns the time after the last fault, or after its wake-up, within which each session with a waiting engine is
    /// admitted.
    pub(super) fn bound(&self) -> Time {
        let Policy { stop, fleet_quotas, .. } = &self.policy;
        let rounds = self.sessions.len() as u64 + 1;
        let quotas: u64 = stop.quotas.iter().chain(fleet_quotas).map(|quota| quota.per.as_secs()).sum();
        let policy = rounds * (stop.min_interval.as_secs() + quotas) + 2 * stop.cooldown.backoff.max.as_secs();
        // A person answers a session without an engine after up to 10 s, and rests and holds take up to 10 s.
        (policy + 10 + 10 + 30) * SECOND + rhythm::bound(self)
    }
}
