//! The texts that people and agents read, each as a snapshot. A change of one is reviewed with the change that causes it:
//! `INSTA_UPDATE=always cargo test --test it -- texts::` writes them anew, and `git diff` shows what became of them.

use frosty::hook::prompt::Prompt;
use frosty::policy::cadence::TurnKind;
use frosty::policy::decision::{self, State};
use frosty::policy::limits::Policy;
use frosty::policy::verdict::Decision;

use crate::support::{Answer, Frosty, T0, stop, stop_saying, stop_step};

/// Returns the payload of another event of the session `s`.
fn event(name: &str, field: &str, value: &str) -> String {
    serde_json::json!({ "session_id": "s", "hook_event_name": name, field: value }).to_string()
}

/// Compares with the reviewed text, without what differs between two runs: paths, times and processes.
fn reviewed(name: &str, frosty: &Frosty, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(&regex_of(env!("CARGO_BIN_EXE_frosty")), "PROGRAM");
    settings.add_filter(&regex_of(&frosty.home.path().canonicalize().unwrap().to_string_lossy()), "HOME");
    settings.add_filter(&regex_of(&frosty.home.path().to_string_lossy()), "HOME");
    settings.add_filter(r"\d{4}-\d\d-\d\d", "DATE");
    settings.add_filter(r"\d\d:\d\d(:\d\d)?(\.\d+)?", "CLOCK");
    settings.add_filter(r"/project-[0-9a-f]{8}/", "/project-HASH/");
    settings.add_filter(r"\d{8}_\d{6}", "STAMP");
    settings.add_filter(r"\b(\d+(\.\d+)?(ms|s|m|h))+\b", "TIME");
    settings.add_filter(r"\d+ MB free", "N MB free");
    settings.add_filter(r"\b[a-z0-9_-]+@[\w.-]+", "PERSON");
    settings.add_filter(r"(pid|process) \d+", "$1 PID");
    settings.add_filter(r" {3,}", "  ");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn regex_of(text: &str) -> String {
    text.replace('.', r"\.")
}

/// Shows a command and its answer as a terminal does.
fn shown(command: &str, answer: &Answer) -> String {
    let exit = answer.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    format!("$ {command}\n{}{}exit {exit}\n\n", answer.stdout, answer.stderr)
}

/// Runs these commands, each a line of words without quotes.
fn session(frosty: &Frosty, commands: &[&str]) -> String {
    let run = |line: &&str| shown(line, &frosty.run(&line.split(' ').skip(1).collect::<Vec<_>>(), b""));
    commands.iter().map(run).collect()
}

/// Returns a Frosty of files on a machine that has no other programs.
fn of(config: &str) -> Frosty {
    Frosty::embedded().config(config).var("PATH", "/nowhere")
}

/// A fleet of sessions in each state that needs no waiting engine.
fn fleet() -> Frosty {
    let frosty = of(r#"{"stop": {"min_interval": "5m"}}"#);
    for session in ["admitted", "refused", "refused"] {
        frosty.hook(&stop(session));
    }
    for (session, message) in [("done", "It works.\nfrosty: done"), ("naps", "frosty: next_check 20m")] {
        frosty.hook(&stop_saying(session, message));
    }
    frosty.hook(&stop("held"));
    let held = frosty.run(&["hold", "held", "--for", "2h", "--reason", "deploy"], b"");
    assert_eq!(held.code, Some(0), "{held:?}");
    frosty
}

const COMMANDS: [&str; 19] = [
    "hold",
    "release",
    "wake",
    "on",
    "off",
    "gate",
    "status",
    "schedule",
    "log",
    "explain",
    "check",
    "statusline",
    "install",
    "uninstall",
    "config",
    "doctor",
    "completions",
    "man",
    "hook",
];

#[test]
fn help() {
    let frosty = of("{}");
    let lines: Vec<String> = COMMANDS.iter().map(|command| format!("frosty {command} --help")).collect();
    let lines: Vec<&str> = ["frosty", "frosty --help"].into_iter().chain(lines.iter().map(String::as_str)).collect();
    reviewed("help", &frosty, &session(&frosty, &lines));
}

#[test]
fn screens() {
    let frosty = fleet();
    reviewed("status", &frosty, &session(&frosty, &["frosty status", "frosty"]));
    let asked = ["admitted", "refused", "done", "naps", "held"].map(|session| format!("frosty explain {session}"));
    reviewed("explain", &frosty, &session(&frosty, &asked.each_ref().map(String::as_str)));
    reviewed(
        "log",
        &frosty,
        &session(&frosty, &["frosty log", "frosty log --turns", "frosty log -n 1", "frosty log --scope done"]),
    );
    reviewed("doctor", &frosty, &session(&frosty, &["frosty doctor"]));
}

#[test]
fn a_fleet_without_sessions() {
    let frosty = of("{}");
    reviewed(
        "empty",
        &frosty,
        &session(&frosty, &["frosty status", "frosty log", "frosty log --turns", "frosty doctor"]),
    );
}

/// What an agent receives with its next turn, and what a person sees of a refusal.
#[test]
fn prompts() {
    let frosty = of(r#"{"stop": {"min_interval": "0s", "burst": null}}"#);
    let mut text = shown("frosty hook  # admitted", &frosty.hook(&stop("s")));
    text += &shown("frosty hook  # frosty: done", &frosty.hook(&stop_saying("s", "frosty: done")));
    text += &session(&frosty, &["frosty wake s --note CI-is-green"]);
    text += &shown("frosty hook  # after the wake-up", &frosty.hook(&stop("s")));
    text += &shown("frosty hook  # an unknown directive", &frosty.hook(&stop_saying("s", "frosty: dnoe")));
    text += &shown("frosty hook  # no JSON", &frosty.hook("{"));
    text += &shown("frosty hook  # notes", &frosty.hook(&stop_saying("s", "frosty: note the port is 8080")));
    text += &shown("frosty hook  # a compaction", &frosty.hook(&event("PreCompact", "trigger", "manual")));
    text += &shown("frosty hook  # after the compaction", &frosty.hook(&event("SessionStart", "source", "compact")));
    let admitted = decision::step(&Policy::default(), &mut State::default(), &stop_step(), T0);
    for kind in TurnKind::ALL {
        let decided = Decision {
            turn_kind: kind,
            dumps: kind.is_reflection(),
            notes: vec!["next: run the tests".to_owned(), "the port is 8080".to_owned()],
            ..admitted.clone()
        };
        let prompt = Prompt { waits: true, ..Prompt::default() };
        text += &format!("# the prompt of a turn: {}\n{}\n\n", kind.code(), prompt.render(&decided));
    }
    reviewed("prompts", &frosty, &text);
}

#[test]
fn errors() {
    let frosty = fleet();
    let commands = [
        "frosty hodl",
        "frosty hold nobody",
        "frosty hold held --for 5x",
        "frosty hold held --for 5m",
        "frosty hold --until yesterday",
        "frosty release admitted",
        "frosty wake",
        "frosty wake admitted",
        "frosty explain nobody",
        "frosty log -n many",
        "frosty log --scope nobody",
        "frosty log --since never",
        "frosty log --reason tired",
        "frosty status --store redis://127.0.0.1:1",
        "frosty status --store mysql://h",
        "frosty config get stop.min_intervall",
        "frosty config set stop.min_interval 5x",
        "frosty gate",
    ];
    let mut text = session(&frosty, &commands);
    for config in [r#"{"stop": {"min_intervall": "5s"}}"#, r#"{"stop": {"min_interval": 5}}"#, "{"] {
        std::fs::write(frosty.home.path().join(".claude/frosty.json"), config).unwrap();
        text += &format!("# the configuration is {config}\n");
        text += &session(&frosty, &["frosty status", "frosty config validate"]);
    }
    reviewed("errors", &frosty, &text);
}

#[test]
fn changes() {
    let frosty = fleet();
    let commands = [
        "frosty hold --reason look --for 1h",
        "frosty release --fleet",
        "frosty release held",
        "frosty off --session admitted",
        "frosty on --session admitted",
        "frosty on --session nobody",
        "frosty install --dry-run",
        "frosty install",
        "frosty uninstall",
        "frosty config set stop.min_interval 20s",
        "frosty config get stop.min_interval",
    ];
    reviewed("changes", &frosty, &session(&frosty, &commands));
}

/// A terminal gets the same words on lines that end between them, and a command stays whole.
#[test]
fn a_terminal_gets_wrapped_texts() {
    const COLUMNS: usize = 48;
    let frosty = fleet();
    let program = env!("CARGO_BIN_EXE_frosty");
    let on_terminal = |line: &str| {
        let line = format!("stty rows 24 cols {COLUMNS}; {program} {line}");
        let script = std::path::Path::new("/usr/bin/script");
        let mut script = frosty.command_of(script, &["-qec", &line, "/dev/null"]);
        let shown = script.env("PATH", "/usr/bin:/bin").env("NO_COLOR", "1").output().expect("script of bsdutils runs");
        String::from_utf8(shown.stdout).unwrap().replace('\r', "")
    };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for line in [
        "hold held --for 5m --reason 'a shorter one'",
        "hold nobody",
        "wake admitted",
        "explain held",
        "hold held --for 5x",
        "release admitted",
        "status --store redis://127.0.0.1:1",
        "install --project /nowhere",
    ] {
        let shown = on_terminal(line);
        let is_whole = |line: &str| line.starts_with("frosty ") || !line.contains(' ');
        let long = |line: &&str| line.chars().count() > COLUMNS && !is_whole(line.trim_start());
        assert_eq!(shown.lines().find(long), None, "{line}: {shown}");
        if line.starts_with("hold held --for 5m") {
            let again = "\n  frosty hold held --for 5m --reason 'a shorter one' --replace\n";
            assert!(shown.contains(again), "{shown}");
            let plain = frosty.run(&["hold", "held", "--for", "5m", "--reason", "a shorter one"], b"");
            // The time that is left differs.
            let ends = |text: &str| words(text).into_iter().rev().take(12).collect::<Vec<_>>();
            assert_eq!(ends(&shown), ends(&plain.stderr));
        }
    }
}
