//! The context audit: what led up to a hold, as the journal tells it.

use crate::store::StoreError;
use crate::store::past::Past;
use crate::store::roll::Roll;

/// So many entries of what is held, and so many are looked through for them.
const ENTRIES: usize = 50;
const LOOKED_THROUGH: usize = 5000;

/// The last entries of a scope, or with an empty name of the whole fleet, the newest first.
///
/// # Errors
/// When the journal cannot be read.
pub fn of(roll: &mut Roll<'_>, fleet: &str, scope: &str) -> Result<Vec<Past>, StoreError> {
    let all = roll.entries(0, LOOKED_THROUGH)?;
    let held = |past: &Past| past.get("fleet") == fleet && (scope.is_empty() || past.get("scope") == scope);
    Ok(all.into_iter().filter(held).take(ENTRIES).collect())
}
