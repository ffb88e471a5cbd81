//! Checks the work queues: what waits, since when, and whether an agent is idle beside it.

use super::report::{Check, State};
use crate::config::Config;
use crate::store::fleet_reader::FleetReader;
use crate::text;
use crate::view::work::{Summary, summaries};

const WORK: &str = "work";

/// Returns what is known of the queues; `None` without any entry.
pub(super) fn check(config: &Config) -> Option<Check> {
    let mut reader = FleetReader::open(config);
    let read = reader.now().and_then(|now| Ok((now, reader.sessions()?)));
    let (now, sessions) = match read {
        Ok(read) => read,
        Err(e) => return reader.server().map(|_| Check::of_error(WORK, State::Warn, &e)),
    };
    let all = match summaries(&mut reader, now) {
        Ok(all) => all,
        Err(e) => return Some(Check::of_error(WORK, State::Warn, &e)),
    };
    let of = |what: fn(&Summary) -> bool| all.iter().find(|summary| what(summary));
    if let Some(stuck) = all.iter().find(|summary| summary.is_stuck(&sessions)) {
        let found = format!("{}, and a session of this agent waits for work", stuck.line(now));
        return Some(Check::warn(WORK, found, "frosty explain"));
    }
    if let Some(broken) = all.iter().find(|summary| summary.queue.broken_until(now).is_some()) {
        return Some(Check::warn(WORK, broken.line(now), "frosty work list"));
    }
    if let Some(dead) = of(|summary| summary.queue.dead > 0) {
        let command = format!("frosty work list {}", text::word(&dead.agent));
        return Some(Check::warn(WORK, dead.line(now), command));
    }
    let lines: Vec<String> = all.iter().map(|summary| summary.line(now)).collect();
    (!lines.is_empty()).then(|| Check::ok(WORK, lines.join(". ")))
}
