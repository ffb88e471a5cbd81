//! Builds the notification for a verdict: hold opened, held session resumed, attention needed.

use crate::notify::notification::subject;
use crate::notify::{Kind, Notification};
use crate::policy::api_error::BY_API;
use crate::policy::limits::millis;
use crate::policy::long_hold::BY_WILLY;
use crate::policy::request::{Event, RestRequest, Step};
use crate::policy::rest::RestKind;
use crate::policy::verdict::{Decision, Outcome, Reason};
use crate::text;

/// Returns the notification, if the verdict requires one.
pub(super) fn word(fleet: &str, step: &Step, decided: &Decision) -> Option<Notification> {
    let wants_a_person = || matches!(step.event, Event::NeedsYou) || blocked(step).is_some();
    if step.shadow || (decided.held.is_none() && !wants_a_person()) {
        return None;
    }
    said(fleet, step, decided)
}

/// Returns the rest of an agent that is blocked.
fn blocked(step: &Step) -> Option<&RestRequest> {
    match &step.event {
        Event::Stop { rest: Some(rest) } if rest.kind == RestKind::Blocked => Some(rest),
        _ => None,
    }
}

#[cold]
#[inline(never)]
fn said(fleet: &str, step: &Step, decided: &Decision) -> Option<Notification> {
    let held = decided.held.clone().unwrap_or_default();
    let (by, reason) = (held.by, held.reason);
    let who = subject(&step.scope);
    // An existing hold refuses before an attempt is counted, but the trip that opens a hold has just filled the
    // window.
    let comes = decided.reason == Reason::Hold && by == BY_WILLY && decided.attempts > 0;
    let stands_down = decided.outcome == Outcome::Refuse && decided.reason != Reason::Superseded;
    let (kind, text) = match (&step.event, blocked(step)) {
        (Event::NeedsYou, _) => (Kind::NeedsYou, format!("{who} waits at a permission dialog and needs you")),
        (Event::StopFailure(_), _) if by == BY_API => {
            (Kind::Hold, format!("{who} is held until a person mends it: {reason}"))
        }
        _ if comes => (Kind::Hold, format!("{who} is held by Really Chill Willy: {reason}")),
        (_, Some(rest)) if stands_down => {
            let topic = text::line(&rest.topic);
            let word = Notification { reason: topic.clone(), ..Notification::new(Kind::Blocked, fleet, decided.now) };
            return Some(Notification { text: format!("{who} is blocked on {topic}"), ..about(word, step) });
        }
        _ if decided.outcome == Outcome::Admit && !by.is_empty() => {
            (Kind::Resume, format!("{who} goes on; it was held by {by}: {reason}"))
        }
        _ => return None,
    };
    let until = decided.retry_after.filter(|_| kind == Kind::Hold);
    let until = until.map(|left| decided.now.saturating_add(millis(left)));
    Some(about(Notification { by, reason, until, text, ..Notification::new(kind, fleet, decided.now) }, step))
}

/// Adds the session of a step to a notification.
fn about(word: Notification, step: &Step) -> Notification {
    Notification { scope: step.scope.clone(), session: step.session.clone(), host: step.host.clone(), ..word }
}

/// Returns the notification that the session's engine reached the end of its wait.
pub(super) fn expired(fleet: &str, step: &Step) -> Notification {
    let text = format!("{}: its engine reached the end of its wait; type in its window to go on", subject(&step.scope));
    let reason = Reason::WaiterExpired.code().to_owned();
    about(Notification { reason, text, ..Notification::new(Kind::WaiterLost, fleet, step.host_ms) }, step)
}
