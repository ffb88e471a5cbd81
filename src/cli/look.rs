//! The flags of the commands that only look: status, log, explain, check, doctor.

use std::path::PathBuf;
use std::time::Duration;

use chrono::Local;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::{HookArgs, PlaceArgs};
use crate::policy::verdict::Reason;
use crate::when;

/// What `status` shows, and how.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Sessions that ended too, and those not seen for a day
    #[arg(long)]
    pub all: bool,
    /// Draw it anew each second until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Cut nothing off, however narrow the terminal is
    #[arg(long, conflicts_with = "watch")]
    pub no_trunc: bool,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Which entries of the journal `log` shows.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Go on with what is journaled from now on, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Of a session: its name, label, id or the beginning of it, scope, or project folder
    #[arg(long, value_name = "SESSION", value_parser = NonEmptyStringValueParser::new())]
    pub scope: Option<String>,
    /// Since then: a duration ago such as 2h, or a time such as 18:00 or "yesterday 09:00" (this machine's time zone)
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Duration>,
    /// With this reason, such as cooldown
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub reason: Option<Reason>,
    /// No more than so many, the newest; without it 20, or all since --since
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub lines: Option<usize>,
    /// As one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Cut nothing off, however narrow the terminal is
    #[arg(long)]
    pub no_trunc: bool,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Whose last verdict `explain` puts into words.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A session: its name, label, id or the beginning of it, scope, or project folder; without it, this session, else the
    /// last one asked
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// What `check` asks without taking it.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// As `frosty hook` would be called.
    #[command(flatten)]
    pub hook: HookArgs,
}

/// Whose set-up `doctor` looks at.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The project whose settings are looked at, instead of the one here
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

fn since(said: &str) -> Result<Duration, String> {
    when::since(said, &Local::now()).ok_or_else(|| {
        "expected a duration such as 2h, or a time past such as 18:00, \"yesterday 09:00\" or \"2026-11-24 09:00\""
            .to_owned()
    })
}

fn reason(code: &str) -> Result<Reason, String> {
    Reason::from_code(code).ok_or_else(|| {
        let all: Vec<&str> = Reason::ALL.iter().map(|r| r.code()).collect();
        format!("expected one of: {}", all.join(", "))
    })
}
