//! Counts the recent admissions of each session. A server counts them itself: reading thousands of entries would take
//! longer than all other queries of it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Value, cmd};

use crate::policy::limits::Ms;
use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;
use crate::store::outbox::backlog;
use crate::store::server::connection::Link;
use crate::view::journal::{Patience, stream};

/// The most entries that are counted in one call, so that the server can answer other clients between calls.
const PAGE: usize = 500;
/// The longest time for one call where a person waits for it.
const SOON: Duration = Duration::from_millis(500);

/// The script. Its text is sent with every call: it is smaller than one entry.
const COUNT: &str = include_str!("count.lua");

/// The admitted continuations of each session.
#[derive(Debug, Default)]
pub struct Admissions {
    /// The count of each session.
    pub of: HashMap<String, u32>,
    /// Whether there were more entries than were read. Then the counts are lower bounds.
    pub cut: bool,
}

impl FleetReader<'_> {
    /// Returns each session's admitted continuations since `since`, among the newest `most` entries of the journal. A
    /// server stops counting at `until`.
    ///
    /// # Errors
    /// When neither the store nor this machine's files can be read.
    pub fn admissions(&mut self, since: Ms, most: usize, until: Option<Instant>) -> Result<Admissions, StoreError> {
        let (config, link) = self.parts();
        // Only this machine can count the entries that were not sent to the server yet.
        let all_there = backlog::of(config).is_none_or(|b| b.unshipped == 0);
        let each = if until.is_some() { SOON } else { Patience::ALL.each };
        let patience = Patience { each, until, ..Patience::ALL };
        if let Some(link) = link.filter(|_| all_there) {
            match counted(link, [&config.stream, &config.fleet], since, most, patience) {
                Ok(told) => return Ok(told),
                // The answer that did not arrive in time is still due on the old connection.
                Err(e) if e.is_silence() => link.renew()?,
                // The user may have no right to run scripts, or the server refuses this one.
                Err(_) => {}
            }
        }
        let (entries, late) = self.entries_within(since, most.saturating_add(1), patience)?;
        // This machine's entries do not contain the server's admissions.
        if let Some(why) = self.unread.take() {
            return Err(why);
        }
        let mut told = Admissions { cut: late || entries.len() > most, ..Admissions::default() };
        for entry in entries.iter().take(most).filter(|entry| entry.says("next_action", "CLAUDE_CODE_RESTART")) {
            told.add(entry.text("session"), 1);
        }
        Ok(told)
    }
}

impl Admissions {
    fn add(&mut self, session: &str, more: u32) {
        if let Some(count) = self.of.get_mut(session) {
            *count = count.saturating_add(more);
        } else {
            self.of.insert(session.to_owned(), more);
        }
    }
}

fn counted(
    link: &mut Link<'_>,
    [journal, fleet]: [&str; 2],
    since: Ms,
    most: usize,
    patience: Patience,
) -> Result<Admissions, StoreError> {
    let mut told = Admissions::default();
    let mut newest = "+".to_owned();
    let mut left = most;
    loop {
        // One more entry is looked for beyond the limit, and not counted.
        let page = left.clamp(1, PAGE);
        let mut call = cmd("EVAL");
        call.arg(COUNT).arg(1).arg(journal).arg(&newest).arg(since.max(0)).arg(page).arg(fleet);
        link.until(Instant::now() + patience.each);
        let answer = link.ask(&[call])?.pop().unwrap_or(Value::Nil);
        let words = Vec::<String>::from_redis_value_ref(&answer).unwrap_or_default();
        let [read, last, counts @ ..] = words.as_slice() else { return Err(link.nonsense(&answer)) };
        let (Ok(read), before) = (read.parse::<usize>(), stream::before(last)) else {
            return Err(link.nonsense(&answer));
        };
        if read > 0 && before.is_none() {
            return Err(link.nonsense(&answer));
        }
        if left == 0 {
            told.cut = read > 0;
            return Ok(told);
        }
        for pair in counts.chunks_exact(2) {
            if let [session, count] = pair {
                told.add(session, count.parse().map_err(|_| link.nonsense(&answer))?);
            }
        }
        match before.filter(|_| read >= page) {
            Some(before) => newest = before,
            None => return Ok(told),
        }
        let is_late = patience.until.is_some_and(|until| Instant::now() >= until);
        left = if is_late { 0 } else { left.saturating_sub(read) };
    }
}
