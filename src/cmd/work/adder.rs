//! The session from inside which a command for work runs, if it does.

use crate::env::Env;
use crate::policy::documents::Phase;
use crate::policy::work::Claimed;
use crate::process;
use crate::scope;
use crate::store::fleet_reader::Session;
use crate::text;

/// A session that runs a command.
#[derive(Debug, Clone)]
pub(super) struct Adder {
    /// The session, encoded.
    pub(super) session: String,
    /// Its agent, encoded.
    pub(super) agent: String,
    /// The entry that it has in hand.
    pub(super) work: Option<Claimed>,
}

/// Returns the session that the client's environment names, or of the client whose process it names or that is an ancestor
/// of this process.
///
/// All are checked, since an agent's shell can remove a variable, and a process can leave its parents.
pub(super) fn find(env: &Env, sessions: &[Session]) -> Option<Adder> {
    let mut clients = process::ancestors();
    clients.extend(env.claude_pid.as_ref().and_then(|pid| pid.parse::<u32>().ok()));
    let here = crate::clock::host();
    let named = env.claude_session_id.as_deref().map(text::encode);
    let runs_this = |(_, session): &&Session| {
        session.phase == Phase::Open
            && session.host == here
            && session
                .client
                .is_some_and(|client| clients.contains(&client.pid) && client.may_be(&process::exact(client.pid)))
    };
    let is_named = |(id, _): &&Session| named.as_ref() == Some(id);
    let found = sessions.iter().find(is_named).or_else(|| sessions.iter().find(runs_this));
    if let Some((id, session)) = found {
        let agent = scope::agent(&session.name, session.named_by_project, &session.scope);
        return Some(Adder { session: id.clone(), agent, work: session.work.clone() });
    }
    // A session that the store does not know yet is its own scope.
    named.map(|session| Adder { agent: session.clone(), session, work: None })
}
