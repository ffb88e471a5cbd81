//! The effects of an event before anything is decided: on the session (fence, rest, registration) and the scope (API
//! errors).

use std::time::Duration;

use crate::policy::documents::{Begun, FleetState, Phase, ScopeState, SessionState};
use crate::policy::fact::Span;
use crate::policy::hold::Hold;
use crate::policy::limits::{Backoff, Idle, MOST_STRIKES, Ms, Policy, millis};
use crate::policy::request::{
    Claim, Event, Failure, FailureClass, HoldRequest, Reset, RestRequest, RunOutcome, RunPart, Step,
};
use crate::policy::rest::{Rest, RestKind};
use crate::policy::signal;
use crate::policy::turn::Worth;
use crate::policy::verdict::Held;
use crate::policy::{idle, release_slots};

/// The name on the holds of API errors; a successful turn lifts these holds and no others.
pub const BY_API: &str = "api";

/// The highest fence: it stays a whole number of at most fifteen digits in every store.
pub const HIGHEST_FENCE: i64 = 999_999_999_999_999;

/// The most of a session's notes that is kept, in bytes; each note is a line of at most 1,000 characters.
const LONGEST_NOTES: usize = 8000;

/// The furthest reset time that is believed.
const FURTHEST_RESET: Duration = Duration::from_secs(7 * 86_400);
/// The first hold of API errors; each further one doubles, up to [`LONGEST_API_HOLD`].
const FIRST_API_HOLD: Duration = Duration::from_secs(30 * 60);
const LONGEST_API_HOLD: Duration = Duration::from_secs(4 * 3600);
/// The number of `invalid_request` and `max_output_tokens` errors in a row that only lengthen the cooldown.
const PASSING_IN_A_ROW: u32 = 3;

/// The relation of an event's fence to the session's fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FenceStatus {
    /// The event has the session's fence, or begins a new one.
    Own,
    /// A late event that the session knows already; its effects are not applied twice.
    Repeated,
    /// A newer Stop event, prompt or end has taken over.
    Superseded,
}

/// Compares the fence or the id of an event with the session's.
pub(crate) fn fence_status(session: &mut SessionState, ask: &Step, now: Ms) -> FenceStatus {
    match ask.event {
        Event::Ask { fence, .. } | Event::Expired { fence } | Event::Run { fence, .. }
            if stored(session).is_some_and(|newer| newer > fence) =>
        {
            FenceStatus::Superseded
        }
        // A session that is no gate's has no runs, whatever a process in it says.
        Event::Run { .. } if session.seen > 0 && !session.gate => FenceStatus::Superseded,
        Event::Ask { fence, .. } => {
            session.fence = Some(fence.clamp(0, HIGHEST_FENCE));
            FenceStatus::Own
        }
        Event::Resume { fence, .. } if session.begun.as_ref().is_none_or(|begun| begun.id != ask.id) => {
            let is_newer = stored(session).is_some_and(|newer| newer > fence.unwrap_or(0));
            if is_newer { FenceStatus::Superseded } else { FenceStatus::Own }
        }
        Event::Stop { .. } | Event::Resume { .. } | Event::StopFailure(_) => {
            let Some(begun) = &session.begun else { return FenceStatus::Own };
            let raised_since = |age: &Duration| begun.at <= now && begun.at > now.saturating_sub(millis(*age));
            if begun.id == ask.id {
                FenceStatus::Repeated
            } else if ask.age().as_ref().is_some_and(raised_since) {
                FenceStatus::Superseded
            } else {
                FenceStatus::Own
            }
        }
        _ => FenceStatus::Own,
    }
}

/// The relation of the client process that sent an event to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// The session belongs to this process, as far as is known.
    Own,
    /// The session belongs to another process, and the event takes it over.
    TakesOver,
    /// The session belongs to another process and stays with it: the event is only recorded.
    Beside,
    /// The session belongs to another process of the same machine, and the caller can check whether that process still
    /// runs.
    Contested,
}

/// Compares the client process that sent the event with the one that the session belongs to.
pub(crate) fn relation(session: &SessionState, ask: &Step) -> Relation {
    let (Some(own), Some(owner)) = (ask.client, session.client) else { return Relation::Own };
    let is_here = session.host == ask.host;
    if !ask.event.is_clients() || matches!(ask.event, Event::Ask { .. }) || (is_here && own.may_be(&owner)) {
        return Relation::Own;
    }
    match ask.claim {
        Claim::Take => Relation::TakesOver,
        Claim::Beside => Relation::Beside,
        Claim::Yield if is_here => Relation::Contested,
        Claim::Yield => match ask.event.settles_unseen() {
            Claim::Take => Relation::TakesOver,
            _ => Relation::Beside,
        },
    }
}

fn stored(session: &SessionState) -> Option<i64> {
    session.fence.filter(|f| (0..=HIGHEST_FENCE).contains(f))
}

/// Applies the event's effects on its session, and returns the worth of a turn that ended and was measured.
pub(crate) fn on_session(
    session: &mut SessionState,
    ask: &Step,
    relation: Relation,
    fence: FenceStatus,
    policy: &Policy,
    now: Ms,
) -> Option<Worth> {
    let (idle, api_error) = (policy.idle.as_ref(), &policy.api_error);
    match &ask.event {
        Event::Wake { note, spread, signal } => wake(session, note, *spread, signal.as_deref()),
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
    own(session, ask, moves);
    if ask.event.raises_fence() && fence != FenceStatus::Repeated {
        raise_fence(session, ask, now);
    }
    if matches!(ask.event, Event::Resume { rest: Some(_), .. }) && fence != FenceStatus::Repeated {
        // Earlier wake-ups are part of the rest that the event requests, so that a person keeps the time to cancel.
        session.woken = false;
    }
    note_run(session, &ask.event, api_error, now);
    let is_stop = matches!(ask.event, Event::Stop { .. } | Event::Run { part: RunPart::Turn { .. }, .. })
        && fence != FenceStatus::Repeated;
    let worth = if is_stop { end_turn(session, ask, by_person, now) } else { None };
    change_rest(session, ask, fence, idle, (worth, by_person), now);
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
    }
    note_model(session, ask);
    if moves {
        settle(session, ask);
    }
    session.seen = now;
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
    session.scope.clone_from(&ask.scope);
    session.host.clone_from(&ask.host);
    session.wake_on.clone_from(&ask.wake_on);
}

/// Notes a wake-up, which the session's next request finds. A signal that does not wake leaves its note and no more.
fn wake(session: &mut SessionState, note: &str, with_others: bool, signal: Option<&str>) {
    if wakes(session, signal) {
        session.woken = true;
        session.slot = None;
        if with_others {
            release_slots::mark(session);
        }
    }
    add_note(&mut session.note, &signal::noted(signal, note));
}

/// Notes the turn that a Stop event ended, and returns its worth where it was measured.
fn end_turn(session: &mut SessionState, ask: &Step, by_person: bool, now: Ms) -> Option<Worth> {
    if by_person {
        session.answered_person = session.begun.as_ref().map(|begun| begun.at);
    }
    ask.turn.as_ref().map(|turn| idle::note(session, turn, by_person, now))
}

/// Returns whether a wake-up with this signal ends the session's rest. One without a signal always does.
pub(crate) fn wakes(session: &SessionState, signal: Option<&str>) -> bool {
    let Some((signal, listed)) = signal.zip(session.wake_on.as_ref()) else { return true };
    listed.iter().any(|one| one == signal)
}

/// Gives the session a newer fencing token: what an earlier event of it requested is superseded.
fn raise_fence(session: &mut SessionState, ask: &Step, now: Ms) {
    let id = if ask.event.begins() { ask.id.clone() } else { String::new() };
    let age = ask.age().filter(|_| ask.event.begins()).map_or(0, millis);
    session.begun = Some(Begun { at: now.saturating_sub(age), id });
    if ask.event.begins() {
        session.given.clear();
    }
    session.admitted = None;
    session.slot = None;
    // No store answered this engine for a while, and other engines may be in the same state.
    if ask.event.begins() && ask.late.is_some() && ask.paced {
        release_slots::mark(session);
    }
    session.by_person = matches!(ask.event, Event::PersonPrompt);
    let next = stored(session).map_or(0, |f| f + 1);
    session.fence = Some(next.max(ask.host_ms).clamp(0, HIGHEST_FENCE));
}

/// Books, ends or keeps the session's rest.
///
/// `turn` is the worth of the turn that ended, and whether a person began it.
fn change_rest(
    session: &mut SessionState,
    ask: &Step,
    fence_status: FenceStatus,
    idle: Option<&Idle>,
    turn: (Option<Worth>, bool),
    now: Ms,
) {
    if let Some(rest) = &mut session.rest {
        rest.rebase(now);
    }
    match &ask.event {
        Event::Stop { .. } | Event::Resume { .. } if fence_status == FenceStatus::Repeated => {}
        Event::Stop { rest: Some(rest) }
        | Event::Resume { rest: Some(rest), .. }
        | Event::Run { part: RunPart::Turn { rest: Some(rest) }, .. } => {
            book(session, rest, idle::least(session, idle, turn.0), now);
        }
        Event::Stop { rest: None } | Event::Run { part: RunPart::Turn { rest: None }, .. } => {
            // Nothing is left that would wake the session.
            end_unrequested(session);
            // A rest that is over stays in place until the next admission.
            if session.rest.as_ref().is_none_or(|rest| !rest.lasts(now))
                && let Some(rest) = idle.and_then(|idle| idle::rest(session, idle, turn.0, turn.1, now))
            {
                session.rest = Some(rest);
                session.units = 0;
            }
        }
        Event::PersonPrompt => {
            session.rest = None;
            session.count = 0;
        }
        Event::SessionEnd | Event::Sleep => session.rest = None,
        Event::ClientPrompt { .. } => end_unrequested(session),
        _ => {}
    }
}

/// Returns the phase of a session after an event of its client.
fn phase_after(event: &Event) -> Phase {
    match event {
        Event::SessionEnd => Phase::Ended,
        Event::Sleep => Phase::Asleep,
        _ => Phase::Open,
    }
}

/// Notes the steps of a gate and of its runs.
fn note_run(session: &mut SessionState, event: &Event, api_error: &Backoff, now: Ms) {
    match event {
        Event::Resume { rest: None, .. } => session.gate = true,
        Event::Run { part, .. } => {
            session.gate = true;
            if let RunPart::End(outcome) = part {
                run_over(session, *outcome, api_error, now);
            }
        }
        _ => {}
    }
}

/// Ends the gate of a session. A run that failed makes it rest, longer from failure to failure.
fn run_over(session: &mut SessionState, outcome: RunOutcome, backoff: &Backoff, now: Ms) {
    session.pid = None;
    match outcome {
        RunOutcome::NotRun => {}
        RunOutcome::Succeeded => session.failures = 0,
        RunOutcome::Failed => {
            session.failures = session.failures.saturating_add(1).min(MOST_STRIKES);
            let until = now.saturating_add(backoff.length(session.failures));
            let lasts_longer = |rest: &Rest| rest.until.is_none_or(|end| end >= until);
            if !session.rest.as_ref().is_some_and(lasts_longer) {
                session.rest =
                    Some(Rest { kind: RestKind::Failed, since: now, until: Some(until), topic: String::new(), id: 0 });
            }
        }
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

/// Notes the client process that the session belongs to from now on.
fn own(session: &mut SessionState, ask: &Step, moves: bool) {
    if ask.event.ends() || matches!(ask.event, Event::Run { part: RunPart::End(_), .. }) {
        session.client = None;
        return;
    }
    if matches!(ask.event, Event::Ask { .. }) {
        return;
    }
    let Some(client) = ask.client else { return };
    let is_same = session.host == ask.host && session.client.is_some_and(|own| own.may_be(&client));
    // More exact data about the same process is kept.
    if if is_same { client.birth.is_some() } else { moves } {
        session.client = Some(client);
    }
}

/// Ends a rest that the agent did not request.
fn end_unrequested(session: &mut SessionState) {
    session.rest = session.rest.take().filter(|r| r.kind.is_agents());
}

/// Returns the notes of the wake-ups, and the notes that an admission delivered since the last Stop event.
pub(crate) fn hand_out(session: &mut SessionState) -> String {
    let note = std::mem::take(&mut session.note);
    add_note(&mut session.given, &note);
    session.given.clone()
}

/// Adds a note as lines; beyond [`LONGEST_NOTES`] bytes the oldest lines are removed.
pub(crate) fn add_note(notes: &mut String, note: &str) {
    if note.is_empty() {
        return;
    }
    if !notes.is_empty() {
        notes.push('\n');
    }
    notes.push_str(note);
    while notes.len() > LONGEST_NOTES
        && let Some(end) = notes.find('\n')
    {
        notes.drain(..=end);
    }
}

/// Books a rest that the agent or its tasks request. A time that the agent names is at least `least` milliseconds.
fn book(session: &mut SessionState, rest: &RestRequest, least: Ms, now: Ms) {
    // A directive of the agent takes precedence over the client's own tasks.
    let says_otherwise = |r: &Rest| r.kind.is_agents() && r.lasts(now);
    if rest.kind == RestKind::Parked && session.rest.as_ref().is_some_and(says_otherwise) {
        return;
    }
    let is_time = rest.kind == RestKind::Rest;
    session.rest = Some(Rest {
        kind: rest.kind,
        since: now,
        until: rest.lasting.map(|d| now.saturating_add(if is_time { millis(d).max(least) } else { millis(d) })),
        topic: rest.topic.clone(),
        id: 0,
    });
    session.units = 0;
}

/// What happened to the hold that was in force.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    /// The hold that a release lifted.
    pub(crate) lifted: Option<Held>,
    /// The hold that another one replaced.
    pub(crate) replaced: Option<Hold>,
    /// The hold that stays in force; a new hold that would end before it was not opened.
    pub(crate) stands: Option<Hold>,
}

/// Applies the event's effects on its scope, which is already rebased to `now`, and returns what happened to its hold.
///
/// `by_person` is whether a person's prompt began the turn that ended.
pub(crate) fn on_scope(scope: &mut ScopeState, api_error: &Backoff, event: &Event, by_person: bool, now: Ms) -> Turned {
    match event {
        Event::Hold(asked) => return open(&mut scope.hold, asked, now),
        Event::Release { .. } => {
            if let Some(api) = &mut scope.api {
                api.end = api.end.min(now);
            }
            return lift(&mut scope.hold, &mut scope.released, false, now);
        }
        Event::Stop { .. } | Event::Run { part: RunPart::Turn { .. }, .. } => {
            scope.api_strikes = 0;
            scope.api_row = 0;
            scope.api_holds = 0;
            if scope.hold.as_ref().is_some_and(|h| h.by == BY_API) {
                scope.hold = None;
                scope.released = Some(now);
            }
        }
        Event::StopFailure(failure) | Event::Run { part: RunPart::Failure(failure), .. } => {
            fail(scope, api_error, failure, by_person, now);
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

fn lift(hold: &mut Option<Hold>, released: &mut Option<Ms>, fleet: bool, now: Ms) -> Turned {
    let lifted = hold.take().filter(|h| h.holds(now));
    *released = Some(now);
    Turned { lifted: lifted.map(|h| Held { by: h.by, reason: h.reason, fleet }), ..Turned::default() }
}

/// Opens a hold, unless a longer one is in force and is not to be replaced.
fn open(hold: &mut Option<Hold>, asked: &HoldRequest, now: Ms) -> Turned {
    let new = opened(asked, now);
    let stands = hold.as_ref().filter(|h| h.holds(now)).cloned();
    let lasts_longer = |h: &Hold| new.until.is_some_and(|end| h.until.is_none_or(|until| until > end));
    if !asked.replace && stands.as_ref().is_some_and(lasts_longer) {
        return Turned { stands, ..Turned::default() };
    }
    *hold = Some(new);
    Turned { replaced: stands, ..Turned::default() }
}

/// Applies a successful turn or an error with a reset time to the limits of the fleet's key, already rebased to `now`.
pub(crate) fn on_key(fleet: &mut FleetState, api_error: &Backoff, ask: &Step, now: Ms) {
    match &ask.event {
        Event::Stop { .. } | Event::Run { part: RunPart::Turn { .. }, .. } => {
            let model = ask.turn.as_deref().filter(|turn| turn.seen).map_or("", |turn| &turn.model);
            fleet.answer(model, now.saturating_sub(ask.age().map_or(0, millis)), now);
        }
        Event::StopFailure(failure) | Event::Run { part: RunPart::Failure(failure), .. } if failure.of_key => {
            if let Some(len) = reset_in(failure, api_error, now) {
                fleet.meet(&failure.model, Span::new(now, now.saturating_add(len)));
            }
        }
        _ => {}
    }
}

/// Returns how long the API error lasts by the API's own answer, as far as that is believed.
fn reset_in(failure: &Failure, api_error: &Backoff, now: Ms) -> Option<Ms> {
    let len = match failure.reset? {
        Reset::At(at) => at.saturating_sub(now),
        Reset::After(after) => millis(after),
    };
    Some(len.min(millis(FURTHEST_RESET)).max(millis(api_error.base)))
}

fn opened(asked: &HoldRequest, now: Ms) -> Hold {
    let until = asked.lasting.map(|lasting| now.saturating_add(millis(lasting)));
    Hold { reason: asked.reason.clone(), by: asked.by.clone(), since: now, until, id: 0 }
}

/// Books an API error.
///
/// A turn that a person began counts no strike and lengthens nothing by itself, because the person retries and not the
/// agent. An end that the API gives is a fact in both cases.
fn fail(scope: &mut ScopeState, api_error: &Backoff, failure: &Failure, by_person: bool, now: Ms) {
    if failure.too_long
        && let Some(cooldown) = &mut scope.compact.cooldown
    {
        cooldown.end = cooldown.end.min(now);
    }
    if !by_person {
        scope.api_row = match failure.class {
            FailureClass::Request => scope.api_row.saturating_add(1).min(MOST_STRIKES),
            _ => 0,
        };
    }
    if failure.class == FailureClass::Person || (!by_person && scope.api_row > PASSING_IN_A_ROW) {
        return hold(scope, &failure.cure, by_person, now);
    }
    if !by_person {
        scope.api_strikes = scope.api_strikes.saturating_add(1).min(MOST_STRIKES);
    }
    let reset = reset_in(failure, api_error, now);
    let len = match reset {
        Some(len) => len,
        None if by_person && scope.api.is_some_and(|open| open.end > now) => return,
        None => api_error.length(scope.api_strikes),
    };
    let end = now.saturating_add(len);
    if scope.api.is_none_or(|open| open.end < end) {
        scope.api = Some(Span::new(now, end));
        scope.api_of_key = failure.of_key && reset.is_some();
        scope.api_model.clone_from(&failure.model);
    }
}

fn hold(scope: &mut ScopeState, cure: &str, by_person: bool, now: Ms) {
    let in_force = scope.hold.as_ref().filter(|h| h.holds(now));
    if in_force.is_some_and(|h| h.by != BY_API || by_person) {
        return;
    }
    let booked = in_force.and_then(|h| h.until);
    if !by_person {
        scope.api_holds = scope.api_holds.saturating_add(1).min(MOST_STRIKES);
    }
    let doubling = Backoff { base: FIRST_API_HOLD, factor: 2000, max: LONGEST_API_HOLD };
    let until = now.saturating_add(doubling.length(scope.api_holds));
    scope.hold = Some(Hold {
        reason: cure.to_owned(),
        by: BY_API.to_owned(),
        since: now,
        until: Some(booked.map_or(until, |b| b.max(until))),
        id: 0,
    });
}
