//! Reads the client's payload: one JSON object on stdin (client 2.1.331). Unknown fields and events pass
//! through.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde::de::{IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use crate::hint::Hint;
use crate::read::Unended;

/// How long stdin may take until its end.
const DEADLINE: Duration = Duration::from_secs(2);
/// The size limit of a payload.
const LARGEST: usize = 8 * 1024 * 1024;

/// The beginning of the client's own wake-ups. A person's prompts do not begin like this.
const CLIENT_PROMPT: &str = "<task-notification>";
/// The client's label there for the output of a hook on `Stop` or `StopFailure` (2.1.332).
const HOOK_FEEDBACK: &str = "<summary>Stop hook feedback</summary>";

/// The fields that Frosty reads. Only the event's name and the session's id must have the right type. Any other
/// field may have another type, or text cut in the middle of a character, and must not keep an agent from its
/// verdict.
#[derive(Debug, Deserialize)]
pub struct Payload<'a> {
    /// The event.
    pub hook_event_name: String,
    /// The session.
    pub session_id: String,
    #[serde(default, borrow)]
    cwd: Text<'a>,
    /// Present in every event of a subagent.
    #[serde(default)]
    agent_id: Option<IgnoredAny>,
    #[serde(default, borrow)]
    trigger: Text<'a>,
    #[serde(default, borrow)]
    source: Text<'a>,
    #[serde(default, borrow)]
    transcript_path: Text<'a>,
    #[serde(default, borrow)]
    reason: Text<'a>,
    #[serde(default, borrow)]
    prompt: Text<'a>,
    #[serde(default, borrow)]
    notification_type: Text<'a>,
    #[serde(default, borrow)]
    error: Text<'a>,
    #[serde(default, borrow)]
    error_details: Text<'a>,
    #[serde(default, borrow)]
    last_assistant_message: Text<'a>,
    #[serde(default, borrow)]
    background_tasks: Option<&'a RawValue>,
    #[serde(default, borrow)]
    session_crons: Option<&'a RawValue>,
}

/// A task that the client runs beside the turn.
#[derive(Debug, Deserialize)]
struct Task<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default, borrow)]
    status: Text<'a>,
}

/// A value that is decoded only on request, and only if it is a string.
pub(crate) type Text<'a> = Option<&'a RawValue>;

impl Payload<'_> {
    /// Returns whether the event is a subagent's. Such an event is only journaled.
    #[must_use]
    pub fn is_subagents(&self) -> bool {
        self.agent_id.is_some() || self.hook_event_name == "SubagentStop"
    }

    /// Returns the working directory.
    #[must_use]
    pub fn cwd(&self) -> Option<String> {
        text(self.cwd)
    }

    /// `SessionStart`: returns how the session began.
    #[must_use]
    pub fn source(&self) -> Option<String> {
        text(self.source)
    }

    /// Returns the session's transcript, a file in its project's directory.
    #[must_use]
    pub fn transcript_path(&self) -> Option<String> {
        text(self.transcript_path)
    }

    /// `SessionEnd`: returns the reason why the session ended.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        text(self.reason)
    }

    /// `PreCompact`: returns whether a person requested the compaction.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        text(self.trigger).as_deref() == Some("manual")
    }

    /// `UserPromptSubmit`: returns whether the prompt is the client's own wake-up.
    #[must_use]
    pub fn is_client_prompt(&self) -> bool {
        text(self.prompt).is_some_and(|p| p.starts_with(CLIENT_PROMPT))
    }

    /// `UserPromptSubmit`: returns whether the client woke the session with the output of a Stop hook. The
    /// prompt does not name the hook.
    #[must_use]
    pub fn is_hook_feedback(&self) -> bool {
        let head =
            |p: String| p.split_once("</task-notification>").is_some_and(|(head, _)| head.contains(HOOK_FEEDBACK));
        text(self.prompt).filter(|p| p.starts_with(CLIENT_PROMPT)).is_some_and(head)
    }

    /// `Notification`: returns whether the session waits at a permission dialog.
    #[must_use]
    pub fn needs_permission(&self) -> bool {
        text(self.notification_type).as_deref() == Some("permission_prompt")
    }

    /// `Stop`: returns the agent's last message.
    #[must_use]
    pub fn last_message(&self) -> Option<String> {
        text(self.last_assistant_message)
    }

    /// `Stop`: returns the types of the background tasks that still run. Older clients send none.
    #[must_use]
    pub fn running_tasks(&self) -> Vec<String> {
        const OVER: [&str; 9] =
            ["completed", "done", "finished", "exited", "failed", "error", "killed", "stopped", "cancelled"];
        let list = self.background_tasks.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
        // Parsed one by one, so that a malformed task does not hide the others.
        let tasks = list.into_iter().flatten().filter_map(|raw| serde_json::from_str::<Task<'_>>(raw.get()).ok());
        let over = |t: &Task<'_>| text(t.status).is_some_and(|s| OVER.contains(&s.to_lowercase().as_str()));
        tasks.filter(|t| !over(t)).map(|t| text(t.kind).unwrap_or_default()).collect()
    }

    /// `Stop`: returns whether the session has a timer of its own in the client.
    #[must_use]
    pub fn has_crons(&self) -> bool {
        let crons = self.session_crons.and_then(|raw| serde_json::from_str::<Vec<IgnoredAny>>(raw.get()).ok());
        crons.is_some_and(|list| !list.is_empty())
    }

    /// `StopFailure`: returns the error's name.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        text(self.error)
    }

    /// `StopFailure`: returns the API's error text, and the last message that the client made of it.
    #[must_use]
    pub fn error_texts(&self) -> [Option<String>; 2] {
        [text(self.error_details), text(self.last_assistant_message)]
    }
}

/// Returns the string in a raw value. Half a surrogate pair becomes the replacement character.
pub(crate) fn text(raw: Text<'_>) -> Option<String> {
    struct Lossy;
    impl Visitor<'_> for Lossy {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }
    let raw = raw?.get();
    // Parsed as bytes, since the parser refuses half a surrogate pair in text.
    raw.starts_with('"').then(|| serde_json::Deserializer::from_str(raw).deserialize_bytes(Lossy).ok())?
}

/// The reason why the input is not a payload.
#[derive(Debug, thiserror::Error)]
pub enum BadInput {
    /// Stdin was empty.
    #[error("stdin is empty; expected a hook payload (one JSON object)")]
    Empty,
    /// Stdin was not closed in time.
    #[error("stdin is still open after 2 s and {bytes} bytes")]
    Late {
        /// The number of bytes that had arrived.
        bytes: usize,
    },
    /// The input is too large.
    #[error("stdin has more than 8 MiB")]
    TooLarge,
    /// The input is not UTF-8.
    #[error("stdin is not UTF-8: invalid byte at offset {at}")]
    NotUtf8 {
        /// The offset of the invalid byte.
        at: usize,
    },
    /// The input is not a payload.
    #[error("stdin is no hook payload (a JSON object with hook_event_name and session_id): {found}")]
    NotAPayload {
        /// The parser's error.
        found: String,
    },
    /// Reading failed.
    #[error("cannot read stdin: {0}")]
    Unreadable(io::Error),
}

impl From<Unended> for BadInput {
    fn from(e: Unended) -> Self {
        match e {
            Unended::Late(bytes) => Self::Late { bytes },
            Unended::TooLarge => Self::TooLarge,
            Unended::Failed(e) => Self::Unreadable(e),
        }
    }
}

impl Hint for BadInput {
    fn hint(&self) -> Option<String> {
        Some("try the payload by hand: frosty check < payload.json".to_owned())
    }
}

/// Reads stdin to its end.
///
/// # Errors
/// Returns an error when the input is late or too large.
pub fn read(stdin: impl AsFd) -> Result<Vec<u8>, BadInput> {
    crate::read::to_end(stdin, DEADLINE, LARGEST).map_err(BadInput::from)
}

/// Reads stdin as [`read`] does, for a waiting engine. Whenever the time is over, `goes_on` decides whether to
/// wait as long again.
///
/// # Errors
/// Returns an error when the input is too large, or `goes_on` gave up.
pub fn read_patiently(stdin: impl AsFd, goes_on: impl FnMut() -> bool) -> Result<Vec<u8>, BadInput> {
    crate::read::to_end_while(stdin, DEADLINE, LARGEST, goes_on).map_err(BadInput::from)
}

/// Parses bytes as one JSON object from the client, with or without a byte-order mark.
///
/// # Errors
/// Returns an error when the bytes are not such an object.
pub(crate) fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, BadInput> {
    let text = std::str::from_utf8(bytes).map_err(|e| BadInput::NotUtf8 { at: e.valid_up_to() })?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(BadInput::Empty);
    }
    if !text.trim_start().starts_with('{') {
        // Serde would accept an array as the fields in their order.
        let found = "JSON or text that is no object".to_owned();
        return Err(BadInput::NotAPayload { found });
    }
    serde_json::from_str(text).map_err(|e| BadInput::NotAPayload { found: crate::text::line(&e.to_string()) })
}

/// Parses bytes as a payload.
///
/// # Errors
/// Returns an error when the bytes are not a payload.
pub fn parse(bytes: &[u8]) -> Result<Payload<'_>, BadInput> {
    let payload: Payload<'_> = object(bytes)?;
    if payload.session_id.is_empty() || payload.hook_event_name.is_empty() {
        return Err(BadInput::NotAPayload { found: "an empty session_id or hook_event_name".to_owned() });
    }
    Ok(payload)
}
