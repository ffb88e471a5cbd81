//! The subcommands other than `hook`, one file each.

pub mod switch;
