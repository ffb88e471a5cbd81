//! What a shell offers for an argument: the names of sessions, the topics that they wait for, and reasons.

use std::collections::BTreeSet;

use clap_complete::{ArgValueCandidates, CompletionCandidate};

use super::PlaceArgs;
use crate::env::Env;
use crate::naming::Names;
use crate::policy::documents::Phase;
use crate::policy::reason::Reason;
use crate::policy::rest::RestKind;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;

/// The most sessions that are offered.
const MOST: usize = 500;

/// Offers the open sessions of the configured fleet.
pub(super) fn sessions() -> ArgValueCandidates {
    ArgValueCandidates::new(open_sessions)
}

/// Offers the topics that sessions wait for.
pub(super) fn topics() -> ArgValueCandidates {
    ArgValueCandidates::new(awaited_topics)
}

/// Offers the reasons of a verdict.
pub(super) fn reasons() -> ArgValueCandidates {
    ArgValueCandidates::new(|| Reason::ALL.iter().map(|reason| CompletionCandidate::new(reason.code())).collect())
}

/// Returns the names of the open sessions, the last one seen first, each with its project.
fn open_sessions() -> Vec<CompletionCandidate> {
    let mut sessions = known();
    sessions.retain(|(_, session)| session.phase != Phase::Ended);
    sessions.sort_by_key(|(_, session)| std::cmp::Reverse(session.seen));
    let names = Names::of_all(&sessions);
    let candidate = |(id, session): &Session| {
        CompletionCandidate::new(names.name(id)).help(Some(text::line(&session.project).into()))
    };
    sessions.iter().take(MOST).map(candidate).collect()
}

fn awaited_topics() -> Vec<CompletionCandidate> {
    let sessions = known();
    let rests = sessions.iter().filter_map(|(_, session)| session.rest.as_ref());
    let topics: BTreeSet<String> =
        rests.filter(|rest| rest.kind == RestKind::WaitFor).map(|rest| text::line(&rest.topic)).collect();
    topics.into_iter().take(MOST).map(CompletionCandidate::new).collect()
}

/// Returns the sessions of the configured store and fleet; none where they cannot be read, since a shell has no place for
/// an error.
fn known() -> Vec<Session> {
    let Ok(config) = super::config(&Env::read(), PlaceArgs { store: None, fleet: None }) else { return Vec::new() };
    FleetReader::open(&config).sessions().unwrap_or_default()
}
