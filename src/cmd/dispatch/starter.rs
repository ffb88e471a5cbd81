//! The starter of a route: it starts a session of the client where the agent's queue has work and no session.
//!
//! Each start is one admission with one entry, which the starter claims by a session of its own. The client gets a start
//! token, and its first prompt takes the claim over. Until then the claim is the starter's: it goes back to the queue where
//! the client does not start, or the dispatcher ends.

use std::time::{Duration, Instant};

use super::client::{self, Client, PROGRAM, Started};
use super::{live, overflow};
use crate::clock;
use crate::cmd::out;
use crate::config::{Config, Route, SessionKind, SessionRoute};
use crate::duration;
use crate::env::Env;
use crate::hint::Problem;
use crate::hook;
use crate::hook::prompt::Prompt;
use crate::hook::wait::LATEST;
use crate::policy::request::{Event, Step};
use crate::policy::verdict::{Admission, Decision};
use crate::policy::work::entry::List;
use crate::policy::work::queue::InHand;
use crate::policy::work::{Start, WorkMode};
use crate::process;
use crate::store::fleet_reader::FleetReader;
use crate::store::work::{Change, Changed};
use crate::store::{self, StoreError, work as queues};
use crate::text;

/// The pause after a request that no store could decide.
const AFTER_ERROR: Duration = Duration::from_secs(2);
/// The pause while something is missing without which no client can be started.
const WITHOUT_CLIENT: Duration = Duration::from_secs(60);
/// The longest pause after a refusal: the limits may be lifted meanwhile.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a client may take until its first prompt.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How often the queue is read meanwhile.
const EACH: Duration = Duration::from_millis(100);
/// How often the limits of the route's keys are looked at.
const EACH_PASS: Duration = Duration::from_secs(1);
/// The longest time between two looks at the sessions that may be idle.
const LONGEST_LOOK: Duration = Duration::from_secs(30);
/// The most characters of the host's name in the session's id.
const LONGEST_HOST: usize = 80;

/// The starter of a route.
pub(super) struct Starter<'a> {
    config: Config,
    env: &'a Env,
    route: &'a Route,
    session: &'a SessionRoute,
    /// The place of the API key in the route's list.
    key: usize,
    /// The fleets of the route's other keys.
    others: Vec<Config>,
    /// The agent, encoded.
    agent: String,
    /// The session by which the next entry is claimed.
    own: String,
    /// Whether a store has received a request of it.
    has_session: bool,
    /// The clients of print mode that run, each with the session that claimed for it.
    children: Vec<(Started, String)>,
    not_before: Instant,
    next_look: Instant,
    next_pass: Instant,
}

/// An admission with its entry, and the token of the client that may have it.
struct Admitted {
    admission: Admission,
    decision: Decision,
    token: String,
}

impl<'a> Starter<'a> {
    /// Returns the starters of a route that starts sessions, one for each key.
    pub(super) fn all_of(config: &Config, env: &'a Env, route: &'a Route) -> Vec<Self> {
        let mut fleets = overflow::fleets(config, route);
        fleets.iter_mut().for_each(|config| config.policy.work.mode = WorkMode::Required);
        (0..fleets.len()).filter_map(|key| Self::of(&fleets, key, env, route)).collect()
    }

    fn of(fleets: &[Config], key: usize, env: &'a Env, route: &'a Route) -> Option<Self> {
        let session = route.session.as_ref()?;
        let config = fleets.get(key)?.clone();
        let after = fleets.iter().cycle().skip(key.saturating_add(1)).take(fleets.len().saturating_sub(1));
        let others = after.cloned().collect();
        let (agent, now) = (text::encode(&route.to), Instant::now());
        let (own, children) = (own_session(), Vec::new());
        Some(Self {
            config,
            env,
            route,
            session,
            key,
            others,
            agent,
            own,
            has_session: false,
            children,
            not_before: now,
            next_look: now,
            next_pass: now,
        })
    }

    /// Starts a session where one is admitted, and stops those that are idle. Returns whether it started one.
    pub(super) fn turn(&mut self) -> bool {
        self.reap();
        if Instant::now() >= self.next_look {
            self.next_look = Instant::now() + (self.session.idle_stop / 10).clamp(EACH, LONGEST_LOOK);
            if let Err(why) = self.stop_idle() {
                return self.failed(&why);
            }
        }
        if Instant::now() >= self.next_pass && !self.others.is_empty() {
            self.next_pass = Instant::now() + EACH_PASS;
            match overflow::pass_on(&self.config, &self.others, self.route, &self.agent) {
                Ok(lines) => lines.iter().for_each(|line| out::say(line)),
                Err(why) => return self.failed(&why),
            }
        }
        if Instant::now() < self.not_before {
            return false;
        }
        match self.admitted() {
            Ok(Some(admitted)) => self.start(admitted),
            Ok(None) => false,
            Err(why) => self.failed(&why),
        }
    }

    /// Returns whether the starter still has clients of its own.
    pub(super) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// Ends the session by which the starter claims, where a store knows it.
    pub(super) fn leave(&mut self) {
        self.end(&self.own.clone(), "");
    }

    /// Sends a request where the queue has an entry and the agent may have one more session.
    fn admitted(&mut self) -> Result<Option<Admitted>, StoreError> {
        let Some(first) = self.needs_one()? else { return Ok(None) };
        if let Some((why, hint)) = client::missing(self.env, self.session, self.key) {
            let why = format!("no session of {} is started: {why}", self.shown());
            out::report(&Problem::new(why).with_hint(hint).lines());
            self.not_before = Instant::now() + WITHOUT_CLIENT;
            return Ok(None);
        }
        Ok(match self.ask(first)? {
            Ok(admitted) => Some(admitted),
            Err(left) => {
                self.not_before = Instant::now() + left.min(LONGEST);
                None
            }
        })
    }

    /// Sends one request. Returns the time after which the next one may be admitted, where this one was refused.
    fn ask(&mut self, first: [u64; 3]) -> Result<Result<Admitted, Duration>, StoreError> {
        let token = clock::id() + &clock::id();
        let start = Start { token: token.clone(), most: self.session.max_sessions, first: Some(first) };
        let step = self.step(&self.own, Event::Stop { rest: None });
        let step = Step { start: Some(Box::new(start)), paced: true, client: Some(process::own()), ..step };
        self.has_session = true;
        let begun = Instant::now();
        let verdict = store::open(&self.config, begun + self.config.budget)?.step(&step)?;
        let decision = verdict.decision;
        if verdict.degraded.is_some() {
            // The queue is on the server, which did not answer or whose answer was lost.
            return Ok(Err(AFTER_ERROR));
        }
        let Some(admission) = verdict.admission.filter(|_| decision.work.is_some()) else {
            return Ok(Err(decision.retry_after.unwrap_or(AFTER_ERROR)));
        };
        if begun.elapsed() > LATEST {
            // Another store may have taken over meanwhile.
            self.renew_own("the answer came too late");
            return Ok(Err(AFTER_ERROR));
        }
        Ok(Ok(Admitted { admission, decision, token }))
    }

    /// Returns the queue's counts of claims, where the agent needs one more session for an entry.
    fn needs_one(&self) -> Result<Option<[u64; 3]>, StoreError> {
        let mut reader = FleetReader::open_to_change(&self.config);
        let now = reader.now()?;
        let all = queues::contents(&mut reader, Some(&self.agent), 1)?;
        let Some(contents) = all.first() else { return Ok(None) };
        let most = self.session.max_sessions;
        // An admission with a lost answer, or a failure of the store, left an entry in hand of this dispatcher.
        let is_left =
            |in_hand: &&InHand| in_hand.session.starts_with(live::OWN) && in_hand.client == Some(process::own());
        if let Some(left) = contents.queue.hand.iter().find(is_left) {
            self.end(&left.session, "no client was started");
            return Ok(None);
        }
        let is_gone = queues::seen(&contents.queue.hand).iter().any(|(_, runs)| !runs);
        let mut entries = contents.entries.iter().filter(|(list, _)| *list != List::Dead).flat_map(|(_, all)| all);
        let is_due = contents.queue.broken_until(now).is_none() && entries.any(|entry| entry.at <= now);
        if !(is_gone || (is_due && contents.queue.hand.len() < most)) {
            return Ok(None);
        }
        let sessions = reader.sessions()?;
        let live = live::of(&sessions, &self.agent, self.config.policy.work.lease, now);
        let starting = contents.queue.hand.iter().filter(|in_hand| !in_hand.start.is_empty()).count();
        // A session without an entry claims this one.
        let are_busy = live.iter().all(|(_, session)| session.work.is_some());
        Ok((are_busy && live.len() + starting < most).then_some(contents.queue.first))
    }

    fn step(&self, session: &str, event: Event) -> Step {
        Step {
            name: text::line(&self.route.to),
            agent: self.agent.clone(),
            ..hook::step_of(self.agent.clone(), session.to_owned(), "Start", event)
        }
    }

    /// Starts the client, and waits until it has taken the entry over. Returns whether it has.
    fn start(&mut self, admitted: Admitted) -> bool {
        let Admitted { admission, decision, token } = admitted;
        let Some(given) = decision.work.clone() else { return false };
        let (id, claim) = (given.in_hand.entry.id.clone(), given.in_hand.claim);
        let prompt = Prompt {
            template: self.config.prompt.clone(),
            waits: true,
            scope: self.agent.clone(),
            ..Prompt::default()
        };
        let prompt = prompt.render(&decision);
        let Self { config, env, route, session, key, .. } = self;
        let model = &given.in_hand.entry.model;
        let client = Client { config, env, route, session, token: &token, id: &uuid(), key: *key, model };
        let started = match client.start(admission, &prompt) {
            Ok(started) => started,
            Err(why) => {
                self.not_started((&id, claim), &format!("{PROGRAM} cannot be started: {why}"));
                return false;
            }
        };
        match self.taken_over(started, &token) {
            Ok(started) => {
                let kind = self.session.kind.name();
                out::say(&format!("started a {kind} session of {} for {}", self.shown(), text::line(&id)));
                let output = started.output.as_deref().map(text::path).unwrap_or_default();
                let own = self.renew_own(&format!("started a {kind} session, output in {output}"));
                if self.session.kind == SessionKind::Print {
                    self.children.push((started, own));
                }
                true
            }
            Err(why) => {
                self.not_started((&id, claim), &why);
                false
            }
        }
    }

    /// Waits until the client has taken the claim with this token over, or ended, or the time is up.
    fn taken_over(&self, mut started: Started, token: &str) -> Result<Started, String> {
        let until = Instant::now() + STARTS_WITHIN;
        let is_background = self.session.kind == SessionKind::Background;
        let mut has_ended = None;
        loop {
            std::thread::sleep(EACH);
            // The end is looked at before the queue: a client that took the entry over and ended has started.
            if has_ended.is_none() {
                has_ended = started.child.try_wait().ok().flatten();
            }
            match self.has_claim(token) {
                Ok(false) => return Ok(started),
                Ok(true) => {}
                Err(_) if Instant::now() < until => continue,
                Err(why) => return Err(why.to_string()),
            }
            let ended = has_ended.filter(|status| !is_background || !status.success());
            if ended.is_none() && Instant::now() < until {
                continue;
            }
            if let Some(id) = background_id(&started.said()).filter(|_| is_background) {
                let _ = live::stop_background(&id);
            }
            let _ = started.child.kill();
            let _ = started.child.wait();
            let said = text::line_of(started.said().trim(), 200);
            return Err(match ended {
                Some(status) => format!("the client ended before its first prompt ({status}): {said}"),
                None => {
                    format!("no hook of the client reported its first prompt within {}", duration::show(STARTS_WITHIN))
                }
            });
        }
    }

    /// Returns whether the entry with this token is in hand of a starter.
    fn has_claim(&self, token: &str) -> Result<bool, StoreError> {
        let mut reader = FleetReader::open_to_change(&self.config);
        let all = queues::contents(&mut reader, Some(&self.agent), 0)?;
        Ok(all.iter().flat_map(|contents| &contents.queue.hand).any(|in_hand| in_hand.start == token))
    }

    /// Gives back the entry of a client that did not start. It waits longer from one failure to the next.
    fn not_started(&mut self, (id, claim): (&str, u64), why: &str) {
        let policy = self.config.policy.work;
        let step = Step { detail: text::line(why), ..self.step(&self.own, Event::Other) };
        let change = Change { agent: &self.agent, id, by: None, step: &step };
        let given = queues::change(&self.config, &change, |Changed { work, now, .. }| {
            work.give_back(id, Some(claim), &text::line(why), &policy, now)
        });
        let hint = "see whether its hooks are installed: frosty doctor";
        let why = format!("no session of {} was started for {}: {why}", self.shown(), text::line(id));
        out::report(&Problem::new(why).with_hint(hint).lines());
        if let Err(why) = given {
            self.failed(&why);
        }
        self.renew_own("");
    }

    /// Stops the sessions that are idle.
    fn stop_idle(&self) -> Result<(), StoreError> {
        let mut reader = FleetReader::open_to_change(&self.config);
        let now = reader.now()?;
        if let Some(away) = reader.take_away() {
            return Err(away);
        }
        let sessions = reader.sessions()?;
        let live = live::of(&sessions, &self.agent, self.config.policy.work.lease, now);
        for session in live.into_iter().filter(|(_, state)| live::is_over(state, self.session.idle_stop, now)) {
            match live::stop(session, self.session.kind) {
                Ok(()) => out::say(&format!("stopped an idle session of {}: {}", self.shown(), session.0)),
                Err(why) => {
                    out::report(&format!("the session {} of {} cannot be stopped: {why}", session.0, self.shown()))
                }
            }
        }
        Ok(())
    }

    /// Records the exits of the clients that have ended.
    fn reap(&mut self) {
        let mut ended = Vec::new();
        self.children.retain_mut(|(started, own)| match started.child.try_wait() {
            Ok(None) => true,
            status => {
                let status = status.map(|status| status.map(|s| s.to_string()).unwrap_or_default());
                let output = started.output.as_deref().map(text::path).unwrap_or_default();
                let status = status.unwrap_or_else(|why| why.to_string());
                ended.push((own.clone(), format!("{status}, output in {output}")));
                false
            }
        });
        for (own, how) in ended {
            out::say(&format!("a print session of {} ended: {how}", self.shown()));
            self.end(&own, &how);
        }
    }

    /// Ends the session by which the starter claimed, and takes another one. Returns the ended one.
    fn renew_own(&mut self, detail: &str) -> String {
        let ended = std::mem::replace(&mut self.own, own_session());
        self.end(&ended, detail);
        self.has_session = false;
        ended
    }

    fn end(&self, session: &str, detail: &str) {
        if !self.has_session && session == self.own {
            return;
        }
        let step = Step { detail: text::line(detail), ..self.step(session, Event::SessionEnd) };
        let _ = store::open(&self.config, Instant::now() + self.config.budget).and_then(|mut store| store.step(&step));
    }

    fn shown(&self) -> String {
        text::line(&self.route.to)
    }

    fn failed(&mut self, why: &StoreError) -> bool {
        out::report(&format!("the sessions of {}: {}", self.shown(), Problem::from(why).lines()));
        self.not_before = Instant::now() + AFTER_ERROR;
        self.next_look = self.next_look.max(self.not_before);
        false
    }
}

/// Returns a new session by which entries are claimed.
fn own_session() -> String {
    let host: String = text::encode(&clock::host()).chars().take(LONGEST_HOST).collect();
    format!("{}{host}-{}", live::OWN, clock::id())
}

/// Returns a random id as the client expects it for a session.
fn uuid() -> String {
    let (high, low) = (clock::chance(), clock::chance());
    let part = |n: u64, shift: u32, bits: u32| (n >> shift) & ((1 << bits) - 1);
    let (a, b, c) = (part(high, 32, 32), part(high, 16, 16), part(high, 0, 12));
    format!("{a:08x}-{b:04x}-4{c:03x}-8{:03x}-{:012x}", part(low, 48, 12), part(low, 0, 48))
}

/// Returns the id of a background session from the client's answer, `backgrounded · ID · NAME` (2.1.332).
fn background_id(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.starts_with("backgrounded"))?;
    let id = line.split('·').nth(1)?.trim();
    (id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}
