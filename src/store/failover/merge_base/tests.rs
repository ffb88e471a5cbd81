//! Tests of the documents that a machine keeps of a server while another process takes a scope over.

use std::cell::Cell;

use crate::config::Config;
use crate::hint::Problem;
use crate::hook::step_of;
use crate::policy::documents::FleetState;
use crate::policy::request::Event;
use crate::store::failover::merge_base::*;
use crate::store::failover::server_record::Route;
use crate::store::files::{Embedded, Outage};

const T0: Ms = 1_790_000_000_000;

fn hold(id: FactId) -> Hold {
    Hold { by: "ann".to_owned(), reason: "look".to_owned(), since: T0, until: None, id }
}

fn seen(hold: Option<Hold>, lifted: Vec<FactId>) -> Seen {
    Seen {
        now: T0 + 100,
        fleet: Some(FleetState { store_epoch: "epoch".to_owned(), ..FleetState::default() }),
        scope: Some(ScopeState { hold, lifted, ..ScopeState::default() }),
        sessions: Vec::new(),
    }
}

#[test]
fn a_take_over_is_dated_after_its_file_is_there_to_see() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { state: Some(folder.path().to_owned()), ..Config::default() };
    let path = state_file::scope(&folder.path().join(&config.fleet), "a");
    let reads = Cell::new(0);
    // The process is paused for 5 s after it reads the clock for the first time.
    let clock = || {
        reads.set(reads.get() + 1);
        let is_there = state_file::peek::<ScopeFile>(&path).is_some_and(|file| file.away.is_some());
        assert_eq!(is_there, reads.get() > 1);
        T0 + 5000 * Ms::from(reads.get() - 1)
    };
    let why = Problem::new("it is away");
    let outage = Outage { server: "redis://one", why: &why, quiet: false, breaks: true, keeps: true };
    let mut store = Embedded::new(&config, clock::now() + Duration::from_secs(60)).unwrap().in_outage(outage);
    let step = step_of("a".to_owned(), "s".to_owned(), "Stop", Event::Stop { rest: None });
    store.step_at(&step, clock).unwrap();
    let file = state_file::peek::<ScopeFile>(&path).unwrap();
    assert_eq!(file.away.unwrap().since, Some(T0 + 5000));
    assert_eq!(file.scope.taken, Some(T0 + 5000 + IN_FLIGHT));
}

#[test]
fn a_take_over_that_was_not_dated_is_dated_by_the_next_step() {
    let mut file = ScopeFile::new(ScopeState::default());
    file.take_over(T0, 1000);
    assert_eq!((file.away.as_ref().unwrap().since, file.scope.taken), (None, None));
    file.stay_over(T0 + 60_000, true);
    assert_eq!(file.scope.taken, Some(T0 + 60_000 + IN_FLIGHT));
    // A later call does not move it.
    file.stay_over(T0 + 90_000, true);
    assert_eq!(file.scope.taken, Some(T0 + 60_000 + IN_FLIGHT));
}

#[test]
fn a_hold_that_the_server_took_while_the_scope_was_taken_over_is_in_force_here() {
    let mut file = ScopeFile::new(ScopeState::default());
    file.take_over(T0, 1000);
    file.stay_over(T0, true);
    let steps = file.away.as_ref().unwrap().steps;
    file.see_beside(&seen(Some(hold(7)), Vec::new()), "epoch");
    assert_eq!(file.scope.hold, Some(hold(7)));
    assert_eq!(file.scope.taken, Some(T0 + IN_FLIGHT));
    // The earlier transfer to the server is incomplete now.
    assert_ne!(file.away.as_ref().unwrap().steps, steps);
    // A release there lifts the hold, and the late answer to an earlier step does not bring it back.
    file.see_beside(&seen(None, vec![7]), "epoch");
    assert_eq!(file.scope.hold, None);
    file.see_beside(&seen(Some(hold(7)), Vec::new()), "epoch");
    assert_eq!(file.scope.hold, None);
}

#[test]
fn what_was_kept_of_a_server_whose_epoch_was_not_known_is_brought_before_a_request() {
    let now = T0 + 200;
    let route = |known: &str, store_epoch: &str| {
        let mut record = Record::default();
        record.hand_over("redis://one", T0);
        record.knows("redis://one", known);
        record
            .marks
            .insert("a".to_owned(), Mark { until: FOREVER, store_epoch: store_epoch.to_owned(), ..Mark::default() });
        record.route("redis://one", "a", 1000, now)
    };
    assert_eq!(route("epoch", "epoch"), Route::Server);
    assert_eq!(route("epoch", "other"), Route::Failback);
    assert_eq!(route("epoch", ""), Route::Failback);
    assert_eq!(route("", ""), Route::Failback);
}

#[test]
fn a_scope_stays_no_longer_after_its_clock_was_set_back() {
    let (begun, back) = (10_000_000, 6_400_000);
    let mut file = ScopeFile::new(ScopeState::default());
    file.given_back = Some(begun - 1);
    file.take_over(begun, 2_000);
    file.stay_over(begun, true);
    let stays = |file: &ScopeFile, now| file.away.as_ref().unwrap().stays(now);
    assert!(stays(&file, begun + 5_000) && !stays(&file, begun + 6_000));
    file.stay_over(back, true);
    assert!(stays(&file, back + 5_000) && !stays(&file, back + 6_000), "the clock was set back by an hour");
}
