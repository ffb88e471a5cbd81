//! What a scope's file tells the server before the server decides again: `carry.lua` and its arguments.

use redis::{Cmd, Value, cmd};

use super::mirror::Doors;
use super::script::KEEP;
use super::server_record::FleetHold;
use super::state_file::ScopeFile;
use crate::clock;
use crate::config::Config;
use crate::throttle::policy::{Ms, millis};
use crate::throttle::process::Process;
use crate::throttle::state::{Hold, SessionState, Span};

/// The script. Its text is sent with the first call after each change of store.
pub(super) const CARRY: &str = include_str!("carry.lua");
pub(super) const CARRY_SHA: &str = include_str!(concat!(env!("OUT_DIR"), "/carry.sha1"));

/// No more sessions of a scope are told of, the last seen first: an ask has a deadline.
const MOST_SESSIONS: usize = 200;

const OWN: &str = "own";
const MIRROR: &str = "mirror";

/// What is told of the whole fleet.
#[derive(Clone, Copy)]
pub(super) struct FleetTold<'a> {
    /// Its hold: the server's earlier word, or one that was opened here.
    pub(super) hold: Option<&'a FleetHold>,
    /// When its hold was lifted here (this machine's clock).
    pub(super) released: Option<Ms>,
}

/// The calls that tell the server of all that the file holds, as seen at `now` (this machine's clock): one for each
/// session, at least one. Whatever comes later than `valid_until` (the server's clock) is not heard.
pub(super) fn invocations(
    config: &Config,
    scope: &str,
    file: &ScopeFile,
    told_of_fleet: FleetTold<'_>,
    known_born: &str,
    valid_until: Option<Ms>,
    now: Ms,
) -> Vec<Cmd> {
    let call = |how: [&str; 2], session, admitted: &[Ms]| {
        invocation(how, config, scope, file, told_of_fleet, known_born, session, valid_until, admitted, now)
    };
    let admitted = admitted(config, file, now);
    let mut sessions: Vec<_> = file.sessions.iter().collect();
    sessions.sort_by_key(|(_, s)| std::cmp::Reverse(s.seen));
    let mut told = vec![call(["EVAL", CARRY], sessions.first().copied(), &admitted)];
    let others = sessions.into_iter().take(MOST_SESSIONS).skip(1);
    told.extend(others.map(|session| call(["EVALSHA", CARRY_SHA], Some(session), &[])));
    told
}

/// The server's `born`, by its answer.
pub(super) fn born(answer: &Value) -> Option<String> {
    let Value::Array(parts) = answer else { return None };
    match parts.as_slice() {
        [Value::BulkString(born)] if !born.is_empty() => String::from_utf8(born.clone()).ok(),
        _ => None,
    }
}

#[allow(clippy::too_many_arguments, reason = "all that a call tells of")]
fn invocation(
    [how, script]: [&str; 2],
    config: &Config,
    scope: &str,
    file: &ScopeFile,
    told_of_fleet: FleetTold<'_>,
    known_born: &str,
    session: Option<(&String, &SessionState)>,
    valid_until: Option<Ms>,
    admitted: &[Ms],
    now: Ms,
) -> Cmd {
    let fleet = &config.fleet;
    let away = file.away.as_ref();
    let quotas = [!config.policy.stop.quotas.is_empty(), !config.policy.fleet_quotas.is_empty()];
    let key = |of: &str, name: &str, tail: &str| ["frosty:{", fleet, "}:", of, name, tail].concat();
    let mut keys =
        vec![key("session:", session.map_or("", |(id, _)| id), ""), key("scope:", scope, ""), key("fleet", "", "")];
    keys.extend(quotas[0].then(|| key("scope:", scope, ":quota")));
    keys.extend(quotas[1].then(|| key("fleet", "", ":quota")));
    let mut call = cmd(how);
    call.arg(script).arg(keys.len()).arg(keys);
    let mut told = Told { call, now };

    let (mirror, fleet_hold) = (file.mirror.as_ref(), told_of_fleet.hold);
    // The fleet's hold and the scope's are told together, so they bear one `born`: where they differ, both are old.
    let mirror_born = mirror.map(|m| &m.born).or_else(|| fleet_hold.map(|f| &f.born));
    let seen = mirror.map(|m| m.seen).or_else(|| fleet_hold.map(|f| f.seen)).unwrap_or(now);
    told.text(&clock::id()).text(known_born).text(if away.is_some() { "1" } else { "" });
    told.text(mirror_born.map_or("", String::as_str)).age(Some(seen)).number(millis(KEEP));
    // Lifted by hand, and by a good stop: that lifts a hold of API errors only.
    // By a clock that was ahead it would lift what came after it.
    told.age(away.and_then(|a| a.released).filter(|at| *at <= now));
    told.age(file.scope.released.filter(|at| away.is_some_and(|a| *at >= a.since) && *at <= now));

    // What changed since the take-over is the scope's own; what did not is the server's own word.
    let empty = Doors::default();
    let own = Doors::of(&file.scope);
    let brought = away.map_or(&empty, |a| &a.brought);
    let said = mirror.map_or(&empty, |m| &m.doors);
    let is_own = away.is_some();
    if is_own && own.hold.is_some() && own.hold != brought.hold {
        told.hold(OWN, own.hold.as_ref());
    } else {
        told.hold(MIRROR, said.hold.as_ref());
    }
    told.hold(if fleet_hold.is_some_and(|f| f.own) { OWN } else { MIRROR }, fleet_hold.map(|f| &f.hold));
    told.age(told_of_fleet.released.filter(|at| *at <= now));
    told.span(is_own, own.stop, brought.stop, said.stop, own.stop_strikes.max(said.stop_strikes));
    told.span(is_own, own.compact, brought.compact, said.compact, own.compact_strikes.max(said.compact_strikes));
    told.span(is_own, own.api, brought.api, said.api, own.api_strikes.max(said.api_strikes));
    told.session(session.map(|(_, s)| s), away.map(|a| a.since), scope);

    told.text(&valid_until.map(|at| at.to_string()).unwrap_or_default());
    told.text(if quotas[0] { "1" } else { "" }).text(if quotas[1] { "1" } else { "" });
    told.number(Ms::try_from(admitted.len()).unwrap_or(0));
    for at in admitted {
        told.age(Some(*at)).text(&format!("{at}-{scope}"));
    }
    told.call
}

/// The admissions that a quota still counts.
fn admitted(config: &Config, file: &ScopeFile, now: Ms) -> Vec<Ms> {
    let Some(away) = &file.away else { return Vec::new() };
    let quotas = config.policy.stop.quotas.iter().chain(&config.policy.fleet_quotas);
    let longest = quotas.map(|q| millis(q.per)).max().unwrap_or(0);
    away.admitted.iter().copied().filter(|at| *at > now.saturating_sub(longest)).collect()
}

struct Told {
    call: Cmd,
    now: Ms,
}

impl Told {
    fn text(&mut self, text: &str) -> &mut Self {
        self.call.arg(text);
        self
    }

    fn number(&mut self, n: Ms) -> &mut Self {
        self.call.arg(n.max(0));
        self
    }

    /// How long ago; the two clocks need not agree.
    fn age(&mut self, at: Option<Ms>) -> &mut Self {
        match at {
            Some(at) => self.number(self.now.saturating_sub(at)),
            None => self.text(""),
        }
    }

    /// How long from now.
    fn left(&mut self, at: Option<Ms>) -> &mut Self {
        match at {
            Some(at) => self.number(at.saturating_sub(self.now)),
            None => self.text(""),
        }
    }

    fn hold(&mut self, kind: &str, hold: Option<&Hold>) {
        match hold.filter(|h| h.holds(self.now)) {
            Some(h) => self.text(kind).text(&h.reason).text(&h.by).age(Some(h.since)).left(h.until),
            None => self.text("").text("").text("").text("").text(""),
        };
    }

    fn span(&mut self, is_own: bool, own: Option<Span>, brought: Option<Span>, said: Option<Span>, strikes: u32) {
        let (kind, span) = if is_own && own != brought { (OWN, own) } else { (MIRROR, said) };
        match span {
            Some(s) => self.text(kind).age(Some(s.start)).left(Some(s.end)),
            None => self.text("").text("").text(""),
        };
        self.number(strikes.into());
    }

    fn session(&mut self, session: Option<&SessionState>, away: Option<Ms>, scope: &str) {
        let Some(s) = session else {
            self.text("");
            (0..19).for_each(|_| {
                self.text("");
            });
            return;
        };
        let kind = if away.is_some_and(|since| s.seen >= since || s.woken) { OWN } else { MIRROR };
        let rest = s.rest.as_ref().filter(|r| r.lasts(self.now));
        self.text(kind).text(&s.fence.map(|f| f.to_string()).unwrap_or_default());
        self.text(rest.map_or("", |r| r.kind.code())).age(rest.map(|r| r.since)).left(rest.and_then(|r| r.until));
        self.text(rest.map_or("", |r| &r.topic)).text(if s.woken { "1" } else { "" }).text(&s.note);
        self.number(s.count.into());
        self.age(s.begun.as_ref().map(|b| b.at)).text(s.begun.as_ref().map_or("", |b| &b.id));
        self.text(if s.scope.is_empty() { scope } else { &s.scope }).text(&s.name).text(&s.label).text(&s.host);
        let process = |process: Option<Process>| process.map(|p| p.to_string()).unwrap_or_default();
        self.text(&process(s.pid)).text(&process(s.client)).age(Some(s.seen));
        self.text(if s.named_by_project { "1" } else { "" }).text(&s.project);
    }
}
