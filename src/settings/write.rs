//! Replaces a settings file as a whole. It makes a backup in the state directory and a new file beside the old
//! one. Then it checks that the old file is unchanged since it was read, renames, and checks the result.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use chrono::DateTime;
use rustix::fs::Access;
use sha2::{Digest, Sha256};

use crate::client_settings::{LARGEST, Unread, load};
use crate::clock;
use crate::hint::Hint;
use crate::ownership;
use crate::read;
use crate::text;

/// The reason why a settings file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// The file could not be read again.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// The target of a link does not exist.
    #[error("the link {link} leads to {target}, where no file is")]
    Dangling {
        /// The link.
        link: String,
        /// The target of the link.
        target: String,
    },
    /// Another program changed the file meanwhile.
    #[error("{file} changed while it was being edited; nothing was written")]
    Changed {
        /// The file.
        file: String,
    },
    /// The file would belong to root in another user's directory.
    #[error(transparent)]
    NotOurs(#[from] ownership::NotPrivate),
    /// The system refused an operation.
    #[error("cannot {doing} {path}: {cause}; the settings are unchanged")]
    Failed {
        /// The operation.
        doing: &'static str,
        /// The path of the operation.
        path: String,
        /// The system's error.
        cause: io::Error,
        /// The command that shows the cause.
        cure: String,
    },
    /// The file's content afterwards is not the text that was written.
    #[error("{file} does not contain what was written to it")]
    NotThere {
        /// The file.
        file: String,
        /// The backup, where there was a file.
        backup: Option<String>,
    },
}

impl Hint for Unwritten {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unread(e) => return e.hint(),
            Self::NotOurs(e) => return e.hint(),
            Self::Dangling { link, .. } => format!("make the file, or remove the link: rm {link}"),
            Self::Changed { .. } => "run the command again".to_owned(),
            Self::Failed { cure, .. } => cure.clone(),
            Self::NotThere { file, backup: Some(backup) } => {
                format!("compare the file with its backup: diff {backup} {file}")
            }
            Self::NotThere { file, backup: None } => format!("look at the file: less {file}"),
        })
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Unwritten {
    move |cause| {
        let cure = match cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                format!("see how full the disk is: df -h {}", text::path(text::standing(path)))
            }
            _ => format!("see the permissions on the way: namei -l {}", text::path(path)),
        };
        Unwritten::Failed { doing, path: text::path(path), cause, cure }
    }
}

/// A settings file as it was read.
#[derive(Debug)]
pub struct SettingsText {
    /// The file itself, after every link.
    pub path: PathBuf,
    /// Its text; `None` where there is no file.
    pub text: Option<String>,
}

impl SettingsText {
    /// Reads the file at the end of a path's links.
    ///
    /// # Errors
    /// Returns an error when the file cannot be read, or the target of a link does not exist.
    pub fn read(path: &Path) -> Result<Self, Unwritten> {
        let path = match fs::symlink_metadata(path) {
            Ok(about) if about.is_symlink() => path.canonicalize().map_err(|cause| match cause.kind() {
                ErrorKind::NotFound => Unwritten::Dangling {
                    link: text::path(path),
                    target: fs::read_link(path).map_or_else(|_| "its end".to_owned(), |target| text::path(&target)),
                },
                // The link's target may well exist.
                _ => Unwritten::Unread(Unread::Unreadable { file: text::path(path), cause }),
            })?,
            _ => path.to_owned(),
        };
        Ok(Self { text: load(&path)?, path })
    }

    /// Replaces the file with this text or, without a text, removes it. Returns the backup, where there was a
    /// file.
    ///
    /// # Errors
    /// Returns an error when this is not possible. The file is then unchanged.
    ///
    /// The backup is in a directory for this file alone in `backups`.
    pub fn replace(&self, new: Option<&str>, backups: &Path) -> Result<Option<PathBuf>, Unwritten> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let about = match &self.text {
            Some(_) => {
                // A rename would replace a file that its owner has made read-only.
                rustix::fs::access(&self.path, Access::WRITE_OK)
                    .map_err(|e| failed("write to", &self.path)(e.into()))?;
                Some(fs::metadata(&self.path).map_err(failed("look at", &self.path))?)
            }
            None => {
                ownership::may_make(&self.path)?;
                fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
                None
            }
        };
        let _alone = alone(folder);
        let backup = match (&self.text, &about) {
            (Some(text), Some(about)) => Some(self.back_up(text, about, backups)?),
            _ => None,
        };
        let done = self.put(folder, new, about.as_ref());
        if let (Err(_), Some(backup)) = (&done, &backup) {
            // An unchanged file needs no backup.
            if load(&self.path).is_ok_and(|now| now == self.text) {
                let _ = fs::remove_file(backup);
            }
        }
        done?;
        if load(&self.path)?.as_deref() != new {
            let backup = backup.as_deref().map(text::path);
            return Err(Unwritten::NotThere { file: text::path(&self.path), backup });
        }
        Ok(backup)
    }

    fn put(&self, folder: &Path, new: Option<&str>, about: Option<&Metadata>) -> Result<(), Unwritten> {
        let Some(new) = new else {
            self.unchanged()?;
            let beside = self.beside(&format!("frosty-old-{}", clock::id()));
            self.set_aside(&beside)?;
            fs::remove_file(&beside).map_err(failed("remove", &beside))?;
            return sync(folder);
        };
        let beside = self.beside(&format!("frosty-new-{}", clock::id()));
        let written = create(&beside, new, about).map_err(failed("write", &beside)).and_then(|()| self.unchanged());
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written?;
        if about.is_some() { self.exchange(&beside) } else { self.place(&beside) }?;
        sync(folder)
    }

    /// Removes the file, and restores it if it is not the one that was read. Another program may have written
    /// between the last check and this one.
    fn set_aside(&self, beside: &Path) -> Result<(), Unwritten> {
        fs::rename(&self.path, beside).map_err(failed("remove", &self.path))?;
        if self.is_what_was_read(beside) {
            return Ok(());
        }
        fs::rename(beside, &self.path).map_err(failed("bring back", beside))?;
        Err(self.changed())
    }

    /// Exchanges the new file with the old one, and exchanges them back if the old one is not the one that was
    /// read.
    fn exchange(&self, new: &Path) -> Result<(), Unwritten> {
        let done = match swap(new, &self.path) {
            Ok(()) if self.is_what_was_read(new) => fs::remove_file(new).map_err(failed("remove", new)),
            Ok(()) => {
                // Whatever happened in between, the exchanged file may be the only copy of a person's work
                // until it is back.
                swap(new, &self.path).map_err(failed("bring back", new))?;
                Err(self.changed())
            }
            // Some systems and file systems do not support the exchange.
            Err(_) => fs::rename(new, &self.path).map_err(failed("put the new file in place of", &self.path)),
        };
        if done.is_err() {
            let _ = fs::remove_file(new);
        }
        done
    }

    fn is_what_was_read(&self, file: &Path) -> bool {
        read::file(file, LARGEST).is_ok_and(|now| Some(now.as_slice()) == self.text.as_deref().map(str::as_bytes))
    }

    fn changed(&self) -> Unwritten {
        Unwritten::Changed { file: text::path(&self.path) }
    }

    /// Creates a file that did not exist, and fails if it exists now. A hard link fails where a rename would
    /// replace.
    fn place(&self, new: &Path) -> Result<(), Unwritten> {
        let done = match fs::hard_link(new, &self.path) {
            Ok(()) => fs::remove_file(new).map_err(failed("remove", new)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(self.changed()),
            // Some file systems do not support hard links.
            Err(_) => fs::rename(new, &self.path).map_err(failed("put the new file in place of", &self.path)),
        };
        if done.is_err() {
            let _ = fs::remove_file(new);
        }
        done
    }

    fn unchanged(&self) -> Result<(), Unwritten> {
        let now = match read::file(&self.path, LARGEST) {
            Ok(bytes) => Some(bytes),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(cause) => return Err(failed("read", &self.path)(cause)),
        };
        if now.as_deref() == self.text.as_deref().map(str::as_bytes) {
            return Ok(());
        }
        Err(self.changed())
    }

    /// Saves the old text under a new name. It is not beside the file, because a project's directory is often
    /// under version control.
    fn back_up(&self, text: &str, about: &Metadata, backups: &Path) -> Result<PathBuf, Unwritten> {
        let folder = backups.join(self.key());
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(failed("make the folder", &folder))?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let stamp = DateTime::from_timestamp_millis(clock::host_ms()).unwrap_or_default().format("%Y%m%d_%H%M%S");
        for more in 0u32.. {
            let more = if more == 0 { String::new() } else { format!("-{more}") };
            let path = folder.join(format!("{name}.frosty-backup-{stamp}{more}"));
            match create(&path, text, Some(about)) {
                Ok(()) => return Ok(path),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(cause) => {
                    let _ = fs::remove_file(&path);
                    return Err(failed("write the backup", &path)(cause));
                }
            }
        }
        Err(failed("write a backup of", &self.path)(ErrorKind::AlreadyExists.into()))
    }

    /// Returns a name for the directory of this file's backups: its project's name, and a few digits derived
    /// from its path.
    fn key(&self) -> String {
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        let hex: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
        let folder = self.path.parent().and_then(Path::parent).and_then(Path::file_name).unwrap_or_default();
        let name: String = text::encode(&folder.to_string_lossy()).chars().take(64).collect();
        format!("{name}-{hex}")
    }

    fn beside(&self, more: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(more);
        self.path.with_file_name(name)
    }
}

/// Exchanges two files atomically.
#[cfg(target_os = "linux")]
fn swap(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn swap(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Keeps another Frosty process from writing in this directory at the same time. After a long wait, or where no
/// lock is possible, the process continues, since the file's content is checked again in any case.
fn alone(folder: &Path) -> Option<File> {
    let lock = File::open(folder).ok()?;
    for _ in 0..100 {
        match lock.try_lock() {
            Ok(()) => return Some(lock),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Creates a file with the owner and the mode of another one, and syncs it to the disk.
fn create(path: &Path, text: &str, like: Option<&Metadata>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if like.is_some() {
        // No other user can read the file before it has its final mode.
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    if let Some(like) = like {
        let now = file.metadata()?;
        if (now.uid(), now.gid()) != (like.uid(), like.gid()) {
            std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid())).map_err(|e| {
                let (uid, gid) = (like.uid(), like.gid());
                io::Error::new(e.kind(), format!("it must belong to user {uid} and group {gid} as before ({e})"))
            })?;
        }
        file.set_permissions(Permissions::from_mode(like.mode() & 0o7777))?;
    }
    file.sync_all()
}

fn sync(folder: &Path) -> Result<(), Unwritten> {
    // A file system without this call for a directory does not need it.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_why() {
        let of = |kind: ErrorKind| failed("write", Path::new("/no such/file"))(kind.into()).hint().unwrap();
        assert!(of(ErrorKind::StorageFull).ends_with(": df -h /"));
        assert!(of(ErrorKind::PermissionDenied).ends_with(": namei -l '/no such/file'"));
    }

    /// Covers a moment that a test cannot time from outside: a write after the last check of the file.
    #[test]
    fn what_comes_in_at_the_last_moment_stays() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, new) = (dir.path().join("settings.json"), dir.path().join("new"));
        fs::write(&path, "theirs").unwrap();
        fs::write(&new, "ours").unwrap();
        let standing = SettingsText { path: path.clone(), text: Some("as read".to_owned()) };
        assert!(matches!(standing.exchange(&new), Err(Unwritten::Changed { .. })));
        assert!(matches!(standing.set_aside(&new), Err(Unwritten::Changed { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        fs::write(&new, "ours").unwrap();
        let standing = SettingsText { path: path.clone(), text: Some("theirs".to_owned()) };
        standing.exchange(&new).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), new.exists()), ("ours", false));
    }
}
