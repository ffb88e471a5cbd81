//! The complete lines of a growing file, with bounded memory.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::read;

/// The size of the first read. Memory of this size is the system's, and is returned to it.
const FIRST: usize = 256 * 1024;
/// The longest line that is read. A longer one is skipped.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// Opens a regular file. A pipe or a directory in its place is an error and not a wait.
pub(super) fn open(path: &str) -> io::Result<(File, Metadata)> {
    let file = read::at_once().read(true).open(Path::new(path))?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok((file, about))
}

/// A file from some byte on.
pub(super) struct Lines {
    file: File,
    /// The offset in the file of the first byte in `bytes`.
    at: u64,
    bytes: Vec<u8>,
    filled: usize,
    /// Whether everything up to the next newline is skipped.
    skips: bool,
}

impl Lines {
    /// Begins at this offset, at which a line begins.
    pub(super) fn at(file: File, offset: u64) -> Self {
        Self { file, at: offset, bytes: Vec::new(), filled: 0, skips: false }
    }

    /// Begins at the first line after this offset.
    pub(super) fn within(file: File, offset: u64) -> Self {
        Self { skips: true, ..Self::at(file, offset) }
    }

    /// Returns the offset after the last byte that was read.
    pub(super) fn end(&self) -> u64 {
        self.at + self.filled as u64
    }

    /// Reads to the file's end, or until `ends`. Calls `take` with each line, and with the offset after it.
    pub(super) fn read_on(&mut self, mut take: impl FnMut(&[u8], u64), ends: impl Fn() -> bool) -> io::Result<()> {
        loop {
            if self.filled == self.bytes.len() {
                self.grow();
            }
            let room = self.bytes.get_mut(self.filled..).unwrap_or_default();
            let n = match self.file.read_at(room, self.at + self.filled as u64) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if n == 0 {
                return Ok(());
            }
            self.split(n, &mut take);
            if ends() {
                return Ok(());
            }
        }
    }

    fn grow(&mut self) {
        if self.bytes.len() >= LONGEST_LINE {
            self.skips = true;
            self.at += self.filled as u64;
            self.filled = 0;
        } else {
            self.bytes.resize((self.bytes.len() * 2).clamp(FIRST, LONGEST_LINE), 0);
        }
    }

    /// Takes the lines that `n` more bytes completed.
    fn split(&mut self, n: usize, take: &mut impl FnMut(&[u8], u64)) {
        let (mut start, mut searched) = (0, self.filled);
        self.filled += n;
        let bytes = self.bytes.get(..self.filled).unwrap_or_default();
        while let Some(length) = bytes.get(searched..).unwrap_or_default().iter().position(|b| *b == b'\n') {
            let end = searched + length;
            if !std::mem::take(&mut self.skips) {
                take(bytes.get(start..end).unwrap_or_default(), self.at + end as u64 + 1);
            }
            (start, searched) = (end + 1, end + 1);
        }
        self.bytes.copy_within(start..self.filled, 0);
        self.at += start as u64;
        self.filled -= start;
    }
}
