//! Collects the context audit: the journal entries that led to a hold.

use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;
use crate::view::journal::Past;

/// The number of entries in the audit.
const ENTRIES: usize = 50;
/// The number of the newest entries that are searched: a hold is opened at once, however long the journal is.
const AMONG: usize = 2000;

/// Returns the last entries of a scope, or of the whole fleet for an empty name, the newest first.
///
/// # Errors
/// When the journal cannot be read.
pub fn of(reader: &mut FleetReader<'_>, fleet: &str, scope: &str) -> Result<Vec<Past>, StoreError> {
    let wanted = |past: &Past| past.says("fleet", fleet) && (scope.is_empty() || past.says("scope", scope));
    Ok(reader.entries_among(AMONG, ENTRIES, wanted)?.0)
}
