//! Reads the flags of a hook call without clap, which costs a Stop event more than its verdict.
//!
//! A test and a fuzzer compare this parser with clap's.

use std::ffi::OsString;
use std::time::Duration;

use crate::config::Flags;
use crate::duration;
use crate::hint::Problem;
use crate::secret;
use crate::text;

/// The reason why the words of a command line are not flags of a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// They request the help text.
    Help,
    /// A word is wrong.
    Word(String),
}

/// Reads the words after `frosty hook`, or after `frosty-hook`.
///
/// # Errors
/// Returns an error at the first word that is no flag or has no valid value.
pub fn parse(words: &[OsString]) -> Result<Flags, Wrong> {
    let mut words = words.iter();
    let mut read = Read::default();
    while let Some(word) = words.next() {
        let Some(word) = word.to_str() else { return Err(unexpected(&word.to_string_lossy())) };
        let (name, attached) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        match (name, attached) {
            ("-h" | "--help", None) => return Err(Wrong::Help),
            ("--show-resume", None) => once(&mut read.show_resume, (), name)?,
            ("--show-resume", Some(_)) => return Err(Wrong::Word(format!("{name} takes no value"))),
            // After it no word is a flag, and a hook takes no other words.
            ("--", None) => return words.next().map_or_else(|| Ok(read.flags()), |word| Err(no_flag(word))),
            _ if !VALUED.contains(&name) => return Err(unexpected(word)),
            (_, Some(value)) => read.value(name, value)?,
            (_, None) => match words.next().map(|value| value.to_str()) {
                Some(Some(value)) if value == "-" || !value.starts_with('-') => read.value(name, value)?,
                Some(None) => return Err(Wrong::Word(format!("{name} needs a value that is UTF-8"))),
                _ => return Err(Wrong::Word(format!("{name} needs a value"))),
            },
        }
    }
    Ok(read.flags())
}

/// Returns the sentence with which a wrong command line is journaled.
#[must_use]
pub fn sentence(wrong: &Wrong) -> Problem {
    let found = match wrong {
        Wrong::Help => "--help",
        Wrong::Word(found) => found,
    };
    // A word may be a URL with a password, or contain anything else.
    let found = text::line_of(&secret::scrubbed(found), LONGEST_WORD);
    Problem::new(found).with_hint("see the flags: frosty hook --help")
}

/// Returns whether a wrong command line still contains `--arm manual`, so that it concerns only an armed
/// session.
#[must_use]
pub fn is_manual(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "manual" || word == "--arm=manual")
}

/// Parses the value of `--wait`.
///
/// # Errors
/// Returns an error when the text is not a duration.
pub fn wait(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "expected a duration such as 20d, 12h or 1h30m".to_owned())
}

/// Parses the value of `--timeout`.
///
/// # Errors
/// Returns an error when the text is not a whole number.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let secs = if digits { text.parse().ok() } else { None };
    secs.map(Duration::from_secs)
        .ok_or_else(|| "expected whole seconds, as in the registration's \"timeout\"".to_owned())
}

const VALUED: [&str; 6] = ["--arm", "--store", "--scope", "--fleet", "--wait", "--timeout"];
const LONGEST_WORD: usize = 500;

/// The flags read so far.
#[derive(Default)]
struct Read {
    arm: Option<String>,
    store: Option<String>,
    scope: Option<String>,
    fleet: Option<String>,
    wait: Option<Duration>,
    timeout: Option<Duration>,
    show_resume: Option<()>,
}

impl Read {
    fn value(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        let bad = |why: String| Wrong::Word(format!("{name} '{value}': {why}"));
        match name {
            "--arm" if !matches!(value, "always" | "manual") => Err(bad("expected always or manual".to_owned())),
            "--arm" => once(&mut self.arm, value.to_owned(), name),
            "--store" => once(&mut self.store, value.to_owned(), name),
            "--scope" => once(&mut self.scope, value.to_owned(), name),
            "--fleet" => once(&mut self.fleet, value.to_owned(), name),
            "--wait" => once(&mut self.wait, wait(value).map_err(bad)?, name),
            _ => once(&mut self.timeout, seconds(value).map_err(bad)?, name),
        }
    }

    fn flags(self) -> Flags {
        Flags {
            arm: self.arm,
            store: self.store,
            scope: self.scope,
            fleet: self.fleet,
            wait: self.wait.unwrap_or_default(),
            timeout: self.timeout,
            show_resume: self.show_resume.is_some(),
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T, name: &str) -> Result<(), Wrong> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Wrong::Word(format!("{name} is given twice"))),
    }
}

fn no_flag(word: &OsString) -> Wrong {
    unexpected(&word.to_string_lossy())
}

fn unexpected(word: &str) -> Wrong {
    Wrong::Word(format!("unexpected argument '{word}'"))
}
