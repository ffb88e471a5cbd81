//! Signal handling. No signal may end a hook ([`shield`]), because the client would show an error. SIGTERM ends
//! a waiting engine. The client (2.1.331) sends it at its end, at a hook's timeout, and in print mode to a
//! `StopFailure` hook about 25 ms after that started. The engine requests SIGHUP from the kernel for its
//! parent's death. Commands that draw on a terminal also handle Ctrl-C and a new size.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Makes a write to a closed pipe an error, and not the end of the process.
#[allow(unsafe_code, reason = "the standard library's start-up, which does this, is left out")]
pub(super) fn ignore_broken_pipes() {
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Keeps signals from ending a hook, for which the client would show an error. They stay pending until the hook
/// has ended, which is within seconds. SIGALRM is reserved for the watchdog. This costs one system call.
pub(super) fn shield() {
    mask(|set| {
        // SAFETY: as in `mask`.
        #[allow(unsafe_code, reason = "the standard library cannot block a signal")]
        unsafe {
            libc::sigfillset(set);
            libc::sigdelset(set, libc::SIGALRM);
        }
    });
}

/// Unblocks SIGALRM, which an engine blocks while it waits. The watchdog does not work without it.
pub(super) fn let_in_alarm() {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set, and the other calls only read or change it.
    #[allow(unsafe_code, reason = "the standard library cannot unblock a signal")]
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Unblocks all signals, so that they end this process and its child processes again.
pub(crate) fn unshield() {
    mask(|set| {
        // SAFETY: as in `mask`.
        #[allow(unsafe_code, reason = "the standard library cannot unblock a signal")]
        unsafe {
            libc::sigemptyset(set);
        }
    });
}

/// Ends this process by a signal that it caught. A shell ends a loop at Ctrl-C only if the command in it ended so.
#[allow(unsafe_code, reason = "the standard library cannot raise a signal")]
pub(crate) fn die_by(signal: libc::c_int) {
    // SAFETY: SIG_DFL installs no handler, and `raise` has no other condition.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
    }
    unshield();
    // SAFETY: as above.
    unsafe {
        libc::raise(signal);
    }
}

/// Blocks all signals but these.
fn shield_but(signals: &[libc::c_int]) {
    mask(|set| {
        // SAFETY: as in `mask`.
        #[allow(unsafe_code, reason = "the standard library cannot block a signal")]
        unsafe {
            libc::sigfillset(set);
            for signal in signals {
                libc::sigdelset(set, *signal);
            }
        }
    });
}

/// Sets the signals that are blocked.
fn mask(fill: impl FnOnce(*mut libc::sigset_t)) {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    fill(set.as_mut_ptr());
    // SAFETY: the set was filled or emptied, which initialises it, and the call only reads it.
    #[allow(unsafe_code, reason = "the standard library cannot block a signal")]
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}

static TERMINATED: AtomicBool = AtomicBool::new(false);
/// The last signal to end; zero for none.
static LAST: AtomicI32 = AtomicI32::new(0);
static SUSPENDED: AtomicBool = AtomicBool::new(false);
static ON_TERMINAL: AtomicBool = AtomicBool::new(false);
/// The pipe that the handler writes to, so that a wait that is about to begin ends too.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Signals that end a wait, not the process.
pub(crate) struct Signals {
    heard: OwnedFd,
    _bell: OwnedFd,
}

impl Signals {
    /// Installs the handlers of a waiting engine.
    pub(crate) fn listen() -> io::Result<Self> {
        // Ctrl-C ends an engine that a person started by hand.
        let heeded = [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];
        let signals = Self::of(&heeded)?;
        shield_but(&heeded);
        #[cfg(target_os = "linux")]
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::HUP));
        Ok(signals)
    }

    /// Installs the handlers of a program that draws on a terminal: for its end (also by Ctrl-C), for its
    /// suspension (Ctrl-Z), and for a new size.
    pub(crate) fn of_terminal() -> io::Result<Self> {
        ON_TERMINAL.store(true, Ordering::SeqCst);
        Self::of(&[libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTSTP, libc::SIGWINCH])
    }

    /// Installs the handlers of `frosty gate`: for its end, and for the end of its command. A SIGHUP that was ignored
    /// when the process began (`nohup`) stays ignored.
    pub(crate) fn of_gate() -> io::Result<Self> {
        ON_TERMINAL.store(true, Ordering::SeqCst);
        let signals = Self::of(&[libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGCHLD])?;
        if !is_ignored(libc::SIGHUP) {
            catch(libc::SIGHUP);
        }
        Ok(signals)
    }

    /// Returns the last signal to end that arrived since the last call.
    pub(crate) fn take_last(&self) -> Option<libc::c_int> {
        Some(LAST.swap(0, Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    fn of(signals: &[libc::c_int]) -> io::Result<Self> {
        let (heard, bell) = pipe()?;
        BELL.store(bell.as_raw_fd(), Ordering::SeqCst);
        signals.iter().copied().for_each(catch);
        Ok(Self { heard, _bell: bell })
    }

    /// Returns whether a signal to end arrived.
    pub(crate) fn terminated(&self) -> bool {
        TERMINATED.load(Ordering::SeqCst)
    }

    /// Returns whether a signal to suspend arrived since the last call.
    pub(crate) fn suspended(&self) -> bool {
        SUSPENDED.swap(false, Ordering::SeqCst)
    }

    /// Suspends the process as Ctrl-Z does, until the shell continues it.
    #[allow(unsafe_code, reason = "the standard library cannot give a signal its meaning back")]
    pub(crate) fn step_aside(&self) {
        // SAFETY: SIG_DFL installs no handler, so nothing of ours runs in a signal's context.
        unsafe { libc::signal(libc::SIGTSTP, libc::SIG_DFL) };
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
        catch(libc::SIGTSTP);
    }

    /// Returns a descriptor that is readable once a signal arrived, until [`Signals::clear`].
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.heard.as_fd()
    }

    /// Discards the signals that arrived, except that a signal to end is remembered.
    pub(crate) fn clear(&self) {
        let mut bytes = [0; 64];
        while matches!(rustix::io::read(&self.heard, &mut bytes), Ok(n) if n > 0) {}
    }
}

/// Returns a pipe that no other program inherits and that never blocks.
#[cfg(not(target_vendor = "apple"))]
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::PipeFlags;
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

#[cfg(target_vendor = "apple")]
use pipe_step_by_step as pipe;

/// Does the same on a system without one call for all of it.
#[cfg(any(test, target_vendor = "apple"))]
fn pipe_step_by_step() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe()?;
    for end in [&read, &write] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        let flags = rustix::fs::fcntl_getfl(end)?;
        rustix::fs::fcntl_setfl(end, flags | rustix::fs::OFlags::NONBLOCK)?;
    }
    Ok((read, write))
}

#[allow(unsafe_code, reason = "the standard library cannot catch a signal")]
fn catch(signal: libc::c_int) {
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: the handler only stores to atomics and writes to a pipe, which is safe in a signal's context.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

#[allow(unsafe_code, reason = "write is all that a handler may do")]
extern "C" fn on_signal(signal: libc::c_int) {
    match signal {
        libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => end_by(signal),
        // For an engine this means that its parent died, which it then verifies.
        libc::SIGHUP if ON_TERMINAL.load(Ordering::SeqCst) => end_by(signal),
        libc::SIGTSTP => SUSPENDED.store(true, Ordering::SeqCst),
        _ => {}
    }
    // SAFETY: the pipe stays open until the process ends. A full pipe already wakes its reader.
    unsafe { libc::write(BELL.load(Ordering::SeqCst), [1u8].as_ptr().cast(), 1) };
}

fn end_by(signal: libc::c_int) {
    TERMINATED.store(true, Ordering::SeqCst);
    LAST.store(signal, Ordering::SeqCst);
}

/// Returns whether a signal is ignored.
#[allow(unsafe_code, reason = "the standard library cannot read the meaning of a signal")]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: a zeroed sigaction is a valid one, and the call only writes to it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_a_pipe_give_the_same() {
        for (read, write) in [pipe().unwrap(), pipe_step_by_step().unwrap()] {
            for end in [&read, &write] {
                assert!(rustix::io::fcntl_getfd(end).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
                assert!(rustix::fs::fcntl_getfl(end).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
            }
            assert_eq!(rustix::io::read(&read, &mut [0; 1][..]), Err(rustix::io::Errno::AGAIN));
            assert_eq!(rustix::io::write(&write, b"x"), Ok(1));
            assert_eq!(rustix::io::read(&read, &mut [0; 1][..]), Ok(1));
        }
    }
}
