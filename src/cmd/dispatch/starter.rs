//! The starter of a route: it starts a session of the client where the agent's queue has work and no session.
//!
//! Each start is one admission with one entry, which the starter claims by a session of its own. The client gets a start
//! token, and its first prompt takes the claim over. Until then the claim is the starter's: it goes back to the queue where
//! the client does not start, or the dispatcher ends.

use std::time::{Duration, Instant};

use super::claim::{Admitted, Claims};
use super::client::{self, Client, PROGRAM, Started};
use super::{live, overflow};
use crate::clock;
use crate::cmd::out;
use crate::config::{Config, Route, SessionKind, SessionRoute};
use crate::duration;
use crate::env::Env;
use crate::hint::Problem;
use crate::hook::prompt::Prompt;
use crate::policy::work::WorkMode;
use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;
use crate::text;

/// The pause after a request that no store could decide.
pub(super) const AFTER_ERROR: Duration = Duration::from_secs(2);
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

/// The starter of a route.
pub(super) struct Starter<'a> {
    claims: Claims,
    env: &'a Env,
    route: &'a Route,
    session: &'a SessionRoute,
    /// The place of the API key in the route's list.
    key: usize,
    /// The fleets of the route's other keys.
    others: Vec<Config>,
    /// The clients of print mode that run, each with the session that claimed for it.
    children: Vec<(Started, String)>,
    not_before: Instant,
    next_look: Instant,
    next_pass: Instant,
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
        let (claims, now) = (Claims::new(config, &route.to, session.max_sessions), Instant::now());
        Some(Self {
            claims,
            env,
            route,
            session,
            key,
            others,
            children: Vec::new(),
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
            match overflow::pass_on(&self.claims.config, &self.others, self.route, &self.claims.agent) {
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
        self.claims.leave();
    }

    /// Sends a request where the queue has an entry and the agent may have one more session.
    fn admitted(&mut self) -> Result<Option<Admitted>, StoreError> {
        let Some(first) = self.claims.needs_one()? else { return Ok(None) };
        if let Some((why, hint)) = client::missing(self.env, self.session, self.key) {
            let why = format!("no session of {} is started: {why}", self.shown());
            out::report(&Problem::new(why).with_hint(hint).lines());
            self.not_before = Instant::now() + WITHOUT_CLIENT;
            return Ok(None);
        }
        Ok(match self.claims.ask(first)? {
            Ok(admitted) => Some(admitted),
            Err(left) => {
                self.not_before = Instant::now() + left.min(LONGEST);
                None
            }
        })
    }

    /// Starts the client, and waits until it has taken the entry over. Returns whether it has.
    fn start(&mut self, admitted: Admitted) -> bool {
        let Admitted { admission, decision, token } = admitted;
        let Some(given) = decision.work.clone() else { return false };
        let (id, claim) = (given.in_hand.entry.id.clone(), given.in_hand.claim);
        let prompt = Prompt {
            template: self.claims.config.prompt.clone(),
            waits: true,
            scope: self.claims.agent.clone(),
            ..Prompt::default()
        };
        let prompt = prompt.render(&decision);
        let Self { claims: Claims { config, .. }, env, route, session, key, .. } = self;
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
                let own = self.claims.renew_own(&format!("started a {kind} session, output in {output}"));
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
            match self.claims.has_claim(token) {
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

    /// Gives back the entry of a client that did not start. It waits longer from one failure to the next.
    fn not_started(&mut self, (id, claim): (&str, u64), why: &str) {
        let given = self.claims.give_back((id, claim), why);
        let hint = "see whether its hooks are installed: frosty doctor";
        let why = format!("no session of {} was started for {}: {why}", self.shown(), text::line(id));
        out::report(&Problem::new(why).with_hint(hint).lines());
        if let Err(why) = given {
            self.failed(&why);
        }
        self.claims.renew_own("");
    }

    /// Stops the sessions that are idle.
    fn stop_idle(&self) -> Result<(), StoreError> {
        let mut reader = FleetReader::open_to_change(&self.claims.config);
        let now = reader.now()?;
        if let Some(away) = reader.take_away() {
            return Err(away);
        }
        let sessions = reader.sessions()?;
        let live = live::of(&sessions, &self.claims.agent, self.claims.config.policy.work.lease, now);
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
            self.claims.end(&own, &how);
        }
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
