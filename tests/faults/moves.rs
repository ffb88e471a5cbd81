//! `kill -9` of frosty before every system call of an event that moves its session from one scope to another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kills::{killed, steps};
use crate::server::Redis;
use crate::site::{Phase, Site};
use crate::support::{stop, stop_saying};

const NOTE: &str = "look at the build";

/// An event that raises the fence, and so moves its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    /// A Stop event, which is admitted in the new scope.
    Stop,
    /// A prompt of the client itself, which leaves a rest as it is.
    Prompt,
}

impl Move {
    fn payload(self, session: &str) -> String {
        let prompt =
            json!({"session_id": session, "hook_event_name": "UserPromptSubmit", "prompt": "<task-notification>"});
        if self == Self::Stop { stop(session) } else { prompt.to_string() }
    }

    fn event(self) -> &'static str {
        if self == Self::Stop { "Stop" } else { "UserPromptSubmit" }
    }
}

pub fn killed_at_every_step() -> Result<String, String> {
    let mut told = Vec::new();
    for by in [Move::Stop, Move::Prompt] {
        told.push(format!("{}: {}", by.event(), killed_at_every_step_of(by)?));
    }
    Ok(told.join("; "))
}

fn killed_at_every_step_of(by: Move) -> Result<String, String> {
    // Long enough that no session is admitted in a scope twice.
    let site = Site::with(Arc::new(Redis::start(&[])), None, Duration::from_secs(600), "1s");
    site.set_var("FROSTY_STORE", "embedded");
    let session = prepared(&site, "steps")?;
    let steps = steps(&site, "steps-b", (&session, &by.payload(&session)))?;
    let kills = steps.into_iter().flat_map(|(step, count)| (1..=count).map(move |nth| (step.clone(), nth)));
    let (mut wrong, mut moved, mut stayed) = (Vec::new(), 0, 0);
    for (step, nth) in kills {
        let key = format!("{step}-{nth}");
        let session = prepared(&site, &key)?;
        let before = document(&site, &session)?;
        let scope = format!("{key}-b");
        killed(&site, (&step, nth), &scope, (&session, &by.payload(&session)));
        // It finishes the work of the killed process.
        let next = site.ask(Phase::During, &scope);
        let after = document(&site, &session)?;
        let is_moved = after["scope"] == scope.as_str();
        *(if is_moved { &mut moved } else { &mut stayed }) += 1;
        let journal = site.frosty.journal();
        let entries = journal.iter().filter(|e| e["session"] == session.as_str() && e["scope"] == scope.as_str());
        let goes_on = is_moved && by == Move::Stop;
        let is_kept = match by {
            _ if !is_moved => after == before,
            Move::Stop => after["given"] == NOTE && after["note"].is_null() && after["rest"].is_null(),
            Move::Prompt => ["rest", "note", "woken", "count"].iter().all(|name| after[name] == before[name]),
        };
        let is_admitted_once = next.went_on() != goes_on;
        if !is_kept || !is_admitted_once || entries.count() != usize::from(is_moved) {
            wrong.push(format!("killed before {key}: {before} became {after}; the next stop: {:?}", next.code));
        }
    }
    if moved == 0 || stayed == 0 {
        wrong.push(format!("{moved} were moved and {stayed} not: the kills do not reach both sides"));
    }
    if wrong.is_empty() {
        Ok(format!("{} kills, {moved} after the commit", moved + stayed))
    } else {
        Err(wrong.join("\n    "))
    }
}

/// Prepares a session that was admitted in a scope of its own, rests there, and was woken with a note.
fn prepared(site: &Site, key: &str) -> Result<String, String> {
    let (session, scope) = (site.session(Phase::During), format!("{key}-a"));
    let admitted = site.ask_as(Phase::During, &scope, &session, &stop(&session));
    site.ask_as(Phase::During, &scope, &session, &stop_saying(&session, "frosty: done"));
    let woken = site.command(&["wake", &session, "--note", NOTE], &scope).output().unwrap();
    let found = document(site, &session)?;
    let is_prepared = admitted.went_on() && woken.status.success() && found["rest"]["kind"] == "done";
    match is_prepared && found["note"] == NOTE && found["scope"] == scope.as_str() {
        true => Ok(session),
        false => Err(format!("expected a session that rests in {scope} and has a note, found {found}; {woken:?}")),
    }
}

/// Returns the session in its only file.
fn document(site: &Site, session: &str) -> Result<Value, String> {
    let mut found = Vec::new();
    files(&site.frosty.state(), &format!("{session}.json"), &mut found);
    let [file] = found.as_slice() else { return Err(format!("expected one file of {session}, found {found:?}")) };
    let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
    let mut file: Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
    Ok(file["session"].take())
}

fn files(folder: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files(&entry.path(), name, found);
        } else if entry.file_name() == name {
            found.push(entry.path());
        }
    }
}
