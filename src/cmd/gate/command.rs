//! The command of a gate: its start, which consumes the admission, and its end.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cmd::out;
use crate::env;
use crate::hook::signals::Signals;
use crate::policy::verdict::Admission;
use crate::store::listen;
use crate::text;

/// How often a gate reports that its command still runs.
pub(super) const ALIVE: Duration = Duration::from_secs(300);

/// The exit code of a program that cannot be executed, and of one that is not found, as in a shell.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// How a command ended. It can be made from an admission alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// The command's exit code, as a shell has it.
    pub(super) code: u8,
    /// Whether Ctrl-C reached the gate meanwhile.
    pub(super) is_interrupted: bool,
}

impl Ended {
    fn of_code(code: u8) -> Self {
        Self { code, is_interrupted: false }
    }

    fn of_error(e: &io::Error) -> Self {
        Self::of_code(if e.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE })
    }

    fn of(status: ExitStatus, is_interrupted: bool) -> Self {
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let code = code.or_else(|| status.signal().map(code_of)).unwrap_or(u8::MAX);
        Self { code, is_interrupted }
    }
}

/// Returns the exit code of a process that a signal ended, as a shell has it.
pub(super) fn code_of(signal: i32) -> u8 {
    u8::try_from(128_i32.saturating_add(signal)).unwrap_or(u8::MAX)
}

/// Returns whether a program can be found.
pub(super) fn exists(program: &OsStr) -> bool {
    let path = Path::new(program);
    if program.to_string_lossy().contains('/') {
        return path.exists();
    }
    program.to_str().is_none_or(|name| env::on_path(name).is_some())
}

/// Starts the command. This is the only function that does, and it consumes the proof of an admission.
pub(super) fn start(admission: Admission, words: &[OsString], vars: &[(&str, String)]) -> Result<Child, Ended> {
    let Admission { .. } = admission;
    let [program, rest @ ..] = words else { return Err(Ended::of_code(NOT_FOUND)) };
    let mut command = Command::new(program);
    command.args(rest).envs(vars.iter().map(|(name, value)| (name, value)));
    command.spawn().map_err(|e| {
        let program = text::line(&program.to_string_lossy());
        out::report(&format!("cannot run \"{program}\": {e}"));
        Ended::of_error(&e)
    })
}

/// Waits for the end of the command. A signal to this process is forwarded to it, and `alive` is called at intervals.
pub(super) fn wait(mut child: Child, signals: &Signals, mut alive: impl FnMut()) -> Ended {
    let mut next = Instant::now() + ALIVE;
    let mut is_interrupted = false;
    loop {
        signals.clear();
        let signal = signals.take_last();
        is_interrupted |= signal == Some(libc::SIGINT);
        match child.try_wait() {
            Ok(Some(status)) => return Ended::of(status, is_interrupted),
            Ok(None) => {}
            Err(e) => return Ended::of_error(&e),
        }
        if let Some(signal) = signal.filter(|signal| !is_shared(*signal)) {
            forward(&child, signal);
        }
        if Instant::now() >= next {
            alive();
            next = Instant::now() + ALIVE;
        }
        listen::pause(next.saturating_duration_since(Instant::now()), [signals.fd()]);
    }
}

fn forward(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        let _ = kill_process(pid, signal);
    }
}

/// Returns whether the terminal sends this signal to the command too: both are in its foreground.
fn is_shared(signal: i32) -> bool {
    let stdin = io::stdin();
    let is_typed = matches!(signal, libc::SIGINT | libc::SIGQUIT) && stdin.is_terminal();
    is_typed && rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group == rustix::process::getpgrp())
}
