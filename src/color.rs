//! Decides whether output is coloured: `--color`, else `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR` and `TERM`,
//! else whether it is a terminal.

use std::sync::atomic::{AtomicU8, Ordering};

use clap::ValueEnum;

use crate::env;

/// The values of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// As the environment wishes, else on a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

static CHOSEN: AtomicU8 = AtomicU8::new(Color::Auto as u8);

/// Stores the choice of the command line.
pub fn choose(color: Color) {
    CHOSEN.store(color as u8, Ordering::Relaxed);
}

/// Returns whether output to this stream is coloured.
#[must_use]
pub fn is_wanted(is_terminal: bool) -> bool {
    let chosen = CHOSEN.load(Ordering::Relaxed);
    if chosen == Color::Auto as u8 { env::colour().unwrap_or(is_terminal) } else { chosen == Color::Always as u8 }
}
