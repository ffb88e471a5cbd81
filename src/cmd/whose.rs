//! Whose entries of the journal are meant by a word.

use super::{Failure, target};
use crate::store::past::Past;
use crate::store::roll::Roll;
use crate::text;

/// Whose.
#[derive(Debug)]
pub(super) enum Whose {
    /// Everybody's.
    All,
    /// One session's.
    Session(String),
    /// One scope's.
    Scope(String),
}

impl Whose {
    /// Whom a word means: a session by its id, a scope, or the scope of a session by its name or label.
    ///
    /// # Errors
    /// When there is none, or several.
    pub(super) fn of(roll: &mut Roll<'_>, word: &str) -> Result<Self, Failure> {
        let sessions = roll.sessions()?;
        let encoded = text::encode(word);
        let is_scope = |name: &str| name == encoded || name == word;
        if let Some((_, session)) = sessions.iter().find(|(_, s)| is_scope(&s.scope)) {
            return Ok(Self::Scope(session.scope.clone()));
        }
        match target::one(&sessions, word) {
            // Its id, or the beginning of it: no name that the seat's other sessions might bear too.
            Ok((id, s)) if *id == encoded || !(s.name == word || s.label == word) => Ok(Self::Session(id.clone())),
            Ok((_, session)) => Ok(Self::Scope(session.scope.clone())),
            Err(e) if e.is_ambiguous() => Err(e.into()),
            Err(e) => {
                // One that ended is still told of; the last seen comes first.
                if let Some((id, _)) = sessions.iter().find(|(_, s)| s.name == word || s.label == word) {
                    return Ok(Self::Session(id.clone()));
                }
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
