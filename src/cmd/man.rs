//! `frosty man`: the man pages, from the same definition as `--help`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::{Cli, ManArgs};
use crate::text;

/// The pages were not written.
#[derive(Debug, thiserror::Error)]
#[error(
    "expected to write man pages into {dir}, found: {cause}; name a folder that you may write: frosty man --dir DIR"
)]
pub struct ManError {
    /// The folder.
    dir: String,
    /// What the system said.
    cause: io::Error,
}

/// Prints the first page, or writes all of them into a folder.
///
/// # Errors
/// When they cannot be written there.
pub fn run(args: &ManArgs) -> Result<(), ManError> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        let _ = Man::new(Cli::command()).render(&mut page);
        let _ = io::stdout().write_all(&page);
        return Ok(());
    };
    write(dir).map_err(|cause| ManError { dir: text::path(dir), cause })
}

fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
}
