//! The table of the configuration keys: type, bounds, default, writer and meaning of each.
//!
//! The parser takes its bounds from here. The table itself is for `frosty config` and the reference page: the hook
//! binary uses the bounds and never the table, so its text is not linked there.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::{Arm, Config, Notify, Route, SessionRoute, StoreChoice};
use crate::duration;
use crate::policy::limits::{Backoff, Burst, ClassPolicy, Cooldown, Idle, IdleRow, LONGEST, Policy, Quota, Spread};
use crate::policy::pace::{Pace, WindowPace};
use crate::secret;
use crate::text;

const MS: Duration = Duration::from_millis(1);
pub(crate) const ANY_LENGTH: RangeInclusive<Duration> = Duration::ZERO..=LONGEST;
pub(crate) const POSITIVE: RangeInclusive<Duration> = MS..=LONGEST;
pub(crate) const RESUME_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=LONGEST;
pub(crate) const SPREAD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
pub(crate) const BUDGET: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(1);
pub(crate) const JOURNAL_MAX: RangeInclusive<u32> = 100..=100_000_000;
pub(crate) const IDLE_UNITS: RangeInclusive<u32> = 0..=1_000_000;
pub(crate) const QUIET: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
pub(crate) const WORK_TURNS: RangeInclusive<u32> = 1..=1000;
pub(crate) const WORK_ATTEMPTS: RangeInclusive<u32> = 1..=100;
pub(crate) const WORK_LEASE: RangeInclusive<Duration> = Duration::from_secs(1)..=LONGEST;
pub(crate) const CYCLES: RangeInclusive<u32> = 0..=1000;
pub(crate) const CONTINUATIONS: RangeInclusive<u32> = 0..=100_000;
pub(crate) const STRIKES: RangeInclusive<u32> = 0..=1000;
pub(crate) const BURST_LIMIT: RangeInclusive<u32> = 1..=1000;
pub(crate) const QUOTA_LIMIT: RangeInclusive<u32> = 1..=10_000;
/// In thousandths.
pub(crate) const FACTOR: RangeInclusive<u32> = 1000..=100_000;
/// In per cent.
pub(crate) const PACE_CAP: RangeInclusive<u32> = 1..=100;
/// In thousandths.
pub(crate) const JITTER: RangeInclusive<u32> = 0..=1000;

/// The type of a key's value.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A text.
    Text,
    /// A text, or null for none.
    OptionalText,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A duration such as `15s` within these bounds.
    Duration(RangeInclusive<Duration>),
    /// A whole number within these bounds.
    Whole(RangeInclusive<u32>),
    /// A number with at most three decimals; the bounds are in thousandths.
    Decimal(RangeInclusive<u32>),
    /// A list of `{"limit": 100, "per": "1h"}`.
    Quotas,
    /// The caps of the usage windows, or null for none.
    Pace,
    /// A list of `{"units": 3, "rest": "2m"}`, or the word `by_use`.
    IdleTable,
    /// A list of commands.
    Commands,
    /// A list of routes.
    Routes,
    /// An object of profiles, by name.
    Profiles,
    /// An object of agents, by name.
    Agents,
    /// A list of signals, or null for all.
    Signals,
    /// An object of the keys below it; null switches it off.
    Group,
}

/// What a project's file may do with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByProject {
    /// Nothing: the key belongs to the user.
    No,
    /// Set it.
    Yes,
    /// Set a value that is not smaller than the user's.
    Larger,
    /// Set a value that is not larger than the user's.
    Smaller,
    /// Add entries to the user's.
    Adds,
    /// Set a list of some of the user's entries.
    Fewer,
}

/// One key of the configuration.
#[derive(Debug, Clone)]
pub struct Key {
    /// The dotted name.
    pub name: &'static str,
    /// The type of the value.
    pub kind: Kind,
    /// The default, as JSON.
    pub default: &'static str,
    /// What a project's file may do with it.
    pub by_project: ByProject,
    /// The environment variable that sets it.
    pub variable: Option<&'static str>,
    /// The flag of `frosty hook` that sets it.
    pub flag: Option<&'static str>,
    /// The meaning, as a sentence.
    pub about: &'static str,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, default: &'static str, by: ByProject, about: &'static str) -> Self {
        Self { name, kind, default, by_project: by, variable: None, flag: None, about }
    }

    const fn with_variable(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }

    const fn with_flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// Describes the values that the key accepts.
    #[must_use]
    pub fn values(&self) -> String {
        match &self.kind {
            Kind::Text => "text".to_owned(),
            Kind::OptionalText => "text or `null`".to_owned(),
            Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "),
            Kind::Duration(within) => {
                format!("duration, {} to {}", duration::show(*within.start()), duration::show(*within.end()))
            }
            Kind::Whole(within) => format!("whole number, {} to {}", within.start(), within.end()),
            Kind::Decimal(within) => format!("number, {} to {}", decimal(*within.start()), decimal(*within.end())),
            Kind::Quotas => "list of quotas, at most 8".to_owned(),
            Kind::Pace => "object of `five_hour` and `seven_day`, or `null`".to_owned(),
            Kind::IdleTable => "list of rows, at most 16, or `by_use`".to_owned(),
            Kind::Commands => "list of commands, at most 16".to_owned(),
            Kind::Routes => "list of routes, at most 64".to_owned(),
            Kind::Profiles => "object of profiles".to_owned(),
            Kind::Agents => "object of agents".to_owned(),
            Kind::Signals => "list of signals, at most 32, or `null`".to_owned(),
            Kind::Group => "object or `null`".to_owned(),
        }
    }
}

pub(super) fn decimal(thousandths: u32) -> Value {
    if thousandths.is_multiple_of(1000) {
        (thousandths / 1000).into()
    } else {
        (f64::from(thousandths) / 1000.0).into()
    }
}

/// Returns the configuration as JSON, without passwords: the values of [`KEYS`] as nested objects.
#[must_use]
pub fn values(config: &Config) -> Value {
    // Each field is named, so that a new one cannot be forgotten here.
    let Config {
        store,
        fleet,
        scope,
        name,
        named_by_project: _,
        stream,
        prompt,
        policy,
        arm,
        park_max,
        print_wait,
        resume_after,
        budget,
        journal_max,
        wake_on,
        notify,
        routes,
        profiles,
        agents,
        prompts: _,
        shadow,
        state: _,
    } = config;
    let Policy {
        stop,
        compact,
        api_error,
        fleet_quotas,
        hold_after_strikes,
        spread,
        idle,
        quiet,
        pace,
        work,
        cadence: _,
    } = policy;
    let Spread { step, cold } = spread;
    let mut stop_keys = class(stop);
    stop_keys.insert("quotas".to_owned(), quotas(&stop.quotas));
    stop_keys.insert("prompt".to_owned(), json!(prompt));
    json!({
        "store": match store {
            StoreChoice::Auto(_) => "auto",
            StoreChoice::Embedded => "embedded",
            StoreChoice::Server(server) => &server.shown,
        },
        "fleet": fleet, "scope": scope, "name": name, "stream": stream,
        "stop": stop_keys, "compact": class(compact), "api_error": backoff(*api_error),
        "fleet_quotas": quotas(fleet_quotas), "pace": pace.as_ref().map(pace_keys), "hold_after_strikes": hold_after_strikes,
        "spread": {"step": duration::show(*step), "cold": duration::show(*cold)},
        "idle": idle.as_ref().map(idle_keys), "person": {"quiet": duration::show(*quiet)},
        "arm": match arm { Arm::Always => "always", Arm::Manual => "manual" },
        "mode": if *shadow { "shadow" } else { "enforce" },
        "park_max": duration::show(*park_max), "print_wait": duration::show(*print_wait),
        "resume_after": duration::show(*resume_after), "budget": duration::show(*budget),
        "work": work.mode.name(), "work_max_turns": work.max_turns, "work_max_attempts": work.max_attempts,
        "work_lease": duration::show(work.lease),
        "journal_max": journal_max, "wake_on": wake_on, "notify": notify.iter().map(command).collect::<Vec<_>>(),
        "routes": routes.iter().map(route).collect::<Vec<_>>(),
        "agents": agents.iter().map(|(agent, profile)| (text::decoded(agent), json!({"profile": profile}))).collect::<Map<_, _>>(),
        "profiles": profiles.iter().map(|(name, profile)| (name.clone(), profile.keys())).collect::<Map<_, _>>(),
    })
}

#[allow(clippy::indexing_slicing, reason = "assigning to a key of a JSON object inserts it")]
fn class(class: &ClassPolicy) -> Map<String, Value> {
    let ClassPolicy { min_interval, burst, window_limits: _, cooldown, quotas: _ } = class;
    let Cooldown { backoff: of, jitter, calm } = cooldown;
    let mut cooldown = backoff(*of);
    cooldown["jitter"] = decimal(*jitter);
    cooldown["calm"] = duration::show(*calm).into();
    let burst = burst.map(|Burst { limit, window }| json!({"limit": limit, "window": duration::show(window)}));
    let keys = [
        ("min_interval", duration::show(*min_interval).into()),
        ("burst", burst.unwrap_or_default()),
        ("cooldown", cooldown),
    ];
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn backoff(backoff: Backoff) -> Value {
    let Backoff { base, factor, max } = backoff;
    json!({"base": duration::show(base), "factor": decimal(factor), "max": duration::show(max)})
}

#[allow(clippy::indexing_slicing, reason = "assigning to a key of a JSON object inserts it")]
pub(super) fn idle_keys(idle: &Idle) -> Value {
    let Idle { growth, looked_max, table } = idle;
    let mut keys = backoff(*growth);
    keys["looked_max"] = duration::show(*looked_max).into();
    keys["table"] =
        table.iter().map(|IdleRow { units, rest }| json!({"units": units, "rest": duration::show(*rest)})).collect();
    keys
}

fn pace_keys(pace: &Pace) -> Value {
    let windows = [("five_hour", pace.five_hour), ("seven_day", pace.seven_day)];
    let keys = windows.into_iter().filter_map(|(name, window)| {
        let WindowPace { cap, spread } = window?;
        Some((name.to_owned(), json!({"cap": cap, "spread": spread})))
    });
    Value::Object(keys.collect())
}

fn quotas(quotas: &[Quota]) -> Value {
    quotas.iter().map(|Quota { limit, per }| json!({"limit": limit, "per": duration::show(*per)})).collect()
}

fn route(route: &Route) -> Value {
    let Route { to, from, topic, cover, priority, ack_turn: _, run, session } = route;
    let run = run.as_ref().map(|argv| argv.iter().map(|word| secret::scrubbed(word)).collect::<Vec<_>>());
    let mut shown = json!({"to": to, "from": from, "priority": priority.code(), "ack": route.ack(), "run": run});
    if let Value::Object(shown) = &mut shown {
        let names = [("topic", topic), ("cover", cover)].into_iter();
        shown.extend(names.filter_map(|(key, name)| Some((key.to_owned(), name.clone()?.into()))));
        shown.extend(session.as_ref().map(session_keys).unwrap_or_default());
    }
    shown
}

/// Returns the fields of a session. A value in its environment may be a secret.
fn session_keys(session: &SessionRoute) -> Map<String, Value> {
    let SessionRoute { kind, folder, model, system_prompt, env, keys, max_sessions, idle_stop } = session;
    let env: Map<String, Value> = env.keys().map(|name| (name.clone(), "***".into())).collect();
    let keys: Vec<_> = keys.iter().map(|path| path.to_string_lossy()).collect();
    let fields = [
        ("session", kind.name().into()),
        ("folder", folder.as_ref().map(|dir| dir.to_string_lossy()).into()),
        ("model", model.clone().into()),
        ("system_prompt", system_prompt.clone().into()),
        ("env", env.into()),
        ("keys", keys.into()),
        ("max_sessions", (*max_sessions).into()),
        ("idle_stop", duration::show(*idle_stop).into()),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn command(notify: &Notify) -> Value {
    let Notify { argv, within } = notify;
    let shown = match argv.as_slice() {
        [shell, flag, line] if shell == "/bin/sh" && flag == "-c" => secret::command([line.as_str()]),
        words => secret::command(words.iter().map(String::as_str)),
    };
    json!({"command": shown, "timeout": duration::show(*within)})
}

use ByProject::{Adds, Fewer, Larger, No, Smaller, Yes};

/// Every key, in the order of the reference page.
pub const KEYS: &[Key] = &[
    Key::new(
        "store",
        Kind::Text,
        r#""auto""#,
        No,
        "The store: `auto`, `embedded`, or `redis://[user:password@]host[:port][/database]`.",
    )
    .with_variable("FROSTY_STORE")
    .with_flag("--store"),
    Key::new("fleet", Kind::Text, r#""default""#, No, "The fleet: all scopes that share one API key.")
        .with_variable("FROSTY_FLEET")
        .with_flag("--fleet"),
    Key::new(
        "scope",
        Kind::OptionalText,
        "null",
        No,
        "The scope that the limits apply to; `null` is the tmux pane, else the session.",
    )
    .with_variable("FROSTY_SCOPE")
    .with_flag("--scope"),
    Key::new("name", Kind::OptionalText, "null", Yes, "The name that the session is shown by, and its agent's work and profile go by. A project's name counts only where you gave none, and only for the display.")
        .with_variable("FROSTY_NAME"),
    Key::new(
        "arm",
        Kind::Choice(&["always", "manual"]),
        r#""always""#,
        No,
        "When a session is armed without `frosty on`: `manual` requires `frosty on` or `FROSTY_ON=1`.",
    )
    .with_flag("--arm"),
    Key::new(
        "mode",
        Kind::Choice(&["enforce", "shadow"]),
        r#""enforce""#,
        No,
        "`shadow` decides and writes to the journal, and continues no session.",
    )
    .with_variable("FROSTY_MODE"),
    Key::new(
        "stop.min_interval",
        Kind::Duration(ANY_LENGTH),
        r#""15s""#,
        Larger,
        "The minimum interval between two admissions of a scope; `0s` switches it off.",
    ),
    Key::new("stop.burst", Kind::Group, "", Smaller, "The burst window; `null` switches it and its cooldown off."),
    Key::new(
        "stop.burst.limit",
        Kind::Whole(BURST_LIMIT),
        "3",
        Smaller,
        "The number of attempts in the window that trips a cooldown. It is at least 2 while `min_interval` is `0s`.",
    ),
    Key::new("stop.burst.window", Kind::Duration(POSITIVE), r#""20s""#, Larger, "The length of the burst window."),
    Key::new(
        "stop.cooldown.base",
        Kind::Duration(POSITIVE),
        r#""1m""#,
        Larger,
        "The length of the first cooldown. It is at most `max`.",
    ),
    Key::new(
        "stop.cooldown.factor",
        Kind::Decimal(FACTOR),
        "2",
        Larger,
        "The growth of the cooldown from one trip to the next.",
    ),
    Key::new("stop.cooldown.max", Kind::Duration(POSITIVE), r#""15m""#, Larger, "The longest cooldown."),
    Key::new(
        "stop.cooldown.jitter",
        Kind::Decimal(JITTER),
        "0.2",
        Larger,
        "The largest random lengthening of a cooldown, as a share of its length.",
    ),
    Key::new(
        "stop.cooldown.calm",
        Kind::Duration(ANY_LENGTH),
        r#""10m""#,
        Larger,
        "The time after a cooldown after which its strikes are forgotten.",
    ),
    Key::new(
        "stop.quotas",
        Kind::Quotas,
        "[]",
        Adds,
        r#"The quotas of a scope, such as `[{"limit": 100, "per": "1h"}]`."#,
    ),
    Key::new(
        "stop.prompt",
        Kind::OptionalText,
        "null",
        Yes,
        "The continuation prompt, at most 10,000 characters; `null` is the built-in one.",
    ),
    Key::new(
        "compact.min_interval",
        Kind::Duration(ANY_LENGTH),
        r#""0s""#,
        Larger,
        "The minimum interval between two automatic compactions; `0s` switches it off.",
    ),
    Key::new(
        "compact.burst",
        Kind::Group,
        "",
        Smaller,
        "The burst window of compactions; `null` switches it and its cooldown off.",
    ),
    Key::new(
        "compact.burst.limit",
        Kind::Whole(BURST_LIMIT),
        "4",
        Smaller,
        "The number of compactions in the window that trips a cooldown. It is at least 2 while `min_interval` is `0s`.",
    ),
    Key::new("compact.burst.window", Kind::Duration(POSITIVE), r#""10m""#, Larger, "The length of the burst window."),
    Key::new(
        "compact.cooldown.base",
        Kind::Duration(POSITIVE),
        r#""10m""#,
        Larger,
        "The length of the first cooldown. It is at most `max`.",
    ),
    Key::new(
        "compact.cooldown.factor",
        Kind::Decimal(FACTOR),
        "2",
        Larger,
        "The growth of the cooldown from one trip to the next.",
    ),
    Key::new("compact.cooldown.max", Kind::Duration(POSITIVE), r#""1h""#, Larger, "The longest cooldown."),
    Key::new(
        "compact.cooldown.jitter",
        Kind::Decimal(JITTER),
        "0.2",
        Larger,
        "The largest random lengthening of a cooldown, as a share of its length.",
    ),
    Key::new(
        "compact.cooldown.calm",
        Kind::Duration(ANY_LENGTH),
        r#""10m""#,
        Larger,
        "The time after a cooldown after which its strikes are forgotten.",
    ),
    Key::new(
        "api_error.base",
        Kind::Duration(POSITIVE),
        r#""1m""#,
        Larger,
        "The first cooldown after an API error. It is at most `max`.",
    ),
    Key::new(
        "api_error.factor",
        Kind::Decimal(FACTOR),
        "2",
        Larger,
        "The growth of the cooldown from one API error to the next.",
    ),
    Key::new("api_error.max", Kind::Duration(POSITIVE), r#""1h""#, Larger, "The longest cooldown after an API error."),
    Key::new("fleet_quotas", Kind::Quotas, "[]", No, "The quotas over all scopes of the fleet."),
    Key::new(
        "pace",
        Kind::Pace,
        "null",
        No,
        r#"The share of each usage window that the fleet may use, in per cent, and whether its turns are spread over the window, such as `{"five_hour": {"cap": 95, "spread": true}, "seven_day": {"cap": 98, "spread": false}}`, which are the defaults of a window that is named."#,
    ),
    Key::new(
        "hold_after_strikes",
        Kind::Whole(STRIKES),
        "5",
        No,
        "The number of trips of a scope within a day that turns its cooldown into a hold of an hour, doubling up to eight; `0` is never.",
    ),
    Key::new(
        "spread.step",
        Kind::Duration(SPREAD),
        r#""250ms""#,
        No,
        "The distance between sessions that one event releases together.",
    ),
    Key::new(
        "spread.cold",
        Kind::Duration(SPREAD),
        r#""2s""#,
        No,
        "The same for sessions that waited for more than five minutes.",
    ),
    Key::new(
        "work",
        Kind::Choice(&["off", "preferred", "required"]),
        r#""off""#,
        No,
        "Whether a session claims entries of its agent's work queue: `preferred` takes an entry before its own task, `required` continues only with one.",
    )
    .with_variable("FROSTY_WORK"),
    Key::new(
        "work_max_turns",
        Kind::Whole(WORK_TURNS),
        "30",
        No,
        "The number of turns for one entry, after which it goes back to the queue with an attempt counted.",
    ),
    Key::new(
        "work_max_attempts",
        Kind::Whole(WORK_ATTEMPTS),
        "3",
        No,
        "The number of attempts after which an entry becomes a dead letter.",
    ),
    Key::new(
        "work_lease",
        Kind::Duration(WORK_LEASE),
        r#""2h""#,
        No,
        "How long an entry stays in hand of a session on a machine that is silent. On its own machine it goes back when the client ends.",
    ),
    Key::new(
        "park_max",
        Kind::Duration(POSITIVE),
        r#""10m""#,
        No,
        "How long a session with a background task is left alone by its waiting engine.",
    ),
    Key::new("print_wait", Kind::Duration(POSITIVE), r#""9m""#, No, "The longest wait in print mode."),
    Key::new(
        "resume_after",
        Kind::Duration(RESUME_AFTER),
        r#""1m""#,
        No,
        "How long a session of a killed client rests before it resumes (continuous engine).",
    ),
    Key::new("idle", Kind::Group, "", Larger, "Idle backoff of the continuous engine; `null` switches it off."),
    Key::new(
        "idle.base",
        Kind::Duration(POSITIVE),
        r#""2m""#,
        Larger,
        "The first rest after a turn in which the agent did nothing. It is at most `max`.",
    ),
    Key::new(
        "idle.factor",
        Kind::Decimal(FACTOR),
        "2",
        Larger,
        "The growth of the rest from one idle turn to the next.",
    ),
    Key::new("idle.max", Kind::Duration(POSITIVE), r#""1h""#, Larger, "The longest idle rest."),
    Key::new(
        "idle.looked_max",
        Kind::Duration(POSITIVE),
        r#""10m""#,
        Larger,
        "The longest idle rest after a turn that repeated the tool calls of the turns before it.",
    ),
    Key::new(
        "idle.table",
        Kind::IdleTable,
        "[]",
        No,
        r#"The first rest by the tool calls since the last rest, such as `[{"units": 0, "rest": "20m"}, {"units": 3, "rest": "2m"}]`. `by_use` is 20m, 10m from 1 call, 2m from 3 calls. Without a row it is `base`."#,
    ),
    Key::new(
        "person.quiet",
        Kind::Duration(QUIET),
        r#""1m""#,
        Larger,
        "How long a waiting engine continues nothing after a turn that a person began; `0s` switches it off.",
    ),
    Key::new(
        "budget",
        Kind::Duration(BUDGET),
        r#""250ms""#,
        No,
        "The time limit of a verdict, at most 100 ms of it to connect. Any other value than the default is kept on a busy machine too.",
    ),
    Key::new(
        "journal_max",
        Kind::Whole(JOURNAL_MAX),
        "100000",
        No,
        "The approximate number of entries that the journal's stream keeps.",
    ),
    Key::new("stream", Kind::Text, r#""torch.continuous.ops""#, No, "The journal's stream on the server.")
        .with_variable("FROSTY_STREAM"),
    Key::new(
        "wake_on",
        Kind::Signals,
        "null",
        Fewer,
        r#"The signals of a wake-up that end a rest, such as `["urgent", "infra"]`; `null` is all. The note of any other signal waits for the next prompt."#,
    ),
    Key::new(
        "routes",
        Kind::Routes,
        "[]",
        No,
        r#"The routes of `frosty dispatch`, such as `[{"to": "echo", "from": "task.pipeline"}, {"to": "helix", "session": "background"}]`: the tasks of a stream or a topic to an agent's queue, and the program or the session that works through a queue."#,
    ),
    Key::new(
        "agents",
        Kind::Agents,
        "{}",
        No,
        r#"The profiles of agents by the name that you gave them or their scope, such as `{"echo": {"profile": "staccato"}, "*": {"profile": "measured"}}`; `*` is every other agent."#,
    ),
    Key::new(
        "profiles",
        Kind::Profiles,
        "{}",
        No,
        r#"Profiles of your own, and changes of the ready ones, such as `{"staccato": {"reflect_every": 3}}`; [cadence](cadence.md) has their keys."#,
    ),
    Key::new(
        "notify",
        Kind::Commands,
        "[]",
        No,
        "Commands that receive one line of JSON when a session is held, released, resumed, needs a person, or lost its engine.",
    ),
];
