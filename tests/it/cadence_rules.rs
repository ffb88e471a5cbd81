//! The kinds of turns, dreams and notes, in stories of one agent.

use std::time::Duration;

use frosty::policy::cadence::{Cadence, Dreams, TurnKind};
use frosty::policy::calendar::Calendar;
use frosty::policy::decision::{self, State};
use frosty::policy::limits::{Ms, Policy};
use frosty::policy::request::{Event, HoldRequest, RestRequest, Step};
use frosty::policy::rest::RestKind;
use frosty::policy::turn::Turn;
use frosty::policy::verdict::{Decision, Outcome, Reason};

use frosty::policy::work::entry::WorkEntry;
use frosty::policy::work::{WorkMode, WorkState};

use crate::support::{T0, policy, step};

const S: Ms = 1000;
const MIN: Ms = 60 * S;

/// A turn of the agent: its tool calls, the rest that it requests, and its notes.
#[derive(Clone, Copy, Default)]
struct Does<'a> {
    calls: &'a [u64],
    rest: Option<(RestKind, Option<Ms>)>,
    notes: &'a [&'a str],
}

/// An agent whose waiting engine sends each request when the last refusal ends.
struct Agent {
    policy: Policy,
    state: State,
    now: Ms,
    ids: u32,
    is_warm: Option<bool>,
    /// The refusals of the last wait: the reason and the length in seconds.
    waits: Vec<(Reason, Option<u64>)>,
}

impl Agent {
    fn new(cadence: Cadence) -> Self {
        let policy = policy(|policy| {
            policy.cadence = cadence;
            policy.quiet = Duration::ZERO;
            (policy.stop.min_interval, policy.stop.burst) = (Duration::from_secs(15), None);
        });
        Self { policy, state: State::default(), now: T0, ids: 0, is_warm: None, waits: Vec::new() }
    }

    fn sends(&mut self, step: Step) -> Decision {
        self.ids += 1;
        let step =
            Step { id: self.ids.to_string(), host_ms: self.now, paced: true, cache_is_warm: self.is_warm, ..step };
        decision::step(&self.policy, &mut self.state, &step, self.now)
    }

    /// Ends a turn, and returns the decision of its Stop event.
    fn stops(&mut self, does: Does<'_>) -> Decision {
        self.now += 20 * S;
        let Does { calls, rest, notes } = does;
        let tools = u32::try_from(calls.len()).unwrap();
        let turn = Turn { seen: true, calls: calls.to_vec(), tools, units: tools, tokens_out: 30, ..Turn::default() };
        let lasting = |ms: Ms| Duration::from_millis(ms.unsigned_abs());
        let rest = rest.map(|(kind, ms)| RestRequest { kind, lasting: ms.map(lasting), topic: String::new() });
        let notes = notes.iter().map(|note| (*note).to_owned()).collect();
        self.sends(Step { turn: Some(Box::new(turn)), notes, ..step(Event::Stop { rest }) })
    }

    /// Ends a turn, and waits until the session is admitted. A rest without an end is left as it is.
    fn after(&mut self, does: Does<'_>) -> Decision {
        let mut decided = self.stops(does);
        self.waits.clear();
        while decided.outcome != Outcome::Admit {
            self.waits.push((decided.reason, decided.retry_after.map(|left| left.as_secs())));
            let Some(left) = decided.retry_after else { return decided };
            self.now += Ms::try_from(left.as_millis()).unwrap();
            let fence = self.state.session.fence.unwrap();
            decided = self.sends(step(Event::Ask { fence, renew: false }));
        }
        decided
    }

    fn works(&mut self, turns: u64) -> Vec<TurnKind> {
        (0..turns)
            .map(|n| self.after(Does { calls: &[1000 * n + u64::from(self.ids)], ..Does::default() }).turn_kind)
            .collect()
    }

    /// Returns the reasons of the last wait.
    fn reasons(&self) -> Vec<&'static str> {
        self.waits.iter().map(|(reason, _)| reason.code()).collect()
    }
}

fn reflecting(reflect_every: u32) -> Cadence {
    Cadence { reflect_every, ..Cadence::default() }
}

fn dreaming() -> Cadence {
    Cadence { dreams: Dreams::On, ..Cadence::default() }
}

const LONG: Does<'static> = Does { calls: &[], rest: Some((RestKind::Rest, Some(40 * MIN))), notes: &[] };

#[test]
fn each_third_cycle_a_reflection_comes_first() {
    let mut agent = Agent::new(reflecting(3));
    let mut kinds = Vec::new();
    // Each cycle is one useful turn and an empty one, after which the agent rests.
    for n in 0..34_u64 {
        let does = [100 + n];
        let kind =
            agent.after(Does { calls: if n.is_multiple_of(2) { &does } else { &[] }, ..Does::default() }).turn_kind;
        kinds.push(kind);
        if kind.is_reflection() {
            assert_eq!(agent.after(Does::default()).turn_kind, TurnKind::Work, "a reflection is one turn");
        }
    }
    let found: Vec<(usize, &str)> =
        kinds.iter().enumerate().filter(|(_, kind)| !kind.is_work()).map(|(n, kind)| (n, kind.code())).collect();
    let expected = ["cycle", "self", "cycle", "self", "reflections"];
    let expected: Vec<(usize, String)> =
        expected.iter().enumerate().map(|(n, on)| (6 * n + 5, format!("reflection_on_{on}"))).collect();
    assert_eq!(found, expected.iter().map(|(n, kind)| (*n, kind.as_str())).collect::<Vec<_>>());
}

#[test]
fn a_reflection_changes_no_streak_and_no_rest() {
    let rests = |cadence: Cadence| {
        let mut agent = Agent::new(cadence);
        let mut rests = Vec::new();
        for n in 0..12_u64 {
            let does = [100 + n];
            let mut decided = agent.after(Does { calls: if n < 4 { &does } else { &[] }, ..Does::default() });
            rests.extend(agent.waits.iter().filter(|(reason, _)| *reason == Reason::Idle).copied());
            while decided.turn_kind.is_reflection() {
                let streak = agent.state.session.idle;
                decided = agent.after(Does { notes: &["something"], ..Does::default() });
                assert_eq!(agent.state.session.idle, streak);
                assert_eq!(agent.reasons().iter().filter(|reason| **reason == "idle").count(), 0);
            }
        }
        rests
    };
    let plain = rests(Cadence::default());
    assert!(plain.len() > 5, "{plain:?}");
    assert_eq!(rests(reflecting(1)), plain);
}

#[test]
fn a_word_from_outside_comes_before_a_reflection() {
    let mut agent = Agent::new(reflecting(1));
    agent.works(1);
    agent.stops(Does { rest: Some((RestKind::Done, None)), ..Does::default() });
    let wake = Event::Wake { note: "the build is green".to_owned(), spread: false, signal: None, depth: 0 };
    agent.sends(step(wake));
    agent.now += MIN;
    let fence = agent.state.session.fence.unwrap();
    let woken = agent.sends(step(Event::Ask { fence, renew: false }));
    assert_eq!(
        (woken.outcome, woken.turn_kind, woken.note.as_str()),
        (Outcome::Admit, TurnKind::Work, "the build is green")
    );
    assert_eq!(agent.after(Does::default()).turn_kind, TurnKind::ReflectionOnCycle, "it is still due");
}

#[test]
fn one_dream_comes_before_a_long_rest() {
    let mut agent = Agent::new(dreaming());
    agent.works(9);
    let dream = agent.after(LONG);
    assert_eq!((dream.outcome, dream.turn_kind, dream.renewed), (Outcome::Admit, TurnKind::Dream, false));
    assert_eq!(agent.reasons(), Vec::<&str>::new(), "its start is postponed");
    let until = agent.state.session.rest.as_ref().unwrap().until;
    // The prompt of the admission is no reason to end the rest.
    agent.sends(step(Event::ClientPrompt { of_admission: true }));
    let woken = agent.after(Does { notes: &["next: a", "next: b"], ..Does::default() });
    assert_eq!(agent.reasons(), ["rest"]);
    assert_eq!(Some(agent.now), until, "the rest ends when it would have ended");
    assert_eq!((woken.turn_kind, woken.notes), (TurnKind::Work, vec!["next: b".to_owned(), "next: a".to_owned()]));
    assert_eq!(agent.after(LONG).notes, Vec::<String>::new(), "they are given once");
    assert_eq!(agent.reasons(), ["rest"], "no second dream within nine turns");
}

#[test]
fn a_turn_keeps_its_kind_until_it_ends_or_a_person_begins_another() {
    let of_admission = Event::ClientPrompt { of_admission: true };
    for (prompt, kind) in [(of_admission, TurnKind::Dream), (Event::PersonPrompt, TurnKind::Work)] {
        let mut agent = Agent::new(dreaming());
        agent.works(9);
        assert_eq!(agent.after(LONG).turn_kind, TurnKind::Dream);
        for event in [prompt.clone(), Event::NeedsYou, Event::Other] {
            agent.sends(step(event));
        }
        assert_eq!(agent.stops(Does::default()).turn_was, kind, "{prompt:?}");
    }
}

#[test]
fn no_dream_where_it_is_no_use() {
    let after_turns = |does: Does<'_>, change: &dyn Fn(&mut Agent)| {
        let mut agent = Agent::new(dreaming());
        agent.works(9);
        change(&mut agent);
        agent.stops(does)
    };
    let resting = |kind, ms| Does { rest: Some((kind, ms)), ..Does::default() };
    for (kind, lasting) in [(RestKind::Done, None), (RestKind::Blocked, Some(1440 * MIN)), (RestKind::WaitFor, None)] {
        assert_eq!(after_turns(resting(kind, lasting), &|_| {}).outcome, Outcome::Refuse, "{kind:?}");
    }
    let short = after_turns(resting(RestKind::Rest, Some(29 * MIN)), &|_| {});
    assert_eq!(short.reason, Reason::Rest);
    assert_eq!(after_turns(LONG, &|agent| agent.is_warm = Some(false)).reason, Reason::Rest, "a cold cache");
    assert_eq!(after_turns(LONG, &|agent| agent.is_warm = Some(true)).turn_kind, TurnKind::Dream);
    let held = after_turns(LONG, &|agent| {
        agent.sends(step(Event::Hold(HoldRequest { by: "ann".to_owned(), ..HoldRequest::default() })));
    });
    assert_eq!(held.reason, Reason::Hold);
    let required = after_turns(LONG, &|agent| agent.policy.work.mode = WorkMode::Required);
    assert_eq!(required.reason, Reason::Rest, "it continues only with an entry");
    let entry = after_turns(LONG, &|agent| {
        agent.policy.work.mode = WorkMode::Preferred;
        let mut work = WorkState { agent: "echo".to_owned(), ..WorkState::default() };
        work.add(WorkEntry::default(), None, T0);
        agent.state.work = Some(work);
    });
    assert_eq!(entry.reason, Reason::Rest, "an entry waits");
    let off = after_turns(LONG, &|agent| agent.policy.cadence.dreams = Dreams::Off);
    assert_eq!(off.reason, Reason::Rest);
}

/// A rest that has begun is the same for every later request, also for the commands that foresee one.
#[test]
fn no_dream_in_a_rest_that_has_begun() {
    let mut agent = Agent::new(dreaming());
    agent.works(9);
    agent.is_warm = Some(false);
    assert_eq!(agent.stops(LONG).reason, Reason::Rest);
    agent.is_warm = None;
    agent.now += MIN;
    let fence = agent.state.session.fence.unwrap();
    assert_eq!(agent.sends(step(Event::Ask { fence, renew: false })).reason, Reason::Rest);
}

#[test]
fn a_dream_waits_for_no_cold_cache() {
    let mut agent = Agent::new(dreaming());
    agent.works(9);
    agent.policy.stop.min_interval = Duration::from_secs(600);
    let refused = agent.stops(LONG);
    assert_eq!(refused.reason, Reason::MinInterval);
    agent.now += 301 * S;
    let fence = agent.state.session.fence.unwrap();
    assert_eq!(agent.sends(step(Event::Ask { fence, renew: false })).reason, Reason::Rest);
}

/// Over a week, whatever the agent does.
#[test]
fn at_most_six_dreams_a_day_and_a_tenth_of_the_turns() {
    for seed in 0..40_u64 {
        let mut agent = Agent::new(Cadence { reflect_every: 2, ..dreaming() });
        agent.is_warm = Some(true);
        let (mut turns, mut dreams) = (0_usize, Vec::new());
        let mut random = seed;
        while agent.now < T0 + 7 * 1440 * MIN {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let does = [random];
            let rest = (random >> 33).is_multiple_of(4).then_some((RestKind::Rest, Some(45 * MIN)));
            let decided = agent.after(Does { calls: &does, rest, notes: &[] });
            turns += 1;
            if decided.turn_kind == TurnKind::Dream {
                dreams.push(agent.now);
            }
            assert!(dreams.len() * 10 <= turns, "seed {seed}: {} dreams in {turns} turns", dreams.len());
        }
        let worst =
            dreams.iter().map(|from| dreams.iter().filter(|at| (0..1440 * MIN).contains(&(**at - from))).count()).max();
        assert_eq!(worst, Some(6), "seed {seed}");
    }
}

#[test]
fn notes_survive_a_compaction() {
    let mut agent = Agent::new(Cadence::default());
    agent.stops(Does { notes: &["the port is 8080"], rest: Some((RestKind::Rest, Some(40 * MIN))), ..Does::default() });
    let recalls = |agent: &mut Agent, event| agent.sends(Step { recalls: true, ..step(event) });
    let compaction = recalls(&mut agent, Event::PreCompactAuto);
    let rest =
        |decided: &Decision| decided.memory.as_ref().and_then(|memory| memory.rest.as_ref().map(|rest| rest.kind));
    assert_eq!(
        (compaction.notes.clone(), rest(&compaction)),
        (vec!["the port is 8080".to_owned()], Some(RestKind::Rest))
    );
    let begun = recalls(&mut agent, Event::SessionStart { label: String::new() });
    assert_eq!((&begun.notes, rest(&begun)), (&compaction.notes, Some(RestKind::Rest)));
    agent.now += 40 * MIN;
    let fence = agent.state.session.fence.unwrap();
    let woken = agent.sends(step(Event::Ask { fence, renew: false }));
    assert_eq!((woken.outcome, woken.notes), (Outcome::Admit, Vec::new()), "the context has them already");
    agent.sends(step(Event::ForgetNotes));
    assert_eq!(recalls(&mut agent, Event::Other).notes, Vec::<String>::new());
}

#[test]
fn a_lost_answer_is_repeated_with_its_kind_and_its_notes() {
    let mut agent = Agent::new(Cadence { dump_every: 1, ..reflecting(1) });
    agent.works(1);
    agent.stops(Does { notes: &["a"], rest: Some((RestKind::Rest, Some(MIN))), ..Does::default() });
    agent.now += MIN;
    let fence = agent.state.session.fence.unwrap();
    let ask = Step { id: "ask".to_owned(), paced: true, ..step(Event::Ask { fence, renew: false }) };
    let first = decision::step(&agent.policy, &mut agent.state, &ask, agent.now);
    let again = decision::step(&agent.policy, &mut agent.state, &ask, agent.now + 500);
    assert_eq!((first.turn_kind, first.notes.as_slice()), (TurnKind::ReflectionOnCycle, &["a".to_owned()][..]));
    assert_eq!((again.repeated, again.turn_kind, again.notes), (true, first.turn_kind, first.notes));
    assert_eq!((first.dumps, again.dumps), (true, true));
    let ended = [agent.stops(Does::default()), agent.stops(Does::default())].map(|decided| decided.turn_was);
    assert_eq!(ended, [TurnKind::ReflectionOnCycle, TurnKind::Work]);
}

/// `frosty: wait_for the build for 2h`
#[test]
fn a_wait_with_an_end_ends_by_itself() {
    let mut agent = Agent::new(Cadence::default());
    let begun = agent.now + 20 * S;
    let decided = agent.after(Does { rest: Some((RestKind::WaitFor, Some(120 * MIN))), ..Does::default() });
    assert_eq!((agent.reasons(), decided.outcome), (vec!["wait_for"], Outcome::Admit));
    assert_eq!(agent.now - begun, 120 * MIN);
}

/// The working hours of a profile, in minutes of the day of `T0` (in UTC), which is in them.
fn hours(text: &str) -> Cadence {
    let calendar = Calendar { hours: vec![text.parse().unwrap()], ..Calendar::default() };
    Cadence { calendar, ..Cadence::default() }
}

#[test]
fn outside_its_hours_an_agent_rests_until_they_begin() {
    // T0 is 08:00 UTC.
    let mut agent = Agent::new(hours("07:00-08:01"));
    let first = agent.stops(Does { calls: &[9], ..Does::default() });
    assert_eq!(first.outcome, Outcome::Admit);
    agent.now += 2 * MIN;
    let refused = agent.stops(Does { calls: &[1], ..Does::default() });
    assert_eq!(refused.reason, Reason::OffHours);
    let opens = (T0 / (1440 * MIN) + 1) * 1440 * MIN + 420 * MIN;
    assert_eq!(agent.now + Ms::try_from(refused.retry_after.unwrap().as_millis()).unwrap(), opens);
    // A wake-up continues it once.
    agent.sends(step(Event::Wake { note: String::new(), spread: false, signal: None, depth: 0 }));
    let fence = agent.state.session.fence.unwrap();
    agent.now += MIN;
    assert_eq!(agent.sends(step(Event::Ask { fence, renew: false })).outcome, Outcome::Admit);
    assert_eq!(agent.stops(Does { calls: &[2], ..Does::default() }).reason, Reason::OffHours);
    // Without the hours the rest is over.
    agent.policy.cadence = Cadence::default();
    let fence = agent.state.session.fence.unwrap();
    agent.now += MIN;
    assert_eq!(agent.sends(step(Event::Ask { fence, renew: false })).outcome, Outcome::Admit);
}

/// Work ends a rest of kind `done` and `idle`, but not outside the working hours.
#[test]
fn work_waits_for_the_working_hours() {
    for kind in [RestKind::Done, RestKind::Idle] {
        let mut agent = Agent::new(hours("07:00-08:01"));
        agent.policy.work.mode = WorkMode::Preferred;
        agent.state.work = Some(WorkState { agent: "echo".to_owned(), ..WorkState::default() });
        agent.now += 5 * MIN;
        let rest = (kind == RestKind::Done).then_some((kind, None));
        agent.stops(Does { rest, ..Does::default() });
        let now = agent.now;
        agent.state.work.as_mut().unwrap().add(WorkEntry::default(), None, now);
        let fence = agent.state.session.fence.unwrap();
        let refused = agent.sends(step(Event::Ask { fence, renew: false }));
        assert_eq!(refused.reason, Reason::OffHours, "{kind:?}");
        agent.now += Ms::try_from(refused.retry_after.unwrap().as_millis()).unwrap();
        let admitted = agent.sends(step(Event::Ask { fence, renew: false }));
        assert!(admitted.outcome == Outcome::Admit && admitted.work.is_some(), "{kind:?}");
    }
}

#[test]
fn an_idle_rest_lasts_until_the_next_fixed_time_of_the_present_profile() {
    let times = |at: &str| {
        let calendar = Calendar { times: vec![at.parse().unwrap()], ..Calendar::default() };
        Cadence { calendar, ..Cadence::default() }
    };
    let mut agent = Agent::new(times("17:00"));
    let decided = agent.stops(Does::default());
    assert_eq!((decided.reason, agent.now + 540 * MIN - 20 * S), (Reason::Idle, T0 + 540 * MIN));
    let left = |decided: &Decision| decided.retry_after.unwrap().as_secs() / 60;
    assert_eq!(left(&decided), 539);
    let fence = agent.state.session.fence.unwrap();
    let mut asks = |cadence: Cadence| {
        agent.policy.cadence = cadence;
        agent.now += MIN;
        agent.sends(step(Event::Ask { fence, renew: false }))
    };
    assert_eq!(left(&asks(times("09:00"))), 58, "another time");
    assert_eq!(left(&asks(Cadence::default())), 57, "at most the longest idle rest");
}

#[test]
fn a_dream_shortens_no_rest() {
    let mut agent = Agent::new(dreaming());
    agent.works(9);
    assert_eq!(agent.after(LONG).turn_kind, TurnKind::Dream);
    let until = agent.state.session.rest.as_ref().unwrap().until;
    agent.stops(Does { rest: Some((RestKind::Rest, Some(MIN))), ..Does::default() });
    assert_eq!(agent.state.session.rest.as_ref().unwrap().until, until);
    agent.stops(Does { rest: Some((RestKind::Done, None)), ..Does::default() });
    assert_eq!(agent.state.session.rest.as_ref().unwrap().kind, RestKind::Done);
}

#[test]
fn dreams_are_counted_without_a_profile_and_over_a_step_of_the_clock() {
    let mut agent = Agent::new(dreaming());
    let mut dreams = 0;
    for _ in 0..12 {
        agent.works(9);
        dreams += u32::from(agent.after(LONG).turn_kind == TurnKind::Dream);
        agent.after(Does::default());
    }
    assert_eq!(dreams, 6);
    agent.policy.cadence.dreams = Dreams::Off;
    agent.works(1);
    agent.policy.cadence.dreams = Dreams::On;
    agent.works(9);
    assert_eq!(agent.after(LONG).turn_kind, TurnKind::Work);
    // Forward by 25 hours, for one dream, and back.
    agent.now += 1500 * MIN;
    agent.works(9);
    assert_eq!(agent.after(LONG).turn_kind, TurnKind::Dream);
    agent.now -= 1500 * MIN;
    agent.works(9);
    assert_eq!(agent.after(LONG).turn_kind, TurnKind::Work);
}

#[test]
fn outside_the_hours_the_agents_own_rest_and_a_longer_one_stay() {
    for (kind, lasting, reason) in [
        (RestKind::Rest, 10 * MIN, Reason::Rest),
        (RestKind::Parked, 10 * MIN, Reason::OffHours),
        (RestKind::Parked, 2880 * MIN, Reason::Parked),
    ] {
        let mut agent = Agent::new(hours("07:00-08:01"));
        agent.now += 5 * MIN;
        let decided = agent.stops(Does { rest: Some((kind, Some(lasting))), ..Does::default() });
        assert_eq!(decided.reason, reason, "{kind:?}");
        let left = Ms::try_from(decided.retry_after.unwrap().as_millis()).unwrap();
        assert!(reason == Reason::OffHours || left == lasting, "{kind:?}: {left}");
    }
}

#[test]
fn a_dream_comes_before_the_rest_outside_the_hours() {
    for (dreams, kind) in [(Dreams::On, Some(TurnKind::Dream)), (Dreams::InHours, None)] {
        let mut agent = Agent::new(Cadence { dreams, ..hours("07:00-09:00") });
        agent.works(9);
        agent.now = T0 + 61 * MIN;
        let decided = agent.stops(Does { calls: &[7], ..Does::default() });
        let admitted = (decided.outcome == Outcome::Admit).then_some(decided.turn_kind);
        assert_eq!(admitted, kind, "{dreams:?}: {:?}", decided.reason);
    }
}

/// An agent that dreamt, and has no cadence any more.
#[test]
fn the_dream_of_an_earlier_cadence_gives_no_notes() {
    let mut agent = Agent::new(dreaming());
    agent.works(9);
    assert_eq!(agent.after(LONG).turn_kind, TurnKind::Dream);
    agent.after(Does::default());
    agent.policy.cadence = Cadence::default();
    for (calls, note) in [([1], "a"), ([2], "b"), ([3], "c")] {
        let decided = agent.after(Does { calls: &calls, notes: &[note], ..Does::default() });
        assert_eq!((decided.outcome, decided.notes), (Outcome::Admit, Vec::new()), "{note}");
    }
}
