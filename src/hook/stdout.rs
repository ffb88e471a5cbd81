//! Whether this process was started without a stdout.
//!
//! The standard library opens `/dev/null` in its place before `main`, so that a write seems to succeed. An exit 2 whose
//! stdout nobody can have read may be ignored by the client (2.1.331), so it must not be given. Only what runs before
//! the library can see the difference.

use std::sync::atomic::{AtomicBool, Ordering};

static MISSING: AtomicBool = AtomicBool::new(false);

/// Whether file descriptor 1 was closed when the process began (Linux; elsewhere a failed write is all that tells).
#[must_use]
pub fn was_missing() -> bool {
    MISSING.load(Ordering::Relaxed)
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "nothing else runs early enough")]
mod early {
    use super::{MISSING, Ordering};
    use std::os::fd::BorrowedFd;

    // SAFETY: the section holds pointers to functions that take the C start-up arguments, which this one ignores.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        // SAFETY: the descriptor is only asked about; a closed one is an error, not a use.
        let stdout = unsafe { BorrowedFd::borrow_raw(1) };
        MISSING.store(rustix::io::fcntl_getfd(stdout).is_err(), Ordering::Relaxed);
    }
}
