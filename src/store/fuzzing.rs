//! The internal functions that the fuzzers in `fuzz/` reach. No other build contains them.

use redis::Value;

use crate::config::{Config, Server};
use crate::policy::decision;
use crate::policy::decision::State;
use crate::policy::documents::{FleetState, ScopeState, SessionState};
use crate::policy::limits::Ms;
use crate::policy::request::Step;
use crate::policy::rest::{Rest, RestKind};
use crate::policy::verdict::{Decision, Reason};
use crate::store::StoreError;
use crate::store::failover::carry::Carry;
use crate::store::files::state_file::{FleetFile, ScopeFile, SessionFile};
use crate::store::server::commit::{COMMIT_SHA, Committed};
use crate::store::server::load::Load;
use crate::store::server::{changes, commit, connection, load};

/// Reads the bytes of a scope's file as the embedded store does.
#[must_use]
pub fn scope_file(bytes: &[u8]) -> Option<ScopeState> {
    serde_json::from_slice::<ScopeFile>(bytes).ok().map(|file| file.scope)
}

/// Reads the bytes of a session's file as the embedded store does.
#[must_use]
pub fn session_file(bytes: &[u8]) -> Option<SessionState> {
    serde_json::from_slice::<SessionFile>(bytes).ok().map(|file| file.session)
}

/// Reads the bytes of a fleet's file as the embedded store does.
#[must_use]
pub fn fleet_file(bytes: &[u8]) -> Option<FleetState> {
    serde_json::from_slice::<FleetFile>(bytes).ok().map(|file| file.fleet)
}

/// Returns the error that an error reply of a server becomes.
#[must_use]
pub fn refused(server: &Server, said: &redis::ServerError) -> StoreError {
    connection::refused(server, &connection::error_text(said))
}

/// The result of a step from a server's replies to its reads.
pub struct Asked {
    /// The server's clock.
    pub now: Ms,
    /// The state that the step is decided from.
    pub before: State,
    /// The decision.
    pub decision: Decision,
    /// The state after the decision.
    pub after: State,
    /// The notes about the documents for a person.
    pub notes: Vec<String>,
    /// The commit, as it is sent; empty where nothing is to be committed.
    pub commit: Vec<u8>,
}

/// Returns the number of reads of a step.
#[must_use]
pub fn questions(config: &Config, server: &Server, step: &Step) -> usize {
    Load::of(config, server, step).questions().len()
}

/// Decides a step from the replies to its reads.
///
/// # Errors
/// When the replies contain nothing to decide from.
pub fn asked(config: &Config, server: &Server, step: &Step, answers: Vec<Value>) -> Result<Asked, StoreError> {
    let loaded = Load::of(config, server, step).answers(answers)?;
    let before = loaded.state();
    let mut after = before.clone();
    let decision = decision::step(&config.policy, &mut after, step, loaded.now);
    let mut call = Vec::new();
    if decision.reason != Reason::Contested {
        let commit = changes::of(config, step, &loaded, &mut after, &decision);
        call = commit.call("EVALSHA", COMMIT_SHA).get_packed_command();
    }
    Ok(Asked { now: loaded.now, before, decision, after, notes: loaded.notes(), commit: call })
}

/// Returns the number of reads before a scope's file is sent; `None` where the file cannot be read.
#[must_use]
pub fn carry_questions(config: &Config, scope: &str, file: &[u8], now: Ms) -> Option<usize> {
    let file = serde_json::from_slice::<ScopeFile>(file).ok()?;
    Some(carry(config, scope, &file, &sessions(now), now).questions().len())
}

/// Merges a scope's file into a server with these replies; returns the commit as it is sent, and the server's epoch.
///
/// # Errors
/// When it cannot be merged.
pub fn carried(
    config: &Config,
    server: &Server,
    (scope, file): (&str, &[u8]),
    now: Ms,
    answers: Vec<Value>,
) -> Result<(Vec<u8>, String), StoreError> {
    let file = serde_json::from_slice::<ScopeFile>(file).unwrap_or_else(|_| ScopeFile::new(ScopeState::default()));
    let (commit, seen) = carry(config, scope, &file, &sessions(now), now).merge(server, answers)?;
    Ok((commit.call("EVALSHA", COMMIT_SHA).get_packed_command(), seen.store_epoch().to_owned()))
}

/// Returns the sessions that the file lists.
fn sessions(now: Ms) -> [(String, SessionFile); 1] {
    let rest = Some(Rest {
        kind: RestKind::Rest,
        since: now,
        until: Some(now.saturating_add(1000)),
        topic: String::new(),
        id: 0,
    });
    let session = SessionState { rest, seen: now, woken: true, ..SessionState::default() };
    [("session".to_owned(), SessionFile::seen(session))]
}

fn carry<'a>(
    config: &'a Config,
    scope: &'a str,
    file: &'a ScopeFile,
    sessions: &'a [(String, SessionFile)],
    now: Ms,
) -> Carry<'a> {
    Carry { config, scope, file, sessions, fleet: None, starts_interval: file.away.is_some(), known_epoch: "", now }
}

/// Returns whether a commit was applied, by its reply; `None` for an invalid reply.
#[must_use]
pub fn committed(answer: &Value) -> Option<bool> {
    commit::committed(answer).map(|committed| matches!(committed, Committed::Done { .. }))
}

/// Returns the server's clock, by its reply.
#[must_use]
pub fn time(answer: &Value) -> Option<Ms> {
    load::time(answer)
}

/// Parses a stored whole number.
#[must_use]
pub fn whole(text: &str) -> Option<Ms> {
    load::whole(text)
}
