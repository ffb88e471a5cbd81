//! Describes the terminal (its width and colours), and draws on its alternate screen.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetwinsize};

use crate::color;
use crate::env;
use crate::view::sessions::table::Style;
use crate::view::sessions::width;

/// The width of an output that is not a terminal.
const PLAIN_WIDTH: usize = 80;
/// The bounds of the width that a terminal may report.
const NARROWEST: usize = 20;
const WIDEST: usize = 1000;
/// The height of a terminal that does not report one.
const PLAIN_HEIGHT: usize = 24;

/// Returns the style of the standard output: as wide as its terminal; elsewhere nothing is cut off.
/// [`color::is_wanted`] decides on colours.
#[must_use]
pub fn style() -> Style {
    let columns = columns(io::stdout());
    let colours = color::is_wanted(columns.is_some());
    Style { width: columns.unwrap_or(PLAIN_WIDTH), uncut: columns.is_none(), colours }
}

/// Returns the number of columns of a terminal; `None` for another output.
#[must_use]
pub fn columns(stream: impl AsFd + IsTerminal) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let columns = size(stream).map(|(columns, _)| columns).or_else(env::columns).unwrap_or(PLAIN_WIDTH);
    Some(columns.clamp(NARROWEST, WIDEST))
}

/// Returns the number of lines of the terminal.
#[must_use]
pub fn height() -> usize {
    size(io::stdout()).map_or(PLAIN_HEIGHT, |(_, height)| height)
}

fn size(stream: impl AsFd) -> Option<(usize, usize)> {
    let size = tcgetwinsize(stream).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// The alternate screen of the terminal, without cursor and line wrapping. Dropping it restores the terminal.
#[derive(Debug)]
pub struct Screen {
    /// How the terminal read its keys before; `None` where the keys are not read.
    lines: Option<Termios>,
}

impl Screen {
    /// Switches to the alternate screen.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn take() -> io::Result<Self> {
        let screen = Self { lines: read_keys() };
        write("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J")?;
        Ok(screen)
    }

    /// Returns whether the keys are read, so that the standard input becomes readable with each.
    #[must_use]
    pub fn reads_keys(&self) -> bool {
        self.lines.is_some()
    }

    /// Returns whether `q` was pressed since the last call.
    #[must_use]
    pub fn is_left(&self) -> bool {
        let mut keys = [0; 64];
        let read = self.lines.as_ref().map(|_| rustix::io::read(io::stdin(), &mut keys));
        matches!(read, Some(Ok(n)) if keys.iter().take(n).any(|key| matches!(key, b'q' | b'Q')))
    }

    /// Draws these lines from the top, in one write and without clearing first, so that the screen does not flicker.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn draw(&self, lines: &[String], columns: usize) -> io::Result<()> {
        let mut frame = "\x1b[H".to_owned();
        for (i, line) in lines.iter().enumerate() {
            frame.push_str(if i == 0 { "" } else { "\r\n" });
            frame.push_str(line);
            // After a full line the cursor is on its last character.
            if width::of_painted(line) < columns {
                frame.push_str("\x1b[K");
            }
        }
        frame.push_str("\x1b[J");
        write(&frame)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write("\x1b[?7h\x1b[?25h\x1b[?1049l");
        if let Some(lines) = self.lines.as_ref().filter(|_| is_in_front()) {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, lines);
        }
    }
}

/// Lets the terminal pass on each key at once, and not show it. Returns how it was before; `None` where no keys come.
fn read_keys() -> Option<Termios> {
    let before = termios::tcgetattr(io::stdin()).ok().filter(|_| is_in_front())?;
    let mut keys = before.clone();
    keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    // A read returns at once.
    keys.special_codes[SpecialCodeIndex::VMIN] = 0;
    keys.special_codes[SpecialCodeIndex::VTIME] = 0;
    termios::tcsetattr(io::stdin(), OptionalActions::Now, &keys).ok()?;
    Some(before)
}

/// Returns whether this is a foreground process. One in the background would be suspended by a change of the terminal.
fn is_in_front() -> bool {
    termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
