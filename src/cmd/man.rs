//! `frosty man`: prints the man pages, from the definition that `--help` uses.

use clap::Args;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::CommandFactory;
use clap_mangen::Man;

use super::out;
use crate::cmd::Cli;
use crate::hint::Hint;
use crate::text;

/// The flags of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Show the page of this command [default: of frosty]
    #[arg(value_name = "COMMAND", value_parser = known, conflicts_with = "dir")]
    pub command: Option<String>,
    /// Write all pages into this directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Checks that there is a command of this name.
fn known(name: &str) -> Result<String, String> {
    let all = Cli::command();
    let is_known = all.find_subcommand(name).is_some_and(|command| !command.is_hide_set());
    if is_known { Ok(name.to_owned()) } else { Err("expected a command of frosty, such as hold".to_owned()) }
}

/// The pages were not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write man pages into {dir}: {cause}")]
pub struct ManError {
    /// The directory.
    dir: String,
    /// The system's error.
    cause: io::Error,
}

impl Hint for ManError {
    fn hint(&self) -> Option<String> {
        Some("choose a directory that you can write to: frosty man --dir ~/.local/share/man/man1".to_owned())
    }
}

/// Shows a page on a terminal, prints it elsewhere, or writes all pages into a directory.
///
/// # Errors
/// When they cannot be written there.
pub fn run(args: &ManArgs) -> Result<(), ManError> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        let mut all = Cli::command();
        all.build();
        let command = args.command.as_deref().and_then(|name| all.find_subcommand(name)).unwrap_or(&all).clone();
        let mut help = command.clone();
        let _ = render(command, &mut page);
        let mut out = out::stdout();
        if !out.is_terminal() {
            let _ = out.write_all(&page);
        } else if !READERS.iter().any(|reader| is_read(reader, &page)) {
            // Without a viewer for man pages, the plain help is shown.
            let _ = write!(out, "{}", help.render_long_help());
        }
        return Ok(());
    };
    write(dir).map_err(|cause| ManError { dir: text::path(dir), cause })
}

/// The programs that show a page from their standard input.
const READERS: [&[&str]; 2] = [&["man", "-l", "-"], &["mandoc", "-l", "/dev/stdin"]];

/// Shows the page with a program; returns false if that fails.
fn is_read(reader: &[&str], page: &[u8]) -> bool {
    let Some((program, args)) = reader.split_first() else { return false };
    let Ok(mut child) = Command::new(program).args(args).stdin(Stdio::piped()).spawn() else { return false };
    if let Some(mut pipe) = child.stdin.take() {
        // A viewer that was closed early has read enough.
        let _ = pipe.write_all(page);
    }
    child.wait().is_ok_and(|status| status.success())
}

fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut all = Cli::command().disable_help_subcommand(true);
    all.build();
    let commands = all.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    for command in commands.chain([all.clone()]) {
        let mut page = Vec::new();
        let name = Man::new(command.clone()).get_filename();
        render(command, &mut page)?;
        fs::write(dir.join(name), page)?;
    }
    Ok(())
}

/// Renders a page: what the definition contains, and then what all pages share.
fn render(command: clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let name = command.get_name().to_owned();
    let has_subcommands = command.has_subcommands();
    let command_line = command.get_positionals().find(|arg| arg.is_last_set());
    let command_line = command_line.and_then(|arg| Some(arg.get_value_names()?.first()?.to_string()));
    let man = Man::new(command).section("1").source(concat!("frosty ", env!("CARGO_PKG_VERSION")));
    man.render_title(page)?;
    man.render_name_section(page)?;
    page.extend(synopsis(&man, command_line.as_deref())?.into_bytes());
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if has_subcommands {
        man.render_subcommands_section(page)?;
    }
    // The heading of the help's text is the section's title here.
    let (_, examples) = examples.split_once('\n').unwrap_or_default();
    page.extend(section("EXAMPLES", examples).into_bytes());
    page.extend(list("FILES", &FILES).into_bytes());
    page.extend(list("ENVIRONMENT", &ENVIRONMENT).into_bytes());
    page.extend(list("\"EXIT STATUS\"", exit_codes(&name)).into_bytes());
    Ok(())
}

/// Renders the synopsis. A command line of the user's, such as `CMD` of `frosty gate`, comes after `--`.
fn synopsis(man: &Man, command_line: Option<&str>) -> io::Result<String> {
    let mut section = Vec::new();
    man.render_synopsis_section(&mut section)?;
    let section = String::from_utf8_lossy(&section).into_owned();
    let Some(name) = command_line else { return Ok(section) };
    let shown = format!("<\\fI{name}\\fR>");
    Ok(section.replace(&shown, &format!("\\fB\\-\\-\\fR {shown}...")))
}

const FILES: [(&str, &str); 4] = [
    ("~/.claude/frosty.json", "Your configuration, beside Claude Code's settings."),
    (".claude/frosty.json", "The project's configuration: a name, a prompt, and tighter limits."),
    (".claude/settings.json", "Claude Code's settings, in which the hooks are registered."),
    ("~/.local/state/frosty/", "The embedded store, the journal, the switches, and the backups of changed settings."),
];

const ENVIRONMENT: [(&str, &str); 15] = [
    ("FROSTY_CONFIG", "One more configuration file."),
    ("FROSTY_STORE", "The store: auto, embedded, or redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]."),
    ("FROSTY_STORE_PASSWORD_FILE", "A file with the store's password."),
    ("FROSTY_STORE_CA_FILE", "A file with the certificate authority of a rediss:// store."),
    ("FROSTY_FLEET", "The fleet: all scopes that share one API key."),
    ("FROSTY_SCOPE", "The scope, instead of the tmux pane or the session."),
    ("FROSTY_NAME", "A name for the session."),
    ("FROSTY_STREAM", "The journal's stream on a server."),
    ("FROSTY_MODE", "enforce, or shadow to decide and journal without an effect."),
    ("FROSTY_ON", "1 arms the session, and 0 disarms it."),
    ("FROSTY_GATE", "The run of frosty gate that a hook belongs to. Only frosty gate sets it."),
    ("FROSTY_DISABLE", "1 switches every hook off."),
    ("XDG_STATE_HOME", "The parent of the state directory, instead of ~/.local/state."),
    ("CLAUDE_CONFIG_DIR", "The directory of your settings, instead of ~/.claude."),
    ("NO_COLOR", "No colours, unless --color is given."),
];

const EXIT: [(&str, &str); 3] = [
    ("0", "The command is done."),
    ("1", "It failed, doctor found a failure, or the output could not be written."),
    ("64", "The command line is wrong, or a name in it matches nothing or several things."),
];

const EXIT_OF_GATE: [(&str, &str); 5] = [
    ("the command's own", "The command ran. It is 128 + n if signal n ended the command."),
    ("3", "The agent reported that it is done, so the command did not run."),
    ("64", "The command line is wrong, or no such program exists."),
    ("75", "The command is not admitted now."),
    ("78", "The configuration is wrong."),
];

const EXIT_OF_HOOK: [(&str, &str); 2] = [
    ("0", "The agent stops, or Frosty does not decide. This is also the code of every error."),
    ("2", "The agent continues, or its compaction is refused."),
];

fn exit_codes(command: &str) -> &'static [(&'static str, &'static str)] {
    match command {
        "hook" => &EXIT_OF_HOOK,
        "gate" => &EXIT_OF_GATE,
        _ => &EXIT,
    }
}

/// Formats a section of lines that stay as they are.
fn section(title: &str, lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("{}\n", escaped(line))).collect();
    format!(".SH {title}\n.nf\n{lines}.fi\n")
}

/// Formats a section of terms and their meanings.
fn list(title: &str, terms: &[(&str, &str)]) -> String {
    let terms = terms.iter().map(|(term, text)| format!(".TP\n\\fB{}\\fR\n{}\n", escaped(term), escaped(text)));
    format!(".SH {title}\n{}", terms.collect::<String>())
}

/// Escapes what roff would read as its own, also at the beginning of a line.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('~', "\\(ti");
    if line.starts_with('.') { format!("\\&{line}") } else { line }
}
