//! Who is meant by a word: a session's id, a scope, a session's name, or a window's label.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Failure;
use crate::store::roll::{Roll, Session};
use crate::text;
use crate::throttle::policy::Ms;
use crate::throttle::state::{Phase, RestKind, SessionState};

/// Why a word names nobody, or too many.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nobody.
    #[error(
        "expected a session's id, a scope, a name or a window's label, found \"{word}\", which is none of them; {there}"
    )]
    Nobody {
        /// What was given.
        word: String,
        /// Who is there.
        there: String,
    },
    /// Several.
    #[error("expected one, found several that \"{word}\" may mean; name one of these:\n{list}")]
    Several {
        /// What was given.
        word: String,
        /// One per line.
        list: String,
    },
    /// Nobody waits for the topic.
    #[error("expected a topic that somebody waits for, found \"{topic}\"; {there}")]
    NoTopic {
        /// What was given.
        topic: String,
        /// What is waited for.
        there: String,
    },
    /// A scope and the whole fleet.
    #[error("expected a scope or --fleet, found both; name one: frosty {command} --fleet")]
    Both {
        /// Of which command.
        command: &'static str,
    },
    /// Several scopes are held and none was named.
    #[error("expected what to release, found several that are held; name one of these:\n{list}")]
    SeveralHeld {
        /// One per line.
        list: String,
    },
}

impl TargetError {
    /// Whether a more exact word would do.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Several { .. } | Self::SeveralHeld { .. } | Self::Both { .. })
    }
}

/// So much of a session's id is shown where it has no other name, and names it.
pub const SHORT_ID: usize = 8;

/// The one session that a word means: by its id, else the last one seen that is still open in the scope that it names, else
/// by the beginning of its id.
///
/// # Errors
/// When there is none, or the word may mean several scopes.
pub fn one<'s>(sessions: &'s [Session], word: &str) -> Result<&'s Session, TargetError> {
    let encoded = text::encode(word);
    if let Some(session) = sessions.iter().find(|(id, _)| *id == encoded) {
        return Ok(session);
    }
    let means = |(_, s): &&Session| s.scope == encoded || s.scope == word || s.name == word || s.label == word;
    let open: Vec<&Session> = sessions.iter().filter(|(_, s)| s.phase != Phase::Ended).filter(means).collect();
    let scopes: BTreeSet<&str> = open.iter().map(|(_, s)| s.scope.as_str()).collect();
    // As `frosty status` shows one that has no name.
    let begins = |(id, _): &&Session| encoded.len() >= SHORT_ID && id.starts_with(&encoded);
    let mut short = sessions.iter().filter(begins);
    if let (true, Some(session), None) = (open.is_empty(), short.next(), short.next()) {
        return Ok(session);
    }
    // The last seen comes first: whoever sat there before is gone.
    match (open.first(), scopes.len()) {
        (Some(session), 1) => Ok(session),
        (None, _) => Err(TargetError::Nobody { word: text::line(word), there: there(sessions) }),
        _ => Err(TargetError::Several { word: text::line(word), list: list(open) }),
    }
}

/// The scope that a word means: one that is known by this name, else the one where the session sits that it names.
///
/// # Errors
/// When there is none, or the word may mean several, or the store cannot be asked.
pub fn scope(roll: &mut Roll<'_>, word: &str) -> Result<String, Failure> {
    let encoded = text::encode(word);
    let scopes = roll.scopes()?;
    if let Some((scope, _)) = scopes.into_iter().find(|(scope, _)| *scope == word || *scope == encoded) {
        return Ok(scope);
    }
    Ok(one(&roll.sessions()?, word)?.1.scope.clone())
}

/// That nobody waits for a topic, and which are waited for.
#[must_use]
pub fn nobody_waits_for(sessions: &[Session], topic: &str, now: Ms) -> TargetError {
    let waits = |s: &SessionState| s.rest.clone().filter(|r| r.kind == RestKind::WaitFor && r.lasts(now));
    let topics: BTreeSet<String> =
        sessions.iter().filter_map(|(_, s)| waits(s)).map(|r| format!("  {}", text::line(&r.topic))).collect();
    let there = if topics.is_empty() {
        "nobody waits for any; to wake whoever rests: frosty wake --all".to_owned()
    } else {
        format!("these are:\n{}", topics.into_iter().collect::<Vec<_>>().join("\n"))
    };
    TargetError::NoTopic { topic: text::line(topic), there }
}

fn there(sessions: &[Session]) -> String {
    let open: Vec<&Session> = sessions.iter().filter(|(_, s)| s.phase != Phase::Ended).take(20).collect();
    if open.is_empty() {
        return "no session is known in this store and fleet; see which are set: env | grep FROSTY_".to_owned();
    }
    format!("these are there:\n{}", list(open))
}

/// One line for each session.
fn list(sessions: Vec<&Session>) -> String {
    let mut out = String::new();
    for (id, s) in sessions {
        let _ = write!(out, "  {id}  scope {}", s.scope);
        for (what, value) in [("name", &s.name), ("label", &s.label)] {
            if !value.is_empty() {
                let _ = write!(out, "  {what} {}", text::line(value));
            }
        }
        out.push('\n');
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_names_a_session() {
        let session = |id: &str, name: &str| {
            (id.to_owned(), SessionState { scope: id.to_owned(), name: name.to_owned(), ..SessionState::default() })
        };
        let all = [session("0a1b2c3d-01", ""), session("0a1b2c3e-02", "0a1b2c3d"), session("0a1b2c3e-03", "")];
        for (word, meant) in [
            ("0a1b2c3d-01", Some("0a1b2c3d-01")),
            // A name is stronger.
            ("0a1b2c3d", Some("0a1b2c3e-02")),
            ("0a1b2c3d-", Some("0a1b2c3d-01")),
            ("0a1b2c3e", None),
            ("0a1b2c3", None),
            ("", None),
        ] {
            assert_eq!(one(&all, word).ok().map(|(id, _)| id.as_str()), meant, "{word}");
        }
    }
}
