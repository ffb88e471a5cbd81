//! Tests the files: the parts that stay through every command, and the refusals.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use frosty::client_settings::hooks;
use frosty::client_settings::owner::{Owner, owner};
use frosty::settings::write::{SettingsText, Unwritten};

use tempfile::TempDir;

use crate::support::{Answer, Frosty, feed};

/// A process of its own writes it: a program that this process has open for writing while another test forks is busy.
pub fn copy(program: &Path, to: &Path) {
    assert!(Command::new("cp").arg(program).arg(to).status().unwrap().success());
}

/// The program, outside cargo's directory, which causes a warning.
pub fn program() -> &'static Path {
    static PLACE: OnceLock<TempDir> = OnceLock::new();
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let path = PLACE.get_or_init(|| TempDir::new().unwrap()).path().join("frosty");
        copy(Path::new(env!("CARGO_BIN_EXE_frosty")), &path);
        copy(Path::new(env!("CARGO_BIN_EXE_frosty-hook")), &path.with_file_name("frosty-hook"));
        path
    })
}

pub fn run(frosty: &Frosty, args: &[&str]) -> Answer {
    feed(frosty.command_of(program(), args), b"")
}

pub fn settings(frosty: &Frosty) -> PathBuf {
    frosty.project().join(".claude/settings.json")
}

/// Every file beside the settings, by name.
pub fn names(file: &Path) -> Vec<String> {
    let entries = fs::read_dir(file.parent().unwrap()).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the backups of a file, the oldest first, from the state directory of its home.
fn backups(file: &Path) -> Vec<Vec<u8>> {
    backup_files(file).iter().map(|path| fs::read(path).unwrap()).collect()
}

fn backup_files(file: &Path) -> Vec<PathBuf> {
    let state = file.ancestors().map(|dir| dir.join(".local/state/frosty/backups")).find(|dir| dir.is_dir());
    let folders = state.map(|state| fs::read_dir(state).unwrap()).into_iter().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let mut all: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    assert!(all.iter().all(|path| path.file_name().unwrap().to_str().unwrap().contains(".json.frosty-backup-")));
    // Of two in one second the later one has a number at its end.
    all.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    all
}

#[track_caller]
pub fn done(answer: &Answer) -> String {
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    answer.stdout.clone()
}

#[track_caller]
pub fn refused(answer: &Answer, words: &[&str]) {
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for word in words {
        assert!(answer.stderr.contains(word), "no {word:?} in {}", answer.stderr);
    }
}

pub fn owners(file: &Path) -> Vec<Owner> {
    hooks(file).unwrap().iter().map(owner).collect()
}

fn own(file: &Path) -> usize {
    owners(file).iter().filter(|o| **o == Owner::Installed).count()
}

const PERSONS: &str = r#"{
	"permissions" : { "allow": ["Bash(ls:*)"] },
	"hooks": {
		"Stop": [
			{ "hooks": [ { "type": "command", "command": "say done" } ] }
		]
	  , "PreToolUse": [ { "matcher": "Bash", "hooks": [] } ]
	},
   "model":   "opus"
}"#;

fn two_thousand() -> String {
    let one = |i: usize| format!("{{\"hooks\": [{{\"type\": \"command\", \"command\": \"echo {i}\"}}]}}");
    let groups: Vec<String> = (0..2000).map(one).collect();
    format!("{{\"hooks\": {{\"Stop\": [\n    {}\n]}}}}\n", groups.join(",\n    "))
}

#[test]
fn every_file_is_as_it_was_after_all_of_it() {
    let kinds: [(&str, Vec<u8>); 8] = [
        ("a person's own", PERSONS.into()),
        ("CRLF", PERSONS.replace('\n', "\r\n").into()),
        ("a byte-order mark", format!("\u{feff}{PERSONS}\n").into()),
        ("one line", br#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"x"}]}]},"a":1}"#.into()),
        ("keys twice", br#"{"hooks": {"Stop": 3}, "hooks": {"Stop": [], "Stop": []}, "a": 1, "a": 2}"#.into()),
        ("2,000 hooks", two_thousand().into()),
        ("empty", Vec::new()),
        ("an empty object", b"{}\n".into()),
    ];
    for (kind, before) in kinds {
        let frosty = Frosty::new();
        let file = settings(&frosty);
        fs::write(&file, &before).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let persons = owners(&file);
        let shown = done(&run(&frosty, &["install", "--dry-run"]));
        assert!(shown.contains("\n+++ ") && shown.contains("--wait"), "{kind}: {shown}");
        assert_eq!((fs::read(&file).unwrap(), backups(&file).len()), (before.clone(), 0), "{kind}: a dry run wrote");

        assert!(done(&run(&frosty, &["install"])).contains("Registered the continuous engine"), "{kind}");
        let once = fs::read(&file).unwrap();
        assert_eq!((own(&file), owners(&file).len()), (8, persons.len() + 8), "{kind}");
        assert_eq!(backups(&file), std::slice::from_ref(&before), "{kind}");

        assert!(done(&run(&frosty, &["install"])).contains("Nothing to do"), "{kind}");
        assert_eq!((fs::read(&file).unwrap(), backups(&file).len()), (once.clone(), 1), "{kind}: again");

        assert!(done(&run(&frosty, &["install", "--plain"])).contains("instead of 8 older ones"), "{kind}");
        assert_eq!(own(&file), 7, "{kind}");
        assert!(!String::from_utf8(fs::read(&file).unwrap()).unwrap().contains("--wait"), "{kind}: two engines");

        assert!(done(&run(&frosty, &["uninstall"])).contains("Removed 7 hooks"), "{kind}");
        assert_eq!(fs::read(&file).unwrap(), before, "{kind}: it is not as it was");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640, "{kind}");
        assert_eq!((backups(&file).len(), names(&file).len()), (3, 1), "{kind}: {:?}", names(&file));
        for backup in backup_files(&file) {
            let mode = fs::metadata(&backup).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o640, "{kind}: {backup:?}");
            let folder = fs::metadata(backup.parent().unwrap()).unwrap().permissions().mode();
            assert_eq!(folder & 0o7777, 0o700, "{kind}: {backup:?}");
        }
        assert!(done(&run(&frosty, &["uninstall"])).contains("Nothing to do"), "{kind}");
    }
}

#[test]
fn a_line_of_the_diff_is_a_line_that_changes() {
    let frosty = Frosty::new();
    let file = settings(&frosty);
    fs::write(&file, two_thousand()).unwrap();
    let shown = done(&run(&frosty, &["install", "--dry-run"]));
    let (more, less) = (shown.lines().filter(|l| l.starts_with('+')), shown.lines().filter(|l| l.starts_with('-')));
    // The head; the last of the 2,000 for its comma, the new one, and the line that closes the list; six new lists.
    assert_eq!((more.count(), less.count()), (1 + 3 + 6 * 3, 1 + 2), "{shown}");
    // The shown change is the real one.
    let patch = frosty.home.path().join("patch");
    fs::write(&patch, shown.split("\nNothing was written").next().unwrap()).unwrap();
    let copy = frosty.home.path().join("copy.json");
    fs::copy(&file, &copy).unwrap();
    let patched = Command::new("patch").arg(&copy).arg(&patch).output().unwrap();
    assert!(patched.status.success(), "{patched:?}");
    done(&run(&frosty, &["install"]));
    assert_eq!(fs::read(&copy).unwrap(), fs::read(&file).unwrap());
}

#[test]
fn a_link_stays_one_and_what_is_behind_it_changes() {
    let frosty = Frosty::new();
    let (file, real) = (settings(&frosty), frosty.home.path().join("dotfiles/claude.json"));
    fs::create_dir(real.parent().unwrap()).unwrap();
    fs::write(&real, PERSONS).unwrap();
    symlink("../../dotfiles/claude.json", &file).unwrap();
    done(&run(&frosty, &["install"]));
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink() && own(&real) == 8);
    assert_eq!((names(&file).len(), backups(&real)), (1, vec![PERSONS.into()]));
    assert_eq!(names(&real), ["claude.json"], "nothing is put beside the file");
    done(&run(&frosty, &["uninstall"]));
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&real).unwrap(), PERSONS);
    fs::remove_file(&real).unwrap();
    refused(&run(&frosty, &["install"]), &["the link ", "dotfiles/claude.json", "rm "]);
    assert!(!real.exists());
}

/// A pasted command works, whatever the directory is called.
#[test]
fn what_undoes_it_can_be_pasted() {
    use std::os::unix::ffi::OsStrExt;
    let frosty = Frosty::new();
    for name in [
        &b"a b"[..],
        b"it's",
        b"q\"uo$te`x`",
        b"new\nline",
        b"no utf\xff8",
        b" space ",
        b"un\xe2\x80\x8bseen",
        b"; touch y",
    ] {
        let project = frosty.home.path().join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(&project).unwrap();
        let mut install = frosty.command_of(program(), &["install"]);
        install.env("CLAUDE_PROJECT_DIR", &project);
        let told = done(&feed(install, b""));
        let undo = told.lines().find_map(|line| line.strip_prefix("  undo     frosty ")).unwrap();
        let mut pasted = frosty.command_of(Path::new("bash"), &["-c", &format!("{} {undo}", program().display())]);
        pasted.current_dir(frosty.home.path());
        assert!(done(&feed(pasted, b"")).contains("Removed 8 hooks"), "{undo}");
        assert!(!project.join(".claude/settings.json").exists() && !frosty.home.path().join("y").exists());
    }
}

#[test]
fn a_file_that_is_not_there_is_made_and_goes_again() {
    let frosty = Frosty::new();
    let file = settings(&frosty);
    fs::remove_dir(file.parent().unwrap()).unwrap();
    done(&run(&frosty, &["install"]));
    assert_eq!((own(&file), names(&file)), (8, vec!["settings.json".to_owned()]));
    assert!(done(&run(&frosty, &["uninstall"])).contains("which had no other content"));
    assert!(!file.exists());
    done(&run(&frosty, &["install", "--local"]));
    assert_eq!(own(&file.with_file_name("settings.local.json")), 8);
}

#[test]
fn what_is_no_json_or_of_the_wrong_type_is_refused_and_untouched() {
    for (json, words) in [
        (&b"{\n  \"hooks\": {},\n}\n"[..], ["is not valid JSON", "at line 3, column 1"]),
        (b"// mine\n{}", ["is not valid JSON", "at line 1, column 1"]),
        (b"{\"\\ud800\": 1}", ["the file: expected an object", "half of a surrogate pair"]),
        (b"{\"hooks\": null}", ["hooks: expected an object", "found null"]),
        (b"{\"hooks\": {\"Stop\": {}}}", ["hooks.Stop: expected a list", "found an object"]),
        (b"{\"a\": \"\xff\"}", ["cannot read", "not UTF-8 at byte 7"]),
    ] {
        let frosty = Frosty::new();
        let file = settings(&frosty);
        fs::write(&file, json).unwrap();
        for command in [&["install"] as &[&str], &["install", "--dry-run"], &["install", "--plain", "--keep-others"]] {
            refused(&run(&frosty, command), &words);
        }
        assert_eq!((fs::read(&file).unwrap(), names(&file).len()), (json.to_vec(), 1));
    }
    let frosty = Frosty::new();
    fs::create_dir(settings(&frosty)).unwrap();
    refused(&run(&frosty, &["install"]), &["cannot read", "no regular file"]);
}

#[test]
fn what_may_not_be_written_stays() {
    // Only root may do everything.
    let frosty = Frosty::new();
    let file = settings(&frosty);
    let folder = file.parent().unwrap();
    let readable = frosty.home.path().join("frosty");
    copy(program(), &readable);
    copy(&program().with_file_name("frosty-hook"), &frosty.home.path().join("frosty-hook"));
    fs::set_permissions(frosty.home.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(&file, "{}").unwrap();
    let is_root = fs::metadata(&file).unwrap().uid() == 0;
    if is_root {
        fs::create_dir_all(frosty.state()).unwrap();
        for path in [folder, &file, &frosty.state()] {
            std::os::unix::fs::chown(path, Some(65534), None).unwrap();
        }
    }
    let install = || {
        let plain = frosty.command_of(&readable, &["install"]);
        if !is_root {
            return feed(plain, b"");
        }
        let mut lowered = Command::new("setpriv");
        lowered.args(["--reuid", "65534", "--clear-groups"]).arg(plain.get_program()).args(plain.get_args());
        lowered.env_clear().envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        lowered.current_dir(plain.get_current_dir().unwrap());
        lowered.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        feed(lowered, b"")
    };
    fs::set_permissions(&file, Permissions::from_mode(0o444)).unwrap();
    refused(&install(), &["cannot write to", "settings.json", "Permission denied", "unchanged"]);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o555)).unwrap();
    refused(&install(), &["cannot write ", "settings.json.frosty-new-", "Permission denied", "namei -l"]);
    assert_eq!((fs::read(&file).unwrap(), names(&file).len()), (b"{}".to_vec(), 1));
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    done(&install());
    assert_eq!(own(&file), 8);
}

#[test]
fn what_somebody_else_wrote_meanwhile_stays() {
    let frosty = Frosty::new();
    let file = settings(&frosty);
    fs::write(&file, "{}").unwrap();
    let standing = SettingsText::read(&file).unwrap();
    let backups_in = frosty.state().join("backups");
    fs::write(&file, "{\"model\": \"opus\"}").unwrap();
    for new in [Some("{\"hooks\": {}}"), None] {
        assert!(matches!(standing.replace(new, &backups_in), Err(Unwritten::Changed { .. })));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"model\": \"opus\"}");
    // The backup differs from the present file: it is kept.
    assert_eq!(backups(&file), [b"{}".to_vec(), b"{}".to_vec()]);
    assert!(names(&file).iter().all(|name| !name.contains("frosty-new")));
    // Nor is a file overwritten that was not there when it was read.
    let local = file.with_file_name("settings.local.json");
    let standing = SettingsText::read(&local).unwrap();
    fs::write(&local, "{}").unwrap();
    assert!(matches!(standing.replace(Some("{\"a\": 1}"), &backups_in), Err(Unwritten::Changed { .. })));
    assert_eq!(fs::read_to_string(&local).unwrap(), "{}");
}

/// A tracked file reaches every user of the repository, with a path of this machine in it.
#[test]
fn a_file_that_git_tracks_is_warned_of() {
    let frosty = Frosty::new();
    let file = settings(&frosty);
    fs::write(&file, "{}").unwrap();
    let git = |args: &[&str]| {
        let done = Command::new("git").arg("-C").arg(frosty.project()).args(args).output().expect("git is needed");
        assert!(done.status.success(), "{done:?}");
    };
    git(&["init", "-q"]);
    // Not tracked yet: no warning.
    done(&run(&frosty, &["install", "--dry-run"]));
    git(&["add", ".claude/settings.json"]);
    let project = frosty.project().canonicalize().unwrap();
    let local = format!("frosty install --local --project {}", project.display());
    let answer = run(&frosty, &["install", "--dry-run"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(
        answer.stderr.contains("frosty: git tracks ") && answer.stderr.ends_with(&format!("\nhint: {local}\n")),
        "{answer:?}"
    );
    let answer = run(&frosty, &["install"]);
    let hint = answer.stderr.lines().last().unwrap().strip_prefix("hint: ").unwrap();
    // It works as it is pasted.
    let mut pasted = frosty.command_of(Path::new("bash"), &["-c", &hint.replace("frosty ", "\"$0\" ")]);
    pasted.arg(program());
    done(&feed(pasted, b""));
    assert_eq!((own(&file), own(&file.with_file_name("settings.local.json"))), (0, 8), "{answer:?}");
    done(&run(&frosty, &["install", "--local", "--plain"]));
}

#[test]
fn many_at_once_leave_one_registration() {
    let frosty = Frosty::new();
    let file = settings(&frosty);
    fs::write(&file, PERSONS).unwrap();
    let spawn = |i: usize| {
        frosty
            .command_of(program(), &["install", if i.is_multiple_of(2) { "--plain" } else { "--continuous" }])
            .spawn()
            .unwrap()
    };
    let all: Vec<_> = (0..12).map(spawn).collect();
    let mut ended = 0;
    for child in all {
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() || told.contains("changed while it was being edited"), "{told}");
        ended += usize::from(output.status.success());
    }
    assert!(ended > 0);
    assert!(matches!(own(&file), 7 | 8), "{}", own(&file));
    assert!(names(&file).iter().all(|name| !name.contains("frosty-new")));
    done(&run(&frosty, &["uninstall"]));
    assert_eq!(fs::read_to_string(&file).unwrap(), PERSONS);
}
