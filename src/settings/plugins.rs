//! Finds the plugins of Claude Code that register Frosty and are switched on for a project (client 2.1.331).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client_settings::json::value;
use crate::client_settings::owner::{Owner, owner};
use crate::client_settings::{Hook, files, hooks, load, user_dir, weakest_first};
use crate::env::Env;

/// A plugin that registers `frosty hook`.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// The plugin's name, `name@marketplace`.
    pub id: String,
    /// The cause of its activation: a settings file, or the plugin's directory where its presence is enough.
    pub by: PathBuf,
    /// The hooks that it registers; empty where it is not unpacked yet.
    pub hooks: Vec<Hook>,
}

impl Plugin {
    /// Returns whether it is active because its directory is among the user's skills.
    #[must_use]
    pub fn is_lying(&self) -> bool {
        self.id.ends_with(LYING)
    }
}

/// The client's marketplace name for a plugin's directory among the skills.
const LYING: &str = "@skills-dir";

/// Returns every plugin that registers `frosty hook` and is switched on for a project. A plugin from a
/// session's command line (`--plugin-dir`) is not known here.
#[must_use]
pub fn plugins(env: &Env, project: &Path) -> Vec<Plugin> {
    let Some(dir) = user_dir(env) else { return Vec::new() };
    let installed = json(&dir.join("plugins/installed_plugins.json"));
    let known = json(&dir.join("plugins/known_marketplaces.json"));
    let mut on: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in weakest_first(files(env, project)) {
        let json = json(&file.path);
        for (id, value) in json.get("enabledPlugins").and_then(Value::as_object).into_iter().flatten() {
            match value {
                Value::Bool(true) => on.insert(id.clone(), file.path.clone()),
                _ => on.remove(id),
            };
        }
    }
    let marketplace = on.into_iter().filter_map(|(id, by)| {
        let hooks = folders(&id, &installed, &known).iter().find_map(|folder| hooks_of(folder));
        plugin(id, by, hooks.unwrap_or_default())
    });
    // A plugin's directory among the skills is loaded without being switched on.
    let lying = fs::read_dir(dir.join("skills")).into_iter().flatten().flatten().filter_map(|entry| {
        let folder = entry.path();
        folder.join(".claude-plugin/plugin.json").is_file().then_some(())?;
        let id = format!("{}{LYING}", entry.file_name().to_string_lossy());
        plugin(id, folder.clone(), hooks_of(&folder).unwrap_or_default())
    });
    marketplace.chain(lying).collect()
}

fn plugin(id: String, by: PathBuf, hooks: Vec<Hook>) -> Option<Plugin> {
    let hooks: Vec<Hook> = hooks.into_iter().filter(|hook| owner(hook) != Owner::Other).collect();
    let named = id.split('@').next() == Some("frosty");
    (named || !hooks.is_empty()).then_some(Plugin { id, by, hooks })
}

/// Returns the possible directories of a plugin: unpacked, or in its marketplace's own directory.
fn folders(id: &str, installed: &Value, known: &Value) -> Vec<PathBuf> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(PathBuf::from);
    let unpacked = installed.get("plugins").and_then(|plugins| plugins.get(id)).and_then(Value::as_array);
    let unpacked = unpacked.into_iter().flatten().filter_map(|one| text(one.get("installPath")));
    let marketplace = id.rsplit_once('@').and_then(|(_, name)| text(known.get(name)?.get("installLocation")));
    unpacked.chain(marketplace).collect()
}

fn hooks_of(folder: &Path) -> Option<Vec<Hook>> {
    hooks(&folder.join("hooks/hooks.json")).ok().filter(|hooks| !hooks.is_empty())
}

/// Reads a JSON file. A file that cannot be read switches nothing on.
fn json(path: &Path) -> Value {
    let text = load(path).ok().flatten().unwrap_or_default();
    value(text.trim_start_matches('\u{feff}')).unwrap_or_default()
}
