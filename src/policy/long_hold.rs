//! The holds by Really Chill Willy: repeated trips turn the cooldown into a hold, which doubles with each further trip.

use std::time::Duration;

use crate::policy::documents::ScopeState;
use crate::policy::hold::Hold;
use crate::policy::limits::{Backoff, MOST_STRIKES, Ms};
use crate::policy::verdict::Held;

/// The name on these holds.
pub const BY_WILLY: &str = "willy";

/// How far back a trip counts.
const DAY: Ms = 86_400_000;
/// The first length and the longest length of such a hold.
const LENGTH: Backoff = Backoff { base: Duration::from_secs(3600), factor: 2000, max: Duration::from_secs(8 * 3600) };
/// The number of trips that are remembered beyond the first one that held; after them the longest length is reached.
const DOUBLINGS: u32 = 3;

/// Notes a trip and returns the length of the hold that begins with it, if one does.
///
/// `after` is the number of trips within a day that a hold needs; 0 is never. The cooldown that the trip opened stays,
/// so it still applies after a hold that is lifted early.
pub(crate) fn comes(scope: &mut ScopeState, after: u32, now: Ms) -> Option<(Held, Ms)> {
    if after == 0 {
        return None;
    }
    let kept = after.min(MOST_STRIKES).saturating_add(DOUBLINGS);
    scope.trips.retain(|at| *at > now.saturating_sub(DAY));
    scope.trips.push(now);
    let over = scope.trips.len().saturating_sub(kept as usize);
    scope.trips.drain(..over);
    let trips = u32::try_from(scope.trips.len()).unwrap_or(u32::MAX);
    let times = trips.checked_sub(after)?;
    let length = LENGTH.length(times.saturating_add(1));
    let reason = format!("cooldown number {trips} within a day");
    let until = Some(now.saturating_add(length));
    scope.hold = Some(Hold { reason: reason.clone(), by: BY_WILLY.to_owned(), since: now, until, id: 0 });
    Some((Held { by: BY_WILLY.to_owned(), reason, fleet: false }, length))
}
