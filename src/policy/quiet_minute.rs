//! The quiet minute: after a turn that a person began, the person is in the conversation.

use crate::policy::documents::SessionState;
use crate::policy::limits::{Ms, Policy, millis};
use crate::policy::request::Step;

/// Returns how long a request is refused yet. A plain request is not, because nothing would send it again.
pub(crate) fn left(session: &SessionState, policy: &Policy, ask: &Step, now: Ms) -> Option<Ms> {
    let answered = session.answered_person.filter(|at| ask.paced && *at <= now)?;
    let left = answered.saturating_add(millis(policy.quiet)).saturating_sub(now);
    (left > 0).then_some(left)
}
