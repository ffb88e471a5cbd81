//! Defines every flag and subcommand, for both parsing and help.
//!
//! `frosty-hook` parses its flags without clap (`hook::flags`). A test keeps both parsers equal.

use std::path::Path;

use clap::{Args, Parser, Subcommand};

use crate::cmd::HookArgs;
use crate::cmd::announce::AnnounceArgs;
use crate::cmd::check::CheckArgs;
use crate::cmd::completions::CompletionsArgs;
use crate::cmd::doctor::DoctorArgs;
use crate::cmd::explain::ExplainArgs;
use crate::cmd::hold::HoldArgs;
use crate::cmd::install::InstallArgs;
use crate::cmd::log::LogArgs;
use crate::cmd::man::ManArgs;
use crate::cmd::release::ReleaseArgs;
use crate::cmd::status::StatusArgs;
use crate::cmd::switch::TargetArgs;
use crate::cmd::uninstall::UninstallArgs;
use crate::cmd::wake::WakeArgs;
use crate::color::Color;
use crate::config::Flags;
use crate::text;

/// Admission control for Claude Code agents that keep going by themselves.
#[derive(Debug, Parser)]
#[command(name = "frosty", version, about, long_about = None, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// When to colour the output
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 it could not be done, or its output not be written; \
64 the command line is wrong, or names what is not there or may be several. `frosty hook` alone answers the client: 0 stand down, 2 go on.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer one hook call of Claude Code: its JSON on stdin, the verdict as the exit code
    Hook(HookArgs),
    /// Register the hooks in Claude Code's settings: this project's, or with --user yours
    Install(InstallArgs),
    /// Take the hooks out of the settings again, and leave all else as it is
    Uninstall(UninstallArgs),
    /// Arm a session or a project: Frosty continues it
    On(TargetArgs),
    /// Disarm a session or a project: Frosty leaves it alone
    Off(TargetArgs),
    /// End a session's rest: the agent comes back as soon as its limits allow
    Wake(WakeArgs),
    /// Hold a scope or the whole fleet: nobody of it goes on until its end or its release
    Hold(HoldArgs),
    /// Lift a hold before its end, and end a scope's API cooldown
    Release(ReleaseArgs),
    /// Print what a shell needs to complete frosty's command line
    Completions(CompletionsArgs),
    /// Print the man page, or write all of them
    Man(ManArgs),
    /// Tell everyone what a hook met with
    #[command(hide = true)]
    Announce(AnnounceArgs),
    /// Check the whole set-up: one line per check, with what mends it
    Doctor(DoctorArgs),
    /// Show who is there, what each does, and when it is back
    Status(StatusArgs),
    /// Print one line about a session, for the client's status line: its JSON on stdin
    Statusline(PlaceArgs),
    /// Show the journal: what was asked and answered, and go on with what comes
    Log(LogArgs),
    /// Tell the last verdict in words: which rule, which numbers, when it is back
    Explain(ExplainArgs),
    /// Tell what `frosty hook` would answer, without taking it: its JSON on stdin
    Check(CheckArgs),
}

/// The flags that select the store and the fleet.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The store: auto, embedded, or redis://[user:password@]host[:port][/database]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// The fleet: all scopes that share one API key
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

    use super::*;
    use crate::hook::flags;

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
                Ok(Command::Hook(args)) => Some(args.flags()),
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
