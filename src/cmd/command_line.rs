//! Defines every flag and subcommand, for both parsing and help.
//!
//! `frosty-hook` parses its flags without clap (`hook::flags`). A test keeps both parsers equal.

use std::path::Path;

use clap::{Args, Parser, Subcommand};

use crate::cmd::announce::AnnounceArgs;
use crate::cmd::check::CheckArgs;
use crate::cmd::completions::CompletionsArgs;
use crate::cmd::config::ConfigArgs;
use crate::cmd::dispatch::DispatchArgs;
use crate::cmd::doctor::DoctorArgs;
use crate::cmd::explain::ExplainArgs;
use crate::cmd::gate::GateArgs;
use crate::cmd::hold::HoldArgs;
use crate::cmd::install::InstallArgs;
use crate::cmd::log::LogArgs;
use crate::cmd::man::ManArgs;
use crate::cmd::message::ask::AskArgs;
use crate::cmd::message::reply::ReplyArgs;
use crate::cmd::message::tell::TellArgs;
use crate::cmd::notes::NotesArgs;
use crate::cmd::release::ReleaseArgs;
use crate::cmd::schedule::ScheduleArgs;
use crate::cmd::status::StatusArgs;
use crate::cmd::statusline::StatuslineArgs;
use crate::cmd::switch::TargetArgs;
use crate::cmd::uninstall::UninstallArgs;
use crate::cmd::wake::WakeArgs;
use crate::cmd::work::WorkArgs;
use crate::cmd::{HookArgs, examples};
use crate::color::Color;
use crate::config::Flags;
use crate::text;

/// Pace Claude Code agents that keep going on their own
#[derive(Debug, Parser)]
#[command(name = "frosty", version, long_about = None, help_template = HELP, after_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// Colour the output: auto, always, or never
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    #[arg(hide_possible_values = true, display_order = 900)]
    pub color: Color,
    /// The command; without one, an overview is shown.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The help of `frosty`: clap has no headings for subcommands, so a test compares this list with theirs.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Act:
  hold         Pause a session or the whole fleet
  release      Release a hold early, and end an API cooldown with it
  wake         End a session's rest; it resumes as its limits allow
  on           Arm a session or a project: Frosty continues it
  off          Disarm a session or a project: Frosty leaves it alone
  gate         Run a command once it is admitted, for loops and cron
  work         Add tasks to the agents' queues, show and end them
  tell         Send an agent a message; it wakes a resting session
  ask          Ask an agent, and wait for its reply
  reply        Reply to a question, which ends it
  dispatch     Take tasks from streams, and run programs on queues

Look:
  status       Show the sessions, their states, and when each resumes
  schedule     Show what comes next for each agent, when, and why
  log          Show the journal of requests and verdicts, or follow it
  notes        Show what agents wrote for themselves, or forget it
  explain      Explain the last verdict: its rule, numbers, and next step
  check        Show what `frosty hook` would answer (JSON on stdin)
  statusline   Print a session's line for the client's status line

Set up:
  install      Register the hooks in Claude Code's settings
  uninstall    Remove the hooks from Claude Code's settings
  config       Show, change and check the configuration
  doctor       Check the whole installation, with a command for each cure
  completions  Print the completion script of a shell
  man          Show a man page, or write all pages
  hook         Answer one hook call of Claude Code (JSON on stdin)
  help         Print this message or the help of the given subcommand(s)

Options:
{options}{after-help}";

const AFTER: &str = "\
Examples:
  frosty install   Register the hooks in this project
  frosty status    Show the sessions of the fleet

Exit codes: 0 done, 1 failed, 64 wrong command line or unknown name.
`frosty hook` answers the client: 0 stop, 2 continue.
`frosty gate` exits as its command, or 75 not now, 3 the agent is done.
`frosty ask` exits with 75 where there is no reply yet.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Pause a session or the whole fleet
    #[command(after_help = examples::HOLD)]
    Hold(HoldArgs),
    /// Release a hold early, and end an API cooldown with it
    #[command(after_help = examples::RELEASE)]
    Release(ReleaseArgs),
    /// End a session's rest; it resumes as its limits allow
    #[command(after_help = examples::WAKE)]
    Wake(WakeArgs),
    /// Arm a session or a project: Frosty continues it
    #[command(after_help = examples::ON)]
    On(TargetArgs),
    /// Disarm a session or a project: Frosty leaves it alone
    #[command(after_help = examples::OFF)]
    Off(TargetArgs),
    /// Run a command once it is admitted, for loops and cron
    #[command(after_help = examples::GATE)]
    Gate(GateArgs),
    /// Add tasks to the agents' queues, show and end them
    #[command(after_help = examples::WORK)]
    Work(WorkArgs),
    /// Send an agent a message; it wakes a resting session
    #[command(after_help = examples::TELL)]
    Tell(TellArgs),
    /// Ask an agent, and wait for its reply
    #[command(after_help = examples::ASK)]
    Ask(AskArgs),
    /// Reply to a question, which ends it
    #[command(after_help = examples::REPLY)]
    Reply(ReplyArgs),
    /// Take tasks from streams, and run programs on queues
    #[command(after_help = examples::DISPATCH)]
    Dispatch(DispatchArgs),
    /// Show the sessions, their states, and when each resumes
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// Show what comes next for each agent, when, and why
    #[command(after_help = examples::SCHEDULE)]
    Schedule(ScheduleArgs),
    /// Show the journal of requests and verdicts, or follow it
    #[command(after_help = examples::LOG)]
    Log(LogArgs),
    /// Show what agents wrote for themselves, or forget it
    #[command(after_help = examples::NOTES)]
    Notes(NotesArgs),
    /// Explain the last verdict: its rule, numbers, and next step
    #[command(after_help = examples::EXPLAIN)]
    Explain(ExplainArgs),
    /// Show what `frosty hook` would answer (JSON on stdin)
    #[command(after_help = examples::CHECK)]
    Check(CheckArgs),
    /// Print a session's line for the client's status line
    #[command(after_help = examples::STATUSLINE)]
    Statusline(StatuslineArgs),
    /// Register the hooks in Claude Code's settings
    #[command(after_help = examples::INSTALL)]
    Install(InstallArgs),
    /// Remove the hooks from Claude Code's settings
    #[command(after_help = examples::UNINSTALL)]
    Uninstall(UninstallArgs),
    /// Show, change and check the configuration
    #[command(after_help = examples::CONFIG)]
    Config(ConfigArgs),
    /// Check the whole installation, with a command for each cure
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
    /// Print the completion script of a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Show a man page, or write all pages
    #[command(after_help = examples::MAN)]
    Man(ManArgs),
    /// Answer one hook call of Claude Code (JSON on stdin)
    #[command(after_help = examples::HOOK)]
    Hook(HookArgs),
    /// Send a notification, or look for lost engines
    #[command(hide = true)]
    Announce(AnnounceArgs),
}

/// The flags that select the store and the fleet.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Use this store: auto, embedded, or redis://HOST [default: configured]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// Use this fleet: the scopes of one API key [default: configured]
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
}

impl PlaceArgs {
    /// Returns the flags in the configuration's form.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags { store: self.store.clone(), fleet: self.fleet.clone(), ..Flags::default() }
    }

    /// Returns the same flags, each after a space, for another command on the same store and fleet. A URL that may
    /// contain a password is replaced by a placeholder, so that a pasted command cannot use another store by mistake.
    #[must_use]
    pub fn again(&self) -> String {
        let shown = |store| if str::contains(store, '@') { "<the same URL>" } else { store };
        let store = self.store.as_deref().map(shown);
        let flags = [("store", store), ("fleet", self.fleet.as_deref())];
        let given = flags.iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?)));
        given.map(|(flag, value)| format!(" --{flag} {}", text::path(Path::new(value)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::*;
    use crate::hook::flags;

    /// Every text for people in the help of a command: its own and its options'.
    fn texts(command: &clap::Command) -> Vec<String> {
        let options = command.get_arguments().filter_map(|arg| arg.get_help());
        command.get_about().into_iter().chain(options).map(ToString::to_string).collect()
    }

    #[test]
    fn the_help_is_short_and_complete() {
        let mut all = Cli::command();
        all.build();
        for command in all.get_subcommands().filter(|one| !one.is_hide_set()) {
            let name = command.get_name();
            let line = format!("\n  {name:<12} {}\n", command.get_about().unwrap());
            assert!(HELP.contains(&line), "not in the list of commands:{line}");
            if name == "help" {
                continue;
            }
            let examples = command.get_after_help().unwrap().to_string();
            let lines: Vec<&str> = examples.lines().collect();
            assert_eq!(lines[0], "Examples:", "{name}");
            assert!(lines[1].starts_with("  ") && lines[2].starts_with("  "), "{name}: two examples");
            assert!(lines.iter().all(|line| line.chars().count() < 80), "{name}: {examples}");
            for text in texts(command) {
                assert!(text.chars().count() < 72, "{name}: too long: {text}");
                assert!(!text.ends_with('.') && text.starts_with(char::is_uppercase), "{name}: {text}");
            }
        }
        assert!(HELP.lines().all(|line| line.chars().count() < 80));
    }

    #[test]
    fn both_readings_agree() {
        let lines: &[&[&str]] = &[
            &["hook"],
            &["hook", "--show-resume"],
            &["hook", "--show-resume", "--arm", "manual", "--show-resume"],
            &["hook", "--show-resume=true"],
            &["hook", "--arm", "manual"],
            &["hook", "--arm", "always"],
            &["hook", "--arm", "sometimes"],
            &["hook", "--arm"],
            &["hook", "--arm=manual"],
            &["hook", "--arm="],
            &["hook", "--arm", "manual", "--arm", "always"],
            &["hook", "extra"],
            &["hook", ""],
            &["hook", "-"],
            &["hook", "--"],
            &["hook", "--", "extra"],
            &["hook", "--", "--arm"],
            &["hook", "--wait", "20d", "--timeout", "1900000"],
            &["hook", "--timeout", "1900000", "--wait", "20d"],
            &["hook", "--arm", "manual", "--wait", "1h30m", "--timeout", "5400"],
            &["hook", "--wait", "soon", "--timeout", "60"],
            &["hook", "--wait", "1s", "--wait", "2s"],
            &["hook", "--wait=1s"],
            &["hook", "--timeout", "+5"],
            &["hook", "--timeout", "-5"],
            &["hook", "--timeout="],
            &["hook", "--wait"],
            &["hook", "--store", "embedded", "--fleet", "a b", "--scope", "x=y"],
            &["hook", "--store=embedded", "--fleet=", "--scope=--x"],
            &["hook", "--store", "", "--fleet", "-"],
            &["hook", "--scope", "--arm"],
            &["hook", "--scope", "--"],
            &["hook", "--scope", "-x"],
            &["hook", "--sto", "embedded"],
            &["hook", "-x"],
            &["hook", "-s", "x"],
            &["on"],
            &[],
        ];
        let mut read = 0;
        for line in lines {
            let argv: Vec<OsString> = ["frosty"].iter().chain(*line).map(OsString::from).collect();
            let clap = match Cli::try_parse_from(&argv).map(|cli| cli.command) {
                Ok(Some(Command::Hook(args))) => Some(args.flags()),
                _ => None,
            };
            let [_, command, words @ ..] = argv.as_slice() else { continue };
            if command == "hook" {
                assert_eq!(flags::parse(words).ok(), clap, "{line:?}");
            }
            read += usize::from(clap.is_some());
        }
        assert_eq!(read, 13);
    }
}
