//! A notification, as one JSON object.

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::naming::Names;
use crate::policy::limits::Ms;
use crate::store::fleet_reader::Session;
use crate::text;

/// Returns the beginning of `text` while only the scope of a session is known.
#[must_use]
pub fn subject(scope: &str) -> String {
    format!("scope {scope}")
}

/// The kind of event that a notification reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A hold was opened: by a person, by API errors that only a person can resolve, or by Willy.
    Hold,
    /// A person released a hold.
    Release,
    /// A session that was held continues.
    Resume,
    /// A session waits at a permission dialog (event `Notification`, `permission_prompt`, client 2.1.331).
    NeedsYou,
    /// A session's waiting engine is gone, so nothing resumes the agent.
    WaiterLost,
    /// An agent reported that it is blocked on a person (`frosty: blocked …`).
    Blocked,
    /// Work has waited for an agent, and no session of it works.
    WorkWaiting,
}

impl Kind {
    /// Returns whether the notification belongs in Willy's stream and on the channel `frosty.hold`.
    #[must_use]
    pub fn is_of_holds(self) -> bool {
        matches!(self, Self::Hold | Self::Release | Self::Resume)
    }

    /// Returns the kind's name in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Resume => "resume",
            Self::NeedsYou => "needs_you",
            Self::WaiterLost => "waiter_lost",
            Self::Blocked => "blocked",
            Self::WorkWaiting => "work_waiting",
        }
    }
}

/// One notification. Its times are the store's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The kind of event.
    pub kind: Kind,
    /// The fleet, encoded.
    pub fleet: String,
    /// The scope, encoded; empty for the whole fleet.
    #[serde(default)]
    pub scope: String,
    /// The session, encoded, where the notification is about one.
    #[serde(default)]
    pub session: String,
    /// The display name of the session, or of the scope's last one; empty for the whole fleet.
    #[serde(default)]
    pub shown: String,
    /// The session's configured name.
    #[serde(default)]
    pub name: String,
    /// The session's window label.
    #[serde(default)]
    pub label: String,
    /// The session's project directory.
    #[serde(default)]
    pub project: String,
    /// The author of the hold or the release: a person, `willy` or `api`.
    #[serde(default)]
    pub by: String,
    /// The reason.
    #[serde(default)]
    pub reason: String,
    /// The place of origin: the machine, the terminal and the directory.
    #[serde(default)]
    pub from: String,
    /// The time of the event.
    pub at: Ms,
    /// When the hold ends without a release, if it does.
    #[serde(default)]
    pub until: Option<Ms>,
    /// The machine's name.
    pub host: String,
    /// The whole notification in one line, for a person.
    pub text: String,
}

impl Notification {
    /// Creates a notification with these fields alone.
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

    /// Adds the known facts about the session, which `text` then names instead of its scope.
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

    /// Returns the notification as one line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
