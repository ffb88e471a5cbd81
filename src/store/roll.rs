//! Who is there: every session and every held scope of a fleet, for the commands that people use.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::link::Link;
use super::reached;
use super::script;
use super::server_record;
use super::state_file::{self, FleetFile, ScopeFile};
use super::{StoreError, server};
use crate::clock;
use crate::config::Config;
use crate::text;
use crate::throttle::policy::Ms;
use crate::throttle::state::{Hold, Phase, Rest, RestKind, SessionState};

/// How long the whole list may take.
const WITHIN: Duration = Duration::from_secs(5);
/// How many are asked for in one write.
const AT_ONCE: usize = 500;
const LARGEST: u64 = 64 * 1024 * 1024;

/// A session and its id, encoded.
pub type Session = (String, SessionState);

/// Where the list is read.
pub struct Roll<'a> {
    config: &'a Config,
    /// The server; without one, the files of this machine.
    server: Option<Link<'a>>,
    away: Option<StoreError>,
}

impl<'a> Roll<'a> {
    /// Opens the store that the configuration names; a server that cannot be reached has the embedded store to stand in.
    ///
    /// # Errors
    /// When the server refuses the login.
    pub fn open(config: &'a Config) -> Result<Self, StoreError> {
        let Some((server, optional)) = server(config) else { return Ok(Self { config, server: None, away: None }) };
        match Link::connect(config, server, Instant::now() + config.budget) {
            // That it takes connections says little: it is asked something.
            Ok(mut link) => match link.log_in().and_then(|()| server_now(&mut link)) {
                Ok(_) => {
                    link.until(Instant::now() + WITHIN);
                    link.take_up_to(LARGEST);
                    Ok(Self { config, server: Some(link), away: None })
                }
                Err(e) if e.is_silence() => Ok(Self { config, server: None, away: Some(e) }),
                Err(e) => Err(e),
            },
            Err(StoreError::NobodyListens { .. }) if optional && !reached::ever(config) => {
                Ok(Self { config, server: None, away: None })
            }
            Err(e) => Ok(Self { config, server: None, away: Some(e) }),
        }
    }

    /// Why the list is only this machine's, where the configured server could not be reached.
    #[must_use]
    pub fn away(&self) -> Option<&StoreError> {
        self.away.as_ref()
    }

    /// Every session that is remembered, the last seen first.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn sessions(&mut self) -> Result<Vec<Session>, StoreError> {
        let mut all: Vec<Session> = match &mut self.server {
            None => {
                let files = scope_files(self.config)?;
                files.into_iter().flat_map(|(_, file)| file.sessions).collect()
            }
            Some(link) => {
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
                let all = hashes(self.config, link, "session", &fields)?;
                all.into_iter().map(|(id, f)| (id, session(&f))).collect()
            }
        };
        // What was planted under a name that is none would be shown as it is, and asked for by it.
        all.retain(|(id, s): &Session| s.seen > 0 && text::is_encoded(id) && text::is_encoded(&s.scope));
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
    pub fn holds(&mut self) -> Result<Vec<(String, Hold)>, StoreError> {
        match &mut self.server {
            None => {
                let now = clock::host_ms();
                let hold = |file: ScopeFile| match file.away {
                    // The server's word, as long as it is the one that decides.
                    None => file.mirror.and_then(|m| m.doors.hold).or(file.scope.hold),
                    Some(_) => file.scope.hold,
                };
                let files = scope_files(self.config)?.into_iter();
                let holds = files.filter_map(|(scope, file)| Some((scope, hold(file)?)));
                Ok(holds.filter(|(_, hold)| hold.holds(now)).collect())
            }
            Some(link) => {
                let now = server_now(link)?;
                let all = hashes(self.config, link, "scope", &script::HOLD)?.into_iter();
                let holds = all.filter_map(|(scope, fields)| Some((scope, script::hold(&fields)?)));
                Ok(holds.filter(|(_, hold)| hold.holds(now)).collect())
            }
        }
    }

    /// The fleet's hold, if one is in force.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub fn fleet_hold(&mut self) -> Result<Option<Hold>, StoreError> {
        let (hold, now) = match &mut self.server {
            None => {
                let dir = self.config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&self.config.fleet);
                let file = state_file::peek::<FleetFile>(&state_file::fleet(&dir));
                let record = server_record::read(&dir);
                let said = server(self.config).zip(record.as_ref());
                let said = said.and_then(|((server, _), r)| Some(r.fleet_hold(&server.shown)?.hold.clone()));
                (file.and_then(|file| file.fleet.hold).or(said), clock::host_ms())
            }
            Some(link) => {
                let mut get = cmd("HMGET");
                get.arg(format!("frosty:{{{}}}:fleet", self.config.fleet)).arg(&script::HOLD);
                let fields = link.ask(&[get])?.pop().unwrap_or(Value::Nil);
                (script::hold(&fields), server_now(link)?)
            }
        };
        Ok(hold.filter(|hold| hold.holds(now)))
    }
}

/// Its clock decides, not ours.
fn server_now(link: &mut Link<'_>) -> Result<Ms, StoreError> {
    let answer = link.ask(&[cmd("TIME")])?.pop().unwrap_or(Value::Nil);
    script::time(&answer).ok_or_else(|| link.nonsense(&answer))
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
    let mut names = Vec::<String>::from_redis_value(names).unwrap_or_default();
    names.retain(|name| text::is_encoded(name));
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
