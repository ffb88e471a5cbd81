//! `frosty log`: shows and follows the journal.

use super::candidates::{reasons, sessions};
use crate::cmd::PlaceArgs;
use crate::policy::verdict::Reason;
use crate::when;
use chrono::Local;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::entry_filter::EntryFilter;
use super::{Failure, out};
use crate::config::Config;
use crate::env::Env;
use crate::naming::Names;
use crate::policy::limits::millis;
use crate::store::fleet_reader::FleetReader;
use crate::view::explain::entry;
use crate::view::explain::entry::Lines;
use crate::view::journal::Past;
use crate::view::journal::follow::{Change, Follower};
use crate::view::sessions::screen;
use crate::view::sessions::table::Style;
use crate::view::turns;

/// The flags of `log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// Follow the journal until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Show the entries of this session
    #[arg(long, value_name = "SESSION", value_parser = NonEmptyStringValueParser::new(), add = sessions())]
    pub scope: Option<String>,
    /// Show entries since then (2h, 18:00, "yesterday 09:00"; local time)
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Duration>,
    /// Show entries with this reason (cooldown)
    #[arg(long, value_name = "REASON", value_parser = reason, add = reasons())]
    pub reason: Option<Reason>,
    /// Show the newest COUNT entries [default: 20; with --since: all]
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub lines: Option<usize>,
    /// Show measured turns, and the sums of each session
    #[arg(long, conflicts_with = "follow")]
    pub turns: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Show full lines on a narrow terminal, too
    #[arg(long)]
    pub no_trunc: bool,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

fn since(said: &str) -> Result<Duration, String> {
    when::since(said, &Local::now()).ok_or_else(|| {
        "expected a duration such as 2h, or a time past such as 18:00, \"yesterday 09:00\" or \"2026-11-24 09:00\""
            .to_owned()
    })
}

fn reason(code: &str) -> Result<Reason, String> {
    Reason::from_code(code).ok_or_else(|| {
        let all: Vec<&str> = Reason::ALL.iter().map(|r| r.code()).collect();
        format!("expected one of: {}", all.join(", "))
    })
}

/// The number of entries that are shown where neither a number nor a time is given.
const DEFAULT: usize = 20;

/// How long a followed journal may wait for the names of sessions.
const NAMED_WITHIN: Duration = Duration::from_millis(500);

/// Shows the entries that the arguments name.
///
/// # Errors
/// When no session or several match, or the journal cannot be read.
pub fn run(args: LogArgs) -> Result<(), Failure> {
    let env = Env::read();
    let config = super::config(&env, args.place)?;
    let mut reader = FleetReader::open(&config);
    super::outage::tell_if_away(reader.away());
    let whose = match &args.scope {
        Some(word) => EntryFilter::of(&mut reader, word)?,
        None => EntryFilter::All,
    };
    let wants = |past: &Past| {
        let is_of_reason = args.reason.is_none_or(|reason| past.says("reason", reason.code()));
        whose.wants(past) && is_of_reason && (!args.turns || turns::is_turn(past))
    };
    let since = match args.since {
        Some(ago) => reader.now()?.saturating_sub(millis(ago)),
        None => 0,
    };
    // Names that cannot be read must not keep the journal from being shown.
    let names =
        if args.json { Names::default() } else { reader.sessions().map(|all| Names::of_all(&all)).unwrap_or_default() };
    let most = args.lines.unwrap_or(if args.since.is_some() { usize::MAX } else { DEFAULT });
    let (newest, follower) = if args.follow {
        reader.entries_and_follow(since, most, wants).map(|(newest, follower)| (newest, Some(follower)))?
    } else {
        (reader.entries_where(since, most, wants)?, None)
    };
    let unread = reader.take_unread();
    let oldest_first: Vec<Past> = newest.into_iter().rev().collect();
    if args.turns && !args.json && !oldest_first.is_empty() {
        let mut out = out::stdout();
        // A closed pipe ends the output, and is no failure.
        let _ = turns::lines(&oldest_first, &names).iter().try_for_each(|line| writeln!(out, "{line}"));
        return unread.map_or(Ok(()), |why| Err(why.into()));
    }
    let is_terminal = io::stdout().is_terminal();
    // Without a terminal nothing is cut off, coloured or not.
    let style = screen::style();
    let style = Style { uncut: style.uncut || args.no_trunc, ..style };
    let terminal = (is_terminal || style.colours).then_some(style);
    let mut out = Out { lines: Lines::new(terminal, names), json: args.json, unnamed: HashSet::new() };
    // A closed pipe ends the output, and is no failure.
    if out.write(&oldest_first).is_err() {
        return Ok(());
    }
    match follower {
        Some(follower) => {
            super::outage::tell_if_unread(unread.as_ref());
            follow(&config, follower, &mut out, wants)
        }
        // This machine's entries were shown, and are not all.
        None if unread.is_some() => unread.map_or(Ok(()), |why| Err(why.into())),
        None => {
            if oldest_first.is_empty() && !args.json {
                out::report(&format!("the journal of fleet {} has no such entry", config.fleet));
            }
            Ok(())
        }
    }
}

/// Shows new entries until the reader closes the output.
fn follow(
    config: &Config,
    mut follower: Follower<'_>,
    out: &mut Out,
    wants: impl Fn(&Past) -> bool,
) -> Result<(), Failure> {
    loop {
        let news = follower.look()?;
        match news.change {
            Some(Change::Away(why)) => {
                super::warn("the server became unreachable, and the journal of this machine follows", &(&why).into());
            }
            Some(Change::Back) => {
                out::report("the server answers again; following its journal");
            }
            None => {}
        }
        let wanted: Vec<Past> = news.entries.into_iter().filter(|past| wants(past)).collect();
        out.name(config, &wanted);
        if out.write(&wanted).is_err() || nobody_reads() {
            return Ok(());
        }
    }
}

/// Returns whether the other end of a pipe is closed, without writing to it.
fn nobody_reads() -> bool {
    let out = io::stdout();
    let mut fds = [PollFd::from_borrowed_fd(out.as_fd(), PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok() && fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR))
}

struct Out {
    lines: Lines,
    json: bool,
    /// Sessions that the store does not know.
    unnamed: HashSet<String>,
}

impl Out {
    /// Reads the names of sessions that are new since the last reading.
    fn name(&mut self, config: &Config, all: &[Past]) {
        let new = |past: &&Past| self.lines.lacks(past) && !self.unnamed.contains(past.text("session"));
        let new: Vec<String> = all.iter().filter(new).map(|past| past.text("session").to_owned()).collect();
        if self.json || new.is_empty() {
            return;
        }
        self.unnamed.extend(new);
        if let Ok(sessions) = FleetReader::open_for(config, NAMED_WITHIN).sessions() {
            self.lines.name(Names::of_all(&sessions));
        }
    }

    fn write(&mut self, all: &[Past]) -> io::Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        self.lines.fit(all);
        let mut out = io::BufWriter::new(out::stdout());
        for past in all {
            let line = if self.json { entry::json(past) } else { self.lines.line(past) };
            writeln!(out, "{line}")?;
        }
        out.flush()
    }
}
