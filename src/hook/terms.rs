//! Checks whether a waiting engine may still continue its session, by the present configuration, switches and
//! registration.
//!
//! An engine waits for up to 20 days. Within that time a person edits the limits, runs `frosty off` or removes
//! the hooks. The engine compares the files' times once a second, and reads them when one was replaced. It
//! checks once more under a lock before it turns an admission into exit 2. `frosty off` and `frosty uninstall`
//! return only after they held that lock, so that no session is continued afterwards.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{armed, by_flag};
use crate::arm::{self, Target};
use crate::client_settings;
use crate::client_settings::owner::{Engine, engine};
use crate::config::{Config, Flags};
use crate::env::Env;
use crate::hint::Problem;
use crate::ownership;
use crate::policy::verdict::Reason;
use crate::scope;
use crate::text;

/// The lock's file in the state directory.
const LOCK: &str = "continue.lock";
/// How long a switch waits for engines that are about to continue their session.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an engine waits for a switch that holds the lock.
const KEPT_OUT: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(2);
/// How long a file must be missing before it counts as removed. An editor or a checkout removes a file and
/// writes it again.
const TAKEN_OUT: Duration = Duration::from_secs(5);

/// Why a session is no longer continued.
const REMOVED: &str = "Frosty's hooks were removed or switched off";
const SHADOW: &str = "the mode is shadow now";

/// The version of a file. A replaced file has another inode, and an edited one has another time.
type Mark = Option<(u64, i64, i64, u64)>;

/// The terms under which a call is decided.
pub(super) struct Terms {
    pub(super) config: Config,
    /// The scope, encoded.
    pub(super) scope: String,
}

/// The result of a look.
pub(super) enum Found {
    /// Nothing changed since the last look.
    Same,
    /// A file changed, and the session is decided under these terms from now on.
    Changed(Box<Terms>),
    /// The session was disarmed, or Frosty's registration was removed, for this reason.
    Gone(&'static str),
    /// The terms cannot be read at present, or one look did not find the registration.
    Unclear(Reason, String),
}

/// The files that decide whether and how a session is continued.
pub(super) struct EngineTerms<'a> {
    env: &'a Env,
    flags: &'a Flags,
    session: &'a str,
    project: Option<&'a Path>,
    /// Whether the terms are a gate's, which no switch and no registration concerns.
    is_gate: bool,
    terms: Vec<(PathBuf, Mark)>,
    settings: Vec<(PathBuf, Mark)>,
    /// Whether the settings files contained a waiting engine when this one began. An engine that a plugin or a
    /// flag registered is in none of them.
    registered: bool,
    /// Whether the last look could not read the terms, so that the next look reads them again.
    unclear: bool,
    /// When a look first found the registration or a configuration file missing.
    missing: Option<Instant>,
    vanished: Option<Instant>,
}

impl<'a> EngineTerms<'a> {
    /// Creates the checker of a session. The first look reads its terms, whatever was read before.
    pub(super) fn new(env: &'a Env, flags: &'a Flags, session: &'a str, project: Option<&'a Path>) -> Self {
        let mut standing = Self {
            env,
            flags,
            session,
            project,
            is_gate: false,
            terms: Vec::new(),
            settings: Vec::new(),
            registered: false,
            unclear: true,
            missing: None,
            vanished: None,
        };
        standing.settings = marked(standing.settings_files());
        standing.registered = standing.is_registered() == Some(true);
        standing
    }

    /// Creates the checker of a gate.
    pub(super) fn of_gate(env: &'a Env, flags: &'a Flags, session: &'a str, project: Option<&'a Path>) -> Self {
        Self { is_gate: true, registered: false, settings: Vec::new(), ..Self::new(env, flags, session, project) }
    }

    /// Returns whether any of the files changed since the last look.
    pub(super) fn stirs(&self) -> bool {
        self.unclear
            || self.missing.is_some()
            || [&self.terms, &self.settings].into_iter().any(|files| has_changed(files))
    }

    /// Compares the files with the last look, and reads them where one changed.
    pub(super) fn look(&mut self) -> Found {
        if self.registered && (self.missing.is_some() || has_changed(&self.settings)) {
            self.settings = marked(self.settings_files());
            match self.is_registered() {
                Some(false) if has_passed(&mut self.missing) => return Found::Gone(REMOVED),
                Some(false) => return Found::Unclear(Reason::Disarmed, REMOVED.to_owned()),
                // A file that is being written has no content to judge yet.
                Some(true) | None => self.missing = None,
            }
        }
        if !self.unclear && !has_changed(&self.terms) {
            return Found::Same;
        }
        match self.vanished_file() {
            // Without this file, its limits would not apply.
            Some(why) if !has_passed(&mut self.vanished) => {
                self.unclear = true;
                return Found::Unclear(Reason::BadConfig, why);
            }
            _ => self.vanished = None,
        }
        // Before the files are read, so that the next look detects a later replacement.
        self.terms = marked(self.term_files());
        match self.read() {
            Ok(Ok(terms)) => {
                self.unclear = false;
                Found::Changed(Box::new(terms))
            }
            Ok(Err(why)) => Found::Gone(why),
            Err((reason, why)) => {
                self.unclear = true;
                Found::Unclear(reason, why.to_string())
            }
        }
    }

    /// Returns a configuration file that existed at the last look and is gone. The files of the switches may
    /// come and go.
    fn vanished_file(&self) -> Option<String> {
        let state = self.env.state_dir();
        let is_switch = |path: &Path| state.as_ref().is_some_and(|state| path.starts_with(state));
        let gone = |(path, seen): &&(PathBuf, Mark)| seen.is_some() && !is_switch(path) && mark(path).is_none();
        let (path, _) = self.terms.iter().find(gone)?;
        Some(format!("the file {} is gone", text::path(path)))
    }

    /// Keeps `frosty off` and `frosty uninstall` from returning until this process has ended, or the guard is
    /// dropped. It must be taken before the last look.
    pub(super) fn keep(&self) -> Option<File> {
        let file = lock_file(&self.env.state_dir()?).ok()?;
        let end = Instant::now() + KEPT_OUT;
        while let Err(fs::TryLockError::WouldBlock) = file.try_lock_shared() {
            // A switch holds the lock for an instant only.
            if Instant::now() >= end {
                return None;
            }
            std::thread::sleep(RETRY);
        }
        Some(file)
    }

    /// Returns the present terms, or why the session is no longer continued.
    fn read(&self) -> Result<Result<Terms, &'static str>, (Reason, Problem)> {
        let bad_config = |e: crate::config::ConfigError| (Reason::BadConfig, Problem::from(&e));
        if self.is_gate {
            let mut config = Config::load(self.env, self.project, self.flags).map_err(bad_config)?;
            let scope = config.scope.clone().unwrap_or_else(|| self.session.to_owned());
            config.adopt_profile_of("", &scope);
            return Ok(if config.shadow { Err(SHADOW) } else { Ok(Terms { config, scope }) });
        }
        let told = arm::told(self.env, Some(self.session), self.project).map_err(bad_config)?;
        if told.or(by_flag(self.flags)) == Some(false) {
            return Ok(Err("it was switched off (frosty off)"));
        }
        let Some(mut config) = armed(self.env, self.flags, told, self.project)? else {
            return Ok(Err("the session is not armed any more"));
        };
        if config.shadow {
            return Ok(Err(SHADOW));
        }
        let scope = scope::settle(&mut config, self.env, self.session).map_err(bad_config)?;
        Ok(Ok(Terms { config, scope }))
    }

    fn term_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = [self.env.user_file(), self.env.config.clone()].into_iter().flatten().collect();
        files.extend(self.project.map(|dir| dir.join(".claude/frosty.json")));
        if let Some(state) = self.env.state_dir() {
            let session = Target::Session(self.session.to_owned());
            let project = self.project.map(|dir| Target::Project(dir.to_owned()));
            files.extend([Some(session), project].into_iter().flatten().filter_map(|target| target.file(&state).ok()));
        }
        files
    }

    fn settings_files(&self) -> Vec<PathBuf> {
        let files = self.project.map(|dir| client_settings::files(self.env, dir)).unwrap_or_default();
        files.into_iter().map(|file| file.path).collect()
    }

    /// Returns whether a settings file contains a waiting engine of Frosty's and none switches every hook off,
    /// or `None` where a file cannot be read.
    fn is_registered(&self) -> Option<bool> {
        let mut found = false;
        for (path, _) in &self.settings {
            found |= client_settings::hooks(path).ok()?.iter().any(|hook| engine(hook) == Some(Engine::Continuous));
        }
        Some(found && self.project.is_none_or(|dir| client_settings::disabling(self.env, dir).is_none()))
    }
}

/// Waits until no engine of this user is between its last look and its end. Returns `false` if one still was
/// after [`PATIENCE`].
#[must_use]
pub fn settle(state: &Path) -> bool {
    let Ok(file) = lock_file(state) else { return true };
    let end = Instant::now() + PATIENCE;
    while let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(RETRY);
    }
    true
}

fn lock_file(state: &Path) -> std::io::Result<File> {
    ownership::check(&state.join(LOCK)).map_err(std::io::Error::other)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(state.join(LOCK))
}

/// Returns whether the state first found at this time has lasted for [`TAKEN_OUT`].
fn has_passed(since: &mut Option<Instant>) -> bool {
    since.get_or_insert_with(Instant::now).elapsed() >= TAKEN_OUT
}

fn marked(files: Vec<PathBuf>) -> Vec<(PathBuf, Mark)> {
    files.into_iter().map(|path| (mark(&path), path)).map(|(mark, path)| (path, mark)).collect()
}

fn has_changed(files: &[(PathBuf, Mark)]) -> bool {
    files.iter().any(|(path, seen)| mark(path) != *seen)
}

fn mark(path: &Path) -> Mark {
    let about = fs::metadata(path).ok()?;
    Some((about.ino(), about.mtime(), about.mtime_nsec(), about.size()))
}
