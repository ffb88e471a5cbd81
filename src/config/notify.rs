//! Reads the commands that receive notifications (key `notify`).

use std::time::Duration;

use serde_json::Value;

use crate::duration;

/// The default and the largest time limit of a command.
const WITHIN: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);

/// The largest number of commands, and of bytes in a word.
const MOST: usize = 16;
const LONGEST_WORD: usize = 4096;

/// Describes the accepted values.
pub(crate) const ALLOWED: &str = "a list of at most 16 commands, each a text for the shell, a list of words, or \
{\"command\": …, \"timeout\": \"10s\"}";

/// A command that receives each notification as one JSON object on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The time after which it is killed, up to a minute.
    pub within: Duration,
}

/// Reads the value of the key `notify`. Returns `None` for an impossible value.
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

/// Reads a command: a text for the shell, or a list of words.
pub(super) fn argv(v: &Value) -> Option<Vec<String>> {
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
