//! The document of a session: one conversation of the client.

use serde::{Deserialize, Serialize};

use crate::policy::cadence::CadenceState;
use crate::policy::fact::FactId;
use crate::policy::limits::Ms;
use crate::policy::notes::AgentNote;
use crate::policy::process::Process;
use crate::policy::rest::Rest;
use crate::policy::rhythm::Rhythm;
use crate::policy::turn::TranscriptPlace;
use crate::policy::work::{Claimed, WorkMode};

/// The state of a session: one conversation of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionState {
    /// The fencing token, which only grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
    /// The scope in which the session was last seen (encoded).
    pub scope: String,
    /// The configured name, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Whether a project's file chose the name: the names that the user gave take precedence.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub named_by_project: bool,
    /// The tmux window label, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// The project folder that the session's start registered, else the folder of the first event after it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// The rest, lasting or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// The rests that ended early or were replaced last, so that no other store brings one back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifted: Vec<FactId>,
    /// Whether there is a wake-up that no admission has delivered yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub woken: bool,
    /// The signals that end the session's rest; `None` for all. Its last Stop event had them in its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_on: Option<Vec<String>>,
    /// The notes of the wake-ups, one line each, oldest first; the next admission delivers them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The notes that the last admission delivered; kept until the next Stop event, because its answer may have been
    /// lost.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub given: String,
    /// How many sessions one after the other caused the notes that wait: 0 for a person's.
    #[serde(skip_serializing_if = "is_zero")]
    pub note_depth: u32,
    /// The same of the notes with which the turn under way began.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_depth: u32,
    /// When the fence was last raised, and by which Stop event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
    /// The request that was last admitted, and when; kept until the fence is raised, to repeat an answer that was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Begun>,
    /// Whether the agent's context contains the directives, since an admission's prompt named them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub briefed: bool,
    /// The notes that the agent wrote for itself, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<AgentNote>,
    /// Whether they changed since they were last given to the agent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub notes_changed: bool,
    /// When an admission gave the notes; kept until the next Stop event, because its answer may have been lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes_given: Option<Ms>,
    /// What is counted for the kinds of the session's turns.
    #[serde(skip_serializing_if = "CadenceState::is_empty")]
    pub cadence: CadenceState,
    /// The turns of the last day, as far as they were measured.
    #[serde(skip_serializing_if = "Rhythm::is_empty")]
    pub rhythm: Rhythm,
    /// The continuations since a person's last prompt.
    #[serde(skip_serializing_if = "is_zero")]
    pub count: u32,
    /// The idle streak: the turns in a row in which the agent did nothing.
    #[serde(skip_serializing_if = "is_zero")]
    pub idle: u32,
    /// The units of the run, which are the tool calls of the working turns since the last rest.
    #[serde(skip_serializing_if = "is_zero")]
    pub units: u32,
    /// The tool calls of the last turns, as hashes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Vec<u64>>,
    /// The position up to which the transcript was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<TranscriptPlace>,
    /// Since when the session's turns could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmeasured: Option<Ms>,
    /// The version of the client that wrote the transcript last.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client_version: String,
    /// The model of the session's last turn, as far as it is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Whether the session is a gate's: `frosty gate` requests its runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gate: bool,
    /// The runs of the gate in a row that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// When the last turn that a person began ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_person: Option<Ms>,
    /// Whether a person's prompt began the turn under way. Where that is unknown, the turn is the agent's own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_person: bool,
    /// Whether the session can be woken.
    #[serde(rename = "state", skip_serializing_if = "Phase::is_open")]
    pub phase: Phase,
    /// Its release slot, once its obstacle also ends for others: a time, or zero while it has no slot yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<Ms>,
    /// Whether a permission dialog of the session is open.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_you: bool,
    /// The process that waits for the session since its last Stop event, on its machine; `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<Process>,
    /// The client process that the session belongs to, on its machine; `None` while it is unknown, and after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Process>,
    /// The machine on which the session was last seen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The name of the hold at the session's last request; kept until the next admission delivers it, except `api`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub held_by: String,
    /// The reason of that hold.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub held_reason: String,
    /// Whether the session claimed entries at its last Stop event.
    #[serde(skip_serializing_if = "WorkMode::is_off")]
    pub work_mode: WorkMode,
    /// The entry of its agent's work queue that the session has in hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<Claimed>,
    /// Whether a dispatcher started the session, and may stop it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub started: bool,
    /// When the last event came.
    pub seen: Ms,
    /// The reason code of the last continuation request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_reason: String,
}

/// A request or an event with its time and its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// When it was first sent.
    pub at: Ms,
    /// The id of the step of the Stop event or failure; empty for a prompt or the session's end.
    pub id: String,
}

/// The states in which a session can, or cannot, be continued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The session is open.
    #[default]
    Open,
    /// The client ended the session.
    Ended,
    /// The client's supervisor stopped the session in the background.
    Asleep,
    /// The session's waiting engine reached the end of its wait.
    Expired,
}

impl Phase {
    /// Returns the stored code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::Ended => "ended",
            Self::Asleep => "asleep",
            Self::Expired => "expired",
        }
    }

    /// Returns the phase with this code; an unknown code counts as open.
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        [Self::Ended, Self::Asleep, Self::Expired].into_iter().find(|p| p.code() == code).unwrap_or_default()
    }

    /// Returns whether no client process has the session open.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Asleep)
    }

    fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
