//! Measures the width of text on a terminal, where East Asian characters and emoji take two columns.

use unicode_width::UnicodeWidthChar;

/// Returns the number of columns of the text.
#[must_use]
pub fn of(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

/// Returns the same for text with colours in it.
#[must_use]
pub fn of_painted(text: &str) -> usize {
    let mut parts = text.split("\x1b[");
    let plain = parts.next().map_or(0, of);
    plain + parts.map(|part| part.split_once('m').map_or(0, |(_, text)| of(text))).sum::<usize>()
}

fn of_char(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Returns the text in at most `most` columns; an `…` replaces what is cut off.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    if of(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(1);
    let mut taken = 0;
    let fits = |c: &char| {
        taken += of_char(*c);
        taken <= room
    };
    let mut out: String = text.chars().take_while(fits).collect();
    if most > 0 {
        out.truncate(out.trim_end().len());
        out.push('…');
    }
    out
}

/// Returns the text in exactly so many columns.
#[must_use]
pub fn fill(text: &str, columns: usize) -> String {
    pad(cut(text, columns), columns)
}

/// Returns the text in at least so many columns.
#[must_use]
pub fn pad(mut text: String, columns: usize) -> String {
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(of(&text))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        for (text, columns) in [("agent", 5), ("日本語", 6), ("❄ hold", 6), ("🧊x", 3), ("e\u{301}", 1), ("", 0)]
        {
            assert_eq!(of(text), columns, "{text}");
            assert_eq!(of_painted(&format!("\x1b[1;31m{text}\x1b[0m")), columns, "{text}");
            assert_eq!(of_painted(&format!("m{text}\x1b[0mm")), columns + 2, "{text}");
        }
        for (text, most, cut_to) in [
            ("agent-seven", 11, "agent-seven"),
            ("agent-seven", 10, "agent-sev…"),
            ("agent seven", 7, "agent…"),
            ("日本語です", 10, "日本語です"),
            ("日本語です", 9, "日本語で…"),
            ("日本語です", 8, "日本語…"),
            ("x", 0, ""),
        ] {
            assert_eq!(cut(text, most), cut_to);
            assert!(of(&cut(text, most)) <= most);
            assert_eq!(of(&fill(text, most)), most);
            assert_eq!(of(&pad(text.to_owned(), most)), of(text).max(most));
        }
    }
}
