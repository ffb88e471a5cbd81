//! The decision: one pure function, [`step`]. Both stores load its input and commit its result.

use std::time::Duration;

use crate::policy::api_error::BY_API;
use crate::policy::cadence::TurnKind;
use crate::policy::client_process::Relation;
use crate::policy::documents::{FleetState, ScopeState, SessionState};
use crate::policy::fact_ids::FactIds;
use crate::policy::fence::FenceStatus;
use crate::policy::hold::Turned;
use crate::policy::limits::{Class, ClassPolicy, Ms, Policy};
use crate::policy::quota::shared;
use crate::policy::request::{Event, Step};
use crate::policy::rest::RestKind;
use crate::policy::turn::Worth;
use crate::policy::verdict::{Attempt, Decision, Held, Outcome, Reason};
use crate::policy::windows::Windows;
use crate::policy::work::{WorkState, rule as work_rule, start as work_start};
use crate::policy::{
    api_error, burst_window, cadence, client_process, effects, fence, hold, idle, lost_answer, lost_data, notes, pace,
    quiet_minute, release_slots, rest, wake_up,
};

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
    /// The queue of the session's agent; read only where the session works through it, and `None` where it is unknown.
    pub work: Option<WorkState>,
}

/// Applies one event to the state at `now` (the store's clock) and decides its admission request, if it makes one.
///
/// The event's effects come first, then the rules in their order. The first rule that refuses decides.
pub fn step(policy: &Policy, state: &mut State, ask: &Step, now: Ms) -> Decision {
    let Event::StartPrompt { token } = &ask.event else { return step_of(policy, state, ask, now) };
    let prompt = Step { event: work_start::prompt(state.work.as_ref(), token), ..ask.clone() };
    let is_started = state.session.started;
    let decided = step_of(policy, state, &prompt, now);
    state.session.started = is_started;
    // An event of another client process changes nothing, and has no fence.
    if let (Some(_), Some(work)) = (decided.fence, &mut state.work)
        && decided.outcome == Outcome::Record
    {
        work_start::pass_claim(&mut state.session, work, &prompt, token, now);
    }
    decided
}

fn step_of(policy: &Policy, state: &mut State, ask: &Step, now: Ms) -> Decision {
    if ask.event.asks() == Some(Class::Stop) {
        state.fleet.rebase(now);
        if let Some(lost) = lost_data::lost(&mut state.fleet, ask, now) {
            return lost;
        }
    }
    let relation = client_process::relation(&state.session, ask);
    if relation == Relation::Contested {
        return Decision { client: state.session.client, ..refusal(Reason::Contested, now) };
    }
    let fence = state.session.fence;
    let is_beside = relation == Relation::Beside;
    let fence_status = match is_beside {
        true if ask.event.asks() == Some(Class::Stop) => FenceStatus::Superseded,
        true => FenceStatus::Own,
        false => fence::fence_status(&mut state.session, ask, now),
    };
    if fence_status == FenceStatus::Superseded {
        return Decision { fence: state.session.fence, ..refusal(Reason::Superseded, now) };
    }
    if let Some(again) = lost_answer::repeated(policy, state, ask, now) {
        state.session.fence = fence;
        return Decision { fence, ..again };
    }
    let facts = FactIds::of(state);
    if ask.event.touches_fleet() {
        state.fleet.rebase(now);
    }
    let (by_person, kind) = (state.session.by_person, state.session.cadence.kind);
    let (worth, work_end) = on_session(policy, state, ask, relation, fence_status, now);
    let (mut turned, mut ended) = (Turned::default(), None);
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
            ended = state.scope.api_left(now).map(duration);
        }
        if fence_status != FenceStatus::Repeated {
            let State { scope, fleet, .. } = state;
            turned = effects::on_scope(scope, fleet, &policy.api_error, ask, by_person, now);
            api_error::on_key(fleet, &policy.api_error, ask, now);
        }
    }
    if policy.pace.is_some() && ask.event.ends_turn() {
        pace::land(&mut state.fleet.quota.in_flight, &ask.session, now);
    }
    let mut decided = match ask.event.asks() {
        Some(class) => decide(policy, state, ask, class, now),
        None => turned_into(turned, ended, recorded(state, &ask.event, now)),
    };
    notes::recall(&mut state.session, ask, is_beside, &mut decided, now);
    facts.settle(state, &ask.id, now);
    (decided.worth, decided.turn_was) = (worth, worth.map_or(TurnKind::Work, |_| kind));
    decided.work_end = work_end.unwrap_or_default();
    decided.fence = if ask.event.is_of_holds() || is_beside { None } else { state.session.fence };
    if ask.event.asks() == Some(Class::Stop) {
        decided.reason_changed = state.session.last_reason != decided.reason.code();
        state.session.last_reason = decided.reason.code().to_owned();
    }
    decided
}

/// Applies the event's effects on the session, and on the entry that it has in hand.
///
/// Returns the worth of a turn that ended, and how the entry ended.
fn on_session(
    policy: &Policy,
    state: &mut State,
    ask: &Step,
    relation: Relation,
    fence_status: FenceStatus,
    now: Ms,
) -> (Option<Worth>, Option<String>) {
    if relation == Relation::Beside {
        return (None, None);
    }
    let is_new = fence_status != FenceStatus::Repeated;
    let works = work_rule::policy_of(policy, &state.session, ask).is_some();
    let ended = if is_new && works { work_rule::reported_end(state, ask, now) } else { None };
    let with_rest;
    let told = match &ask.event {
        Event::Stop { rest: Some(rest) } if ended.is_some() || rest.kind == RestKind::Failed => {
            let rest = work_rule::rest_beside(&state.session, rest, ended.as_ref());
            with_rest = Step { event: Event::Stop { rest }, ..ask.clone() };
            &with_rest
        }
        _ => ask,
    };
    let worth = effects::on_session(&mut state.session, told, relation, fence_status, policy, now);
    let work = work_rule::policy_of(policy, &state.session, ask);
    (worth, work.and_then(|work| work_rule::end_turn(state, &work, ask, ended, is_new, now)))
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

pub(crate) fn decision(outcome: Outcome, reason: Reason, now: Ms) -> Decision {
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
        work: None,
        work_end: String::new(),
        turn_kind: TurnKind::Work,
        briefed: false,
        turn_was: TurnKind::Work,
        dumps: false,
        notes: Vec::new(),
        memory: None,
    }
}

fn recorded(state: &State, event: &Event, now: Ms) -> Decision {
    let State { fleet, scope, session, .. } = state;
    let reason = match event {
        Event::Expired { .. } => Reason::WaiterExpired,
        Event::Wake { signal, .. } if !wake_up::wakes(session, signal.as_deref()) => Reason::NoteKept,
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
    burst_window::forget_strikes(own, case.limits, now);
    let mut answer = decision(Outcome::Refuse, Reason::Admitted, now);
    answer.attempts = burst_window::in_window(own, case.limits, now);
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
pub(super) type Refusal = Option<(Reason, Option<Ms>)>;

/// One request, under one class of limits. The numbers in its methods are those of `docs/policy.md`.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) policy: &'a Policy,
    pub(super) limits: &'a ClassPolicy,
    pub(super) ask: &'a Step,
    pub(super) class: Class,
    /// Whether it is a Stop event, to which holds, rests, API errors and quotas apply.
    pub(super) stop: bool,
    pub(super) now: Ms,
}

impl Case<'_> {
    /// Prepares the decision of a Stop event. Returns the time since when the session has waited for a quota.
    fn begin(&self, state: &mut State) -> Option<Ms> {
        if let Some(work) = work_rule::policy_of(self.policy, &state.session, self.ask) {
            work_rule::prepare(state, &work, self.ask, self.now);
        }
        let (State { fleet, scope, session, windows, .. }, now) = (state, self.now);
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
        let now = self.now;
        let State { fleet, scope, session, .. } = state;
        // 1. a hold of the scope or its fleet
        if let Some((by, until)) = if self.stop { hold::held(scope, fleet, now) } else { None } {
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
        // 4. a rest, also one outside the working hours or for want of work
        idle::derive_end(session, self.policy);
        cadence::rest_outside_hours(self, session);
        work_rule::rest_without_work(self, state);
        let has_work = work_rule::has_ended_rest(self, state);
        let is_over = has_work || matches!(self.ask.event, Event::Ask { renew: true, .. });
        let session = &mut state.session;
        if let Some(opens) = cadence::closed_until(self, session).filter(|_| has_work) {
            return Some((Reason::OffHours, Some(opens.saturating_sub(now))));
        }
        if let Some(rest) = session.rest.as_ref().filter(|r| !is_over && r.lasts(now))
            && !cadence::dreams_before(self, session, state.work.as_ref())
        {
            let work = work_rule::ends_rest(self, session, state.work.as_ref());
            let ends = [rest.until, work].into_iter().flatten().min();
            let reason = rest::reason(rest.kind);
            session.cadence.rests();
            return Some((reason, ends.map(|end| end.saturating_sub(now))));
        }
        quiet_minute::left(session, self.policy, self.ask, now).map(|left| (Reason::Quiet, Some(left)))
    }
}

fn refused(answer: Decision, reason: Reason, left: Option<Ms>) -> Decision {
    Decision { reason, retry_after: left.map(duration), ..answer }
}

/// Keeps the hold for the agent's next prompt. The agent knows of its API's errors already.
pub(crate) fn remember(session: &mut SessionState, held: &Held) {
    if held.by != BY_API {
        session.held_by.clone_from(&held.by);
        session.held_reason.clone_from(&held.reason);
    }
}

pub(super) fn duration(ms: Ms) -> Duration {
    Duration::from_millis(ms.max(0).unsigned_abs())
}
