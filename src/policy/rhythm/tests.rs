use proptest::prelude::*;

use super::Counted::{Empty, Failed, Looked, Reflect, Worked};
use super::*;

const NOW: Ms = 1_800_014_400_000;
const MINUTE: Ms = 60_000;
const HOUR: Ms = 60 * MINUTE;

/// Turns every so many minutes from one hour of the day to another, their classes in turn.
fn turns(from: f64, to: f64, minutes: Ms, classes: &[Counted]) -> Vec<(Ms, Counted)> {
    let at = |hour: f64| NOW - 24 * HOUR + (hour * HOUR as f64) as Ms;
    let times = (0..).map(|nth| at(from) + nth * minutes * MINUTE).take_while(|time| *time < at(to));
    times.zip(classes.iter().copied().cycle()).collect()
}

fn rhythm(day: &[Vec<(Ms, Counted)>]) -> Rhythm {
    let mut all = day.concat();
    all.sort_by_key(|(at, _)| *at);
    let mut rhythm = Rhythm::default();
    for (at, class) in all {
        rhythm.note(class, at);
    }
    rhythm
}

#[test]
fn days() {
    let reflecting = [Worked, Worked, Worked, Worked, Reflect];
    for (day, recorded, word, reason) in [
        (
            "a busy day, with every fifth turn a reflection",
            vec![turns(8.0, 20.0, 12, &reflecting)],
            "focused",
            "48 of 60 turns of the last day worked",
        ),
        (
            "a night of polling after an afternoon of work",
            vec![turns(12.0, 18.0, 20, &[Worked]), turns(18.0, 24.0, 5, &[Looked])],
            "watchful",
            "72 of 90 turns of the last day polled",
        ),
        (
            "an idle Sunday of rests that grow longer",
            vec![turns(0.0, 2.0, 30, &[Empty]), turns(2.0, 24.0, 120, &[Empty, Empty, Looked])],
            "drowsy",
            "12 of 15 turns of the last day did nothing",
        ),
        (
            "an outage from noon on, each retry an hour after the last",
            vec![turns(0.0, 12.0, 40, &[Worked]), turns(12.0, 24.0, 60, &[Failed])],
            "troubled",
            "12 of 30 turns of the last day ended in an API error",
        ),
        (
            "a short outage in a day of work",
            vec![turns(0.0, 24.0, 30, &[Worked]), turns(12.0, 13.0, 10, &[Failed])],
            "focused",
            "48 of 54 turns of the last day worked",
        ),
        (
            "work between checks of a build",
            vec![turns(6.0, 22.0, 15, &[Worked, Looked])],
            "steady",
            "32 of 64 turns of the last day worked",
        ),
        (
            "a day of dreams while the work is blocked",
            vec![turns(0.0, 24.0, 240, &[Reflect]), turns(1.0, 24.0, 240, &[Empty])],
            "reflective",
            "6 of 12 turns of the last day reflected",
        ),
        ("a day in the rest of a holiday", vec![turns(0.0, 24.0, 480, &[Empty])], "quiet", "3 turns in the last day"),
        ("the first turn of a session", vec![turns(23.0, 24.0, 60, &[Worked])], "quiet", "1 turn in the last day"),
        ("a day without a turn", vec![], "unknown", "no turn of the last day was measured"),
    ] {
        let rhythm = rhythm(&recorded);
        assert_eq!((rhythm.mood(NOW).word(), &*rhythm.reason(NOW)), (word, reason), "{day}");
    }
}

#[test]
fn a_day_is_forgotten_after_it() {
    let mut rhythm = Rhythm::default();
    let begin = NOW.div_euclid(PERIOD) * PERIOD;
    rhythm.note(Worked, begin);
    rhythm.note(Failed, begin + PERIOD);
    for (later, worked, failed) in [(0, 1, 1), (4 * PERIOD, 1, 1), (5 * PERIOD, 0, 1), (6 * PERIOD, 0, 0)] {
        let shares = rhythm.shares(begin + later);
        assert_eq!((shares.worked, shares.failed), (worked, failed), "after {later}");
    }
    rhythm.note(Reflect, begin + 100 * PERIOD);
    assert_eq!(rhythm.shares(begin + 100 * PERIOD), Shares { reflect: 1, ..Shares::default() });
}

#[test]
fn a_clock_that_is_set_back() {
    let mut rhythm = rhythm(&[turns(0.0, 24.0, 60, &[Worked])]);
    let all = |rhythm: &Rhythm, now| rhythm.shares(now).worked;
    assert_eq!(all(&rhythm, NOW), 24);
    let earlier = NOW - PERIOD - 1;
    rhythm.note(Worked, earlier);
    assert_eq!((all(&rhythm, earlier), all(&rhythm, NOW)), (25, 25), "by one period, it counts on");
    assert_eq!(all(&rhythm, NOW - 48 * HOUR), 0);
    rhythm.note(Worked, NOW - 48 * HOUR);
    assert_eq!((all(&rhythm, NOW - 48 * HOUR), all(&rhythm, NOW)), (1, 0), "by more, it begins anew");
}

#[test]
fn a_full_rhythm_is_short() {
    let mut rhythm = Rhythm::default();
    assert!(rhythm.is_empty());
    for period in 0..10 {
        for class in Counted::ALL {
            for _ in 0..MOST + 10 {
                rhythm.note(class, NOW + period * PERIOD);
            }
        }
    }
    let text = serde_json::to_string(&rhythm).unwrap();
    assert!(text.len() <= 120, "{} bytes: {text}", text.len());
    assert_eq!(rhythm.shares(NOW + 9 * PERIOD).all(), 25 * MOST);
    let mut first = Rhythm::default();
    first.note(Counted::of(Worth::Worked).unwrap(), NOW);
    assert_eq!(serde_json::to_string(&first).unwrap(), r#"{"at":83334,"n":[1]}"#);
    assert_eq!([Worth::Looked, Worth::Empty, Worth::Unknown].map(Counted::of), [Some(Looked), Some(Empty), None]);
}

/// Fields of a newer program are ignored here, and the stores carry them over. Numbers that no program wrote are bounded.
#[test]
fn foreign_documents_are_read() {
    let text = r#"{"at":83334,"n":[4000000000,0,7,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,9,9],"x":{"y":1}}"#;
    let rhythm: Rhythm = serde_json::from_str(text).unwrap();
    assert_eq!(rhythm.shares(NOW), Shares { worked: MOST, empty: 7, ..Shares::default() });
    let empty: Rhythm = serde_json::from_str("{}").unwrap();
    assert_eq!(empty, Rhythm::default());
    for at in [Ms::MIN, Ms::MAX] {
        let mut far: Rhythm = serde_json::from_str(&format!(r#"{{"at":{at},"n":[1]}}"#)).unwrap();
        assert_eq!(far.mood(NOW), Mood::Unknown);
        for now in [Ms::MIN, NOW, Ms::MAX] {
            far.note(Worked, now);
            assert_eq!(far.shares(now).worked, 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_count_exceeds_the_turns_of_its_day(
        steps in prop::collection::vec((0..8 * HOUR, prop::sample::select(Counted::ALL.to_vec())), 0..60),
        later in 0..40 * HOUR,
    ) {
        let (mut now, mut rhythm, mut noted) = (NOW, Rhythm::default(), Vec::new());
        for (step, class) in steps {
            now += step;
            rhythm.note(class, now);
            noted.push((now, class));
        }
        now += later;
        let within = |class, age| noted.iter().filter(|(at, c)| *c == class && *at > now - age).count() as u32;
        let shares = rhythm.shares(now);
        let counts = [shares.worked, shares.looked, shares.empty, shares.reflect, shares.failed];
        for (class, count) in Counted::ALL.into_iter().zip(counts) {
            prop_assert!((within(class, 24 * HOUR)..=within(class, 30 * HOUR)).contains(&count), "{:?}", class);
        }
        let text = serde_json::to_string(&rhythm).unwrap();
        prop_assert_eq!(serde_json::from_str::<Rhythm>(&text).unwrap(), rhythm);
    }

    /// A mood exists for all counts, its reason is a text with them, and only no turn at all is unknown.
    #[test]
    fn every_day_has_a_mood(counts in prop::collection::vec(0..12_u32, 0..25)) {
        let rhythm = Rhythm { at: NOW.div_euclid(PERIOD), counts };
        let all = rhythm.shares(NOW).all();
        prop_assert_eq!(rhythm.mood(NOW) == Mood::Unknown, all == 0);
        prop_assert!(!rhythm.mood(NOW).word().is_empty());
        prop_assert!(all == 0 || rhythm.reason(NOW).contains(&all.to_string()));
    }
}
