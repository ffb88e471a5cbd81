//! The context audit: what led up to a hold, as the journal tells it.

use crate::store::StoreError;
use crate::store::fleet_reader::Roll;
use crate::view::journal::Past;

/// So many entries of what is held.
const ENTRIES: usize = 50;
/// Among the newest of the journal: a hold is opened at once, however long the journal is.
const AMONG: usize = 2000;

/// The last entries of a scope, or with an empty name of the whole fleet, the newest first.
///
/// # Errors
/// When the journal cannot be read.
pub fn of(roll: &mut Roll<'_>, fleet: &str, scope: &str) -> Result<Vec<Past>, StoreError> {
    let wanted = |past: &Past| past.says("fleet", fleet) && (scope.is_empty() || past.says("scope", scope));
    Ok(roll.entries_among(AMONG, ENTRIES, wanted)?.0)
}
