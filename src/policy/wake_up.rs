//! A wake-up: it ends a rest, and its note goes into the next prompt.

use crate::policy::documents::SessionState;
use crate::policy::{release_slots, signal};

/// Begins a line of an agent's message.
const QUOTED: &str = "> ";
/// The most of a session's notes that is kept, in bytes. A note is a line, with the quoted lines of a message below it.
const LONGEST_NOTES: usize = 8000;

/// Notes a wake-up, which the session's next request finds. A signal that does not wake leaves its note and no more.
///
/// The note has the depth of the message that it is, 0 for a person's.
pub(crate) fn wake(session: &mut SessionState, (note, depth): (&str, u32), with_others: bool, signal: Option<&String>) {
    let signal = signal.map(String::as_str);
    if wakes(session, signal) {
        session.woken = true;
        release_slots::clear(session);
        if with_others {
            release_slots::mark(session);
        }
    }
    add_note(&mut session.note, &signal::noted(signal, note));
    session.note_depth = session.note_depth.max(depth);
}

/// Returns whether a wake-up with this signal ends the session's rest. One without a signal always does.
pub(crate) fn wakes(session: &SessionState, signal: Option<&str>) -> bool {
    let Some((signal, listed)) = signal.zip(session.wake_on.as_ref()) else { return true };
    listed.iter().any(|one| one == signal)
}

/// Returns the notes of the wake-ups, and the notes that an admission delivered since the last Stop event.
pub(crate) fn hand_out(session: &mut SessionState) -> String {
    let depth = std::mem::take(&mut session.note_depth);
    // Notes that are delivered again keep their depth.
    session.given_depth = if session.given.is_empty() { depth } else { session.given_depth.max(depth) };
    let note = std::mem::take(&mut session.note);
    add_note(&mut session.given, &note);
    session.given.clone()
}

/// Adds a note; beyond [`LONGEST_NOTES`] bytes the oldest notes are removed.
pub(crate) fn add_note(notes: &mut String, note: &str) {
    if note.is_empty() {
        return;
    }
    if !notes.is_empty() {
        notes.push('\n');
    }
    notes.push_str(note);
    while notes.len() > LONGEST_NOTES {
        match second(notes) {
            Some(second) => drop(notes.drain(..second)),
            // The first line of a message names its author, so that one keeps its beginning.
            None => {
                let end = (0..=LONGEST_NOTES).rev().find(|end| notes.is_char_boundary(*end)).unwrap_or_default();
                return notes.truncate(end);
            }
        }
    }
}

/// Returns the place of the second note: a line that is not quoted. The quoted lines of a message belong to the line above them.
fn second(notes: &str) -> Option<usize> {
    let mut begins = notes.match_indices('\n').map(|(end, _)| end + 1);
    begins.find(|begin| notes.get(*begin..).is_some_and(|rest| !rest.starts_with(QUOTED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_the_line_that_names_its_author() {
        let message = |by: &str, length: usize| format!("a message of {by}:\n> one\n> {}", "長".repeat(length));
        let mut notes = String::new();
        add_note(&mut notes, &message("echo", 5000));
        assert!(notes.starts_with("a message of echo:\n> one\n> ") && notes.len() <= LONGEST_NOTES, "{}", notes.len());
        add_note(&mut notes, &message("helix", 1000));
        assert!(notes.starts_with("a message of helix:\n> one"), "{notes}");
        add_note(&mut notes, "the build is green");
        assert!(notes.starts_with("a message of helix:") && notes.ends_with("\nthe build is green"), "{notes}");
        (0..100).for_each(|n| add_note(&mut notes, &format!("{n} {}", "x".repeat(200))));
        assert!(notes.len() <= LONGEST_NOTES && notes.ends_with(&"x".repeat(200)), "{notes}");
    }

    #[test]
    fn the_oldest_notes_are_removed_beyond_the_longest_notes() {
        for (length, kept) in [(LONGEST_NOTES - 2, true), (LONGEST_NOTES - 1, false)] {
            let mut notes = "a".to_owned();
            add_note(&mut notes, &"x".repeat(length));
            assert_eq!(notes.starts_with("a\n"), kept, "{length}");
        }
    }
}
