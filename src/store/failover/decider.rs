//! Which store decides now. The hook and the commands that only look find out here.
//!
//! A command that only looks reads what the hook would be decided from: it leaves a server alone that the breaker leaves
//! alone, and takes a server that would refuse a step for one that is away. It opens and closes no breaker.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::{Config, Server};
use crate::policy::decision;
use crate::store::StoreError;
use crate::store::failover::reached;
use crate::store::failover::server_record;
use crate::store::failover::server_record::Record;
use crate::store::failover::server_record::Route;
use crate::store::files::state_file;
use crate::store::files::state_file::ScopeFile;
use crate::store::server;
use crate::store::server::connection::Link;
use crate::store::server::keys::Keys;
use crate::store::server::load;
use crate::store::server::trial;

/// Why a scope stays with the embedded store though its server answers.
const STAYS: &str = "it failed this scope a moment ago; it is asked again after the next admission";

/// The store that decides.
pub(crate) enum Decider<'a> {
    /// The server, and a connection to it.
    Server(Link<'a>),
    /// Files; in the place of a server where this tells what is wrong with it.
    Files(Option<StoreError>),
}

/// What keeps a command from a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// An open breaker does, as it does with a hook.
    Heeded,
    /// Nothing does: the command changes something, and a person's word is tried on the server first.
    Passed,
}

/// Finds the store that would decide a step now.
pub(crate) fn find(config: &Config, within: Duration, breaker: Breaker) -> Decider<'_> {
    let Some((server, optional)) = server(config) else { return Decider::Files(None) };
    if breaker == Breaker::Heeded
        && let Some(why) = known_away(config, server)
    {
        return Decider::Files(Some(StoreError::Away { why }));
    }
    match reach(config, server, within) {
        Ok(link) => Decider::Server(link),
        Err(StoreError::NobodyListens { .. }) if optional && !reached::ever(config) => Decider::Files(None),
        Err(e) => Decider::Files(Some(e)),
    }
}

/// A connection to a server that would decide a step, found out in the time that a step has.
pub(crate) fn reach<'a>(config: &'a Config, server: &'a Server, within: Duration) -> Result<Link<'a>, StoreError> {
    let servers_part = config.budget - config.budget / 4;
    let mut link = Link::connect(config, server, Instant::now() + servers_part.min(within))?;
    link.log_in()?;
    trial::ready(&mut link)?;
    Ok(link)
}

/// The error that a stop in a scope of its own would get from the server now.
pub(crate) fn refusal(config: &Config, server: &Server) -> Option<StoreError> {
    let fleet = |mut link: Link<'_>| link.ask(&[load::get(&Keys::of(&config.fleet).fleet())]);
    reach(config, server, config.budget).and_then(fleet).err()
}

/// What an open breaker says of the server, while no try of it is due.
fn known_away(config: &Config, server: &Server) -> Option<String> {
    let record = server_record::read(&dir(config)?)?;
    record.breaker_of(&server.shown).filter(|b| !b.is_due(clock::host_ms())).map(|b| b.why.clone())
}

/// How a step of this scope finds its store now.
pub(crate) fn route(config: &Config, dir: &Path, record: Option<&Record>, server: &str, scope: &str) -> Route {
    let now = clock::host_ms();
    let pause = decision::pause(&config.policy.stop);
    let route = record.map_or(Route::Home, |r| r.route(server, scope, pause, now));
    match route {
        Route::Server if record.is_some_and(|r| r.unnamed && r.mark(scope, now).is_none()) && has_news(dir, scope) => {
            Route::Home
        }
        Route::Home | Route::Probe if stays(dir, scope) => Route::Stays,
        route => route,
    }
}

/// Whether the scope's file holds something that the server may not know.
fn has_news(dir: &Path, scope: &str) -> bool {
    let file = state_file::peek::<ScopeFile>(&state_file::scope(dir, scope));
    file.is_some_and(|file| file.away.is_some() || file.base.is_some() || file.is_files())
}

/// Whether the scope is to stay with the embedded store for a while, however well the server is.
pub(crate) fn stays(dir: &Path, scope: &str) -> bool {
    let file = state_file::peek::<ScopeFile>(&state_file::scope(dir, scope));
    file.and_then(|f| f.away).is_some_and(|away| away.stays(clock::host_ms()))
}

/// The error of a step of a scope that stays.
pub(crate) fn staying() -> StoreError {
    StoreError::Away { why: STAYS.to_owned() }
}

/// The fleet's folder.
pub(crate) fn dir(config: &Config) -> Option<PathBuf> {
    config.state.as_ref().map(|state| state.join(&config.fleet))
}
