//! Tests waiting engines through an outage.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{Entry, on_server, on_this_machine};
use crate::server::Redis;
use crate::site::{Phase, Site};
use crate::support::{Answer, Engine, stop};

/// Long enough that a server can be killed while an engine waits for its minimum interval.
const INTERVAL: Duration = Duration::from_secs(3);
/// A minimum interval, its extension by the embedded store in a failover, and the slowest probe.
const IN_TIME: Duration = Duration::from_secs(18);

fn start(site: &Site, session: &str) -> Engine {
    Engine::of(site.command(&["hook", "--wait", "20d", "--timeout", "1900000"], "s"), &stop(session))
}

fn entries(site: &Site) -> Vec<Entry> {
    let mut all: Vec<Entry> = on_server(&site.server).into_iter().filter(|e| !e.shipped).collect();
    all.extend(site.gone());
    all.extend(on_this_machine(site));
    all
}

fn eventually(what: &str, within: Duration, mut happens: impl FnMut() -> bool) -> Result<Duration, String> {
    let began = Instant::now();
    while !happens() {
        if began.elapsed() > within {
            return Err(format!("within {within:?} it never came that {what}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(began.elapsed())
}

fn waits(site: &Site, engine: &mut Engine, session: &str) -> Result<(), String> {
    eventually("the engine waits", Duration::from_secs(5), || entries(site).iter().any(|e| e.session == session))?;
    if engine.is_waiting() { Ok(()) } else { Err(format!("the engine of {session} is gone: {:?}", entries(site))) }
}

fn ends(site: &Site, mut engine: Engine, session: &str, store: &str) -> Result<Duration, String> {
    let took = eventually("the engine ends", IN_TIME, || !engine.is_waiting())
        .map_err(|e| format!("{session}: {e}; {:?}", entries(site).iter().rev().take(4).collect::<Vec<_>>()))?;
    let answer: Answer = engine.answer();
    let admitted: Vec<Entry> = entries(site).into_iter().filter(|e| e.session == session && e.admits()).collect();
    match admitted.as_slice() {
        [one] if one.store == store && answer.code == Some(2) => Ok(took),
        other => Err(format!("expected {session} to be admitted once, by {store}; found {other:?} and {answer:?}")),
    }
}

pub fn ride_through() -> Result<String, String> {
    let site = Site::of(Arc::new(Redis::start(&[])), None, INTERVAL);
    let first = site.ask(Phase::Before, "s");
    if !first.went_on() {
        return Err(format!("{first:?}"));
    }
    let mut engine = start(&site, "rides");
    waits(&site, &mut engine, "rides")?;
    site.harvest();
    site.server.kill();
    let without = ends(&site, engine, "rides", "embedded")?;

    // One engine begins without the server, and one still waits when it is reachable again.
    let mut engine = start(&site, "begins-without");
    waits(&site, &mut engine, "begins-without")?;
    let begun = ends(&site, engine, "begins-without", "embedded")?;
    let mut engine = start(&site, "goes-back");
    waits(&site, &mut engine, "goes-back")?;
    site.server.restart_empty();
    let back = ends(&site, engine, "goes-back", "dragonfly").or_else(|_| {
        // The embedded store admitted the session before the engine looked again, so the next admission is the
        // server's.
        let mut engine = start(&site, "is-back");
        waits(&site, &mut engine, "is-back")?;
        ends(&site, engine, "is-back", "dragonfly")
    })?;

    let mut admissions: Vec<Entry> = entries(&site).into_iter().filter(Entry::admits).collect();
    admissions.sort_by_key(|e| e.ms);
    let interval = i64::try_from(INTERVAL.as_millis()).unwrap();
    if let Some(pair) = admissions.windows(2).find(|p| p[1].ms - p[0].ms < interval - 20) {
        return Err(format!("two admissions within the guard of {INTERVAL:?}: {pair:?}"));
    }
    Ok(format!(
        "a minimum interval of {} s: admitted by the embedded store {:.1} s after the server was killed; an engine that began in the outage after {:.1} s; \
with the server back, by the server after {:.1} s; one admission per interval",
        INTERVAL.as_secs(),
        without.as_secs_f64(),
        begun.as_secs_f64(),
        back.as_secs_f64()
    ))
}
