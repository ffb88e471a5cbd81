//! A request that is sent again with the same id, because the answer to it was lost.

use crate::policy::decision::{State, decision};
use crate::policy::documents::{COMMIT_SLACK, IN_FLIGHT};
use crate::policy::limits::{Class, Ms, Policy};
use crate::policy::notes;
use crate::policy::request::Step;
use crate::policy::verdict::{Decision, Outcome, Reason};
use crate::policy::work::rule as work_rule;

/// Returns the admission again to a request that was just admitted and lost its answer on the way.
///
/// Later than [`IN_FLIGHT`] after its commit, other requests may have been admitted since. The time of the commit is
/// not known here, only the time of the decision.
pub(crate) fn repeated(policy: &Policy, state: &State, ask: &Step, now: Ms) -> Option<Decision> {
    let State { scope, session, .. } = state;
    let admitted = session.admitted.as_ref().filter(|admitted| admitted.id == ask.id)?;
    // Another store had the scope since, and may have admitted the request.
    let is_taken = scope.taken.is_some_and(|taken| taken >= admitted.at);
    let slack = if is_taken { 0 } else { COMMIT_SLACK };
    let is_recent = (0..=IN_FLIGHT + slack).contains(&now.saturating_sub(admitted.at));
    if ask.event.asks() != Some(Class::Stop) || !is_recent {
        return None;
    }
    let admitted = decision(Outcome::Admit, Reason::Admitted, now);
    let work = work_rule::policy_of(policy, session, ask);
    let work = work.and_then(|work| work_rule::given(session, state.work.as_ref(), &work));
    let turn_kind = session.cadence.kind;
    let dumps = turn_kind.is_reflection() && session.cadence.since_dump == 0;
    let has_notes = session.notes_given == session.admitted.as_ref().map(|admitted| admitted.at);
    let notes = if has_notes { notes::newest(session, now) } else { Vec::new() };
    let again = Decision { note: session.given.clone(), count: session.count, repeated: true, ..admitted };
    Some(Decision { work, turn_kind, dumps, notes, ..again })
}
