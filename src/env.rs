//! Reads the environment. No other module does.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// Every variable that Frosty reads. Empty ones count as unset.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// `FROSTY_CONFIG`: a configuration file.
    pub config: Option<PathBuf>,
    /// `FROSTY_STORE`: the same as the key `store`.
    pub store: Option<String>,
    /// `FROSTY_STORE_PASSWORD_FILE`: a file with the server's password.
    pub store_password_file: Option<PathBuf>,
    /// `FROSTY_STORE_CA_FILE`: a file with the authorities that may sign the certificate of a `rediss://`
    /// server.
    pub store_ca_file: Option<PathBuf>,
    /// `FROSTY_FLEET`: the same as the key `fleet`.
    pub fleet: Option<String>,
    /// `FROSTY_SCOPE`: the same as the key `scope`.
    pub scope: Option<String>,
    /// `FROSTY_NAME`: the same as the key `name`.
    pub name: Option<String>,
    /// `FROSTY_STREAM`: the same as the key `stream`.
    pub stream: Option<String>,
    /// `FROSTY_MODE`: the same as the key `mode`.
    pub mode: Option<String>,
    /// `FROSTY_WORK`: the same as the key `work`.
    pub work: Option<String>,
    /// `FROSTY_WORK_AGENT`: the agent that the dispatcher runs this program for.
    pub work_agent: Option<String>,
    /// `FROSTY_WORK_ID`: the entry that this program has in hand.
    pub work_id: Option<String>,
    /// `FROSTY_START`: the start token of a session that the dispatcher started; in print mode with a dot and its id.
    pub start: Option<String>,
    /// `FROSTY_ON`: `1` or `print` arms the session, `0` disarms it.
    pub on: Option<String>,
    /// `FROSTY_GATE`: the run of `frosty gate` that this process is part of.
    pub gate: Option<String>,
    /// `FROSTY_DISABLE`: anything but `0` switches Frosty off before any I/O.
    pub disable: Option<String>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `CLAUDE_CONFIG_DIR`: the client's directory for the user's settings instead of `~/.claude`.
    pub claude_config_dir: Option<PathBuf>,
    /// `CLAUDE_PROJECT_DIR`: set by the client for its hooks.
    pub claude_project_dir: Option<PathBuf>,
    /// `CLAUDE_CODE_SESSION_ID`: set by the client for its hooks and its shell.
    pub claude_session_id: Option<String>,
    /// `CLAUDE_CODE_SESSION_ATTENDED`: whether a person uses the client; read where the entry point is not
    /// known.
    pub claude_attended: Option<String>,
    /// `CLAUDE_CODE_ENTRYPOINT`: `cli` in a window and in a background session, `sdk-cli` in print mode.
    pub claude_entrypoint: Option<String>,
    /// `CLAUDE_PID`: the client's process id.
    pub claude_pid: Option<String>,
    /// `CLAUDE_JOB_DIR`: set by the client in a background session.
    pub claude_job_dir: Option<PathBuf>,
    /// `TMUX`: the server's socket, its pid, the session.
    pub tmux: Option<String>,
    /// `TMUX_PANE`: the pane, for example `%3`.
    pub tmux_pane: Option<String>,
    /// The variables of [`GUARDED`] that are set and empty, which hides an exported value of the shell.
    pub emptied: Vec<&'static str>,
}

/// The variables that decide which limits, which store and which scope apply. A project's settings may not set
/// them.
pub const GUARDED: [&str; 17] = [
    "FROSTY_CONFIG",
    "FROSTY_STORE",
    "FROSTY_STORE_PASSWORD_FILE",
    "FROSTY_STORE_CA_FILE",
    "FROSTY_FLEET",
    "FROSTY_SCOPE",
    "FROSTY_STREAM",
    "FROSTY_MODE",
    "FROSTY_WORK",
    "FROSTY_ON",
    "FROSTY_GATE",
    "FROSTY_DISABLE",
    "XDG_STATE_HOME",
    "CLAUDE_CONFIG_DIR",
    "HOME",
    "TMUX",
    "TMUX_PANE",
];

/// The variables of Frosty's own that [`Env`] reads.
const OWN: [&str; 16] = [
    "FROSTY_CONFIG",
    "FROSTY_STORE",
    "FROSTY_STORE_PASSWORD_FILE",
    "FROSTY_STORE_CA_FILE",
    "FROSTY_FLEET",
    "FROSTY_SCOPE",
    "FROSTY_NAME",
    "FROSTY_STREAM",
    "FROSTY_MODE",
    "FROSTY_WORK",
    "FROSTY_WORK_AGENT",
    "FROSTY_WORK_ID",
    "FROSTY_START",
    "FROSTY_ON",
    "FROSTY_GATE",
    "FROSTY_DISABLE",
];

/// Returns the variables of Frosty's own.
#[must_use]
pub fn own() -> &'static [&'static str] {
    &OWN
}

/// Returns the variables that begin with `FROSTY_` and are never read, sorted.
#[must_use]
pub fn unread() -> Vec<String> {
    let names = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let mut unread: Vec<String> = names.filter(|n| n.starts_with("FROSTY_") && !OWN.contains(&n.as_str())).collect();
    unread.sort();
    unread
}

/// Returns the path of a program called `name`, as a shell would find it.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    Env::search_path().into_iter().map(|dir| dir.join(name)).find(runs)
}

/// Returns the search path for programs.
#[must_use]
pub fn path() -> String {
    of_client("PATH").unwrap_or_default()
}

/// Returns whether the environment requests colours, or `None` where the terminal decides. `NO_COLOR`
/// (<https://no-color.org>) comes before `CLICOLOR_FORCE` and `CLICOLOR` (<https://bixense.com/clicolors>).
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn colour() -> Option<bool> {
    let set = |name| env::var_os(name).filter(|v| !v.is_empty());
    if set("NO_COLOR").is_some() {
        return Some(false);
    }
    if set("CLICOLOR_FORCE").is_some_and(|v| v != "0") {
        return Some(true);
    }
    let is_plain = set("CLICOLOR").is_some_and(|v| v == "0") || set("TERM").is_some_and(|term| term == "dumb");
    is_plain.then_some(false)
}

/// Returns the width of an output that is not a terminal, by `COLUMNS`.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn columns() -> Option<usize> {
    env::var_os("COLUMNS")?.to_str()?.parse().ok()
}

/// Returns the zone in `TZ`.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn time_zone() -> Option<String> {
    env::var_os("TZ").map(|zone| zone.to_string_lossy().into_owned())
}

/// Returns the client's limit of continuations in a row (`CLAUDE_CODE_STOP_HOOK_BLOCK_CAP`, seen on 2.1.331).
#[must_use]
pub fn block_cap() -> Option<String> {
    of_client("CLAUDE_CODE_STOP_HOOK_BLOCK_CAP")
}

/// Returns a variable that the client reads, and that changes no decision of Frosty's.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn of_client(name: &str) -> Option<String> {
    env::var_os(name).map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.is_empty())
}

impl Env {
    /// Reads the environment of this process.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn read() -> Self {
        Self::of(|name| env::var_os(name))
    }

    /// Reads an environment from a function that returns each variable.
    #[must_use]
    pub fn of(get: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut emptied = Vec::new();
        let mut set = |name: &'static str| {
            let value = get(name)?;
            if value.is_empty() && GUARDED.contains(&name) {
                emptied.push(name);
            }
            Some(value).filter(|v| !v.is_empty())
        };
        let mut text = |name| set(name).map(|v| v.to_string_lossy().into_owned());
        let mut env = Self {
            store: text("FROSTY_STORE"),
            fleet: text("FROSTY_FLEET"),
            scope: text("FROSTY_SCOPE"),
            name: text("FROSTY_NAME"),
            stream: text("FROSTY_STREAM"),
            mode: text("FROSTY_MODE"),
            work: text("FROSTY_WORK"),
            work_agent: text("FROSTY_WORK_AGENT"),
            work_id: text("FROSTY_WORK_ID"),
            start: text("FROSTY_START"),
            on: text("FROSTY_ON"),
            gate: text("FROSTY_GATE"),
            disable: text("FROSTY_DISABLE"),
            claude_session_id: text("CLAUDE_CODE_SESSION_ID"),
            claude_attended: text("CLAUDE_CODE_SESSION_ATTENDED"),
            claude_entrypoint: text("CLAUDE_CODE_ENTRYPOINT"),
            claude_pid: text("CLAUDE_PID"),
            tmux: text("TMUX"),
            tmux_pane: text("TMUX_PANE"),
            ..Self::default()
        };
        let mut path = |name| set(name).map(PathBuf::from);
        env.claude_job_dir = path("CLAUDE_JOB_DIR");
        env.config = path("FROSTY_CONFIG");
        env.store_password_file = path("FROSTY_STORE_PASSWORD_FILE");
        env.store_ca_file = path("FROSTY_STORE_CA_FILE");
        env.home = path("HOME");
        env.xdg_state_home = path("XDG_STATE_HOME");
        env.claude_config_dir = path("CLAUDE_CONFIG_DIR");
        env.claude_project_dir = path("CLAUDE_PROJECT_DIR");
        env.emptied = emptied;
        env
    }

    /// Returns the value of one of [`GUARDED`] as this process sees it. An empty one is empty, and an unset one
    /// is `None`.
    #[must_use]
    pub fn guarded<'a>(&'a self, name: &str) -> Option<Cow<'a, str>> {
        let text = |value: &'a Option<String>| value.as_deref().map(Cow::Borrowed);
        let path = |value: &'a Option<PathBuf>| value.as_ref().map(|p| p.to_string_lossy());
        let set = match name {
            "FROSTY_CONFIG" => path(&self.config),
            "FROSTY_STORE" => text(&self.store),
            "FROSTY_STORE_PASSWORD_FILE" => path(&self.store_password_file),
            "FROSTY_STORE_CA_FILE" => path(&self.store_ca_file),
            "FROSTY_FLEET" => text(&self.fleet),
            "FROSTY_SCOPE" => text(&self.scope),
            "FROSTY_STREAM" => text(&self.stream),
            "FROSTY_MODE" => text(&self.mode),
            "FROSTY_WORK" => text(&self.work),
            "FROSTY_ON" => text(&self.on),
            "FROSTY_GATE" => text(&self.gate),
            "FROSTY_DISABLE" => text(&self.disable),
            "XDG_STATE_HOME" => path(&self.xdg_state_home),
            "CLAUDE_CONFIG_DIR" => path(&self.claude_config_dir),
            "HOME" => path(&self.home),
            "TMUX" => text(&self.tmux),
            "TMUX_PANE" => text(&self.tmux_pane),
            _ => None,
        };
        set.or_else(|| self.emptied.contains(&name).then_some(Cow::Borrowed("")))
    }

    /// Returns the directories of `PATH`. They are separate because no hook needs them.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn search_path() -> Vec<PathBuf> {
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
    }

    /// Returns the user by `USER`, else `LOGNAME`. It is separate because no hook needs it.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn user() -> Option<String> {
        let text = |name| env::var_os(name).map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.is_empty());
        text("USER").or_else(|| text("LOGNAME"))
    }

    /// Returns whether the client ends with its turn: print mode, or an SDK (client 2.1.331).
    #[must_use]
    pub fn unattended(&self) -> bool {
        match self.claude_entrypoint.as_deref() {
            // A background session (`claude --bg`) is also unattended, but it is woken like an attended one.
            Some(entrypoint) => entrypoint != "cli",
            None => self.claude_attended.as_deref() == Some("0"),
        }
    }

    /// Returns the process of this pane's tmux server, as `TMUX` names it: its socket, its pid, the session.
    #[must_use]
    pub fn tmux_server(&self) -> Option<u32> {
        self.tmux.as_deref()?.rsplit(',').nth(1)?.parse().ok()
    }

    /// Returns the start token.
    #[must_use]
    pub fn start_token(&self) -> Option<&str> {
        self.start.as_deref().map(|start| start.split_once('.').map_or(start, |(token, _)| token))
    }

    /// Returns whether the dispatcher started another session than this one, in which this one runs.
    #[must_use]
    pub fn is_nested_in_start(&self, session: &str) -> bool {
        self.start.as_deref().and_then(|start| start.split_once('.')).is_some_and(|(_, started)| started != session)
    }

    /// Returns whether Frosty is switched off altogether.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.disable.as_deref().is_some_and(|v| v != "0")
    }

    /// Returns the state directory: `$XDG_STATE_HOME/frosty`, else `~/.local/state/frosty`. Relative paths do
    /// not count.
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        let absolute = |p: &Option<PathBuf>| p.clone().filter(|p| p.is_absolute());
        let base =
            absolute(&self.xdg_state_home).or_else(|| absolute(&self.home).map(|home| home.join(".local/state")))?;
        Some(base.join("frosty"))
    }

    /// Returns the user's `frosty.json`, beside the client's own user settings.
    #[must_use]
    pub fn user_file(&self) -> Option<PathBuf> {
        let dir = self.claude_config_dir.clone().or_else(|| self.home.as_ref().map(|h| h.join(".claude")))?;
        Some(dir.join("frosty.json"))
    }
}
