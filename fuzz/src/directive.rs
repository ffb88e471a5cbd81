//! The agent's message: it books a rest or nothing, and its echo forges nothing.

use std::cell::Cell;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use frosty::hook::directive::{AgentDirective, LONGEST_REST, read, topic};
use frosty::policy::notes;
use frosty::policy::rest::RestKind;

use crate::{draw, said};

pub fn run(data: &[u8]) {
    let Some((head, tail)) = data.split_at_checked(6) else { return };
    let message = String::from_utf8_lossy(tail);
    let asked = Cell::new(0);
    let now = || {
        asked.set(asked.get() + 1);
        clock(head)
    };
    let read_it = read(&message, now);
    let AgentDirective { rest, answer, notes } = &read_it;
    assert!(notes.len() <= notes::MOST);
    notes.iter().for_each(|note| said::one_line(note, notes::LONGEST));
    said::one_line(answer, 300);
    said::one_line(&topic(&message), 200);
    if let Some(rest) = rest {
        said::one_line(&rest.topic, 200);
        assert_ne!(rest.kind, RestKind::Parked);
        assert_eq!(rest.lasting.is_none(), rest.kind == RestKind::Done, "{rest:?}");
        assert!(rest.lasting.unwrap_or(Duration::ZERO) <= LONGEST_REST, "{rest:?}");
        let has_topic = matches!(rest.kind, RestKind::WaitFor | RestKind::Blocked);
        assert!(has_topic || rest.topic.is_empty(), "{rest:?}");
    }
    // The lines of notes are no part of the last lines.
    if message.to_ascii_lowercase().contains("note") {
        return;
    }
    assert!(notes.is_empty());
    // The clock is read only for a directive, and every directive is one whole line among the last five.
    let is_one = asked.get() > 0;
    // For a list of several directives the clock is not read, and none is followed.
    let several = rest.is_none() && answer.contains("several");
    assert_eq!(is_one || several, read_it != AgentDirective::default());
    let is_one = is_one || several;
    let last: Vec<&str> = message.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let marked = |l: &&&str| {
        let bare = unlisted(l).trim_matches(['`', '*', '_']).trim();
        bare.get(..7).is_some_and(|head| head.eq_ignore_ascii_case("frosty:"))
    };
    let near = last.iter().rev().take(5).filter(marked).count();
    assert!(!is_one || near > 0, "a directive out of nothing");
    let fenced = message.contains(['`', '~']);
    assert!(fenced || is_one == (near > 0), "a directive that was not read");
    // Five lines further up, or inside of code, the line is not a directive.
    assert_eq!(read(&format!("{message}\n1\n2\n3\n4\n5"), || clock(head)), AgentDirective::default());
    if !fenced {
        assert_eq!(read(&format!("```\n{message}"), || clock(head)), AgentDirective::default());
    }
}

/// Returns the line without the mark of a heading (`#` to `######`) or of a list (`-`, `*`, `+`, a bullet, or
/// up to nine digits and `.` or `)`).
fn unlisted(line: &str) -> &str {
    let Some(at) = line.find(char::is_whitespace) else { return line };
    let (mark, rest) = line.split_at(at);
    let is_number = |digits: &str| (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let is_mark = matches!(mark, "-" | "*" | "+" | "\u{2022}")
        || (mark.len() <= 6 && mark.bytes().all(|b| b == b'#'))
        || mark.strip_suffix(['.', ')']).is_some_and(is_number);
    if is_mark { rest.trim_start() } else { line }
}

/// Returns a time within a few centuries in any time zone.
fn clock(head: &[u8]) -> DateTime<FixedOffset> {
    let zone = i32::from(i16::from_le_bytes([head[0], head[1]])) * 2;
    let zone = FixedOffset::east_opt(zone.clamp(-86_399, 86_399)).expect("within a day");
    let off = i64::from(i32::from_le_bytes([head[2], head[3], head[4], head[5]])) * 1000;
    DateTime::from_timestamp_millis(draw::T0 + off).expect("within range").with_timezone(&zone)
}
