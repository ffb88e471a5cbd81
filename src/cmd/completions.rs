//! `frosty completions`: prints the script with which a shell completes the command line.
//!
//! The script calls the program, which answers from the definition that `--help` uses and from the fleet
//! ([`candidates`](super::candidates)).

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};
use std::ffi::OsString;
use std::io::Write;

use super::out;
use crate::cmd::Cli;

/// The variable with which a shell's script asks for candidates: the shell's name.
const VARIABLE: &str = "FROSTY_COMPLETE";

/// Completes at the first call, too, where zsh loads the script as the function `_frosty`.
const AUTOLOADED: &str = "[[ $funcstack[1] == _frosty ]] && _clap_dynamic_completer_frosty \"$@\"\n";

/// The flags of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Complete for this shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The shells that can be completed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the shells by their names")]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Elvish => &Elvish,
            Self::Fish => &Fish,
            Self::Powershell => &Powershell,
            Self::Zsh => &Zsh,
        }
    }
}

/// Prints the shell's script, which calls this program.
pub fn run(args: &CompletionsArgs) {
    let program = std::env::current_exe().unwrap_or_else(|_| "frosty".into());
    let mut script = Vec::new();
    let written = args.shell.completer().write_registration(
        VARIABLE,
        "frosty",
        "frosty",
        &program.to_string_lossy(),
        &mut script,
    );
    if args.shell == Shell::Zsh {
        script.extend_from_slice(AUTOLOADED.as_bytes());
    }
    if written.is_ok() {
        let _ = out::stdout().write_all(&script);
    }
}

/// Answers a shell's script, which calls `frosty -- WORDS`; returns whether it did.
#[must_use]
pub fn answer(args: &[OsString]) -> bool {
    let is_asked = args.get(1).is_some_and(|word| word == "--");
    is_asked && CompleteEnv::with_factory(Cli::command).var(VARIABLE).try_complete(args, None).unwrap_or(false)
}
