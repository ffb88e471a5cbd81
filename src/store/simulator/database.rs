//! The part of Redis that the store uses: strings, sorted sets, streams, expiry. `compare.rs` compares it with
//! a real server.

use std::collections::BTreeMap;

/// A server's reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Status(&'static str),
    Bulk(Vec<u8>),
    Nil,
    Int(i64),
    Array(Vec<Reply>),
    Error(String),
}

#[derive(Debug, Clone)]
enum Kind {
    Text(Vec<u8>),
    /// Sorted by score, then by member.
    Sorted(Vec<(f64, Vec<u8>)>),
    /// The number of entries.
    Stream(u64),
}

#[derive(Debug, Clone)]
struct Key {
    kind: Kind,
    /// When it expires, in milliseconds of the server's clock.
    expires: Option<i64>,
}

/// The data of one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    keys: BTreeMap<Vec<u8>, Key>,
    entries: u64,
}

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

fn wrong_type() -> Reply {
    Reply::Error(WRONG_TYPE.to_owned())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

fn int(bytes: &[u8]) -> i64 {
    text(bytes).parse().unwrap_or(0)
}

/// A bound of a range of scores, and whether it is excluded.
fn bound(bytes: &[u8]) -> (f64, bool) {
    let all = text(bytes);
    let (number, is_open) = all.strip_prefix('(').map_or((all, false), |number| (number, true));
    let number = match number {
        "-inf" => f64::NEG_INFINITY,
        "+inf" | "inf" => f64::INFINITY,
        number => number.parse().unwrap_or(0.0),
    };
    (number, is_open)
}

fn is_within(score: f64, low: (f64, bool), high: (f64, bool)) -> bool {
    let above = if low.1 { score > low.0 } else { score >= low.0 };
    let below = if high.1 { score < high.0 } else { score <= high.0 };
    above && below
}

/// Returns whether a server refuses the words of a command before it reads the key.
fn is_refused(words: &[&[u8]]) -> bool {
    match words {
        [b"SET", _, _, _] => true,
        [b"PEXPIRE", _, time] => text(time).parse::<i64>().is_err(),
        [b"ZADD" | b"ZREMRANGEBYSCORE", _, b"no-number", _] => true,
        _ => false,
    }
}

impl Database {
    /// Runs one command at `now` (microseconds of the server's clock).
    pub(super) fn run(&mut self, now: i64, words: &[&[u8]]) -> Reply {
        let ms = now / 1000;
        let word = |i: usize| words.get(i).copied().unwrap_or_default();
        let key = word(1);
        if self.keys.get(key).and_then(|key| key.expires).is_some_and(|at| at <= ms) {
            self.keys.remove(key);
        }
        if is_refused(words) {
            return Reply::Error("ERR syntax error".to_owned());
        }
        match text(word(0)) {
            "TIME" => {
                let part = |n: i64| Reply::Bulk(n.to_string().into_bytes());
                Reply::Array(vec![part(now / 1_000_000), part(now % 1_000_000)])
            }
            "GET" => match self.keys.get(key).map(|key| &key.kind) {
                None => Reply::Nil,
                Some(Kind::Text(text)) => Reply::Bulk(text.clone()),
                Some(_) => wrong_type(),
            },
            "SET" => {
                let expires = (words.len() > 3).then(|| ms.saturating_add(int(word(4))));
                self.keys.insert(key.to_owned(), Key { kind: Kind::Text(word(2).to_owned()), expires });
                Reply::Status("OK")
            }
            "PEXPIRE" => match self.keys.get_mut(key) {
                None => Reply::Int(0),
                Some(_) if int(word(2)) <= 0 => {
                    self.keys.remove(key);
                    Reply::Int(1)
                }
                Some(found) => {
                    found.expires = Some(ms.saturating_add(int(word(2))));
                    Reply::Int(1)
                }
            },
            "XADD" => self.add_entry(now, words),
            "ZADD" => {
                let is_new_only = word(2).eq_ignore_ascii_case(b"NX");
                let at = if is_new_only { 3 } else { 2 };
                self.add(key, bound(word(at)).0, word(at + 1), is_new_only)
            }
            "ZRANGE" if word(4) == b"BYSCORE" => match self.sorted(key) {
                Err(e) => e,
                Ok(all) => {
                    let (low, high) = (bound(word(2)), bound(word(3)));
                    let within = all.iter().filter(|(score, _)| is_within(*score, low, high));
                    Reply::Array(within.map(|(_, member)| Reply::Bulk(member.clone())).collect())
                }
            },
            "ZRANGE" => self.range(key, int(word(2)), int(word(3)), words.len() > 4),
            "ZCOUNT" => match self.sorted(key) {
                Err(e) => e,
                Ok(all) => {
                    let (low, high) = (bound(word(2)), bound(word(3)));
                    let count = all.iter().filter(|(score, _)| is_within(*score, low, high)).count();
                    Reply::Int(i64::try_from(count).unwrap_or(0))
                }
            },
            "ZREMRANGEBYSCORE" => self.remove(key, bound(word(2)), bound(word(3))),
            "PUBLISH" => Reply::Int(0),
            other => Reply::Error(format!("ERR unknown command '{other}'")),
        }
    }

    /// Returns a string.
    pub(super) fn text(&self, key: &str) -> Option<&[u8]> {
        if let Some(Key { kind: Kind::Text(text), .. }) = self.keys.get(key.as_bytes()) { Some(text) } else { None }
    }

    /// Returns the members of a sorted set, in their order.
    pub(super) fn members(&self, key: &str) -> Vec<&[u8]> {
        self.sorted(key.as_bytes()).unwrap_or_default().iter().map(|(_, member)| &**member).collect()
    }

    fn sorted(&self, key: &[u8]) -> Result<&[(f64, Vec<u8>)], Reply> {
        match self.keys.get(key).map(|key| &key.kind) {
            None => Ok(&[]),
            Some(Kind::Sorted(all)) => Ok(all),
            Some(_) => Err(wrong_type()),
        }
    }

    fn add(&mut self, key: &[u8], score: f64, member: &[u8], is_new_only: bool) -> Reply {
        let fresh = || Key { kind: Kind::Sorted(Vec::new()), expires: None };
        let Kind::Sorted(all) = &mut self.keys.entry(key.to_owned()).or_insert_with(fresh).kind else {
            return wrong_type();
        };
        let before = all.iter().position(|(_, m)| m == member);
        if before.is_some() && is_new_only {
            return Reply::Int(0);
        }
        if let Some(at) = before {
            all.remove(at);
        }
        let at = all.partition_point(|(s, m)| (*s, m.as_slice()) < (score, member));
        all.insert(at, (score, member.to_owned()));
        Reply::Int(i64::from(before.is_none()))
    }

    fn range(&self, key: &[u8], from: i64, to: i64, with_scores: bool) -> Reply {
        let all = match self.sorted(key) {
            Ok(all) => all,
            Err(e) => return e,
        };
        let len = i64::try_from(all.len()).unwrap_or(0);
        let at = |i: i64| if i < 0 { len + i } else { i };
        let (from, to) = (at(from).max(0), at(to).min(len - 1));
        let mut found = Vec::new();
        for (score, member) in all.iter().skip(usize::try_from(from).unwrap_or(0)) {
            if found.len() >= usize::try_from((to - from + 1).max(0)).unwrap_or(0) * (1 + usize::from(with_scores)) {
                break;
            }
            found.push(Reply::Bulk(member.clone()));
            if with_scores {
                found.push(Reply::Bulk(format!("{score:.0}").into_bytes()));
            }
        }
        Reply::Array(found)
    }

    fn remove(&mut self, key: &[u8], low: (f64, bool), high: (f64, bool)) -> Reply {
        let Some(found) = self.keys.get_mut(key) else { return Reply::Int(0) };
        let Kind::Sorted(all) = &mut found.kind else { return wrong_type() };
        let before = all.len();
        all.retain(|(score, _)| !is_within(*score, low, high));
        let removed = before - all.len();
        if all.is_empty() {
            self.keys.remove(key);
        }
        Reply::Int(i64::try_from(removed).unwrap_or(0))
    }

    fn add_entry(&mut self, now: i64, words: &[&[u8]]) -> Reply {
        let fresh = || Key { kind: Kind::Stream(0), expires: None };
        let key = self.keys.entry(words[1].to_vec()).or_insert_with(fresh);
        let Kind::Stream(count) = &mut key.kind else { return wrong_type() };
        *count += 1;
        self.entries += 1;
        Reply::Bulk(format!("{}-{}", now / 1000, self.entries).into_bytes())
    }
}
