//! `frosty config`: shows, changes and checks the configuration.

use std::env;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::registration::{SettingsError, change};
use super::{Failure, out};
use crate::client_settings::json::NotJson;
use crate::client_settings::same;
use crate::config::keys::{ByProject, KEYS, Key, Kind, values};
use crate::config::{COMMAND_LINE, Config, ConfigError, Layer, Trust, edit, layers, schema};
use crate::doctor;
use crate::env::Env;
use crate::hint::Hint;
use crate::read;
use crate::secret;
use crate::settings::write::SettingsText;
use crate::text;
use crate::view::sessions::width;

/// The arguments of `frosty config`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ConfigArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// What to do instead of showing each value with its source.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// The subcommands of `frosty config`.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Print the value of a key
    Get {
        /// The dotted key, such as stop.min_interval
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Set a key in your frosty.json, or in a project's
    Set {
        /// The dotted key, such as stop.min_interval
        #[arg(value_name = "KEY")]
        key: String,
        /// The value: a word, or JSON
        #[arg(value_name = "VALUE")]
        value: String,
        /// Set it in this project's .claude/frosty.json, which only tightens
        #[arg(long, value_name = "DIR")]
        project: Option<PathBuf>,
    },
    /// Remove a key from your frosty.json, or from a project's
    Unset {
        /// The dotted key, such as stop.min_interval
        #[arg(value_name = "KEY")]
        key: String,
        /// Remove it from this project's .claude/frosty.json
        #[arg(long, value_name = "DIR")]
        project: Option<PathBuf>,
    },
    /// Check every source of the configuration, or one file
    Validate {
        /// The file; a project's .claude/frosty.json is checked as such
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of frosty.json
    Schema,
}

/// Why `frosty config` failed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigCommandError {
    /// There is no such key.
    #[error("unknown key {key}")]
    UnknownKey {
        /// The given key.
        key: String,
        /// The command with the nearest key.
        near: Option<String>,
    },
    /// The new text of the file would be wrong.
    #[error("nothing was written: {0}")]
    Refused(ConfigError),
    /// At least one source is wrong.
    #[error(
        "{wrong} of {all} sources of the configuration are wrong, and `frosty hook` admits nothing until they are right"
    )]
    Wrong {
        /// The number of wrong sources.
        wrong: usize,
        /// The number of sources.
        all: usize,
    },
}

impl Hint for ConfigCommandError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { near: Some(near), .. } => Some(format!("the nearest key: frosty config {near}")),
            Self::UnknownKey { near: None, .. } => Some("list the keys: frosty config".to_owned()),
            Self::Refused(ConfigError::UnknownKey { file, .. }) if file == COMMAND_LINE => {
                Some("see the keys: frosty config schema".to_owned())
            }
            Self::Refused(e) => e.hint(),
            Self::Wrong { .. } => None,
        }
    }
}

impl ConfigCommandError {
    /// Returns whether another command line would succeed.
    #[must_use]
    pub fn is_of_command_line(&self) -> bool {
        match self {
            Self::UnknownKey { .. } => true,
            Self::Refused(e) => e.is_of_command_line(),
            Self::Wrong { .. } => false,
        }
    }
}

/// Runs the action, or shows each value with its source.
///
/// # Errors
/// When the configuration or the command line is wrong, or the file cannot be written.
pub fn run(args: ConfigArgs) -> Result<(), Failure> {
    let env = Env::read();
    match args.action {
        None => show(&env, args.json),
        Some(Action::Get { key }) => get(&env, &key),
        Some(Action::Set { key, value, project }) => set(&env, &key, &value, project.as_deref()),
        Some(Action::Unset { key, project }) => unset(&env, &key, project.as_deref()),
        Some(Action::Validate { file: Some(file) }) => validate(&env, &file),
        Some(Action::Validate { file: None }) => validate_all(&env),
        Some(Action::Schema) => {
            let _ = writeln!(out::stdout(), "{:#}", schema());
            Ok(())
        }
    }
}

/// Returns the configuration that the hooks of the project here use, and its layers.
fn resolved(env: &Env) -> (Config, Vec<Layer>) {
    let project = doctor::project(env, None);
    layers(env, Some(&project), &doctor::registered_flags(env, &project))
}

fn show(env: &Env, is_json: bool) -> Result<(), Failure> {
    let (config, layers) = resolved(env);
    let values = values(&config);
    // The keys of a group that is switched off have no value.
    let rows: Vec<(&Key, &Value)> = KEYS
        .iter()
        .filter_map(|key| Some((key, value(&values, key.name)?)))
        .filter(|(key, value)| !matches!(key.kind, Kind::Group) || value.is_null())
        .collect();
    let mut out = out::stdout();
    if is_json {
        let object = |(key, value): &(&Key, &Value)| {
            (key.name.to_owned(), json!({"value": value, "source": source(key, &layers)}))
        };
        let keys: Map<String, Value> = rows.iter().map(object).collect();
        let wrong: Vec<String> = layers.iter().filter_map(|l| Some(l.wrong.as_ref()?.to_string())).collect();
        let _ = writeln!(out, "{}", json!({"keys": keys, "wrong": wrong}));
    } else {
        let shown = |value: &Value| width::cut(&text::line(&value.to_string()), 48);
        let names = rows.iter().map(|(key, _)| width::of(key.name)).max().unwrap_or_default();
        let columns = rows.iter().map(|(_, value)| width::of(&shown(value))).max().unwrap_or_default();
        for (key, value) in &rows {
            let name = width::pad(key.name.to_owned(), names);
            let _ = writeln!(out, "{name}  {}  {}", width::pad(shown(value), columns), source(key, &layers));
        }
    }
    right(layers)
}

/// Reports the wrong layers.
fn right(layers: Vec<Layer>) -> Result<(), Failure> {
    let all = layers.len();
    let wrong: Vec<ConfigError> = layers.into_iter().filter_map(|layer| layer.wrong).collect();
    let count = wrong.len();
    for e in wrong {
        warn(&e.into());
    }
    if count == 0 { Ok(()) } else { Err(ConfigCommandError::Wrong { wrong: count, all }.into()) }
}

fn warn(e: &Failure) {
    let hint = e.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    out::report(&format!("{e}{hint}"));
}

/// Returns the file, variable or flag that set the key. A project's quotas are added to those before.
fn source(key: &Key, layers: &[Layer]) -> String {
    let mut sources: Vec<&str> = Vec::new();
    let is_set = |set: &String| set.strip_prefix(key.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    for layer in layers.iter().filter(|layer| layer.wrong.is_none() && layer.sets.iter().any(is_set)) {
        if key.by_project != ByProject::Adds || layer.trust == Trust::Own {
            sources.clear();
        }
        sources.push(&layer.name);
    }
    if sources.is_empty() { "default".to_owned() } else { sources.join(" and ") }
}

fn get(env: &Env, key: &str) -> Result<(), Failure> {
    let (config, layers) = resolved(env);
    let values = values(&config);
    let known =
        value(&values, key).or_else(|| find(key).map(|_| &Value::Null)).ok_or_else(|| unknown("get", key, ""))?;
    right(layers)?;
    let shown = match known {
        Value::String(word) => text::prompt(word, text::LONGEST_PROMPT),
        other => other.to_string(),
    };
    let _ = writeln!(out::stdout(), "{shown}");
    Ok(())
}

fn value<'v>(values: &'v Value, key: &str) -> Option<&'v Value> {
    key.split('.').try_fold(values, |at, name| at.get(name))
}

/// Returns the key with this name, or the one whose objects contain it: `agents.echo.profile` is within `agents`.
fn find(key: &str) -> Option<&'static Key> {
    let holds = |known: &&Key| {
        let is_named = matches!(known.kind, Kind::Agents | Kind::Profiles);
        is_named && key.strip_prefix(known.name).is_some_and(|rest| rest.starts_with('.'))
    };
    KEYS.iter().find(|known| known.name == key).or_else(|| KEYS.iter().find(holds))
}

/// Names the nearest key: one that ends in the given word, or one with nearly the same letters.
fn unknown(action: &str, key: &str, more: &str) -> ConfigCommandError {
    let names = || KEYS.iter().map(|known| known.name);
    let near = names().find(|name| name.ends_with(&format!(".{key}"))).or_else(|| text::nearest(key, names()));
    ConfigCommandError::UnknownKey {
        key: text::word(&text::line(&secret::scrubbed(key))),
        near: near.map(|near| format!("{action} {near}{more}")),
    }
}

/// Returns the value as JSON: a word that is no JSON, or that is given for a text, becomes a text.
fn as_json(key: &Key, word: &str) -> String {
    let is_text = matches!(key.kind, Kind::Text | Kind::OptionalText | Kind::Choice(_) | Kind::Duration(_));
    match serde_json::from_str::<Value>(word) {
        Ok(value) if !is_text || value.is_string() || value.is_null() => word.trim().to_owned(),
        _ => Value::from(word).to_string(),
    }
}

fn set(env: &Env, key: &str, word: &str, project: Option<&Path>) -> Result<(), Failure> {
    let known = find(key).ok_or_else(|| unknown("set", key, &format!(" {}", text::word(word))))?;
    let (file, trust) = target(env, project)?;
    let shown = text::path(&file);
    let value = as_json(known, word);
    let standing = SettingsText::read(&file).map_err(SettingsError::from)?;
    let text = standing.text.as_deref().unwrap_or_default();
    let new = edit::set(text, key, &value).map_err(|cause| not_json(&shown, &cause))?;
    Config::check_file(env, &file, &new, trust)
        .map_err(|e| ConfigCommandError::Refused(of_command_line(e, key, word, trust)))?;
    change(env, &standing, Some(&new), false)?;
    let (config, layers) = resolved(env);
    let now = value_of(&config, key);
    out::say(&format!("{key} is set in {shown}"));
    let source = source(known, &layers);
    let applies_here = layers.iter().any(|layer| layer.name == shown);
    if applies_here && !source.split(" and ").any(|name| name == shown) {
        out::report(&format!("{source} overrides it: {key} is {now} here"));
    }
    for e in layers.into_iter().filter_map(|layer| layer.wrong) {
        warn(&e.into());
    }
    Ok(())
}

fn not_json(file: &str, cause: &NotJson) -> ConfigCommandError {
    ConfigCommandError::Refused(ConfigError::NotJson { file: file.to_owned(), cause: cause.to_string() })
}

fn unset(env: &Env, key: &str, project: Option<&Path>) -> Result<(), Failure> {
    let more = project.map(|dir| format!(" --project {}", text::path(dir))).unwrap_or_default();
    let known = find(key).ok_or_else(|| unknown("unset", key, &more))?;
    let (file, trust) = target(env, project)?;
    let shown = text::path(&file);
    let standing = SettingsText::read(&file).map_err(SettingsError::from)?;
    let text = standing.text.as_deref().unwrap_or_default();
    let said = match edit::unset(text, key).map_err(|cause| not_json(&shown, &cause))? {
        Some(new) => {
            Config::check_file(env, &file, &new, trust).map_err(ConfigCommandError::Refused)?;
            change(env, &standing, Some(&new), false)?;
            "is removed from"
        }
        None => "is not set in",
    };
    let (config, layers) = resolved(env);
    let now = value_of(&config, key);
    out::say(&format!("{key} {said} {shown}: it is {now} here ({})", source(known, &layers)));
    Ok(())
}

fn value_of(config: &Config, key: &str) -> String {
    text::line(&value(&values(config), key).unwrap_or(&Value::Null).to_string())
}

/// Returns the file to write. The project of a home directory is the user's own file.
fn target(env: &Env, project: Option<&Path>) -> Result<(PathBuf, Trust), SettingsError> {
    let users = env.user_file().map(|file| env::current_dir().unwrap_or_default().join(file));
    let Some(dir) = project else {
        return Ok((users.ok_or(SettingsError::NoUserFolder)?, Trust::Own));
    };
    let no_project = |cause| SettingsError::NoProject { dir: text::path(dir), command: "config set KEY VALUE", cause };
    let dir = dir.canonicalize().map_err(no_project)?;
    if !dir.is_dir() {
        return Err(no_project(io::ErrorKind::NotADirectory.into()));
    }
    let file = dir.join(".claude/frosty.json");
    let trust = trust(env, &file);
    Ok((file, trust))
}

/// Returns the trust in a file: a `.claude/frosty.json` other than the user's is a project's.
fn trust(env: &Env, file: &Path) -> Trust {
    let is_users = env.user_file().is_some_and(|users| is_same(&users, file));
    if file.ends_with(".claude/frosty.json") && !is_users { Trust::Project } else { Trust::Own }
}

/// Returns whether two paths are the same file, which need not exist.
fn is_same(a: &Path, b: &Path) -> bool {
    let same_name = a.file_name() == b.file_name();
    same(a, b) || a.parent().zip(b.parent()).is_some_and(|(a, b)| same_name && same(a, b))
}

/// Attributes an error about the given value to the command line.
fn of_command_line(mut e: ConfigError, given: &str, word: &str, trust: Trust) -> ConfigError {
    if let ConfigError::Value { place, key, cure, .. } = &mut e
        && key.starts_with(given)
    {
        COMMAND_LINE.clone_into(place);
        *cure = match trust {
            // What a project's file may not set, the user's own may.
            Trust::Project => format!("set it in your own file: frosty config set {given} {}", text::word(word)),
            Trust::Own => "see the accepted values: frosty config schema".to_owned(),
        };
    }
    if let ConfigError::UnknownKey { file, line, key, .. } = &mut e
        && key.starts_with(given)
    {
        COMMAND_LINE.clone_into(file);
        *line = None;
    }
    e
}

fn validate(env: &Env, file: &Path) -> Result<(), Failure> {
    let text = read::text(file).map_err(|e| ConfigError::unreadable(file, &e))?;
    let absolute = env::current_dir().unwrap_or_default().join(file);
    Config::check_file(env, file, &text, trust(env, &absolute))?;
    let _ = writeln!(out::stdout(), "{}: ok", text::path(file));
    Ok(())
}

fn validate_all(env: &Env) -> Result<(), Failure> {
    let (_, layers) = resolved(env);
    let mut out = out::stdout();
    for layer in &layers {
        let _ = writeln!(out, "{}: {}", layer.name, if layer.wrong.is_some() { "wrong" } else { "ok" });
    }
    if layers.is_empty() {
        let _ = writeln!(out, "the defaults apply: no file, variable or flag sets a key");
    }
    right(layers)
}
