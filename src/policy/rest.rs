//! A rest: why and how long a session does not continue, until its end or a wake-up.

use serde::{Deserialize, Serialize};

use crate::policy::cadence::TurnKind;
use crate::policy::documents::SessionState;
use crate::policy::fact::{FactId, identity, is_unnamed};
use crate::policy::fence::FenceStatus;
use crate::policy::idle;
use crate::policy::limits::{Ms, Policy, millis};
use crate::policy::request::{Event, RestRequest, RunPart, Step};
use crate::policy::turn::Worth;
use crate::policy::verdict::Reason;

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
    /// Until there is an entry in the work queue.
    NoWork,
    /// Until the agent's working hours begin.
    OffHours,
}

impl RestKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Rest,
        Self::Done,
        Self::Blocked,
        Self::WaitFor,
        Self::Parked,
        Self::Idle,
        Self::Failed,
        Self::NoWork,
        Self::OffHours,
    ];

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
            Self::NoWork => "no_work",
            Self::OffHours => "off_hours",
        }
    }

    /// Returns whether the agent requested the rest itself. Only such a rest outlasts a turn that the client began.
    #[must_use]
    pub fn is_agents(self) -> bool {
        matches!(self, Self::Rest | Self::Done | Self::Blocked | Self::WaitFor)
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

/// Returns the rest of a session, lasting or over, unless a turn runs or a wake-up has ended it.
///
/// A rest stays in place during the dream before it, and during a turn that the client began.
#[must_use]
pub fn rests(session: &SessionState) -> Option<&Rest> {
    let is_admitted = || Reason::from_code(&session.last_reason).is_some_and(Reason::is_admission);
    let is_prompted = || session.begun.as_ref().is_some_and(|begun| begun.id.is_empty());
    // The runs of a gate are no turns of its session.
    let runs = || !session.gate && (is_admitted() || is_prompted());
    session.rest.as_ref().filter(|_| !session.woken && !runs())
}

pub(crate) fn reason(kind: RestKind) -> Reason {
    match kind {
        RestKind::Rest => Reason::Rest,
        RestKind::Done => Reason::Done,
        RestKind::Blocked => Reason::Blocked,
        RestKind::WaitFor => Reason::WaitFor,
        RestKind::Parked => Reason::Parked,
        RestKind::Idle => Reason::Idle,
        RestKind::Failed => Reason::Failed,
        RestKind::NoWork => Reason::NoWork,
        RestKind::OffHours => Reason::OffHours,
    }
}

/// The turn that an event ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// Its worth, where it was measured.
    pub(crate) worth: Option<Worth>,
    /// Whether a person began it.
    pub(crate) by_person: bool,
    /// What it was for.
    pub(crate) kind: TurnKind,
}

/// Books, ends or keeps the session's rest after the turn that ended.
pub(crate) fn change(
    session: &mut SessionState,
    ask: &Step,
    fence_status: FenceStatus,
    policy: &Policy,
    turn: Ended,
    now: Ms,
) {
    if let Some(rest) = &mut session.rest {
        rest.rebase(now);
    }
    let idle = policy.idle.as_ref();
    match &ask.event {
        Event::Stop { .. } | Event::Resume { .. } if fence_status == FenceStatus::Repeated => {}
        // The rest that the dream postponed, unless the agent asks for a longer one or needs something else.
        Event::Stop { rest: Some(asked) }
            if turn.kind == TurnKind::Dream && session.rest.as_ref().is_some_and(|rest| outlasts(rest, asked, now)) => {
        }
        Event::Stop { rest: Some(rest) }
        | Event::Resume { rest: Some(rest), .. }
        | Event::Run { part: RunPart::Turn { rest: Some(rest) }, .. } => {
            book(session, rest, idle::least(session, idle, turn.worth), now);
        }
        Event::Stop { rest: None } | Event::ClientPrompt { of_admission: true } if turn.kind == TurnKind::Dream => {}
        Event::Stop { rest: None } | Event::Run { part: RunPart::Turn { rest: None }, .. } => {
            // Nothing is left that would wake the session.
            end_unrequested(session);
            // A rest that is over stays in place until the next admission.
            if session.rest.as_ref().is_none_or(|rest| !rest.lasts(now))
                && let Some(idle) = idle.filter(|_| turn.kind.is_work())
                && let Some(rest) = idle::rest(session, idle, &policy.cadence.calendar, turn, now)
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

/// Returns whether a rest lasts longer than one until a time that is requested.
fn outlasts(rest: &Rest, asked: &RestRequest, now: Ms) -> bool {
    let is_timed = matches!(asked.kind, RestKind::Rest | RestKind::Parked);
    let end = asked.lasting.map_or(Ms::MAX, |lasting| now.saturating_add(millis(lasting)));
    is_timed && rest.lasts(now) && rest.until.is_none_or(|until| until >= end)
}

/// Ends a rest that the agent did not request.
fn end_unrequested(session: &mut SessionState) {
    session.rest = session.rest.take().filter(|r| r.kind.is_agents());
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::documents::Begun;

    fn rest(kind: RestKind, since: Ms, until: Option<Ms>) -> Rest {
        Rest { kind, since, until, topic: String::new(), id: 0 }
    }

    #[test]
    fn a_session_rests_while_no_turn_of_it_runs() {
        let begun = |id: &str| Some(Begun { at: 1, id: id.to_owned() });
        for (name, reason, begun, woken, gate, rests) in [
            ("refused", "rest", begun("a"), false, false, true),
            ("never asked", "", None, false, false, true),
            ("admitted", "admitted", begun("a"), false, false, false),
            ("admitted as a probe", "probe", begun("a"), false, false, false),
            ("prompted", "rest", begun(""), false, false, false),
            ("woken", "rest", begun("a"), true, false, false),
            ("a gate that was admitted", "admitted", begun("a"), false, true, true),
            ("a gate with a prompt in it", "rest", begun(""), false, true, true),
        ] {
            let rest = Some(rest(RestKind::Rest, 1, None));
            let session =
                SessionState { rest, begun, woken, gate, last_reason: reason.to_owned(), ..Default::default() };
            assert_eq!(super::rests(&session).is_some(), rests, "{name}");
        }
    }

    #[test]
    fn a_requested_time_shortens_no_rest_that_a_dream_postponed() {
        let asked =
            |kind, ms: Option<u64>| RestRequest { kind, lasting: ms.map(Duration::from_millis), topic: String::new() };
        for (until, kind, lasting, expected) in [
            (Some(150), RestKind::Rest, Some(50), true),
            (Some(150), RestKind::Rest, Some(51), false),
            (Some(150), RestKind::Parked, Some(50), true),
            (Some(150), RestKind::Done, Some(50), false),
            (Some(150), RestKind::Rest, None, false),
            (Some(100), RestKind::Rest, Some(0), false),
            (None, RestKind::Rest, Some(50), true),
            (None, RestKind::Rest, None, true),
        ] {
            let found = outlasts(&rest(RestKind::Idle, 0, until), &asked(kind, lasting), 100);
            assert_eq!(found, expected, "{until:?} {kind:?} {lasting:?}");
        }
    }

    #[test]
    fn a_rest_of_the_future_begins_now_with_its_length() {
        for (since, until, expected) in [
            (101, Some(131), (100, Some(130))),
            (100, Some(131), (100, Some(131))),
            (101, None, (100, None)),
            (101, Some(7), (100, Some(100))),
        ] {
            let mut own = rest(RestKind::Rest, since, until);
            let id = own.identity();
            own.rebase(100);
            assert_eq!(((own.since, own.until), own.identity()), (expected, id), "{since} {until:?}");
        }
        assert!(RestKind::ALL.iter().all(|kind| RestKind::from_code(kind.code()) == Some(*kind)));
    }

    /// The agent's own directive goes before a task of its client, and its time is at least that of its idle streak.
    #[test]
    fn what_is_booked() {
        let asked =
            |kind, ms: u64| RestRequest { kind, lasting: Some(Duration::from_millis(ms)), topic: String::new() };
        let (own, own_over, parked) =
            (rest(RestKind::Done, 1, None), rest(RestKind::Rest, 1, Some(100)), rest(RestKind::Parked, 1, None));
        for (before, kind, least, expected) in [
            (None, RestKind::Rest, 0, (RestKind::Rest, Some(150))),
            (None, RestKind::Rest, 80, (RestKind::Rest, Some(180))),
            (None, RestKind::Parked, 80, (RestKind::Parked, Some(150))),
            (Some(&own), RestKind::Parked, 0, (RestKind::Done, None)),
            (Some(&own_over), RestKind::Parked, 0, (RestKind::Parked, Some(150))),
            (Some(&parked), RestKind::Parked, 0, (RestKind::Parked, Some(150))),
            (Some(&own), RestKind::Blocked, 0, (RestKind::Blocked, Some(150))),
        ] {
            let mut session = SessionState { rest: before.cloned(), units: 3, ..SessionState::default() };
            book(&mut session, &asked(kind, 50), least, 100);
            let rest = session.rest.unwrap();
            assert_eq!((rest.kind, rest.until), expected, "{before:?} {kind:?}");
            assert_eq!(session.units, if expected.0 == kind { 0 } else { 3 });
        }
    }
}
