//! A work queue on a server: its document, and a sorted set for each of its lists.

use redis::{Cmd, FromRedisValue, Value, cmd};

use crate::config::Server;
use crate::policy::limits::Ms;
use crate::policy::work::entry::{List, WorkEntry};
use crate::policy::work::question::REPLY_KEEP;
use crate::policy::work::queue::Queue;
use crate::policy::work::{Move, Record, WorkState};
use crate::store::StoreError;
use crate::store::server::changes::put;
use crate::store::server::commit::Commit;
use crate::store::server::connection::Link;
use crate::store::server::document::Document;
use crate::store::server::keys::Keys;
use crate::store::server::load::{document, get};
use crate::store::work::seen;

/// How long what is known of an entry that is over is kept: its id is not used again before.
const RECORD_KEEP: Ms = 30 * 86_400_000;
/// How long a queue is kept to which nothing was added, and of which nothing was taken.
const LIST_KEEP: Ms = 500 * 86_400_000;
/// The most delayed entries that one step makes claimable.
const MOST_DUE: usize = 8;

/// A queue as it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadedWork {
    document: Document<Queue>,
    /// The queue with the heads of its lists.
    pub(crate) state: WorkState,
}

/// Returns the reads of a queue, all of which go into one write.
pub(crate) fn questions(keys: Keys<'_>, agent: &str) -> [Cmd; 5] {
    let head = |list| range(&keys.work_list(agent, list), 0, 0);
    [
        get(&keys.work(agent)),
        head(List::High),
        head(List::Normal),
        head(List::Low),
        range(&keys.work_list(agent, List::Later), 0, MOST_DUE.saturating_sub(1)),
    ]
}

/// Reads entries of a list by their places.
pub(crate) fn range(key: &str, from: usize, to: usize) -> Cmd {
    let mut range = cmd("ZRANGE");
    range.arg(key).arg(from).arg(to);
    range
}

/// Parses the replies; `None` for a queue that cannot be read, from which nothing is claimed.
///
/// # Errors
/// When the queue is of a newer format.
pub(crate) fn answers(
    server: &Server,
    keys: Keys<'_>,
    agent: &str,
    mut next: impl FnMut() -> Value,
) -> Result<Option<LoadedWork>, StoreError> {
    let answer = next();
    let (document, damaged) = document(server, keys.work(agent), &answer, Queue::default)?;
    let heads = [(); 3].map(|()| entries(&next()));
    let later = entries(&next());
    let (Some(later), None) = (later, damaged) else { return Ok(None) };
    let [Some(high), Some(normal), Some(low)] = heads else { return Ok(None) };
    let heads = [high, normal, low].map(|entries| entries.into_iter().next());
    if document.version.is_empty() && (heads.iter().any(Option::is_some) || !later.is_empty()) {
        // The numbers that the document gave are unknown.
        return Ok(None);
    }
    let queue = document.state.clone();
    let seen = seen(&queue.hand);
    let state = WorkState { agent: agent.to_owned(), queue, heads, later, seen, ..WorkState::default() };
    Ok(Some(LoadedWork { document, state }))
}

/// Reads an entry by its place.
///
/// # Errors
/// When the server cannot be reached.
pub(crate) fn at(
    link: &mut Link<'_>,
    keys: Keys<'_>,
    agent: &str,
    list: List,
    place: Ms,
    id: &str,
) -> Result<Option<(List, WorkEntry)>, StoreError> {
    let mut range = cmd("ZRANGE");
    range.arg(keys.work_list(agent, list)).arg(place).arg(place).arg("BYSCORE");
    let answer = link.ask(&[range])?.pop().unwrap_or(Value::Nil);
    let found = entries(&answer).into_iter().flatten().find(|entry| entry.id == id);
    Ok(found.map(|entry| (list, entry)))
}

/// Returns the entries of a reply to [`range`]; `None` where one cannot be read.
pub(crate) fn entries(answer: &Value) -> Option<Vec<WorkEntry>> {
    let texts = Vec::<String>::from_redis_value_ref(answer).ok()?;
    texts.into_iter().map(entry).collect()
}

fn entry(stored: String) -> Option<WorkEntry> {
    let entry: WorkEntry = serde_json::from_str(&stored).ok()?;
    Some(WorkEntry { stored, ..entry })
}

/// Adds the changes of a queue, and requires that it is as it was read where an entry moves or a session was `admitted`.
///
/// Other commits may come between the reads, so that the document itself need not change with the entries.
pub(crate) fn changes(commit: &mut Commit, keys: Keys<'_>, loaded: &LoadedWork, state: &WorkState, admitted: bool) {
    let agent = &state.agent;
    // A key of another type ends the script: before anything is written, where an entry joins a list, since every list that
    // it leaves was read.
    for change in &state.moves {
        if let Move::Put(list, entry) = change {
            let key = keys.work_list(agent, *list);
            commit.rank(key.clone(), entry.score(*list), &entry.text_in_store());
            commit.touch(key, LIST_KEEP);
        }
    }
    for change in &state.moves {
        match change {
            Move::Take(list, entry) => commit.remove(keys.work_list(agent, *list), &entry.text_in_store()),
            Move::Put(..) => {}
            Move::Note(record) => note(commit, keys, record),
        }
    }
    let is_checked = admitted || !state.moves.is_empty();
    put(commit, keys.work(agent), &loaded.document, &state.queue, None, is_checked);
    if !state.moves.is_empty() {
        commit.index(keys.index("work"), agent.clone(), String::new());
    }
}

fn note(commit: &mut Commit, keys: Keys<'_>, record: &Record) {
    let lifetime = record.state.is_over().then_some(if record.has_reply() { REPLY_KEEP } else { RECORD_KEEP });
    if let Some(text) = Document::default().next(record, &crate::clock::id()) {
        commit.set(keys.work_record(&record.id), lifetime, text);
    }
}

/// Reads what is known by an id from the reply to [`get`]; `None` where nothing is.
///
/// # Errors
/// When it is of a newer format, or damaged.
pub(crate) fn record(
    server: &Server,
    keys: Keys<'_>,
    id: &str,
    answer: &Value,
) -> Result<Document<Record>, StoreError> {
    let unknown = || Record { id: id.to_owned(), ..Record::default() };
    let place = keys.work_record(id);
    match document(server, place.clone(), answer, unknown)? {
        (found, None) => Ok(found),
        (_, Some(damaged)) => Err(StoreError::WorkUnreadable { place, cause: damaged.note }),
    }
}

#[cfg(test)]
mod tests {
    use redis::Arg;

    use super::*;

    /// A command read the queue, and then an entry that another commit had added meanwhile.
    #[test]
    fn an_entry_moves_only_in_the_queue_that_was_read() {
        let document = Document::<Queue>::read("{\"version\":\"4-a\",\"format\":1}").unwrap();
        let loaded = LoadedWork { document, state: WorkState::default() };
        let state = WorkState { moves: vec![Move::Take(List::Low, WorkEntry::default())], ..loaded.state.clone() };
        let mut commit = Commit::default();
        changes(&mut commit, Keys::of("f"), &loaded, &state, false);
        let call = commit.call("EVAL", "script");
        let words: Vec<Arg<&[u8]>> = call.args_iter().collect();
        let is_version = |word: &Arg<&[u8]>| *word == Arg::Simple(b"{\"version\":\"4-a\"");
        assert!(words.iter().any(is_version), "{words:?}");
    }
}
