//! `frosty explain`: explains the last verdict in words.

use super::candidates::sessions;
use crate::cmd::PlaceArgs;
use crate::hint::Hint;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::dispatch::RUN;
use super::entry_filter::EntryFilter;
use super::{Failure, out, target};
use crate::env::Env;
use crate::hook;
use crate::local_time;
use crate::naming::Names;
use crate::policy::decision;
use crate::policy::decision::State;
use crate::policy::documents::SessionState;
use crate::policy::limits::{Class, Ms, Policy, millis};
use crate::policy::request::{Event, Step};
use crate::policy::verdict::{Decision, Outcome, Reason};
use crate::store::files::undecided;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::text;
use crate::view::explain::verdict;
use crate::view::explain::verdict::Facts;
use crate::view::journal::Past;
use crate::view::sessions::state as status;
use crate::view::turns;

/// The flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Explain this session [default: this one, else the last request]
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub target: Option<String>,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// There is no verdict yet.
    #[error("no verdict of {whose} in the {}journal", newest(*cut))]
    NoVerdict {
        /// The session or scope that was named.
        whose: String,
        /// Whether the journal was not read to its end.
        cut: bool,
    },
    /// A newer version of Frosty wrote the entry.
    #[error("the reason \"{reason}\" is of a newer frosty")]
    Unknown {
        /// Its reason.
        reason: String,
    },
}

impl Hint for ExplainError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoVerdict { .. } => "see the journal: frosty log".to_owned(),
            Self::Unknown { .. } => "see the entry itself: frosty log --json -n 20".to_owned(),
        })
    }
}

/// The most entries of the journal that are read, from the newest on.
const MOST_READ: usize = 20_000;

/// Names the part of the journal that was read.
fn newest(cut: bool) -> String {
    if cut { format!("newest {MOST_READ} entries of the ") } else { String::new() }
}

/// Explains the last verdict of the named session or scope; without a name, of this session, else of the last one with
/// a request.
///
/// # Errors
/// When none or several match, there is no verdict yet, or the store cannot be read.
pub fn run(args: ExplainArgs) -> Result<(), Failure> {
    let env = Env::read();
    let place = args.place.again();
    let config = super::config(&env, args.place)?;
    let mut reader = FleetReader::open(&config);
    super::outage::tell_if_away(reader.away());
    let own = env.claude_session_id.as_deref().map(text::encode);
    let (mut whose, mut shown) = match (&args.target, &own) {
        (Some(word), _) => (EntryFilter::of(&mut reader, word)?, format!("\"{}\"", text::line(word))),
        (None, Some(id)) => (EntryFilter::Session(id.clone()), "this session".to_owned()),
        (None, None) => (EntryFilter::All, format!("fleet {}", config.fleet)),
    };
    let (mut last, mut cut) = last(&mut reader, &whose)?;
    if last.is_none() && args.target.is_none() && own.is_some() {
        (whose, shown) = (EntryFilter::All, format!("fleet {}", config.fleet));
        (last, cut) = self::last(&mut reader, &whose)?;
    }
    super::outage::tell_if_unread(reader.take_unread().as_ref());
    let Some(past) = last else { return Err(ExplainError::NoVerdict { whose: shown, cut }.into()) };
    let seen = reader.foresee(past.text("scope"), past.text("session"))?;
    if let (Some(why), None) = (&seen.away, reader.away()) {
        super::outage::tell_of_scope(why);
    }
    let policy = config.policy_of(&seen.state.session);
    let doors = doors(&policy, &seen.state, verdict::class(&past), seen.now);
    let Some(told) = Facts::of(&past, &policy, &seen.state, seen.now, doors) else {
        return Err(ExplainError::Unknown { reason: text::line(past.text("reason")) }.into());
    };
    let (failure, is_failure_unread) = failure(&mut reader, &past)?;
    let (session, scope) = (past.text("session"), past.text("scope"));
    let name = name(&reader.sessions_where(|id, s| id == session || s.scope == scope)?, &past);
    let told = Facts { place: &place, name, failure: failure.as_ref(), ..told };
    let turn = turn(&mut reader, &past, &seen.state.session, seen.now)?;
    for sentence in told.sentences().into_iter().chain(turn) {
        out::say(&sentence);
    }
    if !seen.note.is_empty() {
        out::say(&format!("Note: {}.", seen.note));
    }
    if cut || is_failure_unread {
        out::say(&format!("Only the {}journal were read; for the others: frosty log --since 1d", newest(true)));
    }
    let mark = config.state.as_deref().and_then(|dir| undecided::of(dir, past.text("session")));
    if let Some(mark) = mark.filter(|mark| mark.is_later_than(past.ms, seen.now) && mark.id != past.text("id")) {
        if mark.is_of_disarming() {
            let at = local_time::clock(mark.at, seen.now);
            out::say(&format!("It is not continued since {at}: {}.", text::line(&mark.why)));
            return Ok(());
        }
        let event = if mark.event.is_empty() { "a call" } else { &mark.event };
        out::say(&format!(
            "Its last hook call ({}) was not decided ({}): {}",
            text::line(event),
            text::line(&mark.reason),
            text::line(&mark.why)
        ));
    }
    Ok(())
}

/// Returns the shown name of the entry's session, else of the last session of its scope.
fn name(sessions: &[Session], past: &Past) -> String {
    let (session, scope) = (past.text("session"), past.text("scope"));
    if session.is_empty() && scope.is_empty() {
        return String::new();
    }
    Names::of_all(sessions).get(session).unwrap_or_else(|| target::scope_name(sessions, scope))
}

/// Returns the failure that ended the last turn of the entry's session, if one did. The flag is whether it may be among
/// the entries that were not read.
fn failure(reader: &mut FleetReader<'_>, past: &Past) -> Result<(Option<Past>, bool), Failure> {
    let session = past.text("session");
    if session.is_empty() {
        return Ok((None, false));
    }
    let ends = |p: &Past| p.says("session", session) && (p.says("event", "Stop") || p.says("event", "StopFailure"));
    let (mut found, cut) = reader.entries_among(MOST_READ, 1, ends)?;
    let last = found.pop().filter(|last| last.says("event", "StopFailure"));
    let Some(last) = last else { return Ok((None, cut)) };
    if last.says("verdict", Outcome::Record.code()) {
        return Ok((Some(last), false));
    }
    // An engine that waits after a failure sends requests under the failure's name, without its detail.
    let is_booked = |p: &Past| ends(p) && p.says("event", "StopFailure") && p.says("verdict", Outcome::Record.code());
    let (mut found, cut) = reader.entries_among(MOST_READ, 1, is_booked)?;
    Ok((found.pop(), cut))
}

/// Returns the outcome of the last turn of the entry's session in a sentence, where it was measured.
fn turn(reader: &mut FleetReader<'_>, past: &Past, session: &SessionState, now: Ms) -> Result<Option<String>, Failure> {
    // A session that no engine measured needs no look at the journal.
    if session.transcript.is_none() && session.unmeasured.is_none() {
        return Ok(None);
    }
    let is_own = |p: &Past| turns::is_turn(p) && p.says("session", past.text("session"));
    let (found, _) = reader.entries_among(MOST_READ, 1, is_own)?;
    Ok(found.first().and_then(|turn| turns::sentence(turn, &session.client_version, now)))
}

/// Returns their last verdict, or else their last event. The flag is whether the verdict may be among the entries that
/// were not read.
fn last(reader: &mut FleetReader<'_>, whose: &EntryFilter) -> Result<(Option<Past>, bool), Failure> {
    // Only an entry with matching encoded names is shown, so that an entry that was written under another name is not.
    let is_named = |past: &Past| {
        let names = ["scope", "session"].map(|field| past.text(field));
        names.iter().all(|name| name.is_empty() || text::is_encoded(name))
    };
    let wants = |past: &Past| whose.wants(past) && is_named(past);
    // A person who names nothing means a session of theirs, and not a run of the dispatcher.
    let is_meant = |past: &Past| !matches!(whose, EntryFilter::All) || !past.text("session").starts_with(RUN);
    // A superseded request of an older engine is journaled after the newer one, which decides. A hold that was not opened is a
    // command's.
    let decides = |past: &Past| verdict::is_verdict(past) && !past.says("event", "Hold");
    let is_last = |past: &Past| decides(past) && !past.says("reason", Reason::Superseded.code());
    let (mut found, cut) = reader.entries_among(MOST_READ, 1, |past| wants(past) && is_meant(past) && is_last(past))?;
    if found.is_empty() {
        found = reader.entries_among(MOST_READ, 1, |past| wants(past) && is_meant(past) && decides(past))?.0;
    }
    if found.is_empty() {
        found = reader.entries_among(MOST_READ, 1, |past| wants(past) && verdict::is_verdict(past))?.0;
    }
    if found.is_empty() {
        found = reader.entries_among(MOST_READ, 1, wants)?.0;
    }
    Ok((found.pop(), cut))
}

/// Returns the refusals of a request of the session now and after the end of each, until it would be admitted or no
/// time ends one. No request is sent.
fn doors(policy: &Policy, state: &State, class: Class, now: Ms) -> Vec<Decision> {
    let mut doors: Vec<Decision> = Vec::new();
    let mut at = now;
    while doors.len() < status::MOST_DOORS {
        let answer = asked(policy, state, class, at);
        if answer.outcome == Outcome::Admit {
            break;
        }
        let ends = answer.retry_after.map(|left| at.saturating_add(millis(left)));
        doors.push(answer);
        match ends {
            Some(end) if end > at => at = end,
            _ => break,
        }
    }
    doors
}

/// Returns the verdict of a request of the session at this time.
fn asked(policy: &Policy, state: &State, class: Class, now: Ms) -> Decision {
    let event = match class {
        Class::Stop => Event::Ask { fence: state.session.fence.unwrap_or(now), renew: false },
        Class::Compact => Event::PreCompactAuto,
    };
    // The request is paced, as a waiting engine's is: no attempt is to count against the session.
    let step = Step { paced: true, ..hook::step_of(String::new(), String::new(), "", event) };
    decision::step(policy, &mut state.clone(), &step, now)
}
