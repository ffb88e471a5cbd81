//! `journal.jsonl`: one whole line per entry, appended under the fleet's lock, rotated by size.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::policy::limits::Ms;
use crate::read;
use crate::store::failover::server_record;
use crate::store::failover::server_record::Unshipped;
use crate::store::outbox;

/// A journal longer than this is renamed to `journal.1.jsonl` before the next entry; one old journal is kept.
const ROTATE_AT: u64 = 32 * 1024 * 1024;

/// A journal that a server does not have yet grows up to this size, and is given up then.
const GIVEN_UP_AT: u64 = 10 * ROTATE_AT;
const LARGEST: u64 = GIVEN_UP_AT + ROTATE_AT;
/// The part at a journal's end that contains any line left unfinished by a crash.
const TAIL: u64 = 1024 * 1024;

/// The open journal of a fleet. The fleet's lock must be held while it is open.
pub struct LocalJournal {
    dir: PathBuf,
    file: File,
    len: u64,
}

impl LocalJournal {
    /// Opens the journal of the fleet's folder, rotates it if needed, and cuts off a line that a crash left unfinished.
    ///
    /// # Errors
    /// When it cannot be opened or repaired.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let mut file = open(&current(dir))?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the journal is no regular file"));
        }
        let mut len = about.len();
        if len > ROTATE_AT && may_rotate(dir, len) {
            fs::rename(current(dir), previous(dir))?;
            file = open(&current(dir))?;
            len = 0;
        }
        let mut journal = Self { dir: dir.to_owned(), file, len };
        journal.cut_torn_line()?;
        Ok(journal)
    }

    /// Returns its length, which is the position of the next entry.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns the part of the journal, from its present end on, that a server does not have.
    pub(crate) fn unshipped(&self) -> Unshipped {
        Unshipped { at: self.len, journal: outbox::name(&self.file).unwrap_or_default() }
    }

    /// Appends one line; on failure the journal is as it was.
    ///
    /// # Errors
    /// When the line does not fit or cannot be written.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        #[cfg(test)]
        crate::store::simulator::operation("append");
        if let Err(e) = self.file.write_all(line.as_bytes()) {
            self.file.set_len(self.len)?;
            return Err(e);
        }
        self.len += line.len() as u64;
        Ok(())
    }

    /// Returns whether the line is at this offset, or else anywhere in the journal or the one before it.
    ///
    /// # Errors
    /// When a journal cannot be read.
    pub fn holds(&self, at: u64, line: &str) -> io::Result<bool> {
        let stands = |file: &File| {
            let mut there = vec![0; line.len()];
            file.read_exact_at(&mut there, at).is_ok() && there == line.as_bytes()
        };
        // The same offset of the journal before: it may have been put aside since, and be too large to be searched.
        let before = || read::at_once().read(true).open(previous(&self.dir));
        if stands(&self.file) || before().is_ok_and(|file| stands(&file)) {
            return Ok(true);
        }
        for path in [current(&self.dir), previous(&self.dir)] {
            match read::file(&path, LARGEST) {
                Ok(all) => {
                    // The line was rotated away since: the journals begin after it, and writing it again would double
                    // it.
                    let first = all.split(|b| *b == b'\n').next().and_then(written_at);
                    if path == previous(&self.dir) && first > written_at(line.as_bytes()) {
                        return Ok(true);
                    }
                    if all.split_inclusive(|b| *b == b'\n').any(|l| l == line.as_bytes()) {
                        return Ok(true);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    fn cut_torn_line(&mut self) -> io::Result<()> {
        let Some(last) = self.len.checked_sub(1) else { return Ok(()) };
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, last)?;
        if byte == *b"\n" {
            return Ok(());
        }
        // No entry is that long, and a journal may be too large to be read by a hook.
        let from = self.len.saturating_sub(TAIL);
        let mut tail = vec![0; usize::try_from(self.len - from).unwrap_or(0)];
        self.file.read_exact_at(&mut tail, from)?;
        let whole = match tail.iter().rposition(|b| *b == b'\n') {
            Some(i) => from + i as u64 + 1,
            None if from == 0 => 0,
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "the journal ends in what is no entry")),
        };
        self.file.set_len(whole)?;
        self.len = whole;
        Ok(())
    }
}

/// Returns whether the journal may be put aside: not while a server still has to receive it, unless it is too large.
fn may_rotate(dir: &Path, len: u64) -> bool {
    let Some(mut record) = server_record::read(dir) else { return true };
    let Some(from) = record.unshipped.as_ref().map(|u| u.at) else { return true };
    if len <= GIVEN_UP_AT {
        return false;
    }
    record.given_up = record.given_up.saturating_add(len.saturating_sub(from));
    record.unshipped = Some(Unshipped::default());
    // The record is written first: a crash between the two counts a journal twice, and hides none.
    server_record::write(dir, &record).is_ok()
}

/// Returns the time of an entry's line.
fn written_at(line: &[u8]) -> Option<Ms> {
    #[derive(Deserialize)]
    struct Written {
        ms: Ms,
    }
    serde_json::from_slice::<Written>(line).ok().map(|w| w.ms)
}

fn open(path: &Path) -> io::Result<File> {
    read::at_once().read(true).append(true).create(true).mode(0o600).open(path)
}

pub(crate) fn current(dir: &Path) -> PathBuf {
    dir.join("journal.jsonl")
}

pub(crate) fn previous(dir: &Path) -> PathBuf {
    dir.join("journal.1.jsonl")
}
