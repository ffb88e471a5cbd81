//! Decides whether a session is armed. Frosty must not continue a session that did not opt in.
//!
//! The session's own switch takes precedence over the project's, that one over `FROSTY_ON`, and that over the
//! registration's `arm`.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::ConfigError;
use crate::env::Env;

/// The target of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One session, encoded.
    Session(String),
    /// All sessions in a project directory.
    Project(PathBuf),
}

impl Target {
    /// Returns the switch's file in the state directory.
    ///
    /// # Errors
    /// Returns an error when a project directory has no real path.
    pub fn file(&self, state: &Path) -> io::Result<PathBuf> {
        let name = match self {
            Self::Session(id) => format!("session-{id}"),
            Self::Project(dir) => {
                let real = dir.canonicalize()?;
                let digest = Sha256::digest(real.as_os_str().as_encoded_bytes());
                let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
                format!("project-{hex}")
            }
        };
        Ok(state.join("arm").join(name))
    }
}

/// Writes a switch.
///
/// # Errors
/// Returns an error when the directory or the file cannot be written.
pub fn switch(file: &Path, on: bool) -> io::Result<()> {
    if let Some(dir) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut options = fs::OpenOptions::new();
    let mut written = options.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    io::Write::write_all(&mut written, if on { b"on\n" } else { b"off\n" })
}

/// Returns whether the session is armed, or `None` when only the configuration's `arm` decides.
///
/// # Errors
/// Returns an error when `FROSTY_ON` or a switch has an unknown value, or a switch cannot be read.
pub fn told(env: &Env, session: Option<&str>, project: Option<&Path>) -> Result<Option<bool>, ConfigError> {
    if let Some(state) = env.state_dir()
        && is_there(&state.join("arm"))?
    {
        let session = session.map(|id| Target::Session(id.to_owned()));
        let project = project.map(|dir| Target::Project(dir.to_owned()));
        for target in [session, project].into_iter().flatten() {
            if let Some(on) = read(&target, &state)? {
                return Ok(Some(on));
            }
        }
    }
    match env.on.as_deref() {
        None => Ok(None),
        Some("1" | "print") => Ok(Some(true)),
        Some("0") => Ok(Some(false)),
        Some(other) => Err(ConfigError::Value {
            place: "the environment".to_owned(),
            key: "FROSTY_ON".to_owned(),
            found: format!("\"{}\"", crate::text::line(other)),
            allowed: "1, print or 0".to_owned(),
            cure: "unset FROSTY_ON".to_owned(),
        }),
    }
}

/// Reads a switch. One that cannot be read is an error and not a guess.
fn read(target: &Target, state: &Path) -> Result<Option<bool>, ConfigError> {
    let file = match target.file(state) {
        Ok(file) => file,
        // A project directory that is gone has no switch.
        Err(_) => return Ok(None),
    };
    match crate::read::text(&file) {
        Ok(text) if text.trim() == "on" => Ok(Some(true)),
        Ok(text) if text.trim() == "off" => Ok(Some(false)),
        Ok(text) => Err(ConfigError::Value {
            place: crate::text::path(&file),
            key: "the switch".to_owned(),
            found: format!("\"{}\"", crate::text::line(&text)),
            allowed: "on or off".to_owned(),
            cure: "write the switch again: frosty off".to_owned(),
        }),
        Err(e) => absent(&file, e).map(|()| None),
    }
}

fn is_there(folder: &Path) -> Result<bool, ConfigError> {
    // The standard library's check would cost a second system call where nothing exists.
    match rustix::fs::access(folder, rustix::fs::Access::EXISTS) {
        Ok(()) => Ok(true),
        Err(e) => absent(folder, e.into()).map(|()| false),
    }
}

/// Accepts an error that means that the file does not exist, and returns any other one.
fn absent(path: &Path, e: io::Error) -> Result<(), ConfigError> {
    match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
        _ => Err(ConfigError::unreadable(path, &e)),
    }
}
