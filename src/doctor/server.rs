//! What a Redis-protocol server tells of itself. Nothing is written there: every command either reads, or is refused for its
//! arguments before it could do anything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::{acl, network};
use crate::clock;
use crate::config::{Config, Server};
use crate::policy::limits::Ms;
use crate::policy::limits::millis;
use crate::store::server::commit::COMMIT;
use crate::store::server::commit::COMMIT_SHA;
use crate::store::server::connection::Link;
use crate::store::server::connection::error_text;
use crate::store::server::connection::refused;
use crate::store::server::load;
use crate::store::{self, StoreError};

/// How long all questions together may take, once it answered the first.
const WITHIN: Duration = Duration::from_secs(2);
/// How often the latency is measured.
const ROUNDS: usize = 5;
/// What is asked of its settings; never a password.
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
/// `INFO` of a large server.
const LONGEST: u64 = 1024 * 1024;

/// What a server told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Where it is, without its password.
    pub(super) at: String,
    /// The median of a few round trips.
    pub(super) latency: Duration,
    /// How far its clock is ahead of this machine's; `None` where it may not be asked.
    pub(super) ahead: Option<Ms>,
    /// `INFO`, by field; `None` where the user may not ask.
    pub(super) info: Option<BTreeMap<String, String>>,
    /// `CONFIG GET`, as far as it was answered; `None` where the user may not ask.
    pub(super) settings: Option<BTreeMap<String, String>>,
    /// Whether the scripts can be loaded.
    pub(super) scripts: Scripts,
    /// What the user may not do, as words of a rule; `None` where that was not learnt.
    pub(super) denied: Option<Vec<&'static str>>,
    /// Why it takes no writes just now, in its own words.
    pub(super) unwritable: Option<StoreError>,
    /// Why not everything could be asked.
    pub(super) cut: Option<StoreError>,
    /// The error that a step would get.
    pub(super) refuses: Option<StoreError>,
    /// Whether others than this machine's programs reach it, and without a password.
    pub(super) door: network::Door,
}

/// How the server took the scripts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Scripts {
    /// They were in its cache under the names that they are asked by.
    Cached,
    /// It took them, and named them as expected.
    Loaded,
    /// It names a script otherwise.
    Misnamed(String),
    /// It does not take one.
    Refused(String),
    /// The user may not ask (`SCRIPT` is not among what Frosty needs).
    #[default]
    Unknown,
}

impl Told {
    /// A field of `INFO`.
    pub(super) fn info(&self, field: &str) -> Option<&str> {
        self.info.as_ref()?.get(field).map(String::as_str)
    }

    /// A setting, where it was told.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.as_ref()?.get(name).map(String::as_str)
    }

    /// Its version, if it is a Dragonfly.
    pub(super) fn dragonfly(&self) -> Option<&str> {
        self.info("dragonfly_version")
    }
}

/// Asks a server everything.
///
/// # Errors
/// When it cannot be reached, does not let us in, or speaks another protocol.
pub(super) fn ask(config: &Config, server: &Server) -> Result<Told, StoreError> {
    let mut link = Link::connect(config, server, Instant::now() + config.budget)?;
    link.log_in()?;
    let mut told = Told { at: server.shown.clone(), ..Told::default() };
    (told.latency, told.ahead) = clock_of(&mut link, server)?;
    // Of a connection that ends, what was told stands.
    told.cut = learn(&mut link, server, config, &mut told).err();
    told.door = network::door(config, server, &told);
    told.refuses = store::refusal_of_a_step(config, server);
    Ok(told)
}

fn learn(link: &mut Link<'_>, server: &Server, config: &Config, told: &mut Told) -> Result<(), StoreError> {
    let setting = |name: &&str| {
        let mut get = cmd("CONFIG");
        get.arg("GET").arg(*name);
        get
    };
    let asked: Vec<Cmd> = std::iter::once(cmd("INFO")).chain(SETTINGS.iter().map(setting)).collect();
    let mut answers = each(link, &asked)?.into_iter();
    told.info = answers.next().and_then(|info| String::from_redis_value(info).ok()).map(|text| fields(&text));
    for answer in answers.filter(|answer| !matches!(answer, Value::ServerError(_))) {
        let settings = told.settings.get_or_insert_default();
        // A setting that it does not know is answered by nothing.
        if let Ok([name, value]) = <[String; 2]>::try_from(Vec::from_redis_value(answer).unwrap_or_default()) {
            settings.insert(name, value);
        }
    }
    told.scripts = scripts(link)?;
    // Last, since the connection only listens afterwards.
    let tried = acl::try_all(link, config)?;
    told.unwritable = tried.unwritable.map(|words| refused(server, &words));
    told.denied = Some(tried.denied);
    Ok(())
}

/// The median round trip, and how far the server's clock is ahead.
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
            // It answers within the budget; what follows is no verdict, and may take longer.
            link.take_up_to(LONGEST);
            link.until(Instant::now() + WITHIN);
        }
    }
    rounds.sort_unstable();
    Ok((rounds.get(ROUNDS / 2).copied().unwrap_or_default(), ahead))
}

/// `SCRIPT EXISTS`, and `SCRIPT LOAD` for what is not there: that writes the script cache and nothing else, and the next
/// stop would do the same.
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

/// One command's reply, an error among them.
pub(super) fn one(link: &mut Link<'_>, command: &Cmd) -> Result<Value, StoreError> {
    link.send([command])?;
    link.read()
}

/// Each command's reply, errors among them, in one round trip: a server may be far away.
pub(super) fn each(link: &mut Link<'_>, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
    link.send(commands)?;
    commands.iter().map(|_| link.read()).collect()
}

/// The fields of `INFO`.
fn fields(info: &str) -> BTreeMap<String, String> {
    let field = |line: &str| line.trim_end().split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    info.lines().filter_map(field).collect()
}
