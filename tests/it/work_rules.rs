//! The rule of work in single steps: what became of the entry that a session had in hand, and the rests that work ends.

use std::time::Duration;

use frosty::policy::decision::{self, State};
use frosty::policy::documents::SessionState;
use frosty::policy::limits::{Ms, Policy};
use frosty::policy::process::Process;
use frosty::policy::request::{Claim, Event, Failure, FailureClass, Reset, RestRequest, Step};
use frosty::policy::rest::RestKind;
use frosty::policy::verdict::{Decision, Outcome, Reason};
use frosty::policy::work::entry::WorkEntry;
use frosty::policy::work::queue::InHand;
use frosty::policy::work::{Claimed, Start, WorkMode, WorkState};

use crate::support::{T0, policy, step};

const S: Ms = 1000;

/// A session of the agent `echo`, and its queue.
struct Story {
    policy: Policy,
    state: State,
}

impl Story {
    fn new(mode: WorkMode) -> Self {
        let policy = policy(|policy| {
            policy.work.mode = mode;
            (policy.idle, policy.stop.burst) = (None, None);
            policy.stop.min_interval = Duration::from_secs(10);
        });
        let work = WorkState { agent: "echo".to_owned(), ..WorkState::default() };
        Self { policy, state: State { work: Some(work), ..State::default() } }
    }

    fn work(&mut self) -> &mut WorkState {
        self.state.work.as_mut().unwrap()
    }

    fn add(&mut self, at: Ms) -> String {
        self.work().add(WorkEntry::default(), None, T0 + at).id
    }

    fn sends(&mut self, at: Ms, step: &Step) -> Decision {
        let step = Step { agent: "echo".to_owned(), host_ms: T0 + at, paced: true, ..step.clone() };
        decision::step(&self.policy, &mut self.state, &step, T0 + at)
    }
}

fn stop(kind: Option<RestKind>) -> Step {
    step(Event::Stop { rest: kind.map(|kind| RestRequest { kind, lasting: None, topic: String::new() }) })
}

fn given(decided: &Decision) -> Option<&str> {
    decided.work.as_ref().map(|given| given.in_hand.entry.id.as_str())
}

#[test]
fn a_done_session_continues_only_with_the_entry_that_ended_its_rest() {
    let mut story = Story::new(WorkMode::Preferred);
    assert_eq!(story.sends(0, &stop(None)).outcome, Outcome::Admit);
    let done = story.sends(S, &stop(Some(RestKind::Done)));
    let ask = |at| Step { id: format!("ask-{at}"), ..step(Event::Ask { fence: done.fence.unwrap(), renew: false }) };
    assert_eq!(done.reason, Reason::Done);
    story.add(2 * S);
    assert_eq!(story.sends(2 * S, &ask(2)).reason, Reason::MinInterval);
    story.work().claim("other", 7, &InHand::default(), T0 + 3 * S).unwrap();
    assert_eq!(story.sends(11 * S, &ask(11)).reason, Reason::Done, "another session has the entry");
    let id = story.add(12 * S);
    let admitted = story.sends(12 * S, &ask(12));
    assert_eq!((admitted.outcome, given(&admitted)), (Outcome::Admit, Some(id.as_str())));
    assert_eq!(story.state.session.rest, None);
}

#[test]
fn a_client_that_resumes_a_session_keeps_its_entry() {
    let mut story = Story::new(WorkMode::Required);
    let id = story.add(0);
    let by = |pid| Step { client: Some(Process::numbered(pid)), claim: Claim::Take, ..stop(None) };
    assert_eq!(given(&story.sends(0, &by(7))), Some(id.as_str()));
    // The first client has ended.
    let claim = story.work().queue.hand[0].claim;
    story.work().seen = vec![(claim, false)];
    let resumed = story.sends(20 * S, &by(8));
    assert_eq!((resumed.outcome, given(&resumed)), (Outcome::Admit, Some(id.as_str())));
    let [in_hand] = &story.work().queue.hand[..] else { panic!("one entry is in hand") };
    assert_eq!((in_hand.claim, in_hand.client, in_hand.entry.attempts), (claim, Some(Process::numbered(8)), 0));
    // So has the second, and its engine still sends.
    story.work().seen = vec![(claim, false)];
    let late = story.sends(40 * S, &Step { client: Some(Process::numbered(8)), ..stop(None) });
    assert_eq!((late.outcome, given(&late)), (Outcome::Admit, Some(id.as_str())), "it is claimed anew");
    let [in_hand] = &story.work().queue.hand[..] else { panic!("one entry is in hand") };
    assert!(in_hand.claim != claim && in_hand.entry.attempts == 1, "{in_hand:?}");
}

#[test]
fn a_repeated_stop_event_gets_no_entry_that_was_taken_back() {
    for mode in [WorkMode::Required, WorkMode::Preferred] {
        let mut story = Story::new(mode);
        let id = story.add(0);
        assert_eq!(given(&story.sends(0, &stop(None))), Some(id.as_str()));
        let again = stop(None);
        assert_eq!(story.sends(S, &again).reason, Reason::MinInterval);
        story.work().drop_entry(&id, T0 + 2 * S).unwrap();
        let decided = story.sends(11 * S, &again);
        assert_eq!((given(&decided), decided.work_end.clone()), (None, format!("{id} was taken back before")));
        assert_eq!(decided.reason, if mode == WorkMode::Required { Reason::NoWork } else { Reason::Admitted });
    }
}

#[test]
fn an_end_that_was_reported_in_an_outage_ends_nothing_later() {
    for end in [RestKind::Done, RestKind::Failed] {
        let mut story = Story::new(WorkMode::Required);
        let id = story.add(0);
        assert_eq!(given(&story.sends(0, &stop(None))), Some(id.as_str()));
        let reported = stop(Some(end));
        let queue = story.state.work.take();
        assert_eq!(story.sends(11 * S, &reported).reason, Reason::Done, "it rests until its queue is known");
        story.state.work = queue;
        let decided = story.sends(22 * S, &reported);
        assert_eq!((decided.work_end.as_str(), given(&decided)), ("", Some(id.as_str())), "it is asked again");
        let decided = story.sends(33 * S, &stop(Some(RestKind::Done)));
        assert_eq!((decided.work_end, decided.reason), (format!("{id} done"), Reason::NoWork));
    }
}

#[test]
fn an_end_whose_answer_was_lost_does_not_end_the_next_entry() {
    let mut story = Story::new(WorkMode::Required);
    let first = story.add(0);
    assert_eq!(given(&story.sends(0, &stop(None))), Some(first.as_str()));
    let second = story.add(S);
    let done = stop(Some(RestKind::Done));
    let decided = story.sends(11 * S, &done);
    assert_eq!(
        (decided.work_end, story.state.session.work.as_ref().unwrap().id.clone()),
        (format!("{first} done"), second.clone())
    );
    // The answer was lost. The words are sent again, as the same event and as one that the store takes for another.
    for again in [done.clone(), Step { id: "another".to_owned(), ..done }] {
        let decided = story.sends(22 * S, &Step { late: Some(Duration::from_secs(11)), ..again });
        assert_eq!((decided.work_end.as_str(), &story.state.session.work.as_ref().unwrap().id), ("", &second));
    }
}

#[test]
fn words_about_an_entry_are_a_rest_where_the_session_claims_none() {
    let mut story = Story::new(WorkMode::Required);
    let id = story.add(0);
    assert_eq!(given(&story.sends(0, &stop(None))), Some(id.as_str()));
    story.policy.work.mode = WorkMode::Off;
    assert_eq!(story.sends(11 * S, &stop(Some(RestKind::Done))).reason, Reason::Done);
    // Nor does an entry of another agent's queue count as its own.
    story.policy.work.mode = WorkMode::Required;
    story.state.work.as_mut().unwrap().agent = "other".to_owned();
    assert_eq!(story.sends(22 * S, &stop(None)).reason, Reason::Done);
    story.state.session.rest = None;
    assert_eq!(story.sends(33 * S, &stop(None)).reason, Reason::NoWork);
}

#[test]
fn a_client_that_begins_another_session_gives_its_entry_back() {
    let mut story = Story::new(WorkMode::Required);
    let id = story.add(0);
    let by = |session: &str| Step {
        session: session.to_owned(),
        client: Some(Process::numbered(7)),
        claim: Claim::Take,
        ..stop(None)
    };
    assert_eq!(given(&story.sends(0, &by("one"))), Some(id.as_str()));
    // Its session ended while nothing could record that.
    story.state.session = SessionState::default();
    let decided = story.sends(11 * S, &by("two"));
    assert_eq!((decided.outcome, given(&decided)), (Outcome::Admit, Some(id.as_str())));
    assert_eq!(decided.work.unwrap().in_hand.entry.attempts, 0);
}

#[test]
fn a_repeated_stop_event_ends_no_further_turn() {
    let mut story = Story::new(WorkMode::Required);
    story.policy.work.max_turns = 2;
    let id = story.add(0);
    assert_eq!(given(&story.sends(0, &stop(None))), Some(id.as_str()));
    let second = stop(None);
    assert_eq!(given(&story.sends(11 * S, &second)), Some(id.as_str()));
    // Its answer was lost, and the admission is too old to be repeated.
    let again = story.sends(22 * S, &second);
    assert_eq!((again.work_end.as_str(), given(&again)), ("", Some(id.as_str())));
}

#[test]
fn the_end_of_a_turn_ends_an_entry_of_such_a_route() {
    for (end, how) in [(None, "done"), (Some(RestKind::Rest), "done"), (Some(RestKind::Failed), "failed: ")] {
        let mut story = Story::new(WorkMode::Required);
        let entry = WorkEntry { ack_turn: true, ..WorkEntry::default() };
        let id = story.work().add(entry, None, T0).id;
        let first = stop(None);
        assert_eq!(given(&story.sends(0, &first)), Some(id.as_str()));
        // The answer was lost, and then a person has a turn.
        assert_eq!(story.sends(S, &Step { late: Some(Duration::from_secs(1)), ..first }).work_end, "");
        story.sends(2 * S, &step(Event::PersonPrompt));
        let kept = story.sends(20 * S, &stop(end.filter(|end| *end != RestKind::Failed)));
        assert_eq!(kept.work_end, "", "{end:?}");
        story.state.session.rest = None;
        story.sends(31 * S, &step(Event::ClientPrompt { of_admission: true }));
        let decided = story.sends(42 * S, &stop(end));
        assert_eq!(decided.work_end, format!("{id} {how}"));
        assert_eq!(
            story.state.session.rest.as_ref().unwrap().kind,
            end.filter(|_| how == "done").unwrap_or(RestKind::NoWork)
        );
    }
    // A program whose admission was lost has not run.
    let mut story = Story::new(WorkMode::Required);
    let entry = WorkEntry { ack_turn: true, ..WorkEntry::default() };
    let id = story.work().add(entry, None, T0).id;
    let run = || {
        let start = Start { token: String::new(), most: 1, first: None };
        Step { session: "run-1".to_owned(), start: Some(Box::new(start)), ..stop(None) }
    };
    assert_eq!(given(&story.sends(0, &run())), Some(id.as_str()));
    let again = story.sends(11 * S, &run());
    assert_eq!((again.work_end.as_str(), given(&again)), ("", Some(id.as_str())));
}

/// A dispatcher's request for the start of a session, which has read that these entries were claimed before.
fn start(session: &str, token: &str, first: [u64; 3]) -> Step {
    let start = Start { token: token.to_owned(), most: 1, first: Some(first) };
    let client = Some(Process::numbered(if session == "start-a" { 9 } else { 10 }));
    Step { session: session.to_owned(), start: Some(Box::new(start)), client, ..stop(None) }
}

#[test]
fn one_session_is_started_however_many_dispatchers_read_the_same_queue() {
    let mut story = Story::new(WorkMode::Required);
    story.policy.stop.min_interval = Duration::ZERO;
    let first = story.add(0);
    story.add(0);
    assert_eq!(given(&story.sends(0, &start("start-a", "one", [0; 3]))), Some(first.as_str()));
    let claimed = story.work().queue.first;
    // The second one has no session of its own to speak of, since each has another document.
    story.state.session = SessionState::default();
    let beside = story.sends(0, &start("start-b", "two", [0; 3]));
    assert_eq!((beside.outcome, beside.reason), (Outcome::Refuse, Reason::NoWork));
    // Nor does one that read the claim, while the entry is in hand.
    story.state.session = SessionState::default();
    assert_eq!(story.sends(0, &start("start-b", "two", claimed)).outcome, Outcome::Refuse);
    // The first entry is over, and the second dispatcher has not seen it.
    let claim = story.work().queue.hand[0].claim;
    story.work().finish(&first, Some(claim), T0).unwrap();
    story.add(0);
    story.state.session = SessionState::default();
    assert_eq!(story.sends(0, &start("start-b", "two", [0; 3])).outcome, Outcome::Refuse);
    story.state.session = SessionState::default();
    assert_eq!(story.sends(0, &start("start-b", "two", claimed)).outcome, Outcome::Admit);
}

#[test]
fn a_claim_that_the_same_commit_takes_back_is_not_counted() {
    let mut story = Story::new(WorkMode::Required);
    story.policy.stop.min_interval = Duration::ZERO;
    let id = story.add(0);
    assert_eq!(given(&story.sends(0, &start("start-a", "one", [0; 3]))), Some(id.as_str()));
    let (claim, first) = (story.work().queue.hand[0].claim, story.work().queue.first);
    story.state.session = SessionState::default();
    story.work().seen = vec![(claim, false)];
    let taken = story.sends(S, &start("start-b", "two", first));
    assert_eq!((taken.outcome, given(&taken)), (Outcome::Admit, Some(id.as_str())));
    let [in_hand] = &story.work().queue.hand[..] else { panic!("one entry is in hand") };
    assert_eq!((in_hand.start.as_str(), in_hand.entry.attempts), ("two", 1));
}

#[test]
fn a_start_token_passes_the_claim_once() {
    let mut story = Story::new(WorkMode::Required);
    let id = story.add(0);
    story.sends(0, &start("start-a", "secret", [0; 3]));
    let starter = std::mem::take(&mut story.state.session);
    let prompt = |session: &str, token: &str| Step {
        session: session.to_owned(),
        client: Some(Process::numbered(7)),
        ..step(Event::StartPrompt { token: token.to_owned() })
    };
    for forged in ["", "guess"] {
        story.sends(S, &prompt("forged", forged));
        assert!(story.state.session.by_person && story.state.session.work.is_none(), "{forged}");
        story.state.session = SessionState::default();
    }
    story.sends(2 * S, &prompt("s", "secret"));
    let SessionState { by_person, started, work, .. } = &story.state.session;
    assert!(!by_person && *started && work.as_ref().unwrap().id == id);
    let in_hand = &story.state.work.as_ref().unwrap().queue.hand[0];
    assert_eq!(
        (in_hand.session.as_str(), in_hand.client, in_hand.start.as_str()),
        ("s", Some(Process::numbered(7)), "")
    );
    // The minimum interval runs from the prompt, and a Stop event ends the entry.
    assert_eq!(story.state.scope.stop.admitted_at, Some(T0 + 2 * S));
    let client = std::mem::replace(&mut story.state.session, starter);
    let left = story.sends(3 * S, &Step { session: "start-a".to_owned(), ..step(Event::SessionEnd) });
    assert_eq!(left.work_end, format!("{id} is in hand of s"));
    story.state.session = SessionState::default();
    story.sends(4 * S, &prompt("again", "secret"));
    assert!(story.state.session.by_person && story.state.session.work.is_none());
    story.state.session = client;
    // A later prompt in that client changes nothing about who started it. A person who resumes the session takes it.
    let mut resumed = story.state.session.clone();
    story.sends(4 * S, &prompt("s", "secret"));
    std::mem::swap(&mut story.state.session, &mut resumed);
    assert!(resumed.started);
    let by_another = Step { client: Some(Process::numbered(8)), claim: Claim::Take, ..step(Event::PersonPrompt) };
    let kept = (story.state.session.clone(), story.state.work.clone());
    story.sends(4 * S, &Step { session: "s".to_owned(), ..by_another });
    assert!(!story.state.session.started);
    (story.state.session, story.state.work) = kept;
    let ended = story.sends(5 * S, &Step { session: "s".to_owned(), ..stop(Some(RestKind::Done)) });
    assert_eq!(ended.work_end, format!("{id} done"));
}

/// A dispatcher's request is a Stop event of no turn, so that it disproves no limit and no hold of the API.
#[test]
fn no_start_lifts_a_limit() {
    let reset = |at: Ms| Some(Reset::After(Duration::from_millis(at.unsigned_abs())));
    let failure = Failure {
        class: FailureClass::Passing,
        reset: reset(3600 * S),
        of_key: true,
        model: String::new(),
        too_long: false,
        cure: String::new(),
    };
    let mut story = Story::new(WorkMode::Required);
    story.add(0);
    story.sends(0, &step(Event::StopFailure(failure)));
    let limit = story.state.fleet.limit;
    assert!(limit.is_some() && story.state.scope.api_strikes == 1, "{limit:?}");
    for at in [S, 60 * S] {
        story.state.session = SessionState::default();
        let refused = story.sends(at, &start("start-a", "one", [0; 3]));
        assert_eq!((refused.outcome, refused.reason), (Outcome::Refuse, Reason::ApiError));
        assert_eq!((story.state.fleet.limit, story.state.scope.api_strikes), (limit, 1));
    }
    story.state.session = SessionState::default();
    story.sends(61 * S, &stop(None));
    assert_eq!((story.state.fleet.limit, story.state.scope.api_strikes), (None, 0), "a turn does");
}

/// A session that a dispatcher started ends with its print run. The next start waits as the session would have.
#[test]
fn the_end_of_a_started_session_starts_no_other_at_once() {
    for (rest, waits, attempts) in [(Some(20 * 60), 20 * 60 * S, 0), (None, 2 * 60 * S, 1)] {
        let mut story = Story::new(WorkMode::Required);
        let id = story.add(0);
        story.sends(0, &start("start-a", "secret", [0; 3]));
        story.state.session = SessionState::default();
        let of = |event| Step { session: "s".to_owned(), client: Some(Process::numbered(7)), ..step(event) };
        story.sends(S, &of(Event::StartPrompt { token: "secret".to_owned() }));
        let lasting = rest.map(Duration::from_secs);
        let rest = lasting.map(|_| RestRequest { kind: RestKind::Rest, lasting, topic: String::new() });
        story.sends(2 * S, &of(Event::Stop { rest }));
        let ended = story.sends(3 * S, &of(Event::SessionEnd));
        assert!(ended.work_end.starts_with(&format!("{id} given back: ")), "{}", ended.work_end);
        let [entry] = &story.work().later[..] else { panic!("it is delayed") };
        let since = if attempts == 0 { 2 * S } else { 3 * S };
        assert_eq!((entry.at, entry.attempts), (T0 + since + waits, attempts));
    }
}

#[test]
fn an_entry_that_is_not_done_within_its_turns_goes_back() {
    let mut story = Story::new(WorkMode::Preferred);
    story.policy.work.max_turns = 2;
    let id = story.add(0);
    for at in [S, 60 * S] {
        let decided = story.sends(at, &stop(None));
        assert_eq!((given(&decided), decided.work_end.as_str(), decided.briefed), (Some(id.as_str()), "", false));
    }
    let decided = story.sends(120 * S, &stop(None));
    assert!(!decided.briefed, "after an entry the agent is reminded of its own task");
    let end = format!("{id} given back: it was not done within 2 turns");
    assert_eq!((given(&decided), decided.work_end.as_str()), (None, end.as_str()));
}

/// A session that came from another agent knows nothing of that agent's queue.
#[test]
fn a_refused_request_leaves_a_claim_of_another_queue() {
    for (agent, stays) in [("other", true), ("echo", false)] {
        let mut story = Story::new(WorkMode::Preferred);
        assert_eq!(story.sends(0, &stop(None)).outcome, Outcome::Admit);
        story.state.session.work =
            Some(Claimed { id: "x".to_owned(), agent: agent.to_owned(), claim: 7, ..Claimed::default() });
        assert_eq!(story.sends(S, &stop(None)).reason, Reason::MinInterval);
        assert_eq!(story.state.session.work.is_some(), stays, "{agent}");
    }
}

#[test]
fn a_lost_answer_is_repeated_with_all_that_it_handed_out() {
    let mut story = Story::new(WorkMode::Preferred);
    let id = story.add(0);
    let wake = Event::Wake { note: "look".to_owned(), spread: false, signal: None, depth: 0 };
    story.sends(0, &step(wake));
    let ask = Step { id: "one".to_owned(), ..stop(None) };
    for (at, repeated) in [(S, false), (S + 500, true)] {
        let decided = story.sends(at, &ask);
        let found = (decided.repeated, given(&decided), decided.note.as_str(), decided.count);
        assert_eq!(found, (repeated, Some(id.as_str()), "look", 1));
    }
}
