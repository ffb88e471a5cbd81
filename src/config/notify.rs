//! The commands that are told when something wants a person, or everything is held.

use std::time::Duration;

use serde_json::Value;

use crate::duration;

/// How long a command may take where nothing else is configured, and at most.
const WITHIN: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);

/// No more of them, of their words, and of a word's bytes.
const MOST: usize = 16;
const LONGEST_WORD: usize = 4096;

/// What an entry may be, in words.
pub(crate) const ALLOWED: &str = "a list of at most 16 commands, each a text for the shell, a list of words, or \
{\"command\": …, \"timeout\": \"10s\"}";

/// A command that is fed what happened, as one JSON object on its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// How long it may take before it is killed, up to a minute.
    pub within: Duration,
}

/// Reads the value of the key `notify`; `None` for what is impossible.
pub(crate) fn read(v: &Value) -> Option<Vec<Notify>> {
    let list = v.as_array().filter(|list| list.len() <= MOST)?;
    list.iter().map(one).collect()
}

fn one(v: &Value) -> Option<Notify> {
    let Value::Object(fields) = v else { return Some(Notify { argv: argv(v)?, within: WITHIN }) };
    if fields.keys().any(|key| !matches!(key.as_str(), "command" | "timeout")) {
        return None;
    }
    let within = match fields.get("timeout") {
        None => WITHIN,
        Some(v) => v.as_str().and_then(duration::parse).filter(|d| !d.is_zero() && *d <= LONGEST)?,
    };
    Some(Notify { argv: argv(fields.get("command")?)?, within })
}

fn argv(v: &Value) -> Option<Vec<String>> {
    let word = |v: &Value| {
        let word = v.as_str().filter(|w| w.len() <= LONGEST_WORD && !w.contains('\0'))?;
        Some(word.to_owned())
    };
    let argv = match v {
        Value::String(_) => vec!["/bin/sh".to_owned(), "-c".to_owned(), word(v).filter(|w| !w.trim().is_empty())?],
        Value::Array(words) => words.iter().map(word).collect::<Option<Vec<_>>>()?,
        _ => return None,
    };
    argv.first().is_some_and(|program| !program.is_empty()).then_some(argv)
}
