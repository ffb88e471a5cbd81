//! The properties of what keeps one session or the fleet away: rests, the quiet minute, API errors, usage windows.

use std::collections::{BTreeMap, BTreeSet};

use super::oracle::{DECIDED, decided};
use super::rhythm::{self, Habit};
use super::server::Entry;
use super::story::{Reported, Sent, Story, Turned};
use super::world::{Clock, MILLISECOND, SECOND, Time};
use crate::policy::limits::millis;

/// The time for which a decision may be on its way while a report of a usage window overtakes it.
const IN_FLIGHT: Time = SECOND + 2 * MILLISECOND;
/// The rounding error, since times are cut to whole milliseconds.
const ROUNDING: Time = 3 * MILLISECOND;

/// Judges the journal of one store that decides alone; `Err` describes the violation.
pub(super) fn judge(story: &Story, journal: &[&Entry], clock: &Clock) -> Result<(), String> {
    rests(story, journal, clock)?;
    idles(story, journal, clock)?;
    quiet(story, journal, clock)?;
    errors(story, journal, clock)
}

/// A rest as its entry has it.
struct Resting {
    since: Time,
    /// When it ends, by the store's clock.
    end: Option<i64>,
    is_idle: bool,
    /// Whether only a time or a wake-up ends it.
    is_timed: bool,
    /// Whether an entry of work ends it.
    is_free: bool,
}

/// A session that rests is not admitted before the end of its rest, a person, or a wake-up that concerns it. An idle
/// rest also ends with the session's next event.
fn rests(story: &Story, journal: &[&Entry], clock: &Clock) -> Result<(), String> {
    let mut resting: BTreeMap<&str, Resting> = BTreeMap::new();
    for entry in journal {
        let (session, sent) = (entry.field("session"), story.sent.get(&entry.step));
        let is_over = match entry.field("event") {
            "UserPromptSubmit" | "SessionEnd" => true,
            "Wake" => sent.is_none_or(|sent| story.wakes(sent.session, sent.signal.as_ref())),
            "Stop" if sent.is_some_and(|sent| sent.rests) => true,
            "Stop" => sent.is_none_or(|sent| !sent.asks) && resting.get(session).is_some_and(|rest| rest.is_idle),
            _ => false,
        };
        if is_over {
            resting.remove(session);
        }
        // The agent's newer words replace the rest by one that an entry of work ends.
        if sent.and_then(|sent| story.turn_of(sent)).is_some_and(|turn| turn.is_done)
            && let Some(rest) = resting.get_mut(session)
        {
            rest.is_free = true;
        }
        let reason = entry.field("reason");
        if matches!(reason, "rest" | "idle" | "done") {
            let left = entry.field("retry_after_ms").parse::<i64>().ok();
            let end = left.map(|left| decided(entry.field("timestamp")) + left);
            resting.insert(
                session,
                Resting {
                    since: entry.at,
                    end,
                    is_idle: reason == "idle",
                    is_timed: reason != "done",
                    is_free: reason != "rest",
                },
            );
        } else if entry.field("turn_kind") == "dream" {
            // The rest begins after it.
            if !resting.get(session).is_none_or(|rest| rest.is_timed) {
                return Err(format!("{session} dreams at {} in a rest without an end", entry.at));
            }
        } else if let Some(rest) = resting.get(session).filter(|_| entry.admits()) {
            let is_stepped = clock.is_stepped(rest.since.saturating_sub(DECIDED), entry.at);
            let has_work = rest.is_free && !entry.field("work").is_empty();
            if !is_stepped && !has_work && rest.end.is_none_or(|end| clock.shows(entry.at) / 1000 + 1 < end) {
                return Err(format!(
                    "{session} is admitted at {} in the rest that it has since {}",
                    entry.at, rest.since
                ));
            }
            resting.remove(session);
        }
    }
    Ok(())
}

/// Only a session whose turn was of no use rests for that, and no longer than the configured maximum.
fn idles(story: &Story, journal: &[&Entry], clock: &Clock) -> Result<(), String> {
    // The sessions whose last turn was a dream, which the rest of the turn before it outlasts.
    let mut dreamt = BTreeSet::new();
    for entry in journal {
        match (entry.admits(), entry.field("turn_kind")) {
            (true, "dream") => drop(dreamt.insert(entry.field("session"))),
            (true, _) => drop(dreamt.remove(entry.field("session"))),
            _ => {}
        }
        if entry.field("reason") != "idle" || dreamt.contains(entry.field("session")) {
            continue;
        }
        let Some(sent) = story.sent.get(&entry.step) else { continue };
        let of = format!("session-{} at {}", sent.session, entry.at);
        let Some(idle) = &story.plan.policy.idle else { return Err(format!("{of} rests without idle backoff")) };
        let left = entry.field("retry_after_ms").parse::<i64>().unwrap_or(i64::MAX);
        if left > millis(idle.growth.max) {
            return Err(format!("{of} rests for {left} ms"));
        }
        let habit = story.plan.sessions[sent.session].habit;
        // An API error leaves the rest of an earlier turn.
        // After a step of the clock an old event may count as a new one, whose turn repeats what is known of it.
        let is_known = |turn: &&Turned| turn.failure.is_none() && !clock.is_stepped(sent.since, entry.at);
        let turn = story.turn_of(sent).filter(is_known);
        if matches!(habit, Habit::Useful | Habit::Unmeasured) || turn.is_some_and(|turn| !turn.idles) {
            return Err(format!("{of} rests after a turn that was of use"));
        }
    }
    Ok(())
}

/// After a turn that a person began, its session is not admitted within the quiet minute.
fn quiet(story: &Story, journal: &[&Entry], clock: &Clock) -> Result<(), String> {
    let quiet = Time::try_from(story.plan.policy.quiet.as_micros()).unwrap();
    // Whether the last event of a session was a prompt, and when a turn that a person began ended.
    let mut prompted = BTreeSet::new();
    let mut answered: BTreeMap<usize, Time> = BTreeMap::new();
    for entry in journal {
        let Some(Sent { session, since, asks, is_start, .. }) = story.sent.get(&entry.step) else { continue };
        let event = entry.field("event");
        if event == "SessionEnd" {
            prompted.remove(session);
        }
        let raises = !asks && matches!(event, "Stop" | "StopFailure" | "UserPromptSubmit");
        if raises && !matches!(entry.field("reason"), "superseded" | "busy") {
            if prompted.remove(session) && event == "Stop" {
                answered.insert(*session, *since);
            }
            if event == "UserPromptSubmit" && !is_start {
                prompted.insert(*session);
            }
        }
        let Some(since) = answered.get(session).filter(|_| entry.admits()) else { continue };
        let is_soon = entry.at + ROUNDING < since + quiet && !clock.is_stepped(*since, entry.at);
        if story.plan.sessions[*session].waits && is_soon {
            return Err(format!(
                "session-{session} is admitted at {}, soon after a person's turn of {since}",
                entry.at
            ));
        }
    }
    Ok(())
}

/// The time for which an API error keeps sessions away.
struct Closed<'e> {
    scope: &'e str,
    /// Whether a reset time of the whole key ends it. A successful turn may disprove that.
    of_key: bool,
    /// Whether it concerns every scope.
    of_fleet: bool,
    since: Time,
    until: i64,
}

/// After an API error its scope is not admitted before the reset time or the first cooldown is over. A reset time of
/// the key concerns every scope.
fn errors(story: &Story, journal: &[&Entry], clock: &Clock) -> Result<(), String> {
    let mut closed: Vec<Closed<'_>> = Vec::new();
    let mut known = BTreeSet::new();
    // The sessions whose last event is a person's prompt, maybe of another process than the one that the turn began in.
    let mut prompted = BTreeSet::new();
    for entry in journal {
        let (sent, scope) = (story.sent.get(&entry.step), entry.field("scope"));
        let is_own = sent.is_some_and(|sent| !sent.asks) && !matches!(entry.field("reason"), "superseded" | "busy");
        let is_prompted = match (entry.field("event"), sent) {
            ("UserPromptSubmit", Some(sent)) => !prompted.insert(sent.session),
            ("Stop" | "StopFailure", Some(sent)) if is_own => prompted.remove(&sent.session),
            _ => false,
        };
        match entry.field("event") {
            "Release" => closed.clear(),
            "Stop" if is_own => closed.retain(|closed| !closed.of_key),
            // A store that has it already does nothing when it is sent again.
            "StopFailure" if is_own && !entry.is_again && known.insert(&entry.step) => {
                let turn = sent.and_then(|sent| story.turn_of(sent));
                let Some(failure) = turn.and_then(|turn| turn.failure.as_ref()) else { continue };
                let of_fleet = failure.of_key && failure.model.is_empty();
                let at = decided(entry.field("timestamp"));
                // A person retries, so that only a reset time counts.
                if failure.reset.is_some() || turn.is_some_and(|turn| !turn.is_prompted && !is_prompted) {
                    let until = at + rhythm::least(&story.plan, failure);
                    closed.push(Closed { scope, of_key: failure.of_key, of_fleet, since: entry.at, until });
                }
            }
            _ => {}
        }
        let applies = |closed: &&Closed<'_>| {
            let is_open = clock.shows(entry.at) / 1000 + 1 < closed.until;
            let is_stepped = clock.is_stepped(closed.since.saturating_sub(DECIDED), entry.at);
            (closed.of_fleet || closed.scope == scope) && is_open && !is_stepped
        };
        if let Some(closed) = closed.iter().find(applies).filter(|_| entry.admits()) {
            return Err(format!("{scope} is admitted at {} after the API error of {}", entry.at, closed.since));
        }
    }
    Ok(())
}

/// Nothing is admitted while the store knows that a usage window is used up to its cap.
pub(super) fn windows(
    story: &Story,
    journal: &[&Entry],
    clock: &Clock,
    is_known: impl Fn(&Reported) -> bool,
) -> Result<(), String> {
    let Some(usage) = story.plan.rhythm.usage else { return Ok(()) };
    let is_full = |reported: &&Reported| reported.used >= usage.cap * 100 && is_known(reported);
    for full in story.reported.iter().filter(is_full) {
        let is_early = |entry: &&&Entry| {
            let is_within = entry.at > full.at + IN_FLIGHT && clock.shows(entry.at) / 1000 < full.resets_at;
            entry.admits() && is_within && !clock.is_stepped(entry.at.saturating_sub(DECIDED), entry.at)
        };
        if let Some(entry) = journal.iter().find(is_early) {
            return Err(format!("{} is admitted at {} after {full:?}", entry.field("session"), entry.at));
        }
    }
    Ok(())
}
