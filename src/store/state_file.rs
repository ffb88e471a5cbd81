//! The embedded store's state files: read, replaced by an atomic rename, set aside when they cannot be read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::mirror::{Away, Mirror};
use crate::read;
use crate::text;
use crate::throttle::policy::Ms;
use crate::throttle::state::{FleetState, ScopeState, SessionState};

/// The version of the files' layout.
const VERSION: u32 = 1;

/// No state file is larger: 10,000 times of a quota are a fiftieth of it.
const LARGEST: u64 = 8 * 1024 * 1024;

/// `<fleet>/scopes/<scope>.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ScopeFile {
    v: u32,
    pub(super) scope: ScopeState,
    pub(super) sessions: BTreeMap<String, SessionState>,
    /// Entries that may not have reached the journal, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pending: Vec<Pending>,
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
            pending: Vec::new(),
            mirror: None,
            away: None,
            given_back: None,
        }
    }
}

/// A journal entry that was committed with the state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The journal's length before the entry.
    pub(super) at: u64,
    /// The entry's line, its newline included.
    pub(super) line: String,
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
    /// Its content.
    State(T),
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
#[allow(private_bounds, reason = "the two state files are the only ones")]
pub(super) fn load<T: DeserializeOwned + Versioned>(path: &Path, now: Ms) -> Result<Found<T>, StoreError> {
    let cause = match read::file(path, LARGEST) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => e.to_string(),
        Ok(bytes) => match serde_json::from_slice::<T>(&bytes) {
            Ok(state) if state.version() == VERSION => return Ok(Found::State(state)),
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
    dir.join("scopes").join(format!("{scope}.json"))
}

/// Where the fleet's file is.
pub(super) fn fleet(dir: &Path) -> PathBuf {
    dir.join("fleet.json")
}

/// Reads a state file without the lock and without a word about one that cannot be read: for looking, not for deciding.
#[allow(private_bounds, reason = "the two state files are the only ones")]
pub(super) fn peek<T: DeserializeOwned + Versioned>(path: &Path) -> Option<T> {
    let state = read::short(path, LARGEST, |bytes| serde_json::from_slice::<T>(bytes).ok());
    state.ok()?.filter(|state| state.version() == VERSION)
}

/// Replaces a file atomically. The temporary name is fixed: the fleet's lock has one writer, and a crash leaves one file.
///
/// # Errors
/// When it cannot be written; the old file then stands.
pub(super) fn replace<T: Serialize>(path: &Path, state: &T) -> Result<(), StoreError> {
    let mut temporary = OsString::from(path);
    temporary.push(".tmp");
    let write = || -> io::Result<()> {
        let bytes = serde_json::to_vec(state)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&bytes)?;
        fs::rename(&temporary, path)
    };
    let written = match write() {
        // Somebody removed the folder.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(path);
            DirBuilder::new().recursive(true).mode(0o700).create(folder).and_then(|()| write())
        }
        written => written,
    };
    written.map_err(|cause| StoreError::Files { doing: "write", path: path.to_owned(), cause })
}
