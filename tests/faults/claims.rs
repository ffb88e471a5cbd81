//! `kill -9` of frosty before every system call of a Stop event that ends one entry of work and claims the next.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::kills::{killed, steps};
use crate::server::Redis;
use crate::site::{Phase, Site};
use crate::support::{stop, stop_saying};

const DONE: &str = "frosty: done";

pub fn killed_at_every_step() -> Result<String, String> {
    // Each Stop event of a prepared session is admitted.
    let site = Site::with(Arc::new(Redis::start(&[])), None, Duration::ZERO, "1s");
    site.set_var("FROSTY_STORE", "embedded");
    site.set_var("FROSTY_WORK", "required");
    let session = prepared(&site, "steps")?;
    let steps = steps(&site, "steps", (&session, &stop_saying(&session, DONE)))?;
    let kills = steps.into_iter().flat_map(|(step, count)| (1..=count).map(move |nth| (step.clone(), nth)));
    let (mut wrong, mut before, mut after) = (Vec::new(), 0, 0);
    for (step, nth) in kills {
        let key = format!("{step}-{nth}");
        let session = prepared(&site, &key)?;
        killed(&site, (&step, nth), &key, (&session, &stop_saying(&session, DONE)));
        // It finishes the work of the killed process, and ends nothing.
        let next = site.ask_as(Phase::During, &key, &session, &stop(&session));
        let (first, second) = (state(&site, &key, 1)?, state(&site, &key, 2)?);
        match (first.as_str(), second.as_str()) {
            ("in hand", "waiting") => before += 1,
            ("done", "in hand") => after += 1,
            found => wrong.push(format!("killed before {key}: the entries are {found:?}")),
        }
        if !next.went_on() {
            wrong.push(format!("killed before {key}: the next stop is refused: {:?}", next.code));
        }
    }
    if before == 0 || after == 0 {
        wrong.push(format!("{before} kills before the commit and {after} after it"));
    }
    if wrong.is_empty() {
        Ok(format!("{} kills, {after} after the commit", before + after))
    } else {
        Err(wrong.join("\n    "))
    }
}

/// Prepares a session that has the first of two entries in hand.
fn prepared(site: &Site, scope: &str) -> Result<String, String> {
    for (nth, text) in (1..).zip(["first", "second"]) {
        let id = format!("{scope}.{nth}");
        let added = site.command(&["work", "add", "--to", scope, "--id", &id, text], scope).output().unwrap();
        if !added.status.success() {
            return Err(String::from_utf8_lossy(&added.stderr).into_owned());
        }
    }
    let session = site.session(Phase::During);
    let admitted = site.ask_as(Phase::During, scope, &session, &stop(&session));
    match admitted.went_on() && state(site, scope, 1)? == "in hand" {
        true => Ok(session),
        false => Err(format!("expected a session with an entry in hand, found {admitted:?}")),
    }
}

/// Returns the state of the nth entry of a queue, by its record and by the queue's own content.
fn state(site: &Site, scope: &str, nth: u32) -> Result<String, String> {
    let id = format!("{scope}.{nth}");
    let run = |args: &[&str]| String::from_utf8_lossy(&site.command(args, scope).output().unwrap().stdout).into_owned();
    let shown = run(&["work", "show", &id]);
    let state =
        shown.split_once(": ").and_then(|(_, rest)| rest.split_once(" since ")).map(|(state, _)| state.to_owned());
    let state = state.ok_or_else(|| format!("no state in {shown}"))?;
    let listed: Value = serde_json::from_str(&run(&["work", "list", scope, "--json"])).map_err(|e| e.to_string())?;
    let entries = listed["queues"][0]["entries"].as_array().cloned().unwrap_or_default();
    let own: Vec<&Value> = entries.iter().filter(|entry| entry["id"] == id.as_str()).collect();
    let expected = match state.as_str() {
        "in hand" => vec!["in_hand"],
        "waiting" => vec!["waiting"],
        _ => vec![],
    };
    let found: Vec<&str> = own.iter().filter_map(|entry| entry["state"].as_str()).collect();
    if found == expected {
        Ok(state)
    } else {
        Err(format!("{id} is {state} by its record, and {found:?} in its queue"))
    }
}
