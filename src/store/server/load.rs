//! The input of one decision as a server sent it: its clock, the documents, and the entries that decide.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value, cmd};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{Config, Server};
use crate::policy::decision::State;
use crate::policy::documents::{FleetState, Flight, QuotaLog, ScopeState, SessionState, Waiting};
use crate::policy::limits::{Class, Ms, Quota};
use crate::policy::quota::{LOOKAHEAD, Places};
use crate::policy::request::{Event, Step};
use crate::policy::windows::Windows;
use crate::policy::work::rule::reads_queue;
use crate::store::failover::merge_base::Seen;
use crate::store::server::document::{Document, Unfit};
use crate::store::server::keys;
use crate::store::server::keys::Keys;
use crate::store::server::work::{self, LoadedWork};
use crate::store::{StoreError, unknown_past};
use crate::text;

/// The number of sessions of a wait queue that are read.
const MOST_WAITING: i64 = 1000;

/// Parses a stored whole number: up to fifteen digits, and nothing else.
#[must_use]
pub(crate) fn whole(text: &str) -> Option<Ms> {
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Returns the server's clock, by its reply to `TIME`.
#[must_use]
pub(crate) fn time(answer: &Value) -> Option<Ms> {
    let parts = Vec::<String>::from_redis_value_ref(answer).ok()?;
    let number = |i: usize| parts.get(i).and_then(|part| whole(part));
    Some(number(0)?.saturating_mul(1000).saturating_add(number(1)? / 1000))
}

/// Returns the times of a sorted set's entries, oldest first, by the reply to `ZRANGE … WITHSCORES`.
pub(crate) fn times(answer: &Value) -> Vec<Ms> {
    let entries = Vec::<String>::from_redis_value_ref(answer).unwrap_or_default();
    entries.chunks(2).filter_map(|entry| score(entry.get(1)?)).collect()
}

/// Returns the reply to a read of entries without those of one member, and how many those were.
fn without(answer: Value, member: &str) -> (Value, u32) {
    let Value::Array(words) = answer else { return (answer, 0) };
    let is_own = |pair: &[Value]| matches!(pair.first(), Some(Value::BulkString(name)) if name == member.as_bytes());
    let own = words.chunks(2).filter(|pair| is_own(pair)).count();
    let others = words.chunks(2).filter(|pair| !is_own(pair)).flatten().cloned().collect();
    (Value::Array(others), u32::try_from(own).unwrap_or(u32::MAX))
}

/// Reads one key.
pub(crate) fn get(key: &str) -> Cmd {
    let mut get = Cmd::with_capacity(2, 128);
    get.arg("GET").arg(key);
    get
}

/// Reads the entries of a sorted set from the `from`th newest to the `to`th newest.
pub(crate) fn newest(key: &str, from: u32, to: u32) -> Cmd {
    let mut range = cmd("ZRANGE");
    range.arg(key).arg(-i64::from(from)).arg(-i64::from(to)).arg("WITHSCORES");
    range
}

/// The data that a step needs from the server.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The server's clock.
    pub(crate) now: Ms,
    pub(crate) session: Document<SessionState>,
    /// The scope's document, read where the event touches its scope.
    pub(crate) scope: Option<Document<ScopeState>>,
    /// The fleet's document, read where the event touches the fleet.
    pub(crate) fleet: Option<Document<FleetState>>,
    /// The usage windows, read where a pace is configured, and for people.
    pub(crate) windows: Document<Windows>,
    /// When the turn of an admission last began late, as the scope's document contains it.
    pub(crate) turn_began: Option<Ms>,
    /// Whether the scope has an admission.
    pub(crate) was_admitted: bool,
    /// How often this same request was counted as an attempt before.
    pub(crate) own_attempts: u32,
    /// The sorted sets with entries that are later than now.
    pub(crate) ahead: Vec<String>,
    /// The queue of the session's agent, where the session works through it and it can be read.
    pub(crate) work: Option<LoadedWork>,
    /// The documents that were damaged.
    pub(crate) set_aside: Vec<SetAside>,
}

/// The reads for one step, and the parsing of their replies.
pub(crate) struct Load<'a> {
    config: &'a Config,
    server: &'a Server,
    scope: &'a str,
    session: &'a str,
    event: &'a Event,
    /// The step's id; empty for people.
    id: &'a str,
    /// The agent whose work queue is read; empty for none.
    agent: String,
    keys: Keys<'a>,
    reads: Reads,
}

/// The part of the quotas that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// The entries that decide, and the wait queue.
    Deciding,
    /// Every admission that a quota counts: for people, to show how many are left.
    All,
    /// Nothing: no quota changes what an engine listens for.
    Nothing,
}

/// The request of an engine, for the reads of a look.
static NEXT: Event = Event::Ask { fence: 0, renew: false };

impl<'a> Load<'a> {
    pub(crate) fn of(config: &'a Config, server: &'a Server, step: &'a Step) -> Self {
        let Step { scope, session, event, id, .. } = step;
        let agent = if reads_queue(&config.policy, event, step.shadow) { step.agent.clone() } else { String::new() };
        Self { config, server, scope, session, event, id, agent, keys: Keys::of(&config.fleet), reads: Reads::Deciding }
    }

    /// Makes the reads for a Stop event, with every admission that its quotas count.
    pub(crate) fn for_people(
        config: &'a Config,
        server: &'a Server,
        scope: &'a str,
        session: &'a str,
        event: &'a Event,
        agent: String,
    ) -> Self {
        let agent = if reads_queue(&config.policy, event, false) { agent } else { String::new() };
        Self { config, server, scope, session, event, id: "", agent, keys: Keys::of(&config.fleet), reads: Reads::All }
    }

    /// Makes the reads for an engine's next request, without the quotas.
    pub(crate) fn for_looks(
        config: &'a Config,
        server: &'a Server,
        scope: &'a str,
        session: &'a str,
        agent: &str,
    ) -> Self {
        let keys = Keys::of(&config.fleet);
        let agent = if reads_queue(&config.policy, &NEXT, false) { agent.to_owned() } else { String::new() };
        Self { config, server, scope, session, event: &NEXT, id: "", agent, keys, reads: Reads::Nothing }
    }

    fn is_stop(&self) -> bool {
        self.event.asks() == Some(Class::Stop)
    }

    /// Returns whether the last admission matters: for a request, and for the turn of an admission.
    fn reads_last_admission(&self) -> bool {
        self.is_stop() || self.event.begins_turn()
    }

    fn quotas(&self) -> [(String, [String; 2], Vec<Quota>); 2] {
        let (policy, keys) = (&self.config.policy, self.keys);
        let read = |quotas: &[Quota]| if self.reads == Reads::Nothing { Vec::new() } else { quotas.to_vec() };
        let mut fleets = read(&policy.fleet_quotas);
        if self.reads_flights() {
            // The period of the pace is derived later, and its quota has one place.
            fleets.push(Quota { limit: 1, per: Duration::ZERO });
        }
        [
            (keys.admissions(self.scope), keys.scope_queue(self.scope), read(&policy.stop.quotas)),
            (keys.fleet_admissions(), keys.fleet_queue(), fleets),
        ]
    }

    /// Returns whether the pace decides.
    fn reads_flights(&self) -> bool {
        self.config.policy.pace.is_some() && self.reads != Reads::Nothing
    }

    /// Returns whether the usage windows are read.
    fn reads_windows(&self) -> bool {
        self.reads_flights() || self.reads == Reads::All
    }

    /// Returns the entries of a sorted set that are read for these quotas, as ranges counted from the newest.
    fn ranges(&self, quotas: &[Quota]) -> Vec<(u32, u32)> {
        if self.reads == Reads::All {
            return quotas.iter().map(|quota| quota.limit).max().map(|most| (most, 1)).into_iter().collect();
        }
        quotas.iter().map(|quota| (quota.limit, last_looked(quota))).collect()
    }

    /// Returns how many attempts can matter.
    fn attempts(&self) -> u32 {
        self.config.policy.stop.burst.map_or(0, |burst| burst.limit)
    }

    /// Returns the reads, all in one write.
    pub(crate) fn questions(&self) -> Vec<Cmd> {
        let keys = self.keys;
        let mut all = vec![cmd("TIME")];
        if !self.event.is_of_holds() {
            all.push(get(&keys.session(self.session)));
        }
        if self.event.touches_scope() {
            all.push(get(&keys.scope(self.scope)));
        }
        if self.event.touches_fleet() {
            all.push(get(&keys.fleet()));
        }
        if !self.agent.is_empty() {
            all.extend(work::questions(keys, &self.agent));
        }
        if self.reads_last_admission() {
            all.push(newest(&keys.admissions(self.scope), 1, 1));
        }
        if !self.is_stop() {
            return all;
        }
        if self.attempts() > 0 {
            all.push(newest(&keys.attempts(self.scope), self.attempts(), 1));
        }
        for (key, queue, quotas) in self.quotas() {
            all.extend(self.ranges(&quotas).into_iter().map(|(from, to)| newest(&key, from, to)));
            if !quotas.is_empty() {
                all.extend(queue.iter().map(|key| first(key)));
            }
        }
        if self.reads_flights() {
            all.push(first(&keys.in_flight()));
        }
        if self.reads_windows() {
            all.push(get(&keys.windows()));
        }
        all
    }

    /// Parses the replies, one for each read.
    ///
    /// # Errors
    /// When a document is of a newer format, or the clock is no time.
    pub(crate) fn answers(&self, answers: Vec<Value>) -> Result<Loaded, StoreError> {
        let keys = self.keys;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let clock = next();
        let now = time(&clock).ok_or_else(|| StoreError::Nonsense {
            at: self.server.shown.clone(),
            found: text::line(&self.server.masked(&format!("{clock:?}"))),
        })?;
        let mut loaded = Loaded { now, ..Loaded::default() };
        self.documents(&mut loaded, &mut next)?;
        if !self.agent.is_empty() {
            loaded.work = work::answers(self.server, keys, &self.agent, &mut next)?;
        }
        loaded.turn_began = loaded.scope.as_ref().and_then(|scope| scope.state.stop.admitted_at).map(|at| at.min(now));
        if self.reads_last_admission() {
            let last = entries(&mut loaded, &keys.admissions(self.scope), &next()).last().copied();
            loaded.was_admitted = last.is_some();
            if let Some(document) = &mut loaded.scope {
                document.state.stop.admitted_at = document.state.stop.admitted_at.max(last);
            }
        }
        if !self.is_stop() {
            return Ok(loaded);
        }
        self.counted(&mut loaded, &mut next);
        if self.reads_flights()
            && let (answer, Some(fleet)) = (next(), &mut loaded.fleet)
        {
            let flights = pairs(&answer).into_iter().map(|(session, at)| Flight { session, at: at.min(now) });
            fleet.state.quota.in_flight = flights.collect();
        }
        if self.reads_windows() {
            let (windows, damaged) = windows(self.server, keys.windows(), &next(), now)?;
            loaded.windows = windows;
            loaded.set_aside.extend(damaged);
        }
        Ok(loaded)
    }

    /// Reads the documents.
    fn documents(&self, loaded: &mut Loaded, next: &mut impl FnMut() -> Value) -> Result<(), StoreError> {
        let (keys, now) = (self.keys, loaded.now);
        if !self.event.is_of_holds() {
            let key = keys.session(self.session);
            let unknown = || unknown_past::session(self.config, now);
            let (session, damaged) = document(self.server, key, &next(), unknown)?;
            loaded.session = session;
            loaded.set_aside.extend(damaged);
        }
        if self.event.touches_scope() {
            let unknown = || unknown_past::scope(self.config, now);
            let (scope, damaged) = document(self.server, keys.scope(self.scope), &next(), unknown)?;
            loaded.scope = Some(scope);
            loaded.set_aside.extend(damaged);
        }
        if self.event.touches_fleet() {
            let unknown = || unknown_past::fleet(self.config, now);
            let (fleet, damaged) = document(self.server, keys.fleet(), &next(), unknown)?;
            loaded.fleet = Some(fleet);
            loaded.set_aside.extend(damaged);
        }
        Ok(())
    }

    /// Reads the attempts, and the entries of the quotas that decide.
    fn counted(&self, loaded: &mut Loaded, next: &mut impl FnMut() -> Value) {
        let keys = self.keys;
        let attempts = match self.attempts() {
            0 => Vec::new(),
            _ => {
                let (answer, own) = without(next(), self.id);
                loaded.own_attempts = own;
                entries(loaded, &keys.attempts(self.scope), &answer)
            }
        };
        let [own, fleets] = self.quotas().map(|(key, _, quotas)| {
            let ranges = self.ranges(&quotas).into_iter();
            let read: Vec<Vec<Ms>> = ranges.map(|_| entries(loaded, &key, &next())).collect();
            let waiting = if quotas.is_empty() { Vec::new() } else { waiting(&next(), &next()) };
            let places = |read: Vec<Vec<Ms>>| read.into_iter().map(|oldest| Places { oldest }).collect();
            match self.reads == Reads::All {
                true => QuotaLog { admitted: read.into_iter().flatten().collect(), waiting, ..QuotaLog::default() },
                false => QuotaLog { places: places(read), waiting, ..QuotaLog::default() },
            }
        });
        if let Some(document) = &mut loaded.scope {
            document.state.stop.attempts = attempts;
            document.state.quota = QuotaLog { keep: document.state.quota.keep, ..own };
        }
        if let Some(document) = &mut loaded.fleet {
            document.state.quota = QuotaLog { keep: document.state.quota.keep, ..fleets };
        }
    }
}

/// A damaged document: the key that keeps it, its text, and a note for a person.
#[derive(Debug, Clone)]
pub(crate) struct SetAside {
    pub(crate) key: String,
    pub(crate) text: Vec<u8>,
    pub(crate) note: String,
}

impl SetAside {
    fn of(server: &Server, key: &str, text: Vec<u8>, cause: &str) -> Self {
        let aside = keys::unreadable(key);
        let note = format!(
            "the state under {key} could not be read ({cause}); it was set aside, and its past is unknown: look at it with: redis-cli -u {} GET '{aside}'",
            server.shown
        );
        Self { key: aside, text, note }
    }
}

/// Reads a document from the reply to [`get`]. A damaged one is replaced by a state with an `unknown` past.
///
/// # Errors
/// When it is of a newer format.
pub(crate) fn document<T: Clone + Default + PartialEq + Serialize + DeserializeOwned>(
    server: &Server,
    key: String,
    answer: &Value,
    unknown: impl FnOnce() -> T,
) -> Result<(Document<T>, Option<SetAside>), StoreError> {
    let bytes = match answer {
        Value::Nil => return Ok((Document::default(), None)),
        Value::BulkString(bytes) => bytes.clone(),
        other => format!("{other:?}").into_bytes(),
    };
    let text = std::str::from_utf8(&bytes).map_err(|e| Unfit::Damaged(e.to_string()));
    match text.and_then(Document::read) {
        Ok(document) => Ok((document, None)),
        Err(Unfit::Newer(format)) => Err(StoreError::Newer { at: server.shown.clone(), key, format }),
        Err(Unfit::Damaged(cause)) => {
            let document = Document::in_place_of(&bytes, unknown());
            Ok((document, Some(SetAside::of(server, &key, bytes, &cause))))
        }
    }
}

/// Reads the usage windows at `now`. Those that are damaged, or that no report can have made, are unknown from now on.
///
/// # Errors
/// When they are of a newer format.
pub(crate) fn windows(
    server: &Server,
    key: String,
    answer: &Value,
    now: Ms,
) -> Result<(Document<Windows>, Option<SetAside>), StoreError> {
    let unknown = || Windows::unreadable(now);
    let (found, damaged) = document(server, key.clone(), answer, unknown)?;
    match answer {
        Value::BulkString(bytes) if damaged.is_none() && !found.state.are_possible(now) => {
            let aside = SetAside::of(server, &key, bytes.clone(), "its times are impossible");
            Ok((Document::in_place_of(bytes, unknown()), Some(aside)))
        }
        _ => Ok((found, damaged)),
    }
}

/// Returns the last entry of a quota that is read, counted from the newest.
fn last_looked(quota: &Quota) -> u32 {
    quota.limit.saturating_sub(LOOKAHEAD).saturating_add(1)
}

/// Reads the first members of a wait queue's sorted set.
fn first(key: &str) -> Cmd {
    let mut range = cmd("ZRANGE");
    range.arg(key).arg(0).arg(MOST_WAITING - 1).arg("WITHSCORES");
    range
}

/// Returns the members of a sorted set with their scores.
fn pairs(answer: &Value) -> Vec<(String, Ms)> {
    let words = Vec::<String>::from_redis_value_ref(answer).unwrap_or_default();
    let pair = |pair: &[String]| Some((pair.first()?.clone(), score(pair.get(1)?)?));
    words.chunks(2).filter_map(pair).collect()
}

/// Returns the wait queue from its two sorted sets.
fn waiting(since: &Value, next: &Value) -> Vec<Waiting> {
    let due: HashMap<String, Ms> = pairs(next).into_iter().collect();
    let one = |(session, since): (String, Ms)| {
        due.get(&session).map(|next| Waiting { next: *next, since, session: session.clone() })
    };
    pairs(since).into_iter().filter_map(one).collect()
}

/// Parses a score as a time.
fn score(text: &str) -> Option<Ms> {
    text.parse::<f64>().ok().map(|score| score.clamp(0.0, 9.0e14) as Ms)
}

impl Loaded {
    /// Returns the notes about the documents for a person, one line each.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.set_aside.iter().map(|damaged| damaged.note.clone()).collect()
    }

    /// Returns whether the commit of a hold or a release that writes these versions was applied.
    pub(crate) fn has(&self, written: &[String]) -> bool {
        let scope = |id: &String| self.scope.as_ref().is_some_and(|scope| scope.is_of(id));
        let fleet = |id: &String| self.fleet.as_ref().is_some_and(|fleet| fleet.is_of(id));
        written.iter().any(|id| scope(id) || fleet(id))
    }

    /// Returns the documents that were read, as `state` has them after the step.
    pub(crate) fn seen(&self, step: &Step, state: State) -> Seen {
        Seen {
            now: self.now,
            fleet: self.fleet.is_some().then_some(state.fleet),
            scope: self.scope.is_some().then_some(state.scope),
            sessions: if step.event.is_of_holds() { Vec::new() } else { vec![(step.session.clone(), state.session)] },
        }
    }

    /// Returns the state that the policy decides from.
    pub(crate) fn state(&self) -> State {
        State {
            fleet: self.fleet.as_ref().map(|d| d.state.clone()).unwrap_or_default(),
            scope: self.scope.as_ref().map(|d| d.state.clone()).unwrap_or_default(),
            session: self.session.state.clone(),
            windows: self.windows.state.clone(),
            work: self.work.as_ref().map(|work| work.state.clone()),
        }
    }
}

/// The times of a sorted set. A time that is ahead of the clock counts as now, and its key is noted.
fn entries(loaded: &mut Loaded, key: &str, answer: &Value) -> Vec<Ms> {
    let now = loaded.now;
    let mut all = times(answer);
    if all.iter().any(|at| *at > now) && !loaded.ahead.iter().any(|k| k == key) {
        loaded.ahead.push(key.to_owned());
    }
    all.iter_mut().for_each(|at| *at = (*at).min(now));
    all
}
