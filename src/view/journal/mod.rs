//! The journal, read for people: newest first and bounded, from the server's stream, this machine's files, or both.
//!
//! A server has what it decided and what it was shipped; this machine's files have what a server will never be told (calls
//! that came to no verdict, what was decided without one) and what it has not been told yet. Where the server answers, the
//! two are merged, and nothing is told twice.

pub(crate) mod count;
pub(crate) mod files;
pub mod follow;
pub(crate) mod stream;
pub(crate) mod tail;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::time::{Duration, Instant};

use crate::policy::limits::Ms;
use crate::store::StoreError;
use crate::store::fleet_reader::Roll;
use crate::store::server;
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

/// Fields and their values, one after the other in one string: a journal is read by the thousand.
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
    /// An entry that was decided when it came, unless its own field `ms` says otherwise.
    pub(crate) fn new(words: Words, arrived: Ms) -> Self {
        let mut past = Self { ms: arrived, words };
        if let Some(own) = past.get("ms").and_then(|ms| ms.parse().ok()) {
            past.ms = own;
        }
        past
    }

    /// A field's value; `None` when the entry has none of this name.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields().find(|(name, _)| *name == field).map(|(_, value)| value)
    }

    /// A field's value; empty when the entry has none of this name.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.get(field).unwrap_or_default()
    }

    /// Whether the field has this value.
    #[must_use]
    pub fn says(&self, field: &str, value: &str) -> bool {
        self.get(field) == Some(value)
    }

    /// Every field and its value, in the order they were written.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.words.iter()
    }

    /// Whether it was decided for a server, or by it.
    fn is_servers(&self) -> bool {
        self.says("degraded", "1") || self.says("store", server::NAME)
    }

    /// What tells it from every other: the id that a machine gave it, which it keeps when it is shipped; empty for one that
    /// a server wrote itself.
    fn id(&self) -> &str {
        self.text("id")
    }
}

/// The newest of what was read.
pub(crate) struct Newest {
    since: Ms,
    most: usize,
    /// The oldest first, so that it is the one to go.
    kept: BinaryHeap<Reverse<(Ms, Reverse<usize>)>>,
    entries: Vec<Option<Past>>,
    /// Which of those that a machine wrote the server has.
    known: HashSet<String>,
    patience: Patience,
    /// How many entries were read.
    read: usize,
    /// Whether it ran out before all was read.
    cut: bool,
}

/// How long a journal is read.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// How long a server may take for one answer.
    each: Duration,
    /// When no further piece is asked for; the first one always is.
    until: Option<Instant>,
    /// After how many entries no further piece is asked for.
    entries: usize,
}

impl Patience {
    /// For whoever wants all of it.
    const ALL: Self = Self { each: Duration::from_secs(5), until: None, entries: usize::MAX };
}

impl Newest {
    fn new(since: Ms, most: usize) -> Self {
        let room = most.min(1000);
        let (kept, entries) = (BinaryHeap::with_capacity(room + 1), Vec::with_capacity(room));
        Self { since, most, kept, entries, known: HashSet::new(), patience: Patience::ALL, read: 0, cut: false }
    }

    /// Whether no further piece is asked for.
    fn is_late(&mut self) -> bool {
        let late = self.patience.until.is_some_and(|until| Instant::now() >= until);
        let late = late || self.read >= self.patience.entries;
        self.cut |= late;
        late
    }

    /// Nothing that came earlier can be among the newest any more.
    fn from(&self) -> Ms {
        match self.kept.peek() {
            Some(Reverse((oldest, _))) if self.kept.len() >= self.most => self.since.max(oldest.saturating_add(1)),
            _ if self.most == 0 => Ms::MAX,
            _ => self.since,
        }
    }

    /// Takes one that a server has.
    fn take_from_server(&mut self, past: Past, wanted: &mut impl FnMut(&Past) -> bool) {
        let id = past.id();
        if id.is_empty() || self.known.insert(id.to_owned()) {
            self.take(past, wanted);
        }
    }

    /// Takes one, unless the server has it.
    fn take_from_files(&mut self, past: Past, wanted: &mut impl FnMut(&Past) -> bool) {
        // What is a server's may be shipped while it is read.
        if !past.is_servers() || self.known.insert(past.id().to_owned()) {
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

    /// The newest first.
    fn into_entries(self) -> Vec<Past> {
        let mut all: Vec<Past> = self.entries.into_iter().flatten().collect();
        // Stable: of the same millisecond they stay as they were read.
        all.sort_by_key(|past| Reverse(past.ms));
        all
    }
}

impl<'a> Roll<'a> {
    /// This fleet's journal, the newest entry first: what was decided at `since` or later, and no more than `most`.
    ///
    /// # Errors
    /// When neither the store nor this machine's files can be read.
    pub fn entries(&mut self, since: Ms, most: usize) -> Result<Vec<Past>, StoreError> {
        self.entries_where(since, most, |_| true)
    }

    /// The same, of the entries that are wanted.
    ///
    /// # Errors
    /// As [`Roll::entries`].
    pub fn entries_where(
        &mut self,
        since: Ms,
        most: usize,
        mut wanted: impl FnMut(&Past) -> bool,
    ) -> Result<Vec<Past>, StoreError> {
        Ok(self.read(Newest::new(since, most), &mut wanted)?.0.into_entries())
    }

    /// The newest `most` entries that are wanted, among about so many of the newest of all; and whether older ones were left
    /// unread that may be wanted too.
    ///
    /// # Errors
    /// As [`Roll::entries`].
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

    /// As [`Roll::entries`], as long as the patience lasts; and whether it ended before.
    fn entries_within(&mut self, since: Ms, most: usize, patience: Patience) -> Result<(Vec<Past>, bool), StoreError> {
        let newest = self.read(Newest { patience, ..Newest::new(since, most) }, &mut |_| true)?.0;
        let cut = newest.cut;
        Ok((newest.into_entries(), cut))
    }

    /// The same, and what follows it.
    ///
    /// # Errors
    /// As [`Roll::entries`].
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

    /// Reads both; tells where the stream and the files ended then.
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
            // What this machine has is all there is to show.
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
    }
}
