//! Parses JSON with the position of every value, so that an edit changes nothing else, byte for byte.
//!
//! The parser is serde_json's. A value's position is that of its raw text in the whole.

use std::fmt;
use std::ops::Range;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// One value and its position, in bytes of the whole text.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    raw: &'a str,
    start: usize,
}

/// A key and its value in an object. A key may occur twice, and then the client takes the last.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// The key.
    pub key: String,
    /// The position where the key begins.
    pub start: usize,
    /// The key's value.
    pub value: Node<'a>,
}

impl Member<'_> {
    /// Returns the range from the key to the end of the value.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start..self.value.span().end
    }
}

/// The reason why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at line {line}, column {column}")]
pub struct NotJson {
    /// The parser's message.
    pub what: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in bytes.
    pub column: usize,
}

/// Parses the value in a text, and skips a byte-order mark before it. Returns `None` for a text of white space
/// alone.
///
/// # Errors
/// Returns an error when the text is not JSON.
pub fn parse(text: &str) -> Result<Option<Node<'_>>, NotJson> {
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    let begun = json.trim_start_matches(BLANK);
    if begun.is_empty() {
        return Ok(None);
    }
    serde_json::from_str::<IgnoredAny>(json).map_err(|e| match comment_at(json) {
        Some(line) => NotJson { what: "a comment, and JSON has none,".to_owned(), line, column: 1 },
        None => not_json(&e),
    })?;
    Ok(Some(Node { raw: begun.trim_end_matches(BLANK), start: text.len() - begun.len() }))
}

/// Returns the line of the first comment (`//`, `/*` or `#` outside of a string) in a text that is not JSON.
#[must_use]
pub fn comment_at(text: &str) -> Option<usize> {
    let mut line = 1;
    let mut in_string = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\n' => {
                // A string ends with its line, so that an unclosed one does not hide the rest.
                line += 1;
                in_string = false;
            }
            '\\' if in_string => {
                rest.next();
            }
            '"' => in_string = !in_string,
            '#' if !in_string => return Some(line),
            '/' if !in_string && matches!(rest.peek(), Some('/' | '*')) => return Some(line),
            _ => {}
        }
    }
    None
}

/// Parses the value of a text as the client would. Half of a surrogate pair, which may be the end of a text
/// that was cut, is no reason to ignore the whole.
#[must_use]
pub fn value(json: &str) -> Option<Value> {
    serde_json::from_str(json).or_else(|_| serde_json::from_str(&whole_pairs(json))).ok()
}

/// Returns the text with each unpaired surrogate replaced.
fn whole_pairs(json: &str) -> String {
    let half = |escape: &str, of: &[&str]| {
        let hex = escape.strip_prefix("\\u").unwrap_or_default().to_ascii_lowercase();
        of.iter().any(|start| hex.starts_with(start))
    };
    let (high, low) = (["d8", "d9", "da", "db"], ["dc", "dd", "de", "df"]);
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, escape)) = rest.find('\\').and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        let second = escape.get(6..).unwrap_or_default();
        let (kept, long) = if half(escape, &high) && half(second, &low) {
            (None, 12)
        } else if half(escape, &high) || half(escape, &low) {
            (Some("\\ufffd"), 6)
        } else {
            (None, 2)
        };
        let Some((escape, after)) = escape.split_at_checked(long) else { break };
        out.push_str(kept.unwrap_or(escape));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// JSON's white space.
pub const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

fn not_json(e: &serde_json::Error) -> NotJson {
    let said = e.to_string();
    let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what).to_owned();
    NotJson { what, line: e.line(), column: e.column() }
}

impl<'a> Node<'a> {
    /// Returns the value's position.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// Returns the value's text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.raw
    }

    /// Returns the type of the value, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.raw.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'"') => "a text",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    /// Returns the members, if the value is an object with readable keys.
    #[must_use]
    pub fn members(&self) -> Option<Vec<Member<'a>>> {
        let found = serde_json::Deserializer::from_str(self.raw).deserialize_map(Members).ok()?;
        let mut from = self.start + 1;
        let member = |(key, raw): (String, &'a RawValue)| {
            let value = self.inner(raw);
            // Only white space and a comma are between the last value, or the brace, and a key.
            let start = from + self.raw.get(from - self.start..)?.find('"')?;
            from = value.span().end;
            Some(Member { key, start, value })
        };
        found.into_iter().map(member).collect()
    }

    /// Returns the elements, if the value is a list.
    #[must_use]
    pub fn elements(&self) -> Option<Vec<Self>> {
        let found = serde_json::Deserializer::from_str(self.raw).deserialize_seq(Elements).ok()?;
        Some(found.into_iter().map(|raw| self.inner(raw)).collect())
    }

    /// Returns the value that the client takes for a key: the last.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Self> {
        self.members()?.into_iter().rfind(|m| m.key == key).map(|m| m.value)
    }

    /// Returns the value itself.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        value(self.raw)
    }

    fn inner(&self, raw: &'a RawValue) -> Self {
        let raw = raw.get();
        // A borrowed raw value is a part of the text from which it was read.
        Self { raw, start: self.start + (raw.as_ptr() as usize - self.raw.as_ptr() as usize) }
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = map.next_entry()? {
            all.push(member);
        }
        Ok(all)
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = seq.next_element()? {
            all.push(element);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_text() {
        let text = "\u{feff} {\r\n\"a\" : [ 1 , {\"b\":\"}\\\"\"}, \"é\" ] , \"a\":null}\n";
        let root = parse(text).unwrap().unwrap();
        assert_eq!(&text[root.span()], root.text());
        let members = root.members().unwrap();
        assert_eq!(members.len(), 2, "a key that stands there twice is there twice");
        assert!(text[members[0].span()].starts_with("\"a\" : [ 1 ") && text[members[0].span()].ends_with("\"é\" ]"));
        assert_eq!(&text[members[1].span()], "\"a\":null");
        let inner = members[0].value.elements().unwrap();
        assert_eq!(inner.iter().map(|n| &text[n.span()]).collect::<Vec<_>>(), ["1", "{\"b\":\"}\\\"\"}", "\"é\""]);
        assert_eq!(root.get("a").unwrap().kind(), "null");
        assert!(root.elements().is_none() && inner[0].members().is_none());
    }

    #[test]
    fn a_text_that_was_cut_hides_nothing() {
        for (json, whole) in [
            (r#"{"a": "cut \ud83d", "b": true}"#, "{\"a\": \"cut \u{fffd}\", \"b\": true}"),
            (
                r#"["\ud83d\ude00", "\uDE00x", "\ud83d\ud83d\ude00", "\\ud83d", "é\\"]"#,
                "[\"😀\", \"\u{fffd}x\", \"\u{fffd}😀\", \"\\\\ud83d\", \"é\\\\\"]",
            ),
        ] {
            assert_eq!(value(json), serde_json::from_str(whole).ok(), "{json}");
        }
        assert_eq!((value("{"), value("\"\\ud83")), (None, None));
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        assert!(parse(" \r\n\t").unwrap().is_none() && parse("\u{feff}").unwrap().is_none());
        let wrong = parse("{\n  \"a\": 1,\n}").unwrap_err();
        assert_eq!((wrong.line, wrong.column, wrong.what.as_str()), (3, 1, "key must be a string"));
        for text in ["{} {}", "{\"a\" 1}", "{'a':1}", "// x\n{}", "{\"a\":1", "[1,]", "\u{feff}\u{feff}{}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
