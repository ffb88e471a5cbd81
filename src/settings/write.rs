//! Replaces a settings file as a whole: a backup in the state folder, a new file beside it, a look whether the old one is still what was read,
//! a rename, and a look at what stands there then.

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
use crate::ownership;
use crate::read;
use crate::text;

/// Why a settings file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// It could not be read again.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// A link leads nowhere.
    #[error("expected a file behind the link {link}, found none at {target}; make it, or remove the link: rm {link}")]
    Dangling {
        /// The link.
        link: String,
        /// Where it leads.
        target: String,
    },
    /// Somebody else wrote to it meanwhile.
    #[error(
        "expected {file} as it was read a moment ago, found it changed by somebody else; nothing was written, say it again"
    )]
    Changed {
        /// The file.
        file: String,
    },
    /// It would belong to root in another user's folder.
    #[error(transparent)]
    NotOurs(#[from] ownership::NotPrivate),
    /// The system did not let it.
    #[error("expected to {doing} {path}, found: {cause}; the settings are as they were; {cure}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: String,
        /// What the system said.
        cause: io::Error,
        /// What shows why.
        cure: String,
    },
    /// What was written is not what stands there.
    #[error("expected {file} to hold what was written, found something else there; compare it with {backup}")]
    NotThere {
        /// The file.
        file: String,
        /// The backup.
        backup: String,
    },
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Unwritten {
    move |cause| {
        let cure = match cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                format!("see how full it is: df -h {}", text::path(text::standing(path)))
            }
            _ => format!("see who may write there: namei -l {}", text::path(path)),
        };
        Unwritten::Failed { doing, path: text::path(path), cause, cure }
    }
}

/// A settings file as it was read.
#[derive(Debug)]
pub struct Standing {
    /// The file itself, behind any link.
    pub path: PathBuf,
    /// What it held; `None` where there is no file.
    pub text: Option<String>,
}

impl Standing {
    /// Reads the file that a path leads to.
    ///
    /// # Errors
    /// When it cannot be read, or a link leads nowhere.
    pub fn read(path: &Path) -> Result<Self, Unwritten> {
        let path = match fs::symlink_metadata(path) {
            Ok(about) if about.is_symlink() => path.canonicalize().map_err(|cause| match cause.kind() {
                ErrorKind::NotFound => Unwritten::Dangling {
                    link: text::path(path),
                    target: fs::read_link(path).map_or_else(|_| "its end".to_owned(), |target| text::path(&target)),
                },
                // It may well lead somewhere.
                _ => Unwritten::Unread(Unread::Unreadable { file: text::path(path), cause }),
            })?,
            _ => path.to_owned(),
        };
        Ok(Self { text: load(&path)?, path })
    }

    /// Puts this text in the file's place, or, without one, takes the file away. The backup, where there was a file.
    ///
    /// # Errors
    /// When it cannot be done: the file is then as it was.
    ///
    /// The backup goes into a folder of this file's own in `backups`.
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
            // Of what did not change there is nothing to keep.
            if load(&self.path).is_ok_and(|now| now == self.text) {
                let _ = fs::remove_file(backup);
            }
        }
        done?;
        if load(&self.path)?.as_deref() != new {
            let backup = backup.as_deref().map_or_else(|| "nothing: there was no file".to_owned(), text::path);
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

    /// Takes the file away, and brings it back if it is not the one that was read: between the last look and this somebody may
    /// have written.
    fn set_aside(&self, beside: &Path) -> Result<(), Unwritten> {
        fs::rename(&self.path, beside).map_err(failed("remove", &self.path))?;
        if self.is_what_was_read(beside) {
            return Ok(());
        }
        fs::rename(beside, &self.path).map_err(failed("bring back", beside))?;
        Err(self.changed())
    }

    /// Puts the new file in the old one's place, and the old one back if it is not the one that was read.
    fn exchange(&self, new: &Path) -> Result<(), Unwritten> {
        let done = match swap(new, &self.path) {
            Ok(()) if self.is_what_was_read(new) => fs::remove_file(new).map_err(failed("remove", new)),
            Ok(()) => {
                // Whatever came in between, what stands beside now may be somebody's only copy until it is back.
                swap(new, &self.path).map_err(failed("bring back", new))?;
                Err(self.changed())
            }
            // Not every file system, nor every system, has that.
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

    /// A file that was not there must not be there now: a link fails where a rename would replace.
    fn place(&self, new: &Path) -> Result<(), Unwritten> {
        let done = match fs::hard_link(new, &self.path) {
            Ok(()) => fs::remove_file(new).map_err(failed("remove", new)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(self.changed()),
            // Not every file system has them.
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

    /// Keeps what was there, under a name that nothing has yet. Not beside it: a project's folder is often under version control.
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

    /// A name for the folder of this file's backups: that of its project, and a few digits of its path.
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

/// Puts each of two files in the other's place, at once.
#[cfg(target_os = "linux")]
fn swap(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(target_os = "linux"))]
fn swap(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Keeps another Frosty from writing in this folder at the same time. Who is kept waiting for long, or where no lock can be
/// had, goes on: what the file holds is looked at again in any case.
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

/// Makes a new file that is on the disk when this returns, with the owner and the mode of another.
fn create(path: &Path, text: &str, like: Option<&Metadata>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if like.is_some() {
        // Nobody else reads it before it has the mode it shall have.
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
    // A file system that cannot do it for a folder does it by itself.
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
        let of = |kind: ErrorKind| failed("write", Path::new("/no such/file"))(kind.into()).to_string();
        assert!(of(ErrorKind::StorageFull).ends_with("; see how full it is: df -h /"));
        assert!(of(ErrorKind::PermissionDenied).ends_with("; see who may write there: namei -l '/no such/file'"));
    }

    /// What nobody could time from outside: somebody writes after the last look at the file.
    #[test]
    fn what_comes_in_at_the_last_moment_stays() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, new) = (dir.path().join("settings.json"), dir.path().join("new"));
        fs::write(&path, "theirs").unwrap();
        fs::write(&new, "ours").unwrap();
        let standing = Standing { path: path.clone(), text: Some("as read".to_owned()) };
        assert!(matches!(standing.exchange(&new), Err(Unwritten::Changed { .. })));
        assert!(matches!(standing.set_aside(&new), Err(Unwritten::Changed { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        fs::write(&new, "ours").unwrap();
        let standing = Standing { path: path.clone(), text: Some("theirs".to_owned()) };
        standing.exchange(&new).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), new.exists()), ("ours", false));
    }
}
