//! Inserts Frosty into the client's settings files and removes it again, and finds other hooks that decide Stop
//! events.

pub mod diff;
pub mod edit;
pub mod old_hooks;
pub mod others;
pub mod plugins;
pub mod program;
pub mod registration;
pub mod status_line;
pub mod write;
