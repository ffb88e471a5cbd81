//! A state as a JSON document with a version, as the server stores it.
//!
//! The version is the first field, so that the commit script compares it as the beginning of a text and reads no JSON.
//! Its value is `<n>-<commit id>` and is only compared: a counter alone would match again after a loss of data.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::store::unknown::Unknown;
use crate::text;

/// The format of the documents. A document of a newer format is left alone.
const FORMAT: u64 = 1;

/// The length of the beginning that serves as the version of an unreadable document.
const PREFIX: usize = 96;

/// A document as it was read: its state, and what a commit checks and carries over.
#[derive(Debug, Clone)]
pub(crate) struct Document<T> {
    /// The state; the state of an empty document where there was none.
    pub(crate) state: T,
    /// The beginning of its text, which a commit compares; empty where there was no document.
    pub(crate) version: Vec<u8>,
    /// How often it was written.
    number: u64,
    /// The state as it was read, to detect a change; `None` where that was unreadable.
    before: Option<T>,
    /// The text.
    text: String,
}

impl<T: Default> Default for Document<T> {
    fn default() -> Self {
        Self { state: T::default(), version: Vec::new(), number: 0, before: Some(T::default()), text: String::new() }
    }
}

/// Why a document is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A newer version of the program wrote it.
    Newer(u64),
    /// It is damaged, with the description of the damage.
    Damaged(String),
}

impl<T: Clone + Default + PartialEq + Serialize + DeserializeOwned> Document<T> {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is of a newer format, or no document.
    pub(crate) fn read(text: &str) -> Result<Self, Unfit> {
        let state: T = state(text)?;
        let (version, number, _) =
            head(text).ok_or_else(|| Unfit::Damaged("no version at its beginning".to_owned()))?;
        let before = Some(state.clone());
        Ok(Self { state, version: version.into(), number, before, text: text.to_owned() })
    }

    /// Makes a document that contains this state.
    pub(crate) fn known(state: T) -> Self {
        Self { before: Some(state.clone()), state, ..Self::default() }
    }

    /// Makes the document of a state in place of a damaged one.
    pub(crate) fn in_place_of(damaged: &[u8], state: T) -> Self {
        let version = damaged.iter().copied().take(PREFIX).collect();
        Self { state, version, before: None, ..Self::default() }
    }

    /// Returns whether it takes the place of a damaged document.
    pub(crate) fn is_in_place(&self) -> bool {
        self.before.is_none()
    }

    /// Returns whether its version ends with this id.
    pub(crate) fn is_of(&self, id: &str) -> bool {
        self.version.ends_with(format!("-{id}\"").as_bytes())
    }

    /// Returns the text of the next version with this state, written by the commit `id`; `None` where nothing changed.
    pub(crate) fn next(&self, state: &T, id: &str) -> Option<String> {
        if self.before.as_ref() == Some(state) {
            return None;
        }
        let mut body = serde_json::to_string(state).ok()?;
        if let Some(unknown) = self.unknown() {
            body = unknown.carried(&body).ok()?;
        }
        let rest = body.strip_prefix('{').unwrap_or("}");
        let comma = if rest == "}" { "" } else { "," };
        let number = self.number.wrapping_add(1);
        Some(format!("{{\"version\":\"{number}-{id}\",\"format\":{FORMAT}{comma}{rest}"))
    }

    /// Returns the fields that this version of the program does not know; `None` where it would write the same text.
    fn unknown(&self) -> Option<Unknown> {
        let (_, _, rest) = head(&self.text)?;
        let own = serde_json::to_string(self.before.as_ref()?).ok()?;
        if own.strip_prefix('{') == Some(rest) {
            return None;
        }
        Unknown::of(["{", rest].concat().as_bytes(), own.as_bytes()).ok().filter(|unknown| !unknown.is_empty())
    }
}

/// Returns the beginning of a document that is compared, how often it was written, and the text after its head.
fn head(text: &str) -> Option<(&str, u64, &str)> {
    let after = text.strip_prefix("{\"version\":\"")?;
    let (version, tail) = after.split_once('"')?;
    let prefix = text.get(..text.len() - tail.len())?;
    let number = version.split_once('-')?.0.parse().ok()?;
    let rest = tail.strip_prefix(",\"format\":")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let (_, rest) = rest.split_at(digits);
    Some((prefix, number, rest.strip_prefix(',').unwrap_or(rest)))
}

/// Returns the format of a document, as far as it shows one.
fn format(text: &str) -> Option<u64> {
    let Value::Object(fields) = serde_json::from_str(text).ok()? else { return None };
    fields.get("format")?.as_u64()
}

/// Returns the state of a document that is only read.
///
/// # Errors
/// When it is of a newer format, or no document.
pub(crate) fn state<T: DeserializeOwned>(text: &str) -> Result<T, Unfit> {
    match format_at_head(text) {
        Some(FORMAT) => serde_json::from_str(text).map_err(|e| Unfit::Damaged(text::line(&e.to_string()))),
        _ => match format(text) {
            Some(newer) if newer > FORMAT => Err(Unfit::Newer(newer)),
            _ => Err(Unfit::Damaged("no document of format 1".to_owned())),
        },
    }
}

fn format_at_head(text: &str) -> Option<u64> {
    let (prefix, ..) = head(text)?;
    let rest = text.strip_prefix(prefix)?.strip_prefix(",\"format\":")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::documents::ScopeState;
    use crate::policy::hold::Hold;

    fn written(state: &ScopeState) -> String {
        Document::<ScopeState>::default().next(state, "c1").unwrap()
    }

    fn held() -> ScopeState {
        let hold = Hold { reason: "look".to_owned(), by: "ann".to_owned(), since: 5, until: None, id: 0 };
        ScopeState { hold: Some(hold), ..ScopeState::default() }
    }

    #[test]
    fn a_document_is_read_as_it_was_written() {
        let text = written(&held());
        let document = Document::<ScopeState>::read(&text).unwrap();
        assert_eq!((&document.state, document.version.as_slice()), (&held(), "{\"version\":\"1-c1\"".as_bytes()));
        assert_eq!(document.next(&held(), "c2"), None, "nothing changed");
        let next = document.next(&ScopeState::default(), "c2").unwrap();
        assert!(next.starts_with("{\"version\":\"2-c2\",\"format\":1"), "{next}");
    }

    #[test]
    fn unknown_fields_are_carried_over() {
        let text = written(&held()).replacen("\"format\":1", "\"format\":1,\"mood\":\"calm\"", 1);
        let text = text.replacen("\"by\":\"ann\"", "\"by\":\"ann\",\"place\":7", 1);
        let document = Document::<ScopeState>::read(&text).unwrap();
        let mut state = document.state.clone();
        state.released = Some(9);
        let next = document.next(&state, "c2").unwrap();
        assert!(next.contains("\"mood\":\"calm\"") && next.contains("\"place\":7") && next.contains("\"released\":9"));
        state.hold = None;
        let next = document.next(&state, "c2").unwrap();
        assert!(next.contains("mood") && !next.contains("place"), "{next}");
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let newer = written(&held()).replacen("\"format\":1", "\"format\":2", 1);
        assert_eq!(Document::<ScopeState>::read(&newer).unwrap_err(), Unfit::Newer(2));
        for damaged in ["", "x", "{}", "{\"version\":\"1-a\",\"format\":1,\"hold\":3}", "{\"hold\":null}", "[]"] {
            assert!(matches!(Document::<ScopeState>::read(damaged), Err(Unfit::Damaged(_))), "{damaged}");
        }
    }
}
