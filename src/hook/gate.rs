//! Requests the run of `frosty gate`: once, or again and again as a waiting engine does.

use std::path::Path;
use std::time::{Duration, Instant};

use super::local::Known;
use super::signals::Signals;
use super::terms::{EngineTerms, Terms};
use super::{client, engine, wait};
use crate::clock;
use crate::config::{Config, Flags};
use crate::env::Env;
use crate::notify::detached::{Caller, Program};
use crate::policy::request::Step;
use crate::policy::verdict::{Admission, Decision, Verdict};
use crate::store::{self, StoreError};
use crate::text;

/// A gate that requests its run.
pub(crate) struct GateRequest<'a> {
    pub(crate) env: &'a Env,
    pub(crate) flags: &'a Flags,
    pub(crate) project: Option<&'a Path>,
    pub(crate) config: &'a Config,
    pub(crate) step: Step,
}

/// The answer to a gate.
pub(crate) enum GateAnswer {
    /// The store committed an admission, and gave the session this fence.
    Admitted(Admission, Option<i64>),
    /// The last refusal; `None` where no store decided.
    Refused(Option<Box<Decision>>),
    /// The store committed an admission too late to be used, and gave the session this fence.
    Late(Option<i64>),
}

/// The terms under which a gate was answered, which may have changed while it waited.
pub(crate) struct GateTerms {
    pub(crate) config: Config,
    /// The scope, encoded.
    pub(crate) scope: String,
}

impl GateRequest<'_> {
    /// Sends the request once.
    pub(crate) fn once(self) -> Result<GateAnswer, StoreError> {
        let begun = Instant::now();
        let verdict = store::open(self.config, begun + self.config.budget)?.step(&self.step)?;
        // Another store may have taken over meanwhile, so a late admission is discarded.
        if verdict.admission.is_some() && begun.elapsed() > wait::LATEST {
            return Ok(GateAnswer::Late(verdict.decision.fence));
        }
        Ok(answer(verdict))
    }

    /// Waits until the run is admitted, the time is up, a signal ends the wait, or another gate took over. Returns the
    /// terms of the answer, too.
    pub(crate) fn wait(self, most: Duration, signals: &Signals) -> (GateAnswer, GateTerms) {
        let Self { env, flags, project, config, mut step } = self;
        let mut config = config.clone();
        let session = step.session.clone();
        let known = Known {
            fleet: config.fleet.clone(),
            scope: step.scope.clone(),
            session: session.clone(),
            event: step.event_name.clone(),
            asked_to_go_on: true,
            id: clock::id(),
            waits: true,
            of_subagent: false,
        };
        let caller = Caller { program: Program::Tool, flags, project };
        let start = engine::Start { client: client::Client::none(), signals, since: Instant::now() };
        let bounds = wait::Bounds::of(start.since, most, true);
        let mut terms = EngineTerms::of_gate(env, flags, &session, project);
        let mut seen = engine::Seen::new(&config, &session);
        let mut wait = wait::Wait::new(bounds, true, true, false);
        loop {
            let engine = engine::Engine {
                config: &config,
                env,
                known: &known,
                caller,
                start: &start,
                standing: &mut terms,
                seen: &mut seen,
                begin: step.clone(),
                is_gate: true,
            };
            let answer = match engine.run(&mut wait) {
                engine::Ended::Admitted(admitted) => answer(admitted.verdict),
                engine::Ended::Over(decision) => GateAnswer::Refused(decision),
                engine::Ended::Changed(terms) => {
                    let Terms { config: new, scope } = *terms;
                    if config.fleet != new.fleet {
                        seen.moves(&new, &session);
                    }
                    let elsewhere = config.fleet != new.fleet || config.store != new.store || step.scope != scope;
                    wait.moves(bounds, elsewhere);
                    step.scope = scope;
                    if let Some(name) = &new.name {
                        step.name = text::line(name);
                    }
                    config = new;
                    continue;
                }
            };
            return (answer, GateTerms { config, scope: step.scope });
        }
    }
}

fn answer(verdict: Verdict) -> GateAnswer {
    let Verdict { decision, admission, .. } = verdict;
    match admission {
        Some(admission) => GateAnswer::Admitted(admission, decision.fence),
        None => GateAnswer::Refused(Some(Box::new(decision))),
    }
}
