//! Faults of this machine: its disk, its directories, its network. A mount or a namespace affects one thread
//! and its child processes, and ends with it.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use frosty::store::files::paths;

use crate::measure::{Facts, judge};
use crate::rows::{Row, Who};
use crate::server::Redis;
use crate::site::{Phase, Site};
use crate::stage::{SCOPES, after, another_host, before, during, proxied, story};
use crate::support::proxy::Mode;

/// Gives this thread namespaces of its own.
#[allow(unsafe_code, reason = "the standard library cannot unshare")]
fn unshare(what: libc::c_int) {
    // SAFETY: no pointer is involved; a row has a thread of its own, which ends with it.
    let done = unsafe { libc::unshare(what) };
    assert_eq!(done, 0, "unshare: {}", std::io::Error::last_os_error());
}

fn run(words: &str) {
    let mut words = words.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn own_mounts() {
    unshare(libc::CLONE_NEWNS | libc::CLONE_FS);
    run("mount --make-rprivate /");
}

fn away(site: &Site, outage: bool) {
    site.proxy().set(if outage { Mode::Refuse } else { Mode::Pass });
}

pub fn disk_full(row: &Row, outage: bool) -> Result<Facts, String> {
    own_mounts();
    let site = proxied(row);
    let state = site.frosty.state();
    fs::create_dir_all(&state).unwrap();
    run(&format!("mount -t tmpfs -o size=256k,mode=700 none {}", state.display()));
    let full = state.join("filler");
    let fill = || {
        away(&site, outage);
        // To the last page, since a write that fails halfway has filled the available space.
        let _ = fs::write(&full, vec![0; 1 << 20]);
        assert!(fs::metadata(&full).unwrap().len() > 0, "nothing was filled");
    };
    let mend = || {
        fs::remove_file(&full).unwrap();
        away(&site, false);
    };
    let told = story(row, &site, fill, mend);
    run(&format!("umount -l {}", state.display()));
    told
}

pub fn read_only(row: &Row, outage: bool) -> Result<Facts, String> {
    own_mounts();
    let site = proxied(row);
    let state = site.frosty.state();
    fs::create_dir_all(&state).unwrap();
    let state = state.display().to_string();
    let seal = || {
        away(&site, outage);
        run(&format!("mount --bind {state} {state}"));
        run(&format!("mount -o remount,bind,ro {state}"));
    };
    let mend = || {
        run(&format!("umount {state}"));
        away(&site, false);
    };
    story(row, &site, seal, mend)
}

pub fn leftovers(row: &Row) -> Result<Facts, String> {
    let site = proxied(row);
    let fleet = site.frosty.state().join("default");
    let of = |scope: &str| format!("{}.tmp", paths::scope(scope));
    let names = [of("a"), of("z"), "fleet.json.tmp".into(), "redo.json.tmp".into(), "../server.json.tmp".into()];
    for name in &names {
        fs::create_dir_all(fleet.join(name).parent().unwrap()).unwrap();
        for i in 0..200 {
            fs::write(fleet.join(format!("{name}{i}")), "{\"v\":1,").unwrap();
        }
        // Also under the very name that is used.
        fs::write(fleet.join(name), "{\"v\":1,").unwrap();
    }
    story(row, &site, || site.proxy().set(Mode::Refuse), || site.proxy().set(Mode::Pass))
}

/// Two hosts, one server, the same scopes. The host that is cut off is judged, and the other must not be
/// affected.
pub fn two_hosts(row: &Row, namespace: bool) -> Result<Facts, String> {
    let server = Arc::new(Redis::start(&[]));
    let unharmed = Row { during: Who::Server, ..*row };
    let (here, there) = (Site::direct(Arc::clone(&server)), another_host(&server));
    before(&here);
    before(&there);
    if !namespace {
        there.proxy().set(Mode::Refuse);
    }
    thread::scope(|scope| {
        scope.spawn(|| during(&unharmed, &here));
        scope.spawn(|| {
            if namespace {
                unshare(libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_FS);
                run("hostname elsewhere");
                run("ip link set lo up");
            }
            during(row, &there);
        });
    });
    there.proxy().set(Mode::Pass);
    there.until_back(SCOPES)?;
    here.drive(Phase::After, SCOPES, std::time::Duration::from_millis(900));
    judge(&here, &unharmed).map_err(|e| format!("the host that reaches the server: {e}"))?;
    after(row, &there)
}
