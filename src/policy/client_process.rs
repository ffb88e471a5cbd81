//! The client process that a session belongs to.

use crate::policy::documents::SessionState;
use crate::policy::request::{Claim, Event, RunPart, Step};

/// The relation of the client process that sent an event to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The session belongs to this process, as far as is known.
    Own,
    /// The session belongs to another process, and the event takes it over.
    TakesOver,
    /// The session belongs to another process and stays with it: the event is only recorded.
    Beside,
    /// The session belongs to another process of the same machine, and the caller can check whether that process still
    /// runs.
    Contested,
}

/// Compares the client process that sent the event with the one that the session belongs to.
pub(crate) fn relation(session: &SessionState, ask: &Step) -> Relation {
    let (Some(own), Some(owner)) = (ask.client, session.client) else { return Relation::Own };
    let is_here = session.host == ask.host;
    if !ask.event.is_clients() || matches!(ask.event, Event::Ask { .. }) || (is_here && own.may_be(&owner)) {
        return Relation::Own;
    }
    match ask.claim {
        Claim::Take => Relation::TakesOver,
        Claim::Beside => Relation::Beside,
        Claim::Yield if is_here => Relation::Contested,
        Claim::Yield => match ask.event.settles_unseen() {
            Claim::Take => Relation::TakesOver,
            _ => Relation::Beside,
        },
    }
}

/// Notes the client process that the session belongs to from now on.
pub(crate) fn own(session: &mut SessionState, ask: &Step, moves: bool) {
    if ask.event.ends() || matches!(ask.event, Event::Run { part: RunPart::End(_), .. }) {
        session.client = None;
        return;
    }
    if matches!(ask.event, Event::Ask { .. }) {
        return;
    }
    let Some(client) = ask.client else { return };
    let is_same = session.host == ask.host && session.client.is_some_and(|own| own.may_be(&client));
    // More exact data about the same process is kept.
    if if is_same { client.birth.is_some() } else { moves } {
        session.client = Some(client);
    }
}
