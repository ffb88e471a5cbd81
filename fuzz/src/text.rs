//! External text: it is safe to show, to store and to paste.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use frosty::config::encoded;
use frosty::{duration, journal, text};

use crate::said;

pub fn run(data: &[u8]) {
    let Some((head, tail)) = data.split_at_checked(10) else { return };
    let most = usize::from(u16::from_le_bytes([head[0], head[1]]));
    let number = i64::from_le_bytes(head[2..].try_into().expect("eight bytes"));
    let raw = String::from_utf8_lossy(tail);

    for (line, most) in [(text::line(&raw), 300), (text::line_of(&raw, most), most)] {
        said::one_line(&line, most);
        assert_eq!(line.trim(), line);
        assert_eq!(text::line_of(&line, most), line, "cleaned twice");
    }
    let prompt = text::prompt(&raw, most);
    said::lines(&prompt, most);
    assert_eq!(text::prompt(&prompt, most), prompt, "cleaned twice");

    let name = text::encode(&raw);
    said::name(&name);
    assert_eq!(decoded(&name), raw.as_bytes(), "two names would be one");
    match encoded(&raw, "a place", "key") {
        Ok(same) => assert!(same == name && (1..=text::LONGEST_NAME).contains(&same.len())),
        Err(e) => said::one_line(&e.to_string(), 1000),
    }

    let path = Path::new(OsStr::from_bytes(tail));
    let shown = text::path(path);
    said::one_line(&shown, 4 * LONGEST_PATH + 3);
    // A shell reads it as the path.
    assert_eq!(unquoted(&shown), tail.get(..LONGEST_PATH).unwrap_or(tail), "{shown}");

    times(number, &raw);
}

fn times(number: i64, raw: &str) {
    said::one_line(&text::utc(number), 40);
    let stamp = journal::stamp(number);
    assert!(stamp.chars().all(|c| c.is_ascii_digit() || "_+-".contains(c)), "{stamp}");
    let length = Duration::from_millis(number.unsigned_abs());
    assert_eq!(duration::parse(&duration::show(length)), Some(length));
    assert!(
        duration::parse(&duration::about(length)).is_some_and(|d| d >= length && d - length < Duration::from_secs(1))
    );
    if let Some(read) = duration::parse(raw) {
        assert_eq!(duration::parse(&duration::show(read)), Some(read), "{raw}");
    }
}

fn decoded(name: &str) -> Vec<u8> {
    let mut bytes = name.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
        let digits = std::str::from_utf8(&digits).expect("two digits");
        out.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
    }
    out
}

/// The number of bytes of a path that are shown.
const LONGEST_PATH: usize = 4096;

/// Returns a shell's reading of a word that begins with nothing it would expand.
fn unquoted(word: &str) -> Vec<u8> {
    assert!(!word.is_empty(), "it is no word");
    if let Some(rest) = word.strip_prefix("$'") {
        return escaped(rest.strip_suffix('\'').expect("a closed quote"));
    }
    assert!(!word.starts_with('~'), "a shell reads {word} as a home folder");
    let (mut out, mut quoted) = (String::new(), false);
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => quoted = !quoted,
            c if quoted => out.push(c),
            '\\' => out.extend(chars.next()),
            c => {
                assert!(c.is_alphanumeric() || "/._-+=@%:,~".contains(c), "a shell acts on {c:?} in {word}");
                out.push(c);
            }
        }
    }
    assert!(!quoted, "an open quote in {word}");
    out.into_bytes()
}

/// Returns the reading of `$'…'` by bash, zsh and ksh.
fn escaped(word: &str) -> Vec<u8> {
    let mut bytes = word.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        assert_ne!(byte, b'\'', "a closed quote in {word}");
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next().expect("what is escaped") {
            b'x' => {
                let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
                let digits = std::str::from_utf8(&digits).expect("two digits");
                out.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits"));
            }
            byte => {
                assert!(b"'\\".contains(&byte), "an escape that is none in {word}");
                out.push(byte);
            }
        }
    }
    out
}
