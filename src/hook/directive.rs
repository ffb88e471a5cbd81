//! What the agent says of its own rest: a whole line among the last five of its last message, outside code.
//!
//! `frosty: done`, `frosty: next_check 20m` (or `14:30`, or `tomorrow 09:00`), `frosty: wait_for <topic>`,
//! `frosty: blocked <on whom>`. It can only make Frosty admit later.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone};

use crate::text;
use crate::throttle::state::RestKind;
use crate::throttle::step::RestRequest;
use crate::when;

/// No rest that ends by time is longer.
pub const LONGEST_REST: Duration = Duration::from_secs(24 * 3600);

const LINES: usize = 5;
const LONGEST_TOPIC: usize = 200;

/// What the agent's message says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The rest it asks for.
    pub rest: Option<RestRequest>,
    /// What the agent is told of it in its next prompt; empty for nothing.
    pub answer: String,
}

/// Reads the last directive in a message. `now` tells the machine's clock in its own time zone; it is asked only when there is one.
#[must_use]
pub fn read<Tz: TimeZone>(message: &str, now: impl Fn() -> DateTime<Tz>) -> Said {
    let mut code: Option<(char, usize)> = None;
    let mut lines = Vec::new();
    for line in message.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let before = code;
        code = match before {
            None => opens(line),
            Some(open) => Some(open).filter(|open| !closes(line, *open)),
        };
        lines.push((line, before.is_none() && code.is_none()));
    }
    let last = lines.iter().rev().take(LINES).filter(|(_, outside)| *outside);
    let directive = last.map(|(line, _)| line).find_map(|line| words(line));
    directive.map(|words| understand(words, &now())).unwrap_or_default()
}

/// What follows `frosty:` in a line that is a directive.
fn words(line: &str) -> Option<&str> {
    let (head, tail) = bare(line).split_at_checked("frosty:".len())?;
    head.eq_ignore_ascii_case("frosty:").then(|| tail.trim())
}

/// Somebody else's words as a quotation where they would be a directive, should the agent repeat them.
#[must_use]
pub fn quoted(text: &str) -> String {
    let quote = |line: &str| if words(line.trim()).is_some() { format!("> {line}") } else { line.to_owned() };
    text.split('\n').map(quote).collect::<Vec<_>>().join("\n")
}

/// The line without the marks that agents put around one that they are shown.
fn bare(line: &str) -> &str {
    line.trim_matches(['`', '*', '_']).trim_end_matches('.').trim()
}

/// The fence of a code block that the line opens: its character and length (CommonMark's rule).
fn opens(line: &str) -> Option<(char, usize)> {
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = line.trim_start_matches(mark);
    let length = line.len() - info.len();
    (length >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, length))
}

/// Whether the line closes such a block.
fn closes(line: &str, (mark, length): (char, usize)) -> bool {
    line.len() >= length && line.chars().all(|c| c == mark)
}

#[cold]
#[inline(never)]
fn understand<Tz: TimeZone>(words: &str, now: &DateTime<Tz>) -> Said {
    let (verb, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    let rest = rest.trim();
    let request =
        |kind, lasting, topic: &str| RestRequest { kind, lasting, topic: text::line_of(topic, LONGEST_TOPIC) };
    let booked = |request| Said { rest: Some(request), answer: String::new() };
    match verb.to_ascii_lowercase().as_str() {
        "done" if rest.is_empty() => booked(request(RestKind::Done, None, "")),
        "wait_for" if !rest.is_empty() => booked(request(RestKind::WaitFor, Some(LONGEST_REST), rest)),
        "blocked" if !rest.is_empty() => booked(request(RestKind::Blocked, Some(LONGEST_REST), rest)),
        "next_check" => match when::until(rest, now) {
            Some(asked) => {
                let lasting = asked.min(LONGEST_REST);
                let at = now.to_utc() + TimeDelta::from_std(lasting).unwrap_or_default();
                let kept = if asked > LONGEST_REST { " (a rest is at most 24h)" } else { "" };
                let answer = format!(
                    "Your next_check {} was taken as {}{kept}.",
                    text::line_of(rest, 40),
                    at.format("%Y-%m-%d %H:%M:%S UTC")
                );
                Said { rest: Some(request(RestKind::Rest, Some(lasting), "")), answer }
            }
            None => not_understood(words),
        },
        _ => not_understood(words),
    }
}

fn not_understood(words: &str) -> Said {
    let answer = format!(
        "Frosty did not understand your line \"frosty: {}\": expected done, next_check 20m (or 14:30, or tomorrow 09:00), \
wait_for <topic>, or blocked <on whom>.",
        text::line_of(words, 80)
    );
    Said { rest: None, answer }
}

/// A topic as it is kept and compared.
#[must_use]
pub fn topic(said: &str) -> String {
    text::line_of(said, LONGEST_TOPIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    /// 2026-11-24 13:00 at UTC+1.
    fn noon() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-24T13:00:00+01:00").unwrap()
    }

    fn rest(message: &str) -> Option<(&'static str, Option<u64>, String)> {
        let said = read(message, noon);
        said.rest.map(|r| (r.kind.code(), r.lasting.map(|d| d.as_secs()), r.topic))
    }

    #[test]
    fn each_directive() {
        let hour = 3600;
        for (line, expected) in [
            ("frosty: done", ("done", None, "")),
            ("  Frosty:done  ", ("done", None, "")),
            ("`frosty: done`", ("done", None, "")),
            ("**frosty: Done.**", ("done", None, "")),
            ("frosty: next_check 20m.", ("rest", Some(1200), "")),
            ("frosty: next_check 20m", ("rest", Some(1200), "")),
            ("frosty: next_check 1h30m", ("rest", Some(5400), "")),
            ("frosty: next_check 14:30", ("rest", Some(5400), "")),
            ("frosty: next_check 12:00", ("rest", Some(23 * hour), "")),
            ("frosty: next_check 13:00", ("rest", Some(24 * hour), "")),
            ("frosty: next_check tomorrow 09:00", ("rest", Some(20 * hour), "")),
            ("frosty: next_check tomorrow 14:00", ("rest", Some(24 * hour), "")),
            ("frosty: next_check 3d", ("rest", Some(24 * hour), "")),
            ("frosty: wait_for the build", ("wait_for", Some(24 * hour), "the build")),
            ("frosty: blocked Ann's review", ("blocked", Some(24 * hour), "Ann's review")),
        ] {
            let (kind, lasting, topic) = expected;
            assert_eq!(rest(line), Some((kind, lasting, topic.to_owned())), "{line}");
        }
        let said = read("frosty: next_check 14:30", noon);
        assert_eq!(said.answer, "Your next_check 14:30 was taken as 2026-11-24 13:30:00 UTC.");
        assert!(read("frosty: next_check 3d", noon).answer.contains("at most 24h"));
    }

    #[test]
    fn what_is_not_understood_is_answered_and_books_nothing() {
        for words in [
            "",
            "nap",
            "done now",
            "next_check",
            "next_check soon",
            "next_check 25:00",
            "wait_for",
            "blocked ",
            "next_check tomorrow",
            "next_check yesterday 09:00",
            "next_check -5m",
            "next_check 99999999999999999999d",
        ] {
            let said = read(&format!("I am at it.\nfrosty: {words}"), noon);
            assert_eq!(said.rest, None, "{words}");
            assert!(said.answer.contains("did not understand") && said.answer.contains("next_check 20m"), "{words}");
        }
    }

    #[test]
    fn only_whole_lines_near_the_end_and_outside_code() {
        for message in [
            "I could say frosty: done",
            "> frosty: done",
            "frosty : done",
            "frosty: done\n1\n2\n3\n4\n5",
            "```\nfrosty: done\n```",
            "~~~text\nfrosty: done",
            "````\n```\nfrosty: done\n```\n````",
            "```\n~~~\nfrosty: done",
            "fros\u{00e9}\u{00e9}",
            "",
        ] {
            assert_eq!(read(message, noon), Said::default(), "{message}");
        }
        assert!(rest("frosty: done\n\n1\n\n2\n3\n\n4\n").is_some());
        assert!(rest("```js``` is it\nfrosty: done").is_some());
        assert!(rest("```\ncode\n```\nfrosty: done").is_some());
        assert_eq!(rest("frosty: done\nfrosty: next_check 5s").unwrap().0, "rest", "the last one counts");
    }
}
