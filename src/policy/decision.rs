//! The decision: one pure function, [`step`]. Both stores load its input and commit its result.

use std::time::Duration;

use crate::policy::documents::{
    Begun, COMMIT_SLACK, ClassState, FleetState, Flight, IN_FLIGHT, QuotaLog, ScopeState, SessionState,
};
use crate::policy::effects::{BY_API, FenceStatus, Relation, Turned};
use crate::policy::fact::{FactId, Span, fact_id, note_lifted};
use crate::policy::hold::Hold;
use crate::policy::limits::{Class, ClassPolicy, LONGEST, MOST_STRIKES, Ms, Policy, Quota, millis};
use crate::policy::pace::Paced;
use crate::policy::quota::Shared;
use crate::policy::request::{Event, R_RANGE, Step};
use crate::policy::rest::{Rest, RestKind};
use crate::policy::verdict::{Attempt, Decision, Held, Outcome, Reason};
use crate::policy::windows::Windows;
use crate::policy::{effects, long_hold, pace, release_slots};

/// The largest burst window, and the largest number of attempts that is kept.
const MOST_ATTEMPTS: usize = 1000;

/// How long after a rounded reset the sessions continue, at least, and what is added by chance.
const AFTER_RESET: Ms = 5_000;
const AFTER_RESET_BY_CHANCE: Ms = 55_000;

/// The largest count of continuations in a row.
const MOST_COUNTED: u32 = 1_000_000_000;

/// The state that one step reads and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The fleet.
    pub fleet: FleetState,
    /// The scope of the event.
    pub scope: ScopeState,
    /// The session of the event.
    pub session: SessionState,
    /// The usage windows; read only where a pace is configured.
    pub windows: Windows,
}

/// Applies one event to the state at `now` (the store's clock) and decides its admission request, if it makes one.
///
/// The event's effects come first, then the rules in their order. The first rule that refuses decides.
pub fn step(policy: &Policy, state: &mut State, ask: &Step, now: Ms) -> Decision {
    if ask.event.asks() == Some(Class::Stop) {
        state.fleet.rebase(now);
        if let Some(lost) = lost(&mut state.fleet, ask, now) {
            return lost;
        }
    }
    let relation = effects::relation(&state.session, ask);
    if relation == Relation::Contested {
        let client = state.session.client;
        return Decision { client, ..decision(Outcome::Refuse, Reason::Contested, now) };
    }
    let fence = state.session.fence;
    let is_beside = relation == Relation::Beside;
    let fence_status = match is_beside {
        true if ask.event.asks() == Some(Class::Stop) => FenceStatus::Superseded,
        true => FenceStatus::Own,
        false => effects::fence_status(&mut state.session, ask, now),
    };
    if fence_status == FenceStatus::Superseded {
        return Decision { fence: state.session.fence, ..decision(Outcome::Refuse, Reason::Superseded, now) };
    }
    if let Some(again) = repeated(state, ask, now) {
        state.session.fence = fence;
        return Decision { fence, ..again };
    }
    let facts = Facts::of(state);
    if ask.event.touches_fleet() {
        state.fleet.rebase(now);
    }
    let by_person = state.session.by_person;
    let own = &mut state.session;
    let worth = if is_beside { None } else { effects::on_session(own, ask, relation, fence_status, policy, now) };
    let mut turned = Turned::default();
    let mut ended = None;
    if ask.event.is_fleets() {
        if let Some(hold) = &mut state.fleet.hold {
            hold.rebase(now);
        }
        if matches!(ask.event, Event::Release { .. } | Event::LiftLimits) {
            ended = state.fleet.limited_until(now).map(|end| duration(end.saturating_sub(now)));
        }
        turned = effects::on_fleet(&mut state.fleet, &ask.event, now);
    }
    if ask.event.touches_scope() {
        state.scope.rebase(now);
        if matches!(ask.event, Event::Release { fleet: false, .. }) {
            ended = state.scope.api.and_then(|api| api.left(now)).map(duration);
        }
        if fence_status != FenceStatus::Repeated {
            turned = effects::on_scope(&mut state.scope, &policy.api_error, &ask.event, by_person, now);
            effects::on_key(&mut state.fleet, &policy.api_error, ask, now);
        }
    }
    if policy.pace.is_some() && ask.event.ends_turn() {
        pace::land(&mut state.fleet.quota.in_flight, &ask.session, now);
    }
    let mut decided = match ask.event.asks() {
        Some(class) => decide(policy, state, ask, class, now),
        None => turned_into(turned, ended, recorded(state, &ask.event, now)),
    };
    facts.settle(state, &ask.id, now);
    decided.worth = worth;
    decided.fence = if ask.event.is_of_holds() || is_beside { None } else { state.session.fence };
    if ask.event.asks() == Some(Class::Stop) {
        decided.reason_changed = state.session.last_reason != decided.reason.code();
        state.session.last_reason = decided.reason.code().to_owned();
    }
    decided
}

/// The ids of the facts that a step may begin, lift or replace, as they were before the step.
struct Facts {
    scope_hold: Option<FactId>,
    fleet_hold: Option<FactId>,
    rest: Option<FactId>,
    spans: [Option<FactId>; 3],
}

impl Facts {
    fn of(state: &State) -> Self {
        let scope = &state.scope;
        Self {
            scope_hold: scope.hold.as_ref().map(Hold::identity),
            fleet_hold: state.fleet.hold.as_ref().map(Hold::identity),
            rest: state.session.rest.as_ref().map(Rest::identity),
            spans: [scope.stop.cooldown, scope.compact.cooldown, scope.api].map(|span| span.map(|s| s.identity())),
        }
    }

    /// Gives the facts that the step began its id, and notes the facts that it lifted or replaced.
    fn settle(self, state: &mut State, id: &str, now: Ms) {
        let State { fleet, scope, session, .. } = state;
        let spans = [&mut scope.stop.cooldown, &mut scope.compact.cooldown, &mut scope.api];
        for (span, before) in spans.into_iter().zip(self.spans) {
            if let Some(span) = span.as_mut().filter(|s| s.id == 0 && s.start == now && Some(s.identity()) != before) {
                span.id = fact_id(id);
            }
        }
        let holds = [
            (&mut scope.hold, &mut scope.lifted, self.scope_hold),
            (&mut fleet.hold, &mut fleet.lifted, self.fleet_hold),
        ];
        for (hold, lifted, before) in holds {
            if let Some(hold) = hold.as_mut().filter(|h| h.id == 0 && h.since == now && Some(h.identity()) != before) {
                hold.id = fact_id(id);
            }
            if let Some(before) = before.filter(|before| hold.as_ref().map(Hold::identity) != Some(*before)) {
                note_lifted(lifted, before);
            }
        }
        let rest = &mut session.rest;
        if let Some(rest) = rest.as_mut().filter(|r| r.id == 0 && r.since == now && Some(r.identity()) != self.rest) {
            rest.id = fact_id(id);
        }
        if let Some(before) = self.rest.filter(|before| rest.as_ref().map(Rest::identity) != Some(*before)) {
            note_lifted(&mut session.lifted, before);
        }
    }
}

/// Returns the admission again to a request that was just admitted and lost its answer on the way.
///
/// Later than [`IN_FLIGHT`] after its commit, other requests may have been admitted since. The time of the commit is
/// not known here, only the time of the decision.
fn repeated(state: &State, ask: &Step, now: Ms) -> Option<Decision> {
    let State { scope, session, .. } = state;
    let admitted = session.admitted.as_ref().filter(|admitted| admitted.id == ask.id)?;
    // Another store had the scope since, and may have admitted the request.
    let is_taken = scope.taken.is_some_and(|taken| taken >= admitted.at);
    let slack = if is_taken { 0 } else { COMMIT_SLACK };
    let is_recent = (0..=IN_FLIGHT + slack).contains(&now.saturating_sub(admitted.at));
    if ask.event.asks() != Some(Class::Stop) || !is_recent {
        return None;
    }
    let admitted = decision(Outcome::Admit, Reason::Admitted, now);
    Some(Decision { note: session.given.clone(), count: session.count, repeated: true, ..admitted })
}

/// Returns the answer to a requester that knows this store by another store epoch.
///
/// Nothing is decided before the requester has sent the state that it keeps.
fn lost(fleet: &mut FleetState, ask: &Step, now: Ms) -> Option<Decision> {
    fleet.lost = fleet.lost.map(|lost| lost.min(now));
    let known = ask.known_epoch.is_empty() || ask.known_epoch == fleet.store_epoch;
    if fleet.store_epoch.is_empty() {
        // A step that is retried on a store that lost its data must not give it the same epoch.
        fleet.store_epoch = format!("{}-{now}", ask.id);
    }
    if known {
        return None;
    }
    fleet.lost = fleet.lost.or(Some(now));
    Some(Decision { store_epoch: fleet.store_epoch.clone(), ..decision(Outcome::Refuse, Reason::Lost, now) })
}

/// Completes the answer to an event without an admission request.
///
/// It adds what happened to the hold in force, and how much was left of the API cooldown that a release `ended`.
fn turned_into(turned: Turned, ended: Option<Duration>, recorded: Decision) -> Decision {
    let Turned { lifted, replaced, stands } = turned;
    if let Some(hold) = stands {
        let left = hold.until.map(|until| until.saturating_sub(recorded.now));
        let fleet = recorded.held.as_ref().is_some_and(|held| held.fleet);
        let held = Some(Held { by: hold.by, reason: hold.reason, fleet });
        return refused(Decision { outcome: Outcome::Refuse, held, ..recorded }, Reason::Hold, left);
    }
    Decision { held: lifted.or(recorded.held), retry_after: recorded.retry_after.or(ended), replaced, ..recorded }
}

/// Returns a refusal that comes from no rule.
pub(crate) fn refusal(reason: Reason, now: Ms) -> Decision {
    decision(Outcome::Refuse, reason, now)
}

fn decision(outcome: Outcome, reason: Reason, now: Ms) -> Decision {
    Decision {
        outcome,
        reason,
        retry_after: None,
        attempts: 0,
        strikes: 0,
        fence: None,
        reason_changed: false,
        held: None,
        replaced: None,
        count: 0,
        note: String::new(),
        renewed: false,
        now,
        store_epoch: String::new(),
        client: None,
        repeated: false,
        attempt: Attempt::Uncounted,
        worth: None,
    }
}

fn recorded(state: &State, event: &Event, now: Ms) -> Decision {
    let State { fleet, scope, session, .. } = state;
    let reason = match event {
        Event::Expired { .. } => Reason::WaiterExpired,
        Event::Wake { signal, .. } if !effects::wakes(session, signal.as_deref()) => Reason::NoteKept,
        _ => Reason::Event,
    };
    let mut decided = decision(Outcome::Record, reason, now);
    if let Event::Hold(asked) = event {
        decided.held = Some(Held { by: asked.by.clone(), reason: asked.reason.clone(), fleet: asked.fleet });
        decided.retry_after = asked.lasting;
    }
    if let Some(failure) = event.failure() {
        let in_force = scope.hold.as_ref().filter(|h| h.holds(now));
        decided.held = in_force.map(|h| Held { by: h.by.clone(), reason: h.reason.clone(), fleet: false });
        let hold = scope.hold.as_ref().and_then(|h| h.until);
        // The state contains only those fields of the fleet that the event reads.
        let api = if failure.of_key { fleet.api_end_of(scope, now) } else { scope.api.map(|a| a.end) };
        let ends = [api, hold];
        let last = ends.into_iter().flatten().max().filter(|end| *end > now);
        decided.retry_after = last.map(|end| duration(end.saturating_sub(now)));
        decided.strikes = scope.api_strikes;
    }
    decided
}

/// Decides an admission request by rules 0 (its wake-up) to 9.
fn decide(policy: &Policy, state: &mut State, ask: &Step, class: Class, now: Ms) -> Decision {
    let case = Case { policy, limits: policy.class(class), ask, class, stop: class == Class::Stop, now };
    let waited = if case.stop { case.begin(state) } else { None };
    let own = state.scope.class_mut(class);
    forget_strikes(own, case.limits, now);
    let mut answer = decision(Outcome::Refuse, Reason::Admitted, now);
    answer.attempts = in_window(own, case.limits, now);
    answer.strikes = own.strikes;
    if case.stop {
        answer.store_epoch.clone_from(&state.fleet.store_epoch);
    }
    let refusal = case.restricted(state, &mut answer);
    let refusal = refusal.or_else(|| case.too_soon(state, &mut answer));
    let refusal = refusal.or_else(|| case.stop.then(|| case.without_place(state, waited))?);
    if let Some((reason, left)) = refusal {
        return refused(answer, reason, left);
    }
    if case.stop {
        case.continue_session(state, &mut answer);
    }
    case.admit(state, answer)
}

/// A refusal: its reason, and the time after which it ends, where a time ends it.
type Refusal = Option<(Reason, Option<Ms>)>;

/// One request, under one class of limits. The numbers in its methods are those of `docs/policy.md`.
#[derive(Clone, Copy)]
struct Case<'a> {
    policy: &'a Policy,
    limits: &'a ClassPolicy,
    ask: &'a Step,
    class: Class,
    /// Whether it is a Stop event, to which holds, rests, API errors and quotas apply.
    stop: bool,
    now: Ms,
}

impl Case<'_> {
    /// Prepares the decision of a Stop event. Returns the time since when the session has waited for a quota.
    fn begin(&self, state: &mut State) -> Option<Ms> {
        let (State { fleet, scope, session, windows }, now) = (state, self.now);
        if let Some(pace) = &self.policy.pace {
            let in_flight = u32::try_from(fleet.quota.in_flight.len()).unwrap_or(u32::MAX);
            fleet.quota.paced = pace::derive(pace, windows, in_flight, now);
        }
        // A session waits in the wait queue only while the quota is its one obstacle.
        let own = shared(&self.limits.quotas, &mut scope.quota, Ms::MAX).leave(&self.ask.session, 0, now);
        let (quotas, longest) = (self.fleet_quotas(fleet), fleet.quota.paced.longest_wait(now));
        // Another session may wait by a pace that has changed since.
        let by_pace = if self.policy.pace.is_some() { pace::LONGEST_LOOK } else { 0 };
        let fleets = shared(&quotas, &mut fleet.quota, longest).leave(&self.ask.session, by_pace, now);
        if scope.stop.admitted_at.is_none() && scope.taken.is_none() {
            scope.taken = fleet.lost;
        }
        if let Some(hold) = &mut fleet.hold {
            hold.rebase(now);
        }
        if session.woken {
            session.rest = None;
        }
        fleets.or(own)
    }

    /// What refuses without regard to the pace: a hold, a cooldown, an API error, a rest.
    fn restricted(&self, state: &mut State, answer: &mut Decision) -> Refusal {
        let (State { fleet, scope, session, .. }, now) = (state, self.now);
        // 1. a hold of the scope or its fleet
        if let Some((by, until)) = if self.stop { held(scope, fleet, now) } else { None } {
            remember(session, &by);
            if !fleet.hold_at_once && fleet.hold.as_ref().is_some_and(|hold| hold.holds(now)) {
                release_slots::mark(session);
            }
            answer.held = Some(by);
            return Some((Reason::Hold, until.map(|end| end.saturating_sub(now))));
        }
        // 2. an open cooldown
        if let Some(left) = scope.class_mut(self.class).cooldown.and_then(|c| c.left(now)) {
            return Some((Reason::Cooldown, Some(left)));
        }
        if !self.stop {
            return None;
        }
        // 3. an open API cooldown
        if let Some(refusal) = fleet.api_refusal(scope, session, now) {
            answer.strikes = scope.api_strikes;
            if refusal.of_key {
                release_slots::mark(session);
            }
            return Some((Reason::ApiError, Some(refusal.until.saturating_sub(now))));
        }
        // 4. a rest
        let renews = matches!(self.ask.event, Event::Ask { renew: true, .. });
        if let Some(rest) = session.rest.as_ref().filter(|r| !renews && r.lasts(now)) {
            return Some((rest_reason(rest.kind), rest.until.map(|end| end.saturating_sub(now))));
        }
        // 4. the quiet minute: a person is in the conversation
        let quiet = session.answered_person.filter(|at| self.ask.paced && *at <= now)?;
        let left = quiet.saturating_add(millis(self.policy.quiet)).saturating_sub(now);
        (left > 0).then_some((Reason::Quiet, Some(left)))
    }

    /// What refuses a request that comes too soon after the last one: the minimum interval, release slots, the burst window.
    fn too_soon(&self, state: &mut State, answer: &mut Decision) -> Refusal {
        let (State { fleet, scope, session, .. }, Self { limits, ask, now, .. }) = (state, *self);
        let taken = scope.taken.filter(|_| self.stop).map(|at| at.saturating_add(pause(limits)));
        let own = scope.class_mut(self.class);
        // 5. the minimum interval: it refuses a paced request here, and such a refusal counts no attempt
        let opens = own.admitted_at.map(|at| at.saturating_add(millis(limits.min_interval))).max(taken);
        let guard = opens.map(|at| at.saturating_sub(now)).filter(|left| *left > 0);
        if ask.paced
            && let Some(left) = guard.max(place_left(own, limits, now))
        {
            // A change of store starts the minimum interval of many scopes at once.
            if taken.is_some_and(|at| at > now) {
                release_slots::mark(session);
            }
            return Some((Reason::MinInterval, Some(left)));
        }
        // This refusal counts no attempt either, because the engine sends its request again by itself.
        if self.stop
            && ask.paced
            && let Some(left) = release_slots::left(fleet, session, self.policy.spread, ask.r, now)
        {
            return Some((Reason::Spread, Some(left)));
        }
        if limits.burst.is_some() {
            answer.attempt = Attempt::Counted;
        }
        answer.attempts = note(own, limits, now);
        // 6. the burst window
        if let Some(burst) = limits.burst
            && (guard.is_some() || limits.is_limited_by_window())
            && answer.attempts >= burst.limit
        {
            return Some(self.tripped(scope, session, answer));
        }
        // 7. the minimum interval, for the other requests
        guard.map(|left| (Reason::MinInterval, Some(left)))
    }

    /// Opens the cooldown of a burst window that is full, or the hold that repeated trips cause.
    fn tripped(
        &self,
        scope: &mut ScopeState,
        session: &mut SessionState,
        answer: &mut Decision,
    ) -> (Reason, Option<Ms>) {
        let own = scope.class_mut(self.class);
        let left = trip(own, self.limits, self.ask.r, self.now);
        answer.attempt = Attempt::Emptied;
        answer.strikes = own.strikes;
        if self.stop
            && let Some((willy, length)) = long_hold::comes(scope, self.policy.hold_after_strikes, self.now)
        {
            remember(session, &willy);
            answer.held = Some(willy);
            return (Reason::Hold, Some(length));
        }
        (Reason::Burst, Some(left))
    }

    /// 8. the quotas of the scope and of the fleet. `waited` is the time since when the session has waited for one.
    fn without_place(&self, state: &mut State, waited: Option<Ms>) -> Refusal {
        let (State { fleet, scope, session, .. }, Self { ask, now, .. }) = (state, *self);
        // The queue has the order of the Stop events, whatever else a session has waited for since.
        let begun = session.begun.as_ref().map(|begun| begun.at).filter(|at| *at <= now);
        // Where the Stop event is unknown, or was dated by a clock that was ahead, the session keeps its place.
        let since = begun.or(waited).unwrap_or(now);
        if let Some((until, is_rounded)) = fleet.quota.paced.closed_until() {
            // The end frees all sessions at once.
            release_slots::mark(session);
            let by_chance = AFTER_RESET_BY_CHANCE * Ms::from(ask.r.min(R_RANGE - 1)) / Ms::from(R_RANGE);
            let late = if is_rounded { AFTER_RESET + by_chance } else { 0 };
            return Some((Reason::Limit, Some(until.saturating_add(late).saturating_sub(now))));
        }
        let own_left = shared(&self.limits.quotas, &mut scope.quota, Ms::MAX).left(&ask.session, since, ask.paced, now);
        let (quotas, paced) = (self.fleet_quotas(fleet), fleet.quota.paced);
        let waits_for_fleet = ask.paced && own_left.is_none();
        let mut fleets = shared(&quotas, &mut fleet.quota, paced.longest_wait(now));
        if paced == Paced::NoRoom && own_left.is_none() {
            if ask.paced {
                fleets.enter(&ask.session, since, now.saturating_add(pace::NO_ROOM));
            }
            return Some((Reason::Pace, Some(pace::NO_ROOM)));
        }
        let fleet_left = fleets.left(&ask.session, since, waits_for_fleet, now);
        let left = own_left.max(fleet_left)?;
        let is_paced = paced.quota().is_some() && fleet_left == Some(left) && !self.is_of_quota(fleet, since);
        Some((if is_paced { Reason::Pace } else { Reason::Quota }, Some(left)))
    }

    /// Returns whether the fleet's configured quotas alone would refuse, too.
    fn is_of_quota(&self, fleet: &mut FleetState, since: Ms) -> bool {
        let quotas = &self.policy.fleet_quotas;
        shared(quotas, &mut fleet.quota, Ms::MAX).left(&self.ask.session, since, false, self.now).is_some()
    }

    /// Returns the fleet's quotas, with that of the pace.
    fn fleet_quotas(&self, fleet: &FleetState) -> Vec<Quota> {
        self.policy.fleet_quotas.iter().copied().chain(fleet.quota.paced.quota()).collect()
    }

    /// Counts the continuation, and hands out what the session's next prompt contains.
    fn continue_session(&self, state: &mut State, answer: &mut Decision) {
        let (State { fleet, scope, session, .. }, now) = (state, self.now);
        count(&mut scope.quota, &self.limits.quotas, now);
        let mut quotas = self.fleet_quotas(fleet);
        if self.policy.pace.is_some() {
            // The next report of the usage windows counts the turns since the last one.
            quotas.push(Quota { limit: 1, per: duration(pace::LONGEST_FLIGHT) });
            fleet.quota.in_flight.push(Flight { session: self.ask.session.clone(), at: now });
        }
        count(&mut fleet.quota, &quotas, now);
        fleet.note_probe(scope, session, now);
        session.woken = false;
        release_slots::taken(fleet, session, now);
        session.count = session.count.saturating_add(1).min(MOST_COUNTED);
        session.admitted = Some(Begun { at: now, id: self.ask.id.clone() });
        answer.count = session.count;
        answer.note = effects::hand_out(session);
        // A rest that is over is removed. A rest that lasts is left in place by a renewal.
        session.rest = session.rest.take().filter(|r| r.lasts(now));
        answer.renewed = session.rest.is_some();
        if !answer.renewed && !session.held_by.is_empty() {
            let (by, reason) = (std::mem::take(&mut session.held_by), std::mem::take(&mut session.held_reason));
            answer.held = Some(Held { by, reason, fleet: false });
        }
    }

    /// 9. admitted
    fn admit(&self, state: &mut State, mut answer: Decision) -> Decision {
        let own = state.scope.class_mut(self.class);
        let probes = own.cooldown.is_some_and(|c| own.admitted_at.is_none_or(|at| at <= c.start));
        own.admitted_at = Some(self.now);
        if !self.limits.is_limited_by_window() && self.limits.burst.is_some() {
            own.attempts = vec![self.now];
            answer.attempt = Attempt::First;
        }
        answer.outcome = Outcome::Admit;
        answer.reason = if probes { Reason::Probe } else { Reason::Admitted };
        answer
    }
}

/// Returns how long requests are refused after a change of store: the minimum interval.
///
/// Without a minimum interval it is the burst window, which must not be filled twice.
pub(crate) fn pause(limits: &ClassPolicy) -> Ms {
    let window = limits.burst.map_or(0, |b| millis(b.window));
    let window = if limits.is_limited_by_window() { window } else { 0 };
    let pause = millis(limits.min_interval).max(window);
    // Without any limit the pause is still one refusal, in which the stores exchange their state.
    pause.max(1)
}

/// Returns how long a paced request waits for a place in a burst window that limits beside a minimum interval.
///
/// Returns `None` when a place is free.
fn place_left(own: &ClassState, limits: &ClassPolicy, now: Ms) -> Option<Ms> {
    let burst = limits.burst.filter(|_| limits.window_limits && !limits.min_interval.is_zero())?;
    let window = millis(burst.window);
    let places = (burst.limit as usize).saturating_sub(1).max(1);
    let noted = own.attempts.get(own.attempts.len().checked_sub(places)?)?;
    Some(noted.saturating_add(window).saturating_sub(now)).filter(|left| *left > 0)
}

fn shared<'a>(quotas: &'a [Quota], log: &'a mut QuotaLog, longest: Ms) -> Shared<'a> {
    Shared { quotas, log, longest }
}

fn refused(answer: Decision, reason: Reason, left: Option<Ms>) -> Decision {
    Decision { reason, retry_after: left.map(duration), ..answer }
}

/// Keeps the hold for the agent's next prompt. The agent knows of its API's errors already.
fn remember(session: &mut SessionState, held: &Held) {
    if held.by != BY_API {
        session.held_by.clone_from(&held.by);
        session.held_reason.clone_from(&held.reason);
    }
}

fn duration(ms: Ms) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}

fn rest_reason(kind: RestKind) -> Reason {
    match kind {
        RestKind::Rest => Reason::Rest,
        RestKind::Done => Reason::Done,
        RestKind::Blocked => Reason::Blocked,
        RestKind::WaitFor => Reason::WaitFor,
        RestKind::Parked => Reason::Parked,
        RestKind::Idle => Reason::Idle,
        RestKind::Failed => Reason::Failed,
    }
}

/// Returns the hold in force and the end of the last hold in force; the inner `None` is a hold without an end.
fn held(scope: &ScopeState, fleet: &FleetState, now: Ms) -> Option<(Held, Option<Ms>)> {
    let in_force = |hold: &'_ Option<Hold>| hold.as_ref().filter(|h| h.holds(now)).cloned();
    let (own, fleets) = (in_force(&scope.hold), in_force(&fleet.hold));
    let until = match (&own, &fleets) {
        (Some(own), Some(fleets)) => own.until.zip(fleets.until).map(|(a, b)| a.max(b)),
        (own, fleets) => own.as_ref().or(fleets.as_ref())?.until,
    };
    let whole = own.is_none();
    own.or(fleets).map(|h| (Held { by: h.by, reason: h.reason, fleet: whole }, until))
}

/// Forgets the strikes of a class once its last cooldown has been over for its `calm`.
pub(crate) fn forget_strikes(own: &mut ClassState, limits: &ClassPolicy, now: Ms) {
    let calm = millis(limits.cooldown.calm);
    if own.cooldown.is_none_or(|c| now >= c.end.saturating_add(calm)) {
        own.strikes = 0;
    }
}

/// Counts the attempts in the burst window of a class.
pub(crate) fn in_window(own: &ClassState, limits: &ClassPolicy, now: Ms) -> u32 {
    let Some(burst) = limits.burst else { return 0 };
    let from = now.saturating_sub(millis(burst.window));
    size(own.attempts.iter().filter(|at| **at > from).count())
}

/// Counts an attempt and returns how many attempts the window contains now.
///
/// An attempt is kept as long as the longest window of any request of the scope. A request with a shorter window must
/// not delete what another request counts.
fn note(own: &mut ClassState, limits: &ClassPolicy, now: Ms) -> u32 {
    let Some(burst) = limits.burst else { return 0 };
    own.attempts_keep = own.attempts_keep.clamp(millis(burst.window), millis(LONGEST));
    let keep = own.attempts_keep;
    own.attempts.retain(|at| *at > now.saturating_sub(keep));
    own.attempts.push(now);
    let over = own.attempts.len().saturating_sub(MOST_ATTEMPTS);
    own.attempts.drain(..over);
    in_window(own, limits, now)
}

/// Opens a cooldown, empties the window, and returns how long the cooldown lasts.
fn trip(own: &mut ClassState, limits: &ClassPolicy, r: u32, now: Ms) -> Ms {
    own.strikes = own.strikes.saturating_add(1).min(MOST_STRIKES);
    let len = limits.cooldown.backoff.length(own.strikes);
    let widest = len * Ms::from(limits.cooldown.jitter) / 1000;
    let len = len + widest * Ms::from(r.min(R_RANGE - 1)) / Ms::from(R_RANGE);
    own.cooldown = Some(Span::new(now, now.saturating_add(len)));
    own.attempts.clear();
    len
}

fn count(log: &mut QuotaLog, quotas: &[Quota], now: Ms) {
    if let Some(longest) = quotas.iter().map(|q| millis(q.per)).max() {
        log.keep = log.keep.clamp(longest, millis(LONGEST));
        log.admitted.retain(|at| *at > now.saturating_sub(log.keep));
        log.admitted.push(now);
    }
}

fn size(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
