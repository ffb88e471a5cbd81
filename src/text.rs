//! Makes external text safe to show and to store.

use std::os::unix::ffi::OsStrExt;

use chrono::DateTime;

use crate::policy::limits::Ms;

/// The longest line of foreign text that is shown.
const LINE: usize = 300;

/// Returns one line of at most 300 characters without control characters or invisible ones.
#[must_use]
pub fn line(raw: &str) -> String {
    line_of(raw, LINE)
}

/// Returns one line as [`line`] does, of at most `most` characters.
#[must_use]
pub fn line_of(raw: &str, most: usize) -> String {
    // The common case, of which there are thousands.
    if raw.len() <= most && raw.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return raw.trim().to_owned();
    }
    raw.chars().filter_map(tame).take(most).collect::<String>().trim().to_owned()
}

/// Replaces line breaks and terminal commands with a space, and removes characters that are invisible or
/// reorder the text.
fn tame(c: char) -> Option<char> {
    match c {
        '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() => Some(' '),
        c if unseen(c) => None,
        c => Some(c),
    }
}

/// Returns whether a character is one of Unicode's default-ignorable ones: zero-width and bidirectional ones,
/// byte order marks, fillers, tags.
fn unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns a path that can be pasted into a shell, on one line. Invisible characters, line breaks and bytes
/// that are not UTF-8 are written as bash, zsh and ksh read them in `$'…'`.
#[must_use]
pub fn path(path: &std::path::Path) -> String {
    pasted(path.as_os_str().as_bytes())
}

/// Returns a foreign word that can be pasted into a shell, as one word and on one line.
#[must_use]
pub fn word(raw: &str) -> String {
    pasted(raw.as_bytes())
}

/// Quotes a word where it needs it.
fn pasted(raw: &[u8]) -> String {
    let raw = raw.get(..LONGEST_PATH).unwrap_or(raw);
    let seen = |c: char| tame(c) == Some(c);
    let plain = |c: char| seen(c) && (c.is_alphanumeric() || "/._-+=@%:,".contains(c));
    match std::str::from_utf8(raw) {
        Ok(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Ok(text) if text.chars().all(seen) => format!("'{}'", text.replace('\'', "'\\''")),
        _ => {
            let mut out = String::new();
            for chunk in raw.utf8_chunks() {
                for c in chunk.valid().chars() {
                    match c {
                        '\'' | '\\' => out.extend(['\\', c]),
                        c if seen(c) => out.push(c),
                        c => out.extend(c.encode_utf8(&mut [0; 4]).bytes().map(escaped)),
                    }
                }
                out.extend(chunk.invalid().iter().copied().map(escaped));
            }
            format!("$'{out}'")
        }
    }
}

fn escaped(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

/// The longest path of any system, in bytes.
const LONGEST_PATH: usize = 4096;

/// Returns the nearest existing directory above a path.
#[must_use]
pub fn standing(path: &std::path::Path) -> &std::path::Path {
    path.ancestors().skip(1).find(|p| p.is_dir()).unwrap_or(path)
}

/// Returns several lines as [`line`] does, but keeps newlines and tabs.
#[must_use]
pub fn prompt(raw: &str, most: usize) -> String {
    let kept = |c: char| match c {
        '\n' | '\t' => Some(c),
        c if c.is_control() => None,
        c => tame(c),
    };
    raw.chars().filter_map(kept).take(most).collect()
}

/// Returns a time in words, UTC.
#[must_use]
pub fn utc(at: Ms) -> String {
    DateTime::from_timestamp_millis(at).map_or_else(String::new, |t| t.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Encodes a name for keys, files and the journal: `[A-Za-z0-9_@-]`, and `.` unless first, stay; every other
/// byte becomes `%XX`.
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

/// Returns the name that [`encode`] made this one from, or the encoded one where that is no text.
#[must_use]
pub fn decoded(name: &str) -> String {
    let mut parts = name.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => return name.to_owned(),
        }
        bytes.extend(part.get(2..).unwrap_or_default().bytes());
    }
    String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned())
}

/// Returns whether a name is in the form of [`encode`], so that it can be shown and used in a key as it is.
#[must_use]
pub fn is_encoded(name: &str) -> bool {
    let mut parts = name.split('%');
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_@-.".contains(&b));
    let hex = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
    let coded = |part: &str| part.as_bytes().iter().take(2).filter(|b| hex(b)).count() == 2 && plain(part);
    let first = parts.next().unwrap_or_default();
    (1..=LONGEST_NAME).contains(&name.len()) && !first.starts_with('.') && plain(first) && parts.all(coded)
}

/// Returns the known name nearest to a mistyped one, if at most a third of its characters differ.
#[must_use]
pub fn nearest<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = |name: &str| distance(&typed.to_lowercase(), name);
    let near = names.into_iter().map(|name| (far(name), name)).min_by_key(|(far, _)| *far);
    near.filter(|(far, name)| *far <= name.chars().count().div_ceil(3)).map(|(_, name)| name)
}

/// Returns how many characters must be inserted, removed, replaced, or swapped with the next one.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let from: Vec<char> = from.chars().take(64).collect();
    let (mut last, mut row): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=to.len()).collect());
    for (i, c) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, d) in to.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(d) && to.get(j - 1) == Some(c);
            let swap = if swapped { at(&last, j - 1) + 1 } else { usize::MAX };
            let replaced = at(&row, j) + usize::from(c != d);
            next.push(replaced.min(at(&row, j + 1) + 1).min(at(&next, j) + 1).min(swap));
        }
        last = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

/// The longest continuation prompt, in characters.
pub const LONGEST_PROMPT: usize = 10_000;

/// The longest stored path of a project directory, in characters.
pub const LONGEST_FOLDER: usize = 1024;

/// The longest note of a wake-up, in characters.
pub const LONGEST_NOTE: usize = 1000;

/// The longest encoded name. It must fit a file name.
pub const LONGEST_NAME: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_is_there() {
        for (raw, shown) in [
            ("a\u{1b}[31mb\u{9b}2Jc\u{7f}d", "a [31mb 2Jc d"),
            ("\u{1b}]8;;http://x\u{7}link\u{1b}\\", "]8;;http://x link \\"),
            ("one\r\ntwo\u{85}three\u{2028}four\u{2029}five\u{b}six\0", "one  two three four five six"),
            ("a\u{202e}b\u{2066}c\u{2069}d\u{200e}e\u{200f}f\u{61c}g", "abcdefg"),
            ("fro\u{200b}s\u{200d}ty\u{feff}: d\u{ad}one\u{2060}", "frosty: done"),
            ("tags\u{e0041}\u{e007f} and \u{fe0f}variants\u{e0100}", "tags and variants"),
            ("\u{feff}  Zoë, 日本語, 🧊  ", "Zoë, 日本語, 🧊"),
        ] {
            assert_eq!(line(raw), shown);
        }
        assert_eq!(prompt("a\n\tb\r\u{1b}[0m\u{2028}c\u{202e}", 100), "a\n\tb[0m c");
        assert_eq!(line(&"\u{200b}é".repeat(400)).chars().count(), LINE);
    }

    /// A shell turns the displayed text into the same bytes.
    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (raw, shown) in [
            (&b"/home/ann/.claude/frosty.json"[..], "/home/ann/.claude/frosty.json"),
            (b"~ann/frosty.json", "'~ann/frosty.json'"),
            (b"/a b/it's", "'/a b/it'\\''s'"),
            (b" /a ", "' /a '"),
            (b"", "''"),
            (b"/a; touch b", "'/a; touch b'"),
            (b"/$(a)`b`", "'/$(a)`b`'"),
            (b"/a\nb'\\; c", "$'/a\\x0ab\\'\\\\; c'"),
            (b"/\xffb\xe2\x80\xaec", "$'/\\xffb\\xe2\\x80\\xaec'"),
            ("/日本/é".as_bytes(), "/日本/é"),
        ] {
            let path = path(std::path::Path::new(std::ffi::OsStr::from_bytes(raw)));
            assert_eq!(path, shown);
            let said = std::process::Command::new("bash").args(["-c", &format!("printf %s {path}")]).output().unwrap();
            assert_eq!(said.stdout, raw, "{shown}");
            assert_eq!(path.lines().count(), 1);
        }
        assert_eq!(word("x@y; rm -r z"), "'x@y; rm -r z'");
    }

    #[test]
    fn the_nearest_name() {
        let names = ["store", "fleet", "scope", "stop", "stream", "min_interval", "fleet_quotas"];
        for (typed, near) in [
            ("stopp", Some("stop")),
            ("min_intervall", Some("min_interval")),
            ("min-interval", Some("min_interval")),
            ("flete", Some("fleet")),
            ("Scope", Some("scope")),
            ("steam", Some("stream")),
            ("", None),
            ("zzz", None),
            ("password", None),
        ] {
            assert_eq!(nearest(typed, names), near, "{typed}");
        }
    }

    #[test]
    fn names_that_are_encoded() {
        for name in
            ["a", "seat 1", ".", "..", "a:quota", "a}:scope:{b", "%41", "é\u{202e}", "a.b", "x/../y", "\u{1b}[0m"]
        {
            assert!(is_encoded(&encode(name)), "{name}");
        }
        for name in ["", ".", "..", "a b", "a:b", "{a}", "%", "%4", "%4g", "%zz", "%c3", "é", "\u{1b}", "a/b", "a\nb"]
        {
            assert!(!is_encoded(name), "{name}");
        }
        assert!(!is_encoded(&"a".repeat(LONGEST_NAME + 1)));
    }
}
