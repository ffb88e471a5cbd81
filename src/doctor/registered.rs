//! What of Frosty is registered for a project, from every settings file that the client reads for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;

use crate::cli::{self, Cli, Command};
use crate::config::{Env, Flags};
use crate::settings::ours::{Engine, Owner, call, engine, owner};
use crate::settings::plugins::{Plugin, plugins};
use crate::settings::{self, Hook, Place, SettingsFile, Unread};
use crate::text;

/// Whose a registration is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A settings file's.
    Settings(Place),
    /// A plugin's.
    Plugin(Plugin),
}

impl Source {
    /// In words.
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
    /// Every hook of the settings, and Frosty's of plugins, each with whose it is.
    pub(super) hooks: Vec<(Source, Hook)>,
    /// The settings that could be read, the weakest first.
    pub(super) settings: Vec<(SettingsFile, Value)>,
    /// The files that could not.
    pub(super) unread: Vec<Unread>,
    /// Plugins called frosty that are switched on and whose hooks are not here yet.
    pub(super) unknown: Vec<Plugin>,
}

impl Registered {
    /// Reads every settings file of the project.
    pub(super) fn read(env: &Env, project: &Path) -> Self {
        let mut all = Self::of(settings::files(env, project));
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
        for file in settings::weakest_first(files) {
            let json = match settings::load(&file.path) {
                Ok(None) => continue,
                Ok(Some(json)) => json,
                Err(e) => {
                    all.unread.push(e);
                    continue;
                }
            };
            match settings::hooks_in(&json, &file.path) {
                Ok(hooks) => all.hooks.extend(hooks.into_iter().map(|hook| (Source::Settings(file.place), hook))),
                Err(e) => all.unread.push(e),
            }
            let json = json.strip_prefix('\u{feff}').unwrap_or(&json);
            if let Some(value) = settings::json::value(json) {
                all.settings.push((file, value));
            }
        }
        all
    }

    /// Frosty's own hooks.
    pub(super) fn ours(&self) -> impl Iterator<Item = &(Source, Hook)> {
        self.hooks.iter().filter(|(_, hook)| owner(hook) != Owner::Other)
    }

    /// The engines: those of them that decide a session's stops.
    pub(super) fn engines(&self) -> Vec<(&Source, &Hook, Engine)> {
        self.hooks.iter().filter_map(|(source, hook)| Some((source, hook, engine(hook)?))).collect()
    }

    /// A setting as the client takes it: the strongest file that has it.
    pub(super) fn setting(&self, keys: &[&str]) -> Option<(&SettingsFile, &Value)> {
        let find = |value| keys.iter().try_fold(value, |value: &Value, key| value.get(key));
        self.settings.iter().rev().find_map(|(file, value)| Some((file, find(value)?)))
    }

    /// The variables that settings give to every hook, by name, each with the file that has the last word on it.
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

/// The words after the program, as they are registered; of another program's or a shell's line as far as it can be told.
pub(super) fn arguments(hook: &Hook) -> Vec<String> {
    match &hook.args {
        Some(args) if owner(hook) == Owner::Installed => args.clone(),
        _ => call(hook).unwrap_or_default().into_iter().skip(1).collect(),
    }
}

/// The program, as it is registered: a path, or a name that is looked up.
pub(super) fn program(hook: &Hook) -> PathBuf {
    let called = call(hook).filter(|_| owner(hook) != Owner::Installed);
    called.and_then(|words| words.into_iter().next()).unwrap_or_else(|| hook.command.clone()).into()
}

/// The flags of a hook, read as `frosty hook` reads them.
///
/// # Errors
/// What is wrong with them.
pub(super) fn flags(hook: &Hook) -> Result<Flags, String> {
    let args: Vec<OsString> = std::iter::once("frosty".to_owned()).chain(arguments(hook)).map(OsString::from).collect();
    if let Some(flags) = cli::exact(&args) {
        return Ok(flags);
    }
    match Cli::try_parse_from(&args).map(|cli| cli.command) {
        Ok(Command::Hook(args)) => Ok(args.flags()),
        Ok(_) => Err("it is not frosty hook".to_owned()),
        Err(e) => {
            let said = crate::secret::scrubbed(&e.to_string());
            let first = said.lines().next().unwrap_or_default();
            Err(text::line(first.strip_prefix("error: ").unwrap_or(first)))
        }
    }
}
