//! The requests of one Stop event as bytes, for the program that measures their least cost (`benches/`).

use crate::clock;
use crate::config::{Config, Server};
use crate::policy::decision;
use crate::policy::documents::FleetState;
use crate::policy::request::Step;
use crate::store::server::changes;
use crate::store::server::document::Document;
use crate::store::server::load::{Load, Loaded};

/// Returns the bytes that a step sends: the reads of its load, their number, and a commit without any obstacle.
#[must_use]
pub fn requests(config: &Config, step: &Step) -> (Vec<u8>, usize, Vec<u8>) {
    let server = Server::default();
    let questions = Load::of(config, &server, step).questions();
    // The server counts as known, so its fleet document is not written.
    let fleet = Document::known(FleetState { store_epoch: "known".to_owned(), ..FleetState::default() });
    let loaded =
        Loaded { now: clock::host_ms(), scope: Some(Default::default()), fleet: Some(fleet), ..Loaded::default() };
    let mut state = loaded.state();
    let decided = decision::step(&config.policy, &mut state, step, loaded.now);
    let commit = changes::of(config, step, &loaded, &mut state, &decided).unconditional();
    let load = questions.iter().flat_map(redis::Cmd::get_packed_command).collect();
    (load, questions.len(), commit.call("EVALSHA", crate::store::server::commit::COMMIT_SHA).get_packed_command())
}
