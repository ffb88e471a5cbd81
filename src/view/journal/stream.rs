//! Reads the journal in the server's stream.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use redis::{Cmd, Value, cmd};

use crate::config::Config;
use crate::policy::limits::Ms;
use crate::store::StoreError;
use crate::store::server::connection::Link;
use crate::text;
use crate::view::journal::{Newest, Past, Patience, Words};

/// The id before all others.
pub(crate) const FIRST: &str = "0-0";

/// The most entries of one request, so that the server can answer other clients between requests.
const PAGE: usize = 1000;
const SMALLEST_PAGE: usize = 32;
/// If an answer was too large, the next request is smaller by this factor.
const FEWER: usize = 8;

/// Reads the stream from its end back, and returns the id of its end.
pub(crate) fn read(
    config: &Config,
    link: &mut Link<'_>,
    newest: &mut Newest,
    wanted: &mut impl FnMut(&Past) -> bool,
) -> Result<String, StoreError> {
    let each = newest.patience.each;
    let end = end(config, link, each)?;
    let mut last = Some(end.clone()).filter(|end| end != FIRST);
    let mut page = newest.most.saturating_add(1).clamp(SMALLEST_PAGE, PAGE);
    let mut largest = PAGE;
    let mut pages = 0_usize;
    while let Some(from) = last.take() {
        let oldest = newest.from();
        if oldest == Ms::MAX || (pages > 0 && newest.is_late()) {
            break;
        }
        let oldest = if oldest > 0 { oldest.to_string() } else { "-".to_owned() };
        let answer = match ask(link, &range(config, &from, &oldest, page), each) {
            Err(_) if link.overran() && page > 1 => {
                (largest, page) = (page / FEWER, (page / FEWER).max(1));
                last = Some(from);
                link.renew()?;
                continue;
            }
            answer => answer?,
        };
        pages += 1;
        let found = entries(&answer, link)?;
        if found.len() == page {
            last = found.last().and_then(|(id, _)| before(id));
        }
        for (id, words) in found {
            if let Some(past) = past(config, &id, words) {
                newest.take_from_server(past, wanted);
            }
        }
        page = largest.max(1);
    }
    Ok(end)
}

/// How long a follower waits for an overdue answer of a server. Meanwhile it shows nothing else.
const FOLLOWED: Duration = Duration::from_secs(2);

/// Returns the id of the last entry; [`FIRST`] where there is none.
pub(crate) fn end(config: &Config, link: &mut Link<'_>, within: Duration) -> Result<String, StoreError> {
    let last = entries(&ask(link, &range(config, "+", "-", 1), within)?, link)?.pop();
    Ok(last.map_or_else(|| FIRST.to_owned(), |(id, _)| id))
}

fn range(config: &Config, from: &str, to: &str, most: usize) -> Cmd {
    let mut range = cmd("XREVRANGE");
    range.arg(&config.stream).arg(from).arg(to).arg("COUNT").arg(most);
    range
}

/// Returns the entries after this one with their ids, oldest first. It waits for them up to `block`.
pub(crate) fn after(
    config: &Config,
    link: &mut Link<'_>,
    id: &str,
    wait: Option<Duration>,
) -> Result<Vec<Raw>, StoreError> {
    let mut page = PAGE;
    let answer = loop {
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(page);
        if let Some(wait) = wait {
            read.arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        }
        read.arg("STREAMS").arg(&config.stream).arg(id);
        match ask(link, &read, wait.map_or(Patience::ALL.each, |wait| wait + FOLLOWED)) {
            Err(_) if link.overran() && page > 1 => {
                page = (page / FEWER).max(1);
                link.renew()?;
            }
            answer => break answer?,
        }
    };
    match &answer {
        Value::Nil => Ok(Vec::new()),
        Value::Array(streams) => match streams.as_slice() {
            [] => Ok(Vec::new()),
            [Value::Array(stream)] if stream.len() == 2 => entries(stream.get(1).unwrap_or(&Value::Nil), link),
            _ => Err(link.nonsense(&answer)),
        },
        _ => Err(link.nonsense(&answer)),
    }
}

fn ask(link: &mut Link<'_>, command: &Cmd, within: Duration) -> Result<Value, StoreError> {
    link.until(Instant::now() + within);
    link.send([command])?;
    link.take().map_err(|e| match e {
        // The usual cure would not list this key.
        StoreError::Refused { at, said, .. } if said.contains("WRONGTYPE") => {
            let stream = text::path(Path::new(&link.config().stream));
            let cure = format!(
                "move the key away that has the journal's name and another type: redis-cli -u {at} RENAME {stream} {stream}.other"
            );
            StoreError::Refused { at, said, cure }
        }
        other => other,
    })
}

/// An entry's id and its fields.
pub(crate) type Raw = (String, Words);

/// An entry that a limit of the server cut off is not an entry, and hides no other.
fn entries(answer: &Value, link: &Link<'_>) -> Result<Vec<Raw>, StoreError> {
    match answer {
        Value::Array(all) => Ok(all.iter().filter_map(entry).collect()),
        Value::Nil => Ok(Vec::new()),
        other => Err(link.nonsense(other)),
    }
}

fn entry(value: &Value) -> Option<Raw> {
    let Value::Array(parts) = value else { return None };
    let [id, Value::Array(all)] = parts.as_slice() else { return None };
    let mut words = Words::with_room();
    for word in all {
        words.push(&text(word)?);
    }
    Some((text(id)?.into_owned(), words))
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes)),
        Value::SimpleString(text) => Some(text.into()),
        _ => None,
    }
}

/// Returns the entry if it belongs to this fleet: other programs may write to a shared stream.
pub(crate) fn past(config: &Config, id: &str, words: Words) -> Option<Past> {
    let past = Past::new(words, arrived(id)?);
    past.says("fleet", &config.fleet).then_some(past)
}

fn arrived(id: &str) -> Option<Ms> {
    id.split('-').next()?.parse().ok()
}

/// Returns the largest id before this one.
pub(crate) fn before(id: &str) -> Option<String> {
    let (ms, seq) = id.split_once('-')?;
    let (ms, seq): (u64, u64) = (ms.parse().ok()?, seq.parse().ok()?);
    match (ms.checked_sub(1), seq.checked_sub(1)) {
        (_, Some(seq)) => Some(format!("{ms}-{seq}")),
        // An id without the second number is the last of its millisecond.
        (Some(ms), None) => Some(ms.to_string()),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_before() {
        for (id, earlier) in
            [("5-7", Some("5-6")), ("5-0", Some("4")), ("0-1", Some("0-0")), ("0-0", None), ("x", None)]
        {
            assert_eq!(before(id).as_deref(), earlier, "{id}");
        }
    }
}
