//! `frosty notes`: shows what agents wrote for themselves, and forgets it.

use std::io::Write;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::candidates::sessions;
use super::{Failure, PlaceArgs, out, target};
use crate::env::Env;
use crate::hook;
use crate::local_time;
use crate::naming::Names;
use crate::policy::notes;
use crate::policy::request::Event;
use crate::store::fleet_reader::{FleetReader, Session};
use crate::store::server::pipeline;
use crate::text;

/// The flags of `notes`.
#[derive(Debug, Args)]
pub struct NotesArgs {
    /// Show the notes of this session [default: all]
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub target: Option<String>,
    /// Forget the session's notes
    #[arg(long, requires = "target")]
    pub clear: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "clear")]
    pub json: bool,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Shows the notes, or forgets those of one session.
///
/// # Errors
/// When no session or several match, or the store cannot be read.
pub fn run(args: NotesArgs) -> Result<(), Failure> {
    let env = Env::read();
    let config = super::config(&env, args.place)?;
    let mut reader = if args.clear { FleetReader::open_to_change(&config) } else { FleetReader::open(&config) };
    super::outage::tell_if_away(reader.away());
    let all = match &args.target {
        Some(word) => target::sessions(&mut reader, word)?,
        None => reader.sessions()?,
    };
    let names = Names::of_all(&all);
    let chosen: Vec<&Session> = match &args.target {
        Some(word) => vec![target::one(&all, word)?],
        None => all.iter().collect(),
    };
    if let ([(id, session)], true) = (chosen.as_slice(), args.clear) {
        let step = hook::step_of(session.scope.clone(), id.clone(), "NotesClear", Event::ForgetNotes);
        pipeline::decide(&config, &[step]).into_iter().try_for_each(|decided| decided.map(drop))?;
        let notes = match session.notes.len() {
            0 => "no notes".to_owned(),
            1 => "its note".to_owned(),
            n => format!("its {n} notes"),
        };
        out::say(&format!("{} has forgotten {notes}", names.name(id)));
        return Ok(());
    }
    let now = reader.now()?;
    let mut lines = out::stdout();
    let with_notes: Vec<&Session> =
        chosen.into_iter().filter(|(_, session)| notes::kept(session, now).next().is_some()).collect();
    if args.json {
        let all: Vec<_> = with_notes.iter().map(|one| object(one, &names, now)).collect();
        let _ = writeln!(lines, "{}", serde_json::json!({ "at": now, "sessions": all }));
        return Ok(());
    }
    if with_notes.is_empty() {
        drop(lines);
        out::say("no notes are kept; an agent writes one as a line of its answer: frosty: note TEXT");
        return Ok(());
    }
    drop(lines);
    for (id, session) in with_notes {
        out::say(&names.name(id));
        for note in notes::kept(session, now) {
            let age = local_time::age(now.saturating_sub(note.at).max(0));
            out::say(&format!("  {age:>4}  {}", text::line_of(&note.text, notes::LONGEST)));
        }
    }
    Ok(())
}

fn object((id, session): &Session, names: &Names, now: i64) -> serde_json::Value {
    let notes: Vec<_> = notes::kept(session, now)
        .map(|note| serde_json::json!({ "at": note.at, "text": text::line_of(&note.text, notes::LONGEST) }))
        .collect();
    serde_json::json!({ "session": id, "name": names.name(id), "notes": notes })
}
