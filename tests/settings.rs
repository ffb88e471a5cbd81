//! `frosty install` and `frosty uninstall`: what they make of a settings file, and what they leave alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

#[path = "settings/beside.rs"]
mod beside;
#[path = "settings/edits.rs"]
mod edits;
#[path = "settings/files.rs"]
mod files;
