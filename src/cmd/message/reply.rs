//! `frosty reply`: ends a question with its reply, and wakes the session that asked where it waits no more.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::{MessageError, quoted, tell};
use crate::cmd::work::{WorkError, add, adder};
use crate::cmd::{Failure, PlaceArgs, out};
use crate::config::Config;
use crate::env::Env;
use crate::hook;
use crate::policy::documents::Phase;
use crate::policy::request::{Event, Step};
use crate::policy::work::entry::LONGEST_TEXT;
use crate::policy::work::{NotThere, Record, RecordState};
use crate::process::{self, ProcessStatus};
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::work::{self, Change, Changed};
use crate::text;

/// The arguments of `reply`.
#[derive(Debug, Args)]
pub struct ReplyArgs {
    /// The question's id, as its prompt names it
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// The reply, at most 4,000 characters
    #[arg(value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub text: String,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Replies to a question.
///
/// # Errors
/// When the reply is not permitted, the question has another one, or the store cannot be reached.
pub fn run(args: ReplyArgs) -> Result<(), Failure> {
    let env = Env::read();
    add::check(&args.text)?;
    let config = crate::cmd::config(&env, args.place)?;
    let ReplyArgs { id, text: given, .. } = args;
    let shown = text::line(&id);
    let mut reader = FleetReader::open_to_change(&config);
    let sessions = reader.sessions()?;
    let (known, _) = work::record(&mut reader, &id)?.ok_or_else(|| WorkError::Unknown { id: shown.clone() })?;
    let author = adder::find(&env, &config, &sessions);
    if known.question.is_none() {
        return Err(MessageError::NoQuestion { id: shown }.into());
    }
    if author.as_ref().is_some_and(|author| !author.agents.contains(&known.agent)) {
        let agent = text::line(&text::decoded(&known.agent));
        return Err(MessageError::NotAddressee { id: shown, agent }.into());
    }
    let reply = text::prompt(&given, LONGEST_TEXT);
    let own = author.as_ref().map(|author| author.work.as_ref().filter(|own| own.id == id).map(|own| own.claim));
    let name = author.map(|author| author.session).unwrap_or_default();
    let detail = format!("by {}", crate::cmd::origin::by());
    let step = Step { detail, ..hook::step_of(String::new(), name.clone(), "Reply", Event::Other) };
    let change = Change { agent: &known.agent, id: &id, by: None, step: &step };
    let is_new = work::change(&config, &change, |Changed { work, record, now, .. }| {
        let record = record.ok_or_else(|| WorkError::Unknown { id: shown.clone() })?;
        if let Some(before) = record.question.as_ref().filter(|question| !question.reply.is_empty()) {
            let is_same = before.reply == reply;
            return if is_same { Ok(false) } else { Err(MessageError::Replied { id: shown.clone() }.into()) };
        }
        if record.state == RecordState::InHand && own == Some(None) {
            return Err(MessageError::InOtherHand { id: shown.clone() }.into());
        }
        let replied = work.reply(record, &reply, own.flatten(), &name, now);
        replied.map(|()| true).map_err(|NotThere| -> Failure {
            match record.state {
                RecordState::Dropped => MessageError::Removed { id: shown.clone() }.into(),
                state => WorkError::State { id: shown.clone(), state: state.words() }.into(),
            }
        })
    })??;
    if !is_new {
        // The same reply wakes nobody a second time. Otherwise one agent could keep another one awake.
        out::say(&format!("the question {shown} has this reply already"));
        return Ok(());
    }
    let woken = deliver(&config, &sessions, &known, &reply);
    let how = match woken {
        Ok(true) => "; the agent that asked gets it as a message",
        Ok(false) => "",
        Err(_) => "; the agent that asked is not woken",
    };
    out::say(&format!("replied to {shown}{how}"));
    woken?;
    Ok(())
}

/// Wakes the session that asked with the reply, where its `frosty ask` waits no more.
fn deliver(config: &Config, sessions: &[Session], known: &Record, reply: &str) -> Result<bool, Failure> {
    let Some(question) = &known.question else { return Ok(false) };
    let asker = sessions.iter().find(|(id, _)| *id == question.session && !id.is_empty());
    let Some((id, session)) = asker.filter(|(_, session)| session.phase != Phase::Ended) else { return Ok(false) };
    let waiter = question.waiter.as_ref().map(|waiter| process::standing(waiter, &question.host, None));
    // Elsewhere it is not known whether the command waits. A reply that comes twice is better than none.
    let is_waiting = waiter == Some(ProcessStatus::Runs);
    if is_waiting {
        return Ok(false);
    }
    let by = text::line(&text::decoded(&known.agent));
    let note =
        format!("the reply of the agent {by} to your question {}, not of a person:\n{}", known.id, quoted(reply));
    tell::wake(config, (id, session), note, question.depth, &format!("the reply to {}", known.id))?;
    Ok(true)
}
