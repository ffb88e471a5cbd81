//! `frosty status`: shows the sessions, their states, and when each resumes.

use crate::cmd::PlaceArgs;
use crate::hint::Hint;
use clap::Args;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::{Failure, out};
use crate::config::Config;
use crate::env::Env;
use crate::hook::signals::Signals;
use crate::store::listen;
use crate::view::sessions::screen::Screen;
use crate::view::sessions::table::Style;
use crate::view::sessions::{LastHour, Report, json, screen, table};

/// The flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Include sessions that ended or were not seen for a day
    #[arg(long)]
    pub all: bool,
    /// Redraw each second until q or Ctrl-C
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Show full lines on a narrow terminal, too
    #[arg(long, conflicts_with = "watch")]
    pub no_trunc: bool,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// How often `--watch` draws.
const EACH: Duration = Duration::from_secs(1);

/// Why the status could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is no terminal to draw on.
    #[error("--watch needs a terminal, and the output is none")]
    NoTerminal,
    /// The terminal cannot be written to.
    #[error("cannot draw on the terminal: {0}")]
    Screen(io::Error),
}

impl Hint for StatusError {
    fn hint(&self) -> Option<String> {
        Some("show the status once: frosty status".to_owned())
    }
}

/// Shows the fleet's sessions, once or repeatedly.
///
/// # Errors
/// When the store cannot be read, or `--watch` finds no terminal.
pub fn run(args: StatusArgs) -> Result<(), Failure> {
    let env = Env::read();
    let place = args.place.again();
    let config = super::config(&env, args.place)?;
    if args.watch {
        return Ok(watch(&config, args.all, &place)?);
    }
    let mut hour = if args.json { LastHour::for_programs() } else { LastHour::for_people() };
    let report = Report { place, ..Report::read(&config, args.all, &mut hour)? };
    let mut out = out::stdout();
    // A closed pipe is no failure.
    let _ = if args.json {
        out.write_all(json::line(&report).as_bytes())
    } else {
        let style = screen::style();
        let style = Style { uncut: style.uncut || args.no_trunc, ..style };
        let mut lines = drawn(&report, style, usize::MAX);
        lines.push(String::new());
        out.write_all(lines.join("\n").as_bytes())
    };
    // The process is about to end, and freeing the memory of thousands of rows would only delay that.
    std::mem::forget(report);
    Ok(())
}

/// Returns the whole report, in at most this many lines.
fn drawn(report: &Report, style: Style, height: usize) -> Vec<String> {
    let mut lines = table::head(report, style);
    let foot = table::foot(report, style);
    if report.rows.is_empty() {
        lines.extend(table::nobody(report, style));
    } else {
        lines.push(String::new());
        let mut rows = table::rows(report, style);
        let room = height.saturating_sub(lines.len() + foot.len());
        if rows.len() > room {
            let kept = room.saturating_sub(1);
            let more = rows.len() - kept;
            rows.truncate(kept);
            rows.push(format!("… and {more} more"));
        }
        lines.extend(rows);
    }
    lines.extend(foot);
    lines.truncate(height);
    lines
}

/// Draws the report each second until `q` or a signal ends it. An unreachable store is tried again each time.
fn watch(config: &Config, all: bool, place: &str) -> Result<(), StatusError> {
    if !io::stdout().is_terminal() {
        return Err(StatusError::NoTerminal);
    }
    let signals = Signals::of_terminal().map_err(StatusError::Screen)?;
    let mut screen = Screen::take().map_err(StatusError::Screen)?;
    let (mut last, mut trouble, mut hour) = (None, None, LastHour::for_people());
    let mut next = Instant::now();
    loop {
        signals.clear();
        if signals.terminated() || screen.is_left() {
            return Ok(());
        }
        if signals.suspended() {
            drop(screen);
            signals.step_aside();
            screen = Screen::take().map_err(StatusError::Screen)?;
        }
        // A changed size alone needs no new reading.
        if Instant::now() >= next {
            next = Instant::now() + EACH;
            trouble = match Report::read(config, all, &mut hour) {
                Ok(report) => {
                    last = Some(Report { place: place.to_owned(), ..report });
                    None
                }
                Err(e) => Some(e.to_string()),
            };
        }
        let style = screen::style();
        let mut lines: Vec<String> = trouble.iter().map(|why| table::trouble(why, last.as_ref(), style)).collect();
        let height = screen::height();
        if let Some(report) = &last {
            lines.extend(drawn(report, style, height.saturating_sub(lines.len())));
        }
        screen.draw(&lines, style.width).map_err(StatusError::Screen)?;
        let (left, keys) = (next.saturating_duration_since(Instant::now()), io::stdin());
        if screen.reads_keys() {
            listen::pause(left, [signals.fd(), keys.as_fd()]);
        } else {
            listen::pause(left, [signals.fd()]);
        }
    }
}
