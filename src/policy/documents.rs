//! What is remembered between two steps: the fleet, the scope, the session. The embedded store writes these as JSON;
//! the server holds the same fields as hashes.

use serde::{Deserialize, Serialize};

use crate::policy::limits::Class;
use crate::policy::limits::Ms;
use crate::policy::process::Process;
use crate::policy::quota::Places;

/// An ask of a server that began before a change of store may be admitted so much later: no caller waits longer.
pub const IN_FLIGHT: Ms = 1000;
/// A server commits an admission at most so much later than it was decided: `commit.lua` checks it.
pub const COMMIT_SLACK: Ms = 1000;

/// Identifies a hold, a rest or a cooldown, wherever it is copied to: at most fifteen digits, by the step that began it. Zero
/// where an earlier version of the program wrote the fact.
pub type FactId = u64;

/// So many of the facts that were lifted are remembered.
const MOST_LIFTED: usize = 8;

/// The id of what a step begins.
#[must_use]
pub fn fact_id(step: &str) -> FactId {
    let hash = step
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash % 999_999_999_999_999 + 1
}

/// The id of a fact: its own, or one that follows from its beginning.
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

/// A stretch of time with its start, so that a clock stepped back can be noticed and the length kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First millisecond.
    pub start: Ms,
    /// First millisecond after it.
    pub end: Ms,
    /// Which one it is, where it is a cooldown.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Span {
    /// A span that is not named yet.
    #[must_use]
    pub fn new(start: Ms, end: Ms) -> Self {
        Self { start, end, id: 0 }
    }

    /// Which one it is.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.start)
    }

    /// Moves a span that starts in the future to `now`, its length kept.
    pub fn rebase(&mut self, now: Ms) {
        if self.start > now {
            self.id = self.identity();
            self.end = now.saturating_add(self.end.saturating_sub(self.start).max(0));
            self.start = now;
        }
    }

    /// What is left of it at `now`, or `None` once it is over.
    #[must_use]
    pub fn left(&self, now: Ms) -> Option<Ms> {
        (self.end > now).then(|| self.end.saturating_sub(now))
    }
}

/// A hold of a scope or a fleet: refused until a person, or its booked end, releases it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why.
    pub reason: String,
    /// Who: a person's name, or `api` for one opened by API errors.
    pub by: String,
    /// Since when.
    pub since: Ms,
    /// Its booked end, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Ms>,
    /// Which one it is.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Hold {
    /// Which one it is.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.since)
    }

    /// As [`Span::rebase`].
    pub fn rebase(&mut self, now: Ms) {
        if self.since > now {
            self.id = self.identity();
            if let Some(until) = &mut self.until {
                *until = now.saturating_add(until.saturating_sub(self.since).max(0));
            }
            self.since = now;
        }
    }

    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Ms) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// The admissions that quotas count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaLog {
    /// When, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admitted: Vec<Ms>,
    /// How long an admission is kept, in milliseconds: the longest period that anybody asked with. An asker with a
    /// shorter one must not forget what another still counts.
    pub keep: Ms,
    /// The sessions that wait for a place, in the order of their stops.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    /// What a store read of the admissions for each quota, where it did not read them all.
    #[serde(skip)]
    pub places: Vec<Places>,
}

/// A session in a wait queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The session, encoded.
    pub session: String,
    /// Since when it waits.
    pub since: Ms,
    /// When it will send its next request.
    pub next: Ms,
}

impl QuotaLog {
    /// Whether nothing was ever counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.admitted.is_empty() && self.keep == 0 && self.waiting.is_empty()
    }
}

/// One class of a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassState {
    /// The last admission.
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
    /// Trips that are not forgotten.
    pub strikes: u32,
}

/// A scope: one agent's seat.
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
    /// Continuations.
    pub stop: ClassState,
    /// Automatic compactions.
    pub compact: ClassState,
    /// The last cooldown opened by an API error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Span>,
    /// Whether that cooldown's end is a reset time, which a good answer of any scope disproves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub api_of_key: bool,
    /// API errors since the last good stop.
    pub api_strikes: u32,
    /// Of these, `invalid_request` and `max_output_tokens` in a row.
    pub api_row: u32,
    /// Holds opened by API errors since the last good stop.
    pub api_holds: u32,
    /// Admissions counted by the scope's quotas; kept only where one is configured.
    #[serde(skip_serializing_if = "QuotaLog::is_empty")]
    pub quota: QuotaLog,
    /// The trips of the last day, oldest first: enough of them turn a cooldown into a hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trips: Vec<Ms>,
    /// When the scope came to this store from another, whose last admission is not known here: the guard is closed as if
    /// it had been admitted then. Up to [`IN_FLIGHT`] ahead, while the other store may still admit what was asked of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Ms>,
}

impl ScopeState {
    /// The state of one class.
    pub fn class_mut(&mut self, class: Class) -> &mut ClassState {
        match class {
            Class::Stop => &mut self.stop,
            Class::Compact => &mut self.compact,
        }
    }

    /// Reads what lies later than `now` as `now` (past facts) or as starting now (ends, their length kept).
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

/// All scopes that share one API key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetState {
    /// A random id set once: a store that lost its data has another one.
    pub born: String,
    /// When somebody who knew this store by another `born` first asked it: what its scopes were admitted before that is lost.
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
    /// Whether the sessions that this hold keeps go on at once when it ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hold_at_once: bool,
    /// Until when the API refuses the fleet's key, by a reset time that one of its agents met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Span>,
    /// When a good stop or a release last lifted such a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Ms>,
    /// The release slots given: when the last one was, and the time of the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slots: Option<Span>,
    /// When a session was last admitted in its release slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed_at: Option<Ms>,
    /// A release at once: sessions that stopped before it need no slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<Ms>,
    /// Admissions counted by the fleet's quotas; kept only where one is configured.
    #[serde(skip_serializing_if = "QuotaLog::is_empty")]
    pub quota: QuotaLog,
}

impl FleetState {
    /// As [`ScopeState::rebase`], for what binds its scopes. A release or an answer of the future lifts nothing.
    pub fn rebase(&mut self, now: Ms) {
        if let Some(limit) = &mut self.limit {
            limit.rebase(now);
        }
        for lifted in [&mut self.released, &mut self.answered, &mut self.at_once] {
            *lifted = lifted.filter(|at| *at <= now);
        }
    }

    /// When the key's limit ends for a scope that it applies to; `None` where none is in force.
    #[must_use]
    pub fn limit_for(&self, scope: &ScopeState, now: Ms) -> Option<Ms> {
        let limit = self.limit.filter(|limit| scope.released.is_none_or(|at| at < limit.start))?;
        (limit.end > now).then_some(limit.end)
    }

    /// The end of a scope's API cooldown, unless it was a reset time that was disproved since.
    #[must_use]
    pub fn api_end_of(&self, scope: &ScopeState, now: Ms) -> Option<Ms> {
        let api = scope.api.filter(|api| api.end > now)?;
        let is_disproved = scope.api_of_key && self.answered.is_some_and(|at| at >= api.start);
        (!is_disproved).then_some(api.end)
    }
}

/// Why a session rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestKind {
    /// Until a time.
    Rest,
    /// For good: the agent said it is done.
    Done,
    /// Until a person answers.
    Blocked,
    /// Until a topic is woken.
    WaitFor,
    /// The client wakes the session by itself (a cron, a task).
    Parked,
}

impl RestKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Rest, Self::Done, Self::Blocked, Self::WaitFor, Self::Parked];

    /// The kind with this code, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }

    /// The stored code; it is also the reason code of a refusal.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Done => "done",
            Self::Blocked => "blocked",
            Self::WaitFor => "wait_for",
            Self::Parked => "parked",
        }
    }
}

/// A session's own nap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// Why.
    pub kind: RestKind,
    /// Since when.
    pub since: Ms,
    /// Until when, if a time ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Ms>,
    /// What it waits for, or on whom it is blocked; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub topic: String,
    /// Which one it is.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub id: FactId,
}

impl Rest {
    /// Which one it is.
    #[must_use]
    pub fn identity(&self) -> FactId {
        identity(self.id, self.since)
    }

    /// As [`Span::rebase`].
    pub fn rebase(&mut self, now: Ms) {
        if self.since > now {
            self.id = self.identity();
            if let Some(until) = &mut self.until {
                *until = now.saturating_add(until.saturating_sub(self.since).max(0));
            }
            self.since = now;
        }
    }

    /// Whether it lasts at `now`.
    #[must_use]
    pub fn lasts(&self, now: Ms) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// A request or an event that is known by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// When it was told first.
    pub at: Ms,
    /// The id of the stop's or failure's step; empty for a prompt or the session's end.
    pub id: String,
}

/// Whether a session can be continued at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is there.
    #[default]
    Open,
    /// The client ended it.
    Ended,
    /// The client's supervisor stopped it in the background.
    Asleep,
    /// Its waiting engine reached the end of its wait.
    Expired,
}

impl Phase {
    /// The stored code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::Ended => "ended",
            Self::Asleep => "asleep",
            Self::Expired => "expired",
        }
    }

    /// The phase with this code; what is not known is taken for open.
    #[must_use]
    pub fn from_code(code: &str) -> Self {
        [Self::Ended, Self::Asleep, Self::Expired].into_iter().find(|p| p.code() == code).unwrap_or_default()
    }

    /// Whether no client process has it open.
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

/// One conversation of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionState {
    /// The fencing token; it only grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<i64>,
    /// The scope the session was last seen in (encoded).
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
    /// The project folder, as the session's start registered it; else as the first event after that named it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// The rest, lasting or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
    /// The rests that ended early or were replaced last, so that no other store brings one back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lifted: Vec<FactId>,
    /// A wake-up that no admission has answered yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub woken: bool,
    /// What came with the wake-ups, one line each, oldest first; the next admission hands it out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What the last admission handed out; kept until the next stop, should its answer have been lost.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub given: String,
    /// When the fence was last raised, and by which stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
    /// The request that was last admitted, and when, until the fence is raised: one whose answer was lost is answered alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Begun>,
    /// Continuations since a person's last prompt.
    #[serde(skip_serializing_if = "is_zero")]
    pub count: u32,
    /// The turn under way was begun by a person's prompt. Where that is not known, it is the agent's own.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_person: bool,
    /// Whether anybody is there to be woken.
    #[serde(rename = "state", skip_serializing_if = "Phase::is_open")]
    pub phase: Phase,
    /// Its release slot, once what it waits for frees others too: a time, or zero while it has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<Ms>,
    /// The session stands at a permission dialog.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_you: bool,
    /// The process that waits for it since its last stop, on its machine; `None` when none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<Process>,
    /// The client process that the session belongs to, on its machine; `None` while it is unknown, and after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Process>,
    /// The machine it was last seen on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Who held it when it last asked, and why, until the next admission tells its agent; `api` is not kept.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub held_by: String,
    /// Why it was held.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub held_reason: String,
    /// The last event.
    pub seen: Ms,
    /// The reason code of the last continuation asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_reason: String,
}
