//! Reads every session and every held scope of a fleet, for the commands that people use.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};
use serde::de::DeserializeOwned;

use crate::clock;
use crate::config::Config;
use crate::policy::decision::State;
use crate::policy::documents::{FleetState, ScopeState, SessionState};
use crate::policy::hold::Hold;
use crate::policy::limits::Ms;
use crate::policy::request::Event;
use crate::policy::work::WorkMode;
use crate::scope;
use crate::store::failover::decider::{Breaker, Decider};
use crate::store::failover::{decider, server_record};
use crate::store::files::state_file::{FleetFile, ScopeFile, SessionFile};
use crate::store::files::{self, paths, state_file};
use crate::store::server::connection::Link;
use crate::store::server::keys::Keys;
use crate::store::server::load::Load;
use crate::store::server::{document, load, session_index};
use crate::store::{StoreError, parallel, server, unknown_past, windows};
use crate::text;

/// How long the whole list may take.
const WITHIN: Duration = Duration::from_secs(5);
/// The number of documents read in one write; twice as many may be on their way.
pub(crate) const AT_ONCE: usize = 250;
pub(crate) const LARGEST: u64 = 64 * 1024 * 1024;

/// A session and its id, encoded.
pub type Session = (String, SessionState);

/// A name that no scope and no session has, because it is not encoded.
const NO_NAME: &str = "/none";

/// The store from which the list is read.
pub struct FleetReader<'a> {
    pub(crate) config: &'a Config,
    /// The server; without one, the files of this machine.
    pub(crate) server: Option<Link<'a>>,
    away: Option<StoreError>,
    /// Why the server's journal was not read.
    pub(crate) unread: Option<StoreError>,
}

impl<'a> FleetReader<'a> {
    /// Opens the store that would decide a step now.
    ///
    /// That is the server, or this machine's files where the server is unreachable, would refuse, or is left alone by
    /// the breaker.
    #[must_use]
    pub fn open(config: &'a Config) -> Self {
        Self::open_for(config, WITHIN)
    }

    /// Works as [`FleetReader::open`], but ignores an open breaker: for commands that change something.
    #[must_use]
    pub fn open_to_change(config: &'a Config) -> Self {
        Self::of(config, decider::find(config, WITHIN, Breaker::Passed), clock::now() + WITHIN)
    }

    /// Works as [`FleetReader::open`], with this time for it and for all later reads.
    #[must_use]
    pub fn open_for(config: &'a Config, within: Duration) -> Self {
        let begun = clock::now();
        Self::of(config, decider::find(config, within, Breaker::Heeded), begun + within)
    }

    fn of(config: &'a Config, decider: Decider<'a>, until: Instant) -> Self {
        let (server, away) = match decider {
            Decider::Server(mut link) => {
                link.until(until);
                link.take_up_to(LARGEST);
                (Some(link), None)
            }
            Decider::Files(away) => (None, away),
        };
        Self { config, server, away, unread: None }
    }

    /// Reads this machine's files from now on, because the server gave this error.
    pub(crate) fn give_up(&mut self, why: StoreError) {
        self.server = None;
        self.away = Some(why);
    }

    /// Returns why the journal is only this machine's, where the deciding server did not return its own.
    pub fn take_unread(&mut self) -> Option<StoreError> {
        self.unread.take()
    }

    /// Returns the error of a server that takes no more connections, where only this machine's files are read because
    /// of it.
    pub(crate) fn take_full(&mut self) -> Option<StoreError> {
        self.away.take_if(|why| why.is_full())
    }

    /// Returns why the configured server could not be reached, where it could not.
    pub(crate) fn take_away(&mut self) -> Option<StoreError> {
        self.away.take()
    }

    /// Returns the configuration, and the server where one answers.
    pub(crate) fn parts(&mut self) -> (&'a Config, Option<&mut Link<'a>>) {
        (self.config, self.server.as_mut())
    }

    /// Returns why the list is only this machine's, where the configured server could not be reached.
    #[must_use]
    pub fn away(&self) -> Option<&StoreError> {
        self.away.as_ref()
    }

    /// Returns the server that answers (its URL without a password), where one does.
    #[must_use]
    pub fn server(&self) -> Option<&'a str> {
        self.server.as_ref().map(|link| link.server().shown.as_str())
    }

    /// Returns every session that is remembered, the last seen first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sessions(&mut self) -> Result<Vec<Session>, StoreError> {
        let mut all: Vec<Session> = match &mut self.server {
            None => sessions_here(self.config)?,
            Some(link) => {
                let names = link.ask(&[index(self.config, "session")])?.pop().unwrap_or(Value::Nil);
                let (mut all, others) = documents(self.config, link, Kind::Session, names_in(names))?;
                // This machine's files decide for a session that has a key of another type on the server.
                let dir = decider::dir(self.config);
                all.extend(others.iter().filter_map(|id| Some((id.clone(), session_here(dir.as_deref()?, id)?))));
                all
            }
        };
        sort_out(&mut all);
        Ok(all)
    }

    /// Returns a session; `None` where the store does not know it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn session(&mut self, id: &str) -> Result<Option<SessionState>, StoreError> {
        let dir = decider::dir(self.config);
        let here = || dir.as_deref().and_then(|dir| session_here(dir, id));
        let Some(link) = &mut self.server else { return Ok(here().filter(|session| session.seen > 0)) };
        let (found, others) = documents(self.config, link, Kind::Session, vec![id.to_owned()])?;
        let found = found.into_iter().next().map(|(_, session)| session);
        Ok(found.or_else(|| here().filter(|_| !others.is_empty())).filter(|session: &SessionState| session.seen > 0))
    }

    /// Returns every scope with a hold that is not known to be over.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn holds(&mut self) -> Result<Vec<(String, Hold)>, StoreError> {
        let now = self.now()?;
        let holds = self.scopes()?.into_iter().filter_map(|(scope, state)| Some((scope, state.hold?)));
        Ok(holds.filter(|(_, hold)| hold.holds(now)).collect())
    }

    /// Returns every scope as the store that decides for it knows it, without its quotas' admissions.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn scopes(&mut self) -> Result<Vec<(String, ScopeState)>, StoreError> {
        Ok(match &mut self.server {
            None => scope_files(self.config)?.into_iter().map(|(scope, file)| (scope, file.as_known())).collect(),
            Some(link) => {
                let names = link.ask(&[index(self.config, "scope")])?.pop().unwrap_or(Value::Nil);
                documents(self.config, link, Kind::Scope, names_in(names))?.0
            }
        })
    }

    /// Returns the state that a step of this scope and session would be decided from.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn state(&mut self, scope: &str, session: &str) -> Result<State, StoreError> {
        let is_on = self.config.policy.work.mode != WorkMode::Off;
        let known = if is_on && self.server.is_some() { self.session(session)? } else { None };
        let agent =
            known.map(|known| scope::agent(&known.name, known.named_by_project, &known.scope)).unwrap_or_default();
        let fleet = &self.config.fleet;
        let Some(link) = &mut self.server else {
            let dir = self.config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(fleet);
            let file = state_file::peek_scope(&dir, scope).unwrap_or_else(|| ScopeFile::new(ScopeState::default()));
            let session = state_file::peek_session(&dir, session, scope, &file).unwrap_or_default();
            let fleet = state_file::peek::<FleetFile>(&state_file::fleet(&dir)).map(|f| f.fleet);
            let scope = file.as_known();
            let mut fleet = fleet.unwrap_or_default();
            fleet.hold = fleet_hold_here(self.config)?;
            let work = files::work::of_session(self.config, &dir, &session);
            return Ok(State { fleet, scope, session, windows: windows::here(&dir), work });
        };
        // The state is read as for a Stop event.
        let stop = Event::Stop { rest: None };
        let load = Load::for_people(self.config, link.server(), scope, session, &stop, agent);
        let answers = link.ask(&load.questions())?;
        Ok(load.answers(answers)?.state())
    }

    /// Returns the state of the fleet, without any scope or session.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn fleet_state(&mut self) -> Result<State, StoreError> {
        self.state(NO_NAME, NO_NAME)
    }

    /// Returns the clock of the store that answers.
    ///
    /// # Errors
    /// When the store does not return it.
    pub fn now(&mut self) -> Result<Ms, StoreError> {
        self.server.as_mut().map_or_else(|| Ok(clock::host_ms()), server_now)
    }

    /// Returns the fleet's hold, if one is in force.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn fleet_hold(&mut self) -> Result<Option<Hold>, StoreError> {
        let Some(link) = &mut self.server else { return fleet_hold_here(self.config) };
        let answer = link.ask(&[load::get(&Keys::of(&self.config.fleet).fleet())])?.pop().unwrap_or(Value::Nil);
        let (hold, now) = (fleet(self.config, link, &answer)?.hold, server_now(link)?);
        Ok(hold.filter(|hold| hold.holds(now)))
    }
}

/// Returns the fleet's hold as this machine knows it, if one is in force.
pub(crate) fn fleet_hold_here(config: &Config) -> Result<Option<Hold>, StoreError> {
    let dir = decider::dir(config).ok_or(StoreError::NoStateFolder)?;
    let file = state_file::peek::<FleetFile>(&state_file::fleet(&dir));
    let record = server_record::read(&dir);
    // The hold is the server's, or that of the server that decided until the configuration named files.
    let left = file.as_ref().is_some_and(|file| file.left).then(|| record.as_ref().map(|r| r.store.as_str())).flatten();
    let of = server(config).map(|(server, _)| server.shown.as_str()).or(left);
    let said = of.zip(record.as_ref()).and_then(|(server, r)| r.fleet_hold(server).cloned());
    let now = clock::host_ms();
    let hold = file.and_then(|file| file.fleet.hold).filter(|h| h.holds(now)).or(said);
    Ok(hold.filter(|hold| hold.holds(now)))
}

/// Keeps the sessions that can be named, each once, the last seen first.
pub(crate) fn sort_out(all: &mut Vec<Session>) {
    // A planted invalid name would be printed raw and used in requests.
    all.retain(|(id, s)| s.seen > 0 && text::is_encoded(id) && text::is_encoded(&s.scope));
    all.sort_by_key(|(_, s)| std::cmp::Reverse(s.seen));
    let distinct: HashSet<&str> = all.iter().map(|(id, _)| id.as_str()).collect();
    if distinct.len() < all.len() {
        let mut known = HashSet::new();
        all.retain(|(id, _)| known.insert(id.clone()));
    }
}

/// Returns the server's clock, which decides instead of this machine's.
fn server_now(link: &mut Link<'_>) -> Result<Ms, StoreError> {
    let answer = link.ask(&[cmd("TIME")])?.pop().unwrap_or(Value::Nil);
    load::time(&answer).ok_or_else(|| link.nonsense(&answer))
}

/// Returns the file of every scope on this machine.
pub(crate) fn scope_files(config: &Config) -> Result<Vec<(String, ScopeFile)>, StoreError> {
    let dir = decider::dir(config).ok_or(StoreError::NoStateFolder)?;
    let names = names_of_files(&dir, paths::SCOPES)?;
    let names: Vec<String> = names.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let files = parallel::map(&names, |name| state_file::peek_scope(&dir, name));
    Ok(names.into_iter().zip(files).filter_map(|(name, file)| Some((name, file?))).collect())
}

/// Returns every session that is known on this machine.
pub(crate) fn sessions_here(config: &Config) -> Result<Vec<Session>, StoreError> {
    let dir = decider::dir(config).ok_or(StoreError::NoStateFolder)?;
    let ids = names_of_files(&dir, paths::SESSIONS)?;
    let files = parallel::map(&ids, |id| state_file::peek::<SessionFile>(&state_file::session(&dir, id)));
    let files = ids.into_iter().zip(files).filter_map(|(id, file)| Some((id, file?)));
    // Without a server nothing is out of date.
    if server_record::read(&dir).is_none() {
        return Ok(files.map(|(id, file)| (id, as_known(file))).collect());
    }
    let scopes: HashMap<String, ScopeFile> = scope_files(config)?.into_iter().collect();
    let current = files.filter(|(id, file)| is_current(id, file, scopes.get(&file.session.scope)));
    Ok(current.map(|(id, file)| (id, as_known(file))).collect())
}

/// Returns a session as it is known on this machine.
pub(crate) fn session_here(dir: &Path, id: &str) -> Option<SessionState> {
    let file = state_file::peek::<SessionFile>(&state_file::session(dir, id))?;
    let scope = Some(&file.session.scope).filter(|scope| text::is_encoded(scope));
    let scope = scope.and_then(|scope| state_file::peek::<ScopeFile>(&state_file::scope(dir, scope)));
    is_current(id, &file, scope.as_ref()).then(|| as_known(file))
}

/// Returns the session as this machine knows it. The server's last answer without a restriction was not kept.
fn as_known(file: SessionFile) -> SessionState {
    let last_reason = if file.mirror { String::new() } else { file.session.last_reason };
    SessionState { last_reason, ..file.session }
}

fn is_current(id: &str, file: &SessionFile, scope: Option<&ScopeFile>) -> bool {
    file.session.scope.is_empty() || file.is_current(id, scope)
}

/// Returns the names of the files in a folder's folders, and of those in the folder itself (the earlier layout).
fn names_of_files(dir: &Path, folder: &str) -> Result<Vec<String>, StoreError> {
    let folder = dir.join(folder);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(StoreError::Files { doing: "read", path: folder, cause }),
    };
    let name = |entry: &fs::DirEntry| entry.file_name().to_str()?.strip_suffix(".json").map(str::to_owned);
    let mut names = Vec::new();
    for entry in entries.flatten() {
        match name(&entry) {
            Some(name) => names.push(name),
            None => names.extend(fs::read_dir(entry.path()).into_iter().flatten().flatten().filter_map(|e| name(&e))),
        }
    }
    Ok(names)
}

/// The documents of a kind by name, and the names without a readable document.
pub(crate) type Documents<T> = (Vec<(String, T)>, Vec<String>);

/// A kind of documents that an index names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// The sessions.
    Session,
    /// The scopes.
    Scope,
}

/// Returns the fleet's state from the reply to the read of its document.
///
/// # Errors
/// When it is of a newer format.
pub(crate) fn fleet(config: &Config, link: &Link<'_>, answer: &Value) -> Result<FleetState, StoreError> {
    let key = Keys::of(&config.fleet).fleet();
    let unknown = || unknown_past::fleet(config, clock::host_ms());
    Ok(load::document(link.server(), key, answer, unknown)?.0.state)
}

/// Returns the command that reads every name of a kind from an index.
pub(crate) fn index(config: &Config, kind: &str) -> Cmd {
    let mut index = cmd("ZRANGE");
    index.arg(Keys::of(&config.fleet).index(kind)).arg(0).arg(-1);
    index
}

/// Returns the names in an index's reply and skips invalid ones.
pub(crate) fn names_in(answer: Value) -> Vec<String> {
    let mut names = Vec::<String>::from_redis_value(answer).unwrap_or_default();
    names.iter_mut().for_each(|name| name.truncate(session_index::id(name).len()));
    names.retain(|name| text::is_encoded(name));
    names
}

/// Returns the documents of a kind with these names.
pub(crate) fn documents<T: DeserializeOwned + Send>(
    config: &Config,
    link: &mut Link<'_>,
    kind: Kind,
    names: Vec<String>,
) -> Result<Documents<T>, StoreError> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::with_capacity(names.len());
    let mut others = Vec::new();
    let mut names = names.into_iter();
    let mut some = || names.by_ref().take(AT_ONCE).collect::<Vec<String>>();
    let keys = Keys::of(&config.fleet);
    let key = |name: &str| match kind {
        Kind::Session => keys.session(name),
        Kind::Scope => keys.scope(name),
    };
    let send = |link: &mut Link<'_>, names: &[String]| {
        let get = |name: &String| load::get(&key(name));
        if names.is_empty() { Ok(()) } else { link.send(&names.iter().map(get).collect::<Vec<_>>()) }
    };
    let mut asked = some();
    send(link, &asked)?;
    while !asked.is_empty() {
        // The server works on these reads while the earlier replies are parsed.
        let next = some();
        send(link, &next)?;
        for name in std::mem::replace(&mut asked, next) {
            match link.read()? {
                // One key of another type must not hide the others.
                Value::ServerError(_) => others.push(name),
                Value::BulkString(text) => found.push((name, text)),
                _ => {}
            }
        }
    }
    let states = parallel::map(&found, |(_, text)| document::state(&String::from_utf8_lossy(text)).ok());
    let mut all = Vec::with_capacity(found.len());
    for ((name, _), state) in found.into_iter().zip(states) {
        match state {
            Some(state) => all.push((name, state)),
            None => others.push(name),
        }
    }
    Ok((all, others))
}
