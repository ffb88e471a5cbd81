//! `frosty on` and `frosty off`.

use std::env;
use std::io::{self, Write};

use super::out;
use crate::arm::{self, Target};
use crate::cli::TargetArgs;
use crate::config::{ConfigError, Env};
use crate::hook::standing;
use crate::store::{StoreError, private};
use crate::text;

/// Why a session or project was not switched.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The session's id is no name.
    #[error(transparent)]
    Session(#[from] ConfigError),
    /// The state folder is another user's.
    #[error(transparent)]
    NotOurs(Box<StoreError>),
    /// There is nowhere to keep the switch.
    #[error(
        "expected a state folder, found neither XDG_STATE_HOME nor HOME to be an absolute path; set one: export XDG_STATE_HOME=~/.local/state"
    )]
    NoStateFolder,
    /// The project folder does not exist.
    #[error("expected a project folder at {dir}, found: {cause}; name one that exists: frosty on --project DIR")]
    NoProject {
        /// The folder.
        dir: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The switch cannot be written.
    #[error("expected to write {file}, found: {cause}; see who may write there: namei -l {dir}")]
    Unwritten {
        /// The file.
        file: String,
        /// Its state folder.
        dir: String,
        /// What the system said.
        cause: io::Error,
    },
}

/// Arms or disarms what the arguments, or else the environment, name.
///
/// # Errors
/// When the target does not exist or the switch cannot be written.
pub fn run(args: TargetArgs, on: bool) -> Result<(), SwitchError> {
    let env = Env::read();
    let target = target(args, &env)?;
    let state = env.state_dir().ok_or(SwitchError::NoStateFolder)?;
    let (what, shown) = match &target {
        Target::Session(id) => ("session", id.clone()),
        Target::Project(dir) => ("project", text::path(&dir.canonicalize().unwrap_or_else(|_| dir.clone()))),
    };
    let file = target.file(&state).map_err(|cause| SwitchError::NoProject { dir: shown.clone(), cause })?;
    private::check(&state.join("arm")).map_err(|e| SwitchError::NotOurs(Box::new(e)))?;
    arm::switch(&file, on).map_err(|cause| SwitchError::Unwritten {
        file: text::path(&file),
        dir: text::path(&state),
        cause,
    })?;
    if !on && !standing::settle(&state) {
        let _ = writeln!(io::stderr(), "frosty: an engine was just admitted, and may still continue its session once");
    }
    let armed = if on { "armed: Frosty continues it" } else { "disarmed: Frosty leaves it alone" };
    if env.disabled() {
        let _ = writeln!(
            io::stderr(),
            "frosty: FROSTY_DISABLE is set, so nothing is continued until you: unset FROSTY_DISABLE"
        );
    }
    // A reader that has gone away is no failure of the switch.
    let _ = writeln!(out::stdout(), "{what} {shown} {armed}");
    Ok(())
}

fn target(args: TargetArgs, env: &Env) -> Result<Target, SwitchError> {
    if let Some(id) = args.session {
        return Ok(Target::session(&id)?);
    }
    if let Some(dir) = args.project {
        return Ok(Target::Project(dir));
    }
    if let Some(id) = &env.claude_session_id {
        return Ok(Target::session(id)?);
    }
    if let Some(dir) = &env.claude_project_dir {
        return Ok(Target::Project(dir.clone()));
    }
    let here = env::current_dir().map_err(|cause| SwitchError::NoProject { dir: ".".to_owned(), cause })?;
    Ok(Target::Project(here))
}
