//! Reads the journal in this machine's files, from the end back in blocks, because a journal may be 320 MiB long.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::config::Config;
use crate::journal;
use crate::read;
use crate::store::failover::server_record;
use crate::store::files::journal_file;
use crate::store::{StoreError, outbox};
use crate::view::journal::tail::Tail;
use crate::view::journal::{Newest, Past, Words};

/// The number of bytes that are read at once.
const BLOCK: u64 = 64 * 1024;
/// A longer line is not an entry, because the texts of an entry are bounded.
const LONGEST_LINE: usize = 1024 * 1024;

/// Reads the fleet's journal and the one before it, and returns where the journal ends. If the server's stream was
/// read, only the entries that the stream lacks are taken.
pub(crate) fn read(
    config: &Config,
    has_server: bool,
    newest: &mut Newest,
    wanted: &mut impl FnMut(&Past) -> bool,
) -> Result<Tail, StoreError> {
    let Some(state) = &config.state else {
        return if has_server { Ok(Tail::new(None, None, 0)) } else { Err(StoreError::NoStateFolder) };
    };
    let dir = state.join(&config.fleet);
    // Both are opened together, so that a rename in between cannot exchange them.
    let paths = [journal_file::current(&dir), journal_file::previous(&dir)];
    let (mut unread, mut files) = (None, Vec::new());
    for path in paths {
        match open(&path) {
            Ok(file) => files.push(file),
            Err(cause) => {
                unread = unread.or(Some(StoreError::Files { doing: "read", path, cause }));
                files.push(None);
            }
        }
    }
    let mut tail = Tail::new(Some(&dir), None, 0);
    for (nth, file) in files.into_iter().enumerate() {
        let Some(file) = file else { continue };
        let shipped = if has_server && nth == 0 { shipped(&dir, &file) } else { u64::MAX };
        let missing = |past: &Past, at| !has_server || at >= shipped || !past.is_servers();
        match backwards(&file, missing, newest, wanted) {
            Ok(end) if nth == 0 => tail = Tail::new(Some(&dir), Some(file), end),
            Ok(_) => {}
            Err(cause) => {
                let path = journal_file::current(&dir);
                unread = unread.or(Some(StoreError::Files { doing: "read", path, cause }));
            }
        }
    }
    match unread {
        // The server's entries are valid without them.
        Some(_) if has_server => Ok(tail),
        Some(e) => Err(e),
        None => Ok(tail),
    }
}

/// Opens a journal; `None` when there is none.
pub(crate) fn open(path: &Path) -> io::Result<Option<File>> {
    let file = match read::at_once().read(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if file.metadata()?.is_file() {
        Ok(Some(file))
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "the journal is no regular file"))
    }
}

/// Returns the offset up to which the server has received the entries that concern it.
fn shipped(dir: &Path, journal: &File) -> u64 {
    let Some(record) = server_record::read(dir) else { return 0 };
    match record.unshipped {
        None => u64::MAX,
        Some(from) if from.journal.is_empty() || outbox::name(journal).is_ok_and(|name| name == from.journal) => {
            from.at
        }
        Some(_) => 0,
    }
}

/// Parses the entry of a line.
pub(crate) fn of_line(line: &[u8]) -> Option<Past> {
    let mut words = Words::with_room();
    journal::read(line, |word| words.push(word))?;
    let past = Past::new(words, 0);
    (past.ms > 0).then_some(past)
}

/// Reads whole lines from the end back, and returns where the last whole line ends. It stops after a whole block
/// without a new enough entry, because an entry that a crash delayed follows later ones.
fn backwards(
    file: &File,
    missing: impl Fn(&Past, u64) -> bool,
    newest: &mut Newest,
    wanted: &mut impl FnMut(&Past) -> bool,
) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut whole_until = 0;
    // The end of a line that begins in the block before.
    let mut torn: Vec<u8> = Vec::new();
    // A line without its end is not written completely yet, or was cut by a crash.
    let mut is_whole = false;
    while end > 0 && (whole_until == 0 || !newest.is_late()) {
        let start = end.saturating_sub(BLOCK);
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.read_exact_at(&mut bytes, start)?;
        bytes.append(&mut torn);
        if !is_whole {
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            bytes.truncate(whole);
            is_whole = whole > 0;
            whole_until = start + whole as u64;
        }
        let first = match start {
            0 => 0,
            _ => bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1),
        };
        let from = newest.from();
        let mut latest = None;
        let mut at = start + bytes.len() as u64;
        for line in bytes.get(first..).unwrap_or_default().split_inclusive(|b| *b == b'\n').rev() {
            at -= line.len() as u64;
            if let Some(past) = of_line(line) {
                latest = latest.max(Some(past.ms));
                if missing(&past, at) {
                    newest.take_from_files(past, wanted);
                }
            }
        }
        if latest.is_some_and(|latest| latest < from) {
            break;
        }
        bytes.truncate(first);
        if bytes.len() <= LONGEST_LINE {
            torn = bytes;
        }
        end = start;
    }
    Ok(whole_until)
}
