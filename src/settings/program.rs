//! The path by which the client is told to run this program.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Env;
use crate::text;

/// Why this program cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum NoProgram {
    /// The system does not tell, or the file has gone.
    #[error("expected the path of this program, found: {0}; run it by its path: /path/to/frosty install")]
    Unknown(io::Error),
    /// JSON could not hold it.
    #[error("expected a path that is UTF-8, found {0}; put the program elsewhere: ./install.sh --bin-dir ~/.local/bin")]
    NotUtf8(String),
}

/// This program's absolute path as it was called, so that a link that is turned to a newer version is followed; where that
/// is not known, as the system names it.
///
/// # Errors
/// When there is none, or it is not UTF-8.
pub fn path() -> Result<String, NoProgram> {
    let real = env::current_exe().and_then(|exe| exe.canonicalize()).map_err(NoProgram::Unknown)?;
    let called = env::args_os().next().and_then(|word| called(&word)).filter(|path| leads_to(path, &real));
    let path = called.unwrap_or(real);
    path.to_str().map(str::to_owned).ok_or_else(|| NoProgram::NotUtf8(text::path(&path)))
}

/// Where the word leads that the program was called by: from here, or by `PATH`.
fn called(word: &OsStr) -> Option<PathBuf> {
    let path = Path::new(word);
    if path.components().count() == 1 && !word.to_string_lossy().contains('/') {
        let folders = Env::search_path().into_iter().filter(|folder| folder.is_absolute());
        return folders.map(|folder| folder.join(path)).find(|path| path.is_file());
    }
    // The folder without dots and links, but what may be a link to the newest version stays one.
    let name = path.file_name()?;
    Some(env::current_dir().ok()?.join(path).parent()?.canonicalize().ok()?.join(name))
}

fn leads_to(path: &Path, real: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path == real)
}

/// Whether a program lies where cargo builds, and would go with the next `cargo clean`.
#[must_use]
pub fn is_built_here(program: &Path) -> bool {
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    real.parent().is_some_and(|folder| folder.join(".fingerprint").is_dir() && folder.join("deps").is_dir())
}
