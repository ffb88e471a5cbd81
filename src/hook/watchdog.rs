//! The last line against a hang: whatever an ask of the store hangs on, the process ends with exit 0 a second after it began.

/// Whole seconds, as the timer counts them.
const SECONDS: libc::c_uint = 1;

/// An armed timer; disarmed when it is dropped. One process has one.
pub(super) struct Watchdog;

impl Watchdog {
    /// Arms it.
    #[allow(unsafe_code, reason = "the standard library has no timer that ends a process")]
    pub(super) fn arm() -> Self {
        // SAFETY: a zeroed sigaction is a valid one, and the handler does nothing but end the process, which is allowed in
        // a handler.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = end as *const () as libc::sighandler_t;
            libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
            libc::alarm(SECONDS);
        }
        Self
    }
}

impl Drop for Watchdog {
    #[allow(unsafe_code, reason = "the standard library has no timer that ends a process")]
    fn drop(&mut self) {
        // SAFETY: it only sets a number in the kernel.
        unsafe {
            libc::alarm(0);
        }
    }
}

#[allow(unsafe_code, reason = "only a system call may be made in a signal's handler")]
extern "C" fn end(_: libc::c_int) {
    const SAID: &[u8] = b"frosty: store_down: expected an answer of the store within a second, found none; see what is stuck: ps -eo pid,stat,wchan:32,args | grep frosty\n";
    // SAFETY: both calls may be made in a handler; the text is a constant.
    unsafe {
        libc::write(libc::STDERR_FILENO, SAID.as_ptr().cast(), SAID.len());
        libc::_exit(0);
    }
}
