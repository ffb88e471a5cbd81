//! `frosty release`: ends the hold of a scope or of the whole fleet early, and an API cooldown with it.

use super::candidates::sessions;
use crate::cmd::PlaceArgs;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::time::{Duration, Instant};

use super::target::{MOST_LISTED, TargetError};
use super::{Failure, hold, origin, out, target};
use crate::config::Config;
use crate::duration;
use crate::engine;
use crate::env::Env;
use crate::hook;
use crate::notify::{Kind, Notification};
use crate::policy::documents::Phase;
use crate::policy::hold::Hold;
use crate::policy::request::{Event, Step};
use crate::policy::verdict::Reason;
use crate::store;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;

/// The flags of `release`.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// Release the hold of this session [default: the only hold]
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub target: Option<String>,
    /// Release the hold of this whole fleet [default: the configured one]
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub fleet: Option<String>,
    /// Resume all sessions together, not one after the other
    #[arg(long)]
    pub at_once: bool,
    /// Lift the limits that the fleet's API key has met, and no hold
    #[arg(long, conflicts_with_all = ["target", "at_once"])]
    pub limit: bool,
    /// Use this store: auto, embedded, or redis://HOST [default: configured]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
}

/// Releases the hold that the arguments name, or the only one in force.
///
/// # Errors
/// When none or several match, or the store cannot be read.
pub fn run(args: ReleaseArgs) -> Result<(), Failure> {
    let env = Env::read();
    let whole = args.fleet.is_some() && args.target.is_none();
    if args.target.is_some() && args.fleet.as_deref() == Some("") {
        return Err(TargetError::Both { command: "release" }.into());
    }
    let place = PlaceArgs { store: args.store, fleet: args.fleet.filter(|name| !name.is_empty()) };
    let config = super::config(&env, place)?;
    let mut reader = FleetReader::open_to_change(&config);
    super::outage::tell_if_away(reader.away());
    if args.limit {
        return lift_limits(&env, &config, &reader);
    }
    let named = args.target.as_ref().map(|word| target::sessions(&mut reader, word)).transpose()?;
    let scope = match (&args.target, &named) {
        (Some(word), Some(sessions)) => target::scope(&mut reader, sessions, word)?,
        _ if whole => String::new(),
        _ => {
            let fleet = reader.fleet_hold()?.map(|hold| (String::new(), hold));
            let held: Vec<(String, Hold)> = fleet.into_iter().chain(reader.holds()?).collect();
            match held.as_slice() {
                [] => {
                    out::say("nothing is held");
                    return Ok(());
                }
                [(scope, _)] => scope.clone(),
                several => return Err(TargetError::SeveralHeld { list: list(&reader.sessions()?, several) }.into()),
            }
        }
    };
    let event = Event::Release { fleet: scope.is_empty(), at_once: args.at_once };
    let (by, from) = (origin::by(), origin::from(&env));
    let step = step_of(&scope, event, &format!("by {by} from {from}"));
    // This is read first: a freed engine may have ended with its admission a moment later.
    let sessions = named.unwrap_or_else(|| reader.sessions().unwrap_or_default());
    let limit = limit_of(&mut reader, &scope, &sessions);
    let freed = if scope.is_empty() { freed(&mut reader, &sessions, &config, args.at_once) } else { None };
    let verdict = store::open(&config, Instant::now() + config.budget)?.step(&step)?;
    super::outage::tell_if_here_only(&verdict, reader.away());
    let decided = verdict.decision;
    let what = hold::what(&config, &sessions, &scope);
    let ended = decided.retry_after.max(limit);
    if let Some(left) = ended {
        let left = duration::about(left);
        out::say(&format!("ended the API cooldown of {what}, of which {left} was left"));
    }
    let Some(held) = decided.held else {
        if ended.is_none() {
            out::say(&format!("{what} was not held"));
        }
        return Ok(());
    };
    let was = format!("it was held by {}: {}", text::line(&held.by), text::line(&held.reason));
    out::say(&format!("released {what}: {was}"));
    if let Some(freed) = freed {
        out::say(&freed);
    }
    let text = format!("{what} was released by {by}; {was}");
    let word = Notification {
        scope,
        by,
        reason: held.reason,
        from,
        text,
        ..Notification::new(Kind::Release, &config.fleet, decided.now)
    };
    super::tell_everyone(&config, &word);
    Ok(())
}

/// Returns the sessions whose engines wait for the end of the fleet's hold, and whether they continue together; `None`
/// without any.
fn freed(reader: &mut FleetReader<'_>, sessions: &[Session], config: &Config, at_once: bool) -> Option<String> {
    let held: Vec<String> = reader.holds().ok()?.into_iter().map(|(scope, _)| scope).collect();
    let fleet = reader.state("", "").ok()?.fleet;
    let waits = |(_, s): &&Session| {
        s.phase == Phase::Open
            && Reason::from_code(&s.last_reason) == Some(Reason::Hold)
            && !held.contains(&s.scope)
            && engine::waits(s)
    };
    let waiting: Vec<&Session> = sessions.iter().filter(waits).collect();
    let together = at_once || fleet.hold_at_once || config.policy.spread.step.is_zero();
    let named = hold::named(sessions, &waiting);
    match waiting.len() {
        0 => None,
        1 => Some(format!("1 session waited for it: {named}")),
        n if together => Some(format!("{n} sessions waited for it and resume together: {named}")),
        n => Some(format!("{n} sessions waited for it and resume one after the other: {named}")),
    }
}

/// Returns the step of a release; an empty scope is the whole fleet.
fn step_of(scope: &str, event: Event, detail: &str) -> Step {
    Step { detail: text::line(detail), ..hook::step_of(scope.to_owned(), String::new(), "Release", event) }
}

/// Lifts the limits of the fleet's key.
fn lift_limits(env: &Env, config: &Config, reader: &FleetReader<'_>) -> Result<(), Failure> {
    let detail = format!("the limits, by {} from {}", origin::by(), origin::from(env));
    let step = step_of("", Event::LiftLimits, &detail);
    let verdict = store::open(config, Instant::now() + config.budget)?.step(&step)?;
    super::outage::tell_if_here_only(&verdict, reader.away());
    let fleet = text::word(&config.fleet);
    out::say(&match verdict.decision.retry_after {
        Some(left) => format!("lifted the limits of the fleet {fleet}, of which {} was left", duration::about(left)),
        None => format!("the fleet {fleet} has no limit"),
    });
    Ok(())
}

/// Returns what is left of the limits of the fleet's key for a scope, from which its release exempts it.
fn limit_of(reader: &mut FleetReader<'_>, scope: &str, sessions: &[Session]) -> Option<Duration> {
    if scope.is_empty() {
        return None;
    }
    let now = reader.now().ok()?;
    let state = reader.state(scope, "").ok()?;
    let models =
        sessions.iter().filter(|(_, session)| session.scope == scope).map(|(_, session)| session.model.as_str());
    models
        .chain([""])
        .filter_map(|model| state.fleet.limit_for(&state.scope, model, now))
        .max()
        .map(|end| Duration::from_millis(end.saturating_sub(now).max(0).unsigned_abs()))
}

/// Lists each hold on one line, with the word that names it.
fn list(sessions: &[Session], held: &[(String, Hold)]) -> String {
    let line = |(scope, h): &(String, Hold)| {
        let name = if scope.is_empty() { "--fleet".to_owned() } else { target::scope_name(sessions, scope) };
        format!("  {name}  held by {}: {}", text::line(&h.by), text::line(&h.reason))
    };
    let mut lines: Vec<String> = held.iter().take(MOST_LISTED).map(line).collect();
    if held.len() > MOST_LISTED {
        lines.push(format!("  and {} more", held.len() - MOST_LISTED));
    }
    lines.join("\n")
}
