//! One commit: conditions and effects, and the call of `commit.lua` that applies them.

use redis::{Cmd, Value, cmd};

use crate::policy::limits::Ms;

/// The script.
pub const COMMIT: &str = include_str!("commit.lua");
/// The script's SHA-1, as `EVALSHA` needs it.
pub const COMMIT_SHA: &str = include_str!(concat!(env!("OUT_DIR"), "/commit.sha1"));

/// The script's reply to a call without arguments.
pub(crate) const READY: &[u8] = b"ready";

/// The conditions and effects of one decision, in the order in which the script applies them.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// The end of the version of each document that it writes.
    pub(crate) written: Vec<String>,
    keys: Vec<String>,
    conditions: Vec<Vec<u8>>,
    effects: Vec<Vec<u8>>,
}

/// The result of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    /// The commit was applied.
    Done {
        /// Whether the journal could not take the entry.
        unjournaled: bool,
    },
    /// A condition failed, so nothing was applied.
    Conflict,
}

impl Commit {
    /// Returns the place of a key in KEYS. Keys that a commit does not need are not named: each may be on another
    /// shard.
    fn key(&mut self, key: String) -> String {
        let at = self.keys.iter().position(|k| *k == key).unwrap_or_else(|| {
            self.keys.push(key);
            self.keys.len().saturating_sub(1)
        });
        (at + 1).to_string()
    }

    fn condition<const N: usize>(&mut self, name: &str, key: String, words: [Vec<u8>; N]) {
        let key = self.key(key);
        self.conditions.extend([name.into(), key.into_bytes()]);
        self.conditions.extend(words);
    }

    /// Returns whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    fn effect<const N: usize>(&mut self, name: &str, key: String, words: [String; N]) {
        let key = self.key(key);
        self.effects.extend([name.into(), key.into_bytes()]);
        self.effects.extend(words.map(String::into_bytes));
    }

    /// Requires that the document begins with this version; an empty version requires no document, or an empty one.
    pub(crate) fn only_at_version(&mut self, key: String, version: &[u8]) {
        self.condition("V", key, [version.to_owned()]);
    }

    /// Requires a time within a second after this time.
    pub(crate) fn only_soon_after(&mut self, time: Ms) {
        self.conditions.extend(["T".into(), "0".into(), time.to_string().into_bytes()]);
    }

    /// Requires that the `nth` newest entry is as old as the period.
    pub(crate) fn only_if_free(&mut self, key: String, nth: u32, period: Ms) {
        self.condition("N", key, [nth.to_string().into_bytes(), period.to_string().into_bytes()]);
    }

    /// Requires that at most this many entries are younger than the period.
    pub(crate) fn only_up_to(&mut self, key: String, period: Ms, most: u32) {
        self.condition("C", key, [period.to_string().into_bytes(), most.to_string().into_bytes()]);
    }

    /// Writes a document, which expires after `lifetime` milliseconds if it has one.
    pub(crate) fn set(&mut self, key: String, lifetime: Option<Ms>, document: String) {
        self.effect("S", key, [lifetime.map(|l| l.to_string()).unwrap_or_default(), document]);
    }

    /// Removes a document or a text. A server need not permit its user `DEL` for that.
    pub(crate) fn forget(&mut self, key: String) {
        self.touch(key, 0);
    }

    /// Keeps a damaged document as it was found, for `lifetime` milliseconds.
    pub(crate) fn keep(&mut self, key: String, lifetime: Ms, text: &[u8]) {
        self.effect("S", key, [lifetime.to_string()]);
        self.effects.push(text.to_owned());
    }

    /// Adds an entry of this moment, and removes those older than `keep`.
    pub(crate) fn add(&mut self, key: String, keep: Ms, member: String) {
        self.effect("A", key, [keep.to_string(), member]);
    }

    /// Adds an entry of an earlier time, unless it exists already.
    pub(crate) fn add_past(&mut self, key: String, time: Ms, member: String) {
        self.effect("P", key, [time.to_string(), member]);
    }

    /// Gives a member of a sorted set its score.
    pub(crate) fn rank(&mut self, key: String, score: Ms, member: &str) {
        self.effect("W", key, [score.to_string(), member.to_owned()]);
    }

    /// Renews the lifetime, in milliseconds, of a document that exists and has one.
    pub(crate) fn touch(&mut self, key: String, lifetime: Ms) {
        self.effect("K", key, [lifetime.to_string()]);
    }

    /// Removes a member of a sorted set.
    pub(crate) fn remove(&mut self, key: String, member: &str) {
        self.effect("X", key, [member.to_owned()]);
    }

    /// Removes the entries up to this time; `None` removes all.
    pub(crate) fn empty(&mut self, key: String, until: Option<Ms>) {
        self.effect("E", key, [until.map_or_else(|| "+inf".to_owned(), |until| until.to_string())]);
    }

    /// Gives entries later than now the time now, after the clock was set back.
    pub(crate) fn clamp(&mut self, key: String) {
        self.effect("F", key, []);
    }

    /// Notes in an index that this member was seen, and removes the member `before`; an empty text is none.
    pub(crate) fn index(&mut self, key: String, member: String, before: String) {
        self.effect("I", key, [member, before]);
    }

    /// Notifies the engines that listen on this channel.
    pub(crate) fn notify(&mut self, channel: &str, event: &str) {
        self.effects.extend(["R", channel, event].map(|word| word.as_bytes().to_owned()));
    }

    /// Adds an entry to the journal's stream.
    pub(crate) fn journal(&mut self, stream: &str, most: u64, words: Vec<String>) {
        self.effect("J", stream.to_owned(), [most.to_string(), words.len().to_string()]);
        self.effects.extend(words.into_iter().map(String::into_bytes));
    }

    /// Returns the same commit without its conditions.
    pub(crate) fn unconditional(self) -> Self {
        Self { conditions: Vec::new(), ..self }
    }

    /// Returns the call: `EVALSHA` with the script's SHA-1, or `EVAL` with its text.
    pub(crate) fn call(&self, how: &str, script: &str) -> Cmd {
        let mut call = cmd(how);
        call.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.conditions).arg(&self.effects);
        call
    }
}

/// Parses the script's reply; `None` for an invalid one.
pub(crate) fn committed(answer: &Value) -> Option<Committed> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(what), Value::BulkString(_), Value::BulkString(unjournaled)] = parts.as_slice() else {
        return None;
    };
    match what.as_slice() {
        b"done" => Some(Committed::Done { unjournaled: unjournaled == b"1" }),
        b"conflict" => Some(Committed::Conflict),
        _ => None,
    }
}
