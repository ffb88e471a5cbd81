//! Finds the session that a word names: its name, its window's label or the last part of that, its id or the beginning
//! of that, its scope, or its project directory.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::Failure;
use super::suggestion;
use crate::hint::Hint;
use crate::naming::{self, Names};
use crate::policy::documents::{Phase, SessionState};
use crate::policy::limits::Ms;
use crate::policy::rest::RestKind;
use crate::store::StoreError;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;

/// The number of sessions that are listed where several match.
pub(super) const MOST_LISTED: usize = 20;

/// Why a word names no session, or several.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No session matches.
    #[error("no session is called \"{word}\"")]
    Unknown {
        /// The given word.
        word: String,
        /// Similar names, nearest first.
        near: Vec<String>,
        /// Some of the known sessions, where no name is similar.
        there: Vec<String>,
    },
    /// Several sessions match.
    #[error("\"{word}\" may mean several sessions:\n{list}")]
    Several {
        /// The given word.
        word: String,
        /// One per line.
        list: String,
    },
    /// No session waits for the topic.
    #[error("no session waits for \"{topic}\"{others}")]
    NoTopic {
        /// The given topic.
        topic: String,
        /// The topics that sessions wait for, one per line; empty where there are none.
        others: String,
    },
    /// Both a scope and the whole fleet were named.
    #[error("a session and --fleet were both given")]
    Both {
        /// The command.
        command: &'static str,
    },
    /// Several scopes are held and none was named.
    #[error("several scopes are held:\n{list}")]
    SeveralHeld {
        /// One per line.
        list: String,
    },
}

impl Hint for TargetError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { near, .. } if !near.is_empty() => Some(format!("did you mean {}", near.join(", "))),
            Self::Unknown { there, .. } if !there.is_empty() => {
                Some(format!("there are {}; see all of them: frosty status", there.join(", ")))
            }
            Self::Unknown { .. } => Some(
                "no session is known in this store and fleet, which the configuration names: frosty config".to_owned(),
            ),
            Self::Several { .. } | Self::SeveralHeld { .. } => Some("name one of these".to_owned()),
            Self::NoTopic { others, .. } if others.is_empty() => {
                Some("wake every session that rests: frosty wake --all".to_owned())
            }
            Self::NoTopic { .. } => None,
            Self::Both { command } => Some(format!("for the whole fleet: frosty {command} --fleet")),
        }
    }
}

impl TargetError {
    /// Returns whether a more exact word would match one session.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Several { .. } | Self::SeveralHeld { .. } | Self::Both { .. })
    }
}

/// How well a word matches a session. The session with the best rank is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Its id.
    Id,
    /// A name, label or scope that the user gave.
    Own,
    /// Its window's own name, its project directory, or a name with digits of the id behind it.
    Part,
    /// A name from a project's file: a cloned repository must not take a name of the user's.
    Chosen,
    /// The beginning of its id.
    Prefix,
}

/// A word, in the forms in which it is compared.
struct Word<'w> {
    given: &'w str,
    encoded: String,
    /// The real path, where the word is one.
    folder: Option<String>,
    /// A name and digits of an id behind it, for each way in which the word can be split.
    digits: Vec<(&'w str, String)>,
}

impl<'w> Word<'w> {
    fn new(given: &'w str) -> Self {
        let is_path = given.contains('/') || given == "." || given == "..";
        let real = if is_path { Path::new(given).canonicalize().ok() } else { None };
        let folder = real.map(|path| text::line_of(&path.to_string_lossy(), text::LONGEST_FOLDER));
        let split = |(at, _)| Some((given.get(..at)?, text::encode(given.get(at + 1..)?)));
        let digits =
            given.match_indices('-').filter_map(split).filter(|(name, digits)| !name.is_empty() && digits.len() >= 4);
        Self { given, encoded: text::encode(given), folder, digits: digits.collect() }
    }

    fn rank(&self, id: &str, session: &SessionState) -> Option<Rank> {
        let Self { given, encoded, folder, .. } = self;
        let is = |name: &str| !name.is_empty() && name == *given;
        if id == encoded {
            return Some(Rank::Id);
        }
        let is_named = is(&session.name);
        if (is_named && !session.named_by_project)
            || is(&session.label)
            || is(&session.scope)
            || session.scope == *encoded
        {
            return Some(Rank::Own);
        }
        let is_folder =
            is(session.project.trim_end_matches('/')) || folder.as_ref().is_some_and(|f| *f == session.project);
        let parts = [naming::window(&session.label).map(str::to_owned), naming::folder(session)];
        if is_folder || parts.iter().flatten().any(|part| is(part)) || self.has_digits(id, session) {
            return Some(Rank::Part);
        }
        if is_named {
            return Some(Rank::Chosen);
        }
        (!encoded.is_empty() && id.starts_with(encoded.as_str())).then_some(Rank::Prefix)
    }

    /// Returns whether the word is the session's name with digits of its id behind it. Sessions with the same name are
    /// shown so.
    fn has_digits(&self, id: &str, session: &SessionState) -> bool {
        let mut ways = self.digits.iter().filter(|(_, digits)| id.starts_with(digits.as_str())).peekable();
        if ways.peek().is_none() {
            return false;
        }
        let names = [Some(session.name.clone()), Some(session.label.clone()), naming::folder(session)];
        let names: Vec<String> = names.iter().flatten().chain([&session.scope]).map(|name| text::line(name)).collect();
        ways.any(|(name, _)| names.iter().any(|known| known == name))
    }
}

/// Returns the store's sessions by their names, with all fields of those that the word may name and of those in their
/// scopes.
///
/// # Errors
/// When the store cannot be read.
pub fn sessions(reader: &mut FleetReader<'_>, word: &str) -> Result<Vec<Session>, StoreError> {
    let word = Word::new(word);
    reader.sessions_where(|id, session| word.rank(id, session).is_some())
}

/// Returns the one session that a word names. An open session wins over one that has ended. Of several in one scope the
/// last one seen wins.
///
/// # Errors
/// When none matches, or several scopes do.
pub fn one<'s>(sessions: &'s [Session], word: &str) -> Result<&'s Session, TargetError> {
    let wanted = Word::new(word);
    let ranked: Vec<(Rank, &Session)> = sessions.iter().filter_map(|s| Some((wanted.rank(&s.0, &s.1)?, s))).collect();
    if let Some((_, session)) = ranked.iter().find(|(rank, _)| *rank == Rank::Id) {
        return Ok(session);
    }
    for ended in [false, true] {
        let of_phase = || ranked.iter().filter(|(_, (_, s))| (s.phase == Phase::Ended) == ended);
        let Some(best) = of_phase().map(|(rank, _)| *rank).min() else { continue };
        let meant: Vec<&Session> = of_phase().filter(|(rank, _)| *rank == best).map(|(_, session)| *session).collect();
        // An earlier session of a scope is gone. The beginning of an id names no scope.
        let scopes: BTreeSet<&str> = match best {
            Rank::Prefix => meant.iter().map(|(id, _)| id.as_str()).collect(),
            _ if ended => BTreeSet::new(),
            _ => meant.iter().map(|(_, s)| s.scope.as_str()).collect(),
        };
        return match meant.first() {
            Some(session) if scopes.len() <= 1 => Ok(session),
            _ => Err(TargetError::Several { word: text::line(word), list: list(sessions, &meant) }),
        };
    }
    Err(unknown(sessions, word, &[]))
}

/// Returns whether a word that names a session also names its scope, and so every session there. An id, digits of it,
/// and an ended session do not.
#[must_use]
pub fn names_the_seat(id: &str, session: &SessionState, word: &str) -> bool {
    let word = Word::new(word);
    let is_named = match word.rank(id, session) {
        Some(Rank::Own | Rank::Chosen) => true,
        Some(Rank::Part) => !word.has_digits(id, session),
        Some(Rank::Id | Rank::Prefix) | None => false,
    };
    is_named && session.phase != Phase::Ended
}

/// Returns the scope that a word names: the one of the session with that name, else one with this name. `among` is the
/// result of [`sessions`].
///
/// # Errors
/// When none or several match, or the store cannot be read.
pub fn scope(reader: &mut FleetReader<'_>, among: &[Session], word: &str) -> Result<String, Failure> {
    let meant = one(among, word);
    if let Ok((_, session)) = meant {
        return Ok(session.scope.clone());
    }
    let encoded = text::encode(word);
    let mut scopes: Vec<String> = reader.scopes()?.into_iter().map(|(scope, _)| scope).collect();
    // The dispatcher's requests for an agent are those of the scope with its name.
    scopes.extend(reader.parts().0.routes.iter().filter(|route| route.works()).map(|route| text::encode(&route.to)));
    match scopes.iter().find(|scope| **scope == word || **scope == encoded) {
        Some(scope) => Ok(scope.clone()),
        None => match meant {
            Err(TargetError::Unknown { .. }) => Err(unknown(among, word, &scopes).into()),
            meant => Ok(meant?.1.scope.clone()),
        },
    }
}

/// Returns the shown name of a scope: the name of the session that was seen there last, else the scope's own name.
#[must_use]
pub fn scope_name(sessions: &[Session], scope: &str) -> String {
    let is_known = sessions.iter().any(|(_, s)| s.scope == scope);
    if is_known { Names::of_all(sessions).scope(scope) } else { text::line(scope) }
}

/// Returns the error for an unknown session, with the nearest names.
fn unknown(sessions: &[Session], word: &str, scopes: &[String]) -> TargetError {
    let names = Names::of_all(sessions);
    let mut known: Vec<String> = Vec::new();
    for ended in [false, true] {
        for (id, session) in sessions.iter().filter(|(_, s)| (s.phase == Phase::Ended) == ended) {
            let parts = [Some(names.name(id)), naming::window(&session.label).map(text::line), naming::folder(session)];
            known.extend(parts.into_iter().flatten());
        }
    }
    known.extend(scopes.iter().map(|scope| naming::of_scope(scope)));
    let near = suggestion::nearest(word, known);
    let open = sessions.iter().filter(|(_, s)| s.phase != Phase::Ended).take(suggestion::MOST);
    TargetError::Unknown { word: text::line(word), near, there: open.map(|(id, _)| names.name(id)).collect() }
}

/// Returns the error for a topic that no session waits for, with the topics that sessions wait for.
#[must_use]
pub fn nobody_waits_for(sessions: &[Session], topic: &str, now: Ms) -> TargetError {
    let waits = |s: &SessionState| s.rest.clone().filter(|r| r.kind == RestKind::WaitFor && r.lasts(now));
    let topics: BTreeSet<String> =
        sessions.iter().filter_map(|(_, s)| waits(s)).map(|r| format!("\n  {}", text::line(&r.topic))).collect();
    let others = if topics.is_empty() {
        String::new()
    } else {
        format!("; these topics are waited for:{}", topics.into_iter().collect::<String>())
    };
    TargetError::NoTopic { topic: text::line(topic), others }
}

/// Lists the sessions, one per line: the name that selects it, and its other known fields.
fn list(sessions: &[Session], meant: &[&Session]) -> String {
    let names = Names::of_all(sessions);
    let mut out = String::new();
    for (id, s) in meant.iter().take(MOST_LISTED) {
        let _ = write!(out, "  {}", names.name(id));
        for (what, value) in [("id", id), ("scope", &s.scope), ("label", &s.label), ("project", &s.project)] {
            if !value.is_empty() && (what != "scope" || value != id) {
                let _ = write!(out, "  {what} {}", text::line(value));
            }
        }
        out.push('\n');
    }
    if meant.len() > MOST_LISTED {
        let _ = writeln!(out, "  and {} more", meant.len() - MOST_LISTED);
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str, change: impl FnOnce(&mut SessionState)) -> Session {
        let mut session = SessionState { scope: id.to_owned(), ..SessionState::default() };
        change(&mut session);
        (id.to_owned(), session)
    }

    fn named(id: &str, name: &str) -> Session {
        session(id, |s| name.clone_into(&mut s.name))
    }

    fn meant(all: &[Session], word: &str) -> Option<String> {
        one(all, word).ok().map(|(id, _)| id.clone())
    }

    #[test]
    fn the_beginning_of_an_id_names_a_session() {
        let all = [named("0a1b2c3d-01", ""), named("0a1b2c3e-02", "0a1b2c3d"), named("0a1b2c3e-03", "")];
        for (word, id) in [
            ("0a1b2c3d-01", Some("0a1b2c3d-01")),
            // A name has a better rank.
            ("0a1b2c3d", Some("0a1b2c3e-02")),
            ("0a1b2c3d-", Some("0a1b2c3d-01")),
            ("0a1b2c3e", None),
            ("0a1b2c3", None),
            ("", None),
        ] {
            assert_eq!(meant(&all, word).as_deref(), id, "{word}");
        }
    }

    #[test]
    fn every_form_and_its_rank() {
        let one = session("11112222-a", |s| {
            s.label = "main:api".to_owned();
            s.scope = "tmux-default-p3".to_owned();
            s.project = "/home/ann/web site".to_owned();
        });
        let two = session("33334444-b", |s| s.name = "nova".to_owned());
        let all = [one, two];
        for word in ["main:api", "api", "tmux-default-p3", "web site", "/home/ann/web site", "web site-1111", "1111"] {
            assert_eq!(meant(&all, word).as_deref(), Some("11112222-a"), "{word}");
        }
        assert_eq!(meant(&all, "nova").as_deref(), Some("33334444-b"));
        for word in ["main", "site", "web site-3333", "novas", "nov", "ann"] {
            assert_eq!(meant(&all, word), None, "{word}");
        }
    }

    #[test]
    fn the_users_own_names_take_precedence_over_a_repositorys() {
        let chosen = |id: &str| {
            session(id, |s| {
                s.name = "nova".to_owned();
                s.named_by_project = true;
            })
        };
        let own = named("2222", "nova");
        assert_eq!(meant(&[chosen("1111"), own.clone()], "nova").as_deref(), Some("2222"));
        let window = session("3333", |s| s.label = "main:nova".to_owned());
        assert_eq!(meant(&[chosen("1111"), window], "nova").as_deref(), Some("3333"));
        assert_eq!(meant(&[chosen("1111")], "nova").as_deref(), Some("1111"));
        assert!(one(&[chosen("1111"), chosen("4444")], "nova").is_err_and(|e| e.is_ambiguous()));
        // An open session wins over one that has ended, whatever its rank.
        let ended = session("2222", |s| {
            s.name = "nova".to_owned();
            s.phase = Phase::Ended;
        });
        assert_eq!(meant(&[ended.clone(), chosen("1111")], "nova").as_deref(), Some("1111"));
        assert_eq!(meant(&[ended], "nova").as_deref(), Some("2222"));
    }
}
