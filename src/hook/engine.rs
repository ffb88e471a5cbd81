//! Performs the decisions of [`Wait`] for one waiting engine, with the real store, files, clock and signals.

use std::fs::File;
use std::time::{Duration, Instant};

use super::claim;
use super::client::Client;
use super::local::Known;
use super::signals::Signals;
use super::terms::{self, EngineTerms, Terms};
use super::told;
use super::transcript;
use super::wait::{Action, Answer, Checked, End, Failure, Found, Input, LATEST, Note, Request, Wait};
use crate::clock;
use crate::config::Config;
use crate::env::Env;
use crate::hint::Problem;
use crate::notify::detached::Caller;
use crate::notify::{Kind, detached, lost_engines};
use crate::policy::cadence::Dreams;
use crate::policy::request::{Event, Step};
use crate::policy::signal;
use crate::policy::turn::Turn;
use crate::policy::verdict::{Decision, Outcome, Reason, Verdict};
use crate::prompt_cache;
use crate::store;
use crate::store::files::taken_over::Mark;
use crate::store::files::{taken_over, undecided};
use crate::store::known_session;
use crate::store::listen::{self, Listener, Notifications, Source, Word};
use crate::store::server::kept_connection::Line;
use crate::store::{Store, StoreError};
use crate::text;

/// The outcome of an engine's run.
pub(super) enum Ended {
    Admitted(Box<Admitted>),
    /// The engine ended without an admission, after this decision if a store decided.
    Over(Option<Box<Decision>>),
    /// The wait continues under other terms.
    Changed(Box<Terms>),
}

/// An admission that may be used.
pub(super) struct Admitted {
    pub(super) verdict: Verdict,
    /// The last refusal that was more than a minimum interval.
    pub(super) paused: Option<Box<Decision>>,
    /// A locked file that keeps a switch from returning before this process has ended.
    pub(super) kept: Option<File>,
}

/// The state of the process when it began.
pub(super) struct Start<'s> {
    pub(super) client: Client,
    pub(super) signals: &'s Signals,
    pub(super) since: Instant,
}

/// What an engine has observed and sent, under all of its terms.
pub(super) struct Seen {
    /// The mark of an earlier take-over of the session, which does not concern this engine.
    mark: Option<Mark>,
    /// The same as `mark`, for calls without a verdict.
    took: Option<String>,
    /// Whether the notification that the agent is blocked was sent.
    blocked: bool,
    /// When to check next whether a look for lost engines is due.
    watch: Option<Instant>,
    /// The end of the turn, until it is measured.
    pub(super) turn_end: Option<TurnEnd>,
    turn: Option<Box<Turn>>,
}

/// What a Stop event's payload contains about the turn that ended.
pub(super) struct TurnEnd {
    pub(super) transcript: String,
    pub(super) last_message: Option<String>,
}

impl Seen {
    pub(super) fn new(config: &Config, session: &str) -> Self {
        let (mark, took) = (taken_over::taken_over_by(config, session), took(config, session));
        Self { mark, took, blocked: false, watch: None, turn_end: None, turn: None }
    }

    /// Continues in another fleet.
    pub(super) fn moves(&mut self, to: &Config, session: &str) {
        self.mark = taken_over::taken_over_by(to, session);
    }
}

/// Returns the last undecided call that took the session over.
fn took(config: &Config, session: &str) -> Option<String> {
    let mark = undecided::of(config.state.as_ref()?, session)?;
    Some(mark.took).filter(|id| !id.is_empty())
}

/// The inputs of an engine under its present terms.
pub(super) struct Engine<'a, 's> {
    pub(super) config: &'a Config,
    pub(super) env: &'a Env,
    pub(super) known: &'a Known,
    pub(super) caller: Caller<'a>,
    pub(super) start: &'a Start<'a>,
    pub(super) standing: &'a mut EngineTerms<'s>,
    pub(super) seen: &'a mut Seen,
    /// The event after which it waits.
    pub(super) begin: Step,
    /// Whether it waits for a gate, which reports its own end.
    pub(super) is_gate: bool,
}

/// The resources that an engine keeps open, and its last findings.
#[derive(Default)]
struct Held<'a> {
    notifications: Option<(Source, Notifications<'a>)>,
    /// The connection to the server.
    line: Option<Line<'a>>,
    /// The last request with a fence, which is retried with the same id.
    asked: Option<Step>,
    verdict: Option<Verdict>,
    kept: Option<File>,
    terms: Option<Box<Terms>>,
}

impl<'a> Engine<'a, '_> {
    /// Runs until the session is admitted, nothing is left to wait for, or the terms change.
    pub(super) fn run(mut self, wait: &mut Wait) -> Ended {
        let mut held = Held::default();
        self.begin.turn.clone_from(&self.seen.turn);
        let mut input = Input::Begin;
        loop {
            let next = wait.next(Instant::now(), input);
            match next.note {
                Some(Note::Undecided(reason, why)) => self.known.journal(self.env, reason, &why),
                Some(Note::Decided) => self.known.decided(self.env),
                // The end of a gate's wait is the gate's own to report.
                Some(Note::Disarmed(why)) if !self.is_gate => self.known.disarmed(self.env, why),
                Some(Note::Disarmed(_)) => {}
                None => {}
            }
            let found = match next.action {
                Action::Check => {
                    held.kept = None;
                    Ok(Input::Checked(self.check_and_measure(&mut held, wait)))
                }
                Action::Verify => Ok(Input::Checked(self.verify(&mut held))),
                Action::Send(Request::Expired { .. }) if self.is_gate => return self.ended(held, End::Over),
                Action::Send(request) => self.send(&mut held, request).map(Box::new).map(Input::Answered),
                Action::Look(source) => self.look(&mut held, source),
                Action::Listen(most) => Ok(self.listen(&mut held, most)),
                Action::Pause(most) => {
                    let stirs = || self.standing.stirs();
                    listen::pause_until(Instant::now() + most, self.start.signals.fd(), &stirs);
                    Ok(Input::Paused)
                }
                Action::End(end) => return self.ended(held, end),
            };
            input = found.unwrap_or_else(|e| {
                (held.notifications, held.line) = (None, None);
                Input::Failed(Failure {
                    why: Problem::from(&e).to_string(),
                    is_silence: e.is_silence(),
                    chance: clock::chance(),
                })
            });
        }
    }

    /// Checks, and measures the turn that the event ended before the event is sent for the first time.
    fn check_and_measure(&mut self, held: &mut Held<'a>, wait: &mut Wait) -> Checked {
        let checked = self.check(held);
        if !(checked.is_wanted && matches!(checked.terms, Found::Same)) {
            return checked;
        }
        let Some(end) = self.seen.turn_end.take() else { return checked };
        self.measure(&end, held, wait);
        // Much may have changed meanwhile.
        self.check(held)
    }

    #[cold]
    fn measure(&mut self, end: &TurnEnd, held: &mut Held<'a>, wait: &mut Wait) {
        let begun = Instant::now();
        let session = known_session::read(self.config, &self.begin, begun + self.config.budget, &mut held.line);
        let place = session.and_then(|session| session.transcript);
        let (last_message, until) = (end.last_message.as_deref(), begun + transcript::LONGEST);
        let signals = &self.start.signals;
        let turn = transcript::measure(&end.transcript, place.as_ref(), last_message, until, || signals.terminated());
        let spent = begun.elapsed();
        wait.measured(spent);
        self.seen.turn = Some(Box::new(Turn { spent, ..turn }));
        self.begin.turn.clone_from(&self.seen.turn);
    }

    fn check(&mut self, held: &mut Held<'_>) -> Checked {
        self.start.signals.clear();
        Checked { is_wanted: self.is_wanted(), terms: self.terms(held) }
    }

    /// Returns whether the client still exists, has not ended this engine, and nothing on this machine took
    /// the session over.
    fn is_wanted(&self) -> bool {
        let Step { session, id, client: own, .. } = &self.begin;
        let other = |by: &Mark| by.id != *id && Some(by) != self.seen.mark.as_ref() && by.concerns(own.as_ref());
        let marked = || taken_over::taken_over_by(self.config, session).filter(other);
        let undecided =
            || took(self.config, session).filter(|by| *by != self.known.id && Some(by) != self.seen.took.as_ref());
        let Start { client, signals, .. } = self.start;
        !signals.terminated() && client.is_there() && marked().is_none() && undecided().is_none()
    }

    fn verify(&mut self, held: &mut Held<'_>) -> Checked {
        let is_wanted = !self.start.signals.terminated();
        held.kept = self.standing.keep();
        Checked { is_wanted, terms: self.terms(held) }
    }

    fn terms(&mut self, held: &mut Held<'_>) -> Found {
        match self.standing.look() {
            terms::Found::Same => Found::Same,
            terms::Found::Gone(why) => Found::Gone(why),
            terms::Found::Unclear(reason, why) => Found::Unclear(reason, why),
            terms::Found::Changed(terms) => {
                held.terms = Some(terms);
                Found::Changed
            }
        }
    }

    fn send(&mut self, held: &mut Held<'a>, request: Request) -> Result<Answer, StoreError> {
        let is_own = matches!(request, Request::Begin { .. } | Request::Ask { .. });
        let mut step = step_for(&self.begin, &mut held.asked, request);
        if is_own && self.config.policy.cadence.dreams != Dreams::Off {
            step.cache_is_warm = prompt_cache::is_warm(self.config, &step.session);
        }
        let begun = Instant::now();
        let send = |store: &mut dyn Store| claim::step(store, &step);
        let verdict = store::over(self.config, begun + self.config.budget, &mut held.line, send)?;
        // No request may take this long, since another store may have taken over meanwhile. The admission is
        // discarded.
        if verdict.admission.is_some() && begun.elapsed() > LATEST {
            return Err(StoreError::TooLate);
        }
        let decision = verdict.decision.clone();
        if is_own {
            self.notify(&step, &decision);
        }
        let answer = Answer { decision, by_files: verdict.by_files, outage: verdict.degraded.is_some() };
        held.verdict = Some(verdict);
        Ok(answer)
    }

    /// Sends the notification of a refusal or of a failure.
    fn notify(&mut self, step: &Step, decided: &Decision) {
        if decided.outcome == Outcome::Admit || decided.reason == Reason::Superseded {
            return;
        }
        let Some(word) = told::word(&self.config.fleet, step, decided) else { return };
        // A Stop event that is also sent to another store is the same one.
        if word.kind == Kind::Blocked && std::mem::replace(&mut self.seen.blocked, true) {
            return;
        }
        detached::tell(self.config, self.caller, &word, detached::Then::Stays);
    }

    fn look(&mut self, held: &mut Held<'a>, source: Source) -> Result<Input, StoreError> {
        self.watch();
        let notifications = match held.notifications.take() {
            Some((of, notifications)) if of == source => notifications,
            _ => {
                let Step { scope, session, name, agent, .. } = &self.begin;
                let (scope, session, name, agent) = (scope.clone(), session.clone(), name.clone(), agent.clone());
                let listener = Listener { scope, session, name, agent };
                Notifications::open(self.config, &listener, source)?
            }
        };
        let (_, notifications) = held.notifications.insert((source, notifications));
        notifications.look(&mut held.line).map(Input::Looked)
    }

    fn listen(&mut self, held: &mut Held<'a>, most: Duration) -> Input {
        let Some((_, notifications)) = &mut held.notifications else { return Input::Paused };
        let standing = &*self.standing;
        let heard = notifications.wait(&mut held.line, most, self.start.signals.fd(), &|| standing.stirs());
        if let Some(why) = notifications.loss() {
            let event = "Subscription".to_owned();
            Known { event, asked_to_go_on: false, ..self.known.clone() }.note(self.env, Reason::Event, &why);
        }
        Input::WaitEnd(heard)
    }

    /// Looks periodically for lost engines beside this one. An engine that dies sends no notification.
    fn watch(&mut self) {
        let now = Instant::now();
        if self.config.notify.is_empty() || self.seen.watch.is_some_and(|at| now < at) {
            return;
        }
        let first = self.seen.watch.replace(now + lost_engines::EVERY).is_none();
        if !first && lost_engines::is_due(self.config) {
            detached::look_for_lost(self.caller);
        }
    }

    fn ended(&self, held: Held<'_>, end: End) -> Ended {
        match (end, held.verdict, held.terms) {
            (End::Admitted { paused, held: before }, Some(mut verdict), _) => {
                // A store that took over meanwhile does not know that the session was held.
                let decided = &mut verdict.decision;
                let is_known = decided.held.is_some() || decided.renewed;
                decided.held = decided.held.take().or(before.filter(|_| !is_known));
                Ended::Admitted(Box::new(Admitted { verdict, paused, kept: held.kept }))
            }
            (End::Changed, _, Some(terms)) => Ended::Changed(terms),
            (End::Expired, ..) => {
                let word = told::expired(&self.config.fleet, &self.begin);
                detached::tell(self.config, self.caller, &word, detached::WAITED);
                Ended::Over(None)
            }
            (_, verdict, _) => Ended::Over(verdict.map(|verdict| Box::new(verdict.decision))),
        }
    }
}

/// Builds the step for a request of an engine that waits after the event `begin`. `asked` is its last request with a
/// fence, which is retried with the same id.
pub(crate) fn step_for(begin: &Step, asked: &mut Option<Step>, request: Request) -> Step {
    match request {
        Request::Begin { late } => {
            let mut step = Step { late, ..begin.clone() };
            // The remainder of the rest.
            if let (Some(late), Event::Stop { rest: Some(rest) } | Event::Resume { rest: Some(rest), .. }) =
                (late, &mut step.event)
            {
                rest.lasting = rest.lasting.map(|lasting| lasting.saturating_sub(late));
            }
            step
        }
        Request::Ask { fence, renew, again } => {
            let before = asked.take().filter(|_| again);
            let step = before.unwrap_or_else(|| at_present(begin, Event::Ask { fence, renew }));
            asked.insert(step).clone()
        }
        Request::Wake(Word { signal, note }) => {
            let detail = text::line(&signal::noted(signal.as_deref(), &note));
            let event = Event::Wake { note, spread: false, signal, depth: 0 };
            Step { detail, ..super::step_of(begin.scope.clone(), begin.session.clone(), "Wake", event) }
        }
        Request::Expired { fence } => {
            let fence = fence.unwrap_or(begin.host_ms);
            Step { event_name: "WaiterExpired".to_owned(), ..at_present(begin, Event::Expired { fence }) }
        }
    }
}

/// Builds a step of the same session at the present time.
fn at_present(begin: &Step, event: Event) -> Step {
    let (host_ms, id) = (clock::host_ms(), clock::id());
    Step { event, late: None, turn: None, detail: String::new(), host_ms, id, ..begin.clone() }
}
