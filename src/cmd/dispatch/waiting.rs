//! Notifies about work that waits while no session of its agent works.

use super::live;
use crate::cmd::announce::commands;
use crate::cmd::out;
use crate::config::Config;
use crate::hook;
use crate::local_time;
use crate::notify::{Kind, Notification};
use crate::policy::limits::Ms;
use crate::policy::request::{Event, Step};
use crate::policy::rest::RestKind;
use crate::policy::work::entry::{List, WorkEntry};
use crate::store::StoreError;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::work::{self as queues, Change, Changed, Contents};
use crate::text;

/// How long an entry waits before it is reported.
const TOO_LONG: Ms = 600_000;
/// How long no other report about the same queue is sent.
const QUIET: Ms = 3_600_000;

/// Looks at the queues, and runs the configured commands for each with an entry that has waited too long.
///
/// # Errors
/// When the store cannot be read or written.
pub(super) fn look(config: &Config) -> Result<(), StoreError> {
    if config.notify.is_empty() {
        return Ok(());
    }
    let mut reader = FleetReader::open_to_change(config);
    if let Some(away) = reader.take_away() {
        return Err(away);
    }
    let (now, sessions) = (reader.now()?, reader.sessions()?);
    for contents in queues::contents(&mut reader, None, 1)? {
        if !contents.queue.may_report(now, QUIET) {
            continue;
        }
        let Some(idle) = idle(config, &sessions, &contents.agent, now) else { continue };
        let Some((id, since)) = oldest(&mut reader, &contents, now)? else { continue };
        let agent = text::line(&text::decoded(&contents.agent));
        let age = local_time::age(now.saturating_sub(since));
        let text = format!("work of {agent}: {id} has waited {age}, {}", idle.words());
        if claims_report(config, &contents.agent, &text)? {
            let word = Notification { name: agent, text, ..Notification::new(Kind::WorkWaiting, &config.fleet, now) };
            let word = match idle {
                Idle::Rests(id) => Notification { session: id, ..word }.named(&sessions),
                Idle::Absent => word,
            };
            let wrong = commands::finish(commands::start(&config.notify, &word));
            wrong.iter().for_each(|problem| out::report(&problem.lines()));
        }
    }
    Ok(())
}

/// Why no session claims an entry.
enum Idle {
    /// This session rests.
    Rests(String),
    /// No session of the agent lives.
    Absent,
}

impl Idle {
    fn words(&self) -> &'static str {
        match self {
            Self::Rests(_) => "and a session of it rests",
            Self::Absent => "and no session of it lives",
        }
    }
}

/// Returns why no session of the agent claims an entry, where that is so.
///
/// A session outside its hours rests as it was configured.
fn idle(config: &Config, sessions: &[Session], agent: &str, now: Ms) -> Option<Idle> {
    let live = live::of(sessions, agent, config.policy.work.lease, now);
    if live.is_empty() {
        return Some(Idle::Absent);
    }
    let rests = |(_, session): &&&Session| {
        let rest = session.rest.as_ref().filter(|rest| rest.lasts(now));
        session.work.is_none() && rest.is_some_and(|rest| rest.kind != RestKind::OffHours)
    };
    live.iter().find(rests).map(|(id, _)| Idle::Rests(id.clone()))
}

/// Returns the entry that has waited longest for a claim, and since when, where that is too long.
fn oldest(reader: &mut FleetReader<'_>, contents: &Contents, now: Ms) -> Result<Option<(String, Ms)>, StoreError> {
    let is_old = |since: Ms| now.saturating_sub(since) > TOO_LONG;
    let lists = contents.entries.iter().filter(|(list, _)| *list != List::Dead);
    let entries = lists.filter_map(|(_, entries)| entries.first());
    let mut oldest: Option<(String, Ms)> = None;
    for WorkEntry { id, at, added, .. } in entries.filter(|entry| is_old(entry.at.max(entry.added))) {
        // An entry that was given back waits since then.
        let record = queues::record(reader, id)?.map(|(record, _)| record);
        let since = record.map_or(*added, |record| record.at.min(now)).max(*at);
        if is_old(since) && oldest.as_ref().is_none_or(|(_, first)| since < *first) {
            oldest = Some((text::line(id), since));
        }
    }
    Ok(oldest)
}

/// Notes in the queue that it is reported. Returns false where another dispatcher has reported it meanwhile.
fn claims_report(config: &Config, agent: &str, text: &str) -> Result<bool, StoreError> {
    let step = hook::step_of(String::new(), String::new(), "WorkWaiting", Event::Other);
    let step = Step { detail: text.to_owned(), ..step };
    let change = Change { agent, id: "", by: None, step: &step };
    let noted = queues::change(config, &change, |Changed { work, now, .. }| {
        if !work.queue.may_report(now, QUIET) {
            return Err(());
        }
        work.queue.reported = now;
        Ok(())
    })?;
    Ok(noted.is_ok())
}
