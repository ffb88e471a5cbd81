//! Where a variable comes from. The client passes the `env` blocks of its settings files on to its hooks, so a variable may
//! be a project's word. What a cloned repository or an agent that edits files can write must not loosen a limit.
//!
//! The client's own first environment (`/proc/<CLAUDE_PID>/environ`) holds what a shell gave it, and no settings file changes
//! that. A value that stands neither there nor in the user's or the machine's settings is refused: a settings file that set it
//! may have been changed since, and the client keeps such a value (2.1.331).

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::client_settings::{self, Place, SettingsFile};
use crate::config::ConfigError;
use crate::env::Env;
use crate::env::GUARDED;
use crate::hint::edit;
use crate::read;
use crate::secret;
use crate::text;

/// Refuses a guarded variable that a project's settings set.
///
/// # Errors
/// When one does, or when the client's own environment shows that some settings file did which is not the user's.
#[inline]
pub(crate) fn check(env: &Env, project: Option<&Path>) -> Result<(), ConfigError> {
    if is_plain(env) { Ok(()) } else { look(env, project.or(env.claude_project_dir.as_deref())) }
}

/// Whether nothing is set that could loosen. The client itself takes no `HOME` from a project's settings (2.1.331), so `HOME`
/// is compared only where another variable gives a reason to look.
fn is_plain(env: &Env) -> bool {
    !names_more_than_a_pane(env) && env.tmux.is_none() && env.tmux_pane.is_none()
}

fn names_more_than_a_pane(env: &Env) -> bool {
    let not_a_pane = |name: &&&str| !matches!(**name, "HOME" | "TMUX" | "TMUX_PANE");
    GUARDED.iter().filter(not_a_pane).any(|name| env.guarded(name).is_some_and(|value| loosens(name, &value)))
}

/// Whether a project could gain by this value: it may switch Frosty off, and its sessions.
fn loosens(name: &str, value: &str) -> bool {
    match name {
        "FROSTY_ON" => value != "0",
        "FROSTY_DISABLE" => matches!(value, "" | "0"),
        _ => true,
    }
}

/// The guarded variables whose origin cannot be known: inside a client, where its first environment is not known.
#[must_use]
pub fn unknown(env: &Env) -> Vec<&'static str> {
    if env.claude_session_id.is_none() || first_environment(env).is_some() {
        return Vec::new();
    }
    let is_set = |name: &&'static str| name.starts_with("FROSTY_") && env.guarded(name).is_some();
    GUARDED.iter().copied().filter(is_set).collect()
}

/// Whether a project's settings may set the variable so.
#[must_use]
pub fn is_allowed(name: &str, value: &str) -> bool {
    !GUARDED.contains(&name) || !loosens(name, value)
}

#[cold]
#[inline(never)]
fn look(env: &Env, project: Option<&Path>) -> Result<(), ConfigError> {
    let first = first_environment(env);
    let changed = first.as_ref().map(|first| changed(env, first)).unwrap_or_default();
    // A pane that the client was started in: nothing to ask the files for.
    if first.is_some() && changed.is_empty() && !names_more_than_a_pane(env) {
        return Ok(());
    }
    // Read only where there is something to ask them for.
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

/// The guarded variables whose value is not the one that the client was started with.
fn changed(env: &Env, first: &[(String, String)]) -> Vec<&'static str> {
    let before = |name: &str| first.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let differs = |name: &&'static str| {
        let now = env.guarded(name);
        match (&now, before(name)) {
            (Some(now), before) => loosens(name, now) && **now != *before.unwrap_or_default(),
            // The client takes a pane away from its background sessions.
            (None, Some(before)) => !before.is_empty() && !name.starts_with("TMUX"),
            (None, None) => false,
        }
    };
    GUARDED.iter().copied().filter(differs).collect()
}

/// The guarded variables that the client process was started with; `None` where that cannot be known.
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

/// Whether this process's environment came from that one. The client takes no `HOME` from a project's settings (2.1.331), so
/// another `HOME` means that `CLAUDE_PID` names a process that is not the client, such as a script's shell.
fn is_passed_on(env: &Env, first: &[(String, String)]) -> bool {
    let home = first.iter().find(|(name, _)| name == "HOME").map(|(_, value)| value.as_str());
    env.guarded("HOME").as_deref() == home
}

/// Whether `CLAUDE_PID` is among the processes that started this one: in another process namespace it is some other process.
fn is_own_client(env: &Env) -> bool {
    let parent = |pid: &str| {
        let stat = read::of_kernel(&PathBuf::from(format!("/proc/{pid}/stat"))).ok()?;
        let stat = String::from_utf8_lossy(&stat).into_owned();
        // The second field is a name in parentheses that may hold spaces; the parent is the fourth.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1).map(str::to_owned)
    };
    let mut above = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
    for _ in 0..DEEPEST {
        match above {
            Some(pid) if Some(&pid) == env.claude_pid.as_ref() => return true,
            Some(pid) => above = parent(&pid),
            None => return false,
        }
    }
    false
}

/// A hook is its client's child, or that of a shell or a wrapper of it.
const DEEPEST: usize = 16;

/// A settings file, as far as it matters here.
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

    /// A variable as the client passes it on.
    fn variable(&self, name: &str) -> Option<String> {
        match self.value.get("env")?.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Whether the file sets the variable so, under `env` or before the program of a hook.
    fn sets(&self, name: &str, value: &str) -> bool {
        self.variable(name).as_deref() == Some(value) || self.text.contains(&format!("{name}={value}"))
    }
}

/// The project's two settings files. Where the project is the home folder, the first is the user's, and trusted as that.
fn projects(project: Option<&Path>) -> impl Iterator<Item = Settings> {
    let folder = project.map(|project| project.join(".claude"));
    let files = ["settings.json", "settings.local.json"].into_iter();
    files.filter_map(move |name| Settings::read(folder.as_ref()?.join(name)))
}

/// The user's and the machine's settings files. The user's lie where the client looked for them: where the variables of its
/// first environment lead.
fn trusted(env: &Env, first: Option<&[(String, String)]>, project: Option<&Path>) -> Vec<Settings> {
    let own = match first {
        None => env.clone(),
        Some(first) => {
            let of = |name: &str| first.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| PathBuf::from(v));
            Env { home: of("HOME"), claude_config_dir: of("CLAUDE_CONFIG_DIR"), ..Env::default() }
        }
    };
    let is_own = |file: &SettingsFile| matches!(file.place, Place::Managed | Place::User);
    let files = client_settings::files(&own, project.unwrap_or(Path::new("/"))).into_iter().filter(is_own);
    files.filter_map(|file| Settings::read(file.path)).collect()
}
