//! Two programs of different format on one fleet: the fields of the newer one stay, whatever this one writes, on the
//! server and in files; and a newer format is refused and left alone.
//!
//! `FROSTY_FORMATS=long` plays a minute; without it a few seconds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::place::Place;
use frosty::config::{Config, Flags};
use frosty::env::Env;
use frosty::policy::request::{Event, HoldRequest, Step};
use frosty::policy::verdict::Outcome;
use frosty::store;
use redis::Connection;
use serde_json::{Value, json};

const FIELD: &str = "mood";

fn lasts() -> Duration {
    #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
    let is_long = std::env::var("FROSTY_FORMATS").is_ok_and(|how| how == "long");
    Duration::from_secs(if is_long { 60 } else { 4 })
}

fn config(place: &Place) -> Config {
    let store = place.server.as_ref().map_or_else(|| "embedded".to_owned(), crate::support::Server::url);
    let env = Env { home: Some(place.frosty.home.path().to_owned()), store: Some(store), ..Env::default() };
    let mut config = Config::load(&env, None, &Flags::default()).unwrap();
    config.policy.stop.min_interval = Duration::from_millis(20);
    config.budget = Duration::from_secs(1);
    config
}

/// Events of every kind in a few scopes and sessions, until the time is over.
fn write(config: &Config, writer: u32) {
    let until = Instant::now() + lasts();
    for n in (writer..).step_by(3) {
        if Instant::now() > until {
            return;
        }
        let hold = |fleet| HoldRequest {
            fleet,
            by: "ann".to_owned(),
            lasting: Some(Duration::from_millis(5)),
            ..HoldRequest::default()
        };
        let event = match n % 23 {
            0 => Event::PersonPrompt,
            1 => Event::Wake { note: "look".to_owned(), spread: false, signal: None, depth: 0 },
            2 => Event::Hold(hold(false)),
            3 => Event::Hold(hold(true)),
            4 => Event::Release { fleet: true, at_once: true },
            5 => Event::SessionStart { label: format!("w:{n}") },
            _ => Event::Stop { rest: None },
        };
        let session = if event.is_of_holds() { String::new() } else { format!("session-{}", n % 5) };
        let step = Step {
            scope: format!("scope-{}", n % 2),
            session,
            id: frosty::clock::id(),
            host_ms: frosty::clock::host_ms(),
            ..crate::support::step(event)
        };
        // A busy machine may come to no verdict in time.
        if let Ok(verdict) = store::open(config, Instant::now() + config.budget).unwrap().step(&step) {
            assert!(verdict.notes.is_empty(), "{verdict:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Acts as a newer program: adds a field of its own to each document, and finds it again from then on.
struct Newer {
    added: BTreeMap<String, u32>,
    found: u32,
}

impl Newer {
    /// Returns the text of a document with the field; `None` if it has it.
    fn look(&mut self, name: &str, text: &str, inside: &str) -> Option<String> {
        let mut document: Value = serde_json::from_str(text).unwrap();
        let own = if inside.is_empty() { &mut document } else { &mut document[inside] };
        if own.get(FIELD).is_some() {
            self.found += 1;
            return None;
        }
        assert_eq!(self.added.insert(name.to_owned(), 1), None, "{name} has lost a field: {text}");
        own[FIELD] = json!("calm");
        Some(document.to_string())
    }

    fn on_server(&mut self, con: &mut Connection) {
        let keys: Vec<String> = redis::cmd("KEYS").arg("frosty:{default}:doc:*").query(con).unwrap();
        for key in keys {
            let text: String = redis::cmd("GET").arg(&key).query(con).unwrap();
            let before = self.added.clone();
            let Some(document) = self.look(&key, &text, "") else { continue };
            // The version comes first, as every program writes it.
            let fields: serde_json::Map<String, Value> = serde_json::from_str(&document).unwrap();
            let rest: serde_json::Map<String, Value> =
                fields.into_iter().filter(|(name, _)| name != "version" && name != "format").collect();
            let rest = Value::Object(rest).to_string();
            let id = frosty::clock::id();
            let document = format!("{{\"version\":\"7-{id}\",\"format\":1,{}", &rest[1..]);
            let swap = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) return 1 end return 0";
            let call = redis::cmd("EVAL").arg(swap).arg(1).arg(&key).arg(&text).arg(&document).to_owned();
            if call.query::<u32>(con).unwrap() == 0 {
                self.added = before;
            }
        }
    }

    /// Under the fleet's lock, as every program.
    fn in_files(&mut self, fleet: &Path) {
        let Ok(lock) = File::options().write(true).open(fleet.join("lock")) else { return };
        lock.lock().unwrap();
        if fleet.join("redo.json").exists() {
            return;
        }
        for path in documents(fleet) {
            let inside = match path.strip_prefix(fleet).unwrap().components().next().unwrap().as_os_str().to_str() {
                Some("sessions") => "session",
                Some("scopes") => "scope",
                _ => "fleet",
            };
            let text = fs::read_to_string(&path).unwrap();
            for part in ["", inside] {
                let text = fs::read_to_string(&path).unwrap_or(text.clone());
                if let Some(document) = self.look(&format!("{} {part}", path.display()), &text, part) {
                    fs::write(&path, document).unwrap();
                }
            }
        }
    }
}

fn documents(fleet: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = ["sessions", "scopes"]
        .iter()
        .flat_map(|kind| fs::read_dir(fleet.join(kind)).into_iter().flatten().flatten())
        .flat_map(|part| fs::read_dir(part.path()).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .collect();
    all.extend(Some(fleet.join("fleet.json")).filter(|path| path.exists()));
    all
}

fn play(place: &Place, mut look: impl FnMut(&mut Newer)) {
    let config = config(place);
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let config = config.clone();
            thread::spawn(move || write(&config, writer))
        })
        .collect();
    let mut newer = Newer { added: BTreeMap::new(), found: 0 };
    let until = Instant::now() + lasts();
    while Instant::now() < until {
        look(&mut newer);
        thread::sleep(Duration::from_millis(3));
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    look(&mut newer);
    println!("{} documents were given a field, which was found {} times", newer.added.len(), newer.found);
    assert!(newer.added.len() >= 6 && newer.found > 50, "{:?} {}", newer.added, newer.found);
}

#[test]
fn a_newer_programs_fields_stay_on_the_server() {
    let [place, _] = Place::both();
    let mut con = place.server.as_ref().unwrap().connection();
    play(&place, |newer| newer.on_server(&mut con));
}

#[test]
fn a_newer_programs_fields_stay_in_files() {
    let [_, place] = Place::both();
    let fleet = place.frosty.state().join("default");
    play(&place, |newer| newer.in_files(&fleet));
}

#[test]
fn a_file_of_a_newer_format_is_refused_and_left_alone() {
    let [_, place] = Place::both();
    let config = config(&place);
    let step = |id: &str| Step { id: id.to_owned(), ..crate::support::stop_step() };
    let ask = |id: &str| store::open(&config, Instant::now() + config.budget).unwrap().step(&step(id));
    assert_eq!(ask("1").unwrap().decision.outcome, Outcome::Admit);
    let fleet = place.frosty.state().join("default");
    let mut all = documents(&fleet);
    all.push(fleet.join("redo.json"));
    assert!(all.len() >= 3, "{all:?}");
    for path in all {
        let before = fs::read_to_string(&path).ok();
        let newer = before.as_deref().unwrap_or(r#"{"v":1,"files":[],"entries":[]}"#).replacen("\"v\":1", "\"v\":2", 1);
        fs::write(&path, &newer).unwrap();
        let found = ask("2").unwrap_err().to_string();
        assert!(found.contains("newer") && found.contains(path.file_name().unwrap().to_str().unwrap()), "{found}");
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
        match before {
            Some(before) => fs::write(&path, before).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
}
