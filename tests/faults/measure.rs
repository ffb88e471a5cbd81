//! Judges the requests of a row by the policy, by the journals and by the clock.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::rows::{Loss, Row, Who};
use crate::server::Redis;
use crate::site::{Ask, Phase, Site};
use crate::stage::Stage;

/// The longest time of a hook from stdin's end to its exit, with 8 at once.
pub const LONGEST: Duration = Duration::from_secs(1);
/// The time in a server's entry is the time of its writing, a moment after the time of its decision.
const WRITTEN_LATER: i64 = 20;

/// One verdict on a Stop event, as a journal contains it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The step's own id, where the journal contains it.
    pub id: String,
    pub session: String,
    pub scope: String,
    pub verdict: String,
    pub reason: String,
    pub store: String,
    /// Whether the embedded store decided in a failover.
    pub degraded: bool,
    /// Whether it was shipped to the server later.
    pub shipped: bool,
    /// The time of the decision.
    pub ms: i64,
}

impl Entry {
    pub fn admits(&self) -> bool {
        self.verdict == "admit"
    }
}

/// Returns the verdicts in the server's journal.
pub fn on_server(server: &Redis) -> Vec<Entry> {
    if !server.is_up() {
        return Vec::new();
    }
    let answer = redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut server.connection());
    // A value of another type in its place contains no entries.
    let all: Vec<(String, HashMap<String, String>)> = answer.unwrap_or_default();
    let entry = |(id, fields): (String, HashMap<String, String>)| {
        let text = |name: &str| fields.get(name).cloned().unwrap_or_default();
        let written = id.split('-').next().unwrap().parse().unwrap();
        Entry {
            id: text("id"),
            session: text("session"),
            scope: text("scope"),
            verdict: text("verdict"),
            reason: text("reason"),
            store: text("store"),
            degraded: text("degraded") == "1",
            shipped: fields.contains_key("ms"),
            ms: fields.get("ms").map_or(written, |ms| ms.parse().unwrap()),
        }
    };
    all.into_iter().filter(|(_, f)| f.get("event").is_some_and(|e| e == "Stop")).map(entry).collect()
}

/// Returns the verdicts in the local journal, and those that were written but not journaled yet.
pub fn on_this_machine(site: &Site) -> Vec<Entry> {
    let dir = site.frosty.state().join("default");
    let mut lines: Vec<String> = Vec::new();
    for file in ["journal.1.jsonl", "journal.jsonl"] {
        let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.iter().filter_map(|line| local(line)).collect()
}

fn local(line: &str) -> Option<Entry> {
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let degraded = value["degraded"] == 1 || value["degraded"] == "1";
    (text("event") == "Stop").then(|| Entry {
        id: text("id"),
        session: text("session"),
        scope: text("scope"),
        verdict: text("verdict"),
        reason: text("reason"),
        store: text("store"),
        degraded,
        shipped: false,
        ms: value["ms"].as_i64().unwrap_or_default(),
    })
}

/// The figures of the table.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub codes: BTreeMap<i32, usize>,
    pub slowest: Duration,
    /// The median and the slowest hundredth, where enough ran at once to be meaningful.
    pub percentiles: Option<(Duration, Duration)>,
    pub admitted: usize,
    pub allowed: usize,
    pub lost: usize,
    pub doubled: usize,
    /// Decisions of a server that were made once more because the answer never arrived.
    pub unheard: usize,
    /// The number of decisions by each store.
    pub deciders: BTreeMap<String, usize>,
    /// Further facts.
    pub note: String,
}

/// Compares the observed behaviour with the permitted one.
pub fn judge(site: &Site, row: &Row) -> Result<Facts, String> {
    let asks = site.asks();
    let mut server: Vec<Entry> = on_server(&site.server);
    // Another machine's sessions are judged there.
    let own: HashSet<&String> = asks.iter().map(|a| &a.session).collect();
    server.retain(|e| own.contains(&e.session));
    let (local, gone) = (on_this_machine(site), site.gone());
    let mut facts = Facts::default();
    let mut wrong: Vec<String> = Vec::new();
    let mut told: Vec<Entry> = Vec::new();

    for ask in &asks {
        match ask.code {
            Some(code @ (0 | 2)) => *facts.codes.entry(code).or_default() += 1,
            other => {
                wrong.push(format!("{} ended with {other:?}, signal {:?}: {}", ask.session, ask.signal, ask.stderr))
            }
        }
        facts.slowest = facts.slowest.max(ask.took());
        let of = |all: &[Entry]| -> Vec<Entry> { all.iter().filter(|e| e.session == ask.session).cloned().collect() };
        let (s, l, g) = (of(&server), of(&local), of(&gone));
        let (shipped, own): (Vec<_>, Vec<_>) = s.iter().cloned().partition(|e| e.shipped);
        let once = [own.len(), shipped.len(), l.len()].into_iter().all(|n| n <= 1);
        if !once {
            facts.doubled += 1;
            wrong.push(format!("{} is journaled twice: {s:?} {l:?}", ask.session));
        }
        if let Some(stray) = l.iter().find(|e| site_has_server(row) && e.store == "embedded" && !e.degraded) {
            wrong.push(format!("an entry of the stand-in is not marked degraded: {stray:?}"));
        }
        let heard = l.iter().chain(&shipped).chain(&own).chain(&g).next();
        match heard {
            Some(entry) => {
                *facts.deciders.entry(entry.store.clone()).or_default() += 1;
                if entry.admits() && ask.went_on() {
                    told.push(entry.clone());
                }
            }
            None => *facts.deciders.entry("not journaled".to_owned()).or_default() += 1,
        }
        let by_the_stand_in = !l.is_empty() || !shipped.is_empty();
        if by_the_stand_in && !own.is_empty() {
            facts.unheard += 1;
        }
        if s.is_empty() && l.is_empty() {
            facts.lost += 1;
            let explained = match row.lost {
                Loss::None => false,
                // The entries in its journal, or its last answer.
                Loss::WithTheServersData => !g.is_empty() || (ask.phase == Phase::During && by_the_server(ask)),
                Loss::NoStoreCouldHoldIt => ask.phase == Phase::During && !ask.went_on(),
            };
            let explained = explained || (ask.crowded && ask.code == Some(0) && ask.stderr.contains("store_down"));
            if !explained {
                wrong.push(format!("{} is in no journal; it said: {}", ask.session, ask.stderr.trim()));
            }
        }
        let admits = s.iter().chain(&l).chain(&g).any(Entry::admits);
        let died_with_it = row.lost == Loss::WithTheServersData && s.is_empty() && l.is_empty() && by_the_server(ask);
        if ask.went_on() && !admits && !died_with_it {
            wrong.push(format!("{} was told to go on and no journal admits it: {s:?} {l:?}", ask.session));
        }
    }
    facts.admitted = asks.iter().filter(|a| a.went_on()).count();
    facts.allowed = allowed(site, &asks);
    let mut crowd = site.crowd.lock().unwrap().clone();
    crowd.sort();
    facts.percentiles = (crowd.len() >= 100).then(|| (crowd[crowd.len() / 2], crowd[crowd.len() * 99 / 100]));
    if row.steps == 0 {
        wrong.extend(too_close(site, &asks));
        wrong.extend(decided_too_close(site, told));
    } else if facts.admitted > facts.allowed + row.steps * scopes(&asks).len() {
        wrong.push(format!("{} admitted where {} are allowed", facts.admitted, facts.allowed));
    }
    let slow = |a: &&Ask| !row.crowd && !a.crowded && a.took() > LONGEST;
    wrong.extend(asks.iter().filter(slow).map(|a| format!("took longer than {LONGEST:?}: {a:?}")));
    wrong.extend(who(row, &asks, &server, &local, &gone));
    if wrong.is_empty() { Ok(facts) } else { Err(wrong.join("\n    ")) }
}

fn site_has_server(row: &Row) -> bool {
    row.during != Who::Files
}

fn scopes(asks: &[Ask]) -> Vec<String> {
    let mut all: Vec<String> = asks.iter().map(|a| a.scope.clone()).collect();
    all.sort();
    all.dedup();
    all
}

/// Returns how many admissions fit between the first request of each scope and its last.
fn allowed(site: &Site, asks: &[Ask]) -> usize {
    let of = |scope: &String| {
        let own = asks.iter().filter(|a| a.scope == *scope);
        let from = own.clone().map(|a| a.started).min().unwrap();
        let to = own.map(|a| a.ended).max().unwrap();
        usize::try_from((to - from).as_millis() / site.interval.as_millis()).unwrap() + 1
    };
    scopes(asks).iter().map(of).sum()
}

/// Finds continuations that are too close by the test's clock, which no fault changes. Each was decided between
/// the start and the end of its request.
fn too_close(site: &Site, asks: &[Ask]) -> Vec<String> {
    let mut wrong = Vec::new();
    for scope in scopes(asks) {
        let mut own: Vec<&Ask> = asks.iter().filter(|a| a.scope == scope && a.went_on()).collect();
        own.sort_by_key(|a| a.ended);
        for pair in own.windows(2) {
            if pair[1].ended.saturating_duration_since(pair[0].started) < site.interval {
                wrong.push(format!("{} and {} went on too close: {pair:?}", pair[0].session, pair[1].session));
            }
        }
    }
    wrong
}

/// Finds admissions of a scope that are closer than the minimum interval by the times of the stores, over both
/// stores together. Only admissions that reached a hook count. The server may make one for a hook that no
/// longer waits for the answer, and it is discarded and starts no turn.
fn decided_too_close(site: &Site, mut told: Vec<Entry>) -> Vec<String> {
    told.sort_by_key(|e| (e.scope.clone(), e.ms));
    let interval = i64::try_from(site.interval.as_millis()).unwrap();
    let close = |pair: &&[Entry]| pair[0].scope == pair[1].scope && pair[1].ms - pair[0].ms < interval - WRITTEN_LATER;
    told.windows(2).filter(close).map(|pair| format!("admitted too close: {:?} and {:?}", pair[0], pair[1])).collect()
}

/// Returns whether the output of a hook shows no failover.
fn by_the_server(ask: &Ask) -> bool {
    !ask.stderr.contains("degraded") && !ask.stderr.contains("store_down")
}

/// Returns how many continuations of a phase were admitted by the server, or else by the embedded store. The
/// server may not be able to show the latter just then.
pub fn admitted(site: &Site, phase: Phase, by_the_server: bool) -> usize {
    let went_on = |session: &str| site.asks().iter().any(|a| a.session == session && a.phase == phase && a.went_on());
    let mut entries = if by_the_server { on_server(&site.server) } else { Vec::new() };
    // Where the server's journal cannot be written, its decisions are in the local one.
    entries.extend(on_this_machine(site).into_iter().filter(|e| (e.store == "dragonfly") == by_the_server));
    entries.iter().filter(|e| !e.shipped && e.admits() && went_on(&e.session)).count()
}

/// Checks that the right store decided, and that no session remained without an answer.
fn who(row: &Row, asks: &[Ask], server: &[Entry], local: &[Entry], gone: &[Entry]) -> Vec<String> {
    let mut wrong = Vec::new();
    let own = |e: &&Entry| !e.shipped;
    let found = |phase: &str, store: &str, admits: bool| {
        let all = server.iter().filter(own).chain(local).chain(gone.iter().filter(own));
        all.filter(|e| e.session.starts_with(phase) && e.store == store && (!admits || e.admits())).count()
    };
    let went_on = |phase| asks.iter().filter(|a| a.phase == phase && a.went_on()).count();
    let mut expect = |what: bool, say: &str| {
        if !what {
            wrong.push(say.to_owned());
        }
    };
    if row.during == Who::Files {
        return wrong;
    }
    if let Stage::KilledAtEveryStep(_) = row.stage {
        // The kills report this themselves.
        return wrong;
    }
    expect(found("before", "dragonfly", true) > 0, "the server admitted nobody before the fault");
    match row.during {
        Who::Server => expect(found("during", "dragonfly", true) > 0, "the server admitted nobody"),
        Who::Embedded => {
            expect(found("during", "embedded", true) > 0, "the embedded store admitted nobody during the fault");
            expect(went_on(Phase::During) > 0, "nobody was told to go on during the fault");
        }
        Who::Split => {
            let decided = |scope: &str, store: &str| {
                let all = server.iter().filter(own).chain(local).filter(|e| e.session.starts_with("during"));
                all.filter(|e| e.scope == scope && e.store == store).count()
            };
            expect(decided("a", "embedded") > 0, "the embedded store decided nothing in that scope");
            expect(decided("b", "embedded") == 0, "the embedded store decided in another scope");
            expect(found("during", "embedded", true) > 0, "the embedded store admitted nobody during the fault");
        }
        Who::Either => expect(went_on(Phase::During) > 0, "nobody was told to go on during the fault"),
        Who::Nobody => expect(went_on(Phase::During) == 0, "somebody went on where no store could decide"),
        Who::Files => {}
    }
    expect(went_on(Phase::After) > 0, "nobody went on after the fault");
    expect(found("after", "dragonfly", true) > 0, "the server admitted nobody after the fault");
    wrong
}
