//! Sets one value in the text of a configuration file. The rest of the text stays as it is, byte for byte.

use crate::client_settings::json::{BLANK, Node, NotJson, parse};

/// Returns the text with this value, which is JSON, for a dotted key. No text is a file that does not exist.
///
/// # Errors
/// When the text is not JSON.
pub fn set(text: &str, key: &str, value: &str) -> Result<String, NotJson> {
    let Some(mut node) = parse(text)? else {
        return Ok(format!("{text}{{\n  {}\n}}\n", member(key, value)));
    };
    let mut rest = key;
    loop {
        let (name, inner) = rest.split_once('.').map_or((rest, None), |(name, inner)| (name, Some(inner)));
        let Some(members) = node.members() else {
            // Null is a group that is switched off. Any other value is an error of the file and stays, to be reported.
            let is_off = node.kind() == "null" && rest != key;
            return Ok(if is_off {
                replaced(text, &node, &format!("{{{}}}", member(rest, value)))
            } else {
                text.to_owned()
            });
        };
        let found = members.iter().find(|m| m.key == name).map(|m| m.value);
        (node, rest) = match (found, inner) {
            (Some(old), None) => return Ok(replaced(text, &old, value)),
            (Some(old), Some(inner)) => (old, inner),
            (None, _) => return Ok(added(text, &node, &member(rest, value))),
        };
    }
}

/// Returns the text without a dotted key; `None` where it does not contain the key. A group whose only key it is goes, too.
///
/// # Errors
/// When the text is not JSON.
pub fn unset(text: &str, key: &str) -> Result<Option<String>, NotJson> {
    let Some(mut node) = parse(text)? else { return Ok(None) };
    // The cut of the innermost object that has other keys.
    let mut cut = None;
    for name in key.split('.') {
        let members = node.members().unwrap_or_default();
        let Some(at) = members.iter().position(|member| member.key == name) else { return Ok(None) };
        let (before, after) = (at.checked_sub(1).and_then(|i| members.get(i)), members.get(at + 1));
        let Some(member) = members.get(at) else { return Ok(None) };
        let span = member.span();
        cut = match (before, after) {
            (Some(before), _) => Some(before.span().end..span.end),
            (None, Some(after)) => Some(span.start..after.span().start),
            (None, None) => cut.or_else(|| Some(node.span().start + 1..node.span().end - 1)),
        };
        node = member.value;
    }
    let without = |cut: std::ops::Range<usize>| {
        [text.get(..cut.start).unwrap_or_default(), text.get(cut.end..).unwrap_or_default()].concat()
    };
    Ok(cut.map(without))
}

/// Returns `"stop": {"min_interval": VALUE}` for `stop.min_interval`.
fn member(key: &str, value: &str) -> String {
    match key.split_once('.') {
        Some((name, inner)) => format!("\"{name}\": {{{}}}", member(inner, value)),
        None => format!("\"{key}\": {value}"),
    }
}

fn replaced(text: &str, old: &Node<'_>, new: &str) -> String {
    let span = old.span();
    let (before, after) = (text.get(..span.start), text.get(span.end..));
    [before.unwrap_or_default(), new, after.unwrap_or_default()].concat()
}

/// Adds a member at the end of an object, laid out as its first member is.
fn added(text: &str, object: &Node<'_>, member: &str) -> String {
    let inside = object.text().get(1..).unwrap_or_default();
    let gap = inside.get(..inside.len() - inside.trim_start_matches(BLANK).len()).unwrap_or_default();
    let new = match object.members().unwrap_or_default().last() {
        Some(last) => {
            let kept = text.get(object.span().start..last.span().end).unwrap_or_default();
            let after = text.get(last.span().end..object.span().end).unwrap_or_default();
            format!("{kept},{}{member}{after}", if gap.is_empty() { " " } else { gap })
        }
        None if object.span().start
            > text.len() - text.trim_start_matches(['\u{feff}', ' ', '\t', '\n', '\r']).len() =>
        {
            format!("{{{member}}}")
        }
        None => format!("{{\n  {member}\n}}"),
    };
    replaced(text, object, &new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_stays_as_it_is() {
        for (text, key, value, new) in [
            ("", "fleet", "\"a\"", "{\n  \"fleet\": \"a\"\n}\n"),
            ("{}\n", "stop.burst.limit", "2", "{\n  \"stop\": {\"burst\": {\"limit\": 2}}\n}\n"),
            ("{ \"a\" :1 }", "a", "[2]", "{ \"a\" :[2] }"),
            ("{\"a\": 1}", "b", "2", "{\"a\": 1, \"b\": 2}"),
            (
                "{\r\n\t\"a\": {\"x\": [1,  2]}\r\n}\r\n",
                "b",
                "2",
                "{\r\n\t\"a\": {\"x\": [1,  2]},\r\n\t\"b\": 2\r\n}\r\n",
            ),
            (
                "\u{feff}{\n  \"s\": {\n    \"é\": 1\n  }\n}",
                "s.b.c",
                "2",
                "\u{feff}{\n  \"s\": {\n    \"é\": 1,\n    \"b\": {\"c\": 2}\n  }\n}",
            ),
            ("{\"s\": {\"burst\": null}}", "s.burst.limit", "2", "{\"s\": {\"burst\": {\"limit\": 2}}}"),
            ("[]", "s", "2", "[]"),
            ("{\"s\": 5}", "s.b", "2", "{\"s\": 5}"),
            ("{\"s\": {}}", "s.b", "2", "{\"s\": {\"b\": 2}}"),
        ] {
            assert_eq!(set(text, key, value).unwrap(), new);
        }
        assert!(set("{\"a\": }", "a", "1").is_err());
    }

    #[test]
    fn only_the_key_goes() {
        for (text, key, left) in [
            ("", "a", None),
            ("{\"b\": 1}", "a", None),
            ("{\"a\": 1}", "a.b", None),
            ("{ \"a\": 1 }\n", "a", Some("{}\n")),
            ("{\"a\": 1, \"b\": 2}", "a", Some("{\"b\": 2}")),
            ("{\n  \"a\": 1,\n  \"b\": 2\n}\n", "b", Some("{\n  \"a\": 1\n}\n")),
            ("{\"x\": 0, \"a\": {\"b\": {\"c\": 1}}}", "a.b.c", Some("{\"x\": 0}")),
            ("{\"a\": {\"b\": {\"c\": 1}, \"d\": 2}}", "a.b.c", Some("{\"a\": {\"d\": 2}}")),
            ("{\"a\": {\"b\": {\"c\": 1}}}", "a.b.c", Some("{}")),
        ] {
            assert_eq!(unset(text, key).unwrap().as_deref(), left, "{key} of {text}");
        }
        assert!(unset("{\"a\": }", "a").is_err());
    }
}
