//! Inserts Frosty's entries into the text of a settings file, and removes them again. Everything else stays as
//! it is, and a removal reverses an insertion byte for byte.
//!
//! An empty container that existed before must be distinguishable from one that the insertion made, or a
//! removal would leave too much or too little. So an existing empty object or list is filled directly after its
//! bracket. A container that the insertion makes has white space there.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use super::registration::{EVENTS, Registration};
use crate::client_settings::json::{BLANK, Member, Node};
use crate::client_settings::owner::{Engine, Owner, owner};
use crate::client_settings::{self, Unread, hook, parsed, wrong_type};

/// A text without Frosty's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Without {
    /// The remaining text.
    Text(String),
    /// Nothing remains: this is the result of an insertion where no file existed.
    NoFile,
}

impl Without {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::NoFile => None,
        }
    }
}

/// Returns the text with these entries in it, and no others of Frosty's. The text is unchanged where they are
/// in it already. A `None` text is a file that does not exist.
///
/// # Errors
/// Returns an error when the text is not JSON, or a part that must be extended is of the wrong type.
pub fn put(text: Option<&str>, wanted: &Registration, file: &Path) -> Result<String, Unread> {
    let Some(text) = text else { return Ok(format!("{}\n", whole(wanted))) };
    if is_as_wanted(text, wanted, file)? {
        return Ok(text.to_owned());
    }
    let without = take(text, file)?;
    let Some(text) = without.text() else { return put(None, wanted, file) };
    let Some(root) = parsed(text, file)? else { return Ok(format!("{text}{}", whole(wanted))) };
    insert(text, &root, wanted, file)
}

/// Returns the text without Frosty's entries and the containers that were made for them.
///
/// # Errors
/// Returns an error when the text is not JSON, or is not a settings object.
pub fn take(text: &str, file: &Path) -> Result<Without, Unread> {
    let Some(root) = parsed(text, file)? else { return Ok(Without::Text(text.to_owned())) };
    let members = root.members().ok_or_else(|| wrong_type(file, "the file", "an object", &root))?;
    let mut cuts = Cuts::default();
    let gone = members.iter().map(|m| m.key == "hooks" && cuts.hooks(&m.value, file)).collect::<Vec<_>>();
    let spans: Vec<_> = members.iter().map(Member::span).collect();
    cuts.items(&spans, &gone);
    if !gone.is_empty() && gone.iter().all(|gone| *gone) && !is_tight(&root) {
        return Ok(emptied(text, &root, cuts.first));
    }
    Ok(Without::Text(cuts.cut(text)))
}

/// Returns every entry of Frosty's with its event, including the dead ones under keys that occur twice.
fn own(root: &Node<'_>, file: &Path) -> Vec<(String, Value)> {
    let hooks = root.members().unwrap_or_default().into_iter().filter(|m| m.key == "hooks");
    let events = hooks.flat_map(|m| m.value.members().unwrap_or_default());
    let mut all = Vec::new();
    for event in events {
        for group in event.value.elements().unwrap_or_default() {
            let entries = group.get("hooks").and_then(|hooks| hooks.elements()).unwrap_or_default();
            let values = entries.iter().filter_map(Node::value);
            all.extend(values.filter(|v| is_own(&event.key, v, file)).map(|v| (event.key.clone(), v)));
        }
    }
    all
}

fn is_own(event: &str, entry: &Value, file: &Path) -> bool {
    hook(file, event, entry).is_some_and(|hook| owner(&hook) == Owner::Installed)
}

/// Returns whether the entries are there, each once, and no others of Frosty's. Then nothing is to be done,
/// wherever in the file they have been moved to.
fn is_as_wanted(text: &str, wanted: &Registration, file: &Path) -> Result<bool, Unread> {
    let Some(root) = parsed(text, file)? else { return Ok(false) };
    let found = own(&root, file);
    let once = |event: &str, entry: &Value| found.iter().filter(|(e, v)| e == event && v == entry).count() == 1;
    let there = |event: &str| wanted.entries(event).iter().all(|entry| once(event, entry));
    // With dead entries the count would be right but the registration would not.
    let lives = client_settings::hooks_in(text, file)?.iter().filter(|h| owner(h) == Owner::Installed).count();
    Ok(found.len() == wanted.count() && lives == wanted.count() && EVENTS.iter().all(|event| there(event)))
}

// ---- removal -------------------------------------------------------------------------------------------------------

#[derive(Default)]
pub(super) struct Cuts {
    spans: Vec<Range<usize>>,
    /// The program of the first own entry.
    first: Option<String>,
}

impl Cuts {
    /// Marks the own entries in the value of `hooks`. Returns whether nothing is left of what was made for it,
    /// so that the whole value must be removed.
    fn hooks(&mut self, hooks: &Node<'_>, file: &Path) -> bool {
        let events = hooks.members().unwrap_or_default();
        let gone: Vec<bool> = events.iter().map(|e| self.event(&e.key, &e.value, file)).collect();
        self.container(hooks, &events.iter().map(Member::span).collect::<Vec<_>>(), &gone)
    }

    fn event(&mut self, event: &str, list: &Node<'_>, file: &Path) -> bool {
        let groups = list.elements().unwrap_or_default();
        let gone: Vec<bool> = groups.iter().map(|group| self.group(event, group, file)).collect();
        self.container(list, &groups.iter().map(Node::span).collect::<Vec<_>>(), &gone)
    }

    /// Marks a group of own entries alone as a whole, and in any other group only the own entries.
    fn group(&mut self, event: &str, group: &Node<'_>, file: &Path) -> bool {
        let members = group.members().unwrap_or_default();
        let Some(list) = members.iter().rfind(|m| m.key == "hooks").map(|m| m.value) else { return false };
        let entries = list.elements().unwrap_or_default();
        let values: Vec<_> = entries.iter().map(Node::value).collect();
        let own = |value: &Option<Value>| value.as_ref().is_some_and(|v| is_own(event, v, file));
        let gone: Vec<bool> = values.iter().map(own).collect();
        let first =
            values.iter().zip(&gone).find(|(_, own)| **own).and_then(|(v, _)| v.as_ref()?.get("command")?.as_str());
        if let (None, Some(command)) = (&self.first, first) {
            self.first = Some(command.to_owned());
        }
        if members.len() == 1 && !gone.is_empty() && gone.iter().all(|own| *own) {
            return true;
        }
        self.items(&entries.iter().map(Node::span).collect::<Vec<_>>(), &gone);
        false
    }

    /// Marks the items to remove, unless the whole container is to be removed. The caller then marks the
    /// container.
    fn container(&mut self, node: &Node<'_>, spans: &[Range<usize>], gone: &[bool]) -> bool {
        if !gone.is_empty() && gone.iter().all(|gone| *gone) && !is_tight(node) {
            return true;
        }
        self.items(spans, gone);
        false
    }

    /// Marks the items to remove, each with one comma and its white space.
    pub(super) fn items(&mut self, spans: &[Range<usize>], gone: &[bool]) {
        let mut kept_end = None;
        let mut run: Option<Range<usize>> = None;
        for (span, gone) in spans.iter().zip(gone) {
            if *gone {
                run = Some(run.map_or(span.start, |run| run.start)..span.end);
                continue;
            }
            if let Some(run) = run.take() {
                // After an item that stays, the comma before is removed; before the first that stays, the comma
                // after.
                self.spans.push(kept_end.map_or(run.start..span.start, |end| end..run.end));
            }
            kept_end = Some(span.end);
        }
        if let Some(run) = run {
            self.spans.push(kept_end.unwrap_or(run.start)..run.end);
        }
    }

    pub(super) fn cut(mut self, text: &str) -> String {
        self.spans.sort_by_key(|span| std::cmp::Reverse(span.start));
        let mut left = text.to_owned();
        for span in self.spans {
            left.replace_range(span, "");
        }
        left
    }
}

/// Decides whether a file existed before, where nothing is left of it and its object was not tight.
fn emptied(text: &str, root: &Node<'_>, command: Option<String>) -> Without {
    let command = command.unwrap_or_default();
    let variants = [(Engine::Continuous, true), (Engine::Continuous, false), (Engine::Plain, true)];
    let variants = variants.into_iter().flat_map(|(engine, resumes)| {
        let of = |manual| Registration { command: command.clone(), engine, manual, resumes };
        [of(false), of(true)]
    });
    for made in variants.map(|registration| whole(&registration)) {
        if text.strip_prefix(&made).is_some_and(|rest| rest == "\n") {
            return Without::NoFile;
        }
        if let Some(before) = text.strip_suffix(&made) {
            return Without::Text(before.to_owned());
        }
    }
    // The file was reformatted, so it must not become empty. To the client an empty file is not JSON.
    let mut left = text.to_owned();
    left.replace_range(root.span(), "{}");
    Without::Text(left)
}

/// Returns whether the first item of an object or list comes directly after its bracket.
pub(super) fn is_tight(node: &Node<'_>) -> bool {
    node.text().get(1..).is_some_and(|rest| !rest.starts_with(BLANK))
}

// ---- insertion -----------------------------------------------------------------------------------------------------

fn insert(text: &str, root: &Node<'_>, wanted: &Registration, file: &Path) -> Result<String, Unread> {
    let members = root.members().ok_or_else(|| wrong_type(file, "the file", "an object", root))?;
    let style = Style::of(text, root, &members);
    let spans: Vec<_> = members.iter().map(Member::span).collect();
    let mut puts = Vec::new();
    match members.iter().rfind(|m| m.key == "hooks").map(|m| m.value) {
        None => puts.push(style.append(text, root, &spans, &[New::hooks(wanted)])),
        Some(hooks) => {
            let there = hooks.members().ok_or_else(|| wrong_type(file, "hooks", "an object", &hooks))?;
            let mut missing = Vec::new();
            for event in EVENTS {
                let Some(list) = there.iter().rfind(|m| m.key == event).map(|m| m.value) else {
                    missing.push(New::event(wanted, event));
                    continue;
                };
                let key = format!("hooks.{event}");
                let groups = list.elements().ok_or_else(|| wrong_type(file, &key, "a list", &list))?;
                let spans: Vec<_> = groups.iter().map(Node::span).collect();
                puts.push(style.append(text, &list, &spans, &[New::group(wanted, event)]));
            }
            let spans: Vec<_> = there.iter().map(Member::span).collect();
            if !missing.is_empty() {
                puts.push(style.append(text, &hooks, &spans, &missing));
            }
        }
    }
    // The last position in the text comes first.
    puts.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut new = text.to_owned();
    for (at, put) in puts {
        new.insert_str(at, &put);
    }
    Ok(new)
}

/// Returns the text of a file without other content, and without its final newline.
fn whole(wanted: &Registration) -> String {
    let style = Style { line_end: "\n", indent: "  ".to_owned(), lines: true };
    let object = New::Made { key: None, brackets: ('{', '}'), items: vec![New::hooks(wanted)] };
    style.written(&object, &Lay::Lines(String::new()))
}

/// An item to insert.
pub(super) enum New {
    /// Finished text on one line.
    Line(String),
    /// A new object or list.
    Made { key: Option<&'static str>, brackets: (char, char), items: Vec<New> },
}

impl New {
    fn hooks(wanted: &Registration) -> Self {
        let events = EVENTS.into_iter().map(|event| Self::event(wanted, event));
        Self::Made { key: Some("hooks"), brackets: ('{', '}'), items: events.collect() }
    }

    fn event(wanted: &Registration, event: &'static str) -> Self {
        Self::Made { key: Some(event), brackets: ('[', ']'), items: vec![Self::group(wanted, event)] }
    }

    fn group(wanted: &Registration, event: &str) -> Self {
        Self::Line(format!("{{ \"hooks\": [{}] }}", wanted.written(event)))
    }
}

/// The layout of an insertion: over several lines with this indentation, or on one line.
enum Lay {
    Lines(String),
    Line,
}

pub(super) struct Style {
    line_end: &'static str,
    indent: String,
    /// Whether to use several lines. A file of one line stays one.
    lines: bool,
}

impl Style {
    pub(super) fn of(text: &str, root: &Node<'_>, members: &[Member<'_>]) -> Self {
        let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let first = members.first().and_then(|m| text.get(root.span().start + 1..m.start)).unwrap_or_default();
        let indent = first.rsplit_once('\n').map(|(_, indent)| indent).filter(|indent| !indent.is_empty());
        let lines = members.is_empty() || root.text().contains('\n');
        Self { line_end, indent: indent.unwrap_or("  ").to_owned(), lines }
    }

    /// Returns what is inserted into an object or list, and the position: after its last item, with the same
    /// separator.
    pub(super) fn append(&self, text: &str, node: &Node<'_>, spans: &[Range<usize>], items: &[New]) -> (usize, String) {
        let Some(last) = spans.last() else {
            let at = node.span().start + 1;
            let lay = if self.lines { Lay::Lines(indent_at(text, at) + &self.indent) } else { Lay::Line };
            return (at, self.joined(items, &lay));
        };
        // The comma and the white space between the last two items.
        let before = spans.len().checked_sub(2).and_then(|i| spans.get(i)).and_then(|b| text.get(b.end..last.start));
        let between = before.map(str::to_owned).unwrap_or_else(|| {
            let gap = text.get(node.span().start + 1..last.start).unwrap_or_default();
            match self.lines && !gap.contains('\n') {
                true => format!(",{}{}{}", self.line_end, indent_at(text, node.span().start), self.indent),
                false => format!(",{gap}"),
            }
        });
        let indent = |(_, line): (&str, &str)| line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect();
        let lay = between.rsplit_once('\n').map_or(Lay::Line, |parts| Lay::Lines(indent(parts)));
        (last.end, items.iter().map(|item| format!("{between}{}", self.written(item, &lay))).collect())
    }

    fn written(&self, new: &New, lay: &Lay) -> String {
        let (key, (open, close), items) = match new {
            New::Line(line) => return line.clone(),
            New::Made { key, brackets, items } => (key, brackets, items),
        };
        let key = key.map(|key| format!("\"{key}\": ")).unwrap_or_default();
        match lay {
            Lay::Line => format!("{key}{open} {} {close}", self.joined(items, lay)),
            Lay::Lines(indent) => {
                let (line_end, deeper) = (self.line_end, format!("{indent}{}", self.indent));
                let inside = self.joined(items, &Lay::Lines(deeper.clone()));
                format!("{key}{open}{line_end}{deeper}{inside}{line_end}{indent}{close}")
            }
        }
    }

    fn joined(&self, items: &[New], lay: &Lay) -> String {
        let between = match lay {
            Lay::Line => ", ".to_owned(),
            Lay::Lines(indent) => format!(",{}{indent}", self.line_end),
        };
        items.iter().map(|item| self.written(item, lay)).collect::<Vec<_>>().join(&between)
    }
}

/// Returns the white space at the beginning of the line at a position.
fn indent_at(text: &str, at: usize) -> String {
    let line = text.get(..at).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
    let line = line.trim_start_matches('\u{feff}');
    line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
}
