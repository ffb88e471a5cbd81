//! Finds the path by which the client runs the hook binary: the one beside this program.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::client_settings::owner::HOOK_BINARY;
use crate::env::Env;
use crate::hint::Hint;
use crate::text;

/// The reason why this program cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum NoProgram {
    /// The system does not report the path, or the file is gone.
    #[error("cannot find the path of this program: {0}")]
    Unknown(io::Error),
    /// The hook binary is not beside this program.
    #[error("no {HOOK_BINARY} beside {tool}")]
    NoHookBinary {
        /// The path of this program.
        tool: String,
    },
    /// JSON cannot contain the path.
    #[error("the path {0} is not UTF-8")]
    NotUtf8(String),
}

impl Hint for NoProgram {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown(_) => "run the program by its path: \"$(command -v frosty)\" install".to_owned(),
            Self::NoHookBinary { .. } => "in the source tree, install both programs: ./install.sh".to_owned(),
            Self::NotUtf8(_) => {
                "in the source tree, install to another directory: ./install.sh --bin-dir ~/.local/bin".to_owned()
            }
        })
    }
}

/// Returns the hook binary's absolute path. It is beside this program as it was called, so that a link to the
/// newest version is followed, or else beside the running file.
///
/// # Errors
/// Returns an error when there is no such file, or its path is not UTF-8.
pub fn path() -> Result<String, NoProgram> {
    let (real, called) = this()?;
    let beside = |tool: &PathBuf| Some(tool.with_file_name(HOOK_BINARY)).filter(|path| path.is_file());
    let Some(path) = called.as_ref().and_then(beside).or_else(|| beside(&real)) else {
        return Err(NoProgram::NoHookBinary { tool: text::path(called.as_ref().unwrap_or(&real)) });
    };
    utf8(&path)
}

/// Returns this program's absolute path: as it was called, or else of the running file.
///
/// # Errors
/// Returns an error when it is not known, or is not UTF-8.
pub fn tool() -> Result<String, NoProgram> {
    let (real, called) = this()?;
    utf8(&called.unwrap_or(real))
}

/// Returns the path of the running file, and the one by which it was called.
fn this() -> Result<(PathBuf, Option<PathBuf>), NoProgram> {
    let real = env::current_exe().and_then(|exe| exe.canonicalize()).map_err(NoProgram::Unknown)?;
    let called = env::args_os().next().and_then(|word| called(&word)).filter(|path| leads_to(path, &real));
    Ok((real, called))
}

fn utf8(path: &Path) -> Result<String, NoProgram> {
    path.to_str().map(str::to_owned).ok_or_else(|| NoProgram::NotUtf8(text::path(path)))
}

/// Resolves the word by which the program was called: from the working directory, or by `PATH`.
fn called(word: &OsStr) -> Option<PathBuf> {
    let path = Path::new(word);
    if path.components().count() == 1 && !word.to_string_lossy().contains('/') {
        let folders = Env::search_path().into_iter().filter(|folder| folder.is_absolute());
        return folders.map(|folder| folder.join(path)).find(|path| path.is_file());
    }
    // The directory without dots and links. The file itself may stay a link to the newest version.
    let name = path.file_name()?;
    Some(env::current_dir().ok()?.join(path).parent()?.canonicalize().ok()?.join(name))
}

fn leads_to(path: &Path, real: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path == real)
}

/// Returns whether a program is in cargo's build directory, where the next `cargo clean` would remove it.
#[must_use]
pub fn is_built_here(program: &Path) -> bool {
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    real.parent().is_some_and(|folder| folder.join(".fingerprint").is_dir() && folder.join("deps").is_dir())
}
