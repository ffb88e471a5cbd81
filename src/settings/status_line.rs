//! Inserts Frosty's status line into the text of a settings file, or puts it beside the command that is there, and removes
//! it again. Everything else stays as it is, and a removal reverses an insertion byte for byte.

use std::path::Path;

use super::edit::{Cuts, New, Style, Without, is_tight};
use crate::client_settings::json::{Member, Node};
use crate::client_settings::{Unread, parsed, wrong_type};
use crate::text;

const KEY: &str = "statusLine";
/// Between the program and an operator's command.
const BESIDE: &str = " statusline --beside ";
const ALONE: &str = " statusline";

/// The status line that a settings file registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusLine {
    /// Frosty's, from `frosty install --statusline`, with the operator's command beside it.
    Frostys(Option<String>),
    /// A command of the operator's.
    Operators(String),
}

/// Returns the status line of a settings file's text, if it has one.
///
/// # Errors
/// Returns an error when the text is not JSON, or its status line is no command.
pub fn of(text: &str, file: &Path) -> Result<Option<StatusLine>, Unread> {
    let Some(root) = parsed(text, file)? else { return Ok(None) };
    let Some(line) = root.get(KEY).filter(|line| line.kind() != "null") else { return Ok(None) };
    let (_, command) = command_in(&line, file)?;
    Ok(Some(read(&command).map_or(StatusLine::Operators(command), StatusLine::Frostys)))
}

/// Returns the text with Frosty's status line in it: inserted, or in place of a command, which it then runs. A `None` text
/// is a file that does not exist.
///
/// # Errors
/// Returns an error when the text is not JSON, or its status line is no command.
pub fn put(text: Option<&str>, program: &str, file: &Path) -> Result<String, Unread> {
    let Some(text) = text else { return Ok(format!("{}\n", whole(program))) };
    if let Some(StatusLine::Frostys(beside)) = of(text, file)? {
        let Some(root) = parsed(text, file)? else { return Ok(text.to_owned()) };
        let Some(line) = root.get(KEY) else { return Ok(text.to_owned()) };
        // A moved program.
        return replaced(text, &line, &command(program, beside.as_deref()), file);
    }
    let Some(root) = parsed(text, file)? else { return Ok(format!("{text}{}", whole(program))) };
    match root.get(KEY).filter(|line| line.kind() != "null") {
        Some(line) => {
            let (_, own) = command_in(&line, file)?;
            replaced(text, &line, &command(program, Some(&own)), file)
        }
        None => {
            let members = root.members().ok_or_else(|| wrong_type(file, "the file", "an object", &root))?;
            let spans: Vec<_> = members.iter().map(Member::span).collect();
            let new = New::Line(member(program));
            let (at, put) = Style::of(text, &root, &members).append(text, &root, &spans, &[new]);
            let mut text = text.to_owned();
            text.insert_str(at, &put);
            Ok(text)
        }
    }
}

/// Returns the text without Frosty's status line: an operator's command is as it was before.
///
/// # Errors
/// Returns an error when the text is not JSON.
pub fn take(text: &str, file: &Path) -> Result<Without, Unread> {
    let unchanged = || Ok(Without::Text(text.to_owned()));
    let Some(root) = parsed(text, file)? else { return unchanged() };
    let Some(members) = root.members() else { return unchanged() };
    let Some(line) = members.iter().rfind(|m| m.key == KEY).map(|m| m.value) else { return unchanged() };
    let Ok((_, own)) = command_in(&line, file) else { return unchanged() };
    match read(&own) {
        None => unchanged(),
        Some(Some(beside)) => replaced(text, &line, &beside, file).map(Without::Text),
        Some(None) => {
            let spans: Vec<_> = members.iter().map(Member::span).collect();
            let gone: Vec<bool> = members.iter().map(|m| m.value.span() == line.span()).collect();
            if gone.iter().all(|gone| *gone) && !is_tight(&root) {
                return Ok(emptied(text, &root, &own));
            }
            let mut cuts = Cuts::default();
            cuts.items(&spans, &gone);
            Ok(Without::Text(cuts.cut(text)))
        }
    }
}

/// Decides whether a file existed before, where nothing but the status line is in it.
fn emptied(text: &str, root: &Node<'_>, own: &str) -> Without {
    let made = whole_of(own);
    if text.strip_prefix(&made).is_some_and(|rest| rest == "\n") {
        return Without::NoFile;
    }
    if let Some(before) = text.strip_suffix(&made) {
        return Without::Text(before.to_owned());
    }
    let mut left = text.to_owned();
    left.replace_range(root.span(), "{}");
    Without::Text(left)
}

/// Returns the node and the text of a status line's command.
fn command_in<'a>(line: &Node<'a>, file: &Path) -> Result<(Node<'a>, String), Unread> {
    let command = line.get("command").ok_or_else(|| wrong_type(file, KEY, "an object with a command", line))?;
    let value = command.value().and_then(|value| value.as_str().map(str::to_owned));
    let value = value.ok_or_else(|| wrong_type(file, "statusLine.command", "a text", &command))?;
    Ok((command, value))
}

fn replaced(text: &str, line: &Node<'_>, by: &str, file: &Path) -> Result<String, Unread> {
    let (command, _) = command_in(line, file)?;
    let mut text = text.to_owned();
    text.replace_range(command.span(), &literal(by));
    Ok(text)
}

fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the command line of the status line.
#[must_use]
pub fn command(program: &str, beside: Option<&str>) -> String {
    let program = text::word(program);
    match beside {
        None => format!("{program}{ALONE}"),
        Some(own) => format!("{program}{BESIDE}{}", quoted(own)),
    }
}

/// Reads a command line that [`command`] wrote, and returns the operator's command in it; `None` for any other.
fn read(line: &str) -> Option<Option<String>> {
    let is_tool = |program: &str| {
        let path = program.strip_prefix('\'').and_then(|path| path.strip_suffix('\'')).unwrap_or(program);
        path.starts_with('/') && path.ends_with("/frosty")
    };
    if let Some((program, own)) = line.split_once(BESIDE) {
        let own = own.strip_prefix('\'')?.strip_suffix('\'')?.replace("'\\''", "'");
        return (is_tool(program) && line.ends_with(&quoted(&own))).then_some(Some(own));
    }
    line.strip_suffix(ALONE).filter(|program| is_tool(program)).map(|_| None)
}

/// Quotes a command line of any length as one word of a shell.
fn quoted(line: &str) -> String {
    format!("'{}'", line.replace('\'', "'\\''"))
}

fn member(program: &str) -> String {
    member_of(&command(program, None))
}

/// The client runs the command again while nothing happens, so that the line does not get old.
fn member_of(command: &str) -> String {
    format!("\"{KEY}\": {{ \"type\": \"command\", \"command\": {}, \"refreshInterval\": 5 }}", literal(command))
}

/// Returns the text of a file without other content, and without its final newline.
fn whole(program: &str) -> String {
    whole_of(&command(program, None))
}

fn whole_of(command: &str) -> String {
    format!("{{\n  {}\n}}", member_of(command))
}
