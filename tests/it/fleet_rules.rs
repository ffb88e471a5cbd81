//! Holds with their releases, and the turns of a fleet in flight, in single steps.

use std::time::Duration;

use frosty::policy::decision::{self, State};
use frosty::policy::limits::{Burst, Ms, Policy, millis};
use frosty::policy::pace::{Pace, WindowPace};
use frosty::policy::request::{Event, Failure, FailureClass, HoldRequest};
use frosty::policy::verdict::{Decision, Outcome, Reason};

use crate::support::{T0, policy, step, stop_step};

const S: Ms = 1000;

fn tell(state: &mut State, at: Ms, event: Event) -> Decision {
    decision::step(&Policy::default(), state, &step(event), T0 + at)
}

#[test]
fn of_two_holds_the_longer_one_stays_unless_it_is_to_be_replaced() {
    for fleet in [false, true] {
        let hold = |by: &str, lasting: Option<u64>, replace: bool| {
            let (by, lasting) = (by.to_owned(), lasting.map(Duration::from_secs));
            Event::Hold(HoldRequest { fleet, reason: "r".to_owned(), at_once: by == "bob", by, lasting, replace })
        };
        let mut state = State::default();
        let mut holds = |at: Ms, event: Event| {
            let decided = tell(&mut state, at, event);
            let named = decided.held.map(|held| (held.by, held.fleet));
            let left = decided.retry_after.map(|left| millis(left) / S);
            let hold = if fleet { &state.fleet.hold } else { &state.scope.hold };
            let replaced = decided.replaced.map(|hold| hold.by);
            (decided.outcome, named, left, replaced, hold.as_ref().map(|hold| hold.by.clone()))
        };
        let of = |by: &str| Some((by.to_owned(), fleet));
        let some = |by: &str| Some(by.to_owned());
        assert_eq!(holds(0, hold("ann", Some(60), false)), (Outcome::Record, of("ann"), Some(60), None, some("ann")));
        let shorter = holds(10 * S, hold("bob", Some(49), false));
        assert_eq!(shorter, (Outcome::Refuse, of("ann"), Some(50), None, some("ann")));
        let as_long = holds(10 * S, hold("bob", Some(50), false));
        assert_eq!(as_long, (Outcome::Record, of("bob"), Some(50), some("ann"), some("bob")));
        let replacing = holds(20 * S, hold("eve", Some(5), true));
        assert_eq!(replacing, (Outcome::Record, of("eve"), Some(5), some("bob"), some("eve")));
        assert_eq!(holds(25 * S, hold("bob", Some(1), false)).3, None, "the hold before it is over");
        assert_eq!(
            holds(25 * S, hold("ann", None, false)),
            (Outcome::Record, of("ann"), None, some("bob"), some("ann"))
        );
        let endless = holds(26 * S, hold("bob", Some(9_999), false));
        assert_eq!(endless, (Outcome::Refuse, of("ann"), None, None, some("ann")));
        let release = Event::Release { fleet, at_once: false };
        assert_eq!(holds(30 * S, release.clone()), (Outcome::Record, of("ann"), None, None, None));
        assert_eq!(holds(31 * S, release), (Outcome::Record, None, None, None, None));
    }
}

/// How the sessions continue after the fleet's hold is that of the hold in force.
#[test]
fn a_hold_that_is_not_opened_changes_nothing_of_the_one_in_force() {
    let hold = |secs: u64, at_once| {
        let lasting = Some(Duration::from_secs(secs));
        Event::Hold(HoldRequest { fleet: true, lasting, at_once, ..HoldRequest::default() })
    };
    let mut state = State::default();
    tell(&mut state, 0, hold(60, false));
    tell(&mut state, 0, hold(59, true));
    assert!(!state.fleet.hold_at_once);
    tell(&mut state, 0, hold(61, true));
    assert!(state.fleet.hold_at_once);
}

/// Sessions that one event frees together continue one after the other, unless the hold was opened otherwise.
#[test]
fn a_hold_of_the_fleet_marks_its_sessions_for_release_slots() {
    for (fleet, at_once, slot) in [(true, false, Some(0)), (true, true, None), (false, false, None)] {
        let mut state = State::default();
        let lasting = Some(Duration::from_secs(60));
        tell(&mut state, 0, Event::Hold(HoldRequest { fleet, lasting, at_once, ..HoldRequest::default() }));
        assert_eq!(tell(&mut state, S, Event::Stop { rest: None }).reason.code(), "hold");
        assert_eq!(state.session.slot, slot, "of the fleet: {fleet}, at once: {at_once}");
    }
}

#[test]
fn the_fifth_trip_of_a_day_is_a_hold_that_doubles() {
    let policy = policy(|p| {
        p.stop.burst = Some(Burst { limit: 2, window: Duration::from_secs(20) });
        p.stop.cooldown.calm = Duration::from_secs(1);
        p.hold_after_strikes = 5;
    });
    let (mut state, mut now) = (State::default(), T0);
    let mut storm = |now: &mut i64| loop {
        let decided = decision::step(&policy, &mut state, &stop_step(), *now);
        match decided.reason {
            Reason::Burst | Reason::Hold if decided.attempts > 0 => {
                *now += i64::try_from(decided.retry_after.unwrap().as_millis()).unwrap();
                return (decided.reason, decided.retry_after.unwrap().as_secs() / 3600);
            }
            Reason::Admitted | Reason::Probe => *now += 1,
            _ => *now += i64::try_from(decided.retry_after.unwrap().as_millis()).unwrap(),
        }
    };
    let all: Vec<_> = (0..9).map(|_| storm(&mut now)).collect();
    let hold = |hours| (Reason::Hold, hours);
    assert_eq!(all[..4], [(Reason::Burst, 0); 4]);
    assert_eq!(all[4..], [hold(1), hold(2), hold(4), hold(8), hold(8)]);
    // A day without trips clears them.
    now += 86_400_000;
    assert_eq!(storm(&mut now).0, Reason::Burst);
}

#[test]
fn a_turn_is_in_flight_until_it_ends() {
    let pace = Pace { five_hour: Some(WindowPace { cap: 95, spread: true }), seven_day: None };
    let free = |p: &mut Policy| (p.stop.min_interval, p.stop.burst, p.idle) = (Duration::ZERO, None, None);
    let paced = policy(|p| {
        free(p);
        p.pace = Some(pace);
    });
    let failure = Failure {
        class: FailureClass::Passing,
        reset: None,
        of_key: false,
        model: String::new(),
        too_long: false,
        cure: String::new(),
    };
    for (event, lands) in [
        (Event::Other, false),
        (Event::NeedsYou, false),
        (Event::ClientPrompt { of_admission: true }, false),
        (Event::PreCompactAuto, false),
        (Event::StopFailure(failure), true),
        (Event::SessionEnd, true),
        (Event::Sleep, true),
    ] {
        let mut state = State::default();
        let stop = step(Event::Stop { rest: None });
        assert_eq!(decision::step(&paced, &mut state, &stop, T0).outcome, Outcome::Admit);
        assert_eq!(state.fleet.quota.in_flight.len(), 1);
        decision::step(&paced, &mut state, &step(event.clone()), T0 + S);
        assert_eq!(state.fleet.quota.in_flight.is_empty(), lands, "{event:?}");
    }
    let mut state = State::default();
    decision::step(&policy(free), &mut state, &step(Event::Stop { rest: None }), T0);
    assert!(state.fleet.quota.in_flight.is_empty(), "no pace counts it");
}
