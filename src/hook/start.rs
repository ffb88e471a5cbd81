//! Prepares the process before a hook does anything else.

use super::{Program, signals, watchdog};

/// Prepares the process for a hook: no closed standard stream, and no end by a broken pipe, another signal or a
/// foreign alarm. The first two repeat the standard library's start-up, which the hook binary leaves out.
pub fn begin(program: Program) {
    if program == Program::HookBinary {
        open_streams();
        signals::ignore_broken_pipes();
    }
    watchdog::listen();
    signals::shield();
}

/// Opens `/dev/null` in place of a closed standard stream, so that no file or socket gets its number.
#[allow(unsafe_code, reason = "the standard library's start-up is left out")]
fn open_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array has three entries, and the path ends in a zero byte.
    unsafe {
        libc::poll(streams.as_mut_ptr(), 3, 0);
        for _ in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
            // The new descriptor gets the lowest free number, which is this one.
            libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        }
    }
}
