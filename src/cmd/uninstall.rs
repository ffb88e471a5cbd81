//! `frosty uninstall`: removes the hooks from the client's settings.

use super::out;
use super::registration::{SettingsError, change, chosen};
use crate::client_settings::hooks_in;
use crate::client_settings::owner::{Engine, Owner, engine, owner};
use crate::cmd::registration::SettingsArgs;
use crate::env::Env;
use crate::hook::terms;
use crate::settings::edit::{self, Without};
use crate::settings::others::{self, Other};
use crate::settings::status_line::{self, StatusLine};
use crate::settings::write::SettingsText;
use crate::text;
use clap::Args;

/// The flags of `uninstall`.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// The settings file.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Removes the hooks from the settings file that the arguments, or else the environment, name.
///
/// # Errors
/// When the file cannot be used or written. The file is then unchanged.
pub fn run(args: &UninstallArgs) -> Result<(), SettingsError> {
    let env = Env::read();
    let chosen = chosen(&args.settings, &env, "uninstall")?;
    let standing = SettingsText::read(&chosen.file)?;
    let file = text::path(&chosen.file);
    let before = standing.text.as_deref();
    let without = before.map_or(Ok(Without::NoFile), |before| edit::take(before, &standing.path))?;
    let line = before.and_then(|before| status_line::of(before, &standing.path).ok()?);
    let without = match without {
        Without::Text(text) => status_line::take(&text, &standing.path)?,
        Without::NoFile => Without::NoFile,
    };
    let new = match &without {
        Without::Text(text) => Some(text.as_str()),
        Without::NoFile => None,
    };
    let (others, _) = others::beside(&env, &chosen.project, &chosen.file);
    if new == before {
        out::say(&format!("Nothing to do: frosty install has registered nothing in {file}."));
    } else {
        let gone = before.and_then(|text| hooks_in(text, &standing.path).ok()).unwrap_or_default();
        let gone: Vec<_> = gone.iter().filter(|hook| owner(hook) == Owner::Installed).collect();
        let engine = gone.iter().find_map(|hook| engine(hook)).unwrap_or(Engine::Continuous);
        let backup = change(&env, &standing, new, args.settings.dry_run)?;
        if args.settings.dry_run {
            out::say("");
            out::say_command("Nothing was written. To do it", &format!("frosty uninstall {}", chosen.flags));
        } else {
            if env.state_dir().is_some_and(|state| !terms::settle(&state)) {
                out::report("an engine was just admitted, and may still continue its session once");
            }
            let what = if new.is_none() { "and the file, which had no other content" } else { "nothing else changed" };
            let line = match line {
                Some(StatusLine::Frostys(None)) => " and the status line",
                Some(StatusLine::Frostys(Some(_))) => " and the status line, in whose place is yours again,",
                _ => "",
            };
            out::say(&format!("Removed {} hooks{line} from {file}, {what}", gone.len()));
            if let Some(backup) = backup {
                out::say(&format!("  backup   {}", text::path(&backup)));
            }
            if !gone.is_empty() && engine == Engine::Continuous && others.iter().all(is_foreign) {
                out::say("  waiting  sessions are not continued any more: type in one to go on");
            }
            // Beside these hooks the installation would be refused.
            let keep = if engine == Engine::Continuous && !others.is_empty() { " --keep-others" } else { "" };
            if !gone.is_empty() {
                out::say(&format!("  undo     frosty install --{} {}{keep}", engine.name(), chosen.flags));
            }
            if !line.is_empty() {
                out::say(&format!("  undo     frosty install --statusline {}", chosen.flags));
            }
        }
    }
    let frostys: Vec<Other> = others.into_iter().filter(|other| !is_foreign(other)).collect();
    if !frostys.is_empty() {
        out::say(&format!(
            "Frosty stays registered elsewhere:\n{}",
            super::registration::listed(&frostys, &chosen.project)
        ));
    }
    Ok(())
}

/// Returns whether another hook is no registration of Frosty's.
fn is_foreign(other: &Other) -> bool {
    matches!(other, Other::Unthrottled(..))
}
