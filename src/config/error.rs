//! What can be wrong with a configuration, said so that a person can mend it.

use std::io;
use std::path::Path;

use crate::text;

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
    /// A key nobody knows.
    #[error("{place}: unknown key \"{key}\"; expected one of {allowed}; {cure}")]
    UnknownKey {
        /// The file.
        place: String,
        /// The key, dotted.
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
