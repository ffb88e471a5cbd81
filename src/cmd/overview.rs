//! `frosty` without a command: one line about the fleet, and the commands to try next.

use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{PlaceArgs, out};
use crate::config::Config;
use crate::env::Env;
use crate::process::ProcessStatus;
use crate::text;
use crate::view::sessions::{LastHour, Report, Row};

/// The longest time for reading the fleet.
const WITHIN: Duration = Duration::from_secs(1);

const INSTALL: (&str, &str) = ("frosty install", "register the hooks in the project here");
const COMMANDS: [(&str, &str); 3] = [
    ("frosty status", "show the sessions"),
    ("frosty doctor", "check the installation"),
    ("frosty --help", "list all commands"),
];

/// Shows the overview. It never fails: a fleet that cannot be read is shown as unknown.
pub fn run() {
    let (fleet, is_empty) = fleet();
    let install = is_empty.then_some(INSTALL);
    let commands = install.into_iter().chain(COMMANDS);
    let commands = commands.map(|(command, does)| format!("  {command:<16} {does}\n"));
    let _ = write!(out::stdout(), "{fleet}\n\n{}", commands.collect::<String>());
}

/// Returns the line about the fleet, and whether the fleet is known to have no session.
fn fleet() -> (String, bool) {
    let config = match super::config(&Env::read(), PlaceArgs { store: None, fleet: None }) {
        Ok(config) => config,
        Err(_) => return ("fleet: unknown (the configuration is wrong; see frosty doctor)".to_owned(), false),
    };
    let name = text::line(&config.fleet);
    let Some(report) = read(config) else {
        return (format!("fleet {name}: unknown (the store cannot be read)"), false);
    };
    (format!("fleet {name}: {}", counts(&report)), report.rows.is_empty())
}

/// Reads the fleet's sessions; `None` where the store that decides for the fleet does not return them in time.
fn read(config: Config) -> Option<Report> {
    let (sender, receiver) = mpsc::channel();
    // A server may answer in parts and a file system may hang, so that only another thread bounds the whole.
    let reading = move || {
        let report = Report::read(&config, false, &mut LastHour::for_people());
        let _ = sender.send(report.ok());
    };
    thread::Builder::new().spawn(reading).ok()?;
    let report = receiver.recv_timeout(WITHIN).ok().flatten()?;
    // This machine's part is not the fleet.
    report.away.is_none().then_some(report)
}

/// Returns how many sessions there are, how many of them have a waiting engine, and how many are held.
fn counts(report: &Report) -> String {
    let of = |is: fn(&Row) -> bool| report.rows.iter().filter(|row| is(row)).count();
    let waiting = of(|row| row.engine.is_some_and(|engine| engine != ProcessStatus::Gone));
    let held = of(|row| row.hold.is_some());
    let sessions = if report.rows.len() == 1 { "session" } else { "sessions" };
    format!("{} {sessions}, {waiting} waiting, {held} held", report.rows.len())
}
