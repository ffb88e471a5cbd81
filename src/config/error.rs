//! What can be wrong with a configuration, said so that a person can mend it.

use std::io;
use std::path::Path;

use crate::text;

/// The place of what is wrong with a flag.
pub(crate) const COMMAND_LINE: &str = "the command line";

/// A configuration that cannot be used. Under `hook` it is reason `bad_config`, exit 0; nothing is guessed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("expected to read {file}, found: {cause}; {cure}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        cause: String,
        /// What mends it.
        cure: String,
    },
    /// A file is not JSON.
    #[error("expected JSON in {file}, found: {cause}; edit it: ${{EDITOR:-vi}} {file}")]
    NotJson {
        /// The file.
        file: String,
        /// What the parser said.
        cause: String,
    },
    /// A file gives a key twice.
    #[error("expected every key once in {file}, found {found}; edit it: ${{EDITOR:-vi}} {file}")]
    Twice {
        /// The file.
        file: String,
        /// Which key, and where.
        found: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key {key}; expected one of {allowed}; {cure}")]
    UnknownKey {
        /// The file.
        place: String,
        /// The key, dotted and quoted, and the nearest one, where one is near.
        key: String,
        /// What is allowed there.
        allowed: String,
        /// What mends it.
        cure: String,
    },
    /// A value that is not allowed.
    #[error("{place}: {key}: expected {allowed}, found {found}; {cure}")]
    Value {
        /// The file, the variable or the flag.
        place: String,
        /// The key, dotted.
        key: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
        /// What mends it.
        cure: String,
    },
}

impl ConfigError {
    /// Whether the command line is what is wrong.
    #[must_use]
    pub fn is_of_command_line(&self) -> bool {
        matches!(self, Self::Value { place, .. } if place == COMMAND_LINE)
    }

    /// A file that cannot be read.
    #[must_use]
    pub fn unreadable(path: &Path, e: &io::Error) -> Self {
        let file = text::path(path);
        let cure = match e.kind() {
            io::ErrorKind::PermissionDenied => format!("mend it with: chmod u+rX {file}"),
            _ => format!("look at it with: ls -ld {file}"),
        };
        Self::Unreadable { file, cause: e.to_string(), cure }
    }
}
