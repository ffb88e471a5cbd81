//! Finds the registrations besides Frosty's own entries of one file that would also decide a session's Stop
//! events.

use std::path::Path;

use super::old_hooks::{Old, old_kind};
use super::plugins::{Plugin, plugins};
use crate::client_settings::owner::{Engine, Owner, engine, owner};
use crate::client_settings::{Hook, Place, Unread, files, hooks, same};
use crate::env::Env;
use crate::text;

/// Another registration that decides Stop events.
#[derive(Debug, Clone, PartialEq)]
pub enum Other {
    /// An engine that `frosty install` wrote into another file.
    Engine(Place, Hook, Engine),
    /// An engine that a person wrote.
    ByHand(Hook, Engine),
    /// A hook that continues without a request to a store.
    Unthrottled(Hook, Old),
    /// Frosty as a plugin.
    Plugin(Plugin),
}

impl Other {
    /// Returns a description with the file and the entry.
    #[must_use]
    pub fn shown(&self) -> String {
        let at = |hook: &Hook| format!("{}: {}: {}", text::path(&hook.file), text::line(&hook.event), hook.shown());
        match self {
            Self::Engine(_, hook, engine) => format!("{} (a second engine, {})", at(hook), engine.name()),
            Self::ByHand(hook, engine) => {
                format!("{} (a second engine, {}, registered by hand)", at(hook), engine.name())
            }
            Self::Unthrottled(hook, old) => {
                format!("{} (it {}: beside it nothing is throttled)", at(hook), old.does())
            }
            Self::Plugin(plugin) => {
                format!("{}: plugin {} (a second engine)", text::path(&plugin.by), text::line(&plugin.id))
            }
        }
    }

    /// Returns the one command that removes it.
    #[must_use]
    pub fn cure(&self, project: &Path) -> String {
        match self {
            Self::Engine(Place::User, ..) => "frosty uninstall --user".to_owned(),
            Self::Engine(Place::Local, ..) => format!("frosty uninstall --local --project {}", text::path(project)),
            Self::Engine(Place::Project, ..) => format!("frosty uninstall --project {}", text::path(project)),
            Self::Engine(_, hook, _) | Self::ByHand(hook, _) | Self::Unthrottled(hook, _) => {
                format!("${{EDITOR:-vi}} {}", text::path(&hook.file))
            }
            // The directory may be the only copy of a person's work.
            Self::Plugin(plugin) if plugin.is_lying() && plugin.by.is_symlink() => {
                format!("rm {}", text::path(&plugin.by))
            }
            Self::Plugin(plugin) if plugin.is_lying() => format!("mv {} ~", text::path(&plugin.by)),
            Self::Plugin(plugin) => format!("claude plugin disable {}", text::word(&plugin.id)),
        }
    }
}

/// Returns the registrations for a project besides the entries that `frosty install` wrote into `target`, and
/// the files that could not be parsed.
#[must_use]
pub fn beside(env: &Env, project: &Path, target: &Path) -> (Vec<Other>, Vec<Unread>) {
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    for file in files(env, project) {
        match hooks(&file.path) {
            Ok(found) => {
                let is_target = same(&file.path, target);
                all.extend(found.into_iter().filter_map(|hook| other(env, project, file.place, hook, is_target)));
            }
            Err(e) => unread.push(e),
        }
    }
    all.extend(plugins(env, project).into_iter().map(Other::Plugin));
    (all, unread)
}

fn other(env: &Env, project: &Path, place: Place, hook: Hook, is_target: bool) -> Option<Other> {
    match (owner(&hook), engine(&hook)) {
        (Owner::Installed, _) if is_target => None,
        (Owner::Installed, Some(engine)) => Some(Other::Engine(place, hook, engine)),
        (Owner::ByHand, Some(engine)) => Some(Other::ByHand(hook, engine)),
        _ => {
            let old = old_kind(&hook, env.home.as_deref(), project)?;
            Some(Other::Unthrottled(hook, old))
        }
    }
}
