//! The embedded store, which must answer as the model does.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::{Duration, Instant};

use frosty::config::Config;
use frosty::policy::limits::{Ms, Policy};
use frosty::policy::request::Step;
use frosty::policy::verdict::{Decision, Outcome};
use frosty::store::files::Embedded;
use tempfile::TempDir;

use super::T0;

/// An embedded store under the same policy as a model.
pub struct Twin {
    config: Config,
    _dir: TempDir,
}

impl Twin {
    pub fn new(policy: &Policy) -> Self {
        let dir = TempDir::new().unwrap();
        let config = Config { policy: policy.clone(), state: Some(dir.path().join("frosty")), ..Config::default() };
        Self { config, _dir: dir }
    }

    /// Sends the same step to the store, and compares the answers.
    pub fn answers(&self, at: Ms, step: &Step, decided: &Decision) {
        let mut store = Embedded::new(&self.config, Instant::now() + Duration::from_secs(5)).unwrap();
        let verdict = store.step_at(step, || T0 + at).unwrap();
        assert_eq!(verdict.decision, *decided, "the embedded store differs from the model at {at}");
        assert_eq!(verdict.admission.is_some(), decided.outcome == Outcome::Admit);
    }
}
