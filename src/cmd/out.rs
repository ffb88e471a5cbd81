//! Wraps the standard output of the commands. A command continues where its output cannot be written, and its exit code
//! shows it.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Mutex;

#[cfg(test)]
use crate::store::simulator;
use crate::view::sessions::screen;
use crate::view::wrap;

/// The first error, other than a closed pipe.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Returns the locked standard output. A failed write is remembered for [`failure`].
#[must_use]
pub fn stdout() -> Out {
    Out(io::stdout().lock())
}

/// Prints a text for people, wrapped where the output is a terminal. A closed pipe is no failure.
pub fn say(text: &str) {
    #[cfg(test)]
    if simulator::prints(text) {
        return;
    }
    let _ = writeln!(stdout(), "{}", fitted(text, screen::columns(io::stdout())));
}

/// Prints a clause and a command, which stays whole.
pub fn say_command(clause: &str, command: &str) {
    let columns = screen::columns(io::stdout()).unwrap_or(usize::MAX);
    let _ = writeln!(stdout(), "{}", wrap::command(clause, command, columns));
}

/// Prints an error or a warning, and the hint on the next line where it has one. It is wrapped as [`say`] does.
pub fn report(text: &str) {
    #[cfg(test)]
    if simulator::prints(text) {
        return;
    }
    let _ = writeln!(io::stderr(), "{}", for_stderr(&format!("frosty: {text}")));
}

/// Returns a text as wide as the terminal of the standard error.
#[must_use]
pub fn for_stderr(text: &str) -> String {
    fitted(text, screen::columns(io::stderr()))
}

fn fitted(text: &str, columns: Option<usize>) -> String {
    columns.map_or_else(|| text.to_owned(), |columns| wrap::text(text, columns))
}

/// Returns why output could not be written, if some could not.
pub fn failure() -> Option<io::Error> {
    let _ = stdout().flush();
    FAILED.lock().ok()?.take()
}

/// Remembers the result of a write.
pub fn note(written: io::Result<()>) {
    if let Err(e) = written
        && e.kind() != ErrorKind::BrokenPipe
        && let Ok(mut failed) = FAILED.lock()
    {
        failed.get_or_insert(e);
    }
}

/// The locked standard output; see [`stdout`].
#[derive(Debug)]
pub struct Out(io::StdoutLock<'static>);

impl Out {
    /// Returns whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes);
        written.inspect_err(|e| note(Err(again(e))))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        flushed.inspect_err(|e| note(Err(again(e))))
    }
}

/// Copies an error, which has no `Clone`.
fn again(e: &io::Error) -> io::Error {
    e.raw_os_error().map_or_else(|| e.kind().into(), io::Error::from_raw_os_error)
}
