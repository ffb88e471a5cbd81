//! `frosty wake`: ends a rest, and nothing else.

use std::io::Write;
use std::time::Instant;

use super::{Failure, engine, out, target};
use crate::cli::WakeArgs;
use crate::clock;
use crate::config::Env;
use crate::hook::{self, directive};
use crate::naming::Names;
use crate::store;
use crate::store::roll::{Roll, Session};
use crate::text;
use crate::throttle::state::{Phase, Rest, RestKind};
use crate::throttle::step::{Event, Step};
use crate::throttle::verdict::Reason;

/// Wakes the sessions that the arguments name.
///
/// # Errors
/// When no session or several are meant, or the store cannot be asked.
pub fn run(args: WakeArgs) -> Result<(), Failure> {
    let env = Env::read();
    let config = super::config(&env, args.place)?;
    let note = args.note.map(|n| text::line_of(&n, text::LONGEST_NOTE)).unwrap_or_default();
    let now = clock::host_ms();
    let mut roll = Roll::open_to_change(&config);
    super::tell_if_away(roll.away());
    let sessions = roll.sessions()?;
    let chosen: Vec<_> = match (&args.target, &args.topic) {
        (Some(word), _) => vec![target::one(&sessions, word)?],
        (None, topic) => {
            let waits = |rest: &Rest| match topic {
                _ if !rest.lasts(now) => false,
                Some(topic) => rest.kind == RestKind::WaitFor && rest.topic == directive::topic(topic),
                None => true,
            };
            let rests = |s: &&Session| s.1.phase != Phase::Ended && s.1.rest.as_ref().is_some_and(waits);
            sessions.iter().filter(rests).collect()
        }
    };
    let names = Names::of_all(&sessions);
    let mut out = out::stdout();
    let mut failed = None;
    for (id, session) in &chosen {
        let event = Event::Wake { note: note.clone(), spread: chosen.len() > 1 && !args.at_once };
        let detail = text::line(&note);
        let step = Step { detail, ..hook::step_of(session.scope.clone(), id.clone(), "Wake", event) };
        // Looked at first: who is woken may be gone with its admission a moment later.
        let waits = engine::waits(session);
        let told = store::open(&config, Instant::now() + config.budget).and_then(|mut store| store.step(&step));
        let name = names.name(id);
        if let Err(e) = told {
            // The others are woken all the same.
            failed = Some(e);
            let _ = writeln!(out, "{name} was not woken");
            continue;
        }
        let _ = match session.phase {
            Phase::Ended => writeln!(out, "{name} has ended: the wake-up is kept for when it is resumed"),
            Phase::Open if waits => match Reason::from_code(&session.last_reason) {
                Some(rest) if rest.is_rest() => writeln!(out, "woke {name}"),
                Some(Reason::Admitted | Reason::Probe) | None => {
                    writeln!(out, "{name} does not rest: the wake-up is kept for its next stop")
                }
                Some(other) => writeln!(
                    out,
                    "{name} does not rest: the wake-up is kept, and does not end what it waits for ({})",
                    other.code()
                ),
            },
            _ => writeln!(out, "{name} has no engine that waits: the wake-up is kept for its next stop"),
        };
    }
    match args.topic {
        Some(topic) if chosen.is_empty() => return Err(target::nobody_waits_for(&sessions, &topic, now).into()),
        None if chosen.is_empty() => {
            let _ = writeln!(out, "no session rests");
        }
        _ => {}
    }
    failed.map_or(Ok(()), |e| Err(e.into()))
}
