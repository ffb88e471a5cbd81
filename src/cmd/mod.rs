//! The subcommands other than `hook`, one file each.

use crate::config::{COMMAND_LINE, Config, ConfigError};
use crate::env::Env;
use crate::exit::Exit;
use crate::hint::{Hint, Problem};
use crate::notify::Notification;
use crate::store::StoreError;
use crate::text::LONGEST_NOTE;
pub use command_line::{Cli, Command, PlaceArgs};
pub use hook_args::HookArgs;

pub mod announce;
mod candidates;
pub mod check;
mod command_line;
pub mod completions;
pub mod config;
pub mod dispatch;
pub mod doctor;
mod entry_filter;
mod examples;
pub mod explain;
pub mod gate;
pub mod hold;
mod hook_args;
pub mod install;
mod line_registration;
pub mod log;
pub mod man;
pub mod message;
pub mod notes;
pub mod origin;
pub mod out;
mod outage;
pub mod overview;
pub mod registration;
pub mod release;
pub mod same_place;
pub mod schedule;
pub mod status;
pub mod statusline;
pub mod suggestion;
pub mod switch;
pub mod target;
pub mod uninstall;
pub mod wake;
pub mod work;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There was no input to check.
    #[error(transparent)]
    Check(#[from] check::CheckError),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key is unknown, or a file of the configuration was not changed.
    #[error(transparent)]
    ConfigCommand(#[from] config::ConfigCommandError),
    /// A hold was not opened.
    #[error(transparent)]
    Hold(#[from] hold::HoldError),
    /// There is no verdict to explain.
    #[error(transparent)]
    Explain(#[from] explain::ExplainError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The status cannot be drawn.
    #[error(transparent)]
    Status(#[from] status::StatusError),
    /// A switch was not written.
    #[error(transparent)]
    Switch(#[from] switch::SwitchError),
    /// At least one check failed.
    #[error(transparent)]
    Unwell(#[from] doctor::Unwell),
    /// The hooks were not registered, or not removed.
    #[error(transparent)]
    Settings(#[from] registration::SettingsError),
    /// The named session does not exist, or several match.
    #[error(transparent)]
    Target(#[from] target::TargetError),
    /// The man pages were not written.
    #[error(transparent)]
    Man(#[from] man::ManError),
    /// A time on the command line is not valid.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// The dispatcher cannot run.
    #[error(transparent)]
    Dispatch(#[from] dispatch::DispatchError),
    /// An entry of work was not added or changed.
    #[error(transparent)]
    Work(#[from] work::WorkError),
    /// A message was not sent, or a question has no reply.
    #[error(transparent)]
    Message(#[from] message::MessageError),
}

/// A time on the command line that is not valid.
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// The time of `--until`.
    #[error("invalid time \"{found}\" for --until; expected a time to come such as 18:00 or \"tomorrow 09:00\"")]
    Until {
        /// The given text.
        found: String,
    },
    /// The time of `--at`.
    #[error("invalid time \"{found}\" for --at; expected a time to come such as 18:00 or \"tomorrow 09:00\"")]
    At {
        /// The given text.
        found: String,
    },
    /// An end that is too far away.
    #[error("--until \"{found}\" is more than {most} away")]
    TooFar {
        /// The given text.
        found: String,
        /// The latest end.
        most: String,
    },
}

impl Hint for TimeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Until { .. } => Some("for a length of time: frosty hold --for 2h".to_owned()),
            Self::At { .. } => Some("for a length of time: frosty work add --in 2h".to_owned()),
            Self::TooFar { .. } => Some("for a hold without an end, omit --until".to_owned()),
        }
    }
}

impl Failure {
    /// Returns the exit code, which shows whether another command line would have succeeded.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if matches!(self, Self::Message(message::MessageError::NoReply { .. })) {
            return Exit::NotNow;
        }
        let is_usage = match self {
            Self::Config(e) => e.is_of_command_line(),
            Self::ConfigCommand(e) => e.is_of_command_line(),
            Self::Status(status::StatusError::NoTerminal) | Self::Switch(switch::SwitchError::NoProject { .. }) => true,
            Self::Settings(e) => matches!(e, registration::SettingsError::NoProject { .. }),
            Self::Target(_) | Self::Time(_) | Self::Check(_) => true,
            Self::Message(e) => matches!(e, message::MessageError::NoSession { .. }),
            Self::Work(e) => matches!(
                e,
                work::WorkError::TooLong { .. }
                    | work::WorkError::Blank
                    | work::WorkError::BadId { .. }
                    | work::WorkError::BadModel { .. }
                    | work::WorkError::Unknown { .. }
            ),
            _ => false,
        };
        if is_usage { Exit::Usage } else { Exit::Failed }
    }
}

impl Hint for Failure {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Check(e) => e.hint(),
            Self::Config(e) => e.hint(),
            Self::Hold(e) => e.hint(),
            Self::Explain(e) => e.hint(),
            Self::Store(e) => e.hint(),
            Self::Status(e) => e.hint(),
            Self::Switch(e) => e.hint(),
            Self::Unwell(_) => None,
            Self::Settings(e) => e.hint(),
            Self::Target(e) => e.hint(),
            Self::Man(e) => e.hint(),
            Self::ConfigCommand(e) => e.hint(),
            Self::Time(e) => e.hint(),
            Self::Work(e) => e.hint(),
            Self::Message(e) => e.hint(),
            Self::Dispatch(e) => e.hint(),
        }
    }
}

/// Prints a warning, with what is wrong and its remedy.
fn warn(what: &str, why: &Problem) {
    out::report(&format!("{what}: {}", why.lines()));
}

/// Sends the notifications of a command, and shows their failures to the person.
fn tell_everyone(config: &Config, word: &Notification) {
    say_wrong(&announce::tell(config, word));
}

fn say_wrong(wrong: &[Problem]) {
    for problem in wrong {
        out::report(&problem.lines());
    }
}

/// Returns the configuration that the hooks of the project here would have.
///
/// # Errors
/// When it is wrong.
pub fn config(env: &Env, place: PlaceArgs) -> Result<Config, ConfigError> {
    let project = env.claude_project_dir.clone().or_else(|| std::env::current_dir().ok());
    Config::load(env, project.as_deref(), &place.flags()).map_err(|mut e| {
        if let ConfigError::Value { place, key, cure, .. } = &mut e
            && place == COMMAND_LINE
        {
            *cure = format!("use the configured one: omit {key}");
        }
        e
    })
}

/// Parses the text of a note or a reason.
pub(crate) fn note(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > LONGEST_NOTE {
        return Err(format!("expected at most 1,000 characters, found {length}"));
    }
    Ok(text.to_owned())
}
