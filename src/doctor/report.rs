//! What a check found, as a line or as JSON.

use std::fmt::Write;

use serde::Serialize;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing need be done.
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

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found, on one line.
    pub found: String,
    /// The one command that mends it, where it is not ok.
    pub cure: Option<String>,
}

impl Check {
    /// A check that found what it should.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), cure: None }
    }

    /// Something that is worth knowing.
    pub fn note(name: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Note, ..Self::ok(name, found) }
    }

    /// Something that should be otherwise.
    pub fn warn(name: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Warn, ..Self::ok(name, found) }.cured_by(cure)
    }

    /// Something that does not work.
    pub fn fail(name: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { state: State::Fail, ..Self::ok(name, found) }.cured_by(cure)
    }

    /// From an error of the product, which tells what was found and, after its last `; `, what mends it: the command alone, or
    /// behind a few words and a colon, which then belong to what was found.
    pub fn of_error(name: &'static str, state: State, error: &str) -> Self {
        let check = |found: &str| Self { state, ..Self::ok(name, found) };
        let Some((found, cure)) = error.rsplit_once("; ") else { return check(error) };
        let words = |words: &str| words.chars().all(|c| c.is_ascii_lowercase() || " ,".contains(c));
        match cure.split_once(": ") {
            Some((before, command)) if words(before) => check(&format!("{found}; {before}")).cured_by(command),
            _ => check(found).cured_by(cure),
        }
    }

    /// The same, with its cure.
    #[must_use]
    pub fn cured_by(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

/// How wide a terminal is taken for: every one is so wide.
const COLUMNS: usize = 80;
/// Mark, name, and the spaces between.
const HEAD: usize = 6 + 14;

/// The checks as lines: for a terminal wrapped at 80 columns, the command on a line of its own and never broken; for a
/// pipe one line each.
#[must_use]
pub fn lines(checks: &[Check], wraps: bool, coloured: bool) -> String {
    let mut out = String::new();
    for check in checks {
        let (colour, plain) = if coloured { (check.state.colour(), "\x1b[0m") } else { ("", "") };
        let _ = write!(out, "{colour}{:<4}{plain}  {:<14}", check.state.mark(), check.name);
        let cure = check.cure.as_deref().map(|cure| format!("-> {cure}"));
        let whole = [Some(check.found.as_str()), cure.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("  ");
        if !wraps || HEAD + whole.chars().count() <= COLUMNS {
            let _ = writeln!(out, "{whole}");
            continue;
        }
        let _ = writeln!(out, "{}", wrapped(&check.found));
        if let Some(cure) = cure {
            let _ = writeln!(out, "      {cure}");
        }
    }
    out
}

/// The words in lines that begin under the first; a word longer than a line stands alone.
fn wrapped(words: &str) -> String {
    let mut out = String::new();
    let mut filled = 0;
    for word in words.split(' ') {
        let long = word.chars().count();
        if filled > 0 && HEAD + filled + 1 + long > COLUMNS {
            let _ = write!(out, "\n{:HEAD$}", "");
            filled = 0;
        } else if filled > 0 {
            out.push(' ');
            filled += 1;
        }
        out.push_str(word);
        filled += long;
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
        let piped = lines(&checks, false, false);
        assert_eq!(piped.lines().count(), 3);
        assert_eq!(piped.lines().nth(1).unwrap(), format!("warn  store         {long}  -> redis-cli PING"));
        let shown = lines(&checks, true, false);
        assert!(shown.lines().all(|l| l.chars().count() <= COLUMNS), "{shown}");
        assert!(shown.contains("\n      -> redis-cli PING\n"), "{shown}");
        assert!(!shown.contains('\x1b') && lines(&checks, true, true).contains("\x1b[33mwarn\x1b[0m  store "));
    }

    #[test]
    fn an_error_has_its_cure() {
        let check = Check::of_error("x", State::Fail, "expected a; found b; do c");
        assert_eq!((check.found.as_str(), check.cure.as_deref()), ("expected a; found b", Some("do c")));
        let check = Check::of_error("x", State::Fail, "found b; look at it with: ls 'c: d'");
        assert_eq!((check.found.as_str(), check.cure.as_deref()), ("found b; look at it with", Some("ls 'c: d'")));
        // A path brings no cure of its own.
        let path = crate::text::path(std::path::Path::new("/a; rm -r b/c"));
        let check = Check::of_error("x", State::Fail, &format!("found it; edit it: vi {path}"));
        assert_eq!(check.cure.as_deref(), Some("vi '/a;'' rm -r b/c'"));
        assert_eq!(Check::of_error("x", State::Fail, "nothing to be done").cure, None);
    }
}
