//! A wake-up: it ends a rest, and its note goes into the next prompt.

use crate::policy::documents::SessionState;
use crate::policy::{release_slots, signal};

/// The most of a session's notes that is kept, in bytes; each note is a line of at most 1,000 characters.
const LONGEST_NOTES: usize = 8000;

/// Notes a wake-up, which the session's next request finds. A signal that does not wake leaves its note and no more.
///
/// The note has the depth of the message that it is, 0 for a person's.
pub(crate) fn wake(session: &mut SessionState, (note, depth): (&str, u32), with_others: bool, signal: Option<&String>) {
    let signal = signal.map(String::as_str);
    if wakes(session, signal) {
        session.woken = true;
        session.slot = None;
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

/// Adds a note as lines; beyond [`LONGEST_NOTES`] bytes the oldest lines are removed.
pub(crate) fn add_note(notes: &mut String, note: &str) {
    if note.is_empty() {
        return;
    }
    if !notes.is_empty() {
        notes.push('\n');
    }
    notes.push_str(note);
    while notes.len() > LONGEST_NOTES
        && let Some(end) = notes.find('\n')
    {
        notes.drain(..=end);
    }
}
