//! `kill -9` of frosty before every system call of a request, by strace.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::measure::{Entry, Facts, judge, on_server, on_this_machine};
use crate::rows::Row;
use crate::server::Redis;
use crate::site::{Ask, Phase, Site, run};
use crate::support::proxy::{Mode, Proxy};
use crate::support::stop;

/// The store that decides the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Server,
    Files,
    /// The embedded store, which takes the scope over with this request.
    TakesOver,
    /// The embedded store, which took the scope over some time before.
    StandIn,
    /// The server again, which receives the decisions of the outage.
    GoesHome,
}

/// Long enough that the request after a kill is within the minimum interval of the killed one.
const INTERVAL: Duration = Duration::from_secs(5);

struct Killed {
    before: String,
    ask: Ask,
    next: Ask,
}

/// Prepares a scope for a kill in this store.
fn prepare(site: &Site, store: Store, scope: &str) {
    match store {
        Store::GoesHome => {
            site.proxy().set(Mode::Refuse);
            site.ask(Phase::During, scope);
            site.proxy().set(Mode::Pass);
            close_breaker(site);
        }
        Store::StandIn => {
            site.ask(Phase::During, scope);
        }
        Store::Server | Store::Files | Store::TakesOver => {}
    }
}

/// Closes the breaker as if its time were over. Waiting for it before each kill would take minutes.
fn close_breaker(site: &Site) {
    let path = site.frosty.state().join("default/server.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return };
    let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
    record.as_object_mut().unwrap().remove("breaker");
    std::fs::write(&path, record.to_string()).unwrap();
}

pub fn at_every_step(row: &Row, store: Store) -> Result<Facts, String> {
    let server = Arc::new(Redis::start(&[]));
    let proxy = Proxy::to(server.port);
    // With a budget of a second, so that a stalled machine does not make an answer late.
    let site = Site::with(server, Some(proxy), INTERVAL, "1s");
    if store == Store::Files {
        site.set_var("FROSTY_STORE", "embedded");
    }
    site.ask(Phase::Before, "before");
    if matches!(store, Store::TakesOver | Store::StandIn) {
        site.proxy().set(Mode::Refuse);
        site.ask(Phase::During, "before");
    }
    let steps = steps_of_an_ask(&site, store)?;
    let kills: Vec<(String, u32)> =
        steps.into_iter().flat_map(|(step, count)| (1..=count).map(move |nth| (step.clone(), nth))).collect();
    if store == Store::StandIn {
        kills.iter().for_each(|(step, nth)| prepare(&site, store, &format!("{step}-{nth}")));
        // The refusals at the beginning of a failover are over.
        std::thread::sleep(INTERVAL + Duration::from_millis(1500));
    }
    let all: Vec<Killed> = kills.iter().map(|(step, nth)| kill_at(&site, store, step, *nth)).collect();
    site.proxy().set(Mode::Pass);
    if store != Store::Files {
        site.until_back(&["after"])?;
    }
    let (on_server, local) = (on_server(&site.server), on_this_machine(&site));
    // By session, since the local journal also contains the shipped entries.
    let of = |session: &str| -> Vec<&Entry> {
        let server = on_server.iter().filter(|e| !e.shipped);
        server.chain(&local).filter(|e| e.session == session).collect()
    };
    let mut wrong = Vec::new();
    let (mut committed, mut nothing, mut spared) = (0, 0, 0);
    for Killed { before, ask, next } in &all {
        let (killed, then) = (of(&ask.session), of(&next.session));
        let mut say = |what: &str| wrong.push(format!("killed before {before}: {what}: {killed:?}, then {then:?}"));
        match killed.len() {
            0 => nothing += 1,
            1 => committed += 1,
            _ => say("journaled twice"),
        }
        // A request may need one or two system calls less than the first one.
        spared += usize::from(ask.signal != Some(9));
        if then.len() != 1 {
            say(&format!("the next ask is not journaled once; it said {:?} {:?}", next.code, next.stderr));
        }
        let admits = |entries: &[&Entry]| entries.iter().any(|e| e.admits());
        match (admits(&killed), admits(&then)) {
            (true, true) => say("the next ask went on past the guard"),
            // A failover or failback begins a minimum interval.
            (false, false) if !matches!(store, Store::TakesOver | Store::GoesHome) => {
                say("nothing was admitted, and the next ask is refused");
            }
            _ => {}
        }
    }
    if spared * 10 > all.len() {
        wrong.push(format!("{spared} of {} were not killed", all.len()));
    }
    if committed == 0 || nothing == 0 {
        wrong.push(format!("{committed} were committed and {nothing} not: the kills do not reach both sides"));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n    "));
    }
    let mut facts = judge(&site, row)?;
    facts.note = format!("{} kills, {committed} of them after the commit", all.len() - spared);
    Ok(facts)
}

fn strace(site: &Site, options: &[&str], scope: &str, (session, payload): (&str, &str)) -> Ask {
    let frosty = Path::new(env!("CARGO_BIN_EXE_frosty"));
    let usual = site.command(&[], scope);
    let mut command = site.frosty.command_of(Path::new("strace"), options);
    command.args(["-f", "-qq"]).arg(frosty).arg("hook");
    for (name, value) in usual.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    run(command, Phase::During, scope, session, payload)
}

/// Does the same as [`steps`] for a Stop event of a new session.
fn steps_of_an_ask(site: &Site, store: Store) -> Result<BTreeMap<String, u32>, String> {
    prepare(site, store, "steps");
    let session = site.session(Phase::During);
    steps(site, "steps", (&session, &stop(&session)))
}

/// Returns every system call of a hook after the end of its stdin, and the number of its calls in the process
/// up to its end.
pub fn steps(site: &Site, scope: &str, sent: (&str, &str)) -> Result<BTreeMap<String, u32>, String> {
    let log = site.frosty.home.path().join("steps");
    let ask = strace(site, &["-o", log.to_str().unwrap()], scope, sent);
    if ask.code.is_none() {
        return Err(format!("expected an ask under strace to end, found {ask:?}"));
    }
    let text = std::fs::read_to_string(&log).unwrap();
    // "<pid> name(…"
    let names = text.lines().filter_map(|l| l.split_whitespace().nth(1)?.split_once('(')).map(|(name, _)| name);
    let mut steps = BTreeMap::new();
    for name in names {
        *steps.entry(name.to_owned()).or_default() += 1;
    }
    // Calls of the loader and the allocator alone, and calls that never return.
    for name in [
        "execve",
        "brk",
        "mmap",
        "mprotect",
        "munmap",
        "arch_prctl",
        "pread64",
        "exit_group",
        "rt_sigaction",
        "sigaltstack",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "access",
        "getrandom",
        "sched_getaffinity",
    ] {
        steps.remove(name);
    }
    Ok(steps)
}

/// Kills a hook before the nth time that it makes this call.
pub fn killed(site: &Site, (step, nth): (&str, u32), scope: &str, sent: (&str, &str)) -> Ask {
    let (trace, inject) = (format!("trace={step}"), format!("inject={step}:signal=SIGKILL:when={nth}"));
    let output = site.frosty.home.path().join("killed");
    strace(site, &["-o", output.to_str().unwrap(), "-e", &trace, "-e", &inject], scope, sent)
}

/// Kills a request before the nth time that it makes this call, and sends another one in the same scope.
fn kill_at(site: &Site, store: Store, step: &str, nth: u32) -> Killed {
    let scope = format!("{step}-{nth}");
    if store == Store::GoesHome {
        prepare(site, store, &scope);
    }
    let session = site.session(Phase::During);
    let ask = killed(site, (step, nth), &scope, (&session, &stop(&session)));
    if store == Store::GoesHome {
        close_breaker(site);
    }
    let next = site.ask(Phase::During, &scope);
    Killed { before: format!("{step} #{nth}"), ask, next }
}
