use chrono::DateTime;
use proptest::prelude::*;

use super::*;

const HOUR: Ms = 60 * MINUTE;

fn utc(text: &str) -> Ms {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

/// The zones of the tests in 2026: one that changes in the night, one that changes later, and one without changes.
fn zone(name: &str) -> Zone {
    let of = |standard: i32, ahead: &str, back: &str| {
        Zone::new(vec![(0, standard), (utc(ahead), standard + 3600), (utc(back), standard)])
    };
    match name {
        "Europe/Berlin" => of(3600, "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"),
        "America/New_York" => of(-5 * 3600, "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"),
        "Asia/Kathmandu" => Zone::new(vec![(0, 20_700)]),
        _ => panic!("{name}"),
    }
}

fn calendar(zone_name: &str, hours: &[&str], times: &[&str]) -> Calendar {
    Calendar {
        zone: zone(zone_name),
        hours: hours.iter().map(|text| text.parse().unwrap()).collect(),
        times: times.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

#[test]
fn texts_are_read_and_written() {
    for (text, written) in [
        ("08:00-18:00", "08:00-18:00"),
        ("mon-fri 8:00-18:00", "mon-fri 08:00-18:00"),
        (" Sat, SUN  22:00-02:00 ", "sat-sun 22:00-02:00"),
        ("fri-mon 22:00-00:00", "mon,fri-sun 22:00-24:00"),
        ("mon,wed-thu,sun 00:00-24:00", "mon,wed-thu,sun 00:00-24:00"),
        ("mon-sun 23:59-00:01", "23:59-00:01"),
    ] {
        let hours: Hours = text.parse().unwrap();
        assert_eq!(hours.to_string(), written);
        assert_eq!(written.parse(), Ok(hours), "{text}");
    }
    for (text, written) in [("9:00", "09:00"), ("mon-fri 17:30", "mon-fri 17:30"), ("tue 00:00", "tue 00:00")] {
        assert_eq!(text.parse::<Times>().unwrap().to_string(), written);
    }
}

#[test]
fn the_error_names_the_part_that_is_wrong() {
    for (text, error) in [
        ("", "expected hours such as 08:00-18:00, found \"\""),
        ("08:00", "expected hours such as 08:00-18:00, found \"08:00\""),
        ("mon-fri", "expected a time of day such as 09:00, found \"mon\""),
        ("work 08:00-18:00", "expected days such as mon-fri or sat,sun, found \"work\""),
        ("mon, 08:00-18:00", "expected days such as mon-fri or sat,sun, found \"mon,\""),
        ("08:00-25:00", "expected a time of day such as 09:00, found \"25:00\""),
        ("24:00-08:00", "expected a time of day such as 09:00, found \"24:00\""),
        ("08:60-18:00", "expected a time of day such as 09:00, found \"08:60\""),
        ("08:00-+9:00", "expected a time of day such as 09:00, found \"+9:00\""),
        ("8-18", "expected a time of day such as 09:00, found \"8\""),
        ("sat 08:00-08:00", "expected hours that end later than they begin, found \"08:00-08:00\""),
    ] {
        assert_eq!(text.parse::<Hours>().unwrap_err().to_string(), error);
    }
    for (text, error) in [
        ("24:00", "expected a time of day such as 09:00, found \"24:00\""),
        ("noon", "expected a time of day such as 09:00, found \"noon\""),
        ("mon fri 09:00", "expected days such as mon-fri or sat,sun, found \"mon fri\""),
    ] {
        assert_eq!(text.parse::<Times>().unwrap_err().to_string(), error);
    }
}

/// 2026-12-01 is a Tuesday.
#[test]
fn hours_open_and_close() {
    for (hours, now, opens, closes) in [
        (&[][..], "2026-12-01T12:00:00Z", None, None),
        (&["08:00-18:00"], "2026-12-01T06:59:59Z", Some("2026-12-01T07:00:00Z"), None),
        (&["08:00-18:00"], "2026-12-01T07:00:00Z", None, Some("2026-12-01T17:00:00Z")),
        (&["08:00-18:00"], "2026-12-01T17:00:00Z", Some("2026-12-02T07:00:00Z"), None),
        (&["mon-fri 08:00-18:00"], "2026-12-04T18:00:00Z", Some("2026-12-07T07:00:00Z"), None),
        (&["tue 08:00-18:00"], "2026-12-01T18:00:00Z", Some("2026-12-08T07:00:00Z"), None),
        // The day is that of the beginning.
        (&["sat,sun 22:00-02:00"], "2026-12-07T00:59:00Z", None, Some("2026-12-07T01:00:00Z")),
        (&["sat,sun 22:00-02:00"], "2026-12-05T00:59:00Z", Some("2026-12-05T21:00:00Z"), None),
        // Hours that touch are one, and hours without a gap never end.
        (&["22:00-24:00", "00:00-03:00"], "2026-12-01T22:30:00Z", None, Some("2026-12-02T02:00:00Z")),
        (&["09:00-12:00", "11:00-13:00"], "2026-12-01T10:30:00Z", None, Some("2026-12-01T12:00:00Z")),
        (&["00:00-24:00"], "2026-12-01T22:30:00Z", None, None),
        (&["mon-sat 00:00-24:00"], "2026-12-01T12:00:00Z", None, Some("2026-12-05T23:00:00Z")),
    ] {
        let calendar = calendar("Europe/Berlin", hours, &[]);
        let found = (calendar.opens(utc(now)), calendar.closes(utc(now)));
        assert_eq!(found, (opens.map(utc), closes.map(utc)), "{hours:?} at {now}");
    }
}

#[test]
fn hours_at_the_changes_of_the_clock() {
    for (zone, hours, before, opens, closes) in [
        // Left out, so it begins at the change.
        ("Europe/Berlin", "02:30-05:00", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"),
        ("Europe/Berlin", "22:00-02:30", "2026-03-28T12:00:00Z", "2026-03-28T21:00:00Z", "2026-03-29T01:00:00Z"),
        // Left out from its beginning to its end: the next day's.
        ("Europe/Berlin", "02:15-02:45", "2026-03-28T12:00:00Z", "2026-03-30T00:15:00Z", "2026-03-30T00:45:00Z"),
        // Twice, so it begins and ends the first time.
        ("Europe/Berlin", "02:15-02:45", "2026-10-24T12:00:00Z", "2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z"),
        ("Europe/Berlin", "02:45-03:15", "2026-10-24T12:00:00Z", "2026-10-25T00:45:00Z", "2026-10-25T02:15:00Z"),
        // The clock is set back when it would show 03:00, and shows it an hour later.
        ("Europe/Berlin", "02:45-03:00", "2026-10-24T12:00:00Z", "2026-10-25T00:45:00Z", "2026-10-25T02:00:00Z"),
        ("Europe/Berlin", "08:00-18:00", "2026-10-24T22:00:00Z", "2026-10-25T07:00:00Z", "2026-10-25T17:00:00Z"),
        ("America/New_York", "02:30-05:00", "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z", "2026-03-08T09:00:00Z"),
        ("America/New_York", "01:30-05:00", "2026-11-01T00:00:00Z", "2026-11-01T05:30:00Z", "2026-11-01T10:00:00Z"),
        ("Asia/Kathmandu", "02:30-05:00", "2026-03-28T12:00:00Z", "2026-03-28T20:45:00Z", "2026-03-28T23:15:00Z"),
    ] {
        let calendar = calendar(zone, &[hours], &[]);
        assert_eq!(calendar.opens(utc(before)), Some(utc(opens)), "{hours} in {zone}");
        assert_eq!(calendar.closes(utc(opens)), Some(utc(closes)), "{hours} in {zone}");
        assert_eq!(calendar.closes(utc(closes) - 1), Some(utc(closes)), "{hours} in {zone}");
    }
}

#[test]
fn fixed_times_at_the_changes_of_the_clock() {
    for (zone, time, now, expected) in [
        ("Europe/Berlin", "02:30", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "02:30", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
        ("Europe/Berlin", "02:30", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        // The clock shows it again an hour later.
        ("Europe/Berlin", "02:30", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("Europe/Berlin", "02:30", "2026-10-25T01:29:59Z", "2026-10-26T01:30:00Z"),
        ("Europe/Berlin", "sun 09:00", "2026-10-18T07:00:00Z", "2026-10-25T08:00:00Z"),
        ("America/New_York", "02:00", "2026-03-08T00:00:00Z", "2026-03-08T07:00:00Z"),
        ("America/New_York", "01:00", "2026-11-01T00:00:00Z", "2026-11-01T05:00:00Z"),
        ("America/New_York", "01:00", "2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"),
        ("Asia/Kathmandu", "mon-fri 17:30", "2026-12-04T11:45:00Z", "2026-12-07T11:45:00Z"),
    ] {
        let calendar = calendar(zone, &[], &[time]);
        assert_eq!(calendar.next_time(utc(now)), Some(utc(expected)), "{time} in {zone} after {now}");
    }
    assert_eq!(calendar("Asia/Kathmandu", &[], &[]).next_time(0), None);
}

/// A calendar without offsets is UTC's, and no time is beyond its arithmetic.
#[test]
fn every_time_has_an_answer() {
    let utc_only = Calendar { zone: Zone::default(), ..calendar("Asia/Kathmandu", &["08:00-09:00"], &["09:00"]) };
    assert_eq!(utc_only.opens(utc("2026-12-01T00:00:00Z")), Some(utc("2026-12-01T08:00:00Z")));
    for calendar in [utc_only, calendar("Europe/Berlin", &["08:00-09:00"], &["09:00"])] {
        for now in [Ms::MIN, -1, 0, Ms::MAX] {
            let _ = (calendar.opens(now), calendar.closes(now), calendar.next_time(now));
        }
    }
}

fn days() -> impl Strategy<Value = Days> {
    (1..=Days::ALL.0).prop_map(Days)
}

fn hours() -> impl Strategy<Value = Hours> {
    (days(), 0..DAY_MINUTES, 1..=DAY_MINUTES)
        .prop_map(|(days, begin, long)| Hours { days, begin, end: begin + long })
        .prop_filter("a day and its beginning", |hours| hours.end != hours.begin + DAY_MINUTES || hours.begin == 0)
}

fn times() -> impl Strategy<Value = Times> {
    (days(), 0..DAY_MINUTES).prop_map(|(days, at)| Times { days, at })
}

fn known_zone() -> impl Strategy<Value = Zone> {
    prop::sample::select(vec!["Europe/Berlin", "America/New_York", "Asia/Kathmandu"]).prop_map(zone)
}

/// Zones that change as no zone does: by up to a day, within a month.
fn any_zone() -> impl Strategy<Value = Zone> {
    prop::collection::vec((0..30 * DAY, -43_200..=50_400_i32), 0..4).prop_map(Zone::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn texts_are_read_back(hours in hours(), times in times()) {
        prop_assert_eq!(hours.to_string().parse(), Ok(hours));
        prop_assert_eq!(times.to_string().parse(), Ok(times));
    }

    #[test]
    fn the_calendar_is_open_when_it_opens(
        zone in any_zone(),
        hours in prop::collection::vec(hours(), 1..4),
        now in -DAY..31 * DAY,
    ) {
        let calendar = Calendar { zone, hours, times: Vec::new() };
        match calendar.opens(now) {
            Some(opens) => {
                prop_assert!(opens > now);
                prop_assert_eq!(calendar.opens(opens), None);
                prop_assert_eq!(calendar.opens(opens - 1), Some(opens), "it opens then and not before");
                prop_assert_eq!(calendar.closes(now), None);
            }
            None => if let Some(closes) = calendar.closes(now) {
                prop_assert!(closes > now);
                prop_assert!(calendar.opens(closes).is_some());
                prop_assert_eq!(calendar.opens(closes - 1), None);
            }
        }
    }

    #[test]
    fn the_next_time_is_later(zone in any_zone(), times in prop::collection::vec(times(), 1..4), now in -DAY..31 * DAY) {
        let calendar = Calendar { zone, hours: Vec::new(), times };
        let next = calendar.next_time(now).unwrap();
        prop_assert!(next > now);
        prop_assert_eq!(calendar.next_time(next - 1), Some(next));
    }

    /// From one to the next through a year and a day.
    #[test]
    fn a_fixed_time_occurs_once_on_each_of_its_days(zone in known_zone(), times in times()) {
        let calendar = Calendar { zone, hours: Vec::new(), times: vec![times] };
        let from = utc("2026-01-01T00:00:00Z").div_euclid(DAY);
        let expected: Vec<Ms> = (from..from + 366).filter(|day| times.days.has(*day)).collect();
        let mut found = Vec::new();
        let mut now = calendar.moment(from, 0) - 1;
        while let Some(next) = calendar.next_time(now).filter(|next| calendar.day(*next) < from + 366) {
            found.push(calendar.day(next));
            now = next;
        }
        prop_assert_eq!(found, expected);
    }
}

/// Minute by minute through the days of the changes: open exactly in the periods, and `opens` is the next of them.
#[test]
fn hours_minute_by_minute() {
    for (zone, from) in [
        ("Europe/Berlin", "2026-03-28T00:00:00Z"),
        ("Europe/Berlin", "2026-10-24T00:00:00Z"),
        ("America/New_York", "2026-03-07T00:00:00Z"),
        ("America/New_York", "2026-10-31T00:00:00Z"),
    ] {
        let calendar = calendar(zone, &["00:30-01:30", "02:10-02:20", "sun 02:30-04:00", "sat 23:00-01:00"], &[]);
        let mut next = None;
        for minute in (0..3 * 24 * 60).rev() {
            let now = utc(from) + minute * MINUTE;
            let opens = calendar.opens(now);
            match (opens, next) {
                (None, _) => next = Some(now),
                (Some(opens), Some(next)) => assert_eq!(opens, next, "{zone} at {now}"),
                (Some(opens), None) => assert!(opens >= utc(from) + 72 * HOUR - MINUTE, "{zone} at {now}"),
            }
        }
    }
}
