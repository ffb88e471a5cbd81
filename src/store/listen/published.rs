//! The texts that other programs published for a session, until they are sent to the store as wake-ups.

use crate::policy::signal;
use crate::text;

/// The most signals whose texts are kept apart. The text of a further signal counts as one without a signal, which wakes
/// every session.
const MOST: usize = 16;

/// The published texts of one signal, or of none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The signal before the note, where the text begins with one.
    pub signal: Option<String>,
    /// The note, one line; empty for none.
    pub note: String,
}

/// The published texts, joined for each signal, in the order of their first texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(Vec<Word>);

impl Words {
    /// Adds a published text.
    pub fn add(&mut self, published: &str) {
        let line = text::line(published);
        let (signal, note) = signal::split(&line);
        self.join(signal, note);
    }

    /// Adds other texts after these.
    pub fn append(&mut self, other: &Self) {
        for word in &other.0 {
            self.join(word.signal.as_deref(), &word.note);
        }
    }

    /// Returns the texts that are sent next.
    #[must_use]
    pub fn first(&self) -> Option<&Word> {
        self.0.first()
    }

    /// Removes the texts that were sent.
    pub fn remove_first(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
    }

    /// Returns whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn join(&mut self, signal: Option<&str>, note: &str) {
        if let Some(word) = self.0.iter_mut().find(|word| word.signal.as_deref() == signal) {
            let notes = [word.note.as_str(), note].into_iter().filter(|note| !note.is_empty());
            word.note = text::line_of(&notes.collect::<Vec<_>>().join(" / "), text::LONGEST_NOTE);
        } else if signal.is_some() && self.0.len() >= MOST {
            self.join(None, &signal::noted(signal, note));
        } else {
            self.0.push(Word { signal: signal.map(str::to_owned), note: text::line_of(note, text::LONGEST_NOTE) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[&str]) -> Words {
        let mut words = Words::default();
        texts.iter().for_each(|text| words.add(text));
        words
    }

    fn word(signal: Option<&str>, note: &str) -> Word {
        Word { signal: signal.map(str::to_owned), note: note.to_owned() }
    }

    #[test]
    fn texts_are_joined_for_each_signal() {
        let mut all = words(&["", "ping: a", "one", "ping: b\u{1b}", "two"]);
        all.append(&words(&["infra:", "ping: c", "three"]));
        let expected = [word(None, "one / two / three"), word(Some("ping"), "a / b / c"), word(Some("infra"), "")];
        for expected in expected {
            assert_eq!(all.first(), Some(&expected));
            all.remove_first();
        }
        assert!(all.is_empty());
    }

    /// A text beyond the bound wakes rather than being lost.
    #[test]
    fn many_signals_are_bounded_and_none_is_lost() {
        let texts: Vec<String> = (0..40).map(|nth| format!("s{nth}: x")).collect();
        let all = words(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(all.0.len(), MOST + 1);
        let rest = all.0.last().unwrap();
        assert!(rest.signal.is_none() && rest.note.starts_with("s16: x / ") && rest.note.ends_with("s39: x"));
    }
}
