//! Frosty: admission control for agents that run on their own.
//!
//! The data path is a straight line: stdin → `hook::payload` → `config`, `scope` → `store` (which calls
//! `policy`) → `hook::reply` → exit code.

pub mod arena;
pub mod arm;
pub mod client_settings;
pub mod clock;
pub mod cmd;
pub mod color;
pub mod config;
pub mod doctor;
pub mod duration;
pub mod engine;
pub mod env;
pub mod exit;
pub mod hint;
pub mod hook;
pub mod journal;
pub mod local_time;
pub mod naming;
pub mod notify;
pub mod ownership;
pub mod policy;
pub mod process;
pub(crate) mod prompt_cache;
pub mod read;
pub mod scope;
pub mod secret;
pub mod settings;
pub mod store;
pub mod text;
pub mod view;
pub mod when;
pub mod zone;
