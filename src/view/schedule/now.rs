//! The present state of an agent in a clause: what it does, until when, and why.

use crate::local_time;
use crate::policy::limits::Ms;
use crate::policy::rest::{Rest, RestKind};
use crate::text;
use crate::view::schedule::Schedule;
use crate::view::sessions::kind::{Back, Kind};

/// Returns the clause, without the agent's name.
pub(super) fn clause(schedule: &Schedule<'_>) -> String {
    let (does, why) = (does(schedule), why(schedule));
    let why = if why.is_empty() { why } else { format!(" ({why})") };
    let (until, then) = ends(schedule);
    format!("{does}{until}{why}{then}")
}

fn does(schedule: &Schedule<'_>) -> &'static str {
    match schedule.row.kind {
        Kind::Resting | Kind::Done => "rests",
        Kind::Running | Kind::NoEvent => "is in a turn",
        Kind::Idle => "has had no prompt yet",
        Kind::Stopped | Kind::WaiterLost | Kind::Expired | Kind::Asleep => "is stopped",
        Kind::Hold => "is held",
        Kind::Ended => "has ended",
        Kind::Unknown => "has an unknown state",
        Kind::Parked => "is parked",
        _ => "waits",
    }
}

/// Returns the rest that lasts.
fn rest<'a>(schedule: &Schedule<'a>) -> Option<&'a Rest> {
    let row = schedule.row;
    row.session.rest.as_ref().filter(|rest| rest.lasts(schedule.now) && !row.session.woken)
}

fn why(schedule: &Schedule<'_>) -> String {
    let row = schedule.row;
    let topic = || rest(schedule).map(|rest| text::line(&rest.topic)).filter(|topic| !topic.is_empty());
    let plain = match row.kind {
        Kind::NeedsYou => "a permission dialog is open",
        Kind::Blocked => return topic().map_or("it is blocked".to_owned(), |who| format!("it is blocked: {who}")),
        Kind::WaitFor => return topic().map_or_else(String::new, |topic| format!("it waits for {topic}")),
        Kind::Stopped => return format!("{}, and no engine waits for it", text::line(&row.session.last_reason)),
        Kind::Undecided => {
            let why = row.undecided.as_ref().map(|mark| text::line(&mark.why)).unwrap_or_default();
            return format!("its last hook call was not decided: {why}");
        }
        Kind::WaiterLost => "its waiting engine has ended",
        Kind::Expired => "its waiting engine reached the end of its wait",
        Kind::Hold => return hold(schedule),
        Kind::Cooldown => "a cooldown after too many requests",
        Kind::ApiCooldown => "an error of the API",
        Kind::Spread => "its release slot: other sessions were freed with it",
        Kind::Quota => "a quota is used up",
        Kind::Pace => "the turns of the fleet are spread over a usage window",
        Kind::Limit => "the fleet has used its share of a usage window",
        Kind::Guard => "the minimum interval after its last turn",
        Kind::Quiet => "a person's turn has just ended",
        Kind::Resting => return resting(schedule),
        Kind::Parked => "its client wakes it by a timer or a task of its own",
        Kind::Done => "it reported that it is done",
        Kind::Asleep => "its client stopped the background session",
        Kind::NoEvent => {
            let quiet = local_time::age(row.quiet);
            return format!("no event for {quiet}, so the turn may have been interrupted");
        }
        Kind::Running => {
            let kind = row.session.cadence.kind;
            if kind.is_work() { "" } else { kind.words() }
        }
        Kind::Unknown => "the server is unreachable",
        Kind::Idle | Kind::Ended => "",
    };
    plain.to_owned()
}

fn hold(schedule: &Schedule<'_>) -> String {
    let Some((hold, is_fleets)) = &schedule.row.hold else { return String::new() };
    let whole = if *is_fleets { "the whole fleet, " } else { "" };
    format!("{whole}by {}: {}", text::line(&hold.by), text::line(&hold.reason))
}

/// Describes a rest by its kind. A request outside the working hours books the rest of that kind.
fn resting(schedule: &Schedule<'_>) -> String {
    let row = schedule.row;
    let opens = schedule.cadence.calendar.opens(schedule.now);
    let is_off = opens.is_some_and(|opens| row.back == Back::At(opens));
    let kind = rest(schedule).map(|rest| rest.kind).or_else(|| RestKind::from_code(&row.session.last_reason));
    let plain = match kind {
        _ if is_off => "outside its working hours",
        Some(RestKind::OffHours) => "outside its working hours",
        Some(RestKind::Idle) => match row.session.idle {
            0 | 1 => "its last turn did nothing new",
            n => return format!("its last {n} turns did nothing new"),
        },
        Some(RestKind::Failed) => "its last run failed",
        Some(RestKind::NoWork) => "its work queue has no entry for it",
        _ => "it named the time of its next check",
    };
    plain.to_owned()
}

/// Returns the end of the state: the part before the reason, and the part after it.
fn ends(schedule: &Schedule<'_>) -> (String, String) {
    let row = schedule.row;
    let until = |words: &str| (format!(" until {words}"), String::new());
    match row.back {
        Back::Nothing if row.kind == Kind::Running && row.hold.is_some() => {
            (String::new(), ", and is held at its end".to_owned())
        }
        Back::Nothing => (String::new(), String::new()),
        Back::Now => (String::new(), ", and its next request is due".to_owned()),
        Back::Later => (String::new(), ", until a time that is not known here".to_owned()),
        Back::Mended => until("that is fixed"),
        Back::At(at) => {
            match rest(schedule).and_then(|rest| rest.until).filter(|end| *end < at && is_of_rest(row.kind)) {
                Some(end) => (format!(" until {}", shown(schedule, end)), after(schedule, end, at)),
                None => until(&shown(schedule, at)),
            }
        }
        Back::Release => until("the hold is released"),
        Back::Wake => until("a wake-up"),
        Back::Prompt => until("you type in it"),
        Back::Answer => until("you answer it"),
        Back::Client => until("its client wakes it"),
        Back::Gate => until("the next frosty gate of its scope"),
    }
}

fn is_of_rest(kind: Kind) -> bool {
    matches!(kind, Kind::Resting | Kind::WaitFor | Kind::Blocked | Kind::Done)
}

/// Describes what follows the end of a rest, where a later limit refuses the session then.
fn after(schedule: &Schedule<'_>, end: Ms, at: Ms) -> String {
    let at_home = schedule.cadence.calendar.opens(end) == Some(at);
    let why = if at_home { "outside its working hours" } else { "by another limit" };
    format!(", and then {why} until {}", shown(schedule, at))
}

fn shown(schedule: &Schedule<'_>, at: Ms) -> String {
    format!("{}, in {}", local_time::clock(at, schedule.now), local_time::left(at, schedule.now))
}
