//! `frosty wake`: ends a rest, and nothing else.

mod lines;

use super::candidates::{sessions, topics};
use crate::cmd::{PlaceArgs, note};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::{Failure, out, target};
use crate::clock;
use crate::config::Config;
use crate::engine;
use crate::env::Env;
use crate::hook::{self, directive};
use crate::naming::Names;
use crate::policy::documents::{Phase, SessionState};
use crate::policy::request::{Event, Step};
use crate::policy::rest::{Rest, RestKind};
use crate::policy::signal;
use crate::policy::verdict::Reason;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::server::pipeline;
use crate::text;

/// The flags of `wake`.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = false, args = ["target", "all", "topic", "stdin"])]
pub struct WakeArgs {
    /// Wake this session
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub target: Option<String>,
    /// Wake all resting sessions of the fleet
    #[arg(long)]
    pub all: bool,
    /// Wake all sessions that wait for this topic (`frosty: wait_for TOPIC`)
    #[arg(long, value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new(), add = topics())]
    pub topic: Option<String>,
    /// Wake a session for each line of stdin: its name, and a note after it
    #[arg(long, conflicts_with_all = ["note", "at_once"])]
    pub stdin: bool,
    /// Add this text to the next prompt (at most 1,000 characters)
    #[arg(long, value_name = "TEXT", value_parser = note)]
    pub note: Option<String>,
    /// Wake only if the session's wake_on contains this signal
    #[arg(long, value_name = "NAME", value_parser = signal_name)]
    pub signal: Option<String>,
    /// Resume all sessions together, not one after the other
    #[arg(long)]
    pub at_once: bool,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// The number of sessions per outcome that have their own line; the others are counted.
const MOST_NAMED: usize = 20;

/// Wakes the sessions that the arguments name.
///
/// # Errors
/// When no session or several match, or the store cannot be read.
pub fn run(args: WakeArgs) -> Result<(), Failure> {
    let env = Env::read();
    let config = super::config(&env, args.place)?;
    if args.stdin {
        return lines::run(&config, args.signal.as_deref());
    }
    let note = args.note.map(|n| text::line_of(&n, text::LONGEST_NOTE)).unwrap_or_default();
    let whom = match (args.target, args.topic) {
        (Some(word), _) => Whom::Session(word),
        (None, Some(topic)) => Whom::Topic(topic),
        (None, None) => Whom::All,
    };
    wake(&config, &whom, &note, args.signal.as_deref(), args.at_once)
}

/// The sessions that are woken.
enum Whom {
    /// The one that this word names.
    Session(String),
    /// Those that wait for this topic.
    Topic(String),
    /// Those that rest.
    All,
}

fn wake(config: &Config, whom: &Whom, note: &str, signal: Option<&str>, at_once: bool) -> Result<(), Failure> {
    let now = clock::host_ms();
    let mut reader = FleetReader::open_to_change(config);
    super::outage::tell_if_away(reader.away());
    let sessions = match whom {
        Whom::Session(word) => target::sessions(&mut reader, word)?,
        _ => reader.sessions()?,
    };
    let chosen: Vec<_> = match whom {
        Whom::Session(word) => vec![target::one(&sessions, word)?],
        others => {
            let waits = |rest: &Rest| match others {
                _ if !rest.lasts(now) => false,
                Whom::Topic(topic) => rest.kind == RestKind::WaitFor && rest.topic == directive::topic(topic),
                _ => true,
            };
            let rests = |s: &&Session| s.1.phase != Phase::Ended && s.1.rest.as_ref().is_some_and(waits);
            sessions.iter().filter(rests).collect()
        }
    };
    let names = Names::of_all(&sessions);
    let mut lines = Lines::new();
    let mut failed = None;
    // This is read first: an engine may have ended with its admission a moment later.
    let waiting: Vec<bool> = chosen.iter().map(|(_, session)| engine::waits(session)).collect();
    let step = |(id, session): &&Session| {
        let spread = chosen.len() > 1 && !at_once;
        let detail = text::line(&signal::noted(signal, note));
        let event = Event::Wake { note: note.to_owned(), spread, signal: signal.map(str::to_owned), depth: 0 };
        Step { detail, ..hook::step_of(session.scope.clone(), id.clone(), "Wake", event) }
    };
    let steps: Vec<Step> = chosen.iter().map(step).collect();
    for (((id, session), waits), decided) in chosen.iter().zip(waiting).zip(pipeline::decide(config, &steps)) {
        let name = names.name(id);
        let (one, more) = match decided {
            Err(e) => {
                // The other sessions are woken nevertheless.
                failed = Some(e);
                (format!("{name} was not woken"), "more were not woken".to_owned())
            }
            Ok(verdict) if verdict.decision.reason == Reason::NoteKept => kept(&name, signal.unwrap_or_default()),
            Ok(_) => woken(&name, session, waits),
        };
        lines.add(one, more);
    }
    lines.end();
    match whom {
        Whom::Topic(topic) if chosen.is_empty() => return Err(target::nobody_waits_for(&sessions, topic, now).into()),
        Whom::All if chosen.is_empty() => {
            out::say("no session rests");
        }
        _ => {}
    }
    failed.map_or(Ok(()), |e| Err(e.into()))
}

/// Parses the name of a signal.
fn signal_name(word: &str) -> Result<String, String> {
    if signal::is_name(word) {
        return Ok(word.to_owned());
    }
    Err("expected 1 to 32 of a-z, 0-9, _ and -".to_owned())
}

/// Returns the line of a session that its `wake_on` kept asleep, and the words for further such sessions.
fn kept(name: &str, signal: &str) -> (String, String) {
    (
        format!("{name} was not woken: its wake_on does not contain {signal}; the note is kept for its next prompt"),
        format!(
            "more were not woken: their wake_on does not contain {signal}; the notes are kept for their next prompts"
        ),
    )
}

/// Returns the line of a woken session, and the words that follow the number of further sessions with the same outcome.
fn woken(name: &str, session: &SessionState, waits: bool) -> (String, String) {
    let (one, more) = match session.phase {
        Phase::Ended => (
            "has ended: the wake-up is kept for when it is resumed",
            "more have ended: the wake-ups are kept for when they are resumed",
        ),
        _ if session.gate && !waits => (
            "has no gate that waits: the wake-up is kept for its next run",
            "more have no gate that waits: the wake-ups are kept for their next runs",
        ),
        Phase::Open if waits => match Reason::from_code(&session.last_reason) {
            Some(rest) if rest.is_rest() => return (format!("woke {name}"), "more were woken".to_owned()),
            Some(reason) if !reason.is_admission() => {
                let code = reason.code();
                let one = "does not rest: the wake-up is kept, and does not end what it waits for";
                let more = "more do not rest: the wake-ups are kept, and do not end what they wait for";
                return (format!("{name} {one} ({code})"), format!("{more} ({code})"));
            }
            _ => (
                "does not rest: the wake-up is kept for its next stop",
                "more do not rest: the wake-ups are kept for their next stops",
            ),
        },
        _ => (
            "has no engine that waits: the wake-up is kept for its next stop",
            "more have no engine that waits: the wake-ups are kept for their next stops",
        ),
    };
    (format!("{name} {one}"), more.to_owned())
}

/// The output: a line for each session, and past [`MOST_NAMED`] of one outcome their number.
struct Lines {
    /// The number of sessions per outcome, each with its words.
    counts: Vec<(String, usize)>,
}

impl Lines {
    fn new() -> Self {
        Self { counts: Vec::new() }
    }

    fn add(&mut self, one: String, more: String) {
        let nth = match self.counts.iter_mut().find(|(known, _)| *known == more) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.push((more, 1));
                1
            }
        };
        if nth <= MOST_NAMED {
            out::say(&one);
        }
    }

    fn end(self) {
        for (more, count) in self.counts {
            if count > MOST_NAMED {
                out::say(&format!("and {} {more}", count - MOST_NAMED));
            }
        }
    }
}
