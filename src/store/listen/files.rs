//! Ears on the embedded store: its files are looked at once a second, and read when they were replaced.

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Ears, Heard, Listener, Look, poll};
use crate::clock;
use crate::config::Config;
use crate::store::StoreError;
use crate::store::state_file::{self, FleetFile, ScopeFile};

const EVERY: Duration = Duration::from_secs(1);

/// What tells a replaced file from the one read before: each replacement is a file of its own.
type Mark = Option<(u64, i64, i64, u64)>;

pub(super) struct FileEars {
    scope: PathBuf,
    fleet: PathBuf,
    session: String,
    seen: Option<([Mark; 2], Look)>,
}

impl FileEars {
    pub(super) fn open(config: &Config, listener: &Listener) -> Result<Self, StoreError> {
        let dir = config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet);
        Ok(Self {
            scope: state_file::scope(&dir, &listener.scope),
            fleet: state_file::fleet(&dir),
            session: listener.session.clone(),
            seen: None,
        })
    }
}

impl Ears for FileEars {
    fn look(&mut self) -> Result<Look, StoreError> {
        let now = clock::host_ms();
        let marks = [mark(&self.scope), mark(&self.fleet)];
        if let Some((seen, look)) = &self.seen
            && *seen == marks
        {
            return Ok(Look { now, ..look.clone() });
        }
        let mut look = Look { now, ..Look::default() };
        // What cannot be read is the next ask's to deal with, under the lock.
        if let Some(file) = state_file::peek::<ScopeFile>(&self.scope) {
            look.holds.extend(file.scope.hold);
            if let Some(session) = file.sessions.get(&self.session) {
                (look.fence, look.woken) = (session.fence, session.woken);
            }
        }
        if let Some(file) = state_file::peek::<FleetFile>(&self.fleet) {
            look.holds.extend(file.fleet.hold);
        }
        self.seen = Some((marks, look.clone()));
        Ok(look)
    }

    fn wait(&mut self, most: Duration, interrupt: BorrowedFd<'_>) -> Result<Heard, StoreError> {
        let _ = poll([interrupt], most.min(EVERY));
        Ok(Heard::Stirred)
    }
}

fn mark(path: &Path) -> Mark {
    let about = fs::metadata(path).ok()?;
    Some((about.ino(), about.mtime(), about.mtime_nsec(), about.size()))
}
