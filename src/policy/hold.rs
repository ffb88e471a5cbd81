//! A hold: a person, or an API error, keeps a scope or the whole fleet from continuing.

use serde::{Deserialize, Serialize};

use crate::policy::fact::{FactId, identity, is_unnamed};
use crate::policy::limits::Ms;

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
