//! Describes the terminal (its width and colours), and draws on its alternate screen.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

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
pub struct Screen(());

impl Screen {
    /// Switches to the alternate screen.
    ///
    /// # Errors
    /// When nothing can be written.
    pub fn take() -> io::Result<Self> {
        let screen = Self(());
        write("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J")?;
        Ok(screen)
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
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
