//! Who is there: every session and every held scope of a fleet, for the commands that people use.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::link::Link;
use super::script;
use super::state_file::{self, FleetFile, ScopeFile};
use super::{Place, StoreError, place};
use crate::clock;
use crate::config::Config;
use crate::throttle::policy::Ms;
use crate::throttle::state::{Hold, Phase, Rest, RestKind, SessionState};

/// How long the whole list may take.
const WITHIN: Duration = Duration::from_secs(5);
/// How many are asked for in one write.
const AT_ONCE: usize = 500;
const LARGEST: u64 = 64 * 1024 * 1024;

/// A session and its id, encoded.
pub type Session = (String, SessionState);

/// Every session that is remembered, the last seen first.
///
/// # Errors
/// When the store cannot be asked.
pub fn sessions(config: &Config) -> Result<Vec<Session>, StoreError> {
    let mut all: Vec<Session> = match open(config)? {
        Place::Files => {
            let files = scope_files(config)?;
            files.into_iter().flat_map(|(_, file)| file.sessions).collect()
        }
        Place::Server(mut link) => {
            let fields = [
                "scope",
                "name",
                "label",
                "rest",
                "rest_since",
                "rest_until",
                "rest_topic",
                "seen",
                "state",
                "pid",
                "host",
                "last_reason",
            ];
            hashes(config, &mut link, "session", &fields)?.into_iter().map(|(id, f)| (id, session(&f))).collect()
        }
    };
    all.retain(|(_, s): &Session| s.seen > 0);
    all.sort_by_key(|(_, s)| std::cmp::Reverse(s.seen));
    // In files a session that moved to another seat has left its old state behind.
    let mut known = HashSet::new();
    all.retain(|(id, _)| known.insert(id.clone()));
    Ok(all)
}

/// Every scope with a hold that is not known to be over.
///
/// # Errors
/// When the store cannot be asked.
pub fn holds(config: &Config) -> Result<Vec<(String, Hold)>, StoreError> {
    match open(config)? {
        Place::Files => {
            let now = clock::host_ms();
            let files = scope_files(config)?.into_iter().filter_map(|(scope, file)| Some((scope, file.scope.hold?)));
            Ok(files.filter(|(_, hold)| hold.holds(now)).collect())
        }
        Place::Server(mut link) => {
            let now = server_now(&mut link)?;
            let all = hashes(config, &mut link, "scope", &script::HOLD)?.into_iter();
            let holds = all.filter_map(|(scope, fields)| Some((scope, script::hold(&fields)?)));
            Ok(holds.filter(|(_, hold)| hold.holds(now)).collect())
        }
    }
}

/// Its clock decides, not ours.
fn server_now(link: &mut Link<'_>) -> Result<Ms, StoreError> {
    let answer = link.ask(&[cmd("TIME")])?.pop().unwrap_or(Value::Nil);
    script::time(&answer).ok_or_else(|| link.nonsense(&answer))
}

/// The fleet's hold, if one is in force.
///
/// # Errors
/// When the store cannot be asked.
pub fn fleet_hold(config: &Config) -> Result<Option<Hold>, StoreError> {
    let (hold, now) = match open(config)? {
        Place::Files => {
            let dir = config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet);
            let file = state_file::peek::<FleetFile>(&state_file::fleet(&dir));
            (file.and_then(|file| file.fleet.hold), clock::host_ms())
        }
        Place::Server(mut link) => {
            let mut get = cmd("HMGET");
            get.arg(format!("frosty:{{{}}}:fleet", config.fleet)).arg(&script::HOLD);
            let fields = link.ask(&[get])?.pop().unwrap_or(Value::Nil);
            (script::hold(&fields), server_now(&mut link)?)
        }
    };
    Ok(hold.filter(|hold| hold.holds(now)))
}

fn open(config: &Config) -> Result<Place<'_>, StoreError> {
    let mut place = place(config, Instant::now() + config.budget)?;
    if let Place::Server(link) = &mut place {
        link.until(Instant::now() + WITHIN);
        link.log_in()?;
        link.take_up_to(LARGEST);
    }
    Ok(place)
}

fn scope_files(config: &Config) -> Result<Vec<(String, ScopeFile)>, StoreError> {
    let dir = config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&config.fleet);
    let folder = dir.join("scopes");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(StoreError::Files { doing: "read", path: folder, cause }),
    };
    let scope = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().strip_suffix(".json")?.to_owned();
        let file = state_file::peek(&state_file::scope(&dir, &name))?;
        Some((name, file))
    };
    Ok(entries.flatten().filter_map(scope).collect())
}

/// These fields of every hash of a kind that its index names.
fn hashes(
    config: &Config,
    link: &mut Link<'_>,
    kind: &str,
    fields: &[&str],
) -> Result<Vec<(String, Value)>, StoreError> {
    let mut index = cmd("ZRANGE");
    index.arg(format!("frosty:{{{}}}:{kind}s", config.fleet)).arg(0).arg(-1);
    let names = link.ask(&[index])?.pop().unwrap_or(Value::Nil);
    let names = Vec::<String>::from_redis_value(names).unwrap_or_default();
    let mut all = Vec::with_capacity(names.len());
    for names in names.chunks(AT_ONCE) {
        let get = |name: &String| -> Cmd {
            let mut get = cmd("HMGET");
            get.arg(format!("frosty:{{{}}}:{kind}:{name}", config.fleet)).arg(fields);
            get
        };
        link.send(&names.iter().map(get).collect::<Vec<_>>())?;
        for name in names {
            match link.read()? {
                // One key of another type must not hide the others.
                Value::ServerError(_) => {}
                fields => all.push((name.clone(), fields)),
            }
        }
    }
    Ok(all)
}

fn session(fields: &Value) -> SessionState {
    let fields = Vec::<Option<String>>::from_redis_value_ref(fields).unwrap_or_default();
    let text = |i: usize| fields.get(i).and_then(Clone::clone).unwrap_or_default();
    let rest = RestKind::from_code(&text(3)).map(|kind| Rest {
        kind,
        since: time(&text(4)),
        until: script::whole(&text(5)),
        topic: text(6),
    });
    SessionState {
        scope: text(0),
        name: text(1),
        label: text(2),
        rest,
        seen: time(&text(7)),
        phase: Phase::from_code(&text(8)),
        pid: text(9).parse().ok(),
        host: text(10),
        last_reason: text(11),
        ..SessionState::default()
    }
}

fn time(text: &str) -> Ms {
    script::whole(text).unwrap_or(0)
}
