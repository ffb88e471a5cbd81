//! The facts of a turn, collected line by line.
//!
//! The client (2.1.331) writes one line per content block. The lines of one API message share its id and its usage.

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::payload::{Text, text as decoded};
use crate::policy::fnv::Fnv;
use crate::policy::turn::{MOST_CALLS, TranscriptPlace, Turn};
use crate::text;

/// The number of tool calls that wait for their result.
const MOST_PENDING: usize = 1000;
/// The number of messages whose usage may still change.
const MOST_OPEN: usize = 64;
/// The longest origin, model, id or version that is kept, in characters.
const LONGEST_WORD: usize = 100;
/// The beginning of the user's line that continues a turn after a synchronous Stop hook.
const FEEDBACK: &str = "Stop hook feedback";

/// One line of a transcript.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default, borrow, rename = "isSidechain")]
    is_sidechain: Text<'a>,
    #[serde(default, borrow, rename = "isMeta")]
    is_meta: Text<'a>,
    #[serde(default, borrow, rename = "isCompactSummary")]
    is_compact_summary: Text<'a>,
    #[serde(default, borrow, rename = "isApiErrorMessage")]
    is_api_error: Text<'a>,
    #[serde(default, borrow, rename = "turnOrigin")]
    turn_origin: Text<'a>,
    #[serde(default, borrow)]
    origin: Text<'a>,
    #[serde(default, borrow, rename = "requestId")]
    request_id: Text<'a>,
    #[serde(default, borrow)]
    timestamp: Text<'a>,
    #[serde(default, borrow)]
    version: Text<'a>,
    #[serde(default, borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Origin<'a> {
    #[serde(default, borrow)]
    kind: Text<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default, borrow)]
    model: Text<'a>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    stop_reason: Text<'a>,
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(default, borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default, borrow)]
    id: Text<'a>,
    #[serde(default, borrow)]
    name: Text<'a>,
    #[serde(default, borrow)]
    input: Option<&'a RawValue>,
    #[serde(default, borrow)]
    text: Text<'a>,
    #[serde(default, borrow)]
    tool_use_id: Text<'a>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
}

/// The part of a tool's input that decides what kind of call it is.
#[derive(Deserialize)]
struct Input<'a> {
    #[serde(default, borrow)]
    command: Text<'a>,
    #[serde(default, borrow)]
    run_in_background: Text<'a>,
}

/// The tokens of one API message.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

/// The last message of the agent.
#[derive(Clone, Default)]
struct LastMessage {
    id: String,
    texts: Vec<String>,
    uses_tool: bool,
}

/// The role of a line in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A part of a message of the agent.
    Agents,
    /// The beginning of another turn, where the tally restarts.
    Restart,
    /// Another line.
    Other,
}

/// The facts of a turn so far.
#[derive(Clone, Default)]
pub(super) struct Tally {
    /// Whether a prompt begins another turn, because it is unknown where the last turn ended.
    restarts: bool,
    /// Whether the turn's beginning is not known.
    is_partial: bool,
    facts: Turn,
    /// The times of the turn's first and last line, in milliseconds.
    times: Option<(i64, i64)>,
    /// The tool calls without a result yet, by their ids.
    pending: Vec<(String, Fnv)>,
    /// The last messages and their tokens.
    usages: Vec<(String, Usage)>,
    last: Option<LastMessage>,
    /// The version of the client that wrote the last line.
    pub(super) version: String,
}

impl Tally {
    /// Makes the tally of a file's last turn. `is_whole` is whether the file is read from its beginning.
    pub(super) fn of_last_turn(is_whole: bool) -> Self {
        Self { restarts: true, is_partial: !is_whole, ..Self::default() }
    }

    /// Takes a line, and returns its role.
    pub(super) fn take(&mut self, line: &[u8]) -> Role {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else { return Role::Other };
        let is_agents = is_word(line.kind, "assistant");
        if is_true(line.is_sidechain) || (!is_agents && !is_word(line.kind, "user")) {
            return Role::Other;
        }
        let Some(message) = line.message.and_then(|raw| serde_json::from_str::<Message<'_>>(raw.get()).ok()) else {
            return Role::Other;
        };
        if let Some(version) = word(line.version) {
            self.version = version;
        }
        let role = if is_agents { self.take_agents(&line, &message) } else { self.take_users(&line, &message) };
        if let Some(at) = decoded(line.timestamp).as_deref().and_then(time) {
            let first = self.times.map_or(at, |(first, _)| first);
            self.times = Some((first, at));
        }
        role
    }

    fn take_users(&mut self, line: &Line<'_>, message: &Message<'_>) -> Role {
        let blocks = blocks(message.content);
        let mut has_result = false;
        for block in blocks.iter().filter(|block| is_word(block.kind, "tool_result")) {
            has_result = true;
            self.take_result(block);
        }
        if has_result || is_true(line.is_compact_summary) {
            return Role::Other;
        }
        let is_feedback = || decoded(message.content).is_some_and(|content| content.starts_with(FEEDBACK));
        if is_true(line.is_meta) && !is_feedback() {
            return Role::Other;
        }
        let role = if self.restarts { Role::Restart } else { Role::Other };
        if self.restarts {
            let version = std::mem::take(&mut self.version);
            *self = Self { restarts: true, version, ..Self::default() };
        }
        self.times = None;
        let kind = || word(serde_json::from_str::<Origin<'_>>(line.origin?.get()).ok()?.kind);
        self.facts.origin = word(line.turn_origin).or_else(kind).unwrap_or_default();
        role
    }

    fn take_agents(&mut self, line: &Line<'_>, message: &Message<'_>) -> Role {
        let id = word(message.id).unwrap_or_default();
        let last = match self.last.take().filter(|last| last.id == id) {
            Some(last) => self.last.insert(last),
            None => self.last.insert(LastMessage { id: id.clone(), ..LastMessage::default() }),
        };
        last.uses_tool |= is_word(message.stop_reason, "tool_use");
        let blocks = blocks(message.content);
        for block in &blocks {
            if is_word(block.kind, "text") {
                last.texts.push(decoded(block.text).unwrap_or_default());
            }
            last.uses_tool |= is_word(block.kind, "tool_use");
        }
        if is_true(line.is_api_error) || is_word(message.model, "<synthetic>") {
            return Role::Agents;
        }
        for block in blocks.iter().filter(|block| is_word(block.kind, "tool_use")) {
            self.take_call(block);
        }
        self.count(id, message.usage);
        self.facts.model = word(message.model).unwrap_or_default();
        self.facts.request_id = word(line.request_id).unwrap_or_default();
        Role::Agents
    }

    /// Counts the tokens of a message. The last line of a message has its final usage.
    fn count(&mut self, id: String, usage: Option<&RawValue>) {
        let usage = usage.and_then(|raw| serde_json::from_str::<Usage>(raw.get()).ok()).unwrap_or_default();
        let facts = &mut self.facts;
        match self.usages.iter_mut().find(|(known, _)| *known == id) {
            Some((_, before)) => {
                add(facts, before, u64::saturating_sub);
                *before = usage;
            }
            None => {
                facts.requests = facts.requests.saturating_add(1);
                self.usages.push((id, usage));
                let over = self.usages.len().saturating_sub(MOST_OPEN);
                self.usages.drain(..over);
            }
        }
        add(facts, &usage, u64::saturating_add);
    }

    fn take_call(&mut self, block: &Block<'_>) {
        self.facts.tools = self.facts.tools.saturating_add(1);
        let name = decoded(block.name).unwrap_or_default();
        let raw = block.input.map(RawValue::get).unwrap_or_default();
        let input = serde_json::from_str::<Input<'_>>(raw).ok();
        let is_shell = name == "Bash";
        let in_background = input.as_ref().is_some_and(|input| is_true(input.run_in_background));
        self.facts.delegated |= matches!(name.as_str(), "Task" | "Agent" | "Monitor") || (is_shell && in_background);
        let command = input.filter(|_| is_shell).and_then(|input| decoded(input.command));
        if is_bookkeeping(&name) || command.is_some_and(|command| is_own(&command)) {
            return;
        }
        self.facts.units = self.facts.units.saturating_add(1);
        let call = fold(fold(Fnv::default(), name.as_bytes()), raw.as_bytes());
        self.pending.push((decoded(block.id).unwrap_or_default(), call));
        if self.pending.len() > MOST_PENDING {
            let (_, call) = self.pending.remove(0);
            note(&mut self.facts.calls, call);
        }
    }

    fn take_result(&mut self, block: &Block<'_>) {
        let id = decoded(block.tool_use_id).unwrap_or_default();
        let Some(at) = self.pending.iter().position(|(known, _)| *known == id) else { return };
        let (_, call) = self.pending.remove(at);
        let result = block.content.map(RawValue::get).unwrap_or_default();
        note(&mut self.facts.calls, fold(call, result.as_bytes()));
    }

    /// Returns whether both tallies end in the same message.
    pub(super) fn is_at_message_of(&self, other: &Self) -> bool {
        self.last.as_ref().map(|last| &last.id) == other.last.as_ref().map(|last| &last.id)
    }

    /// Returns whether the agent's last message is this one, and is complete.
    ///
    /// `squeezed` has no white space: the client trims the message, and joins its blocks, in its own way. It may also
    /// be the end of the message alone, from one of its blocks on.
    pub(super) fn has_ended_with(&self, squeezed_message: &str) -> bool {
        let Some(last) = self.last.as_ref().filter(|last| !last.uses_tool) else { return false };
        let mut rest = squeezed_message;
        for block in last.texts.iter().rev() {
            match rest.strip_suffix(squeezed(block).as_str()) {
                Some("") => return true,
                Some(before) => rest = before,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// Returns the turn that ended at this place.
    pub(super) fn turn(&self, place: TranscriptPlace) -> Turn {
        let version = self.version.clone();
        if self.is_partial {
            // The next turn begins here, and is whole.
            return Turn { place: Some(place), version, ..Turn::default() };
        }
        let mut calls = self.facts.calls.clone();
        self.pending.iter().for_each(|(_, call)| note(&mut calls, *call));
        let took =
            self.times.map(|(first, last)| Duration::from_millis(last.saturating_sub(first).max(0).unsigned_abs()));
        Turn { seen: true, place: Some(place), took, calls, version, ..self.facts.clone() }
    }
}

/// Returns a text without its white space.
pub(super) fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

fn blocks<'a>(content: Option<&'a RawValue>) -> Vec<Block<'a>> {
    let list = content.filter(|raw| raw.get().starts_with('['));
    let list = list.and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
    list.into_iter().flatten().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect()
}

fn is_true(raw: Text<'_>) -> bool {
    raw.is_some_and(|raw| raw.get() == "true")
}

/// Returns whether a value is this word, which JSON does not escape.
fn is_word(raw: Text<'_>, word: &str) -> bool {
    raw.and_then(|raw| raw.get().strip_prefix('"')?.strip_suffix('"')).is_some_and(|value| value == word)
}

/// Returns a short value as one line; `None` where it is empty.
fn word(raw: Text<'_>) -> Option<String> {
    decoded(raw).map(|value| text::line_of(&value, LONGEST_WORD)).filter(|value| !value.is_empty())
}

/// Returns a time in milliseconds.
fn time(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

fn add(facts: &mut Turn, usage: &Usage, by: fn(u64, u64) -> u64) {
    let Usage { input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens } = *usage;
    facts.tokens_in = by(facts.tokens_in, input_tokens.unwrap_or(0));
    facts.tokens_out = by(facts.tokens_out, output_tokens.unwrap_or(0));
    for cached in [cache_creation_input_tokens, cache_read_input_tokens] {
        facts.tokens_cached = by(facts.tokens_cached, cached.unwrap_or(0));
    }
}

/// Notes the hash of a tool call, once. One more than [`MOST_CALLS`] shows that there were more.
fn note(calls: &mut Vec<u64>, call: Fnv) {
    let hash = call.short();
    if calls.len() <= MOST_CALLS && !calls.contains(&hash) {
        calls.push(hash);
    }
}

/// Continues a hash. A run of digits counts as one mark, so that times, sizes and ids do not distinguish two polls.
fn fold(hash: Fnv, bytes: &[u8]) -> Fnv {
    // No UTF-8 text contains this byte, so it ends the part before.
    let (mut hash, mut in_digits) = (hash.with(0xff), false);
    for byte in bytes {
        let is_digit = byte.is_ascii_digit();
        if !(is_digit && in_digits) {
            hash = hash.with(if is_digit { b'0' } else { *byte });
        }
        in_digits = is_digit;
    }
    hash
}

/// Returns whether a tool only keeps the agent's own books: todo lists and schedules.
fn is_bookkeeping(tool: &str) -> bool {
    const LISTS: [&str; 7] =
        ["TodoWrite", "TodoRead", "TaskCreate", "TaskUpdate", "TaskList", "TaskGet", "ScheduleWakeup"];
    LISTS.contains(&tool) || tool.starts_with("Cron")
}

/// Returns whether a shell's command runs `frosty` and nothing else.
fn is_own(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    let is_single = !command.trim().contains([';', '|', '&', '\n', '`', '$', '<', '>', '(']);
    is_single && (first == "frosty" || first.ends_with("/frosty"))
}
