//! Finds the store that decides now, for the hook and for the commands that only read.
//!
//! A command that only reads uses the state that the hook would decide from. It leaves a server alone that the breaker
//! leaves alone, and treats a server that would refuse a step as unreachable. It opens and closes no breaker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock;
use crate::config::{Config, Server};
use crate::hint::Problem;
use crate::policy::min_interval;
use crate::store::failover::server_record::{Record, Route};
use crate::store::failover::{reached, server_record};
use crate::store::files::state_file;
use crate::store::files::state_file::ScopeFile;
use crate::store::server::connection::Link;
use crate::store::server::keys::Keys;
use crate::store::server::{load, trial};
use crate::store::{StoreError, server};

/// Why a scope stays with the embedded store although its server answers.
const STAYS: &str = "the server failed this scope a moment ago, and is used again after the next admission";

/// The store that decides.
pub(crate) enum Decider<'a> {
    /// The server, and a connection to it.
    Server(Link<'a>),
    /// Files; in place of a server where this contains the server's error.
    Files(Option<StoreError>),
}

/// The effect of an open breaker on a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// An open breaker keeps the command from the server, as it does a hook.
    Heeded,
    /// The command tries the server in any case: it changes something, and a person's command goes to the server first.
    Passed,
}

/// Finds the store that would decide a step now.
pub(crate) fn find(config: &Config, within: Duration, breaker: Breaker) -> Decider<'_> {
    let Some((server, optional)) = server(config) else { return Decider::Files(None) };
    if breaker == Breaker::Heeded
        && let Some(problem) = known_away(config, server)
    {
        return Decider::Files(Some(StoreError::Away(problem)));
    }
    match reach(config, server, within) {
        Ok(link) => Decider::Server(link),
        Err(StoreError::NoListener { .. }) if optional && !reached::ever(config) => Decider::Files(None),
        Err(e) => Decider::Files(Some(e)),
    }
}

/// Connects to a server that would decide a step, in the time that a step has.
pub(crate) fn reach<'a>(config: &'a Config, server: &'a Server, within: Duration) -> Result<Link<'a>, StoreError> {
    let servers_part = config.budget - config.budget / 4;
    let mut link = Link::connect(config, server, clock::now() + servers_part.min(within))?;
    link.log_in()?;
    trial::ready(&mut link)?;
    Ok(link)
}

/// Returns the error that a Stop event in a scope of its own would get from the server now.
pub(crate) fn refusal(config: &Config, server: &Server) -> Option<StoreError> {
    let fleet = |mut link: Link<'_>| link.ask(&[load::get(&Keys::of(&config.fleet).fleet())]);
    reach(config, server, config.budget).and_then(fleet).err()
}

/// Returns the server's error by the open breaker, while no try is due.
fn known_away(config: &Config, server: &Server) -> Option<Problem> {
    let record = server_record::read(&dir(config)?)?;
    record.breaker_of(&server.shown).filter(|b| !b.is_due(clock::host_ms())).map(server_record::Breaker::problem)
}

/// Returns how a step of this scope finds its store now.
pub(crate) fn route(config: &Config, dir: &Path, record: Option<&Record>, server: &str, scope: &str) -> Route {
    let now = clock::host_ms();
    let pause = min_interval::pause(&config.policy.stop);
    let route = record.map_or(Route::Failback, |r| r.route(server, scope, pause, now));
    match route {
        Route::Server if record.is_some_and(|r| r.unnamed && r.mark(scope, now).is_none()) && has_news(dir, scope) => {
            Route::Failback
        }
        Route::Failback | Route::Probe if stays(dir, scope) => Route::Stays,
        route => route,
    }
}

/// Returns whether the scope's file contains data that the server may not have.
fn has_news(dir: &Path, scope: &str) -> bool {
    let file = state_file::peek::<ScopeFile>(&state_file::scope(dir, scope));
    file.is_some_and(|file| file.away.is_some() || file.base.is_some() || file.is_files())
}

/// Returns whether the scope stays with the embedded store for a while, however well the server is.
pub(crate) fn stays(dir: &Path, scope: &str) -> bool {
    let file = state_file::peek::<ScopeFile>(&state_file::scope(dir, scope));
    file.and_then(|f| f.away).is_some_and(|away| away.stays(clock::host_ms()))
}

/// Returns the error of a step of a scope that stays.
pub(crate) fn staying() -> StoreError {
    StoreError::Away(Problem::new(STAYS))
}

/// Returns the fleet's folder.
pub(crate) fn dir(config: &Config) -> Option<PathBuf> {
    config.state.as_ref().map(|state| state.join(&config.fleet))
}
