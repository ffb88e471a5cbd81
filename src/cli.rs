//! Every flag and subcommand: one source for parsing and help.
//!
//! The exact forms that hooks are registered in are read without clap, which costs a stop more than its verdict; a test
//! keeps both readings equal.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};

use crate::config::Flags;
use crate::duration;
use crate::text::LONGEST_NOTE;

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
    /// End a session's rest: the agent comes back as soon as its limits allow
    Wake(WakeArgs),
    /// Lift a hold before its end
    Release(ReleaseArgs),
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
    /// Wait out a refusal for this long instead of standing down, such as 20d; needs --timeout
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    pub wait: Option<Duration>,
    /// The "timeout" that the client's registration gives this hook, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
}

impl HookArgs {
    /// The flags as the configuration takes them.
    #[must_use]
    pub fn flags(self) -> Flags {
        Flags {
            arm: self.arm,
            store: self.store,
            scope: self.scope,
            fleet: self.fleet,
            wait: self.wait.unwrap_or_default(),
            timeout: self.timeout,
        }
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "expected a duration such as 20d, 12h or 1h30m".to_owned())
}

fn note(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > LONGEST_NOTE {
        return Err(format!("expected at most 1,000 characters, found {length}"));
    }
    Ok(text.to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let secs = if digits { text.parse().ok() } else { None };
    secs.map(Duration::from_secs)
        .ok_or_else(|| "expected whole seconds, as in the registration's \"timeout\"".to_owned())
}

/// Which store and fleet a command is about.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The store: auto, embedded, or redis://[user:password@]host[:port][/database]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// The fleet: all scopes that share one API key
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
}

/// Whom `wake` wakes.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = false, args = ["target", "all", "topic"])]
pub struct WakeArgs {
    /// A session's id, a scope, a session's name, or a window's label
    #[arg(value_name = "SESSION|SCOPE|NAME|LABEL", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// Every session of the fleet that rests
    #[arg(long)]
    pub all: bool,
    /// Every session that said `frosty: wait_for TOPIC`
    #[arg(long, value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new())]
    pub topic: Option<String>,
    /// What the agent reads in its next prompt, at most 1,000 characters
    #[arg(long, value_name = "TEXT", value_parser = note)]
    pub note: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// What `release` lifts.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// A scope, or a session's id, name or window label; without it, the one scope that is held
    #[arg(value_name = "SCOPE", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
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

/// Reads the registered forms: `hook` with any of `--arm`, `--wait` and `--timeout`, each with its value as a word of its
/// own. `None` for every other command line.
#[must_use]
pub fn exact(args: &[OsString]) -> Option<Flags> {
    let mut args = args.iter().skip(1).map(|a| a.to_str());
    if args.next()?? != "hook" {
        return None;
    }
    let (mut arm, mut waits, mut timeout) = (None, None, None);
    while let Some(flag) = args.next() {
        let (flag, value) = (flag?, args.next()??);
        let twice = match flag {
            "--arm" if matches!(value, "always" | "manual") => arm.replace(value.to_owned()).is_some(),
            "--wait" => waits.replace(wait(value).ok()?).is_some(),
            "--timeout" => timeout.replace(seconds(value).ok()?).is_some(),
            _ => return None,
        };
        if twice {
            return None;
        }
    }
    Some(Flags { arm, wait: waits.unwrap_or_default(), timeout, ..Flags::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readings_agree() {
        let lines: [&[&str]; 17] = [
            &["hook"],
            &["hook", "--arm", "manual"],
            &["hook", "--arm", "always"],
            &["hook", "--arm", "sometimes"],
            &["hook", "--arm"],
            &["hook", "--arm=manual"],
            &["hook", "--arm", "manual", "--arm", "always"],
            &["hook", "extra"],
            &["hook", "--wait", "20d", "--timeout", "1900000"],
            &["hook", "--timeout", "1900000", "--wait", "20d"],
            &["hook", "--arm", "manual", "--wait", "1h30m", "--timeout", "5400"],
            &["hook", "--wait", "soon", "--timeout", "60"],
            &["hook", "--wait", "1s", "--wait", "2s"],
            &["hook", "--timeout", "+5"],
            &["hook", "--wait"],
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
        assert_eq!(read, 6);
    }
}
