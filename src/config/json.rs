//! Reads the JSON of a configuration file, in which each key occurs once.
//!
//! A parser that keeps the last of two equal keys would hide a limit.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::client_settings::json::comment_at;
use crate::config::ConfigError;
use crate::secret;
use crate::text;

/// Reads the text of a configuration file. A byte-order mark at its start is skipped.
///
/// # Errors
/// When the text is not JSON, has a comment, or contains a key twice.
pub(crate) fn read(json: &str, file: &str) -> Result<Value, ConfigError> {
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    let found = |cause| ConfigError::NotJson { file: file.to_owned(), cause };
    serde_json::from_str(json).map(|Once(value)| value).map_err(|e| match comment_at(json) {
        _ if e.is_data() => {
            ConfigError::Twice { file: file.to_owned(), found: text::line(&secret::scrubbed(&e.to_string())) }
        }
        Some(line) => found(format!("a comment at line {line}, and JSON has none")),
        None => found(e.to_string()),
    })
}

/// A value in which each object contains a key once.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Once(value)) = list.next_element()? {
            all.push(value);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((key, Once(value))) = object.next_entry::<String, Once>()? {
            if all.contains_key(&key) {
                return Err(A::Error::custom(format_args!("\"{key}\" twice")));
            }
            all.insert(key, value);
        }
        Ok(all.into())
    }
}
