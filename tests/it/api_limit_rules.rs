//! The limits that the API key has met: of the whole key and of one model, their probes, and what lifts them.

use std::time::Duration;

use frosty::policy::decision::{self, State};
use frosty::policy::documents::SessionState;
use frosty::policy::limits::{Ms, Policy, millis};
use frosty::policy::request::{Event, Failure, FailureClass, Reset, Step};
use frosty::policy::turn::Turn;
use frosty::policy::verdict::{Decision, Outcome};

use crate::support::{T0, policy, step, stop_step};

const S: Ms = 1000;
const H: Ms = 3_600 * S;
const OPUS: &str = "claude-opus-5-5";
const SONNET: &str = "claude-sonnet-5";

/// Agents of one fleet, each in a scope of its own.
#[derive(Clone)]
struct Fleet {
    policy: Policy,
    states: Vec<State>,
}

impl Fleet {
    fn of(agents: usize) -> Self {
        let policy = policy(|p| {
            p.stop.min_interval = Duration::ZERO;
            p.stop.burst = None;
            p.spread.step = Duration::ZERO;
            p.spread.cold = Duration::ZERO;
        });
        Self { policy, states: vec![State::default(); agents] }
    }

    fn tell(&mut self, agent: usize, at: Ms, step: Step) -> Decision {
        let ids = Step { id: format!("{agent}-{at}"), host_ms: T0 + at, session: format!("s{agent}"), ..step };
        let decided = decision::step(&self.policy, &mut self.states[agent], &ids, T0 + at);
        let fleet = self.states[agent].fleet.clone();
        self.states.iter_mut().for_each(|state| state.fleet = fleet.clone());
        decided
    }

    /// Ends a turn on a model; an empty name is a turn that was not measured.
    fn stop(&mut self, agent: usize, at: Ms, model: &str) -> Decision {
        let turn = Turn { seen: !model.is_empty(), model: model.to_owned(), tokens_out: 1000, ..Turn::default() };
        self.tell(agent, at, Step { paced: true, turn: Some(Box::new(turn)), ..stop_step() })
    }

    fn ask(&mut self, agent: usize, at: Ms) -> Decision {
        let fence = self.states[agent].session.fence.unwrap();
        self.tell(agent, at, Step { paced: true, ..step(Event::Ask { fence, renew: false }) })
    }

    fn meets(&mut self, agent: usize, at: Ms, model: &str, until: Ms) {
        self.tell(agent, at, step(Event::StopFailure(limit(model, until))));
    }
}

fn limit(model: &str, until: Ms) -> Failure {
    Failure {
        class: FailureClass::Passing,
        reset: Some(Reset::At(T0 + until)),
        of_key: true,
        model: model.to_owned(),
        too_long: false,
        cure: String::new(),
    }
}

fn said(decided: &Decision) -> (&'static str, Option<Ms>) {
    (decided.reason.code(), decided.retry_after.map(millis))
}

#[test]
fn a_limit_of_one_model_refuses_the_agents_on_that_model() {
    let mut fleet = Fleet::of(4);
    for (agent, model) in [(0, OPUS), (1, OPUS), (2, SONNET), (3, "")] {
        assert_eq!(fleet.stop(agent, 0, model).outcome, Outcome::Admit);
    }
    fleet.meets(0, S, "opus", 2 * H);
    assert_eq!(said(&fleet.ask(0, 2 * S)), ("api_error", Some(2 * H - 2 * S)), "it met the limit");
    assert_eq!(said(&fleet.ask(1, 2 * S)), ("api_error", Some(2 * H - 2 * S)), "it has the same model");
    assert_eq!(fleet.stop(2, 2 * S, SONNET).outcome, Outcome::Admit, "another model");
    assert_eq!(fleet.stop(3, 2 * S, "").outcome, Outcome::Admit, "an unknown model");
    // The agent's last turn was on another model.
    assert_eq!(fleet.stop(1, 3 * S, SONNET).outcome, Outcome::Admit);
    // A session that met a limit is on its model.
    fleet.meets(3, 4 * S, "opus", 2 * H);
    assert_eq!(fleet.states[3].session.model, "opus");
    assert_eq!(fleet.ask(0, 2 * H + S).outcome, Outcome::Admit, "the reset");
}

#[test]
fn a_good_turn_on_the_model_lifts_its_limit_and_no_other_turn_does() {
    let mut fleet = Fleet::of(3);
    for agent in 0..3 {
        fleet.stop(agent, 0, OPUS);
    }
    fleet.meets(0, 10 * S, "opus", 2 * H);
    fleet.stop(2, 20 * S, SONNET);
    assert_eq!(fleet.ask(0, 21 * S).reason.code(), "api_error", "another model");
    fleet.stop(2, 22 * S, "");
    assert_eq!(fleet.ask(0, 23 * S).reason.code(), "api_error", "a turn that was not measured");
    // This turn ended before the limit was met, and is reported late.
    let turn = Turn {
        seen: true,
        model: OPUS.to_owned(),
        tokens_out: 1000,
        spent: Duration::from_secs(20),
        ..Turn::default()
    };
    fleet.tell(2, 24 * S, Step { turn: Some(Box::new(turn)), ..stop_step() });
    assert_eq!(fleet.ask(0, 25 * S).reason.code(), "api_error", "an earlier answer");
    fleet.stop(1, 26 * S, OPUS);
    assert_eq!(fleet.states[0].fleet.lifted_at(), Some(T0 + 26 * S));
    assert_eq!(fleet.ask(0, 27 * S).outcome, Outcome::Admit, "the scope's own cooldown is disproved, too");
    // A limit that is met afterwards refuses again.
    fleet.meets(0, 30 * S, "opus", 2 * H);
    assert_eq!(fleet.ask(0, 31 * S).reason.code(), "api_error");
    assert_eq!(fleet.stop(1, 31 * S, OPUS).outcome, Outcome::Admit, "and its own answer lifts it");
}

#[test]
fn a_limit_of_the_key_and_one_of_a_model_are_lifted_apart() {
    let mut fleet = Fleet::of(2);
    fleet.stop(0, 0, OPUS);
    fleet.stop(1, 0, SONNET);
    fleet.meets(0, S, "", 2 * H);
    fleet.meets(0, 2 * S, "opus", 3 * H);
    assert_eq!(said(&fleet.ask(1, 3 * S)), ("api_error", Some(2 * H - 3 * S)), "the key's");
    assert_eq!(said(&fleet.ask(0, 3 * S)), ("api_error", Some(3 * H - 3 * S)), "the longer one");
    fleet.stop(1, 4 * S, SONNET);
    assert_eq!(fleet.states[1].fleet.limit, None);
    assert_eq!(said(&fleet.ask(0, 5 * S)), ("api_error", Some(3 * H - 5 * S)), "the model's is still in force");
}

/// Three days of a limit: each hour one of the fleet is admitted, until six hours before the end.
#[test]
fn one_agent_probes_a_distant_limit_each_hour() {
    for model in ["", "opus"] {
        let mut fleet = Fleet::of(5);
        for agent in 0..5 {
            fleet.stop(agent, 0, OPUS);
        }
        let end = 72 * H;
        for agent in 0..5 {
            // Each text was rounded on its own.
            fleet.meets(agent, S + agent as Ms, model, end - agent as Ms * S);
        }
        let mut admitted: Vec<Ms> = Vec::new();
        let mut dues = [S; 5];
        let mut at = S;
        while at < end - 5 * S {
            for (agent, due) in dues.iter_mut().enumerate() {
                if *due > at {
                    continue;
                }
                let decided = fleet.ask(agent, at);
                *due = at + decided.retry_after.map_or(S, millis);
                if decided.outcome == Outcome::Admit {
                    admitted.push(at);
                    // The limit is still there, for the same time.
                    fleet.meets(agent, at + S, model, end - agent as Ms * S);
                    *due = at + 2 * S;
                }
            }
            at = dues.into_iter().min().unwrap().max(at + 1);
        }
        assert!((60..=66).contains(&admitted.len()), "{model}: {} probes", admitted.len());
        assert!(admitted.windows(2).all(|pair| pair[1] - pair[0] >= H), "{model}: {admitted:?}");
        assert!(admitted.iter().all(|at| end - at > 6 * H - 10 * S), "{model}: the last is at {:?}", admitted.last());
        // Nothing but the end is left.
        let refused = fleet.ask(0, end - 5 * H);
        assert_eq!(refused.reason.code(), "api_error", "{model}");
    }
}

#[test]
fn a_limit_that_ends_soon_is_not_probed_and_a_good_probe_lifts_a_distant_one() {
    let mut fleet = Fleet::of(2);
    fleet.stop(0, 0, OPUS);
    fleet.stop(1, 0, OPUS);
    fleet.meets(0, S, "", 6 * H);
    for hour in 1..5 {
        assert_eq!(said(&fleet.ask(1, hour * H + 2 * S)), ("api_error", Some((6 - hour) * H - 2 * S)));
    }
    let mut fleet = Fleet::of(2);
    fleet.stop(0, 0, OPUS);
    fleet.stop(1, 0, OPUS);
    fleet.meets(0, S, "opus", 48 * H);
    assert_eq!(said(&fleet.ask(1, 2 * S)), ("api_error", Some(H - S)), "the next probe");
    assert_eq!(fleet.ask(0, H + S).outcome, Outcome::Admit, "by the scope that met it");
    assert_eq!(said(&fleet.ask(1, H + S)), ("api_error", Some(H)));
    fleet.stop(0, H + 60 * S, OPUS);
    assert_eq!(fleet.ask(1, H + 61 * S).outcome, Outcome::Admit, "the probe was answered");
}

/// What keeps an agent from its probe leaves the probe to another one.
#[test]
fn an_agent_at_rest_takes_no_probe() {
    let mut fleet = Fleet::of(2);
    fleet.policy.stop.min_interval = Duration::from_secs(7200);
    fleet.stop(0, 0, OPUS);
    fleet.meets(0, S, "", 48 * H);
    assert_eq!(fleet.ask(0, H + S).reason.code(), "min_interval");
    fleet.states[1].session.fence = Some(7);
    assert_eq!(fleet.ask(1, H + 2 * S).outcome, Outcome::Admit);
}

#[test]
fn clocks_that_are_set_back_make_no_probe_come_sooner() {
    let mut fleet = Fleet::of(1);
    fleet.stop(0, 0, OPUS);
    fleet.meets(0, 10 * H, "", 60 * H);
    assert_eq!(fleet.ask(0, 11 * H).outcome, Outcome::Admit);
    // Back by three hours: the probe counts as taken now, and the limit keeps its length.
    assert_eq!(said(&fleet.ask(0, 8 * H)), ("api_error", Some(H)));
}

/// A reset time that is disproved takes no other cooldown of its scope with it, whichever came first.
#[test]
fn a_cooldown_without_a_reset_time_outlives_a_reset_time_that_was_disproved() {
    let passing = || step(Event::StopFailure(Failure { reset: None, of_key: false, ..limit("", 0) }));
    for is_first in [true, false] {
        let mut fleet = Fleet::of(2);
        fleet.stop(0, 0, OPUS);
        fleet.stop(1, 0, OPUS);
        if is_first {
            fleet.tell(0, S, passing());
        }
        fleet.meets(0, 2 * S, "", 2 * H);
        if !is_first {
            fleet.tell(0, 3 * S, passing());
        }
        fleet.stop(1, 4 * S, OPUS);
        let (code, left) = said(&fleet.ask(0, 5 * S));
        assert_eq!(code, "api_error", "the cooldown of the passing error");
        assert!(left.is_some_and(|left| left < H), "and not the reset time: {left:?}");
        assert_eq!(fleet.ask(0, 5 * S + left.unwrap()).outcome, Outcome::Admit);
    }
}

#[test]
fn a_reset_time_of_a_scope_alone_limits_no_other_scope() {
    let mut fleet = Fleet::of(2);
    let refused = Failure { class: FailureClass::Request, of_key: false, ..limit("", 2 * H) };
    fleet.stop(1, 0, OPUS);
    fleet.tell(0, 0, step(Event::StopFailure(refused)));
    assert_eq!(said(&fleet.ask(0, S)), ("api_error", Some(2 * H - S)));
    assert_eq!(fleet.ask(1, S).outcome, Outcome::Admit);
    assert_eq!(fleet.stop(1, 2 * S, OPUS).outcome, Outcome::Admit);
    assert_eq!(said(&fleet.ask(0, 3 * S)), ("api_error", Some(2 * H - 3 * S)), "that answer disproves nothing of it");
}

/// A release answers with what was left of the limit that it lifted.
#[test]
fn a_release_names_what_was_left_of_the_limits() {
    let mut fleet = Fleet::of(1);
    fleet.meets(0, 0, OPUS, 2 * H);
    fleet.meets(0, 0, "", H);
    let left = |fleet: &mut Fleet, at| fleet.tell(0, at, step(Event::LiftLimits)).retry_after.map(millis);
    assert_eq!(left(&mut fleet.clone(), H), Some(H));
    assert_eq!(left(&mut fleet, 2 * H), None, "it is over");
}

/// The agents that probe have met no limit themselves.
#[test]
fn a_limit_is_probed_by_one_agent_at_a_time() {
    for model in ["opus", ""] {
        let mut fleet = Fleet::of(3);
        fleet.stop(1, 0, OPUS);
        fleet.stop(2, 0, OPUS);
        fleet.meets(0, S, model, 48 * H);
        assert_eq!(fleet.ask(1, H + S).outcome, Outcome::Admit, "{model}");
        assert_eq!(said(&fleet.ask(2, H + 2 * S)), ("api_error", Some(H - S)), "{model}");
    }
}

/// A reset time that was disproved hides no shorter one that the scope meets later.
#[test]
fn a_limit_of_a_model_closes_its_scope_beside_a_longer_reset_time_that_was_disproved() {
    let mut fleet = Fleet::of(2);
    fleet.stop(0, 0, SONNET);
    fleet.stop(1, 0, SONNET);
    fleet.meets(0, 2 * S, "", 2 * H);
    fleet.stop(1, 3 * S, SONNET);
    assert_eq!(fleet.ask(0, 4 * S).outcome, Outcome::Admit);
    fleet.meets(0, 5 * S, "opus", H);
    // Another session of the scope, whose model is not known.
    fleet.states[0].session = SessionState { fence: Some(0), ..SessionState::default() };
    assert_eq!(said(&fleet.ask(0, 6 * S)), ("api_error", Some(H - 6 * S)));
}
