//! Formats the report as lines for a terminal.

use crate::local_time;
use crate::policy::hold::Hold;
use crate::policy::rest::RestKind;
use crate::policy::rhythm::Mood;
use crate::text;
use crate::view::sessions::kind::{Back, Kind};
use crate::view::sessions::{Report, Row, width};
use crate::view::wrap;

/// The least width of a name.
const NARROWEST_NAME: usize = 10;
/// The least width of the last reason beside any name: the longest code.
const REASON: usize = 12;
/// The gap between two columns.
const GAP: &str = "  ";
/// The indent of a continued line.
const INDENT: &str = "  ";

/// How lines are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// The columns of the terminal.
    pub width: usize,
    /// Whether lines may be longer than that, so that nothing is cut off.
    pub uncut: bool,
    /// Whether the output is coloured.
    pub colours: bool,
}

impl Style {
    fn paint(self, sgr: &str, text: &str) -> String {
        if self.colours && !sgr.is_empty() { format!("\x1b[{sgr}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Returns a text on as many lines as it needs.
    fn lines(self, sgr: &str, text: &str) -> Vec<String> {
        let text = if self.uncut { text.to_owned() } else { wrap::text(text, self.width) };
        text.lines().map(|line| self.line(sgr, line)).collect()
    }

    fn line(self, sgr: &str, text: &str) -> String {
        if self.uncut { self.paint(sgr, text) } else { self.paint(sgr, &width::cut(text, self.width)) }
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const ALARM: &str = "1;31";
const WARNING: &str = "33";
const HELD: &str = "1;35";

fn colour(kind: Kind) -> &'static str {
    match kind {
        Kind::NeedsYou => "1;33",
        Kind::WaiterLost | Kind::Expired | Kind::Undecided => ALARM,
        Kind::Hold => HELD,
        Kind::Cooldown | Kind::ApiCooldown | Kind::Quota | Kind::Limit | Kind::NoEvent => WARNING,
        Kind::Guard | Kind::Pace | Kind::Quiet | Kind::Spread | Kind::Running => "32",
        Kind::Resting | Kind::WaitFor | Kind::Blocked | Kind::Parked => "36",
        Kind::Done | Kind::Asleep | Kind::Idle | Kind::Unknown | Kind::Ended => DIM,
        Kind::Stopped => "31",
    }
}

/// The most work queues with a line of their own.
const MOST_QUEUES: usize = 5;

/// Returns the head: the store and its problems, the fleet's hold, and how many sessions are in each state.
#[must_use]
pub fn head(report: &Report, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    let now = report.now;
    let place = format!("❄ {}  fleet {}", text::line(&report.store), text::line(&report.fleet));
    let time = local_time::zoned(now, now);
    let room = style.width.saturating_sub(width::of(&time) + 2);
    let place = if style.uncut { width::pad(place, room) } else { width::fill(&place, room) };
    lines.push(format!("{}{GAP}{}", style.paint(BOLD, &place), style.paint(DIM, &time)));
    if report.shadow {
        lines.extend(style.lines(WARNING, "SHADOW MODE: Frosty stops nothing here; the states show what it would do"));
    }
    if let Some(why) = &report.away {
        lines.extend(style.lines(ALARM, "the server is unreachable: only this machine's part is shown"));
        lines.extend(style.lines(WARNING, &format!("  {}", text::line(why))));
    }
    lines.extend(backlog(report).into_iter().flat_map(|said| style.lines(WARNING, &said)));
    if let Some(hold) = &report.hold {
        lines.push(style.line(HELD, &format!("HOLD of the whole fleet {}", held(hold, now))));
    }
    lines.extend(report.usage.lines(now).iter().map(|line| style.line("", line)));
    lines.extend(report.work_trouble.iter().flat_map(|why| style.lines(WARNING, &text::line(why))));
    lines.extend(queues(report, style));
    if !report.rows.is_empty() {
        let totals = report.totals().into_iter().map(|(kind, n)| format!("{n} {}", kind.words()));
        let sessions = if report.rows.len() == 1 { "session" } else { "sessions" };
        let columns = if style.uncut { usize::MAX } else { style.width };
        lines.extend(wrapped(&format!("{} {sessions}: ", report.rows.len()), totals, columns));
    }
    lines
}

/// Returns a line for each of the first work queues, and how many there are beyond them.
fn queues(report: &Report, style: Style) -> Vec<String> {
    let shown = report.work.iter().take(MOST_QUEUES).map(|summary| format!("work {}", summary.line(report.now)));
    let more = report.work.len().saturating_sub(MOST_QUEUES);
    let more = (more > 0).then(|| format!("work of {more} more agents: frosty work list"));
    shown.chain(more).map(|line| style.line("", &line)).collect()
}

/// Formats a list on as many lines as it needs.
fn wrapped(begin: &str, items: impl Iterator<Item = String>, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = begin.to_owned();
    let mut items = items.peekable();
    while let Some(mut item) = items.next() {
        if items.peek().is_some() {
            item.push(',');
        }
        if width::of(&line) + width::of(&item) > most && width::of(&line) > INDENT.len() {
            lines.push(line.trim_end().to_owned());
            line = INDENT.to_owned();
        }
        line.push_str(&item);
        line.push(' ');
    }
    lines.push(line.trim_end().to_owned());
    lines.into_iter().map(|line| width::cut(&line, most)).collect()
}

/// Returns the line for a store that could not be read, with the time of the rows below.
#[must_use]
pub fn trouble(why: &str, last: Option<&Report>, style: Style) -> String {
    let of = last.map(|report| format!("as of {}: ", local_time::clock(report.now, report.now))).unwrap_or_default();
    style.line(ALARM, &format!("{of}{}", text::line(why)))
}

/// Returns the line about what was not sent to the server yet.
fn backlog(report: &Report) -> Option<String> {
    let backlog = report.backlog.as_ref()?;
    let mut said = Vec::new();
    if backlog.unshipped > 0 {
        said.push(format!("{} of the journal", size(backlog.unshipped)));
    }
    match backlog.away {
        0 => {}
        1 => said.push("1 scope".to_owned()),
        n => said.push(format!("{n} scopes")),
    }
    let mut line = if said.is_empty() {
        String::new()
    } else {
        format!("degraded: {} kept on this machine until the next hook reaches the server", said.join(", "))
    };
    if report.away.is_none() && backlog.breaker.is_some() {
        let breaker = "hooks found the server unreachable and retry shortly";
        line = if line.is_empty() { format!("degraded: {breaker}") } else { format!("{line}; {breaker}") };
    }
    (!line.is_empty()).then_some(line)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(1_048_576)),
    }
}

fn held(hold: &Hold, now: crate::view::sessions::Ms) -> String {
    let until = match hold.until {
        Some(at) => format!("until {} (in {})", local_time::clock(at, now), local_time::left(at, now)),
        None => "until it is released".to_owned(),
    };
    format!("by {} {until}: {}", text::line(&hold.by), text::line(&hold.reason))
}

/// Returns the lines that are shown where no session is.
#[must_use]
pub fn nobody(report: &Report, style: Style) -> Vec<String> {
    if report.left_out != crate::view::sessions::LeftOut::default() {
        return vec!["No session is active now.".to_owned()];
    }
    if report.away.is_some() {
        return style.lines("", "This machine remembers no session of this fleet.");
    }
    let lines = [
        "No session has called frosty-hook yet, in this store and fleet.",
        "With the hooks registered, a session appears here at its next event.",
        "If the hooks are not registered here: frosty install",
        "To check the installation: frosty doctor",
    ];
    lines.iter().map(|line| style.line("", line)).collect()
}

/// Returns the lines with the number of sessions that are not shown, and the command that shows them.
#[must_use]
pub fn foot(report: &Report, style: Style) -> Vec<String> {
    let left = report.left_out;
    let ended = (left.ended > 0).then(|| format!("{} ended", left.ended));
    let old = (left.old > 0).then(|| format!("{} not seen for a day", left.old));
    let said: Vec<String> = [ended, old].into_iter().flatten().collect();
    if said.is_empty() {
        return Vec::new();
    }
    let columns = if style.uncut { usize::MAX } else { style.width };
    let clause = format!("left out: {}; to see them too", said.join(", "));
    let lines = wrap::command(&clause, &format!("frosty status --all{}", report.place), columns);
    // The command is pasted, and so it is not cut.
    lines.lines().map(|line| style.paint(DIM, line)).collect()
}

/// One column: its title, its cells, whether they are numbers, and the ends of cells that must not be cut off.
struct Column {
    title: &'static str,
    numbers: bool,
    cells: Vec<String>,
    ends: Vec<String>,
}

impl Column {
    fn new(title: &'static str, numbers: bool, rows: &[Row], cell: impl Fn(&Row) -> String) -> Self {
        Self { title, numbers, cells: rows.iter().map(cell).collect(), ends: Vec::new() }
    }

    fn natural(&self) -> usize {
        let end = |i: usize| self.ends.get(i).map_or(0, |end| width::of(end));
        let cells = self.cells.iter().enumerate().map(|(i, cell)| width::of(cell) + end(i));
        cells.max().unwrap_or(0).max(self.title.len())
    }

    fn cell(&self, row: usize, columns: usize) -> String {
        let text = self.cells.get(row).map_or("", String::as_str);
        match self.ends.get(row).filter(|end| !end.is_empty() && width::of(end) < columns) {
            Some(end) => width::pad(width::cut(text, columns - width::of(end)) + end, columns),
            None => self.fill(text, columns),
        }
    }

    fn fill(&self, text: &str, columns: usize) -> String {
        if !self.numbers {
            return width::fill(text, columns);
        }
        let text = width::cut(text, columns);
        format!("{}{text}", " ".repeat(columns.saturating_sub(width::of(&text))))
    }
}

/// Returns the table's head and a line for each session, none wider than the style.
#[must_use]
pub fn rows(report: &Report, style: Style) -> Vec<String> {
    let rows = &report.rows;
    if rows.is_empty() {
        return Vec::new();
    }
    let text = |title, cell: &dyn Fn(&Row) -> String| Column::new(title, false, rows, cell);
    let number = |title, cell: &dyn Fn(&Row) -> String| Column::new(title, true, rows, cell);
    let mut columns = vec![
        names(report),
        text("STATE", &Row::state),
        text("BACK AT", &|row| back(row, report.now)),
        number("TRY", &|row| report.burst.map_or_else(|| "-".to_owned(), |limit| format!("{}/{limit}", row.attempts))),
        number("STR", &strikes),
        number("1H", &|row| {
            let least = if report.journal_cut { "+" } else { "" };
            row.admissions.map_or_else(|| "?".to_owned(), |n| format!("{n}{least}"))
        }),
    ];
    if report.has_quotas {
        let left = |row: &Row| row.quota.map_or_else(|| "?".to_owned(), |quota| quota.left.to_string());
        columns.push(number("LEFT", &left));
    }
    columns.push(text("LAST REASON", &reason));
    let mood = |row: &Row| row.session.rhythm.mood(report.now);
    if rows.iter().any(|row| mood(row) != Mood::Unknown) {
        let moods = text("MOOD", &|row| mood(row).word().to_owned());
        let place = columns.len() - 1;
        columns.insert(place, moods);
        if !style.uncut && !is_roomy(&columns, style.width) {
            columns.remove(place);
        }
    }

    let widths =
        if style.uncut { columns.iter().map(Column::natural).collect() } else { widths(&columns, style.width) };
    let gaps = gaps(&columns);
    let line = |cell: &dyn Fn(usize, &Column, usize) -> String| {
        let mut line = String::new();
        for (i, ((column, width), gap)) in columns.iter().zip(&widths).zip(&gaps).enumerate() {
            line.push_str(gap);
            line.push_str(&cell(i, column, *width));
        }
        line
    };
    let narrow =
        !style.uncut && widths.iter().sum::<usize>() + gaps.iter().map(|gap| gap.len()).sum::<usize>() > style.width;
    let title = line(&|_, column, width| column.fill(column.title, width));
    let mut lines = vec![style.line(DIM, title.trim_end())];
    for (i, row) in rows.iter().enumerate() {
        let drawn = line(&|at, column, width| {
            let cell = column.cell(i, width);
            match at {
                // A line that is cut after it is painted would lose the end of its colour.
                1 if !narrow => style.paint(colour(row.kind), &cell),
                _ => cell,
            }
        });
        let drawn = drawn.trim_end();
        lines.push(if narrow { style.line(colour(row.kind), drawn) } else { drawn.to_owned() });
    }
    lines
}

/// Returns the gap before each column: numbers are closer together.
fn gaps(columns: &[Column]) -> Vec<&'static str> {
    let mut before: Option<&Column> = None;
    let gap = |column| match before.replace(column) {
        None => "",
        Some(before) if before.numbers && column.numbers => " ",
        Some(_) => GAP,
    };
    columns.iter().map(gap).collect()
}

/// Returns whether the columns fit with whole names, and with room for the code of a reason.
fn is_roomy(columns: &[Column], total: usize) -> bool {
    let Some((last, others)) = columns.split_last() else { return true };
    let gaps: usize = gaps(columns).iter().map(|gap| gap.len()).sum();
    others.iter().map(Column::natural).sum::<usize>() + gaps + last.natural().min(REASON) <= total
}

/// Computes the widths: the columns between the first and the last take what they need, and those two share the rest.
fn widths(columns: &[Column], total: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(Column::natural).collect();
    let last = widths.len().saturating_sub(1);
    let fixed: usize = widths.iter().take(last).skip(1).sum::<usize>();
    let fixed = fixed + gaps(columns).iter().map(|gap| gap.len()).sum::<usize>();
    let room = total.saturating_sub(fixed);
    let (name, reason) = (widths.first().copied().unwrap_or(0), widths.last().copied().unwrap_or(0));
    let name = name.min(room.saturating_sub(reason.min(REASON))).max(NARROWEST_NAME.min(name));
    if let Some(first) = widths.first_mut() {
        *first = name;
    }
    if let Some(end) = widths.last_mut() {
        *end = reason.min(room.saturating_sub(name));
    }
    widths
}

/// Returns the names. If several sessions have the same name, the digits that distinguish them are not cut off.
fn names(report: &Report) -> Column {
    let parts = |row: &Row| {
        let (name, end) = report.names.parts(&row.id);
        if name.is_empty() { (row.name.clone(), String::new()) } else { (name.to_owned(), end.to_owned()) }
    };
    let (cells, ends) = report.rows.iter().map(parts).unzip();
    Column { title: "SESSION", numbers: false, cells, ends }
}

fn back(row: &Row, now: crate::view::sessions::Ms) -> String {
    match row.back {
        Back::Nothing if row.kind == Kind::Running && row.hold.is_some() => "held at its stop".to_owned(),
        Back::Nothing => "-".to_owned(),
        Back::Now => "due".to_owned(),
        Back::Later => "not known here".to_owned(),
        Back::Mended => "once fixed".to_owned(),
        Back::At(at) => local_time::at(at, now),
        Back::Release => "when released".to_owned(),
        Back::Wake => "a wake-up".to_owned(),
        Back::Prompt => "when you type".to_owned(),
        Back::Gate => "by its next gate".to_owned(),
        Back::Answer => "when you answer".to_owned(),
        Back::Client => match row.session.rest.as_ref().and_then(|rest| rest.until) {
            Some(at) => local_time::at(at, now),
            None => "by its client".to_owned(),
        },
    }
}

fn strikes(row: &Row) -> String {
    if row.kind == Kind::ApiCooldown { row.api_strikes.to_string() } else { row.strikes.to_string() }
}

/// Returns the hold and its reason, else the reason of the last verdict with its details.
fn reason(row: &Row) -> String {
    if let Some(mark) = &row.undecided {
        return format!("{}: {}", text::line(&mark.reason), text::line(&mark.why));
    }
    if let Some((hold, false)) = &row.hold {
        // A person can act on the hold, whatever the last refusal was.
        return format!("held by {}: {}", text::line(&hold.by), text::line(&hold.reason));
    }
    let reason = text::line(&row.session.last_reason);
    let more = match &row.session.rest {
        Some(rest) if matches!(row.kind, Kind::Blocked | Kind::WaitFor) => text::line(&rest.topic),
        Some(rest) if row.kind == Kind::Stopped && rest.kind == RestKind::Blocked => text::line(&rest.topic),
        _ => String::new(),
    };
    let work = row.session.work.as_ref().map(|work| format!("work {} turn {}", text::line(&work.id), work.turns));
    let more = work.filter(|_| more.is_empty()).unwrap_or(more);
    let shown = if reason.is_empty() { "-".to_owned() } else { reason };
    if more.is_empty() { shown } else { format!("{shown} {more}") }
}
