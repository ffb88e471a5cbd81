//! Examines a hook call without performing it: the call is read, prepared and parsed as in [`super::run`],
//! but no request is sent.

use std::io;

use super::local::Known;
use super::{Call, arm, by_flag, is_left_alone, payload, prepare, project};
use crate::config::{Config, Flags, encoded};
use crate::env::Env;
use crate::hint::Problem;
use crate::policy::limits::Class;
use crate::policy::request::Step;
use crate::policy::verdict::{Decision, Outcome, Reason};

/// The result of a call before any store is involved.
pub enum Looked {
    /// The session is not armed, so the hook exits 0 without output. The text gives the reason, and what
    /// would arm it.
    Unarmed(String),
    /// The hook exits 0 with one message, which contains this reason and the failure.
    Fails(Reason, Problem),
    /// The hook would send a request to the store.
    Asks(Box<HookRequest>),
}

/// The request that would be sent to the store.
pub struct HookRequest {
    /// The configuration for the request.
    pub config: Config,
    /// The step that the request contains.
    pub step: Step,
    /// Whether the hook would wait after a refusal.
    pub waits: bool,
    /// Whether the client runs without a person.
    unattended: bool,
}

impl HookRequest {
    /// Returns the hook's exit code after this decision, or `None` where it would wait instead.
    #[must_use]
    pub fn would_exit(&self, decided: &Decision) -> Option<u8> {
        let stays = self.waits
            && decided.outcome != Outcome::Admit
            && decided.reason != Reason::Superseded
            && !(self.unattended && decided.reason == Reason::Done);
        match (self.step.event.asks(), decided.outcome) {
            _ if self.step.shadow => Some(0),
            _ if stays => None,
            (Some(Class::Stop), Outcome::Admit) | (Some(Class::Compact), Outcome::Refuse) => Some(2),
            _ => Some(0),
        }
    }
}

/// Reads a payload from the standard input, and returns the request that `frosty hook` with these flags would
/// send.
#[must_use]
pub fn look(env: &Env, flags: &Flags) -> Looked {
    if env.disabled() {
        return Looked::Unarmed("FROSTY_DISABLE is set; to switch Frosty on again: unset FROSTY_DISABLE".to_owned());
    }
    let unread = |e: payload::BadInput| {
        if is_left_alone(env, flags) {
            return Looked::Unarmed("it is not armed; to arm it: frosty on".to_owned());
        }
        Looked::Fails(Reason::BadInput, Problem::from(&e))
    };
    let bytes = match payload::read(io::stdin()) {
        Ok(bytes) => bytes,
        Err(e) => return unread(e),
    };
    let payload = match payload::parse(&bytes) {
        Ok(payload) => payload,
        Err(e) => return unread(e),
    };
    let project = project(env, payload.cwd());
    match prepare(env, flags, &payload, project.as_deref(), &mut Known::default()) {
        Err((reason, why)) => Looked::Fails(reason, why),
        Ok(Some(call)) => {
            let waits = call.waits();
            let Call { config, step, unattended, .. } = call;
            Looked::Asks(Box::new(HookRequest { config, step, waits, unattended }))
        }
        Ok(None) => {
            let session = encoded(&payload.session_id, "", "").ok();
            let told = arm::told(env, session.as_deref(), project.as_deref()).unwrap_or(None);
            Looked::Unarmed(unarmed(env, flags, told))
        }
    }
}

/// Returns the reason why a session is not armed.
fn unarmed(env: &Env, flags: &Flags, told: Option<bool>) -> String {
    let why = match told {
        Some(false) => "it was disarmed by frosty off or FROSTY_ON=0; to arm it: frosty on",
        None if by_flag(flags) == Some(false) => {
            "its registration arms no session by itself (--arm manual); to arm it: frosty on"
        }
        _ if !flags.wait.is_zero() && env.unattended() && env.on.as_deref() != Some("print") => {
            "the client is unattended, and a waiting engine would block it; to arm it: export FROSTY_ON=print"
        }
        _ => "its configuration arms no session by itself (\"arm\": \"manual\"); to arm it: frosty on",
    };
    why.to_owned()
}
