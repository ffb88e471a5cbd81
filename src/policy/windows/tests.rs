use proptest::prelude::*;

use super::*;

const NOW: Ms = 1_800_000_000_000;
const RESET: Ms = NOW + 3_600_000;

fn report(session: &str, api_ms: u64, used: u32, resets_at: Ms) -> Report {
    let five_hour = Some(Share { resets_at, used });
    Report { session: session.to_owned(), api_ms: Some(api_ms), five_hour, seven_day: None }
}

fn used(windows: &Windows) -> Option<(Ms, u32)> {
    windows.five_hour.map(|window| (window.resets_at, window.used))
}

#[test]
fn an_idle_session_that_repeats_its_old_report_changes_nothing() {
    let mut windows = Windows::default();
    assert!(windows.merge(&report("idle", 10, 3000, RESET), 0, NOW));
    assert!(windows.merge(&report("busy", 10, 4000, RESET), 7, NOW + 1));
    let before = windows.five_hour;
    windows.merge(&report("idle", 10, 3000, RESET), 7, NOW + 2);
    assert!(!windows.merge(&report("idle", 10, 3000, RESET), 7, NOW + 2));
    assert_eq!(windows.five_hour, before);
    // It used the API since that share was reported, so its lower share is newer.
    assert!(windows.merge(&report("idle", 11, 3500, RESET), 0, NOW + 3));
    assert_eq!(used(&windows), Some((RESET, 3500)));
    let window = windows.five_hour.unwrap();
    assert_eq!((window.first_used, window.turns), (3000, 7));
}

#[test]
fn a_reset_that_is_past_or_older_or_impossible_is_dropped() {
    let mut windows = Windows::default();
    for resets_at in [NOW, NOW - 60_000, NOW + FIVE_HOURS + 180_000] {
        windows.merge(&report("a", 1, 100, resets_at), 0, NOW);
        assert_eq!(used(&windows), None, "{resets_at}");
    }
    windows.merge(&report("a", 2, 5000, RESET), 0, NOW);
    windows.merge(&report("a", 3, 9900, RESET - 600_000), 0, NOW);
    assert_eq!(used(&windows), Some((RESET, 5000)), "an older reset");
    windows.merge(&report("a", 4, 10, RESET + FIVE_HOURS), 0, RESET + 1);
    assert_eq!(used(&windows), Some((RESET + FIVE_HOURS, 10)), "the next window begins anew");
}

#[test]
fn the_cost_of_a_turn_is_known_from_two_points() {
    let mut windows = Windows::default();
    windows.merge(&report("a", 1, 6000, RESET), 50, NOW);
    windows.merge(&report("a", 2, 6150, RESET), 3, NOW + 1);
    assert_eq!(windows.five_hour.unwrap().cost(0), None, "a person may have used the first points");
    windows.merge(&report("a", 3, 6300, RESET), 3, NOW + 2);
    let window = windows.five_hour.unwrap();
    assert_eq!(window.cost(0), Some(50_000), "3 points in 6 turns");
    assert_eq!(window.cost(3), Some(100_000), "3 of these have not ended");
    windows.merge(&report("a", 4, 0, RESET + FIVE_HOURS), 0, RESET + 1);
    assert_eq!(windows.five_hour.unwrap().cost(0), Some(50_000), "as in the window before");
}

#[test]
fn the_client_gives_seconds_and_per_cent() {
    let share = Share::of(62.04, 1_800_003_599.0).unwrap();
    assert_eq!((share.used, share.resets_at), (6204, 1_800_003_600_000), "to the minute");
    for (used, resets_at) in [(-1.0, 1.8e9), (f64::NAN, 1.8e9), (1.0, 0.0), (1.0, 1.8e12), (1.0, f64::INFINITY)] {
        assert_eq!(Share::of(used, resets_at), None, "{used} {resets_at}");
    }
}

/// A report that was not stored, because nothing changed or because the machine had just written, must not count as
/// new later.
#[test]
fn an_older_use_of_the_api_does_not_lower_a_newer_share() {
    let mut windows = Windows::default();
    windows.merge(&report("s", 10, 3000, RESET), 0, NOW);
    windows.merge(&report("s", 11, 3000, RESET), 0, NOW + 1);
    windows.merge(&report("t", 1, 5000, RESET), 0, NOW + 2);
    for _ in 0..3 {
        windows.merge(&report("s", 12, 3100, RESET), 0, NOW + 3);
        assert_eq!(used(&windows), Some((RESET, 5000)), "it used the API before, for all that is known");
    }
    windows.merge(&report("s", 13, 4900, RESET), 0, NOW + 4);
    assert_eq!(used(&windows), Some((RESET, 4900)), "now it used the API since");
}

#[test]
fn an_equal_share_is_confirmed_by_a_session_that_works() {
    let mut windows = Windows::default();
    windows.merge(&report("s", 10, 3000, RESET), 0, NOW);
    windows.merge(&report("idle", 10, 3000, RESET), 0, NOW + 1);
    assert_eq!(windows.five_hour.unwrap().seen, NOW);
    windows.merge(&report("s", 11, 3000, RESET), 0, NOW + 600_000);
    assert_eq!(windows.five_hour.unwrap().seen, NOW + 600_000);
}

#[test]
fn windows_that_cannot_be_are_found() {
    let of = |resets_at| Windows { five_hour: Some(Window { resets_at, ..Window::default() }), ..Windows::default() };
    assert!(of(0).are_possible(NOW) && of(NOW + FIVE_HOURS + 60_000).are_possible(NOW));
    assert!(!of(NOW + FIVE_HOURS + 180_000).are_possible(NOW) && !of(Ms::MAX).are_possible(NOW));
    assert!(Windows::unreadable(NOW).are_possible(NOW) && !Windows::unreadable(NOW + 1).are_possible(NOW));
}

#[test]
fn unreadable_windows_restrict_until_a_report_and_not_for_ever() {
    let mut windows = Windows::unreadable(NOW);
    assert_eq!(windows.unknown_until(NOW + 1), Some(NOW + FIVE_HOURS));
    assert_eq!(windows.unknown_until(NOW + FIVE_HOURS), None);
    assert_eq!(windows.unknown_until(NOW - 1), Some(NOW - 1 + FIVE_HOURS), "the clock was set back");
    assert!(!windows.merge(&report("a", 1, 100, NOW), 0, NOW), "a window that ended");
    assert!(windows.unknown_until(NOW + 1).is_some());
    assert!(windows.merge(&report("a", 1, 100, RESET), 0, NOW + 1));
    assert_eq!((windows.unknown, used(&windows)), (None, Some((RESET, 100))));
}

proptest! {
    /// Without new use of the API, the share of a window never falls, in whatever order the reports come.
    #[test]
    fn a_repeated_report_never_lowers_a_share(shares in prop::collection::vec((0..5_u8, 0..12_000_u32), 1..60)) {
        let mut windows = Windows::default();
        let mut highest = 0;
        for (i, (session, used)) in shares.into_iter().enumerate() {
            windows.merge(&report(&session.to_string(), 1, used, RESET), 1, NOW + i as Ms);
            highest = highest.max(used);
            prop_assert_eq!(windows.five_hour.map(|window| window.used), Some(highest));
        }
    }

    /// Merging the same report again changes nothing.
    #[test]
    fn a_merge_is_idempotent(shares in prop::collection::vec((0..90_u8, 0..3_u64, 0..12_000_u32, 0..3_i64), 1..80)) {
        let mut windows = Windows::default();
        for (session, api_ms, used, hour) in shares {
            let report = report(&session.to_string(), api_ms, used, RESET + hour * 3_600_000);
            windows.merge(&report, 1, NOW);
            let before = windows.clone();
            prop_assert!(!windows.merge(&report, 1, NOW + 1));
            prop_assert_eq!(&windows, &before);
            prop_assert!(windows.reporters.len() <= MOST_REPORTERS);
        }
    }
}

#[test]
fn a_share_that_falls_below_the_first_one_begins_the_count_anew() {
    let mut windows = Windows::default();
    let mut after = |api_ms, used, finished| {
        windows.merge(&report("a", api_ms, used, RESET), finished, NOW + api_ms as Ms);
        let window = windows.five_hour.unwrap();
        (window.first_used, window.used, window.turns)
    };
    assert_eq!(after(1, 3000, 9), (3000, 3000, 0));
    assert_eq!(after(2, 4000, 7), (3000, 4000, 7));
    assert_eq!(after(3, 3000, 1), (3000, 3000, 8));
    assert_eq!(after(4, 2999, 0), (2999, 2999, 0));
}

#[test]
fn a_window_is_open_until_its_reset() {
    let window = |resets_at| Some(Window { resets_at, ..Window::default() });
    let windows = Windows { five_hour: window(RESET), seven_day: window(RESET + 1), ..Windows::default() };
    let open = |now| windows.open(now).map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!([open(RESET - 1), open(RESET), open(RESET + 1)], [vec!["5h", "7d"], vec!["7d"], vec![]]);
}
