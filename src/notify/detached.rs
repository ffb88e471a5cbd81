//! Telling everyone without keeping the hook: a process of its own does it, which outlives the hook.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Config, Flags};
use crate::notify::Word;

/// How often a child is asked whether it has ended.
const EVERY: Duration = Duration::from_millis(10);
/// What telling takes besides the configured commands.
const MARGIN: Duration = Duration::from_secs(2);
/// A hook that answers at once is given ten seconds by its registration.
pub const PLAIN: Then = Then::Ends(Duration::from_secs(7));
/// A waiting engine has more.
pub const WAITED: Then = Then::Ends(Duration::from_secs(120));
/// An admission is used at once: a later prompt or switch must not be followed by it.
pub const ADMITTED: Then = Then::Ends(Duration::from_millis(500));

/// The program that a hook runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `frosty`, the tool for people.
    Tool,
    /// `frosty-hook`, the hook binary.
    HookBinary,
}

/// What a hook was called with, for a process that is to find the same configuration.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The program that runs.
    pub program: Program,
    /// The hook's flags.
    pub flags: &'a Flags,
    /// Its project.
    pub project: Option<&'a Path>,
}

/// What the process that tells does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It lives on.
    Stays,
    /// It ends, and has so much time for that.
    Ends(Duration),
}

/// Starts `frosty announce` with the word on its input. Where the tool cannot be started, the notification is not sent, and
/// the hook answers all the same.
#[cold]
#[inline(never)]
pub fn tell(config: &Config, caller: Caller<'_>, word: &Word, then: Then) {
    if !word.kind.is_of_holds() && config.notify.is_empty() {
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

/// An engine lives on: it must not leave a zombie.
fn leave(mut child: Child) {
    let _ = thread::Builder::new().spawn(move || child.wait());
}

/// Programs that ask for the end of every process that is left to them. Any other first process of a container may leave a
/// zombie for each.
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

/// Whether the system's first process is known to ask for the end of those that are left to it.
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

/// The file that runs, even if another has taken its place since. By its name as long as it has one: a process is called by
/// that, and who looks for lost engines knows theirs by its own.
fn own() -> Option<PathBuf> {
    let runs = Path::new("/proc/self/exe");
    let is = |path: &Path| fs::metadata(path).ok().map(|about| (about.dev(), about.ino()));
    let named = std::env::current_exe().ok();
    match is(runs) {
        Some(file) => Some(named.filter(|path| is(path) == Some(file)).unwrap_or_else(|| runs.to_owned())),
        None => named,
    }
}

/// The tool's file: the one that runs, or the one beside the hook binary. A link to the hook binary is followed, since both
/// programs are installed in one folder.
fn tool(program: Program) -> Option<PathBuf> {
    match program {
        Program::Tool => own(),
        // Of a file that was replaced meanwhile, the folder is still the same.
        Program::HookBinary => Some(std::env::current_exe().ok()?.with_file_name("frosty")),
    }
}

fn start(caller: Caller<'_>, more: &[&str]) -> Option<Child> {
    let mut command = Command::new(tool(caller.program)?);
    command.arg0("frosty").arg("announce").args(more);
    // By the environment: a store's URL may hold a password, which every user could read in a command line.
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
