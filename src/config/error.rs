//! The errors of a configuration, each with its remedy.

use std::io;
use std::path::Path;

use crate::client_settings::json;
use crate::hint::{Hint, edit};
use crate::text;

/// The place of a wrong flag.
pub(crate) const COMMAND_LINE: &str = "the command line";

/// A configuration that cannot be used. Under `hook` it is reason `bad_config`, exit 0; nothing is guessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {file}: {cause}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's error.
        cause: String,
        /// The remedy.
        cure: String,
    },
    /// A file is not JSON.
    #[error("{file} is not valid JSON: {cause}")]
    NotJson {
        /// The file.
        file: String,
        /// The parser's error.
        cause: String,
    },
    /// A file has a key twice.
    #[error("{file} has a key twice: {found}")]
    Twice {
        /// The file.
        file: String,
        /// Which key, and where.
        found: String,
    },
    /// A key that does not exist.
    #[error("{file}{}: unknown key \"{key}\"{}; expected one of {allowed}", at(*line), meant(near.as_deref()))]
    UnknownKey {
        /// The file.
        file: String,
        /// The line in the file, from 1, where it is known.
        line: Option<usize>,
        /// The key, dotted.
        key: String,
        /// The nearest valid key, dotted, where one is near.
        near: Option<String>,
        /// What is allowed there.
        allowed: String,
    },
    /// A value that is not allowed.
    #[error("{place}: invalid value {found} for {key}; expected {allowed}")]
    Value {
        /// The file, and the line in it where that is known, or the environment, or the command line.
        place: String,
        /// The key, dotted.
        key: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
        /// The remedy.
        cure: String,
    },
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn meant(near: Option<&str>) -> String {
    near.map(|near| format!(" (did you mean \"{near}\"?)")).unwrap_or_default()
}

impl ConfigError {
    /// Whether the command line is wrong.
    #[must_use]
    pub fn is_of_command_line(&self) -> bool {
        matches!(self, Self::Value { place: from, .. } | Self::UnknownKey { file: from, .. } if from == COMMAND_LINE)
    }

    /// The error of a file that cannot be read.
    #[must_use]
    pub fn unreadable(path: &Path, e: &io::Error) -> Self {
        let file = text::path(path);
        let cure = match e.kind() {
            io::ErrorKind::PermissionDenied => format!("chmod u+rX {file}"),
            _ => format!("look at the file: ls -ld {file}"),
        };
        Self::Unreadable { file, cause: e.to_string(), cure }
    }

    /// The same error, with the line of its key in the text of its file, where the key is there.
    #[cold]
    #[must_use]
    pub(crate) fn in_text(mut self, json: &str) -> Self {
        match &mut self {
            Self::UnknownKey { line, key, .. } => *line = line_of(json, key),
            Self::Value { place, key, .. } => place.push_str(&at(line_of(json, key))),
            _ => {}
        }
        self
    }
}

impl Hint for ConfigError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotJson { file, .. } | Self::Twice { file, .. } | Self::UnknownKey { file, .. } => edit(file),
            Self::Unreadable { cure, .. } | Self::Value { cure, .. } => cure.clone(),
        })
    }
}

/// The line of a dotted key such as `stop.quotas[1].per`, from 1.
fn line_of(json: &str, dotted: &str) -> Option<usize> {
    let mut node = json::parse(json).ok()??;
    let mut start = None;
    let mut left = dotted;
    while !left.is_empty() {
        if let Some((index, after)) = left.strip_prefix('[').and_then(|left| left.split_once(']')) {
            node = node.elements()?.into_iter().nth(index.parse().ok()?)?;
            start = Some(node.span().start);
            left = after;
        } else {
            let left_of = |key: &str| {
                let after = left.strip_prefix(key)?;
                (after.is_empty() || after.starts_with(['.', '['])).then_some(after)
            };
            // A key may itself contain a dot.
            let found =
                node.members()?.into_iter().find_map(|member| left_of(&member.key).map(|after| (member, after)));
            let (member, after) = found?;
            (node, start, left) = (member.value, Some(member.start), after);
        }
        left = left.strip_prefix('.').unwrap_or(left);
    }
    Some(1 + json.get(..start?)?.matches('\n').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_key() {
        let json = "\u{feff}{\n \"stop\": {\n  \"quotas\": [{\"limit\": 1,\n   \"per\": \"1h\"},\n  {\"per\": 3}],\n  \"a.b\": 1}}";
        for (key, line) in [
            ("stop", Some(2)),
            ("stop.quotas", Some(3)),
            ("stop.quotas[0].per", Some(4)),
            ("stop.quotas[1]", Some(5)),
            ("stop.quotas[1].per", Some(5)),
            ("stop.a.b", Some(6)),
            ("stop.none", None),
            ("stop.quotas[2]", None),
            ("the file", None),
        ] {
            assert_eq!(line_of(json, key), line, "{key}");
        }
    }
}
