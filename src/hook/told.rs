//! What everyone is told of a verdict: a hold that it opened, a session that goes on after one, a person who is needed.

use crate::throttle::effects::BY_API;
use crate::throttle::policy::millis;
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Decision, Held, Outcome, Reason};
use crate::throttle::willy::BY_WILLY;
use crate::willy::{Kind, Word};

/// The word, if there is anything to tell.
pub(super) fn word(fleet: &str, step: &Step, decided: &Decision) -> Option<Word> {
    if step.shadow || (decided.held.is_none() && !matches!(step.event, Event::NeedsYou)) {
        return None;
    }
    said(fleet, step, decided)
}

#[cold]
#[inline(never)]
fn said(fleet: &str, step: &Step, decided: &Decision) -> Option<Word> {
    let held = decided.held.clone().unwrap_or(Held { by: String::new(), reason: String::new(), fleet: false });
    let Held { by, reason, .. } = held;
    let scope = &step.scope;
    // A hold that stands refuses before an attempt is counted; the trip that opens one has just filled the window.
    let comes = decided.reason == Reason::Hold && by == BY_WILLY && decided.attempts > 0;
    let (kind, text) = match &step.event {
        Event::NeedsYou => (Kind::NeedsYou, format!("scope {scope} stands at a permission dialog and needs you")),
        Event::StopFailure(_) if by == BY_API => {
            (Kind::Hold, format!("scope {scope} is held until a person mends it: {reason}"))
        }
        _ if comes => (Kind::Hold, format!("Really Chill Willy holds scope {scope}: {reason}")),
        _ if decided.outcome == Outcome::Admit => {
            (Kind::Resume, format!("scope {scope} goes on; it was held by {by}: {reason}"))
        }
        _ => return None,
    };
    let until = decided.retry_after.filter(|_| kind == Kind::Hold);
    Some(Word {
        kind,
        fleet: fleet.to_owned(),
        scope: scope.clone(),
        session: step.session.clone(),
        by,
        reason,
        from: String::new(),
        at: decided.now,
        until: until.map(|left| decided.now.saturating_add(millis(left))),
        host: step.host.clone(),
        text,
    })
}

/// That the session's engine reached the end of its wait.
pub(super) fn expired(fleet: &str, step: &Step) -> Word {
    let scope = step.scope.clone();
    Word {
        kind: Kind::WaiterLost,
        fleet: fleet.to_owned(),
        text: format!("scope {scope}: its engine reached the end of its wait; type in its window to go on"),
        scope,
        session: step.session.clone(),
        by: String::new(),
        reason: Reason::WaiterExpired.code().to_owned(),
        from: String::new(),
        at: step.host_ms,
        until: None,
        host: step.host.clone(),
    }
}
