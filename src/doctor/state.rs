//! Checks this machine's state directory, and the data that it has not sent to the server yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Access;

use super::report::{Check, State};
use crate::clock;
use crate::config::Config;
use crate::duration;
use crate::hint::Problem;
use crate::ownership;
use crate::store::StoreError;
use crate::store::files::paths;
use crate::store::outbox::backlog;
use crate::store::outbox::backlog::Backlog;
use crate::text;

const FOLDER: &str = "state";
const ASIDE: &str = "set aside";
const SPOOL: &str = "spool";

/// A disk with less free space is nearly full.
const LEAST_FREE: u64 = 50 * 1024 * 1024;
const MB: u64 = 1024 * 1024;
/// The number of files set aside that are named.
const MOST_NAMED: usize = 3;

/// Checks the state directory.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    let Some(state) = &config.state else {
        return vec![Check::of_error(FOLDER, State::Fail, &StoreError::NoStateFolder)];
    };
    let dir = state.join(&config.fleet);
    let mut checks = vec![folder(state, &dir)];
    checks.extend(set_aside(&dir));
    checks.extend(backlog::of(config).map(|b| spool(&b, &dir)));
    checks
}

fn folder(state: &Path, dir: &Path) -> Check {
    if let Err(e) = ownership::check(dir) {
        return Check::of_error(FOLDER, State::Fail, &e);
    }
    let shown = text::path(state);
    match fs::metadata(state) {
        Ok(about) if !about.is_dir() => {
            return Check::fail(FOLDER, format!("{shown} is not a directory"), format!("mv {shown} {shown}.old"));
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let standing = text::standing(state);
            let above = text::path(standing);
            if let Err(e) = rustix::fs::access(standing, Access::WRITE_OK | Access::EXEC_OK) {
                let found =
                    format!("{shown} does not exist and cannot be created: {above}: {}", std::io::Error::from(e));
                return Check::fail(FOLDER, found, format!("namei -l {above}"));
            }
            let found = format!("{shown} does not exist yet: the first stop creates it");
            return on(&Disk::of(standing), &above).unwrap_or_else(|| Check::ok(FOLDER, found));
        }
        Err(e) => return Check::fail(FOLDER, format!("{shown}: {e}"), format!("namei -l {shown}")),
    }
    if let Err(e) = rustix::fs::access(state, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        let found = format!("{shown} cannot be used: {}", std::io::Error::from(e));
        return Check::fail(FOLDER, found, format!("namei -l {shown}"));
    }
    let disk = Disk::of(state);
    let free = disk.free.map_or_else(String::new, |free| format!(", {} MB free", free / MB));
    on(&disk, &shown).unwrap_or_else(|| Check::ok(FOLDER, format!("{shown}, yours alone{free}")))
}

/// The file system of the directory.
#[derive(Debug, Default)]
struct Disk {
    /// The free bytes.
    free: Option<u64>,
    /// Whether it is a network file system.
    is_network: bool,
}

impl Disk {
    fn of(folder: &Path) -> Self {
        let room = rustix::fs::statvfs(folder).ok();
        Self { free: room.map(|r| r.f_bavail.saturating_mul(r.f_frsize)), is_network: is_network(folder) }
    }
}

/// Returns whether the file system is NFS, SMB, CIFS, 9P, AFS or Ceph (linux/magic.h): other machines do not, or not
/// always, see their locks.
#[cfg(target_os = "linux")]
fn is_network(folder: &Path) -> bool {
    const KINDS: [u32; 7] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x5346_414f, 0x00c3_6400];
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a magic number of four bytes")]
    rustix::fs::statfs(folder).is_ok_and(|about| KINDS.contains(&(about.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn is_network(_: &Path) -> bool {
    false
}

fn on(disk: &Disk, shown: &str) -> Option<Check> {
    if let Some(free) = disk.free.filter(|free| *free < LEAST_FREE) {
        let found = format!("{shown}: its disk is nearly full, {} MB free", free / MB);
        return Some(Check::warn(FOLDER, found, format!("df -h {shown}")));
    }
    disk.is_network.then(|| {
        let found = format!("{shown} is on a network file system, where locks may not hold");
        Check::warn(FOLDER, found, "export XDG_STATE_HOME=<a folder on a disk of this machine>")
    })
}

/// Lists the files that a request could not read and set aside; `None` without any.
fn set_aside(dir: &Path) -> Option<Check> {
    let is_bad = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".bad-"));
    let within = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let spread = [paths::SCOPES, paths::SESSIONS].map(|folder| dir.join(folder));
    let folders = spread.iter().flat_map(|folder| within(folder));
    let mut bad: Vec<PathBuf> = within(dir).chain(folders.flat_map(|folder| within(&folder))).filter(is_bad).collect();
    bad.sort();
    let first = bad.first()?;
    let name = |path: &PathBuf| text::line(&path.file_name().unwrap_or_default().to_string_lossy());
    let named: Vec<String> = bad.iter().take(MOST_NAMED).map(name).collect();
    let more = if bad.len() > MOST_NAMED { ", …" } else { "" };
    let found = format!(
        "{} could not be read, so their state is unknown: {}{more}",
        count(bad.len(), "state file"),
        named.join(", ")
    );
    Some(Check::warn(ASIDE, found, format!("less {}", text::path(first))))
}

/// Reports the data that was not sent to the server yet, and whether the server is unreachable.
fn spool(backlog: &Backlog, dir: &Path) -> Check {
    let mut parts = Vec::new();
    if backlog.unshipped > 0 {
        parts.push(format!("{} bytes of the journal wait for the server", backlog.unshipped));
    }
    if backlog.away > 0 {
        parts.push(format!("{} decided on this machine", count(backlog.away, "scope")));
    }
    if backlog.given_up > 0 {
        parts.push(format!("{} bytes were given up", backlog.given_up));
    }
    let rest = parts.join(", ");
    if let Some(away) = &backlog.breaker {
        let left = u64::try_from(away.next.saturating_sub(clock::host_ms())).unwrap_or(0);
        let when = match left {
            0 => "with the next request".to_owned(),
            left => format!("in {}", duration::about(Duration::from_millis(left))),
        };
        let rest = if rest.is_empty() { String::new() } else { format!(", {rest}") };
        let tried = count(away.tries as usize, "failed attempt");
        let why = text::line_of(&away.why.message, 1000);
        let known = format!("the server is unreachable ({tried} in a row; next attempt {when}){rest}: {why}");
        let problem = Problem { message: known, hint: away.why.hint.clone() };
        let check = Check::of_error(SPOOL, State::Warn, problem);
        return if check.cure.is_some() { check } else { check.cured_by("frosty log -n 20") };
    }
    if backlog.given_up > 0 {
        let journal = text::path(&dir.join("journal.1.jsonl"));
        return Check::warn(
            SPOOL,
            format!("{rest}: the server was unreachable for too long"),
            format!("less {journal}"),
        );
    }
    if rest.is_empty() { Check::ok(SPOOL, "everything was sent to the server") } else { Check::note(SPOOL, rest) }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks() {
        let of = |free, is_network| on(&Disk { free: Some(free), is_network }, "/s").map(|c| (c.state, c.found));
        assert_eq!(of(LEAST_FREE, false), None);
        assert_eq!(of(3 * MB, false), Some((State::Warn, "/s: its disk is nearly full, 3 MB free".to_owned())));
        assert!(of(u64::MAX, true).unwrap().1.contains("network file system"));
        assert!(Disk::of(Path::new("/")).free.is_some());
        assert!(!is_network(Path::new("/proc")));
    }
}
