//! A Redis-protocol server as the store: one script, one round trip. Measured on Redis 7.0; the script keeps to what
//! Dragonfly runs as well.

use std::time::Duration;

use redis::{Cmd, Value, cmd};

use super::link::{Link, error_text, refused};
use super::script::{self, SCRIPT, SCRIPT_SHA, decision, invocation_of, unjournaled};
use super::{StoreError, carry, trial};
use crate::config::Config;
use crate::throttle::policy::{Ms, millis};
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::{Decision, Outcome, Verdict};

/// What a session's or scope's index forgets after this long.
const INDEX_KEEP: Duration = Duration::from_secs(30 * 86_400);

/// The server as a store: one connection for one verdict.
pub struct Dragonfly<'a> {
    config: &'a Config,
    link: Link<'a>,
    logged_in: bool,
    /// The server's `born`, where it was told anything.
    born: Option<String>,
}

impl<'a> Dragonfly<'a> {
    /// A store over an open connection.
    pub(crate) fn new(config: &'a Config, link: Link<'a>) -> Self {
        Self { config, link, logged_in: false, born: None }
    }

    /// The connection.
    pub(super) fn link(&mut self) -> &mut Link<'a> {
        &mut self.link
    }

    fn log_in(&mut self) -> Result<(), StoreError> {
        if !self.logged_in {
            self.link.log_in()?;
            self.logged_in = true;
        }
        Ok(())
    }

    /// The server's `born`, where it was told anything.
    pub(super) fn born(&self) -> Option<String> {
        self.born.clone()
    }

    /// Knows it by this `born` from now on.
    pub(super) fn is(&mut self, born: String) {
        self.born = Some(born);
    }

    /// The server's clock.
    ///
    /// # Errors
    /// When it does not say.
    pub(super) fn time(&mut self) -> Result<Ms, StoreError> {
        self.log_in()?;
        let answer = self.link.ask(&[cmd("TIME")])?.pop().unwrap_or(Value::Nil);
        script::time(&answer).ok_or_else(|| self.link.nonsense(&answer))
    }

    /// Tells what happened while the server could not be asked.
    ///
    /// # Errors
    /// When it is not known to have heard all of it.
    pub(super) fn tell(&mut self, told: &[Cmd]) -> Result<(), StoreError> {
        self.log_in()?;
        // With the question whether the script runs there: a scope is not given back to a server that would refuse its step.
        let ready = trial::script_call("EVALSHA", SCRIPT_SHA, self.config);
        self.link.send(std::iter::once(&ready).chain(told))?;
        match self.link.read()? {
            Value::ServerError(e) if e.code() != "NOSCRIPT" => {
                return Err(refused(self.link.server(), &error_text(&e)));
            }
            _ => {}
        }
        for _ in told {
            let answer = self.link.take()?;
            match carry::born(&answer) {
                Some(born) => self.born = Some(born),
                None => return Err(self.link.nonsense(&answer)),
            }
        }
        Ok(())
    }

    /// The two indexes, in the same write as the step.
    fn indexes(&self, step: &Step) -> Vec<Cmd> {
        let mut head = Vec::with_capacity(4);
        if !step.event.is_clients() {
            return head;
        }
        for (index, member) in [("scopes", &step.scope), ("sessions", &step.session)] {
            let key = format!("frosty:{{{}}}:{index}", self.config.fleet);
            // Room for all of it at once: growing piece by piece costs more than the rest.
            let mut add = Cmd::with_capacity(4, 192);
            add.arg("ZADD").arg(&key).arg(step.host_ms).arg(member);
            head.push(add);
            if matches!(step.event, Event::SessionStart { .. }) {
                let mut forget = cmd("ZREMRANGEBYSCORE");
                forget.arg(key).arg("-inf").arg(step.host_ms.saturating_sub(millis(INDEX_KEEP)));
                head.push(forget);
            }
        }
        head
    }

    /// As [`Store::step`](super::Store::step), asked by a machine that knows the server by this `born`.
    ///
    /// # Errors
    /// When nothing is known to be committed.
    pub(super) fn step(&mut self, step: &Step, known_born: &str) -> Result<Verdict, StoreError> {
        self.log_in()?;
        let config = self.config;
        let call = |how, script| invocation_of(how, script, config, step, known_born);
        let mut answer = self.link.call(&self.indexes(step), &call("EVALSHA", SCRIPT_SHA))?;
        if matches!(&answer, Value::ServerError(e) if e.code() == "NOSCRIPT") {
            answer = self.link.call(&[], &call("EVAL", SCRIPT))?;
        }
        match answer {
            Value::ServerError(e) => Err(refused(self.link.server(), &error_text(&e))),
            answer => match decision(&answer) {
                // Only asks are admitted, and none is merely recorded.
                Some(decided) if fits(step, &decided) => {
                    let unjournaled = unjournaled(&answer);
                    Ok(Verdict { unjournaled, ..Verdict::committed(decided, Vec::new()) })
                }
                _ => Err(self.link.nonsense(&answer)),
            },
        }
    }
}

/// Whether a decision answers the step at all.
fn fits(step: &Step, decided: &Decision) -> bool {
    match decided.outcome {
        Outcome::Admit => step.event.asks().is_some(),
        Outcome::Record => step.event.asks().is_none(),
        Outcome::Refuse => true,
    }
}
