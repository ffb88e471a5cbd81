//! The policy, pure: state in, decision and new state out. No clock, no I/O, no randomness.
//!
//! `policy` holds the limits, `state` what is remembered, `keep` for how long, `step` what is asked, `effects` what an event
//! does by itself, `model` the decision, `willy` the hold that many trips turn into, `reason` why, `verdict` the answer.

pub(crate) mod effects;
pub mod keep;
pub mod merge;
pub mod model;
pub mod policy;
pub mod process;
pub mod quota;
pub mod reason;
mod spread;
pub mod state;
pub mod step;
pub mod verdict;
pub mod willy;
