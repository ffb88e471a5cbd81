use proptest::prelude::*;

use super::*;
use crate::policy::decision;
use crate::policy::hold::Hold;

/// The fence that the store returns.
const FENCE: i64 = 7;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A wait with a clock of its own.
struct Play {
    wait: Wait,
    begun: Instant,
    now: Instant,
    notes: Vec<Note>,
}

impl Play {
    fn of(asks: bool, unattended: bool) -> Self {
        let now = Instant::now();
        let wait = Wait::new(Bounds::of(now, DAY, unattended), asks, unattended, false);
        Self { wait, begun: now, now, notes: Vec::new() }
    }

    fn after_a_stop() -> Self {
        Self::of(true, false)
    }

    fn gives(&mut self, input: Input) -> Action {
        let next = self.wait.next(self.now, input);
        self.notes.extend(next.note);
        next.action
    }

    /// Gives the wait an input after this much time.
    fn after(&mut self, passed: Duration, input: Input) -> Action {
        self.now += passed;
        self.gives(input)
    }

    /// Plays until the first request was sent.
    fn sends(&mut self) -> Action {
        assert_eq!(self.gives(Input::Begin), Action::Check);
        self.gives(checked(Found::Same))
    }

    /// Plays until the first request was refused, and the engine looks.
    fn refused(reason: Reason, retry_after: Option<Duration>) -> Self {
        let mut play = Self::after_a_stop();
        assert_eq!(play.sends(), begin(None));
        assert_eq!(play.gives(refused(reason, retry_after)), Action::Check);
        assert_eq!(play.gives(checked(Found::Same)), Action::Look(Source::Server));
        play
    }

    /// Plays until the engine looks again, at least a second later.
    fn looks_again(&mut self) {
        assert_eq!(self.after(2 * SECOND, Input::WaitEnd(WaitEnd::Stirred)), Action::Check);
        assert_eq!(self.gives(checked(Found::Same)), Action::Look(Source::Server));
    }
}

fn begin(late: Option<Duration>) -> Action {
    Action::Send(Request::Begin { late })
}

fn ask() -> Action {
    Action::Send(Request::Ask { fence: FENCE, renew: false, again: false })
}

fn checked(terms: Found) -> Input {
    Input::Checked(Checked { is_wanted: true, terms })
}

fn unwanted() -> Input {
    Input::Checked(Checked { is_wanted: false, terms: Found::Same })
}

fn unclear() -> Input {
    checked(Found::Unclear(Reason::BadConfig, "half a file".to_owned()))
}

fn decision(outcome: Outcome, reason: Reason, retry_after: Option<Duration>) -> Decision {
    Decision { outcome, retry_after, fence: Some(FENCE), ..decision::refusal(reason, 1000) }
}

fn answered(decision: Decision) -> Input {
    Input::Answered(Box::new(Answer { decision, by_files: false, outage: false }))
}

fn refused(reason: Reason, retry_after: Option<Duration>) -> Input {
    answered(decision(Outcome::Refuse, reason, retry_after))
}

fn admitted() -> Input {
    answered(decision(Outcome::Admit, Reason::Admitted, None))
}

fn failed(is_silence: bool) -> Input {
    Input::Failed(Failure { why: "gone".to_owned(), is_silence, chance: 0 })
}

/// Returns the result of a look while nothing has changed since the refusal.
fn unchanged() -> Look {
    Look { fence: Some(FENCE), now: 1000, ..Look::default() }
}

fn held(by: &str) -> Input {
    let held = Held { by: by.to_owned(), ..Held::default() };
    answered(Decision { held: Some(held), ..decision(Outcome::Refuse, Reason::Hold, None) })
}

#[test]
fn an_admission_is_verified_before_it_is_used() {
    let mut play = Play::after_a_stop();
    assert_eq!(play.sends(), begin(None));
    assert_eq!(play.gives(admitted()), Action::Verify);
    assert_eq!(play.gives(checked(Found::Same)), Action::End(End::Admitted { paused: None, held: None }));
    for (found, then) in [
        (unwanted(), Action::End(End::Over)),
        (checked(Found::Gone("off")), Action::End(End::Over)),
        // Other limits apply to the next request.
        (checked(Found::Changed), Action::End(End::Admitted { paused: None, held: None })),
        (unclear(), Action::Check),
    ] {
        let mut play = Play::after_a_stop();
        play.sends();
        play.gives(admitted());
        assert_eq!(play.gives(found), then);
        if then == Action::Check {
            assert_eq!(play.gives(checked(Found::Same)), ask(), "burnt, it is requested again");
        }
    }
}

#[test]
fn a_refusal_is_waited_out_and_requested_again_with_the_fence() {
    let mut play = Play::refused(Reason::Cooldown, Some(MINUTE));
    let left = MINUTE + Duration::from_millis(1);
    assert_eq!(play.gives(Input::Looked(unchanged())), Action::Listen(left));
    assert_eq!(play.after(5 * SECOND, Input::WaitEnd(WaitEnd::Stirred)), Action::Check);
    assert_eq!(play.gives(checked(Found::Same)), Action::Look(Source::Server));
    assert_eq!(play.gives(Input::Looked(unchanged())), Action::Listen(left - 5 * SECOND));
    assert_eq!(play.after(left - 5 * SECOND, Input::WaitEnd(WaitEnd::Stirred)), Action::Check);
    assert_eq!(play.gives(checked(Found::Same)), Action::Check, "due");
    assert_eq!(play.gives(checked(Found::Same)), ask());
    assert_eq!(play.gives(admitted()), Action::Verify);
    let End::Admitted { paused, held } = ended(play.gives(checked(Found::Same))) else { panic!("it goes on") };
    assert_eq!((paused.map(|p| p.reason), held), (Some(Reason::Cooldown), None));
}

#[test]
fn the_stores_clock_ends_a_refusal_too() {
    let mut play = Play::refused(Reason::Rest, Some(MINUTE));
    let over = Look { now: 61_000, ..unchanged() };
    assert_eq!(play.gives(Input::Looked(over)), Action::Check);
    assert_eq!(play.gives(checked(Found::Same)), ask());
}

#[track_caller]
fn ended(action: Action) -> End {
    match action {
        Action::End(end) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_minimum_interval_is_no_pause_and_a_hold_by_the_api_no_hold() {
    for (refusals, paused, by) in [
        (vec![refused(Reason::MinInterval, Some(MINUTE))], None, None),
        (vec![refused(Reason::Done, None), refused(Reason::Spread, Some(MINUTE))], Some(Reason::Done), None),
        (vec![held("ann"), refused(Reason::MinInterval, Some(MINUTE))], Some(Reason::Hold), Some("ann")),
        (vec![held(BY_API)], Some(Reason::Hold), None),
    ] {
        let mut play = Play::after_a_stop();
        play.sends();
        for refusal in refusals {
            assert_eq!(play.gives(refusal), Action::Check);
            assert_eq!(play.after(2 * SECOND, checked(Found::Same)), Action::Look(Source::Server));
            let woken = Look { fence: Some(FENCE + 1), ..unchanged() };
            assert_eq!(play.gives(Input::Looked(woken)), Action::Check);
            assert_eq!(play.gives(checked(Found::Same)), ask());
        }
        play.gives(admitted());
        let End::Admitted { paused: last, held } = ended(play.gives(checked(Found::Same))) else { panic!("goes on") };
        assert_eq!((last.map(|p| p.reason), held.as_ref().map(|held| held.by.as_str())), (paused, by));
    }
}

/// A registration that is missing for a moment makes no call undecided.
#[test]
fn a_disarmed_session_is_marked_once_it_is_certain() {
    let mut play = Play::after_a_stop();
    play.gives(Input::Begin);
    let missing = || checked(Found::Unclear(Reason::Disarmed, "gone".to_owned()));
    assert!(matches!(play.gives(missing()), Action::Pause(_)));
    assert_eq!(play.notes, []);
    play.gives(Input::Paused);
    assert_eq!(play.gives(checked(Found::Gone("off"))), Action::End(End::Over));
    assert_eq!(play.notes, [Note::Disarmed("off")]);
}

#[test]
fn it_ends_where_nothing_is_left_to_wait_for() {
    for over in [unwanted(), checked(Found::Gone("off"))] {
        let mut play = Play::after_a_stop();
        play.gives(Input::Begin);
        assert_eq!(play.gives(over), Action::End(End::Over));
    }
    for over in [unwanted(), checked(Found::Gone("off"))] {
        let mut play = Play::refused(Reason::Done, None);
        play.looks_again();
        play.gives(Input::WaitEnd(WaitEnd::Stirred));
        assert_eq!(play.gives(over), Action::End(End::Over));
    }
    let mut play = Play::after_a_stop();
    play.sends();
    assert_eq!(play.gives(refused(Reason::Superseded, None)), Action::End(End::Over));
    let mut play = Play::after_a_stop();
    play.sends();
    let unknown = Decision { fence: None, ..decision(Outcome::Refuse, Reason::Cooldown, Some(SECOND)) };
    assert_eq!(play.gives(answered(unknown)), Action::End(End::Over), "a session without a fence");
}

#[test]
fn a_failure_is_recorded_first_whoever_is_there() {
    let mut play = Play::of(false, false);
    play.gives(Input::Begin);
    assert_eq!(play.gives(unwanted()), begin(None));
    assert_eq!(play.gives(answered(decision(Outcome::Record, Reason::Event, None))), Action::Check);
    assert_eq!(play.gives(unwanted()), Action::End(End::Over));
    let mut play = Play::of(false, false);
    play.sends();
    play.gives(answered(decision(Outcome::Record, Reason::Event, None)));
    assert_eq!(play.gives(checked(Found::Same)), ask());
}

#[test]
fn what_runs_unattended_ends_when_it_is_done() {
    let mut play = Play::of(true, true);
    play.sends();
    assert_eq!(play.gives(refused(Reason::Done, None)), Action::End(End::Over));
    let mut play = Play::of(true, true);
    play.sends();
    assert_eq!(play.gives(refused(Reason::Rest, Some(2 * DAY))), Action::Check);
    assert_eq!(play.after(DAY, checked(Found::Same)), Action::Send(Request::Expired { fence: Some(FENCE) }));
}

#[test]
fn a_store_that_fails_is_tried_ever_more_slowly_and_noted_once() {
    let mut play = Play::after_a_stop();
    assert_eq!(play.sends(), begin(None));
    for pause in [1, 2, 4, 8, 10, 10] {
        assert_eq!(play.gives(failed(true)), Action::Pause(pause * SECOND));
        assert_eq!(play.after(pause * SECOND, Input::Paused), Action::Check);
        let waited = play.now.duration_since(play.begun);
        assert_eq!(play.gives(checked(Found::Same)), begin(Some(waited)), "late by what was waited");
    }
    assert_eq!(play.gives(refused(Reason::Done, None)), Action::Check);
    assert_eq!(play.notes, [Note::Undecided(Reason::StoreDown, "gone".to_owned()), Note::Decided]);
    // After a lost answer, the store knows the admission by the id of its request.
    let mut play = Play::refused(Reason::Cooldown, Some(SECOND));
    play.now += MINUTE;
    play.gives(Input::WaitEnd(WaitEnd::Stirred));
    play.gives(checked(Found::Same));
    assert_eq!(play.gives(checked(Found::Same)), ask());
    play.gives(failed(true));
    play.after(SECOND, Input::Paused);
    let again = Action::Send(Request::Ask { fence: FENCE, renew: false, again: true });
    assert_eq!(play.gives(checked(Found::Same)), again);
}

#[test]
fn a_store_that_fails_until_the_end_leaves_a_note() {
    let mut play = Play::after_a_stop();
    play.sends();
    play.now += DAY;
    assert_eq!(play.gives(failed(true)), Action::Send(Request::Expired { fence: None }));
    assert_eq!(play.gives(failed(true)), Action::End(End::Expired));
    assert_eq!(play.notes, [Note::Undecided(Reason::WaiterExpired, "gone".to_owned())]);
}

#[test]
fn what_could_change_the_answer_makes_it_request_again() {
    let woken = Look { woken: true, ..unchanged() };
    let hold = Hold { reason: String::new(), by: "ann".to_owned(), since: 0, until: None, id: 0 };
    let is_held = Look { holds: vec![hold], ..unchanged() };
    for (reason, look, then) in [
        (Reason::Done, woken.clone(), Some(ask())),
        (Reason::Cooldown, woken, None),
        (Reason::Hold, is_held, None),
        (Reason::Hold, unchanged(), Some(ask())),
        (Reason::ApiError, Look { released: Some(1000), ..unchanged() }, Some(ask())),
        (Reason::Done, Look { fence: Some(FENCE + 1), ..unchanged() }, Some(ask())),
        // The store lost the session, has an older one, or the server is reachable again, so the event is sent
        // again.
        (Reason::Done, Look { fence: None, ..unchanged() }, Some(begin(Some(Duration::ZERO)))),
        (Reason::Done, Look { fence: Some(FENCE - 1), ..unchanged() }, Some(begin(Some(Duration::ZERO)))),
        (Reason::Done, Look { is_back: true, ..unchanged() }, Some(begin(Some(Duration::ZERO)))),
    ] {
        let mut play = Play::refused(reason, None);
        let action = play.gives(Input::Looked(look.clone()));
        match then {
            None => assert!(matches!(action, Action::Listen(_)), "{reason:?} {look:?} {action:?}"),
            Some(then) => {
                assert_eq!(action, Action::Check);
                assert_eq!(play.gives(checked(Found::Same)), then, "{reason:?} {look:?}");
            }
        }
    }
}

#[test]
fn what_was_published_is_sent_to_the_store_as_a_wake_up() {
    let mut play = Play::refused(Reason::Done, None);
    play.gives(Input::Looked(unchanged()));
    assert_eq!(play.gives(Input::WaitEnd(published(&["one"]))), Action::Check);
    let wake = |note: &str| Action::Send(Request::Wake(Word { signal: None, note: note.to_owned() }));
    assert_eq!(play.gives(checked(Found::Same)), wake("one"));
    // The note is kept until the store has it.
    assert_eq!(play.gives(failed(false)), Action::Pause(SECOND));
    assert_eq!(play.after(SECOND, Input::Paused), Action::Check);
    assert_eq!(play.gives(checked(Found::Same)), wake("one"));
    assert_eq!(play.gives(answered(decision(Outcome::Record, Reason::Event, None))), Action::Look(Source::Server));
    assert_eq!(play.gives(Input::Looked(Look { woken: true, ..unchanged() })), Action::Check);
    assert_eq!(play.gives(checked(Found::Same)), ask());
}

#[test]
fn several_published_words_are_one_note() {
    let mut play = Play::refused(Reason::Done, None);
    for word in ["", "one", "two"] {
        play.gives(Input::Looked(unchanged()));
        play.gives(Input::WaitEnd(published(&[word])));
    }
    let all = Word { signal: None, note: "one / two".to_owned() };
    assert_eq!(play.gives(checked(Found::Same)), Action::Send(Request::Wake(all)));
}

/// A signal that does not wake must not take a text without a signal with it.
#[test]
fn the_texts_of_each_signal_are_a_wake_up_of_their_own() {
    let mut play = Play::refused(Reason::Done, None);
    play.gives(Input::Looked(unchanged()));
    play.gives(Input::WaitEnd(published(&["ping: a", "b", "ping: c"])));
    let wake = |signal: Option<&str>, note: &str| {
        Action::Send(Request::Wake(Word { signal: signal.map(str::to_owned), note: note.to_owned() }))
    };
    assert_eq!(play.gives(checked(Found::Same)), wake(Some("ping"), "a / c"));
    let kept = answered(decision(Outcome::Record, Reason::NoteKept, None));
    assert_eq!(play.gives(kept), wake(None, "b"));
    assert_eq!(play.gives(answered(decision(Outcome::Record, Reason::Event, None))), Action::Look(Source::Server));
    // A note alone changes nothing that the engine waits for.
    assert!(matches!(play.gives(Input::Looked(unchanged())), Action::Listen(_)));
}

#[test]
fn a_store_that_falls_silent_is_sent_the_event_once_more() {
    let mut play = Play::refused(Reason::Done, None);
    assert_eq!(play.gives(failed(true)), Action::Check);
    assert_eq!(play.gives(checked(Found::Same)), begin(Some(Duration::ZERO)));
    assert_eq!(play.gives(refused(Reason::Done, None)), Action::Check);
    assert_eq!(play.after(SECOND, checked(Found::Same)), Action::Look(Source::Server));
    assert_eq!(play.gives(failed(true)), Action::Pause(SECOND), "not without end");
    play.after(SECOND, Input::Paused);
    assert_eq!(play.gives(checked(Found::Same)), Action::Look(Source::Server));
    play.gives(Input::Looked(unchanged()));
    assert_eq!(play.gives(Input::WaitEnd(WaitEnd::Stirred)), Action::Check);
    assert_eq!(play.notes, [Note::Undecided(Reason::StoreDown, "gone".to_owned()), Note::Decided]);
    play.after(SECOND, checked(Found::Same));
    assert_eq!(play.gives(failed(true)), Action::Check, "it answered since");
    assert!(matches!(play.gives(checked(Found::Same)), Action::Send(Request::Begin { late: Some(_) })));
}

#[test]
fn a_stand_in_and_a_busy_store_are_sent_the_event_again() {
    let by_files = |outage| {
        let decision = decision(Outcome::Refuse, Reason::Cooldown, Some(MINUTE));
        Input::Answered(Box::new(Answer { decision, by_files: true, outage }))
    };
    for (answer, source, then) in [
        (by_files(true), Source::Outage(0), begin(Some(2 * MINUTE))),
        (by_files(false), Source::Files, ask()),
        (refused(Reason::Busy, Some(MINUTE)), Source::Server, begin(Some(2 * MINUTE))),
    ] {
        let mut play = Play::after_a_stop();
        play.sends();
        play.gives(answer);
        assert_eq!(play.gives(checked(Found::Same)), Action::Look(source));
        play.after(2 * MINUTE, Input::WaitEnd(WaitEnd::Stirred));
        assert_eq!(play.gives(checked(Found::Same)), Action::Check, "due");
        assert_eq!(play.gives(checked(Found::Same)), then);
    }
}

#[test]
fn terms_that_cannot_be_read_stop_it_until_they_can() {
    let mut play = Play::after_a_stop();
    play.gives(Input::Begin);
    for _ in 0..3 {
        assert_eq!(play.gives(unclear()), Action::Pause(PACE));
        assert_eq!(play.after(PACE, Input::Paused), Action::Check);
    }
    assert_eq!(play.notes, [Note::Undecided(Reason::BadConfig, "half a file".to_owned())]);
    assert!(matches!(play.gives(checked(Found::Same)), Action::Send(Request::Begin { late: Some(_) })));
    play.gives(refused(Reason::Done, None));
    assert_eq!(play.notes.last(), Some(&Note::Decided));
    assert_eq!(play.gives(unclear()), Action::Pause(PACE), "while it listens, too");
    play.now += DAY;
    assert_eq!(play.gives(Input::Paused), Action::Check);
    assert_eq!(play.gives(unclear()), Action::Send(Request::Expired { fence: Some(FENCE) }));
    assert_eq!(play.gives(answered(decision(Outcome::Record, Reason::Event, None))), Action::End(End::Expired));
}

#[test]
fn under_other_terms_it_goes_on_where_it_is() {
    for (elsewhere, then) in [(false, ask()), (true, begin(Some(MINUTE)))] {
        let mut play = Play::refused(Reason::Done, None);
        play.looks_again();
        play.gives(Input::WaitEnd(WaitEnd::Stirred));
        assert_eq!(play.gives(checked(Found::Changed)), Action::End(End::Changed));
        play.now = play.begun + MINUTE;
        play.wait.moves(play.wait.bounds, elsewhere);
        assert_eq!(play.sends(), then);
    }
}

#[test]
fn before_its_end_a_wait_is_renewed() {
    let mut play = Play::refused(Reason::Done, None);
    let renewed = DAY - RENEW_BEFORE;
    assert_eq!(play.gives(Input::Looked(unchanged())), Action::Listen(renewed));
    play.after(renewed, Input::WaitEnd(WaitEnd::Stirred));
    assert_eq!(play.gives(checked(Found::Same)), Action::Check);
    let renews = Action::Send(Request::Ask { fence: FENCE, renew: true, again: false });
    assert_eq!(play.gives(checked(Found::Same)), renews);
    // The engine waits for the refusal's end, and the request stays one for a renewal.
    play.gives(refused(Reason::MinInterval, Some(MINUTE)));
    assert_eq!(play.gives(checked(Found::Same)), Action::Look(Source::Server));
    assert_eq!(play.gives(Input::Looked(unchanged())), Action::Listen(MINUTE + Duration::from_millis(1)));
    play.after(2 * MINUTE, Input::WaitEnd(WaitEnd::Stirred));
    play.gives(checked(Found::Same));
    assert_eq!(play.gives(checked(Found::Same)), renews);
    play.gives(refused(Reason::MinInterval, Some(DAY)));
    play.after(RENEW_BEFORE, checked(Found::Same));
    assert_eq!(play.gives(answered(decision(Outcome::Record, Reason::Event, None))), Action::End(End::Expired));
}

#[test]
fn a_machine_that_stalled_sends_a_last_request() {
    let mut play = Play::refused(Reason::Cooldown, Some(MINUTE));
    play.after(2 * DAY, Input::WaitEnd(WaitEnd::Stirred));
    assert_eq!(play.gives(checked(Found::Same)), Action::Check);
    assert_eq!(
        play.gives(checked(Found::Same)),
        Action::Send(Request::Ask { fence: FENCE, renew: true, again: false })
    );
}

/// Random answers of the store and the machine.
fn inputs() -> impl Strategy<Value = Vec<(u64, u8, bool)>> {
    prop::collection::vec(
        (prop_oneof![Just(0), Just(3), 0..2_000_u64, Just(90_000)], any::<u8>(), any::<bool>()),
        1..200,
    )
}

fn published(texts: &[&str]) -> WaitEnd {
    let mut words = Words::default();
    texts.iter().for_each(|text| words.add(text));
    WaitEnd::Words(words)
}

/// Returns an input that belongs to this action.
fn found(action: &Action, by: u8, flag: bool) -> Input {
    match (action, by % 8) {
        (Action::Check | Action::Verify, 0) => unclear(),
        (Action::Check | Action::Verify, _) => checked(Found::Same),
        (Action::Pause(_), _) => Input::Paused,
        (_, 0) => failed(flag),
        (Action::Send(_), 1) => answered(decision(Outcome::Record, Reason::Event, None)),
        (Action::Send(_), 2) if flag => admitted(),
        (Action::Send(_), 3) => refused(Reason::Busy, Some(Duration::from_millis(500))),
        (Action::Send(_), 4) => refused(Reason::Cooldown, Some(Duration::ZERO)),
        (Action::Send(_), 5) => held("ann"),
        (Action::Send(_), 6) => {
            let decision = decision(Outcome::Refuse, Reason::Quota, Some(MINUTE));
            Input::Answered(Box::new(Answer { decision, by_files: true, outage: flag }))
        }
        (Action::Send(_), _) => refused(Reason::Done, None),
        (Action::Look(_), 1) => Input::Looked(Look { is_back: flag, woken: true, ..unchanged() }),
        (Action::Look(_), 2) => Input::Looked(Look { fence: None, ..unchanged() }),
        (Action::Look(_), _) => Input::Looked(unchanged()),
        (_, 1) => Input::WaitEnd(published(&["now"])),
        _ => Input::WaitEnd(WaitEnd::Stirred),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2000 } else { 20_000 }))]

    /// Whatever a store answers: an admission is used only right after it was answered and verified. All but a
    /// few requests are at least a second apart. No sleep is longer than the wait.
    #[test]
    fn whatever_is_answered_it_sends_seldom_and_uses_only_a_verified_admission(inputs in inputs()) {
        let mut play = Play::after_a_stop();
        let mut action = play.gives(Input::Begin);
        let (mut sent, mut is_admitted): (Vec<Instant>, bool) = (Vec::new(), false);
        for (passed, by, flag) in inputs {
            let input = found(&action, by, flag);
            let is_own = matches!(action, Action::Send(Request::Begin { .. } | Request::Ask { .. }));
            let is_verified = is_admitted && matches!(&input, Input::Checked(Checked { terms: Found::Same, .. }));
            is_admitted =
                is_own && matches!(&input, Input::Answered(answer) if answer.decision.outcome == Outcome::Admit);
            action = play.after(Duration::from_millis(passed), input);
            prop_assert_eq!(is_admitted, action == Action::Verify);
            match &action {
                Action::End(end) => {
                    prop_assert_eq!(matches!(end, End::Admitted { .. }), is_verified);
                    return Ok(());
                }
                Action::Send(Request::Begin { .. } | Request::Ask { .. }) => sent.push(play.now),
                Action::Pause(most) | Action::Listen(most) => prop_assert!(*most <= DAY),
                _ => {}
            }
        }
        for few in sent.windows(6) {
            prop_assert!(few[5] - few[0] >= SECOND, "six within a second");
        }
    }
}
