//! Whether anybody is left to be woken: the client that started this hook (2.1.331).

use rustix::process::{self, Pid};

use crate::config::Env;

/// The client as it was when the hook began.
pub(super) struct Client {
    parent: Option<Pid>,
    /// `CLAUDE_PID`, and when that process started: a number is given to another process one day.
    named: Option<(Pid, Option<String>)>,
}

impl Client {
    pub(super) fn now(env: &Env) -> Self {
        let named = env.claude_pid.as_ref().and_then(|pid| Pid::from_raw(pid.parse().ok().filter(|pid| *pid > 0)?));
        Self { parent: process::getppid(), named: named.map(|pid| (pid, started(pid))) }
    }

    /// Whether it is still there.
    pub(super) fn is_there(&self) -> bool {
        let named = self.named.as_ref().is_none_or(|(pid, since)| {
            process::test_kill_process(*pid).is_ok_and(|()| since.is_none() || started(*pid) == *since)
        });
        named && process::getppid() == self.parent
    }
}

/// When a process started, in the kernel's ticks (Linux).
fn started(pid: Pid) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field is a name in parentheses that may hold spaces; the start is the twenty-second.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}
