//! Names the rule of docs/policy.md that decided, and the numbers that it used.

use crate::duration;
use crate::local_time;
use crate::policy::documents::IN_FLIGHT;
use crate::policy::hold::Hold;
use crate::policy::limits::{ClassPolicy, Quota, millis};
use crate::policy::long_hold::BY_WILLY;
use crate::policy::rest::RestKind;
use crate::policy::verdict::Reason;
use crate::text;
use crate::view::explain::long;
use crate::view::explain::verdict::Facts;

/// The longest text of an entry that is shown.
const LONGEST: usize = 1000;

/// Returns the rule's number and name in docs/policy.md; empty where no rule decided.
pub(crate) fn name(told: &Facts<'_>) -> &'static str {
    match told.reason {
        Reason::MinInterval if told.is_paced() => "rule 5, minimum interval",
        reason => reason.rule(),
    }
}

/// Returns the sentence with the numbers of the decision.
pub(crate) fn numbers(told: &Facts<'_>) -> String {
    let (class, limits) = (told.class.name(), told.policy.class(told.class));
    let number = |field| told.past.text(field).parse::<u32>().unwrap_or(0);
    let (attempts, strikes) = (number("attempts"), number("strikes"));
    let detail = text::line_of(told.past.text("detail"), LONGEST);
    match told.reason {
        Reason::Admitted => "no limit applied".to_owned(),
        Reason::Probe => format!("the first after a cooldown; {} counted", strikes_of(strikes)),
        Reason::MinInterval => guard(told, class, limits),
        Reason::Burst => {
            let (limit, window) = limits.burst.map_or((0, String::new()), |b| (b.limit, duration::show(b.window)));
            format!(
                "{attempts} attempts within {window}, where {class}.burst.limit is {limit}, opened cooldown number {strikes}{}",
                told.retry_after.map_or_else(String::new, |left| format!(", of {}", long(left)))
            )
        }
        Reason::Cooldown => format!(
            "a cooldown was open, with {} counted, forgotten {} after its end ({class}.cooldown.calm)",
            strikes_of(strikes),
            duration::show(limits.cooldown.calm)
        ),
        Reason::ApiError if strikes == 0 => "the API gave a time until which it refuses the fleet's key".to_owned(),
        Reason::ApiError => format!(
            "the API had failed {} since the last good stop, and the cooldown after it was open",
            if strikes == 1 { "once".to_owned() } else { format!("{strikes} times") }
        ),
        Reason::Quiet => {
            format!("a person's turn had just ended, and person.quiet is {}", duration::show(told.policy.quiet))
        }
        Reason::Spread => format!(
            "it was released together with other sessions, which resume {} apart (spread.step; {} after five minutes, spread.cold)",
            duration::show(told.policy.spread.step),
            duration::show(told.policy.spread.cold)
        ),
        Reason::Hold => hold(told),
        reason if reason.is_rest() => rest(told),
        Reason::Quota => quota(told),
        Reason::Pace => "the turns of the fleet are spread over a usage window (pace)".to_owned(),
        Reason::Limit => {
            "the fleet had used its share of a usage window (pace), or the windows could not be read".to_owned()
        }
        Reason::Busy => "other requests changed the state of the decision until its deadline".to_owned(),
        Reason::Superseded => "a newer stop, a prompt or the session's end had taken over".to_owned(),
        Reason::Event => format!("no request was made, and {} was journaled", text::line(told.past.text("event"))),
        Reason::NoteKept => "its wake_on does not contain the signal, so the note waits for its next prompt".to_owned(),
        Reason::WaiterExpired => {
            "the engine reached the end of its wait (--wait), so nothing resumes the session".to_owned()
        }
        Reason::Lost => "the server had lost its data, and first received what this machine remembers".to_owned(),
        Reason::Contested => "the session belonged to another client process, which was looked for first".to_owned(),
        _ if detail.is_empty() => "the journal has no further detail".to_owned(),
        _ => detail,
    }
}

fn strikes_of(strikes: u32) -> String {
    if strikes == 1 { "1 strike".to_owned() } else { format!("{strikes} strikes") }
}

/// Describes the minimum interval: how long ago the last admission was, as far as that is still known.
fn guard(told: &Facts<'_>, class: &str, limits: &ClassPolicy) -> String {
    let (at, interval) = (told.past.ms, millis(limits.min_interval));
    let shown = duration::show(limits.min_interval);
    let scope = &told.state.scope;
    let own = if class == "stop" { &scope.stop } else { &scope.compact };
    let window =
        limits.burst.filter(|_| limits.window_limits).filter(|_| told.retry_after.is_some_and(|l| l > interval));
    if let Some(burst) = window {
        let (limit, window) = (burst.limit, duration::show(burst.window));
        return format!("the burst window had no place left: {class}.burst is {limit} in {window}, beside {shown}");
    }
    let since = |then: i64| Some(at.saturating_sub(then)).filter(|ago| (0..=interval).contains(ago));
    let admitted = own.admitted_at.and_then(since);
    // The time of a take-over may lie ahead, while the other store may still admit.
    let taken = scope.taken.map(|taken| if taken <= at.saturating_add(IN_FLIGHT) { taken.min(at) } else { taken });
    let changed = taken.filter(|_| class == "stop").and_then(since);
    if changed.is_some_and(|changed| admitted.is_none_or(|ago| changed < ago)) {
        return format!(
            "the scope had just come from another store, after which {class}.min_interval, {shown}, must pass"
        );
    }
    // Where another session was admitted since, the time that was left then gives the age of the last admission.
    let ago = admitted.or_else(|| since(at.saturating_sub(interval).saturating_add(told.retry_after?)));
    let by = beat(told);
    match ago {
        Some(ago) => {
            let what = if class == "stop" { "continuation" } else { "compaction" };
            // The age is rounded down, because the time that is left is rounded up.
            let ago = if ago < 1000 { "less than 1s".to_owned() } else { long(ago / 1000 * 1000) };
            format!("the last {what} was admitted {ago} before, and {class}.min_interval is {shown}{by}")
        }
        None => format!("it was too soon after the last admission; {class}.min_interval is {shown}{by} now"),
    }
}

/// Names the profile that the interval may be of.
fn beat(told: &Facts<'_>) -> String {
    match told.policy.cadence.profile.as_str() {
        "" => String::new(),
        profile => format!(" under the profile {}", text::line(profile)),
    }
}

fn hold(told: &Facts<'_>) -> String {
    let told_of = |hold: &Hold| {
        let until = hold.until.map_or_else(
            || "without an end".to_owned(),
            |until| format!("until {}", local_time::clock(until, told.now)),
        );
        format!(
            "held by {} since {}, {until}: {}",
            text::line(&hold.by),
            local_time::clock(hold.since, told.now),
            text::line_of(&hold.reason, LONGEST)
        ) + &match hold.by.as_str() {
            BY_WILLY => format!(" (hold_after_strikes is {})", told.policy.hold_after_strikes),
            _ => String::new(),
        }
    };
    let in_force = |hold: &'_ Option<Hold>| hold.clone().filter(|h| h.since <= told.past.ms && h.holds(told.past.ms));
    let (own, fleets) = (in_force(&told.state.scope.hold), in_force(&told.state.fleet.hold));
    match (own, fleets) {
        (Some(hold), _) => told_of(&hold),
        (None, Some(hold)) => format!("the whole fleet was {}", told_of(&hold)),
        (None, None) => "it was held, and no longer is".to_owned(),
    }
}

fn rest(told: &Facts<'_>) -> String {
    let rest = told.state.session.rest.as_ref().filter(|rest| rest.kind.code() == told.reason.code());
    let topic = rest.map(|r| text::line(&r.topic)).filter(|topic| !topic.is_empty());
    let line = |said: &str| match &topic {
        Some(topic) => format!("the agent wrote \"frosty: {said} {topic}\""),
        None => format!("the agent wrote \"frosty: {said}\""),
    };
    match RestKind::from_code(told.reason.code()) {
        Some(RestKind::Done) => line("done"),
        Some(RestKind::Blocked) => line("blocked"),
        Some(RestKind::WaitFor) => line("wait_for"),
        Some(RestKind::Parked) => {
            "the client wakes the session by itself: it has a timer for it, or work of the session runs in the background"
                .to_owned()
        }
        Some(RestKind::Idle) => idle(told),
        Some(RestKind::Failed) => failed(told),
        Some(RestKind::NoWork) => {
            "the session continues only with an entry of its work queue (work is required), and none can be claimed"
                .to_owned()
        }
        Some(RestKind::OffHours) => {
            format!("the working hours of its profile are over ({})", text::line(&told.policy.cadence.profile))
        }
        _ => "the agent gave the time of its next check (\"frosty: next_check …\")".to_owned(),
    }
}

/// Describes the rest after a run of a gate that failed, and the keys of its length.
fn failed(told: &Facts<'_>) -> String {
    let growth = &told.policy.api_error;
    let runs = match told.state.session.failures {
        0 | 1 => "the last run failed".to_owned(),
        n => format!("the last {n} runs in a row failed"),
    };
    let (base, max) = (duration::show(growth.base), duration::show(growth.max));
    format!("{runs} (api_error.base is {base}, api_error.max is {max}); a run that exits with 0 resets it")
}

/// Describes an idle rest: how many turns did nothing, and what its length comes from.
fn idle(told: &Facts<'_>) -> String {
    let turns = match told.state.session.idle {
        0 => "the agent's last turns".to_owned(),
        1 => "the agent's last turn".to_owned(),
        n => format!("the agent's last {n} turns in a row"),
    };
    let cadence = &told.policy.cadence;
    if !cadence.calendar.times.is_empty() {
        return format!("{turns} did nothing new, and its profile {} has fixed times", text::line(&cadence.profile));
    }
    let limits = told.policy.idle.as_ref().map(|idle| {
        let (base, max) = (duration::show(idle.growth.base), duration::show(idle.growth.max));
        format!(" (idle.base is {base}, idle.max is {max}); any work resets it")
    });
    format!("{turns} did nothing new{}", limits.unwrap_or_default())
}

fn quota(told: &Facts<'_>) -> String {
    let used = |key: &str, quotas: &[Quota], admitted: &[i64]| -> Vec<String> {
        let line = |quota: &Quota| {
            let from = told.past.ms.saturating_sub(millis(quota.per));
            let used = admitted.iter().filter(|at| **at > from && **at <= told.past.ms).count();
            format!("{key} is {} per {}, of which {used} were used", quota.limit, duration::show(quota.per))
        };
        quotas.iter().map(line).collect()
    };
    let mut all = used("stop.quotas", &told.policy.stop.quotas, &told.state.scope.quota.admitted);
    all.extend(used("fleet_quotas", &told.policy.fleet_quotas, &told.state.fleet.quota.admitted));
    if all.is_empty() { "a quota was used up that is not configured here".to_owned() } else { all.join("; ") }
}
