//! What is told to everyone, as one JSON object.

use serde::{Deserialize, Serialize};

use crate::throttle::policy::Ms;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A hold was opened: by a person, by API errors that only a person can mend, or by Willy himself.
    Hold,
    /// A hold was lifted by a person.
    Release,
    /// A session that was held goes on.
    Resume,
    /// A session stands at a permission dialog (event `Notification`, `permission_prompt`, client 2.1.331).
    NeedsYou,
    /// A session's waiting engine is gone: nobody brings the agent back.
    WaiterLost,
}

impl Kind {
    /// Whether it belongs in Willy's stream and on the channel `frosty.hold`.
    #[must_use]
    pub fn is_of_holds(self) -> bool {
        matches!(self, Self::Hold | Self::Release | Self::Resume)
    }

    /// Its name, as it is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Resume => "resume",
            Self::NeedsYou => "needs_you",
            Self::WaiterLost => "waiter_lost",
        }
    }
}

/// One thing that is told. Times are the store's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// What happened.
    pub kind: Kind,
    /// The fleet, encoded.
    pub fleet: String,
    /// The scope, encoded; empty where it is the whole fleet.
    #[serde(default)]
    pub scope: String,
    /// The session, encoded, where it is about one.
    #[serde(default)]
    pub session: String,
    /// Who held or released: a person, `willy` or `api`.
    #[serde(default)]
    pub by: String,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// From where it was done: the machine, the terminal, the folder.
    #[serde(default)]
    pub from: String,
    /// When.
    pub at: Ms,
    /// When it ends by itself, if it does.
    #[serde(default)]
    pub until: Option<Ms>,
    /// The machine.
    pub host: String,
    /// The whole of it in one line, for a person.
    pub text: String,
}

impl Word {
    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
