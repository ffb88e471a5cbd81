//! The requests of one Stop event as bytes, for the program that measures what they cost at least (`benches/`).

use crate::clock;
use crate::config::{Config, Server};
use crate::policy::decision;
use crate::policy::documents::FleetState;
use crate::policy::request::Step;
use crate::store::server::changes;
use crate::store::server::document::Document;
use crate::store::server::load::Load;
use crate::store::server::load::Loaded;

/// What a step sends: the questions of its load, how many they are, and a commit that nothing prevents.
#[must_use]
pub fn requests(config: &Config, step: &Step) -> (Vec<u8>, usize, Vec<u8>) {
    let server = Server::default();
    let questions = Load::of(config, &server, step).questions();
    // As a server that is known: what it has of the fleet is not written.
    let fleet = Document::known(FleetState { born: "known".to_owned(), ..FleetState::default() });
    let loaded =
        Loaded { now: clock::host_ms(), scope: Some(Default::default()), fleet: Some(fleet), ..Loaded::default() };
    let mut state = loaded.state();
    let decided = decision::step(&config.policy, &mut state, step, loaded.now);
    let commit = changes::of(config, step, &loaded, &mut state, &decided).unconditional();
    let load = questions.iter().flat_map(redis::Cmd::get_packed_command).collect();
    (load, questions.len(), commit.call("EVALSHA", crate::store::server::commit::COMMIT_SHA).get_packed_command())
}
