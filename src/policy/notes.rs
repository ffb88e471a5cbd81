//! The notes of an agent: lines that it writes for itself, kept with its session.

use serde::{Deserialize, Serialize};

use crate::policy::documents::SessionState;
use crate::policy::limits::Ms;
use crate::policy::request::{Event, Step};
use crate::policy::verdict::{Decision, Memory, Outcome};

/// The most notes of a session.
pub const MOST: usize = 20;
/// The longest note, in characters.
pub const LONGEST: usize = 500;
/// The most characters of notes in one prompt.
pub const GIVEN: usize = 2000;
/// How long a note is kept.
const KEEP: Ms = 7 * 86_400_000;

/// A note.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentNote {
    /// When it was written.
    pub at: Ms,
    /// Its text: one line without control characters.
    pub text: String,
}

/// Adds the notes of a turn. A note with the same text replaces the older one.
pub(crate) fn add(session: &mut SessionState, texts: &[String], now: Ms) {
    if texts.is_empty() {
        return;
    }
    forget(session, now);
    for text in texts {
        let text: String = text.chars().take(LONGEST).collect();
        let before = session.notes.len();
        session.notes.retain(|note| note.text != text);
        // A repeated note is no change.
        session.notes_changed |= session.notes.len() == before;
        session.notes.push(AgentNote { at: now, text });
    }
    let over = session.notes.len().saturating_sub(MOST);
    session.notes.drain(..over);
}

/// Removes every note.
pub(crate) fn forget_all(session: &mut SessionState) {
    session.notes.clear();
    (session.notes_changed, session.notes_given) = (false, None);
}

/// Removes the notes that have expired. The time of a note from before a clock was set back is now.
fn forget(session: &mut SessionState, now: Ms) {
    for note in &mut session.notes {
        note.at = note.at.min(now);
    }
    session.notes.retain(|note| note.at > now.saturating_sub(KEEP));
}

/// Returns the notes for a prompt, newest first, where they changed since they were last given.
pub(crate) fn hand_out(session: &mut SessionState, now: Ms) -> Vec<String> {
    forget(session, now);
    if !std::mem::take(&mut session.notes_changed) {
        return Vec::new();
    }
    session.notes_given = Some(now);
    newest(session, now)
}

/// Adds what the agent must not forget, where the step asks for it. A compaction reads the notes and does not use them up: the event after it gives them.
pub(crate) fn recall(session: &mut SessionState, ask: &Step, is_beside: bool, decided: &mut Decision, now: Ms) {
    if !ask.recalls || is_beside || decided.outcome == Outcome::Refuse {
        return;
    }
    session.briefed = false;
    let work = session.work.as_ref().map(|claimed| claimed.id.clone()).unwrap_or_default();
    let rest = session.rest.clone().filter(|rest| rest.lasts(now));
    decided.memory = Some(Box::new(Memory { work, rest }));
    decided.notes = newest(session, now);
    if matches!(ask.event, Event::SessionStart { .. }) {
        session.notes_changed = false;
    }
}

/// Returns the notes that are kept, newest first.
pub fn kept(session: &SessionState, now: Ms) -> impl Iterator<Item = &AgentNote> {
    session.notes.iter().rev().filter(move |note| note.at > now.saturating_sub(KEEP))
}

/// Returns the notes that are kept, newest first, as far as one prompt contains them.
#[must_use]
pub fn newest(session: &SessionState, now: Ms) -> Vec<String> {
    let mut left = GIVEN;
    let fits = kept(session, now).take_while(|note| {
        let length = note.text.chars().count();
        let fits = length <= left;
        left = left.saturating_sub(length);
        fits
    });
    fits.map(|note| note.text.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(session: &mut SessionState, texts: &[&str], now: Ms) {
        add(session, &texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), now);
    }

    #[test]
    fn given_once_newest_first() {
        let mut session = SessionState::default();
        assert_eq!(hand_out(&mut session, 1), Vec::<String>::new());
        added(&mut session, &["a", "b"], 2);
        assert_eq!(hand_out(&mut session, 3), ["b", "a"]);
        assert_eq!(hand_out(&mut session, 4), Vec::<String>::new());
        added(&mut session, &["a"], 5);
        assert_eq!(hand_out(&mut session, 6), Vec::<String>::new(), "a repeated note is no change");
        added(&mut session, &["c"], 7);
        assert_eq!(hand_out(&mut session, 8), ["c", "a", "b"]);
        added(&mut session, &["d"], 4);
        assert_eq!(hand_out(&mut session, 9)[0], "d", "also after the clock was set back");
    }

    #[test]
    fn bounded_in_number_length_and_time() {
        let mut session = SessionState::default();
        for n in 0..50 {
            added(&mut session, &[&format!("{n} {}", "é".repeat(600))], n);
        }
        assert_eq!(session.notes.len(), MOST);
        assert!(session.notes.iter().all(|note| note.text.chars().count() == LONGEST));
        assert_eq!(newest(&session, 50).len(), GIVEN / LONGEST);
        assert_eq!(hand_out(&mut session, 49 + KEEP), Vec::<String>::new());
        assert!(session.notes.is_empty());
    }
}
