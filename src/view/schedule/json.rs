//! The schedules as one JSON object. Fields are only ever added; docs/status.md lists them.

use serde::Serialize;

use crate::policy::cadence::{DREAMS_A_DAY, Dreams};
use crate::policy::limits::{Ms, millis};
use crate::policy::work::WorkMode;
use crate::text;
use crate::view::schedule::{Schedule, now};
use crate::view::sessions::kind::Back;

#[derive(Serialize)]
struct Whole<'a> {
    at: Ms,
    fleet: String,
    away: bool,
    sessions: Vec<One<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    id: &'a str,
    name: &'a str,
    profile: Option<&'a str>,
    state: &'static str,
    back_by: Option<&'static str>,
    back_at: Option<Ms>,
    summary: String,
    next_turn: Option<&'static str>,
    hours_end: Option<Ms>,
    hours_begin: Option<Ms>,
    next_time: Option<Ms>,
    reflection: Option<Reflection>,
    dreams: Option<Dreamt>,
    mood: &'static str,
    mood_reason: String,
}

#[derive(Serialize)]
struct Reflection {
    cycles_left: u32,
    every: u32,
}

#[derive(Serialize)]
struct Dreamt {
    last_day: usize,
    most_a_day: usize,
    turns_left: u32,
    not_before: Option<Ms>,
    long_rest_ms: Ms,
}

/// Returns the object on one line, with its newline.
#[must_use]
pub fn line(all: &[Schedule<'_>], fleet: &str, away: bool, at: Ms) -> String {
    let whole = Whole { at, fleet: text::line(fleet), away, sessions: all.iter().map(one).collect() };
    let mut line = serde_json::to_string(&whole).unwrap_or_default();
    line.push('\n');
    line
}

fn one<'a>(schedule: &'a Schedule<'a>) -> One<'a> {
    let Schedule { row, cadence, now, .. } = schedule;
    let (session, state, now) = (&row.session, &row.session.cadence, *now);
    let calendar = &cadence.calendar;
    let closes = calendar.closes(now);
    One {
        id: &row.id,
        name: &row.name,
        profile: Some(row.profile.as_str()).filter(|name| !name.is_empty()),
        state: row.kind.code(),
        back_by: row.back.code(),
        back_at: match row.back {
            Back::At(at) => Some(at),
            Back::Now => Some(now),
            _ => None,
        },
        summary: now::clause(schedule),
        next_turn: schedule.next_kind().map(|kind| kind.code()),
        hours_end: closes,
        hours_begin: calendar.opens(now).or_else(|| calendar.opens(closes?)),
        next_time: schedule.next_time(),
        reflection: state
            .cycles_left(cadence)
            .filter(|_| schedule.work != WorkMode::Required)
            .map(|cycles_left| Reflection { cycles_left, every: cadence.reflect_every }),
        dreams: (cadence.dreams != Dreams::Off && schedule.work != WorkMode::Required).then(|| Dreamt {
            last_day: state.dreams_of_day(now),
            most_a_day: DREAMS_A_DAY,
            turns_left: state.turns_before_dream(cadence),
            not_before: state.dreamt_until(now),
            long_rest_ms: millis(cadence.long_rest),
        }),
        mood: session.rhythm.mood(now).word(),
        mood_reason: session.rhythm.reason(now),
    }
}
