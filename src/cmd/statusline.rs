//! `frosty statusline`: prints one short line about a session for the client's `statusLine` setting (2.1.331). The
//! client writes its JSON to stdin and shows what is printed. On any failure the command prints little or nothing, and
//! exits 0 soon.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use beside::Beside;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

mod beside;

use super::out;
use crate::arm;
use crate::cmd::PlaceArgs;
use crate::config::{Arm, Config, Flags, encoded};
use crate::env::Env;
use crate::hook::payload::{self, Text};
use crate::local_time;
use crate::policy::decision::State;
use crate::policy::windows::{Report, Share, Windows};
use crate::prompt_cache;
use crate::read;
use crate::scope;
use crate::store::StoreError;
use crate::store::fleet_reader::FleetReader;
use crate::store::windows;
use crate::text;
use crate::view::sessions::kind::{Back, Kind};
use crate::view::sessions::{Row, width};
use crate::view::usage::Usage;

/// The client writes its JSON at once. A pipe that stays open is not waited for.
const STDIN: Duration = Duration::from_millis(250);
/// The client's JSON has a few thousand bytes.
const LARGEST: usize = 1024 * 1024;
/// The longest wait for a store.
const STORE: Duration = Duration::from_millis(250);
/// The most columns of a hold's reason.
const LONGEST_REASON: usize = 40;

/// The flags of `statusline`.
#[derive(Debug, Args)]
pub struct StatuslineArgs {
    /// Run this command with the same input, and print its output first
    #[arg(long, value_name = "COMMAND")]
    pub beside: Option<String>,
    /// The store and the fleet.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Prints the line, if there is one.
pub fn run(args: StatuslineArgs) {
    let env = Env::read();
    if env.disabled() && args.beside.is_none() {
        return;
    }
    // If a pipe stays open, what was read until then is used.
    let bytes = read::what_comes(io::stdin(), STDIN, LARGEST);
    let beside = args.beside.map(|command| Beside::start(&command, bytes.clone()));
    let given = payload::object(&bytes).unwrap_or_default();
    let line = (!env.disabled()).then(|| line(&env, args.place, &given)).flatten();
    let mut out = out::stdout();
    if let Some(printed) = beside.map(Beside::printed) {
        let _ = out.write_all(&printed);
        if !printed.is_empty() && !printed.ends_with(b"\n") {
            let _ = writeln!(out);
        }
    }
    if let Some(line) = line {
        let _ = writeln!(out, "❄ {line}");
    }
}

/// Returns the line for the session that the client names; `None` where the session is not Frosty's.
fn line(env: &Env, place: PlaceArgs, given: &Given<'_>) -> Option<String> {
    let named = payload::text(given.session_id).or_else(|| env.claude_session_id.clone())?;
    let session = encoded(&named, "", "").ok()?;
    let project = env.claude_project_dir.clone().or_else(|| given.folder());
    let told = arm::told(env, Some(&session), project.as_deref()).ok()?;
    if told == Some(false) {
        return None;
    }
    let flags = Flags { store: place.store, fleet: place.fleet, ..Flags::default() };
    let Ok(config) = Config::load(env, project.as_deref(), &flags) else {
        return Some("configuration wrong; see: frosty doctor".to_owned());
    };
    // A session that never was armed has no line, and leaves no file.
    let is_armed = told.unwrap_or(config.arm == Arm::Always);
    if let Some(report) = given.prompt_cache.filter(|_| is_armed).and_then(|raw| serde_json::from_str(raw.get()).ok()) {
        prompt_cache::note(&config, &session, report);
    }
    let (seen, usage) = row(env, &config, &session, &given.report(&session));
    let aside = if config.shadow { "shadow: " } else { "" };
    match seen {
        Seen::Row(row, now) => {
            let said = std::iter::once(format!("{aside}{}", words(&row, now, false)));
            Some(said.chain(usage.lines(now)).collect::<Vec<_>>().join(" · "))
        }
        Seen::Away(None) => is_armed.then(|| "store away".to_owned()),
        Seen::Away(Some((row, now))) => Some(format!("store away · {aside}{}", words(&row, now, true))),
        Seen::Unknown => None,
    }
}

/// The fields of the client's JSON that are read, as tolerantly as in a hook's payload: an unexpected field hides no
/// other.
#[derive(Default, Deserialize)]
struct Given<'a> {
    #[serde(default, borrow)]
    session_id: Text<'a>,
    #[serde(default, borrow)]
    cwd: Text<'a>,
    #[serde(default, borrow)]
    workspace: Option<&'a RawValue>,
    #[serde(default, borrow)]
    rate_limits: Option<&'a RawValue>,
    #[serde(default, borrow)]
    cost: Option<&'a RawValue>,
    #[serde(default, borrow)]
    prompt_cache: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct RateLimits<'a> {
    #[serde(default, borrow)]
    five_hour: Option<&'a RawValue>,
    #[serde(default, borrow)]
    seven_day: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RateLimit {
    used_percentage: f64,
    resets_at: f64,
}

#[derive(Deserialize)]
struct Cost {
    total_api_duration_ms: f64,
}

/// Returns the share of a window, where the client reports one.
fn share(raw: Option<&RawValue>) -> Option<Share> {
    let limit: RateLimit = serde_json::from_str(raw?.get()).ok()?;
    Share::of(limit.used_percentage, limit.resets_at)
}

#[derive(Default, Deserialize)]
struct Workspace<'a> {
    #[serde(default, borrow)]
    project_dir: Text<'a>,
    #[serde(default, borrow)]
    current_dir: Text<'a>,
}

impl Given<'_> {
    /// Returns what the client reports of the usage windows.
    fn report(&self, session: &str) -> Report {
        let limits: RateLimits<'_> =
            self.rate_limits.and_then(|raw| payload::object(raw.get().as_bytes()).ok()).unwrap_or_default();
        let cost: Option<Cost> = self.cost.and_then(|raw| serde_json::from_str(raw.get()).ok());
        Report {
            session: session.to_owned(),
            api_ms: cost.map(|cost| cost.total_api_duration_ms.max(0.0) as u64),
            five_hour: share(limits.five_hour),
            seven_day: share(limits.seven_day),
        }
    }

    fn folder(&self) -> Option<PathBuf> {
        let workspace: Workspace<'_> =
            self.workspace.and_then(|raw| payload::object(raw.get().as_bytes()).ok()).unwrap_or_default();
        let folders = [workspace.project_dir, workspace.current_dir, self.cwd];
        folders.into_iter().find_map(payload::text).map(PathBuf::from)
    }
}

enum Seen {
    Row(Box<Row>, i64),
    /// The store cannot be read. The value is what this machine knows.
    Away(Option<(Box<Row>, i64)>),
    Unknown,
}

/// Reads the session, and merges what the client reports of the usage windows.
fn row(env: &Env, config: &Config, session: &str, report: &Report) -> (Seen, Usage) {
    let config = Config { budget: config.budget.min(STORE), ..config.clone() };
    let mut reader = FleetReader::open_for(&config, STORE);
    let Ok(seat) = scope::resolve(&config, env, session) else { return (Seen::Away(None), Usage::default()) };
    let read = state_of(&mut reader, &seat, session).or_else(|why| {
        // A request would be decided by this machine's files, too.
        reader.give_up(why);
        state_of(&mut reader, &seat, session)
    });
    let mut read = read.ok();
    // A report that cannot be written is sent again by the next one.
    let stored = read.as_ref().map(|(_, state)| state.windows.clone());
    let windows = windows::report(&mut reader, report, stored.as_ref()).ok();
    let usage = read.as_mut().map(|(now, state)| {
        if state.windows == Windows::default() || state.windows.unknown.is_some() {
            state.windows = windows.unwrap_or_else(|| state.windows.clone());
        }
        Usage::of(&config, state, *now)
    });
    let known = read.as_ref().filter(|(_, state)| state.session.seen > 0);
    let is_away = reader.away().is_some();
    let known = known.map(|(now, state)| (Box::new(Row::of(&config, session, state, *now, is_away)), *now));
    let seen = match known {
        _ if read.is_none() => Seen::Away(None),
        known if is_away => Seen::Away(known),
        Some((row, now)) => Seen::Row(row, now),
        None => Seen::Unknown,
    };
    (seen, usage.unwrap_or_default())
}

/// Returns the state from which the session's next request would be decided, in the scope where it was last seen, and
/// the time of the reading.
fn state_of(reader: &mut FleetReader<'_>, seat: &str, session: &str) -> Result<(i64, State), StoreError> {
    let now = reader.now()?;
    let state = reader.state(seat, session)?;
    let last = &state.session.scope;
    if state.session.seen > 0 && last != seat && text::is_encoded(last) {
        return Ok((now, reader.state(last, session)?));
    }
    Ok((now, state))
}

/// Shortens a text to the room that there is.
fn short(said: &str) -> String {
    width::cut(&text::line(said), LONGEST_REASON)
}

/// Describes a session in a few words.
fn words(row: &Row, now: i64, is_away: bool) -> String {
    let mut said = vec![state(row, now)];
    // The server's counts are not known while it is unreachable.
    if !is_away && matches!(row.kind, Kind::Running | Kind::Guard) && row.session.count > 0 {
        said.push(format!("{} in a row", row.session.count));
    }
    if row.strikes > 0 && row.kind == Kind::Cooldown {
        said.push(format!("strike {}", row.strikes));
    }
    if let Some(quota) = row.quota.filter(|_| row.kind != Kind::Quota) {
        said.push(format!("{} left", quota.left));
    }
    if let Some((hold, _)) = row.hold.as_ref().filter(|_| row.kind == Kind::Running) {
        said.push(format!("held at its stop by {}", short(&hold.by)));
    }
    said.join(" · ")
}

fn state(row: &Row, now: i64) -> String {
    let what = row.state();
    let what = match (&row.hold, row.kind, &row.session.rest) {
        (Some((hold, _)), Kind::Hold, _) => {
            format!("{what} by {}: {}", short(&hold.by), short(&hold.reason))
        }
        (_, Kind::WaitFor | Kind::Blocked, Some(rest)) => {
            format!("{what} {}", short(&rest.topic)).trim_end().to_owned()
        }
        _ => what,
    };
    match row.back {
        // The client shows a line for long, so a later time is shown as a clock time.
        Back::At(at) if at.saturating_sub(now) < 60_000 => format!("{what} {}", local_time::left(at, now)),
        Back::At(at) if row.kind == Kind::Hold => format!("{what}, until {}", local_time::clock(at, now)),
        Back::At(at) => format!("{what} until {}", local_time::clock(at, now)),
        Back::Release => format!("{what}, until it is released"),
        Back::Prompt if row.kind != Kind::Done => format!("{what}, type to continue"),
        _ => what,
    }
}
