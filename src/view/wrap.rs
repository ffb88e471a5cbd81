//! Wraps texts for people between words, at the width of a terminal.
//!
//! Commands stay whole, so that they can be pasted: a terminal that breaks a long line by itself copies it as one.

use crate::hint;
use crate::view::sessions::width;

/// The indent of a command on its own line.
const INDENT: &str = "  ";
/// The beginnings of lines that are one command.
const COMMANDS: [&str; 2] = ["-> ", "undo  "];
/// The label of a command that removes what the line above shows.
const REMOVAL: &str = "remove it: ";

/// Returns a text with each line wrapped. A continued line begins below the text of its first line.
#[must_use]
pub fn text(text: &str, columns: usize) -> String {
    let lines = text.split('\n').map(|line| self::line(line, columns));
    lines.collect::<Vec<_>>().join("\n")
}

fn line(line: &str, columns: usize) -> String {
    let body = line.trim_start();
    if width::of(line) <= columns || COMMANDS.iter().any(|begin| body.starts_with(begin)) {
        return line.to_owned();
    }
    if let Some(hint) = line.strip_prefix("hint: ") {
        let (clause, command) = hint::parts(hint);
        return clause
            .map_or_else(|| line.to_owned(), |clause| self::command(&format!("hint: {clause}"), command, columns));
    }
    let indent = line.len() - body.len();
    if let Some(command) = body.strip_prefix(REMOVAL) {
        return format!("{}\n{:indent$}{INDENT}{command}", line.strip_suffix(command).unwrap_or(line).trim_end(), "");
    }
    let below = indent + label(body);
    if let Some((clause, command)) = line.split_once(": frosty ") {
        return self::command(clause, &format!("frosty {command}"), columns);
    }
    let (begin, words) = line.split_at(below);
    format!("{begin}{}", words_of(words, below, below, columns))
}

/// Returns the length of a label and the gap after it, as in `added    8 hooks`.
fn label(body: &str) -> usize {
    let Some((name, rest)) = body.split_once("  ") else { return 0 };
    let is_label = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
    if is_label { body.len() - rest.trim_start().len() } else { 0 }
}

/// Returns a clause and the command after it, which gets its own line where both do not fit on one.
#[must_use]
pub fn command(clause: &str, command: &str, columns: usize) -> String {
    let whole = format!("{clause}: {command}");
    if width::of(&whole) <= columns {
        return whole;
    }
    format!("{}:\n{INDENT}{command}", words_of(clause, 0, 0, columns.saturating_sub(1)))
}

/// Returns the words wrapped, where `filled` columns of the first line are in use. Each further line is indented. A word
/// longer than a line gets its own line.
#[must_use]
pub fn words_of(words: &str, filled: usize, indent: usize, columns: usize) -> String {
    let mut out = String::new();
    let mut at = filled;
    let mut is_begin = true;
    for word in words.split(' ') {
        let long = width::of(word);
        if !is_begin && at + 1 + long > columns {
            // The gap between two words ends the line.
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            at = indent;
            is_begin = word.is_empty();
        } else if !is_begin {
            out.push(' ');
            at += 1;
        } else {
            is_begin = word.is_empty() && at == indent && !out.is_empty();
        }
        out.push_str(word);
        at += long;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words() {
        for (line, shown) in [
            ("short", "short"),
            ("one two three four five six", "one two three\nfour five six"),
            ("日本語 日本語 日本語", "日本語 日本語\n日本語"),
            ("in /a/path/longer/than/a/line there", "in\n/a/path/longer/than/a/line\nthere"),
            ("  indented words go on", "  indented words\n  go on"),
            ("  added    8 hooks that run", "  added    8\n           hooks\n           that\n           run"),
            ("  undo     frosty uninstall --user", "  undo     frosty uninstall --user"),
            ("    remove it: frosty uninstall", "    remove it:\n      frosty uninstall"),
            ("To wake it: frosty wake nova", "To wake it:\n  frosty wake nova"),
            ("hint: run it: ls", "hint: run it: ls"),
            ("hint: see the entry: frosty log -n 20", "hint: see the\nentry:\n  frosty log -n 20"),
            ("hint: frosty log --json -n 20", "hint: frosty log --json -n 20"),
            ("hint: echo '{\"a\": \"b\"}' | frosty check", "hint: echo '{\"a\": \"b\"}' | frosty check"),
            ("name  id x  scope y more", "name  id x\n      scope y\n      more"),
            ("", ""),
        ] {
            assert_eq!(text(line, 16), shown, "{line}");
            assert_eq!(text(line, 80), line);
        }
        assert_eq!(text("one two three four\nhint: ls", 9), "one two\nthree\nfour\nhint: ls");
        assert_eq!(command("to end it", "frosty release", 30), "to end it: frosty release");
        assert_eq!(command("to end it", "frosty release", 20), "to end it:\n  frosty release");
    }

    #[test]
    fn the_first_line_may_be_in_use() {
        assert_eq!(words_of("one two three", 8, 4, 14), "one\n    two three");
        assert_eq!(words_of("one two", 12, 4, 14), "one\n    two");
    }
}
