//! Properties of the policy over random histories.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::histories::{Move, class, moves, play, policy, runner, tightened};
use crate::support::{T0, stop_step};
use frosty::policy::decision;
use frosty::policy::decision::State;
use frosty::policy::limits::{Class, Ms, Policy, Spread, millis};
use frosty::policy::request::{Event, Failure, FailureClass, HoldRequest, R_RANGE, Reset, RestRequest, RunPart, Step};
use frosty::policy::rest::RestKind;
use frosty::policy::verdict::{Decision, Outcome};
use proptest::prelude::*;

/// Runs a history over as many scopes and sessions as it names.
struct World {
    policy: Policy,
    fleet: frosty::policy::documents::FleetState,
    scopes: HashMap<String, frosty::policy::documents::ScopeState>,
    sessions: HashMap<String, frosty::policy::documents::SessionState>,
}

impl World {
    fn new(policy: &Policy) -> Self {
        Self { policy: policy.clone(), fleet: Default::default(), scopes: HashMap::new(), sessions: HashMap::new() }
    }

    fn tell(&mut self, step: &Step, now: Ms) -> Decision {
        let mut state = State {
            fleet: std::mem::take(&mut self.fleet),
            scope: self.scopes.remove(&step.scope).unwrap_or_default(),
            session: self.sessions.remove(&step.session).unwrap_or_default(),
            ..State::default()
        };
        // The histories draw ids anew, so that a request with the id of an admitted one is another request.
        state.session.admitted = None;
        let decided = decision::step(&self.policy, &mut state, step, now);
        self.fleet = state.fleet;
        self.scopes.insert(step.scope.clone(), state.scope);
        self.sessions.insert(step.session.clone(), state.session);
        decided
    }
}

fn at_once() -> Spread {
    Spread { step: Duration::ZERO, cold: Duration::ZERO }
}

/// Returns the history as one scope without wake-ups, since their later effect depends on the admissions.
fn at_one_scope(moves: &[Move]) -> Vec<Move> {
    let mut moves: Vec<_> = moves.iter().filter(|m| !matches!(m.step.event, Event::Wake { .. })).cloned().collect();
    for m in moves.iter_mut().filter(|m| !m.step.scope.is_empty()) {
        m.step.scope = "scope".to_owned();
    }
    moves
}

/// Plays a history, at these times if given; returns the time of each event, and the answer to each continuation.
fn admissions(policy: &Policy, moves: &[Move], times: Option<&[Ms]>) -> (Vec<Ms>, Vec<&'static str>) {
    let mut world = World::new(policy);
    let (mut at, mut answers) = (Vec::new(), Vec::new());
    play(policy, moves, |i, step, now| {
        let now = times.map_or(now, |times| times[i]);
        let step = &Step { host_ms: moves[i].step.host_ms + now - T0, ..step.clone() };
        let decided = world.tell(step, now);
        at.push(now);
        let trips = world.scopes.get(&step.scope).and_then(|s| s.stop.cooldown).is_some_and(|c| c.start == now);
        answers.push(match step.event.asks() {
            Some(Class::Stop) if trips => "burst",
            Some(Class::Stop) if decided.outcome == Outcome::Admit => "admit",
            _ => "",
        });
        decided
    });
    (at, answers)
}

/// Up to an event, the second never has more admissions than the first.
fn never_ahead(looser: &[&str], tighter: &[&str], until: usize) -> Result<(), TestCaseError> {
    let mut ahead = 0;
    for i in 0..until {
        ahead += i32::from(looser[i] == "admit") - i32::from(tighter[i] == "admit");
        prop_assert!(ahead >= 0, "ahead at event {i}: {looser:?} and {tighter:?}");
    }
    Ok(())
}

fn longest_cooldown(policy: &Policy, class: Class) -> Ms {
    let cooldown = &policy.class(class).cooldown;
    let max = millis(cooldown.backoff.max);
    max + max * Ms::from(cooldown.jitter) / 1000
}

proptest! {
    #![proptest_config(runner())]

    #[test]
    fn no_two_admissions_closer_than_the_guard_nor_more_than_a_quota(policy in policy(), moves in moves(80, false)) {
        let mut world = World::new(&policy);
        let mut stops: HashMap<String, Vec<Ms>> = HashMap::new();
        let mut all: Vec<Ms> = Vec::new();
        play(&policy, &moves, |_, step, now| {
            let decided = world.tell(step, now);
            if decided.outcome != Outcome::Admit || step.event.asks() != Some(Class::Stop) {
                return decided;
            }
            let own = stops.entry(step.scope.clone()).or_default();
            if let Some(last) = own.last() {
                assert!(now - last >= millis(policy.stop.min_interval), "{now} after {last}");
            }
            own.push(now);
            all.push(now);
            for quota in &policy.stop.quotas {
                let used = own.iter().filter(|at| **at > now - millis(quota.per)).count();
                assert!(used <= quota.limit as usize, "{used} in {quota:?}");
            }
            for quota in &policy.fleet_quotas {
                let used = all.iter().filter(|at| **at > now - millis(quota.per)).count();
                assert!(used <= quota.limit as usize, "{used} in the fleet's {quota:?}");
            }
            decided
        });
    }

    /// Plain and paced alike: a project's settings admit no more than the user's own policy, until that trips for the
    /// first time. (After that the two may differ either way; docs/policy.md has the reason.)
    #[test]
    fn a_tighter_policy_is_never_ahead_before_the_looser_one_trips(policies in tightened(), moves in moves(80, false)) {
        let (mut looser, mut tighter) = policies;
        // The order of the release slots depends on the earlier admissions.
        (looser.spread, tighter.spread) = (at_once(), at_once());
        // A hold by Willy is not replaced by one of an API error.
        (looser.hold_after_strikes, tighter.hold_after_strikes) = (0, 0);
        let mut moves = at_one_scope(&moves);
        // A place that is kept for a session in the looser policy's wait queue may be free in the tighter one's,
        // without any waiting session. So with quotas, plain requests are compared.
        if [&looser, &tighter].into_iter().any(|p| !p.stop.quotas.is_empty() || !p.fleet_quotas.is_empty()) {
            moves.iter_mut().for_each(|m| m.step.paced = false);
        }
        let (times, by_looser) = admissions(&looser, &moves, None);
        let (_, by_tighter) = admissions(&tighter, &moves, Some(&times));
        let tripped = by_looser.iter().position(|code| *code == "burst").unwrap_or(moves.len());
        never_ahead(&by_looser, &by_tighter, tripped)?;
    }

    /// A project's minimum interval where the user has none: the window counts what it counted, so that plain requests
    /// trip it when they did, and never are more of them admitted.
    #[test]
    fn a_minimum_interval_on_top_of_the_window_is_never_ahead(
        stop in class(false), interval in 1u64..60_000, moves in moves(80, false),
    ) {
        let mut looser = Policy { stop, hold_after_strikes: 0, spread: at_once(), ..Policy::default() };
        looser.stop.min_interval = Duration::ZERO;
        looser.stop.window_limits = false;
        let mut tighter = looser.clone();
        tighter.stop.min_interval = Duration::from_millis(interval);
        tighter.stop.window_limits = tighter.stop.burst.is_some();
        let mut moves = at_one_scope(&moves);
        moves.iter_mut().for_each(|m| m.step.paced = false);
        let (times, by_looser) = admissions(&looser, &moves, None);
        let (_, by_tighter) = admissions(&tighter, &moves, Some(&times));
        never_ahead(&by_looser, &by_tighter, moves.len())?;
    }

    /// At all times, trips or none: what a tighter policy admits stays within every bound of the looser one.
    #[test]
    fn a_tighter_policy_keeps_every_bound_of_the_looser(policies in tightened(), moves in moves(80, false)) {
        let (looser, tighter) = policies;
        let mut world = World::new(&tighter);
        let mut stops: HashMap<String, (Vec<Ms>, Ms)> = HashMap::new();
        let mut all: Vec<Ms> = Vec::new();
        play(&tighter, &moves, |_, step, now| {
            let decided = world.tell(step, now);
            if step.event.asks() != Some(Class::Stop) {
                return decided;
            }
            let (own, tripped) = stops.entry(step.scope.clone()).or_insert((Vec::new(), Ms::MIN / 2));
            if world.scopes[&step.scope].stop.cooldown.is_some_and(|c| c.start == now) {
                *tripped = now;
            }
            if decided.outcome != Outcome::Admit {
                return decided;
            }
            let stop = &looser.stop;
            let close = own.last().is_some_and(|last| now - last < millis(stop.min_interval));
            assert!(!close, "{now} after {own:?}");
            own.push(now);
            all.push(now);
            for (quota, log) in stop.quotas.iter().map(|q| (q, &*own)).chain(looser.fleet_quotas.iter().map(|q| (q, &all))) {
                let used = log.iter().filter(|at| **at > now - millis(quota.per)).count();
                assert!(used <= quota.limit as usize, "{used} in {quota:?}");
            }
            if let Some(burst) = stop.burst {
                assert!(now >= *tripped + millis(stop.cooldown.backoff.base), "{now} after the trip at {tripped}");
                let from = (*tripped).max(now - millis(burst.window));
                let used = own.iter().filter(|at| **at > from).count();
                assert!(!stop.min_interval.is_zero() || used < burst.limit as usize, "{used} in {burst:?}");
            }
            decided
        });
    }

    #[test]
    fn a_cooldown_has_its_length_and_is_never_shortened(policy in policy(), moves in moves(80, false)) {
        let mut world = World::new(&policy);
        let mut ends: HashMap<(String, &'static str), Ms> = HashMap::new();
        play(&policy, &moves, |_, step, now| {
            let class = step.event.asks();
            let in_force = world.scopes.get(&step.scope).and_then(|scope| world.fleet.api_end_of(scope, now));
            let decided = world.tell(step, now);
            let scope = &world.scopes[&step.scope];
            for (name, own) in [("stop", &scope.stop), ("compact", &scope.compact)] {
                let end = own.cooldown.map_or(0, |c| c.end);
                let known = ends.insert((step.scope.clone(), name), end).unwrap_or(0);
                let too_long = step.event.failure().is_some_and(|failure| failure.too_long);
                assert!(end >= known || (name == "compact" && too_long && end == now), "{known} became {end}");
            }
            let end = scope.api.map_or(0, |a| a.end);
            let known = ends.insert((step.scope.clone(), "api"), end).unwrap_or(0);
            let is_released = matches!(step.event, Event::Release { .. }) && end == now;
            // A failed turn forgets a reset time that was disproved, and so is in force no more.
            let is_forgotten = step.event.failure().is_some() && in_force.is_none_or(|end| end < known);
            assert!(end >= known || is_released || is_forgotten, "{known} became {end}");
            let Some(class) = class else { return decided };
            if decided.reason.code() == "burst" {
                let length = decided.retry_after.map(millis).unwrap();
                assert!(length >= millis(policy.class(class).cooldown.backoff.base));
                assert!(length <= longest_cooldown(&policy, class));
            }
            if decided.outcome == Outcome::Admit {
                let own = if class == Class::Stop { &scope.stop } else { &scope.compact };
                assert!(own.cooldown.is_none_or(|c| c.end <= now), "admitted in an open cooldown");
            }
            decided
        });
    }

    /// One event frees many: the first continues at once, then each keeps its distance, and none is left out, however
    /// late its machine sends its request and whichever of them have ended.
    #[test]
    fn freed_sessions_go_on_one_after_the_other(
        step_ms in 10u64..1_000, late in prop::collection::vec(0i64..400, 30), gone in prop::collection::vec(any::<bool>(), 30),
        r in prop::collection::vec(0..R_RANGE, 30), how in 0..3, waited in prop_oneof![Just(1_000i64), Just(400_000i64)],
    ) {
        let spread = Spread { step: Duration::from_millis(step_ms), cold: Duration::from_millis(step_ms * 2) };
        let policy = Policy { spread, ..Policy::default() };
        let gap = millis(if waited > 300_000 { spread.cold } else { spread.step });
        let mut world = World::new(&policy);
        let of = |i: usize, event: Event| Step {
            paced: true, scope: format!("scope-{i}"), session: format!("session-{i}"), r: r[i], id: format!("{i}-{event:?}"),
            ..crate::support::step(event)
        };
        let hold = HoldRequest { fleet: true, by: "ann".into(), reason: "r".into(), lasting: None, at_once: false, replace: false };
        let fleets = |event| Step { scope: String::new(), session: String::new(), ..crate::support::step(event) };
        let key = Failure { class: FailureClass::Passing, reset: Some(Reset::At(T0 + waited)), of_key: true, model: String::new(), too_long: false,
            cure: String::new() };
        if how == 0 {
            world.tell(&fleets(Event::Hold(hold)), T0);
        }
        let mut fences = Vec::new();
        for i in 0..30 {
            let rest = RestRequest { kind: RestKind::Done, lasting: None, topic: String::new() };
            let event = if how == 2 { Event::Stop { rest: Some(rest) } } else { Event::Stop { rest: None } };
            // A limit is met by all of them at once.
            let event = if how == 1 { Event::StopFailure(key.clone()) } else { event };
            let mut decided = world.tell(&of(i, event), T0);
            let fence = decided.fence.unwrap();
            if how == 1 {
                decided = world.tell(&of(i, Event::Ask { fence, renew: false }), T0);
            }
            prop_assert_eq!(decided.outcome, Outcome::Refuse);
            fences.push(fence);
        }
        let free = T0 + waited.max(if how == 1 { millis(policy.api_error.base) } else { 0 });
        match how {
            0 => {
                world.tell(&fleets(Event::Release { fleet: true, at_once: false }), free);
            }
            2 => (0..30).for_each(|i| {
                world.tell(&of(i, Event::Wake { note: String::new(), spread: true, signal: None, depth: 0 }), free);
            }),
            _ => {}
        }
        // Each sends its request at its time, as late as its machine is; a session that ended sends none after its
        // first.
        let mut due: Vec<(Ms, usize)> = (0..30).map(|i| (free + late[i] / 4, i)).collect();
        let mut admitted: Vec<Ms> = Vec::new();
        let mut asked = 0;
        while let Some(at) = due.iter().map(|(at, _)| *at).min() {
            let i = due.remove(due.iter().position(|(t, _)| *t == at).unwrap()).1;
            asked += 1;
            prop_assert!(asked < 30 * 30, "they ask without end");
            let decided = world.tell(&of(i, Event::Ask { fence: fences[i], renew: false }), at);
            match decided.outcome {
                Outcome::Admit => admitted.push(at),
                _ if gone[i] => {}
                _ => due.push((at + decided.retry_after.map(millis).unwrap() + 1 + late[i], i)),
            }
        }
        let first = free + late.iter().min().unwrap() / 4;
        prop_assert_eq!(admitted[0], first, "the first goes at once");
        for pair in admitted.windows(2) {
            prop_assert!(pair[1] - pair[0] >= gap * 7 / 10, "{:?}", admitted);
        }
        let least = gone.iter().filter(|gone| !**gone).count();
        prop_assert!(admitted.len() >= least, "{} of {}", admitted.len(), least);
        prop_assert!(admitted.last().unwrap() - free <= 30 * gap + 30 * 401 + gap, "{:?}", admitted);
    }

    /// The longest refusal is waited out; then a request is admitted.
    #[test]
    fn silence_leads_to_an_admission(policy in policy(), moves in moves(60, false), r in 0..R_RANGE) {
        let mut policy = policy;
        let silence = longest_cooldown(&policy, Class::Stop) + millis(policy.stop.cooldown.calm);
        // Willy's longest hold.
        let silence = if policy.hold_after_strikes > 0 { silence.max(8 * 3_600_000) } else { silence };
        // A condition of the property: every other refusal is shorter.
        let cap = |d: &mut Duration| *d = (*d).min(Duration::from_millis(u64::try_from(silence).unwrap()));
        cap(&mut policy.stop.min_interval);
        // Without a minimum interval the burst window limits.
        if let (true, Some(burst)) = (policy.stop.min_interval.is_zero(), &mut policy.stop.burst) {
            cap(&mut burst.window);
        }
        policy.stop.quotas.iter_mut().chain(&mut policy.fleet_quotas).for_each(|q| cap(&mut q.per));
        cap(&mut policy.api_error.max);
        cap(&mut policy.api_error.base);
        let short = |step: &Step| {
            let rest = match &step.event {
                Event::Stop { rest } | Event::Resume { rest, .. } => rest.as_ref(),
                Event::Run { part: RunPart::Turn { rest }, .. } => rest.as_ref(),
                _ => None,
            };
            let is_passing = |failure: &Failure| failure.reset.is_none() && failure.class == FailureClass::Passing;
            rest.is_none_or(|rest| rest.lasting.is_some_and(|d| millis(d) <= silence))
                && step.event.failure().is_none_or(is_passing)
                && !matches!(&step.event, Event::Hold(hold) if hold.lasting.is_none())
        };
        let mut world = World::new(&policy);
        let mut last = T0;
        let kept: Vec<_> = moves.iter().filter(|m| short(&m.step)).cloned().collect();
        play(&policy, &kept, |_, step, now| {
            last = now;
            world.tell(step, now)
        });
        for scope in ["scope-0", "scope-1"] {
            let mut calm = World { policy: policy.clone(), fleet: world.fleet.clone(),
                scopes: world.scopes.clone(), sessions: world.sessions.clone() };
            let now = last + silence;
            let ask = Step { scope: scope.to_owned(), session: "session-0".to_owned(), r, host_ms: now, ..stop_step() };
            let decided = calm.tell(&ask, now);
            prop_assert_eq!(decided.outcome, Outcome::Admit, "{:?}", decided);
        }
    }

    /// A clock step of up to a day, with burst off and no quota: one request early at most, one minimum interval at
    /// most.
    #[test]
    fn a_clock_step_admits_one_early_and_closes_the_guard_once(
        stop in class(false), gaps in prop::collection::vec(1i64..40_000, 40), step_by in -86_400_000i64..=86_400_000,
        when in 5usize..35,
    ) {
        let mut policy = Policy::default();
        policy.stop.min_interval = stop.min_interval;
        policy.stop.burst = None;
        let interval = millis(policy.stop.min_interval);
        let mut world = World::new(&policy);
        // `real` is true time; the store's clock is off by `off` from the step on.
        let (mut real, mut off, mut early) = (T0, 0, 0);
        let mut last: Option<Ms> = None;
        let mut closed_since: Option<Ms> = None;
        for (i, gap) in gaps.iter().enumerate() {
            real += gap;
            if i == when {
                off = step_by;
            }
            let decided = world.tell(&stop_step(), real + off);
            if decided.outcome == Outcome::Admit {
                if last.is_some_and(|at| real - at < interval) {
                    early += 1;
                }
                last = Some(real);
                closed_since = None;
            } else if i >= when {
                let since = *closed_since.get_or_insert(real);
                prop_assert!(real - since < interval, "closed for {} of {}", real - since, interval);
            }
        }
        prop_assert!(early <= 1, "{} early", early);
    }

    /// Stepped back, no cooldown or hold lasts longer than its stored length from the step.
    #[test]
    fn stepped_back_nothing_lasts_longer_than_its_length(back in 1i64..=86_400_000, r in 0..R_RANGE, hold in 1i64..600_000) {
        let policy = Policy::default();
        let mut world = World::new(&policy);
        for at in [0, 1, 2] {
            world.tell(&Step { r, ..stop_step() }, T0 + at);
        }
        let scope = world.scopes.get_mut("scope").unwrap();
        let length = scope.stop.cooldown.map(|c| c.end - c.start).unwrap();
        scope.hold = Some(frosty::policy::hold::Hold {
            reason: String::new(), by: "ann".into(), since: T0 + 2, until: Some(T0 + 2 + hold), id: 0,
        });
        let stepped = T0 + 3 - back;
        prop_assert_eq!(world.tell(&stop_step(), stepped).reason.code(), "hold");
        let longest = length.max(hold);
        let decided = world.tell(&stop_step(), stepped + longest);
        // Booked ends were rebased at the first request after the step.
        prop_assert!(decided.outcome == Outcome::Admit || decided.reason.code() == "min_interval", "{:?}", decided);
    }

    #[test]
    fn whatever_the_state_and_the_times_nothing_panics(
        policy in policy(), moves in moves(20, true), times in prop::collection::vec(any::<i64>(), 12), now in any::<i64>(),
    ) {
        let mut state = State::default();
        state.scope.stop.admitted_at = Some(times[0]);
        state.scope.stop.attempts = times[1..4].to_vec();
        state.scope.stop.cooldown = Some(frosty::policy::fact::Span::new(times[4], times[5]));
        state.scope.api = Some(frosty::policy::fact::Span::new(times[6], times[7]));
        state.scope.quota.admitted = times[8..10].to_vec();
        state.scope.quota.keep = times[11];
        state.session.fence = Some(times[10]);
        for (i, m) in moves.iter().enumerate() {
            decision::step(&policy, &mut state, &m.step, now.saturating_add(times[i % times.len()] / 1000));
        }
    }
}
