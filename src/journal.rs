//! One journal entry: its fields, their values, and its rendering as a line.
//!
//! The server's stream contains the same fields as text. The first five fields are those that existing
//! consumers of the stream `torch.continuous.ops` read.

use std::fmt;

use chrono::DateTime;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use crate::policy::limits::{Class, Ms};
use crate::policy::request::Step;
use crate::policy::turn::Worth;
use crate::policy::verdict::{Decision, Outcome, Reason};
use crate::text;

/// The `infrastructure_mode` of every entry.
pub const MODE: &str = "GUARDED_CONTINUOUS";

/// One verdict or event.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry<'a> {
    /// `%Y%m%d_%H%M%S`, UTC, of the store's clock.
    pub timestamp: String,
    /// The window label, else the scope.
    pub window: &'a str,
    /// `RESTARTING`, `STANDING_DOWN`, `COOLDOWN`, `HOLD`, `RESTING` or `RECORDED`.
    pub status: &'static str,
    /// `CLAUDE_CODE_RESTART` for an admitted continuation, else `NONE`.
    pub next_action: &'static str,
    /// [`MODE`].
    pub infrastructure_mode: &'static str,
    /// The version of these fields.
    pub v: u32,
    /// The scope, encoded.
    pub scope: &'a str,
    /// The fleet, encoded.
    pub fleet: &'a str,
    /// The session, encoded.
    pub session: &'a str,
    /// The client's name of the event.
    pub event: &'a str,
    /// `admit`, `refuse` or `record`.
    pub verdict: &'static str,
    /// The reason code.
    pub reason: &'static str,
    /// The time until it would be admitted, in milliseconds, where a time ends the refusal.
    pub retry_after_ms: Option<u64>,
    /// Attempts in the burst window.
    pub attempts: u32,
    /// Strikes that have not expired.
    pub strikes: u32,
    /// The store that decided: `dragonfly`, `embedded`, or `none`.
    pub store: &'static str,
    /// 1 when the embedded store decided in a failover, else 0.
    pub degraded: u8,
    /// The machine that sent the request.
    pub host: &'a str,
    /// `shadow` where the verdict was only observed; else empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub mode: &'static str,
    /// Further details; empty for none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: &'a str,
    /// The id of the entry of work that an admission hands out or leaves in hand; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub work: String,
    /// The id of the entry of work that the event ended, and how; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub work_end: String,
    /// What the turn of an admission is for, where that is no work: `reflection_on_cycle`, `reflection_on_self`,
    /// `reflection_on_reflections` or `dream`; else empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub turn_kind: &'static str,
    /// The class of the turn that a Stop event ended, where the turn was measured; else empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub outcome: &'static str,
    /// What that turn was for, where that was no work, with the values of `turn_kind`; else empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub turn_was: &'static str,
    /// The origin of that turn; empty where unknown.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub turn: &'a str,
    /// The length of the turn, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_ms: Option<u64>,
    /// The number of tool calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<u64>,
    /// The tokens of input that were not cached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_in: Option<u64>,
    /// The tokens of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_out: Option<u64>,
    /// The tokens of input that the cache served or took in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_cached: Option<u64>,
    /// The number of API requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// The model of the last request.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub model: &'a str,
    /// The id of the last request.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub request_id: &'a str,
    /// The store's clock.
    pub ms: Ms,
    /// Random, distinct from entry to entry.
    pub id: &'a str,
}

impl<'a> Entry<'a> {
    /// Returns the entry of a step that was decided. `window` is the label, else the scope.
    #[must_use]
    pub fn of(step: &'a Step, decided: &Decision, window: &'a str, fleet: &'a str, store: &'static str) -> Self {
        let class = step.event.asks();
        let enforced = class == Some(Class::Stop) && !step.shadow;
        let goes_on = enforced && decided.outcome == Outcome::Admit;
        // A retry of the same event does not count the turn again.
        let measured = step.turn.as_deref().filter(|_| decided.worth.is_some());
        let seen = measured.filter(|turn| turn.seen);
        Self {
            timestamp: stamp(decided.now),
            window: if window.is_empty() { fleet } else { window },
            status: if enforced { decided.reason.status() } else { "RECORDED" },
            next_action: if goes_on { "CLAUDE_CODE_RESTART" } else { "NONE" },
            infrastructure_mode: MODE,
            v: 1,
            scope: &step.scope,
            fleet,
            session: &step.session,
            event: &step.event_name,
            verdict: decided.outcome.code(),
            reason: decided.reason.code(),
            retry_after_ms: decided.retry_after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            attempts: decided.attempts,
            strikes: decided.strikes,
            store,
            degraded: 0,
            host: &step.host,
            mode: if step.shadow { "shadow" } else { "" },
            detail: &step.detail,
            work: decided.work.as_ref().map(|given| given.in_hand.entry.id.clone()).unwrap_or_default(),
            work_end: decided.work_end.clone(),
            turn_kind: if decided.turn_kind.is_work() { "" } else { decided.turn_kind.code() },
            outcome: decided.worth.filter(|_| measured.is_some()).map_or("", Worth::code),
            turn_was: if measured.is_none() || decided.turn_was.is_work() { "" } else { decided.turn_was.code() },
            turn: seen.map_or("", |turn| &turn.origin),
            turn_ms: seen.and_then(|turn| turn.took).map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            tools: seen.map(|turn| turn.tools.into()),
            tokens_in: seen.map(|turn| turn.tokens_in),
            tokens_out: seen.map(|turn| turn.tokens_out),
            tokens_cached: seen.map(|turn| turn.tokens_cached),
            requests: seen.map(|turn| turn.requests.into()),
            model: seen.map_or("", |turn| &turn.model),
            request_id: seen.map_or("", |turn| &turn.request_id),
            ms: decided.now,
            id: &step.id,
        }
    }

    /// Returns the entry's names and values, one after the other, as in the server's stream. Its time and its
    /// id are left out, since the stream has its own.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::with_capacity(42);
        let mut put = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
        put("timestamp", &self.timestamp);
        put("window", self.window);
        put("status", self.status);
        put("next_action", self.next_action);
        put("infrastructure_mode", self.infrastructure_mode);
        put("v", &self.v.to_string());
        put("scope", self.scope);
        put("fleet", self.fleet);
        put("session", self.session);
        put("event", self.event);
        put("verdict", self.verdict);
        put("reason", self.reason);
        put("retry_after_ms", &self.retry_after_ms.map(|ms| ms.to_string()).unwrap_or_default());
        put("attempts", &self.attempts.to_string());
        put("strikes", &self.strikes.to_string());
        put("store", self.store);
        put("degraded", &self.degraded.to_string());
        put("host", self.host);
        let more = [
            ("mode", self.mode),
            ("detail", self.detail),
            ("work", &self.work),
            ("work_end", &self.work_end),
            ("turn_kind", self.turn_kind),
            ("outcome", self.outcome),
        ];
        for (name, value) in more {
            if !value.is_empty() {
                put(name, value);
            }
        }
        if !self.outcome.is_empty() {
            self.put_turn(&mut put);
        }
        words
    }

    #[cold]
    fn put_turn(&self, put: &mut impl FnMut(&str, &str)) {
        let words =
            [("turn_was", self.turn_was), ("turn", self.turn), ("model", self.model), ("request_id", self.request_id)];
        for (name, value) in words {
            if !value.is_empty() {
                put(name, value);
            }
        }
        let numbers = [
            ("turn_ms", self.turn_ms),
            ("tools", self.tools),
            ("tokens_in", self.tokens_in),
            ("tokens_out", self.tokens_out),
            ("tokens_cached", self.tokens_cached),
            ("requests", self.requests),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                put(name, &value.to_string());
            }
        }
    }

    /// Returns the entry as one line of JSON with its newline. Text cannot break out of it, because JSON
    /// escapes control characters.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// Returns the fields of an entry's line, in their order, as in the server's stream; `None` when the line is
/// not an entry.
#[must_use]
pub fn fields(line: &[u8]) -> Option<Vec<(String, String)>> {
    let mut words = Vec::with_capacity(48);
    read(line, |word| words.push(word.to_owned()))?;
    let mut words = words.into_iter();
    Some(std::iter::from_fn(|| words.next().zip(words.next())).collect())
}

/// Reads an entry's line: every field's name and then its value, as in the server's stream. Returns `None` when
/// the line is not an entry.
pub fn read(line: &[u8], mut word: impl FnMut(&str)) -> Option<()> {
    serde_json::Deserializer::from_slice(line).deserialize_map(Fields(&mut word)).ok()
}

struct Fields<F>(F);

impl<'de, F: FnMut(&str)> Visitor<'de> for Fields<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a journal entry")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Word(&mut self.0))?.is_some() {
            map.next_value_seed(Word(&mut self.0))?;
        }
        Ok(())
    }
}

/// A name or a value as text.
struct Word<'a, F>(&'a mut F);

impl<'de, F: FnMut(&str)> DeserializeSeed<'de> for Word<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, F: FnMut(&str)> Visitor<'de> for Word<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number or null")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.0)(text);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        (self.0)(&number.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        (self.0)(&number.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        (self.0)(&number.to_string());
        Ok(())
    }

    fn visit_bool<E>(self, is: bool) -> Result<(), E> {
        (self.0)(if is { "true" } else { "false" });
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        (self.0)("");
        Ok(())
    }
}

/// `%Y%m%d_%H%M%S` in UTC.
#[must_use]
pub fn stamp(now: Ms) -> String {
    DateTime::from_timestamp_millis(now)
        .map_or_else(|| "00000000_000000".to_owned(), |t| t.format("%Y%m%d_%H%M%S").to_string())
}

/// Returns the reason of a refusal, in a few words.
#[must_use]
pub fn why(decision: &Decision) -> String {
    let Decision { attempts, strikes, .. } = decision;
    match (decision.reason, &decision.held) {
        (Reason::Burst, _) => format!("{attempts} attempts in a short time opened cooldown number {strikes}"),
        (Reason::Hold, Some(held)) => format!("held by {}: {}", text::line(&held.by), text::line(&held.reason)),
        (reason, _) => reason.words().to_owned(),
    }
}
