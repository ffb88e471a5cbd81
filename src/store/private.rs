//! That nobody else can write what decides: the state folder and the fleet's folder in it are ours alone.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::StoreError;
use crate::text;

/// Whoever else may write there.
const OTHERS: u32 = 0o022;

/// Checks the fleet's folder and the state folder that it is in. A folder that is not there yet will be made with no more
/// rights than it needs.
///
/// # Errors
/// When one belongs to somebody else, or others may write in it: whoever can replace a file of state can lift a limit.
pub(crate) fn check(dir: &Path) -> Result<(), StoreError> {
    // Whoever may write in the outer one can put another in the inner one's place.
    for folder in dir.parent().into_iter().chain([dir]) {
        match fs::metadata(folder) {
            Ok(about) => ours(folder, &about)?,
            // What else is wrong with it is told by whoever opens it.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(_) => {}
        }
    }
    Ok(())
}

fn ours(folder: &Path, about: &Metadata) -> Result<(), StoreError> {
    let us = rustix::process::geteuid().as_raw();
    let (owner, mode) = (about.uid(), about.permissions().mode() & 0o7777);
    let path = text::path(folder);
    if owner != us {
        let found = format!("user {owner}'s");
        let cure = format!("sudo chown -R {us} {path}");
        return Err(StoreError::NotPrivate { expected: format!("user {us}'s alone"), path, found, cure });
    }
    if mode & OTHERS != 0 {
        let found = format!("mode {mode:04o}, which lets others write");
        let cure = format!("chmod -R go-w {path}");
        return Err(StoreError::NotPrivate { expected: format!("user {us}'s alone"), path, found, cure });
    }
    Ok(())
}
