//! Finds waiting engines of this machine that were killed, alone or with their client, and notifies once about each.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, SystemTime};

use crate::cmd::announce::commands;
use crate::config::Config;
use crate::engine;
use crate::notify::lost_engines::file;
use crate::notify::notification::subject;
use crate::notify::{Kind, Notification};
use crate::policy::limits::{Ms, millis};
use crate::read;
use crate::store::StoreError;
use crate::store::files::undecided;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;

/// A session that was not seen for this long is not reported.
const SEEN_WITHIN: Duration = Duration::from_secs(86_400);
const LARGEST: u64 = 1024 * 1024;

/// The sessions that were reported, each with the process that it lost.
type Notified = BTreeMap<String, u32>;

/// Looks for lost engines, and runs the configured commands once for each.
///
/// # Errors
/// When the store cannot be read, or the list of reported sessions cannot be written.
pub fn look(config: &Config) -> Result<(), StoreError> {
    let path = file(config).ok_or(StoreError::NoStateFolder)?;
    let files = |cause| StoreError::Files { doing: "write", path: path.clone(), cause };
    let mut options = read::at_once();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut kept = opened.map_err(files)?;
    // Another process is looking now.
    if kept.try_lock().is_err() {
        return Ok(());
    }
    // The time is renewed whatever the result is, so that other processes do not look as well.
    let _ = kept.set_modified(SystemTime::now());
    let mut before = Vec::new();
    (&kept).take(LARGEST).read_to_end(&mut before).map_err(files)?;
    let before: Notified = serde_json::from_slice(&before).unwrap_or_default();
    let mut reader = FleetReader::open(config);
    let (now, sessions) = (reader.now()?, reader.sessions()?);
    let lost: Vec<&Session> = sessions.iter().filter(|session| is_lost(config, session, now)).collect();
    let told: Notified = lost.iter().filter_map(|(id, s)| Some((id.clone(), s.pid?.pid))).collect();
    // The list is written first, because a missing notification is better than an endlessly repeated one.
    let written = kept.seek(SeekFrom::Start(0)).and_then(|_| kept.set_len(0));
    let written = written.and_then(|()| kept.write_all(&serde_json::to_vec(&told).unwrap_or_default()));
    written.map_err(files)?;
    for session in lost {
        if before.get(&session.0).copied() == session.1.pid.map(|engine| engine.pid) {
            continue;
        }
        let _ = commands::finish(commands::start(&config.notify, &word(config, &sessions, session, now)));
    }
    Ok(())
}

/// Returns whether the session lost its engine. A person who disarmed it wanted that end.
fn is_lost(config: &Config, (id, session): &Session, now: Ms) -> bool {
    session.seen > now.saturating_sub(millis(SEEN_WITHIN))
        && engine::lost(session)
        && !undecided::is_disarmed(config.state.as_deref(), (id, session), now)
}

fn word(config: &Config, sessions: &[Session], (id, session): &Session, now: Ms) -> Notification {
    let reason = text::line(&session.last_reason);
    let pid = session.pid.map(|engine| engine.pid).unwrap_or_default();
    let text = format!(
        "{} was refused ({reason}), and its waiting engine (process {pid}) ended, so nothing resumes it; type in its window to continue",
        subject(&session.scope)
    );
    let (scope, session) = (session.scope.clone(), id.clone());
    Notification { scope, session, text, reason, ..Notification::new(Kind::WaiterLost, &config.fleet, now) }
        .named(sessions)
}
