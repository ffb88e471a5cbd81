//! Steps of many sessions, in pipelines over one connection, for the commands that people use.
//!
//! A pipeline decides the steps that the server can decide at once. Each step that needs more (a conflict, a scope that
//! stays with this machine, a server that is away) is decided alone, as any other.

use std::iter;
use std::time::Instant;

use redis::Value;

use crate::clock;
use crate::config::Config;
use crate::policy::decision;
use crate::policy::decision::State;
use crate::policy::request::Step;
use crate::policy::verdict::{Decision, Reason, Verdict};
use crate::store::failover::merge_base::Seen;
use crate::store::failover::server_record::Route;
use crate::store::failover::{Failover, decider, reached, server_record};
use crate::store::server::commit::{COMMIT_SHA, Committed, committed};
use crate::store::server::connection::Link;
use crate::store::server::kept_connection::Line;
use crate::store::server::load::{Load, Loaded};
use crate::store::server::{Dragonfly, changes};
use crate::store::{StoreError, over, server};

/// The number of steps that are sent in one write.
const AT_ONCE: usize = 100;

/// Decides these steps, each of another session, by the configured store.
pub fn decide(config: &Config, steps: &[Step]) -> Vec<Result<Verdict, StoreError>> {
    let (mut line, mut all) = (None, Vec::with_capacity(steps.len()));
    // The first step shows whether the server decides.
    let (first, others) = steps.split_at(steps.len().min(1));
    for some in iter::once(first).chain(others.chunks(AT_ONCE)) {
        let mut decided = if all.is_empty() { Vec::new() } else { at_once(config, some, &mut line) };
        decided.resize_with(some.len(), || None);
        for (step, verdict) in some.iter().zip(decided) {
            let alone = || over(config, Instant::now() + config.budget, &mut line, |store| store.step(step));
            all.push(verdict.map_or_else(alone, Ok));
        }
    }
    all
}

/// Returns the verdicts of one pipeline; `None` for each step that is to be decided alone.
fn at_once<'a>(config: &'a Config, steps: &[Step], line: &mut Option<Line<'a>>) -> Vec<Option<Verdict>> {
    let Some((server, optional)) = server(config) else { return Vec::new() };
    let Some(dir) = decider::dir(config) else { return Vec::new() };
    let Some(record) = server_record::read(&dir) else { return Vec::new() };
    let store_epoch = record.store_epoch(&server.shown);
    let is_met = !optional || !store_epoch.is_empty() || reached::ever(config);
    if !is_met || record.store != server.shown || record.silent.is_some() {
        return Vec::new();
    }
    let is_servers =
        |step: &Step| decider::route(config, &dir, Some(&record), &server.shown, &step.scope) == Route::Server;
    let routed: Vec<Option<Step>> = steps
        .iter()
        .map(|step| is_servers(step).then(|| Step { known_epoch: store_epoch.to_owned(), ..step.clone() }))
        .collect();
    let deadline = clock::now() + config.budget;
    let store = match line.take() {
        Some(line) => Ok(Dragonfly::over(config, line, deadline)),
        None => Link::connect(config, server, deadline).map(|link| Dragonfly::new(config, link)),
    };
    let Ok(mut store) = store else { return Vec::new() };
    let mut decided = Vec::with_capacity(steps.len());
    // Steps without an answer are decided alone, over another connection.
    if store.step_all(&routed, &mut decided).is_ok() {
        *line = Some(store.into_line());
    }
    let failover = Failover::new(config, server, optional, deadline);
    let kept = |(step, decided): (&Step, Option<(Verdict, Seen)>)| {
        let (verdict, seen) = decided?;
        if verdict.unjournaled {
            failover.journal_here(&dir, step, &verdict.decision);
        }
        failover.keep_news(&dir, &record, step, seen);
        Some(verdict)
    };
    steps.iter().zip(decided).map(kept).collect()
}

/// A step that was decided and is to be committed.
struct Decided<'s> {
    step: &'s Step,
    loaded: Loaded,
    state: State,
    decision: Decision,
}

impl Dragonfly<'_> {
    /// Loads and commits these steps in two writes. Adds the verdict of each; `None` where it was not decided.
    fn step_all(
        &mut self,
        steps: &[Option<Step>],
        decided: &mut Vec<Option<(Verdict, Seen)>>,
    ) -> Result<(), StoreError> {
        self.log_in()?;
        let link = self.link();
        let (config, server) = (link.config(), link.server());
        let loads: Vec<_> = steps.iter().map(|step| step.as_ref().map(|s| (s, Load::of(config, server, s)))).collect();
        let questions: Vec<_> =
            loads.iter().map(|load| load.as_ref().map(|(_, load)| load.questions()).unwrap_or_default()).collect();
        link.send(questions.iter().flatten())?;
        let mut plans = Vec::with_capacity(steps.len());
        let mut calls = Vec::with_capacity(steps.len());
        for (load, questions) in loads.iter().zip(&questions) {
            let answers = questions.iter().map(|_| link.read()).collect::<Result<Vec<Value>, StoreError>>()?;
            let plan = load.as_ref().and_then(|(step, load)| planned(config, step, load, answers));
            plans.push(plan.map(|(plan, call)| {
                calls.push(call);
                plan
            }));
        }
        link.send(&calls)?;
        for plan in plans {
            let verdict = match plan {
                Some(Decided { step, loaded, state, decision }) => match committed(&link.read()?) {
                    Some(Committed::Done { unjournaled }) => {
                        let verdict = Verdict { unjournaled, ..Verdict::committed(decision, loaded.notes()) };
                        Some((verdict, loaded.seen(step, state)))
                    }
                    _ => None,
                },
                None => None,
            };
            decided.push(verdict);
        }
        Ok(())
    }
}

/// Returns the decision of a step and the call that commits it; `None` where it is to be decided alone.
fn planned<'s>(
    config: &Config,
    step: &'s Step,
    load: &Load<'_>,
    answers: Vec<Value>,
) -> Option<(Decided<'s>, redis::Cmd)> {
    if answers.iter().any(|answer| matches!(answer, Value::ServerError(_))) {
        return None;
    }
    let loaded = load.answers(answers).ok()?;
    let mut state = loaded.state();
    let decision = decision::step(&config.policy, &mut state, step, loaded.now);
    if decision.repeated || matches!(decision.reason, Reason::Contested | Reason::Lost) {
        return None;
    }
    let commit = changes::of(config, step, &loaded, &mut state, &decision);
    let call = (!commit.is_empty()).then(|| commit.call("EVALSHA", COMMIT_SHA))?;
    Some((Decided { step, loaded, state, decision }, call))
}
