//! The agent that gets the task of a route: the route's own, or the one that covers for it while it is held.

use super::held;
use crate::config::{Config, Route};
use crate::store::StoreError;
use crate::text;

/// Returns the agent that gets a new task of a route, encoded, and whether it covers for the route's own.
///
/// # Errors
/// When the store cannot be read.
pub(in crate::cmd) fn receiver(config: &Config, route: &Route) -> Result<(String, bool), StoreError> {
    let own = text::encode(&route.to);
    let Some(cover) = route.cover.as_deref().map(text::encode) else { return Ok((own, false)) };
    let covers = held::of(config, &own)?.own.is_some() && held::of(config, &cover)?.own.is_none();
    Ok(if covers { (cover, true) } else { (own, false) })
}
