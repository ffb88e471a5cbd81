//! The session as the store has it before a step: for an engine that prepares the step for a while.

use std::path::Path;
use std::time::Instant;

use crate::config::{Config, Server};
use crate::policy::documents::SessionState;
use crate::policy::request::Step;
use crate::store::failover::server_record::Route;
use crate::store::failover::{decider, reached, server_record};
use crate::store::files::state_file;
use crate::store::fleet_reader::session_here;
use crate::store::server::connection::Link;
use crate::store::server::kept_connection::Line;
use crate::store::server::load::Load;
use crate::store::{StoreError, server};

/// Returns the session of the step, or `None` where it is unknown or cannot be read.
///
/// The connection to a server stays in `line`, with all of the state that the step is decided from. So the step itself
/// needs no read where it is admitted.
pub(crate) fn read<'a>(
    config: &'a Config,
    step: &Step,
    deadline: Instant,
    line: &mut Option<Line<'a>>,
) -> Option<SessionState> {
    let dir = decider::dir(config)?;
    match server(config).filter(|(server, optional)| decides(config, &dir, server, *optional, &step.scope)) {
        Some((server, _)) => of_server(config, server, step, deadline, line).ok(),
        None => session_here(&dir, &step.session),
    }
}

/// Returns the session as this machine's files would decide a step of it in this scope.
pub(crate) fn here(dir: &Path, scope: &str, session: &str) -> Option<SessionState> {
    let file = state_file::peek_scope(dir, scope)?;
    state_file::peek_session(dir, session, scope, &file)
}

/// Returns whether the step goes to the server, and the server has all that it needs.
fn decides(config: &Config, dir: &Path, server: &Server, optional: bool, scope: &str) -> bool {
    let record = server_record::read(dir);
    let knows = || record.as_ref().is_some_and(|record| !record.store_epoch(&server.shown).is_empty());
    (!optional || knows() || reached::ever(config))
        && decider::route(config, dir, record.as_ref(), &server.shown, scope) == Route::Server
}

fn of_server<'a>(
    config: &'a Config,
    server: &'a Server,
    step: &Step,
    deadline: Instant,
    line: &mut Option<Line<'a>>,
) -> Result<SessionState, StoreError> {
    let mut link = Link::connect(config, server, deadline)?;
    link.log_in()?;
    let load = Load::of(config, link.server(), step);
    let loaded = load.answers(link.ask(&load.questions())?)?;
    let session = loaded.session.state.clone();
    *line = Some(Line::after(link, loaded));
    Ok(session)
}
