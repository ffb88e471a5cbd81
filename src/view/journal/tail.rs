//! Reads what is appended to this machine's journal from some point on, even if the journal is rotated meanwhile.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::store::files::journal_file;
use crate::view::journal::Past;
use crate::view::journal::files::{of_line, open};

/// The number of bytes that are read at once.
const BLOCK: usize = 256 * 1024;

/// The position at which reading continues.
pub(crate) struct Tail {
    dir: Option<PathBuf>,
    /// The journal as it was opened, which stays the same file after a rename.
    file: Option<File>,
    /// The offset after the last whole line that was read.
    at: u64,
}

impl Tail {
    /// `dir` is the fleet's folder, and `at` the offset after the last whole line that was read.
    pub(crate) fn new(dir: Option<&Path>, file: Option<File>, at: u64) -> Self {
        Self { dir: dir.map(Path::to_owned), file, at }
    }

    /// Returns the entries since the last reading, oldest first.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Past>> {
        let Some(dir) = self.dir.clone() else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        let current = open(&journal_file::current(&dir))?;
        let known = self.file.as_ref().map(File::metadata).transpose()?;
        let found = current.as_ref().map(File::metadata).transpose()?;
        let is_same = |a: &Metadata, b: &Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        if let (Some(known), Some(found)) = (&known, &found)
            && is_same(known, found)
        {
            // Another program truncated the file, so its present content is new.
            if found.len() < self.at {
                self.at = 0;
            }
        } else if let Some(current) = current {
            // The journal was rotated. Its last lines come first, then the files that were rotated after it.
            self.drain(&mut all)?;
            if let Some(before) = open(&journal_file::previous(&dir))?
                && let (Some(known), about) = (&known, before.metadata()?)
                && !is_same(known, &about)
            {
                (self.file, self.at) = (Some(before), 0);
                self.drain(&mut all)?;
            }
            (self.file, self.at) = (Some(current), 0);
        }
        self.drain(&mut all)?;
        Ok(all)
    }

    /// Reads the open file's whole lines to its end.
    fn drain(&mut self, all: &mut Vec<Past>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut room = BLOCK;
        loop {
            let mut bytes = vec![0; room];
            let n = file.read_at(&mut bytes, self.at)?;
            bytes.truncate(n);
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            all.extend(bytes.get(..whole).unwrap_or_default().split(|b| *b == b'\n').filter_map(of_line));
            self.at += whole as u64;
            if n < room {
                return Ok(());
            }
            // A block without a line end needs a larger buffer.
            room = if whole > 0 { BLOCK } else { room.saturating_mul(2) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    #[test]
    fn nothing_is_lost_or_read_twice_when_the_journal_is_put_aside() {
        let dir = std::env::temp_dir().join(format!("frosty-tail-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (current, previous) = (journal_file::current(&dir), journal_file::previous(&dir));
        let append = |text: &str| {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&current).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let line = |n: i64| format!("{{\"ms\":{n}}}\n");
        let mut tail = Tail::new(Some(&dir), None, 0);
        let mut read = || tail.read().unwrap().iter().map(|p| p.ms).collect::<Vec<_>>();
        assert!(read().is_empty());
        append(&line(1));
        append("{\"ms\":");
        assert_eq!(read(), [1]);
        append("2}\n");
        assert_eq!(read(), [2]);
        append(&line(3));
        fs::rename(&current, &previous).unwrap();
        assert_eq!(read(), [3]);
        append(&line(4));
        assert_eq!(read(), [4]);
        // The journal is rotated twice between two readings.
        append(&line(5));
        fs::rename(&current, &previous).unwrap();
        append(&line(6));
        fs::rename(&current, &previous).unwrap();
        append(&line(7));
        assert_eq!(read(), [5, 6, 7]);
        fs::write(&current, "").unwrap();
        assert!(read().is_empty());
        append(&line(8));
        append(&format!("{{\"detail\":\"{}\",\"ms\":9}}\n", "x".repeat(BLOCK)));
        assert_eq!(read(), [8, 9]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
