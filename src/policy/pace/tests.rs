use proptest::prelude::*;

use super::*;

const NOW: Ms = 1_800_000_000_000;
const HOUR: Ms = 3_600_000;

fn window(used: u32, turns: u32) -> Window {
    Window { resets_at: NOW + HOUR, used, seen: NOW, turns, ..Window::default() }
}

fn paced(used: u32, turns: u32, in_flight: u32) -> Paced {
    let pace = Pace { five_hour: Some(WindowPace { cap: 95, spread: true }), seven_day: None };
    let windows = Windows { five_hour: Some(window(used, turns)), ..Windows::default() };
    derive(&pace, &windows, in_flight, NOW)
}

fn period(paced: Paced) -> Option<Ms> {
    paced.quota().map(|quota| quota.per.as_millis() as Ms)
}

#[test]
fn the_turns_are_spread_over_what_is_left() {
    assert_eq!(paced(100, 10, 0), Paced::Free, "the cost is unknown below two points");
    // 40 points in 40 turns: 55 turns are left for an hour.
    assert_eq!(period(paced(4000, 40, 0)), Some(HOUR / 55 + 1));
    // 20 of these have not ended: 2 points a turn, and 15 points are left beside them.
    assert_eq!(period(paced(4000, 40, 20)), Some(HOUR * 2 / 15));
    assert_eq!(paced(4000, 40, 39), Paced::NoRoom);
    assert_eq!(paced(9500, 95, 0), Paced::Limit(NOW + HOUR));
    assert_eq!(paced(9600, 95, 0), Paced::Limit(NOW + HOUR));
}

#[test]
fn turns_of_an_unknown_cost_are_slow_where_little_room_is_left() {
    let pace = Pace { five_hour: Some(WindowPace { cap: 95, spread: true }), seven_day: None };
    let windows = |first_used| {
        let five_hour = Some(Window { first_used, ..window(first_used, 0) });
        Windows { five_hour, ..Windows::default() }
    };
    assert_eq!(derive(&pace, &windows(6000), 0, NOW), Paced::Free, "a person used it");
    assert_eq!(period(derive(&pace, &windows(9000), 0, NOW)), Some(NO_ROOM));
}

#[test]
fn the_most_restrictive_window_applies() {
    let spread = Some(WindowPace { cap: 95, spread: true });
    let pace = Pace { five_hour: spread, seven_day: Some(WindowPace { cap: 98, spread: false }) };
    let week = |used| Some(Window { resets_at: NOW + 50 * HOUR, ..window(used, 10) });
    let windows = |used| Windows { five_hour: Some(window(4000, 40)), seven_day: week(used), ..Windows::default() };
    assert_eq!(period(derive(&pace, &windows(9700), 0, NOW)), Some(HOUR / 55 + 1), "the week is not spread");
    assert_eq!(derive(&pace, &windows(9800), 0, NOW), Paced::Limit(NOW + 50 * HOUR));
    assert_eq!(derive(&pace, &windows(9800), 0, NOW + 51 * HOUR), Paced::Free, "both have ended");
    assert_eq!(derive(&pace, &Windows::default(), 0, NOW), Paced::Free, "no window is known");
}

#[test]
fn a_turn_that_ended_or_was_forgotten_is_not_in_flight() {
    let flight = |session: &str, at| Flight { session: session.to_owned(), at };
    let mut all = vec![flight("a", NOW), flight("b", NOW), flight("c", NOW - LONGEST_FLIGHT)];
    land(&mut all, "a", NOW);
    assert_eq!(all, [flight("b", NOW)]);
}

#[test]
fn windows_that_could_not_be_read_admit_nothing_for_a_while() {
    let pace = Pace { five_hour: None, seven_day: Some(WindowPace { cap: 95, spread: false }) };
    let unknown = Windows::unreadable(NOW);
    assert_eq!(derive(&pace, &unknown, 0, NOW), Paced::Unknown(NOW + 5 * HOUR));
    assert_eq!(derive(&pace, &unknown, 0, NOW + 5 * HOUR), Paced::Free);
    assert_eq!(derive(&Pace::default(), &unknown, 0, NOW), Paced::Free, "no window is paced");
}

proptest! {
    /// More use, and more turns in flight, never make the pace less strict.
    #[test]
    fn the_pace_is_monotone(used in 200..9600_u32, more in 0..500_u32, turns in 50..500_u32, flights in 0..20_u32) {
        let strictness = |used, flights| {
            let (kind, amount) = paced(used, turns, flights).strictness();
            (kind.max(1), amount)
        };
        let now = strictness(used, flights);
        let (more_used, more_flights) = (strictness(used + more, flights), strictness(used, flights + 1));
        prop_assert!(more_used >= now || now.0 >= 2, "{now:?} {more_used:?}");
        prop_assert!(more_flights >= now || now.0 >= 2, "{now:?} {more_flights:?}");
    }

    /// What is admitted in one period per turn fits into the room.
    #[test]
    fn the_slots_fit_into_the_room(used in 200..9400_u32, turns in 1..2000_u32) {
        if let Some(per) = period(paced(used, turns, 0)) {
            let cost = f64::from(used) / f64::from(turns);
            let spent = cost * (HOUR as f64 / per as f64);
            // Periods and costs are rounded up, so the turns never use more than the room.
            prop_assert!(spent <= f64::from(9500 - used) + 0.01, "{spent} of {}", 9500 - used);
        }
    }
}
