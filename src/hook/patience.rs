//! Waits for what an engine needs before its first request: its payload, and a readable configuration.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::{Duration, Instant};

use super::client::Client;
use super::local::Known;
use super::payload::{self, BadInput, Payload};
use super::signals::Signals;
use super::{is_left_alone, own_session};
use crate::clock;
use crate::config::{Config, Flags};
use crate::env::Env;
use crate::hint::Problem;
use crate::policy::verdict::Reason;
use crate::store::files::undecided;
use crate::store::listen;

/// How often an unreadable configuration is read again.
const EACH: Duration = Duration::from_secs(1);

/// The patience of a process that may wait for days.
pub(super) struct Patience<'a> {
    pub(super) env: &'a Env,
    pub(super) flags: &'a Flags,
    pub(super) client: &'a Client,
    pub(super) signals: &'a Signals,
    pub(super) since: Instant,
    /// The call's id.
    pub(super) id: String,
    took: RefCell<Option<String>>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(
        env: &'a Env,
        flags: &'a Flags,
        client: &'a Client,
        signals: &'a Signals,
        since: Instant,
    ) -> Self {
        Self { env, flags, client, signals, since, id: clock::id(), took: RefCell::default() }
    }
}

impl Patience<'_> {
    /// Reads the payload, however late it arrives, or returns `None` when nothing is left to wait for. The
    /// session is marked while its payload is late.
    pub(super) fn payload(&self) -> Option<Result<Vec<u8>, BadInput>> {
        let marked = Cell::new(None);
        let goes_on = || {
            // A client that waits for this process is not kept waiting.
            if self.env.unattended() {
                return false;
            }
            if marked.take().is_none() && !is_left_alone(self.env, self.flags) {
                self.known_by_environment().journal(
                    self.env,
                    Reason::BadInput,
                    "no payload on stdin within 2 s; the engine waits for it",
                );
            }
            marked.set(Some(()));
            self.is_wanted()
        };
        let read = payload::read_patiently(io::stdin(), goes_on);
        if marked.take().is_some() {
            match &read {
                Ok(_) => self.known_by_environment().decided(self.env),
                Err(_) if !self.is_wanted() => return None,
                Err(_) => {}
            }
        }
        Some(read)
    }

    /// Returns whether the cause of a call's failure may pass without a change here. The first such failure is
    /// journaled, and the session is marked.
    pub(super) fn waits_for(&self, payload: &Payload<'_>, known: &Known, reason: Reason, why: &Problem) -> bool {
        let stops = matches!(payload.hook_event_name.as_str(), "Stop" | "StopFailure") && !payload.is_subagents();
        if !stops || known.session.is_empty() || self.env.unattended() || self.is_lasting() {
            return false;
        }
        if !known.waits {
            Known { waits: true, ..known.clone() }.journal(self.env, reason, &why.to_string());
            self.took.replace(self.taken_over_by(&known.session));
        }
        true
    }

    /// Waits for a moment, and returns whether the call is to be tried again.
    pub(super) fn goes_on(&self, known: &mut Known) -> bool {
        known.waits = true;
        listen::pause(EACH, [self.signals.fd()]);
        self.signals.clear();
        self.is_wanted() && self.taken_over_by(&known.session) == *self.took.borrow()
    }

    /// Returns the last undecided call that took the session over, for example a prompt that met the same
    /// configuration.
    fn taken_over_by(&self, session: &str) -> Option<String> {
        Some(undecided::of(&self.env.state_dir()?, session)?.took)
    }

    /// Returns whether the variables or the flags alone are wrong. No change of a file repairs that.
    fn is_lasting(&self) -> bool {
        let env = Env { config: None, home: None, claude_config_dir: None, ..self.env.clone() };
        let on = Env { on: self.env.on.clone(), ..Env::default() };
        Config::load(&env, None, self.flags).is_err() || crate::arm::told(&on, None, None).is_err()
    }

    fn is_wanted(&self) -> bool {
        !self.signals.terminated() && self.client.is_there() && self.since.elapsed() < self.flags.wait
    }

    fn known_by_environment(&self) -> Known {
        let session = own_session(self.env).unwrap_or_default();
        Known { session, id: self.id.clone(), waits: true, ..Known::default() }
    }
}
