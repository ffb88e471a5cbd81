//! The starter of a route: it starts a session of the client where the agent's queue has work and no session.
//!
//! Each start is one admission with one entry, which the starter claims by a session of its own. The client gets a start
//! token, and its first prompt takes the claim over. Until then the claim is the starter's: it goes back to the queue where
//! the client does not start, or the dispatcher ends.

use std::time::{Duration, Instant};

use super::claim::{Claims, Standing};
use super::launcher::Processes;
use super::{live, overflow};
use crate::clock;
use crate::cmd::out;
use crate::cmd::work::held;
use crate::config::{Config, Route, SessionKind, SessionRoute};
use crate::duration;
use crate::env::Env;
use crate::hint::Problem;
use crate::policy::verdict::{Admission, Decision};
use crate::policy::work::{Given, WorkMode};
use crate::store::StoreError;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;

/// The pause after a request that no store could decide, and while a hold is in force.
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

/// An admission with its entry, and the token of the client that may have it.
pub(crate) struct Admitted {
    pub(crate) admission: Admission,
    pub(crate) decision: Decision,
    pub(crate) token: String,
}

/// The end of a client's process.
pub(crate) struct Over {
    /// Whether it exited with 0.
    pub(crate) is_well: bool,
    pub(crate) how: String,
}

/// Starts and stops the clients of a route.
pub(crate) trait Launcher {
    /// A client that was started.
    type Client;

    /// Returns what no client can be started without, where it is missing, with a command that shows it.
    fn missing(&self) -> Option<(String, String)>;
    /// Starts a client for an entry.
    ///
    /// # Errors
    /// When it cannot be started.
    fn start(&self, config: &Config, given: &Given, admitted: Admitted) -> Result<Self::Client, String>;
    /// Returns how a client ended, once it has.
    fn over(&self, client: &mut Self::Client) -> Option<Over>;
    /// Ends a client that was started. Returns the beginning of its output.
    fn kill(&self, client: &mut Self::Client) -> String;
    /// Returns where a client's output is.
    fn output(&self, client: &Self::Client) -> String;
    /// Lets go of what started a client that is no child.
    fn detach(&self, client: Self::Client);
    /// Stops the client of a session.
    ///
    /// # Errors
    /// When it cannot be stopped.
    fn stop(&self, session: &Session) -> Result<(), String>;
}

/// The starter of a route.
pub(crate) struct Starter<'a, L: Launcher> {
    claims: Claims,
    launcher: L,
    route: &'a Route,
    session: &'a SessionRoute,
    /// The fleet of the route's first key: a hold there applies to the agent on every key.
    first: Config,
    /// The fleets of the route's other keys.
    others: Vec<Config>,
    /// The clients of print mode that run, each with the session that claimed for it.
    children: Vec<(L::Client, String)>,
    not_before: Instant,
    next_look: Instant,
    next_pass: Instant,
}

impl<'a> Starter<'a, Processes<'a>> {
    /// Returns the starters of a route that starts sessions, one for each key.
    pub(super) fn all_of(config: &Config, env: &'a Env, route: &'a Route) -> Vec<Self> {
        let fleets = overflow::fleets(config, route);
        let Some(session) = &route.session else { return Vec::new() };
        let of = |(key, fleet): (usize, &Config)| {
            let after = fleets.iter().cycle().skip(key.saturating_add(1)).take(fleets.len().saturating_sub(1));
            let others = after.map(|config| works(config, route)).collect();
            let starter =
                Self::new(works(fleet, route), others, (route, session), Processes { env, route, session, key });
            Self { first: config.clone(), ..starter }
        };
        fleets.iter().enumerate().map(of).collect()
    }
}

/// Returns a configuration with the store and the fleet of another one.
pub(super) fn of_place(config: &Config, place: &Config) -> Config {
    let Config { store, fleet, state, .. } = place.clone();
    Config { store, fleet, state, ..config.clone() }
}

/// Returns the configuration by which the sessions of a starter work.
pub(crate) fn works(config: &Config, route: &Route) -> Config {
    let mut config = config.clone();
    config.policy.work.mode = WorkMode::Required;
    config.adopt_profile_of(&route.to, &text::encode(&route.to));
    config
}

impl<'a, L: Launcher> Starter<'a, L> {
    /// Returns the starter of a route in the fleet of one key; `others` are the fleets of its other keys.
    pub(crate) fn new(
        config: Config,
        others: Vec<Config>,
        (route, session): (&'a Route, &'a SessionRoute),
        launcher: L,
    ) -> Self {
        let (first, now) = (config.clone(), clock::now());
        let claims = Claims::new(config, &route.to, session.max_sessions);
        let children = Vec::new();
        Self {
            claims,
            launcher,
            route,
            session,
            first,
            others,
            children,
            not_before: now,
            next_look: now,
            next_pass: now,
        }
    }

    /// Starts a session where one is admitted, and stops those that are idle. Returns whether it started one.
    pub(crate) fn turn(&mut self) -> bool {
        self.reap();
        if clock::now() >= self.next_look {
            self.next_look = clock::now() + (self.session.idle_stop / 10).clamp(EACH, LONGEST_LOOK);
            if let Err(why) = self.stop_idle() {
                return self.failed(&why);
            }
        }
        if clock::now() >= self.next_pass && !self.others.is_empty() {
            self.next_pass = clock::now() + EACH_PASS;
            match overflow::pass_on(&self.claims.config, &self.others, self.route, &self.claims.agent) {
                Ok(lines) => lines.iter().for_each(|line| out::say(line)),
                Err(why) => return self.failed(&why),
            }
        }
        if clock::now() < self.not_before {
            return false;
        }
        match self.admitted() {
            Ok(Some(admitted)) => self.start(admitted),
            Ok(None) => false,
            Err(why) => self.failed(&why),
        }
    }

    /// Works by another configuration from now on. Its store and its fleets stay.
    pub(super) fn adopt(&mut self, config: &Config) {
        let (route, mut claims) = (self.route, vec![&mut self.claims.config]);
        claims.extend(&mut self.others);
        for own in claims {
            *own = works(&of_place(config, own), route);
        }
    }

    /// Returns how long it waits for its next look.
    pub(crate) fn pause(&self) -> Duration {
        super::pause(self.not_before)
    }

    /// Returns whether the starter still has clients of its own.
    pub(crate) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// Ends the session by which the starter claims, where a store knows it.
    pub(crate) fn leave(&self) {
        self.claims.leave();
    }

    /// Sends a request where the queue has an entry and the agent may have one more session.
    fn admitted(&mut self) -> Result<Option<Admitted>, StoreError> {
        let Some(first) = self.claims.needs_one()? else { return Ok(None) };
        if held::of(&self.first, &self.claims.agent)?.is_by_person() {
            self.not_before = clock::now() + AFTER_ERROR;
            return Ok(None);
        }
        if let Some((why, hint)) = self.launcher.missing() {
            let why = format!("no session of {} is started: {why}", self.shown());
            out::report(&Problem::new(why).with_hint(hint).lines());
            self.not_before = clock::now() + WITHOUT_CLIENT;
            return Ok(None);
        }
        Ok(match self.claims.ask(first)? {
            Ok(admitted) => Some(admitted),
            Err(left) => {
                self.not_before = clock::now() + left.min(LONGEST);
                None
            }
        })
    }

    /// Starts the client, and waits until it has taken the entry over. Returns whether it has.
    fn start(&mut self, admitted: Admitted) -> bool {
        let token = admitted.token.clone();
        let Some(given) = admitted.decision.work.clone() else { return false };
        let (id, claim) = (given.in_hand.entry.id.clone(), given.in_hand.claim);
        let started = self.launcher.start(&self.claims.config, &given, admitted);
        match started.and_then(|started| self.taken_over(started, (&id, &token))) {
            Ok(started) => {
                let kind = self.session.kind.name();
                out::say(&format!("started a {kind} session of {} for {}", self.shown(), text::line(&id)));
                let output = self.launcher.output(&started);
                let own = self.claims.renew_own(&format!("started a {kind} session, output in {output}"));
                match self.session.kind {
                    SessionKind::Print => self.children.push((started, own)),
                    SessionKind::Background => self.launcher.detach(started),
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
    fn taken_over(&self, mut started: L::Client, (id, token): (&str, &str)) -> Result<L::Client, String> {
        let until = clock::now() + STARTS_WITHIN;
        let is_background = self.session.kind == SessionKind::Background;
        let mut over = None;
        loop {
            clock::sleep(EACH);
            // The end is looked at before the queue: a client that took the entry over and ended has started.
            if over.is_none() {
                over = self.launcher.over(&mut started);
            }
            let is_late = clock::now() >= until;
            // A background client is no child, and its command ends at once.
            let failed = over.as_ref().filter(|over| !is_background || !over.is_well);
            let why = match (self.claims.standing(id, token), failed) {
                (Ok(Standing::TakenOver), _) => return Ok(started),
                (Ok(Standing::Ended), _) => "its entry was dropped or finished meanwhile".to_owned(),
                (Ok(Standing::Open), Some(over)) => format!("the client ended before its first prompt ({})", over.how),
                (Ok(Standing::Open), None) if is_late => {
                    format!("no hook of the client reported its first prompt within {}", duration::show(STARTS_WITHIN))
                }
                (Err(why), _) if is_late => why.to_string(),
                _ => continue,
            };
            let said = self.launcher.kill(&mut started);
            return Err(if said.is_empty() { why } else { format!("{why}: {said}") });
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
            match self.launcher.stop(session) {
                Ok(()) => out::say(&format!("stopped an idle session of {}: {}", self.shown(), session.0)),
                Err(why) => {
                    out::report(&format!("the session {} of {} cannot be stopped: {why}", session.0, self.shown()))
                }
            }
        }
        Ok(())
    }

    /// Records the exits of the clients that have ended.
    pub(super) fn reap(&mut self) {
        let mut ended = Vec::new();
        let launcher = &self.launcher;
        self.children.retain_mut(|(started, own)| {
            let over = launcher.over(started);
            let how = over.map(|over| format!("{}, output in {}", over.how, launcher.output(started)));
            ended.extend(how.as_ref().map(|how| (own.clone(), how.clone())));
            how.is_none()
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
        self.not_before = clock::now() + AFTER_ERROR;
        self.next_look = self.next_look.max(self.not_before);
        false
    }
}
