//! The JSON Schema of a configuration file, made from the table of the keys.
#![allow(clippy::indexing_slicing, reason = "assigning to a key of a JSON object inserts it")]

use serde_json::{Map, Value, json};

use crate::config::keys::{CONTINUATIONS, CYCLES, IDLE_UNITS, KEYS, Key, Kind, PACE_CAP, QUOTA_LIMIT, decimal};
use crate::config::signals::MOST;
use crate::policy::cadence::TurnKind;
use crate::policy::signal::LONGEST;

/// Returns the JSON Schema (draft 7) of a configuration file.
#[must_use]
pub fn schema() -> Value {
    let object = || json!({"type": "object", "additionalProperties": false, "properties": {}});
    let mut root = object();
    root["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    root["title"] = "Frosty's configuration: frosty.json".into();
    root["properties"]["$schema"] = json!({"type": "string"});
    for key in KEYS {
        let (groups, last) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        let mut at = &mut root;
        for group in groups.split('.').filter(|group| !group.is_empty()) {
            let inner = &mut at["properties"][group];
            if inner.is_null() {
                *inner = object();
            }
            at = inner;
        }
        at["properties"][last] = of_key(key);
    }
    root
}

/// Returns the JSON Schema of a key's value.
fn of_key(key: &Key) -> Value {
    let mut schema = match &key.kind {
        Kind::Text => json!({"type": "string"}),
        Kind::OptionalText => json!({"type": ["string", "null"], "minLength": 1}),
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Duration(_) => duration_schema(),
        Kind::Whole(within) => json!({"type": "integer", "minimum": within.start(), "maximum": within.end()}),
        Kind::Decimal(within) => {
            json!({"type": "number", "minimum": decimal(*within.start()), "maximum": decimal(*within.end())})
        }
        Kind::Quotas => json!({"type": "array", "maxItems": 8, "items": {
            "type": "object", "additionalProperties": false, "required": ["limit", "per"],
            "properties": {
                "limit": {"type": "integer", "minimum": QUOTA_LIMIT.start(), "maximum": QUOTA_LIMIT.end()},
                "per": duration_schema(),
            },
        }}),
        Kind::Pace => {
            let window = json!({
                "type": ["object", "null"], "additionalProperties": false,
                "properties": {
                    "cap": {"type": "integer", "minimum": PACE_CAP.start(), "maximum": PACE_CAP.end()},
                    "spread": {"type": "boolean"},
                },
            });
            json!({
                "type": ["object", "null"], "additionalProperties": false, "minProperties": 1,
                "properties": {"five_hour": window.clone(), "seven_day": window},
            })
        }
        Kind::IdleTable => json!({"anyOf": [{"enum": ["by_use"]}, {"type": "array", "maxItems": 16, "items": {
            "type": "object", "additionalProperties": false, "required": ["units", "rest"],
            "properties": {
                "units": {"type": "integer", "minimum": IDLE_UNITS.start(), "maximum": IDLE_UNITS.end()},
                "rest": duration_schema(),
            },
        }}]}),
        Kind::Commands => {
            let command = json!([{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]);
            let timed = json!({
                "type": "object", "additionalProperties": false, "required": ["command"],
                "properties": {"command": {"anyOf": command}, "timeout": duration_schema()},
            });
            let any: Vec<Value> = command.as_array().into_iter().flatten().cloned().chain([timed]).collect();
            json!({"type": "array", "maxItems": 16, "items": {"anyOf": any}})
        }
        Kind::Routes => routes(),
        Kind::Agents => agents(),
        Kind::Profiles => profiles(),
        Kind::Signals => json!({
            "type": ["array", "null"], "maxItems": MOST,
            "items": {"type": "string", "pattern": format!("^[a-z0-9_-]{{1,{LONGEST}}}$")},
        }),
        Kind::Group => json!({"type": ["object", "null"], "additionalProperties": false, "properties": {}}),
    };
    let description = format!("{} Accepts: {}.", key.about, key.values().replace('`', ""));
    schema["description"] = description.into();
    if !matches!(key.kind, Kind::Group) {
        schema["default"] = serde_json::from_str(key.default).unwrap_or_default();
    }
    schema
}

fn duration_schema() -> Value {
    json!({"type": "string", "pattern": "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"})
}

/// Returns the JSON Schema of the agents' profiles.
fn agents() -> Value {
    json!({"type": "object", "additionalProperties": {
        "type": "object", "additionalProperties": false, "required": ["profile"],
        "properties": {"profile": {"type": "string", "minLength": 1}},
    }})
}

/// Returns the JSON Schema of the profiles.
fn profiles() -> Value {
    json!({"type": "object", "additionalProperties": {
        "type": "object", "additionalProperties": false,
        "properties": {
            "beat": duration_schema(), "long_rest": duration_schema(),
            "idle": {"type": ["object", "null"]},
            "reflect_every": {"type": "integer", "minimum": CYCLES.start(), "maximum": CYCLES.end()},
            "dump_every": {"type": "integer", "minimum": CONTINUATIONS.start(), "maximum": CONTINUATIONS.end()},
            "dreams": {"enum": ["off", "on", "in_hours"]},
            "hours": {"type": "array", "maxItems": 64, "items": {"type": "string"}},
            "times": {"type": "array", "maxItems": 64, "items": {"type": "string"}},
            "zone": {"type": ["string", "null"], "minLength": 1},
            "prompts": {"type": "object", "additionalProperties": false, "properties":
                TurnKind::ALL.map(|kind| (kind.code().to_owned(), json!({"type": ["string", "null"], "minLength": 1})))
                    .into_iter().collect::<Map<_, _>>()},
        },
    }})
}

fn routes() -> Value {
    json!({"type": "array", "maxItems": 64, "items": {
        "type": "object", "additionalProperties": false, "required": ["to"],
        "properties": {
            "to": {"type": "string", "minLength": 1},
            "from": {"type": ["string", "null"], "minLength": 1, "maxLength": 256},
            "topic": {"type": ["string", "null"], "minLength": 1},
            "cover": {"type": ["string", "null"], "minLength": 1},
            "priority": {"enum": ["high", "normal", "low"]},
            "ack": {"enum": ["done", "turn", null]},
            "run": {"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
            "session": {"enum": ["background", "print", null]},
            "folder": {"type": ["string", "null"], "pattern": "^(/|~/)"},
            "model": {"type": ["string", "null"], "minLength": 1},
            "system_prompt": {"type": ["string", "null"], "minLength": 1},
            "env": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
            "keys": {"type": ["array", "null"], "maxItems": 8, "items": {"type": "string", "pattern": "^(/|~/)"}},
            "max_sessions": {"type": ["integer", "null"], "minimum": 1, "maximum": 16},
            "idle_stop": duration_schema(),
        },
    }})
}
