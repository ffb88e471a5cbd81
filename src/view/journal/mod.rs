//! Reads the journal for people: newest first and bounded, from the server's stream, this machine's files, or both.
//!
//! A server has the entries that it decided and those that were shipped to it. This machine's files have the entries
//! that are never shipped (calls without a verdict, decisions made without a server) and those that are not shipped
//! yet. Where the server answers, both are merged, and no entry is shown twice.

pub(crate) mod count;
pub(crate) mod files;
pub mod follow;
pub(crate) mod stream;
pub(crate) mod tail;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::{Duration, Instant};

use crate::policy::limits::Ms;
use crate::store::fleet_reader::FleetReader;
use crate::store::{StoreError, server};
use follow::Follower;
use tail::Tail;

pub use count::Admissions;

/// One entry of the journal: its fields, in the order they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// When it was decided, by the clock of the store that decided.
    pub ms: Ms,
    words: Words,
}

/// Fields and their values, one after the other in one string, because a journal is read by the thousand entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Words {
    text: String,
    ends: Vec<u32>,
}

impl Words {
    pub(crate) fn with_room() -> Self {
        Self { text: String::with_capacity(512), ends: Vec::with_capacity(46) }
    }

    /// Adds a field's name, or its value.
    pub(crate) fn push(&mut self, word: &str) {
        self.text.push_str(word);
        self.ends.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut begin = 0;
        let mut words = self.ends.iter().map(move |end| {
            let end = *end as usize;
            let word = self.text.get(begin..end).unwrap_or_default();
            begin = end;
            word
        });
        std::iter::from_fn(move || words.next().zip(words.next()))
    }
}

impl Past {
    /// Creates an entry. It was decided when it arrived, unless its field `ms` has another time.
    pub(crate) fn new(words: Words, arrived: Ms) -> Self {
        let mut past = Self { ms: arrived, words };
        if let Some(own) = past.get("ms").and_then(|ms| ms.parse().ok()) {
            past.ms = own;
        }
        past
    }

    /// Returns a field's value; `None` when the entry has no such field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// Returns a field's value; empty when the entry has no such field.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.get(field).unwrap_or_default()
    }

    /// Returns whether the field has this value.
    #[must_use]
    pub fn says(&self, field: &str, value: &str) -> bool {
        self.get(field) == Some(value)
    }

    /// Returns every field and its value, in the order they were written.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.words.iter()
    }

    /// Returns whether the entry was decided for a server, or by it.
    fn is_servers(&self) -> bool {
        self.says("degraded", "1") || self.says("store", server::NAME)
    }

    /// Returns the id that a machine gave the entry, which it keeps when it is shipped. It is empty for an entry that a
    /// server wrote itself.
    fn id(&self) -> &str {
        self.text("id")
    }

    /// Returns what no other entry has. In an outage a waiting engine sends one request again and again, under one id.
    fn key(&self) -> String {
        format!("{}-{}-{}", self.text("id"), self.ms, self.text("reason"))
    }
}

/// The newest of the entries that were read.
pub(crate) struct Newest {
    since: Ms,
    most: usize,
    /// The oldest entry comes first, because it is removed first.
    kept: BinaryHeap<Reverse<(Ms, Reverse<usize>)>>,
    entries: Vec<Option<Past>>,
    /// The ids of the machines' entries that the server has.
    known: HashSet<String>,
    patience: Patience,
    /// How many entries were read.
    read: usize,
    /// Whether reading ended before all entries were read.
    cut: bool,
}

/// Limits on the time and the number of entries of one reading.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// The longest time for one answer of a server.
    each: Duration,
    /// The time after which no further page is requested. The first page always is.
    until: Option<Instant>,
    /// The number of entries after which no further page is requested.
    entries: usize,
}

impl Patience {
    /// Reads everything.
    const ALL: Self = Self { each: Duration::from_secs(5), until: None, entries: usize::MAX };
}

impl Newest {
    fn new(since: Ms, most: usize) -> Self {
        let room = most.min(1000);
        let (kept, entries) = (BinaryHeap::with_capacity(room + 1), Vec::with_capacity(room));
        Self { since, most, kept, entries, known: HashSet::new(), patience: Patience::ALL, read: 0, cut: false }
    }

    /// Returns whether no further page is to be requested.
    fn is_late(&mut self) -> bool {
        let late = self.patience.until.is_some_and(|until| Instant::now() >= until);
        let late = late || self.read >= self.patience.entries;
        self.cut |= late;
        late
    }

    /// Returns the time before which no entry can be among the newest any more.
    fn from(&self) -> Ms {
        match self.kept.peek() {
            Some(Reverse((oldest, _))) if self.kept.len() >= self.most => self.since.max(oldest.saturating_add(1)),
            _ if self.most == 0 => Ms::MAX,
            _ => self.since,
        }
    }

    /// Takes an entry that a server has.
    fn take_from_server(&mut self, past: Past, wanted: &mut impl FnMut(&Past) -> bool) {
        if past.id().is_empty() || self.known.insert(past.key()) {
            self.take(past, wanted);
        }
    }

    /// Takes an entry, unless the server has it.
    fn take_from_files(&mut self, past: Past, wanted: &mut impl FnMut(&Past) -> bool) {
        // A server's entry may be shipped while it is read.
        if !past.is_servers() || self.known.insert(past.key()) {
            self.take(past, wanted);
        }
    }

    fn take(&mut self, past: Past, wanted: &mut impl FnMut(&Past) -> bool) {
        self.read += 1;
        if past.ms < self.from() || !wanted(&past) {
            return;
        }
        self.kept.push(Reverse((past.ms, Reverse(self.entries.len()))));
        self.entries.push(Some(past));
        if self.kept.len() > self.most
            && let Some(Reverse((_, Reverse(oldest)))) = self.kept.pop()
            && let Some(entry) = self.entries.get_mut(oldest)
        {
            *entry = None;
        }
    }

    /// Returns the newest entries first.
    fn into_entries(self) -> Vec<Past> {
        let mut all: Vec<Past> = self.entries.into_iter().flatten().collect();
        // The sort is stable: entries of the same millisecond keep the order in which they were read.
        all.sort_by_key(|past| Reverse(past.ms));
        all
    }
}

impl<'a> FleetReader<'a> {
    /// Returns this fleet's entries since `since`, the newest first, at most `most`.
    ///
    /// # Errors
    /// When neither the store nor this machine's files can be read.
    pub fn entries(&mut self, since: Ms, most: usize) -> Result<Vec<Past>, StoreError> {
        self.entries_where(since, most, |_| true)
    }

    /// Returns the same, for the wanted entries.
    ///
    /// # Errors
    /// As [`FleetReader::entries`].
    pub fn entries_where(
        &mut self,
        since: Ms,
        most: usize,
        mut wanted: impl FnMut(&Past) -> bool,
    ) -> Result<Vec<Past>, StoreError> {
        Ok(self.read(Newest::new(since, most), &mut wanted)?.0.into_entries())
    }

    /// Returns the newest `most` wanted entries, among about `newest` of the newest entries of all. The flag is whether
    /// older entries were left unread that may be wanted too.
    ///
    /// # Errors
    /// As [`FleetReader::entries`].
    pub fn entries_among(
        &mut self,
        newest: usize,
        most: usize,
        mut wanted: impl FnMut(&Past) -> bool,
    ) -> Result<(Vec<Past>, bool), StoreError> {
        let patience = Patience { entries: newest, ..Patience::ALL };
        let newest = self.read(Newest { patience, ..Newest::new(0, most) }, &mut wanted)?.0;
        let cut = newest.cut && newest.kept.len() < most;
        Ok((newest.into_entries(), cut))
    }

    /// Reads as [`FleetReader::entries`] does, within these limits. The flag is whether a limit ended the reading.
    fn entries_within(&mut self, since: Ms, most: usize, patience: Patience) -> Result<(Vec<Past>, bool), StoreError> {
        let newest = self.read(Newest { patience, ..Newest::new(since, most) }, &mut |_| true)?.0;
        let cut = newest.cut;
        Ok((newest.into_entries(), cut))
    }

    /// Returns the same, and a follower of later entries.
    ///
    /// # Errors
    /// As [`FleetReader::entries`].
    pub fn entries_and_follow(
        &mut self,
        since: Ms,
        most: usize,
        mut wanted: impl FnMut(&Past) -> bool,
    ) -> Result<(Vec<Past>, Follower<'a>), StoreError> {
        let (mut newest, last, tail) = self.read(Newest::new(since, most), &mut wanted)?;
        let has_server = self.server.is_some() && self.unread.is_none();
        let (from, known) = (newest.from(), std::mem::take(&mut newest.known));
        let follower = Follower::new(self.parts().0, has_server.then_some(last), tail, from, known);
        Ok((newest.into_entries(), follower))
    }

    /// Reads both sources, and returns where the stream and the files ended then.
    fn read(
        &mut self,
        mut newest: Newest,
        wanted: &mut impl FnMut(&Past) -> bool,
    ) -> Result<(Newest, String, Tail), StoreError> {
        let (config, link) = self.parts();
        let streamed = link.map(|link| stream::read(config, link, &mut newest, wanted));
        let has_server = matches!(streamed, Some(Ok(_)));
        let last = match streamed {
            Some(Ok(last)) => last,
            // Only this machine's entries can be shown.
            Some(Err(why)) => {
                self.unread = Some(why);
                stream::FIRST.to_owned()
            }
            None => stream::FIRST.to_owned(),
        };
        let tail = files::read(config, has_server, &mut newest, wanted)?;
        Ok((newest, last, tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(ms: Ms, id: &str) -> Past {
        let mut words = Words::default();
        ["id", id, "ms", &ms.to_string()].into_iter().for_each(|word| words.push(word));
        Past::new(words, 0)
    }

    #[test]
    fn the_newest_of_what_came_in_whatever_order() {
        let mut newest = Newest::new(10, 3);
        for (ms, id) in [(50, "a"), (20, "b"), (9, "c"), (50, "d"), (30, "e"), (50, "a"), (40, "f"), (30, "g")] {
            newest.take_from_server(past(ms, id), &mut |p| !p.says("id", "f"));
        }
        assert_eq!(newest.from(), 31);
        let ids: Vec<String> = newest.into_entries().iter().map(|p| p.id().to_owned()).collect();
        assert_eq!(ids, ["a", "d", "e"]);
        assert_eq!(Newest::new(10, 0).from(), Ms::MAX);
        // One request that was decided twice, and its second entry once more.
        let mut again = Newest::new(0, 9);
        [(10, "a"), (20, "a"), (20, "a")]
            .iter()
            .for_each(|(ms, id)| again.take_from_server(past(*ms, id), &mut |_| true));
        assert_eq!(again.into_entries().len(), 2);
    }
}
