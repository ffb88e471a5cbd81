//! `frosty install --statusline`: registers Frosty's status line in the client's settings, beside the operator's own.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use super::install::InstallArgs;
use super::out;
use super::registration::{Chosen, SettingsError, change, chosen};
use crate::client_settings::{Place, SettingsFile, files, load, same, weakest_first};
use crate::env::Env;
use crate::secret;
use crate::settings::edit::Without;
use crate::settings::program;
use crate::settings::status_line::{self, StatusLine};
use crate::settings::write::SettingsText;
use crate::text;

/// Registers the status line in the settings file that the arguments, or else the environment, name.
///
/// # Errors
/// When a status line is there and replacing it was not confirmed, or the file cannot be used or written. The file is then
/// unchanged.
pub(super) fn run(args: &InstallArgs) -> Result<(), SettingsError> {
    let env = Env::read();
    let chosen = chosen(&args.settings, &env, "install")?;
    let program = program::tool()?;
    let standing = SettingsText::read(&chosen.file)?;
    let before = standing.text.as_deref();
    let new = status_line::put(before, &program, &standing.path)?;
    let file = text::path(&chosen.file);
    if before == Some(new.as_str()) {
        out::say(&format!("Nothing to do: Frosty's status line is registered in {file} already."));
        return Ok(());
    }
    is_undone(before, &new, &standing.path)?;
    let (weaker, stronger) = others(&env, &chosen);
    let own = before.map_or(Ok(None), |before| status_line::of(before, &standing.path))?;
    let (shown, what) = match (&own, &weaker) {
        (Some(StatusLine::Operators(command)), _) => (Some((&chosen.file, command)), Change::Beside),
        (None, Some((path, StatusLine::Operators(command)))) => (Some((path, command)), Change::Hides),
        _ => (None, Change::Adds),
    };
    if let Some((path, command)) = shown
        && !confirmed(args, &chosen, path, command, what)?
    {
        out::say("Nothing was written.");
        return Ok(());
    }
    let backup = change(&env, &standing, Some(&new), args.settings.dry_run)?;
    if args.settings.dry_run {
        let replace = if what == Change::Adds { "" } else { " --replace" };
        out::say("");
        out::say_command(
            "Nothing was written. To do it",
            &format!("frosty install --statusline {}{replace}", chosen.flags),
        );
        return Ok(());
    }
    out::say(&format!("Registered the status line in {file}"));
    if what == Change::Beside {
        out::say("  beside   your own command, whose output is shown above it");
    }
    if let Some(backup) = backup {
        out::say(&format!("  backup   {}", text::path(&backup)));
    }
    out::say(&format!("  undo     frosty uninstall {}", chosen.flags));
    if let Some(file) = stronger {
        let file = text::path(&file);
        out::report(&format!(
            "{file} has a status line, too, which the client shows instead\nhint: ${{EDITOR:-vi}} {file}"
        ));
    }
    Ok(())
}

/// What happens to a status line of the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// There is none.
    Adds,
    /// Frosty runs it, and shows its output above its own line.
    Beside,
    /// It is in weaker settings, and the client no longer shows it here.
    Hides,
}

/// Returns the status line of the next weaker settings, and the file of stronger settings that have one.
fn others(env: &Env, chosen: &Chosen) -> (Option<(std::path::PathBuf, StatusLine)>, Option<std::path::PathBuf>) {
    let line = |file: &SettingsFile| status_line::of(&load(&file.path).ok()??, &file.path).ok()?;
    let (mut weaker, mut stronger, mut is_past) = (None, None, false);
    for file in weakest_first(files(env, &chosen.project)) {
        if same(&file.path, &chosen.file) || (file.place == chosen.place && file.place != Place::Managed) {
            is_past = true;
        } else if let Some(found) = line(&file) {
            if is_past {
                stronger = Some(file.path);
            } else {
                weaker = Some((file.path, found));
            }
        }
    }
    (weaker, stronger)
}

/// Returns whether the operator wants the change: by the flag, or by an answer at the terminal.
fn confirmed(
    args: &InstallArgs,
    chosen: &Chosen,
    file: &Path,
    command: &str,
    what: Change,
) -> Result<bool, SettingsError> {
    if args.replace || args.settings.dry_run {
        return Ok(true);
    }
    let (shown, path) = (text::line(&secret::command([command])), text::path(file));
    let mut err = io::stderr();
    if !(io::stdin().is_terminal() && err.is_terminal()) {
        let anyway = match what {
            Change::Hides => "frosty install --statusline --user --replace".to_owned(),
            _ => format!("frosty install --statusline {} --replace", chosen.flags),
        };
        return Err(SettingsError::StatusLine { file: path, command: shown, anyway });
    }
    let question = match what {
        Change::Hides => "Show Frosty's line instead of it in this project?",
        _ => "Show its output above Frosty's line?",
    };
    let text = out::for_stderr(&format!("{path} has a status line: {shown}\n{question} [y/N] "));
    let _ = err.write_all(text.as_bytes());
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Checks that an uninstallation of the new text gives the old text again.
fn is_undone(before: Option<&str>, new: &str, file: &Path) -> Result<(), SettingsError> {
    let was = before.map_or(Ok(Without::NoFile), |before| status_line::take(before, file))?;
    if status_line::take(new, file)? == was {
        return Ok(());
    }
    Err(SettingsError::NotItsInverse(text::path(file)))
}
