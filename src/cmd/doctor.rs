//! `frosty doctor`: checks the whole installation, and changes nothing.

use crate::cmd::PlaceArgs;
use clap::Args;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, out};
use crate::color;
use crate::doctor;
use crate::doctor::report::{self, Check, State};
use crate::env::Env;
use crate::view::sessions::screen;

/// The flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Check this project [default: the one here]
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// At least one check failed.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {all} checks failed; what follows -> mends each")]
pub struct Unwell {
    /// The number of failed checks.
    pub failed: usize,
    /// The number of checks.
    pub all: usize,
}

#[derive(Serialize)]
struct Report<'a> {
    checks: &'a [Check],
}

/// Prints one line per check.
///
/// # Errors
/// When a check failed; warnings and notes are no failure.
pub fn run(args: DoctorArgs) -> Result<(), Failure> {
    let env = Env::read();
    let project = doctor::project(&env, args.project);
    let checks = doctor::examine(&env, &project, &args.place.flags());
    let mut out = out::stdout();
    // A closed pipe ends the output, and is no failure.
    let _ = if args.json {
        let json = serde_json::to_string(&Report { checks: &checks }).unwrap_or_default();
        writeln!(out, "{json}")
    } else {
        let coloured = color::is_wanted(out.is_terminal());
        write!(out, "{}", report::lines(&checks, screen::columns(io::stdout()), coloured))
    };
    match checks.iter().filter(|check| check.state == State::Fail).count() {
        0 => Ok(()),
        failed => Err(Unwell { failed, all: checks.len() }.into()),
    }
}
