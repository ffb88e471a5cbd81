//! The functions that the fuzzers in `fuzz/` reach besides the public items. No other build contains them.

use std::time::Duration;

use super::payload::Payload;
use super::prompt::Prompt;
use super::reply::{self, Streams};
use crate::config::Config;
use crate::env::Env;
use crate::policy::request::{Event, RestRequest};
use crate::policy::verdict::{Decision, Verdict};

/// Returns the event of a payload, and the answer to the agent's directive.
#[must_use]
pub fn event(payload: &Payload<'_>, config: &Config, env: &Env, waits: bool) -> (Event, String) {
    let mut answer = String::new();
    let event = super::event(payload, config, env, waits, (&mut answer, &mut Vec::new()));
    (event, answer)
}

/// Returns the rest of a parked session.
#[must_use]
pub fn parked(payload: &Payload<'_>, park_max: Option<Duration>) -> Option<RestRequest> {
    super::parked::rest(payload, park_max)
}

/// The reply to the client.
pub struct Said {
    /// Whether the exit code is 2. The only other one is 0.
    pub two: bool,
    /// The bytes on stdout.
    pub stdout: Vec<u8>,
    /// The bytes on stderr.
    pub stderr: Vec<u8>,
}

/// Answers an event as if a store had committed the decision.
#[must_use]
pub fn answer(event: &Event, decision: Decision, notes: Vec<String>, prompt: &Prompt) -> Said {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let verdict = Verdict::committed(decision, notes);
    let code = reply::answer(event, verdict, prompt, Streams { stdout: &mut stdout, stderr: &mut stderr });
    let two = code != reply::Code::ZERO;
    Said { two, stdout, stderr }
}
