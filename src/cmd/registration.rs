//! Selects the settings file for `frosty install` and `frosty uninstall`, and shows or makes a change of it.

use clap::Args;
use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::out;
use crate::client_settings::{Place, Unread, same, user_dir};
use crate::env::Env;
use crate::hint::{Hint, edit};
use crate::settings::diff;
use crate::settings::others::Other;
use crate::settings::program::NoProgram;
use crate::settings::write::{SettingsText, Unwritten};
use crate::store::error::SET_STATE_FOLDER;
use crate::text;

/// The flags that select the settings file.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// Use your own settings: all projects, armed sessions only
    #[arg(long, conflicts_with_all = ["local", "project"])]
    pub user: bool,
    /// Use the unshared settings (.claude/settings.local.json)
    #[arg(long)]
    pub local: bool,
    /// Use this project [default: the one here]
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Show the change without making it
    #[arg(long)]
    pub dry_run: bool,
}

/// Why the hooks were not registered, or not removed. The settings are then unchanged.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no directory of user settings.
    #[error("no directory of user settings: neither CLAUDE_CONFIG_DIR nor HOME is set")]
    NoUserFolder,
    /// There is no directory for a backup.
    #[error("no state directory for the backup: neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoStateFolder,
    /// The project directory does not exist.
    #[error("no project directory at {dir}: {cause}")]
    NoProject {
        /// The directory.
        dir: String,
        /// `install` or `uninstall`.
        command: &'static str,
        /// The system's error.
        cause: io::Error,
    },
    /// The project is the home directory.
    #[error("{file} belongs to your own settings, which apply to every project")]
    IsUsers {
        /// The settings file.
        file: String,
        /// `install` or `uninstall`.
        command: &'static str,
    },
    /// A settings file cannot be used.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// A settings file was not written.
    #[error(transparent)]
    Unwritten(#[from] Unwritten),
    /// This program cannot be registered.
    #[error(transparent)]
    Program(#[from] NoProgram),
    /// Another hook decides stops there.
    #[error("other hooks decide stops here, so nothing was written:\n{list}")]
    Beside {
        /// One per line, each with its cure.
        list: String,
        /// The command that registers the hooks nevertheless.
        anyway: String,
    },
    /// The operator has a status line of their own.
    #[error("{file} has a status line: {command}; nothing was written")]
    StatusLine {
        /// The settings file.
        file: String,
        /// Its command, safe to show.
        command: String,
        /// The command that shows both.
        anyway: String,
    },
    /// An edit could not be undone.
    #[error("the change of {0} could not be undone, so nothing was written")]
    NotItsInverse(String),
}

impl Hint for SettingsError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoUserFolder => "set one: export HOME=~".to_owned(),
            Self::NoStateFolder => SET_STATE_FOLDER.to_owned(),
            Self::NoProject { command, .. } => {
                format!("run it in a project, or name one: frosty {command} --project .")
            }
            Self::IsUsers { command, .. } => {
                format!("run it in a project, or for all projects: frosty {command} --user")
            }
            Self::Unread(e) => return e.hint(),
            Self::Unwritten(e) => return e.hint(),
            Self::Program(e) => return e.hint(),
            Self::Beside { anyway, .. } => format!("register beside them all the same: {anyway}"),
            Self::StatusLine { anyway, .. } => format!("show its output above Frosty's line: {anyway}"),
            Self::NotItsInverse(file) => edit(file),
        })
    }
}

/// The selected settings file.
#[derive(Debug)]
pub struct Chosen {
    /// The kind of the settings.
    pub place: Place,
    /// Its path, which may be a link.
    pub file: PathBuf,
    /// The project, its real path.
    pub project: PathBuf,
    /// The flags that select it, from any directory.
    pub flags: String,
}

/// Returns the settings file that the arguments, or else the environment, name.
///
/// # Errors
/// When there is no such project or no directory of user settings.
pub fn chosen(args: &SettingsArgs, env: &Env, command: &'static str) -> Result<Chosen, SettingsError> {
    let named = args.project.clone().or_else(|| env.claude_project_dir.clone());
    let dir = named.unwrap_or_else(|| PathBuf::from("."));
    let no_project = |cause| SettingsError::NoProject { dir: text::path(&dir), command, cause };
    let project = dir.canonicalize().map_err(no_project)?;
    if !project.is_dir() {
        return Err(no_project(io::ErrorKind::NotADirectory.into()));
    }
    let users = user_dir(env).map(|dir| env::current_dir().unwrap_or_default().join(dir).join("settings.json"));
    if args.user {
        let file = users.ok_or(SettingsError::NoUserFolder)?;
        return Ok(Chosen { place: Place::User, file, project, flags: "--user".to_owned() });
    }
    let (place, name, flag) = match args.local {
        true => (Place::Local, "settings.local.json", "--local "),
        false => (Place::Project, "settings.json", ""),
    };
    let file = project.join(".claude").join(name);
    let is_users = |users: &PathBuf| {
        same(users, &file)
            || users.parent().zip(file.parent()).is_some_and(|(a, b)| place == Place::Project && same(a, b))
    };
    if users.as_ref().is_some_and(is_users) {
        return Err(SettingsError::IsUsers { file: text::path(&file), command });
    }
    let flags = format!("{flag}--project {}", text::path(&project));
    Ok(Chosen { place, file, project, flags })
}

/// Shows a change, or makes it, and returns the backup, where one was made. Without a change nothing happens.
///
/// # Errors
/// When the change cannot be made. The file is then unchanged.
pub fn change(
    env: &Env,
    standing: &SettingsText,
    new: Option<&str>,
    dry_run: bool,
) -> Result<Option<PathBuf>, SettingsError> {
    if standing.text.as_deref() == new {
        return Ok(None);
    }
    if dry_run {
        show(&standing.path, standing.text.as_deref(), new);
        return Ok(None);
    }
    let backups = env.state_dir().ok_or(SettingsError::NoStateFolder)?.join("backups");
    Ok(standing.replace(new, &backups)?)
}

/// Shows the change as a diff: without control characters on a terminal, else fit for `patch`.
fn show(file: &Path, before: Option<&str>, after: Option<&str>) {
    let name = |text: Option<&str>| text.map_or_else(|| "/dev/null".to_owned(), |_| file.display().to_string());
    let diff = diff::unified(
        before.unwrap_or_default(),
        after.unwrap_or_default(),
        &text::line_of(&name(before), 4096),
        &text::line_of(&name(after), 4096),
    );
    let mut out = out::stdout();
    // A closed pipe is no failure.
    let _ = match out.is_terminal() {
        true => out.write_all(text::prompt(&diff, usize::MAX).as_bytes()),
        false => out.write_all(diff.as_bytes()),
    };
}

/// Returns one line per other hook, each with the command that removes it.
#[must_use]
pub fn listed(others: &[Other], project: &Path) -> String {
    let line = |other: &Other| format!("  {}\n    remove it: {}", other.shown(), other.cure(project));
    others.iter().map(line).collect::<Vec<_>>().join("\n")
}
