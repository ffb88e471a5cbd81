//! Changes of several files of a fleet that take place together, with the journal entry of their step.
//!
//! The temporary files are written first. Then `redo.json`, which contains the new content of every file and the entry,
//! gets its name; that rename is the commit. Then the files are replaced, the entry is appended, and `redo.json` is
//! removed. The next transaction under the fleet's lock finishes one that it finds. While the journal cannot be
//! written, `redo.json` stays and keeps the entries. All of this is done under the fleet's lock.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::Config;
use crate::policy::limits::Ms;
use crate::store::failover::server_record;
use crate::store::files::journal_file::LocalJournal;
use crate::store::files::state_file::{Before, FleetFile, Found};
use crate::store::files::{paths, state_file};
use crate::store::{StoreError, unknown_past};

/// The most entries that wait for a journal that cannot be written; beyond these the oldest are dropped.
const MOST_PENDING: usize = 100;

/// The content of `<fleet>/redo.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Redo {
    pub(crate) v: u32,
    files: Vec<Change>,
    /// The entries that may not have reached the journal, oldest first.
    entries: Vec<Pending>,
}

/// The new content of one file.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    /// The path in the fleet's folder.
    file: String,
    /// The content; `None` removes the file, unless it has a text.
    content: Option<Box<RawValue>>,
    /// The content of a file for other programs, which is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// A journal entry that was committed with the state.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    /// The journal's length before the entry.
    at: u64,
    /// The entry's line, with its newline.
    line: String,
}

/// The changes of one step.
pub(crate) struct Transaction<'a> {
    dir: &'a Path,
    files: Vec<Change>,
    /// The entries of earlier steps that the journal does not have yet.
    entries: Vec<Pending>,
    /// The journal, open once it contains the entries of earlier steps.
    journal: Option<LocalJournal>,
    /// Whether `redo.json` exists, so that it must be replaced, whatever is changed.
    lingers: bool,
}

/// Returns the path of the redo file in a fleet's folder.
pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("redo.json")
}

impl<'a> Transaction<'a> {
    /// Finishes an earlier transaction that was not finished, and begins one. Returns a note about that for a person.
    ///
    /// `ships` is whether entries of earlier steps are sent to a server.
    ///
    /// # Errors
    /// When an earlier transaction can neither be finished nor set aside.
    pub(crate) fn begin(
        config: &Config,
        dir: &'a Path,
        ships: bool,
        now: Ms,
    ) -> Result<(Self, Option<String>), StoreError> {
        let mut this = Self { dir, files: Vec::new(), entries: Vec::new(), journal: None, lingers: false };
        match state_file::load::<Redo>(&path(dir), now)? {
            Found::Nothing => Ok((this, None)),
            Found::State { state: redo, .. } => {
                this.finish(redo, ships)?;
                Ok((this, None))
            }
            Found::SetAside(note) => {
                hold_fleet(config, dir, now)?;
                this.remove_redo();
                Ok((this, Some(note)))
            }
        }
    }

    /// Puts everything of an earlier transaction in place.
    #[cold]
    #[inline(never)]
    fn finish(&mut self, redo: Redo, ships: bool) -> Result<(), StoreError> {
        for change in redo.files.iter().filter(|change| change.is_of_a_fleet() && !change.is_in_place(self.dir)) {
            change.write(self.dir)?;
            change.put_in_place(self.dir)?;
        }
        self.entries = redo.entries;
        self.settle(ships);
        if self.entries.is_empty() {
            self.remove_redo();
        } else {
            self.lingers = true;
        }
        Ok(())
    }

    /// Opens the journal and appends the entries of earlier steps; keeps those that it cannot take.
    fn settle(&mut self, ships: bool) {
        let Ok(mut journal) = LocalJournal::open(self.dir) else { return };
        if ships && !self.entries.is_empty() && server_record::begin_shipping(self.dir, &journal).is_err() {
            return;
        }
        let mut left = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            let there = || journal.holds(entry.at, &entry.line);
            let settled =
                left.is_empty() && matches!(there(), Ok(there) if there || journal.append(&entry.line).is_ok());
            if !settled {
                left.push(entry);
            }
        }
        // Out of order is worse than late: nothing new is written before the remaining entries.
        self.journal = left.is_empty().then_some(journal);
        self.entries = left;
    }

    fn remove_redo(&mut self) {
        #[cfg(test)]
        crate::store::simulator::operation("remove");
        self.lingers = matches!(fs::remove_file(path(self.dir)), Err(e) if e.kind() != ErrorKind::NotFound);
    }

    /// Writes a state to the file that was read as `before`; an equal state leaves the file as it is.
    ///
    /// # Errors
    /// When it cannot be serialized.
    pub(crate) fn put<T: Serialize>(&mut self, file: String, state: &T, before: &Before) -> Result<(), StoreError> {
        let path = || self.dir.join(&file);
        let next =
            before.next(state).map_err(|e| StoreError::Files { doing: "write", path: path(), cause: e.into() })?;
        if let Some(content) = next {
            self.files.push(Change { file, content: Some(content), text: None });
        }
        Ok(())
    }

    /// Removes a file.
    pub(crate) fn remove(&mut self, file: String) {
        self.files.push(Change { file, content: None, text: None });
    }

    /// Writes a file for other programs.
    pub(crate) fn put_text(&mut self, file: String, text: String) {
        self.files.push(Change { file, content: None, text: Some(text) });
    }

    /// Commits all changes, with an entry's line for the journal.
    ///
    /// An entry that the journal cannot take stays pending and stops no verdict.
    ///
    /// # Errors
    /// When nothing was committed.
    pub(crate) fn commit(mut self, line: Option<String>) -> Result<(), StoreError> {
        if let Some(line) = line {
            if self.entries.is_empty() && self.journal.is_none() {
                self.journal = LocalJournal::open(self.dir).ok();
            }
            let at = self.journal.as_ref().map_or(0, LocalJournal::len);
            self.entries.push(Pending { at, line });
            let over = self.entries.len().saturating_sub(MOST_PENDING);
            self.entries.drain(..over);
        }
        for change in &self.files {
            change.write(self.dir)?;
        }
        if self.entries.is_empty() && self.files.len() <= 1 && !self.lingers {
            return self.files.iter().try_for_each(|change| change.put_in_place(self.dir));
        }
        let redo = Redo { v: state_file::VERSION, files: self.files, entries: self.entries };
        state_file::replace(&path(self.dir), &redo)?;
        #[cfg(test)]
        crate::store::simulator::committed(self.dir, &redo.changes(), redo.entries.last().map(|entry| &*entry.line));
        // The change is committed from here on: the next transaction does what is left.
        if redo.files.iter().any(|change| change.put_in_place(self.dir).is_err()) {
            return Ok(());
        }
        let is_journaled = match (&mut self.journal, redo.entries.last()) {
            (_, None) => true,
            (Some(journal), Some(entry)) => journal.append(&entry.line).is_ok(),
            (None, Some(_)) => false,
        };
        #[cfg(test)]
        crate::store::simulator::operation("remove");
        if is_journaled {
            let _ = fs::remove_file(path(self.dir));
        }
        Ok(())
    }
}

#[cfg(test)]
impl Redo {
    /// Returns the changed files with their contents.
    fn changes(&self) -> Vec<(&str, Option<&str>)> {
        self.files
            .iter()
            .map(|change| (&*change.file, change.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())))
            .collect()
    }
}

impl Change {
    /// Returns whether it is a file that a transaction writes.
    fn is_of_a_fleet(&self) -> bool {
        let path = Path::new(&self.file);
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let folders = [paths::SCOPES, paths::SESSIONS, paths::WORK, paths::WORK_RECORDS, paths::SLEEPING];
        is_plain && (self.file == paths::FLEET || folders.iter().any(|folder| path.starts_with(folder)))
    }

    /// Returns the bytes of the file; `None` where it is removed.
    fn bytes(&self) -> Option<&[u8]> {
        let content = self.content.as_deref().map(RawValue::get);
        content.or(self.text.as_deref()).map(str::as_bytes)
    }

    /// Returns the result of an operation on the file. A file that no decision reads stops none.
    fn result(&self, done: Result<(), StoreError>) -> Result<(), StoreError> {
        if Path::new(&self.file).starts_with(paths::SLEEPING) { Ok(()) } else { done }
    }

    /// Returns whether the file has this content already: on a full disk it could not be written again.
    fn is_in_place(&self, dir: &Path) -> bool {
        let found = fs::symlink_metadata(dir.join(&self.file)).map(|about| (about.is_file(), about.len()));
        match (self.bytes(), found) {
            (None, Err(e)) => e.kind() == ErrorKind::NotFound,
            (Some(content), Ok((true, len))) if len == content.len() as u64 => {
                fs::read(dir.join(&self.file)).is_ok_and(|bytes| bytes == content)
            }
            _ => false,
        }
    }

    /// Writes the temporary file.
    fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let Some(bytes) = self.bytes() else { return Ok(()) };
        self.result(state_file::write_temporary(&dir.join(&self.file), bytes))
    }

    /// Replaces the file by the temporary one, or removes it.
    fn put_in_place(&self, dir: &Path) -> Result<(), StoreError> {
        let path = dir.join(&self.file);
        if self.bytes().is_some() {
            return self.result(state_file::put_in_place(&path));
        }
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                self.result(Err(StoreError::Files { doing: "remove", path, cause }))
            }
            _ => Ok(()),
        }
    }
}

/// Holds the fleet for as long as any limit reaches back.
///
/// It is not known which scope an unreadable transaction has admitted.
#[cold]
fn hold_fleet(config: &Config, dir: &Path, now: Ms) -> Result<(), StoreError> {
    let path = state_file::fleet(dir);
    let mut file = state_file::peek::<FleetFile>(&path).unwrap_or_default();
    let unknown = unknown_past::fleet(config, now).hold;
    let end = |hold: &Option<crate::policy::hold::Hold>| hold.as_ref().map(|h| h.until.unwrap_or(Ms::MAX));
    if end(&file.fleet.hold) < end(&unknown) {
        file.fleet.hold = unknown;
    }
    state_file::replace(&path, &file)
}
