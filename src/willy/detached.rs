//! Telling everyone without keeping the hook: a process of its own does it, which outlives the hook.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Word;
use crate::config::{Config, Flags};

/// What a hook was called with, for a process that is to find the same configuration.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The hook's flags.
    pub flags: &'a Flags,
    /// Its project.
    pub project: Option<&'a Path>,
}

/// Starts `frosty announce` with the word on its input. What cannot be started is not told: a hook answers all the same.
#[cold]
#[inline(never)]
pub fn tell(config: &Config, caller: Caller<'_>, word: &Word) {
    if !word.kind.is_of_holds() && config.notify.is_empty() {
        return;
    }
    if let Some(mut child) = start(caller, &[]) {
        if let Some(mut input) = child.stdin.take() {
            let _ = input.write_all(word.json().as_bytes());
        }
        leave(child);
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
    let _ = std::thread::Builder::new().spawn(move || child.wait());
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

fn start(caller: Caller<'_>, more: &[&str]) -> Option<Child> {
    let mut command = Command::new(own()?);
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
        assert_eq!(own(), std::env::current_exe().ok());
    }
}
