//! Reads the routes of the dispatcher (key `routes`).

use serde_json::Value;

use crate::config::notify::argv;
use crate::policy::work::entry::Priority;
use crate::text;

/// The largest number of routes.
const MOST: usize = 64;
/// The longest name of a stream.
const LONGEST_STREAM: usize = 256;

/// Describes the accepted values.
pub(crate) const ALLOWED: &str = "a list of at most 64 routes such as {\"to\": \"echo\", \"from\": \"task.pipeline\", \
\"priority\": \"normal\", \"run\": [\"./worker\"]}, each with from, run or both, no two with the same from, and no two that run the same agent";

/// The way of work to one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The agent, as given.
    pub to: String,
    /// The stream on the server from which its tasks are taken.
    pub from: Option<String>,
    /// The priority of tasks from the stream that name none.
    pub priority: Priority,
    /// The program that works through the agent's queue in place of a session: it has the task on its standard input.
    pub run: Option<Vec<String>>,
}

/// Reads the value of the key `routes`. Returns `None` for an impossible value.
pub(crate) fn read(v: &Value) -> Option<Vec<Route>> {
    let list = v.as_array().filter(|list| list.len() <= MOST)?;
    let routes: Vec<Route> = list.iter().map(one).collect::<Option<_>>()?;
    let is_first = |at: usize, same: &dyn Fn(&Route) -> bool| !routes.iter().take(at).any(same);
    // One program works through a queue, and a stream has one queue.
    let is_alone = |(at, route): (usize, &Route)| {
        let runs = route.run.is_none() || is_first(at, &|other| other.run.is_some() && other.to == route.to);
        runs && (route.from.is_none() || is_first(at, &|other| other.from == route.from))
    };
    routes.iter().enumerate().all(is_alone).then_some(routes)
}

fn one(v: &Value) -> Option<Route> {
    let fields = v.as_object()?;
    if fields.keys().any(|key| !matches!(key.as_str(), "to" | "from" | "priority" | "run")) {
        return None;
    }
    let word = |key: &str| match fields.get(key) {
        None | Some(Value::Null) => Some(None),
        Some(v) => v.as_str().filter(|word| !word.is_empty()).map(|word| Some(word.to_owned())),
    };
    let to = word("to")??;
    let encoded = text::encode(&to);
    let is_stream = |name: &String| {
        let is_plain = !name.chars().any(|c| c.is_control() || c.is_whitespace());
        name.len() <= LONGEST_STREAM && is_plain && !name.starts_with("frosty:")
    };
    let from = word("from")?;
    let priority = word("priority")?.map_or(Some(Priority::Normal), |name| Priority::from_code(&name))?;
    let run = match fields.get("run") {
        None | Some(Value::Null) => None,
        Some(v) => Some(argv(v)?),
    };
    let fits = encoded.len() <= text::LONGEST_NAME && from.as_ref().is_none_or(is_stream);
    (fits && (from.is_some() || run.is_some())).then_some(Route { to, from, priority, run })
}
