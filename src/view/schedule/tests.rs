//! Tests the sentences about agents in each state.

use super::*;
use crate::config::profile::Profile;
use crate::policy::cadence::CadenceState;
use crate::policy::decision::State;
use crate::policy::documents::{Begun, Phase, SessionState};
use crate::policy::hold::Hold;
use crate::policy::process::Process;
use crate::policy::rest::{Rest, RestKind};
use crate::policy::rhythm::Counted;

const NOW: Ms = 1_800_000_000_000;
const MIN: Ms = 60_000;
const HOUR: Ms = 60 * MIN;

/// A profile with reflections, dreams, hours of 24 hours from now minus one, and a fixed time in an hour and a half.
fn config(change: impl FnOnce(&mut Cadence)) -> Config {
    let mut profile = Profile::plain("even");
    profile.cadence = Cadence { reflect_every: 3, dreams: Dreams::On, ..profile.cadence };
    change(&mut profile.cadence);
    let mut config = Config::default();
    config.profiles.insert("even".to_owned(), profile);
    config.agents.insert("echo".to_owned(), "even".to_owned());
    config
}

/// A session for which an engine waits on another machine.
fn waits(kind: RestKind, until: Option<Ms>) -> SessionState {
    let rest = Rest { kind, since: NOW - MIN, until, topic: "the build".to_owned(), id: 0 };
    SessionState {
        scope: "echo".to_owned(),
        fence: Some(7),
        begun: Some(Begun { at: NOW - MIN, id: "stop".to_owned() }),
        last_reason: kind.code().to_owned(),
        rest: Some(rest),
        seen: NOW - MIN,
        pid: Some(Process::numbered(7)),
        host: "elsewhere".to_owned(),
        ..SessionState::default()
    }
}

fn sentences(config: &Config, session: SessionState) -> String {
    let state = State { session, ..State::default() };
    sentences_of(config, &state)
}

fn sentences_of(config: &Config, state: &State) -> String {
    let row = Row::of(config, "echo", state, NOW, false);
    Schedule::of(config, &row, NOW).sentences().join("\n")
}

#[test]
fn the_state_its_end_and_its_reason() {
    let config = config(|_| {});
    let clock = |at| format!("{}, in {}", local_time::clock(at, NOW), local_time::left(at, NOW));
    let at = NOW + 12 * MIN;
    let idle = SessionState { idle: 2, ..waits(RestKind::Idle, Some(at)) };
    let prompted = Some(Begun { at: NOW, id: String::new() });
    let dream = CadenceState { kind: TurnKind::Dream, ..CadenceState::default() };
    let runs = SessionState { last_reason: "admitted".to_owned(), rest: None, ..idle.clone() };
    for (session, expected) in [
        (idle.clone(), format!("rests until {} (its last 2 turns did nothing new)", clock(at))),
        (waits(RestKind::Rest, Some(at)), format!("rests until {} (it named the time of its next check)", clock(at))),
        (waits(RestKind::NoWork, None), "rests until a wake-up (its work queue has no entry for it)".to_owned()),
        (waits(RestKind::Done, None), "rests until a wake-up (it reported that it is done)".to_owned()),
        (waits(RestKind::WaitFor, None), "waits until a wake-up (it waits for the build)".to_owned()),
        (waits(RestKind::Blocked, None), "waits until a wake-up (it is blocked: the build)".to_owned()),
        (SessionState { begun: prompted, ..idle.clone() }, "is in a turn.".to_owned()),
        (SessionState { cadence: dream, ..runs }, "is in a turn (a dream).".to_owned()),
        (SessionState { phase: Phase::Ended, ..idle.clone() }, "has ended.".to_owned()),
        (
            SessionState { pid: None, ..idle.clone() },
            "is stopped until you type in it (idle, and no engine waits for it)".to_owned(),
        ),
        (
            SessionState { needs_you: true, ..idle.clone() },
            "waits until you answer it (a permission dialog is open)".to_owned(),
        ),
    ] {
        let shown = sentences(&config, session);
        assert!(shown.starts_with(&format!("echo (even) {expected}")), "{expected}\n{shown}");
    }
    let hold = Hold { reason: "deploy".to_owned(), by: "ann".to_owned(), since: 1, until: None, id: 0 };
    let mut state = State { session: idle, ..State::default() };
    state.scope.hold = Some(hold);
    let shown = sentences_of(&config, &state);
    assert!(shown.starts_with("echo (even) is held until the hold is released (by ann: deploy)."), "{shown}");
    let nameless = sentences(&Config::default(), waits(RestKind::Done, None));
    let unmeasured = "Mood: unknown (no turn of the last day was measured).";
    assert_eq!(
        nameless,
        format!("echo (no profile) rests until a wake-up (it reported that it is done).\n{unmeasured}")
    );
}

#[test]
fn reflections_and_dreams() {
    let config = config(|_| {});
    let with = |change: &dyn Fn(&mut SessionState)| {
        let mut session = waits(RestKind::Idle, Some(NOW + MIN));
        change(&mut session);
        sentences(&config, session)
    };
    let due = |s: &mut SessionState| (s.cadence.cycles, s.cadence.reflections) = (3, 1);
    assert!(with(&due).contains("; then a reflection on itself.\n"), "{}", with(&due));
    let called = with(&|s| {
        due(s);
        s.note = "look".to_owned();
    });
    assert!(called.contains("Due: a reflection on itself. It is the next turn that no work"), "{called}");
    assert!(!called.contains("; then"), "{called}");
    let mut session = SessionState { work_mode: WorkMode::Required, ..waits(RestKind::NoWork, None) };
    due(&mut session);
    let shown = sentences(&config, session);
    assert!(shown.contains("\nIt neither reflects nor dreams, because work is required.\nMood: "), "{shown}");
    let left = with(&|s| s.cadence.cycles = 1);
    assert!(left.contains("\nAfter 2 more cycles: a reflection on its last cycles.\n"), "{left}");
    let soon = with(&|s| s.cadence.since_dream = 5);
    assert!(soon.contains("Dreams: 0 of 6 in the last day; the next one after 4 more turns, before a rest of 30m or"));
    let many = with(&|s| s.cadence.dreams = (0..7).map(|n| NOW - n * HOUR).collect());
    let again = local_time::clock(NOW + 19 * HOUR, NOW);
    assert!(many.contains(&format!("Dreams: 7 of 6 in the last day; no other before {again}.")), "{many}");
    let mood = with(&|s| (0..9).for_each(|_| s.rhythm.note(Counted::Worked, NOW)));
    assert!(mood.ends_with("\nMood: focused (9 of 9 turns of the last day worked)."), "{mood}");
}

#[test]
fn the_calendar() {
    // 08:00 UTC on a Friday.
    let config = config(|cadence| {
        cadence.calendar.hours = vec!["mon-fri 07:00-10:00".parse().unwrap()];
        cadence.calendar.times = vec!["09:30".parse().unwrap()];
    });
    let clock = |at| local_time::clock(at, NOW);
    let shown = sentences(&config, waits(RestKind::Idle, Some(NOW + 90 * MIN)));
    let (ends, begins) = (NOW + 2 * HOUR, NOW + 71 * HOUR);
    let hours = format!("Its working hours end at {}, and begin again at {}.", clock(ends), clock(begins));
    assert!(shown.contains(&hours), "{shown}");
    assert!(shown.contains(&format!("when it is idle, is {}.", clock(NOW + 90 * MIN))), "{shown}");
    // The rest ends outside the hours.
    let shown = sentences(&config, waits(RestKind::Rest, Some(NOW + 3 * HOUR)));
    let then = format!("next check), and then outside its working hours until {}", clock(begins));
    assert!(shown.contains(&then), "{shown}");
    let off = waits(RestKind::OffHours, Some(begins));
    assert!(sentences(&config, off).contains("(outside its working hours)"));
}
