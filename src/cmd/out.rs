//! Wraps the standard output of the commands. A command continues where its output cannot be written, and its exit code
//! shows it.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Mutex;

/// The first error, other than a closed pipe.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Returns the locked standard output. A failed write is remembered for [`failure`].
#[must_use]
pub fn stdout() -> Out {
    Out(io::stdout().lock())
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
