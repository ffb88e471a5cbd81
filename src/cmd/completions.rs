//! `frosty completions`: prints the script with which a shell completes the command line, from the definition that
//! `--help` uses.

use clap::Args;
use clap_complete::Shell;
use std::io::Write;

use clap::{Command, CommandFactory};
use clap_complete::generate;

use super::out;
use crate::cmd::Cli;

/// The flags of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Complete for this shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Prints the shell's script.
pub fn run(args: &CompletionsArgs) {
    let mut script = Vec::new();
    let all = Cli::command();
    // The generator would offer hidden commands, too.
    let subcommands = all.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    let about = all.get_about().cloned().unwrap_or_default();
    let mut shown = Command::new("frosty").version(env!("CARGO_PKG_VERSION")).about(about);
    shown = shown.args(all.get_arguments().cloned()).subcommands(subcommands);
    generate(args.shell, &mut shown, "frosty", &mut script);
    let _ = out::stdout().write_all(&script);
}
