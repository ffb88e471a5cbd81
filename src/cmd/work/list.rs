//! `frosty work list` and `frosty work show`.

use std::io::Write;

use serde_json::{Value, json};

use super::add::{agent, now};
use super::{IdArgs, ListArgs, WorkError};
use crate::cmd::{Failure, out};
use crate::env::Env;
use crate::local_time;
use crate::naming::Names;
use crate::policy::limits::Ms;
use crate::policy::work::RecordState;
use crate::policy::work::entry::{LONGEST_TEXT, List, WorkEntry};
use crate::policy::work::queue::InHand;
use crate::store::fleet_reader::FleetReader;
use crate::store::work::{self, Contents};
use crate::text;
use crate::view::sessions::{screen, width};
use crate::view::work::Summary;
use crate::view::wrap;

/// The most entries of each list that are shown.
const MOST: usize = 20;
/// The most entries of each list that a program gets.
const MOST_FOR_PROGRAMS: usize = 1000;
/// The columns of a line where the output is no terminal.
const UNCUT: usize = 200;
/// The fewest columns of a text, however narrow the terminal is.
const LEAST: usize = 10;

/// Shows the queues.
pub(super) fn run(args: ListArgs) -> Result<(), Failure> {
    let env = Env::read();
    let config = crate::cmd::config(&env, args.place)?;
    let mut reader = FleetReader::open_to_change(&config);
    let of = args.agent.as_ref().map(|word| agent(&reader.sessions()?, word)).transpose()?;
    let most = if args.json { MOST_FOR_PROGRAMS } else { MOST };
    let mut queues = work::contents(&mut reader, of.as_deref(), most)?;
    queues.retain(|contents| of.is_some() || !contents.queue.is_empty());
    queues.sort_by(|a, b| a.agent.cmp(&b.agent));
    let now = reader.now().unwrap_or_else(|_| now());
    let mut out = out::stdout();
    if args.json {
        let queues: Vec<Value> = queues.iter().map(|contents| object(contents, now)).collect();
        let _ = writeln!(out, "{}", json!({ "at": now, "queues": queues }));
        return Ok(());
    }
    if queues.is_empty() {
        out::say_command("no work is queued; add some", "frosty work add --to AGENT \"TEXT\"");
    }
    for contents in &queues {
        table(&mut out, contents, now);
    }
    Ok(())
}

fn table(out: &mut impl Write, contents: &Contents, now: Ms) {
    let Contents { queue, entries, .. } = contents;
    let style = screen::style();
    let columns = if style.uncut { UNCUT } else { style.width };
    let _ = writeln!(out, "{}", wrap::text(&Summary::of(contents, now).line(now), columns));
    let seen = work::seen(&queue.hand);
    for in_hand in &queue.hand {
        let is_gone = seen.iter().any(|(claim, runs)| *claim == in_hand.claim && !runs);
        let age = local_time::age(now.saturating_sub(in_hand.since));
        let state = if is_gone { "client gone".to_owned() } else { format!("in hand {age}") };
        let _ = writeln!(out, "{}", line(&in_hand.entry, &state, now, columns));
    }
    for (list, entries) in entries {
        for entry in entries.iter().take(MOST) {
            let state = match list {
                List::Later => format!("from {}", local_time::clock(entry.at, now)),
                List::Dead => "dead letter".to_owned(),
                List::High | List::Normal | List::Low => "waits".to_owned(),
            };
            let _ = writeln!(out, "{}", line(entry, &state, now, columns));
        }
    }
}

/// Returns the line of an entry. The text gives way to the reason of its last failure, where both do not fit.
fn line(entry: &WorkEntry, state: &str, now: Ms, columns: usize) -> String {
    let age = local_time::age(now.saturating_sub(entry.added));
    let (id, excerpt) = (text::line(&entry.id), text::line_of(&entry.text, LONGEST_TEXT));
    let kind = if entry.question.is_some() { "asks: " } else { "" };
    let before = format!("  {id:<12} {:<6} {age:>5}  {state:<11}  {kind}", entry.priority.code());
    let room = columns.saturating_sub(width::of(&before)).max(LEAST);
    let why = text::line(&entry.why);
    let more = if why.is_empty() { String::new() } else { width::cut(&format!(" ({why})"), room / 2) };
    format!("{before}{}{more}", width::cut(&excerpt, room.saturating_sub(width::of(&more))))
}

fn object(contents: &Contents, now: Ms) -> Value {
    let Contents { agent, queue, entries } = contents;
    let mut all: Vec<Value> = queue.hand.iter().map(held).collect();
    for (list, entries) in entries {
        all.extend(entries.iter().map(|entry| one(entry, if *list == List::Dead { "dead" } else { "waiting" })));
    }
    json!({
        "agent": text::line(agent),
        "waiting": queue.waiting.iter().sum::<u64>(),
        "delayed": queue.later,
        "in_hand": queue.hand.len(),
        "dead": queue.dead,
        "oldest_ms": Summary::of(contents, now).oldest,
        "broken_until": queue.broken_until(now),
        "entries": all,
    })
}

fn held(in_hand: &InHand) -> Value {
    let mut one = one(&in_hand.entry, "in_hand");
    if let Value::Object(fields) = &mut one {
        fields.insert("session".to_owned(), text::line(&in_hand.session).into());
        fields.insert("host".to_owned(), text::line(&in_hand.host).into());
        fields.insert("since".to_owned(), in_hand.since.into());
        fields.insert("claim".to_owned(), in_hand.claim.into());
    }
    one
}

fn one(entry: &WorkEntry, state: &str) -> Value {
    json!({
        "id": text::line(&entry.id),
        "state": state,
        "kind": if entry.question.is_some() { "question" } else { "task" },
        "priority": entry.priority.code(),
        "text": text::prompt(&entry.text, text::LONGEST_PROMPT),
        "added": entry.added,
        "by": text::line(&entry.by),
        "depth": entry.depth,
        "attempts": entry.attempts,
        "ack": if entry.ack_turn { "turn" } else { "done" },
        "model": (!entry.model.is_empty()).then(|| text::line(&entry.model)),
        "why": text::line(&entry.why),
        "from": (entry.at > 0).then_some(entry.at),
    })
}

/// Shows one entry.
pub(super) fn show(args: IdArgs) -> Result<(), Failure> {
    let env = Env::read();
    let config = crate::cmd::config(&env, args.place)?;
    let mut reader = FleetReader::open_to_change(&config);
    let unknown = || WorkError::Unknown { id: text::line(&args.id) };
    let (record, entry) = work::record(&mut reader, &args.id)?.ok_or_else(unknown)?;
    let now = reader.now().unwrap_or_else(|_| now());
    let mut out = out::stdout();
    let id = text::line(&record.id);
    let state = match record.place {
        Some((List::Later, until)) => format!("delayed until {}", local_time::zoned(until, now)),
        _ => format!("{} since {}", record.state.words(), local_time::zoned(record.at, now)),
    };
    let _ = writeln!(out, "{id} of {}: {state}", text::line(&record.agent));
    if !record.detail.is_empty() {
        let is_session = matches!(record.state, RecordState::InHand | RecordState::Done);
        let detail = if is_session {
            format!("session {}", Names::of_all(&reader.sessions()?).name(&record.detail))
        } else {
            format!("last failure: {}", text::line(&record.detail))
        };
        let _ = writeln!(out, "  {detail}");
    }
    match record.reply(now) {
        Some(reply) => {
            let _ = writeln!(out, "  the reply:");
            quote(&mut out, reply);
        }
        None if record.has_reply() => {
            let _ = writeln!(out, "  the reply has expired");
        }
        None => {}
    }
    let Some(entry) = entry else { return Ok(()) };
    let by = if entry.by.is_empty() {
        "a person".to_owned()
    } else {
        format!("the agent {}", text::line(&text::decoded(&entry.by)))
    };
    let added = local_time::zoned(entry.added, now);
    let attempts = if entry.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", entry.attempts) };
    let model =
        if entry.model.is_empty() { String::new() } else { format!(", for the model {}", text::line(&entry.model)) };
    let ack = if entry.ack_turn { ", acknowledged by the end of its first turn" } else { "" };
    let _ = writeln!(out, "  {} priority, added by {by} at {added}, {attempts}{model}{ack}", entry.priority.code());
    quote(&mut out, &entry.text);
    Ok(())
}

/// Shows a text of the store as lines that it cannot leave.
fn quote(out: &mut impl Write, given: &str) {
    for line in text::prompt(given, text::LONGEST_PROMPT).lines() {
        let _ = writeln!(out, "  > {line}");
    }
}
