//! A server that lost its data: it has another store epoch, and each scope begins with a minimum interval.

use crate::policy::decision::decision;
use crate::policy::documents::FleetState;
use crate::policy::limits::Ms;
use crate::policy::request::Step;
use crate::policy::verdict::{Decision, Outcome, Reason};

/// Returns the answer to a requester that knows this store by another store epoch.
///
/// Nothing is decided before the requester has sent the state that it keeps.
pub(crate) fn lost(fleet: &mut FleetState, ask: &Step, now: Ms) -> Option<Decision> {
    fleet.lost = fleet.lost.map(|lost| lost.min(now));
    let known = ask.known_epoch.is_empty() || ask.known_epoch == fleet.store_epoch;
    if fleet.store_epoch.is_empty() {
        // A step that is retried on a store that lost its data must not give it the same epoch.
        fleet.store_epoch = format!("{}-{now}", ask.id);
    }
    if known {
        return None;
    }
    fleet.lost = fleet.lost.or(Some(now));
    Some(Decision { store_epoch: fleet.store_epoch.clone(), ..decision(Outcome::Refuse, Reason::Lost, now) })
}
