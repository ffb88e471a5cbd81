//! The rule of work in a step: what a Stop event does to the entry in hand, whether the session continues without one,
//! and the claim of the next one.

use super::queue::InHand;
use super::{Claimed, Given, WorkMode, WorkPolicy, WorkState};
use crate::policy::decision::{Case, State};
use crate::policy::documents::SessionState;
use crate::policy::fact::fact_id;
use crate::policy::limits::{Class, Ms, Policy, millis};
use crate::policy::request::{Event, RestRequest, Step};
use crate::policy::rest::{Rest, RestKind};
use crate::policy::verdict::Reason;

/// Returns how the session of this step works, where it works through a queue.
pub(crate) fn policy_of(policy: &Policy, session: &SessionState, ask: &Step) -> Option<WorkPolicy> {
    let is_on = policy.work.mode != WorkMode::Off && !ask.shadow && !session.gate;
    is_on.then_some(policy.work)
}

/// Returns whether a step reads the queue of its agent.
pub(crate) fn reads_queue(policy: &Policy, event: &Event, shadow: bool) -> bool {
    policy.work.mode != WorkMode::Off
        && !shadow
        && (event.asks() == Some(Class::Stop) || event.ends() || matches!(event, Event::StartPrompt { .. }))
}

/// How a session ended its work on an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The work is done.
    Done,
    /// The session gives the entry back, for this reason.
    Failed(String),
    /// A session that a dispatcher started ended before the work was done, and rested until this time, if it did.
    Left(Option<Ms>),
}

/// Returns the session's claim, unless its queue is known and does not have it. A claim of another agent's queue does not
/// count.
fn own<'s>(session: &'s SessionState, work: Option<&WorkState>) -> Option<&'s Claimed> {
    session.work.as_ref().filter(|claimed| work.is_none_or(|work| work.has(claimed)))
}

/// Returns the end of the entry in hand that a Stop event reports, where the queue is known and has the claim.
///
/// The end of a turn is that of an entry which the route of its agent acknowledges so, unless the agent gives it back.
/// Elsewhere the words are a request to rest: the end of an entry is never applied to a later claim.
pub(crate) fn reported_end(state: &State, ask: &Step, now: Ms) -> Option<Ended> {
    let State { session, work: Some(work), .. } = state else { return None };
    if ask.event.ends() && session.started && !session.by_person {
        // One that the API refused is started again with another key, or when the key's limit is over.
        let is_refused = session.last_reason == Reason::ApiError.code();
        let rest = session.rest.as_ref().filter(|rest| rest.lasts(now)).and_then(|rest| rest.until);
        return (!is_refused).then_some(Ended::Left(rest));
    }
    let Event::Stop { rest } = &ask.event else { return None };
    let in_hand = session.work.as_ref().filter(|own| work.has(own)).and_then(|own| work.held(&own.id, own.claim))?;
    // An event that is sent again may have claimed the entry itself.
    if ask.late.is_some_and(|late| in_hand.since >= now.saturating_sub(millis(late))) {
        return None;
    }
    match rest.as_ref().map(|rest| rest.kind) {
        Some(RestKind::Done) => Some(Ended::Done),
        Some(RestKind::Failed) => rest.as_ref().map(|rest| Ended::Failed(rest.topic.clone())),
        // A person's turn is not one with the entry, and a program reports the end of its run.
        _ if in_hand.entry.ack_turn && !session.by_person && ask.start.is_none() => Some(Ended::Done),
        _ => None,
    }
}

/// Returns the rest that a Stop event requests, where it ends an entry or gives one back.
///
/// A session that gives back an entry of a queue that cannot be reached rests until it can be.
pub(crate) fn rest_beside(session: &SessionState, rest: &RestRequest, ended: Option<&Ended>) -> Option<RestRequest> {
    match rest.kind {
        RestKind::Done | RestKind::Failed if ended.is_some() => None,
        RestKind::Failed if session.work.is_none() => None,
        RestKind::Failed => Some(RestRequest { kind: RestKind::Done, lasting: None, topic: String::new() }),
        _ => Some(rest.clone()),
    }
}

/// Applies the end of a turn to the entry in hand: its end, or another turn for it.
///
/// `reported` is the end that this event reports. An event that is not `new` ends no further turn. Returns the entry's id and
/// how it ended, where it did.
pub(crate) fn end_turn(
    state: &mut State,
    policy: &WorkPolicy,
    ask: &Step,
    reported: Option<Ended>,
    is_new: bool,
    now: Ms,
) -> Option<String> {
    let State { session, work, .. } = state;
    if matches!(reported, Some(Ended::Done | Ended::Failed(_))) {
        session.rest = session.rest.take().filter(|rest| rest.kind != RestKind::Idle);
        session.idle = 0;
    }
    let claimed = session.work.as_ref()?;
    let work = work.as_mut().filter(|work| work.agent == claimed.agent)?;
    let Claimed { id, claim, turns, .. } = claimed.clone();
    let is_held = work.has(claimed);
    let end = match reported {
        _ if !is_held => {
            let other = work.queue.hand.iter().find(|in_hand| in_hand.entry.id == id);
            Some(other.map_or("was taken back before".to_owned(), |other| format!("is in hand of {}", other.session)))
        }
        Some(Ended::Done) => work.finish(&id, Some(claim), now).ok().map(|()| "done".to_owned()),
        Some(Ended::Failed(why)) => {
            let given_back = work.give_back(&id, Some(claim), &why, policy, now);
            given_back.ok().map(|()| format!("failed: {why}"))
        }
        // A dispatcher starts the next session for it, so it waits as the session would have.
        Some(Ended::Left(Some(until))) => {
            work.put_off(&id, claim, until, now).ok().map(|()| "given back: the session rests".to_owned())
        }
        Some(Ended::Left(None)) => {
            let why = "its session ended before it was done";
            work.give_back(&id, Some(claim), why, policy, now).ok().map(|()| format!("given back: {why}"))
        }
        None if ask.event.ends() => {
            work.release(&id, claim, None, now).ok().map(|()| "given back: the session ended".to_owned())
        }
        None if is_new && turns >= policy.max_turns && matches!(ask.event, Event::Stop { .. }) => {
            let why = format!("it was not done within {turns} turns");
            work.give_back(&id, Some(claim), &why, policy, now).ok().map(|()| format!("given back: {why}"))
        }
        None => {
            work.renew(claim, (&ask.host, session.client), policy, now);
            None
        }
    };
    let end = format!("{id} {}", end?);
    session.work = None;
    Some(end)
}

/// Ends the claims of clients that are gone. A session whose claim ended has no entry in hand any more.
///
/// A session with an entry in hand does not rest for want of work, nor because it reported the end where its queue was
/// unknown: it is asked again.
pub(crate) fn prepare(state: &mut State, policy: &WorkPolicy, ask: &Step, now: Ms) {
    let State { session, work: Some(work), .. } = state else { return };
    work.expire(policy, now);
    if let Some(client) = session.client {
        // A client process has one session at a time.
        work.release_others(&ask.session, (&ask.host, client), now);
    }
    session.work = session.work.take_if(|own| own.agent != work.agent || work.has(own));
    if session.work.as_ref().is_some_and(|own| work.has(own)) && waits_for_queue(session) {
        session.rest = None;
    }
}

/// Returns whether a session rests for want of work, or because it reported that it is done.
pub(crate) fn waits_for_queue(session: &SessionState) -> bool {
    session.rest.as_ref().is_some_and(|rest| matches!(rest.kind, RestKind::NoWork | RestKind::Done))
}

/// Returns whether the session's rest ends now, because it can claim an entry.
///
/// The rest stays until the session is admitted: another session may claim the entry first.
pub(in crate::policy) fn has_ended_rest(case: &Case<'_>, state: &State) -> bool {
    let State { session, work, .. } = state;
    let is_free = own(session, work.as_ref()).is_none() && ends_by_work(session);
    is_free
        && policy_of(case.policy, session, case.ask).is_some()
        && work.as_ref().is_some_and(|work| work.has_work(case.now) && may_claim(case.ask, work))
}

/// Returns when a delayed entry ends the session's rest, where one will.
pub(in crate::policy) fn ends_rest(case: &Case<'_>, session: &SessionState, work: Option<&WorkState>) -> Option<Ms> {
    policy_of(case.policy, session, case.ask)?;
    let is_free = own(session, work).is_none() && ends_by_work(session);
    work.filter(|work| is_free && may_claim(case.ask, work))?.next_due(case.now)
}

/// Returns whether the session rests only until there is work.
fn ends_by_work(session: &SessionState) -> bool {
    let kind = session.rest.as_ref().map(|rest| rest.kind);
    matches!(kind, Some(RestKind::NoWork | RestKind::Done | RestKind::Idle))
}

/// Books the rest of a session that may continue only with an entry, where there is none.
///
/// A wake-up continues the session without an entry, since a person or a program has called for it.
pub(in crate::policy) fn rest_without_work(case: &Case<'_>, state: &mut State) {
    let State { session, work, .. } = state;
    let Some(policy) = policy_of(case.policy, session, case.ask) else { return };
    // Without the queue nothing ends the claim after its last turn.
    let own = own(session, work.as_ref());
    let has_own = own.is_some_and(|claimed| work.is_some() || claimed.turns < policy.max_turns);
    let has_work = has_own || work.as_ref().is_some_and(|work| work.has_work(case.now) && may_claim(case.ask, work));
    if policy.mode != WorkMode::Required || session.woken || has_work {
        if session.rest.as_ref().is_some_and(|rest| rest.kind == RestKind::NoWork) {
            session.rest = None;
        }
        return;
    }
    let until = work.as_ref().filter(|work| may_claim(case.ask, work)).and_then(|work| work.next_due(case.now));
    match &mut session.rest {
        Some(rest) if rest.kind == RestKind::NoWork => rest.until = until,
        Some(rest) if rest.lasts(case.now) => {}
        _ => {
            let (kind, since) = (RestKind::NoWork, case.now);
            session.rest = Some(Rest { kind, since, until, topic: String::new(), id: 0 });
        }
    }
}

/// Returns whether the request may claim an entry of its queue, as far as a dispatcher requires something of it.
fn may_claim(ask: &Step, work: &WorkState) -> bool {
    ask.start.as_ref().is_none_or(|start| start.is_permitted(&work.queue))
}

/// Claims an entry for an admitted session that has none in hand, and counts the turn.
pub(in crate::policy) fn hand_out(case: &Case<'_>, state: &mut State) -> Option<Box<Given>> {
    let State { session, work, .. } = state;
    let policy = policy_of(case.policy, session, case.ask)?;
    if own(session, work.as_ref()).is_none() {
        session.work = None;
        let work = work.as_mut().filter(|work| may_claim(case.ask, work))?;
        let start = case.ask.start.as_ref().map(|start| start.token.clone()).unwrap_or_default();
        let client = InHand { host: case.ask.host.clone(), client: session.client, start, ..InHand::default() };
        // The same request may claim once more after its first claim ended.
        let claim = fact_id(&format!("{}-{}", case.ask.id, case.now));
        let in_hand = work.claim(&case.ask.session, claim, &client, case.now)?;
        session.work = Some(Claimed {
            id: in_hand.entry.id.clone(),
            agent: work.agent.clone(),
            claim: in_hand.claim,
            depth: in_hand.entry.depth,
            ..Claimed::default()
        });
    }
    if let Some(claimed) = session.work.as_mut() {
        claimed.turns = claimed.turns.saturating_add(1);
    }
    given(session, work.as_ref(), &policy)
}

/// Returns the entry that the session has in hand.
pub(crate) fn given(session: &SessionState, work: Option<&WorkState>, policy: &WorkPolicy) -> Option<Box<Given>> {
    let claimed = own(session, work)?;
    let in_hand = work.and_then(|work| work.held(&claimed.id, claimed.claim)).cloned().unwrap_or_else(|| InHand {
        entry: super::entry::WorkEntry { id: claimed.id.clone(), ..Default::default() },
        claim: claimed.claim,
        ..InHand::default()
    });
    Some(Box::new(Given { in_hand, turn: claimed.turns, max_turns: policy.max_turns }))
}
