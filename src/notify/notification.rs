//! What is told to everyone, as one JSON object.

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::naming::Names;
use crate::policy::limits::Ms;
use crate::store::fleet_reader::Session;
use crate::text;

/// How `text` begins while no more of a session is known than its scope.
#[must_use]
pub fn subject(scope: &str) -> String {
    format!("scope {scope}")
}

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
    /// An agent said that it waits for somebody (`frosty: blocked …`).
    Blocked,
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
            Self::Blocked => "blocked",
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
    /// What the session is shown as, or the last one of a scope; empty where it is the whole fleet.
    #[serde(default)]
    pub shown: String,
    /// Its configured name.
    #[serde(default)]
    pub name: String,
    /// Its window's label.
    #[serde(default)]
    pub label: String,
    /// Its project folder.
    #[serde(default)]
    pub project: String,
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
    /// A word that says no more than this.
    #[must_use]
    pub fn new(kind: Kind, fleet: &str, at: Ms) -> Self {
        Self {
            kind,
            fleet: fleet.to_owned(),
            scope: String::new(),
            session: String::new(),
            shown: String::new(),
            name: String::new(),
            label: String::new(),
            project: String::new(),
            by: String::new(),
            reason: String::new(),
            from: String::new(),
            at,
            until: None,
            host: clock::host(),
            text: String::new(),
        }
    }

    /// Puts in what is known of the session that it is about, which `text` then names in its scope's place.
    #[must_use]
    pub fn named(self, sessions: &[Session]) -> Self {
        let is_meant = |(id, s): &&Session| {
            if self.session.is_empty() { !self.scope.is_empty() && s.scope == self.scope } else { *id == self.session }
        };
        let Some((id, session)) = sessions.iter().find(is_meant) else { return self };
        let shown = Names::of_all(sessions).name(id);
        let text = match self.text.strip_prefix(&subject(&self.scope)) {
            Some(rest) => format!("{shown}{rest}"),
            None => self.text,
        };
        let line = |text: &str| text::line_of(text, text::LONGEST_FOLDER);
        let (name, label, project) = (line(&session.name), line(&session.label), line(&session.project));
        Self { shown, name, label, project, text, ..self }
    }

    /// As one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
