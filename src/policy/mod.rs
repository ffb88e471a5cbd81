//! The policy, as pure functions: state in, decision and new state out. It uses no clock, no I/O and no randomness.
//!
//! `limits` contains the limits, `documents` the state, and `lifetime` how long the state is kept. `request` is the
//! event and its admission request, `turn` is the worth of the turn before it, `effects` are the effects of an event,
//! and `decision` has the rules. `long_hold` opens the hold after many trips, `idle` the rests of an idle agent, `reason` is
//! the table of reasons, and `verdict` is the answer. `fnv` is the hash of ids and tool calls. `windows` are the usage windows
//! of the API key, and `pace` is the quota that is derived from them.

pub mod api_limit;
pub mod decision;
pub mod documents;
pub(crate) mod effects;
pub mod fact;
pub(crate) mod fnv;
pub mod hold;
pub(crate) mod idle;
pub mod lifetime;
pub mod limits;
pub mod long_hold;
pub mod merge;
pub mod pace;
pub mod process;
pub mod quota;
pub mod reason;
pub(crate) mod release_slots;
pub mod request;
pub mod rest;
pub mod signal;
pub mod turn;
pub mod verdict;
pub mod windows;
