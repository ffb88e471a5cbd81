//! `frosty hold`: nobody of a scope, or of the whole fleet, goes on until it is released or its time is over.

use std::io::{self, Write};
use std::time::Instant;

use chrono::Local;

use super::{Failure, out, target, who};
use crate::cli::{HoldArgs, PlaceArgs};
use crate::clock;
use crate::config::{Config, Env};
use crate::hook;
use crate::store::{self, roll::Roll};
use crate::text;
use crate::throttle::policy::millis;
use crate::throttle::step::{Event, HoldRequest, Step};
use crate::when;
use crate::willy::{Kind, Word};

/// Holds what the arguments name, and tells everyone.
///
/// # Errors
/// When nobody or several are meant, the time means nothing, or the store cannot be asked.
pub fn run(args: HoldArgs) -> Result<(), Failure> {
    let env = Env::read();
    if args.target.is_some() && args.fleet.as_deref() == Some("") {
        return Err(target::TargetError::Both { command: "hold" }.into());
    }
    let place = PlaceArgs { store: args.store, fleet: args.fleet.filter(|name| !name.is_empty()) };
    let again = place.again();
    let config = super::config(&env, place)?;
    let lasting = match &args.until {
        Some(time) => {
            let until = when::until(time, &Local::now()).filter(|left| !left.is_zero());
            Some(until.ok_or_else(|| super::TimeError::Until { found: text::line(time) })?)
        }
        None => args.lasting,
    };
    let mut roll = Roll::open_to_change(&config);
    super::tell_if_away(roll.away());
    let scope = args.target.map(|word| target::scope(&mut roll, &word)).transpose()?;
    let (by, from) = (who::by(), who::from(&env));
    let reason = text::line_of(&args.reason, text::LONGEST_NOTE);
    let asked =
        HoldRequest { fleet: scope.is_none(), by: by.clone(), reason: reason.clone(), lasting, at_once: args.at_once };
    let detail = text::line(&format!("by {by} from {from}: {reason}"));
    let scope = scope.unwrap_or_default();
    let step = Step { detail, ..hook::step_of(scope.clone(), String::new(), "Hold", Event::Hold(asked)) };
    let verdict = store::open(&config, Instant::now() + config.budget)?.step(&step)?;
    let decided = verdict.decision;
    let until = decided.retry_after.map(|left| decided.now.saturating_add(millis(left)));
    let what = what(&config, &scope);
    let end = match (until, decided.retry_after) {
        (Some(at), Some(left)) => format!("until {} (in {})", text::utc(at), crate::duration::about(left)),
        _ => "until it is released".to_owned(),
    };
    let release = release(&scope, &again);
    let mut out = out::stdout();
    let _ = writeln!(out, "{what} is held {end}: {}", text::line(&reason));
    let binds = verdict.degraded.is_none() && !config.shadow;
    let nobody = if binds { "nobody of it goes on meanwhile; " } else { "" };
    let _ = writeln!(out, "{nobody}to lift it before: {release}");
    super::tell_if_here_only(verdict.degraded.as_deref(), roll.away());
    if config.shadow {
        say(
            "\"mode\" is \"shadow\" here, and agents in that mode go on all the same; to hold them: set \"mode\" to \"enforce\"",
        );
    }
    if scope.is_empty() && roll.sessions().is_ok_and(|all| all.is_empty()) {
        say(
            "nobody of this fleet is known in this store yet; whoever comes is held. If another was meant: frosty status",
        );
    }
    let word = Word {
        kind: Kind::Hold,
        fleet: config.fleet.clone(),
        text: format!("{what} is held {end} by {by}: {reason}"),
        scope,
        session: String::new(),
        by,
        reason,
        from,
        at: decided.now,
        until,
        host: clock::host(),
    };
    super::tell_everyone(&config, &word);
    Ok(())
}

/// What is held, in words.
pub(super) fn what(config: &Config, scope: &str) -> String {
    if scope.is_empty() { format!("the whole fleet {}", config.fleet) } else { format!("scope {scope}") }
}

fn say(what: &str) {
    let _ = writeln!(io::stderr(), "frosty: {what}");
}

/// What lifts it. `place` names the place as it was named here; a fleet that is named is named by the same flag.
pub(crate) fn release(scope: &str, place: &str) -> String {
    match scope {
        "" if place.contains(" --fleet ") => format!("frosty release{place}"),
        "" => format!("frosty release --fleet{place}"),
        scope => format!("frosty release {scope}{place}"),
    }
}
