//! Idle backoff: the rest of a session after turns in which its agent did nothing.

use crate::policy::cadence::TurnKind;
use crate::policy::calendar::Calendar;
use crate::policy::documents::SessionState;
use crate::policy::limits::{Idle, Ms, Policy, millis};
use crate::policy::rest::{Ended, Rest, RestKind};
use crate::policy::turn::{self, Turn, Worth};

/// From this many idle turns in a row on, the agent's own `next_check` is not shorter than the idle rest.
const INSISTS_FROM: u32 = 4;

/// Notes a measured turn that ended, and returns its worth.
///
/// A turn that a person began is never idle by itself, though an empty one starts the idle streak. A reflection or a dream
/// changes nothing of the streak.
pub(crate) fn note(session: &mut SessionState, turn: &Turn, by_person: bool, kind: TurnKind, now: Ms) -> Worth {
    let worth = turn.worth(&session.recent);
    if turn.place.is_some() {
        session.transcript.clone_from(&turn.place);
    }
    if !turn.version.is_empty() {
        session.client_version.clone_from(&turn.version);
    }
    session.unmeasured = match worth {
        Worth::Unknown => session.unmeasured.filter(|since| *since <= now).or(Some(now)),
        _ => None,
    };
    if !kind.is_work() {
        return worth;
    }
    turn::remember(&mut session.recent, turn);
    session.idle = match worth {
        Worth::Empty if by_person => 1,
        Worth::Empty | Worth::Looked if !by_person => session.idle.saturating_add(1).min(MOST_IDLE),
        _ => 0,
    };
    if worth == Worth::Worked {
        session.units = session.units.saturating_add(turn.units).min(MOST_UNITS);
    }
    worth
}

/// The largest idle streak, and the largest number of units of a run, that is counted.
const MOST_IDLE: u32 = 1000;
const MOST_UNITS: u32 = 1_000_000;

/// Returns the idle rest after a turn of this worth, where the turn is idle; else `None`.
pub(crate) fn rest(session: &SessionState, idle: &Idle, calendar: &Calendar, ended: Ended, now: Ms) -> Option<Rest> {
    let Ended { worth, by_person, .. } = ended;
    if by_person || !worth.is_some_and(Worth::is_idle) {
        return None;
    }
    let length = idle.length(session.units, session.idle, worth == Some(Worth::Looked));
    // An agent with fixed times comes back at the next one.
    let until = calendar.next_time(now).or(Some(now.saturating_add(length)));
    Some(Rest { kind: RestKind::Idle, since: now, until, topic: String::new(), id: 0 })
}

/// Returns the least length of the agent's own rest, in milliseconds: after many idle turns, the idle rest.
pub(crate) fn least(session: &SessionState, idle: Option<&Idle>, worth: Option<Worth>) -> Ms {
    let is_idle = worth.is_some_and(Worth::is_idle) && session.idle >= INSISTS_FROM;
    let looked = worth == Some(Worth::Looked);
    idle.filter(|_| is_idle).map_or(0, |idle| idle.length(session.units, session.idle, looked))
}

/// Gives an idle rest the end that it has by the present configuration: the next fixed time, or no later than the longest idle rest.
pub(crate) fn derive_end(session: &mut SessionState, policy: &Policy) {
    let Some(rest) = session.rest.as_mut().filter(|rest| rest.kind == RestKind::Idle) else { return };
    let by_times = policy.cadence.calendar.next_time(rest.since);
    let longest = policy.idle.as_ref().map(|idle| rest.since.saturating_add(millis(idle.growth.max)));
    rest.until = by_times.or_else(|| [rest.until, longest].into_iter().flatten().min());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::limits::{IdleRow, Policy};

    fn turn(calls: &[u64], tokens_out: u64) -> Turn {
        let tools = u32::try_from(calls.len()).unwrap();
        Turn { seen: true, calls: calls.to_vec(), tools, units: tools, tokens_out, ..Turn::default() }
    }

    #[test]
    fn the_worth_of_turns_in_a_row() {
        let mut session = SessionState::default();
        let mut after = |turn: &Turn, by_person| {
            let worth = note(&mut session, turn, by_person, TurnKind::Work, 1);
            (worth.code(), session.idle, session.units)
        };
        assert_eq!(after(&turn(&[1, 2], 30), false), ("worked", 0, 2));
        assert_eq!(after(&turn(&[], 30), true), ("empty", 1, 2), "a person's turn starts the streak");
        assert_eq!(after(&turn(&[2], 30), false), ("looked", 2, 2));
        assert_eq!(after(&turn(&[], 399), false), ("empty", 3, 2));
        assert_eq!(after(&turn(&[2], 30), true), ("looked", 0, 2), "no person's turn is idle");
        assert_eq!(after(&turn(&[], 400), false), ("worked", 0, 2), "prose is work");
        assert_eq!(after(&turn(&[3], 1), false), ("worked", 0, 3));
        assert_eq!(after(&turn(&[1], 1), false), ("worked", 0, 4), "three turns with tools came since");
        assert_eq!(after(&Turn::default(), false), ("unknown", 0, 4));
        assert_eq!(after(&Turn { delegated: true, ..turn(&[], 1) }, false), ("worked", 0, 4));
        let many: Vec<u64> = (0..=turn::MOST_CALLS as u64).collect();
        assert_eq!(after(&turn(&many, 1), false).0, "worked");
        assert_eq!(after(&turn(&many, 1), false).0, "worked", "too many to be compared");
    }

    #[test]
    fn unmeasured_since() {
        let mut session = SessionState::default();
        let mut since = |turn: &Turn, now| {
            note(&mut session, turn, false, TurnKind::Work, now);
            session.unmeasured
        };
        let unseen = Turn::default();
        assert_eq!([since(&unseen, 5), since(&unseen, 9), since(&turn(&[], 1), 10)], [Some(5), Some(5), None]);
        assert_eq!(since(&unseen, 12), Some(12));
        assert_eq!(since(&unseen, 11), Some(11), "the clock was set back");
    }

    #[test]
    fn rests_double_and_a_poll_stays_short() {
        let idle = Policy::default().idle.unwrap();
        let minutes = |streak, looked| idle.length(0, streak, looked) / 60_000;
        assert_eq!([1, 2, 3, 4, 5, 6, 1000].map(|n| minutes(n, false)), [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!([1, 2, 3, 4, 1000].map(|n| minutes(n, true)), [2, 4, 8, 10, 10]);
    }

    #[test]
    fn the_more_useful_a_run_the_sooner_it_returns() {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        let row = |units, rest| IdleRow { units, rest: minutes(rest) };
        let idle = Idle { table: vec![row(0, 20), row(1, 10), row(3, 2)], ..Policy::default().idle.unwrap() };
        let rest = |units, streak| idle.length(units, streak, false) / 60_000;
        assert_eq!([rest(0, 1), rest(1, 1), rest(2, 1), rest(3, 1), rest(99, 1)], [20, 10, 10, 2, 2]);
        assert_eq!([rest(0, 2), rest(0, 3), rest(2, 2)], [40, 60, 20]);
    }
}
