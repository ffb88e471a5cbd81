//! Writes Willy's own stream `reflect.willy`: each hold with the entries that led to it, each release, each resume.

use serde_json::{Map, Value};

use crate::clock;
use crate::cmd::announce::context_audit;
use crate::cmd::announce::haiku;
use crate::config::Config;
use crate::journal;
use crate::notify::Kind;
use crate::notify::Word;
use crate::store::StoreError;
use crate::store::fleet_reader::Roll;
use crate::store::server::keys::CHANNEL;

/// Writes the notification to Willy's stream, and publishes it.
///
/// # Errors
/// When the store cannot be written.
pub fn write(roll: &mut Roll<'_>, config: &Config, word: &Word) -> Result<(), StoreError> {
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
        let entries = context_audit::of(roll, &config.fleet, &word.scope).unwrap_or_default();
        let text = |(name, value): (&str, &str)| (name.to_owned(), Value::from(value));
        let entries = entries.iter().map(|past| past.fields().map(text).collect::<Map<_, _>>().into());
        put("audit", Value::Array(entries.collect()));
        put("haiku", haiku::drawn(clock::chance()).into());
    }
    let told = roll.reflect(&entry);
    told.and(roll.publish(CHANNEL, &word.json()))
}
