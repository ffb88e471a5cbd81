//! The index of a server's sessions: a sorted set by when each was last seen, with the sessions' names in its members.
//!
//! A member is `<id> <JSON>`. The JSON is the part of the session's document that names it, so that one read finds a
//! session by any of its names. The commit that writes a document writes its member too. A command acts only on what it
//! reads from the document.

use std::collections::{BTreeSet, HashSet};

use redis::{FromRedisValue, Value};

use crate::policy::documents::{Phase, SessionState};
use crate::policy::limits::Ms;
use crate::store::failover::decider;
use crate::store::fleet_reader::{FleetReader, Kind, Session};
use crate::store::{StoreError, fleet_reader, parallel};
use crate::text;

/// Returns the member of a session.
pub(crate) fn member(id: &str, session: &SessionState) -> String {
    let names = SessionState {
        scope: session.scope.clone(),
        name: session.name.clone(),
        named_by_project: session.named_by_project,
        label: session.label.clone(),
        project: session.project.clone(),
        phase: if session.phase == Phase::Ended { Phase::Ended } else { Phase::Open },
        ..SessionState::default()
    };
    [id, " ", &serde_json::to_string(&names).unwrap_or_default()].concat()
}

/// Returns whether two states of a session have the same member.
pub(crate) fn is_same(a: &SessionState, b: &SessionState) -> bool {
    let ended = |s: &SessionState| s.phase == Phase::Ended;
    (&a.scope, &a.name, a.named_by_project, &a.label, &a.project, ended(a))
        == (&b.scope, &b.name, b.named_by_project, &b.label, &b.project, ended(b))
}

/// Returns the id that a member names.
pub(crate) fn id(member: &str) -> &str {
    member.split_once(' ').map_or(member, |(id, _)| id)
}

/// Returns the session of a member, with its names alone; `None` for a member without names.
///
/// `seen` is its place among the members, which are in the order in which the sessions were last seen.
fn session(member: &str, seen: Ms) -> Option<Session> {
    let (id, names) = member.split_once(' ')?;
    let session: SessionState = serde_json::from_str(names).ok()?;
    Some((id.to_owned(), SessionState { seen, ..session }))
}

impl FleetReader<'_> {
    /// Returns every session that is remembered, the last seen first.
    ///
    /// The wanted sessions and all others of their scopes are whole; the rest may have their names alone. Without any
    /// wanted session, every session is whole.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sessions_where(
        &mut self,
        wanted: impl Fn(&str, &SessionState) -> bool + Sync,
    ) -> Result<Vec<Session>, StoreError> {
        let config = self.config;
        let Some(link) = &mut self.server else { return self.sessions() };
        let answer = link.ask(&[fleet_reader::index(config, "session")])?.pop().unwrap_or(Value::Nil);
        let members: Vec<(Ms, String)> =
            (1..).zip(Vec::<String>::from_redis_value(answer).unwrap_or_default()).collect();
        let named = parallel::map(&members, |(place, member)| session(member, *place));
        // A member without names may be any session.
        let Some(named) = named.into_iter().collect::<Option<Vec<Session>>>() else { return self.sessions() };
        let hits = named.iter().filter(|(id, s)| wanted(id, s));
        let hits: HashSet<String> = hits.map(|(_, session)| session.scope.clone()).collect();
        if hits.is_empty() {
            return self.sessions();
        }
        let (whole, rest): (Vec<Session>, Vec<Session>) =
            named.into_iter().partition(|(_, session)| hits.contains(&session.scope));
        let ids: BTreeSet<String> = whole.into_iter().map(|(id, _)| id).filter(|id| text::is_encoded(id)).collect();
        let (mut all, others) = fleet_reader::documents(config, link, Kind::Session, ids.iter().cloned().collect())?;
        let dir = decider::dir(config);
        all.extend(others.iter().filter_map(|id| Some((id.clone(), fleet_reader::session_here(dir.as_deref()?, id)?))));
        // The document is authoritative.
        if !all.iter().any(|(id, s)| wanted(id, s)) {
            return self.sessions();
        }
        all.extend(rest.into_iter().filter(|(id, _)| !ids.contains(id)));
        fleet_reader::sort_out(&mut all);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_contains_the_names_of_its_session() {
        let whole = SessionState {
            scope: "tmux-default-p3".to_owned(),
            name: "a \"b\" c".to_owned(),
            label: "main:api server".to_owned(),
            project: "/home/ann/web site".to_owned(),
            named_by_project: true,
            phase: Phase::Ended,
            note: "not a name".to_owned(),
            ..SessionState::default()
        };
        let text = member("s-1", &whole);
        assert!(id(&text) == "s-1" && !text.contains("not a name"), "{text}");
        let (id, read) = session(&text, 7).unwrap();
        assert!(id == "s-1" && read.seen == 7 && is_same(&read, &whole) && read.note.is_empty(), "{read:?}");
        assert!(session("s-1", 7).is_none() && session("s-1 x", 7).is_none());
    }

    #[test]
    fn each_name_makes_another_member() {
        let changes: [fn(&mut SessionState); 6] = [
            |s| s.scope.push('x'),
            |s| s.name.push('x'),
            |s| s.named_by_project = true,
            |s| s.label.push('x'),
            |s| s.project.push('x'),
            |s| s.phase = Phase::Ended,
        ];
        for change in changes {
            let mut other = SessionState::default();
            change(&mut other);
            assert!(
                !is_same(&other, &SessionState::default())
                    && member("s", &other) != member("s", &SessionState::default())
            );
        }
        let seen = SessionState { seen: 5, count: 3, ..SessionState::default() };
        assert!(
            is_same(&seen, &SessionState::default()) && member("s", &seen) == member("s", &SessionState::default())
        );
    }
}
