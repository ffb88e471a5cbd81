//! Runs the configured commands on a notification, with JSON on their input, a deadline, and their output discarded.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Notify;
use crate::hint::{Problem, edit};
use crate::notify::Notification;
use crate::text;

/// How often the running commands are checked.
const EVERY: Duration = Duration::from_millis(10);
/// The length of a failed command's stderr that is shown.
const SHOWN: usize = 2000;

/// A command that was started.
pub struct Running<'a> {
    command: &'a Notify,
    until: Instant,
    child: io::Result<Child>,
    /// The beginning of its stderr.
    said: Vec<u8>,
}

/// Starts each command; they run concurrently.
pub fn start<'a>(commands: &'a [Notify], word: &Notification) -> Vec<Running<'a>> {
    commands.iter().map(|command| one(command, word)).collect()
}

fn one<'a>(command: &'a Notify, word: &Notification) -> Running<'a> {
    let mut argv = command.argv.iter();
    let spawned = Command::new(argv.next().map_or("", String::as_str))
        .args(argv)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Its own children are in the same group.
        .process_group(0)
        .spawn();
    let child = spawned.and_then(|mut child| {
        if let Some(mut input) = child.stdin.take() {
            let line = word.json() + "\n";
            // A command that does not read its input must not delay the others. The pipe breaks when the command ends.
            let _ = thread::Builder::new().spawn(move || input.write_all(line.as_bytes()));
        }
        // A child of the command may keep its stderr open after the command has ended, so reading must not block.
        if let Some(Err(e)) = child.stderr.as_ref().map(|err| rustix::io::ioctl_fionbio(err, true)) {
            end(&mut child);
            return Err(e.into());
        }
        Ok(child)
    });
    Running { command, until: Instant::now() + command.within, child, said: Vec::new() }
}

/// Waits until all have ended, and kills each past its deadline. Returns one line for each failure.
#[must_use]
pub fn finish(mut running: Vec<Running<'_>>) -> Vec<Problem> {
    let mut wrong = Vec::new();
    loop {
        running.retain_mut(|command| match command.look() {
            None => true,
            Some(ended) => {
                wrong.extend(ended);
                false
            }
        });
        if running.is_empty() {
            return wrong;
        }
        thread::sleep(EVERY);
    }
}

impl Running<'_> {
    /// Returns `None` while it runs, and then its failure, if it failed.
    fn look(&mut self) -> Option<Option<Problem>> {
        let child = match &mut self.child {
            Ok(child) => child,
            Err(e) => {
                let e = e.to_string();
                let shown = self.shown();
                let problem = Problem::new(format!("cannot run the notify command {shown}: {e}"));
                return Some(Some(problem.with_hint(edit("~/.claude/frosty.json"))));
            }
        };
        let ended = child.try_wait();
        listen(child, &mut self.said);
        match ended {
            Ok(Some(status)) if status.success() => Some(None),
            Ok(Some(status)) => Some(Some(self.failed(status))),
            Ok(None) if Instant::now() < self.until => None,
            Ok(None) | Err(_) => {
                end(child);
                let within = crate::duration::show(self.command.within);
                let shown = self.shown();
                let problem =
                    Problem::new(format!("the notify command {shown} ran longer than {within} and was killed"));
                let hint = format!("give it more time with \"timeout\", {}", edit("~/.claude/frosty.json"));
                Some(Some(problem.with_hint(hint)))
            }
        }
    }

    fn failed(&self, status: ExitStatus) -> Problem {
        let shown = self.shown();
        let said = text::line(&String::from_utf8_lossy(&self.said));
        let problem = Problem::new(format!("the notify command {shown} failed: {status} {said}"));
        problem.with_hint(format!("try the command: echo '{{}}' | {shown}"))
    }

    /// Returns the command in a form that can be pasted into a shell.
    fn shown(&self) -> String {
        self.command.argv.iter().map(|word| text::word(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Reads the command's stderr, so that a full pipe does not block it, and keeps the beginning.
fn listen(child: &mut Child, said: &mut Vec<u8>) {
    let Some(err) = &mut child.stderr else { return };
    let mut bytes = [0; 4096];
    // A command that writes without end is read again a moment later.
    for _ in 0..64 {
        match err.read(&mut bytes) {
            Ok(n @ 1..) => {
                let room = SHOWN.saturating_sub(said.len());
                said.extend(bytes.iter().take(n.min(room)));
            }
            _ => return,
        }
    }
}

/// Kills the command and what it started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}
