//! Deciding files are written by their owner alone: a directory with other writers is refused, and none such is
//! created.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use crate::support::{Answer, Frosty, Server, feed, fixture, stop};

const NOBODY: u32 = 65_534;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn am_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Everything under a folder, itself included.
fn all_in(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(all_in(&path)) } else { all.push(path) }
    }
    all
}

#[track_caller]
fn refused(answer: &Answer, folder: &Path, words: &[&str]) {
    let folder = folder.to_str().unwrap();
    answer.stands_down_saying(&[&["store_down", "the directory", folder, "must be user"], words].concat());
}

#[test]
fn whatever_is_made_is_ours_alone_under_any_umask() {
    for umask in ["000", "022", "077"] {
        let frosty = Frosty::embedded().config(r#"{"fleet_quotas": [{"limit": 9, "per": "1h"}]}"#);
        let script = format!("umask {umask}; exec {} \"$@\"", env!("CARGO_BIN_EXE_frosty"));
        let run = |args: &[&str], stdin: &str| {
            let args = [&["-c", &script, "frosty"], args].concat();
            feed(frosty.command_of(Path::new("/bin/sh"), &args), stdin.as_bytes())
        };
        assert_eq!(run(&["hook"], &stop("s")).code, Some(2));
        // A switch, an entry of a call without a verdict, a copy of a file that cannot be read.
        assert_eq!(run(&["on", "--session", "s"], "").code, Some(0));
        assert_eq!(run(&["hook", "--scope", "other"], &fixture("SessionStart-startup.json")).code, Some(0));
        assert_eq!(run(&["hook"], "nonsense").code, Some(0));
        let bad = frosty.scope_file("bad");
        DirBuilder::new().recursive(true).mode(0o700).create(bad.parent().unwrap()).unwrap();
        fs::write(&bad, "{").unwrap();
        mode(&bad, 0o600);
        assert_eq!(run(&["hook", "--scope", "bad"], &stop("b")).code, Some(0));
        let server = Server::start();
        let mut asks = frosty.command_of(Path::new("/bin/sh"), &["-c", &script, "frosty", "hook"]);
        asks.env("FROSTY_STORE", server.url());
        // Another store than before: the minimum interval begins.
        assert_eq!(feed(asks, stop("s").as_bytes()).code, Some(0));

        let all = all_in(&frosty.state());
        for (kind, least) in [("json", 3), ("jsonl", 1), ("lock", 1)] {
            let of = all.iter().filter(|p| p.to_string_lossy().ends_with(kind)).count();
            assert!(of >= least, "{kind}: {all:?}");
        }
        for path in all {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            let about = fs::metadata(&path).unwrap();
            assert_eq!(about.mode() & 0o7777, expected, "umask {umask}: {}", path.display());
        }
        // Nor the directories above it, if there were none.
        assert_eq!(fs::metadata(frosty.home.path().join(".local")).unwrap().mode() & 0o022, 0);
    }
}

#[test]
fn a_folder_that_others_may_write_in_is_refused() {
    let frosty = Frosty::embedded().config(r#"{"stop": {"min_interval": "1ms"}}"#);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    let fleet = frosty.state().join("default");
    for folder in [frosty.state(), fleet] {
        for bad in [0o770, 0o707, 0o1777, 0o2720, 0o702] {
            let before = all_in(&folder);
            mode(&folder, bad);
            let answer = frosty.hook(&stop("s"));
            refused(&answer, &folder, &[&format!("mode {bad:04o}"), "chmod -R go-w"]);
            assert_eq!(all_in(&folder), before);
            for args in [&["release", "s"][..], &["wake", "s"]] {
                let answer = frosty.run(args, b"");
                assert_eq!(answer.code, Some(1), "{answer:?}");
                assert!(answer.stdout.is_empty() || answer.stdout == "s was not woken\n", "{answer:?}");
                assert!(answer.stderr.contains("chmod -R go-w"), "{answer:?}");
            }
        }
        // The cure in the error repairs it; read access is up to the owner.
        let cured = std::process::Command::new("chmod").args(["-R", "go-w"]).arg(&folder).status().unwrap();
        assert!(cured.success());
        for good in [0o755, 0o750, 0o700] {
            mode(&folder, good);
            assert_eq!(frosty.hook(&stop("s")).code, Some(2), "{good:o}");
        }
    }
    // A name with a space and a quote, which the cure must quote.
    let odd = Frosty::embedded();
    let state = odd.home.path().join("o' dd/frosty");
    fs::create_dir_all(&state).unwrap();
    mode(&state, 0o777);
    let odd = odd.var("XDG_STATE_HOME", state.parent().unwrap().to_str().unwrap());
    odd.hook(&stop("s")).stands_down_saying(&["chmod -R go-w '", "o'\\'' dd/frosty'"]);
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    if !am_root() {
        // `/` is root's.
        let frosty = Frosty::embedded();
        fs::create_dir_all(frosty.state().parent().unwrap()).unwrap();
        symlink("/", frosty.state()).unwrap();
        refused(&frosty.hook(&stop("s")), &frosty.state(), &["user 0's", "sudo chown -R"]);
        return;
    }
    // Root in another user's directory: its owner writes the deciding files.
    let frosty = Frosty::embedded();
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
    let fleet = frosty.state().join("default");
    for folder in [&frosty.state(), &fleet] {
        chown(folder, Some(NOBODY), None).unwrap();
        refused(&frosty.hook(&stop("s")), folder, &["user 65534's", "as that user: sudo -u '#65534' frosty"]);
        chown(folder, Some(0), None).unwrap();
    }

    // The user nobody in a directory of root.
    let frosty = Frosty::embedded().config(r#"{"stop": {"min_interval": "1ms"}}"#);
    let own = frosty.home.path().join("frosty");
    // Copied by another process: a child of this one, forked meanwhile, would hold it open and keep it from running.
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_frosty")).arg(&own).status().unwrap();
    assert!(copied.success());
    mode(frosty.home.path(), 0o755);
    let nobody = NOBODY.to_string();
    let args = ["--reuid", &nobody, "--regid", &nobody, "--clear-groups", own.to_str().unwrap(), "hook"];
    let as_nobody = || feed(frosty.command_of(Path::new("setpriv"), &args), stop("s").as_bytes());
    fs::create_dir_all(frosty.state()).unwrap();
    for path in [".local", ".local/state", ".local/state/frosty"] {
        mode(&frosty.home.path().join(path), 0o755);
    }
    refused(&as_nobody(), &frosty.state(), &["user 0's", "sudo chown -R 65534"]);
    // The files are theirs after all.
    chown(frosty.state(), Some(NOBODY), None).unwrap();
    let answer = as_nobody();
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert_eq!(fs::metadata(frosty.state().join("default/lock")).unwrap().uid(), NOBODY);
    // A fleet's directory that another user created.
    chown(frosty.state().join("default"), Some(0), None).unwrap();
    mode(&frosty.state().join("default"), 0o777);
    refused(&as_nobody(), &frosty.state().join("default"), &["user 0's"]);
}

/// Commands of root in another user's home leave that user's state and settings to their owner.
#[test]
fn root_leaves_the_state_of_a_user_to_its_owner() {
    if !am_root() {
        eprintln!("skipped: only root can run a command in another user's home");
        return;
    }
    let server = Server::start();
    for (store, has_state) in [("embedded", false), ("embedded", true), (&*server.url(), true)] {
        let frosty = Frosty::new().var("FROSTY_STORE", store);
        let own = frosty.home.path().join("frosty");
        assert!(
            std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_frosty")).arg(&own).status().unwrap().success()
        );
        all_in(frosty.home.path()).iter().for_each(|path| chown(path, Some(NOBODY), Some(NOBODY)).unwrap());
        let nobody = NOBODY.to_string();
        let args = ["--reuid", &nobody, "--regid", &nobody, "--clear-groups", own.to_str().unwrap(), "hook"];
        let as_nobody = |session: &str| feed(frosty.command_of(Path::new("setpriv"), &args), stop(session).as_bytes());
        if has_state {
            assert_eq!(as_nobody("s").code, Some(2), "{store}");
            assert_eq!(as_nobody("s").code, Some(0), "{store}");
        }
        for (args, refuses) in [
            (&["on", "--session", "0a1b2c3d-0000-4000-8000-000000000001"][..], true),
            (&["off", "--project", "."], true),
            (&["install"], true),
            (&["install", "--user"], true),
            (&["hook"], store == "embedded"),
            (&["hold", "--for", "1ms", "--reason", "x"], store == "embedded"),
            (&["release", "--fleet"], store == "embedded"),
            (&["wake", "--all"], false),
            (&["status"], false),
            (&["log"], false),
            (&["explain"], false),
            (&["doctor"], false),
        ] {
            let answer = frosty.run(args, stop("r").as_bytes());
            let all = all_in(frosty.home.path());
            let roots: Vec<_> = all.iter().filter(|path| fs::symlink_metadata(path).unwrap().uid() == 0).collect();
            assert!(roots.is_empty(), "{store} {args:?} made {roots:?}");
            assert!(!refuses || answer.stderr.contains("as that user: sudo -u "), "{store} {args:?}: {answer:?}");
            assert!(!answer.stdout.contains("chown") && !answer.stderr.contains("chown"), "{args:?}: {answer:?}");
        }
        assert_eq!(as_nobody("after").code, Some(2), "{store}");
    }
}

/// A server decides without files, so nothing there is checked.
#[test]
fn the_server_needs_no_folder() {
    let server = Server::start();
    let frosty = Frosty::on(&server);
    fs::create_dir_all(frosty.state()).unwrap();
    mode(&frosty.state(), 0o777);
    assert_eq!(frosty.hook(&stop("s")).code, Some(2));
}
