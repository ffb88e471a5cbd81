//! Detects whether this process was started without a stdout or a stderr.
//!
//! The standard library opens `/dev/null` in their place before `main`, so that a write seems to succeed. The
//! client (2.1.331) may ignore an exit 2 if it cannot have read the stdout, and one without stderr brings no
//! prompt. So exit 2 must not be used then. Only code that runs before the library can detect the difference.

use std::sync::atomic::{AtomicBool, Ordering};

static MISSING: AtomicBool = AtomicBool::new(false);

/// Returns whether file descriptor 1 or 2 was closed when the process began (Linux). On other systems only a
/// failed write shows it.
#[must_use]
pub fn were_missing() -> bool {
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
        // SAFETY: the descriptors are only queried; a closed one is an error, not a use.
        let (stdout, stderr) = unsafe { (BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)) };
        let missing = [stdout, stderr].into_iter().any(|fd| rustix::io::fcntl_getfd(fd).is_err());
        MISSING.store(missing, Ordering::Relaxed);
    }
}
