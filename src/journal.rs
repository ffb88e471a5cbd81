//! One journal entry: its fields, their values, and its rendering as a line.
//!
//! The server writes the same entry inside the admission script; this is the embedded store's rendering and the local
//! journal's. The first five fields are what existing consumers of the stream `torch.continuous.ops` read.

use std::fmt;

use chrono::DateTime;
use serde::Serialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::throttle::policy::{Class, Ms};
use crate::throttle::step::Step;
use crate::throttle::verdict::{Decision, Outcome, Reason};

/// The `infrastructure_mode` of every entry.
pub const MODE: &str = "GUARDED_CONTINUOUS";

/// One verdict or event.
#[derive(Debug, Clone, Serialize)]
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
    /// Milliseconds until it would be admitted, where a time ends it.
    pub retry_after_ms: Option<u64>,
    /// Attempts in the bang window.
    pub attempts: u32,
    /// Strikes not forgotten.
    pub strikes: u32,
    /// Which store decided: `dragonfly`, `embedded`, or `none`.
    pub store: &'static str,
    /// 1 when a stand-in decided, else 0.
    pub degraded: u8,
    /// The asking machine.
    pub host: &'a str,
    /// `shadow` where the verdict was only looked at; else empty.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub mode: &'static str,
    /// What more there is to say; empty for nothing.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: &'a str,
    /// The store's clock.
    pub ms: Ms,
    /// Random, distinct from entry to entry.
    pub id: &'a str,
}

impl<'a> Entry<'a> {
    /// The entry of a step that was decided. `window` is the label, else the scope.
    #[must_use]
    pub fn of(step: &'a Step, decided: &Decision, window: &'a str, fleet: &'a str, store: &'static str) -> Self {
        let class = step.event.asks();
        let enforced = class == Some(Class::Stop) && !step.shadow;
        let goes_on = enforced && decided.outcome == Outcome::Admit;
        Self {
            timestamp: stamp(decided.now),
            window: if window.is_empty() { fleet } else { window },
            status: if enforced { status(decided.reason) } else { "RECORDED" },
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
            ms: decided.now,
            id: &step.id,
        }
    }

    /// The entry as one line of JSON with its newline. Text cannot break out of it: JSON escapes control characters.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// The fields of an entry's line, in their order, as the server's stream holds them; `None` when it is no entry.
#[must_use]
pub fn fields(line: &[u8]) -> Option<Vec<(String, String)>> {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a journal entry")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::with_capacity(24);
            while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                let value = match value {
                    serde_json::Value::String(text) => text,
                    serde_json::Value::Null => String::new(),
                    other => other.to_string(),
                };
                fields.push((name, value));
            }
            Ok(fields)
        }
    }
    serde_json::Deserializer::from_slice(line).deserialize_map(Fields).ok()
}

/// `%Y%m%d_%H%M%S` in UTC.
#[must_use]
pub fn stamp(now: Ms) -> String {
    DateTime::from_timestamp_millis(now)
        .map_or_else(|| "00000000_000000".to_owned(), |t| t.format("%Y%m%d_%H%M%S").to_string())
}

/// The status that existing consumers know, for the reason of a continuation's verdict.
#[must_use]
pub fn status(reason: Reason) -> &'static str {
    match reason {
        Reason::Admitted | Reason::Probe => "RESTARTING",
        Reason::Cooldown | Reason::Burst | Reason::ApiError => "COOLDOWN",
        Reason::Hold => "HOLD",
        Reason::Rest | Reason::Done | Reason::Blocked | Reason::WaitFor | Reason::Parked => "RESTING",
        Reason::MinInterval | Reason::Quota | Reason::Superseded | Reason::Lost | Reason::StoreDown => "STANDING_DOWN",
        Reason::Event | Reason::WaiterExpired | Reason::BadConfig | Reason::BadInput | Reason::BadUsage => "RECORDED",
    }
}
