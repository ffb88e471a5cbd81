//! The rule of work in a step: what a Stop event does to the entry in hand, whether the session continues without one,
//! and the claim of the next one.

use super::queue::InHand;
use super::{Claimed, Ended, Given, WorkMode, WorkPolicy, WorkState};
use crate::policy::decision::{Case, State};
use crate::policy::documents::SessionState;
use crate::policy::limits::{Class, Ms, Policy};
use crate::policy::request::{Event, Step};
use crate::policy::rest::{Rest, RestKind};

/// Returns how the session of this step works, where it works through a queue.
pub(crate) fn policy_of(policy: &Policy, session: &SessionState, ask: &Step) -> Option<WorkPolicy> {
    let is_on = policy.work.mode != WorkMode::Off && !ask.shadow && !session.gate;
    is_on.then_some(policy.work)
}

/// Returns whether a step reads the queue of its agent.
pub(crate) fn reads_queue(policy: &Policy, event: &Event, shadow: bool) -> bool {
    policy.work.mode != WorkMode::Off && !shadow && (event.asks() == Some(Class::Stop) || event.ends())
}

/// Returns the end of the entry in hand that a Stop event reports. Without an entry in hand it is none.
pub(crate) fn reported_end(session: &SessionState, event: &Event) -> Option<Ended> {
    session.work.as_ref().filter(|work| work.ended.is_none())?;
    let Event::Stop { rest: Some(rest) } = event else { return None };
    match rest.kind {
        RestKind::Done => Some(Ended::Done),
        RestKind::Failed => Some(Ended::Failed(rest.topic.clone())),
        _ => None,
    }
}

/// Applies the end of a turn to the entry in hand: its end, or another turn for it.
///
/// `reported` is the end that this event reports; an end that was reported before is applied as well. An event that is
/// not `new` ends no further turn. Returns the entry's id and how it ended, where it did.
pub(crate) fn end_turn(
    state: &mut State,
    policy: &WorkPolicy,
    ask: &Step,
    reported: Option<Ended>,
    is_new: bool,
    now: Ms,
) -> Option<String> {
    let State { session, work, .. } = state;
    let claimed = session.work.as_mut()?;
    // A store that did not know of the entry took these words for a request to rest.
    let is_done = session.rest.as_ref().is_some_and(|rest| rest.kind == RestKind::Done);
    claimed.ended = reported.or_else(|| claimed.ended.take()).or(is_done.then_some(Ended::Done));
    if claimed.ended.is_some() {
        session.rest = session.rest.take().filter(|rest| !matches!(rest.kind, RestKind::Idle | RestKind::Done));
        session.idle = 0;
    }
    let work = work.as_mut().filter(|work| work.agent == claimed.agent)?;
    let Claimed { id, claim, turns, ended, .. } = claimed.clone();
    let is_held = work.held(&id, claim).is_some();
    let end = match ended {
        _ if !is_held => Some("was taken back before".to_owned()),
        Some(Ended::Done) => work.finish(&id, Some(claim), now).ok().map(|()| "done".to_owned()),
        Some(Ended::Failed(why)) => {
            let given_back = work.give_back(&id, Some(claim), &why, policy, now);
            given_back.ok().map(|()| format!("failed: {why}"))
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
pub(crate) fn prepare(state: &mut State, policy: &WorkPolicy, now: Ms) {
    let State { session, work: Some(work), .. } = state else { return };
    work.expire(policy, now);
    let is_held = |own: &mut Claimed| own.agent != work.agent || work.held(&own.id, own.claim).is_some();
    session.work = session.work.take_if(|own| is_held(own));
}

/// Returns whether the session's rest ends now, because it can claim an entry.
///
/// The rest stays until the session is admitted: another session may claim the entry first.
pub(in crate::policy) fn has_ended_rest(case: &Case<'_>, state: &State) -> bool {
    let State { session, work, .. } = state;
    let is_free = session.work.is_none() && ends_by_work(session);
    is_free
        && policy_of(case.policy, session, case.ask).is_some()
        && work.as_ref().is_some_and(|work| work.has_work(case.now))
}

/// Returns when a delayed entry ends the session's rest, where one will.
pub(in crate::policy) fn ends_rest(case: &Case<'_>, session: &SessionState, work: Option<&WorkState>) -> Option<Ms> {
    policy_of(case.policy, session, case.ask)?;
    let is_free = session.work.is_none() && ends_by_work(session);
    work.filter(|_| is_free)?.next_due(case.now)
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
    let has_own = session.work.as_ref().is_some_and(|claimed| claimed.ended.is_none());
    let has_work = has_own || work.as_ref().is_some_and(|work| work.has_work(case.now));
    if policy.mode != WorkMode::Required || session.woken || has_work {
        if session.rest.as_ref().is_some_and(|rest| rest.kind == RestKind::NoWork) {
            session.rest = None;
        }
        return;
    }
    let until = work.as_ref().and_then(|work| work.next_due(case.now));
    match &mut session.rest {
        Some(rest) if rest.kind == RestKind::NoWork => rest.until = until,
        Some(rest) if rest.lasts(case.now) => {}
        _ => {
            let (kind, since) = (RestKind::NoWork, case.now);
            session.rest = Some(Rest { kind, since, until, topic: String::new(), id: 0 });
        }
    }
}

/// Claims an entry for an admitted session that has none in hand, and counts the turn.
pub(in crate::policy) fn hand_out(case: &Case<'_>, state: &mut State) -> Option<Box<Given>> {
    let State { session, work, .. } = state;
    let policy = policy_of(case.policy, session, case.ask)?;
    if session.work.is_none() {
        let work = work.as_mut()?;
        let client = InHand { host: case.ask.host.clone(), client: session.client, ..InHand::default() };
        let in_hand = work.claim(&case.ask.session, &client, case.now)?;
        session.work = Some(Claimed {
            id: in_hand.entry.id.clone(),
            agent: work.agent.clone(),
            claim: in_hand.claim,
            depth: in_hand.entry.depth,
            ..Claimed::default()
        });
    }
    if let Some(claimed) = session.work.as_mut().filter(|claimed| claimed.ended.is_none()) {
        claimed.turns = claimed.turns.saturating_add(1);
    }
    given(session, work.as_ref(), &policy)
}

/// Returns the entry that the session has in hand.
pub(crate) fn given(session: &SessionState, work: Option<&WorkState>, policy: &WorkPolicy) -> Option<Box<Given>> {
    let claimed = session.work.as_ref().filter(|claimed| claimed.ended.is_none())?;
    let in_hand = work.and_then(|work| work.held(&claimed.id, claimed.claim)).cloned().unwrap_or_else(|| InHand {
        entry: super::entry::WorkEntry { id: claimed.id.clone(), ..Default::default() },
        claim: claimed.claim,
        ..InHand::default()
    });
    Some(Box::new(Given { in_hand, turn: claimed.turns, max_turns: policy.max_turns }))
}
