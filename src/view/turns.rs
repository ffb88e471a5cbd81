//! Shows measured turns: what each turn cost and what it was worth, and the sums of each session.

use std::time::Duration;

use chrono::{DateTime, Local};

use crate::duration;
use crate::local_time;
use crate::naming::Names;
use crate::policy::cadence::TurnKind;
use crate::policy::limits::Ms;
use crate::policy::turn::Worth;
use crate::text;
use crate::view::explain::entry::who;
use crate::view::journal::Past;
use crate::view::sessions::width;

/// The longest value that is shown.
const LONGEST: usize = 60;
/// The headers of the two tables. Numbers begin at the given column.
const TURNS: [&str; 12] = [
    "TIME",
    "SESSION",
    "OUTCOME",
    "FOR",
    "ORIGIN",
    "MODEL",
    "LENGTH",
    "TOOLS",
    "REQUESTS",
    "TOKENS IN",
    "OUT",
    "CACHED",
];
const TURNS_NUMBERS: usize = 6;
const SUMS: [&str; 9] = ["SESSION", "TURNS", "WORKED", "LOOKED", "EMPTY", "UNKNOWN", "TOKENS IN", "OUT", "CACHED"];
const SUMS_NUMBERS: usize = 1;

/// Returns whether an entry contains a measured turn.
#[must_use]
pub fn is_turn(past: &Past) -> bool {
    past.get("outcome").is_some()
}

/// Returns the lines of both tables, with an empty line between them.
#[must_use]
pub fn lines(all: &[Past], names: &Names) -> Vec<String> {
    let mut rows = vec![TURNS.map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|past| turn(past, names)));
    let mut sums: Vec<Sum> = Vec::new();
    for past in all {
        let name = who(past, names);
        let sum = match sums.iter_mut().position(|sum| sum.name == name).and_then(|at| sums.get_mut(at)) {
            Some(sum) => sum,
            None => {
                sums.push(Sum { name, ..Sum::default() });
                let Some(sum) = sums.last_mut() else { continue };
                sum
            }
        };
        sum.add(past);
    }
    let mut totals = vec![SUMS.map(str::to_owned).to_vec()];
    totals.extend(sums.iter().map(Sum::row));
    let mut lines = table(&rows, TURNS_NUMBERS);
    lines.push(String::new());
    lines.extend(table(&totals, SUMS_NUMBERS));
    lines
}

fn turn(past: &Past, names: &Names) -> Vec<String> {
    let at = DateTime::from_timestamp_millis(past.ms).map(|utc| utc.with_timezone(&Local));
    let length = number(past, "turn_ms").map(|ms| duration::about(Duration::from_millis(ms)));
    let word = |field: &str| Some(text::line_of(past.text(field), LONGEST)).filter(|word| !word.is_empty());
    let figure = |field: &str| number(past, field).map(|n| n.to_string());
    let cells = [
        at.map(|at| at.format("%m-%d %H:%M:%S").to_string()),
        Some(who(past, names)),
        word("outcome"),
        word("turn_was").or_else(|| Some(TurnKind::Work.code().to_owned())),
        word("turn"),
        word("model"),
        length,
        figure("tools"),
        figure("requests"),
        figure("tokens_in"),
        figure("tokens_out"),
        figure("tokens_cached"),
    ];
    cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned())).to_vec()
}

fn number(past: &Past, field: &str) -> Option<u64> {
    past.get(field)?.parse().ok()
}

/// The sums of one session.
#[derive(Default)]
struct Sum {
    name: String,
    turns: u64,
    outcomes: [u64; Worth::ALL.len()],
    tokens: [u64; 3],
}

impl Sum {
    fn add(&mut self, past: &Past) {
        self.turns += 1;
        for (worth, count) in Worth::ALL.into_iter().zip(&mut self.outcomes) {
            *count += u64::from(past.says("outcome", worth.code()));
        }
        for (field, sum) in ["tokens_in", "tokens_out", "tokens_cached"].into_iter().zip(&mut self.tokens) {
            *sum = sum.saturating_add(number(past, field).unwrap_or(0));
        }
    }

    fn row(&self) -> Vec<String> {
        let figures = std::iter::once(&self.turns).chain(&self.outcomes).chain(&self.tokens);
        std::iter::once(self.name.clone()).chain(figures.map(u64::to_string)).collect()
    }
}

/// Aligns rows in columns. The columns from `numbers` on are aligned to the right.
fn table(rows: &[Vec<String>], numbers: usize) -> Vec<String> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width::of(cell)).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let cell = |(column, (cell, wide)): (usize, (&String, &usize))| {
        let space = " ".repeat(wide.saturating_sub(width::of(cell)));
        if column < numbers { format!("{cell}{space}") } else { format!("{space}{cell}") }
    };
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn calls(tools: u64) -> String {
    if tools == 1 { "1 tool call".to_owned() } else { format!("{tools} tool calls") }
}

/// Returns the outcome of a turn and its reason, in a sentence. `version` is the client's, where it is known.
#[must_use]
pub fn sentence(past: &Past, version: &str, now: Ms) -> Option<String> {
    let worth = Worth::from_code(past.get("outcome")?)?;
    let [tools, tokens] = ["tools", "tokens_out"].map(|field| number(past, field).unwrap_or(0));
    let reason = match worth {
        Worth::Looked if tools == 1 => "its one tool call repeated a call of the turns before".to_owned(),
        Worth::Looked => format!("all of its {tools} tool calls repeated calls of the turns before"),
        Worth::Empty => format!("it used no tool except bookkeeping, and wrote {tokens} tokens"),
        Worth::Worked => format!("it made {} and wrote {tokens} tokens, and did something new", calls(tools)),
        Worth::Unknown => {
            let client = if version.is_empty() { String::new() } else { format!(" (client {})", text::line(version)) };
            format!("its last message was not found in the transcript{client}, so it counts as work")
        }
    };
    Some(format!("The turn that ended at {} counted as {}: {reason}.", local_time::clock(past.ms, now), worth.code()))
}
