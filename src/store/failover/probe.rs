//! Probes a server that is away: one prober at a time, at the pace of the breaker in its record.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::{Config, Server};
use crate::store::failover::server_record;
use crate::store::failover::server_record::{Breaker, Record};
use crate::store::files;
use crate::store::server::connection::Link;
use crate::store::server::load;

/// How long a note in the record may wait for the fleet's lock.
const ASIDE: Duration = Duration::from_millis(50);

/// Takes the one place of the prober, if it is free: the breaker is open and a try is due.
pub(crate) fn take(dir: &Path, server: &str, deadline: Instant) -> bool {
    let Ok(_lock) = files::lock(dir, deadline.min(clock::now() + ASIDE), ASIDE) else { return false };
    let now = clock::host_ms();
    let mut record = server_record::read_or_rebuild(dir);
    let Some(why) = record.breaker_of(server).filter(|b| b.is_due(now)).map(Breaker::problem) else { return false };
    record.failed(server, &why, now);
    server_record::write(dir, &record).is_ok()
}

/// Returns whether a waiting engine may send requests to the server again; closes the breaker if a due try reaches it.
pub(crate) fn is_back(config: &Config, server: &Server) -> bool {
    let Some(dir) = config.state.as_ref().map(|state| state.join(&config.fleet)) else { return true };
    let now = clock::host_ms();
    let open = |record: &Record| record.breaker_of(&server.shown).map(|b| b.is_due(now));
    let Some(due) = server_record::read(&dir).as_ref().and_then(open) else { return true };
    let deadline = clock::now() + config.budget;
    if !due || !take(&dir, &server.shown, deadline) {
        return false;
    }
    answers(config, server, deadline) && close_breaker(&dir)
}

/// Returns whether a server with the right protocol answers.
pub(crate) fn answers(config: &Config, server: &Server, deadline: Instant) -> bool {
    let answers = Link::connect(config, server, deadline).and_then(|mut link| {
        link.log_in()?;
        link.ask(&[redis::cmd("TIME")])
    });
    answers.is_ok_and(|answers| answers.first().and_then(load::time).is_some())
}

/// Closes the breaker of a server that answered. Returns whether that could be noted.
pub(crate) fn close_breaker(dir: &Path) -> bool {
    let Ok(_lock) = files::lock(dir, clock::now() + ASIDE, ASIDE) else { return false };
    let mut record = server_record::read_or_rebuild(dir);
    record.breaker.take().is_none() || server_record::write(dir, &record).is_ok()
}
