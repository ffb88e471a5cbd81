//! Checks that no other user can write the state that decides: the state directory and the fleet's directory in
//! it are private.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::hint::Hint;
use crate::text;

/// A directory that another user owns, or may write in.
#[derive(Debug, thiserror::Error)]
#[error("the directory {path} is {found}, and must be {expected}")]
pub struct NotPrivate {
    /// The path of the directory.
    pub path: String,
    /// The owner that it should have.
    pub expected: String,
    /// The owner or the mode that it has.
    pub found: String,
    /// The command that repairs it.
    pub cure: String,
}

impl Hint for NotPrivate {
    fn hint(&self) -> Option<String> {
        Some(self.cure.clone())
    }
}

/// The write permissions of group and others.
const OTHERS: u32 = 0o022;

/// Checks the fleet's directory and the state directory that contains it. A directory that does not exist yet
/// will be made with no more permissions than it needs.
///
/// # Errors
/// Returns an error when one belongs to another user, or others may write in it. A user that can replace a
/// state file can lift a limit.
pub(crate) fn check(dir: &Path) -> Result<(), NotPrivate> {
    // A user that may write in the outer one can replace the inner one.
    for folder in dir.parent().into_iter().chain([dir]) {
        match fs::metadata(folder) {
            Ok(about) => ours(folder, &about)?,
            // Other errors are reported by the code that opens the directory.
            Err(e) if e.kind() == ErrorKind::NotFound => return may_make(folder),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Checks that root makes nothing in a directory of another user, where that user's own hooks could not use it
/// afterwards.
///
/// # Errors
/// Returns an error when root would make `path`, and the existing directory belongs to another user.
pub(crate) fn may_make(path: &Path) -> Result<(), NotPrivate> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let folder = text::standing(path);
    match fs::metadata(folder) {
        Ok(about) if about.uid() != 0 => Err(not_ours(folder, about.uid(), 0)),
        _ => Ok(()),
    }
}

fn ours(folder: &Path, about: &Metadata) -> Result<(), NotPrivate> {
    let us = rustix::process::geteuid().as_raw();
    let (owner, mode) = (about.uid(), about.permissions().mode() & 0o7777);
    if owner != us {
        return Err(not_ours(folder, owner, us));
    }
    if mode & OTHERS != 0 {
        let path = text::path(folder);
        let found = format!("writable by others (mode {mode:04o})");
        let cure = format!("look at its contents, and then: chmod -R go-w {path}");
        return Err(NotPrivate { expected: format!("user {us}'s alone"), path, found, cure });
    }
    Ok(())
}

/// Returns the error for a directory of another user. The suggested command takes nothing from a user that may
/// own the state: it changes only the owner of root's own files.
fn not_ours(folder: &Path, owner: u32, us: u32) -> NotPrivate {
    let path = text::path(folder);
    let cure = match (us, owner) {
        (0, _) => format!("run the command as that user: sudo -u '#{owner}' frosty doctor"),
        (_, 0) => format!("look at its contents, and then: sudo chown -R {us} {path}"),
        _ => "use a state directory of your own: export XDG_STATE_HOME=~/.local/state".to_owned(),
    };
    NotPrivate { expected: format!("user {us}'s alone"), path, found: format!("user {owner}'s"), cure }
}
