//! The remedy of an error, kept apart from its message.

use std::fmt::{self, Display, Formatter};

use crate::text;

/// No message and no hint is shown longer than this, in characters.
const LONGEST: usize = 2000;

/// An error whose remedy may be known.
pub trait Hint {
    /// The command that helps, or a short clause, a colon and the command.
    fn hint(&self) -> Option<String>;
}

/// An error as a person is shown it: a message, and the remedy where one is known.
///
/// As text it is one line, for the journal and for tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// What failed, with the value found.
    pub message: String,
    /// The command that helps.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a known remedy.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The same problem with this remedy.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The message on one line, and the hint on a second one.
    #[must_use]
    pub fn lines(&self) -> String {
        let message = text::line_of(&self.message, LONGEST);
        self.hint
            .as_ref()
            .map_or_else(|| message.clone(), |hint| format!("{message}\nhint: {}", text::line_of(hint, LONGEST)))
    }
}

impl<E: Display + Hint> From<&E> for Problem {
    fn from(e: &E) -> Self {
        Self { message: e.to_string(), hint: e.hint() }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; hint: {hint}"))
    }
}

/// Returns the clause before the command of a hint, and the command. A hint without a clause is a command.
#[must_use]
pub fn parts(hint: &str) -> (Option<&str>, &str) {
    match hint.split_once(": ") {
        Some((clause, command)) if !clause.contains(['\'', '"', '$', '`', '|', '/']) => (Some(clause), command),
        _ => (None, hint),
    }
}

/// The remedy of a wrong file, which is named as a word of a shell.
pub(crate) fn edit(file: &str) -> String {
    format!("edit the file: ${{EDITOR:-vi}} {file}")
}
