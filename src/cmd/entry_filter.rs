//! Selects the entries of the journal that a word on the command line means.

use super::{Failure, target};
use crate::store::fleet_reader::FleetReader;
use crate::text;
use crate::view::journal::Past;

/// A selection of entries.
#[derive(Debug)]
pub(super) enum EntryFilter {
    /// The entries of every session.
    All,
    /// The entries of one session.
    Session(String),
    /// The entries of one scope.
    Scope(String),
}

impl EntryFilter {
    /// Reads a word: a scope, or the scope of the session that it names. The id of a session, the beginning of one, and
    /// the name of an ended session mean that session alone.
    ///
    /// # Errors
    /// When there is none, or several.
    pub(super) fn of(reader: &mut FleetReader<'_>, word: &str) -> Result<Self, Failure> {
        let sessions = target::sessions(reader, word)?;
        let encoded = text::encode(word);
        let is_scope = |name: &str| name == encoded || name == word;
        if let Some((_, session)) = sessions.iter().find(|(_, s)| is_scope(&s.scope)) {
            return Ok(Self::Scope(session.scope.clone()));
        }
        match target::one(&sessions, word) {
            Ok((id, session)) if target::names_the_seat(id, session, word) => Ok(Self::Scope(session.scope.clone())),
            Ok((id, _)) => Ok(Self::Session(id.clone())),
            Err(e) if e.is_ambiguous() => Err(e.into()),
            Err(e) => {
                // The journal has entries of sessions that the store no longer remembers.
                let past = reader.entries_where(0, 1, |p| is_scope(p.text("scope")) || p.says("session", &encoded))?;
                match past.first() {
                    Some(past) if past.says("session", &encoded) => Ok(Self::Session(encoded)),
                    Some(past) => Ok(Self::Scope(past.text("scope").to_owned())),
                    None => Err(e.into()),
                }
            }
        }
    }

    /// Returns whether the entry is selected.
    pub(super) fn wants(&self, past: &Past) -> bool {
        match self {
            Self::All => true,
            Self::Session(id) => past.says("session", id),
            Self::Scope(scope) => past.says("scope", scope),
        }
    }
}
