//! Tests the ends of commands: exit codes, output that cannot be written, colours, and the man page on a terminal.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::support::{Answer, Frosty, Server, feed, stop};

/// With a session that ended its turn, and one that was refused.
fn started(frosty: Frosty) -> Frosty {
    frosty.hook(&stop("a"));
    frosty.hook(&stop("a"));
    frosty
}

/// Every command that prints, as it prints something.
const PRINTING: [&[&str]; 18] = [
    &["status"],
    &["status", "--json"],
    &["log"],
    &["log", "--json"],
    &["explain"],
    &["check"],
    &["check", "--json"],
    &["hold", "a", "--reason", "x"],
    &["release", "a"],
    &["wake", "a"],
    &["man"],
    &["completions", "bash"],
    &["config"],
    &["config", "schema"],
    &["install", "--dry-run"],
    &["--help"],
    &["--version"],
    &["help", "hold"],
];

#[test]
fn a_wrong_command_line_is_64() {
    let server = Server::start();
    for frosty in [Frosty::embedded(), Frosty::on(&server)] {
        let frosty = started(frosty);
        for args in [
            &["status", "--store", "redis"] as &[&str],
            &["status", "--fleet", "arm"],
            &["log", "--store", "redis://h:99999"],
            &["explain", "--store", "redis"],
            &["hold", "--store", "redis"],
            &["wake", "--all", "--store", "redis"],
            &["status", "--wat"],
            &["status", "--watch"],
            &["wake"],
            &["nonsense"],
            &["hold", "nobody"],
            &["release", "nobody"],
            &["wake", "nobody"],
            &["wake", "--topic", "nothing"],
            &["explain", "nobody"],
            &["log", "--scope", "nobody"],
            &["hold", "a", "--fleet"],
            &["hold", "a", "--until", "soon"],
            &["on", "--session", ""],
            &["on", "--project", "/nowhere/at/all"],
            &["install", "--project", "/nowhere/at/all"],
            &["log", "--color", "blue"],
        ] {
            let answer = frosty.run(args, b"");
            assert_eq!(answer.code, Some(64), "{args:?}: {answer:?}");
            assert_eq!(answer.stdout, "", "{args:?}");
            assert!(!answer.stderr.is_empty(), "{args:?}");
        }
    }
}

#[test]
fn what_could_not_be_done_is_1() {
    let broken = Frosty::embedded().config("{");
    for args in [&["status"] as &[&str], &["log"], &["hold"], &["doctor"]] {
        assert_eq!(broken.run(args, b"").code, Some(1), "{args:?}");
    }
    // A variable is no part of the command line.
    assert_eq!(Frosty::bare().var("FROSTY_STORE", "redis").run(&["status"], b"").code, Some(1));
}

/// With this as its standard output.
fn into(frosty: &Frosty, args: &[&str], out: impl Into<Stdio>) -> Answer {
    let mut command = frosty.command(args);
    command.stdout(out);
    feed(command, stop("a").as_bytes())
}

#[test]
fn output_that_cannot_be_written_is_1() {
    let frosty = started(Frosty::embedded());
    for args in PRINTING {
        assert_eq!(into(&frosty, args, Stdio::piped()).code, Some(0), "{args:?}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let answer = into(&frosty, args, full);
        assert_eq!(answer.code, Some(1), "{args:?}: {answer:?}");
        assert!(answer.stderr.contains("frosty: cannot write the output: No space left"), "{args:?}: {answer:?}");
    }
    // The status line is exit 0 whatever fails.
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(into(&frosty, &["statusline"], full).code, Some(0));
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    let frosty = started(Frosty::embedded());
    for args in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let answer = into(&frosty, args, writer);
        assert_eq!(answer.code, Some(0), "{args:?}: {answer:?}");
        assert!(!answer.stderr.contains("output"), "{args:?}: {answer:?}");
    }
}

#[test]
fn colours() {
    let coloured = |set: &[(&str, &str)], args: &[&str]| {
        let frosty = set.iter().fold(started(Frosty::embedded()), |frosty, (name, value)| frosty.var(name, value));
        let shown = frosty.run(args, b"").stdout;
        assert!(!shown.is_empty(), "{args:?}");
        shown.contains('\u{1b}')
    };
    for command in ["status", "log", "doctor"] {
        for (set, flag, wanted) in [
            (&[] as &[(&str, &str)], "auto", false),
            (&[], "always", true),
            (&[("NO_COLOR", "1")], "always", true),
            (&[("CLICOLOR_FORCE", "1")], "auto", true),
            (&[("CLICOLOR_FORCE", "1")], "never", false),
            (&[("CLICOLOR_FORCE", "0")], "auto", false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], "auto", false),
            (&[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], "auto", true),
        ] {
            assert_eq!(coloured(set, &[command, "--color", flag]), wanted, "{command} {set:?} {flag}");
        }
    }
}

/// On a terminal of its own, by `script` of util-linux.
fn on_a_terminal(frosty: &Frosty, path: &Path, line: &str) -> String {
    let mut script = frosty.command_of(Path::new("script"), &["-qec", line, "/dev/null"]);
    script.env("PATH", format!("{}:/usr/bin:/bin", path.display())).env("TERM", "xterm");
    feed(script, b"").stdout
}

#[test]
fn the_man_page_opens_on_a_terminal() {
    let frosty = Frosty::embedded();
    let bin = frosty.home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let program = |name: &str, script: &str| {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let man = format!("{} man", env!("CARGO_BIN_EXE_frosty"));
    program("man", "echo \"shown by man $*\"; grep -c '^.SH NAME'");
    let shown = on_a_terminal(&frosty, &bin, &man);
    assert!(shown.contains("shown by man -l -\r\n1\r\n") && !shown.contains(".SH"), "{shown}");
    // One that cannot, and none at all: what can be read as it is.
    program("man", "exit 3");
    program("mandoc", "exit 3");
    let shown = on_a_terminal(&frosty, &bin, &man);
    assert!(shown.contains("Usage: frosty") && !shown.contains(".SH"), "{shown}");
    // Elsewhere its source.
    assert!(frosty.run(&["man"], b"").stdout.contains(".SH NAME"));
}

#[test]
fn every_man_page_has_its_sections() {
    let frosty = Frosty::embedded();
    let dir = frosty.home.path().join("man");
    assert_eq!(frosty.run(&["man", "--dir", dir.to_str().unwrap()], b"").code, Some(0));
    let gate = fs::read_to_string(dir.join("frosty-gate.1")).unwrap();
    assert!(gate.contains("\\fB\\-\\-\\fR <\\fICMD\\fR>..."), "its command comes after --: {gate}");
    let pages: Vec<_> = fs::read_dir(&dir).unwrap().map(|page| page.unwrap().path()).collect();
    assert!(pages.len() > 15 && pages.contains(&dir.join("frosty-hold.1")), "{pages:?}");
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for title in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "FILES", "ENVIRONMENT", "\"EXIT STATUS\""] {
            assert!(text.contains(&format!(".SH {title}\n")), "{}: no {title}", page.display());
        }
        let examples = text.split(".SH EXAMPLES\n").nth(1).unwrap();
        assert!(examples.starts_with(".nf\n  ") && examples.contains("frosty"), "{}", page.display());
    }
}

/// Without a command: the fleet in one line, the next commands, and always exit 0.
#[test]
fn alone_it_shows_the_fleet_and_the_next_commands() {
    let server = Server::start();
    for frosty in [Frosty::embedded(), Frosty::on(&server)] {
        let shown = frosty.run(&[], b"");
        let lines: Vec<&str> = shown.stdout.lines().collect();
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{shown:?}");
        assert_eq!(lines[..2], ["fleet default: 0 sessions, 0 waiting, 0 held", ""]);
        assert!(lines[2].starts_with("  frosty install "), "{lines:?}");
        let frosty = started(frosty);
        let line = |frosty: &Frosty| {
            let shown = frosty.run(&[], b"");
            assert_eq!(shown.code, Some(0), "{shown:?}");
            assert!(!shown.stdout.contains("frosty install"), "{shown:?}");
            shown.stdout.lines().next().unwrap().to_owned()
        };
        assert_eq!(line(&frosty), "fleet default: 1 session, 0 waiting, 0 held");
        frosty.run(&["hold", "--reason", "x"], b"");
        assert_eq!(line(&frosty), "fleet default: 1 session, 0 waiting, 1 held");
    }
    let frosty = Frosty::new().var("FROSTY_STORE", "redis://127.0.0.1:1");
    let shown = frosty.run(&[], b"");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.starts_with("fleet default: unknown (the store cannot be read)\n"), "{shown:?}");
    assert!(shown.stdout.contains("  frosty doctor "), "{shown:?}");
}
