//! Every flag and subcommand: one source for parsing and help.
//!
//! The exact forms that hooks are registered in are read without clap, which costs a stop more than its verdict; a test
//! keeps both readings equal.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

/// Admission control for Claude Code agents that keep going by themselves.
#[derive(Debug, Parser)]
#[command(name = "frosty", version, about, long_about = None, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 it could not be done; 64 the command line is wrong. \
`frosty hook` alone answers the client: 0 stand down, 2 go on.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer one hook call of Claude Code: its JSON on stdin, the verdict as the exit code
    Hook(HookArgs),
    /// Arm a session or a project: Frosty continues it
    On(TargetArgs),
    /// Disarm a session or a project: Frosty leaves it alone
    Off(TargetArgs),
}

/// Flags of `frosty hook`; each overrides the configuration.
#[derive(Debug, Args)]
pub struct HookArgs {
    /// When a session is armed without `frosty on`: always, or manual (only by FROSTY_ON=1 or `frosty on`)
    #[arg(long, value_name = "WHEN", value_parser = ["always", "manual"])]
    pub arm: Option<String>,
    /// The store: auto, embedded, or redis://[user:password@]host[:port][/database]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// The scope that limits apply to, instead of the tmux pane or the session
    #[arg(long, value_name = "NAME")]
    pub scope: Option<String>,
    /// The fleet: all scopes that share one API key
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
}

impl HookArgs {
    /// The flags as the configuration takes them.
    #[must_use]
    pub fn flags(self) -> Flags {
        Flags { arm: self.arm, store: self.store, scope: self.scope, fleet: self.fleet }
    }
}

/// What `on` and `off` apply to; by default the session of CLAUDE_CODE_SESSION_ID, else the project of
/// CLAUDE_PROJECT_DIR, else the working folder.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct TargetArgs {
    /// All sessions in this folder
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// One session
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
}

/// Reads the exact registered forms `hook` and `hook --arm always|manual`; `None` for every other command line.
#[must_use]
pub fn exact(args: &[OsString]) -> Option<Flags> {
    let mut args = args.iter().skip(1).map(|a| a.to_str());
    if args.next()?? != "hook" {
        return None;
    }
    let arm = match args.next() {
        None => return Some(Flags::default()),
        Some(flag) if flag? == "--arm" => args.next()??,
        Some(_) => return None,
    };
    let known = matches!(arm, "always" | "manual");
    (known && args.next().is_none()).then(|| Flags { arm: Some(arm.to_owned()), ..Flags::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readings_agree() {
        let lines: [&[&str]; 10] = [
            &["hook"],
            &["hook", "--arm", "manual"],
            &["hook", "--arm", "always"],
            &["hook", "--arm", "sometimes"],
            &["hook", "--arm"],
            &["hook", "--arm=manual"],
            &["hook", "--arm", "manual", "--arm", "always"],
            &["hook", "extra"],
            &["on"],
            &[],
        ];
        let mut read = 0;
        for line in lines {
            let argv: Vec<OsString> = ["frosty"].iter().chain(line).map(OsString::from).collect();
            let Some(flags) = exact(&argv) else { continue };
            read += 1;
            match Cli::try_parse_from(&argv).unwrap().command {
                Command::Hook(args) => assert_eq!(args.flags(), flags, "{line:?}"),
                other => panic!("{line:?} is {other:?}"),
            }
        }
        assert_eq!(read, 3);
    }
}
