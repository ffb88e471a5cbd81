//! The admissions that quotas count, and the wait queue of a quota.

use serde::{Deserialize, Serialize};

use crate::policy::limits::Ms;
use crate::policy::pace::Paced;
use crate::policy::quota::Places;

/// The admissions that quotas count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaLog {
    /// The times of the admissions, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admitted: Vec<Ms>,
    /// How long an admission is kept, in milliseconds: the longest period of any request's quotas.
    ///
    /// A request with a shorter period must not delete what another request still counts.
    pub keep: Ms,
    /// The sessions that wait for a place, in the order of their Stop events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    /// The admissions that a store read for each quota, where it did not read all of them.
    #[serde(skip)]
    pub places: Vec<Places>,
    /// The turns that were admitted and have not ended; kept only where a pace is configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<Flight>,
    /// What the pace permits, as the step derived it.
    #[serde(skip)]
    pub paced: Paced,
}

impl QuotaLog {
    /// Returns whether nothing was ever counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.admitted.is_empty() && self.keep == 0 && self.waiting.is_empty() && self.in_flight.is_empty()
    }
}

/// A turn that was admitted and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// The session, encoded.
    pub session: String,
    /// When it was admitted.
    pub at: Ms,
}

/// A session in a wait queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The session, encoded.
    pub session: String,
    /// When the session began to wait.
    pub since: Ms,
    /// When the session will send its next request.
    pub next: Ms,
}
