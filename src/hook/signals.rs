//! SIGTERM: in print mode the client (2.1.331) sends it to a `StopFailure` hook about 25 ms after it started. The failure
//! is committed first.

/// Ignores SIGTERM until the process ends, which is soon: a verdict has at most a second.
#[allow(unsafe_code, reason = "the standard library cannot ignore a signal")]
pub(super) fn ignore_termination() {
    // SAFETY: SIG_IGN installs no handler, so nothing of ours runs in a signal's context.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
}
