//! Reads Frosty's registrations for a project, from every settings file that the client reads for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client_settings::owner::{Engine, Owner, call, engine, owner};
use crate::client_settings::{self, Hook, Place, SettingsFile, Unread};
use crate::config::Flags;
use crate::env::Env;
use crate::hook::{self, flags::Wrong};
use crate::settings::plugins::{Plugin, plugins};
use crate::text;

/// The source of a registration.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A settings file.
    Settings(Place),
    /// A plugin.
    Plugin(Plugin),
}

impl Source {
    /// Returns the source in words.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Settings(place) => format!("the {} settings", place.name()),
            Self::Plugin(plugin) => format!("the plugin {}", text::line(&plugin.id)),
        }
    }
}

/// Everything that is registered.
#[derive(Debug, Default)]
pub(super) struct Registered {
    /// Every hook of the settings, and Frosty's hooks of plugins, each with its source.
    pub(super) hooks: Vec<(Source, Hook)>,
    /// The settings that could be read, the weakest first.
    pub(super) settings: Vec<(SettingsFile, Value)>,
    /// The files that could not be read.
    pub(super) unread: Vec<Unread>,
    /// Enabled plugins named frosty whose hooks were not found yet.
    pub(super) unknown: Vec<Plugin>,
}

impl Registered {
    /// Reads every settings file of the project.
    pub(super) fn read(env: &Env, project: &Path) -> Self {
        let mut all = Self::of(client_settings::files(env, project));
        for plugin in plugins(env, project) {
            if plugin.hooks.is_empty() {
                all.unknown.push(plugin);
                continue;
            }
            let source = Source::Plugin(plugin.clone());
            all.hooks.extend(plugin.hooks.into_iter().map(|hook| (source.clone(), hook)));
        }
        all
    }

    /// Reads these files.
    pub(super) fn of(files: Vec<SettingsFile>) -> Self {
        let mut all = Self::default();
        for file in client_settings::weakest_first(files) {
            let json = match client_settings::load(&file.path) {
                Ok(None) => continue,
                Ok(Some(json)) => json,
                Err(e) => {
                    all.unread.push(e);
                    continue;
                }
            };
            match client_settings::hooks_in(&json, &file.path) {
                Ok(hooks) => all.hooks.extend(hooks.into_iter().map(|hook| (Source::Settings(file.place), hook))),
                Err(e) => all.unread.push(e),
            }
            let json = json.strip_prefix('\u{feff}').unwrap_or(&json);
            if let Some(value) = client_settings::json::value(json) {
                all.settings.push((file, value));
            }
        }
        all
    }

    /// Returns Frosty's own hooks.
    pub(super) fn ours(&self) -> impl Iterator<Item = &(Source, Hook)> {
        self.hooks.iter().filter(|(_, hook)| owner(hook) != Owner::Other)
    }

    /// Returns the engines: the hooks among them that decide a session's stops.
    pub(super) fn engines(&self) -> Vec<(&Source, &Hook, Engine)> {
        self.hooks.iter().filter_map(|(source, hook)| Some((source, hook, engine(hook)?))).collect()
    }

    /// Returns a setting as the client resolves it: from the strongest file that has it.
    pub(super) fn setting(&self, keys: &[&str]) -> Option<(&SettingsFile, &Value)> {
        let find = |value| keys.iter().try_fold(value, |value: &Value, key| value.get(key));
        self.settings.iter().rev().find_map(|(file, value)| Some((file, find(value)?)))
    }

    /// Returns the variables that settings set for every hook, by name, each with the strongest file that sets it.
    pub(super) fn variables(&self) -> Vec<(&SettingsFile, &str)> {
        let mut all: Vec<(&SettingsFile, &str)> = Vec::new();
        for (file, value) in self.settings.iter().rev() {
            for name in value.get("env").and_then(Value::as_object).into_iter().flat_map(|env| env.keys()) {
                if !all.iter().any(|(_, known)| known == name) {
                    all.push((file, name));
                }
            }
        }
        all
    }
}

/// Returns the registered program: a path, or a name to be found on the PATH.
pub(super) fn program(hook: &Hook) -> PathBuf {
    call(hook).map_or_else(|| hook.command.clone(), |call| call.program).into()
}

/// Returns the flags of a hook, parsed as the hook parses them.
///
/// # Errors
/// The error text for the wrong flag.
pub(super) fn flags(hook: &Hook) -> Result<Flags, String> {
    let words: Vec<OsString> = call(hook).into_iter().flat_map(|call| call.flags).map(OsString::from).collect();
    hook::flags::parse(&words).map_err(|wrong| match wrong {
        Wrong::Help => "it requests the help text".to_owned(),
        Wrong::Word(found) => text::line(&crate::secret::scrubbed(&found)),
    })
}
