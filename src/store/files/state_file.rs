//! The embedded store's state files: read, replaced by an atomic rename, set aside when they cannot be read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::policy::documents::{FleetState, ScopeState, SessionState};
use crate::policy::fact::FactId;
use crate::policy::limits::Ms;
use crate::policy::rest::{Rest, RestKind};
use crate::read;
use crate::store::StoreError;
use crate::store::failover::merge_base::{Away, Base};
use crate::store::failover::server_record::FOREVER;
use crate::store::files::paths;
use crate::store::files::transaction::Redo;
use crate::store::unknown::Unknown;
use crate::text;

/// The version of the files' layout.
pub(crate) const VERSION: u32 = 1;

/// The largest state file: 10,000 times of a quota are a fiftieth of it.
const LARGEST: u64 = 8 * 1024 * 1024;

/// The most sessions of a scope that are sent to a server, the last seen first, because a request has a deadline.
pub(crate) const MOST_BROUGHT: usize = 200;

/// The content of `<fleet>/scopes/<xx>/<scope>.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScopeFile {
    v: u32,
    pub(crate) scope: ScopeState,
    /// The sessions that are sent to the server, by id; at most [`MOST_BROUGHT`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sessions: BTreeMap<String, Listed>,
    /// A new id each time that the scope is given back to the server.
    ///
    /// Decisions made here under an earlier id are out of date.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) tenure: String,
    /// The server's document as it was last seen, where it or a session of the scope restricts anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<Base>,
    /// The decisions that the server has not received, while this store decides in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) away: Option<Away>,
    /// When a server last took the scope back; zero where a server decided for it from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given_back: Option<Ms>,
}

impl ScopeFile {
    pub(crate) fn new(scope: ScopeState) -> Self {
        Self {
            v: VERSION,
            scope,
            sessions: BTreeMap::new(),
            tenure: String::new(),
            base: None,
            away: None,
            given_back: None,
        }
    }

    /// Lists a session that is sent to the server.
    pub(crate) fn list(&mut self, id: &str, session: &SessionState, now: Ms) {
        let rest = restricting(session, now);
        let rest_until = rest.map(|r| r.until.unwrap_or(FOREVER));
        let rest = rest.map_or(0, Rest::identity);
        self.sessions.insert(id.to_owned(), Listed { seen: now, rest_until, rest });
        if self.sessions.len() > MOST_BROUGHT
            && let Some(oldest) = self.sessions.iter().min_by_key(|(_, listed)| listed.seen).map(|(id, _)| id.clone())
        {
            self.sessions.remove(&oldest);
        }
    }
}

/// A session that is sent to the server, as its scope's file names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// When it was listed.
    pub(crate) seen: Ms,
    /// When its rest ends, if it rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rest_until: Option<Ms>,
    /// The id of that rest.
    #[serde(default)]
    pub(crate) rest: FactId,
}

/// Returns the session's rest that lasts, except one of the client's own tasks, for want of work or outside the working
/// hours, which each Stop event books anew.
pub(crate) fn restricting(session: &SessionState, now: Ms) -> Option<&Rest> {
    let is_kept = |rest: &&Rest| {
        !matches!(rest.kind, RestKind::Parked | RestKind::NoWork | RestKind::OffHours) && rest.lasts(now)
    };
    session.rest.as_ref().filter(is_kept)
}

impl Listed {
    /// Returns whether the session rests.
    pub(crate) fn rests(&self, now: Ms) -> bool {
        self.rest_until.is_some_and(|until| until > now)
    }
}

/// The content of `<fleet>/sessions/<xx>/<session>.json`: the only file of a session, whatever its scope is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionFile {
    v: u32,
    /// Whether it is the server's document, and nothing of it was decided here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mirror: bool,
    /// The server's document, where the session was decided here since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<SessionState>,
    /// The tenure of its scope's file under which it was decided here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) tenure: String,
    pub(crate) session: SessionState,
}

impl SessionFile {
    /// Makes the file of a session that was decided here, in the scope of this file, since the server's document was
    /// this base.
    pub(crate) fn decided(session: SessionState, base: Option<SessionState>, scope: &ScopeFile) -> Self {
        Self { v: VERSION, mirror: false, base, tenure: scope.tenure.clone(), session }
    }

    /// Makes the file of a session as a server's document has it, by this machine's clock.
    pub(crate) fn seen(session: SessionState) -> Self {
        Self { v: VERSION, mirror: true, base: None, tenure: String::new(), session }
    }

    /// Returns the server's document, as far as it is known.
    pub(crate) fn base(&self) -> Option<&SessionState> {
        if self.mirror { Some(&self.session) } else { self.base.as_ref() }
    }

    /// Works as [`Rest::rebase`], for both documents.
    pub(crate) fn rebase(&mut self, now: Ms) {
        let both = [Some(&mut self.session), self.base.as_mut()].into_iter().flatten();
        both.filter_map(|session| session.rest.as_mut()).for_each(|rest| rest.rebase(now));
    }

    /// Returns whether it is up to date, by the file of its scope.
    pub(crate) fn is_current(&self, id: &str, scope: Option<&ScopeFile>) -> bool {
        match scope {
            Some(scope) if self.mirror => scope.sessions.contains_key(id),
            Some(scope) => self.tenure == scope.tenure,
            None => !self.mirror && self.tenure.is_empty(),
        }
    }

    /// Returns whether a step in `scope`, with the file `file`, is decided from it.
    pub(crate) fn counts(&self, dir: &Path, id: &str, scope: &str, file: &ScopeFile) -> bool {
        let of = &self.session.scope;
        if of == scope || of.is_empty() {
            return self.is_current(id, Some(file));
        }
        // The server's document in another scope may be long out of date.
        !self.mirror && text::is_encoded(of) && self.is_current(id, peek::<ScopeFile>(&self::scope(dir, of)).as_ref())
    }
}

/// The file of a scope in the layout before this one, of which only the scope's own state is read.
#[derive(Deserialize)]
struct OldScopeFile {
    v: u32,
    scope: ScopeState,
}

/// The content of `<fleet>/fleet.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FleetFile {
    v: u32,
    pub(crate) fleet: FleetState,
    /// Whether a server decides, by the configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) left: bool,
    /// When files began to decide again, where a server did before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Ms>,
}

impl FleetFile {
    pub(crate) fn new(fleet: FleetState) -> Self {
        Self { v: VERSION, fleet, left: false, since: None }
    }
}

impl Default for FleetFile {
    fn default() -> Self {
        Self::new(FleetState::default())
    }
}

/// Works as [`load`], but leaves a file that cannot be read in its place: the line reports it.
///
/// # Errors
/// When a newer program wrote it.
#[allow(private_bounds, reason = "the state files are the only ones")]
pub(crate) fn load_in_place<T: DeserializeOwned + Serialize + Versioned>(path: &Path) -> Result<Found<T>, StoreError> {
    match read_as(path)? {
        Ok(found) => Ok(found),
        Err(cause) => Ok(Found::SetAside(cause)),
    }
}

/// The result of reading a state file.
pub(crate) enum Found<T> {
    /// Its content, and the basis of a change.
    State { state: T, before: Before },
    /// There is no file.
    Nothing,
    /// The file could not be read and was renamed; the line reports that.
    SetAside(String),
}

/// A file as it was read: the basis of a comparison, and the unknown fields to carry over.
///
/// It is empty where there is no file, or no readable one.
#[derive(Debug, Default)]
pub(crate) struct Before {
    text: Vec<u8>,
    unknown: Unknown,
}

impl Before {
    /// Makes the file that this state was read from.
    fn of<T: Serialize>(text: Vec<u8>, state: &T) -> Self {
        let own = serde_json::to_vec(state).unwrap_or_default();
        let unknown = if own == text { Unknown::default() } else { Unknown::of(&text, &own).unwrap_or_default() };
        Self { text, unknown }
    }

    /// Reads the file of this kind as it is now.
    #[allow(private_bounds, reason = "the state files are the only ones")]
    pub(crate) fn read<T: DeserializeOwned + Serialize + Versioned>(path: &Path) -> Self {
        let text = read::file(path, LARGEST).unwrap_or_default();
        match serde_json::from_slice::<T>(&text) {
            Ok(state) if state.version() == VERSION => Self::of(text, &state),
            _ => Self { text, unknown: Unknown::default() },
        }
    }

    /// Returns whether there was no file.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns whether it has fields of a newer program.
    pub(crate) fn has_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Returns the file's next content; `None` where nothing changes.
    ///
    /// # Errors
    /// When the state cannot be serialized.
    pub(crate) fn next<T: Serialize>(&self, state: &T) -> serde_json::Result<Option<Box<RawValue>>> {
        let mut content = serde_json::to_string(state)?;
        if !self.unknown.is_empty() {
            content = self.unknown.carried(&content)?;
        }
        if content.as_bytes() == self.text {
            return Ok(None);
        }
        RawValue::from_string(content).map(Some)
    }
}

/// A state with the version of its file.
pub(crate) trait Versioned {
    /// Returns the version.
    fn version(&self) -> u32;
}

impl Versioned for ScopeFile {
    fn version(&self) -> u32 {
        self.v
    }
}

impl Versioned for SessionFile {
    fn version(&self) -> u32 {
        self.v
    }
}

impl Versioned for OldScopeFile {
    fn version(&self) -> u32 {
        self.v
    }
}

impl Versioned for Redo {
    fn version(&self) -> u32 {
        self.v
    }
}

impl Versioned for FleetFile {
    fn version(&self) -> u32 {
        self.v
    }
}

/// Reads a state file. A file that cannot be read, whatever the cause, gets the name `*.bad-<ms>`.
///
/// The caller must [`replace`] it in the same step. Until then it keeps its old name too, so that no crash leaves a
/// clean slate.
///
/// # Errors
/// When it can neither be read nor renamed, or a newer program wrote it.
#[allow(private_bounds, reason = "the state files are the only ones")]
pub(crate) fn load<T: DeserializeOwned + Serialize + Versioned>(path: &Path, now: Ms) -> Result<Found<T>, StoreError> {
    let cause = match read_as(path)? {
        Ok(found) => return Ok(found),
        Err(cause) => cause,
    };
    let mut bad = OsString::from(path);
    bad.push(format!(".bad-{now}"));
    let bad = PathBuf::from(bad);
    // A folder in its place cannot be linked.
    let aside = fs::hard_link(path, &bad).or_else(|_| fs::rename(path, &bad));
    aside.map_err(|cause| StoreError::Files { doing: "set aside", path: path.to_owned(), cause })?;
    Ok(Found::SetAside(format!(
        "the state in {} could not be read ({cause}); it was set aside, and its past is unknown: look at it with: less {}",
        text::path(path),
        text::path(&bad)
    )))
}

/// Reads a state file; the inner error is why it cannot be read.
fn read_as<T: DeserializeOwned + Serialize + Versioned>(path: &Path) -> Result<Result<Found<T>, String>, StoreError> {
    let bytes = match read::file(path, LARGEST) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Ok(Found::Nothing)),
        Err(e) => return Ok(Err(e.to_string())),
        Ok(bytes) => bytes,
    };
    Ok(match serde_json::from_slice::<T>(&bytes) {
        Ok(state) if state.version() == VERSION => {
            let before = Before::of(bytes, &state);
            Ok(Found::State { state, before })
        }
        read => {
            if let Some(version) = newer(&bytes) {
                return Err(StoreError::NewerFile { path: path.to_owned(), expected: VERSION, version });
            }
            let wrong = |state: T| format!("version {} where {VERSION} was expected", state.version());
            Err(read.map_or_else(|e| e.to_string(), wrong))
        }
    })
}

/// Returns the version of a file that a newer program wrote.
fn newer(bytes: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    serde_json::from_slice::<Version>(bytes).ok().map(|file| file.v).filter(|version| *version > VERSION)
}

/// Returns the path of a scope's file in the fleet's folder.
pub(crate) fn scope(dir: &Path, scope: &str) -> PathBuf {
    dir.join(paths::scope(scope))
}

/// Returns the path of a session's file in the fleet's folder.
pub(crate) fn session(dir: &Path, id: &str) -> PathBuf {
    dir.join(paths::session(id))
}

/// Returns the path of a scope's file in the layout before this one, inside the fleet's folder.
pub(crate) fn old_scope(scope: &str) -> String {
    format!("{}/{scope}.json", paths::SCOPES)
}

/// Returns the scope's state in the layout before this one, where it was not taken over yet.
pub(crate) fn peek_old_scope(dir: &Path, scope: &str) -> Option<ScopeState> {
    peek::<OldScopeFile>(&dir.join(old_scope(scope))).map(|file| file.scope)
}

/// Works as [`peek`], for a scope in either layout.
pub(crate) fn peek_scope(dir: &Path, name: &str) -> Option<ScopeFile> {
    peek(&scope(dir, name)).or_else(|| peek_old_scope(dir, name).map(ScopeFile::new))
}

/// Returns the session that a step in `scope`, with the file `file`, would be decided from.
pub(crate) fn peek_session(dir: &Path, id: &str, scope: &str, file: &ScopeFile) -> Option<SessionState> {
    let found = peek::<SessionFile>(&session(dir, id))?;
    found.counts(dir, id, scope, file).then_some(found.session)
}

/// Returns the sessions that a scope's file lists and that still belong to this scope.
pub(crate) fn listed(dir: &Path, scope: &str, file: &ScopeFile) -> Vec<(String, SessionFile)> {
    let read = |id: &String| {
        let found = peek::<SessionFile>(&session(dir, id))?;
        let is_of_scope = found.session.scope == scope || found.session.scope.is_empty();
        (is_of_scope && found.is_current(id, Some(file))).then(|| (id.clone(), found))
    };
    file.sessions.keys().filter_map(read).collect()
}

/// Returns the path of the fleet's file.
pub(crate) fn fleet(dir: &Path) -> PathBuf {
    dir.join(paths::FLEET)
}

/// Reads a state file without the lock, and ignores an unreadable one: for display, not for decisions.
#[allow(private_bounds, reason = "the state files are the only ones")]
pub(crate) fn peek<T: DeserializeOwned + Versioned>(path: &Path) -> Option<T> {
    let state = read::short(path, LARGEST, |bytes| serde_json::from_slice::<T>(bytes).ok());
    state.ok()?.filter(|state| state.version() == VERSION)
}

/// Replaces a file atomically.
///
/// # Errors
/// When it cannot be written; the old file then remains.
pub(crate) fn replace<T: Serialize>(path: &Path, state: &T) -> Result<(), StoreError> {
    let failed = |e: serde_json::Error| StoreError::Files { doing: "write", path: path.to_owned(), cause: e.into() };
    write_temporary(path, &serde_json::to_vec(state).map_err(failed)?)?;
    put_in_place(path)
}

/// Writes the temporary file that is to replace a file.
///
/// Its name is fixed: the fleet's lock has one writer, and a crash leaves one file.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_temporary(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    #[cfg(test)]
    crate::store::simulator::operation("write");
    let temporary = temporary(path);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)
    };
    let written = match write() {
        // It is the first file of a folder, or the folder was removed.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path);
            DirBuilder::new().recursive(true).mode(0o700).create(folder).and_then(|()| write())
        }
        written => written,
    };
    written.map_err(|cause| StoreError::Files { doing: "write", path: path.to_owned(), cause })
}

/// Replaces a file by its temporary one.
///
/// # Errors
/// When it cannot be renamed; the old file then remains.
pub(crate) fn put_in_place(path: &Path) -> Result<(), StoreError> {
    #[cfg(test)]
    crate::store::simulator::operation("rename");
    let renamed = fs::rename(temporary(path), path);
    renamed.map_err(|cause| StoreError::Files { doing: "write", path: path.to_owned(), cause })
}

fn temporary(path: &Path) -> OsString {
    let mut temporary = OsString::from(path);
    temporary.push(".tmp");
    temporary
}
