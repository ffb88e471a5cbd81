//! The runs of `frosty gate`: what the gate and the hooks of its command report.

use crate::policy::documents::SessionState;
use crate::policy::limits::{Backoff, MOST_STRIKES, Ms};
use crate::policy::request::{Event, RunOutcome, RunPart};
use crate::policy::rest::{Rest, RestKind};

/// Notes the steps of a gate and of its runs.
pub(crate) fn note(session: &mut SessionState, event: &Event, api_error: &Backoff, now: Ms) {
    match event {
        Event::Resume { rest: None, .. } => session.gate = true,
        Event::Run { part, .. } => {
            session.gate = true;
            if let RunPart::End(outcome) = part {
                run_over(session, *outcome, api_error, now);
            }
        }
        _ => {}
    }
}

/// Ends the gate of a session. A run that failed makes it rest, longer from failure to failure.
fn run_over(session: &mut SessionState, outcome: RunOutcome, backoff: &Backoff, now: Ms) {
    session.pid = None;
    match outcome {
        RunOutcome::None => {}
        RunOutcome::Succeeded => session.failures = 0,
        RunOutcome::Failed => {
            session.failures = session.failures.saturating_add(1).min(MOST_STRIKES);
            let until = now.saturating_add(backoff.length(session.failures));
            let lasts_longer = |rest: &Rest| rest.until.is_none_or(|end| end >= until);
            if !session.rest.as_ref().is_some_and(lasts_longer) {
                session.rest =
                    Some(Rest { kind: RestKind::Failed, since: now, until: Some(until), topic: String::new(), id: 0 });
            }
        }
    }
}
