//! The document of a scope: what its limits count, its cooldowns, its hold and its API errors.

use serde::{Deserialize, Serialize};

use super::{IN_FLIGHT, QuotaLog};
use crate::policy::fact::{FactId, Span};
use crate::policy::hold::Hold;
use crate::policy::limits::{Class, Ms};

/// The state of one class of a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassState {
    /// When a request was last admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted_at: Option<Ms>,
    /// The attempts that the burst window counts, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Ms>,
    /// How long an attempt is kept, in milliseconds: the longest window that any request had.
    #[serde(skip_serializing_if = "is_no_time")]
    pub attempts_keep: Ms,
    /// The last cooldown, open or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Span>,
    /// The trips that are not forgotten yet.
    pub strikes: u32,
}

/// The state of a scope: one agent's place, by its tmux window or its project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScopeState {
    /// The scope's hold, in force or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When a hold was last lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Ms>,
    /// The holds that were lifted or replaced last, so that no other store brings one back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifted: Vec<FactId>,
    /// The class of continuations.
    pub stop: ClassState,
    /// The class of automatic compactions.
    pub compact: ClassState,
    /// The last cooldown opened by an API error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Span>,
    /// Whether that cooldown's end is a reset time, which a successful turn of any scope disproves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub api_of_key: bool,
    /// The model whose limit that reset time ends; empty for the whole key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_model: String,
    /// The cooldown of a later error without a reset time, where that one lasts longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_own: Option<Span>,
    /// The API errors since the last successful turn.
    pub api_strikes: u32,
    /// Of these errors, the `invalid_request` and `max_output_tokens` in a row.
    pub api_row: u32,
    /// The holds opened by API errors since the last successful turn.
    pub api_holds: u32,
    /// The admissions counted by the scope's quotas; kept only where a quota is configured.
    #[serde(skip_serializing_if = "QuotaLog::is_empty")]
    pub quota: QuotaLog,
    /// The trips of the last day, oldest first: enough of them turn a cooldown into a hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trips: Vec<Ms>,
    /// When the scope came to this store from another store, with a last admission that is not known here.
    ///
    /// The minimum interval begins at that time, as if the scope had been admitted then. The time is up to
    /// [`IN_FLIGHT`] ahead while the other store may still admit an earlier request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Ms>,
}

impl ScopeState {
    /// Returns how much is left of the API cooldowns, whether they were disproved or not.
    #[must_use]
    pub fn api_left(&self, now: Ms) -> Option<Ms> {
        self.api.into_iter().chain(self.api_own).filter_map(|api| api.left(now)).max()
    }

    /// Returns the state of one class.
    pub fn class_mut(&mut self, class: Class) -> &mut ClassState {
        match class {
            Class::Stop => &mut self.stop,
            Class::Compact => &mut self.compact,
        }
    }

    /// Reads times later than `now` as `now` (past facts), or as starting now with the same length (ends).
    pub fn rebase(&mut self, now: Ms) {
        for class in [&mut self.stop, &mut self.compact] {
            class.admitted_at = class.admitted_at.map(|t| t.min(now));
            class.attempts.iter_mut().for_each(|t| *t = (*t).min(now));
            if let Some(cooldown) = &mut class.cooldown {
                cooldown.rebase(now);
            }
        }
        for api in self.api.iter_mut().chain(&mut self.api_own) {
            api.rebase(now);
        }
        if let Some(hold) = &mut self.hold {
            hold.rebase(now);
        }
        self.released = self.released.filter(|at| *at <= now);
        if self.taken.is_some_and(|taken| taken > now.saturating_add(IN_FLIGHT)) {
            self.taken = Some(now);
        }
        self.trips.iter_mut().for_each(|t| *t = (*t).min(now));
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_no_time(n: &Ms) -> bool {
    *n == 0
}
