//! The subcommands other than `hook`, one file each.

use std::io::{self, Write};

use crate::config::{Config, ConfigError};
use crate::env::Env;
use crate::exit::Exit;
use crate::notify::Word;
use crate::policy::verdict::Verdict;
use crate::store::StoreError;
use crate::text;
use crate::text::LONGEST_NOTE;
pub use command_line::{Cli, Command, PlaceArgs};
pub use hook_args::HookArgs;

pub mod announce;
pub mod check;
mod command_line;
pub mod completions;
pub mod doctor;
pub mod explain;
pub mod hold;
mod hook_args;
pub mod install;
pub mod log;
pub mod man;
pub mod out;
pub mod registration;
pub mod release;
pub mod status;
pub mod statusline;
pub mod suggestion;
pub mod switch;
pub mod target;
pub mod uninstall;
pub mod wake;
pub mod who;
mod whose;

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing was given to be checked.
    #[error(transparent)]
    Check(#[from] check::CheckError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A hold was not opened.
    #[error(transparent)]
    Hold(#[from] hold::HoldError),
    /// There is no verdict to explain.
    #[error(transparent)]
    Explain(#[from] explain::ExplainError),
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The status cannot be drawn.
    #[error(transparent)]
    Status(#[from] status::StatusError),
    /// A switch was not written.
    #[error(transparent)]
    Switch(#[from] switch::SwitchError),
    /// Something does not work.
    #[error(transparent)]
    Unwell(#[from] doctor::Unwell),
    /// The hooks were not registered, or not taken out.
    #[error(transparent)]
    Settings(#[from] registration::SettingsError),
    /// What was named is not there, or is several.
    #[error(transparent)]
    Target(#[from] target::TargetError),
    /// The man pages were not written.
    #[error(transparent)]
    Man(#[from] man::ManError),
    /// A time that was named means nothing.
    #[error(transparent)]
    Time(#[from] TimeError),
}

/// A time on the command line that means nothing.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// Until when.
    #[error(
        "expected a time to come such as 18:00 or \"tomorrow 09:00\" for --until, found \"{found}\"; for a length: frosty hold --for 2h"
    )]
    Until {
        /// What was given.
        found: String,
    },
    /// An end that is too far away.
    #[error("--until \"{found}\" is more than {most} away")]
    TooFar {
        /// What was given.
        found: String,
        /// How far it may be.
        most: String,
    },
}

impl TimeError {
    /// What to do about it, where the error does not contain it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Until { .. } => None,
            Self::TooFar { .. } => Some("for a hold without an end, omit --until".to_owned()),
        }
    }
}

impl Failure {
    /// The exit code: whether another command line would have done it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let is_usage = match self {
            Self::Config(e) => e.is_of_command_line(),
            Self::Status(status::StatusError::NoTerminal) | Self::Switch(switch::SwitchError::NoProject { .. }) => true,
            Self::Settings(e) => matches!(e, registration::SettingsError::NoProject { .. }),
            Self::Target(_) | Self::Time(_) | Self::Check(_) => true,
            _ => false,
        };
        if is_usage { Exit::Usage } else { Exit::Failed }
    }

    /// What to do about it, where that is known besides the error.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Target(e) => e.hint(),
            Self::Hold(e) => Some(e.hint()),
            Self::Time(e) => e.hint(),
            _ => None,
        }
    }
}

/// Says that only this machine's part is known, where the server is away.
fn tell_if_away(away: Option<&StoreError>) {
    if let Some(why) = away {
        let _ = writeln!(
            io::stderr(),
            "frosty: the server is away, so this is what this machine knows, and what it is told goes to the server later: {why}"
        );
    }
}

/// Says that the server decides, but does not show its journal.
fn tell_if_unread(unread: Option<&StoreError>) {
    if let Some(why) = unread {
        let why = text::line_of(&why.to_string(), 2000);
        let _ = writeln!(
            io::stderr(),
            "frosty: cannot read the journal of the server, so this is the journal of this machine: {why}"
        );
    }
}

/// Says that the server does not decide for one scope.
fn tell_of_scope(why: &str) {
    let why = text::line_of(why, 2000);
    let _ = writeln!(io::stderr(), "frosty: the server does not decide for this scope, and this machine does: {why}");
}

/// Says of a hold or a release that the server did not confirm it, and why if that was not said.
fn tell_if_here_only(verdict: &Verdict, away: Option<&StoreError>) {
    if let Some(why) = &verdict.degraded {
        let why = if away.is_some() { String::new() } else { format!(": {}", text::line_of(why, 2000)) };
        let heeded = match verdict.unconfirmed {
            true => "the server's answer was lost: this machine heeds it, and the others where the server got it",
            false => "this machine alone heeds it until its next hook tells the server, which is away",
        };
        let _ = writeln!(
            io::stderr(),
            "frosty: {heeded}; to be sure of the others, give the command again once it is back{why}"
        );
    }
}

/// Tells everyone what was done, and the person what of that went wrong.
fn tell_everyone(config: &Config, word: &Word) {
    say_wrong(&announce::tell(config, word));
}

fn say_wrong(wrong: &[String]) {
    for line in wrong {
        let _ = writeln!(io::stderr(), "frosty: {line}");
    }
}

/// The configuration as the hooks of the project here would see it.
///
/// # Errors
/// When it is wrong.
pub fn config(env: &Env, place: PlaceArgs) -> Result<Config, ConfigError> {
    let project = env.claude_project_dir.clone().or_else(|| std::env::current_dir().ok());
    Config::load(env, project.as_deref(), &place.flags())
}

/// Parses the text of a note or a reason.
pub(crate) fn note(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > LONGEST_NOTE {
        return Err(format!("expected at most 1,000 characters, found {length}"));
    }
    Ok(text.to_owned())
}
