//! A store of its own for one test of the waiting engine, and its journal.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;

use serde_json::Value;

use crate::support::{Answer, Engine, Frosty, Server, eventually, stop_saying};

pub const POLICY: &str = r#"{"stop": {"min_interval": "1s"}, "api_error": {"base": "1s", "max": "4s"}}"#;

/// A store of its own for one test.
pub struct Place {
    pub frosty: Frosty,
    pub server: Option<Server>,
}

impl Place {
    pub fn both() -> [Self; 2] {
        let server = Server::start();
        let on_server = Frosty::on(&server).config(POLICY);
        [
            Self { frosty: on_server, server: Some(server) },
            Self { frosty: Frosty::embedded().config(POLICY), server: None },
        ]
    }

    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.frosty = self.frosty.var(name, value);
        self
    }

    pub fn wait(&self, session: &str, message: &str) -> Engine {
        Engine::start(&self.frosty, &stop_saying(session, message))
    }

    /// Starts an engine and waits until its refusal is journaled.
    pub fn resting(&self, session: &str, message: &str) -> Engine {
        let before = self.journal().len();
        let engine = self.wait(session, message);
        eventually("the stop is refused", || {
            self.journal().iter().skip(before).any(|e| e["session"] == session && e["verdict"] == "refuse")
        });
        engine
    }

    pub fn run(&self, args: &[&str]) -> Answer {
        self.frosty.run(args, b"")
    }

    pub fn event(&self, session: &str, event: &str, more: &str) {
        let payload = format!(r#"{{"session_id":"{session}","hook_event_name":"{event}"{more}}}"#);
        assert_eq!(self.frosty.hook(&payload).code, Some(0));
    }

    /// Returns every entry, with the store's time as `ms`.
    pub fn journal(&self) -> Vec<Value> {
        let Some(server) = &self.server else { return self.frosty.journal() };
        let mut con = server.connection();
        let entries: Vec<(String, HashMap<String, String>)> =
            redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut con).unwrap();
        let value = |(id, fields): (String, HashMap<String, String>)| {
            let mut value = serde_json::to_value(fields).unwrap();
            value["ms"] = id.split('-').next().unwrap().parse::<i64>().unwrap().into();
            value
        };
        entries.into_iter().map(value).collect()
    }

    pub fn reasons(&self, session: &str) -> Vec<String> {
        let own = |e: &Value| (e["session"] == session).then(|| e["reason"].as_str().unwrap().to_owned());
        self.journal().iter().filter_map(own).collect()
    }

    pub fn admissions(&self) -> Vec<i64> {
        let all = self.journal();
        all.iter().filter(|e| e["next_action"] == "CLAUDE_CODE_RESTART").map(|e| e["ms"].as_i64().unwrap()).collect()
    }
}

#[track_caller]
pub fn goes_on(answer: &Answer) {
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), "{\"suppressOutput\":true}\n"), "{answer:?}");
}

#[track_caller]
pub fn leaves_silently(answer: &Answer) {
    assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (Some(0), "", ""), "{answer:?}");
}
