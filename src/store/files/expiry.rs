//! Deletes expired files. The start of a session checks two folders only: that of its session's file and that of its
//! scope's file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::policy::documents::ScopeState;
use crate::policy::lifetime;
use crate::policy::limits::{Ms, millis};
use crate::read;
use crate::store::failover::server_record;
use crate::store::files::state_file::{ScopeFile, SessionFile};
use crate::store::files::{paths, state_file};

/// No text of a rest is longer.
const LONGEST_TEXT: u64 = 100;

/// Returns the expired files beside those of this scope and session.
pub(crate) fn expired(dir: &Path, scope: &str, session: &str, now: Ms) -> Vec<PathBuf> {
    let sessions = old_files(dir, &paths::session_folder(session), session, now);
    let scopes = old_files(dir, &paths::scope_folder(scope), scope, now);
    let sessions = sessions.filter(|(path, written)| session_is_over(path, *written, now));
    let sessions = sessions.chain(old_texts(dir, now));
    sessions.chain(scopes.filter(|(path, written)| scope_is_over(path, *written, now))).map(|(path, _)| path).collect()
}

/// Removes expired files. The caller has the fleet's lock.
pub(crate) fn clear(dir: &Path, scope: &str, session: &str, now: Ms) {
    let over = expired(dir, scope, session, now);
    for path in &over {
        let _ = fs::remove_file(path);
    }
    if over.iter().any(|path| path.starts_with(dir.join(paths::SCOPES))) {
        server_record::forget_removed(dir, &over);
    }
}

/// Returns the texts of rests that were not written for as long as a session is kept, and have no end to come.
fn old_texts(dir: &Path, now: Ms) -> impl Iterator<Item = (PathBuf, Ms)> {
    let is_over = move |path: &Path| {
        let text = read::file(path, LONGEST_TEXT).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.split_once(' ').and_then(|(end, _)| end.parse().ok()).is_none_or(|end: Ms| end < now)
    };
    written_before(dir, paths::SLEEPING, now).filter(move |(path, _)| is_over(path))
}

/// Returns the files of a folder, except `own`, that were not written for as long as a session is kept, with their
/// times.
fn old_files(dir: &Path, folder: &str, own: &str, now: Ms) -> impl Iterator<Item = (PathBuf, Ms)> + use<> {
    let own = format!("{own}.json");
    written_before(dir, folder, now).filter(move |(path, _)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".json") && name != *own
    })
}

fn written_before(dir: &Path, folder: &str, now: Ms) -> impl Iterator<Item = (PathBuf, Ms)> + use<> {
    let old = move |entry: fs::DirEntry| {
        let written = entry.metadata().and_then(|about| about.modified()).ok()?;
        let written = Ms::try_from(written.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()?;
        (written < now.saturating_sub(millis(lifetime::SESSION))).then(|| (entry.path(), written))
    };
    fs::read_dir(dir.join(folder)).into_iter().flatten().flatten().filter_map(old)
}

fn session_is_over(path: &Path, written: Ms, now: Ms) -> bool {
    let Some(SessionFile { session, .. }) = state_file::peek(path) else { return false };
    let since = written.max(session.seen);
    since.saturating_add(lifetime::session_lifetime(&session, since)) < now
}

fn scope_is_over(path: &Path, written: Ms, now: Ms) -> bool {
    let Some(file) = state_file::peek::<ScopeFile>(path) else { return false };
    let since = written.max(last_fact(&file.scope));
    // The decisions made here may differ from the server's documents.
    let both = [&file.scope, &file.as_known()].map(|scope| lifetime::scope_lifetime(scope, since));
    both.into_iter().all(|lifetime| lifetime.is_some_and(|lifetime| since.saturating_add(lifetime) < now))
}

/// Returns the last past fact of a scope.
fn last_fact(scope: &ScopeState) -> Ms {
    let single = [scope.stop.admitted_at, scope.compact.admitted_at, scope.released, scope.taken].into_iter().flatten();
    let lists = [&scope.stop.attempts, &scope.compact.attempts, &scope.quota.admitted, &scope.trips];
    single.chain(lists.into_iter().flatten().copied()).max().unwrap_or(0)
}
