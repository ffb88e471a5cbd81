//! The documents that are kept between two steps: the fleet, the scope, the session. Both stores write them as JSON.

mod fleet;
mod quota_log;
mod scope;
mod session;
#[cfg(test)]
mod tests;

pub use fleet::FleetState;
pub use quota_log::{Flight, QuotaLog, Waiting};
pub use scope::{ClassState, ScopeState};
pub use session::{Begun, Phase, SessionState};

use crate::policy::limits::Ms;

/// A request that a server got before a change of store may be admitted up to this much later: no caller waits longer.
pub const IN_FLIGHT: Ms = 1000;

/// A server commits an admission at most this long after the decision: `commit.lua` checks it.
pub const COMMIT_SLACK: Ms = 1000;
