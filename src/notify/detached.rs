//! Sends notifications without delaying the hook: a separate process sends them, and outlives the hook.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Config, Flags};
use crate::notify::{Kind, Notification};

/// How often a child is polled for its end.
const EVERY: Duration = Duration::from_millis(10);
/// The time for sending besides the configured commands.
const MARGIN: Duration = Duration::from_secs(2);
/// The registration allows ten seconds for a hook that answers at once.
pub const PLAIN: Then = Then::Ends(Duration::from_secs(7));
/// A waiting engine has more time.
pub const WAITED: Then = Then::Ends(Duration::from_secs(120));
/// An admission takes effect when the hook exits, so the exit waits only briefly for the notification. No later
/// prompt or switch may come before it.
pub const ADMITTED: Then = Then::Ends(Duration::from_millis(500));

/// The program in which a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `frosty`, the tool for people.
    Tool,
    /// `frosty-hook`, the hook binary.
    HookBinary,
}

/// The arguments of a hook, for a process that must load the same configuration.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The running program.
    pub program: Program,
    /// The hook's flags.
    pub flags: &'a Flags,
    /// The hook's project.
    pub project: Option<&'a Path>,
}

/// What the sending process does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The process continues to run.
    Stays,
    /// The process ends, and has this much time for it.
    Ends(Duration),
}

/// Starts `frosty announce` with the notification on its input. Where the tool cannot be started, the
/// notification is not sent, and the hook answers all the same.
#[cold]
#[inline(never)]
pub fn tell(config: &Config, caller: Caller<'_>, word: &Notification, then: Then) {
    // The agent on which another one is blocked gets a message.
    let is_of_agents = word.kind == Kind::Blocked;
    if !word.kind.is_of_holds() && !is_of_agents && config.notify.is_empty() {
        return;
    }
    if let Some(mut child) = start(caller, &[]) {
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(word.json().as_bytes());
        }
        match then {
            Then::Stays => leave(child),
            Then::Ends(_) if orphans_are_reaped() => {}
            Then::Ends(within) => {
                let told = config.notify.iter().map(|command| command.within).max().unwrap_or_default();
                wait_for(child, within.min(told + MARGIN));
            }
        }
    }
}

/// Starts `frosty announce --lost`, which looks for engines of this machine that are gone.
pub fn look_for_lost(caller: Caller<'_>) {
    if let Some(mut child) = start(caller, &["--lost"]) {
        drop(child.stdin.take());
        leave(child);
    }
}

/// Reaps a child of an engine. An engine continues to run and must not leave a zombie.
fn leave(mut child: Child) {
    let _ = thread::Builder::new().spawn(move || child.wait());
}

/// Programs that reap every orphaned process. Any other first process of a container may leave a zombie for
/// each.
const INITS: [&str; 12] = [
    "systemd",
    "init",
    "tini",
    "dumb-init",
    "docker-init",
    "catatonit",
    "s6-svscan",
    "runit",
    "openrc-init",
    "launchd",
    "podman-init",
    "bash",
];

/// Returns whether the system's first process is known to reap orphans.
fn orphans_are_reaped() -> bool {
    let name = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    cfg!(not(target_os = "linux")) || INITS.contains(&name.trim_end())
}

/// Waits for the end of a child, so that it leaves no zombie.
fn wait_for(mut child: Child, within: Duration) {
    let end = Instant::now() + within;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
        thread::sleep(EVERY);
    }
}

/// Returns the running file, even if another has replaced it since. Its name is used as long as it has one. A
/// process is listed under that name, and the search for lost engines compares the name with its own.
fn own() -> Option<PathBuf> {
    let runs = Path::new("/proc/self/exe");
    let is = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let named = std::env::current_exe().ok();
    match is(runs) {
        Some(file) => Some(named.filter(|path| is(path) == Some(file)).unwrap_or_else(|| runs.to_owned())),
        None => named,
    }
}

/// Returns the tool's file: the running one, or the one beside the hook binary. A link to the hook binary is
/// followed, since both programs are installed in one directory.
fn tool(program: Program) -> Option<PathBuf> {
    match program {
        Program::Tool => own(),
        // If the file was replaced meanwhile, its directory is still the same.
        Program::HookBinary => Some(std::env::current_exe().ok()?.with_file_name("frosty")),
    }
}

fn start(caller: Caller<'_>, more: &[&str]) -> Option<Child> {
    let mut command = Command::new(tool(caller.program)?);
    command.arg0("frosty").arg("announce").args(more);
    // Passed in the environment, since a store's URL may contain a password, and every user could read it in a
    // command line.
    for (variable, value) in [("FROSTY_STORE", &caller.flags.store), ("FROSTY_FLEET", &caller.flags.fleet)] {
        if let Some(value) = value {
            command.env(variable, value);
        }
    }
    if let Some(project) = caller.project {
        command.env("CLAUDE_PROJECT_DIR", project);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_what_runs_by_its_name() {
        let runs = std::env::current_exe().unwrap();
        assert_eq!(tool(Program::Tool).as_ref(), Some(&runs));
        assert_eq!(tool(Program::HookBinary), Some(runs.with_file_name("frosty")));
    }
}
