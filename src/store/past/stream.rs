//! The journal as the server's stream has it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use redis::{Cmd, Value, cmd};

use super::super::StoreError;
use super::super::link::Link;
use super::{Newest, Past, Words};
use crate::config::Config;
use crate::throttle::policy::Ms;

/// No more entries are asked for at once: the server answers others meanwhile.
pub(super) const PAGE: usize = 1000;
const SMALLEST_PAGE: usize = 32;
/// How long one page may take.
pub(super) const WITHIN: Duration = Duration::from_secs(5);

/// Reads the stream from its end back.
pub(super) fn read(
    config: &Config,
    link: &mut Link<'_>,
    newest: &mut Newest,
    wanted: &mut impl FnMut(&Past) -> bool,
) -> Result<(), StoreError> {
    let mut last = "+".to_owned();
    let mut page = newest.most.saturating_add(1).clamp(SMALLEST_PAGE, PAGE);
    loop {
        let from = newest.from();
        if from == Ms::MAX {
            return Ok(());
        }
        let mut get = cmd("XREVRANGE");
        let first = if from <= 0 { "-".to_owned() } else { from.to_string() };
        get.arg(&config.stream).arg(&last).arg(first).arg("COUNT").arg(page);
        let found = ask(link, get)?;
        let Some(before) = found.last().and_then(|(id, _)| before(id)) else { return Ok(()) };
        let is_last = found.len() < page;
        for (id, words) in found {
            if let Some(past) = past(config, &id, words) {
                newest.take_from_server(past, wanted);
            }
        }
        if is_last {
            return Ok(());
        }
        (last, page) = (before, PAGE);
    }
}

/// An entry's id and its fields.
pub(super) type Raw = (String, Words);

fn ask(link: &mut Link<'_>, command: Cmd) -> Result<Vec<Raw>, StoreError> {
    link.until(Instant::now() + WITHIN);
    let answer = link.ask(&[command])?.pop().unwrap_or(Value::Nil);
    entries(answer).map_err(|nonsense| link.nonsense(&nonsense))
}

/// The entries of a stream's answer.
///
/// # Errors
/// What is none is given back.
pub(super) fn entries(answer: Value) -> Result<Vec<Raw>, Value> {
    let all = match answer {
        Value::Array(all) => all,
        Value::Nil => Vec::new(),
        other => return Err(other),
    };
    // One that is cut off by a limit of the server is no entry, and hides no other.
    Ok(all.into_iter().filter_map(entry).collect())
}

fn entry(value: Value) -> Option<Raw> {
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

/// One of this fleet's entries: the stream may be shared, and anybody may write there.
pub(super) fn past(config: &Config, id: &str, words: Words) -> Option<Past> {
    let arrived = id.split('-').next()?.parse().ok()?;
    let past = Past::new(words, arrived);
    past.says("fleet", &config.fleet).then_some(past)
}

/// The largest id before this one.
fn before(id: &str) -> Option<String> {
    let (ms, seq) = id.split_once('-')?;
    let (ms, seq): (u64, u64) = (ms.parse().ok()?, seq.parse().ok()?);
    match (ms.checked_sub(1), seq.checked_sub(1)) {
        (_, Some(seq)) => Some(format!("{ms}-{seq}")),
        // Without the second number it is the last of that millisecond.
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
