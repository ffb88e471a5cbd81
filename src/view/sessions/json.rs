//! Formats the report as one JSON object. Fields are only ever added; docs/status.md lists them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::policy::hold::Hold;
use crate::policy::limits::Ms;
use crate::policy::windows::{POINT, Window};
use crate::process::ProcessStatus;
use crate::text;
use crate::view::sessions::kind::Back;
use crate::view::sessions::{Report, Row};
use crate::view::usage::Usage;
use crate::view::work::Summary;

#[derive(Serialize)]
struct Whole<'a> {
    at: Ms,
    store: String,
    fleet: String,
    mode: &'static str,
    away: Option<String>,
    backlog: Option<Waits>,
    hold: Option<Held>,
    usage: UsageWindows,
    work: Vec<QueueNumbers>,
    totals: BTreeMap<&'a str, usize>,
    left_out: BTreeMap<&'a str, usize>,
    admissions_cut: bool,
    sessions: Vec<One<'a>>,
}

#[derive(Serialize)]
struct Waits {
    journal_bytes: u64,
    given_up_bytes: u64,
    scopes: usize,
    breaker_open: bool,
}

/// A work queue.
#[derive(Serialize)]
struct QueueNumbers {
    agent: String,
    waiting: u64,
    delayed: u64,
    in_hand: usize,
    dead: u64,
    oldest_ms: Option<Ms>,
}

impl QueueNumbers {
    fn of(summary: &Summary) -> Self {
        let queue = &summary.queue;
        Self {
            agent: text::line(&summary.agent),
            waiting: queue.waiting.iter().sum(),
            delayed: queue.later,
            in_hand: queue.hand.len(),
            dead: queue.dead,
            oldest_ms: summary.oldest,
        }
    }
}

/// The usage windows, and what the pace permits.
#[derive(Serialize)]
struct UsageWindows {
    five_hour: Option<OpenWindow>,
    seven_day: Option<OpenWindow>,
    unknown_until: Option<Ms>,
    pace: Option<&'static str>,
    next_slot: Option<Ms>,
}

/// A usage window that has not ended.
#[derive(Serialize)]
struct OpenWindow {
    used_percentage: f64,
    resets_at: Ms,
    reported_at: Ms,
    turns: u32,
}

impl UsageWindows {
    fn of(usage: &Usage, now: Ms) -> Self {
        let open = |window: Option<Window>| {
            window.filter(|window| window.resets_at > now).map(|window| OpenWindow {
                used_percentage: f64::from(window.used) / f64::from(POINT),
                resets_at: window.resets_at,
                reported_at: window.seen,
                turns: window.turns,
            })
        };
        Self {
            five_hour: open(usage.windows.five_hour),
            seven_day: open(usage.windows.seven_day),
            unknown_until: usage.windows.unknown_until(now),
            pace: usage.pace_code(),
            next_slot: usage.next,
        }
    }
}

#[derive(Serialize)]
struct Held {
    by: String,
    reason: String,
    since: Ms,
    until: Option<Ms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<bool>,
}

#[derive(Serialize)]
struct Rests {
    kind: &'static str,
    since: Ms,
    until: Option<Ms>,
    topic: String,
}

#[derive(Serialize)]
struct One<'a> {
    id: &'a str,
    name: String,
    label: String,
    shown: String,
    project: String,
    scope: &'a str,
    host: String,
    state: &'static str,
    back_by: Option<&'static str>,
    back_at: Option<Ms>,
    attempts: u32,
    attempts_limit: Option<u32>,
    strikes: u32,
    api_strikes: u32,
    admissions_last_hour: Option<u32>,
    quota_left: Option<u32>,
    last_reason: String,
    continuations: u32,
    seen: Ms,
    quiet_ms: Ms,
    needs_you: bool,
    woken: bool,
    engine: Option<&'static str>,
    pid: Option<u32>,
    rest: Option<Rests>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work: Option<Work>,
    hold: Option<Held>,
    undecided: Option<Open>,
    unmeasured_since: Option<Ms>,
    client_version: String,
    profile: Option<&'a str>,
    mood: &'static str,
    mood_reason: String,
}

/// The entry of its work queue that a session has in hand.
#[derive(Serialize)]
struct Work {
    id: String,
    turns: u32,
}

/// The last hook call, where it came to no verdict.
#[derive(Serialize)]
struct Open {
    event: String,
    reason: String,
    why: String,
    at: Ms,
}

/// Returns the object on one line, with its newline.
#[must_use]
pub fn line(report: &Report) -> String {
    let whole = Whole {
        at: report.now,
        store: text::line(&report.store),
        fleet: text::line(&report.fleet),
        mode: if report.shadow { "shadow" } else { "enforce" },
        away: report.away.as_deref().map(text::line),
        backlog: report.backlog.as_ref().map(|backlog| Waits {
            journal_bytes: backlog.unshipped,
            given_up_bytes: backlog.given_up,
            scopes: backlog.away,
            breaker_open: backlog.breaker.is_some(),
        }),
        hold: report.hold.as_ref().map(|hold| held(hold, None)),
        usage: UsageWindows::of(&report.usage, report.now),
        work: report.work.iter().map(QueueNumbers::of).collect(),
        totals: report.totals().into_iter().map(|(kind, n)| (kind.code(), n)).collect(),
        left_out: BTreeMap::from([("ended", report.left_out.ended), ("old", report.left_out.old)]),
        admissions_cut: report.journal_cut,
        sessions: report.rows.iter().map(|row| one(report, row)).collect(),
    };
    let mut line = serde_json::to_string(&whole).unwrap_or_default();
    line.push('\n');
    line
}

fn one<'a>(report: &Report, row: &'a Row) -> One<'a> {
    let session = &row.session;
    let rest = session.rest.as_ref().filter(|rest| rest.lasts(report.now));
    One {
        id: &row.id,
        name: text::line(&session.name),
        label: text::line(&session.label),
        shown: row.name.clone(),
        project: text::line_of(&session.project, text::LONGEST_FOLDER),
        scope: &session.scope,
        host: text::line(&session.host),
        state: row.kind.code(),
        back_by: row.back.code(),
        back_at: match row.back {
            Back::At(at) => Some(at),
            Back::Now => Some(report.now),
            _ => None,
        },
        attempts: row.attempts,
        attempts_limit: report.burst,
        strikes: row.strikes,
        api_strikes: row.api_strikes,
        admissions_last_hour: row.admissions,
        quota_left: row.quota.map(|quota| quota.left),
        last_reason: text::line(&session.last_reason),
        continuations: session.count,
        seen: session.seen,
        quiet_ms: row.quiet,
        needs_you: session.needs_you,
        woken: session.woken,
        engine: row.engine.map(|engine| match engine {
            ProcessStatus::Runs => "waits",
            ProcessStatus::Gone => "gone",
            ProcessStatus::Unknown => "unknown",
        }),
        pid: session.pid.map(|engine| engine.pid),
        rest: rest.map(|rest| Rests {
            kind: rest.kind.code(),
            since: rest.since,
            until: rest.until,
            topic: text::line(&rest.topic),
        }),
        work: session.work.as_ref().map(|work| Work { id: text::line(&work.id), turns: work.turns }),
        hold: row.hold.as_ref().map(|(hold, whole)| held(hold, Some(*whole))),
        undecided: row.undecided.as_ref().map(|mark| Open {
            event: text::line(&mark.event),
            reason: text::line(&mark.reason),
            why: text::line(&mark.why),
            at: mark.at,
        }),
        unmeasured_since: session.unmeasured,
        client_version: text::line(&session.client_version),
        profile: Some(row.profile.as_str()).filter(|name| !name.is_empty()),
        mood: session.rhythm.mood(report.now).word(),
        mood_reason: session.rhythm.reason(report.now),
    }
}

fn held(hold: &Hold, fleet: Option<bool>) -> Held {
    Held { by: text::line(&hold.by), reason: text::line(&hold.reason), since: hold.since, until: hold.until, fleet }
}
