//! Splits a shell's command line into words, as far as possible without running it.

/// Returns the words without their quotes. A command separator is always a word of its own.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                // A line that continues in the next one.
                if let Some(c) = chars.next().filter(|c| *c != '\n') {
                    word.get_or_insert_default().push(c);
                }
            }
            (None, c) if c.is_whitespace() || PARTS.contains(c) => {
                all.extend(word.take());
                if c == '\n' || PARTS.contains(c) {
                    all.push(c.to_string());
                }
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    all.extend(word);
    all
}

/// Returns whether a word separates commands.
pub(super) fn parts_commands(word: &str) -> bool {
    let mut chars = word.chars();
    matches!((chars.next(), chars.next()), (Some(c), None) if c == '\n' || PARTS.contains(c))
}

const PARTS: &str = ";|&()<>`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_words() {
        for (line, found) in [
            ("a  b\tc", &["a", "b", "c"][..]),
            ("a;b&&c>d", &["a", ";", "b", "&", "&", "c", ">", "d"]),
            ("\"a b\"c 'd;e' '' f\\ g", &["a bc", "d;e", "", "f g"]),
            ("\"it's \\\"x\" 'a\\b", &["it's \"x", "a\\b"]),
            ("a \\\nb\nc", &["a", "b", "\n", "c"]),
            ("", &[]),
        ] {
            assert_eq!(words(line), found, "{line}");
        }
        assert!(parts_commands(";") && !parts_commands("a;") && !parts_commands(""));
    }
}
