//! The properties of every history, independent of the policy's code.
//!
//! 1. Admissions are within the written bounds: the minimum interval of a scope and every quota, for each
//!    store.
//! 2. An agent continues by an admission that a store has committed, once. No entry is lost, doubled or shipped
//!    twice.
//! 3. Each session with a waiting engine is admitted within the bound after the last fault.
//! 4. No held scope, no resting session and no engine of an older Stop event is admitted, nor one that API errors,
//!    usage windows or a person's turn keep away ([`restraints`]). A newer program's field is kept.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;

use super::machines;
use super::plan::{self, Plan, Stores};
use super::restraints;
use super::server::Entry;
use super::story::{Seen, Sent, Story};
use super::work;
use super::world::{Clock, MILLISECOND, Time, World};
use crate::policy::limits::{Quota, millis};
use crate::policy::verdict::{Outcome, Reason};

/// The rounding error, since times are cut to whole milliseconds.
const ROUNDING: i64 = 1000;
/// The longest time between the decision of a hold and its commit, in microseconds.
pub(super) const DECIDED: Time = 25_000_000;

/// Judges a history; `Err` describes the violation.
pub(super) fn judge(story: &Story, world: &World) -> Result<(), String> {
    let server = &world.servers[0];
    if let Some(broken) = &server.broken {
        return Err(broken.clone());
    }
    for life in 0..=server.life {
        let journal: Vec<&Entry> = server.journal.iter().filter(|entry| entry.life == life).collect();
        let own: Vec<&Entry> = journal.iter().copied().filter(|entry| entry.field("store") == "dragonfly").collect();
        limits(&story.plan, &own, &server.clock, "the server")?;
        holds(story, &own, &server.clock)?;
        once(&own, &server.clock)?;
        restraints::windows(story, &own, &server.clock, |reported| reported.life == Some(life))?;
        if story.plan.stores == Stores::Server {
            fences(story, &own)?;
            restraints::judge(story, &own, &server.clock)?;
        }
    }
    machines::judge(story, world)?;
    committed(story, &server.journal)?;
    work::judge(story, world)?;
    if let Some(why) = &story.stalled {
        return Err(why.clone());
    }
    match story.starved {
        Some(session) => Err(format!("session-{session} is not admitted within the bound after the last fault")),
        None => Ok(()),
    }
}

/// Checks the minimum interval, the window and the quotas of one store.
pub(super) fn limits(plan: &Plan, journal: &[&Entry], clock: &Clock, of: &str) -> Result<(), String> {
    let admitted: Vec<&Entry> = journal.iter().copied().filter(|entry| entry.admits()).collect();
    let times = |scope: Option<&str>, all: &[&Entry]| -> Vec<Time> {
        let own = all.iter().filter(|entry| scope.is_none_or(|scope| entry.field("scope") == scope));
        own.map(|entry| entry.at).collect()
    };
    for scope in plan.all_scopes() {
        for (name, quota) in plan.limits() {
            let counted = if name == plan::WINDOW { steps(&admitted) } else { admitted.clone() };
            keeps(&times(Some(&scope), &counted), &quota, clock).map_err(|e| format!("{of}, {scope}, {name}: {e}"))?;
        }
    }
    let all = times(None, &admitted);
    plan.policy
        .fleet_quotas
        .iter()
        .try_for_each(|quota| keeps(&all, quota, clock).map_err(|e| format!("{of}, the fleet's quota: {e}")))
}

/// Returns the last admission of each step. An attempt that is retried with its id counts once.
pub(super) fn steps<'e>(admitted: &[&'e Entry]) -> Vec<&'e Entry> {
    let last: BTreeMap<&str, Time> = admitted.iter().map(|entry| (entry.step.as_str(), entry.at)).collect();
    admitted.iter().copied().filter(|entry| last.get(entry.step.as_str()) == Some(&entry.at)).collect()
}

fn keeps(times: &[Time], quota: &Quota, clock: &Clock) -> Result<(), String> {
    for window in times.windows(quota.limit as usize + 1) {
        let (first, last) = (window[0], window[window.len() - 1]);
        // The clock may have been stepped in the millisecond of the last one.
        let elapsed = clock.elapsed(first, last + MILLISECOND) + ROUNDING;
        if elapsed < millis(quota.per) * 1000 {
            return Err(format!("{} admissions within {elapsed} us, at {window:?}", window.len()));
        }
    }
    Ok(())
}

/// Returns when an entry was decided, by its timestamp, in milliseconds of the store's clock.
pub(super) fn decided(timestamp: &str) -> i64 {
    let read = NaiveDateTime::parse_from_str(timestamp, "%Y%m%d_%H%M%S");
    read.map_or(0, |read| read.and_utc().timestamp_millis())
}

/// No continuation is committed between a hold and its end or its release.
pub(super) fn holds(story: &Story, journal: &[&Entry], clock: &Clock) -> Result<(), String> {
    // When it was sent and committed, and when it ends by the clock that dated it.
    let mut held: BTreeMap<String, (Time, Time, Option<i64>)> = BTreeMap::new();
    for entry in journal {
        let scope = entry.field("scope").to_owned();
        let number = |name: &str| entry.field(name).parse::<i64>().ok();
        match entry.field("event") {
            "Hold" if entry.field("verdict") == "record" => {
                let end = number("retry_after_ms").map(|left| decided(entry.field("timestamp")) + left);
                let begun = story.sent.get(&entry.step).map_or(entry.at, |sent| sent.begun);
                held.insert(scope, (begun.min(entry.at), entry.at, end));
            }
            "Release" => drop(held.remove(&scope)),
            _ if entry.admits() => {
                for holder in [scope.as_str(), ""] {
                    let Some((begun, since, end)) = held.get(holder) else { continue };
                    // The hold may have been decided some time before it was committed.
                    let is_stepped = clock.is_stepped(since.saturating_sub(DECIDED), entry.at);
                    // The other store may have released it.
                    let is_released = story.plan.stores == Stores::Failover && story.is_released(*begun, entry.at);
                    if !is_stepped && !is_released && end.is_none_or(|end| clock.shows(entry.at) / 1000 + 1 < end) {
                        return Err(format!(
                            "{scope} is admitted at {} while {holder:?} is held since {since}",
                            entry.at
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// After a session was taken over, its earlier engine is not admitted with the old fence.
fn fences(story: &Story, journal: &[&Entry]) -> Result<(), String> {
    let goes_on: BTreeSet<&str> = story
        .seen
        .iter()
        .filter(|seen| seen.answer.as_ref().is_some_and(|a| a.goes_on))
        .map(|s| s.id.as_str())
        .collect();
    // The turns that raised the fence, in their order.
    let mut raised: BTreeMap<usize, Vec<Time>> = BTreeMap::new();
    for entry in journal {
        let Some(Sent { session, since, asks, .. }) = story.sent.get(&entry.step) else { continue };
        let raised = raised.entry(*session).or_default();
        if !asks {
            let raises = matches!(entry.field("event"), "Stop" | "StopFailure" | "UserPromptSubmit");
            if raises && !matches!(entry.field("reason"), "superseded" | "busy") {
                raised.push(*since);
            }
        } else if entry.admits()
            && raised.contains(since)
            && raised.last() != Some(since)
            && goes_on.contains(entry.step.as_str())
        {
            return Err(format!("session-{session} is admitted at {} by the fence of an older stop", entry.at));
        }
    }
    Ok(())
}

/// An admission that is retried with its id is there once. After a second other admissions may have followed.
pub(super) fn once(journal: &[&Entry], clock: &Clock) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for entry in journal.iter().filter(|entry| entry.admits()) {
        let before = seen.insert(&entry.step, entry.at);
        let is_recent = |before: &Time| entry.at - *before < 900_000 && !clock.is_stepped(*before, entry.at);
        if let Some(before) = before.filter(is_recent) {
            return Err(format!("the step {} is admitted twice, at {before} and {}", entry.step, entry.at));
        }
    }
    Ok(())
}

pub(super) fn told(seen: &Seen) -> String {
    let Seen { session, host, scope, id, event, begun, at, answer } = seen;
    format!(
        "session-{session} of {scope} on machine {host} was answered at {at} to {event} {id} of {begun}: {answer:?}"
    )
}

/// Every answer of the server is in the server's journal.
fn committed(story: &Story, journal: &[Entry]) -> Result<(), String> {
    for seen in &story.seen {
        let Some(answer) = &seen.answer else { continue };
        let is_aside = matches!(answer.reason, Reason::Contested | Reason::Lost);
        if answer.by_files || answer.unjournaled || is_aside {
            continue;
        }
        // A request that met conflicts until its deadline may be refused for another reason when it is retried.
        let reasons = [answer.reason.code(), "busy"];
        let own = |entry: &&Entry| entry.step == seen.id && reasons.contains(&entry.field("reason"));
        let is_there = journal.iter().any(|entry| own(&entry));
        if !is_there && !answer.repeated {
            return Err(format!("no entry of what {}", told(seen)));
        }
        let admits = |entry: &Entry| entry.step == seen.id && entry.admits();
        if answer.outcome == Outcome::Admit && answer.goes_on && seen.event == "Stop" && !journal.iter().any(admits) {
            return Err(format!("the agent goes on by an admission that was not committed: {}", told(seen)));
        }
    }
    Ok(())
}
