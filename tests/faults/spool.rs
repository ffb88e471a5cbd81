//! The local journal of an outage reaches the server: in order, each entry once.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use frosty::config::{Config, Server, StoreChoice};
use frosty::policy::request::{Event, Step};
use frosty::store;

use crate::measure::{LONGEST, on_server, on_this_machine};
use crate::server::Redis;
use crate::site::{Ask, Phase, Site};

const ENTRIES: usize = 10_000;
/// The number of hooks that run at once while it is shipped.
const HOOKS: usize = 2;
const WITHIN: Duration = Duration::from_secs(40);

pub fn ten_thousand() -> Result<String, String> {
    let site = Site::direct(Arc::new(Redis::start(&[])));
    site.ask(Phase::Before, "s");
    site.server.kill();
    site.ask(Phase::During, "s");
    let began = Instant::now();
    spool(&site, ENTRIES, |i| (format!("spool-{}", i % 10), format!("spool-{}", i % 10)))?;
    let made = began.elapsed();
    let spooled = |local: bool| -> Vec<String> {
        let all = if local { on_this_machine(&site) } else { on_server(&site.server) };
        all.into_iter().filter(|e| e.session.starts_with("spool-")).map(|e| e.id).collect()
    };
    let left = spooled(true);
    if left.len() != ENTRIES {
        return Err(format!("expected {ENTRIES} entries in the local journal, found {}", left.len()));
    }
    site.server.restart();
    let back = Instant::now();
    let asks: Vec<Ask> = thread::scope(|scope| {
        let (site, back) = (&site, &back);
        let hooks = |own: usize| {
            let mut asks = Vec::new();
            let mut arrived = 0;
            while arrived < ENTRIES && back.elapsed() < WITHIN {
                for i in 0..5 {
                    asks.push(site.ask(Phase::After, &format!("h{own}{i}")));
                    thread::sleep(Duration::from_millis(30));
                }
                let mut con = site.server.connection();
                arrived = redis::cmd("XLEN").arg("torch.continuous.ops").query(&mut con).unwrap();
            }
            asks
        };
        let all: Vec<_> = (0..HOOKS).map(|own| scope.spawn(move || hooks(own))).collect();
        all.into_iter().flat_map(|a| a.join().unwrap()).collect()
    });
    site.until_back(&["h00"])?;
    let took = back.elapsed();
    let arrived = spooled(false);
    let distinct: HashSet<&String> = arrived.iter().collect();
    if arrived.len() != distinct.len() {
        return Err(format!("{} entries arrived, {} of them distinct", arrived.len(), distinct.len()));
    }
    if arrived != left {
        let odd = arrived.iter().zip(&left).position(|(a, b)| a != b);
        return Err(format!("{} of {ENTRIES} arrived; the first out of order is the {odd:?}th", arrived.len()));
    }
    let slowest = asks.iter().map(Ask::took).max().unwrap_or_default();
    if slowest > LONGEST {
        return Err(format!("a hook took {slowest:?} while it was shipped"));
    }
    Ok(format!(
        "{ENTRIES} entries (made in {:.1} s) arrived in order, each once, with {} hooks in {:.1} s; the slowest hook took {} ms",
        made.as_secs_f64(),
        asks.len(),
        took.as_secs_f64(),
        slowest.as_millis()
    ))
}

/// Makes Stop events during the outage, each with its scope and session. They run in this process, for speed: a
/// hook runs the same code in a process of its own.
fn spool(site: &Site, count: usize, who: impl Fn(usize) -> (String, String)) -> Result<(), String> {
    let server = Server::parse(&site.server.url()).map_err(|(found, _)| found)?;
    let mut config =
        Config { state: Some(site.frosty.state()), store: StoreChoice::Server(server), ..Config::default() };
    // The same policy as in the hooks.
    (config.policy.stop.min_interval, config.policy.stop.burst) = (site.interval, None);
    for i in 0..count {
        let (scope, session) = who(i);
        let step = Step {
            scope,
            session,
            event_name: "Stop".to_owned(),
            host: frosty::clock::host(),
            host_ms: frosty::clock::host_ms(),
            id: frosty::clock::id(),
            ..crate::support::step(Event::Stop { rest: None })
        };
        let deadline = Instant::now() + config.budget;
        store::open(&config, deadline)
            .and_then(|mut store| store.step(&step))
            .map_err(|e| format!("entry {i}: {e}"))?;
    }
    Ok(())
}

/// A scope in which short sessions follow one another throughout the outage.
pub fn many_sessions() -> Result<String, String> {
    const SESSIONS: usize = 1_000;
    let site = Site::direct(Arc::new(Redis::start(&[])));
    site.ask(Phase::Before, "s");
    site.server.kill();
    site.ask(Phase::During, "s");
    spool(&site, SESSIONS, |i| ("s".to_owned(), format!("spool-{i}")))?;
    site.server.restart();
    let back = Instant::now();
    site.until_back(&["s"])?;
    let slowest = site.asks().iter().map(Ask::took).max().unwrap_or_default();
    if slowest > LONGEST {
        return Err(format!("a hook took {slowest:?}"));
    }
    Ok(format!(
        "{SESSIONS} sessions: the server decided again {:.1} s after it was back; the slowest hook took {} ms",
        back.elapsed().as_secs_f64(),
        slowest.as_millis()
    ))
}
