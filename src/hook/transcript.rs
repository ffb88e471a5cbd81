//! Measures the turn that a Stop event ended, from the client's transcript.
//!
//! The client writes the transcript while it runs the hook: the last message may arrive a while after the hook starts.
//! The measuring reads on from the place where the last turn ended, until it has seen the payload's last message.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

mod growing_file;
mod tally;
#[cfg(test)]
mod tests;

use crate::policy::turn::{TranscriptPlace, Turn};
use growing_file::Lines;
use tally::{Role, Tally};

/// How long a turn may be measured, before its Stop event is sent without it.
pub(super) const LONGEST: Duration = Duration::from_secs(2);
/// How long the measuring waits for a file that does not exist yet.
const MISSING: Duration = Duration::from_millis(300);
/// How long it waits before it reads again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// The part of an unfamiliar file that is searched for the beginning of its last turn.
const TAIL: u64 = 16 * 1024 * 1024;

/// Measures the last turn of the transcript at `path`.
///
/// `from` is the end of the turn before, where it is known. Without it, or in another file, the turn begins with the
/// file's last prompt. `last_message` is the end of the turn: the agent's last message. Reading ends at `until`, or
/// when `interrupted` returns true; the turn is then not seen.
pub(super) fn measure(
    path: &str,
    from: Option<&TranscriptPlace>,
    last_message: Option<&str>,
    until: Instant,
    interrupted: impl Fn() -> bool,
) -> Turn {
    let begun = Instant::now();
    let ends = || interrupted() || Instant::now() >= until;
    let mut transcript = Transcript { path, from: from.filter(|from| from.path == path), reading: None };
    let turn = match last_message {
        Some(message) => transcript.follow(&tally::squeezed(message), begun, ends),
        None => None,
    };
    let unseen = || {
        let version = transcript.reading.as_ref().map(|reading| reading.tally.version.clone()).unwrap_or_default();
        Turn { place: from.cloned(), version, ..Turn::default() }
    };
    Turn { spent: begun.elapsed(), ..turn.unwrap_or_else(unseen) }
}

/// A transcript that grows while it is read.
struct Transcript<'a> {
    path: &'a str,
    /// The end of the turn before, in a file of this path.
    from: Option<&'a TranscriptPlace>,
    reading: Option<Reading>,
}

/// The part of one file that was read.
struct Reading {
    inode: u64,
    lines: Lines,
    tally: Tally,
    /// The turn up to the last place at which its last message was complete, and that place.
    found: Option<(Tally, u64)>,
}

impl Transcript<'_> {
    /// Reads until the message is there, and returns the turn that ended with it.
    fn follow(&mut self, message: &str, begun: Instant, ends: impl Fn() -> bool) -> Option<Turn> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.read(message, &ends) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::NotFound && begun.elapsed() < MISSING => {}
                Err(_) => return None,
            }
            if let Some(reading) = &self.reading
                && let Some((tally, end)) = &reading.found
            {
                let place = TranscriptPlace { path: self.path.to_owned(), inode: reading.inode, offset: *end };
                return Some(tally.turn(place));
            }
            if ends() {
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads the complete lines that the file has now.
    fn read(&mut self, message: &str, ends: &impl Fn() -> bool) -> io::Result<()> {
        let about = fs::metadata(self.path)?;
        let mut reading = match self.reading.take().filter(|reading| reading.is_of(&about)) {
            Some(reading) => reading,
            None => self.open()?,
        };
        let read = reading.read_on(message, ends);
        self.reading = Some(reading);
        read
    }

    fn open(&self) -> io::Result<Reading> {
        let (file, about) = growing_file::open(self.path)?;
        let (inode, length) = (about.ino(), about.len());
        let known = self.from.filter(|from| from.inode == inode && from.offset <= length);
        let (tally, lines) = match known {
            Some(from) => (Tally::default(), Lines::at(file, from.offset)),
            None if length <= TAIL => (Tally::of_last_turn(true), Lines::at(file, 0)),
            None => (Tally::of_last_turn(false), Lines::within(file, length - TAIL)),
        };
        Ok(Reading { inode, lines, tally, found: None })
    }
}

impl Reading {
    /// Returns whether the path still leads to this file, which was not cut.
    fn is_of(&self, about: &Metadata) -> bool {
        about.ino() == self.inode && about.len() >= self.lines.end()
    }

    fn read_on(&mut self, message: &str, ends: &impl Fn() -> bool) -> io::Result<()> {
        let Self { lines, tally, found, .. } = self;
        let take = |line: &[u8], end: u64| match tally.take(line) {
            Role::Agents if tally.has_ended_with(message) => *found = Some((tally.clone(), end)),
            // The message goes on after this part of it.
            Role::Agents => drop(found.take_if(|(found, _)| found.is_at_message_of(tally))),
            // It was the end of an earlier turn.
            Role::Restart => *found = None,
            Role::Other => {}
        };
        lines.read_on(take, ends)
    }
}
