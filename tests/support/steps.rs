//! Steps and policies to change, for the tests of the rules.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::atomic::{AtomicU32, Ordering};

use frosty::policy::limits::{Ms, Policy};
use frosty::policy::request::{Claim, Event, Step};

/// A time to start from.
pub const T0: Ms = 1_800_000_000_000;

/// Returns a step with an id of its own.
pub fn step(event: Event) -> Step {
    static STEPS: AtomicU32 = AtomicU32::new(0);
    Step {
        shadow: false,
        event_name: "Test".to_owned(),
        detail: String::new(),
        scope: "scope".to_owned(),
        session: "session".to_owned(),
        name: String::new(),
        named_by_project: false,
        project: String::new(),
        wake_on: None,
        paced: false,
        pid: None,
        client: None,
        claim: Claim::Beside,
        late: None,
        start: None,
        host: "host".to_owned(),
        host_ms: T0,
        r: 0,
        id: format!("id-{}", STEPS.fetch_add(1, Ordering::SeqCst)),
        turn: None,
        notes: Vec::new(),
        cache_is_warm: None,
        recalls: false,
        known_epoch: String::new(),
        agent: String::new(),
        event,
    }
}

pub fn stop_step() -> Step {
    step(Event::Stop { rest: None })
}

pub fn policy(change: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy);
    policy
}
