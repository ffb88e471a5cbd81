//! Stories: properties that only several faults in a row can show.

use std::fmt::Write;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{Entry, LONGEST, on_server, on_this_machine};
use crate::server::Redis;
use crate::site::{Ask, BACK, BUDGET, Phase, Site};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{Frosty, documents, stop};
use crate::{claims, engines, moves, spool};

pub struct Story {
    pub name: &'static str,
    pub what: &'static str,
    pub alone: bool,
    pub run: fn() -> Result<String, String>,
}

const fn story(name: &'static str, what: &'static str, run: fn() -> Result<String, String>) -> Story {
    Story { name, what, alone: false, run }
}

pub const STORIES: &[Story] = &[
    story(
        "ten_thousand_spooled",
        "an outage leaves 10,000 journal entries; then the server is back",
        spool::ten_thousand,
    ),
    story(
        "a_seat_of_many_sessions",
        "1,000 sessions used one scope in turn while the server was unreachable",
        spool::many_sessions,
    ),
    story(
        "killed_at_every_step_of_a_move",
        "frosty is killed (-9) at every step of an event that moves its session to another scope, in files",
        moves::killed_at_every_step,
    ),
    story(
        "killed_at_every_step_of_a_claim",
        "frosty is killed (-9) at every step of a Stop event that ends an entry of work and claims the next, in files",
        claims::killed_at_every_step,
    ),
    story("an_engine_rides_through", "an engine waits while the server is killed and returns", engines::ride_through),
    story(
        "held_through_an_outage",
        "a hold; the server is killed and returns empty; the hold is released on another machine",
        held,
    ),
    story(
        "released_elsewhere_in_an_outage",
        "a hold; this machine loses the server; the hold is released on another machine meanwhile",
        released_elsewhere,
    ),
    story("cooling_down_through_an_outage", "a cooldown; the server is killed and returns empty", cooling_down),
    story(
        "an_api_error_through_an_outage",
        "the cooldown of an API error; the server is killed and returns empty",
        api_error,
    ),
    story("resting_through_an_outage", "a rest of the agent's own; the server is killed and returns empty", resting),
    story("quotas_through_an_outage", "a quota of 3; the server is killed and returns empty", quotas),
    Story { alone: true, ..story("the_breaker", "20 hooks in a row with a server that sends no reply", breaker) },
];

const GUARD: Duration = Duration::from_millis(400);
/// The length of a limit that must outlast the outages.
const LASTS: Duration = Duration::from_secs(12);

/// Creates a site with a minimum interval, a burst window of three, and cooldowns of [`LASTS`].
fn site() -> Site {
    let server = Arc::new(Redis::start(&[]));
    let proxy = Proxy::to(server.port);
    let lasts = format!("{}s", LASTS.as_secs());
    let cooldown = serde_json::json!({"base": lasts, "max": lasts, "jitter": 0});
    let stop =
        serde_json::json!({"min_interval": "400ms", "burst": {"limit": 3, "window": "20s"}, "cooldown": cooldown});
    let config = serde_json::json!({"stop": stop, "api_error": {"base": lasts, "max": lasts}, "budget": BUDGET});
    Site::configured(server, Some(proxy), GUARD, &config.to_string())
}

/// Returns the last verdict in a scope.
fn last(site: &Site, scope: &str) -> Option<Entry> {
    let server = on_server(&site.server).into_iter().filter(|e| !e.shipped);
    let all = server.chain(on_this_machine(site)).filter(|e| e.scope == scope);
    all.max_by_key(|e| e.ms)
}

fn ask(site: &Site, payload: &str) -> (Ask, Option<Entry>) {
    let asked = site.ask_as(Phase::During, "s", "s", payload);
    thread::sleep(Duration::from_millis(2));
    (asked, last(site, "s"))
}

/// Sends requests for this long, and expects only this refusal, by this store in the end.
fn refused(site: &Site, reason: &str, store: &str, within: Duration) -> Result<(), String> {
    let end = Instant::now() + within;
    loop {
        let (asked, entry) = ask(site, &stop("s"));
        if asked.code != Some(0) || asked.took() > LONGEST {
            return Err(format!("expected a refusal by {reason} of {store}, found {asked:?}, {entry:?}"));
        }
        match entry {
            Some(e) if e.reason == reason && e.store == store => return Ok(()),
            // The minimum interval of a failover or failback may come first.
            other if Instant::now() >= end => {
                return Err(format!("expected a refusal by {reason} of {store} within {within:?}, found {other:?}"));
            }
            _ => thread::sleep(Duration::from_millis(500)),
        }
    }
}

/// Sends requests until one is admitted, at intervals that do not fill a burst window.
fn goes_on(site: &Site, within: Duration) -> Result<Duration, String> {
    let started = Instant::now();
    loop {
        let (asked, entry) = ask(site, &stop("s"));
        if asked.code == Some(2) {
            return Ok(started.elapsed());
        }
        if started.elapsed() > within {
            return Err(format!("expected it to be free within {within:?}, found {entry:?}"));
        }
        thread::sleep(Duration::from_millis(1200));
    }
}

fn tell(site: &Site, payload: &str) -> Result<(), String> {
    let (asked, _) = ask(site, payload);
    if asked.code == Some(0) { Ok(()) } else { Err(format!("expected exit 0, found {asked:?}")) }
}

/// Checks a refusal by the server, then without it, then by it again after it lost its data.
fn outlasts(site: &Site, reason: &str) -> Result<String, String> {
    refused(site, reason, "dragonfly", Duration::from_secs(2))?;
    site.server.kill();
    for _ in 0..3 {
        refused(site, reason, "embedded", Duration::from_millis(1500))?;
        thread::sleep(Duration::from_millis(300));
    }
    site.server.restart_empty();
    let back = Instant::now();
    refused(site, reason, "dragonfly", BACK)?;
    Ok(format!(
        "refused (`{reason}`) by the server, by the embedded store, and by the server without its data ({:.1} s after \
its return)",
        back.elapsed().as_secs_f64()
    ))
}

fn release_elsewhere(site: &Site) -> Result<(), String> {
    let elsewhere = Frosty::bare().config("{}").var("FROSTY_STORE", &site.server.url());
    let told = elsewhere.run(&["release", "s"], b"");
    if told.code == Some(0) && told.stdout.contains("released s") { Ok(()) } else { Err(format!("{told:?}")) }
}

fn held() -> Result<String, String> {
    let site = site();
    goes_on(&site, LONGEST)?;
    plant_hold(&site);
    let mut said = outlasts(&site, "hold")?;
    release_elsewhere(&site)?;
    let free = goes_on(&site, BACK)?;
    let _ = write!(said, "; released on another machine: free after {:.1} s", free.as_secs_f64());
    site.server.kill();
    let free = goes_on(&site, BACK)?;
    let _ = write!(said, "; the server is killed once more: still free, {:.1} s later", free.as_secs_f64());
    Ok(said)
}

/// Opens a hold by a person for an hour, which a good Stop event does not lift.
fn plant_hold(site: &Site) {
    let now = frosty::clock::host_ms();
    let mut con = site.server.connection();
    documents::hold(&mut con, &documents::scope("s"), "the build is red", now, Some(now + 3_600_000));
}

fn released_elsewhere() -> Result<String, String> {
    let site = site();
    goes_on(&site, LONGEST)?;
    plant_hold(&site);
    refused(&site, "hold", "dragonfly", Duration::from_secs(2))?;
    site.proxy().set(Mode::Refuse);
    refused(&site, "hold", "embedded", Duration::from_secs(2))?;
    release_elsewhere(&site)?;
    refused(&site, "hold", "embedded", Duration::ZERO)?;
    site.proxy().set(Mode::Pass);
    let free = goes_on(&site, BACK)?;
    Ok(format!(
        "refused (`hold`) without the server, though already released; free {:.1} s after the server is reachable",
        free.as_secs_f64()
    ))
}

fn cooling_down() -> Result<String, String> {
    let site = site();
    goes_on(&site, LONGEST)?;
    let tripped = Instant::now();
    while last(&site, "s").is_none_or(|e| e.reason != "burst") {
        if ask(&site, &stop("s")).0.code != Some(0) || tripped.elapsed() > Duration::from_secs(5) {
            return Err("three asks at once did not trip".to_owned());
        }
    }
    after_its_time(&site, "cooldown", tripped)
}

fn api_error() -> Result<String, String> {
    let site = site();
    goes_on(&site, LONGEST)?;
    let tripped = Instant::now();
    tell(&site, r#"{"session_id":"s","hook_event_name":"StopFailure","error":"rate_limit"}"#)?;
    after_its_time(&site, "api_error", tripped)
}

fn resting() -> Result<String, String> {
    let site = site();
    goes_on(&site, LONGEST)?;
    let tripped = Instant::now();
    tell(&site, &crate::support::stop_saying("s", &format!("frosty: next_check {}s", LASTS.as_secs())))?;
    after_its_time(&site, "rest", tripped)
}

fn after_its_time(site: &Site, reason: &str, begun: Instant) -> Result<String, String> {
    let said = outlasts(site, reason)?;
    let free = goes_on(site, BACK);
    let after = begun.elapsed();
    free?;
    if after < LASTS - Duration::from_millis(5) {
        return Err(format!("it went on after {after:?}, before the {LASTS:?} were over"));
    }
    Ok(format!("{said}; continued {:.1} s after its beginning, of {} s", after.as_secs_f64(), LASTS.as_secs()))
}

fn quotas() -> Result<String, String> {
    const LIMIT: usize = 3;
    let server = Arc::new(Redis::start(&[]));
    let quotas = serde_json::json!([{"limit": LIMIT, "per": "1h"}]);
    let stop = serde_json::json!({"min_interval": "200ms", "burst": null, "quotas": quotas});
    let config = serde_json::json!({"stop": stop, "budget": BUDGET}).to_string();
    let site = Site::configured(server, None, Duration::from_millis(200), &config);
    let used = || {
        let before = site.asks().iter().filter(|a| a.went_on()).count();
        site.drive(Phase::During, &["s"], Duration::from_secs(4));
        site.asks().iter().filter(|a| a.went_on()).count() - before
    };
    let first = used();
    site.server.kill();
    let without = used();
    site.server.restart_empty();
    let end = Instant::now() + BACK;
    let decides = || on_server(&site.server).iter().any(|e| !e.shipped);
    let mut again = 0;
    while !decides() && Instant::now() < end {
        again += used();
    }
    again += used();
    if [first, without, again].iter().any(|n| *n > LIMIT) || first != LIMIT {
        return Err(format!("expected at most {LIMIT} in each store, found {first}, {without} and {again}"));
    }
    Ok(format!(
        "of {LIMIT} allowed: {first} by the server, {without} without it, {again} by the server without its data"
    ))
}

fn breaker() -> Result<String, String> {
    let server = Arc::new(Redis::start(&[]));
    let proxy = Proxy::to(server.port);
    let site = Site::of(server, Some(proxy), crate::site::INTERVAL);
    site.drive(Phase::Before, &["s"], Duration::from_millis(800));
    site.proxy().set(Mode::Silent);
    let (from, began) = (site.proxy().connections(), Instant::now());
    let asks: Vec<Ask> = (0..20)
        .map(|_| {
            thread::sleep(Duration::from_millis(60));
            site.ask(Phase::During, "s")
        })
        .collect();
    let took = began.elapsed();
    let made = site.proxy().connections() - from;
    // The first hook detects the outage; then a probe after 1 s, and twice as long after each. On a busy
    // machine each occurs once more.
    let probes = [1, 3, 7, 15, 25, 35].iter().filter(|at| took >= Duration::from_secs(**at)).count();
    let allowed = 2 * (1 + probes);
    if made as usize > allowed || made == 0 {
        return Err(format!("20 hooks in {took:?} made {made} connections where {allowed} are allowed"));
    }
    let mut times: Vec<Duration> = asks.iter().skip(1).map(Ask::took).collect();
    times.sort();
    let slow = times.iter().filter(|t| **t >= Duration::from_millis(100)).count();
    let middle = times[times.len() / 2];
    // A probe waits for the server, and a machine that is busy with other work stalls one or two more.
    if middle >= Duration::from_millis(100) || slow > probes + 3 {
        return Err(format!("the hooks after the first took {times:?}"));
    }
    // A probe is due: of 8 at once one sends it, and on a busy machine one more.
    thread::sleep(Duration::from_millis(4500));
    let from = site.proxy().connections();
    site.at_once(Phase::During, 8, &["s"], || {});
    let probed = site.proxy().connections() - from;
    if probed > 2 {
        return Err(format!("8 hooks at once made {probed} connections to a server that is known to be away"));
    }
    site.proxy().set(Mode::Pass);
    site.until_back(&["s"])?;
    Ok(format!(
        "{made} connections in {:.1} s; the first took {} ms, the others {} ms (median); 8 at once when a probe was due: \
{probed} connection",
        took.as_secs_f64(),
        asks[0].took().as_millis(),
        middle.as_millis()
    ))
}
