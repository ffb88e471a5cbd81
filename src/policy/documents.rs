//! The documents that are kept between two steps: the fleet, the scope, the session. Both stores write them as JSON.

use serde::{Deserialize, Serialize};

use crate::policy::api_limit::ModelLimit;
use crate::policy::fnv::Fnv;
use crate::policy::limits::{Class, Ms};
use crate::policy::pace::Paced;
use crate::policy::process::Process;
use crate::policy::quota::Places;
use crate::policy::turn::TranscriptPlace;

/// A request that a server got before a change of store may be admitted up to this much later: no caller waits longer.
pub const IN_FLIGHT: Ms = 1000;
/// A server commits an admission at most this long after the decision: `commit.lua` checks it.
pub const COMMIT_SLACK: Ms = 1000;

/// Identifies a hold, a rest or a cooldown in every copy of it.
///
/// It is derived from the id of the step that began the fact, and has at most fifteen digits. It is zero where an
/// earlier version of the program wrote the fact.
pub type FactId = u64;

/// The number of lifted facts that are remembered.
const MOST_LIFTED: usize = 8;

/// Returns the id of the fact that a step begins.
#[must_use]
pub fn fact_id(step: &str) -> FactId {
    step.bytes().fold(Fnv::default(), Fnv::with).short()
}

/// Returns the id of a fact: its own, or one derived from its beginning.
fn identity(id: FactId, since: Ms) -> FactId {
    if id == 0 { fact_id(&since.to_string()) } else { id }
}

/// Notes that a fact was lifted.
pub(crate) fn note_lifted(lifted: &mut Vec<FactId>, id: FactId) {
    if !lifted.contains(&id) {
        lifted.push(id);
        let over = lifted.len().saturating_sub(MOST_LIFTED);
        lifted.drain(..over);
    }
}

/// A period with its start, so that a clock that was set back is noticed and the length is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first millisecond.
    pub start: Ms,
    /// The first millisecond after the period.
    pub end: Ms,
    /// The id of the fact, where the period is a cooldown.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Span {
    /// Makes a period without an id.
    #[must_use]
    pub fn new(start: Ms, end: Ms) -> Self {
        Self { start, end, id: 0 }
    }

    /// Returns the id of the fact.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.start)
    }

    /// Moves a period that starts in the future to `now` and keeps its length.
    pub fn rebase(&mut self, now: Ms) {
        if self.start > now {
            self.id = self.identity();
            self.end = now.saturating_add(self.end.saturating_sub(self.start).max(0));
            self.start = now;
        }
    }

    /// Returns what is left at `now`, or `None` once the period is over.
    #[must_use]
    pub fn left(&self, now: Ms) -> Option<Ms> {
        (self.end > now).then(|| self.end.saturating_sub(now))
    }
}

/// A hold of a scope or a fleet: it refuses requests until a person releases it or its booked end comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The reason given.
    pub reason: String,
    /// The person's name, or `api` for a hold opened by API errors.
    pub by: String,
    /// When the hold began.
    pub since: Ms,
    /// The booked end, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Ms>,
    /// The id of the hold.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Hold {
    /// Returns the id of the hold.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.since)
    }

    /// Works as [`Span::rebase`].
    pub fn rebase(&mut self, now: Ms) {
        if self.since > now {
            self.id = self.identity();
            if let Some(until) = &mut self.until {
                *until = now.saturating_add(until.saturating_sub(self.since).max(0));
            }
            self.since = now;
        }
    }

    /// Returns whether the hold is in force at `now`.
    #[must_use]
    pub fn holds(&self, now: Ms) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// The admissions that quotas count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaLog {
    /// The times of the admissions, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admitted: Vec<Ms>,
    /// How long an admission is kept, in milliseconds: the longest period of any request's quotas.
    ///
    /// A request with a shorter period must not delete what another request still counts.
    pub keep: Ms,
    /// The sessions that wait for a place, in the order of their Stop events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    /// The admissions that a store read for each quota, where it did not read all of them.
    #[serde(skip)]
    pub places: Vec<Places>,
    /// The turns that were admitted and have not ended; kept only where a pace is configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_flight: Vec<Flight>,
    /// What the pace permits, as the step derived it.
    #[serde(skip)]
    pub paced: Paced,
}

/// A turn that was admitted and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flight {
    /// The session, encoded.
    pub session: String,
    /// When it was admitted.
    pub at: Ms,
}

/// A session in a wait queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The session, encoded.
    pub session: String,
    /// When the session began to wait.
    pub since: Ms,
    /// When the session will send its next request.
    pub next: Ms,
}

impl QuotaLog {
    /// Returns whether nothing was ever counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.admitted.is_empty() && self.keep == 0 && self.waiting.is_empty() && self.in_flight.is_empty()
    }
}

/// The state of one class of a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassState {
    /// When a request was last admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted_at: Option<Ms>,
    /// The attempts that the burst window counts, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Ms>,
    /// How long an attempt is kept, in milliseconds: the longest window that any request had.
    #[serde(skip_serializing_if = "is_no_time")]
    pub attempts_keep: Ms,
    /// The last cooldown, open or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Span>,
    /// The trips that are not forgotten yet.
    pub strikes: u32,
}

/// The state of a scope: one agent's place, by its tmux window or its project.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScopeState {
    /// The scope's hold, in force or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When a hold was last lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Ms>,
    /// The holds that were lifted or replaced last, so that no other store brings one back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifted: Vec<FactId>,
    /// The class of continuations.
    pub stop: ClassState,
    /// The class of automatic compactions.
    pub compact: ClassState,
    /// The last cooldown opened by an API error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Span>,
    /// Whether that cooldown's end is a reset time, which a successful turn of any scope disproves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub api_of_key: bool,
    /// The model whose limit that reset time ends; empty for the whole key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_model: String,
    /// The API errors since the last successful turn.
    pub api_strikes: u32,
    /// Of these errors, the `invalid_request` and `max_output_tokens` in a row.
    pub api_row: u32,
    /// The holds opened by API errors since the last successful turn.
    pub api_holds: u32,
    /// The admissions counted by the scope's quotas; kept only where a quota is configured.
    #[serde(skip_serializing_if = "QuotaLog::is_empty")]
    pub quota: QuotaLog,
    /// The trips of the last day, oldest first: enough of them turn a cooldown into a hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trips: Vec<Ms>,
    /// When the scope came to this store from another store, with a last admission that is not known here.
    ///
    /// The minimum interval begins at that time, as if the scope had been admitted then. The time is up to
    /// [`IN_FLIGHT`] ahead while the other store may still admit an earlier request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Ms>,
}

impl ScopeState {
    /// Returns the state of one class.
    pub fn class_mut(&mut self, class: Class) -> &mut ClassState {
        match class {
            Class::Stop => &mut self.stop,
            Class::Compact => &mut self.compact,
        }
    }

    /// Reads times later than `now` as `now` (past facts), or as starting now with the same length (ends).
    pub fn rebase(&mut self, now: Ms) {
        for class in [&mut self.stop, &mut self.compact] {
            class.admitted_at = class.admitted_at.map(|t| t.min(now));
            class.attempts.iter_mut().for_each(|t| *t = (*t).min(now));
            if let Some(cooldown) = &mut class.cooldown {
                cooldown.rebase(now);
            }
        }
        if let Some(api) = &mut self.api {
            api.rebase(now);
        }
        if let Some(hold) = &mut self.hold {
            hold.rebase(now);
        }
        self.released = self.released.filter(|at| *at <= now);
        if self.taken.is_some_and(|taken| taken > now.saturating_add(IN_FLIGHT)) {
            self.taken = Some(now);
        }
        self.trips.iter_mut().for_each(|t| *t = (*t).min(now));
    }
}

/// The state of all scopes that share one API key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetState {
    /// The store epoch: a random id set once. A store that lost its data has another one.
    #[serde(rename = "born")]
    pub store_epoch: String,
    /// When a requester that knew this store by another epoch sent its first request; admissions before that are lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Ms>,
    /// The fleet's hold, in force or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When a hold was last lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Ms>,
    /// The holds that were lifted or replaced last, so that no other store brings one back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifted: Vec<FactId>,
    /// Whether the sessions under this hold continue at once when it ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hold_at_once: bool,
    /// The period in which the API refuses the fleet's key, by a reset time that one of its agents received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Span>,
    /// When a successful turn or a release last lifted such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Ms>,
    /// When an admission last probed such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probed: Option<Ms>,
    /// The limits that name one model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<ModelLimit>,
    /// The release slots given: the time of the last one and the time of the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<Span>,
    /// When a session was last admitted in its release slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_at: Option<Ms>,
    /// When holds were last released at once: sessions that stopped before that need no slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<Ms>,
    /// The admissions counted by the fleet's quotas; kept only where a quota is configured.
    #[serde(skip_serializing_if = "QuotaLog::is_empty")]
    pub quota: QuotaLog,
}

impl FleetState {
    /// Works as [`ScopeState::rebase`], for what binds the scopes. A release or an answer in the future lifts nothing.
    pub fn rebase(&mut self, now: Ms) {
        self.rebase_limits(now);
        for lifted in [&mut self.released, &mut self.at_once] {
            *lifted = lifted.filter(|at| *at <= now);
        }
    }
}

/// The kinds of a session's rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestKind {
    /// Until a time.
    Rest,
    /// For good: the agent reported that it is done.
    Done,
    /// Until a person answers.
    Blocked,
    /// Until a topic is woken.
    WaitFor,
    /// Until the client wakes the session by itself (a cron, a task).
    Parked,
    /// Until a time, because the agent's last turns did nothing.
    Idle,
    /// Until a time, because the command of `frosty gate` failed.
    Failed,
}

impl RestKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Rest, Self::Done, Self::Blocked, Self::WaitFor, Self::Parked, Self::Idle, Self::Failed];

    /// Returns the kind with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }

    /// Returns the stored code, which is also the reason code of a refusal.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Done => "done",
            Self::Blocked => "blocked",
            Self::WaitFor => "wait_for",
            Self::Parked => "parked",
            Self::Idle => "idle",
            Self::Failed => "failed",
        }
    }

    /// Returns whether the agent requested the rest itself. Only such a rest outlasts a turn that the client began.
    #[must_use]
    pub fn is_agents(self) -> bool {
        !matches!(self, Self::Parked | Self::Idle | Self::Failed)
    }
}

/// A rest of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// The kind of the rest.
    pub kind: RestKind,
    /// When the rest began.
    pub since: Ms,
    /// When the rest ends, if a time ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Ms>,
    /// The topic that the session waits for, or the person that it is blocked on; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// The id of the rest.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Rest {
    /// Returns the id of the rest.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.since)
    }

    /// Works as [`Span::rebase`].
    pub fn rebase(&mut self, now: Ms) {
        if self.since > now {
            self.id = self.identity();
            if let Some(until) = &mut self.until {
                *until = now.saturating_add(until.saturating_sub(self.since).max(0));
            }
            self.since = now;
        }
    }

    /// Returns whether the rest lasts at `now`.
    #[must_use]
    pub fn lasts(&self, now: Ms) -> bool {
        self.until.is_none_or(|until| until > now)
    }
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

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_unnamed(id: &FactId) -> bool {
    *id == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_no_time(n: &Ms) -> bool {
    *n == 0
}

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
    /// When the fence was last raised, and by which Stop event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
    /// The request that was last admitted, and when; kept until the fence is raised, to repeat an answer that was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Begun>,
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
    /// When the last event came.
    pub seen: Ms,
    /// The reason code of the last continuation request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_reason: String,
}
