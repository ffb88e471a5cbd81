//! The embedded store's state files: read, replaced by an atomic rename, set aside when they cannot be read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::mirror::{Away, Mirror};
use super::server_record::FOREVER;
use super::transaction::Redo;
use super::{StoreError, place};
use crate::read;
use crate::text;
use crate::throttle::policy::Ms;
use crate::throttle::state::{FleetState, ScopeState, SessionState};

/// The version of the files' layout.
pub(super) const VERSION: u32 = 1;

/// No state file is larger: 10,000 times of a quota are a fiftieth of it.
const LARGEST: u64 = 8 * 1024 * 1024;

/// No more sessions of a scope are brought to a server, the last seen first: an ask has a deadline.
pub(super) const MOST_BROUGHT: usize = 200;

/// `<fleet>/scopes/<xx>/<scope>.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ScopeFile {
    v: u32,
    pub(super) scope: ScopeState,
    /// The sessions that are brought to the server, by id; at most [`MOST_BROUGHT`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) sessions: BTreeMap<String, Listed>,
    /// Another one each time that the scope is given back to the server: what was decided here under an earlier one is out of
    /// date.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) tenure: String,
    /// What the server last said, where it may have to be remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mirror: Option<Mirror>,
    /// What it has not been told yet, while this store decides in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) away: Option<Away>,
    /// When the server last took the scope back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given_back: Option<Ms>,
}

impl ScopeFile {
    pub(super) fn new(scope: ScopeState) -> Self {
        Self {
            v: VERSION,
            scope,
            sessions: BTreeMap::new(),
            tenure: String::new(),
            mirror: None,
            away: None,
            given_back: None,
        }
    }

    /// Lists a session that is brought to the server.
    pub(super) fn list(&mut self, id: &str, session: &SessionState, now: Ms) {
        let rest_until = session.rest.as_ref().filter(|r| r.lasts(now)).map(|r| r.until.unwrap_or(FOREVER));
        self.sessions.insert(id.to_owned(), Listed { seen: now, rest_until });
        if self.sessions.len() > MOST_BROUGHT
            && let Some(oldest) = self.sessions.iter().min_by_key(|(_, listed)| listed.seen).map(|(id, _)| id.clone())
        {
            self.sessions.remove(&oldest);
        }
    }
}

/// A session that is brought to the server, as its scope's file names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Listed {
    /// When it was listed.
    pub(super) seen: Ms,
    /// When its rest ends, if it rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rest_until: Option<Ms>,
}

impl Listed {
    /// Whether it rests.
    pub(super) fn rests(&self, now: Ms) -> bool {
        self.rest_until.is_some_and(|until| until > now)
    }
}

/// `<fleet>/sessions/<xx>/<session>.json`: the one place of a session, whatever its scope is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionFile {
    v: u32,
    /// It is what a server last said, and was not decided here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) mirror: bool,
    /// The tenure of its scope's file under which it was decided here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) tenure: String,
    pub(super) session: SessionState,
}

impl SessionFile {
    /// A session as it was decided here, in the scope of this file.
    pub(super) fn decided(session: SessionState, scope: &ScopeFile) -> Self {
        Self { v: VERSION, mirror: false, tenure: scope.tenure.clone(), session }
    }

    /// A session as a server said it.
    pub(super) fn said(session: SessionState) -> Self {
        Self { v: VERSION, mirror: true, tenure: String::new(), session }
    }

    /// Whether it is up to date, by the file of its scope.
    pub(super) fn is_current(&self, id: &str, scope: Option<&ScopeFile>) -> bool {
        match scope {
            Some(scope) if self.mirror => scope.sessions.contains_key(id),
            Some(scope) => self.tenure == scope.tenure,
            None => !self.mirror && self.tenure.is_empty(),
        }
    }

    /// Whether a step in `scope`, whose file is `file`, is decided from it.
    pub(super) fn counts(&self, dir: &Path, id: &str, scope: &str, file: &ScopeFile) -> bool {
        let of = &self.session.scope;
        if of == scope || of.is_empty() {
            return self.is_current(id, Some(file));
        }
        // What a server said in another scope may be long over.
        !self.mirror && text::is_encoded(of) && self.is_current(id, peek::<ScopeFile>(&self::scope(dir, of)).as_ref())
    }
}

/// The file of a scope in the layout before this one, of which the scope's own state alone is read.
#[derive(Deserialize)]
struct OldScopeFile {
    v: u32,
    scope: ScopeState,
}

/// `<fleet>/fleet.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FleetFile {
    v: u32,
    pub(super) fleet: FleetState,
}

impl FleetFile {
    pub(super) fn new(fleet: FleetState) -> Self {
        Self { v: VERSION, fleet }
    }
}

/// What reading a state file brought.
pub(super) enum Found<T> {
    /// Its content, and the text that it was read from.
    State { state: T, text: Vec<u8> },
    /// There is none.
    Nothing,
    /// It could not be read and was renamed; the line says so.
    SetAside(String),
}

trait Versioned {
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

/// Reads a state file. One that cannot be read, whatever the cause, gets the name `*.bad-<ms>`; the caller must
/// [`replace`] it in the same step. Until then it keeps its old name too, so that no crash leaves a clean slate.
///
/// # Errors
/// When it can neither be read nor renamed.
#[allow(private_bounds, reason = "the state files are the only ones")]
pub(super) fn load<T: DeserializeOwned + Versioned>(path: &Path, now: Ms) -> Result<Found<T>, StoreError> {
    let cause = match read::file(path, LARGEST) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => e.to_string(),
        Ok(bytes) => match serde_json::from_slice::<T>(&bytes) {
            Ok(state) if state.version() == VERSION => return Ok(Found::State { state, text: bytes }),
            Ok(state) => format!("version {} where {VERSION} was expected", state.version()),
            Err(e) => e.to_string(),
        },
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

/// Where a scope's file is in the fleet's folder.
pub(super) fn scope(dir: &Path, scope: &str) -> PathBuf {
    dir.join(place::scope(scope))
}

/// Where a session's file is in the fleet's folder.
pub(super) fn session(dir: &Path, id: &str) -> PathBuf {
    dir.join(place::session(id))
}

/// Where the layout before this one had a scope's file, in the fleet's folder.
pub(super) fn old_scope(scope: &str) -> String {
    format!("{}/{scope}.json", place::SCOPES)
}

/// The scope's state in the layout before this one, where it was not taken over yet.
pub(super) fn peek_old_scope(dir: &Path, scope: &str) -> Option<ScopeState> {
    peek::<OldScopeFile>(&dir.join(old_scope(scope))).map(|file| file.scope)
}

/// As [`peek`], for a scope in either layout.
pub(super) fn peek_scope(dir: &Path, name: &str) -> Option<ScopeFile> {
    peek(&scope(dir, name)).or_else(|| peek_old_scope(dir, name).map(ScopeFile::new))
}

/// The session that a step in `scope`, whose file is `file`, would be decided from.
pub(super) fn peek_session(dir: &Path, id: &str, scope: &str, file: &ScopeFile) -> Option<SessionState> {
    let found = peek::<SessionFile>(&session(dir, id))?;
    found.counts(dir, id, scope, file).then_some(found.session)
}

/// The sessions that a scope's file lists, of those that are still of this scope.
pub(super) fn listed(dir: &Path, scope: &str, file: &ScopeFile) -> Vec<(String, SessionState)> {
    let read = |id: &String| {
        let found = peek::<SessionFile>(&session(dir, id))?;
        let is_of_scope = found.session.scope == scope || found.session.scope.is_empty();
        (is_of_scope && found.is_current(id, Some(file))).then(|| (id.clone(), found.session))
    };
    file.sessions.keys().filter_map(read).collect()
}

/// Where the fleet's file is.
pub(super) fn fleet(dir: &Path) -> PathBuf {
    dir.join(place::FLEET)
}

/// Reads a state file without the lock and without a word about one that cannot be read: for looking, not for deciding.
#[allow(private_bounds, reason = "the state files are the only ones")]
pub(super) fn peek<T: DeserializeOwned + Versioned>(path: &Path) -> Option<T> {
    let state = read::short(path, LARGEST, |bytes| serde_json::from_slice::<T>(bytes).ok());
    state.ok()?.filter(|state| state.version() == VERSION)
}

/// Replaces a file atomically.
///
/// # Errors
/// When it cannot be written; the old file then stands.
pub(super) fn replace<T: Serialize>(path: &Path, state: &T) -> Result<(), StoreError> {
    let failed = |e: serde_json::Error| StoreError::Files { doing: "write", path: path.to_owned(), cause: e.into() };
    write_temporary(path, &serde_json::to_vec(state).map_err(failed)?)?;
    put_in_place(path)
}

/// Writes the temporary file that is to replace a file. Its name is fixed: the fleet's lock has one writer, and a crash leaves
/// one file.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_temporary(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    #[cfg(test)]
    super::simulator::operation("write");
    let temporary = temporary(path);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)
    };
    let written = match write() {
        // The first file of a folder, or the folder was removed.
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
/// When it cannot be renamed; the old file then stands.
pub(super) fn put_in_place(path: &Path) -> Result<(), StoreError> {
    #[cfg(test)]
    super::simulator::operation("rename");
    let renamed = fs::rename(temporary(path), path);
    renamed.map_err(|cause| StoreError::Files { doing: "write", path: path.to_owned(), cause })
}

fn temporary(path: &Path) -> OsString {
    let mut temporary = OsString::from(path);
    temporary.push(".tmp");
    temporary
}
