//! Reads the properties of a Redis-protocol server. It writes nothing: every command either reads, or is refused for
//! its arguments before it could have an effect.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::{acl, network};
use crate::clock;
use crate::config::{Config, Server};
use crate::policy::limits::{Ms, millis};
use crate::store::server::commit::{COMMIT, COMMIT_SHA};
use crate::store::server::connection::{Link, error_text, refused};
use crate::store::server::keys::Keys;
use crate::store::server::load;
use crate::store::{self, StoreError};

/// The time limit of all queries together, after the first answer.
const WITHIN: Duration = Duration::from_secs(2);
/// How often the latency is measured.
const ROUNDS: usize = 5;
/// The settings that are read; a password never is.
const SETTINGS: [&str; 8] = [
    "bind",
    "protected-mode",
    "save",
    "appendonly",
    "lock_on_hashtags",
    "cluster_mode",
    "primary_port_http_enabled",
    "maxclients",
];
/// The largest `INFO` of a server.
const LONGEST: u64 = 1024 * 1024;

/// The properties of a server.
#[derive(Debug, Default)]
pub(super) struct ServerFacts {
    /// Its address, without its password.
    pub(super) at: String,
    /// The median of a few round trips.
    pub(super) latency: Duration,
    /// How far its clock is ahead of this machine's; `None` where the user may not read it.
    pub(super) ahead: Option<Ms>,
    /// `INFO`, by field; `None` where the user may not read it.
    pub(super) info: Option<BTreeMap<String, String>>,
    /// `CONFIG GET`, as far as it was answered; `None` where the user may not read it.
    pub(super) settings: Option<BTreeMap<String, String>>,
    /// Whether the scripts can be loaded.
    pub(super) scripts: Scripts,
    /// The missing rights of the user, as words of an ACL rule; `None` where they are not known.
    pub(super) denied: Option<Vec<&'static str>>,
    /// The server's reason for refusing writes now.
    pub(super) unwritable: Option<StoreError>,
    /// Why some queries were not answered.
    pub(super) cut: Option<StoreError>,
    /// The error that a request would get.
    pub(super) refuses: Option<StoreError>,
    /// How other machines reach the server, and whether they need a password.
    pub(super) door: network::Door,
    /// Whether the server has data of the format before documents, which nothing reads any more.
    pub(super) has_old_data: bool,
}

/// The state of the scripts on the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Scripts {
    /// They are in its cache under the expected names.
    Cached,
    /// The server loaded them, with the expected names.
    Loaded,
    /// The server gives a script another name.
    Misnamed(String),
    /// The server refuses a script.
    Refused(String),
    /// The user may not use `SCRIPT`, which Frosty does not need.
    #[default]
    Unknown,
}

impl ServerFacts {
    /// Returns a field of `INFO`.
    pub(super) fn info(&self, field: &str) -> Option<&str> {
        self.info.as_ref()?.get(field).map(String::as_str)
    }

    /// Returns a setting, where the server returned it.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.as_ref()?.get(name).map(String::as_str)
    }

    /// Returns its version, if it is a Dragonfly.
    pub(super) fn dragonfly(&self) -> Option<&str> {
        self.info("dragonfly_version")
    }
}

/// Reads all properties of a server.
///
/// # Errors
/// When it cannot be reached, refuses the login, or uses another protocol.
pub(super) fn ask(config: &Config, server: &Server) -> Result<ServerFacts, StoreError> {
    let mut link = Link::connect(config, server, Instant::now() + config.budget)?;
    link.log_in()?;
    let mut told = ServerFacts { at: server.shown.clone(), ..ServerFacts::default() };
    (told.latency, told.ahead) = clock_of(&mut link, server)?;
    // If the connection ends, the answers until then are kept.
    told.cut = learn(&mut link, server, config, &mut told).err();
    told.door = network::door(config, server, &told);
    told.refuses = store::refusal_of_a_step(config, server);
    Ok(told)
}

fn learn(link: &mut Link<'_>, server: &Server, config: &Config, told: &mut ServerFacts) -> Result<(), StoreError> {
    let setting = |name: &&str| {
        let mut get = cmd("CONFIG");
        get.arg("GET").arg(*name);
        get
    };
    let mut exists = cmd("EXISTS");
    exists.arg(Keys::of(&config.fleet).before_documents());
    let asked: Vec<Cmd> = [cmd("INFO"), exists].into_iter().chain(SETTINGS.iter().map(setting)).collect();
    let mut answers = each(link, &asked)?.into_iter();
    told.info = answers.next().and_then(|info| String::from_redis_value(info).ok()).map(|text| fields(&text));
    told.has_old_data = matches!(answers.next(), Some(Value::Int(1)));
    for answer in answers.filter(|answer| !matches!(answer, Value::ServerError(_))) {
        let settings = told.settings.get_or_insert_default();
        // An unknown setting has an empty answer.
        if let Ok([name, value]) = <[String; 2]>::try_from(Vec::from_redis_value(answer).unwrap_or_default()) {
            settings.insert(name, value);
        }
    }
    told.scripts = scripts(link)?;
    // This comes last, because afterwards the connection only listens.
    let tried = acl::try_all(link, config)?;
    told.unwritable = tried.unwritable.map(|words| refused(server, &words));
    told.denied = Some(tried.denied);
    Ok(())
}

/// Returns the median round trip, and how far the server's clock is ahead.
fn clock_of(link: &mut Link<'_>, server: &Server) -> Result<(Duration, Option<Ms>), StoreError> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    let mut ahead = None;
    for _ in 0..ROUNDS {
        let (asked_at, asked) = (clock::host_ms(), Instant::now());
        let answer = one(link, &cmd("TIME"))?;
        let took = asked.elapsed();
        match &answer {
            Value::ServerError(e) if e.code().starts_with("NOPERM") => {}
            Value::ServerError(e) => return Err(refused(server, &error_text(e))),
            time => {
                let now = load::time(time).ok_or_else(|| link.nonsense(time))?;
                ahead = Some(now.saturating_sub(asked_at.saturating_add(millis(took) / 2)));
            }
        }
        rounds.push(took);
        if rounds.len() == 1 {
            // The server answers within the budget. The following answers are no verdict, and may take longer.
            link.take_up_to(LONGEST);
            link.until(Instant::now() + WITHIN);
        }
    }
    rounds.sort_unstable();
    Ok((rounds.get(ROUNDS / 2).copied().unwrap_or_default(), ahead))
}

/// Calls `SCRIPT EXISTS`, and `SCRIPT LOAD` for missing scripts. That writes only the script cache, as the next stop
/// would.
fn scripts(link: &mut Link<'_>) -> Result<Scripts, StoreError> {
    let mut exists = cmd("SCRIPT");
    exists.arg("EXISTS");
    exists.arg(COMMIT_SHA);
    let Ok(there) = Vec::<bool>::from_redis_value(one(link, &exists)?) else { return Ok(Scripts::Unknown) };
    if there == [true] {
        return Ok(Scripts::Cached);
    }
    let mut load = cmd("SCRIPT");
    load.arg("LOAD").arg(COMMIT);
    match one(link, &load)? {
        Value::ServerError(e) if e.code().starts_with("NOPERM") => return Ok(Scripts::Unknown),
        Value::ServerError(e) => return Ok(Scripts::Refused(error_text(&e))),
        named => match String::from_redis_value(named) {
            Ok(name) if name == COMMIT_SHA => {}
            other => return Ok(Scripts::Misnamed(other.unwrap_or_default())),
        },
    }
    Ok(Scripts::Loaded)
}

/// Returns one command's reply, which may be an error.
pub(super) fn one(link: &mut Link<'_>, command: &Cmd) -> Result<Value, StoreError> {
    link.send([command])?;
    link.read()
}

/// Returns each command's reply, errors included, in one round trip: a server may be far away.
pub(super) fn each(link: &mut Link<'_>, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
    link.send(commands)?;
    commands.iter().map(|_| link.read()).collect()
}

/// Parses the fields of `INFO`.
fn fields(info: &str) -> BTreeMap<String, String> {
    let field = |line: &str| line.trim_end().split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    info.lines().filter_map(field).collect()
}
