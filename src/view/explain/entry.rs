//! Formats one entry of the journal as one line: its time, session, event, verdict and detail.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDate};
use serde::Serializer;
use serde_json::Value;

use crate::duration;
use crate::naming::{self, Names};
use crate::policy::limits::Ms;
use crate::text;
use crate::view::journal::Past;
use crate::view::sessions::table::Style;
use crate::view::sessions::width;

/// The widest columns of the session and of the event on a narrow terminal.
const WHO: usize = 18;
const EVENT: usize = 16;
/// On a wide terminal the session takes up to this fraction of the width.
const WHOS_PART: usize = 3;
/// The longest text of an entry that is shown: a note's.
const LONGEST: usize = 2000;
/// Fields that are numbers, as a journal's file has them.
const NUMBERS: [&str; 12] = [
    "v",
    "retry_after_ms",
    "attempts",
    "strikes",
    "degraded",
    "ms",
    "turn_ms",
    "tools",
    "requests",
    "tokens_in",
    "tokens_out",
    "tokens_cached",
];

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
const DIM: &str = "2";

/// Formats entries as lines of equal columns.
#[derive(Debug, Clone)]
pub struct Lines {
    /// The style of the terminal; its width bounds a line. Without a terminal nothing is cut off.
    terminal: Option<Style>,
    /// The names that are shown for sessions.
    names: Names,
    /// The day for which times are shown without a date.
    today: Option<NaiveDate>,
    /// The widths of the session and event columns so far.
    who: usize,
    event: usize,
}

impl Lines {
    /// Creates a formatter for this terminal; `None` means that the output is not a terminal.
    #[must_use]
    pub fn new(terminal: Option<Style>, names: Names) -> Self {
        // Programs read columns that do not move.
        let (who, event) = if terminal.is_some() { (0, 0) } else { (WHO, EVENT) };
        Self { terminal, names, today: None, who, event }
    }

    /// Returns whether the entry's session has no name yet.
    #[must_use]
    pub fn lacks(&self, past: &Past) -> bool {
        let session = past.text("session");
        text::is_encoded(session) && self.names.get(session).is_none()
    }

    /// Replaces the names of the sessions.
    pub fn name(&mut self, names: Names) {
        self.names = names;
    }

    /// Returns the shown name of the entry's session, else its scope or its fleet.
    fn who(&self, past: &Past) -> String {
        who(past, &self.names)
    }

    /// Widens the columns to what these entries need.
    pub fn fit(&mut self, all: &[Past]) {
        let most = match self.terminal {
            Some(style) if style.uncut => usize::MAX,
            Some(style) => WHO.max(style.width / WHOS_PART),
            None => WHO,
        };
        let today = Local::now().date_naive();
        self.today = all.iter().all(|past| local(past.ms).is_some_and(|at| at.date_naive() == today)).then_some(today);
        for past in all {
            self.who = self.who.max(width::of(&self.who(past)).min(most));
            self.event = self.event.max(width::of(&event(past)).min(EVENT));
        }
    }

    /// Returns the entry's line, without a line end.
    #[must_use]
    pub fn line(&self, past: &Past) -> String {
        let (when, who, event, detail) = (self.when(past.ms), self.who(past), event(past), details(past));
        let verdict = verdict(past);
        let detail = if detail.is_empty() { detail } else { format!("  {detail}") };
        let Some(style) = self.terminal else {
            let (who, event) = (width::pad(who, self.who), width::pad(event, self.event));
            return format!("{when} {who} {event} {verdict}{detail}");
        };
        let (who, event) = if style.uncut {
            (width::pad(who, self.who), width::pad(event, self.event))
        } else {
            (width::fill(&who, self.who), width::fill(&event, self.event))
        };
        let columns = if style.uncut { usize::MAX } else { style.width };
        let left = columns.saturating_sub(width::of(&when) + self.who + self.event + 3);
        let verdict = width::cut(&verdict, left);
        let detail = width::cut(&detail, left.saturating_sub(width::of(&verdict)));
        // A lone ellipsis carries no information.
        let detail = if detail.trim_start() == "…" { String::new() } else { detail };
        if !style.colours {
            return format!("{when} {who} {event} {verdict}{detail}");
        }
        let paint = |sgr: &str, text: &str| format!("\x1b[{sgr}m{text}\x1b[0m");
        let detail = if detail.is_empty() { detail } else { paint(DIM, &detail) };
        format!("{} {who} {event} {}{detail}", paint(DIM, &when), paint(colour(past), &verdict))
    }

    fn when(&self, at: Ms) -> String {
        let Some(at) = local(at) else { return String::new() };
        let form = if Some(at.date_naive()) == self.today { "%H:%M:%S" } else { "%m-%d %H:%M:%S" };
        at.format(form).to_string()
    }
}

fn local(at: Ms) -> Option<DateTime<Local>> {
    DateTime::from_timestamp_millis(at).map(|utc| utc.with_timezone(&Local))
}

fn event(past: &Past) -> String {
    Some(shown(past, "event")).filter(|event| !event.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// Returns the entry's details: the entry of work that was ended and that is in hand, what the admitted turn is for, and
/// further words.
fn details(past: &Past) -> String {
    let work = Some(shown(past, "work")).filter(|id| !id.is_empty()).map(|id| format!("work {id}"));
    let others = ["work_end", "turn_kind", "detail"];
    let [end, kind, detail] = others.map(|field| Some(shown(past, field)).filter(|words| !words.is_empty()));
    [end, work, kind, detail].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Returns a field with its control characters removed and its length bounded.
fn shown(past: &Past, field: &str) -> String {
    text::line_of(past.text(field), LONGEST)
}

/// Returns the session's name, else the window's label at that time, else the scope or the fleet; `-` where none is
/// known.
#[must_use]
pub fn who(past: &Past, names: &Names) -> String {
    if let Some(name) = names.get(past.text("session")) {
        return name;
    }
    let scope = past.text("scope");
    let parts = ["window", "scope", "session"].into_iter().map(|field| shown(past, field));
    let known = parts.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "-".to_owned());
    // A hold or a release concerns every session of its scope.
    if !scope.is_empty() && known == scope { names.scope(scope) } else { naming::of_scope(&known) }
}

/// Returns the verdict in a few words.
#[must_use]
pub fn verdict(past: &Past) -> String {
    let reason = shown(past, "reason");
    let back = past.text("retry_after_ms").parse().ok().map(Duration::from_millis);
    let back = back.map_or_else(String::new, |left| format!(", back in {}", duration::about(left)));
    let is_shadow = past.says("mode", "shadow");
    let told = match (past.text("verdict"), reason.as_str()) {
        ("admit", "admitted" | "") => "admitted".to_owned(),
        ("admit", other) => format!("admitted {other}"),
        // A person's command, not a session's request.
        ("refuse", "hold") if past.text("event") == "Hold" => format!("not held: a longer hold is in force{back}"),
        ("refuse", reason) => format!("refused {reason}{back}"),
        ("record", "event" | "") => format!("recorded{back}"),
        ("record", reason) => format!("recorded {reason}{back}"),
        (other, reason) => format!("{} {reason}", text::line(other)),
    };
    let told = if is_shadow && !told.starts_with("recorded") { format!("shadow: {told}") } else { told };
    if past.says("degraded", "1") { format!("{told} (degraded)") } else { told }
}

fn colour(past: &Past) -> &'static str {
    match (past.text("verdict"), past.text("reason")) {
        ("admit", _) => GREEN,
        (_, "hold" | "waiter_expired" | "disarmed" | "store_down" | "bad_config" | "bad_input" | "bad_usage") => RED,
        ("refuse", _) => YELLOW,
        _ => DIM,
    }
}

/// Returns the entry as one JSON object: its fields in their order, numbers as numbers, and the store's time as `ms`.
#[must_use]
pub fn json(past: &Past) -> String {
    let number = |value: &str| value.parse::<i64>().map_or(Value::Null, Value::from);
    let value = |name: &str, value: &str| {
        if NUMBERS.contains(&name) { number(value) } else { Value::from(text::line_of(value, LONGEST)) }
    };
    let fields = past.fields().filter(|(name, _)| *name != "ms").map(|(name, v)| (text::line(name), value(name, v)));
    let all = fields.chain([("ms".to_owned(), Value::from(past.ms))]);
    let mut out = Vec::new();
    let _ = serde_json::Serializer::new(&mut out).collect_map(all);
    String::from_utf8(out).unwrap_or_default()
}
