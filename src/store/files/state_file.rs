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

use crate::policy::documents::FactId;
use crate::policy::documents::FleetState;
use crate::policy::documents::Rest;
use crate::policy::documents::RestKind;
use crate::policy::documents::ScopeState;
use crate::policy::documents::SessionState;
use crate::policy::limits::Ms;
use crate::read;
use crate::store::StoreError;
use crate::store::failover::last_seen::Away;
use crate::store::failover::last_seen::Base;
use crate::store::failover::server_record::FOREVER;
use crate::store::files::paths;
use crate::store::files::transaction::Redo;
use crate::store::unknown::Unknown;
use crate::text;

/// The version of the files' layout.
pub(crate) const VERSION: u32 = 1;

/// No state file is larger: 10,000 times of a quota are a fiftieth of it.
const LARGEST: u64 = 8 * 1024 * 1024;

/// No more sessions of a scope are brought to a server, the last seen first: an ask has a deadline.
pub(crate) const MOST_BROUGHT: usize = 200;

/// `<fleet>/scopes/<xx>/<scope>.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScopeFile {
    v: u32,
    pub(crate) scope: ScopeState,
    /// The sessions that are brought to the server, by id; at most [`MOST_BROUGHT`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sessions: BTreeMap<String, Listed>,
    /// Another one each time that the scope is given back to the server: what was decided here under an earlier one is out of
    /// date.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) tenure: String,
    /// The server's document as it was last seen, where it or a session of the scope restricts anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<Base>,
    /// What it has not been told yet, while this store decides in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) away: Option<Away>,
    /// When a server last took the scope back; zero where one decided for it from the beginning.
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

    /// Lists a session that is brought to the server.
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

/// A session that is brought to the server, as its scope's file names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// When it was listed.
    pub(crate) seen: Ms,
    /// When its rest ends, if it rests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rest_until: Option<Ms>,
    /// Which rest that is.
    #[serde(default)]
    pub(crate) rest: FactId,
}

/// The session's rest that lasts, but for one of the client's own tasks, which each stop books anew.
pub(crate) fn restricting(session: &SessionState, now: Ms) -> Option<&Rest> {
    session.rest.as_ref().filter(|rest| rest.kind != RestKind::Parked && rest.lasts(now))
}

impl Listed {
    /// Whether it rests.
    pub(crate) fn rests(&self, now: Ms) -> bool {
        self.rest_until.is_some_and(|until| until > now)
    }
}

/// `<fleet>/sessions/<xx>/<session>.json`: the one place of a session, whatever its scope is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionFile {
    v: u32,
    /// It is the server's document, and nothing of it was decided here.
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
    /// A session as it was decided here, in the scope of this file, since the server's document was this base.
    pub(crate) fn decided(session: SessionState, base: Option<SessionState>, scope: &ScopeFile) -> Self {
        Self { v: VERSION, mirror: false, base, tenure: scope.tenure.clone(), session }
    }

    /// A session as a server's document has it, by this machine's clock.
    pub(crate) fn seen(session: SessionState) -> Self {
        Self { v: VERSION, mirror: true, base: None, tenure: String::new(), session }
    }

    /// The server's document, as far as it is known.
    pub(crate) fn base(&self) -> Option<&SessionState> {
        if self.mirror { Some(&self.session) } else { self.base.as_ref() }
    }

    /// As [`Rest::rebase`], for both documents.
    pub(crate) fn rebase(&mut self, now: Ms) {
        let both = [Some(&mut self.session), self.base.as_mut()].into_iter().flatten();
        both.filter_map(|session| session.rest.as_mut()).for_each(|rest| rest.rebase(now));
    }

    /// Whether it is up to date, by the file of its scope.
    pub(crate) fn is_current(&self, id: &str, scope: Option<&ScopeFile>) -> bool {
        match scope {
            Some(scope) if self.mirror => scope.sessions.contains_key(id),
            Some(scope) => self.tenure == scope.tenure,
            None => !self.mirror && self.tenure.is_empty(),
        }
    }

    /// Whether a step in `scope`, whose file is `file`, is decided from it.
    pub(crate) fn counts(&self, dir: &Path, id: &str, scope: &str, file: &ScopeFile) -> bool {
        let of = &self.session.scope;
        if of == scope || of.is_empty() {
            return self.is_current(id, Some(file));
        }
        // What a server had in another scope may be long over.
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
pub(crate) struct FleetFile {
    v: u32,
    pub(crate) fleet: FleetState,
    /// A server decides, by the configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) left: bool,
    /// Since when files decide again, where a server did before.
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

/// What reading a state file brought.
pub(crate) enum Found<T> {
    /// Its content, and what a change of it starts from.
    State { state: T, before: Before },
    /// There is none.
    Nothing,
    /// It could not be read and was renamed; the line says so.
    SetAside(String),
}

/// A file as it was read: what a change is compared with, and what it carries over. Empty where there is none, or none that can
/// be read.
#[derive(Debug, Default)]
pub(crate) struct Before {
    text: Vec<u8>,
    unknown: Unknown,
}

impl Before {
    /// The file that this state was read from.
    fn of<T: Serialize>(text: Vec<u8>, state: &T) -> Self {
        let own = serde_json::to_vec(state).unwrap_or_default();
        let unknown = if own == text { Unknown::default() } else { Unknown::of(&text, &own).unwrap_or_default() };
        Self { text, unknown }
    }

    /// The file of this kind as it is now.
    #[allow(private_bounds, reason = "the state files are the only ones")]
    pub(crate) fn read<T: DeserializeOwned + Serialize + Versioned>(path: &Path) -> Self {
        let text = read::file(path, LARGEST).unwrap_or_default();
        match serde_json::from_slice::<T>(&text) {
            Ok(state) if state.version() == VERSION => Self::of(text, &state),
            _ => Self { text, unknown: Unknown::default() },
        }
    }

    /// Whether there was no file.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether it has fields of a newer program.
    pub(crate) fn has_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// The file's next content; `None` where nothing changes.
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
/// When it can neither be read nor renamed, or a newer program wrote it.
#[allow(private_bounds, reason = "the state files are the only ones")]
pub(crate) fn load<T: DeserializeOwned + Serialize + Versioned>(path: &Path, now: Ms) -> Result<Found<T>, StoreError> {
    let cause = match read::file(path, LARGEST) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => e.to_string(),
        Ok(bytes) => match serde_json::from_slice::<T>(&bytes) {
            Ok(state) if state.version() == VERSION => {
                let before = Before::of(bytes, &state);
                return Ok(Found::State { state, before });
            }
            read => {
                if let Some(version) = newer(&bytes) {
                    return Err(StoreError::NewerFile { path: path.to_owned(), expected: VERSION, version });
                }
                read.map_or_else(
                    |e| e.to_string(),
                    |state| format!("version {} where {VERSION} was expected", state.version()),
                )
            }
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

/// The version of a file that a newer program wrote.
fn newer(bytes: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    serde_json::from_slice::<Version>(bytes).ok().map(|file| file.v).filter(|version| *version > VERSION)
}

/// Where a scope's file is in the fleet's folder.
pub(crate) fn scope(dir: &Path, scope: &str) -> PathBuf {
    dir.join(paths::scope(scope))
}

/// Where a session's file is in the fleet's folder.
pub(crate) fn session(dir: &Path, id: &str) -> PathBuf {
    dir.join(paths::session(id))
}

/// Where the layout before this one had a scope's file, in the fleet's folder.
pub(crate) fn old_scope(scope: &str) -> String {
    format!("{}/{scope}.json", paths::SCOPES)
}

/// The scope's state in the layout before this one, where it was not taken over yet.
pub(crate) fn peek_old_scope(dir: &Path, scope: &str) -> Option<ScopeState> {
    peek::<OldScopeFile>(&dir.join(old_scope(scope))).map(|file| file.scope)
}

/// As [`peek`], for a scope in either layout.
pub(crate) fn peek_scope(dir: &Path, name: &str) -> Option<ScopeFile> {
    peek(&scope(dir, name)).or_else(|| peek_old_scope(dir, name).map(ScopeFile::new))
}

/// The session that a step in `scope`, whose file is `file`, would be decided from.
pub(crate) fn peek_session(dir: &Path, id: &str, scope: &str, file: &ScopeFile) -> Option<SessionState> {
    let found = peek::<SessionFile>(&session(dir, id))?;
    found.counts(dir, id, scope, file).then_some(found.session)
}

/// The sessions that a scope's file lists, of those that are still of this scope.
pub(crate) fn listed(dir: &Path, scope: &str, file: &ScopeFile) -> Vec<(String, SessionFile)> {
    let read = |id: &String| {
        let found = peek::<SessionFile>(&session(dir, id))?;
        let is_of_scope = found.session.scope == scope || found.session.scope.is_empty();
        (is_of_scope && found.is_current(id, Some(file))).then(|| (id.clone(), found))
    };
    file.sessions.keys().filter_map(read).collect()
}

/// Where the fleet's file is.
pub(crate) fn fleet(dir: &Path) -> PathBuf {
    dir.join(paths::FLEET)
}

/// Reads a state file without the lock and without a word about one that cannot be read: for looking, not for deciding.
#[allow(private_bounds, reason = "the state files are the only ones")]
pub(crate) fn peek<T: DeserializeOwned + Versioned>(path: &Path) -> Option<T> {
    let state = read::short(path, LARGEST, |bytes| serde_json::from_slice::<T>(bytes).ok());
    state.ok()?.filter(|state| state.version() == VERSION)
}

/// Replaces a file atomically.
///
/// # Errors
/// When it cannot be written; the old file then stands.
pub(crate) fn replace<T: Serialize>(path: &Path, state: &T) -> Result<(), StoreError> {
    let failed = |e: serde_json::Error| StoreError::Files { doing: "write", path: path.to_owned(), cause: e.into() };
    write_temporary(path, &serde_json::to_vec(state).map_err(failed)?)?;
    put_in_place(path)
}

/// Writes the temporary file that is to replace a file. Its name is fixed: the fleet's lock has one writer, and a crash leaves
/// one file.
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
