//! The last protection against a hang. Whatever blocks a request to the store, the process ends with exit 0 one
//! second after it began.

use std::sync::atomic::{AtomicBool, Ordering};

/// The time limit in whole seconds, as the timer counts them.
const SECONDS: libc::c_uint = 1;

static ARMED: AtomicBool = AtomicBool::new(false);

/// An armed timer. A process has one. It stays armed until the process ends, which is soon; where that takes
/// longer, [`Watchdog::disarm`] ends it.
pub(super) struct Watchdog;

/// Ends the process with exit 0 at a SIGALRM from elsewhere, as for the timer's own.
#[allow(unsafe_code, reason = "the standard library cannot catch a signal")]
pub(super) fn listen() {
    // SAFETY: a zeroed sigaction is a valid one, and the handler only ends the process, which is allowed in a
    // handler.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = end as *const () as libc::sighandler_t;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
    }
}

impl Watchdog {
    /// Arms the timer.
    #[allow(unsafe_code, reason = "the standard library has no timer that ends a process")]
    pub(super) fn arm() -> Self {
        ARMED.store(true, Ordering::SeqCst);
        // SAFETY: it only sets a number in the kernel.
        unsafe {
            libc::alarm(SECONDS);
        }
        Self
    }

    /// Disarms the timer.
    #[cold]
    #[allow(unsafe_code, reason = "the standard library has no timer that ends a process")]
    pub(super) fn disarm(self) {
        // SAFETY: it only sets a number in the kernel.
        unsafe {
            libc::alarm(0);
        }
        ARMED.store(false, Ordering::SeqCst);
    }
}

#[allow(unsafe_code, reason = "only a system call may be made in a signal's handler")]
extern "C" fn end(_: libc::c_int) {
    const SAID: &[u8] = b"frosty: store_down: no answer of the store within a second\nhint: see what is stuck: ps -eo pid,stat,wchan:32,args | grep frosty\n";
    // SAFETY: both calls may be made in a handler; the text is a constant.
    unsafe {
        if ARMED.load(Ordering::SeqCst) {
            libc::write(libc::STDERR_FILENO, SAID.as_ptr().cast(), SAID.len());
        }
        libc::_exit(0);
    }
}
