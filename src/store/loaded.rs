//! What one decision is made from, as a server sent it: its clock, the documents, and the entries that decide.

use redis::{Cmd, FromRedisValue, Value, cmd};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::document::{self, Document, Unfit};
use super::keys::{self, Keys};
use super::{StoreError, unknown_past};
use crate::config::{Config, Server};
use crate::text;
use crate::throttle::model::State;
use crate::throttle::policy::{Class, Ms, Quota};
use crate::throttle::state::{FleetState, ScopeState, SessionState};
use crate::throttle::step::{Event, Step};

/// A stored whole number: up to fifteen digits, and nothing else.
#[must_use]
pub(crate) fn whole(text: &str) -> Option<Ms> {
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The server's clock, by its answer to `TIME`.
#[must_use]
pub(crate) fn time(answer: &Value) -> Option<Ms> {
    let parts = Vec::<String>::from_redis_value_ref(answer).ok()?;
    let number = |i: usize| parts.get(i).and_then(|part| whole(part));
    Some(number(0)?.saturating_mul(1000).saturating_add(number(1)? / 1000))
}

/// When the entries of a sorted set were, oldest first, by the answer to `ZRANGE … WITHSCORES`.
pub(super) fn times(answer: &Value) -> Vec<Ms> {
    let entries = Vec::<String>::from_redis_value_ref(answer).unwrap_or_default();
    let time = |entry: &[String]| entry.get(1)?.parse::<f64>().ok().map(|score| score.clamp(0.0, 9.0e14) as Ms);
    entries.chunks(2).filter_map(time).collect()
}

/// Reads one key.
pub(super) fn get(key: &str) -> Cmd {
    let mut get = Cmd::with_capacity(2, 128);
    get.arg("GET").arg(key);
    get
}

/// Reads the entries of a sorted set from the `from`th newest to the `to`th newest.
pub(super) fn newest(key: &str, from: u32, to: u32) -> Cmd {
    let mut range = cmd("ZRANGE");
    range.arg(key).arg(-i64::from(from)).arg(-i64::from(to)).arg("WITHSCORES");
    range
}

/// What a step needs of the server.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The server's clock.
    pub(super) now: Ms,
    pub(super) session: Document<SessionState>,
    /// Read where the event touches its scope.
    pub(super) scope: Option<Document<ScopeState>>,
    /// Read where the event touches the fleet.
    pub(super) fleet: Option<Document<FleetState>>,
    /// When the turn of an admission last began late, as the scope's document holds it.
    pub(super) turn_began: Option<Ms>,
    /// Sorted sets with entries that are later than now.
    pub(super) ahead: Vec<String>,
    /// Documents that were damaged.
    pub(super) set_aside: Vec<SetAside>,
}

/// The questions for one step, and how their answers are read.
pub(super) struct Load<'a> {
    config: &'a Config,
    server: &'a Server,
    scope: &'a str,
    session: &'a str,
    event: &'a Event,
    keys: Keys<'a>,
}

impl<'a> Load<'a> {
    pub(super) fn of(config: &'a Config, server: &'a Server, step: &'a Step) -> Self {
        Self::of_event(config, server, &step.scope, &step.session, &step.event)
    }

    pub(super) fn of_event(
        config: &'a Config,
        server: &'a Server,
        scope: &'a str,
        session: &'a str,
        event: &'a Event,
    ) -> Self {
        Self { config, server, scope, session, event, keys: Keys::of(&config.fleet) }
    }

    fn is_stop(&self) -> bool {
        self.event.asks() == Some(Class::Stop)
    }

    /// Whether the last admission matters: for a request, and for the turn with which one begins.
    fn reads_last_admission(&self) -> bool {
        self.is_stop() || matches!(self.event, Event::ClientPrompt { of_admission: true })
    }

    fn quotas(&self) -> [(String, &'a [Quota]); 2] {
        let policy = &self.config.policy;
        let admissions = self.keys.admissions(self.scope);
        [(admissions, &policy.stop.quotas), (self.keys.fleet_admissions(), &policy.fleet_quotas)]
    }

    /// How many attempts can matter.
    fn attempts(&self) -> u32 {
        self.config.policy.stop.burst.map_or(0, |burst| burst.limit)
    }

    /// The questions, all of one write.
    pub(super) fn questions(&self) -> Vec<Cmd> {
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
        if self.reads_last_admission() {
            all.push(newest(&keys.admissions(self.scope), 1, 1));
        }
        if !self.is_stop() {
            return all;
        }
        if self.attempts() > 0 {
            all.push(newest(&keys.attempts(self.scope), self.attempts(), 1));
        }
        for (key, quotas) in self.quotas() {
            all.extend(quotas.iter().map(|quota| newest(&key, quota.limit, quota.limit)));
        }
        all
    }

    /// Reads the answers, one for each question.
    ///
    /// # Errors
    /// When a document is of a newer format, or the clock is no time.
    pub(super) fn answers(&self, answers: Vec<Value>) -> Result<Loaded, StoreError> {
        let keys = self.keys;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let clock = next();
        let now = time(&clock).ok_or_else(|| StoreError::Nonsense {
            at: self.server.shown.clone(),
            found: text::line(&self.server.masked(&format!("{clock:?}"))),
        })?;
        let mut loaded = Loaded { now, ..Loaded::default() };
        if !self.event.is_of_holds() {
            let key = keys.session(self.session);
            let (session, damaged) = document(self.server, key, &next(), SessionState::default)?;
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
        loaded.turn_began = loaded.scope.as_ref().and_then(|scope| scope.state.stop.admitted_at);
        let entries = |loaded: &mut Loaded, key: &str, answer: Value| -> Vec<Ms> {
            let mut all = times(&answer);
            if all.iter().any(|at| *at > now) && !loaded.ahead.iter().any(|k| k == key) {
                loaded.ahead.push(key.to_owned());
            }
            all.iter_mut().for_each(|at| *at = (*at).min(now));
            all
        };
        if self.reads_last_admission() {
            let last = entries(&mut loaded, &keys.admissions(self.scope), next()).last().copied();
            if let Some(document) = &mut loaded.scope {
                document.state.stop.admitted_at = document.state.stop.admitted_at.max(last);
            }
        }
        if !self.is_stop() {
            return Ok(loaded);
        }
        let attempts = match self.attempts() {
            0 => Vec::new(),
            _ => entries(&mut loaded, &keys.attempts(self.scope), next()),
        };
        let [scope, fleet] = self.quotas().map(|(key, quotas)| {
            let deciding = quotas.iter().map(|quota| (quota.limit, entries(&mut loaded, &key, next()).first().copied()));
            log(&deciding.collect::<Vec<_>>())
        });
        if let Some(document) = &mut loaded.scope {
            document.state.stop.attempts = attempts;
            document.state.quota.admitted = scope;
        }
        if let Some(document) = &mut loaded.fleet {
            document.state.quota.admitted = fleet;
        }
        Ok(loaded)
    }
}

/// A damaged document: where it is kept from now on, its text, and what a person should know.
#[derive(Debug, Clone)]
pub(super) struct SetAside {
    pub(super) key: String,
    pub(super) text: String,
    pub(super) note: String,
}

/// Reads a document, by the answer to [`get`]. In the place of a damaged one there is a state of an `unknown` past.
///
/// # Errors
/// When it is of a newer format.
pub(super) fn document<T: Default + Serialize + DeserializeOwned>(
    server: &Server,
    key: String,
    answer: &Value,
    unknown: impl FnOnce() -> T,
) -> Result<(Document<T>, Option<SetAside>), StoreError> {
    let text = match answer {
        Value::Nil => return Ok((Document::default(), None)),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    };
    match document::read(&text) {
        Ok(document) => Ok((document, None)),
        Err(Unfit::Newer(format)) => Err(StoreError::Newer { at: server.shown.clone(), key, format }),
        Err(Unfit::Damaged(cause)) => {
            let document = Document::in_place_of(&text, unknown());
            let aside = keys::unreadable(&key);
            let note = format!(
                "the state under {key} could not be read ({cause}); it was set aside, and its past is unknown: look at it with: redis-cli -u {} GET '{aside}'",
                server.shown
            );
            Ok((document, Some(SetAside { key: aside, text, note })))
        }
    }
}

/// A log in which each quota finds the entry that decides it: the `limit`th newest. Those between are not read.
fn log(deciding: &[(u32, Option<Ms>)]) -> Vec<Ms> {
    let mut known: Vec<(u32, Ms)> = deciding.iter().filter_map(|(limit, at)| Some((*limit, (*at)?))).collect();
    known.sort_unstable();
    let mut log = Vec::new();
    let mut below = 0;
    for (limit, at) in known {
        log.extend(std::iter::repeat_n(at, limit.saturating_sub(below) as usize));
        below = limit;
    }
    log.reverse();
    log
}

impl Loaded {
    /// What a person should know of the documents, one line each.
    pub(super) fn notes(&self) -> Vec<String> {
        self.set_aside.iter().map(|damaged| damaged.note.clone()).collect()
    }

    /// All that the policy decides from.
    pub(super) fn state(&self) -> State {
        State {
            fleet: self.fleet.as_ref().map(|d| d.state.clone()).unwrap_or_default(),
            scope: self.scope.as_ref().map(|d| d.state.clone()).unwrap_or_default(),
            session: self.session.state.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quota_finds_its_entry() {
        let log = log(&[(5, Some(10)), (2, Some(40)), (9, None)]);
        assert_eq!(log, [10, 10, 10, 40, 40]);
        assert_eq!(log.get(log.len() - 5).copied(), Some(10));
        assert_eq!(log.get(log.len() - 2).copied(), Some(40));
        assert!(super::log(&[(3, None)]).is_empty());
    }
}
