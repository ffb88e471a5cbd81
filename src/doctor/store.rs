//! Checks whether the store answers, and meets the requirements of a store that decides.

use std::time::Duration;

use super::report::{Check, State};
use super::server::{Scripts, ServerFacts, ask};
use super::{acl, engines, network};
use crate::config::{Config, Server};
use crate::duration;
use crate::env::Env;
use crate::policy::limits::Ms;
use crate::store::server::keys::Keys;
use crate::store::{self, StoreError};
use crate::text;

const STORE: &str = "store";
const STAND_IN: &str = "stand-in";
const SCRIPT: &str = "script";
const CLOCK: &str = "clock";
const CONNECTIONS: &str = "connections";
const MEMORY: &str = "memory";
const DISK: &str = "persistence";

/// The number of connections that should be free: each hook and command opens one for a moment.
const MARGIN: u64 = 64;

/// The oldest protocol and scripting version that the scripts need.
const OLDEST: (u32, u32) = (6, 2);
/// A clock that differs by more begins or ends windows at unexpected times.
const SKEW: Ms = 1000;

/// Checks the store.
pub(super) fn checks(config: &Config, env: &Env) -> Vec<Check> {
    let Some((server, optional)) = store::server(config) else { return vec![files(config, "as chosen")] };
    match ask(config, server) {
        Ok(told) => of_server(&told, server, config, env),
        Err(StoreError::NoListener { at }) if optional && !store::ever_reached(config) => {
            vec![files(config, &format!("no server answers at {at}, nor ever did"))]
        }
        Err(e) => std::iter::once(Check::of_error(STORE, State::Fail, &e)).chain(take_over_scope(config, &e)).collect(),
    }
}

/// Reports which store decides while the server cannot.
fn take_over_scope(config: &Config, why: &StoreError) -> Option<Check> {
    if why.is_full() {
        return None;
    }
    let files = text::path(&config.state.as_ref()?.join(&config.fleet));
    Some(Check::note(STAND_IN, format!("the embedded store decides for this machine meanwhile, in {files}")))
}

fn files(config: &Config, why: &str) -> Check {
    match &config.state {
        Some(state) => {
            let found = format!("plain files in {} ({why}); for one machine", text::path(&state.join(&config.fleet)));
            Check::ok(STORE, found)
        }
        None => Check::of_error(STORE, State::Fail, &StoreError::NoStateFolder),
    }
}

fn of_server(told: &ServerFacts, server: &Server, config: &Config, env: &Env) -> Vec<Check> {
    let mut checks = vec![reached(told, server.tls, config)];
    checks.extend(told.refuses.as_ref().and_then(|why| take_over_scope(config, why)));
    checks.extend(acl::rights(told, server, config));
    checks.extend(told.cut.is_none().then(|| script(told)));
    checks.extend(clock(told));
    checks.extend(told.cut.is_none().then(|| connections(told, engines::waiting(config))));
    checks.extend(old_data(told, config));
    checks.extend(memory(told, server));
    checks.extend(persistence(told));
    checks.push(network::open(told, server));
    checks.extend(network::threads(told, server, config, &super::edit_own(env)));
    checks
}

/// Reports the server's kind, its latency, and whether it accepts writes.
fn reached(told: &ServerFacts, tls: bool, config: &Config) -> Check {
    let at = &told.at;
    let who = match (told.dragonfly(), told.info("redis_version")) {
        (Some(version), _) => format!("Dragonfly {}", text::line(version)),
        (None, Some(version)) => format!("Redis {}", text::line(version)),
        (None, None) => "a server that does not show this user its version".to_owned(),
    };
    let found = format!("{at}: {who}, answers in {}", fine(told.latency));
    if told.dragonfly().is_none() && told.info("redis_version").and_then(version).is_some_and(|v| v < OLDEST) {
        return Check::fail(
            STORE,
            format!("{found}; expected 6.2 or newer"),
            "export FROSTY_STORE=redis://<a server of 6.2 or newer>",
        );
    }
    let replica = told.info("role").is_some_and(|role| role != "master");
    if replica && told.info("slave_read_only") != Some("0") {
        let primary = told.info("master_host").zip(told.info("master_port"));
        // A server can report any text as its primary.
        let primary = primary.map_or_else(|| "<primary>:<port>".to_owned(), |(h, p)| text::word(&format!("{h}:{p}")));
        let found = format!("{found}; it is a replica, and refuses writes");
        return Check::fail(STORE, found, format!("export FROSTY_STORE=redis://{primary}"));
    }
    if let Some(why) = &told.refuses {
        return Check::of_error(STORE, State::Fail, why);
    }
    if told.info("loading") == Some("1") {
        let cure = format!("redis-cli -u {at} INFO persistence");
        return Check::warn(STORE, format!("{found}; it is still loading its data (loading:1)"), cure);
    }
    if let Some(why) = &told.cut {
        return Check::of_error(STORE, State::Fail, why);
    }
    if let Some(why) = &told.unwritable {
        return Check::of_error(STORE, State::Fail, why);
    }
    // Round trips to connect, to load and to commit, and one for a TLS handshake.
    let trips = if tls { 4 } else { 3 };
    let (takes, most) = (told.latency * trips, config.budget * 3 / 4);
    if takes > most {
        let found = format!(
            "{found}; a verdict takes {trips} round trips, {}, and the server has {} of the budget: this machine's files decide instead",
            fine(takes),
            fine(most)
        );
        return Check::warn(STORE, found, format!("redis-cli -u {at} --latency"));
    }
    Check::ok(STORE, found)
}

/// Reports data of the format before documents. Its scopes and sessions expire by themselves.
fn old_data(told: &ServerFacts, config: &Config) -> Option<Check> {
    let (at, fleet) = (&told.at, &config.fleet);
    let found =
        format!("data of an earlier format of fleet {fleet}, which nothing reads: a hold in it is not in force");
    let cure = format!("redis-cli -u {at} DEL {}", text::word(&Keys::of(fleet).before_documents()));
    told.has_old_data.then(|| Check::warn(STORE, found, cure))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Rounds to a hundredth of a millisecond.
fn fine(latency: Duration) -> String {
    format!("{:.2} ms", latency.as_secs_f64() * 1000.0)
}

fn script(told: &ServerFacts) -> Check {
    match &told.scripts {
        Scripts::Cached => Check::ok(SCRIPT, "in the server's cache, under the expected digest"),
        Scripts::Loaded => Check::ok(SCRIPT, "the server accepts it, under the expected digest"),
        Scripts::Unknown => Check::ok(SCRIPT, "not checked: the user may not, and need not (the first stop loads it)"),
        Scripts::Misnamed(name) => Check::fail(
            SCRIPT,
            format!("the server names the script \"{}\", not by its SHA-1", text::line(name)),
            format!("redis-cli -u {} INFO server", told.at),
        ),
        Scripts::Refused(said) => Check::fail(
            SCRIPT,
            format!("the server refuses the script: \"{}\"", text::line(said)),
            format!("redis-cli -u {} INFO server", told.at),
        ),
    }
}

fn clock(told: &ServerFacts) -> Option<Check> {
    let ahead = told.ahead?;
    let off = Duration::from_millis(ahead.unsigned_abs());
    let which = if ahead < 0 { "behind" } else { "ahead of" };
    Some(if ahead.abs() > SKEW {
        let found = format!(
            "the server's clock, which decides, is {} {which} this machine's: set the one that is wrong",
            duration::about(off)
        );
        Check::warn(CLOCK, found, "sudo timedatectl set-ntp true")
    } else {
        Check::ok(CLOCK, format!("the server's clock is within a second of this machine's ({})", duration::show(off)))
    })
}

/// Checks whether the server allows as many connections as the fleet needs: one for each waiting engine.
fn connections(told: &ServerFacts, waiting: Option<usize>) -> Check {
    let whole = |text: &str| text.parse::<u64>().ok();
    let most = told.setting("maxclients").or_else(|| told.info("maxclients")).or_else(|| told.info("max_clients"));
    let open = told.info("connected_clients").and_then(whole);
    let waiting = waiting.map(|engines| u64::try_from(engines).unwrap_or(u64::MAX));
    let shown = |figure: Option<u64>| figure.map_or_else(|| "unknown".to_owned(), |figure| figure.to_string());
    let now = format!("open now: {}; engines that wait: {}", shown(open), shown(waiting));
    let Some(most) = most.and_then(whole) else {
        return Check::note(CONNECTIONS, format!("the server's limit is unknown: the user may not read it; {now}"));
    };
    // Engines without a connection wait, too.
    let need = open.max(waiting).unwrap_or(0).saturating_add(MARGIN);
    let found = format!("the server allows {most}; {now}");
    if need <= most {
        return Check::ok(CONNECTIONS, found);
    }
    let found = format!("{found}; with {MARGIN} for hooks and commands it needs {need}");
    Check::warn(
        CONNECTIONS,
        found,
        format!("redis-cli -u {} CONFIG SET maxclients {}", told.at, need.saturating_mul(2)),
    )
}

/// Checks whether the server evicts state when its memory is full.
fn memory(told: &ServerFacts, server: &Server) -> Option<Check> {
    let Some(policy) = told.info("maxmemory_policy") else {
        let unknown =
            "whether it evicts keys when it is full is not known: the user may not read it (INFO), and need not";
        return (told.info.is_none() && told.cut.is_none()).then(|| Check::note(MEMORY, unknown));
    };
    let cache = told.info("cache_mode") == Some("cache");
    let limited = told.info("maxmemory").is_some_and(|most| most != "0");
    if told.dragonfly().is_some() {
        return Some(if cache || policy == "eviction" {
            let found = "a cache: it evicts keys when its memory is full, and with them limits and holds";
            Check::warn(MEMORY, found, format!("dragonfly --cache_mode=false --port {}", server.port))
        } else {
            Check::ok(MEMORY, "full memory loses no key")
        });
    }
    Some(if policy != "noeviction" && limited {
        let found = format!(
            "maxmemory-policy {}: it evicts keys when its memory is full, and with them limits and holds",
            text::line(policy)
        );
        Check::warn(MEMORY, found, format!("redis-cli -u {} CONFIG SET maxmemory-policy noeviction", told.at))
    } else {
        Check::ok(MEMORY, "full memory loses no key")
    })
}

/// Checks whether the server loses its data at a restart.
fn persistence(told: &ServerFacts) -> Option<Check> {
    let (save, appendonly) = (told.setting("save")?, told.setting("appendonly").unwrap_or("no"));
    if save.is_empty() && appendonly != "yes" {
        let found = "off: a restart of the server loses quotas and rests, and all that no machine's files mirror";
        let cure = format!("redis-cli -u {} CONFIG SET appendonly yes", told.at);
        return Some(Check::note(DISK, found).cured_by(cure));
    }
    Some(Check::ok(DISK, "a restart of the server keeps its data"))
}
