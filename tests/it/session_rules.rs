//! The client process that a session belongs to, and its wake-ups, in single steps.

use std::time::Duration;

use frosty::policy::decision::{self, State};
use frosty::policy::documents::{Phase, SessionState};
use frosty::policy::limits::Policy;
use frosty::policy::merge::{self, Clocks};
use frosty::policy::process::{Birth, Process};
use frosty::policy::request::{Claim, Event, RestRequest, RunOutcome, RunPart, Step};
use frosty::policy::rest::RestKind;
use frosty::policy::verdict::Reason;

use crate::support::{T0, policy, step, stop_step};

fn born(start: u64) -> Process {
    Process { pid: 1, birth: Some(Birth { start, namespace: 9 }) }
}

/// A session of the process that began at 5, on the machine `host`, in a window with the label `window`.
fn owned() -> State {
    let session = SessionState {
        client: Some(born(5)),
        host: "host".to_owned(),
        scope: "scope".to_owned(),
        label: "window".to_owned(),
        fence: Some(1),
        seen: T0 - 60_000,
        ..SessionState::default()
    };
    State { session, ..State::default() }
}

#[test]
fn an_event_of_another_process_takes_the_session_over_or_stays_beside_it() {
    let policy = policy(|p| (p.stop.min_interval, p.stop.burst) = (Duration::ZERO, None));
    let (own, other, numbered) = (Some(born(5)), Some(born(6)), Some(Process::numbered(1)));
    let stop = Event::Stop { rest: None };
    let ask = Event::Ask { fence: 1, renew: false };
    for (name, event, client, claim, host, reason, owner, label) in [
        ("the same process", stop.clone(), own, Claim::Yield, "host", "admitted", own, "window"),
        ("the same process, by its number", stop.clone(), numbered, Claim::Yield, "host", "admitted", own, "window"),
        ("a process that is not known", stop.clone(), None, Claim::Yield, "host", "admitted", own, "window"),
        ("another process here", stop.clone(), other, Claim::Yield, "host", "contested", own, "window"),
        ("another process beside it", stop.clone(), other, Claim::Beside, "host", "superseded", own, "window"),
        ("another process that takes it", stop.clone(), other, Claim::Take, "host", "admitted", other, ""),
        ("the same numbers elsewhere", stop.clone(), own, Claim::Yield, "far", "admitted", own, ""),
        ("a turn elsewhere", stop, other, Claim::Yield, "far", "admitted", other, ""),
        ("the waiting engine's own request", ask, other, Claim::Yield, "host", "admitted", own, "window"),
        ("a window that closes elsewhere", Event::SessionEnd, other, Claim::Yield, "far", "event", own, "window"),
        ("a prompt here", Event::PersonPrompt, other, Claim::Take, "host", "event", other, ""),
        ("its own end", Event::SessionEnd, own, Claim::Yield, "host", "event", None, "window"),
    ] {
        let mut state = owned();
        let ask = Step { client, claim, host: host.to_owned(), host_ms: T0, ..step(event) };
        let decided = decision::step(&policy, &mut state, &ask, T0);
        let found = (decided.reason.code(), state.session.client, state.session.label.as_str());
        assert_eq!(found, (reason, owner, label), "{name}");
        assert_eq!(state.session.phase == Phase::Ended, owner.is_none(), "{name}");
        // The caller looks whether this process runs, and a superseded engine learns of the newer fence.
        assert_eq!(decided.client, (reason == "contested").then_some(born(5)), "{name}");
        assert!(reason != "superseded" || decided.fence == Some(1), "{name}");
    }
}

/// The next event of the process names it more exactly, and that of an open session does not move it.
#[test]
fn more_exact_data_of_the_same_process_is_kept() {
    let mut state = owned();
    state.session.client = Some(Process::numbered(1));
    let exact = Step { client: Some(born(5)), ..stop_step() };
    decision::step(&policy(|_| ()), &mut state, &exact, T0);
    assert_eq!(state.session.client, Some(born(5)));
}

fn wake(signal: Option<&str>) -> Step {
    step(Event::Wake { note: "look".to_owned(), spread: true, signal: signal.map(str::to_owned), depth: 0 })
}

/// A signal that does not wake changes the notes and nothing else, above all no release slot.
#[test]
fn a_kept_note_changes_nothing_but_the_notes() {
    let policy = Policy::default();
    let mut state = State::default();
    let stop = Step { wake_on: Some(vec!["urgent".to_owned()]), ..stop_step() };
    decision::step(&policy, &mut state, &stop, T0);
    state.session.slot = Some(T0 + 500);
    let before = state.clone();
    let decided = decision::step(&policy, &mut state, &wake(Some("ping")), T0 + 1);
    assert_eq!((decided.reason, decided.fence), (Reason::NoteKept, before.session.fence));
    let session = SessionState { note: "ping: look".to_owned(), ..before.session.clone() };
    assert_eq!(state, State { session, ..before.clone() });
    for signal in [None, Some("urgent")] {
        let mut state = before.clone();
        assert_eq!(decision::step(&policy, &mut state, &wake(signal), T0 + 1).reason, Reason::Event);
        assert!(state.session.woken && state.session.slot == Some(0));
    }
    // A Stop event without a list removes the list of the one before.
    decision::step(&policy, &mut state, &stop_step(), T0 + 2);
    assert_eq!(state.session.wake_on, None);
}

/// A note that was kept in an outage reaches the server without waking, and the list stays.
#[test]
fn a_merge_brings_a_kept_note_along() {
    let base =
        SessionState { fence: Some(7), seen: T0, wake_on: Some(vec!["urgent".to_owned()]), ..SessionState::default() };
    let clocks = Clocks { here: T0 + 9_000, there: T0 };
    let policy = Policy::default();
    for (signal, is_woken) in [("ping", false), ("urgent", true)] {
        let mut here = State { session: base.clone(), ..State::default() };
        decision::step(&policy, &mut here, &wake(Some(signal)), T0 + 5_000);
        let merged = merge::session(Some(&base), &here.session, &base, clocks);
        assert_eq!((merged.woken, merged.note.as_str()), (is_woken, &*format!("{signal}: look")));
        assert_eq!(merged.wake_on, base.wake_on);
    }
}

/// The depth of the notes bounds how far agents pass messages on.
#[test]
fn a_turn_has_the_depth_of_its_deepest_note() {
    let (policy, mut state) = (Policy::default(), State::default());
    let mut tell = |at, event| {
        decision::step(&policy, &mut state, &step(event), T0 + at);
        (state.session.note_depth, state.session.given_depth)
    };
    let wake = |depth| Event::Wake { note: format!("of depth {depth}"), spread: false, signal: None, depth };
    assert_eq!([tell(0, wake(2)), tell(1, wake(1))], [(2, 0), (2, 0)]);
    assert_eq!(tell(2, Event::Stop { rest: None }), (0, 2));
    // A prompt that the client delivers again has the notes of the one before, whose answer may have been lost.
    tell(3, wake(1));
    let fence = T0;
    assert_eq!(tell(60_000, Event::Ask { fence, renew: false }), (0, 2));
    tell(60_001, wake(3));
    assert_eq!(tell(120_000, Event::Ask { fence, renew: false }), (0, 3));
    assert_eq!(tell(120_001, Event::PersonPrompt), (0, 0));
}

/// Only what the client process does itself moves its session to another scope.
#[test]
fn a_session_is_in_the_scope_of_its_last_turn() {
    for (event, moves) in [
        (Event::Stop { rest: None }, true),
        (Event::PersonPrompt, true),
        (Event::Ask { fence: 1, renew: false }, true),
        (Event::SessionEnd, true),
        (Event::NeedsYou, false),
        (Event::PreCompactAuto, false),
        (Event::SessionStart { label: "other".to_owned() }, false),
    ] {
        let mut state = owned();
        let ask = Step { scope: "other".to_owned(), ..step(event.clone()) };
        decision::step(&Policy::default(), &mut state, &ask, T0);
        let found = (state.session.scope.as_str(), state.session.label.as_str());
        assert_eq!(found, (if moves { "other" } else { "scope" }, "window"), "{event:?}");
    }
    let mut state = owned();
    let start = Event::SessionStart { label: "renamed".to_owned() };
    decision::step(&Policy::default(), &mut state, &Step { name: "name".to_owned(), ..step(start) }, T0);
    assert_eq!((state.session.label.as_str(), state.session.name.as_str()), ("renamed", "name"), "in its own scope");
    for phase in [Phase::Ended, Phase::Asleep, Phase::Expired, Phase::Open] {
        let mut state = owned();
        state.session.phase = phase;
        let ask = Step { scope: "other".to_owned(), ..step(Event::SessionStart { label: "other".to_owned() }) };
        decision::step(&Policy::default(), &mut state, &ask, T0);
        assert_eq!(state.session.scope == "other", phase.is_over(), "{phase:?}");
    }
}

/// The first prompt, and each tenth, names the directives.
#[test]
fn each_tenth_continuation_is_told_of_the_directives() {
    let policy = policy(|p| (p.stop.min_interval, p.stop.burst, p.idle) = (Duration::ZERO, None, None));
    let mut state = State::default();
    let briefed: Vec<bool> =
        (0..12).map(|n| decision::step(&policy, &mut state, &stop_step(), T0 + n * 60_000).briefed).collect();
    let unbriefed: Vec<usize> = (1..).zip(briefed).filter(|(_, briefed)| !briefed).map(|(nth, _)| nth).collect();
    assert_eq!(unbriefed, [1, 10]);
}

/// A process in an agent's session is no gate, whatever it reports.
#[test]
fn only_a_session_of_a_gate_has_runs() {
    let agents = owned().session;
    let gates = SessionState { gate: true, ..owned().session };
    for (session, reason) in [(SessionState::default(), "event"), (gates, "event"), (agents, "superseded")] {
        let mut state = State { session, ..State::default() };
        let run = step(Event::Run { fence: 1, part: RunPart::Alive });
        assert_eq!(decision::step(&Policy::default(), &mut state, &run, T0).reason.code(), reason);
        assert_eq!(state.session.gate, reason == "event");
    }
    let rest = RestRequest { kind: RestKind::Rest, lasting: Some(Duration::from_secs(5)), topic: String::new() };
    for (rest, is_gate) in [(None, true), (Some(rest), false)] {
        let mut state = State::default();
        decision::step(&Policy::default(), &mut state, &step(Event::Resume { fence: None, rest }), T0);
        assert_eq!(state.session.gate, is_gate);
    }
}

#[test]
fn a_gate_rests_longer_from_failure_to_failure() {
    let mut state = State::default();
    let mut ends = |at: i64, outcome| {
        let run = step(Event::Run { fence: i64::MAX, part: RunPart::End(outcome) });
        decision::step(&Policy::default(), &mut state, &run, T0 + at);
        let rest = state.session.rest.as_ref().and_then(|rest| rest.until).map(|until| (until - T0) / 1000);
        (state.session.failures, rest, state.session.client)
    };
    assert_eq!(ends(0, RunOutcome::Failed), (1, Some(60), None));
    assert_eq!(ends(1000, RunOutcome::None), (1, Some(60), None));
    assert_eq!(ends(2000, RunOutcome::Failed), (2, Some(122), None));
    assert_eq!(ends(3000, RunOutcome::Succeeded), (0, Some(122), None));
    assert_eq!(ends(4000, RunOutcome::Failed), (1, Some(122), None), "a longer rest stays");
}

/// The requester sends what it keeps of the store before anything is decided.
#[test]
fn a_store_with_another_epoch_names_it() {
    let mut state = owned();
    state.fleet.store_epoch = "new".to_owned();
    for (known, reason) in [("old", "lost"), ("new", "min_interval")] {
        let ask = Step { known_epoch: known.to_owned(), ..stop_step() };
        let decided = decision::step(&Policy::default(), &mut state, &ask, T0);
        assert_eq!((decided.reason.code(), decided.store_epoch.as_str()), (reason, "new"));
        assert_eq!(state.fleet.lost, Some(T0));
    }
}

#[test]
fn a_resume_whose_answer_was_lost_is_known_by_its_id() {
    let mut state = owned();
    for (id, at, expected) in
        [("one", 0, ("admitted", false)), ("one", 500, ("admitted", true)), ("two", 600, ("superseded", false))]
    {
        let resume = Step { id: id.to_owned(), ..step(Event::Resume { fence: Some(1), rest: None }) };
        let decided = decision::step(&Policy::default(), &mut state, &resume, T0 + at);
        assert_eq!((decided.reason.code(), decided.repeated), expected, "{id} {at}");
    }
}
