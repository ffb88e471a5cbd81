//! What the admission script is asked and what it answers: the one place that knows the order of its arguments besides
//! the script's own head.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value};

use super::carry;
use crate::config::Config;
use crate::throttle::policy::{Class, LONGEST, Ms, Quota, millis};
use crate::throttle::state::Hold;
use crate::throttle::step::{Event, Reset, Step};
use crate::throttle::verdict::{Decision, Held, Outcome, Reason};

/// The admission script.
pub const SCRIPT: &str = include_str!("admit.lua");
/// Its SHA-1, as `EVALSHA` wants it.
pub const SCRIPT_SHA: &str = include_str!(concat!(env!("OUT_DIR"), "/admit.sha1"));

/// The scripts that are asked by digest, each with it.
pub(crate) const ASKED_BY_DIGEST: [(&str, &str); 2] = [(SCRIPT, SCRIPT_SHA), (carry::CARRY, carry::CARRY_SHA)];

/// The name of this store in the journal.
pub const NAME: &str = "dragonfly";

/// How long a scope's key outlives its furthest end: longer than any limit that anybody may ask with, since another
/// asker of the scope may have longer ones than this; and seven days of a release besides.
pub(super) const KEEP: Duration = LONGEST.saturating_add(Duration::from_secs(8 * 86_400));

/// The call of the script for a step: `EVALSHA` with its SHA-1, or `EVAL` with its text, KEYS and ARGV.
#[must_use]
pub fn invocation(how: &str, script: &str, config: &Config, step: &Step) -> Cmd {
    invocation_of(how, script, config, step, &step.known_born)
}

/// The same, asked by somebody who knows the store by this `born`.
///
/// Keys that the event does not need are not named: each may be on another shard.
pub(crate) fn invocation_of(how: &str, script: &str, config: &Config, step: &Step, known_born: &str) -> Cmd {
    let fleet = &config.fleet;
    let Step { scope, session, event, .. } = step;
    let class = event.asks();
    let stop = class == Some(Class::Stop);
    let policy = &config.policy;
    let (scope_quotas, fleet_quotas): (&[Quota], &[Quota]) =
        if stop { (&policy.stop.quotas, &policy.fleet_quotas) } else { (&[], &[]) };

    let touches = event.touches_scope();
    let (wakes, rings) = (writes_wake_stream(step), event.is_of_holds());
    let of_fleet = event.touches_fleet();
    let named = [true, touches, of_fleet, !scope_quotas.is_empty(), !fleet_quotas.is_empty(), wakes, rings];
    let keys = 1 + named.into_iter().filter(|n| *n).count();
    // Room for all of it at once: growing piece by piece costs more than the rest.
    let mut call = Cmd::with_capacity(64, 1024);
    call.arg(how).arg(script).arg(keys).arg(&config.stream);
    let mut key = |of: &str, name: &str, tail: &str| {
        call.arg(["frosty:{", fleet, "}:", of, name, tail].concat());
    };
    key("session:", session, "");
    if touches {
        key("scope:", scope, "");
    }
    if of_fleet {
        key("fleet", "", "");
    }
    if !scope_quotas.is_empty() {
        key("scope:", scope, ":quota");
    }
    if !fleet_quotas.is_empty() {
        key("fleet", "", ":quota");
    }
    if wakes {
        key("session:", session, ":wake");
    }
    if rings && event.is_fleets() {
        key("fleet", "", ":bell");
    } else if rings {
        key("scope:", scope, ":bell");
    }

    let mut args = Args(call);
    let (held, rest, failure, registered) = match event {
        Event::Ask { fence, .. } => (Some(*fence), None, None, None),
        Event::Stop { rest } => (step.late.map(millis), rest.as_ref(), None, None),
        Event::Resume { rest, .. } => (step.late.map(millis), rest.as_ref(), None, None),
        Event::StopFailure(failure) => (step.late.map(millis), None, Some(failure), None),
        Event::Expired { fence } => (Some(*fence), None, None, None),
        Event::SessionStart { label } => (None, None, None, Some(label.as_str())),
        _ => (None, None, None, None),
    };
    args.text(code(event)).maybe(held).flag(step.paced);
    args.int(step.host_ms).text(&step.host).int(step.r.into()).text(&step.id);
    args.text(scope).text(session);
    args.text(&step.name).text(registered.unwrap_or_default());
    args.text(rest.map_or("", |r| r.kind.code())).maybe(rest.and_then(|r| r.lasting).map(millis));
    args.text(rest.map_or("", |r| &r.topic));
    args.text(failure.map_or("", |f| f.class.code()));
    let (at, after) = match failure.and_then(|f| f.reset) {
        Some(Reset::At(at)) => (Some(at), None),
        Some(Reset::After(after)) => (None, Some(millis(after))),
        None => (None, None),
    };
    args.maybe(at).maybe(after);
    let hold = match event {
        Event::Hold(hold) => Some(hold),
        _ => None,
    };
    args.flag(failure.is_some_and(|f| f.too_long));
    args.text(failure.map(|f| &f.cure).or(hold.map(|h| &h.reason)).map_or("", String::as_str));
    args.text(&step.pid.map(|pid| pid.to_string()).unwrap_or_default());
    args.text(match event {
        Event::Wake { note, .. } => note,
        _ => "",
    });
    args.text(&step.event_name).text(&step.detail).text(fleet).text(NAME);
    args.int(config.journal_max.into()).int(millis(KEEP));
    let limits = policy.class(class.unwrap_or(Class::Stop));
    let cooldown = &limits.cooldown;
    args.int(millis(limits.min_interval));
    args.int(limits.burst.map_or(0, |b| b.limit.into())).int(limits.burst.map_or(0, |b| millis(b.window)));
    args.int(millis(cooldown.backoff.base)).int(cooldown.backoff.factor.into()).int(millis(cooldown.backoff.max));
    args.int(cooldown.jitter.into()).int(millis(cooldown.calm));
    let api = &policy.api_error;
    args.int(millis(api.base)).int(api.factor.into()).int(millis(api.max));
    args.text(known_born);
    args.text(hold.map_or("", |h| &h.by)).maybe(hold.and_then(|h| h.lasting).map(millis));
    args.int(policy.hold_after_strikes.into()).flag(step.shadow).flag(limits.window_limits);
    args.text(&step.client.map(|client| client.to_string()).unwrap_or_default()).text(step.claim.code());
    let at_once = match event {
        Event::Wake { spread, .. } => !spread,
        Event::Release { at_once, .. } => *at_once,
        _ => hold.is_some_and(|h| h.at_once),
    };
    args.flag(at_once).flag(failure.is_some_and(|f| f.of_key));
    args.int(millis(policy.spread.step)).int(millis(policy.spread.cold));
    args.maybe(match event {
        Event::Resume { fence, .. } => *fence,
        _ => None,
    });
    args.flag(step.named_by_project).text(&step.project);
    args.flag(hold.is_some_and(|h| h.replace));
    args.quotas(scope_quotas).quotas(fleet_quotas);
    args.0
}

/// Whether a waiting engine may have to hear of the step. A stop that does not wait has no engine beside it, and is spared
/// the key.
fn writes_wake_stream(step: &Step) -> bool {
    match step.event {
        Event::Stop { .. } | Event::Resume { .. } | Event::StopFailure(_) => step.paced,
        Event::Wake { .. } => true,
        _ => step.event.raises_fence(),
    }
}

/// The event as the script knows it.
fn code(event: &Event) -> &'static str {
    match event {
        Event::Stop { .. } => "stop",
        Event::Resume { .. } => "resume",
        Event::Ask { renew: false, .. } => "ask",
        Event::Ask { renew: true, .. } => "renew",
        Event::StopFailure(_) => "failure",
        Event::PreCompactAuto => "compact",
        Event::PersonPrompt => "prompt",
        Event::ClientPrompt { of_admission: false } => "client_prompt",
        Event::ClientPrompt { of_admission: true } => "admission_prompt",
        Event::SessionStart { .. } => "start",
        Event::SessionEnd => "end",
        Event::Sleep => "sleep",
        Event::NeedsYou => "needs_you",
        Event::Wake { .. } => "wake",
        Event::Hold(hold) if hold.fleet => "hold_fleet",
        Event::Hold(_) => "hold",
        Event::Release { fleet: true, .. } => "release_fleet",
        Event::Release { fleet: false, .. } => "release",
        Event::Expired { .. } => "expired",
        Event::Other => "other",
    }
}

struct Args(Cmd);

impl Args {
    fn text(&mut self, value: &str) -> &mut Self {
        self.0.arg(value);
        self
    }

    fn int(&mut self, value: Ms) -> &mut Self {
        self.0.arg(value);
        self
    }

    fn maybe(&mut self, value: Option<Ms>) -> &mut Self {
        match value {
            Some(value) => self.int(value),
            None => self.text(""),
        }
    }

    fn flag(&mut self, value: bool) -> &mut Self {
        self.text(if value { "1" } else { "0" })
    }

    fn quotas(&mut self, quotas: &[Quota]) -> &mut Self {
        self.0.arg(quotas.len());
        for quota in quotas {
            self.int(quota.limit.into()).int(millis(quota.per));
        }
        self
    }
}

/// The fields of a hold, in the order of [`hold`].
pub const HOLD: [&str; 4] = ["hold_reason", "hold_by", "hold_since", "hold_until"];

/// A stored whole number as the script reads it: up to fifteen digits, and nothing else.
#[must_use]
pub fn whole(text: &str) -> Option<Ms> {
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A stored hold by its fields [`HOLD`], as the script reads it: whatever is left of one holds.
#[must_use]
pub fn hold(fields: &Value) -> Option<Hold> {
    let fields = Vec::<Option<String>>::from_redis_value_ref(fields).unwrap_or_default();
    let text = |i: usize| fields.get(i).and_then(Clone::clone).unwrap_or_default();
    if [0, 1, 2].iter().all(|i| text(*i).is_empty()) {
        return None;
    }
    Some(Hold { reason: text(0), by: text(1), since: whole(&text(2)).unwrap_or(0), until: whole(&text(3)) })
}

/// The server's clock, by its answer to `TIME`.
#[must_use]
pub fn time(answer: &Value) -> Option<Ms> {
    let parts = Vec::<String>::from_redis_value_ref(answer).ok()?;
    let number = |i: usize| parts.get(i).and_then(|part| whole(part));
    Some(number(0)?.saturating_mul(1000).saturating_add(number(1)? / 1000))
}

/// Whether the script answered that the journal could not take its entry.
pub(crate) fn unjournaled(answer: &Value) -> bool {
    matches!(answer, Value::Array(fields) if matches!(fields.get(15), Some(Value::BulkString(said)) if said == b"1"))
}

/// The script's answer: twenty-one strings, an empty one where there is nothing to say.
#[must_use]
pub fn decision(answer: &Value) -> Option<Decision> {
    let Value::Array(fields) = answer else { return None };
    let text = |i: usize| match fields.get(i)? {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    let number = |i: usize| text(i).and_then(|t| if t.is_empty() { None } else { t.parse::<i64>().ok() });
    let outcome = match text(0)? {
        "admit" => Outcome::Admit,
        "refuse" => Outcome::Refuse,
        "record" => Outcome::Record,
        _ => return None,
    };
    let reason = Reason::from_code(text(1)?)?;
    // An admission whose reason is a refusal is nobody's verdict.
    let admits = matches!(reason, Reason::Admitted | Reason::Probe);
    if admits != (outcome == Outcome::Admit) {
        return None;
    }
    let held = (reason == Reason::Hold || text(8).is_some_and(|by| !by.is_empty())).then(|| Held {
        by: text(8).unwrap_or_default().to_owned(),
        reason: text(9).unwrap_or_default().to_owned(),
        fleet: text(14) == Some("1"),
    });
    Some(Decision {
        outcome,
        reason,
        retry_after: number(2).map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
        attempts: u32::try_from(number(3)?).ok()?,
        strikes: u32::try_from(number(4)?).ok()?,
        fence: number(5),
        reason_changed: text(6)? == "1",
        held,
        replaced: number(19).map(|since| Hold {
            by: text(17).unwrap_or_default().to_owned(),
            reason: text(18).unwrap_or_default().to_owned(),
            since,
            until: number(20),
        }),
        count: u32::try_from(number(10)?).ok()?,
        note: text(11)?.to_owned(),
        renewed: text(12)? == "1",
        now: number(7)?,
        born: text(13)?.to_owned(),
        client: text(16)?.parse().ok(),
    })
}
