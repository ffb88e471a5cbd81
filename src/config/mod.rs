//! Resolves files, environment and flags into one [`Config`].
//!
//! A later source overrides an earlier one: defaults, the user's file, the project's file (which may only set names and
//! tighten limits), the file of `FROSTY_CONFIG`, the other `FROSTY_*` variables, the flags.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod edit;
mod error;
mod file;
mod json;
pub mod keys;
mod layers;
mod notify;
pub mod origin;
pub mod profile;
mod routes;
mod schema;
mod server;
mod signals;

use crate::env::Env;
use crate::hint::edit;
pub(crate) use error::COMMAND_LINE;
pub use error::ConfigError;
pub use file::{PROMPT_FIELDS, Trust, apply};
pub use layers::{Layer, layers};
pub use notify::Notify;
pub use origin::started_by;
pub use profile::{Profile, Prompts};
pub use routes::{Route, SessionKind, SessionRoute};
pub use schema::schema;
pub use server::Server;
pub(crate) use server::WRITABLE;

use crate::policy::limits::{Idle, Policy};
use crate::policy::work::WorkMode;
use crate::read;
use crate::secret;
use crate::text;

/// When a session is armed without `frosty on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// Always: the registration is the project's own.
    Always,
    /// Only by `FROSTY_ON` or `frosty on`.
    Manual,
}

impl Arm {
    /// Returns the value with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "always" => Some(Self::Always),
            "manual" => Some(Self::Manual),
            _ => None,
        }
    }
}

/// The store that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// The server on port 18000, or the embedded store if that server was never reached.
    Auto(Server),
    /// The embedded store.
    Embedded,
    /// This server.
    Server(Server),
}

/// The flags of `frosty hook`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--arm`.
    pub arm: Option<String>,
    /// `--store`.
    pub store: Option<String>,
    /// `--scope`.
    pub scope: Option<String>,
    /// `--fleet`.
    pub fleet: Option<String>,
    /// `--wait`: the longest wait of a waiting engine; zero is none.
    pub wait: Duration,
    /// `--timeout`: the client's limit for that wait.
    pub timeout: Option<Duration>,
    /// `--show-resume`: a waiting engine is registered beside this hook on `SessionStart`.
    pub show_resume: bool,
}

/// The largest value of the client's timer (2.1.331). With a larger one the client ends the hook at once.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(0x7fff_ffff);

/// The default time limit of a verdict. Any other value is kept on a busy machine too.
pub const DEFAULT_BUDGET: Duration = Duration::from_millis(250);

/// The resolved configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The store that decides.
    pub store: StoreChoice,
    /// The fleet's name, encoded.
    pub fleet: String,
    /// The scope's name, encoded, if one is set.
    pub scope: Option<String>,
    /// The session's name as given, if any.
    pub name: Option<String>,
    /// Whether the name is from a project's file.
    pub named_by_project: bool,
    /// The journal's stream.
    pub stream: String,
    /// The continuation prompt, if not the built-in one.
    pub prompt: Option<String>,
    /// All limits.
    pub policy: Policy,
    /// When a session is armed without `frosty on`.
    pub arm: Arm,
    /// How long a waiting engine treats a session with a shell or monitor of its own in the background as parked.
    pub park_max: Duration,
    /// The longest wait in an unattended session.
    pub print_wait: Duration,
    /// How long a session of a killed client rests before it resumes by itself.
    pub resume_after: Duration,
    /// The time limit of a verdict.
    pub budget: Duration,
    /// The approximate number of entries that the journal's stream keeps.
    pub journal_max: u32,
    /// The signals of a wake-up that end a session's rest; `None` for all.
    pub wake_on: Option<Vec<String>>,
    /// The commands that receive notifications.
    pub notify: Vec<Notify>,
    /// The routes of the dispatcher.
    pub routes: Vec<Route>,
    /// The profiles of the configuration, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// The names of the profiles, by agent.
    pub agents: BTreeMap<String, String>,
    /// The prompts of the adopted profile.
    pub prompts: Prompts,
    /// Whether Frosty decides and writes to the journal, but continues no session (`"mode": "shadow"`).
    pub shadow: bool,
    /// The state directory, where the environment determines one.
    pub state: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: StoreChoice::Auto(Server::default()),
            fleet: "default".to_owned(),
            scope: None,
            name: None,
            named_by_project: false,
            stream: "torch.continuous.ops".to_owned(),
            prompt: None,
            policy: Policy::default(),
            arm: Arm::Always,
            park_max: Duration::from_secs(600),
            print_wait: Duration::from_secs(540),
            resume_after: Duration::from_secs(60),
            budget: DEFAULT_BUDGET,
            journal_max: 100_000,
            wake_on: None,
            notify: Vec::new(),
            routes: Vec::new(),
            profiles: BTreeMap::new(),
            agents: BTreeMap::new(),
            prompts: Prompts::default(),
            shadow: false,
            state: None,
        }
    }
}

impl Config {
    /// Resolves the configuration for a project.
    ///
    /// # Errors
    /// When a file cannot be read or is wrong, a variable or flag has an impossible value, or a project's settings set
    /// a variable that is reserved for the user.
    pub fn load(env: &Env, project: Option<&Path>, flags: &Flags) -> Result<Self, ConfigError> {
        origin::check(env, project)?;
        let mut config = Self { state: env.state_dir(), ..Self::default() };
        let user = env.user_file();
        let has_user = match &user {
            Some(path) => config.layer(path, Trust::Own, false)?,
            None => false,
        };
        if let Some(path) = project.map(|dir| dir.join(".claude/frosty.json")) {
            // Where the project is the home directory, its file is the user's.
            let is_user = |user: &PathBuf| has_user && same(user, &path);
            if !user.as_ref().is_some_and(is_user) {
                config.layer(&path, Trust::Project, false)?;
            }
        }
        if let Some(path) = &env.config {
            config.layer(path, Trust::Own, true)?;
        }
        config.environment(env)?;
        config.flags(flags)?;
        config.log_in_by(env);
        Ok(config)
    }

    /// Sets the files that a login to the server needs.
    fn log_in_by(&mut self, env: &Env) {
        if let StoreChoice::Auto(server) | StoreChoice::Server(server) = &mut self.store {
            server.password_file.clone_from(&env.store_password_file);
            server.ca_file.clone_from(&env.store_ca_file);
        }
    }

    /// Applies a file to the configuration. Returns whether the file exists.
    fn layer(&mut self, path: &Path, trust: Trust, required: bool) -> Result<bool, ConfigError> {
        match read::text(path) {
            Ok(json) => self.lay(&json, &text::path(path), trust).map(|()| true),
            // The parent may be a file instead of a directory.
            Err(e) if !required && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(e) if required && e.kind() == ErrorKind::NotFound => Err(ConfigError::Unreadable {
                file: text::path(path),
                cause: e.to_string(),
                cure: "unset FROSTY_CONFIG".to_owned(),
            }),
            Err(e) => Err(ConfigError::unreadable(path, &e)),
        }
    }

    /// Applies the text of a file to the configuration.
    fn lay(&mut self, json: &str, file: &str, trust: Trust) -> Result<(), ConfigError> {
        apply(self, json, file, trust).and_then(|()| self.check(file)).map_err(|e| e.in_text(json))
    }

    fn environment(&mut self, env: &Env) -> Result<(), ConfigError> {
        let place = "the environment";
        if let Some(store) = &env.store {
            self.set_store(store, place, "FROSTY_STORE")?;
        }
        if let Some(fleet) = &env.fleet {
            self.set_fleet(fleet, place, "FROSTY_FLEET")?;
        }
        if let Some(stream) = &env.stream {
            self.set_stream(stream, place, "FROSTY_STREAM")?;
        }
        if let Some(mode) = &env.mode {
            self.set_mode(mode, place, "FROSTY_MODE")?;
        }
        if let Some(work) = &env.work {
            self.set_work(work, place, "FROSTY_WORK")?;
        }
        if let Some(scope) = &env.scope {
            self.scope = Some(encoded(scope, place, "FROSTY_SCOPE")?);
        }
        if let Some(name) = &env.name {
            self.name = Some(name.clone());
            self.named_by_project = false;
        }
        Ok(())
    }

    fn flags(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        let place = error::COMMAND_LINE;
        if let Some(arm) = &flags.arm {
            self.arm = Arm::from_name(arm).ok_or_else(|| wrong(place, "--arm", arm, "always or manual"))?;
        }
        if let Some(store) = &flags.store {
            self.set_store(store, place, "--store")?;
        }
        if let Some(fleet) = &flags.fleet {
            self.set_fleet(fleet, place, "--fleet")?;
        }
        if !flags.wait.is_zero() {
            let shown = crate::duration::show(flags.wait);
            match flags.timeout {
                None => {
                    let allowed = "it beside --timeout, the \"timeout\" of its registration in seconds";
                    return Err(wrong(place, "--wait", &shown, allowed));
                }
                Some(timeout) if timeout > LONGEST_TIMEOUT => {
                    let shown = timeout.as_secs().to_string();
                    return Err(wrong(
                        place,
                        "--timeout",
                        &shown,
                        "at most 2147483 (the client's timer knows no more)",
                    ));
                }
                Some(timeout) if flags.wait > timeout => {
                    let allowed = format!("at most --timeout, {} here", crate::duration::show(timeout));
                    return Err(wrong(place, "--wait", &shown, &allowed));
                }
                Some(_) => {}
            }
        }
        if let Some(scope) = &flags.scope {
            self.scope = Some(encoded(scope, place, "--scope")?);
        }
        Ok(())
    }

    /// Checks the text of a user's or a project's file as [`Config::load`] would read it.
    ///
    /// # Errors
    /// When it is wrong, or the user's file below a project's is wrong.
    pub fn check_file(env: &Env, file: &Path, text: &str, trust: Trust) -> Result<(), ConfigError> {
        let mut config = Self::default();
        if let (Trust::Project, Some(user)) = (trust, env.user_file()) {
            config.layer(&user, Trust::Own, false)?;
        }
        config.lay(text, &text::path(file), trust)
    }

    /// [`Config::check`] for the fuzzers, which apply texts instead of files.
    #[cfg(fuzzing)]
    #[doc(hidden)]
    pub fn checked(&self, place: &str) -> Result<(), ConfigError> {
        self.check(place)
    }

    /// Checks the combinations of values after a file was applied.
    fn check(&self, place: &str) -> Result<(), ConfigError> {
        for (name, class) in [("stop", &self.policy.stop), ("compact", &self.policy.compact)] {
            let backoff = class.cooldown.backoff;
            if backoff.base > backoff.max {
                let key = format!("{name}.cooldown.max");
                return Err(wrong(place, &key, &crate::duration::show(backoff.max), "at least cooldown.base"));
            }
            if class.is_limited_by_window() && class.burst.is_some_and(|b| b.limit < 2) {
                let key = format!("{name}.burst.limit");
                return Err(wrong(
                    place,
                    &key,
                    "1",
                    "at least 2 while min_interval is 0 (the first attempt would trip)",
                ));
            }
        }
        let backoff = self.policy.api_error;
        if backoff.base > backoff.max {
            let found = crate::duration::show(backoff.max);
            return Err(wrong(place, "api_error.max", &found, "at least api_error.base"));
        }
        if let Some(Idle { growth, table, .. }) = &self.policy.idle
            && let Some(longer) = table.iter().map(|row| row.rest).chain([growth.base]).find(|rest| *rest > growth.max)
        {
            let found = crate::duration::show(growth.max);
            let least = crate::duration::show(longer);
            return Err(wrong(place, "idle.max", &found, &format!("at least {least}, which another idle key has")));
        }
        Ok(())
    }

    fn set_store(&mut self, value: &str, place: &str, key: &str) -> Result<(), ConfigError> {
        self.store = match value {
            "auto" => StoreChoice::Auto(Server::default()),
            "embedded" => StoreChoice::Embedded,
            url => {
                StoreChoice::Server(Server::parse(url).map_err(|(found, allowed)| wrong(place, key, &found, allowed))?)
            }
        };
        Ok(())
    }

    fn set_fleet(&mut self, value: &str, place: &str, key: &str) -> Result<(), ConfigError> {
        // These are names of other files in the state directory.
        if matches!(value, "arm" | "undecided" | "continue.lock" | "reached.json") {
            return Err(wrong(place, key, value, "a name other than arm, undecided, continue.lock and reached.json"));
        }
        self.fleet = encoded(value, place, key)?;
        Ok(())
    }

    fn set_stream(&mut self, value: &str, place: &str, key: &str) -> Result<(), ConfigError> {
        if value.is_empty() || value.len() > 256 || value.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong(place, key, value, "a key of 1 to 256 bytes without spaces"));
        }
        // The journal must not overwrite the keys of the policy.
        if value.starts_with("frosty:") {
            return Err(wrong(place, key, value, "a key that does not begin with frosty:"));
        }
        value.clone_into(&mut self.stream);
        Ok(())
    }

    fn set_work(&mut self, value: &str, place: &str, key: &str) -> Result<(), ConfigError> {
        let mode = WorkMode::from_name(value);
        self.policy.work.mode =
            mode.ok_or_else(|| wrong(place, key, value, "\"off\", \"preferred\" or \"required\""))?;
        Ok(())
    }

    fn set_mode(&mut self, value: &str, place: &str, key: &str) -> Result<(), ConfigError> {
        self.shadow = match value {
            "enforce" => false,
            "shadow" => true,
            _ => return Err(wrong(place, key, value, "\"enforce\" or \"shadow\"")),
        };
        Ok(())
    }
}

/// Encodes a name that was read.
///
/// # Errors
/// When it is empty or too long.
pub fn encoded(name: &str, place: &str, key: &str) -> Result<String, ConfigError> {
    let encoded = text::encode(name);
    if encoded.is_empty() || encoded.len() > text::LONGEST_NAME {
        return Err(wrong(place, key, name, "a name of 1 to 128 bytes, counted after encoding"));
    }
    Ok(encoded)
}

fn wrong(place: &str, key: &str, found: &str, allowed: &str) -> ConfigError {
    let cure = if key.starts_with("FROSTY_") {
        format!("unset {key}")
    } else if key.starts_with("--") && key != "--session" {
        "see the flags: frosty hook --help".to_owned()
    } else if key == "session_id" {
        "try the payload by hand: frosty check < payload.json".to_owned()
    } else if key == "TMUX" {
        "set the scope: export FROSTY_SCOPE=main".to_owned()
    } else if key == "--session" {
        "see the names of the sessions: frosty status".to_owned()
    } else if place.starts_with(['/', '\'', '$']) {
        edit(place)
    } else {
        edit("~/.claude/frosty.json")
    };
    ConfigError::Value {
        place: place.to_owned(),
        key: key.to_owned(),
        found: format!("\"{}\"", text::line(&secret::scrubbed(found))),
        allowed: allowed.to_owned(),
        cure,
    }
}

fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
