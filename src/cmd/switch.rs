//! `frosty on` and `frosty off`: arm and disarm a session or a project.

use super::candidates::sessions;
use crate::cmd::PlaceArgs;
use crate::hint::Hint;
use crate::store::error::SET_STATE_FOLDER;
use clap::Args;
use std::io;
use std::path::PathBuf;

use super::{Failure, out, target};
use crate::arm::{self, Target};
use crate::config::{COMMAND_LINE, encoded};
use crate::doctor;
use crate::env::Env;
use crate::hook::terms;
use crate::naming::{self, Names};
use crate::ownership;
use crate::store::fleet_reader::FleetReader;
use crate::text;

/// What `on` and `off` apply to; by default the session of CLAUDE_CODE_SESSION_ID, else the project of
/// CLAUDE_PROJECT_DIR, else the working folder.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct TargetArgs {
    /// Apply to all sessions in this directory
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Apply to this session
    #[arg(long, value_name = "SESSION", add = sessions())]
    pub session: Option<String>,
}

/// Why a session or project was not switched.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The state directory is another user's.
    #[error(transparent)]
    NotOurs(#[from] ownership::NotPrivate),
    /// There is no directory for the switch.
    #[error("no state directory: neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoStateFolder,
    /// The project directory does not exist.
    #[error("no project directory at {dir}: {cause}")]
    NoProject {
        /// The directory.
        dir: String,
        /// The system's error.
        cause: io::Error,
    },
    /// The switch cannot be written.
    #[error("cannot write {file}: {cause}")]
    Unwritten {
        /// The file.
        file: String,
        /// Its state directory.
        dir: String,
        /// The system's error.
        cause: io::Error,
    },
}

impl Hint for SwitchError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotOurs(e) => return e.hint(),
            Self::NoStateFolder => SET_STATE_FOLDER.to_owned(),
            Self::NoProject { .. } => "run it in a project, or name one: frosty on --project .".to_owned(),
            Self::Unwritten { dir, .. } => format!("see the permissions on the way: namei -l {dir}"),
        })
    }
}

/// Arms or disarms what the arguments, or else the environment, name.
///
/// # Errors
/// When the target does not exist or the switch cannot be written.
pub fn run(args: TargetArgs, on: bool) -> Result<(), Failure> {
    let env = Env::read();
    let state = env.state_dir().ok_or(SwitchError::NoStateFolder)?;
    let (target, shown) = match args.session {
        Some(word) => {
            let (id, shown) = session(&env, &word)?;
            (Target::Session(id), shown)
        }
        None => place(args.project, &env)?,
    };
    let dir = text::path(&state);
    let file = target.file(&state).map_err(|cause| SwitchError::NoProject { dir: shown.clone(), cause })?;
    ownership::check(&state.join("arm")).map_err(SwitchError::NotOurs)?;
    arm::switch(&file, on).map_err(|cause| SwitchError::Unwritten { file: text::path(&file), dir, cause })?;
    if !on && !terms::settle(&state) {
        out::report("an engine was just admitted, and may still continue its session once");
    }
    let armed = if on {
        "armed: Frosty continues it"
    } else {
        "disarmed: Frosty leaves it alone, and does not resume it if it waits"
    };
    if env.disabled() {
        out::report("FROSTY_DISABLE is set, so nothing is continued\nhint: unset FROSTY_DISABLE");
    }
    if let (true, Target::Project(dir)) = (on, &target)
        && !doctor::is_registered(&env, dir)
    {
        out::report(
            "no Stop hook runs frosty there yet, so nothing is continued\nhint: for all projects: frosty install --user",
        );
    }
    let what = match target {
        Target::Session(_) => "session",
        Target::Project(_) => "project",
    };
    out::say(&format!("{what} {shown} {armed}"));
    Ok(())
}

/// Returns the id of the session that a word names, and its shown name.
fn session(env: &Env, word: &str) -> Result<(String, String), Failure> {
    let is_own = env.claude_session_id.as_deref() == Some(word);
    let known = super::config(env, PlaceArgs { store: None, fleet: None }).map_err(Failure::from);
    let known = known.and_then(|config| {
        let mut reader = FleetReader::open(&config);
        let sessions = target::sessions(&mut reader, word)?;
        match target::one(&sessions, word) {
            Ok((id, _)) => Ok((id.clone(), Names::of_all(&sessions).name(id))),
            Err(e) => {
                if let Some(why) = reader.away().filter(|_| !is_own && !naming::is_uuid(word)) {
                    let what =
                        "the server is unreachable, so sessions of other machines are known by their whole id only";
                    super::warn(what, &why.into());
                }
                Err(e.into())
            }
        }
    });
    match known {
        // A session that is not armed is in no store yet, and only its id is known.
        Err(_) if is_own || naming::is_uuid(word) => {
            let id = encoded(word, COMMAND_LINE, "--session")?;
            Ok((id.clone(), if is_own { id } else { format!("{id} (not seen yet)") }))
        }
        known => known,
    }
}

/// Returns what is switched where no session is named, and its shown name.
fn place(project: Option<PathBuf>, env: &Env) -> Result<(Target, String), Failure> {
    let dir = match (project, &env.claude_session_id, &env.claude_project_dir) {
        (Some(dir), ..) => dir,
        (None, Some(id), _) => {
            let (id, shown) = session(env, id)?;
            return Ok((Target::Session(id), shown));
        }
        (None, None, Some(dir)) => dir.clone(),
        (None, None, None) => {
            std::env::current_dir().map_err(|cause| SwitchError::NoProject { dir: ".".to_owned(), cause })?
        }
    };
    let shown = text::path(&dir.canonicalize().unwrap_or_else(|_| dir.clone()));
    Ok((Target::Project(dir), shown))
}
