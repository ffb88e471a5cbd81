//! The facts of a history, recorded while it is played, and the calls of the store that they are about.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::dispatchers::{self, Progress};
use super::plan::Plan;
use super::variants::{Variant, is_broken};
use super::work::{self, Added};
use super::world::{self, Time};
use crate::clock;
use crate::config::Config;
use crate::hook::{claim, step_of};
use crate::policy::cadence::TurnKind;
use crate::policy::request::{Event, Failure, Step};
use crate::policy::verdict::{Outcome, Reason, Verdict};
use crate::policy::work::WorkMode;
use crate::store::files::taken_over;
use crate::store::{self, StoreError};

/// The age after which the watchdog of a process that does not wait has ended it.
const WATCHDOG: Duration = Duration::from_millis(900);

/// The result of one call of the store, as its process saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) session: usize,
    pub(super) host: usize,
    pub(super) scope: String,
    pub(super) id: String,
    pub(super) event: String,
    pub(super) begun: Time,
    pub(super) at: Time,
    /// The answer; `None` for an error.
    pub(super) answer: Option<Answer>,
}

/// A step that was sent, whether an answer arrived or not.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) session: usize,
    /// When the event of its engine happened; for a step of no engine, when it was first sent.
    pub(super) since: Time,
    /// Whether it is a request with a fence.
    pub(super) asks: bool,
    /// Whether the agent requested a rest, which replaces an earlier one.
    pub(super) rests: bool,
    pub(super) begun: Time,
    pub(super) is_wake: bool,
    /// Whether it is the first prompt of a client that a dispatcher started.
    pub(super) is_start: bool,
    /// The signal of a wake-up.
    pub(super) signal: Option<String>,
}

/// The event after which an engine waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Turned {
    /// Whether the turn that ended was measured, and was of no use.
    pub(super) idles: bool,
    /// Whether a person's prompt was sent before the turn.
    pub(super) is_prompted: bool,
    /// Whether the agent reported that it is done.
    pub(super) is_done: bool,
    /// The API error that ended it.
    pub(super) failure: Option<Failure>,
}

#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The time until it is over or would be admitted.
    pub(super) left: Option<Duration>,
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) by_files: bool,
    pub(super) repeated: bool,
    pub(super) unjournaled: bool,
    /// Whether the agent continues by it.
    pub(super) goes_on: bool,
    pub(super) turn_kind: TurnKind,
}

/// A report of a usage window that is in force.
#[derive(Debug, Clone)]
pub(super) struct Reported {
    pub(super) at: Time,
    /// The machine that has it in its files.
    pub(super) host: usize,
    /// The life of the server's data that has it, where the server was reached.
    pub(super) life: Option<u64>,
    pub(super) used: u32,
    pub(super) resets_at: i64,
}

/// The recorded facts of a history while it is played.
pub(super) struct Story {
    pub(super) plan: Plan,
    pub(super) configs: Vec<Config>,
    /// The directory of the history.
    pub(super) folder: PathBuf,
    pub(super) seen: Vec<Seen>,
    /// The last time each step was sent, by the step's id.
    pub(super) sent: BTreeMap<String, Sent>,
    /// The events after which engines wait, by the session and the time.
    pub(super) turned: BTreeMap<(usize, Time), Turned>,
    pub(super) reported: Vec<Reported>,
    /// The end of the usage window by each machine's clock, in milliseconds.
    pub(super) resets: Vec<i64>,
    /// The machines with a journal that is not known to have been shipped.
    pub(super) unshipped: BTreeSet<usize>,
    /// The newest Stop event of each session.
    pub(super) newest: Vec<u64>,
    /// The process of each session's newest event.
    pub(super) process: Vec<Option<usize>>,
    /// Whether there may be a hold that the person does not know of.
    pub(super) is_unsure: bool,
    /// The ids of the releases.
    releases: BTreeSet<String>,
    /// When each session was first admitted after the last fault.
    pub(super) admitted: Vec<Option<Time>>,
    /// When a wake-up after the last fault was first answered, for each session.
    pub(super) woken: Vec<Option<Time>>,
    /// How many clients each session had before its present one.
    pub(super) clients: Vec<u32>,
    /// The number of entries of work that people named, and those that were added.
    pub(super) tasks: u64,
    pub(super) added: Vec<Added>,
    /// Since when each session has an entry of work in hand, or could claim one.
    pub(super) claimable: Vec<Option<Time>>,
    /// The session that was not admitted in time, which ends the history.
    pub(super) starved: Option<usize>,
    /// The start tokens of the clients that were started.
    pub(super) tokens: BTreeSet<String>,
    /// The queues of dispatchers since the last fault, by the machine and the route.
    pub(super) progress: BTreeMap<(usize, usize), Progress>,
    /// Why a queue does not go on, which ends the history.
    pub(super) stalled: Option<String>,
}

impl Story {
    pub(super) fn of(plan: &Plan, configs: Vec<Config>, resets: Vec<i64>, folder: &Path) -> Self {
        let count = plan.sessions.len();
        Self {
            plan: plan.clone(),
            configs,
            folder: folder.to_owned(),
            seen: Vec::new(),
            sent: BTreeMap::new(),
            turned: BTreeMap::new(),
            reported: Vec::new(),
            resets,
            unshipped: BTreeSet::new(),
            newest: vec![0; count],
            process: vec![None; count],
            is_unsure: false,
            releases: BTreeSet::new(),
            admitted: vec![None; count],
            woken: vec![None; count],
            clients: vec![0; count],
            tasks: 0,
            added: Vec::new(),
            claimable: vec![None; count],
            starved: None,
            tokens: BTreeSet::new(),
            progress: BTreeMap::new(),
            stalled: None,
        }
    }

    /// Returns whether a release was sent meanwhile.
    pub(super) fn is_released(&self, from: Time, to: Time) -> bool {
        let sent = self.releases.iter().filter_map(|id| self.sent.get(id));
        sent.into_iter().any(|sent| sent.begun >= from && sent.begun <= to)
    }

    /// Returns whether a step is a release.
    pub(super) fn is_release(&self, id: &str) -> bool {
        self.releases.contains(id)
    }

    /// Adds a session that a dispatcher starts. Returns its number.
    pub(super) fn adds_session(&mut self, host: usize, agent: usize) -> usize {
        let session = world::with(|world| dispatchers::session(host, &mut world.chance));
        self.plan.sessions.push(session);
        self.plan.work.as_mut().unwrap().agents.push(agent);
        self.newest.push(0);
        self.process.push(None);
        self.admitted.push(None);
        self.woken.push(None);
        self.clients.push(0);
        self.claimable.push(None);
        self.newest.len() - 1
    }

    /// Returns the configuration of a session.
    pub(super) fn config(&self, session: usize) -> Config {
        let about = &self.plan.sessions[session];
        let mut config = self.configs[about.host].clone();
        if about.is_started {
            config.policy.work.mode = WorkMode::Required;
        }
        config
    }

    /// Returns the event after which the engine of a step waits.
    pub(super) fn turn_of(&self, sent: &Sent) -> Option<&Turned> {
        self.turned.get(&(sent.session, sent.since))
    }

    /// Returns whether a wake-up with this signal concerns a session.
    pub(super) fn wakes(&self, session: usize, signal: Option<&String>) -> bool {
        let listed = self.plan.sessions[session].wake_on.as_ref();
        signal.zip(listed).is_none_or(|(signal, listed)| listed.contains(signal))
    }

    /// Returns whether a session reports that it is done.
    pub(super) fn is_done(&self, session: usize) -> bool {
        self.plan.sessions[session].is_done && self.woken[session].is_none()
    }

    fn sends(&mut self, (session, flow): (usize, Time), step: &Step, begun: Time) -> usize {
        if matches!(step.event, Event::Release { .. }) {
            self.releases.insert(step.id.clone());
        }
        let is_engines = step.event.asks().is_some() || step.event.begins();
        let since = if is_engines { flow } else { self.sent.get(&step.id).map_or(begun, |sent| sent.since) };
        let signal = if let Event::Wake { signal, .. } = &step.event { signal.clone() } else { None };
        let asks = matches!(step.event, Event::Ask { .. });
        let rests = matches!(step.event, Event::Stop { rest: Some(_) });
        let is_wake = matches!(step.event, Event::Wake { .. });
        let is_start = matches!(step.event, Event::StartPrompt { .. });
        self.sent.insert(step.id.clone(), Sent { session, since, asks, rests, begun, is_wake, is_start, signal });
        self.plan.sessions[session].host
    }

    /// Records an answer, and what it means for the end of the history.
    fn hears(&mut self, step: &Step, seen: Seen) {
        let (session, at) = (seen.session, seen.at);
        let is_calm = at >= self.plan.calms_at;
        if is_calm && seen.answer.as_ref().is_some_and(|answer| answer.goes_on) {
            self.admitted[session].get_or_insert(at);
        }
        if let Event::Wake { signal, .. } = &step.event
            && is_calm
            && seen.answer.is_some()
            && self.wakes(session, signal.as_ref())
        {
            self.woken[session].get_or_insert(at);
        }
        self.seen.push(seen);
    }
}

pub(super) type Shared = Rc<RefCell<Story>>;

/// Returns a step of a session.
pub(super) fn step(shared: &Shared, session: usize, event: Event) -> Step {
    let story = shared.borrow();
    let plan = &story.plan;
    let about = &plan.sessions[session];
    let name = match &event {
        Event::Hold(_) => "Hold",
        Event::Release { .. } => "Release",
        Event::Stop { .. } => "Stop",
        Event::StopFailure(_) => "StopFailure",
        Event::PersonPrompt | Event::StartPrompt { .. } => "UserPromptSubmit",
        Event::Wake { .. } => "Wake",
        Event::SessionEnd => "SessionEnd",
        Event::SessionStart { .. } => "SessionStart",
        _ => "Notification",
    };
    let scope = if event.is_fleets() { String::new() } else { plan.scope(session) };
    let id = if event.is_of_holds() { String::new() } else { format!("session-{session}") };
    let host = format!("host-{}", about.host);
    let wake_on = about.wake_on.clone().filter(|_| !is_broken(Variant::EverySignalWakes));
    let step = Step { paced: about.waits, host, wake_on, ..step_of(scope, id, name, event) };
    let Some(agent) = plan.work.as_ref().map(|work| work::agent(work.agents[session])) else { return step };
    let client = step.event.is_clients().then(|| work::client(session, story.clients[session]));
    Step { name: agent.clone(), agent, client, claim: claim::of(&step.event, false), ..step }
}

/// Sends a step to the store once, as a process does that does not wait. Returns the verdict, and whether its agent
/// continues.
pub(super) fn ask(shared: &Shared, (session, flow): (usize, Time), step: &Step) -> Option<(Verdict, bool)> {
    let config = shared.borrow().config(session);
    let call = |begun: Instant| {
        let mut store = store::open(&config, begun + config.budget)?;
        claim::step(&mut *store, step)
    };
    let verdict = record(shared, (session, flow), step, WATCHDOG, call);
    let is_known = verdict.as_ref().is_ok_and(|(verdict, _)| verdict.degraded.is_none());
    if matches!(step.event, Event::PersonPrompt | Event::StartPrompt { .. }) && !is_known {
        taken_over::take_over(&config, &step.session, &step.id, None);
    }
    let (verdict, is_late) = verdict.ok()?;
    let goes_on = verdict.admission.is_some();
    if is_late && goes_on { None } else { Some((verdict, goes_on)) }
}

/// Sends a step by this call, and records the answer. Returns the verdict, and whether it came later than `latest`.
/// `flow` is when the event of an engine happened.
pub(super) fn record(
    shared: &Shared,
    (session, flow): (usize, Time),
    step: &Step,
    latest: Duration,
    call: impl FnOnce(Instant) -> Result<Verdict, StoreError>,
) -> Result<(Verdict, bool), StoreError> {
    let sent = world::with(|world| world.time);
    let host = shared.borrow_mut().sends((session, flow), step, sent);
    let begun = clock::now();
    world::with(|world| world.begins(&step.id));
    world::tell(|| format!("session-{session} sends {:?} {}", step.event, step.id));
    let result = call(begun);
    world::tell(|| match &result {
        Ok(v) => format!(
            "session-{session} is answered {:?} {:?} by files: {}",
            v.decision.reason, v.decision.retry_after, v.by_files
        ),
        Err(e) => format!("session-{session} is answered {e}"),
    });
    let is_late = clock::now().saturating_duration_since(begun) > latest;
    let answer = result.as_ref().ok().map(|v| Answer {
        left: v.decision.retry_after,
        outcome: v.decision.outcome,
        reason: v.decision.reason,
        by_files: v.by_files,
        repeated: v.decision.repeated,
        unjournaled: v.unjournaled,
        goes_on: !is_late && v.admission.is_some(),
        turn_kind: v.decision.turn_kind,
    });
    let at = world::with(|world| world.time);
    let (id, event, scope) = (step.id.clone(), step.event_name.clone(), step.scope.clone());
    shared.borrow_mut().hears(step, Seen { session, host, scope, id, event, begun: sent, at, answer });
    result.map(|verdict| (verdict, is_late))
}
