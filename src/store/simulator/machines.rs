//! The properties of machines: of their own journals, and of the data that moves between the stores.

use std::collections::BTreeMap;
use std::fs;

use super::oracle::{holds, limits, once, steps, told};
use super::plan::{self, Stores};
use super::restraints;
use super::server::Entry;
use super::story::Story;
use super::world::{SECOND, Time, World};
use crate::journal;
use crate::policy::limits::millis;
use crate::policy::verdict::{Outcome, Reason};
use crate::store::failover::decider;

/// The rounding error, since times are cut to whole milliseconds.
const ROUNDING: Time = 2000;

/// Judges the machines of a history; `Err` describes the violation.
pub(super) fn judge(story: &Story, world: &World) -> Result<(), String> {
    if story.plan.stores == Stores::Server {
        return Ok(());
    }
    for host in 0..story.plan.hosts {
        let own = entries(story, world, host);
        let refs: Vec<&Entry> = own.iter().collect();
        let clock = &world.hosts[host];
        limits(&story.plan, &refs, clock, &format!("machine {host}"))?;
        holds(story, &refs, clock)?;
        once(&refs, clock)?;
        restraints::windows(story, &refs, clock, |reported| reported.host == host)?;
        if story.plan.stores == Stores::Files {
            restraints::judge(story, &refs, clock)?;
        }
        journaled(story, host, &own)?;
        if story.plan.stores == Stores::Failover {
            // Where the configuration no longer names the server, nothing is sent to it.
            if story.plan.leaves_server.is_none() {
                shipped(story, world, host, &own)?;
            }
            intervals(story, world, host, &own)?;
            held(story, world, host)?;
        }
    }
    Ok(())
}

/// Returns the entries of a machine's journal, and those that wait to be written to it.
pub(super) fn entries(story: &Story, world: &World, host: usize) -> Vec<Entry> {
    let folder = decider::dir(&story.configs[host]).unwrap();
    let mut lines = fs::read_to_string(folder.join("journal.jsonl")).unwrap_or_default();
    let redo = fs::read_to_string(folder.join("redo.json")).ok();
    let redo = redo.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()).unwrap_or_default();
    for pending in redo["entries"].as_array().into_iter().flatten() {
        let line = pending["line"].as_str().unwrap_or_default();
        if !lines.contains(line) {
            lines.push_str(line);
        }
    }
    let clock = &world.hosts[host];
    let mut last = 0;
    // An unfinished line of a killed process is not an entry.
    let whole = lines.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let entry = |line: &str| {
        let fields: BTreeMap<String, String> = journal::fields(line.as_bytes())?.into_iter().collect();
        let step = fields.get("id")?.clone();
        // A clock that was set back shows the same time twice, and no entry is earlier than its event.
        let since = story.sent.get(&step).map_or(0, |sent| sent.since);
        let at = clock.time_of(fields.get("ms")?.parse().ok()?, last.max(since), world.time);
        last = last.max(at);
        Some(Entry { at, life: 0, step, is_again: false, fields })
    };
    whole.filter_map(entry).collect()
}

/// Every answer from a machine's files is in the machine's journal.
fn journaled(story: &Story, host: usize, own: &[Entry]) -> Result<(), String> {
    for seen in story.seen.iter().filter(|seen| seen.host == host) {
        let Some(answer) = seen.answer.as_ref().filter(|answer| answer.by_files && !answer.repeated) else { continue };
        let is_there = |entry: &Entry| entry.step == seen.id && entry.field("reason") == answer.reason.code();
        if answer.reason != Reason::Contested && !own.iter().any(is_there) {
            return Err(format!("the machine has no entry of what {}", told(seen)));
        }
    }
    Ok(())
}

/// Every decision in the server's place arrives there once.
fn shipped(story: &Story, world: &World, host: usize, own: &[Entry]) -> Result<(), String> {
    if story.unshipped.contains(&host) {
        return Err(format!("the journal of machine {host} is never shipped"));
    }
    // Without sessions nothing sends what the last request of a dispatcher left.
    if story.plan.sessions.iter().all(|session| session.host != host) {
        return Ok(());
    }
    let server = &world.servers[0];
    let name = format!("host-{host}");
    // An engine may send the same event twice within a millisecond.
    let mut written: BTreeMap<_, u64> = BTreeMap::new();
    for entry in own {
        *written.entry((entry.field("id"), entry.field("ms"))).or_default() += 1;
    }
    let mut seen: BTreeMap<_, u64> = BTreeMap::new();
    for entry in server.journal.iter().filter(|entry| entry.field("store") == "embedded" && entry.field("host") == name)
    {
        let key = (entry.field("id"), entry.field("ms"));
        let times = seen.entry((key, entry.life)).or_default();
        *times += 1;
        if *times > written.get(&key).copied().unwrap_or(1) {
            return Err(format!("the entry {key:?} of machine {host} is shipped twice, again at {}", entry.at));
        }
    }
    let arrived = |entry: &&Entry| {
        (0..=server.life).any(|life| seen.contains_key(&((entry.field("id"), entry.field("ms")), life)))
    };
    match own.iter().filter(|entry| entry.field("degraded") == "1").find(|entry| !arrived(entry)) {
        Some(lost) => Err(format!("an entry of machine {host} never arrives: {:?}", lost.fields)),
        None => Ok(()),
    }
}

/// Limits hold across the stores: the minimum interval of a scope that only one machine uses, or the window
/// that limits without one.
fn intervals(story: &Story, world: &World, host: usize, own: &[Entry]) -> Result<(), String> {
    let server = &world.servers[0];
    let limits: Vec<_> = story.plan.limits().into_iter().filter(|(name, _)| *name != "quota").collect();
    for scope in (0..story.plan.scopes).filter(|scope| is_own(story, host, *scope)) {
        let name = format!("scope-{scope}");
        let is_of = |entry: &&Entry| entry.admits() && entry.field("scope") == name;
        let here = own.iter().filter(is_of);
        let there = server.journal.iter().filter(|entry| entry.field("store") == "dragonfly").filter(is_of);
        let mut all: Vec<&Entry> = here.chain(there).collect();
        all.sort_unstable_by_key(|entry| entry.at);
        for (limit, quota) in &limits {
            let counted = if *limit == plan::WINDOW { steps(&all) } else { all.clone() };
            for some in counted.windows(quota.limit as usize + 1) {
                let (from, to) = (some[0].at, some[some.len() - 1].at);
                let lost = server.losses.iter().any(|(at, _)| *at <= to);
                let elapsed = [&server.clock, &world.hosts[host]].map(|clock| clock.elapsed(from, to));
                let most = elapsed[0].max(elapsed[1]) + 3000;
                // A commit may arrive after its machine gave it up, and after a step of the machine's clock.
                let is_stepped = world.hosts[host].is_stepped(from.saturating_sub(SECOND), from);
                let is_across = some.iter().any(|entry| entry.field("store") != some[0].field("store"));
                if is_across && !lost && !is_stepped && most < millis(quota.per) * 1000 {
                    let shown: Vec<_> = some.iter().map(|entry| (entry.at, entry.field("store"))).collect();
                    return Err(format!("{limit}: {name} is admitted {shown:?}"));
                }
            }
        }
    }
    Ok(())
}

/// Returns whether no other machine has sessions in this scope.
fn is_own(story: &Story, host: usize, scope: usize) -> bool {
    story.plan.sessions.iter().all(|session| session.scope != scope || session.host == host)
}

/// A hold that a machine knows to be in force remains so there, whichever store decides, until its end or its
/// release.
fn held(story: &Story, world: &World, host: usize) -> Result<(), String> {
    let server = &world.servers[0];
    let is_answered = |seen: &&super::story::Seen| {
        seen.host == host && seen.event == "Hold" && seen.answer.as_ref().is_some_and(|a| a.outcome == Outcome::Record)
    };
    for hold in story.seen.iter().filter(is_answered) {
        let released = |id: &String, begun: Time| begun >= hold.begun && story.is_release(id);
        let end = story.sent.iter().filter(|(id, sent)| released(id, sent.begun)).map(|(_, sent)| sent.begun).min();
        let left = hold.answer.as_ref().and_then(|answer| answer.left);
        let until = left
            .map_or(Time::MAX, |left| hold.begun + Time::try_from(left.as_micros()).unwrap().saturating_sub(ROUNDING));
        let until = until.min(end.unwrap_or(Time::MAX));
        let is_of = |scope: &str| hold.scope.is_empty() || hold.scope == scope;
        let broken = story.seen.iter().find(|seen| {
            let goes_on = seen.answer.as_ref().is_some_and(|answer| answer.goes_on);
            goes_on && seen.host == host && is_of(&seen.scope) && seen.begun > hold.at && seen.at < until
        });
        let Some(broken) = broken else { continue };
        let (from, to) = (hold.begun, broken.at);
        let is_stepped = [&server.clock, &world.hosts[host]].iter().any(|clock| clock.is_stepped(from, to));
        // A server with older data is trusted, but one that lost all of it receives the machine's records. A
        // process that is paused under the lock may have kept the machine from sending them.
        let is_paused = story.plan.rates.paused > 0;
        let is_unkept = is_paused && broken.answer.as_ref().is_some_and(|answer| answer.by_files);
        let is_lost = server.losses.iter().any(|(at, is_all)| *at <= to && (is_paused || !is_all));
        if !is_stepped && !is_lost && !is_unkept {
            return Err(format!("{} although {}", told(broken), told(hold)));
        }
    }
    Ok(())
}
