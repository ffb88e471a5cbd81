//! What the fuzzers in `fuzz/` reach besides the public items. No other build has it.

use std::time::Duration;

use super::payload::Payload;
use super::prompt::Prompt;
use super::reply::{self, Streams};
use crate::config::Config;
use crate::env::Env;
use crate::policy::request::Event;
use crate::policy::request::RestRequest;
use crate::policy::verdict::Decision;
use crate::policy::verdict::Verdict;

/// The event of a payload, and what the agent is told of its directive.
#[must_use]
pub fn event(payload: &Payload<'_>, config: &Config, env: &Env, waits: bool) -> (Event, String) {
    let mut answer = String::new();
    (super::event(payload, config, env, waits, &mut answer), answer)
}

/// The rest of a parked session.
#[must_use]
pub fn parked(payload: &Payload<'_>, park_max: Option<Duration>) -> Option<RestRequest> {
    super::parked::rest(payload, park_max)
}

/// What the client is answered.
pub struct Said {
    /// Whether the exit code is another than 0; there is one other.
    pub two: bool,
    /// On stdout.
    pub stdout: Vec<u8>,
    /// On stderr.
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
