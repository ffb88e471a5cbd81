//! Journals calls without a verdict, on this machine only.

use std::path::Path;
use std::time::{Duration, Instant};

use super::payload::Payload;
use crate::clock;
use crate::env::Env;
use crate::journal::{self, Entry};
use crate::policy::verdict::{Outcome, Reason};
use crate::process;
use crate::store::files;
use crate::store::files::journal_file::LocalJournal;
use crate::store::files::undecided;
use crate::store::files::undecided::Undecided;
use crate::text;

/// How long an entry may wait for the fleet's lock. The request may have spent its budget on the lock, and an
/// entry does not justify a second wait.
const WAIT: Duration = Duration::from_millis(30);

/// The facts about a call that are known when it fails.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) fleet: String,
    pub(super) scope: String,
    pub(super) session: String,
    /// The client's name for the event; empty when the payload could not be read.
    pub(super) event: String,
    /// Whether the call requested a continuation.
    pub(super) asked_to_go_on: bool,
    /// The call's id.
    pub(super) id: String,
    /// Whether this process waits until the call can be decided.
    pub(super) waits: bool,
    /// Whether the call concerns a subagent's turn instead of the session's own.
    pub(super) of_subagent: bool,
}

impl Known {
    /// Returns the facts that the payload contains.
    pub(super) fn of(payload: &Payload<'_>) -> Self {
        let event = payload.hook_event_name.clone();
        Self { event, of_subagent: payload.is_subagents(), ..Self::default() }
    }

    /// Marks the session's last call as undecided, for people and for an engine that waits.
    fn mark(&self, state: &Path, reason: Reason, why: &str) {
        if self.session.is_empty() {
            return;
        }
        let of = if self.of_subagent { " of a subagent" } else { "" };
        let mark = Undecided {
            id: if self.id.is_empty() { clock::id() } else { self.id.clone() },
            event: format!("{}{of}", text::line(&self.event)),
            reason: reason.code().to_owned(),
            why: text::line(why),
            at: clock::host_ms(),
            pid: self.waits.then(process::own),
            took: String::new(),
        };
        undecided::note(state, &self.session, &mark);
    }

    /// Removes the mark, since the call was decided after all.
    pub(super) fn decided(&self, env: &Env) {
        if let Some(state) = env.state_dir() {
            undecided::decided(&state, &self.session, &self.id);
        }
    }

    /// Records that the session is no longer continued, and why. Its engine ends.
    #[cold]
    pub(super) fn disarmed(&self, env: &Env, why: &str) {
        let (event, id) = ("WaiterDisarmed".to_owned(), String::new());
        let end = Self { event, id, asked_to_go_on: false, waits: false, ..self.clone() };
        end.journal(env, Reason::Disarmed, why);
    }

    /// Journals the failure if the state directory can be written, and marks the session's call as undecided.
    #[cold]
    pub(super) fn journal(&self, env: &Env, reason: Reason, why: &str) {
        if let Some(state) = env.state_dir() {
            self.mark(&state, reason, why);
        }
        self.note(env, reason, why);
    }

    /// Journals the event if the state directory can be written.
    #[cold]
    pub(super) fn note(&self, env: &Env, reason: Reason, why: &str) {
        let Some(state) = env.state_dir() else { return };
        let fleet = if self.fleet.is_empty() { "default" } else { &self.fleet };
        let dir = state.join(fleet);
        let Ok(_lock) = files::lock(&dir, Instant::now() + WAIT, WAIT) else { return };
        let now = clock::host_ms();
        let outcome = if self.asked_to_go_on { Outcome::Refuse } else { Outcome::Record };
        let entry = Entry {
            timestamp: journal::stamp(now),
            window: &self.scope,
            status: if self.asked_to_go_on { reason.status() } else { "RECORDED" },
            next_action: "NONE",
            infrastructure_mode: journal::MODE,
            v: 1,
            scope: &self.scope,
            fleet,
            session: &self.session,
            event: &text::line(&self.event),
            verdict: outcome.code(),
            reason: reason.code(),
            store: "none",
            host: &clock::host(),
            detail: &text::line(why),
            ms: now,
            id: &clock::id(),
            ..Entry::default()
        };
        if let Ok(mut journal) = LocalJournal::open(&dir) {
            let _ = journal.append(&entry.line());
        }
    }
}
