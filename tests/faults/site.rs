//! The site of one row: a server, a proxy before it, a state directory, and every request that was made there.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::Entry;
use crate::server::Redis;
use crate::support::Frosty;
use crate::support::proxy::Proxy;

/// The default minimum interval of a row.
pub const INTERVAL: Duration = Duration::from_millis(600);
/// The time within which a restarted server must decide again: the slowest probe twice, its jitter, and time
/// for the hooks.
pub const BACK: Duration = Duration::from_secs(30);

/// The phase of a row in which a request was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Before,
    During,
    After,
}

/// One hook that requested a continuation.
#[derive(Debug, Clone)]
pub struct Ask {
    pub phase: Phase,
    /// A session of its own, which identifies its journal entry.
    pub session: String,
    pub scope: String,
    pub started: Instant,
    /// When its stdin ended.
    pub fed: Instant,
    pub ended: Instant,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stderr: String,
    /// Whether too many other processes needed the processors at its end for its time to be meaningful.
    pub crowded: bool,
}

/// The number of runnable processes above which the machine is crowded.
const CROWD: u32 = 16;

/// Returns whether the machine is crowded at present.
fn is_crowded() -> bool {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running = text.split_whitespace().nth(3).and_then(|field| field.split('/').next()?.parse::<u32>().ok());
    running.is_some_and(|n| n > CROWD)
}

impl Ask {
    pub fn took(&self) -> Duration {
        self.ended - self.fed
    }

    pub fn went_on(&self) -> bool {
        self.code == Some(2)
    }
}

pub struct Site {
    pub server: Arc<Redis>,
    pub proxy: Option<Proxy>,
    pub frosty: Frosty,
    pub interval: Duration,
    asks: Mutex<Vec<Ask>>,
    count: AtomicU32,
    /// A part of its sessions' names, since several sites may share a server.
    tag: u32,
    /// The duration of each request that ran in a crowd.
    pub crowd: Mutex<Vec<Duration>>,
    /// The entries in the server's journal when it lost its data.
    gone: Mutex<Vec<Entry>>,
    /// Further variables of the hooks from now on, and those that are removed.
    vars: Mutex<Vec<(String, String)>>,
    unset: Mutex<Vec<String>>,
}

/// Returns the policy of the rows: a minimum interval alone, so that the admissions can be counted.
pub fn policy(interval: Duration, budget: &str) -> String {
    let interval = format!("{}ms", interval.as_millis());
    let quotas = serde_json::json!([{"limit": 1000, "per": "1h"}]);
    let stop = serde_json::json!({"min_interval": interval, "burst": null, "quotas": quotas});
    serde_json::json!({"stop": stop, "budget": budget}).to_string()
}

/// Close to the default budget, which is extended on a busy machine.
pub const BUDGET: &str = "240ms";

impl Site {
    /// Returns a site with hooks that reach their server directly.
    pub fn direct(server: Arc<Redis>) -> Self {
        Self::of(server, None, INTERVAL)
    }

    pub fn of(server: Arc<Redis>, proxy: Option<Proxy>, interval: Duration) -> Self {
        Self::with(server, proxy, interval, BUDGET)
    }

    pub fn with(server: Arc<Redis>, proxy: Option<Proxy>, interval: Duration, budget: &str) -> Self {
        Self::configured(server, proxy, interval, &policy(interval, budget))
    }

    /// Returns a site with this configuration, which has this minimum interval.
    pub fn configured(server: Arc<Redis>, proxy: Option<Proxy>, interval: Duration, config: &str) -> Self {
        static TAG: AtomicU32 = AtomicU32::new(0);
        let url = proxy.as_ref().map_or_else(|| server.url(), Proxy::url);
        let frosty = Frosty::bare().config(config).var("FROSTY_STORE", &url);
        let config = frosty.home.path().join(".claude/frosty.json");
        let frosty = frosty.var("FROSTY_CONFIG", config.to_str().unwrap());
        Self {
            server,
            proxy,
            frosty,
            interval,
            asks: Mutex::default(),
            count: AtomicU32::new(0),
            tag: TAG.fetch_add(1, Ordering::SeqCst),
            crowd: Mutex::default(),
            gone: Mutex::default(),
            vars: Mutex::default(),
            unset: Mutex::default(),
        }
    }

    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    /// Runs the hooks with this variable from now on.
    pub fn set_var(&self, name: &str, value: &str) {
        self.vars.lock().unwrap().push((name.to_owned(), value.to_owned()));
    }

    /// Runs the hooks without this variable from now on, or with it again.
    pub fn unset_var(&self, name: &str, unset: bool) {
        let mut all = self.unset.lock().unwrap();
        all.retain(|n| n != name);
        if unset {
            all.push(name.to_owned());
        }
    }

    /// Returns a new session.
    pub fn session(&self, phase: Phase) -> String {
        self.named(phase, self.count.fetch_add(1, Ordering::SeqCst))
    }

    fn named(&self, phase: Phase, number: u32) -> String {
        format!("{phase:?}-{}-{number}", self.tag).to_lowercase()
    }

    /// Returns the sessions of the next requests, if all of them are made in this phase.
    pub fn next_sessions(&self, phase: Phase, count: u32) -> Vec<String> {
        let next = self.count.load(Ordering::SeqCst);
        (next..next + count).map(|n| self.named(phase, n)).collect()
    }

    pub fn command(&self, args: &[&str], scope: &str) -> Command {
        let mut command = self.frosty.command(args);
        command.env("FROSTY_SCOPE", scope).envs(self.vars.lock().unwrap().iter().cloned());
        for name in self.unset.lock().unwrap().iter() {
            command.env_remove(name);
        }
        command
    }

    /// Sends one Stop event of a new session in this scope.
    pub fn ask(&self, phase: Phase, scope: &str) -> Ask {
        let session = self.session(phase);
        self.ask_as(phase, scope, &session, &crate::support::stop(&session))
    }

    pub fn ask_as(&self, phase: Phase, scope: &str, session: &str, payload: &str) -> Ask {
        let ask = run(self.command(&["hook"], scope), phase, scope, session, payload);
        self.asks.lock().unwrap().push(ask.clone());
        ask
    }

    /// Sends this many Stop events at once, in these scopes in turn, and runs `beside` meanwhile.
    pub fn at_once(&self, phase: Phase, count: usize, scopes: &[&str], beside: impl FnOnce() + Send) -> Vec<Ask> {
        thread::scope(|scope| {
            let ask = |i: usize| {
                let name = scopes[i % scopes.len()];
                scope.spawn(move || self.ask(phase, name))
            };
            let all: Vec<_> = (0..count).map(ask).collect();
            scope.spawn(beside);
            let asks: Vec<Ask> = all.into_iter().map(|a| a.join().unwrap()).collect();
            self.crowd.lock().unwrap().extend(asks.iter().map(Ask::took));
            asks
        })
    }

    /// Sends Stop events one after the other, in these scopes in turn, for this long.
    pub fn drive(&self, phase: Phase, scopes: &[&str], lasting: Duration) {
        let end = Instant::now() + lasting;
        for scope in scopes.iter().cycle() {
            self.ask(phase, scope);
            if Instant::now() >= end {
                return;
            }
            thread::sleep(Duration::from_millis(110));
        }
    }

    /// Sends Stop events in these scopes until the condition is met. If it never is, the row's judge reports
    /// it.
    pub fn drive_until(&self, phase: Phase, scopes: &[&str], mut happened: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + BACK;
        while !happened(self) && Instant::now() < end {
            self.drive(phase, scopes, Duration::from_millis(300));
        }
    }

    pub fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap().clone()
    }

    /// Saves the entries of the server's journal before the server loses its data.
    pub fn harvest(&self) {
        let entries = crate::measure::on_server(&self.server);
        self.gone.lock().unwrap().extend(entries);
    }

    pub fn gone(&self) -> Vec<Entry> {
        self.gone.lock().unwrap().clone()
    }

    /// Sends requests until the server decides again and has received every decision of the outage.
    pub fn until_back(&self, scopes: &[&str]) -> Result<(), String> {
        let end = Instant::now() + BACK;
        let own = format!("after-{}-", self.tag);
        loop {
            self.drive(Phase::After, scopes, Duration::from_millis(500));
            let (server, local) = (crate::measure::on_server(&self.server), crate::measure::on_this_machine(self));
            let decides = server.iter().any(|e| e.session.starts_with(&own) && !e.shipped && e.admits());
            let left = local.iter().filter(|e| e.degraded && !server.iter().any(|s| s.session == e.session)).count();
            if decides && left == 0 {
                return Ok(());
            }
            if Instant::now() >= end {
                let after = if decides { "decides" } else { "does not admit" };
                let said: BTreeSet<String> =
                    self.asks().into_iter().filter(|a| a.phase == Phase::After).map(|a| a.stderr).collect();
                return Err(format!(
                    "{BACK:?} after the fault the server {after} and {left} entries are not shipped; the hooks said {said:?}"
                ));
            }
        }
    }
}

/// Runs one hook and measures its times.
pub fn run(mut command: Command, phase: Phase, scope: &str, session: &str, payload: &str) -> Ask {
    let started = Instant::now();
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(payload.as_bytes());
    let fed = Instant::now();
    let output = child.wait_with_output().unwrap();
    Ask {
        phase,
        session: session.to_owned(),
        scope: scope.to_owned(),
        started,
        fed,
        ended: Instant::now(),
        code: output.status.code(),
        signal: output.status.signal(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        crowded: is_crowded(),
    }
}
