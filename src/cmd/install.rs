//! `frosty install`: registers the hooks in the client's settings.

use crate::cmd::registration::SettingsArgs;
use crate::hint::Problem;
use clap::Args;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::registration::{Chosen, SettingsError, change, chosen, listed};
use super::{line_registration, out};
use crate::client_settings::owner::{Engine, Owner, owner};
use crate::client_settings::{Hook, Place, disabling, hooks_in, json};
use crate::env::Env;
use crate::read;
use crate::settings::edit::{self, Without};
use crate::settings::registration::Registration;
use crate::settings::write::SettingsText;
use crate::settings::{others, program};
use crate::text;

/// The flags of `install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The settings file.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Use the engine that waits out a refusal and resumes it [default]
    #[arg(long, conflicts_with = "plain")]
    pub continuous: bool,
    /// Use the engine that answers at once; you type to resume a session
    #[arg(long)]
    pub plain: bool,
    /// Register beside other Stop hooks, which stay unthrottled
    #[arg(long)]
    pub keep_others: bool,
    /// Register the status line instead of the hooks
    #[arg(long, conflicts_with_all = ["continuous", "plain", "keep_others"])]
    pub statusline: bool,
    /// Keep an existing status line above Frosty's without asking
    #[arg(long, requires = "statusline")]
    pub replace: bool,
}

/// The client's limit on consecutive continuations, which counts only those of the plain engine (2.1.331).
const CAP: &str = "CLAUDE_CODE_STOP_HOOK_BLOCK_CAP";

/// Registers the hooks in the settings file that the arguments, or else the environment, name.
///
/// # Errors
/// When another hook decides stops there, or the file cannot be used or written. The file is then unchanged.
pub fn run(args: &InstallArgs) -> Result<(), SettingsError> {
    if args.statusline {
        return line_registration::run(args);
    }
    let env = Env::read();
    let chosen = chosen(&args.settings, &env, "install")?;
    let engine = if args.plain { Engine::Plain } else { Engine::Continuous };
    let wanted = Registration { command: program::path()?, engine, manual: chosen.place == Place::User, resumes: true };
    let standing = SettingsText::read(&chosen.file)?;
    let before = standing.text.as_deref();
    let new = edit::put(before, &wanted, &standing.path)?;
    is_undone(before, &new, &standing.path)?;

    let (found, unread) = others::beside(&env, &chosen.project, &chosen.file);
    for e in unread {
        out::report(&format!("cannot look for other engines: {}", Problem::from(&e).lines()));
    }
    let refused = !found.is_empty() && engine == Engine::Continuous && !args.keep_others;
    if args.settings.dry_run || !refused {
        let backup = change(&env, &standing, Some(&new), args.settings.dry_run)?;
        if !refused {
            tell(&chosen, &wanted, before, &new, backup.as_deref(), args);
        }
    }
    let list = listed(&found, &chosen.project);
    if refused {
        let anyway = format!("frosty install --continuous {} --keep-others", chosen.flags);
        return Err(SettingsError::Beside { list, anyway });
    }
    if !found.is_empty() {
        out::report(&format!("other hooks decide stops here, too:\n{list}"));
    }
    hints(&env, &chosen, &wanted, &new);
    if chosen.place == Place::Project && is_tracked(&standing.path) {
        tracked(&chosen, args);
    }
    Ok(())
}

/// Returns whether git tracks the file.
fn is_tracked(file: &Path) -> bool {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return false };
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["ls-files", "--error-unmatch", "--"]).arg(name);
    read::told_by(&mut git, GIT_ANSWERS, LONGEST_PATH).is_some_and(|said| !said.is_empty())
}

const GIT_ANSWERS: Duration = Duration::from_secs(5);
const LONGEST_PATH: usize = 64 * 1024;

/// Warns about a path of this machine in a file that is shared.
fn tracked(chosen: &Chosen, args: &InstallArgs) {
    let engine = if args.plain { " --plain" } else { "" };
    let project = text::path(&chosen.project);
    let local = format!("frosty install --local{engine} --project {project}");
    let before = if args.settings.dry_run { String::new() } else { format!("frosty uninstall {} && ", chosen.flags) };
    out::report(&format!(
        "git tracks {}: this machine's path to frosty reaches every user of the repository\nhint: {before}{local}",
        text::path(&chosen.file)
    ));
}

/// Checks that an uninstallation of the new text gives the same as one of the old text.
fn is_undone(before: Option<&str>, new: &str, file: &Path) -> Result<(), SettingsError> {
    let was = before.map_or(Ok(Without::NoFile), |before| edit::take(before, file))?;
    if edit::take(new, file)? == was || before == Some(new) {
        return Ok(());
    }
    Err(SettingsError::NotItsInverse(text::path(file)))
}

fn tell(
    chosen: &Chosen,
    wanted: &Registration,
    before: Option<&str>,
    new: &str,
    backup: Option<&Path>,
    args: &InstallArgs,
) {
    let (file, engine) = (text::path(&chosen.file), wanted.engine.name());
    if before == Some(new) {
        out::say(&format!("Nothing to do: the {engine} engine is registered in {file} already."));
        return;
    }
    if args.settings.dry_run {
        let keep = if args.keep_others { " --keep-others" } else { "" };
        out::say("");
        out::say_command("Nothing was written. To do it", &format!("frosty install --{engine} {}{keep}", chosen.flags));
        return;
    }
    let whom = match chosen.place {
        Place::User => "sessions of every project, but only those that you arm (frosty on)",
        _ => "every session of this project, running ones from their next stop on",
    };
    let next = match (chosen.place, wanted.engine) {
        (Place::User, _) => "arm a project (frosty on --project DIR), and start claude there",
        (_, Engine::Plain) => "start claude here and give it a task; frosty status shows it",
        _ => "start claude here and give it a task; frosty status shows when it continues",
    };
    out::say(&format!("Registered the {engine} engine in {file}"));
    out::say(&format!("  for      {whom}"));
    out::say(&format!("  added    {} hooks that run {}", wanted.count(), text::line_of(&wanted.command, 1000)));
    let old = before.and_then(|text| hooks_in(text, &chosen.file).ok()).unwrap_or_default();
    let mut old: Vec<&Hook> = old.iter().filter(|hook| owner(hook) == Owner::Installed).collect();
    let replaced = old.len();
    old.dedup_by_key(|hook| &hook.command);
    if let Some(first) = old.first() {
        out::say(&format!("  instead of {replaced} older ones that run {}", text::line_of(&first.command, 1000)));
    }
    match backup.map(text::path) {
        Some(backup) if replaced > 0 => out::say(&format!("  undo     cp -p {backup} {file}")),
        backup => {
            if let Some(backup) = backup {
                out::say(&format!("  backup   {backup}"));
            }
            out::say(&format!("  undo     frosty uninstall {}", chosen.flags));
        }
    }
    out::say(&format!("  next     {next}"));
}

fn hints(env: &Env, chosen: &Chosen, wanted: &Registration, new: &str) {
    if program::is_built_here(Path::new(&wanted.command)) {
        out::report(&format!(
            "{} is in cargo's build directory, and the next cargo clean deletes it\nhint: install it first: ./install.sh",
            text::line_of(&wanted.command, 1000)
        ));
    }
    if let Some(file) = disabling(env, &chosen.project) {
        out::report(&format!(
            "no hook runs while {} has \"disableAllHooks\": true\nhint: remove it: ${{EDITOR:-vi}} {}",
            text::path(&file),
            text::path(&file)
        ));
    }
    if env.disabled() {
        out::report("FROSTY_DISABLE is set, so nothing is continued\nhint: unset FROSTY_DISABLE");
    }
    let root = json::parse(new).ok().flatten();
    let is_set = root.is_some_and(|root| root.get("env").is_some_and(|vars| vars.get(CAP).is_some()));
    if wanted.engine == Engine::Plain && !is_set {
        out::say(&format!(
            "The client ends a turn at the ninth continuation in a row that used no tool. To lift that, add\n  \"env\": {{\"{CAP}\": \"0\"}}\nto that file; Frosty's limits are then the only ones."
        ));
    }
}
