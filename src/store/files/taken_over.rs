//! Marks of sessions that were taken over while the store could not be informed.
//!
//! A waiting engine reads its session's fence from the store. Where a prompt or the session's end could not be sent
//! there, a mark on this machine informs the engine nevertheless. The mark names the step that took over, and an engine
//! obeys a mark that was not there when the engine began. No clock matters here, because a mark with a wrong time would
//! end every later engine.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::ownership;
use crate::policy::process::Process;
use crate::read;

/// The age after which no engine can be waiting under a mark any more.
const OLD: Duration = Duration::from_secs(31 * 86_400);

fn folder(config: &Config) -> Option<PathBuf> {
    Some(config.state.as_ref()?.join(&config.fleet).join("marks"))
}

/// The mark of a step that took a session over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The id of the step.
    pub(crate) id: String,
    /// The client process that ended the session; `None` where the session went on.
    ended_by: Option<Process>,
}

impl Mark {
    /// Returns whether it concerns the engine of this client process: the end of another process that used the session
    /// does not.
    pub(crate) fn concerns(&self, client: Option<&Process>) -> bool {
        self.ended_by.as_ref().zip(client).is_none_or(|(by, own)| by.may_be(own))
    }
}

/// Marks that the step with this id took the session over, or that this client process ended it.
pub(crate) fn take_over(config: &Config, session: &str, id: &str, ended_by: Option<&Process>) {
    let Some(folder) = folder(config) else { return };
    if folder.parent().is_none_or(|fleet| ownership::check(fleet).is_err()) {
        return;
    }
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    if let Ok(mut file) =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(folder.join(session))
    {
        let ended_by = ended_by.map(|process| format!(" {process}")).unwrap_or_default();
        let _ = file.write_all([id, ended_by.as_str()].concat().as_bytes());
    }
    // Each write also removes old marks.
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let written = entry.metadata().and_then(|m| m.modified()).ok();
        if written.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > OLD) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Returns the mark of the step that last took the session over, if there is one.
#[must_use]
pub(crate) fn taken_over_by(config: &Config, session: &str) -> Option<Mark> {
    let text = read::text(&folder(config)?.join(session)).ok()?;
    let (id, ended_by) = text.split_once(' ').map_or((text.as_str(), None), |(id, by)| (id, by.parse().ok()));
    Some(Mark { id: id.to_owned(), ended_by })
}
