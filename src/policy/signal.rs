//! The signal of a wake-up: a plain name. The session's list `wake_on` contains the signals that end its rest.

/// The longest name of a signal, in bytes.
pub const LONGEST: usize = 32;

/// Returns whether a word is the name of a signal: 1 to 32 of `a-z`, `0-9`, `_` and `-`.
#[must_use]
pub fn is_name(word: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    (1..=LONGEST).contains(&word.len()) && word.bytes().all(is_plain)
}

/// Splits a published text `name: note` into its signal and its note. A text that does not begin with the name of a
/// signal, a colon, and a space or the end has no signal.
#[must_use]
pub fn split(text: &str) -> (Option<&str>, &str) {
    match text.split_once(':') {
        Some((name, note)) if is_name(name) && (note.is_empty() || note.starts_with(' ')) => (Some(name), note.trim()),
        _ => (None, text),
    }
}

/// Returns the note of a wake-up as the next prompt contains it: after its signal, where it has one.
#[must_use]
pub fn noted(signal: Option<&str>, note: &str) -> String {
    match signal {
        None => note.to_owned(),
        Some(signal) if note.is_empty() => signal.to_owned(),
        Some(signal) => format!("{signal}: {note}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_a_plain_name_before_a_colon() {
        for (text, signal, note) in [
            ("infra: the disk is full", Some("infra"), "the disk is full"),
            ("infra:", Some("infra"), ""),
            ("ping_2-a:  x: y ", Some("ping_2-a"), "x: y"),
            ("", None, ""),
            (": x", None, ": x"),
            ("the build: green", None, "the build: green"),
            ("https://ci/7", None, "https://ci/7"),
            ("12:30 is due", None, "12:30 is due"),
            ("Urgent: x", None, "Urgent: x"),
            ("naïve: x", None, "naïve: x"),
        ] {
            assert_eq!(split(text), (signal, note), "{text}");
        }
        let longest = "a".repeat(LONGEST);
        assert_eq!(split(&format!("{longest}: x")).0, Some(&*longest));
        assert_eq!(split(&format!("{longest}a: x")).0, None);
    }

    /// The agent reads a published text as it was published.
    #[test]
    fn a_note_contains_its_signal() {
        for text in ["infra: the disk is full", "the disk is full", ""] {
            let (signal, note) = split(text);
            assert_eq!(noted(signal, note), text);
        }
        assert_eq!(noted(Some("ping"), ""), "ping");
    }
}
