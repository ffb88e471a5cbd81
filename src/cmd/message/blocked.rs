//! The message to an agent on which another agent is blocked (`frosty: blocked NAME`).

use super::quoted;
use super::tell::{Sender, agent_of, origin, receiver, send};
use crate::cmd::Failure;
use crate::cmd::work::adder;
use crate::config::Config;
use crate::hook::directive;
use crate::notify::Notification;
use crate::store::fleet_reader::FleetReader;
use crate::text;

/// Sends the message where the directive names an agent with a session: its name, and a dash with more words after it.
///
/// The message is sent once: not again before the agent has read it and its turn after that is over.
///
/// # Errors
/// When the store cannot be reached, or the message is not permitted.
pub(in crate::cmd) fn tell(config: &Config, word: &Notification) -> Result<(), Failure> {
    let sessions = FleetReader::open_to_change(config).sessions()?;
    let Some((id, session)) = sessions.iter().find(|(id, _)| *id == word.session) else { return Ok(()) };
    let Some(to) = receiver(&sessions, &text::encode(directive::before_dash(&word.reason))) else { return Ok(()) };
    let agent = agent_of(session);
    if agent == agent_of(&to.1) {
        return Ok(());
    }
    let agents = vec![agent.clone(), session.scope.clone()];
    let sender = Sender { session: id.clone(), agent, agents, depth: adder::depth(session) };
    let given = format!("I am blocked on you: {}", word.reason);
    let known = format!("{}\n{}", origin(&text::line(&text::decoded(&sender.agent))), quoted(&given));
    if to.1.note.contains(&known) || to.1.given.contains(&known) {
        return Ok(());
    }
    send(config, Some(&sender), to, &given)
}
