//! The environment: the only place that reads it.

use std::env;
use std::path::PathBuf;

/// Every variable that Frosty reads. Empty ones count as unset.
#[derive(Debug, Clone, Default)]
pub struct Env {
    /// `FROSTY_CONFIG`: a configuration file.
    pub config: Option<PathBuf>,
    /// `FROSTY_STORE`: as the key `store`.
    pub store: Option<String>,
    /// `FROSTY_STORE_PASSWORD_FILE`: a file that holds the server's password.
    pub store_password_file: Option<PathBuf>,
    /// `FROSTY_STORE_CA_FILE`: a file that says who may sign the certificate of a `rediss://` server.
    pub store_ca_file: Option<PathBuf>,
    /// `FROSTY_FLEET`: as the key `fleet`.
    pub fleet: Option<String>,
    /// `FROSTY_SCOPE`: as the key `scope`.
    pub scope: Option<String>,
    /// `FROSTY_NAME`: as the key `name`.
    pub name: Option<String>,
    /// `FROSTY_STREAM`: as the key `stream`.
    pub stream: Option<String>,
    /// `FROSTY_MODE`: as the key `mode`.
    pub mode: Option<String>,
    /// `FROSTY_ON`: `1` or `print` arms the session, `0` disarms it.
    pub on: Option<String>,
    /// `FROSTY_DISABLE`: anything but `0` switches Frosty off before any I/O.
    pub disable: Option<String>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub xdg_state_home: Option<PathBuf>,
    /// `CLAUDE_CONFIG_DIR`: where the client keeps the user's settings instead of `~/.claude`.
    pub claude_config_dir: Option<PathBuf>,
    /// `CLAUDE_PROJECT_DIR`: set by the client for its hooks.
    pub claude_project_dir: Option<PathBuf>,
    /// `CLAUDE_CODE_SESSION_ID`: set by the client for its hooks and its shell.
    pub claude_session_id: Option<String>,
    /// `CLAUDE_CODE_SESSION_ATTENDED`: whether a person sits before the client; read where the entry point is not known.
    pub claude_attended: Option<String>,
    /// `CLAUDE_CODE_ENTRYPOINT`: `cli` in a window and in a background session, `sdk-cli` in print mode.
    pub claude_entrypoint: Option<String>,
    /// `CLAUDE_PID`: the client.
    pub claude_pid: Option<String>,
    /// `TMUX`: the server's socket, its pid, the session.
    pub tmux: Option<String>,
    /// `TMUX_PANE`: the pane, `%3` say.
    pub tmux_pane: Option<String>,
}

/// The variables of Frosty's own that [`Env`] reads.
const OWN: [&str; 11] = [
    "FROSTY_CONFIG",
    "FROSTY_STORE",
    "FROSTY_STORE_PASSWORD_FILE",
    "FROSTY_STORE_CA_FILE",
    "FROSTY_FLEET",
    "FROSTY_SCOPE",
    "FROSTY_NAME",
    "FROSTY_STREAM",
    "FROSTY_MODE",
    "FROSTY_ON",
    "FROSTY_DISABLE",
];

/// What is set that begins with `FROSTY_` and that nobody reads, sorted.
#[must_use]
pub fn unread() -> Vec<String> {
    let names = env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let mut unread: Vec<String> = names.filter(|n| n.starts_with("FROSTY_") && !OWN.contains(&n.as_str())).collect();
    unread.sort();
    unread
}

/// Where a program called `name` is found, as a shell would find it.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let runs = |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    Env::search_path().into_iter().map(|dir| dir.join(name)).find(runs)
}

/// Whether a terminal is not to be coloured: `NO_COLOR` is set (<https://no-color.org>), or `TERM` names one that knows none.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn no_color() -> bool {
    let told = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    told || env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// How wide what is no terminal is taken to be, if `COLUMNS` says so.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn columns() -> Option<usize> {
    env::var_os("COLUMNS")?.to_str()?.parse().ok()
}

/// The zone that `TZ` names.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn time_zone() -> Option<String> {
    env::var_os("TZ").map(|zone| zone.to_string_lossy().into_owned())
}

/// How many continuations in a row the client is told to allow (`CLAUDE_CODE_STOP_HOOK_BLOCK_CAP`, seen on 2.1.331).
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn block_cap() -> Option<String> {
    env::var_os("CLAUDE_CODE_STOP_HOOK_BLOCK_CAP").map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.is_empty())
}

impl Env {
    /// Reads the environment of this process.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn read() -> Self {
        let text = |name| env::var_os(name).map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.is_empty());
        let path = |name| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        Self {
            config: path("FROSTY_CONFIG"),
            store: text("FROSTY_STORE"),
            store_password_file: path("FROSTY_STORE_PASSWORD_FILE"),
            store_ca_file: path("FROSTY_STORE_CA_FILE"),
            fleet: text("FROSTY_FLEET"),
            scope: text("FROSTY_SCOPE"),
            name: text("FROSTY_NAME"),
            stream: text("FROSTY_STREAM"),
            mode: text("FROSTY_MODE"),
            on: text("FROSTY_ON"),
            disable: text("FROSTY_DISABLE"),
            home: path("HOME"),
            xdg_state_home: path("XDG_STATE_HOME"),
            claude_config_dir: path("CLAUDE_CONFIG_DIR"),
            claude_project_dir: path("CLAUDE_PROJECT_DIR"),
            claude_session_id: text("CLAUDE_CODE_SESSION_ID"),
            claude_attended: text("CLAUDE_CODE_SESSION_ATTENDED"),
            claude_entrypoint: text("CLAUDE_CODE_ENTRYPOINT"),
            claude_pid: text("CLAUDE_PID"),
            tmux: text("TMUX"),
            tmux_pane: text("TMUX_PANE"),
        }
    }

    /// The folders of `PATH`. Apart from the rest: no hook needs them.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn search_path() -> Vec<PathBuf> {
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
    }

    /// `USER`, else `LOGNAME`: who sits here. Apart from the rest: no hook needs them.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one reader of the environment")]
    pub fn user() -> Option<String> {
        let text = |name| env::var_os(name).map(|v| v.to_string_lossy().into_owned()).filter(|v| !v.is_empty());
        text("USER").or_else(|| text("LOGNAME"))
    }

    /// Whether the client ends with its turn: print mode, or an SDK (client 2.1.331).
    #[must_use]
    pub fn unattended(&self) -> bool {
        match self.claude_entrypoint.as_deref() {
            // A background session (`claude --bg`) has nobody before it either, but is woken as one that has.
            Some(entrypoint) => entrypoint != "cli",
            None => self.claude_attended.as_deref() == Some("0"),
        }
    }

    /// Whether Frosty is switched off altogether.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.disable.as_deref().is_some_and(|v| v != "0")
    }

    /// The state folder `$XDG_STATE_HOME/frosty`, else `~/.local/state/frosty`. Relative paths do not count.
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        let absolute = |p: &Option<PathBuf>| p.clone().filter(|p| p.is_absolute());
        let base =
            absolute(&self.xdg_state_home).or_else(|| absolute(&self.home).map(|home| home.join(".local/state")))?;
        Some(base.join("frosty"))
    }

    /// The user's `frosty.json`, beside the client's own user settings.
    #[must_use]
    pub fn user_file(&self) -> Option<PathBuf> {
        let dir = self.claude_config_dir.clone().or_else(|| self.home.as_ref().map(|h| h.join(".claude")))?;
        Some(dir.join("frosty.json"))
    }
}
