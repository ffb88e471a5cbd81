//! `frosty release`: lifts the hold of a scope before its end.

use std::io::{self, Write};
use std::time::Instant;

use super::target::TargetError;
use super::{Failure, target};
use crate::cli::ReleaseArgs;
use crate::config::Env;
use crate::hook;
use crate::store::{self, roll::Roll};
use crate::text;
use crate::throttle::state::Hold;
use crate::throttle::step::Event;

/// Lifts the hold of the scope that the arguments name, or of the only one that is held.
///
/// # Errors
/// When none or several are meant, or the store cannot be asked.
pub fn run(args: ReleaseArgs) -> Result<(), Failure> {
    let env = Env::read();
    let config = super::config(&env, args.place)?;
    let mut roll = Roll::open(&config)?;
    super::tell_if_away(roll.away());
    let held = roll.holds()?;
    let mut out = io::stdout().lock();
    let scope = match (args.target, held.as_slice()) {
        (Some(word), held) => match held.iter().find(|(scope, _)| *scope == word || *scope == text::encode(&word)) {
            Some((scope, _)) => scope.clone(),
            None => target::one(&roll.sessions()?, &word)?.1.scope.clone(),
        },
        (None, []) => {
            let _ = match roll.fleet_hold()? {
                None => writeln!(out, "nothing is held"),
                Some(hold) => writeln!(
                    out,
                    "no scope is held, but the whole fleet {} is, by {}: {}; it ends {}",
                    config.fleet,
                    text::line(&hold.by),
                    text::line(&hold.reason),
                    hold.until
                        .map_or_else(|| "when it is lifted".to_owned(), |at| format!("by itself at {}", text::utc(at)))
                ),
            };
            return Ok(());
        }
        (None, [(scope, _)]) => scope.clone(),
        (None, several) => {
            let line = |(scope, h): &(String, Hold)| {
                format!("  {scope}  held by {}: {}", text::line(&h.by), text::line(&h.reason))
            };
            let list = several.iter().map(line).collect::<Vec<_>>().join("\n");
            return Err(TargetError::SeveralHeld { list }.into());
        }
    };
    let step = hook::step_of(scope.clone(), String::new(), "Release", Event::Release { fleet: false });
    let verdict = store::open(&config, Instant::now() + config.budget)?.step(&step)?;
    let _ = match verdict.decision.held {
        Some(held) => {
            writeln!(out, "released {scope}: it was held by {}: {}", text::line(&held.by), text::line(&held.reason))
        }
        None => writeln!(out, "{scope} was not held"),
    };
    Ok(())
}
