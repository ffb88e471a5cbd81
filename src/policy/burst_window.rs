//! The burst window: the attempts of a scope in a short time, and the cooldown that too many of them open.

use crate::policy::decision::{Case, remember};
use crate::policy::documents::{ClassState, ScopeState, SessionState};
use crate::policy::fact::Span;
use crate::policy::limits::{ClassPolicy, LONGEST, MOST_STRIKES, Ms, millis};
use crate::policy::long_hold;
use crate::policy::request::R_RANGE;
use crate::policy::verdict::{Attempt, Decision, Reason};

/// The largest burst window, and the largest number of attempts that is kept.
const MOST_ATTEMPTS: usize = 1000;

impl Case<'_> {
    /// Opens the cooldown of a burst window that is full, or the hold that repeated trips cause.
    pub(crate) fn tripped(
        &self,
        scope: &mut ScopeState,
        session: &mut SessionState,
        answer: &mut Decision,
    ) -> (Reason, Option<Ms>) {
        let own = scope.class_mut(self.class);
        let left = trip(own, self.limits, self.ask.r, self.now);
        answer.attempt = Attempt::Emptied;
        answer.strikes = own.strikes;
        if self.stop
            && let Some((willy, length)) = long_hold::comes(scope, self.policy.hold_after_strikes, self.now)
        {
            remember(session, &willy);
            answer.held = Some(willy);
            return (Reason::Hold, Some(length));
        }
        (Reason::Burst, Some(left))
    }
}

/// Forgets the strikes of a class once its last cooldown has been over for its `calm`.
pub(crate) fn forget_strikes(own: &mut ClassState, limits: &ClassPolicy, now: Ms) {
    let calm = millis(limits.cooldown.calm);
    if own.cooldown.is_none_or(|c| now >= c.end.saturating_add(calm)) {
        own.strikes = 0;
    }
}

/// Counts the attempts in the burst window of a class.
pub(crate) fn in_window(own: &ClassState, limits: &ClassPolicy, now: Ms) -> u32 {
    let Some(burst) = limits.burst else { return 0 };
    let from = now.saturating_sub(millis(burst.window));
    u32::try_from(own.attempts.iter().filter(|at| **at > from).count()).unwrap_or(u32::MAX)
}

/// Returns whether so many attempts fill the burst window, where the minimum interval is not over or is 0.
pub(crate) fn is_full(limits: &ClassPolicy, attempts: u32, is_too_soon: bool) -> bool {
    (is_too_soon || limits.is_limited_by_window()) && limits.burst.is_some_and(|burst| attempts >= burst.limit)
}

/// Counts an attempt and returns how many attempts the window contains now.
///
/// An attempt is kept as long as the longest window of any request of the scope. A request with a shorter window must
/// not delete what another request counts.
pub(crate) fn note(own: &mut ClassState, limits: &ClassPolicy, now: Ms) -> u32 {
    let Some(burst) = limits.burst else { return 0 };
    own.attempts_keep = own.attempts_keep.clamp(millis(burst.window), millis(LONGEST));
    let keep = own.attempts_keep;
    own.attempts.retain(|at| *at > now.saturating_sub(keep));
    own.attempts.push(now);
    let over = own.attempts.len().saturating_sub(MOST_ATTEMPTS);
    own.attempts.drain(..over);
    in_window(own, limits, now)
}

/// Opens a cooldown, empties the window, and returns how long the cooldown lasts.
fn trip(own: &mut ClassState, limits: &ClassPolicy, r: u32, now: Ms) -> Ms {
    own.strikes = own.strikes.saturating_add(1).min(MOST_STRIKES);
    let len = limits.cooldown.backoff.length(own.strikes);
    let widest = len * Ms::from(limits.cooldown.jitter) / 1000;
    let len = len + widest * Ms::from(r.min(R_RANGE - 1)) / Ms::from(R_RANGE);
    own.cooldown = Some(Span::new(now, now.saturating_add(len)));
    own.attempts.clear();
    len
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::limits::{Burst, Policy};

    fn limits(jitter: u32) -> ClassPolicy {
        let mut limits = Policy::default().stop;
        limits.burst = Some(Burst { limit: 3, window: Duration::from_millis(100) });
        limits.cooldown.backoff.base = Duration::from_millis(1000);
        (limits.cooldown.jitter, limits.cooldown.calm) = (jitter, Duration::from_millis(50));
        limits
    }

    #[test]
    fn chance_lengthens_a_cooldown_by_less_than_the_jitter() {
        for (jitter, r, expected) in
            [(0, 999_999, 1000), (500, 0, 1000), (500, 500_000, 1250), (500, R_RANGE - 1, 1499), (500, R_RANGE, 1499)]
        {
            let mut own = ClassState { attempts: vec![1, 2], ..ClassState::default() };
            assert_eq!(trip(&mut own, &limits(jitter), r, 10), expected, "{jitter} {r}");
            assert_eq!((own.cooldown, own.strikes), (Some(Span::new(10, 10 + expected)), 1));
            assert!(own.attempts.is_empty());
        }
    }

    #[test]
    fn attempts_and_strikes_are_counted_to_the_millisecond() {
        let attempts = vec![900, 901, 950];
        let mut own = ClassState { attempts, cooldown: Some(Span::new(0, 950)), strikes: 2, ..ClassState::default() };
        assert_eq!([999, 1000, 1001].map(|now| in_window(&own, &limits(0), now)), [3, 2, 1]);
        forget_strikes(&mut own, &limits(0), 999);
        assert_eq!(own.strikes, 2);
        forget_strikes(&mut own, &limits(0), 1000);
        assert_eq!(own.strikes, 0, "the calm is over");
        assert_eq!(note(&mut own, &limits(0), 1000), 3);
        assert_eq!(own.attempts, [901, 950, 1000], "none is kept longer than the window");
        own.attempts_keep = 500;
        assert_eq!(
            (note(&mut own, &limits(0), 1300), own.attempts.len()),
            (1, 4),
            "another request counts further back"
        );
        (0..1200).for_each(|_| _ = note(&mut own, &limits(0), 1300));
        assert_eq!(own.attempts.len(), MOST_ATTEMPTS);
    }
}
