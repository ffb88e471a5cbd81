//! Performs the actions of the waiting engine's own state machine ([`Wait`]) in a simulated process, as
//! `hook/engine.rs` performs them in a real one.

use std::time::{Duration, Instant};

use super::network;
use super::story::{self, Shared};
use super::world::{self, Time};
use crate::clock;
use crate::config::Config;
use crate::hook::claim;
use crate::hook::engine::step_for;
use crate::hook::wait::{Action, Answer, Bounds, Checked, End, Failure, Found, Input, LATEST, Request, Wait};
use crate::policy::process::Process;
use crate::policy::request::Step;
use crate::policy::turn::Turn;
use crate::store::files::taken_over::{Mark, taken_over_by};
use crate::store::listen::{Listener, Notifications, Source};
use crate::store::server::kept_connection::Line;
use crate::store::{self, StoreError, known_session};

/// How long an engine waits at most.
const WAIT: Duration = Duration::from_secs(86_400);
/// How often an engine that pauses checks its machine.
const EACH: Duration = Duration::from_secs(1);

/// The connection and the notifications that an engine keeps.
#[derive(Default)]
struct Held<'a> {
    line: Option<Line<'a>>,
    notifications: Option<(Source, Notifications<'a>)>,
    asked: Option<Step>,
}

/// An engine that waits for a session.
pub(super) struct Engine {
    shared: Shared,
    session: usize,
    /// When its event happened.
    flow: Time,
    begin: Step,
    /// The turn that the event ended, until it is measured, and how long that takes.
    turn: Option<(Turn, Duration)>,
    /// The mark of an earlier take-over of the session.
    mark: Option<Mark>,
}

impl Engine {
    pub(super) fn new(
        shared: &Shared,
        (session, flow): (usize, Time),
        begin: Step,
        turn: Option<(Turn, Duration)>,
    ) -> Self {
        Self { shared: shared.clone(), session, flow, begin, turn, mark: None }
    }

    fn config(&self) -> Config {
        self.shared.borrow().config(self.session)
    }

    /// Waits until the session is admitted, or nothing is left to wait for. Returns whether the agent continues.
    pub(super) fn waits(&mut self) -> bool {
        let bounds = Bounds::of(clock::now(), WAIT, false);
        let mut wait = Wait::new(bounds, self.begin.event.asks().is_some(), false, false);
        let mut config = self.config();
        self.mark = taken_over_by(&config, &self.begin.session);
        loop {
            match self.run(&config, &mut wait) {
                End::Admitted { .. } => return true,
                End::Changed => {
                    config = self.config();
                    wait.moves(bounds, true);
                }
                End::Over | End::Expired => return false,
            }
        }
    }

    fn run(&mut self, config: &Config, wait: &mut Wait) -> End {
        let mut held = Held::default();
        let mut input = Input::Begin;
        loop {
            let next = wait.next(clock::now(), input);
            let found = match next.action {
                Action::Check => Ok(Input::Checked(self.check_and_measure(config, &mut held, wait))),
                Action::Verify => Ok(Input::Checked(Checked { is_wanted: true, terms: self.terms(config) })),
                Action::Send(request) => self.send(config, &mut held, request).map(Box::new).map(Input::Answered),
                Action::Look(source) => self.look(config, &mut held, source),
                Action::Listen(most) => Ok(self.listen(config, &mut held, most)),
                Action::Pause(most) => {
                    self.pause(config, clock::now() + most);
                    Ok(Input::Paused)
                }
                Action::End(end) => return end,
            };
            input = found.unwrap_or_else(|e| {
                (held.notifications, held.line) = (None, None);
                Input::Failed(Failure { why: e.to_string(), is_silence: e.is_silence(), chance: clock::chance() })
            });
        }
    }

    fn check_and_measure<'a>(&mut self, config: &'a Config, held: &mut Held<'a>, wait: &mut Wait) -> Checked {
        let checked = self.check(config);
        if !(checked.is_wanted && matches!(checked.terms, Found::Same)) {
            return checked;
        }
        let Some((turn, takes)) = self.turn.take() else { return checked };
        let begun = clock::now();
        known_session::read(config, &self.begin, begun + config.budget, &mut held.line);
        clock::sleep(takes);
        let spent = clock::now().saturating_duration_since(begun);
        wait.measured(spent);
        self.begin.turn = Some(Box::new(Turn { spent, ..turn }));
        self.check(config)
    }

    fn check(&self, config: &Config) -> Checked {
        Checked { is_wanted: self.is_wanted(config), terms: self.terms(config) }
    }

    /// Returns whether no prompt took the session over that the store does not know.
    fn is_wanted(&self, config: &Config) -> bool {
        let mark = taken_over_by(config, &self.begin.session);
        let is_there = |client: &Process| !world::with(|world| world.gone.contains_key(&client.pid));
        self.begin.client.as_ref().is_none_or(is_there)
            && mark.is_none_or(|mark| Some(&mark) == self.mark.as_ref() || mark.id == self.begin.id)
    }

    fn terms(&self, config: &Config) -> Found {
        if self.stirs(config) { Found::Changed } else { Found::Same }
    }

    fn send<'a>(&self, config: &'a Config, held: &mut Held<'a>, request: Request) -> Result<Answer, StoreError> {
        let host = self.begin.host.clone();
        let step = Step { host, ..step_for(&self.begin, &mut held.asked, request) };
        let line = &mut held.line;
        let call = |begun: Instant| store::over(config, begun + config.budget, line, |store| claim::step(store, &step));
        let (verdict, is_late) = story::record(&self.shared, (self.session, self.flow), &step, LATEST, call)?;
        if verdict.admission.is_some() && is_late {
            return Err(StoreError::TooLate);
        }
        Ok(Answer { by_files: verdict.by_files, outage: verdict.degraded.is_some(), decision: verdict.decision })
    }

    fn look<'a>(&self, config: &'a Config, held: &mut Held<'a>, source: Source) -> Result<Input, StoreError> {
        let notifications = match held.notifications.take() {
            Some((of, notifications)) if of == source => notifications,
            _ => {
                let Step { scope, session, name, agent, .. } = &self.begin;
                let listener = Listener {
                    scope: scope.clone(),
                    session: session.clone(),
                    name: name.clone(),
                    agent: agent.clone(),
                };
                Notifications::open(config, &listener, source)?
            }
        };
        let (_, notifications) = held.notifications.insert((source, notifications));
        notifications.look(&mut held.line).map(Input::Looked)
    }

    fn listen<'a>(&self, config: &'a Config, held: &mut Held<'a>, most: Duration) -> Input {
        let Some((_, notifications)) = &mut held.notifications else { return Input::Paused };
        let heard = notifications.wait(&mut held.line, most, network::nothing(), &|| self.stirs(config));
        Input::WaitEnd(heard)
    }

    fn pause(&self, config: &Config, until: Instant) {
        loop {
            let left = until.saturating_duration_since(clock::now());
            if left.is_zero() {
                return;
            }
            clock::sleep(left.min(EACH));
            if self.stirs(config) {
                return;
            }
        }
    }

    /// Returns whether the configuration names another store.
    fn stirs(&self, config: &Config) -> bool {
        let story = self.shared.borrow();
        story.configs[story.plan.sessions[self.session].host].store != config.store
    }
}
