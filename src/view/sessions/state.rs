//! Computes the state of a session and what resumes it, with one pure function, [`of`].

#[cfg(test)]
pub(crate) mod tests;

use crate::policy::decision;
use crate::policy::decision::State;
use crate::policy::documents::{FleetState, Phase, ScopeState, SessionState};
use crate::policy::fact::Span;
use crate::policy::hold::Hold;
use crate::policy::limits::{Ms, Policy, millis};
use crate::policy::min_interval;
use crate::policy::request::{Claim, Event, Step};
use crate::policy::rest::RestKind;
use crate::policy::verdict::{End, Outcome, Reason};
use crate::policy::work::WorkMode;
use crate::view::sessions::kind::{Back, Kind};
use crate::view::survey::QuotaLeft;

/// The most consecutive refusals that are looked ahead.
pub const MOST_DOORS: usize = 8;

/// The engine that waits for a session since its last stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// No engine waits: the plain engine answers and exits.
    Plain,
    /// A process waits, as far as can be known.
    Waits,
    /// A process of this machine that has ended.
    Gone,
}

/// The facts from which a session's state is computed.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The limits.
    pub policy: &'a Policy,
    /// The fleet's hold, if one is in force.
    pub fleet_hold: Option<&'a Hold>,
    /// The scope in which it was last seen.
    pub scope: &'a ScopeState,
    /// The session.
    pub session: &'a SessionState,
    /// What is left of the quotas that count it.
    pub quota: Option<QuotaLeft>,
    /// The engine that waits for it.
    pub engine: Engine,
    /// Whether only the server knows its last answer, and the server is unreachable.
    pub hearsay: bool,
    /// Whether its last hook call came to no verdict; `Some(true)` where a process waits until it can be decided.
    pub undecided: Option<bool>,
    /// A turn without an event for this long may have been interrupted.
    pub park_max: Ms,
    /// The store's clock.
    pub now: Ms,
}

/// Returns the state of a session and what resumes it. The first that applies: it has ended; a dialog is open; nothing
/// was refused since its last admission or prompt; no engine waits for the answer (any more, or at all); else the rule
/// that would refuse its engine's request now.
#[must_use]
pub fn of(facts: &Facts<'_>) -> (Kind, Back) {
    let session = facts.session;
    if let Some(waits) = facts.undecided {
        return (Kind::Undecided, if waits { Back::Mended } else { Back::Prompt });
    }
    if session.phase == Phase::Ended {
        return (Kind::Ended, Back::Nothing);
    }
    if session.phase == Phase::Asleep {
        return (Kind::Asleep, Back::Prompt);
    }
    if session.needs_you {
        return (Kind::NeedsYou, Back::Answer);
    }
    // This machine knows how long the session rests, and not whether it continued since.
    if facts.hearsay && facts.engine != Engine::Waits {
        return (Kind::Unknown, Back::Nothing);
    }
    if session.gate && session.client.is_none() && facts.engine != Engine::Waits {
        return between_runs(facts);
    }
    if let Some(moving) = unrefused(facts) {
        // A turn that a person interrupted (Esc) sends no event (client 2.1.331).
        let is_silent = moving == Kind::Running && facts.now.saturating_sub(session.seen) > facts.park_max;
        return (if is_silent { Kind::NoEvent } else { moving }, Back::Nothing);
    }
    let rest = session.rest.as_ref().filter(|rest| rest.lasts(facts.now) && !session.woken);
    match facts.engine {
        _ if session.phase == Phase::Expired => (Kind::Expired, Back::Prompt),
        Engine::Gone => (Kind::WaiterLost, if session.gate { Back::Gate } else { Back::Prompt }),
        Engine::Plain => match rest.map(|rest| rest.kind) {
            Some(RestKind::Done) => (Kind::Done, Back::Prompt),
            Some(RestKind::Parked) => (Kind::Parked, Back::Client),
            _ => (Kind::Stopped, Back::Prompt),
        },
        Engine::Waits => waiting(facts),
    }
}

/// Returns the state of a gate's session after a run: its rest, or that the run is over.
fn between_runs(facts: &Facts<'_>) -> (Kind, Back) {
    let rest = facts.session.rest.as_ref().filter(|rest| rest.lasts(facts.now) && !facts.session.woken);
    let reason = rest.and_then(|rest| Reason::from_code(rest.kind.code()));
    let back = if rest.is_some_and(|rest| rest.until.is_none()) { Back::Wake } else { Back::Gate };
    (reason.map_or(Kind::Ended, kind), back)
}

/// Returns the state of a session that had no refused request and no failed turn since it was last admitted or
/// prompted.
fn unrefused(facts: &Facts<'_>) -> Option<Kind> {
    let (session, scope) = (facts.session, facts.scope);
    let begun = session.begun.as_ref();
    if begun.is_some_and(|begun| begun.id.is_empty()) {
        return Some(Kind::Running);
    }
    match Reason::from_code(&session.last_reason) {
        None if begun.is_none() => Some(Kind::Idle),
        Some(reason) if reason.is_admission() => {
            // A failed turn sends no request by itself. The first successful stop clears what it left.
            let failed = scope.api_strikes > 0 || scope.api_holds > 0;
            let since = begun.is_some_and(|begun| scope.stop.admitted_at.is_none_or(|at| at < begun.at));
            (!(failed && since)).then_some(Kind::Running)
        }
        _ => None,
    }
}

/// Returns the state of a session with a waiting engine: what a request would be answered now, and when it would be
/// admitted.
fn waiting(facts: &Facts<'_>) -> (Kind, Back) {
    let mut first = None;
    let mut at = facts.now;
    for _ in 0..MOST_DOORS {
        let Some((reason, ends)) = refusal(facts, at) else { break };
        first.get_or_insert(reason);
        let kind = first.map_or(Kind::Guard, kind);
        match ends {
            Some(end) if end > at => at = end,
            Some(_) => break,
            None => return (kind, ended_by(reason)),
        }
    }
    match first {
        Some(reason) => (kind(reason), Back::At(at)),
        // Its time is over and its engine has not sent the request yet, or a project's own limits are tighter than
        // these.
        None => {
            let back = if facts.now.saturating_sub(due_since(facts)) <= ASKS_WITHIN { Back::Now } else { Back::Later };
            (Reason::from_code(&facts.session.last_reason).map_or(Kind::Guard, kind), back)
        }
    }
}

/// An engine sends its request at most this long after its time has come.
const ASKS_WITHIN: Ms = 6000;

/// Returns since when none of these limits refuses the session. A wake-up counts as just received.
fn due_since(facts: &Facts<'_>) -> Ms {
    let Facts { scope, session, now, .. } = facts;
    if session.woken {
        return *now;
    }
    let limits = &facts.policy.stop;
    let ends = [
        scope.stop.admitted_at.map(|at| at.saturating_add(millis(limits.min_interval))),
        scope.taken.map(|at| at.saturating_add(min_interval::pause(limits))),
        scope.stop.cooldown.map(|span| span.end),
        scope.api.map(|span| span.end),
        scope.hold.as_ref().and_then(|hold| hold.until),
        scope.released,
        session.rest.as_ref().and_then(|rest| rest.until),
        session.answered_person.map(|at| at.saturating_add(millis(facts.policy.quiet))),
        facts.quota.and_then(|quota| quota.frees),
        Some(session.seen),
    ];
    ends.into_iter().flatten().filter(|end| end <= now).max().unwrap_or(0)
}

/// Returns the rule that would refuse a paced request at this time, and when it ends, if a time ends it.
fn refusal(facts: &Facts<'_>, at: Ms) -> Option<(Reason, Option<Ms>)> {
    // A release slot that was given stays. Only the request itself determines the next one.
    let slots = facts.session.slot.map(|slot| Span::new(0, slot));
    let fleet = FleetState { hold: facts.fleet_hold.cloned(), slots, ..FleetState::default() };
    let mut state = State { fleet, scope: facts.scope.clone(), session: facts.session.clone(), ..State::default() };
    let answer = decision::step(&unlimited(facts.policy), &mut state, &ask(facts.session), at);
    if answer.outcome == Outcome::Refuse {
        return Some((answer.reason, answer.retry_after.map(|left| at.saturating_add(millis(left)))));
    }
    let frees = facts.quota.and_then(|quota| quota.frees).filter(|frees| *frees > at);
    frees.map(|frees| (Reason::Quota, Some(frees)))
}

/// Returns the limits without the quotas, which are counted where they are kept, and without the queue, which was not read.
fn unlimited(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.stop.quotas.clear();
    policy.fleet_quotas.clear();
    policy.work.mode = WorkMode::Off;
    policy
}

fn ask(session: &SessionState) -> Step {
    Step {
        event: Event::Ask { fence: session.fence.unwrap_or(0), renew: false },
        event_name: String::new(),
        detail: String::new(),
        scope: String::new(),
        session: String::new(),
        name: String::new(),
        named_by_project: false,
        project: String::new(),
        wake_on: None,
        paced: true,
        shadow: false,
        pid: None,
        client: None,
        claim: Claim::Beside,
        late: None,
        start: None,
        host: String::new(),
        host_ms: 0,
        r: 0,
        id: String::new(),
        turn: None,
        notes: Vec::new(),
        cache_is_warm: None,
        recalls: false,
        known_epoch: String::new(),
        agent: String::new(),
    }
}

fn kind(reason: Reason) -> Kind {
    match reason {
        Reason::Hold => Kind::Hold,
        Reason::Cooldown | Reason::Burst => Kind::Cooldown,
        Reason::ApiError => Kind::ApiCooldown,
        Reason::Rest | Reason::Idle | Reason::Failed | Reason::NoWork | Reason::OffHours => Kind::Resting,
        Reason::Quiet => Kind::Quiet,
        Reason::Done => Kind::Done,
        Reason::Blocked => Kind::Blocked,
        Reason::WaitFor => Kind::WaitFor,
        Reason::Parked => Kind::Parked,
        Reason::Spread => Kind::Spread,
        Reason::Quota => Kind::Quota,
        Reason::Pace => Kind::Pace,
        Reason::Limit => Kind::Limit,
        _ => Kind::Guard,
    }
}

/// Returns what ends a refusal that no time ends.
fn ended_by(reason: Reason) -> Back {
    match reason.end() {
        End::Release => Back::Release,
        End::Client => Back::Client,
        _ => Back::Wake,
    }
}
