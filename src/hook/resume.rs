//! The engine of a session that begins (`SessionStart`). It continues a session that the client left in the
//! middle of its work.
//!
//! There are two such cases (client 2.1.332). The client was killed and the conversation is opened again
//! (`source: resume`). Or the client moved the conversation to a background session of another id (`source:
//! fork`), and dropped the old session's wake-ups. In both cases the session rests for a while first, so that a
//! person can type something else.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use super::claim;
use super::payload::Payload;
use crate::config::{Config, encoded};
use crate::duration;
use crate::env::Env;
use crate::policy::documents::{Phase, SessionState};
use crate::policy::limits::{Ms, millis};
use crate::policy::process::Process;
use crate::policy::request::{Claim, Event, RestRequest, Step};
use crate::policy::rest::RestKind;
use crate::policy::verdict::{Reason, Verdict};
use crate::process::{self, ProcessStatus};
use crate::store;
use crate::store::fleet_reader::FleetReader;
use crate::text;

/// The shortest rest of a fork, whatever the minimum interval is.
const SOONEST: Duration = Duration::from_secs(1);

/// The number of sessions for which the transcript is examined, the last seen first.
const MOST_LOOKED: usize = 100;
/// The number of bytes that are read from each transcript's end.
const END: u64 = 65_536;

/// How a session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// An earlier conversation was opened again.
    Resume,
    /// The conversation left another session.
    Fork,
}

impl Source {
    pub(super) fn of(payload: &Payload<'_>) -> Option<Self> {
        match payload.source().as_deref() {
            Some("resume") => Some(Self::Resume),
            Some("fork") => Some(Self::Fork),
            _ => None,
        }
    }
}

/// A session that was left in the middle of its work.
pub(super) struct Interrupted {
    source: Source,
    /// The session's own id, or the id that the fork left.
    id: String,
    state: SessionState,
    /// The fence of the session that continues.
    fence: Option<i64>,
    now: Ms,
    /// Whether its engine already waits, so that the state is the engine's own.
    has_begun: bool,
}

/// Finds the session that this one continues, or returns `None` where no work was interrupted or the store
/// cannot be read.
///
/// `transcript` is the session's own, and its directory contains the other sessions' transcripts.
pub(super) fn find(
    config: &Config,
    env: &Env,
    step: &Step,
    source: Source,
    transcript: Option<&str>,
) -> Option<Interrupted> {
    let client = step.client?;
    let mut reader = FleetReader::open_for(config, config.budget);
    let (now, own) = (reader.now().ok()?, reader.session(&step.session).ok()?);
    let found = |id: String, state, fence, has_begun| Interrupted { source, id, state, fence, now, has_begun };
    match source {
        Source::Resume => {
            let state = own?;
            let owner = state.client?;
            let is_mine = state.host == step.host && owner.may_be(&client);
            // This process's session has no prompt yet but has an engine, so the engine was faster.
            let has_begun = is_mine && state.pid.is_some() && state.begun.as_ref().is_some_and(|b| !b.id.is_empty());
            let is_left = process::standing(&owner, &state.host, None) == ProcessStatus::Gone && is_at_work(&state);
            let fence = state.fence;
            (has_begun || is_left).then(|| found(step.session.clone(), state, fence, has_begun))
        }
        Source::Fork => {
            let fence = own.and_then(|own| own.fence);
            // A prompt arrived first, and its turn leads to a Stop event.
            if fence.is_some() {
                return None;
            }
            let (id, state) = match parent(env, client) {
                Some(parent) => reader.session(&parent).ok()?.map(|state| (parent, state))?,
                None => left(reader.sessions().ok()?, step, client, transcript)?,
            };
            is_at_work(&state).then(|| found(id, state, fence, false))
        }
    }
}

/// Returns whether the agent runs a turn, or an engine waits for it.
fn is_at_work(state: &SessionState) -> bool {
    let Some(begun) = &state.begun else { return false };
    let reason = Reason::from_code(&state.last_reason);
    let runs = begun.id.is_empty() || reason.is_some_and(Reason::is_admission);
    let waits = state.pid.is_some() && reason.is_some_and(|r| r.is_rest() || r.is_waited_out());
    state.phase == Phase::Open && (runs || waits)
}

/// Returns the session that a background session was forked from, by the command line of its client (Linux):
/// `claude --session-id … --fork-session --resume …/<id>.jsonl`.
fn parent(env: &Env, client: Process) -> Option<String> {
    env.claude_job_dir.as_ref()?;
    let line = fs::read(format!("/proc/{}/cmdline", client.pid)).ok()?;
    let words: Vec<String> = line.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let at = words.iter().position(|word| word == "--resume")?;
    let name = words.get(at + 1)?.rsplit('/').next()?;
    encoded(name.strip_suffix(".jsonl").unwrap_or(name), "", "").ok()
}

/// Finds the session that a fork left where no command line names it: by the client's own record, else by its
/// client process.
fn left(
    sessions: Vec<(String, SessionState)>,
    step: &Step,
    client: Process,
    transcript: Option<&str>,
) -> Option<(String, SessionState)> {
    let is_open = |state: &SessionState| state.host == step.host && state.phase == Phase::Open;
    let parent = transcript.and_then(|transcript| {
        let folder = Path::new(transcript).parent()?;
        let open = sessions.iter().filter(|(_, state)| is_open(state)).take(MOST_LOOKED);
        open.map(|(id, _)| id).find(|id| continues_in(folder, id, &step.session)).cloned()
    });
    let is_left = |(id, state): &(String, SessionState)| match &parent {
        Some(parent) => id == parent,
        None => {
            let is_clients = state.client.is_some_and(|left| left.may_be(&client));
            *id != step.session && state.host == step.host && is_clients
        }
    };
    sessions.into_iter().find(is_left)
}

/// Returns whether the end of a session's transcript contains the client's record that `fork` continues it
/// (client 2.1.332). No command line names a fork that the client passes to a process that it started earlier.
fn continues_in(folder: &Path, session: &str, fork: &str) -> bool {
    let Ok(mut file) = fs::File::open(folder.join(format!("{session}.jsonl"))) else { return false };
    let length = file.metadata().map_or(0, |about| about.len());
    let mut end = Vec::new();
    let read =
        file.seek(SeekFrom::Start(length.saturating_sub(END))).and_then(|_| file.take(END).read_to_end(&mut end));
    let mark = format!("\"continuedInSessionId\":\"{fork}\"");
    read.is_ok() && end.windows(mark.len()).any(|part| part == mark.as_bytes())
}

/// Sends the step to the store once, or returns `None` where it cannot be sent.
fn tell(config: &Config, step: &Step) -> Option<Verdict> {
    let mut store = store::open(config, Instant::now() + config.budget).ok()?;
    claim::step(&mut *store, step).ok()
}

impl Interrupted {
    /// Returns how long the session rests before it continues.
    fn pause(&self, config: &Config) -> Duration {
        match self.source {
            Source::Resume => config.resume_after,
            Source::Fork => config.policy.stop.min_interval.max(SOONEST),
        }
    }

    /// Returns the rest to book: the remainder of the agent's own rest, where that is longer.
    fn rest(&self, config: &Config) -> RestRequest {
        let pause = self.pause(config);
        let ends = self.now.saturating_add(millis(pause));
        let own = self.state.rest.as_ref().filter(|rest| rest.kind != RestKind::Parked && !self.state.woken);
        match own.filter(|rest| rest.until.is_none_or(|until| until > ends)) {
            Some(rest) => RestRequest {
                kind: rest.kind,
                lasting: rest.until.map(|until| Duration::from_millis(until.saturating_sub(self.now).unsigned_abs())),
                topic: rest.topic.clone(),
            },
            None => RestRequest { kind: RestKind::Rest, lasting: Some(pause), topic: String::new() },
        }
    }

    /// Returns the text that the synchronous hook on `SessionStart` shows, or `None` where no time ends the
    /// rest.
    pub(super) fn announcement(&self, config: &Config) -> Option<String> {
        if self.source == Source::Fork {
            return None;
        }
        // The engine takes the session over first, and then books the rest.
        let left = match self.state.rest.as_ref().filter(|_| self.has_begun) {
            Some(rest) => Duration::from_millis(rest.until?.saturating_sub(self.now).max(0).unsigned_abs()),
            None => self.rest(config).lasting?,
        };
        let seconds = Duration::from_secs(left.as_secs_f64().ceil() as u64);
        Some(format!(
            "❄ This agent's client ended in the middle of its work. It resumes in {}; type anything to cancel that.",
            duration::show(seconds)
        ))
    }

    /// Returns whether the waiting engine registers the session.
    pub(super) fn registers(&self) -> bool {
        self.source == Source::Resume && !self.has_begun
    }

    /// Takes the session over and returns the engine's first step, or `None` where the engine already waits.
    pub(super) fn begin(self, config: &Config, start: &Step) -> Option<Step> {
        if self.has_begun {
            return None;
        }
        let again = |event| Step { event, id: crate::clock::id(), ..start.clone() };
        let mut detail = "the client ended in the middle of its work".to_owned();
        match self.source {
            Source::Resume => {
                let taken = Step { claim: Claim::Take, pid: None, paced: false, ..again(start.event.clone()) };
                tell(config, &taken)?;
            }
            Source::Fork => {
                detail = "the conversation moved to the background".to_owned();
                let left = Step {
                    event_name: "Fork".to_owned(),
                    detail: text::line(&format!("went on as session {}", start.session)),
                    session: self.id.clone(),
                    scope: self.state.scope.clone(),
                    name: String::new(),
                    claim: Claim::Take,
                    pid: None,
                    paced: false,
                    ..again(Event::SessionEnd)
                };
                let _ = tell(config, &left);
                self.hand_on(config, start);
            }
        }
        let event = Event::Resume { fence: self.fence, rest: Some(self.rest(config)) };
        Some(Step { detail, claim: Claim::Take, ..again(event) })
    }

    /// Passes on the wake-up notes of the session that the fork left. Notes of its last admission are included
    /// if the client dropped them, which it did where no prompt followed.
    fn hand_on(&self, config: &Config, start: &Step) {
        let is_dropped = self.state.begun.as_ref().is_some_and(|begun| !begun.id.is_empty());
        let given = if is_dropped { self.state.given.as_str() } else { "" };
        for note in given.lines().chain(self.state.note.lines()) {
            let depth = self.state.note_depth.max(self.state.given_depth);
            let event = Event::Wake { note: note.to_owned(), spread: false, signal: None, depth };
            let wake = super::step_of(start.scope.clone(), start.session.clone(), "Wake", event);
            let _ = tell(config, &wake);
        }
    }
}
