//! Sends the server the journal entries of a time when it was unreachable: in order, each once, a piece at a time.
//!
//! The journal itself is the outbox. The record contains the position, and the server stores it too, so that a piece
//! with a lost answer is not appended twice.

pub mod backlog;

use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};
use sha2::{Digest, Sha256};

use crate::clock;
use crate::config::Config;
use crate::journal;
use crate::policy::limits::millis;
use crate::read;
use crate::store::failover::server_record;
use crate::store::failover::server_record::Unshipped;
use crate::store::files::journal_file;
use crate::store::server::connection::Link;
use crate::store::server::keys::Keys;
use crate::store::server::load;
use crate::store::{StoreError, files, server};

/// The script. Its text is sent with each piece of a journal, so its size matters little.
pub(crate) const SHIP: &str = include_str!("ship.lua");

/// The size of the piece of the journal that one call sends.
const PIECE: usize = 128 * 1024;
/// The longest line that is sent: an entry's texts are bounded.
const LONGEST_LINE: usize = 4 * PIECE;
/// How long the server remembers the position in a journal.
const REMEMBERED: Duration = Duration::from_secs(90 * 86_400);

/// Sends pieces until the server has everything or the time is over; an answer may come a little later.
///
/// A later request sends the rest.
pub(crate) fn ship(config: &Config, dir: &Path, link: &mut Link<'_>, until: Instant, latest: Instant) {
    // One process sends at a time, because the others have their own verdicts to give.
    let mut options = read::at_once();
    options.write(true).create(true).truncate(false).mode(0o600);
    let Ok(mine) = options.open(dir.join("ship.lock")) else { return };
    if mine.try_lock().is_err() {
        return;
    }
    while clock::now() < until && matches!(piece(config, dir, link, latest), Ok(true)) {}
}

/// Sends one piece; returns whether there may be more.
fn piece(config: &Config, dir: &Path, link: &mut Link<'_>, latest: Instant) -> Result<bool, StoreError> {
    let path = journal_file::current(dir);
    let files = |cause| StoreError::Files { doing: "read", path: path.clone(), cause };
    let Some(unshipped) = server_record::read(dir).and_then(|r| r.unshipped) else { return Ok(false) };
    let journal = read::at_once().read(true).open(&path).map_err(files)?;
    let name = name(&journal).map_err(files)?;
    // A new journal in its place is sent from its beginning; the server knows what it has of it.
    let is_same = unshipped.journal.is_empty() || unshipped.journal == name;
    let from = if is_same { unshipped.at } else { 0 };
    let lines = whole_lines(&journal, from, PIECE).map_err(files)?;
    let mut ends = from;
    let mut call = cmd("EVAL");
    call.arg(SHIP).arg(2).arg(&config.stream).arg(Keys::of(&config.fleet).shipped(&name));
    call.arg(config.journal_max).arg(millis(REMEMBERED));
    for line in lines.split_inclusive(|b| *b == b'\n') {
        ends += line.len() as u64;
        entry(&mut call, ends, line);
    }
    if ends > from {
        link.until(latest);
        let answer = link.ask(&[call])?.pop().unwrap_or(Value::Nil);
        let reached = Vec::<String>::from_redis_value_ref(&answer).ok().and_then(|a| load::whole(a.first()?));
        if reached.is_none_or(|reached| reached.unsigned_abs() < ends) {
            return Err(link.nonsense(&answer));
        }
    }
    let _lock = files::lock(dir, latest, config.budget)?;
    let mut record = server_record::read_or_rebuild(dir);
    let len = journal.metadata().map_err(files)?.len();
    // Otherwise the journal was rotated meanwhile, or another process has sent this piece.
    if record.unshipped.as_ref() == Some(&unshipped) {
        record.unshipped = (ends < len).then_some(Unshipped { at: ends, journal: name });
        server_record::write(dir, &record)?;
    }
    Ok(ends > from && ends < len)
}

/// Adds one entry to the call. A line that was not decided for this server, or by it, is skipped.
fn entry(call: &mut Cmd, ends: u64, line: &[u8]) {
    let fields = journal::fields(line).unwrap_or_default();
    let says = |field: &str, wanted: &str| fields.iter().any(|(name, value)| name == field && value == wanted);
    let is_its = says("degraded", "1") || says("store", server::NAME);
    let words = if is_its { fields.len() * 2 } else { 0 };
    call.arg(ends).arg(words);
    for (name, value) in fields.iter().filter(|_| is_its) {
        call.arg(name).arg(value);
    }
}

/// Returns the whole lines from an offset on: about this many bytes, and at least one line if there is one.
fn whole_lines(journal: &File, from: u64, about: usize) -> std::io::Result<Vec<u8>> {
    let mut most = about;
    loop {
        let mut bytes = vec![0; most];
        let n = read_at(journal, from, &mut bytes)?;
        bytes.truncate(n);
        match bytes.iter().rposition(|b| *b == b'\n') {
            Some(last) => bytes.truncate(last + 1),
            None if n < most || most >= LONGEST_LINE => bytes.clear(),
            None => {
                most = LONGEST_LINE;
                continue;
            }
        }
        return Ok(bytes);
    }
}

fn read_at(file: &File, from: u64, into: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, from + filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Returns the name of a journal on the server: a digest of its first line, empty while it has none.
pub(crate) fn name(journal: &File) -> std::io::Result<String> {
    let first = whole_lines(journal, 0, 4096)?;
    let line = first.split(|b| *b == b'\n').next().unwrap_or_default();
    if line.is_empty() {
        return Ok(String::new());
    }
    let mut name = String::new();
    for byte in Sha256::digest(line).iter().take(8) {
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}
