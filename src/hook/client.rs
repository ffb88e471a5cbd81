//! The client process that started this hook, and whether it still exists and can be woken (2.1.331).

use rustix::process::{self, Pid};

use crate::env::Env;
use crate::policy::process::Process;
use crate::process::{ProcessStatus, exact, standing};

/// The client as it was when the hook began.
pub(super) struct Client {
    /// The parent; the outer `None` where it may end before this process.
    parent: Option<Option<Pid>>,
    /// The process that `CLAUDE_PID` names.
    named: Option<Process>,
}

impl Client {
    pub(super) fn now(env: &Env) -> Self {
        Self { parent: Some(process::getppid()), named: named(env).map(|client| exact(client.pid)) }
    }

    /// Returns the absent client of a gate, which runs without one and may outlast its shell.
    pub(super) fn none() -> Self {
        Self { parent: None, named: None }
    }

    /// Returns whether the client still exists.
    pub(super) fn is_there(&self) -> bool {
        let is_gone = |client: &Process| standing(client, &crate::clock::host(), None) == ProcessStatus::Gone;
        !self.named.as_ref().is_some_and(is_gone) && self.parent.is_none_or(|parent| process::getppid() == parent)
    }
}

/// Returns the client's process id, as the client passes it on.
pub(super) fn named(env: &Env) -> Option<Process> {
    let pid = env.claude_pid.as_ref()?.parse::<u32>().ok().filter(|pid| *pid > 0)?;
    Some(Process::numbered(pid))
}
