//! The session, or the program of the dispatcher, from inside which a command for work runs, if it does.

use crate::config::{Config, Flags};
use crate::env::Env;
use crate::policy::documents::{Phase, SessionState};
use crate::policy::work::Claimed;
use crate::process;
use crate::scope;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;

/// What runs a command.
#[derive(Debug, Clone)]
pub(in crate::cmd) struct Adder {
    /// The session, encoded.
    pub(in crate::cmd) session: String,
    /// The agent that counts as its author, encoded.
    pub(in crate::cmd) agent: String,
    /// Every agent that it belongs to: a program of the dispatcher may run a session of another agent.
    pub(in crate::cmd) agents: Vec<String>,
    /// The entry that it has in hand.
    pub(in crate::cmd) work: Option<Claimed>,
    /// How many sessions one after the other caused its turn, by that entry or by a message.
    pub(in crate::cmd) depth: u32,
}

/// Returns the program of the dispatcher around this process, else the session of the client that is an ancestor of it, else
/// the session that the client's environment names.
///
/// All are checked, since an agent's shell can remove or set a variable, and a process can leave its parents.
pub(in crate::cmd) fn find(env: &Env, config: &Config, sessions: &[Session]) -> Option<Adder> {
    let elsewhere = elsewhere(env, config);
    let sessions = &[sessions, &elsewhere].concat()[..];
    let session = of_client(env, sessions);
    let Some(agent) = env.work_agent.as_deref().map(text::encode) else { return session };
    let is_claim =
        |(_, session): &&Session| session.work.as_ref().is_some_and(|own| Some(&own.id) == env.work_id.as_ref());
    let worker = sessions.iter().find(is_claim);
    let own = session.as_ref().map(|session| session.agents.clone()).unwrap_or_default();
    let work = worker.and_then(|(_, worker)| worker.work.clone());
    let deeper = session.as_ref().and_then(|session| session.work.clone());
    let depth = session.as_ref().map_or(0, |session| session.depth);
    let depth = work.as_ref().map_or(depth, |work| work.depth.max(depth));
    Some(Adder {
        session: worker
            .map(|(id, _)| id.clone())
            .or_else(|| session.map(|session| session.session))
            .unwrap_or_default(),
        agents: own.into_iter().chain([agent.clone()]).collect(),
        agent,
        work: work.into_iter().chain(deeper).max_by_key(|claimed| claimed.depth),
        depth,
    })
}

/// Returns the sessions of the fleet that this process belongs to, where the command names another fleet or another store.
fn elsewhere(env: &Env, config: &Config) -> Vec<Session> {
    let project = env.claude_project_dir.clone().or_else(|| std::env::current_dir().ok());
    let own = Config::load(env, project.as_deref(), &Flags::default()).ok();
    let own = own.filter(|own| own.fleet != config.fleet || own.store != config.store);
    own.and_then(|own| FleetReader::open_to_change(&own).sessions().ok()).unwrap_or_default()
}

/// Returns the session of the client around this process.
fn of_client(env: &Env, sessions: &[Session]) -> Option<Adder> {
    let here = crate::clock::host();
    let runs_by = |pids: &[u32], (_, session): &Session| {
        let is_client =
            session.client.is_some_and(|own| pids.contains(&own.pid) && own.may_be(&process::exact(own.pid)));
        session.phase == Phase::Open && session.host == here && is_client
    };
    let named = env.claude_session_id.as_deref().map(text::encode);
    let above = process::ancestors();
    let client: Vec<u32> = env.claude_pid.as_ref().and_then(|pid| pid.parse().ok()).into_iter().collect();
    let found = sessions.iter().find(|session| runs_by(&above, session));
    let found = found.or_else(|| sessions.iter().find(|(id, _)| named.as_ref() == Some(id)));
    let found = found.or_else(|| sessions.iter().find(|session| runs_by(&client, session)));
    if let Some((id, session)) = found {
        let agent = scope::agent(&session.name, session.named_by_project, &session.scope);
        let agents = vec![agent.clone(), session.scope.clone()];
        return Some(Adder { session: id.clone(), agent, agents, work: session.work.clone(), depth: depth(session) });
    }
    // A session that the store does not know yet is its own scope.
    named.map(|session| Adder { agents: vec![session.clone()], agent: session.clone(), session, work: None, depth: 0 })
}

/// Returns how many sessions one after the other caused the turn of a session.
pub(in crate::cmd) fn depth(session: &SessionState) -> u32 {
    session.work.as_ref().map_or(0, |work| work.depth).max(session.given_depth)
}
