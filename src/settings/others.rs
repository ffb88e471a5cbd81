//! What is registered beside Frosty's own entries of one file and would decide a session's stops too.

use std::path::Path;

use super::old_hooks::{Old, old_kind};
use super::plugins::{Plugin, plugins};
use crate::client_settings::owner::{Engine, Owner, engine, owner};
use crate::client_settings::{Hook, Place, Unread, files, hooks, same};
use crate::env::Env;
use crate::text;

/// One that decides stops besides.
#[derive(Debug, Clone, PartialEq)]
pub enum Other {
    /// An engine that `frosty install` wrote into another file.
    Engine(Place, Hook, Engine),
    /// An engine that a person wrote.
    ByHand(Hook, Engine),
    /// A hook that goes on without asking.
    Unthrottled(Hook, Old),
    /// Frosty as a plugin.
    Plugin(Plugin),
}

impl Other {
    /// What it is, and where: the file and the entry.
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

    /// The one command that takes it out.
    #[must_use]
    pub fn cure(&self, project: &Path) -> String {
        match self {
            Self::Engine(Place::User, ..) => "frosty uninstall --user".to_owned(),
            Self::Engine(Place::Local, ..) => format!("frosty uninstall --local --project {}", text::path(project)),
            Self::Engine(Place::Project, ..) => format!("frosty uninstall --project {}", text::path(project)),
            Self::Engine(_, hook, _) | Self::ByHand(hook, _) | Self::Unthrottled(hook, _) => {
                format!("${{EDITOR:-vi}} {}", text::path(&hook.file))
            }
            // What lies there may be somebody's only copy.
            Self::Plugin(plugin) if plugin.is_lying() && plugin.by.is_symlink() => {
                format!("rm {}", text::path(&plugin.by))
            }
            Self::Plugin(plugin) if plugin.is_lying() => format!("mv {} ~", text::path(&plugin.by)),
            Self::Plugin(plugin) => format!("claude plugin disable {}", text::word(&plugin.id)),
        }
    }
}

/// What is registered for a project beside the entries that `frosty install` wrote into `target`, and the files that could
/// not be understood.
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
