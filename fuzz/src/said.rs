//! Checks the form of foreign text that is shown or stored.

/// Returns whether a character could forge the text that a reader sees: a control or escape character, a line
/// break of any kind, a mark that changes the direction of writing.
pub fn forges(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c) || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Checks one line of at most `most` characters that forges nothing.
#[track_caller]
pub fn one_line(text: &str, most: usize) {
    assert!(!text.chars().any(forges), "a character that forges, in {text:?}");
    let length = text.chars().count();
    assert!(length <= most, "{length} characters where {most} are allowed: {text:?}");
}

/// Checks a text as [`one_line`] does, but allows newlines and tabs.
#[track_caller]
pub fn lines(text: &str, most: usize) {
    let forges = |c: char| forges(c) && !matches!(c, '\n' | '\t');
    assert!(!text.chars().any(forges), "a character that forges, in {text:?}");
    assert!(text.chars().count() <= most, "more than {most} characters: {text:?}");
}

/// Checks a name in the form for a key, a file name and a URL.
#[track_caller]
pub fn name(encoded: &str) {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_@-.%".contains(c);
    assert!(encoded.chars().all(allowed) && !encoded.starts_with('.'), "{encoded:?}");
}
