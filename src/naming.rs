//! Names of sessions: the text that is shown in place of an id, and the session that a word names.

use std::collections::HashMap;
use std::path::Path;

use crate::policy::documents::{Phase, SessionState};
use crate::store::fleet_reader::Session;
use crate::text;

/// The number of an id's digits after a folder's name, or to distinguish two sessions of one name.
const DIGITS: usize = 4;
/// The number of an id's digits where nothing else is known of the session.
const SHORT_ID: usize = 8;

/// A session's name before it is made distinct from the others.
struct Base {
    text: String,
    rank: Rank,
}

/// How well a text names one session. Of two sessions with the same text, the one with the lower rank has it
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The id itself.
    Id,
    /// A name, scope or label that the user gave.
    Own,
    /// A name that a project's file chose.
    Chosen,
    /// The project directory. It identifies a session poorly, so digits of the id always follow it.
    Folder,
}

fn base(id: &str, session: &SessionState) -> Base {
    let line = |text: &str| Some(text::line(text)).filter(|text| !text.is_empty());
    if let Some(text) = line(&session.name) {
        let rank = if session.named_by_project { Rank::Chosen } else { Rank::Own };
        return Base { text, rank };
    }
    if let Some(text) = line(&session.label) {
        return Base { text, rank: Rank::Own };
    }
    let is_seat = session.scope.is_empty() || session.scope == id;
    if !is_seat && !is_pane(&session.scope) {
        return Base { text: session.scope.clone(), rank: Rank::Own };
    }
    if !is_uuid(id) {
        return Base { text: id.to_owned(), rank: Rank::Id };
    }
    if let Some(text) = folder(session) {
        return Base { text, rank: Rank::Folder };
    }
    if !is_seat {
        return Base { text: session.scope.clone(), rank: Rank::Own };
    }
    Base { text: id.chars().take(SHORT_ID).collect(), rank: Rank::Id }
}

/// Returns the last part of the project directory.
#[must_use]
pub fn folder(session: &SessionState) -> Option<String> {
    let name = Path::new(&session.project).file_name()?.to_string_lossy().into_owned();
    Some(text::line(&name)).filter(|name| !name.is_empty())
}

/// Returns the last part of a window's label: the window's own name.
#[must_use]
pub fn window(label: &str) -> Option<&str> {
    label.rsplit_once(':').map(|(_, window)| window).filter(|window| !window.is_empty())
}

/// Returns whether a scope is a tmux pane's.
fn is_pane(scope: &str) -> bool {
    let pane = scope.strip_prefix("tmux-").and_then(|rest| rest.rsplit_once("-p"));
    pane.is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns whether an id has the form of the client's session ids: `8-4-4-4-12` hexadecimal digits.
#[must_use]
pub fn is_uuid(id: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let mut parts = id.split('-');
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    let fits = lengths.iter().all(|length| parts.next().is_some_and(|part| part.len() == *length && hex(part)));
    fits && parts.next().is_none()
}

fn digits(id: &str, count: usize) -> String {
    id.chars().take(count).collect()
}

/// Returns the name of one session, where the others are not known.
#[must_use]
pub fn shown(id: &str, session: &SessionState) -> String {
    let base = base(id, session);
    if base.rank == Rank::Folder { format!("{}-{}", base.text, digits(id, DIGITS)) } else { base.text }
}

/// Returns the name of a scope without a known session: the scope itself, or the beginning of the id in it.
#[must_use]
pub fn of_scope(scope: &str) -> String {
    if is_uuid(scope) { digits(scope, SHORT_ID) } else { text::line(scope) }
}

/// The displayed names of a fleet's sessions. No two open sessions have the same name.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The name by id, and its suffix where other sessions have the same name.
    sessions: HashMap<String, (String, String)>,
    /// The session that was seen last in each scope, an open one before one that has ended.
    seats: HashMap<String, String>,
}

impl Names {
    /// Names these sessions, which are sorted by the time they were last seen, the latest first.
    #[must_use]
    pub fn of<'s>(sessions: impl Iterator<Item = (&'s str, &'s SessionState)>) -> Self {
        let mut groups: HashMap<String, Vec<(&str, bool, Rank)>> = HashMap::new();
        let mut last: HashMap<&str, (bool, &str)> = HashMap::new();
        for (id, session) in sessions {
            let ended = session.phase == Phase::Ended;
            let seat = last.entry(&session.scope).or_insert((ended, id));
            if seat.0 && !ended {
                *seat = (ended, id);
            }
            let Base { text, rank } = base(id, session);
            groups.entry(text).or_default().push((id, ended, rank));
        }
        let mut names = HashMap::new();
        for (text, group) in groups {
            let count = distinct(&group);
            for (id, ended, rank) in &group {
                let shadows = |(other, over, of): &(&str, bool, Rank)| other != id && (over, of) <= (ended, rank);
                let shared = *rank != Rank::Id && group.iter().any(shadows);
                let suffix =
                    if *rank == Rank::Folder || shared { format!("-{}", digits(id, count)) } else { String::new() };
                names.insert((*id).to_owned(), (text.clone(), suffix));
            }
        }
        let seats = last.into_iter().map(|(scope, (_, id))| (scope.to_owned(), id.to_owned())).collect();
        Self { sessions: names, seats }
    }

    /// Names the sessions of a store.
    #[must_use]
    pub fn of_all(sessions: &[Session]) -> Self {
        Self::of(sessions.iter().map(|(id, session)| (id.as_str(), session)))
    }

    /// Returns the name of a session, or the beginning of its id where it is not known.
    #[must_use]
    pub fn name(&self, id: &str) -> String {
        self.get(id).unwrap_or_else(|| of_scope(id))
    }

    /// Returns the name of a session that is known.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<String> {
        self.sessions.get(id).map(|(text, suffix)| format!("{text}{suffix}"))
    }

    /// Returns the name of a scope: the name of the session that was seen there last, else the scope's own.
    #[must_use]
    pub fn scope(&self, scope: &str) -> String {
        self.seats.get(scope).map_or_else(|| of_scope(scope), |id| self.name(id))
    }

    /// Returns the name in two parts, of which the second must not be cut off.
    #[must_use]
    pub fn parts(&self, id: &str) -> (&str, &str) {
        self.sessions.get(id).map_or(("", ""), |(text, suffix)| (text.as_str(), suffix.as_str()))
    }
}

/// Returns how many digits of their ids distinguish these sessions.
fn distinct(group: &[(&str, bool, Rank)]) -> usize {
    let longest = group.iter().map(|(id, ..)| id.chars().count()).max().unwrap_or(DIGITS);
    let is_distinct = |count: &usize| {
        let mut all: Vec<String> = group.iter().map(|(id, ..)| digits(id, *count)).collect();
        all.sort_unstable();
        all.windows(2).all(|pair| pair.first() != pair.last())
    };
    (DIGITS..=longest.max(DIGITS)).find(is_distinct).unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "3f2a9c1e-0000-4000-8000-000000000001";
    const TWO: &str = "3f2b9c1e-0000-4000-8000-000000000002";
    const THREE: &str = "3f2b9d1e-0000-4000-8000-000000000003";

    fn session(id: &str) -> SessionState {
        SessionState { scope: id.to_owned(), ..SessionState::default() }
    }

    #[test]
    fn one_session() {
        let named = |change: &dyn Fn(&mut SessionState)| {
            let mut session = session(ONE);
            change(&mut session);
            shown(ONE, &session)
        };
        assert_eq!(named(&|_| {}), "3f2a9c1e");
        assert_eq!(named(&|s| s.project = "/home/ann/website".to_owned()), "website-3f2a");
        assert_eq!(named(&|s| s.scope = "tmux-default-p3".to_owned()), "tmux-default-p3");
        let pane = |s: &mut SessionState| {
            s.scope = "tmux-default-p3".to_owned();
            s.project = "/home/ann/website/".to_owned();
        };
        assert_eq!(named(&pane), "website-3f2a");
        assert_eq!(named(&|s| (s.scope, s.project) = ("echo".to_owned(), "/p".to_owned())), "echo");
        assert_eq!(named(&|s| (s.label, s.project) = ("main:api".to_owned(), "/p".to_owned())), "main:api");
        assert_eq!(named(&|s| (s.name, s.label) = ("nova".to_owned(), "main:api".to_owned())), "nova");
        assert_eq!(shown("nova-1", &SessionState { project: "/p".to_owned(), ..session("nova-1") }), "nova-1");
        assert_eq!(named(&|s| s.project = "/".to_owned()), "3f2a9c1e");
    }

    #[test]
    fn several_of_one_name_are_told_apart() {
        let named = |id: &str, name: &str, chosen: bool, phase: Phase| SessionState {
            name: name.to_owned(),
            named_by_project: chosen,
            phase,
            ..session(id)
        };
        let names = |all: [(&str, bool, Phase); 3]| {
            let all: Vec<Session> = all
                .iter()
                .zip([ONE, TWO, THREE])
                .map(|((name, chosen, phase), id)| (id.to_owned(), named(id, name, *chosen, *phase)))
                .collect();
            let names = Names::of_all(&all);
            [ONE, TWO, THREE].map(|id| names.name(id))
        };
        let open = Phase::Open;
        assert_eq!(names([("a", false, open), ("b", false, open), ("b", false, open)]), ["a", "b-3f2b9c", "b-3f2b9d"]);
        // A name that a project's file chose yields to the user's own, and an ended session yields to an open
        // one.
        assert_eq!(names([("a", false, open), ("a", true, open), ("c", false, open)]), ["a", "a-3f2b", "c"]);
        assert_eq!(names([("a", false, Phase::Ended), ("a", false, open), ("c", false, open)]), ["a-3f2a", "a", "c"]);
        assert_eq!(Names::default().name(ONE), "3f2a9c1e");
    }

    #[test]
    fn ids_of_the_client() {
        assert!(is_uuid(ONE) && !is_uuid("nova") && !is_uuid(&ONE[1..]) && !is_uuid(&format!("{ONE}-1")));
        assert!(is_pane("tmux-default-p3") && !is_pane("tmux-a") && !is_pane("nova") && !is_pane("tmux-a-px"));
        assert_eq!(window("main:api"), Some("api"));
        assert_eq!(window("main:"), None);
        assert_eq!(window("main"), None);
    }
}
