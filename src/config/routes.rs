//! Reads the routes of the dispatcher (key `routes`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::notify::argv;
use crate::duration;
use crate::policy::work::entry::Priority;
use crate::text;

/// The largest number of routes.
const MOST: usize = 64;
/// The longest name of a stream.
const LONGEST_STREAM: usize = 256;

/// The largest number of sessions of a route, and of its keys.
const MOST_SESSIONS: u64 = 16;
const MOST_KEYS: usize = 8;
/// The time after which an idle session is stopped, where a route names none.
const IDLE_STOP: Duration = Duration::from_secs(1800);
/// The longest such time.
const LONGEST_IDLE: Duration = Duration::from_secs(30 * 86_400);

/// The values of `ack`: what acknowledges a task.
const ACK_DONE: &str = "done";
const ACK_TURN: &str = "turn";

/// Describes the accepted values.
pub(crate) const ALLOWED: &str = "a list of at most 64 routes such as {\"to\": \"echo\", \"from\": \"task.pipeline\", \
\"priority\": \"normal\"}, {\"to\": \"build\", \"run\": [\"./build.sh\"]} or {\"to\": \"helix\", \"session\": \"background\"}, each with from, \
topic, run or session, no two with the same from or the same topic, and no two that run or start the same agent";

/// The way of work to one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The agent, as given.
    pub to: String,
    /// The stream on the server from which its tasks are taken.
    pub from: Option<String>,
    /// The topic: a further name for the agent's queue in `frosty work add --to`.
    pub topic: Option<String>,
    /// The agent that gets the tasks of the stream and of the topic while `to` is held.
    pub cover: Option<String>,
    /// The priority of tasks from the stream that name none.
    pub priority: Priority,
    /// Whether the end of the first turn with a task acknowledges it.
    pub ack_turn: bool,
    /// The program that works through the agent's queue in place of a session: it has the task on its standard input.
    pub run: Option<Vec<String>>,
    /// The session of the client that the dispatcher starts where the queue has work and no session.
    pub session: Option<SessionRoute>,
}

impl Route {
    /// Returns whether the dispatcher works through the agent's queue by this route.
    #[must_use]
    pub fn works(&self) -> bool {
        self.run.is_some() || self.session.is_some()
    }

    /// Returns the name of what acknowledges a task, as the configuration has it.
    #[must_use]
    pub fn ack(&self) -> &'static str {
        if self.ack_turn { ACK_TURN } else { ACK_DONE }
    }
}

/// How the dispatcher starts sessions of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRoute {
    /// The kind of the session.
    pub kind: SessionKind,
    /// The folder in which it works; `None` for that of the dispatcher.
    pub folder: Option<PathBuf>,
    /// The model.
    pub model: Option<String>,
    /// The text that is added to the client's system prompt.
    pub system_prompt: Option<String>,
    /// Further variables of its environment.
    pub env: BTreeMap<String, String>,
    /// The files with an API key each; empty for the client's own.
    pub keys: Vec<PathBuf>,
    /// The most sessions of the agent.
    pub max_sessions: usize,
    /// The time after which an idle session is stopped.
    pub idle_stop: Duration,
}

/// The kinds of session that the dispatcher starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// `claude --bg`: the client's own supervisor runs it.
    Background,
    /// `claude -p`: a child of the dispatcher.
    Print,
}

impl SessionKind {
    /// Returns the name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Print => "print",
        }
    }
}

/// Why a list of routes is impossible.
pub(crate) enum Wrong {
    /// It is no list, or too long.
    List,
    /// The route at this place has a field with this name, which is unknown.
    Field(usize, String),
    /// The route at this place has an impossible value.
    Route(usize),
    /// The route at this place takes what an earlier one has.
    Twice(usize),
}

/// Reads the value of the key `routes`.
///
/// # Errors
/// When it is impossible.
pub(crate) fn read(v: &Value) -> Result<Vec<Route>, Wrong> {
    let list = v.as_array().filter(|list| list.len() <= MOST).ok_or(Wrong::List)?;
    let is_unknown = |key: &&String| !OF_ROUTE.contains(&key.as_str()) && !OF_SESSION.contains(&key.as_str());
    let unknown = |v: &Value| v.as_object().and_then(|fields| fields.keys().find(is_unknown).cloned());
    let read = |(at, v)| one(v).ok_or_else(|| unknown(v).map_or(Wrong::Route(at), |field| Wrong::Field(at, field)));
    let routes: Vec<Route> = list.iter().enumerate().map(read).collect::<Result<_, _>>()?;
    let is_first = |at: usize, same: &dyn Fn(&Route) -> bool| !routes.iter().take(at).any(same);
    // One program works through a queue, and a stream or a topic has one queue.
    let is_alone = |(at, route): (usize, &Route)| {
        let runs = !route.works() || is_first(at, &|other| other.works() && other.to == route.to);
        let is_agent =
            |topic: &String| routes.iter().any(|other| other.to == *topic || other.cover.as_ref() == Some(topic));
        let names = route.topic.is_none() || is_first(at, &|other| other.topic == route.topic);
        let names = names && !route.topic.as_ref().is_some_and(is_agent);
        runs && names && (route.from.is_none() || is_first(at, &|other| other.from == route.from))
    };
    match routes.iter().enumerate().position(|route| !is_alone(route)) {
        None => Ok(routes),
        Some(at) => Err(Wrong::Twice(at)),
    }
}

/// Returns the fields of a route, for an error.
pub(crate) fn fields() -> String {
    let all: Vec<&str> = OF_ROUTE.into_iter().chain(OF_SESSION).collect();
    all.join(", ")
}

fn one(v: &Value) -> Option<Route> {
    let fields = v.as_object()?;
    if fields.keys().any(|key| !OF_ROUTE.contains(&key.as_str()) && !OF_SESSION.contains(&key.as_str())) {
        return None;
    }
    let word = |key: &str| word(fields, key);
    let to = word("to")??;
    let is_stream = |name: &String| {
        let is_plain = !name.chars().any(|c| c.is_control() || c.is_whitespace());
        name.len() <= LONGEST_STREAM && is_plain && !name.starts_with("frosty:")
    };
    let from = word("from")?;
    let priority = word("priority")?.map_or(Some(Priority::Normal), |name| Priority::from_code(&name))?;
    let ack_turn = match word("ack")?.as_deref() {
        None | Some(ACK_DONE) => false,
        Some(ACK_TURN) => true,
        Some(_) => return None,
    };
    let run = match fields.get("run") {
        None | Some(Value::Null) => None,
        Some(v) => Some(argv(v)?),
    };
    let (topic, cover) = (word("topic")?, word("cover")?);
    let names = [Some(&to), topic.as_ref(), cover.as_ref()];
    // A session's hooks report its name as a line, and its claims go by that.
    let is_name = |name: &String| text::encode(name).len() <= text::LONGEST_NAME && text::line(name) == *name;
    let are_names = names.into_iter().flatten().all(is_name);
    let session = session(fields)?;
    let takes = from.is_some() || topic.is_some();
    let covers = cover.as_ref().is_none_or(|cover| takes && text::encode(cover) != text::encode(&to));
    let works = run.is_some() || session.is_some();
    let fits = are_names && from.as_ref().is_none_or(is_stream) && covers && (takes || works);
    let fits = fits && (run.is_none() || session.is_none());
    fits.then_some(Route { to, from, topic, cover, priority, ack_turn, run, session })
}

/// The fields of every route.
const OF_ROUTE: [&str; 8] = ["to", "from", "topic", "cover", "priority", "ack", "run", "session"];
/// The fields that belong to `session`.
const OF_SESSION: [&str; 7] = ["folder", "model", "system_prompt", "env", "keys", "max_sessions", "idle_stop"];

/// Reads the session of a route. The outer `None` is an impossible value.
#[allow(clippy::option_option, reason = "an absent session is no impossible one")]
fn session(fields: &Map<String, Value>) -> Option<Option<SessionRoute>> {
    let kind = match word(fields, "session")?.as_deref() {
        None => return (!OF_SESSION.iter().any(|key| fields.contains_key(*key))).then_some(None),
        Some("background") => SessionKind::Background,
        Some("print") => SessionKind::Print,
        Some(_) => return None,
    };
    let set = |key: &str| fields.get(key).filter(|v| !v.is_null());
    let env = match set("env") {
        None => BTreeMap::new(),
        Some(v) => v.as_object()?.iter().map(|(name, v)| variable(name, v)).collect::<Option<_>>()?,
    };
    let keys: Vec<PathBuf> = match set("keys") {
        None => Vec::new(),
        Some(v) => v.as_array()?.iter().map(|v| path(v.as_str()?)).collect::<Option<_>>()?,
    };
    let max_sessions = match set("max_sessions") {
        None => 1,
        Some(v) => v.as_u64().filter(|n| (1..=MOST_SESSIONS).contains(n))?,
    };
    let idle_stop = match set("idle_stop") {
        None => IDLE_STOP,
        Some(v) => duration::parse(v.as_str()?).filter(|d| !d.is_zero() && *d <= LONGEST_IDLE)?,
    };
    let folder = match word(fields, "folder")? {
        None => None,
        Some(folder) => Some(path(&folder)?),
    };
    let (model, system_prompt) = (word(fields, "model")?, word(fields, "system_prompt")?);
    let fits = keys.len() <= MOST_KEYS;
    let max_sessions = usize::try_from(max_sessions).ok()?;
    let session = SessionRoute { kind, folder, model, system_prompt, env, keys, max_sessions, idle_stop };
    fits.then_some(Some(session))
}

/// Reads an optional text that is not empty. The outer `None` is an impossible value.
#[allow(clippy::option_option, reason = "an absent text is no impossible one")]
fn word(fields: &Map<String, Value>, key: &str) -> Option<Option<String>> {
    match fields.get(key) {
        None | Some(Value::Null) => Some(None),
        Some(v) => v.as_str().filter(|word| !word.is_empty() && !word.contains('\0')).map(|word| Some(word.to_owned())),
    }
}

/// Reads a path. It is absolute, or begins with `~/`: the folder of the dispatcher is no part of a configuration.
fn path(word: &str) -> Option<PathBuf> {
    let is_anchored = word.starts_with('/') || word.starts_with("~/");
    (is_anchored && !word.chars().any(char::is_control)).then(|| PathBuf::from(word))
}

/// Reads a variable of the environment. Frosty sets its own.
fn variable(name: &str, value: &Value) -> Option<(String, String)> {
    let is_name = !name.is_empty() && !name.contains(['=', '\0']) && !name.starts_with("FROSTY_");
    let value = value.as_str().filter(|value| is_name && !value.contains('\0'))?;
    Some((name.to_owned(), value.to_owned()))
}
