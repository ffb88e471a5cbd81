//! Writes Willy's own stream `reflect.willy`: each hold with the entries that led to it, each release, each resume.

use serde_json::{Map, Value};

use crate::clock;
use crate::cmd::announce::{context_audit, haiku};
use crate::config::Config;
use crate::journal;
use crate::notify::{Kind, Notification};
use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;
use crate::store::server::keys::CHANNEL;

/// Writes the notification to Willy's stream, and publishes it.
///
/// # Errors
/// When the store cannot be written.
pub fn write(reader: &mut FleetReader<'_>, config: &Config, word: &Notification) -> Result<(), StoreError> {
    let mut entry = Map::new();
    let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
    put("timestamp", journal::stamp(word.at).into());
    if let Ok(Value::Object(fields)) = serde_json::to_value(word) {
        fields.into_iter().for_each(|(name, value)| {
            put(&name, value);
        });
    }
    if word.kind == Kind::Hold {
        // A hold is published without its audit, too.
        let entries = context_audit::of(reader, &config.fleet, &word.scope).unwrap_or_default();
        let text = |(name, value): (&str, &str)| (name.to_owned(), Value::from(value));
        let entries = entries.iter().map(|past| past.fields().map(text).collect::<Map<_, _>>().into());
        put("audit", Value::Array(entries.collect()));
        put("haiku", haiku::drawn(clock::chance()).into());
    }
    let told = reader.reflect(&entry);
    told.and(reader.publish(CHANNEL, &word.json()))
}
