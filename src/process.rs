//! The processes of this machine: this one, the client's, and whether a stored one still runs.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, test_kill_process};

use crate::clock;
use crate::policy::process::{Birth, Process};
#[cfg(test)]
use crate::store::simulator;

/// The state of a process, as far as this machine can find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessStatus {
    /// The process runs.
    Runs,
    /// The process has ended.
    Gone,
    /// The process belongs to another machine or to another container.
    Unknown,
}

/// Returns this process.
#[must_use]
pub fn own() -> Process {
    #[cfg(test)]
    if let Some(own) = simulator::own() {
        return own;
    }
    exact(std::process::id())
}

/// Returns the process with this id, with its start and namespace where the system shows them (Linux).
#[must_use]
pub fn exact(pid: u32) -> Process {
    let birth = about(&pid.to_string()).zip(namespace());
    Process { pid, birth: birth.map(|(about, namespace)| Birth { start: about.start, namespace }) }
}

/// Returns whether a process of `host` still runs. A process without a known start must also have the name
/// `name`, since its id may belong to another process by now.
#[must_use]
pub fn standing(process: &Process, host: &str, name: Option<&str>) -> ProcessStatus {
    #[cfg(test)]
    if let Some(status) = simulator::standing(process, host) {
        return status;
    }
    if host != clock::host() {
        return ProcessStatus::Unknown;
    }
    if let (Some(birth), Some(here)) = (process.birth, namespace())
        && birth.namespace != here
    {
        return ProcessStatus::Unknown;
    }
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return ProcessStatus::Gone };
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return ProcessStatus::Gone;
    }
    // Without /proc only its id is known.
    let Some(about) = about(&process.pid.to_string()) else { return ProcessStatus::Runs };
    let is_it = match (process.birth, name) {
        (Some(birth), _) => birth.start == about.start,
        (None, Some(name)) => {
            about.name.starts_with(name) || self::about("self").is_some_and(|own| own.name == about.name)
        }
        (None, None) => true,
    };
    if is_it && !about.is_over { ProcessStatus::Runs } else { ProcessStatus::Gone }
}

/// Returns the oldest process of this user that was started with this variable, `NAME=value` (Linux).
#[must_use]
pub fn started_with(variable: &str) -> Option<Process> {
    let entries = fs::read_dir("/proc").ok()?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let all = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        all.split(|b| *b == 0).any(|one| one == variable.as_bytes())
    };
    let oldest = pids.filter(has).filter_map(|pid| Some((about(&pid.to_string())?.start, pid))).min();
    oldest.map(|(_, pid)| exact(pid))
}

/// The largest number of ancestors that are returned: a hook may run in a shell or a wrapper.
const DEEPEST: usize = 16;

/// Returns the parent of this process, the parent of that, and so on (Linux; elsewhere the parent alone).
#[must_use]
pub fn ancestors() -> Vec<u32> {
    let own = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    std::iter::successors(own, |pid| about(&pid.to_string()).map(|about| about.parent)).take(DEEPEST).collect()
}

/// Returns how long ago a process started, to one tick of the kernel's clock; `None` where the system does not
/// show it.
#[must_use]
pub fn age(pid: u32) -> Option<Duration> {
    // This process has just begun, so its start counts as the present.
    let (own, other) = (about("self")?.start, about(&pid.to_string())?.start);
    let ticks = own.checked_sub(other)?;
    Some(Duration::from_millis(ticks.saturating_mul(1000) / clock_ticks_per_second().max(1)))
}

/// Returns the inode of this process's pid namespace (Linux).
fn namespace() -> Option<u64> {
    static NAMESPACE: OnceLock<Option<u64>> = OnceLock::new();
    *NAMESPACE.get_or_init(|| {
        let link = fs::read_link("/proc/self/ns/pid").ok()?;
        link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
    })
}

/// The facts from `stat` of proc(5) about a process (Linux). Every user may read it, unlike `exe`.
struct About {
    name: String,
    /// Whether it has ended, and its parent has not reaped it yet.
    is_over: bool,
    /// Its parent.
    parent: u32,
    /// Its start, in the kernel's ticks since boot.
    start: u64,
}

fn about(process: &str) -> Option<About> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name is in parentheses and may contain any character.
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_whitespace();
    let is_over = matches!(fields.next(), Some("Z" | "X" | "x"));
    let parent = fields.next()?.parse().ok()?;
    Some(About { name: name.to_owned(), is_over, parent, start: fields.nth(17)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_is_known_by_its_start_and_namespace() {
        let here = clock::host();
        let own = own();
        let birth = own.birth.unwrap();
        assert_eq!(standing(&own, &here, None), ProcessStatus::Runs);
        let other_start = Process { birth: Some(Birth { start: birth.start + 1, ..birth }), ..own };
        assert_eq!(standing(&other_start, &here, None), ProcessStatus::Gone, "its id was given to another process");
        let container = Process { birth: Some(Birth { namespace: birth.namespace + 1, ..birth }), ..own };
        assert_eq!(standing(&container, &here, None), ProcessStatus::Unknown);
        assert_eq!(standing(&own, "elsewhere", None), ProcessStatus::Unknown);
        assert_eq!(standing(&Process::numbered(own.pid), &here, None), ProcessStatus::Runs);
        assert_eq!(
            standing(&Process::numbered(own.pid), &here, Some("frosty")),
            ProcessStatus::Runs,
            "this one's own name"
        );
    }

    #[test]
    fn a_process_that_ended_is_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = exact(child.id());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        // The process has ended, but was not reaped yet.
        while standing(&process, &clock::host(), None) != ProcessStatus::Gone {
            assert!(std::time::Instant::now() < end, "a zombie counts as running");
            std::thread::yield_now();
        }
        let _ = child.wait();
        assert_eq!(standing(&process, &clock::host(), None), ProcessStatus::Gone);
        assert_eq!(standing(&Process::numbered(child.id()), &clock::host(), None), ProcessStatus::Gone);
    }
}
