//! The policy, pure: state in, decision and new state out. No clock, no I/O, no randomness.
//!
//! `policy` holds the limits, `state` what is remembered, `keep` for how long, `step` what is asked, `effects` what an event
//! does by itself, `model` the decision, `willy` the hold that many trips turn into, `reason` why, `verdict` the answer.

pub mod decision;
pub mod documents;
pub(crate) mod effects;
pub mod lifetime;
pub mod limits;
pub mod long_hold;
pub mod merge;
pub mod process;
pub mod quota;
pub mod reason;
pub(crate) mod release_slots;
pub mod request;
pub mod verdict;
