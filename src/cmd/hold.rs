//! `frosty hold`: pauses a scope or the whole fleet until the hold ends or is released.

use super::candidates::sessions;
use crate::cmd::{PlaceArgs, note};
use crate::hint::Hint;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::time::{Duration, Instant};

use chrono::Local;

use super::{Failure, TimeError, origin, out, target};
use crate::config::Config;
use crate::duration;
use crate::env::Env;
use crate::hook;
use crate::local_time;
use crate::naming::Names;
use crate::notify::{Kind, Notification};
use crate::policy::hold::Hold;
use crate::policy::limits::{LONGEST_HOLD, Ms, millis};
use crate::policy::request::{Event, HoldRequest, Step};
use crate::policy::verdict::{Decision, Outcome};
use crate::store;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;
use crate::view::explain::release_command;
use crate::view::sessions;

/// The reason of a hold where a person gave none.
const NO_REASON: &str = "no reason was given";

/// The flags of `hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Pause this session [default: the whole fleet]
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub target: Option<String>,
    /// Pause this whole fleet [default: the configured one]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub fleet: Option<String>,
    /// Release the hold after this long (20s, 2h)
    #[arg(long = "for", value_name = "DURATION", value_parser = length, conflicts_with = "until")]
    pub lasting: Option<Duration>,
    /// Release the hold at this local time (18:00, "tomorrow 09:00")
    #[arg(long, value_name = "TIME", value_parser = NonEmptyStringValueParser::new())]
    pub until: Option<String>,
    /// Give the reason, which notifications and agents receive
    #[arg(long, value_name = "TEXT", value_parser = note, default_value = NO_REASON)]
    pub reason: String,
    /// Resume all sessions together, not one after the other
    #[arg(long)]
    pub at_once: bool,
    /// Replace a hold that lasts longer
    #[arg(long)]
    pub replace: bool,
    /// Use this store: auto, embedded, or redis://HOST [default: configured]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
}

fn length(text: &str) -> Result<Duration, String> {
    let length = duration::parse(text).filter(|d| !d.is_zero() && *d <= LONGEST_HOLD);
    length.ok_or_else(|| {
        let most = duration::show(LONGEST_HOLD);
        format!(
            "expected a duration from 1ms to {most} such as 20s, 2h or 1h30m\nhint: for a hold without an end, omit --for"
        )
    })
}

/// The number of affected sessions that are named.
const MOST_NAMED: usize = 5;

/// Why a hold was not opened.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// A hold that lasts longer is in force.
    #[error("{what} is held {end} by {by} already: {reason}")]
    LastsLonger {
        /// The held scope or fleet.
        what: String,
        /// Its end.
        end: String,
        /// The person or program that opened it.
        by: String,
        /// Its reason.
        reason: String,
        /// The command that replaces it.
        again: String,
    },
}

impl Hint for HoldError {
    fn hint(&self) -> Option<String> {
        let Self::LastsLonger { again, .. } = self;
        Some(format!("replace it by the shorter one: {again}"))
    }
}

/// Opens a hold on what the arguments name, and sends the notifications.
///
/// # Errors
/// When no session or several match, the time is not valid, a longer hold is in force, or the store cannot be read.
pub fn run(args: HoldArgs) -> Result<(), Failure> {
    let env = Env::read();
    if args.target.is_some() && args.fleet.as_deref() == Some("") {
        return Err(target::TargetError::Both { command: "hold" }.into());
    }
    let command = command(&args);
    let lasting = lasting(&args)?;
    let place = PlaceArgs { store: args.store, fleet: args.fleet.filter(|name| !name.is_empty()) };
    let again = place.again();
    let config = super::config(&env, place)?;
    let mut reader = FleetReader::open_to_change(&config);
    super::outage::tell_if_away(reader.away());
    let (scope, sessions) = match &args.target {
        Some(word) => {
            let sessions = target::sessions(&mut reader, word)?;
            (Some(target::scope(&mut reader, &sessions, word)?), sessions)
        }
        None => (None, reader.sessions()?),
    };
    let (by, from) = (origin::by(), origin::from(&env));
    let reason = text::line_of(&args.reason, text::LONGEST_NOTE);
    let fleet = scope.is_none();
    let (replace, at_once) = (args.replace, args.at_once);
    let asked = HoldRequest { fleet, by: by.clone(), reason: reason.clone(), lasting, replace, at_once };
    let detail = text::line(&format!("by {by} from {from}: {reason}"));
    let scope = scope.unwrap_or_default();
    let step = Step { detail, ..hook::step_of(scope.clone(), String::new(), "Hold", Event::Hold(asked)) };
    let verdict = store::open(&config, Instant::now() + config.budget)?.step(&step)?;
    let decided = &verdict.decision;
    let what = what(&config, &sessions, &scope);
    let until = decided.retry_after.map(|left| decided.now.saturating_add(millis(left)));
    if decided.outcome == Outcome::Refuse {
        return Err(refused(decided, what, until, format!("{command} --replace{again}")).into());
    }
    let end = end(until, decided.now);
    out::say(&format!("{what} is held {end}: {}", text::line(&reason)));
    if let Some(hold) = &decided.replaced {
        out::say(&format!("it replaces the hold {}", stood(hold, decided.now)));
    }
    let binds = verdict.degraded.is_none() && !config.shadow;
    out::say(&stops(&sessions, &scope, decided.now, binds));
    out::say_command("to release it earlier", &release_command(&target::scope_name(&sessions, &scope), &again));
    super::outage::tell_if_here_only(&verdict, reader.away());
    if config.shadow {
        out::report(
            "\"mode\" is \"shadow\" here, and agents in that mode continue; to hold them: set \"mode\" to \"enforce\"",
        );
    }
    if scope.is_empty() && sessions.is_empty() {
        out::report("no session of this fleet is known in this store yet\nhint: see the sessions: frosty status");
    }
    let text = format!("{what} is held {} by {by}: {reason}", end_elsewhere(until));
    let word = Notification {
        scope,
        by,
        reason,
        from,
        until,
        text,
        ..Notification::new(Kind::Hold, &config.fleet, decided.now)
    };
    super::tell_everyone(&config, &word);
    Ok(())
}

/// Returns how long it lasts; `None` for a hold without an end.
fn lasting(args: &HoldArgs) -> Result<Option<Duration>, TimeError> {
    let Some(time) = &args.until else { return Ok(args.lasting) };
    let found = text::line(time);
    match crate::when::until(time, &Local::now()) {
        Some(left) if left > LONGEST_HOLD => Err(TimeError::TooFar { found, most: duration::show(LONGEST_HOLD) }),
        Some(left) if !left.is_zero() => Ok(Some(left)),
        _ => Err(TimeError::Until { found }),
    }
}

fn refused(decided: &Decision, what: String, until: Option<Ms>, again: String) -> HoldError {
    let held = decided.held.clone().unwrap_or_default();
    let (by, reason) = (text::line(&held.by), text::line(&held.reason));
    HoldError::LastsLonger { what, end: end(until, decided.now), by, reason, again }
}

/// Returns the command line again, without the flags for the store and the fleet.
fn command(args: &HoldArgs) -> String {
    let word = |flag: &str, value: &str| format!(" {flag}{}", text::word(value));
    let target = args.target.as_deref().map(|target| word("", target));
    let lasting = args.lasting.map(|lasting| word("--for ", &duration::show(lasting)));
    let until = args.until.as_deref().map(|until| word("--until ", until));
    let fleet = args.fleet.as_deref().filter(|name| name.is_empty()).map(|_| " --fleet".to_owned());
    let reason = (args.reason != NO_REASON).then(|| word("--reason ", &args.reason));
    ["frosty hold".to_owned()]
        .into_iter()
        .chain([target, fleet, lasting, until, reason].into_iter().flatten())
        .collect()
}

/// Formats the end of a hold for a person on this machine.
fn end(until: Option<Ms>, now: Ms) -> String {
    until.map_or_else(
        || "until it is released".to_owned(),
        |at| format!("until {} (in {})", local_time::zoned(at, now), local_time::left(at, now)),
    )
}

/// Formats the end of a hold for the notifications.
fn end_elsewhere(until: Option<Ms>) -> String {
    until.map_or_else(|| "until it is released".to_owned(), |at| format!("until {}", local_time::dated(at)))
}

/// Describes the hold that was in force before.
fn stood(hold: &Hold, now: Ms) -> String {
    let end =
        hold.until.map_or_else(|| "without an end".to_owned(), |at| format!("until {}", local_time::zoned(at, now)));
    format!("by {} {end}: {}", text::line(&hold.by), text::line(&hold.reason))
}

/// Describes how many sessions it stops, and which.
fn stops(sessions: &[Session], scope: &str, now: Ms, binds: bool) -> String {
    let is_there = |(_, s): &&Session| (scope.is_empty() || s.scope == scope) && sessions::is_present(s, now);
    let there: Vec<&Session> = sessions.iter().filter(is_there).collect();
    let does = if binds { "it stops" } else { "it concerns" };
    match there.len() {
        0 => format!("{does} no present session, and every later one"),
        1 => format!("{does} 1 session: {}", named(sessions, &there)),
        n => format!("{does} {n} sessions: {}", named(sessions, &there)),
    }
}

/// Returns the names of the first of these sessions, and the number of the others.
pub(super) fn named(sessions: &[Session], of: &[&Session]) -> String {
    let names = Names::of_all(sessions);
    let first: Vec<String> = of.iter().take(MOST_NAMED).map(|(id, _)| names.name(id)).collect();
    let more = if of.len() > MOST_NAMED { format!(" and {} more", of.len() - MOST_NAMED) } else { String::new() };
    first.join(", ") + &more
}

/// Returns the words for the held scope or fleet.
pub(super) fn what(config: &Config, sessions: &[Session], scope: &str) -> String {
    if scope.is_empty() { format!("the whole fleet {}", config.fleet) } else { target::scope_name(sessions, scope) }
}
