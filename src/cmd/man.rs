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
    /// Write every page into this folder, instead of showing the first one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
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

/// Shows the first page on a terminal, prints it elsewhere, or writes all pages into a directory.
///
/// # Errors
/// When they cannot be written there.
pub fn run(args: &ManArgs) -> Result<(), ManError> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        let _ = Man::new(Cli::command()).render(&mut page);
        let mut out = out::stdout();
        if !out.is_terminal() {
            let _ = out.write_all(&page);
        } else if !READERS.iter().any(|reader| is_read(reader, &page)) {
            // Without a viewer for man pages, the plain help is shown.
            let _ = write!(out, "{}", Cli::command().render_long_help());
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
    clap_mangen::generate_to(Cli::command(), dir)
}
