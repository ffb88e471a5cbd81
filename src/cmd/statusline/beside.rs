//! Runs an operator's own status line command beside Frosty's line: with the same input, and for a limited time.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::hook::signals::Signals;
use crate::read;

/// How long the command may run. After that it and its child processes are killed.
const WITHIN: Duration = Duration::from_secs(5);
/// How often a command that prints nothing is checked.
const EACH: Duration = Duration::from_millis(50);
/// The most bytes that it may print.
const LARGEST: usize = 64 * 1024;

/// A command that was started.
pub(super) struct Beside(Option<JoinHandle<Vec<u8>>>);

impl Beside {
    /// Starts a command line with this input. It runs while Frosty's own line is made.
    pub(super) fn start(command: &str, input: Vec<u8>) -> Self {
        let command = command.to_owned();
        Self(thread::Builder::new().spawn(move || printed(&command, input)).ok())
    }

    /// Returns what the command printed; nothing if it did not end in time, or printed too much.
    pub(super) fn printed(self) -> Vec<u8> {
        self.0.and_then(|running| running.join().ok()).unwrap_or_default()
    }
}

fn printed(command: &str, input: Vec<u8>) -> Vec<u8> {
    // The client ends a command that takes too long, and its child processes must not stay.
    let signals = Signals::of_terminal().ok();
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let Ok(mut child) = shell.spawn() else { return Vec::new() };
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input must not delay its output. The pipe breaks when the command ends.
        let _ = thread::Builder::new().spawn(move || stdin.write_all(&input));
    }
    let until = Instant::now() + WITHIN;
    let goes_on = || Instant::now() < until && !signals.as_ref().is_some_and(Signals::terminated);
    let printed = child.stdout.take().and_then(|out| read::to_end_while(out, EACH, LARGEST, goes_on).ok());
    if printed.is_none() {
        let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
    printed.unwrap_or_default()
}
