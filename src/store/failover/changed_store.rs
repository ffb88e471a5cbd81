//! The hand-over where the configuration names another store than the one that decided last.
//!
//! The fleet's hold moves to the new store, and the minimum interval of each scope begins.

use std::path::Path;

use crate::config::Config;
use crate::policy::documents::FleetState;
use crate::policy::limits::Ms;
use crate::policy::merge;
use crate::policy::merge::Clocks;
use crate::store::failover::server_record;
use crate::store::failover::server_record::{FILES, Record};
use crate::store::files::state_file::FleetFile;
use crate::store::files::{paths, state_file};
use crate::store::{StoreError, unknown_past};

/// Returns whether another store may have decided anything.
pub(crate) fn matters(dir: &Path, record: Option<&Record>) -> bool {
    let another = record.is_some_and(|record| !record.store.is_empty());
    another || [paths::FLEET, paths::SCOPES].iter().any(|name| dir.join(name).exists())
}

/// Hands the fleet over to a server, under the fleet's lock. The scopes of the files follow with their next request.
///
/// # Errors
/// When that cannot be written.
pub(crate) fn to_server(
    config: &Config,
    dir: &Path,
    record: &mut Record,
    server: &str,
    now: Ms,
) -> Result<(), StoreError> {
    let path = state_file::fleet(dir);
    let own = match state_file::peek::<FleetFile>(&path) {
        None if path.exists() => Some(FleetFile::new(unknown_past::fleet(config, now))),
        own => own,
    };
    let by_files = matches!(record.store.as_str(), "" | FILES) && !own.as_ref().is_some_and(|own| own.left);
    record.unnamed |= by_files && dir.join(paths::SCOPES).exists();
    let before = record.store.clone();
    let left = record.hand_over(server, now);
    let mut own = own.unwrap_or_else(|| FleetFile::new(FleetState::default()));
    let left = if by_files { Some(own.fleet.clone()) } else { left };
    if let Some(left) = left.filter(|left| left.hold.as_ref().is_some_and(|hold| hold.holds(now))) {
        let known = record.fleet(server).map(|kept| kept.known().clone()).unwrap_or_default();
        record.decide_fleet(server, &merge::fleet(None, &left, &known, Clocks { here: now, there: now }));
    }
    // A process that is killed on the way leaves the earlier store in the record, so that the next one begins anew. The hold
    // is in the record before the files lose it.
    let named = std::mem::replace(&mut record.store, before);
    server_record::write(dir, record)?;
    own.fleet.hold = None;
    (own.left, own.since) = (true, None);
    state_file::replace(&path, &own)?;
    record.store = named;
    server_record::write(dir, record)
}

/// Hands the fleet over to files, under the fleet's lock.
///
/// # Errors
/// When that cannot be written.
pub(crate) fn to_files(dir: &Path, own: &mut FleetFile, now: Ms) -> Result<(), StoreError> {
    let mut record = server_record::read_or_rebuild(dir);
    if let Some(left) = record.hand_over(FILES, now) {
        own.fleet = merge::fleet(None, &left, &own.fleet, Clocks { here: now, there: now });
    }
    (own.left, own.since) = (false, Some(now));
    // The hold is written first: a hand-over that is done twice does no harm.
    state_file::replace(&state_file::fleet(dir), own)?;
    server_record::write(dir, &record)
}
