//! The text of an agent's rest for other programs: a plain key on a server, a plain file in the embedded store.
//!
//! It is written with the step that books the rest. No decision reads it. An agent has one text, so of several sessions
//! of one agent the last one that changes it wins.

use crate::policy::documents::SessionState;
use crate::policy::limits::Ms;
use crate::policy::rest::{self, Rest};
use crate::scope;

/// A change of the text of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// The agent, encoded.
    pub(crate) agent: String,
    /// The text, and the end of the rest where it has one; `None` removes the text.
    pub(crate) text: Option<(String, Option<Ms>)>,
}

/// Returns what a step at `now` changes. A server has already removed the text of a rest that is over (`expires`).
pub(crate) fn changes(before: &SessionState, after: &SessionState, expires: bool, now: Ms) -> Vec<Change> {
    // Most steps concern no rest.
    if before.rest.is_none() && after.rest.is_none() {
        return Vec::new();
    }
    let is_there = |rest: &&Rest| !expires || rest.lasts(now);
    let old = rest::rests(before).filter(is_there).map(|rest| (agent(before), text(rest)));
    let new = rest::rests(after).filter(|rest| rest.lasts(now)).map(|rest| (agent(after), text(rest)));
    if old == new {
        return Vec::new();
    }
    let is_replaced = |agent: &String| new.as_ref().is_some_and(|(next, _)| next == agent);
    let gone = old.map(|(agent, _)| agent).filter(|agent| !is_replaced(agent));
    let gone = gone.map(|agent| Change { agent, text: None });
    let new = new.map(|(agent, text)| Change { agent, text: Some(text) });
    gone.into_iter().chain(new).filter(|change| !change.agent.is_empty()).collect()
}

/// Returns the agent whose rest the text shows.
pub(crate) fn agent(session: &SessionState) -> String {
    scope::agent(&session.name, session.named_by_project, &session.scope)
}

/// Returns the end in milliseconds, where there is one, and the reason.
fn text(rest: &Rest) -> (String, Option<Ms>) {
    let end = rest.until.map(|until| until.to_string()).unwrap_or_default();
    (format!("{end} {}", rest.kind.code()), rest.until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::documents::Begun;
    use crate::policy::rest::RestKind;

    fn session(kind: RestKind, until: Option<Ms>) -> SessionState {
        let rest = Rest { kind, since: 1, until, topic: String::new(), id: 0 };
        let (scope, last_reason) = ("echo".to_owned(), kind.code().to_owned());
        SessionState { rest: Some(rest), scope, last_reason, ..SessionState::default() }
    }

    fn shown(before: &SessionState, after: &SessionState, expires: bool) -> Vec<String> {
        let one = |change: Change| {
            let text = change.text.map_or_else(|| "-".to_owned(), |(text, _)| text);
            format!("{}={text}", change.agent)
        };
        changes(before, after, expires, 100).into_iter().map(one).collect()
    }

    #[test]
    fn each_change_of_a_rest() {
        let none = SessionState { scope: "echo".to_owned(), ..SessionState::default() };
        let idle = session(RestKind::Idle, Some(200));
        let done = session(RestKind::Done, None);
        let over = session(RestKind::Idle, Some(100));
        let named = SessionState { name: "vaeris".to_owned(), ..idle.clone() };
        let chosen = SessionState { named_by_project: true, ..named.clone() };
        let woken = SessionState { woken: true, ..idle.clone() };
        // A dream, and a turn that the client began.
        let dreams = SessionState { last_reason: "admitted".to_owned(), ..idle.clone() };
        let prompted = SessionState { begun: Some(Begun { at: 1, id: String::new() }), ..idle.clone() };
        for (before, after, changed) in [
            (&none, &none, &[][..]),
            (&none, &idle, &["echo=200 idle"]),
            (&none, &done, &["echo= done"]),
            (&idle, &idle, &[]),
            (&idle, &done, &["echo= done"]),
            (&idle, &none, &["echo=-"]),
            (&idle, &woken, &["echo=-"]),
            (&idle, &dreams, &["echo=-"]),
            (&dreams, &idle, &["echo=200 idle"]),
            (&idle, &prompted, &["echo=-"]),
            (&none, &over, &[]),
            (&idle, &named, &["echo=-", "vaeris=200 idle"]),
            (&idle, &chosen, &[]),
        ] {
            assert_eq!(shown(before, after, true), changed, "{before:?}\n{after:?}");
        }
        assert_eq!(shown(&over, &none, true), [""; 0], "the server has removed it");
        assert_eq!(shown(&over, &none, false), ["echo=-"]);
    }
}
