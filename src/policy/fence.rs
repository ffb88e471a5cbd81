//! The fencing token of a session: each Stop event, prompt or end has a newer one, and an older one is superseded.

use std::time::Duration;

use crate::policy::documents::{Begun, SessionState};
use crate::policy::limits::{Ms, millis};
use crate::policy::release_slots;
use crate::policy::request::{Event, Step};

/// The highest fence: it stays a whole number of at most fifteen digits in every store.
pub const HIGHEST_FENCE: i64 = 999_999_999_999_999;

/// The relation of an event's fence to the session's fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FenceStatus {
    /// The event has the session's fence, or begins a new one.
    Own,
    /// A late event that the session knows already; its effects are not applied twice.
    Repeated,
    /// A newer Stop event, prompt or end has taken over.
    Superseded,
}

/// Compares the fence or the id of an event with the session's.
pub(crate) fn fence_status(session: &mut SessionState, ask: &Step, now: Ms) -> FenceStatus {
    match ask.event {
        Event::Ask { fence, .. } | Event::Expired { fence } | Event::Run { fence, .. }
            if stored(session).is_some_and(|newer| newer > fence) =>
        {
            FenceStatus::Superseded
        }
        // A session that is no gate's has no runs, whatever a process in it says.
        Event::Run { .. } if session.seen > 0 && !session.gate => FenceStatus::Superseded,
        Event::Ask { fence, .. } => {
            session.fence = Some(fence.clamp(0, HIGHEST_FENCE));
            FenceStatus::Own
        }
        Event::Resume { fence, .. } if session.begun.as_ref().is_none_or(|begun| begun.id != ask.id) => {
            let is_newer = stored(session).is_some_and(|newer| newer > fence.unwrap_or(0));
            if is_newer { FenceStatus::Superseded } else { FenceStatus::Own }
        }
        Event::Stop { .. } | Event::Resume { .. } | Event::StopFailure(_) => {
            let Some(begun) = &session.begun else { return FenceStatus::Own };
            let raised_since = |age: &Duration| begun.at <= now && begun.at > now.saturating_sub(millis(*age));
            if begun.id == ask.id {
                FenceStatus::Repeated
            } else if ask.age().as_ref().is_some_and(raised_since) {
                FenceStatus::Superseded
            } else {
                FenceStatus::Own
            }
        }
        _ => FenceStatus::Own,
    }
}

fn stored(session: &SessionState) -> Option<i64> {
    session.fence.filter(|f| (0..=HIGHEST_FENCE).contains(f))
}

/// Gives the session a newer fencing token: what an earlier event of it requested is superseded.
pub(crate) fn raise_fence(session: &mut SessionState, ask: &Step, now: Ms) {
    let id = if ask.event.begins() { ask.id.clone() } else { String::new() };
    let age = ask.age().filter(|_| ask.event.begins()).map_or(0, millis);
    session.begun = Some(Begun { at: now.saturating_sub(age), id });
    if ask.event.begins() {
        session.given.clear();
        session.notes_given = None;
    }
    session.admitted = None;
    release_slots::clear(session);
    // No store answered this engine for a while, and other engines may be in the same state.
    if ask.event.begins() && ask.late.is_some() && ask.paced {
        release_slots::mark(session);
    }
    session.by_person = matches!(ask.event, Event::PersonPrompt);
    if session.by_person {
        session.given_depth = 0;
    }
    let next = stored(session).map_or(0, |f| f + 1);
    session.fence = Some(next.max(ask.host_ms).clamp(0, HIGHEST_FENCE));
}
