//! Puts Frosty into the client's settings files and takes it out again, and finds what else decides stops.

pub mod diff;
pub mod edit;
pub mod old_hooks;
pub mod others;
pub mod plugins;
pub mod program;
pub mod registration;
pub mod write;
