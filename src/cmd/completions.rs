//! `frosty completions`: what a shell needs to complete the command line, from the same definition as `--help`.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_complete::generate;

use crate::cli::{Cli, CompletionsArgs};

/// Prints the shell's script.
pub fn run(args: &CompletionsArgs) {
    let mut script = Vec::new();
    let all = Cli::command();
    // The generator would offer the ones that help does not show, too.
    let shown = all.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    let about = all.get_about().cloned().unwrap_or_default();
    let mut shown = Command::new("frosty").version(env!("CARGO_PKG_VERSION")).about(about).subcommands(shown);
    generate(args.shell, &mut shown, "frosty", &mut script);
    // A reader that has gone away has all it wanted.
    let _ = io::stdout().write_all(&script);
}
