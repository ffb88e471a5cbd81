//! An entry of a work queue: one task, its priority, and its place in its queue.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::question::Question;
use crate::policy::limits::Ms;

/// The most characters of an entry's text.
pub const LONGEST_TEXT: usize = 4000;
/// The depth of an entry that a session adds while it works on one of a person's; deeper ones are refused.
pub const DEEPEST: u32 = 3;

/// The priority of an entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before all others. Only a person adds such an entry.
    High,
    /// The default.
    #[default]
    Normal,
    /// After the others.
    Low,
}

impl Priority {
    /// Every priority, the first one first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Returns the stored name.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Returns the priority with this name, if there is one.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.code() == code)
    }

    /// Returns the list in which such entries wait.
    #[must_use]
    pub fn list(self) -> List {
        match self {
            Self::High => List::High,
            Self::Normal => List::Normal,
            Self::Low => List::Low,
        }
    }
}

/// The lists of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// High entries, by their number.
    High,
    /// Normal entries, by their number.
    Normal,
    /// Low entries, by their number.
    Low,
    /// Delayed entries, by the time from which on they may be claimed.
    Later,
    /// Dead letters, by the time at which the queue gave them up.
    Dead,
}

impl List {
    /// Every list.
    pub const ALL: [Self; 5] = [Self::High, Self::Normal, Self::Low, Self::Later, Self::Dead];

    /// Returns the stored name.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::High => Priority::High.code(),
            Self::Normal => Priority::Normal.code(),
            Self::Low => Priority::Low.code(),
            Self::Later => "later",
            Self::Dead => "dead",
        }
    }
}

/// One task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkEntry {
    /// The id, unique in the fleet.
    pub id: String,
    /// The task, at most [`LONGEST_TEXT`] characters.
    pub text: String,
    /// The priority.
    pub priority: Priority,
    /// When the entry was added.
    pub added: Ms,
    /// The agent of the session that added the entry; empty for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// How many sessions one after the other caused the entry: 0 for a person's.
    #[serde(skip_serializing_if = "is_zero")]
    pub depth: u32,
    /// How often a session had the entry in hand and did not finish it.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// The reason of the last attempt's end; empty for none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The number in the list of its priority, where it waits there.
    pub number: u64,
    /// How many high and normal entries were placed before it.
    pub after: [u64; 2],
    /// From when on the entry may be claimed, or since when it is a dead letter.
    #[serde(skip_serializing_if = "is_no_time")]
    pub at: Ms,
    /// The model for the entry; empty for the session's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Whether the end of the first turn with the entry acknowledges it, whatever the agent's last words.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ack_turn: bool,
    /// The question that the entry is; `None` for a task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<Question>,
    /// The fields of a newer program.
    #[serde(flatten)]
    pub other: Map<String, Value>,
    /// The text as the store has it, by which the store removes the entry; empty for an entry of this step.
    #[serde(skip)]
    pub stored: String,
}

impl WorkEntry {
    /// Returns the entry's place in the order of a list.
    #[must_use]
    pub fn score(&self, list: List) -> Ms {
        match list {
            List::High | List::Normal | List::Low => Ms::try_from(self.number).unwrap_or(Ms::MAX),
            List::Later | List::Dead => self.at,
        }
    }

    /// Returns the text that the store has, or is to have.
    #[must_use]
    pub fn text_in_store(&self) -> String {
        if self.stored.is_empty() { serde_json::to_string(self).unwrap_or_default() } else { self.stored.clone() }
    }
}

/// Returns whether a word can be the id of an entry: 1 to 64 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`.
#[must_use]
pub fn is_id(word: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&word.len()) && word.bytes().all(allowed) && !word.starts_with(['.', '-'])
}

/// Returns whether a word can be the name of a model: 1 to 100 of `A-Z`, `a-z`, `0-9` and `.-_:/@[]`, without a dash in front.
#[must_use]
pub fn is_model(word: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_:/@[]".contains(&b);
    (1..=100).contains(&word.len()) && word.bytes().all(allowed) && !word.starts_with('-')
}

/// Returns whether a word can be an id that Frosty gave, or one that a person chose.
#[must_use]
pub fn can_be_known(word: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'%' | b'@');
    (1..=160).contains(&word.len()) && word.bytes().all(allowed) && !word.starts_with('.')
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_no_time(n: &Ms) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_can_name_an_entry_or_a_model() {
        let long = |n: usize| "a".repeat(n);
        for (word, id, model, known) in [
            ("", false, false, false),
            ("a", true, true, true),
            ("A9._-", true, true, true),
            (".a", false, true, false),
            ("-a", false, false, true),
            ("a:b@c", false, true, true),
            ("a%b", false, false, true),
            ("a/b[1]", false, true, false),
            ("a b", false, false, false),
            ("ä", false, false, false),
            (&long(64), true, true, true),
            (&long(65), false, true, true),
            (&long(100), false, true, true),
            (&long(101), false, false, true),
            (&long(160), false, false, true),
            (&long(161), false, false, false),
        ] {
            assert_eq!((is_id(word), is_model(word), can_be_known(word)), (id, model, known), "{word}");
        }
        assert!(Priority::ALL.iter().all(|one| Priority::from_code(one.code()) == Some(*one)));
        assert_eq!(Priority::from_code("later"), None);
    }

    #[test]
    fn an_entry_has_its_place_by_its_number_or_its_time() {
        let entry = WorkEntry { number: 7, at: 9, ..WorkEntry::default() };
        assert_eq!(List::ALL.map(|list| entry.score(list)), [7, 7, 7, 9, 9]);
        assert_eq!(WorkEntry { number: u64::MAX, ..entry.clone() }.score(List::High), Ms::MAX);
        assert_eq!(WorkEntry { stored: "x".to_owned(), ..entry.clone() }.text_in_store(), "x");
        assert!(entry.text_in_store().contains("\"number\":7"));
    }
}
