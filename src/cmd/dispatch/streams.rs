//! The streams of the routes: each task in one becomes an entry of the agent's queue, once.
//!
//! The dispatchers of a fleet form one consumer group of each stream. An entry is acknowledged after it was added. Its id in
//! the queue is derived from its id in the stream, so that one that is read again is not added again.

use std::collections::{BTreeSet, HashMap};

use redis::{Value, cmd};

use super::DispatchError;
use crate::clock;
use crate::cmd::work::add::route_of;
use crate::cmd::work::cover;
use crate::cmd::{Failure, out};
use crate::config::{Config, Route};
use crate::hook;
use crate::policy::fact::fact_id;
use crate::policy::request::{Event, Step};
use crate::policy::work::entry::{LONGEST_TEXT, Priority, WorkEntry};
use crate::store::fleet_reader::FleetReader;
use crate::store::server::connection::Link;
use crate::store::work::{self, Change, Changed};
use crate::store::{self, StoreError};
use crate::text;

/// The most entries that are read at once.
const AT_ONCE: usize = 100;
/// How long an entry may stay with a dispatcher that does not acknowledge it, in milliseconds.
const LOST: u64 = 60_000;

/// An entry of a stream: its id and its fields.
type Entry = (String, HashMap<String, String>);

/// The streams of the routes.
pub(super) struct Streams {
    group: String,
    consumer: String,
    routes: Vec<(String, Route)>,
    /// The places of the routes with a group that exists.
    made: BTreeSet<usize>,
    /// The places of the routes with a group that was lost with its stream.
    lost: BTreeSet<usize>,
}

impl Streams {
    /// Returns the streams of the routes; `None` without any.
    ///
    /// # Errors
    /// When a route has a stream, and the store is this machine's files.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, DispatchError> {
        let from = |route: &Route| Some((route.from.clone()?, route.clone()));
        let routes: Vec<(String, Route)> = config.routes.iter().filter_map(from).collect();
        let Some((stream, _)) = routes.first() else { return Ok(None) };
        if store::server(config).is_none() {
            return Err(DispatchError::NoServer { stream: text::line(stream) });
        }
        let consumer = format!("{}-{}", clock::host(), std::process::id());
        Ok(Some(Self {
            group: format!("frosty-{}", config.fleet),
            consumer,
            routes,
            made: BTreeSet::new(),
            lost: BTreeSet::new(),
        }))
    }

    /// Adds the new tasks of all streams to their queues.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(super) fn take(&mut self, config: &Config) -> Result<(), Failure> {
        let mut reader = FleetReader::open_to_change(config);
        if let Some(away) = reader.take_away() {
            return Err(away.into());
        }
        let Some(link) = reader.parts().1 else {
            let stream = self.routes.first().map(|(stream, _)| text::line(stream)).unwrap_or_default();
            return Err(DispatchError::NoServer { stream }.into());
        };
        let mut failed = None;
        for (at, (stream, route)) in self.routes.iter().enumerate() {
            // A stream that was made anew has nothing from before the dispatcher.
            let from = if self.lost.contains(&at) { "0" } else { "$" };
            let from = Some(from).filter(|_| !self.made.contains(&at));
            match self.take_from(config, link, (stream, route), from) {
                Ok(()) => drop(self.made.insert(at)),
                Err(why) => {
                    // The group is gone where the stream was deleted.
                    if self.made.remove(&at) {
                        self.lost.insert(at);
                    }
                    let why = why.to_string();
                    failed = Some(DispatchError::Stream { stream: format!("the stream {}", text::line(stream)), why });
                }
            }
        }
        failed.map_or(Ok(()), |why| Err(why.into()))
    }

    fn take_from(
        &self,
        config: &Config,
        link: &mut Link<'_>,
        (stream, route): (&str, &Route),
        from: Option<&str>,
    ) -> Result<(), StoreError> {
        if let Some(from) = from {
            self.make_group(link, stream, from)?;
        }
        loop {
            let entries = self.read(link, stream)?;
            let is_last = entries.len() < AT_ONCE;
            for (id, fields) in entries {
                add(config, stream, route, &id, &fields)?;
                let mut done = cmd("XACK");
                done.arg(stream).arg(&self.group).arg(&id);
                link.ask(&[done])?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Makes the group of a stream, which begins at `from`; an existing one stays.
    fn make_group(&self, link: &mut Link<'_>, stream: &str, from: &str) -> Result<(), StoreError> {
        let mut make = cmd("XGROUP");
        make.arg("CREATE").arg(stream).arg(&self.group).arg(from).arg("MKSTREAM");
        match link.call(&[], &make)? {
            Value::ServerError(e) if e.code() == "BUSYGROUP" => Ok(()),
            Value::ServerError(_) => link.ask(&[make]).map(drop),
            _ => Ok(()),
        }
    }

    /// Reads the entries that no dispatcher has, and those of one that is gone.
    fn read(&self, link: &mut Link<'_>, stream: &str) -> Result<Vec<Entry>, StoreError> {
        let mut lost = cmd("XAUTOCLAIM");
        lost.arg(stream).arg(&self.group).arg(&self.consumer).arg(LOST).arg("0-0").arg("COUNT").arg(AT_ONCE);
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.group).arg(&self.consumer).arg("COUNT").arg(AT_ONCE);
        read.arg("STREAMS").arg(stream).arg(">");
        let mut entries = Vec::new();
        link.ask(&[lost, read])?.iter().for_each(|answer| collect(answer, &mut entries));
        Ok(entries)
    }
}

/// Collects the entries of a reply: arrays of an id and its fields, however deep they are.
fn collect(answer: &Value, into: &mut Vec<Entry>) {
    let parts = match answer {
        Value::Array(parts) => parts.clone(),
        Value::Map(pairs) => pairs.iter().map(|(_, value)| value.clone()).collect(),
        _ => return,
    };
    let is_id =
        |id: &str| id.split_once('-').is_some_and(|(ms, n)| ms.parse::<u64>().is_ok() && n.parse::<u64>().is_ok());
    if let [Value::BulkString(id), fields @ Value::Array(_)] = parts.as_slice()
        && let Some(id) = String::from_utf8(id.clone()).ok().filter(|id| is_id(id))
    {
        into.push((id, words(fields)));
        return;
    }
    parts.iter().for_each(|part| collect(part, into));
}

/// Returns the fields of an entry. Bytes that are no text are replaced.
fn words(fields: &Value) -> HashMap<String, String> {
    let Value::Array(words) = fields else { return HashMap::new() };
    let word = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    words.chunks(2).filter_map(|pair| Some((word(pair.first()?), word(pair.get(1)?)))).collect()
}

/// Adds the task of a stream's entry, where it is one: it has a text, and is no entry of a journal.
fn add(
    config: &Config,
    stream: &str,
    route: &Route,
    id: &str,
    fields: &HashMap<String, String>,
) -> Result<(), StoreError> {
    let mut texts =
        ["text", "task"].iter().filter_map(|name| fields.get(*name)).map(|task| text::prompt(task, usize::MAX));
    let task = texts.find(|task| !task.trim().is_empty() && !fields.contains_key("infrastructure_mode"));
    let Some(mut task) = task else { return Ok(()) };
    if task.chars().count() > LONGEST_TEXT {
        let rest = format!("\n(cut off; all of it: XRANGE {} {id} {id})", text::line(stream));
        task = task.chars().take(LONGEST_TEXT.saturating_sub(rest.chars().count())).collect();
        task.push_str(&rest);
    }
    let (agent, covers) = cover::receiver(config, route)?;
    let aside = if covers { format!(", since {} is held", text::line(&route.to)) } else { String::new() };
    let id = format!("{}.{:x}", id.replace('-', "."), fact_id(stream));
    let priority = fields.get("priority").and_then(|name| Priority::from_code(name)).unwrap_or(route.priority);
    let ack_turn = route.ack_turn || route_of(config, &agent).is_some_and(|route| route.ack_turn);
    let entry = WorkEntry { id: id.clone(), text: task, priority, ack_turn, ..WorkEntry::default() };
    let detail = format!("{} from the stream {}{aside}", priority.code(), text::line(stream));
    let step = Step { detail, ..hook::step_of(String::new(), String::new(), "WorkAdd", Event::Other) };
    let change = Change { agent: &agent, id: &id, by: None, step: &step };
    let is_new = work::change(config, &change, |Changed { work, record, now, .. }| {
        if record.is_none() {
            work.add(entry.clone(), None, now);
        }
        Ok::<bool, StoreError>(record.is_none())
    })??;
    if is_new {
        out::say(&format!(
            "took {id} from the stream {} for {}{aside}",
            text::line(stream),
            text::line(&text::decoded(&agent))
        ));
    }
    Ok(())
}
