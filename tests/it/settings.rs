//! `frosty install` and `frosty uninstall`: what they make of a settings file, and what they leave alone.

mod beside;
mod edits;
mod files;
