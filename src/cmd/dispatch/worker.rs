//! A program that works through a queue in place of a session.
//!
//! Its requests are those of a session: each run is one admission with one entry, and the end of the run is the Stop event
//! that ends the entry.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::claim::Waiting;
use super::starter::{of_place, works};
use crate::clock;
use crate::cmd::out;
use crate::cmd::work::held;
use crate::config::{Config, Route};
use crate::env::{self, Env};
use crate::hint::Problem;
use crate::hook;
use crate::hook::wait::LATEST;
use crate::local_time;
use crate::policy::limits::millis;
use crate::policy::request::{Event, RestRequest, Step};
use crate::policy::rest::RestKind;
use crate::policy::verdict::{Decision, Reason};
use crate::policy::work::entry::{List, is_model};
use crate::policy::work::{Given, Start};
use crate::process;
use crate::store::fleet_reader::FleetReader;
use crate::store::{self, StoreError, work as queues};
use crate::text;

/// The pause after a request that no store could decide, and while a hold is in force.
const AFTER_ERROR: Duration = Duration::from_secs(2);
/// The most characters of the host's name in the session's id.
const LONGEST_HOST: usize = 80;
/// The longest pause after a refusal: the limits may be lifted meanwhile.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs the program of a route.
pub(crate) trait Runner {
    /// Runs it with an entry. Returns why it failed, where it did.
    fn run(&self, given: &Given) -> Result<(), String>;
    /// Returns why it cannot be run, with a command that shows it.
    fn missing(&self) -> Option<(String, String)> {
        None
    }
}

/// The worker of a route.
pub(crate) struct Worker<'a, R: Runner> {
    config: Config,
    route: &'a Route,
    program: R,
    /// The agent, encoded.
    agent: String,
    session: String,
    /// The request that reports the end of the last run, and when it was first sent, until the store that has the queue has answered it. It is sent again
    /// as the same request, since it ends the entry of that run and no other.
    ended: Option<(Step, Option<Instant>)>,
    /// The request that was refused.
    waiting: Waiting,
    /// Whether a store has received a request.
    has_session: bool,
    /// The last refusal, and when it may end.
    refused: Option<Decision>,
    /// The earliest time of the next request.
    not_before: Instant,
}

impl<'a> Worker<'a, Program<'a>> {
    /// Returns the worker of a route that has a program.
    pub(super) fn of(config: &Config, env: &Env, route: &'a Route, number: usize) -> Option<Self> {
        let argv = route.run.as_deref()?;
        let (fleet, store) = (text::decoded(&config.fleet), env.store.clone());
        Some(Self::new(config, route, number, Program { route, argv, fleet, store }))
    }
}

impl<'a, R: Runner> Worker<'a, R> {
    pub(crate) fn new(config: &Config, route: &'a Route, number: usize, program: R) -> Self {
        let (config, agent) = (works(config, route), text::encode(&route.to));
        let host: String = text::encode(&clock::host()).chars().take(LONGEST_HOST).collect();
        let session = format!("{}{host}-{}-{number}", super::RUN, process::own().pid);
        let (waiting, not_before, refused) = (Waiting::default(), clock::now(), None);
        Self { config, route, program, agent, session, ended: None, waiting, has_session: false, refused, not_before }
    }

    /// Sends a request where there is something to claim, and runs the program where it is admitted. Returns whether it ran.
    pub(crate) fn turn(&mut self) -> bool {
        if clock::now() < self.not_before {
            return false;
        }
        let claims = self.ended.is_some()
            || match self.can_claim() {
                Ok(can) => can,
                Err(why) => return self.failed(&why),
            };
        if !claims {
            self.waiting.give_up();
            return false;
        }
        // The end of a run is reported in any case.
        if let Some((why, hint)) = self.program.missing().filter(|_| self.ended.is_none()) {
            let why = format!("no program is run for {}: {why}", text::line(&self.route.to));
            out::report(&Problem::new(why).with_hint(hint).lines());
            self.not_before = clock::now() + LONGEST;
            return false;
        }
        let begun = clock::now();
        match self.ask() {
            Ok(Some(_)) if begun.elapsed() > LATEST => {
                // Much may have changed meanwhile, a hold among it.
                self.leave();
                self.has_session = false;
                false
            }
            Ok(Some(given)) => {
                let end = self.run(&given);
                self.ended = Some((self.step("Stop", Event::Stop { rest: Some(end) }), None));
                true
            }
            Ok(None) => false,
            Err(why) => self.failed(&why),
        }
    }

    /// Returns how long it waits for its next look.
    pub(crate) fn pause(&self) -> Duration {
        super::pause(self.not_before)
    }

    /// Works by another configuration from now on. Its store and its fleet stay.
    pub(super) fn adopt(&mut self, config: &Config) {
        self.config = works(&of_place(config, &self.config), self.route);
    }

    /// Ends the worker's session, where it sent a request.
    pub(crate) fn leave(&self) {
        if !self.has_session {
            return;
        }
        if let Some(refused) = self.refused.as_ref().filter(|refused| refused.reason != Reason::NoWork) {
            let at = refused.retry_after.map(|left| refused.now.saturating_add(millis(left)));
            let from = at.map(|at| format!(" until {}", local_time::zoned(at, refused.now))).unwrap_or_default();
            let (agent, reason) = (text::line(&self.route.to), refused.reason.code());
            out::say(&format!("the next task of {agent} is refused{from}: {reason}"));
        }
        let step = self.step("SessionEnd", Event::SessionEnd);
        let _ = store::open(&self.config, clock::now() + self.config.budget).and_then(|mut store| store.step(&step));
    }

    /// Returns whether an entry may be claimed, while no other worker or session of the agent has one in hand.
    fn can_claim(&mut self) -> Result<bool, StoreError> {
        let mut reader = FleetReader::open_to_change(&self.config);
        let now = reader.now()?;
        let all = queues::contents(&mut reader, Some(&self.agent), 1)?;
        let is_free = |contents: &queues::Contents| {
            let seen = queues::seen(&contents.queue.hand);
            let lasting = contents.queue.lasting(&seen, self.config.policy.work.lease, now);
            let is_lost = lasting.len() < contents.queue.hand.len();
            let mut entries = contents.entries.iter().filter(|(list, _)| *list != List::Dead).flat_map(|(_, all)| all);
            let is_due = contents.queue.broken_until(now).is_none() && entries.any(|entry| entry.at <= now);
            // An admission with a lost answer left its entry in hand of this worker.
            let is_own = contents.queue.hand.iter().any(|in_hand| in_hand.session == self.session);
            is_lost || is_own || (lasting.is_empty() && is_due)
        };
        if !all.iter().any(is_free) {
            return Ok(false);
        }
        let is_held = held::of(&self.config, &self.agent)?.is_by_person();
        if is_held {
            self.not_before = clock::now() + AFTER_ERROR;
        }
        Ok(!is_held)
    }

    /// Sends the request. Returns the entry, where the store has committed an admission with one.
    fn ask(&mut self) -> Result<Option<Box<Given>>, StoreError> {
        let step = match &mut self.ended {
            Some((step, first)) => {
                let late = first.map(|first| clock::now().saturating_duration_since(first));
                first.get_or_insert_with(clock::now);
                Step { late, ..step.clone() }
            }
            None => self.waiting.again().unwrap_or_else(|| self.step("Stop", Event::Stop { rest: None })),
        };
        self.has_session = true;
        let mut store = store::open(&self.config, clock::now() + self.config.budget)?;
        let verdict = store.step(&step)?;
        if verdict.degraded.is_some() {
            // The queue is on the server, which did not answer or whose answer was lost.
            self.not_before = clock::now() + AFTER_ERROR;
            return Ok(None);
        }
        self.ended = None;
        self.waiting.note(&step, &verdict.decision);
        let Some(given) = verdict.decision.work.clone().filter(|_| verdict.admission.is_some()) else {
            let left = verdict.decision.retry_after.unwrap_or_default();
            self.not_before = clock::now() + left.min(LONGEST);
            self.refused = Some(verdict.decision);
            return Ok(None);
        };
        self.refused = None;
        Ok(Some(given))
    }

    fn step(&self, name: &str, event: Event) -> Step {
        Step {
            name: text::line(&self.route.to),
            agent: self.agent.clone(),
            paced: true,
            client: Some(process::own()),
            start: Some(Box::new(Start { token: String::new(), most: 1, first: None })),
            ..hook::step_of(self.agent.clone(), self.session.clone(), name, event)
        }
    }

    /// Runs the program, and returns how the entry ends.
    fn run(&self, given: &Given) -> RestRequest {
        let ended = self.program.run(given);
        let how = ended.as_ref().err().map_or_else(|| "done".to_owned(), |why| format!("failed: {}", text::line(why)));
        out::say(&format!("ran {} for {}: {how}", text::line(&given.in_hand.entry.id), text::line(&self.route.to)));
        match ended {
            Ok(()) => RestRequest { kind: RestKind::Done, lasting: None, topic: String::new() },
            Err(why) => RestRequest { kind: RestKind::Failed, lasting: None, topic: text::line(&why) },
        }
    }

    fn failed(&mut self, why: &StoreError) -> bool {
        out::report(&format!("the queue of {}: {}", text::line(&self.route.to), Problem::from(why).lines()));
        self.not_before = clock::now() + AFTER_ERROR;
        false
    }
}

/// The program of a route as a process.
pub(super) struct Program<'a> {
    route: &'a Route,
    argv: &'a [String],
    /// What its own calls of Frosty use.
    fleet: String,
    store: Option<String>,
}

impl Runner for Program<'_> {
    fn missing(&self) -> Option<(String, String)> {
        let program = self.argv.first().map(String::as_str).unwrap_or_default();
        let shown = text::path(Path::new(program));
        if !program.contains('/') {
            let why = || (format!("{shown} is not found on PATH"), format!("see where it is: command -v {shown}"));
            return env::on_path(program).is_none().then(why);
        }
        let why = rustix::fs::access(program, rustix::fs::Access::EXEC_OK).err()?;
        let folder = std::env::current_dir().map(|folder| text::path(&folder)).unwrap_or_default();
        let why = std::io::Error::from(why);
        Some((format!("{shown} cannot be run from {folder}: {why}"), format!("see what is there: ls -l {shown}")))
    }

    /// Runs the program with the task on its standard input.
    fn run(&self, given: &Given) -> Result<(), String> {
        let entry = &given.in_hand.entry;
        let (program, arguments) = self.argv.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped());
        command.env("FROSTY_WORK_ID", &entry.id).env("FROSTY_WORK_AGENT", &self.route.to);
        command.env("FROSTY_FLEET", &self.fleet);
        if let Some(store) = &self.store {
            command.env("FROSTY_STORE", store);
        }
        match Some(&entry.model).filter(|model| is_model(model)) {
            None => command.env_remove("FROSTY_WORK_MODEL"),
            Some(model) => command.env("FROSTY_WORK_MODEL", model),
        };
        let mut child = command.spawn().map_err(|why| format!("{} cannot be started: {why}", text::line(program)))?;
        if let Some(mut input) = child.stdin.take() {
            // A program that does not read its task closes the pipe.
            let _ = writeln!(input, "{}", entry.text);
        }
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(why) => Err(why.to_string()),
        }
    }
}
