//! Whose entries of the journal a word means.

use super::{Failure, target};
use crate::store::fleet_reader::Roll;
use crate::text;
use crate::view::journal::Past;

/// Whose.
#[derive(Debug)]
pub(super) enum Whose {
    /// Those of every session.
    All,
    /// One session's.
    Session(String),
    /// One scope's.
    Scope(String),
}

impl Whose {
    /// What a word means: a scope, or the scope of the session that it names. The id of a session, the beginning of one, and a
    /// name of a session that has ended mean that session alone.
    ///
    /// # Errors
    /// When there is none, or several.
    pub(super) fn of(roll: &mut Roll<'_>, word: &str) -> Result<Self, Failure> {
        let sessions = target::sessions(roll, word)?;
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
                // The journal outlives what is remembered of sessions.
                let past = roll.entries_where(0, 1, |p| is_scope(p.text("scope")) || p.says("session", &encoded))?;
                match past.first() {
                    Some(past) if past.says("session", &encoded) => Ok(Self::Session(encoded)),
                    Some(past) => Ok(Self::Scope(past.text("scope").to_owned())),
                    None => Err(e.into()),
                }
            }
        }
    }

    /// Whether the entry is one of theirs.
    pub(super) fn wants(&self, past: &Past) -> bool {
        match self {
            Self::All => true,
            Self::Session(id) => past.says("session", id),
            Self::Scope(scope) => past.says("scope", scope),
        }
    }
}
