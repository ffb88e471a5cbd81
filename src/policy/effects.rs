//! The effects of an event before anything is decided: on the session, its scope and the fleet.

use crate::policy::api_error::{self, BY_API};
use crate::policy::cadence::TurnKind;
use crate::policy::client_process::{self, Relation};
use crate::policy::documents::{FleetState, Phase, ScopeState, SessionState};
use crate::policy::fence::{self, FenceStatus};
use crate::policy::hold::{Turned, lift, open};
use crate::policy::limits::{Backoff, Ms, Policy};
use crate::policy::request::{Event, RunPart, Step};
use crate::policy::rest::Ended;
use crate::policy::rhythm::Counted;
use crate::policy::turn::Worth;
use crate::policy::{gate_run, idle, notes, rest, wake_up};

/// Applies the event's effects on its session, and returns the worth of a turn that ended and was measured.
pub(crate) fn on_session(
    session: &mut SessionState,
    ask: &Step,
    relation: Relation,
    fence: FenceStatus,
    policy: &Policy,
    now: Ms,
) -> Option<Worth> {
    match &ask.event {
        Event::Wake { note, spread, signal, depth } => wake_up::wake(session, (note, *depth), *spread, signal.as_ref()),
        Event::ForgetNotes => notes::forget_all(session),
        Event::Expired { .. } => session.phase = Phase::Expired,
        _ => {}
    }
    if !ask.event.is_clients() {
        return None;
    }
    let by_person = session.by_person;
    // A client process that only views an open session does not move it.
    let moves = relation == Relation::TakesOver
        || ask.event.raises_fence()
        || matches!(ask.event, Event::Ask { .. })
        || session.scope.is_empty()
        || session.phase.is_over();
    let registers = moves || session.scope == ask.scope;
    if relation == Relation::TakesOver {
        // The label belongs to the window that the session left.
        session.label.clear();
    }
    client_process::own(session, ask, moves);
    if ask.event.raises_fence() && fence != FenceStatus::Repeated {
        fence::raise_fence(session, ask, now);
    }
    if matches!(ask.event, Event::Resume { rest: Some(_), .. }) && fence != FenceStatus::Repeated {
        // Earlier wake-ups are part of the rest that the event requests, so that a person keeps the time to cancel.
        session.woken = false;
    }
    gate_run::note(session, &ask.event, &policy.api_error, now);
    let worth = on_turn(session, ask, fence, by_person, policy, now);
    if let Event::SessionStart { label } = &ask.event
        && registers
    {
        register(session, ask, label);
    }
    if !matches!(ask.event, Event::Ask { .. }) {
        session.needs_you = matches!(ask.event, Event::NeedsYou);
        session.phase = phase_after(&ask.event);
    }
    if !ask.name.is_empty() {
        session.name.clone_from(&ask.name);
        session.named_by_project = ask.named_by_project;
    }
    // Agents change their working folder, so the first known folder stays.
    if session.project.is_empty() {
        session.project.clone_from(&ask.project);
    }
    if ask.event.begins() {
        session.pid = ask.pid;
        session.work_mode = policy.work.mode;
    }
    note_model(session, ask);
    if moves {
        settle(session, ask);
    }
    session.seen = now;
    worth
}

/// Applies the event's effects on the turn and the rest after it, and returns the worth of a turn that ended and was measured.
fn on_turn(
    session: &mut SessionState,
    ask: &Step,
    fence: FenceStatus,
    by_person: bool,
    policy: &Policy,
    now: Ms,
) -> Option<Worth> {
    let is_new = fence != FenceStatus::Repeated;
    let is_stop = matches!(ask.event, Event::Stop { .. } | Event::Run { part: RunPart::Turn { .. }, .. }) && is_new;
    if ask.event.failure().is_some() && is_new {
        session.rhythm.note(Counted::Failed, now);
    }
    // A prompt that is not that of the admission begins another turn.
    let is_other = ask.event.raises_fence() && !ask.event.begins_turn() && !matches!(ask.event, Event::Stop { .. });
    let kind = if is_stop || is_other { session.cadence.end_turn() } else { session.cadence.kind };
    let kind = if is_other { TurnKind::Work } else { kind };
    let worth = if is_stop { end_turn(session, ask, by_person, kind, now) } else { None };
    if is_stop {
        notes::add(session, &ask.notes, now);
    }
    rest::change(session, ask, fence, policy, Ended { worth, by_person, kind }, now);
    worth
}

/// Notes the model of a turn that ended: the measured one, or the one that a limit names.
fn note_model(session: &mut SessionState, ask: &Step) {
    let measured = ask.turn.as_deref().filter(|turn| turn.seen).map(|turn| &turn.model);
    let named = ask.event.failure().map(|failure| &failure.model);
    if let Some(model) = measured.or(named).filter(|model| !model.is_empty()) {
        session.model.clone_from(model);
    }
}

/// Notes where the session runs, and the signals that wake it there.
fn settle(session: &mut SessionState, ask: &Step) {
    if matches!(ask.event, Event::PersonPrompt) {
        // A person resumed it, so no dispatcher may stop it.
        session.started = false;
    }
    session.scope.clone_from(&ask.scope);
    session.host.clone_from(&ask.host);
    session.wake_on.clone_from(&ask.wake_on);
}

/// Notes the turn that a Stop event ended, and returns its worth where it was measured.
fn end_turn(session: &mut SessionState, ask: &Step, by_person: bool, kind: TurnKind, now: Ms) -> Option<Worth> {
    if by_person {
        session.answered_person = session.begun.as_ref().map(|begun| begun.at);
    }
    let worth = ask.turn.as_ref().map(|turn| idle::note(session, turn, by_person, kind, now))?;
    let counted = if kind.is_work() { Counted::of(worth) } else { Some(Counted::Reflect) };
    if let Some(counted) = counted {
        session.rhythm.note(counted, now);
    }
    Some(worth)
}

/// Returns the phase of a session after an event of its client.
fn phase_after(event: &Event) -> Phase {
    match event {
        Event::SessionEnd => Phase::Ended,
        Event::Sleep => Phase::Asleep,
        _ => Phase::Open,
    }
}

/// Registers the session that starts.
fn register(session: &mut SessionState, ask: &Step, label: &str) {
    // The session was opened again after its end: nothing runs, and nothing was refused.
    if session.phase.is_over() {
        session.begun = None;
        session.last_reason.clear();
    }
    session.name.clone_from(&ask.name);
    session.named_by_project = false;
    label.clone_into(&mut session.label);
    session.project.clone_from(&ask.project);
}

/// Applies the event's effects on its scope, which is already rebased to `now`, and returns what happened to its hold.
///
/// `by_person` is whether a person's prompt began the turn that ended.
pub(crate) fn on_scope(
    scope: &mut ScopeState,
    fleet: &FleetState,
    api_error: &Backoff,
    ask: &Step,
    by_person: bool,
    now: Ms,
) -> Turned {
    match &ask.event {
        Event::Hold(asked) => return open(&mut scope.hold, asked, now),
        Event::Release { .. } => {
            for api in scope.api.iter_mut().chain(&mut scope.api_own) {
                api.end = api.end.min(now);
            }
            return lift(&mut scope.hold, &mut scope.released, false, now);
        }
        _ if ask.shows_answer() => {
            scope.api_strikes = 0;
            scope.api_row = 0;
            scope.api_holds = 0;
            if scope.hold.as_ref().is_some_and(|h| h.by == BY_API) {
                scope.hold = None;
                scope.released = Some(now);
            }
        }
        Event::StopFailure(failure) | Event::Run { part: RunPart::Failure(failure), .. } => {
            api_error::fail(scope, fleet, api_error, failure, by_person, now);
        }
        event if event.begins_turn() => {
            scope.stop.admitted_at = scope.stop.admitted_at.map(|_| now);
        }
        _ => {}
    }
    Turned::default()
}

/// Applies the event's effects on the fleet and returns what happened to its hold, which is already rebased to `now`.
pub(crate) fn on_fleet(fleet: &mut FleetState, event: &Event, now: Ms) -> Turned {
    match event {
        Event::Hold(asked) => {
            let turned = open(&mut fleet.hold, asked, now);
            if turned.stands.is_none() {
                fleet.hold_at_once = asked.at_once;
            }
            turned
        }
        Event::Release { at_once, .. } => {
            fleet.lift_limits(now);
            if *at_once {
                fleet.at_once = Some(now);
            }
            lift(&mut fleet.hold, &mut fleet.released, true, now)
        }
        Event::LiftLimits => {
            fleet.lift_limits(now);
            Turned::default()
        }
        _ => Turned::default(),
    }
}
