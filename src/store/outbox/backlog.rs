//! The data that this machine still has to send to a server, for the commands that only read. It locks and writes
//! nothing.

use std::fs;

use crate::config::Config;
use crate::hint::Problem;
use crate::policy::limits::Ms;
use crate::read;
use crate::store::failover::{reached, server_record};
use crate::store::files::journal_file;
use crate::store::{outbox, server};

/// The state of this machine towards its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The bytes of the local journal that the server may not have.
    pub unshipped: u64,
    /// The bytes that the server will not get any more.
    pub given_up: u64,
    /// The number of scopes that this machine decides for, or decided for last.
    pub away: usize,
    /// The circuit breaker, while it is open.
    pub breaker: Option<Away>,
}

/// A server that is known to be away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// The failed tries in a row.
    pub tries: u32,
    /// When the next try is due (this machine's clock).
    pub next: Ms,
    /// What was wrong, with its remedy.
    pub why: Problem,
}

/// Returns the state towards the configured server; `None` without one, or while nothing was ever noted of it.
#[must_use]
pub fn of(config: &Config) -> Option<Backlog> {
    let (server, optional) = server(config)?;
    // Where no server ever was, there is nothing to send.
    if optional && !reached::ever(config) {
        return None;
    }
    let dir = config.state.as_ref()?.join(&config.fleet);
    let record = server_record::read(&dir)?;
    let breaker = record.breaker_of(&server.shown);
    let unshipped = record.unshipped.as_ref().map_or(0, |from| {
        let path = journal_file::current(&dir);
        let length = fs::metadata(&path).map_or(0, |about| about.len());
        let name =
            read::at_once().read(true).open(&path).and_then(|journal| outbox::name(&journal)).unwrap_or_default();
        // A new journal in its place is sent from its beginning.
        let at = if from.journal.is_empty() || from.journal == name { from.at } else { 0 };
        length.saturating_sub(at)
    });
    Some(Backlog {
        unshipped,
        given_up: record.given_up,
        away: record.away.len(),
        breaker: breaker.map(|b| Away { tries: b.tries, next: b.next, why: b.problem() }),
    })
}
