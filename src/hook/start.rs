//! What a hook does before anything else.

use super::{Program, signals, watchdog};

/// Prepares the process for a hook: no closed standard stream, no end by a broken pipe, by another signal or by an alarm from
/// elsewhere. The first two repeat the standard library's start-up, which the hook binary leaves out.
pub fn begin(program: Program) {
    if program == Program::HookBinary {
        open_streams();
        signals::ignore_broken_pipes();
    }
    watchdog::listen();
    signals::shield();
}

/// Opens `/dev/null` in the place of a standard stream that is closed, so that no file or socket gets its number.
#[allow(unsafe_code, reason = "the standard library's start-up is left out")]
fn open_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array has three entries, and the path ends in a zero byte.
    unsafe {
        libc::poll(streams.as_mut_ptr(), 3, 0);
        for _ in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
            // The lowest number that is free is this one's.
            libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        }
    }
}
