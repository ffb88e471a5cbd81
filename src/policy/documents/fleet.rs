//! The document of the fleet: its store epoch, its hold, the limits of its API key, and the release slots.

use serde::{Deserialize, Serialize};

use super::QuotaLog;
use crate::policy::api_limit::ModelLimit;
use crate::policy::fact::{FactId, Span};
use crate::policy::hold::Hold;
use crate::policy::limits::Ms;

/// The state of all scopes that share one API key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetState {
    /// The store epoch: a random id set once. A store that lost its data has another one.
    #[serde(rename = "born")]
    pub store_epoch: String,
    /// When a requester that knew this store by another epoch sent its first request; admissions before that are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Ms>,
    /// The fleet's hold, in force or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When a hold was last lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Ms>,
    /// The holds that were lifted or replaced last, so that no other store brings one back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifted: Vec<FactId>,
    /// Whether the sessions under this hold continue at once when it ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hold_at_once: bool,
    /// The period in which the API refuses the fleet's key, by a reset time that one of its agents received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Span>,
    /// When a successful turn or a release last lifted such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Ms>,
    /// When an admission last probed such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probed: Option<Ms>,
    /// The limits that name one model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<ModelLimit>,
    /// The release slots given: the time of the last one and the time of the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<Span>,
    /// When a session was last admitted in its release slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_at: Option<Ms>,
    /// When holds were last released at once: sessions that stopped before that need no slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<Ms>,
    /// The admissions counted by the fleet's quotas; kept only where a quota is configured.
    #[serde(skip_serializing_if = "QuotaLog::is_empty")]
    pub quota: QuotaLog,
}

impl FleetState {
    /// Works as [`ScopeState::rebase`], for what binds the scopes. A release or an answer in the future lifts nothing.
    pub fn rebase(&mut self, now: Ms) {
        self.rebase_limits(now);
        for lifted in [&mut self.released, &mut self.at_once] {
            *lifted = lifted.filter(|at| *at <= now);
        }
    }
}
