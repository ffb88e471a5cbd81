//! Checks the origin of the environment variables.
//!
//! The client passes the `env` blocks of its settings files on to its hooks, so a variable may be set by a project. A
//! cloned repository, or an agent that edits files, must not loosen a limit.
//!
//! The client's own first environment (`/proc/<CLAUDE_PID>/environ`) contains the values from its shell, and no
//! settings file changes it. A value that is neither there nor in the user's or the machine's settings is refused. A
//! settings file that set it may have been changed since, and the client keeps such a value (2.1.331).

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client_settings::{self, Place, SettingsFile};
use crate::config::ConfigError;
use crate::env::{Env, GUARDED};
use crate::hint::edit;
use crate::process;
use crate::read;
use crate::secret;
use crate::text;

/// Refuses a guarded variable that a project's settings set.
///
/// # Errors
/// When one does, or when the client's own environment shows that a settings file other than the user's did.
#[inline]
pub(crate) fn check(env: &Env, project: Option<&Path>) -> Result<(), ConfigError> {
    if is_plain(env) { Ok(()) } else { look(env, project.or(env.claude_project_dir.as_deref())) }
}

/// Returns whether no variable is set that could loosen a limit. The client ignores `HOME` in a project's settings
/// (2.1.331), so `HOME` is compared only where another variable gives a reason.
fn is_plain(env: &Env) -> bool {
    !names_more_than_a_pane(env) && env.tmux.is_none() && env.tmux_pane.is_none()
}

fn names_more_than_a_pane(env: &Env) -> bool {
    let not_a_pane = |name: &&&str| !matches!(**name, "HOME" | "TMUX" | "TMUX_PANE");
    GUARDED.iter().filter(not_a_pane).any(|name| env.guarded(name).is_some_and(|value| loosens(name, &value)))
}

/// Returns whether a project could loosen a limit by this value. It may switch off Frosty and its own sessions.
fn loosens(name: &str, value: &str) -> bool {
    match name {
        "FROSTY_ON" => value != "0",
        "FROSTY_DISABLE" => matches!(value, "" | "0"),
        _ => true,
    }
}

/// Returns the guarded variables of unknown origin: those in a client whose first environment cannot be read.
#[must_use]
pub fn unknown(env: &Env) -> Vec<&'static str> {
    if env.claude_session_id.is_none() || first_environment(env).is_some() {
        return Vec::new();
    }
    let is_set = |name: &&'static str| name.starts_with("FROSTY_") && env.guarded(name).is_some();
    GUARDED.iter().copied().filter(is_set).collect()
}

/// Returns whether a project's settings may set the variable to this value.
#[must_use]
pub fn is_allowed(name: &str, value: &str) -> bool {
    !GUARDED.contains(&name) || !loosens(name, value)
}

#[cold]
#[inline(never)]
fn look(env: &Env, project: Option<&Path>) -> Result<(), ConfigError> {
    let first = first_environment(env);
    let changed = first.as_ref().map(|first| changed(env, first)).unwrap_or_default();
    // Only the pane is set, and the client was started in it: the files need not be read.
    if first.is_some() && changed.is_empty() && !names_more_than_a_pane(env) {
        return Ok(());
    }
    // The files are read only where a value needs them.
    let trusted = OnceCell::new();
    let is_trusted = |name: &str, value: &str| {
        let files = trusted.get_or_init(|| self::trusted(env, first.as_deref(), project));
        files.iter().any(|file: &Settings| file.sets(name, value))
    };
    for file in projects(project) {
        for name in GUARDED {
            let Some(value) = env.guarded(name).filter(|value| loosens(name, value)) else { continue };
            if file.variable(name).as_deref() == Some(&*value) && !is_trusted(name, &value) {
                let path = text::path(&file.path);
                let refused = refused(&path, &format!("env.{name}"), &value, &edit(&path));
                return Err(refused.in_text(&file.text));
            }
        }
    }
    for name in changed {
        let value = env.guarded(name).unwrap_or_default();
        if !is_trusted(name, &value) && is_own_client(env) {
            let cure = "set it where you start claude, or in your own settings: ${EDITOR:-vi} ~/.claude/settings.json";
            return Err(refused("the environment", name, &value, cure));
        }
    }
    Ok(())
}

fn refused(place: &str, key: &str, found: &str, cure: &str) -> ConfigError {
    ConfigError::Value {
        place: place.to_owned(),
        key: key.to_owned(),
        found: format!("\"{}\"", text::line(&secret::scrubbed(found))),
        allowed: ALLOWED.to_owned(),
        cure: cure.to_owned(),
    }
}

const ALLOWED: &str =
    "it only from your shell or your own settings (a project may set FROSTY_NAME, FROSTY_ON=0 and FROSTY_DISABLE=1)";

/// Returns the guarded variables that differ from the client's first environment.
fn changed(env: &Env, first: &[(String, String)]) -> Vec<&'static str> {
    let before = |name: &str| first.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let differs = |name: &&'static str| {
        let now = env.guarded(name);
        match (&now, before(name)) {
            (Some(now), before) => loosens(name, now) && **now != *before.unwrap_or_default(),
            // The client removes the pane from the environment of its background sessions.
            (None, Some(before)) => !before.is_empty() && !name.starts_with("TMUX"),
            (None, None) => false,
        }
    };
    GUARDED.iter().copied().filter(differs).collect()
}

/// Returns the guarded variables of the client's first environment, or `None` where it cannot be read.
fn first_environment(env: &Env) -> Option<Vec<(String, String)>> {
    let pid: u32 = env.claude_pid.as_ref()?.parse().ok()?;
    let bytes = read::of_kernel(&PathBuf::from(format!("/proc/{pid}/environ"))).ok()?;
    let entry = |entry: &[u8]| {
        let at = entry.iter().position(|b| *b == b'=')?;
        let (name, value) = entry.split_at_checked(at)?;
        let name = GUARDED.iter().find(|guarded| guarded.as_bytes() == name)?;
        Some(((*name).to_owned(), String::from_utf8_lossy(value.get(1..).unwrap_or_default()).into_owned()))
    };
    let first: Vec<_> = bytes.split(|b| *b == 0).filter_map(entry).collect();
    is_passed_on(env, &first).then_some(first)
}

/// Returns whether this process inherited that environment. The client ignores `HOME` in a project's settings
/// (2.1.331), so another `HOME` means that `CLAUDE_PID` is the id of a process other than the client, such as a
/// script's shell.
fn is_passed_on(env: &Env, first: &[(String, String)]) -> bool {
    let home = first.iter().find(|(name, _)| name == "HOME").map(|(_, value)| value.as_str());
    env.guarded("HOME").as_deref() == home
}

/// Returns whether `CLAUDE_PID` is a parent of this process. In another process namespace it is an unrelated process.
fn is_own_client(env: &Env) -> bool {
    let client = env.claude_pid.as_ref().and_then(|pid| pid.parse::<u32>().ok());
    client.is_some_and(|client| process::ancestors().contains(&client))
}

/// Returns the client's settings that the dispatcher writes for a session that it starts with this token.
///
/// They are in the state folder, so that no repository brings such a file.
#[must_use]
pub fn started_by(state: &Path, token: &str) -> PathBuf {
    let token: String = token.chars().filter(char::is_ascii_alphanumeric).collect();
    state.join("starts").join(format!("{token}.json"))
}

/// A settings file as text and as JSON.
struct Settings {
    path: PathBuf,
    text: String,
    value: Value,
}

impl Settings {
    fn read(path: PathBuf) -> Option<Self> {
        let text = client_settings::load(&path).ok()??;
        let json = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let value = client_settings::json::value(json)?;
        Some(Self { path, text, value })
    }

    /// Returns a variable of the `env` block as the client passes it on.
    fn variable(&self, name: &str) -> Option<String> {
        match self.value.get("env")?.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Returns whether the file sets the variable to this value, in its `env` block or before the program of a hook.
    fn sets(&self, name: &str, value: &str) -> bool {
        self.variable(name).as_deref() == Some(value) || self.text.contains(&format!("{name}={value}"))
    }
}

/// Reads the project's two settings files. Where the project is the home directory, the first is the user's and
/// trusted.
fn projects(project: Option<&Path>) -> impl Iterator<Item = Settings> {
    let folder = project.map(|project| project.join(".claude"));
    let files = ["settings.json", "settings.local.json"].into_iter();
    files.filter_map(move |name| Settings::read(folder.as_ref()?.join(name)))
}

/// Reads the user's and the machine's settings files. The user's are where the client's first environment locates them.
fn trusted(env: &Env, first: Option<&[(String, String)]>, project: Option<&Path>) -> Vec<Settings> {
    let own = match first {
        // A project may have set the variables that locate them; of these the client ignores `HOME` alone.
        None => Env { home: env.home.clone(), ..Env::default() },
        Some(first) => {
            let of = |name: &str| first.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| PathBuf::from(v));
            let (home, state) = (of("HOME"), of("XDG_STATE_HOME"));
            Env { home, xdg_state_home: state, claude_config_dir: of("CLAUDE_CONFIG_DIR"), ..Env::default() }
        }
    };
    let is_own = |file: &SettingsFile| matches!(file.place, Place::Managed | Place::User);
    let files = client_settings::files(&own, project.unwrap_or(Path::new("/"))).into_iter().filter(is_own);
    let of_start = env.start_token().and_then(|token| Some(started_by(&own.state_dir()?, token)));
    files.map(|file| file.path).chain(of_start).filter_map(Settings::read).collect()
}
