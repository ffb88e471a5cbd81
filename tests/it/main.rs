//! The integration tests: one program, a module per subject.
//!
//! `cargo nextest run` runs all of it, each test in a process of its own (`.config/nextest.toml`); `cargo test --test
//! it holds::` runs one module. Each test that needs a server starts one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod acl;
mod api_limit_rules;
mod api_limits;
mod arming;
mod cadence;
mod cadence_rules;
mod cadence_week;
mod concurrency;
mod config;
mod config_cmd;
mod config_origin;
mod dispatch;
mod dispatch_sessions;
mod doctor;
mod embedded;
mod engine_terms;
mod exits;
mod fairness;
mod finding;
mod fleet_rules;
mod formats;
mod gate;
mod handover;
mod holds;
mod hook;
mod hook_binary;
mod hostile_text;
mod install;
mod merge_properties;
mod messages;
mod model_properties;
mod model_rules;
mod past;
mod private;
mod processes;
mod ratchet;
mod schedule;
mod secrets;
mod session_rules;
mod settings;
mod signals;
mod spread;
mod starting;
mod status;
mod store_faults;
mod store_properties;
mod telling;
mod texts;
mod tidy;
mod truth;
mod turns;
mod usage;
mod waiting;
mod waiting_faults;
mod waking;
mod watchdog;
mod work;
mod work_rules;
