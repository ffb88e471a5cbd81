//! Stages a fault: actions before it, during it and after it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redis::cmd;

use crate::kills::{self, Store};
use crate::machine;
use crate::measure::{Facts, admitted, judge};
use crate::rows::{Row, Who};
use crate::server::{Clock, Redis};
use crate::site::{BUDGET, INTERVAL, Phase, Site};
use crate::support::proxy::{Mode, Proxy};

#[derive(Debug, Clone, Copy)]
pub enum Stage {
    Proxy(Mode),
    Killed {
        keeps: bool,
    },
    Frozen,
    ScriptFlush,
    FlushAll,
    MemoryFull,
    Replica,
    /// A list under this key; `*` means every session, `journal` the stream.
    Planted(&'static str),
    PlantedInShipped,
    ServerClock(i64),
    HostClock {
        outage: bool,
        by: i64,
    },
    DiskFull {
        outage: bool,
    },
    ReadOnly {
        outage: bool,
    },
    NoHome {
        outage: bool,
    },
    Leftovers,
    TwoHosts {
        namespace: bool,
    },
    Eight,
    Hundred(Mode),
    HundredInARestart,
    KilledAtEveryStep(Store),
}

impl Stage {
    /// Returns whether no other row may run beside it.
    pub fn alone(self) -> bool {
        matches!(self, Self::Eight | Self::Hundred(_) | Self::HundredInARestart)
    }

    /// Returns whether it takes much longer than others.
    pub fn is_long(self) -> bool {
        matches!(self, Self::KilledAtEveryStep(_) | Self::PlantedInShipped)
    }

    /// Returns whether it mounts or makes namespaces.
    pub fn needs_root(self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::ReadOnly { .. } | Self::TwoHosts { namespace: true })
    }
}

pub const SCOPES: &[&str] = &["a", "b"];
const CROWD: &[&str] = &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

pub fn play(row: &Row) -> Result<Facts, String> {
    match row.stage {
        Stage::Proxy(mode) => {
            let site = proxied(row);
            story(row, &site, || site.proxy().set(mode), || site.proxy().set(Mode::Pass))
        }
        Stage::Killed { keeps } => {
            let server = if keeps { Redis::durable() } else { Redis::start(&[]) };
            let site = Site::direct(Arc::new(server));
            let kill = || {
                if !keeps {
                    site.harvest();
                }
                site.at_once(Phase::During, 8, SCOPES, || {
                    thread::sleep(Duration::from_millis(6));
                    site.server.kill();
                });
            };
            story(row, &site, kill, || if keeps { site.server.restart() } else { site.server.restart_empty() })
        }
        Stage::Frozen => {
            let site = direct();
            story(row, &site, || site.server.signal("STOP"), || site.server.signal("CONT"))
        }
        Stage::ScriptFlush => {
            let site = direct();
            before(&site);
            let mut con = site.server.connection();
            for _ in 0..16 {
                cmd("SCRIPT").arg("FLUSH").query::<()>(&mut con).unwrap();
                site.drive(Phase::During, SCOPES, Duration::ZERO);
                thread::sleep(Duration::from_millis(100));
            }
            after(row, &site)
        }
        Stage::FlushAll => {
            let site = direct();
            let flush = || {
                site.harvest();
                cmd("FLUSHALL").query::<()>(&mut site.server.connection()).unwrap();
            };
            story(row, &site, flush, || {})
        }
        Stage::MemoryFull => {
            let site = direct();
            let most = |bytes: &str| set(&site, "maxmemory", bytes);
            story(row, &site, || most("1"), || most("0"))
        }
        Stage::Replica => {
            let site = direct();
            let of = |host: &str, port: &str| {
                cmd("REPLICAOF").arg(host).arg(port).query::<()>(&mut site.server.connection()).unwrap();
            };
            // No server listens on that port, so this one keeps its data and refuses writes.
            let nobody = crate::support::free_port().to_string();
            story(row, &site, || of("127.0.0.1", &nobody), || of("NO", "ONE"))
        }
        Stage::Planted(key) => planted(row, key),
        Stage::PlantedInShipped => planted_in_shipped(row),
        Stage::ServerClock(by) => {
            let clock = Clock::new();
            let site = Site::direct(Arc::new(Redis::start_with(&[], clock.vars())));
            let step = || {
                clock.step(by);
                let (now, _): (i64, i64) = cmd("TIME").query(&mut site.server.connection()).unwrap();
                let off = now - frosty::clock::host_ms() / 1000;
                assert!((off - by).abs() < 60, "the server's clock is {off} s off");
            };
            story(row, &site, step, || clock.step(0))
        }
        Stage::HostClock { outage, by } => {
            let site = proxied(row);
            let clock = Clock::new();
            clock.vars().iter().for_each(|(name, value)| site.set_var(name, value));
            let begin = || {
                if outage {
                    site.proxy().set(Mode::Refuse);
                    site.drive(Phase::During, SCOPES, Duration::from_millis(800));
                }
                clock.step(by);
            };
            let end = || {
                clock.step(0);
                site.proxy().set(Mode::Pass);
            };
            story(row, &site, begin, end)
        }
        Stage::DiskFull { outage } => machine::disk_full(row, outage),
        Stage::ReadOnly { outage } => machine::read_only(row, outage),
        Stage::NoHome { outage } => {
            let site = proxied(row);
            let home = |there: bool| {
                site.proxy().set(if outage && !there { Mode::Refuse } else { Mode::Pass });
                site.unset_var("HOME", !there);
            };
            story(row, &site, || home(false), || home(true))
        }
        Stage::Leftovers => machine::leftovers(row),
        Stage::TwoHosts { namespace } => machine::two_hosts(row, namespace),
        Stage::Eight => {
            let site = direct();
            before(&site);
            for _ in 0..20 {
                site.at_once(Phase::During, 8, CROWD, || {});
            }
            after(row, &site)
        }
        Stage::Hundred(mode) => {
            let site = proxied(row);
            before(&site);
            site.proxy().set(mode);
            site.at_once(Phase::During, 100, CROWD, || {});
            thread::sleep(INTERVAL + Duration::from_secs(1));
            site.at_once(Phase::During, 100, CROWD, || {});
            site.proxy().set(Mode::Pass);
            after(row, &site)
        }
        Stage::HundredInARestart => {
            let site = Site::direct(Arc::new(Redis::durable()));
            before(&site);
            site.at_once(Phase::During, 100, CROWD, || {
                thread::sleep(Duration::from_millis(60));
                site.server.kill();
                thread::sleep(Duration::from_millis(100));
                site.server.restart();
            });
            site.drive(Phase::During, SCOPES, Duration::from_secs(3));
            after(row, &site)
        }
        Stage::KilledAtEveryStep(store) => kills::at_every_step(row, store),
    }
}

pub fn direct() -> Site {
    Site::direct(Arc::new(Redis::start(&[])))
}

/// Creates a site behind a proxy. Where the server decides, a busy machine gets more time.
pub fn proxied(row: &Row) -> Site {
    let server = Arc::new(Redis::start(&[]));
    let proxy = Proxy::to(server.port);
    let budget = if row.during == Who::Server { "1s" } else { BUDGET };
    Site::with(server, Some(proxy), INTERVAL, budget)
}

pub fn before(site: &Site) {
    site.drive(Phase::Before, SCOPES, Duration::from_millis(700));
    site.drive_until(Phase::Before, SCOPES, |site| admitted(site, Phase::Before, true) > 0);
    admitted_just_now(site, Phase::Before);
}

/// Sends requests until the minimum interval is over, so that the next event finds a store that has just
/// admitted.
fn admitted_just_now(site: &Site, phase: Phase) {
    thread::sleep(site.interval);
    SCOPES.iter().for_each(|scope| drop(site.ask(phase, scope)));
}

/// Runs long enough for the minimum interval at the beginning of a failover, and for admissions after it.
pub fn during(row: &Row, site: &Site) {
    site.drive(Phase::During, SCOPES, Duration::from_millis(1500));
    site.at_once(Phase::During, 8, &["a", "b", "c"], || {});
    site.drive(Phase::During, SCOPES, Duration::from_millis(1000));
    if !matches!(row.during, Who::Nobody | Who::Files) {
        let by_the_server = row.during == Who::Server;
        site.drive_until(Phase::During, SCOPES, |site| admitted(site, Phase::During, by_the_server) > 0);
    }
    admitted_just_now(site, Phase::During);
}

pub fn after(row: &Row, site: &Site) -> Result<Facts, String> {
    site.until_back(SCOPES)?;
    site.drive(Phase::After, SCOPES, Duration::from_millis(900));
    judge(site, row)
}

pub fn story(row: &Row, site: &Site, begin: impl FnOnce(), end: impl FnOnce()) -> Result<Facts, String> {
    before(site);
    begin();
    during(row, site);
    end();
    after(row, site)
}

fn set(site: &Site, name: &str, value: &str) {
    cmd("CONFIG").arg("SET").arg(name).arg(value).query::<()>(&mut site.server.connection()).unwrap();
}

fn key(of: &str) -> String {
    format!("frosty:{{default}}:{of}")
}

/// Plants a list in place of one of Frosty's keys, and restores the original value afterwards.
fn planted(row: &Row, of: &str) -> Result<Facts, String> {
    let site = direct();
    let keys = match of {
        "journal" => vec!["torch.continuous.ops".to_owned()],
        of if of.contains('*') => {
            // The sessions of the first phase are known by now.
            before(&site);
            let sessions = site.next_sessions(Phase::During, 100);
            sessions.iter().map(|s| key(&of.replace('*', s))).collect()
        }
        of => vec![key(of)],
    };
    let mut con = site.server.connection();
    let aside = |key: &String| format!("aside:{key}");
    let plant = |con: &mut redis::Connection| {
        for key in &keys {
            let _: redis::RedisResult<()> = cmd("RENAME").arg(key).arg(aside(key)).query(con);
            cmd("LPUSH").arg(key).arg("of another type").query::<()>(con).unwrap();
        }
    };
    let put_back = |con: &mut redis::Connection| {
        for key in &keys {
            cmd("DEL").arg(key).query::<()>(con).unwrap();
            let _: redis::RedisResult<()> = cmd("RENAME").arg(aside(key)).arg(key).query(con);
        }
    };
    if !of.contains('*') {
        before(&site);
    }
    plant(&mut con);
    during(row, &site);
    put_back(&mut con);
    after(row, &site)
}

/// The server's record of shipped entries exists only after the first shipment, so an outage comes first.
fn planted_in_shipped(row: &Row) -> Result<Facts, String> {
    let site = proxied(row);
    before(&site);
    site.proxy().set(Mode::Refuse);
    site.drive(Phase::During, SCOPES, Duration::from_millis(2000));
    site.proxy().set(Mode::Pass);
    site.until_back(SCOPES)?;
    let mut con = site.server.connection();
    let keys: Vec<String> = cmd("KEYS").arg(key("shipped:*")).query(&mut con).unwrap();
    let [shipped] = keys.as_slice() else {
        return Err(format!("expected one key of what was shipped, found {keys:?}"));
    };
    let aside = format!("aside:{shipped}");
    cmd("RENAME").arg(shipped).arg(&aside).query::<()>(&mut con).unwrap();
    cmd("SET").arg(shipped).arg("of another type").query::<()>(&mut con).unwrap();
    site.proxy().set(Mode::Refuse);
    during(row, &site);
    site.proxy().set(Mode::Pass);
    // The hooks get their verdicts from the server all the same.
    let end = Instant::now() + crate::site::BACK;
    let heard = |site: &Site| {
        let all = crate::measure::on_server(&site.server);
        let last: Vec<String> = site.asks().iter().rev().take(4).map(|a| a.session.clone()).collect();
        all.iter().any(|e| !e.shipped && e.admits() && last.contains(&e.session))
    };
    while !heard(&site) {
        site.drive(Phase::After, SCOPES, Duration::from_millis(400));
        if Instant::now() >= end {
            return Err("the server is there and admits nobody while the key is of another type".to_owned());
        }
    }
    cmd("DEL").arg(shipped).query::<()>(&mut con).unwrap();
    cmd("RENAME").arg(&aside).arg(shipped).query::<()>(&mut con).unwrap();
    after(row, &site)
}

/// Creates a second host with the same server.
pub fn another_host(server: &Arc<Redis>) -> Site {
    Site::of(Arc::clone(server), Some(Proxy::to(server.port)), INTERVAL)
}
