//! Reads the agent's directive about its own rest: a whole line among the last five of its last message,
//! outside code.
//!
//! `frosty: done`, `frosty: next_check 20m` (or `14:30`, or `tomorrow 09:00`), `frosty: wait_for <topic>` (or
//! `<topic> for 2h`), `frosty: blocked <on whom>`. A line `frosty: note <text>`, anywhere outside code, is a note of the agent and no
//! directive. With an entry of work in hand, `frosty: done` finishes it and `frosty: failed <why>` gives it
//! back. Otherwise a directive can only make Frosty admit later. The line may be an item of a
//! list, a heading, bold or code; an exclamation mark, or a dash with more words, may follow.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone};

use super::turn_prompts;
use crate::policy::notes;
use crate::policy::request::RestRequest;
use crate::policy::rest::RestKind;
use crate::text;
use crate::when;

/// The longest rest that ends by time. "tomorrow 09:00" may be written just after midnight.
pub const LONGEST_REST: Duration = Duration::from_secs(48 * 3600);
/// The length of a rest that names no time.
const UNTIMED: Duration = Duration::from_secs(24 * 3600);

const LINES: usize = 5;
const LONGEST_TOPIC: usize = 200;

/// The directive in the agent's message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AgentDirective {
    /// The rest that it requests.
    pub rest: Option<RestRequest>,
    /// The answer in the agent's next prompt; empty for none.
    pub answer: String,
    /// The notes, in their order.
    pub notes: Vec<String>,
}

/// Reads the notes and the last directive in a message. `now` returns the machine's time in its own time zone; it is called
/// only when there is a directive.
#[must_use]
pub fn read<Tz: TimeZone>(message: &str, now: impl Fn() -> DateTime<Tz>) -> AgentDirective {
    let mut code: Option<(char, usize)> = None;
    let (mut lines, mut notes) = (Vec::new(), Vec::new());
    for line in message.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let before = code;
        code = match before {
            None => opens(unmarked(line).1),
            Some(open) => Some(open).filter(|open| !closes(line, *open)),
        };
        let outside = before.is_none() && code.is_none();
        match note(line).filter(|_| outside) {
            Some(note) if note.is_empty() => {}
            Some(note) => notes.push(note),
            None => lines.push((line, outside)),
        }
    }
    let over = notes.len().saturating_sub(notes::MOST);
    notes.drain(..over);
    AgentDirective { notes, ..last_directive(&lines, now) }
}

/// Returns the text of a line that is a note. It is empty for the example of a prompt.
fn note(line: &str) -> Option<String> {
    let line = unmarked(line).1;
    // Marks around the whole line are no part of the note; others are.
    let inner = if line.starts_with(MARKS) { line.trim_matches(MARKS) } else { line };
    let (head, said) = inner.split_at_checked("frosty:".len())?;
    let (verb, said) = said.trim_start_matches(MARKS).trim_start().split_at_checked("note".len())?;
    let is_note = head.eq_ignore_ascii_case("frosty:") && verb.eq_ignore_ascii_case("note");
    let said =
        said.strip_prefix(':').or_else(|| said.starts_with(char::is_whitespace).then_some(said)).filter(|_| is_note)?;
    let text = text::line_of(said.trim(), notes::LONGEST);
    Some(if turn_prompts::EXAMPLES.contains(&text.as_str()) { String::new() } else { text })
}

/// Returns the last directive among the last lines. `lines` are those that are no notes, and whether each is outside code.
fn last_directive<Tz: TimeZone>(lines: &[(&str, bool)], now: impl Fn() -> DateTime<Tz>) -> AgentDirective {
    let last = lines.iter().rev().take(LINES).filter(|(_, outside)| *outside);
    let mut directives = last.filter_map(|(line, _)| Some((unmarked(line).0, words(line)?)));
    let Some((mark, directive)) = directives.next() else { return AgentDirective::default() };
    // A list of several directives describes them, and is not one itself.
    if mark == Mark::Item && directives.any(|(mark, other)| mark == Mark::Item && other != directive) {
        return AgentDirective { answer: SEVERAL.to_owned(), ..AgentDirective::default() };
    }
    understand(directive, &now())
}

const SEVERAL: &str = "Frosty read a list of several \"frosty:\" lines and followed none of them: make the one that you mean the \
last line of your answer.";

/// Returns the text after `frosty:` in a line that is a directive.
fn words(line: &str) -> Option<&str> {
    let (head, tail) = bare(unmarked(line).1).split_at_checked("frosty:".len())?;
    head.eq_ignore_ascii_case("frosty:").then(|| tail.trim_start_matches(MARKS).trim())
}

/// The mark before the words of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Nothing,
    Heading,
    /// An item of a list.
    Item,
}

/// Returns the line without the mark of a heading or of a list item (CommonMark's marks, each followed by a
/// space).
fn unmarked(line: &str) -> (Mark, &str) {
    let hashes = line.trim_start_matches('#');
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = (1..=9).contains(&(line.len() - digits.len()));
    let (mark, rest) = if (1..=6).contains(&(line.len() - hashes.len())) {
        (Mark::Heading, Some(hashes))
    } else if numbered {
        (Mark::Item, digits.strip_prefix(['.', ')']))
    } else {
        (Mark::Item, line.strip_prefix(['-', '*', '+', '\u{2022}']))
    };
    match rest.filter(|rest| rest.starts_with(char::is_whitespace)) {
        Some(rest) => (mark, rest.trim_start()),
        None => (Mark::Nothing, line),
    }
}

/// Quotes a text from another source where it would be a directive if the agent repeated it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let quote = |line: &str| if words(line.trim()).is_some() { format!("> {line}") } else { line.to_owned() };
    text.split('\n').map(quote).collect::<Vec<_>>().join("\n")
}

/// Returns the line without the marks that agents put around a directive that they are shown.
fn bare(line: &str) -> &str {
    line.trim_matches(MARKS).trim_end_matches(['.', '!']).trim_end_matches(MARKS).trim()
}

const MARKS: [char; 3] = ['`', '*', '_'];

/// Returns the words before a dash that sets more words apart, and whether there is such a dash. A hyphen
/// within a word is not one.
#[must_use]
pub fn before_dash(words: &str) -> &str {
    let long = words.find(['\u{2013}', '\u{2014}']);
    let spaced = words.char_indices().find(|(at, c)| {
        let before = words.get(..*at).unwrap_or_default();
        let after = words.get(*at..).unwrap_or_default().trim_start_matches('-');
        let apart = |c: char| c.is_whitespace() || c == '!';
        *c == '-' && (before.is_empty() || before.ends_with(apart)) && (after.is_empty() || after.starts_with(apart))
    });
    let at = long.into_iter().chain(spaced.map(|(at, _)| at)).min().unwrap_or(words.len());
    words.get(..at).unwrap_or_default().trim_end_matches(['!', '.']).trim_end()
}

/// Returns the fence of a code block that the line opens: its character and length (CommonMark's rule).
fn opens(line: &str) -> Option<(char, usize)> {
    let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = line.trim_start_matches(mark);
    let length = line.len() - info.len();
    (length >= 3 && !(mark == '`' && info.contains('`'))).then_some((mark, length))
}

/// Returns whether the line closes such a block.
fn closes(line: &str, (mark, length): (char, usize)) -> bool {
    line.len() >= length && line.chars().all(|c| c == mark)
}

#[cold]
#[inline(never)]
fn understand<Tz: TimeZone>(words: &str, now: &DateTime<Tz>) -> AgentDirective {
    let is_verbs = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (verb, rest) = words.split_at_checked(words.find(|c| !is_verbs(c)).unwrap_or(words.len())).unwrap_or_default();
    let apart = rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || "!.\u{2013}\u{2014}".contains(c));
    let (verb, rest) = if apart { (verb, rest.trim_start_matches(['!', '.']).trim()) } else { ("", "") };
    let request =
        |kind, lasting, topic: &str| RestRequest { kind, lasting, topic: text::line_of(topic, LONGEST_TOPIC) };
    let booked = |request| AgentDirective { rest: Some(request), ..AgentDirective::default() };
    match verb.to_ascii_lowercase().as_str() {
        "done" if before_dash(rest).is_empty() => booked(request(RestKind::Done, None, "")),
        "wait_for" if !rest.is_empty() => match with_end(rest, now) {
            Some((topic, lasting)) => booked(request(RestKind::WaitFor, Some(lasting), topic)),
            None => booked(request(RestKind::WaitFor, Some(UNTIMED), rest)),
        },
        // The session gives back the entry of work that it has in hand.
        "failed" if !rest.is_empty() => booked(request(RestKind::Failed, None, rest)),
        "blocked" if !rest.is_empty() => booked(request(RestKind::Blocked, Some(UNTIMED), rest)),
        "next_check" => match when::until(before_dash(rest), now) {
            Some(asked) => {
                let lasting = asked.min(LONGEST_REST);
                let at = now.to_utc() + TimeDelta::from_std(lasting).unwrap_or_default();
                let kept = if asked > LONGEST_REST { " (a rest is at most 48h)" } else { "" };
                let answer = format!(
                    "Your next_check {} was taken as {}{kept}.",
                    text::line_of(before_dash(rest), 40),
                    at.format("%Y-%m-%d %H:%M:%S UTC")
                );
                AgentDirective {
                    rest: Some(request(RestKind::Rest, Some(lasting), "")),
                    answer,
                    ..AgentDirective::default()
                }
            }
            None => not_understood(words),
        },
        _ => not_understood(words),
    }
}

/// Splits `ci for 2h` into its topic and the length of the rest, where it ends with one.
fn with_end<'w, Tz: TimeZone>(words: &'w str, now: &DateTime<Tz>) -> Option<(&'w str, Duration)> {
    let (topic, length) = before_dash(words).rsplit_once(" for ")?;
    let is_length = length.starts_with(|c: char| c.is_ascii_digit()) && !length.contains(':');
    let lasting = when::until(length, now).filter(|_| is_length && !topic.trim().is_empty())?;
    Some((topic.trim(), lasting.min(LONGEST_REST)))
}

fn not_understood(words: &str) -> AgentDirective {
    let answer = format!(
        "Frosty did not understand your line \"frosty: {}\": expected done, next_check 20m (or 14:30, or tomorrow 09:00), \
wait_for <topic>, blocked <on whom>, failed <why>, or note <text>.",
        text::line_of(words, 80)
    );
    AgentDirective { answer, ..AgentDirective::default() }
}

/// Returns a topic in the form in which it is stored and compared.
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
            ("frosty: next_check tomorrow 14:00", ("rest", Some(25 * hour), "")),
            ("frosty: next_check tomorrow", ("rest", Some(20 * hour), "")),
            ("frosty: next_check 3d", ("rest", Some(48 * hour), "")),
            ("- frosty: done", ("done", None, "")),
            ("* frosty: done", ("done", None, "")),
            ("+ **frosty: done**", ("done", None, "")),
            ("1. frosty: done", ("done", None, "")),
            ("12) `frosty: done`", ("done", None, "")),
            ("## frosty: done", ("done", None, "")),
            ("## **Frosty:** done", ("done", None, "")),
            ("frosty: done!", ("done", None, "")),
            ("**frosty: done!**", ("done", None, "")),
            ("frosty: done - waiting for the review", ("done", None, "")),
            ("frosty: done \u{2014} all tests pass.", ("done", None, "")),
            ("frosty: done\u{2014}all tests pass", ("done", None, "")),
            ("frosty: done! -- bye", ("done", None, "")),
            ("frosty: next_check 10 minutes", ("rest", Some(600), "")),
            ("frosty: next_check 10 s", ("rest", Some(10), "")),
            ("frosty: next_check in 10s", ("rest", Some(10), "")),
            ("frosty: next_check 1h 30m", ("rest", Some(5400), "")),
            ("- frosty: next_check 1 hour and 30 minutes - CI runs", ("rest", Some(5400), "")),
            ("frosty: next_check 20m \u{2013} then the deploy", ("rest", Some(1200), "")),
            ("frosty: wait_for build-7 - it runs", ("wait_for", Some(24 * hour), "build-7 - it runs")),
            ("frosty: wait_for ci for 2h", ("wait_for", Some(2 * hour), "ci")),
            ("frosty: wait_for the build for 10 minutes - it runs", ("wait_for", Some(600), "the build")),
            ("frosty: wait_for ci for 3d", ("wait_for", Some(48 * hour), "ci")),
            ("frosty: wait_for news for 2 builds", ("wait_for", Some(24 * hour), "news for 2 builds")),
            ("frosty: wait_for the build", ("wait_for", Some(24 * hour), "the build")),
            ("frosty: blocked Ann's review", ("blocked", Some(24 * hour), "Ann's review")),
        ] {
            let (kind, lasting, topic) = expected;
            assert_eq!(rest(line), Some((kind, lasting, topic.to_owned())), "{line}");
        }
        let said = read("frosty: next_check 14:30", noon);
        assert_eq!(said.answer, "Your next_check 14:30 was taken as 2026-11-24 13:30:00 UTC.");
        assert!(read("frosty: next_check 3d", noon).answer.contains("at most 48h"));
    }

    #[test]
    fn what_is_not_understood_is_answered_and_books_nothing() {
        for words in [
            "",
            "nap",
            "done now",
            "done-ish",
            "done, but for the docs",
            "doneness",
            "next_check 10 apples",
            "next_check in",
            "next_check",
            "next_check soon",
            "next_check 25:00",
            "wait_for",
            "blocked ",
            "next_check tomorrow morning",
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
            "- I could say frosty: done",
            "-frosty: done",
            "#frosty: done",
            "####### frosty: done",
            "1.frosty: done",
            "1234567890. frosty: done",
            "- > frosty: done",
            "The line frosty: done - it ends the turn.",
            "- ```\nfrosty: done\n```",
            "1. ~~~sh\n- frosty: done",
            "frosty: done\n1\n2\n3\n4\n5",
            "```\nfrosty: done\n```",
            "~~~text\nfrosty: done",
            "````\n```\nfrosty: done\n```\n````",
            "```\n~~~\nfrosty: done",
            "fros\u{00e9}\u{00e9}",
            "",
        ] {
            assert_eq!(read(message, noon), AgentDirective::default(), "{message}");
        }
        assert!(rest("frosty: done\n\n1\n\n2\n3\n\n4\n").is_some());
        assert!(rest("```js``` is it\nfrosty: done").is_some());
        assert!(rest("```\ncode\n```\nfrosty: done").is_some());
        assert_eq!(rest("frosty: done\nfrosty: next_check 5s").unwrap().0, "rest", "the last one counts");
    }

    #[test]
    fn a_list_of_directives_is_none() {
        let said = read("You may end with one of:\n- frosty: done\n- frosty: next_check 20m\n", noon);
        assert_eq!((said.rest, said.answer.as_str()), (None, SEVERAL));
        assert!(rest("- frosty: done\n- frosty: done").is_some(), "said twice");
        assert!(rest("- frosty: next_check 5m\n- frosty: done\nfrosty: done").is_some(), "a line of its own counts");
        assert!(rest("Done:\n- the fix\n- the tests\n- frosty: done").is_some());
    }

    #[test]
    fn notes_are_anywhere_and_no_directives() {
        let said = read(
            "Begin.\nfrosty: note the build is slow\n1\n2\n3\n4\n5\nfrosty: done\n- **frosty:** note: next: b\n",
            noon,
        );
        assert_eq!(said.notes, ["the build is slow", "next: b"]);
        assert_eq!(said.rest.map(|rest| rest.kind), Some(RestKind::Done));
        for message in [
            "```\nfrosty: note x\n```",
            "> frosty: note x",
            "frosty: note <what to remember>",
            "- frosty: note next: <the move>",
            "I note it",
        ] {
            assert_eq!(read(message, noon), AgentDirective::default(), "{message}");
        }
        let many: String = (0..99).map(|n| format!("frosty: note {n}\n")).collect();
        assert_eq!(read(&many, noon).notes.last().map(String::as_str), Some("98"));
        for (line, kept) in [
            ("Frosty: Note x", "x"),
            ("frosty: note\tx", "x"),
            ("`frosty: note x`", "x"),
            ("frosty: note run `make`", "run `make`"),
            ("frosty: note keep __init__", "keep __init__"),
            ("frosty: note docs: <https://example.org/x>", "docs: <https://example.org/x>"),
        ] {
            assert_eq!(read(line, noon).notes, [kept], "{line}");
        }
        let long = read(&format!("frosty: note {}", "é\u{1b}".repeat(900)), noon).notes.remove(0);
        assert!((400..=notes::LONGEST).contains(&long.chars().count()) && !long.contains('\u{1b}'), "{long}");
    }

    /// A quoted directive has no effect when the agent repeats it.
    #[test]
    fn every_form_is_quoted() {
        for line in ["frosty: done", "- frosty: done", "## frosty: done!", "1. **frosty:** done", "  * `frosty: done`"]
        {
            assert_eq!(read(&quoted(line), noon), AgentDirective::default(), "{line}");
            assert!(rest(line).is_some(), "{line}");
        }
    }
}
