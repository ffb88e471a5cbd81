//! Describes what must change before a session continues, when that happens, and which process resumes the session.

use crate::clock;
use crate::engine;
use crate::journal;
use crate::local_time;
use crate::policy::documents::{Phase, SessionState};
use crate::policy::hold::Hold;
use crate::policy::limits::{Class, millis};
use crate::policy::verdict::{Decision, End, Reason};
use crate::process::ProcessStatus;
use crate::text;
use crate::view::explain::verdict::Facts;
use crate::view::journal::Past;

/// The longest text of an entry that is shown.
const LONGEST: usize = 1000;

/// Returns the refusals that apply to the session now, and the time at which it would be admitted.
pub(crate) fn now(told: &Facts<'_>) -> String {
    let (Some(first), Some(last)) = (told.doors.first(), told.doors.last()) else {
        return admitted_now(told);
    };
    let refused = |decided: &Decision| format!("refused {}: {}. ", decided.reason.code(), journal::why(decided));
    // A trip and the cooldown that it opened count as one obstacle.
    let is_same = first.reason == told.reason || (first.reason, told.reason) == (Reason::Cooldown, Reason::Burst);
    let mut why = if is_same { String::new() } else { format!("A request now would be {}", refused(first)) };
    if last.reason != first.reason {
        why.push_str(&format!("After that it would be {}", refused(last)));
    }
    match last.retry_after.map(millis) {
        Some(left) => {
            let at = last.now.saturating_add(left);
            format!(
                "{why}It would be admitted from {} (in {}) if nothing changes.",
                local_time::clock(at, told.now),
                local_time::left(at, told.now)
            )
        }
        None => format!("{why}It does not end by itself."),
    }
}

/// Describes a session that no limit here refuses now. Its engine may have been refused under tighter limits.
fn admitted_now(told: &Facts<'_>) -> String {
    let due = told.retry_after.map(|left| told.past.ms.saturating_add(left)).filter(|due| *due > told.now);
    match due.filter(|_| is_waited_for(&told.state.session)) {
        Some(due) => format!(
            "A request now would be admitted under the limits here. Under its own limits it was refused until {} (in {}).",
            local_time::clock(due, told.now),
            local_time::left(due, told.now)
        ),
        None => "A request now would be admitted.".to_owned(),
    }
}

/// Returns what happened to the session since the verdict, where that matters more than the limits that apply now.
pub(crate) fn since(told: &Facts<'_>) -> Option<&'static str> {
    let session = &told.state.session;
    let is_prompted = session.begun.as_ref().is_some_and(|begun| begun.id.is_empty());
    let is_refusal = told.class == Class::Stop
        && !told.reason.is_admission()
        && !matches!(told.reason, Reason::Event | Reason::NoteKept);
    if session.phase == Phase::Asleep {
        Some("The client stopped this background session. Open it to continue: claude agents")
    } else if session.phase == Phase::Ended {
        Some("The session has ended.")
    } else if session.needs_you {
        Some("A permission dialog is open in the session: answer it there.")
    } else if is_prompted && is_refusal {
        Some("It was prompted since, and is running: its next stop is a new request.")
    } else {
        None
    }
}

/// Returns whether a turn of the session failed after the verdict: a Stop event would have brought another verdict.
pub(crate) fn failed_since(told: &Facts<'_>) -> bool {
    let begun = told.state.session.begun.as_ref();
    begun.is_some_and(|begun| !begun.id.is_empty() && begun.at > told.past.ms)
}

/// Returns the sentence about the failed last turn: its time, its error and the cure.
pub(crate) fn failed(told: &Facts<'_>, failure: &Past) -> String {
    let at = local_time::clock(failure.ms, told.now);
    let detail = text::line_of(failure.text("detail"), LONGEST);
    match detail.split_once(": ") {
        Some((error, cure)) => format!("Its last turn failed at {at} ({error}). To fix that: {cure}."),
        None => {
            let error = if detail.is_empty() { "unknown" } else { &detail };
            format!("Its last turn failed at {at} ({error}). That may pass by itself; there is nothing to fix here.")
        }
    }
}

/// Returns which process resumes the session, and then a line for each command with which a person can do it earlier.
pub(crate) fn by_whom(told: &Facts<'_>) -> Vec<String> {
    if told.class == Class::Compact {
        let then =
            "The client sends a new request when it next wants to compact; until then the agent continues uncompacted.";
        return vec![then.to_owned()];
    }
    match told.reason.end() {
        End::Successor => return vec!["No action is needed: the newer event decides.".to_owned()],
        End::Repair => {
            let then =
                "No request was made, and none follows by itself: fix that, then type in the session to continue.";
            return vec![then.to_owned()];
        }
        _ => {}
    }
    let is_shut_by = |found: &dyn Fn(Reason) -> bool| told.doors.iter().any(|door| found(door.reason));
    let session = text::word(&named(told, "session"));
    let place = told.place;
    let waited = is_waited_for(&told.state.session);
    let mut lines = vec![who_asks(told)];
    if is_shut_by(&|reason| reason == Reason::Hold) {
        lines.extend(releases(told));
    }
    if is_shut_by(&|reason| reason == Reason::Parked) {
        if waited {
            lines.push(format!("The client wakes it; to wake it earlier: frosty wake {session}{place}"));
        } else if let Some(first) = lines.first_mut() {
            *first = "The client wakes it by itself; or type in the session to continue.".to_owned();
        }
    } else if (waited || told.state.session.gate) && is_shut_by(&Reason::is_rest) {
        // Without a waiting engine no process receives a wake-up.
        lines.push(format!("To wake it: frosty wake {session}{place}"));
    }
    lines
}

/// Returns the name that a command accepts: the session's own, else a field of the entry.
fn named(told: &Facts<'_>, field: &str) -> String {
    if told.name.is_empty() { text::line(told.past.text(field)) } else { told.name.clone() }
}

/// Returns the commands that end the holds in force.
fn releases(told: &Facts<'_>) -> Vec<String> {
    let in_force = |hold: &Option<Hold>| hold.as_ref().is_some_and(|h| h.holds(told.now));
    let own = in_force(&told.state.scope.hold);
    let fleets = in_force(&told.state.fleet.hold) || !own;
    let line = |what: &str, command: String| format!("To release {what} earlier: {command}");
    let own = own.then(|| line("its hold", release_command(&named(told, "scope"), told.place)));
    let fleets = fleets.then(|| line("the fleet's hold", release_command("", told.place)));
    own.into_iter().chain(fleets).collect()
}

fn is_waited_for(session: &SessionState) -> bool {
    session.phase == Phase::Open && engine::waits(session)
}

/// Returns which engine sends the next admission request when the time has come.
fn who_asks(told: &Facts<'_>) -> String {
    let session = &told.state.session;
    if session.gate && !is_waited_for(session) {
        return "The next frosty gate of its scope sends the next request.".to_owned();
    }
    if matches!(told.reason, Reason::WaiterExpired | Reason::Disarmed) || session.phase == Phase::Expired {
        return "No engine waits for it any more: type in the session to continue.".to_owned();
    }
    let Some(pid) = session.pid else {
        return "It has no waiting engine (it uses the plain one), so nothing resumes it: type in the session to continue."
            .to_owned();
    };
    let pid = pid.pid;
    let standing = engine::standing(session);
    let place = if session.host == clock::host() { "on this machine".to_owned() } else { text::line(&session.host) };
    if standing == Some(ProcessStatus::Gone) {
        return format!(
            "Its waiting engine (pid {pid} {place}) ended, so nothing resumes it: type in the session to continue."
        );
    }
    if standing == Some(ProcessStatus::Runs) {
        format!("Its waiting engine (pid {pid} {place}) sends a new request then.")
    } else if session.host == clock::host() {
        format!(
            "Its waiting engine (pid {pid} in another container, not known from here) sends a new request then, if it runs."
        )
    } else {
        format!("Its waiting engine (pid {pid} on {place}) sends a new request then, if it still runs.")
    }
}

/// Returns the command that lifts the hold of a session, or the fleet's for an empty name. `place` holds the flags that
/// name the store and the fleet. Where they name a fleet, they replace `--fleet`.
pub(crate) fn release_command(session: &str, place: &str) -> String {
    match session {
        "" if place.contains(" --fleet ") => format!("frosty release{place}"),
        "" => format!("frosty release --fleet{place}"),
        session => format!("frosty release {}{place}", text::word(session)),
    }
}
