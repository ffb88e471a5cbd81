//! What the client sends: one JSON object on stdin (client 2.1.331). Unknown fields and events pass through.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// How long stdin may take until its end.
const DEADLINE: Duration = Duration::from_secs(2);
/// No payload is larger.
const LARGEST: usize = 8 * 1024 * 1024;

/// How the client's own wake-ups begin, where a person's prompts do not.
const CLIENT_PROMPT: &str = "<task-notification>";

/// The fields that Frosty reads.
#[derive(Debug, Deserialize)]
pub struct Payload {
    /// The event.
    pub hook_event_name: String,
    /// The session.
    pub session_id: String,
    /// The working folder.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Present in every event of a subagent.
    #[serde(default)]
    agent_id: Option<IgnoredAny>,
    /// `PreCompact`: `auto` or `manual`.
    #[serde(default)]
    pub trigger: Option<String>,
    /// `UserPromptSubmit`: the prompt.
    #[serde(default)]
    prompt: Option<String>,
    /// `Notification`: its kind.
    #[serde(default)]
    pub notification_type: Option<String>,
    /// `StopFailure`: the error's name.
    #[serde(default)]
    pub error: Option<String>,
    /// `StopFailure`: the API's own words.
    #[serde(default)]
    pub error_details: Option<String>,
    /// `Stop`, `StopFailure`: the last message.
    #[serde(default)]
    pub last_assistant_message: Option<String>,
}

impl Payload {
    /// Whether the event is a subagent's: then it is journaled only.
    #[must_use]
    pub fn is_subagents(&self) -> bool {
        self.agent_id.is_some() || self.hook_event_name == "SubagentStop"
    }

    /// Whether a submitted prompt is the client's own wake-up.
    #[must_use]
    pub fn is_client_prompt(&self) -> bool {
        self.prompt.as_deref().is_some_and(|p| p.starts_with(CLIENT_PROMPT))
    }
}

/// Why the input is no payload.
#[derive(Debug, thiserror::Error)]
pub enum BadInput {
    /// Nothing came.
    #[error("expected a hook payload (one JSON object) on stdin, found nothing; {CURE}")]
    Empty,
    /// Stdin was not closed in time.
    #[error("expected stdin to end within 2 s, found it still open after {bytes} bytes; {CURE}")]
    Late {
        /// What had come until then.
        bytes: usize,
    },
    /// Too much came.
    #[error("expected at most 8 MiB on stdin, found more; {CURE}")]
    TooLarge,
    /// It is not UTF-8.
    #[error("expected UTF-8 on stdin, found an invalid byte at offset {at}; {CURE}")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// It is not a payload.
    #[error(
        "expected a hook payload (a JSON object with hook_event_name and session_id) on stdin, found: {found}; {CURE}"
    )]
    NotAPayload {
        /// What the parser said.
        found: String,
    },
    /// Reading failed.
    #[error("expected to read stdin, found: {0}; {CURE}")]
    Unreadable(io::Error),
}

const CURE: &str = "try it by hand: frosty hook < payload.json";

/// Reads stdin to its end and takes it for a payload.
///
/// # Errors
/// When it is late, too large, or no payload.
pub fn read(stdin: impl AsFd) -> Result<Payload, BadInput> {
    parse(&slurp(stdin, DEADLINE)?)
}

/// Takes bytes for a payload.
///
/// # Errors
/// When they are none.
pub fn parse(bytes: &[u8]) -> Result<Payload, BadInput> {
    let text = std::str::from_utf8(bytes).map_err(|e| BadInput::NotUtf8 { at: e.valid_up_to() })?;
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(BadInput::Empty);
    }
    if !text.trim_start().starts_with('{') {
        // Serde would take an array for the fields in their order.
        let found = "JSON or text that is no object".to_owned();
        return Err(BadInput::NotAPayload { found });
    }
    let payload: Payload =
        serde_json::from_str(text).map_err(|e| BadInput::NotAPayload { found: crate::text::line(&e.to_string()) })?;
    if payload.session_id.is_empty() || payload.hook_event_name.is_empty() {
        return Err(BadInput::NotAPayload { found: "an empty session_id or hook_event_name".to_owned() });
    }
    Ok(payload)
}

/// Reads without a buffer between: the standard one would cost a stop three more system calls.
fn slurp(stdin: impl AsFd, within: Duration) -> Result<Vec<u8>, BadInput> {
    let deadline = Instant::now() + within;
    let mut bytes = Vec::new();
    let mut filled = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let late = BadInput::Late { bytes: filled };
        if left.is_zero() {
            return Err(late);
        }
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(late),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(BadInput::Unreadable(e.into())),
        }
        if filled == bytes.len() {
            bytes.resize((bytes.len() * 4).clamp(2000, LARGEST + 1), 0);
        }
        match rustix::io::read(&stdin, bytes.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(BadInput::Unreadable(e.into())),
        }
        if filled > LARGEST {
            return Err(BadInput::TooLarge);
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
