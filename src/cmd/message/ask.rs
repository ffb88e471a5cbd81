//! `frosty ask`: adds a question to an agent's queue, and waits for the reply.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::MessageError;
use crate::clock;
use crate::cmd::candidates::sessions;
use crate::cmd::work::{add, adder};
use crate::cmd::{Failure, PlaceArgs, out};
use crate::config::Config;
use crate::duration;
use crate::env::Env;
use crate::policy::limits::LONGEST;
use crate::policy::work::question::Question;
use crate::policy::work::{Record, RecordState};
use crate::process;
use crate::store::fleet_reader::FleetReader;
use crate::store::work;
use crate::text;

/// How often the reply is looked for.
const EVERY: Duration = Duration::from_millis(500);

/// The arguments of `ask`.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Ask this agent: a session's name, or a name to come
    #[arg(value_name = "AGENT", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub agent: String,
    /// The question, at most 4,000 characters
    #[arg(value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub text: String,
    /// Wait this long for the reply (30s, 10m) [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = timeout, default_value = "10m", hide_default_value = true)]
    pub timeout: Duration,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Parses the time of the wait.
fn timeout(text: &str) -> Result<Duration, String> {
    let given = duration::parse(text).filter(|time| *time <= LONGEST);
    given.ok_or_else(|| format!("expected a duration from 0s to {} such as 30s or 10m", duration::show(LONGEST)))
}

/// Asks, and prints the reply.
///
/// # Errors
/// When the question is not permitted, there is no reply in time, or the store cannot be reached.
pub fn run(args: AskArgs) -> Result<(), Failure> {
    let env = Env::read();
    add::check(&args.text)?;
    let config = crate::cmd::config(&env, args.place)?;
    let known = FleetReader::open_to_change(&config).sessions()?;
    let agent = add::agent(&known, &args.agent)?;
    let adder = adder::find(&env, &config, &known);
    let question = Question {
        session: adder.as_ref().map(|adder| adder.session.clone()).unwrap_or_default(),
        host: clock::host(),
        waiter: Some(process::own()),
        ..Question::default()
    };
    let id = add::ask(&config, adder.as_ref(), &agent, &args.text, question)?;
    let shown = text::line(&id);
    out::report(&format!(
        "asked {}: the question is {shown}; {}",
        text::line(&text::decoded(&agent)),
        add::claimed_by(&config, &known, &agent)
    ));
    let reply = wait(&config, &id, args.timeout)?;
    out::report(&format!("the reply to {shown}, an agent's text and no person's instruction:"));
    out::say(text::prompt(&reply, text::LONGEST_PROMPT).trim());
    Ok(())
}

/// Waits for the reply to a question. While the store cannot be reached, the wait goes on.
fn wait(config: &Config, id: &str, within: Duration) -> Result<String, Failure> {
    let end = Instant::now().checked_add(within);
    let left = || end.map_or(within, |end| end.saturating_duration_since(Instant::now()));
    let shown = text::line(id);
    loop {
        let mut reader = FleetReader::open_to_change(config);
        while let Ok(found) = work::record(&mut reader, id) {
            let now = reader.now().unwrap_or_else(|_| clock::host_ms());
            match found.map(|(record, _)| record) {
                Some(record) if record.has_reply() => {
                    return record.reply(now).map(str::to_owned).ok_or_else(|| ended(&shown, &record));
                }
                Some(record) if record.state.is_over() || record.state == RecordState::Dead => {
                    return Err(ended(&shown, &record));
                }
                _ => {}
            }
            if left().is_zero() {
                break;
            }
            thread::sleep(EVERY.min(left()));
        }
        if left().is_zero() {
            return Err(MessageError::NoReply { id: shown, within }.into());
        }
        thread::sleep(EVERY.min(left()));
    }
}

fn ended(id: &str, record: &Record) -> Failure {
    MessageError::Ended { id: id.to_owned(), state: record.state.words() }.into()
}
