//! `frosty schedule`: shows what comes next for each agent, when, and why.

use std::io::Write;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::candidates::sessions;
use super::{Failure, PlaceArgs, out, target};
use crate::env::Env;
use crate::store::fleet_reader::Session;
use crate::view::schedule::{Schedule, json};
use crate::view::sessions::{LastHour, Report, Row};

/// The flags of `schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// Show the schedule of this session [default: all that are active]
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub target: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Shows the schedules.
///
/// # Errors
/// When no session or several match, or the store cannot be read.
pub fn run(args: ScheduleArgs) -> Result<(), Failure> {
    let env = Env::read();
    let config = super::config(&env, args.place)?;
    let report = Report::read(&config, args.target.is_some(), &mut LastHour::uncounted())?;
    if let Some(why) = &report.away {
        out::report(&format!("the server is unreachable, and only this machine's part is shown: {why}"));
    }
    let rows: Vec<&Row> = match &args.target {
        Some(word) => {
            let all: Vec<Session> = report.rows.iter().map(|row| (row.id.clone(), row.session.clone())).collect();
            let (id, _) = target::one(&all, word)?;
            report.rows.iter().filter(|row| row.id == *id).collect()
        }
        None => report.rows.iter().collect(),
    };
    let all: Vec<Schedule<'_>> = rows.iter().map(|row| Schedule::of(&config, row, report.now)).collect();
    if args.json {
        let _ = out::stdout().write_all(json::line(&all, &config.fleet, report.away.is_some(), report.now).as_bytes());
        return Ok(());
    }
    if all.is_empty() {
        out::say("no session is active now; to show also those of earlier days: frosty status --all");
    }
    for schedule in &all {
        let mut sentences = schedule.sentences().into_iter();
        out::say(&sentences.next().unwrap_or_default());
        sentences.for_each(|sentence| out::say(&format!("  {sentence}")));
    }
    Ok(())
}
