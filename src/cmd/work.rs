//! `frosty work`: adds tasks to the agents' queues, shows them, and ends them by hand.

pub(super) mod add;
pub(super) mod adder;
pub(in crate::cmd) mod cover;
mod end;
pub(in crate::cmd) mod held;
mod list;

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, PlaceArgs};
use crate::cmd::candidates::sessions;
use crate::duration;
use crate::hint::Hint;
use crate::policy::limits::LONGEST;
use crate::policy::work::entry::{DEEPEST, LONGEST_TEXT, Priority};
use crate::text;

/// The arguments of `work`.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// What to do; without it, the queues are shown
    #[command(subcommand)]
    pub command: Option<WorkCommand>,
}

/// The subcommands of `work`.
#[derive(Debug, Subcommand)]
pub enum WorkCommand {
    /// Add a task to an agent's queue
    Add(AddArgs),
    /// Show the queues: what waits, what is in hand, the dead letters
    List(ListArgs),
    /// Show one entry
    Show(IdArgs),
    /// Acknowledge an entry: it is done
    Done(IdArgs),
    /// Give an entry in hand back to its queue, with an attempt counted
    Fail(FailArgs),
    /// Let a dead letter or a delayed entry wait again at once
    Retry(IdArgs),
    /// Remove an entry, whatever its state is
    Drop(IdArgs),
}

/// The flags of `work add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// The task, at most 4,000 characters
    #[arg(value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub text: String,
    /// Add it to the queue of this agent (a session's name, or a name to come), or of a topic of the routes
    #[arg(long, value_name = "AGENT", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub to: String,
    /// The priority: high, normal, or low
    #[arg(long, value_enum, value_name = "PRIORITY", default_value_t = PriorityArg::Normal, hide_possible_values = true)]
    pub priority: PriorityArg,
    /// Use this model for it, such as haiku [default: the session's]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub model: Option<String>,
    /// Let it wait this long first (10m, 2h)
    #[arg(long = "in", value_name = "DURATION", value_parser = delay, conflicts_with = "at")]
    pub after: Option<Duration>,
    /// Let it wait until this time (18:00, "tomorrow 09:00")
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Use this id: a second entry with the same id is not added
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub id: Option<String>,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Parses a delay.
fn delay(text: &str) -> Result<Duration, String> {
    let delay = duration::parse(text).filter(|delay| !delay.is_zero() && *delay <= LONGEST);
    let most = duration::show(LONGEST);
    delay.ok_or_else(|| format!("expected a duration from 1ms to {most} such as 10m, 2h or 1h30m"))
}

/// The priorities as words of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PriorityArg {
    /// Before all others.
    High,
    /// The default.
    Normal,
    /// After the others.
    Low,
}

impl PriorityArg {
    fn priority(self) -> Priority {
        match self {
            Self::High => Priority::High,
            Self::Normal => Priority::Normal,
            Self::Low => Priority::Low,
        }
    }
}

/// The flags of `work list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Show the queue of this agent [default: all queues]
    #[arg(value_name = "AGENT", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub agent: Option<String>,
    /// Print one JSON object for a program
    #[arg(long)]
    pub json: bool,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// The flags of the commands for one entry.
#[derive(Debug, Args)]
pub struct IdArgs {
    /// The entry's id, as `frosty work list` shows it
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// The flags of `work fail`.
#[derive(Debug, Args)]
pub struct FailArgs {
    /// The entry's id, as `frosty work list` shows it
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub id: String,
    /// The reason, for the next attempt
    #[arg(long, value_name = "TEXT", default_value = "it was given back by hand", hide_default_value = true)]
    pub why: String,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Runs the command.
///
/// # Errors
/// When the entry cannot be changed, or the store cannot be reached.
pub fn run(args: WorkArgs) -> Result<(), Failure> {
    let all = ListArgs { agent: None, json: false, place: PlaceArgs { store: None, fleet: None } };
    match args.command.unwrap_or(WorkCommand::List(all)) {
        WorkCommand::Add(args) => add::run(args),
        WorkCommand::List(args) => list::run(args),
        WorkCommand::Show(args) => list::show(args),
        WorkCommand::Done(args) => end::run(args, &end::End::Done),
        WorkCommand::Fail(args) => {
            let FailArgs { id, why, place } = args;
            end::run(IdArgs { id, place }, &end::End::Failed(text::line(&why)))
        }
        WorkCommand::Retry(args) => end::run(args, &end::End::Retried),
        WorkCommand::Drop(args) => end::run(args, &end::End::Dropped),
    }
}

/// Why an entry was not added or changed.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The text is too long.
    #[error("the text has {found} characters, more than {LONGEST_TEXT}; nothing was added")]
    TooLong {
        /// The number of characters.
        found: usize,
    },
    /// The text has no character that is shown.
    #[error("the text is blank; nothing was added")]
    Blank,
    /// The id cannot be one.
    #[error("invalid id \"{found}\"; expected 1 to 64 of A-Z, a-z, 0-9, dot, _ and -")]
    BadId {
        /// The given id.
        found: String,
    },
    /// The name cannot be one of a model.
    #[error("invalid model \"{found}\"; expected 1 to 100 of A-Z, a-z, 0-9 and .-_:/@[]")]
    BadModel {
        /// The given name.
        found: String,
    },
    /// No entry has the id.
    #[error("no entry has the id \"{id}\"")]
    Unknown {
        /// The given id.
        id: String,
    },
    /// The entry is in another state.
    #[error("the entry {id} is {state}; nothing was changed")]
    State {
        /// The id.
        id: String,
        /// The state, in words.
        state: &'static str,
    },
    /// A session adds an entry of high priority.
    #[error("a session cannot add an entry of high priority; nothing was added")]
    HighBySession,
    /// A session adds an entry for its own agent.
    #[error("a session cannot add work for its own agent {agent}; nothing was added")]
    ToItself {
        /// The agent.
        agent: String,
    },
    /// An entry would be too deep.
    #[error(
        "the entry would be the {depth}th that sessions caused one after the other, more than {DEEPEST}; nothing was added"
    )]
    TooDeep {
        /// The depth.
        depth: u32,
    },
    /// The sessions of an agent added too many entries in a day.
    #[error("the sessions of {agent} have added 20 entries within a day; nothing was added")]
    DailyBound {
        /// The agent.
        agent: String,
    },
    /// A session changes an entry that it does not have in hand.
    #[error("a session can end only the entry that it has in hand, and {id} is not; nothing was changed")]
    NotInHand {
        /// The id.
        id: String,
    },
    /// A session uses a command that is a person's.
    #[error("a session cannot {what} an entry; nothing was changed")]
    ByPerson {
        /// The command.
        what: &'static str,
    },
}

impl Hint for WorkError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Blank => "write the task: frosty work add --to AGENT \"TEXT\"".to_owned(),
            Self::TooLong { .. } => "put it into a file, and name the file in the text".to_owned(),
            Self::BadId { .. } => "let Frosty choose the id: omit --id".to_owned(),
            Self::BadModel { .. } => "use the model of the session: omit --model".to_owned(),
            Self::Unknown { .. } | Self::State { .. } => "see the entries: frosty work list".to_owned(),
            Self::HighBySession => "use the normal priority: omit --priority".to_owned(),
            Self::ToItself { .. } => "go on with it in this session, or end with: frosty: next_check 20m".to_owned(),
            Self::TooDeep { .. } | Self::DailyBound { .. } | Self::ByPerson { .. } => {
                "ask a person to do it, and end with: frosty: blocked <on whom>".to_owned()
            }
            Self::NotInHand { .. } => "see what is in hand: frosty work list".to_owned(),
        })
    }
}
