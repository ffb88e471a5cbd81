//! Whether this process was started without a stdout or a stderr.
//!
//! The standard library opens `/dev/null` in their place before `main`, so that a write seems to succeed. An exit 2 whose
//! stdout nobody can have read may be ignored by the client (2.1.331), and one without its stderr brings no prompt: it
//! must not be given. Only what runs before the library can see the difference.

use std::sync::atomic::{AtomicBool, Ordering};

static MISSING: AtomicBool = AtomicBool::new(false);

/// Whether file descriptor 1 or 2 was closed when the process began (Linux; elsewhere a failed write is all that tells).
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
        // SAFETY: the descriptors are only asked about; a closed one is an error, not a use.
        let (stdout, stderr) = unsafe { (BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)) };
        let missing = [stdout, stderr].into_iter().any(|fd| rustix::io::fcntl_getfd(fd).is_err());
        MISSING.store(missing, Ordering::Relaxed);
    }
}
