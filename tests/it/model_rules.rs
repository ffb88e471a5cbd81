//! The rules of the policy in their order, each in a small story. Both the pure model and the embedded store's
//! files run the same stories.

use std::time::Duration;

use crate::support::twin::Twin;
use crate::support::{T0, policy, step, stop_step};
use frosty::policy::decision;
use frosty::policy::decision::State;
use frosty::policy::documents::{Begun, FleetState, QuotaLog, SessionState, Waiting};
use frosty::policy::hold::Hold;
use frosty::policy::limits::{Burst, Ms, Policy, Quota, millis};
use frosty::policy::request::{Event, Failure, FailureClass, Reset, RestRequest, Step};
use frosty::policy::rest::RestKind;
use frosty::policy::turn::Turn;
use frosty::policy::verdict::{Decision, Outcome};

const S: Ms = 1000;
const MIN: Ms = 60 * S;

/// Runs the same story on the model in memory and on the embedded store on disk, and compares their answers.
struct Story {
    policy: Policy,
    state: State,
    twin: Twin,
    ids: u32,
}

impl Story {
    fn new(policy: Policy) -> Self {
        Self { twin: Twin::new(&policy), policy, state: State::default(), ids: 0 }
    }

    fn tell(&mut self, at: Ms, mut step: Step) -> Decision {
        self.ids += 1;
        step.id = format!("{:016x}", self.ids);
        step.host_ms = T0 + at;
        let decided = decision::step(&self.policy, &mut self.state, &step, T0 + at);
        // Files on one machine have no other store to get documents from.
        let decided = Decision { store_epoch: String::new(), ..decided };
        self.twin.answers(at, &step, &decided);
        decided
    }

    fn stop(&mut self, at: Ms) -> Decision {
        self.tell(at, stop_step())
    }

    fn paced(&mut self, at: Ms) -> Decision {
        self.tell(at, Step { paced: true, ..stop_step() })
    }

    fn event(&mut self, at: Ms, event: Event) -> Decision {
        self.tell(at, step(event))
    }

    fn resting(&mut self, at: Ms, kind: RestKind, lasting: Option<Ms>) -> Decision {
        let lasting = lasting.map(|ms| Duration::from_millis(ms.unsigned_abs()));
        self.event(at, Event::Stop { rest: Some(RestRequest { kind, lasting, topic: String::new() }) })
    }

    /// Sends Stop events at these times; returns the reasons.
    fn reasons(&mut self, times: &[Ms]) -> Vec<&'static str> {
        times.iter().map(|at| self.stop(*at).reason.code()).collect()
    }
}

fn default() -> Story {
    Story::new(Policy::default())
}

fn after(decided: &Decision) -> Ms {
    Ms::try_from(decided.retry_after.expect("a time").as_millis()).unwrap()
}

fn failure(class: FailureClass) -> Failure {
    Failure { class, reset: None, of_key: false, model: String::new(), too_long: false, cure: "cure".to_owned() }
}

// ---- rules 5 to 9: minimum interval, burst window, quota --------------------------------------------------------

#[test]
fn three_stops_in_a_row_are_admitted_refused_and_tripped() {
    let mut story = default();
    assert_eq!(story.reasons(&[0, 10, 20, 30]), ["admitted", "min_interval", "burst", "cooldown"]);
}

/// The bash script checked its minimum interval first and exited before it counted: its burst window could never fill.
#[test]
fn the_guard_does_not_hide_attempts_from_the_bang_window() {
    let mut story = default();
    assert_eq!(story.stop(0).attempts, 1);
    let refused = story.stop(S);
    assert_eq!((refused.reason.code(), refused.attempts), ("min_interval", 2));
    let tripped = story.stop(2 * S);
    assert_eq!((tripped.reason.code(), tripped.attempts, tripped.strikes), ("burst", 3, 1));
    assert_eq!(after(&tripped), MIN);
}

#[test]
fn the_guard_opens_to_the_millisecond() {
    let mut story = default();
    assert_eq!(story.stop(0).reason.code(), "admitted");
    let early = story.stop(15 * S - 1);
    assert_eq!((early.reason.code(), after(&early)), ("min_interval", 1));
    assert_eq!(story.stop(15 * S).reason.code(), "admitted");
}

#[test]
fn an_admission_empties_the_bang_window_but_for_itself() {
    let mut story = default();
    assert_eq!(story.reasons(&[0, 14 * S, 15 * S, 16 * S]), ["admitted", "min_interval", "admitted", "min_interval"]);
    assert_eq!(story.stop(17 * S).reason.code(), "burst");
}

#[test]
fn attempts_leave_the_window() {
    let mut story = Story::new(policy(|p| p.stop.min_interval = Duration::from_secs(60)));
    // 20 s apart: the window of 20 s never holds three.
    assert_eq!(story.reasons(&[0, 20 * S, 40 * S, 60 * S]), ["admitted", "min_interval", "min_interval", "admitted"]);
}

#[test]
fn without_a_min_interval_the_window_alone_decides() {
    let mut story = Story::new(policy(|p| p.stop.min_interval = Duration::ZERO));
    assert_eq!(story.reasons(&[0, 1, 2, 3]), ["admitted", "admitted", "burst", "cooldown"]);
}

#[test]
fn burst_null_never_trips() {
    let mut story = Story::new(policy(|p| p.stop.burst = None));
    for i in 0..14 {
        let expected = if i == 0 { "admitted" } else { "min_interval" };
        assert_eq!(story.stop(i * S).reason.code(), expected);
    }
    assert_eq!(story.stop(15 * S).reason.code(), "admitted");
}

#[test]
fn a_paced_ask_is_not_noted() {
    let mut story = default();
    assert_eq!(story.stop(0).reason.code(), "admitted");
    for i in 1..15 {
        let refused = story.paced(i * S);
        assert_eq!((refused.reason.code(), refused.attempts), ("min_interval", 1));
        assert_eq!(after(&refused), (15 - i) * S);
    }
    assert_eq!(story.paced(15 * S).reason.code(), "admitted");
}

#[test]
fn cooldowns_grow_and_are_forgotten_after_calm() {
    let mut story = Story::new(policy(|p| {
        p.stop.cooldown.jitter = 0;
        p.hold_after_strikes = 0;
    }));
    let mut now = 0;
    for length in [60, 120, 240, 480, 900, 900] {
        // Either the first ever or the probe after a cooldown; then a burst.
        assert!(matches!(story.stop(now).reason.code(), "admitted" | "probe"));
        assert_eq!(story.stop(now + 1).reason.code(), "min_interval");
        let tripped = story.stop(now + 2);
        assert_eq!((tripped.reason.code(), after(&tripped)), ("burst", length * S));
        let open = story.stop(now + 1 + length * S);
        assert_eq!((open.reason.code(), after(&open)), ("cooldown", 1));
        now += 2 + length * S;
    }
    // Calm counts from the end of the last cooldown.
    now += 10 * MIN;
    assert_eq!(story.stop(now).reason.code(), "probe");
    assert_eq!(story.reasons(&[now + 1]), ["min_interval"]);
    assert_eq!(after(&story.stop(now + 2)), 60 * S);
}

#[test]
fn jitter_only_lengthens() {
    for (r, length) in [(0, 60_000), (500_000, 66_000), (999_999, 71_999)] {
        let mut story = default();
        story.reasons(&[0, 1]);
        let tripped = story.tell(2, Step { r, ..stop_step() });
        assert_eq!(after(&tripped), length);
    }
}

#[test]
fn the_first_admission_after_a_cooldown_is_a_probe() {
    let mut story = default();
    story.reasons(&[0, 1, 2]);
    assert_eq!(story.reasons(&[2 + 60 * S, 2 + 80 * S]), ["probe", "admitted"]);
}

#[test]
fn a_quota_slides() {
    let mut story = Story::new(policy(|p| {
        p.stop.quotas = vec![Quota { limit: 2, per: Duration::from_secs(100) }];
    }));
    assert_eq!(story.reasons(&[0, 20 * S]), ["admitted", "admitted"]);
    let full = story.stop(40 * S);
    assert_eq!((full.reason.code(), after(&full)), ("quota", 60 * S));
    assert_eq!(story.reasons(&[100 * S - 1, 100 * S]), ["quota", "admitted"]);
    assert_eq!(after(&story.stop(115 * S)), 5 * S);
}

#[test]
fn the_longest_wait_of_all_used_up_quotas_counts() {
    let mut story = Story::new(policy(|p| {
        p.stop.quotas =
            vec![Quota { limit: 1, per: Duration::from_secs(30) }, Quota { limit: 2, per: Duration::from_secs(200) }];
        p.fleet_quotas = vec![Quota { limit: 2, per: Duration::from_secs(300) }];
    }));
    assert_eq!(story.stop(0).reason.code(), "admitted");
    assert_eq!(after(&story.stop(15 * S)), 15 * S);
    assert_eq!(story.stop(30 * S).reason.code(), "admitted");
    assert_eq!(after(&story.stop(45 * S)), 255 * S);
}

/// Two projects share a fleet, one with a short quota and one with a long one.
#[test]
fn an_asker_with_a_shorter_period_forgets_nothing_that_another_counts() {
    let fleet = |limit, secs| {
        policy(|p| {
            p.stop.min_interval = Duration::ZERO;
            p.stop.burst = None;
            p.fleet_quotas = vec![Quota { limit, per: Duration::from_secs(secs) }];
        })
    };
    let (long, short) = (fleet(2, 3600), fleet(100, 1));
    let mut state = State::default();
    let mut ask = |policy: &Policy, at| decision::step(policy, &mut state, &stop_step(), T0 + at).reason.code();
    assert_eq!([ask(&long, 0), ask(&short, 5 * S), ask(&short, 60 * S)], ["admitted"; 3]);
    assert_eq!([ask(&long, 61 * S), ask(&long, 120 * S)], ["quota"; 2]);
}

/// The sessions wait in the order of their Stop events, whatever other refusal a session had since.
#[test]
fn a_session_keeps_its_turn_from_one_wait_queue_to_the_other() {
    let policy = policy(|p| {
        p.stop.min_interval = Duration::ZERO;
        p.stop.burst = None;
        p.stop.quotas = vec![Quota { limit: 1, per: Duration::from_secs(30) }];
        p.fleet_quotas = vec![Quota { limit: 1, per: Duration::from_secs(100) }];
    });
    let waiting = |session: &str, since: Ms, next: Ms| {
        vec![Waiting { session: session.to_owned(), since: T0 + since, next: T0 + next }]
    };
    let mut state = State::default();
    state.scope.quota.admitted = vec![T0];
    state.fleet.quota.admitted = vec![T0];
    state.fleet.quota.waiting = waiting("b", 2 * S, 100 * S);
    let of = |log: &QuotaLog| log.waiting.iter().map(|w| (w.session.clone(), w.since - T0)).collect::<Vec<_>>();
    let a = || ("a".to_owned(), S);
    let stop = Step { session: "a".to_owned(), id: "a".to_owned(), paced: true, ..stop_step() };
    let fence = decision::step(&policy, &mut state, &stop, T0 + S).fence.unwrap();
    assert_eq!((of(&state.scope.quota), of(&state.fleet.quota).len()), (vec![a()], 1), "the scope's place is taken");
    let ask = Step { event: Event::Ask { fence, renew: false }, ..stop };
    state.fleet.hold =
        Some(Hold { reason: String::new(), by: "ann".to_owned(), since: T0 + 2 * S, until: Some(T0 + 20 * S), id: 0 });
    assert_eq!(decision::step(&policy, &mut state, &ask, T0 + 3 * S).reason.code(), "hold");
    assert!(state.scope.quota.waiting.is_empty(), "the hold is its obstacle");
    assert_eq!(decision::step(&policy, &mut state, &ask, T0 + 30 * S).reason.code(), "quota");
    let fleets = vec![a(), ("b".to_owned(), 2 * S)];
    assert_eq!((of(&state.scope.quota), of(&state.fleet.quota)), (vec![], fleets));
}

/// A clock that is stepped back leaves the Stop events of waiting sessions in the future. They do not wait for each
/// other.
#[test]
fn sessions_whose_stops_are_dated_ahead_keep_their_turns() {
    let policy = policy(|p| {
        p.stop.min_interval = Duration::ZERO;
        p.stop.burst = None;
        p.fleet_quotas = vec![Quota { limit: 1, per: Duration::from_secs(5) }];
    });
    let ahead = |id: &str| SessionState {
        begun: Some(Begun { at: T0 + 3600 * S, id: id.to_owned() }),
        fence: Some(7),
        ..SessionState::default()
    };
    let mut fleet = FleetState::default();
    fleet.quota.admitted = vec![T0];
    let mut next = [("a", T0 + S), ("b", T0 + S + 250)].map(|(id, at)| (id, ahead(id), at));
    for _ in 0..20 {
        next.sort_by_key(|(.., at)| *at);
        let (id, session, at) = &mut next[0];
        let ask = Event::Ask { fence: 7, renew: false };
        let step = Step { session: (*id).to_owned(), id: format!("{id}{at}"), paced: true, event: ask, ..stop_step() };
        let mut state = State { fleet: fleet.clone(), session: session.clone(), ..State::default() };
        let decided = decision::step(&policy, &mut state, &step, *at);
        (fleet, *session) = (state.fleet, state.session);
        match decided.retry_after {
            Some(left) => *at += millis(left),
            None => return assert_eq!((decided.reason.code(), *at), ("admitted", T0 + 5 * S)),
        }
    }
    panic!("neither is ever admitted: {:?}", fleet.quota.waiting);
}

#[test]
fn one_token_per_quarter_hour() {
    let mut story = Story::new(policy(|p| {
        p.stop.quotas = vec![Quota { limit: 1, per: Duration::from_secs(900) }];
    }));
    let admitted = (0..3600).step_by(30).filter(|s| story.stop(s * S).reason.code() == "admitted").count();
    assert_eq!(admitted, 4);
}

// ---- idle backoff and the quiet minute -------------------------------------------------------------------------------

/// A Stop event of a waiting engine, after a turn with these tool calls.
fn measured(calls: &[u64]) -> Step {
    let tools = u32::try_from(calls.len()).unwrap();
    let turn = Turn { seen: true, calls: calls.to_vec(), tools, units: tools, tokens_out: 30, ..Turn::default() };
    Step { paced: true, turn: Some(Box::new(turn)), ..stop_step() }
}

impl Story {
    /// Sends a Stop event after a turn, and returns the reason and the seconds until the next request.
    fn after_turn(&mut self, at: Ms, calls: &[u64]) -> (&'static str, u64) {
        let decided = self.tell(at, measured(calls));
        (decided.reason.code(), decided.retry_after.unwrap_or_default().as_secs())
    }

    /// Sends the engine's next request.
    fn engine(&mut self, at: Ms) -> &'static str {
        let fence = self.state.session.fence.unwrap();
        self.tell(at, Step { paced: true, ..step(Event::Ask { fence, renew: false }) }).reason.code()
    }
}

#[test]
fn an_agent_with_nothing_to_do_rests_twice_as_long_each_time() {
    let mut story = default();
    let mut at = 0;
    let mut rests = Vec::new();
    for _ in 0..7 {
        let (reason, seconds) = story.after_turn(at, &[]);
        assert_eq!(reason, "idle");
        rests.push(seconds / 60);
        at += Ms::try_from(seconds).unwrap() * S;
        assert_eq!(story.engine(at), "admitted");
        at += S;
    }
    assert_eq!(rests, [2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(story.after_turn(at, &[1]), ("min_interval", 14), "work resets it");
    assert_eq!(story.after_turn(at + MIN, &[]), ("idle", 120));
}

#[test]
fn a_poll_rests_at_most_ten_minutes_and_sees_the_new_result() {
    let mut story = default();
    assert_eq!(story.after_turn(0, &[1, 2]).0, "admitted");
    let mut at = MIN;
    for _ in 0..20 {
        let (reason, seconds) = story.after_turn(at, &[2, 1]);
        assert_eq!(reason, "idle");
        assert!(seconds <= 600, "{seconds}");
        at += Ms::try_from(seconds).unwrap() * S;
        assert_eq!(story.engine(at), "admitted");
        at += S;
    }
    assert_eq!(story.after_turn(at, &[1, 3]).0, "min_interval", "another result is work");
}

#[test]
fn what_ends_an_idle_rest() {
    let wake = || Event::Wake { note: String::new(), spread: false, signal: None, depth: 0 };
    for (event, is_over) in [
        (wake(), true),
        (Event::ClientPrompt { of_admission: false }, true),
        (Event::PersonPrompt, true),
        (Event::Other, false),
    ] {
        let mut story = default();
        assert_eq!(story.after_turn(0, &[]), ("idle", 120));
        story.event(S, event.clone());
        let answer = story.engine(2 * S);
        assert_eq!(answer != "idle", is_over, "{event:?}: {answer}");
    }
}

#[test]
fn a_directive_comes_before_parked_and_parked_before_idle() {
    let mut story = default();
    let resting = |kind, ms: u64| {
        let rest = RestRequest { kind, lasting: Some(Duration::from_millis(ms)), topic: String::new() };
        Step { event: Event::Stop { rest: Some(rest) }, ..measured(&[]) }
    };
    let mut stop = |at, step: Option<Step>| {
        let decided = story.tell(at, step.unwrap_or_else(|| measured(&[])));
        (decided.reason.code(), decided.retry_after.unwrap_or_default().as_secs())
    };
    assert_eq!(stop(0, None), ("idle", 120));
    assert_eq!(stop(S, Some(resting(RestKind::Parked, 60_000))), ("parked", 60));
    assert_eq!(stop(2 * S, Some(resting(RestKind::Rest, 300_000))), ("rest", 300));
    assert_eq!(stop(3 * S, Some(resting(RestKind::Parked, 60_000))), ("rest", 299), "the agent's own rest");
    assert_eq!(stop(4 * S, None), ("rest", 298));
    // It is the sixth idle turn in a row.
    assert_eq!(stop(5 * S, Some(resting(RestKind::Rest, 60_000))), ("rest", 3600), "at least the idle rest");
    assert_eq!(stop(6 * S, Some(resting(RestKind::Done, 60_000))), ("done", 60));
    assert_eq!(stop(70 * S, None).0, "idle", "the agent's own rest is over, though no admission followed it");
}

#[test]
fn a_persons_turn_is_never_idle_and_quiet_for_a_minute() {
    let mut story = default();
    story.event(0, Event::PersonPrompt);
    assert_eq!(story.after_turn(S, &[]), ("quiet", 60));
    assert_eq!(story.engine(61 * S - 1), "quiet");
    assert_eq!(story.engine(61 * S), "admitted");
    assert_eq!(story.after_turn(62 * S, &[]), ("idle", 240), "the person's empty turn counts");
    // The client's own turn does not shorten the quiet minute.
    let mut story = default();
    story.event(0, Event::PersonPrompt);
    assert_eq!(story.after_turn(S, &[1]), ("quiet", 60));
    story.event(2 * S, Event::ClientPrompt { of_admission: false });
    assert_eq!(story.after_turn(11 * S, &[2]), ("quiet", 50));
    // An engine that does not wait would never come back.
    let mut story = default();
    story.event(0, Event::PersonPrompt);
    assert_eq!(story.stop(S).reason.code(), "admitted");
}

#[test]
fn a_failed_turn_and_a_plain_stop_leave_the_idle_streak() {
    let mut story = default();
    assert_eq!(story.after_turn(0, &[]), ("idle", 120));
    story.event(S, Event::StopFailure(failure(FailureClass::Passing)));
    assert_eq!(story.state.session.idle, 1);
    assert_eq!(story.after_turn(10 * MIN, &[]), ("idle", 240));
    assert_eq!(story.stop(30 * MIN).reason.code(), "admitted");
    assert_eq!(story.state.session.idle, 2);
    let none = Story::new(policy(|p| p.idle = None)).after_turn(0, &[]);
    assert_eq!(none.0, "admitted", "switched off");
}

// ---- healthy loops never trip -----------------------------------------------------------------------------------

/// Where the burst window limits beside a minimum interval, a paced request waits for its place.
#[test]
fn a_paced_request_waits_for_a_place_only_where_both_limits_apply() {
    for (interval, window_limits, expected) in
        [(10, false, ("admitted", None)), (10, true, ("min_interval", Some(49 * S))), (0, true, ("burst", Some(MIN)))]
    {
        let mut story = Story::new(policy(|p| {
            p.stop.min_interval = Duration::from_secs(interval);
            p.stop.burst = Some(Burst { limit: 3, window: Duration::from_secs(60) });
            p.stop.window_limits = window_limits;
            p.stop.cooldown.jitter = 0;
        }));
        story.reasons(&[0, S]);
        let decided = story.paced(11 * S);
        assert_eq!((decided.reason.code(), decided.retry_after.map(millis)), expected, "{interval} {window_limits}");
    }
}

#[test]
fn a_slow_loop_never_trips() {
    for gap in [15_000, 15_001, 15_500, 16_000, 19_999, 20_000, 20_001, 25_000, 30_000, 60_000, 3_600_000] {
        let mut story = default();
        for i in 0..40 {
            assert_eq!(story.stop(i * gap).reason.code(), "admitted", "every {gap} ms");
        }
    }
}

#[test]
fn a_paced_loop_never_trips() {
    for interval in 1..=60 {
        let policy = policy(|p| p.stop.min_interval = Duration::from_secs(interval));
        let mut state = State::default();
        let (mut now, mut admitted) = (T0, 0);
        while admitted < 200 {
            let decided = decision::step(&policy, &mut state, &Step { paced: true, ..stop_step() }, now);
            match decided.reason.code() {
                "admitted" => admitted += 1,
                "min_interval" => now += after(&decided),
                other => panic!("{other} at an interval of {interval} s"),
            }
            now += 300;
        }
    }
}

// ---- rules 0 to 4: fence, hold, cooldowns, rest -----------------------------------------------------------------

#[test]
fn a_newer_stop_supersedes_a_waiter_and_changes_nothing_else() {
    let mut story = default();
    let fence = story.stop(0).fence.unwrap();
    let newer = story.stop(1).fence.unwrap();
    assert!(newer > fence);
    let before = story.state.clone();
    let late = story.event(20 * S, Event::Ask { fence, renew: false });
    assert_eq!((late.reason.code(), late.retry_after), ("superseded", None));
    assert_eq!(story.state, before);
    assert_eq!(story.event(20 * S, Event::Ask { fence: newer, renew: false }).reason.code(), "admitted");
}

#[test]
fn every_end_of_a_turn_raises_the_fence() {
    let raising = [
        Event::PersonPrompt,
        Event::ClientPrompt { of_admission: false },
        Event::SessionEnd,
        Event::StopFailure(failure(FailureClass::Passing)),
    ];
    for event in raising {
        let mut story = default();
        let fence = story.stop(0).fence.unwrap();
        story.event(1, event.clone());
        assert_eq!(story.event(20 * S, Event::Ask { fence, renew: false }).reason.code(), "superseded", "{event:?}");
    }
    for event in [Event::Other, Event::NeedsYou, Event::PreCompactAuto] {
        let mut story = default();
        let fence = story.stop(0).fence.unwrap();
        story.event(1, event.clone());
        assert_eq!(story.event(20 * S, Event::Ask { fence, renew: false }).reason.code(), "admitted", "{event:?}");
    }
}

#[test]
fn a_fence_grows_even_when_the_hosts_clock_does_not() {
    let mut story = default();
    let first = story.tell(0, Step { host_ms: T0, ..stop_step() }).fence.unwrap();
    let mut state = story.state.clone();
    let behind = Step { host_ms: T0 - 1_000_000, ..stop_step() };
    let second = decision::step(&story.policy, &mut state, &behind, T0 + 1).fence.unwrap();
    assert_eq!(second, first + 1);
}

#[test]
fn a_server_that_lost_its_data_takes_the_waiters_fence() {
    let mut story = default();
    let decided = story.event(0, Event::Ask { fence: T0 + 5, renew: false });
    assert_eq!((decided.reason.code(), decided.fence), ("admitted", Some(T0 + 5)));
}

#[test]
fn a_hold_refuses_stops_and_no_compaction() {
    let hold = |until| Some(Hold { reason: "lunch".into(), by: "ann".into(), since: T0, until, id: 0 });
    for fleet in [false, true] {
        let mut state = State::default();
        *(if fleet { &mut state.fleet.hold } else { &mut state.scope.hold }) = hold(Some(T0 + 10 * S));
        let limits = Policy::default();
        let held = decision::step(&limits, &mut state, &stop_step(), T0 + S);
        assert_eq!((held.reason.code(), after(&held)), ("hold", 9 * S));
        assert_eq!(held.held.unwrap().reason, "lunch");
        assert_eq!(decision::step(&limits, &mut state, &step(Event::PreCompactAuto), T0 + S).reason.code(), "admitted");
        assert_eq!(decision::step(&limits, &mut state, &stop_step(), T0 + 10 * S).reason.code(), "admitted");
    }
    let mut state = State::default();
    state.scope.hold = hold(Some(T0 + 10 * S));
    state.fleet.hold = hold(None);
    assert_eq!(decision::step(&Policy::default(), &mut state, &stop_step(), T0).retry_after, None);
}

#[test]
fn rules_refuse_in_their_order() {
    let mut story = default();
    story.reasons(&[0, 1, 2]);
    story.event(3, Event::StopFailure(failure(FailureClass::Passing)));
    story.state.scope.hold =
        Some(Hold { reason: "r".into(), by: "b".into(), since: T0, until: Some(T0 + 5 * S), id: 0 });
    let ask = |state: &State, at: Ms, event: Event| {
        decision::step(&Policy::default(), &mut state.clone(), &step(event), T0 + at).reason.code()
    };
    let rest = RestRequest { kind: RestKind::Rest, lasting: Some(Duration::from_secs(600)), topic: String::new() };
    let resting = Event::Stop { rest: Some(rest) };
    let mut state = story.state.clone();
    assert_eq!(ask(&state, 4, resting.clone()), "hold");
    state.scope.hold = None;
    assert_eq!(ask(&state, 4, resting.clone()), "cooldown");
    state.scope.stop.cooldown = None;
    assert_eq!(ask(&state, 4, resting.clone()), "api_error");
    state.scope.api = None;
    assert_eq!(ask(&state, 4, resting), "rest");
    assert_eq!(ask(&state, 4, Event::Stop { rest: None }), "min_interval");
}

#[test]
fn asks_refused_before_the_guard_are_not_noted() {
    let mut story = default();
    story.stop(0);
    story.event(1, Event::StopFailure(failure(FailureClass::Passing)));
    let fence = story.state.session.fence.unwrap();
    for i in 2..12 {
        assert_eq!(story.event(i, Event::Ask { fence, renew: false }).reason.code(), "api_error");
    }
    assert_eq!(story.state.scope.stop.attempts, [T0]);
}

#[test]
fn rests_by_kind() {
    for (kind, code) in RestKind::ALL.into_iter().zip(["rest", "done", "blocked", "wait_for", "parked"]) {
        let mut story = default();
        let refused = story.resting(0, kind, Some(30 * S));
        assert_eq!((refused.reason.code(), after(&refused)), (code, 30 * S));
        // A Stop event without background work ends a parked rest, and no other.
        let next = if kind == RestKind::Parked { "admitted" } else { code };
        assert_eq!(story.stop(29 * S).reason.code(), next);
        if kind == RestKind::Parked {
            continue;
        }
        assert_eq!(story.stop(30 * S).reason.code(), "admitted");
    }
    let mut story = default();
    assert_eq!(story.resting(0, RestKind::Done, None).retry_after, None);
    assert_eq!(story.stop(3600 * S).reason.code(), "done");
}

#[test]
fn what_ends_a_rest() {
    for (event, ends) in [
        (Event::PersonPrompt, true),
        (Event::SessionEnd, true),
        (Event::ClientPrompt { of_admission: false }, false),
        (Event::Other, false),
    ] {
        let mut story = default();
        story.resting(0, RestKind::Done, None);
        story.event(1, event.clone());
        let expected = if ends { "admitted" } else { "done" };
        assert_eq!(story.stop(2).reason.code(), expected, "{event:?}");
    }
    let mut story = default();
    story.resting(0, RestKind::Parked, Some(3600 * S));
    story.event(1, Event::ClientPrompt { of_admission: false });
    assert_eq!(story.stop(2).reason.code(), "admitted");
}

#[test]
fn the_agents_word_wins_over_its_tasks() {
    let mut story = default();
    story.resting(0, RestKind::Done, None);
    assert_eq!(story.resting(1, RestKind::Parked, Some(S)).reason.code(), "done");
    let mut story = default();
    story.resting(0, RestKind::Parked, Some(600 * S));
    assert_eq!(story.resting(1, RestKind::Rest, Some(5 * S)).reason.code(), "rest");
}

#[test]
fn a_wake_up_ends_a_rest_even_one_booked_later_and_nothing_else() {
    let mut state = State::default();
    state.session.woken = true;
    let rest = RestRequest { kind: RestKind::Done, lasting: None, topic: String::new() };
    let done = step(Event::Stop { rest: Some(rest) });
    assert_eq!(decision::step(&Policy::default(), &mut state, &done, T0).reason.code(), "admitted");
    assert!(!state.session.woken, "the admission answers it");
    state.session.woken = true;
    assert_eq!(decision::step(&Policy::default(), &mut state, &stop_step(), T0 + 1).reason.code(), "min_interval");
    assert!(state.session.woken, "a refusal keeps it");
}

#[test]
fn a_note_is_handed_out_again_until_the_next_stop() {
    let mut story = default();
    let note = |words: &str| Event::Wake { note: words.to_owned(), spread: false, signal: None, depth: 0 };
    story.event(0, note("one"));
    assert_eq!(story.stop(1).note, "one");
    // The answer was lost: the engine sends the request again.
    let fence = story.state.session.fence.unwrap();
    story.event(2, note("two"));
    let ask = Event::Ask { fence, renew: false };
    assert_eq!(story.event(60 * S, ask).note, "one\ntwo");
    assert_eq!(story.stop(120 * S).note, "");
}

#[test]
fn a_stop_told_again_is_known_by_its_id_and_a_late_one_does_not_unseat_a_newer() {
    let policy = Policy::default();
    let mut state = State::default();
    let stop = |id: &str, late: Option<u64>, host_ms| Step {
        id: id.to_owned(),
        late: late.map(Duration::from_millis),
        host_ms,
        paced: true,
        ..stop_step()
    };
    let first = decision::step(&policy, &mut state, &stop("a", None, T0), T0);
    // Its answer was lost: the same answer, and nothing changes.
    let before = state.clone();
    let again = decision::step(&policy, &mut state, &stop("a", Some(1000), T0 - 9_000_000), T0 + 1000);
    assert_eq!((again.fence, again.reason.code(), again.repeated), (first.fence, "admitted", true));
    assert_eq!(state, before);
    // A server may have committed it a second after it was decided.
    let again = decision::step(&policy, &mut state, &stop("a", Some(2000), T0 - 9_000_000), T0 + 2000);
    assert!(again.repeated);
    // Another store that had the scope since may have admitted it.
    let mut taken = state.clone();
    taken.scope.taken = Some(T0 + 500);
    let late = decision::step(&policy, &mut taken.clone(), &stop("a", Some(1001), T0 - 9_000_000), T0 + 1001);
    assert_eq!((late.reason.code(), late.repeated), ("min_interval", false));
    assert!(decision::step(&policy, &mut taken, &stop("a", Some(1000), T0 - 9_000_000), T0 + 1000).repeated);
    // Later others may have been admitted since.
    let late = decision::step(&policy, &mut state.clone(), &stop("a", Some(2001), T0 - 9_000_000), T0 + 2001);
    assert_eq!((late.fence, late.reason.code(), late.repeated), (first.fence, "min_interval", false));
    // A refused one is decided again, with the same fence, whatever the clock.
    let refused = decision::step(&policy, &mut state, &stop("r", None, T0), T0 + 5100);
    let again = decision::step(&policy, &mut state, &stop("r", Some(100), T0 - 9_000_000), T0 + 5200);
    assert_eq!((again.fence, again.reason.code(), again.repeated), (refused.fence, "min_interval", false));
    // One that never arrived, with a first attempt before a newer one began.
    decision::step(&policy, &mut state, &stop("b", None, T0), T0 + 6000);
    let late = decision::step(&policy, &mut state, &stop("c", Some(1000), T0), T0 + 6500);
    assert_eq!(late.reason.code(), "superseded");
    // And one with a first attempt after it.
    let later = decision::step(&policy, &mut state, &stop("d", Some(300), T0 - 9_000_000), T0 + 6500);
    assert_eq!(later.reason.code(), "min_interval");
    assert!(later.fence > first.fence);
}

// ---- API errors -------------------------------------------------------------------------------------------------

#[test]
fn api_errors_grow_and_a_good_stop_clears_the_strikes() {
    let mut story = default();
    for (i, length) in [60, 120, 240, 480, 960, 1920, 3600, 3600].into_iter().enumerate() {
        let at = Ms::try_from(i).unwrap() * 4000 * S;
        let recorded = story.event(at, Event::StopFailure(failure(FailureClass::Passing)));
        assert_eq!(recorded.outcome, Outcome::Record);
        assert_eq!(after(&recorded), length * S);
        let fence = recorded.fence.unwrap();
        let refused = story.event(at + S, Event::Ask { fence, renew: false });
        assert_eq!((refused.reason.code(), after(&refused)), ("api_error", (length - 1) * S));
    }
    let at = 50_000 * S;
    assert_eq!(story.stop(at).reason.code(), "admitted");
    let recorded = story.event(at + S, Event::StopFailure(failure(FailureClass::Passing)));
    assert_eq!(after(&recorded), 60 * S);
    // An open API cooldown runs out: a successful Stop event does not end it.
    assert_eq!(story.stop(at + 2 * S).reason.code(), "api_error");
    assert_eq!(story.state.scope.api_strikes, 0);
}

#[test]
fn a_reset_time_is_used_within_bounds_and_a_cooldown_only_lengthened() {
    let day = Duration::from_secs(86_400);
    for (reset, length) in [
        (Reset::After(Duration::from_secs(300)), 300 * S),
        (Reset::After(Duration::from_secs(1)), 60 * S),
        (Reset::After(30 * day), 7 * 86_400 * S),
        (Reset::At(T0 + 200 * S), 200 * S),
        (Reset::At(T0 - 200 * S), 60 * S),
    ] {
        let mut story = default();
        let failed = Failure { reset: Some(reset), ..failure(FailureClass::Passing) };
        assert_eq!(after(&story.event(0, Event::StopFailure(failed))), length, "{reset:?}");
        let again = story.event(S, Event::StopFailure(failure(FailureClass::Passing)));
        assert_eq!(after(&again), (length - S).max(120 * S), "{reset:?}");
    }
}

#[test]
fn turns_that_a_person_began_lengthen_no_cooldown() {
    for class in [FailureClass::Passing, FailureClass::Request] {
        let mut story = default();
        story.event(0, Event::StopFailure(failure(class)));
        let open = story.state.scope.api;
        for i in 1..20 {
            story.event(i * S, Event::PersonPrompt);
            story.event(i * S + 1, Event::StopFailure(failure(class)));
        }
        assert_eq!((story.state.scope.api, story.state.scope.api_strikes), (open, 1));
        assert!(story.state.scope.hold.is_none() && story.state.scope.api_row <= 1);
        // The agent's own next failure is its second.
        let own = story.event(70 * S, Event::StopFailure(failure(class)));
        assert_eq!(after(&own), 120 * S);
        // A reset time from the API counts in any turn.
        story.event(80 * S, Event::PersonPrompt);
        let reset = Some(Reset::After(Duration::from_secs(600)));
        let told = story.event(81 * S, Event::StopFailure(Failure { reset, ..failure(class) }));
        assert_eq!(after(&told), 600 * S);
    }
    // If none is open, a person's failing turn opens the first, each time the same.
    let mut story = default();
    for i in 0..5 {
        story.event(i * 100 * S, Event::PersonPrompt);
        assert_eq!(after(&story.event(i * 100 * S + 1, Event::StopFailure(failure(FailureClass::Passing)))), 60 * S);
    }
    // The same with the hold of an error that a person must correct.
    let mut story = default();
    for i in 0..5 {
        story.event(i * MIN, Event::PersonPrompt);
        story.event(i * MIN + 1, Event::StopFailure(failure(FailureClass::Person)));
    }
    assert_eq!(story.state.scope.hold.clone().unwrap().until, Some(T0 + 1 + 30 * MIN));
    // A turn that Frosty began after a person's is the agent's own again.
    let mut story = default();
    story.event(0, Event::PersonPrompt);
    assert_eq!(story.stop(1).reason.code(), "admitted");
    story.event(2, Event::StopFailure(failure(FailureClass::Passing)));
    assert_eq!(story.state.scope.api_strikes, 1);
}

#[test]
fn a_release_ends_an_api_cooldown() {
    let mut story = default();
    let failed = story.event(0, Event::StopFailure(failure(FailureClass::Passing)));
    let released = story.event(20 * S, Event::Release { fleet: false, at_once: false });
    assert_eq!((released.outcome, after(&released), released.held), (Outcome::Record, 40 * S, None));
    let ask = Event::Ask { fence: failed.fence.unwrap(), renew: false };
    assert_eq!(story.event(20 * S, ask).reason.code(), "admitted");
    assert_eq!(story.event(21 * S, Event::Release { fleet: false, at_once: false }).retry_after, None);
}

/// The client may deliver a wake-up long after its admission: the beginning of its turn counts.
#[test]
fn the_guard_closes_again_when_the_turn_of_a_late_admission_begins() {
    let mut story = default();
    assert_eq!(story.stop(0).reason.code(), "admitted");
    story.event(60 * S, Event::ClientPrompt { of_admission: true });
    let early = story.stop(62 * S);
    assert_eq!((early.reason.code(), after(&early)), ("min_interval", 13 * S));
    assert_eq!(story.paced(75 * S).reason.code(), "admitted");
    // Another wake-up of the client is no turn of Frosty's, and a scope that was never admitted has nothing to begin
    // again.
    story.event(80 * S, Event::ClientPrompt { of_admission: false });
    assert_eq!(story.stop(90 * S).reason.code(), "admitted");
    let mut story = default();
    story.event(0, Event::ClientPrompt { of_admission: true });
    assert_eq!(story.stop(1).reason.code(), "admitted");
}

#[test]
fn the_fourth_refused_request_in_a_row_is_held() {
    let mut story = default();
    for i in 0..3 {
        story.event(i * S, Event::StopFailure(failure(FailureClass::Request)));
        assert!(story.state.scope.hold.is_none());
    }
    story.event(3 * S, Event::StopFailure(failure(FailureClass::Request)));
    let hold = story.state.scope.hold.clone().unwrap();
    assert_eq!((hold.by.as_str(), hold.until), ("api", Some(T0 + 3 * S + 30 * MIN)));
    // Another error between them breaks the row.
    let mut story = default();
    for i in 0..12 {
        let class = if i % 3 == 2 { FailureClass::Passing } else { FailureClass::Request };
        story.event(i * S, Event::StopFailure(failure(class)));
    }
    assert!(story.state.scope.hold.is_none());
}

#[test]
fn what_only_a_person_can_mend_is_held_with_its_cure_and_doubles() {
    let mut story = default();
    let mut at = 0;
    for minutes in [30, 60, 120, 240, 240] {
        story.event(at, Event::StopFailure(failure(FailureClass::Person)));
        let fence = story.state.session.fence.unwrap();
        let held = story.event(at + 1, Event::Ask { fence, renew: false });
        assert_eq!((held.reason.code(), after(&held)), ("hold", minutes * MIN - 1));
        assert_eq!(held.held.unwrap().reason, "cure");
        at += minutes * MIN;
    }
    // A successful Stop event lifts it.
    story.event(at, Event::StopFailure(failure(FailureClass::Person)));
    assert_eq!(story.stop(at + 1).reason.code(), "admitted");
    assert_eq!((story.state.scope.released, story.state.scope.api_holds), (Some(T0 + at + 1), 0));
}

#[test]
fn a_persons_hold_is_never_touched_by_the_api() {
    let limits = Policy::default();
    let mut state = State::default();
    let persons = Hold { reason: "r".into(), by: "ann".into(), since: T0, until: None, id: 0 };
    state.scope.hold = Some(persons.clone());
    decision::step(&limits, &mut state, &step(Event::StopFailure(failure(FailureClass::Person))), T0);
    assert_eq!(state.scope.hold, Some(persons.clone()));
    decision::step(&limits, &mut state, &stop_step(), T0 + 1);
    assert_eq!(state.scope.hold, Some(persons));
}

// ---- release slots ----------------------------------------------------------------------------------------------

#[test]
fn a_change_of_store_and_a_stop_told_late_free_one_after_the_other() {
    let limits = Policy::default();
    let late = Step { paced: true, late: Some(Duration::from_secs(30)), ..stop_step() };
    let (mut first, mut second) = (State::default(), State::default());
    assert_eq!(decision::step(&limits, &mut first, &late, T0).reason.code(), "admitted");
    second.fleet = first.fleet.clone();
    let refused = decision::step(&limits, &mut second, &late, T0);
    assert_eq!((refused.reason.code(), after(&refused)), ("spread", 250));
    let stop = Step { paced: true, id: "another".to_owned(), ..stop_step() };
    assert_eq!(
        decision::step(&limits, &mut second.clone(), &stop, T0).reason.code(),
        "admitted",
        "a new stop has none"
    );
    let plain = Step { paced: false, ..late.clone() };
    assert_eq!(decision::step(&limits, &mut second.clone(), &plain, T0).reason.code(), "admitted");

    // A change of store starts the minimum interval of both scopes until the same time.
    let (mut first, mut second) = (State::default(), State::default());
    (first.scope.taken, second.scope.taken) = (Some(T0), Some(T0));
    let stop = Step { paced: true, ..stop_step() };
    let fences = [&mut first, &mut second].map(|state| {
        let refused = decision::step(&limits, state, &stop, T0);
        assert_eq!((refused.reason.code(), after(&refused)), ("min_interval", 15 * S));
        refused.fence.unwrap()
    });
    let ask = |fence| Step { paced: true, ..step(Event::Ask { fence, renew: false }) };
    assert_eq!(decision::step(&limits, &mut first, &ask(fences[0]), T0 + 15 * S).reason.code(), "admitted");
    second.fleet = first.fleet.clone();
    let refused = decision::step(&limits, &mut second, &ask(fences[1]), T0 + 15 * S);
    assert_eq!((refused.reason.code(), after(&refused)), ("spread", 250));
    assert_eq!(decision::step(&limits, &mut second, &ask(fences[1]), T0 + 15 * S + 250).reason.code(), "admitted");
}

#[test]
fn a_limit_of_the_key_is_lifted_by_a_good_stop_and_by_a_release() {
    let limits = Policy::default();
    let reset = Some(Reset::After(Duration::from_secs(3600)));
    let failed = Failure { reset, of_key: true, ..failure(FailureClass::Passing) };
    let mut met = State::default();
    let fence = decision::step(&limits, &mut met, &step(Event::StopFailure(failed)), T0).fence.unwrap();
    // Another scope of the fleet, with a session that stopped before.
    let ask = |fence| Step { paced: true, ..step(Event::Ask { fence, renew: false }) };
    let mut other = State { fleet: met.fleet.clone(), ..State::default() };
    other.session.fence = Some(7);
    let refused = decision::step(&limits, &mut other, &ask(7), T0 + S);
    assert_eq!((refused.reason.code(), after(&refused)), ("api_error", 3599 * S));
    let mut released = other.clone();
    decision::step(&limits, &mut released, &step(Event::Release { fleet: false, at_once: false }), T0 + 2 * S);
    assert_eq!(
        decision::step(&limits, &mut released, &ask(7), T0 + 3 * S).reason.code(),
        "admitted",
        "its scope's alone"
    );
    decision::step(&limits, &mut other, &step(Event::Stop { rest: None }), T0 + 2 * S);
    assert_eq!((other.fleet.limit, other.fleet.answered), (None, Some(T0 + 2 * S)));
    // Of the scope that met it, too.
    met.fleet = other.fleet;
    assert_eq!(decision::step(&limits, &mut met, &ask(fence), T0 + 3 * S).reason.code(), "admitted");
}

// ---- compaction -------------------------------------------------------------------------------------------------

#[test]
fn three_compactions_pass_and_the_fourth_trips() {
    let mut story = default();
    let mut compact = |at| story.event(at, Event::PreCompactAuto);
    for i in 0..3 {
        assert_eq!(compact(i * MIN).reason.code(), "admitted");
    }
    let fourth = compact(3 * MIN);
    assert_eq!((fourth.reason.code(), after(&fourth)), ("burst", 10 * MIN));
    assert_eq!(compact(4 * MIN).reason.code(), "cooldown");
    assert_eq!(compact(13 * MIN).reason.code(), "probe");
    assert_eq!(story.stop(13 * MIN).reason.code(), "admitted", "the classes do not touch each other");
}

#[test]
fn a_prompt_that_is_too_long_ends_the_compact_cooldown() {
    let mut story = default();
    for i in 0..4 {
        story.event(i, Event::PreCompactAuto);
    }
    let failed = Failure { too_long: true, ..failure(FailureClass::Request) };
    story.event(5, Event::StopFailure(failed));
    assert_eq!(story.event(6, Event::PreCompactAuto).reason.code(), "probe");
}

// ---- the rest ---------------------------------------------------------------------------------------------------

#[test]
fn needs_you_lasts_until_the_next_event() {
    let mut story = default();
    story.event(0, Event::NeedsYou);
    assert!(story.state.session.needs_you);
    story.event(1, Event::Other);
    assert!(!story.state.session.needs_you);
}

#[test]
fn a_changed_reason_is_told_once() {
    let mut story = default();
    let told: Vec<bool> = [0, 1, 2, 3, 4].iter().map(|at| story.stop(*at).reason_changed).collect();
    assert_eq!(told, [true, true, true, true, false]);
}

#[test]
fn a_storm_of_one_ask_per_second_for_a_day_is_admitted_at_most_110_times() {
    for r in [0, 500_000, 999_999] {
        let mut state = State::default();
        let mut admitted = 0;
        for second in 0..86_400 {
            let ask = Step { r, ..stop_step() };
            let decided = decision::step(&Policy::default(), &mut state, &ask, T0 + second * S);
            admitted += u32::from(decided.outcome == Outcome::Admit);
        }
        println!("r {r}: {admitted} admitted");
        assert!((10..=110).contains(&admitted), "{admitted} with r = {r}");
    }
}

#[test]
fn a_window_of_one_attempt_trips_on_the_first_early_ask() {
    let mut story = Story::new(policy(|p| {
        p.stop.burst = Some(Burst { limit: 1, window: Duration::from_secs(20) });
    }));
    assert_eq!(story.reasons(&[0, 1]), ["admitted", "burst"]);
}
