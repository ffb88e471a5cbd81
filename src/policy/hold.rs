//! A hold: a person, or an API error, keeps a scope or the whole fleet from continuing.

use serde::{Deserialize, Serialize};

use crate::policy::documents::{FleetState, ScopeState};
use crate::policy::fact::{FactId, identity, is_unnamed};
use crate::policy::limits::{Ms, millis};
use crate::policy::request::HoldRequest;
use crate::policy::verdict::Held;

/// A hold of a scope or a fleet: it refuses requests until a person releases it or its booked end comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The reason given.
    pub reason: String,
    /// The person's name, or `api` for a hold opened by API errors.
    pub by: String,
    /// When the hold began.
    pub since: Ms,
    /// The booked end, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Ms>,
    /// The id of the hold.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Hold {
    /// Returns the id of the hold.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.since)
    }

    /// Works as [`Span::rebase`].
    pub fn rebase(&mut self, now: Ms) {
        if self.since > now {
            self.id = self.identity();
            if let Some(until) = &mut self.until {
                *until = now.saturating_add(until.saturating_sub(self.since).max(0));
            }
            self.since = now;
        }
    }

    /// Returns whether the hold is in force at `now`.
    #[must_use]
    pub fn holds(&self, now: Ms) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// Returns the hold in force and the end of the last hold in force; the inner `None` is a hold without an end.
pub(crate) fn held(scope: &ScopeState, fleet: &FleetState, now: Ms) -> Option<(Held, Option<Ms>)> {
    let in_force = |hold: &'_ Option<Hold>| hold.as_ref().filter(|h| h.holds(now)).cloned();
    let (own, fleets) = (in_force(&scope.hold), in_force(&fleet.hold));
    let until = match (&own, &fleets) {
        (Some(own), Some(fleets)) => own.until.zip(fleets.until).map(|(a, b)| a.max(b)),
        (own, fleets) => own.as_ref().or(fleets.as_ref())?.until,
    };
    let whole = own.is_none();
    own.or(fleets).map(|h| (Held { by: h.by, reason: h.reason, fleet: whole }, until))
}

/// What happened to the hold that was in force.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    /// The hold that a release lifted.
    pub(crate) lifted: Option<Held>,
    /// The hold that another one replaced.
    pub(crate) replaced: Option<Hold>,
    /// The hold that stays in force; a new hold that would end before it was not opened.
    pub(crate) stands: Option<Hold>,
}

pub(crate) fn lift(hold: &mut Option<Hold>, released: &mut Option<Ms>, fleet: bool, now: Ms) -> Turned {
    let lifted = hold.take().filter(|h| h.holds(now));
    *released = Some(now);
    Turned { lifted: lifted.map(|h| Held { by: h.by, reason: h.reason, fleet }), ..Turned::default() }
}

/// Opens a hold, unless a longer one is in force and is not to be replaced.
pub(crate) fn open(hold: &mut Option<Hold>, asked: &HoldRequest, now: Ms) -> Turned {
    let new = opened(asked, now);
    let stands = hold.as_ref().filter(|h| h.holds(now)).cloned();
    let lasts_longer = |h: &Hold| new.until.is_some_and(|end| h.until.is_none_or(|until| until > end));
    if !asked.replace && stands.as_ref().is_some_and(lasts_longer) {
        return Turned { stands, ..Turned::default() };
    }
    *hold = Some(new);
    Turned { replaced: stands, ..Turned::default() }
}

fn opened(asked: &HoldRequest, now: Ms) -> Hold {
    let until = asked.lasting.map(|lasting| now.saturating_add(millis(lasting)));
    Hold { reason: asked.reason.clone(), by: asked.by.clone(), since: now, until, id: 0 }
}
