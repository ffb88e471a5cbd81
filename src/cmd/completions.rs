//! `frosty completions`: what a shell needs to complete the command line, from the same definition as `--help`.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::generate;

use crate::cli::{Cli, CompletionsArgs};

/// Prints the shell's script.
pub fn run(args: &CompletionsArgs) {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "frosty", &mut script);
    // A reader that has gone away has all it wanted.
    let _ = io::stdout().write_all(&script);
}
