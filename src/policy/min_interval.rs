//! The minimum interval between two admissions of a scope, and what else refuses a request that comes too soon.

use crate::policy::burst_window;
use crate::policy::decision::{Case, Refusal, State};
use crate::policy::documents::ClassState;
use crate::policy::limits::{ClassPolicy, Ms, millis};
use crate::policy::release_slots;
use crate::policy::verdict::{Attempt, Decision, Reason};

impl Case<'_> {
    /// What refuses a request that comes too soon after the last one: the minimum interval, release slots, the burst window.
    pub(crate) fn too_soon(&self, state: &mut State, answer: &mut Decision) -> Refusal {
        let (State { fleet, scope, session, .. }, Self { limits, ask, now, .. }) = (state, *self);
        let taken = scope.taken.filter(|_| self.stop).map(|at| at.saturating_add(pause(limits)));
        let own = scope.class_mut(self.class);
        // 5. the minimum interval: it refuses a paced request here, and such a refusal counts no attempt
        let opens = own.admitted_at.map(|at| at.saturating_add(millis(limits.min_interval))).max(taken);
        let guard = opens.map(|at| at.saturating_sub(now)).filter(|left| *left > 0);
        if ask.paced
            && let Some(left) = guard.max(place_left(own, limits, now))
        {
            // A change of store starts the minimum interval of many scopes at once.
            if taken.is_some_and(|at| at > now) {
                release_slots::mark(session);
            }
            return Some((Reason::MinInterval, Some(left)));
        }
        // This refusal counts no attempt either, because the engine sends its request again by itself.
        if self.stop
            && ask.paced
            && let Some(left) = release_slots::left(fleet, session, self.policy.spread, ask.r, now)
        {
            return Some((Reason::Spread, Some(left)));
        }
        if limits.burst.is_some() {
            answer.attempt = Attempt::Counted;
        }
        answer.attempts = burst_window::note(own, limits, now);
        // 6. the burst window
        if burst_window::is_full(limits, answer.attempts, guard.is_some()) {
            return Some(self.tripped(scope, session, answer));
        }
        // 7. the minimum interval, for the other requests
        guard.map(|left| (Reason::MinInterval, Some(left)))
    }
}

/// Returns how long requests are refused after a change of store: the minimum interval.
///
/// Without a minimum interval it is the burst window, which must not be filled twice.
pub(crate) fn pause(limits: &ClassPolicy) -> Ms {
    let window = limits.burst.map_or(0, |b| millis(b.window));
    let window = if limits.is_limited_by_window() { window } else { 0 };
    let pause = millis(limits.min_interval).max(window);
    // Without any limit the pause is still one refusal, in which the stores exchange their state.
    pause.max(1)
}

/// Returns how long a paced request waits for a place in a burst window that limits beside a minimum interval.
///
/// Returns `None` when a place is free.
fn place_left(own: &ClassState, limits: &ClassPolicy, now: Ms) -> Option<Ms> {
    let burst = limits.burst.filter(|_| limits.window_limits && !limits.min_interval.is_zero())?;
    let window = millis(burst.window);
    let places = (burst.limit as usize).saturating_sub(1).max(1);
    let noted = own.attempts.get(own.attempts.len().checked_sub(places)?)?;
    Some(noted.saturating_add(window).saturating_sub(now)).filter(|left| *left > 0)
}
