//! Formats the result of a check as a line or as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::hint::{self, Problem};
use crate::view::sessions::width;
use crate::view::wrap;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The check found the expected state.
    Ok,
    /// Worth knowing; no action is needed.
    Note,
    /// It works, but not as well or as safely as it should.
    Warn,
    /// Something does not work.
    Fail,
}

impl State {
    fn mark(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Note => "\x1b[36m",
            Self::Warn => "\x1b[33m",
            Self::Fail => "\x1b[31;1m",
        }
    }
}

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The subject of the check.
    pub name: &'static str,
    /// The result.
    pub state: State,
    /// The finding, on one line.
    pub found: String,
    /// The one command that fixes it, where the result is not ok.
    pub cure: Option<String>,
}

impl Check {
    /// Creates a check that found the expected state.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), cure: None }
    }

    /// Creates a note.
    pub fn note(name: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Note, ..Self::ok(name, found) }
    }

    /// Creates a warning with its cure.
    pub fn warn(name: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Warn, ..Self::ok(name, found) }.cured_by(cure)
    }

    /// Creates a failure with its cure.
    pub fn fail(name: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Fail, ..Self::ok(name, found) }.cured_by(cure)
    }

    /// Returns the check of an error. Its hint is a command, or a short clause, a colon and a command. The clause is shown
    /// with the message.
    pub fn of_error(name: &'static str, state: State, error: impl Into<Problem>) -> Self {
        let Problem { message, hint } = error.into();
        let check = |found: String| Self { state, ..Self::ok(name, found) };
        let Some(hint) = hint else { return check(message) };
        match hint::parts(&hint) {
            (Some(clause), command) => check(format!("{message}; {clause}")).cured_by(command),
            (None, command) => check(message).cured_by(command),
        }
    }

    /// Returns the check with a cure.
    #[must_use]
    pub fn cured_by(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

/// The columns of the mark, the name, and the spaces between.
const HEAD: usize = 6 + 14;

/// Formats the checks as lines. A terminal gets lines wrapped at its columns, with the command on its own unbroken line;
/// a pipe gets one line each.
#[must_use]
pub fn lines(checks: &[Check], columns: Option<usize>, coloured: bool) -> String {
    let mut out = String::new();
    for check in checks {
        let (colour, plain) = if coloured { (check.state.colour(), "\x1b[0m") } else { ("", "") };
        let _ = write!(out, "{colour}{:<4}{plain}  {:<14}", check.state.mark(), check.name);
        let cure = check.cure.as_deref().map(|cure| format!("-> {cure}"));
        let whole = [Some(check.found.as_str()), cure.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("  ");
        let Some(columns) = columns.filter(|columns| HEAD + width::of(&whole) > *columns) else {
            let _ = writeln!(out, "{whole}");
            continue;
        };
        let _ = writeln!(out, "{}", wrap::words_of(&check.found, HEAD, HEAD, columns));
        if let Some(cure) = cure {
            let _ = writeln!(out, "      {cure}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_a_terminal_and_for_a_pipe() {
        let long = "word ".repeat(20).trim_end().to_owned();
        let checks =
            [Check::ok("binary", "here"), Check::warn("store", long.clone(), "redis-cli PING"), Check::note("x", "y")];
        let piped = lines(&checks, None, false);
        assert_eq!(piped.lines().count(), 3);
        assert_eq!(piped.lines().nth(1).unwrap(), format!("warn  store         {long}  -> redis-cli PING"));
        let shown = lines(&checks, Some(80), false);
        assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");
        assert!(shown.contains("\n      -> redis-cli PING\n"), "{shown}");
        assert!(!shown.contains('\x1b') && lines(&checks, Some(80), true).contains("\x1b[33mwarn\x1b[0m  store "));
    }

    #[test]
    fn an_error_has_its_cure() {
        let found = Problem::new("found b; found c");
        let check = Check::of_error("x", State::Fail, found.clone().with_hint("do c"));
        assert_eq!((check.found.as_str(), check.cure.as_deref()), ("found b; found c", Some("do c")));
        let check = Check::of_error("x", State::Fail, found.clone().with_hint("look at it: ls 'c: d'"));
        assert_eq!((check.found.as_str(), check.cure.as_deref()), ("found b; found c; look at it", Some("ls 'c: d'")));
        let check = Check::of_error("x", State::Fail, found.clone().with_hint("ls /c '/d: e'"));
        assert_eq!((check.found.as_str(), check.cure.as_deref()), ("found b; found c", Some("ls /c '/d: e'")));
        assert_eq!(Check::of_error("x", State::Fail, found).cure, None);
    }
}
