//! What a session does now, and what brings it back: one pure function, [`of`].

use crate::store::survey::QuotaLeft;
use crate::throttle::model::{self, State};
use crate::throttle::policy::{Ms, Policy, millis};
use crate::throttle::state::{FleetState, Hold, Phase, RestKind, ScopeState, SessionState};
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Outcome, Reason};

/// What stands in a session's way may change so often until it would be admitted; no more is looked ahead.
const MOST_DOORS: usize = 8;

/// What a session does now. In this order they are shown: what wants a person first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It stands at a permission dialog.
    NeedsYou,
    /// Its waiting engine is gone, and nothing wakes it any more.
    WaiterLost,
    /// Its waiting engine reached the end of its wait, and nothing wakes it any more.
    Expired,
    /// Its scope or the fleet is held (isolated, forced open).
    Hold,
    /// A cooldown is open.
    Cooldown,
    /// A cooldown after an API error is open.
    ApiCooldown,
    /// A quota is used up.
    Quota,
    /// The guard (minimum interval) is closed.
    Guard,
    /// The agent rests until a time.
    Resting,
    /// The agent waits for a topic.
    WaitFor,
    /// The agent waits for somebody.
    Blocked,
    /// The client wakes it by itself.
    Parked,
    /// The agent said it is done.
    Done,
    /// It was refused, and no engine waits for it.
    Stopped,
    /// Its turn runs: it was admitted last, or prompted since.
    Running,
    /// It began and has not been prompted yet.
    Idle,
    /// The client ended it.
    Ended,
}

impl Kind {
    /// Every kind, in their order.
    pub const ALL: [Self; 17] = [
        Self::NeedsYou,
        Self::WaiterLost,
        Self::Expired,
        Self::Hold,
        Self::Cooldown,
        Self::ApiCooldown,
        Self::Quota,
        Self::Guard,
        Self::Resting,
        Self::WaitFor,
        Self::Blocked,
        Self::Parked,
        Self::Done,
        Self::Stopped,
        Self::Running,
        Self::Idle,
        Self::Ended,
    ];

    /// The code, as `frosty status --json` has it.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NeedsYou => "needs_you",
            Self::WaiterLost => "waiter_lost",
            Self::Expired => "expired",
            Self::Hold => "hold",
            Self::Cooldown => "cooldown",
            Self::ApiCooldown => "api_cooldown",
            Self::Quota => "quota",
            Self::Guard => "guard",
            Self::Resting => "resting",
            Self::WaitFor => "wait_for",
            Self::Blocked => "blocked",
            Self::Parked => "parked",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Ended => "ended",
        }
    }

    /// As people read it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NeedsYou => "needs you",
            Self::WaiterLost => "waiter lost",
            Self::ApiCooldown => "api cooldown",
            other => other.code(),
        }
    }

    /// Whether only a person brings it on.
    #[must_use]
    pub fn wants_a_person(self) -> bool {
        matches!(self, Self::NeedsYou | Self::WaiterLost | Self::Expired)
    }
}

/// What brings a session back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// Nothing has to: it runs, or it is over.
    Nothing,
    /// Its engine, any moment now.
    Now,
    /// Its engine, at this time.
    At(Ms),
    /// Its engine, once a hold without an end is released.
    Release,
    /// A wake-up or a prompt.
    Wake,
    /// A prompt.
    Prompt,
    /// Whoever answers its dialog.
    Answer,
    /// The client, by a task or timer of its own.
    Client,
}

impl Back {
    /// The code, as `frosty status --json` has it.
    #[must_use]
    pub fn code(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Now | Self::At(_) => Some("time"),
            Self::Release => Some("release"),
            Self::Wake => Some("wake"),
            Self::Prompt => Some("prompt"),
            Self::Answer => Some("answer"),
            Self::Client => Some("client"),
        }
    }
}

/// Who waits for a session since its last stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Nobody: the plain engine answers and is gone.
    Plain,
    /// A process, as far as can be known.
    Waits,
    /// A process of this machine that is gone.
    Gone,
}

/// All that a session's state is told from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The limits.
    pub policy: &'a Policy,
    /// The fleet's hold, if one is in force.
    pub fleet_hold: Option<&'a Hold>,
    /// The scope it was last seen in.
    pub scope: &'a ScopeState,
    /// The session.
    pub session: &'a SessionState,
    /// What is left of the quotas that count it.
    pub quota: Option<QuotaLeft>,
    /// Who waits for it.
    pub engine: Engine,
    /// The store's clock.
    pub now: Ms,
}

/// What a session does now and what brings it back. The first that applies: it has ended; it stands at a dialog; nothing
/// was refused since its last admission or prompt; nobody waits for the answer, any more or at all; and then the rule that
/// would refuse it if its engine asked now.
#[must_use]
pub fn of(facts: &Facts<'_>) -> (Kind, Back) {
    let session = facts.session;
    if session.phase == Phase::Ended {
        return (Kind::Ended, Back::Nothing);
    }
    if session.needs_you {
        return (Kind::NeedsYou, Back::Answer);
    }
    if let Some(moving) = unrefused(facts) {
        return (moving, Back::Nothing);
    }
    let rest = session.rest.as_ref().filter(|rest| rest.lasts(facts.now) && !session.woken);
    match facts.engine {
        _ if session.phase == Phase::Expired => (Kind::Expired, Back::Prompt),
        Engine::Gone => (Kind::WaiterLost, Back::Prompt),
        Engine::Plain => match rest.map(|rest| rest.kind) {
            Some(RestKind::Done) => (Kind::Done, Back::Prompt),
            Some(RestKind::Parked) => (Kind::Parked, Back::Client),
            _ => (Kind::Stopped, Back::Prompt),
        },
        Engine::Waits => waiting(facts),
    }
}

/// What it does where no ask of it was refused, or no turn of it failed, since it was last admitted or prompted.
fn unrefused(facts: &Facts<'_>) -> Option<Kind> {
    let (session, scope) = (facts.session, facts.scope);
    let begun = session.begun.as_ref();
    if begun.is_some_and(|begun| begun.id.is_empty()) {
        return Some(Kind::Running);
    }
    match Reason::from_code(&session.last_reason) {
        None if begun.is_none() => Some(Kind::Idle),
        Some(Reason::Admitted | Reason::Probe) => {
            // A failed turn asks nothing by itself. The first good stop clears what it left.
            let failed = scope.api_strikes > 0 || scope.api_holds > 0;
            let since = begun.is_some_and(|begun| scope.stop.admitted_at.is_none_or(|at| at < begun.at));
            (!(failed && since)).then_some(Kind::Running)
        }
        _ => None,
    }
}

/// An engine waits: what it would be answered now, and when it would be admitted.
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
            None => return (kind, opened_by(reason)),
        }
    }
    match first {
        Some(reason) => (kind(reason), Back::At(at)),
        // Its time is over and it has not asked yet, or a project's own limits are tighter than these.
        None => (Reason::from_code(&facts.session.last_reason).map_or(Kind::Guard, kind), Back::Now),
    }
}

/// The rule that would refuse a paced ask at this time, and when it would not any more, if a time ends it.
fn refusal(facts: &Facts<'_>, at: Ms) -> Option<(Reason, Option<Ms>)> {
    let fleet = FleetState { hold: facts.fleet_hold.cloned(), ..FleetState::default() };
    let mut state = State { fleet, scope: facts.scope.clone(), session: facts.session.clone() };
    let answer = model::step(&unlimited(facts.policy), &mut state, &ask(facts.session), at);
    if answer.outcome == Outcome::Refuse {
        return Some((answer.reason, answer.retry_after.map(|left| at.saturating_add(millis(left)))));
    }
    let frees = facts.quota.and_then(|quota| quota.frees).filter(|frees| *frees > at);
    frees.map(|frees| (Reason::Quota, Some(frees)))
}

/// The limits but the quotas, which are counted where they are kept.
fn unlimited(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    policy.stop.quotas.clear();
    policy.fleet_quotas.clear();
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
        paced: true,
        pid: None,
        late: None,
        host: String::new(),
        host_ms: 0,
        r: 0,
        id: String::new(),
        known_born: String::new(),
    }
}

fn kind(reason: Reason) -> Kind {
    match reason {
        Reason::Hold => Kind::Hold,
        Reason::Cooldown | Reason::Burst => Kind::Cooldown,
        Reason::ApiError => Kind::ApiCooldown,
        Reason::Rest => Kind::Resting,
        Reason::Done => Kind::Done,
        Reason::Blocked => Kind::Blocked,
        Reason::WaitFor => Kind::WaitFor,
        Reason::Parked => Kind::Parked,
        Reason::Quota => Kind::Quota,
        _ => Kind::Guard,
    }
}

/// Who opens what no time opens.
fn opened_by(reason: Reason) -> Back {
    match reason {
        Reason::Hold => Back::Release,
        Reason::Parked => Back::Client,
        _ => Back::Wake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::state::{Begun, Rest, Span};

    const NOW: Ms = 1_800_000_000_000;

    /// A session that stopped a minute ago and was refused.
    fn refused(reason: &str) -> SessionState {
        let begun = Some(Begun { at: NOW - 60_000, id: "stop".to_owned() });
        SessionState {
            fence: Some(7),
            begun,
            last_reason: reason.to_owned(),
            seen: NOW - 60_000,
            ..SessionState::default()
        }
    }

    fn rests(kind: RestKind, until: Option<Ms>) -> SessionState {
        let rest = Rest { kind, since: NOW - 60_000, until, topic: "x".to_owned() };
        SessionState { rest: Some(rest), ..refused(kind.code()) }
    }

    fn prompted(session: SessionState) -> SessionState {
        SessionState { begun: Some(Begun { at: NOW - 1, id: String::new() }), ..session }
    }

    fn hold(until: Option<Ms>) -> Hold {
        Hold { reason: "look".to_owned(), by: "ann".to_owned(), since: NOW - 5, until }
    }

    fn cooling(end: Ms) -> ScopeState {
        let mut scope = ScopeState::default();
        scope.stop.cooldown = Some(Span { start: NOW - 60_000, end });
        scope.stop.admitted_at = Some(NOW - 61_000);
        scope
    }

    fn guarded() -> ScopeState {
        let mut scope = ScopeState::default();
        scope.stop.admitted_at = Some(NOW - 3000);
        scope
    }

    fn failed(scope: ScopeState) -> ScopeState {
        ScopeState { api: Some(Span { start: NOW - 60_000, end: NOW + 40_000 }), api_strikes: 1, ..scope }
    }

    #[test]
    #[allow(clippy::too_many_lines, reason = "one line for each case")]
    fn which_state_wins() {
        use Engine::{Gone, Plain, Waits};
        let held = |until| ScopeState { hold: Some(hold(until)), ..ScopeState::default() };
        let free = ScopeState::default;
        let admitted = || refused("admitted");
        let dialog = |session| SessionState { needs_you: true, ..session };
        let ended = |session| SessionState { phase: Phase::Ended, ..session };
        let expired = |session| SessionState { phase: Phase::Expired, ..session };
        let woken = |session| SessionState { woken: true, ..session };
        let (soon, late) = (NOW + 40_000, NOW + 90_000);
        let used_up = Some(QuotaLeft { left: 0, frees: Some(late) });
        type Case = (&'static str, SessionState, ScopeState, Option<Hold>, Option<QuotaLeft>, Engine, Kind, Back);
        let cases: Vec<Case> = vec![
            ("new", SessionState::default(), free(), None, None, Plain, Kind::Idle, Back::Nothing),
            ("prompted", prompted(SessionState::default()), free(), None, None, Plain, Kind::Running, Back::Nothing),
            ("admitted", admitted(), guarded(), None, None, Plain, Kind::Running, Back::Nothing),
            ("a probe", refused("probe"), guarded(), None, None, Waits, Kind::Running, Back::Nothing),
            ("its engine has gone on with it", admitted(), guarded(), None, None, Gone, Kind::Running, Back::Nothing),
            ("held while it runs", admitted(), held(None), None, None, Waits, Kind::Running, Back::Nothing),
            (
                "prompted since it was refused",
                prompted(refused("cooldown")),
                cooling(soon),
                None,
                None,
                Gone,
                Kind::Running,
                Back::Nothing,
            ),
            (
                "ended",
                ended(dialog(rests(RestKind::Done, None))),
                held(None),
                None,
                None,
                Gone,
                Kind::Ended,
                Back::Nothing,
            ),
            ("a dialog", dialog(prompted(admitted())), free(), None, None, Plain, Kind::NeedsYou, Back::Answer),
            (
                "a dialog under a hold",
                dialog(refused("hold")),
                held(None),
                None,
                None,
                Gone,
                Kind::NeedsYou,
                Back::Answer,
            ),
            ("its engine died", refused("cooldown"), cooling(soon), None, None, Gone, Kind::WaiterLost, Back::Prompt),
            (
                "the engine of one that is done died",
                rests(RestKind::Done, None),
                free(),
                None,
                None,
                Gone,
                Kind::WaiterLost,
                Back::Prompt,
            ),
            ("expired", expired(rests(RestKind::Done, None)), free(), None, None, Gone, Kind::Expired, Back::Prompt),
            (
                "expired, then prompted",
                prompted(refused("done")),
                free(),
                None,
                None,
                Gone,
                Kind::Running,
                Back::Nothing,
            ),
            ("plain, refused", refused("cooldown"), cooling(soon), None, None, Plain, Kind::Stopped, Back::Prompt),
            ("plain, held", refused("hold"), held(None), None, None, Plain, Kind::Stopped, Back::Prompt),
            (
                "plain, a nap that nobody ends",
                rests(RestKind::Rest, Some(soon)),
                free(),
                None,
                None,
                Plain,
                Kind::Stopped,
                Back::Prompt,
            ),
            ("plain, done", rests(RestKind::Done, None), free(), None, None, Plain, Kind::Done, Back::Prompt),
            (
                "plain, parked",
                rests(RestKind::Parked, Some(soon)),
                free(),
                None,
                None,
                Plain,
                Kind::Parked,
                Back::Client,
            ),
            (
                "plain, parked until a moment ago",
                rests(RestKind::Parked, Some(NOW)),
                free(),
                None,
                None,
                Plain,
                Kind::Stopped,
                Back::Prompt,
            ),
            (
                "plain, failed",
                admitted(),
                failed(cooling(NOW - 60_000)),
                None,
                None,
                Plain,
                Kind::Stopped,
                Back::Prompt,
            ),
            ("failed at once", refused(""), failed(free()), None, None, Plain, Kind::Stopped, Back::Prompt),
            ("failed, and waited out", admitted(), failed(guarded()), None, None, Waits, Kind::Running, Back::Nothing),
            (
                "failed, and waits",
                refused("api_error"),
                failed(free()),
                None,
                None,
                Waits,
                Kind::ApiCooldown,
                Back::At(soon),
            ),
            ("guard", refused("min_interval"), guarded(), None, None, Waits, Kind::Guard, Back::At(NOW + 12_000)),
            ("cooldown", refused("burst"), cooling(soon), None, None, Waits, Kind::Cooldown, Back::At(soon)),
            ("held", refused("hold"), held(Some(soon)), None, None, Waits, Kind::Hold, Back::At(soon)),
            ("held without an end", refused("hold"), held(None), None, None, Waits, Kind::Hold, Back::Release),
            (
                "the fleet is held",
                refused("cooldown"),
                cooling(soon),
                Some(hold(Some(late))),
                None,
                Waits,
                Kind::Hold,
                Back::At(late),
            ),
            (
                "both are held",
                refused("hold"),
                held(Some(soon)),
                Some(hold(None)),
                None,
                Waits,
                Kind::Hold,
                Back::Release,
            ),
            (
                "held, and cooling for longer",
                refused("hold"),
                ScopeState { hold: Some(hold(Some(soon))), ..cooling(late) },
                None,
                None,
                Waits,
                Kind::Hold,
                Back::At(late),
            ),
            (
                "held, and done besides",
                rests(RestKind::Done, None),
                held(Some(soon)),
                None,
                None,
                Waits,
                Kind::Hold,
                Back::Wake,
            ),
            (
                "cooling, and naps for longer",
                rests(RestKind::Rest, Some(late)),
                cooling(soon),
                None,
                None,
                Waits,
                Kind::Cooldown,
                Back::At(late),
            ),
            ("resting", rests(RestKind::Rest, Some(soon)), guarded(), None, None, Waits, Kind::Resting, Back::At(soon)),
            ("done", rests(RestKind::Done, None), free(), None, None, Waits, Kind::Done, Back::Wake),
            ("blocked", rests(RestKind::Blocked, Some(late)), free(), None, None, Waits, Kind::Blocked, Back::At(late)),
            ("waits for a topic", rests(RestKind::WaitFor, None), free(), None, None, Waits, Kind::WaitFor, Back::Wake),
            ("parked", rests(RestKind::Parked, None), free(), None, None, Waits, Kind::Parked, Back::Client),
            (
                "woken, and the guard is closed",
                woken(rests(RestKind::Done, None)),
                guarded(),
                None,
                None,
                Waits,
                Kind::Guard,
                Back::At(NOW + 12_000),
            ),
            ("quota", refused("quota"), free(), None, used_up, Waits, Kind::Quota, Back::At(late)),
            (
                "guard, and a quota besides",
                refused("min_interval"),
                guarded(),
                None,
                used_up,
                Waits,
                Kind::Guard,
                Back::At(late),
            ),
            ("its time is over", refused("cooldown"), cooling(NOW), None, None, Waits, Kind::Cooldown, Back::Now),
        ];
        let policy = Policy::default();
        for (what, session, scope, fleet_hold, quota, engine, kind, back) in cases {
            let facts = Facts {
                policy: &policy,
                fleet_hold: fleet_hold.as_ref(),
                scope: &scope,
                session: &session,
                quota,
                engine,
                now: NOW,
            };
            assert_eq!(of(&facts), (kind, back), "{what}");
        }
    }

    #[test]
    fn every_state_has_its_own_code() {
        let codes: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert!(Kind::ALL.is_sorted());
        // The state stands in a column of the table.
        assert!(Kind::ALL.iter().all(|kind| kind.words().len() <= 12));
    }
}
