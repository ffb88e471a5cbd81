//! What the server's hashes say, read as the admission script reads them: for looking, not for deciding.

use redis::{FromRedisValue, Value};

use super::script::whole;
use crate::throttle::policy::Ms;
use crate::throttle::state::{
    Begun, ClassState, FleetState, Hold, Phase, QuotaLog, Rest, RestKind, ScopeState, SessionState, Span,
};

/// The fields of a session, in the order of [`session`].
pub(super) const SESSION: [&str; 26] = [
    "scope",
    "name",
    "label",
    "rest",
    "rest_since",
    "rest_until",
    "rest_topic",
    "seen",
    "state",
    "pid",
    "host",
    "last_reason",
    "needs_you",
    "woken",
    "note",
    "count",
    "fence",
    "begun",
    "held_by",
    "held_reason",
    "by_person",
    "client",
    "slot",
    "given",
    "named_by_project",
    "project",
];

/// A session's hash.
pub(super) fn session(fields: &Value) -> SessionState {
    let mut next = texts(fields);
    let (scope, name, label) = (next(), next(), next());
    let (kind, since, until, topic) = (next(), next(), next(), next());
    let rest = RestKind::from_code(&kind).map(|kind| Rest {
        kind,
        since: time(&since).unwrap_or(0),
        until: time(&until),
        topic,
    });
    SessionState {
        scope,
        name,
        label,
        rest,
        seen: time(&next()).unwrap_or(0),
        phase: Phase::from_code(&next()),
        pid: next().parse().ok(),
        host: next(),
        last_reason: next(),
        needs_you: next() == "1",
        woken: next() == "1",
        note: next(),
        count: number(&next()),
        fence: time(&next()),
        begun: next().split_once(' ').and_then(|(at, id)| Some(Begun { at: time(at)?, id: id.to_owned() })),
        held_by: next(),
        held_reason: next(),
        by_person: next() == "1",
        client: next().parse().ok(),
        slot: time(&next()),
        given: next(),
        named_by_project: next() == "1",
        project: next(),
    }
}

/// The fields of a scope, in the order of [`scope`]: first those of continuations.
pub(super) const SCOPE: [&str; 23] = [
    "hold_reason",
    "hold_by",
    "hold_since",
    "hold_until",
    "stop_admitted_at",
    "stop_attempts",
    "stop_cooldown_start",
    "stop_cooldown_end",
    "stop_strikes",
    "api_start",
    "api_end",
    "api_strikes",
    "api_holds",
    "taken",
    "released",
    "api_of_key",
    "api_row",
    "compact_admitted_at",
    "compact_attempts",
    "compact_cooldown_start",
    "compact_cooldown_end",
    "compact_strikes",
    "trips",
];

/// So many of them concern who is shown: fields are what takes the time where thousands are read.
pub(super) const OF_CONTINUATIONS: usize = 16;

/// A scope's hash; what was not asked for is as if it were not there.
pub(super) fn scope(fields: &Value) -> ScopeState {
    let mut next = texts(fields);
    ScopeState {
        hold: hold(&mut next),
        stop: class(&mut next),
        api: span(&next(), &next()),
        api_strikes: number(&next()),
        api_holds: number(&next()),
        taken: time(&next()),
        released: time(&next()),
        api_of_key: next() == "1",
        api_row: number(&next()),
        compact: class(&mut next),
        trips: next().split(',').filter_map(time).collect(),
        quota: QuotaLog::default(),
    }
}

/// The fields of a fleet, in the order of [`fleet`].
pub(super) const FLEET: [&str; 15] = [
    "hold_reason",
    "hold_by",
    "hold_since",
    "hold_until",
    "released",
    "born",
    "lost",
    "hold_at_once",
    "limit_start",
    "limit_end",
    "answered",
    "slot_from",
    "slot_next",
    "freed_at",
    "at_once",
];

/// A fleet's hash.
pub(super) fn fleet(fields: &Value) -> FleetState {
    let mut next = texts(fields);
    FleetState {
        hold: hold(&mut next),
        released: time(&next()),
        born: next(),
        lost: time(&next()),
        hold_at_once: next() == "1",
        limit: span(&next(), &next()),
        answered: time(&next()),
        slots: span(&next(), &next()),
        freed_at: time(&next()),
        at_once: time(&next()),
        quota: QuotaLog::default(),
    }
}

/// When a quota's admissions were, oldest first, by the answer to `ZRANGE … WITHSCORES`.
pub(super) fn admitted(answer: &Value) -> Vec<Ms> {
    let entries = Vec::<String>::from_redis_value_ref(answer).unwrap_or_default();
    entries.chunks(2).filter_map(|entry| time(entry.get(1)?)).collect()
}

fn hold(next: &mut impl FnMut() -> String) -> Option<Hold> {
    let (reason, by, since, until) = (next(), next(), next(), next());
    // Whatever is left of a hold holds.
    let is_there = [&reason, &by, &since].iter().any(|field| !field.is_empty());
    is_there.then(|| Hold { reason, by, since: time(&since).unwrap_or(0), until: time(&until) })
}

fn class(next: &mut impl FnMut() -> String) -> ClassState {
    ClassState {
        admitted_at: time(&next()),
        attempts: next().split(',').filter_map(time).collect(),
        cooldown: span(&next(), &next()),
        strikes: number(&next()),
    }
}

fn span(start: &str, end: &str) -> Option<Span> {
    let end = time(end)?;
    Some(Span { start: time(start).unwrap_or(0), end })
}

/// The fields one after the other; one that is not there is empty.
fn texts(fields: &Value) -> impl FnMut() -> String {
    let fields = Vec::<Option<String>>::from_redis_value_ref(fields).unwrap_or_default();
    let mut fields = fields.into_iter();
    move || fields.next().flatten().unwrap_or_default()
}

fn time(text: &str) -> Option<Ms> {
    whole(text)
}

fn number(text: &str) -> u32 {
    whole(text).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}
