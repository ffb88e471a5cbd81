//! Feeds a word to the configured commands: JSON on their input, a deadline, nothing of their output kept.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Word;
use crate::config::Notify;
use crate::text;

/// How often a running command is looked at.
const EVERY: Duration = Duration::from_millis(10);
/// So much of what a failed command said is shown.
const SHOWN: u64 = 2000;

/// A command that was started.
pub struct Running<'a> {
    command: &'a Notify,
    until: Instant,
    child: Result<Child, std::io::Error>,
}

/// Starts each command; they run beside each other.
pub fn start<'a>(commands: &'a [Notify], word: &Word) -> Vec<Running<'a>> {
    commands.iter().map(|command| one(command, word)).collect()
}

fn one<'a>(command: &'a Notify, word: &Word) -> Running<'a> {
    let mut argv = command.argv.iter();
    let spawned = Command::new(argv.next().map_or("", String::as_str))
        .args(argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // What it starts goes with it.
        .process_group(0)
        .spawn();
    let child = spawned.map(|mut child| {
        if let Some(mut input) = child.stdin.take() {
            let line = word.json() + "\n";
            // One that does not read its input must not keep the others; the pipe breaks when it ends.
            thread::spawn(move || input.write_all(line.as_bytes()));
        }
        child
    });
    Running { command, until: Instant::now() + command.within, child }
}

impl Running<'_> {
    /// Waits for its end, and kills it past its deadline. Returns what went wrong.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        let shown = text::line(&self.command.argv.join(" "));
        let mut child = match self.child {
            Ok(child) => child,
            Err(e) => {
                return Some(format!(
                    "expected to run the notify command \"{shown}\", found: {e}; mend it in your frosty.json"
                ));
            }
        };
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return None,
                Ok(Some(status)) => {
                    let mut said = String::new();
                    if let Some(err) = child.stderr.take() {
                        let _ = err.take(SHOWN).read_to_string(&mut said);
                    }
                    let said = text::line(&said);
                    return Some(format!(
                        "expected the notify command \"{shown}\" to succeed, found {status} {said}; try it: echo '{{}}' | {shown}"
                    ));
                }
                Ok(None) if Instant::now() < self.until => thread::sleep(EVERY),
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = child.kill();
        let _ = child.wait();
        let within = crate::duration::show(self.command.within);
        Some(format!(
            "expected the notify command \"{shown}\" to end within {within}, found it running, and killed it; give it longer: \"timeout\": \"30s\""
        ))
    }
}
