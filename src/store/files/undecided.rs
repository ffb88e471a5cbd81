//! Marks of hook calls that came to no verdict: one file for each session, in the state folder.
//!
//! A call fails before any request to a store where the configuration is half-written or the payload is late, and the
//! fleet is unknown then. The mark shows people that the session's last call was not decided, and why. It also informs
//! a waiting engine of a prompt or a session's end that raised no fence. No clock matters here, because the mark
//! contains the id of the call that took over. An engine obeys a mark that was not there when the engine began.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::ownership;
use crate::policy::documents::SessionState;
use crate::policy::limits::Ms;
use crate::policy::process::Process;
use crate::policy::verdict::Reason;
use crate::process::{self, ProcessStatus};
use crate::read;

/// The age after which no engine waits under a mark any more.
const OLD: Duration = Duration::from_secs(31 * 86_400);

/// A call that came to no verdict, or the end of an engine whose session was disarmed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Undecided {
    /// The call's id.
    pub id: String,
    /// The client's name of the event; empty where the payload could not be read.
    pub event: String,
    /// The reason code.
    pub reason: String,
    /// The error, on one line.
    pub why: String,
    /// The time of the call, by this machine's clock.
    pub at: Ms,
    /// The process that waits until the call can be decided, if there is one.
    pub pid: Option<Process>,
    /// The id of the last undecided call that takes the session over.
    pub took: String,
}

fn folder(state: &Path) -> PathBuf {
    state.join("undecided")
}

/// Writes the mark of a session's call. A mark that cannot be written is not shown.
pub(crate) fn note(state: &Path, session: &str, mark: &Undecided) {
    let folder = folder(state);
    // No mark is written in a folder that other users may write in, nor as root in a user's home.
    if ownership::check(&folder).is_err() {
        return;
    }
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    let took = match mark.event.as_str() {
        // The end of a session ends its client, which the engine notices.
        "Stop" | "StopFailure" | "UserPromptSubmit" => mark.id.clone(),
        _ => of(state, session).map(|before| before.took).unwrap_or_default(),
    };
    let text = serde_json::to_string(&Undecided { took, ..mark.clone() }).unwrap_or_default();
    let new = folder.join(format!(".{}", mark.id));
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    if opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, folder.join(session)))
        .is_err()
    {
        let _ = fs::remove_file(&new);
    }
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let written = entry.metadata().and_then(|m| m.modified()).ok();
        if written.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > OLD) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Returns the session's mark, if it has one.
#[must_use]
pub(crate) fn of(state: &Path, session: &str) -> Option<Undecided> {
    serde_json::from_str(&read::text(&folder(state).join(session)).ok()?).ok()
}

/// Returns all marks by session. A mark is to be shown if its call is later than the store's last event of the session.
#[must_use]
pub fn all(state: Option<&Path>) -> HashMap<String, Undecided> {
    let entries = state.and_then(|state| fs::read_dir(folder(state)).ok()).into_iter().flatten().flatten();
    let mark = |entry: fs::DirEntry| {
        let session = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
        Some((session, serde_json::from_str(&read::text(&entry.path()).ok()?).ok()?))
    };
    entries.filter_map(mark).collect()
}

/// Removes the mark of a call that was decided after all, if it is still that call's.
pub(crate) fn decided(state: &Path, session: &str, id: &str) {
    if of(state, session).is_some_and(|mark| mark.id == id) {
        let _ = fs::remove_file(folder(state).join(session));
    }
}

/// Returns whether the session's engine ended because the session was disarmed or Frosty's hooks were removed.
#[must_use]
pub fn is_disarmed(state: Option<&Path>, (id, session): (&str, &SessionState), now: Ms) -> bool {
    let mark = state.and_then(|state| of(state, id));
    mark.is_some_and(|mark| mark.is_of_disarming() && mark.is_later_than(session.seen, now))
}

impl Undecided {
    /// Returns whether the mark shows no call, but that the session is no longer continued.
    #[must_use]
    pub fn is_of_disarming(&self) -> bool {
        self.reason == Reason::Disarmed.code()
    }

    /// Returns whether a process of this machine waits until the call can be decided.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        let standing = self.pid.map(|pid| process::standing(&pid, &clock::host(), Some("frosty")));
        standing.is_some_and(|standing| standing != ProcessStatus::Gone)
    }

    /// Returns whether the call came after the store last saw its session, where the store's clock shows `now`.
    #[must_use]
    pub fn is_later_than(&self, seen: Ms, now: Ms) -> bool {
        // The two clocks need not agree.
        self.at.saturating_add(now.saturating_sub(clock::host_ms())) > seen
    }
}
