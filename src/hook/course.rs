//! How far a wait has come: what carries over when a waiting engine goes on under other terms.

use std::time::{Duration, Instant};

use super::local::Known;
use super::wait::{LATEST, PACE};
use crate::clock;
use crate::config::{Config, Env};
use crate::store::listen::Teller;
use crate::store::marks::{self, Mark};
use crate::store::{StoreError, undecided};
use crate::throttle::step::Step;
use crate::throttle::verdict::{Decision, Held, Reason};

/// Between two tries to reach a store that is away: at first, and at most.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const SLOWEST_RETRY: Duration = Duration::from_secs(10);
/// So many looks, or asks, may come sooner than [`PACE`] after the one before.
const QUICK: u32 = 3;

/// How far a wait has come, whatever its terms.
pub(super) struct Course {
    /// The stop was told to a store.
    pub(super) told: bool,
    pub(super) fence: Option<i64>,
    pub(super) away: Away,
    /// The terms could not be read, and the journal says so.
    pub(super) unclear: bool,
    /// The session is marked as undecided.
    pub(super) marked: bool,
    pub(super) paused: Option<Decision>,
    pub(super) held: Option<Held>,
    pub(super) hearing: Hearing,
    /// The mark of an earlier take-over of the session, which does not concern this engine.
    pub(super) mark: Option<Mark>,
    /// As `mark`, for calls that came to no verdict.
    pub(super) took: Option<String>,
}

impl Course {
    pub(super) fn new(config: &Config, begin: &Step, since: Instant) -> Self {
        Self {
            told: false,
            fence: None,
            away: Away::default(),
            unclear: false,
            // A payload or a configuration that came late left a mark.
            marked: since.elapsed() > LATEST,
            paused: None,
            held: None,
            hearing: Hearing::default(),
            mark: marks::taken_over_by(config, &begin.session),
            took: took(config, &begin.session),
        }
    }

    /// Goes on under another configuration and in another scope, perhaps in another fleet or store.
    pub(super) fn moves(&mut self, from: &Config, to: &Config, begin: &Step, scope: &str) {
        if from.fleet != to.fleet {
            self.mark = marks::taken_over_by(to, &begin.session);
        }
        if from.fleet != to.fleet || from.store != to.store || begin.scope != scope {
            (self.fence, self.hearing.teller) = (None, None);
        }
    }
}

/// The last undecided call that took the session over.
pub(super) fn took(config: &Config, session: &str) -> Option<String> {
    let mark = undecided::of(config.state.as_ref()?, session)?;
    Some(mark.took).filter(|id| !id.is_empty())
}

/// What an engine has heard.
#[derive(Default)]
pub(super) struct Hearing {
    /// Who answered last.
    pub(super) teller: Option<Teller>,
    /// The store fell silent, and was told of the stop once more since.
    pub(super) told: bool,
    /// What somebody published and the store has not been told yet.
    pub(super) word: Option<String>,
    /// The notification that the agent is blocked was sent.
    pub(super) blocked: bool,
    pub(super) looks: Pace,
    pub(super) asks: Pace,
    /// When this engine looks again whether it is time to look for others that are gone.
    pub(super) watch: Option<Instant>,
}

/// What keeps looks, or asks, from following each other without end, whatever the store says.
#[derive(Default)]
pub(super) struct Pace {
    pub(super) last: Option<Instant>,
    /// How many more came sooner than [`PACE`] after the one before than did not.
    pub(super) quick: u32,
}

impl Pace {
    /// How long to hold still before the next; `None` when it may come now.
    pub(super) fn holds(&mut self) -> Option<Duration> {
        let rest = PACE.checked_sub(self.last?.elapsed());
        self.quick = if rest.is_some() { (self.quick + 1).min(QUICK + 1) } else { self.quick.saturating_sub(1) };
        rest.filter(|_| self.quick > QUICK)
    }
}

/// A store that is away.
#[derive(Default)]
pub(super) struct Away {
    pub(super) tries: u32,
}

impl Away {
    /// The local journal is told once.
    pub(super) fn journal(&self, env: &Env, known: &Known, e: &StoreError) {
        if self.tries == 0 {
            known.journal(env, Reason::StoreDown, &e.to_string());
        }
    }

    /// How long to wait before the next try: doubling, and up to a quarter longer by chance, so that many engines do not
    /// come back as one.
    pub(super) fn next(&mut self) -> Duration {
        let grown = FIRST_RETRY.saturating_mul(1 << self.tries.min(10)).min(SLOWEST_RETRY);
        self.tries = self.tries.saturating_add(1);
        grown + grown.mul_f64((clock::chance() % 1000) as f64 / 4000.0)
    }
}

/// An engine that waits long for its place in a quota asks no sooner again.
const SOONEST: Duration = Duration::from_secs(15);

/// When an engine asks again after a refusal: at its end. Only a place in a quota may come sooner, for a session before it in the
/// wait queue may be gone, and nothing tells of that. So a long wait is divided.
pub(super) fn asks_again_in(refused: &Decision) -> Option<Duration> {
    let left = refused.retry_after?;
    if refused.reason != Reason::Quota {
        return Some(left);
    }
    Some(left.min(SOONEST.max(left / 4)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::model;

    #[test]
    fn a_long_wait_for_a_place_is_divided() {
        let seconds = |reason, left| {
            let refused = Decision { retry_after: Some(Duration::from_secs(left)), ..model::refusal(reason, 0) };
            asks_again_in(&refused).map(|again| again.as_secs())
        };
        assert_eq!(seconds(Reason::Quota, 3600), Some(900));
        assert_eq!(seconds(Reason::Quota, 40), Some(15));
        assert_eq!(seconds(Reason::Quota, 10), Some(10));
        assert_eq!(seconds(Reason::MinInterval, 3600), Some(3600));
        assert_eq!(asks_again_in(&model::refusal(Reason::Hold, 0)), None);
    }
}
