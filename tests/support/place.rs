//! A store of its own for one test of the waiting engine, and its journal.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;

use frosty::config::{Config, Flags};
use frosty::env::Env;
use frosty::policy::request::{Event, Step};
use frosty::policy::work::entry::WorkEntry;
use frosty::store::work::{Change, Changed, change as change_queue};
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

    /// Returns the configuration.
    pub fn config(&self) -> Config {
        let env = |name: &str| {
            let home = self.frosty.home.path().to_string_lossy().into_owned();
            let store = self.server.as_ref().map_or_else(|| "embedded".to_owned(), Server::url);
            let value = [("HOME", home), ("FROSTY_STORE", store)].into_iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| value.into())
        };
        Config::load(&Env::of(env), None, &Flags::default()).unwrap()
    }

    /// Adds an entry to an agent's queue that has waited for `age` milliseconds.
    pub fn put(&self, agent: &str, entry: WorkEntry, age: i64) {
        let step = Step { event_name: "WorkAdd".to_owned(), ..crate::support::step(Event::Other) };
        let change = Change { agent, id: &entry.id.clone(), by: None, step: &step };
        let added = change_queue(&self.config(), &change, |Changed { work, now, .. }| {
            work.add(entry.clone(), None, now - age);
            Ok::<_, ()>(())
        });
        added.unwrap().unwrap();
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
