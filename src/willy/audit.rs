//! The context audit: what led up to a hold, as the journal tells it.

use crate::store::StoreError;
use crate::store::past::Past;
use crate::store::roll::Roll;

/// So many entries of what is held.
const ENTRIES: usize = 50;

/// The last entries of a scope, or with an empty name of the whole fleet, the newest first.
///
/// # Errors
/// When the journal cannot be read.
pub fn of(roll: &mut Roll<'_>, fleet: &str, scope: &str) -> Result<Vec<Past>, StoreError> {
    roll.entries_where(0, ENTRIES, |past| past.says("fleet", fleet) && (scope.is_empty() || past.says("scope", scope)))
}
