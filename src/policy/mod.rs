//! The policy, as pure functions: state in, decision and new state out. It uses no clock, no I/O and no randomness.
//!
//! `decision` is the one function that the stores call: it applies an event's `effects`, and then asks the rules in their
//! order: `hold`, `burst_window`, `api_limit`, `rest`, `quiet_minute`, `min_interval`, `release_slots`, `quota`. Its input is a `request`
//! (with the `turn` before it) under the `limits` on the `documents`; its result is a `verdict` with a `reason`. What an
//! event does to a session is in `fence`, `client_process`, `wake_up`, `rest`, `idle` and `gate_run`; to the scope and the
//! key, in `api_error` and `hold`. `long_hold` opens the hold after many trips. `pace` derives a quota from the usage
//! `windows`. `cadence` gives each turn its kind, `notes` are what an agent writes for itself, `calendar` is an agent's
//! working hours and fixed times, and `rhythm` counts a session's turns of the last day, for its mood. `lost_answer` and
//! `lost_data` are the requests that a fault repeats. `merge` joins two copies of the documents after an outage, by the
//! identity that a `fact` has, and `lifetime` is how long they are kept.

mod admission;
pub mod api_error;
pub mod api_limit;
pub(crate) mod burst_window;
pub mod cadence;
pub mod calendar;
pub(crate) mod client_process;
pub mod decision;
pub mod documents;
pub(crate) mod effects;
pub mod fact;
pub(crate) mod fact_ids;
pub(crate) mod fence;
pub(crate) mod fnv;
pub(crate) mod gate_run;
pub mod hold;
pub(crate) mod idle;
pub mod lifetime;
pub mod limits;
pub mod long_hold;
pub(crate) mod lost_answer;
pub(crate) mod lost_data;
pub mod merge;
pub(crate) mod min_interval;
pub mod notes;
pub mod pace;
pub mod process;
pub(crate) mod quiet_minute;
pub mod quota;
pub mod reason;
pub(crate) mod release_slots;
pub mod request;
pub mod rest;
pub mod rhythm;
pub mod signal;
pub mod turn;
pub mod verdict;
pub(crate) mod wake_up;
pub mod windows;
pub mod work;
