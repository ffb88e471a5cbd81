//! Text that comes from elsewhere, made safe to show and to store.

use chrono::DateTime;

use crate::throttle::policy::Ms;

/// The longest line that is shown of somebody else's words.
const LINE: usize = 300;

/// Whether a character could make a reader see what is not there: a control or escape character, a line break of any kind,
/// a mark that turns the direction of writing.
fn forges(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// One line, no control characters nor marks of direction, at most 300 characters.
#[must_use]
pub fn line(raw: &str) -> String {
    line_of(raw, LINE)
}

/// One line, no control characters nor marks of direction, at most `most` characters.
#[must_use]
pub fn line_of(raw: &str, most: usize) -> String {
    let clean = raw.chars().map(|c| if forges(c) { ' ' } else { c });
    clean.take(most).collect::<String>().trim().to_owned()
}

/// A path as it can be pasted into a shell, on one line.
#[must_use]
pub fn path(path: &std::path::Path) -> String {
    let shown = line_of(&path.display().to_string(), 1000);
    let plain = |c: char| c.is_alphanumeric() || "/._-+=@%:,".contains(c);
    if shown.chars().all(plain) { shown } else { format!("'{}'", shown.replace('\'', "'\\''")) }
}

/// The nearest folder above a path that exists.
#[must_use]
pub fn standing(path: &std::path::Path) -> &std::path::Path {
    path.ancestors().skip(1).find(|p| p.is_dir()).unwrap_or(path)
}

/// A prompt: control characters but newline and tab stripped, marks of direction too, at most `most` characters.
#[must_use]
pub fn prompt(raw: &str, most: usize) -> String {
    raw.chars().filter(|c| !forges(*c) || matches!(c, '\n' | '\t')).take(most).collect()
}

/// A time in words, UTC.
#[must_use]
pub fn utc(at: Ms) -> String {
    DateTime::from_timestamp_millis(at).map_or_else(String::new, |t| t.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A name as it stands in keys, files and the journal: `[A-Za-z0-9_@-]`, and `.` unless first, stay; every other byte
/// becomes `%XX`.
#[must_use]
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (i, byte) in name.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'@' | b'-' => out.push(char::from(byte)),
            b'.' if i > 0 => out.push('.'),
            _ => {
                const HEX: [char; 16] =
                    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
                out.push('%');
                out.extend([byte >> 4, byte & 15].into_iter().filter_map(|n| HEX.get(usize::from(n))));
            }
        }
    }
    out
}

/// The longest continuation prompt, in characters.
pub const LONGEST_PROMPT: usize = 10_000;

/// The longest note of a wake-up, in characters.
pub const LONGEST_NOTE: usize = 1000;

/// No encoded name is longer: it must fit a file name.
pub const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn nothing_is_left_that_forges_what_a_reader_sees() {
        assert_eq!(
            line("held\u{1b}[2J by \u{202e}nna\u{2069}\u{2028}frosty: done\u{9b}0m"),
            "held [2J by  nna  frosty: done 0m"
        );
        assert_eq!(prompt("a\tb\nc\u{202e}d\u{2029}e\r\u{200f}f", 100), "a\tb\ncdef");
        // Joiners are part of what people write.
        assert_eq!(line("👩\u{200d}💻 \u{5d0}\u{5d1}"), "👩\u{200d}💻 \u{5d0}\u{5d1}");
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (raw, shown) in [
            ("/home/ann/.claude/frosty.json", "/home/ann/.claude/frosty.json"),
            ("~ann/frosty.json", "'~ann/frosty.json'"),
            ("/a b/it's", "'/a b/it'\\''s'"),
            ("/a\u{202e}b", "'/a b'"),
        ] {
            assert_eq!(path(Path::new(raw)), shown);
        }
    }
}
