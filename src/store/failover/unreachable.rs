//! When a server that does not answer a busy machine counts as unreachable all the same.

use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::policy::limits::millis;
use crate::store::failover::{ASIDE, server_record};
use crate::store::files;

/// A server that answers no process of a busy machine for this long is away.
const SILENT: Duration = Duration::from_secs(10);

/// Returns whether no answer came for so long that the server must be away. The first time is noted, under the fleet's
/// lock.
pub(crate) fn is_silent(dir: &Path) -> bool {
    let Ok(_lock) = files::lock(dir, clock::now() + ASIDE, ASIDE) else { return false };
    let (mut record, now) = (server_record::read_or_rebuild(dir), clock::host_ms());
    if let Some(since) = record.silent.filter(|since| *since <= now) {
        return now.saturating_sub(since) >= millis(SILENT);
    }
    record.silent = Some(now);
    let _ = server_record::write(dir, &record);
    false
}

/// Notes that an answer came.
pub(crate) fn is_heard(dir: &Path) {
    let Ok(_lock) = files::lock(dir, clock::now() + ASIDE, ASIDE) else { return };
    let mut record = server_record::read_or_rebuild(dir);
    if record.silent.take().is_some() {
        let _ = server_record::write(dir, &record);
    }
}
