//! Follows the journal: new entries of the server's stream and of this machine's files together, whichever store
//! decides. An entry that is shipped later keeps its id from the files, and is shown once.

use std::collections::{HashSet, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::Config;
use crate::policy::limits::{Ms, millis};
use crate::store::server::connection::Link;
use crate::store::{StoreError, server};
use crate::view::journal::tail::Tail;
use crate::view::journal::{Past, stream};

/// How long to wait for the server before the files are read again.
const BLOCK: Duration = Duration::from_millis(500);
/// The interval between attempts to connect to an unreachable server.
const RETRY: Duration = Duration::from_secs(2);
/// If the server was unreachable from the beginning, its stream is read from this long before the start, because its
/// clock may be behind.
const BEHIND: Duration = Duration::from_secs(60);
/// The number of ids that are remembered.
const MOST_KNOWN: usize = 100_000;

/// A change of the server's availability.
#[derive(Debug)]
pub enum Change {
    /// The server became unreachable.
    Away(StoreError),
    /// The server answers again, or for the first time.
    Back,
}

/// The result of one look.
#[derive(Debug, Default)]
pub struct News {
    /// The entries since the last look, oldest first.
    pub entries: Vec<Past>,
    /// Whether the server became unreachable or answered again meanwhile.
    pub change: Option<Change>,
}

/// Follows the journal.
pub struct Follower<'a> {
    config: &'a Config,
    link: Option<Link<'a>>,
    /// Whether the server answered the last time.
    is_there: bool,
    tried: Option<Instant>,
    /// The id of the last entry of the stream that was read.
    last: String,
    tail: Tail,
    /// Entries that were decided before this time and shipped since are not shown, because the first reading left them
    /// out.
    from: Ms,
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl<'a> Follower<'a> {
    /// `last` is the end of the stream, where a stream was read.
    pub(crate) fn new(config: &'a Config, last: Option<String>, tail: Tail, from: Ms, known: HashSet<String>) -> Self {
        let is_there = last.is_some();
        let last = last.unwrap_or_else(|| format!("{}-0", clock::host_ms().saturating_sub(millis(BEHIND)).max(0)));
        let order = known.iter().cloned().collect();
        // If no past entries were requested, the first reading left all of them out.
        let from = if from == Ms::MAX { clock::host_ms() } else { from };
        Self { config, link: None, is_there, tried: None, last, tail, from, known, order }
    }

    /// Waits for at most about a second, and returns the new entries.
    ///
    /// # Errors
    /// When this machine's files cannot be read, and no server answers either.
    pub fn look(&mut self) -> Result<News, StoreError> {
        let mut news = News::default();
        let begun = Instant::now();
        match self.server() {
            Ok(entries) => news.entries = entries,
            Err(e) => {
                self.link = None;
                if std::mem::replace(&mut self.is_there, false) {
                    news.change = Some(Change::Away(e));
                }
            }
        }
        if self.link.is_some() && !std::mem::replace(&mut self.is_there, true) {
            news.change = Some(Change::Back);
        }
        if self.link.is_none() && news.change.is_none() {
            thread::sleep(BLOCK.saturating_sub(begun.elapsed()));
        }
        match self.tail.read() {
            Ok(entries) => news.entries.extend(entries.into_iter().filter(|p| self.is_new(p))),
            Err(cause) if self.link.is_none() => {
                let path = self.config.state.clone().unwrap_or_default().join(&self.config.fleet);
                return Err(StoreError::Files { doing: "read the journal in", path, cause });
            }
            Err(_) => {}
        }
        news.entries.sort_by_key(|p| p.ms);
        Ok(news)
    }

    /// Returns the new entries of the server's stream.
    fn server(&mut self) -> Result<Vec<Past>, StoreError> {
        let Some((server, _)) = server(self.config) else { return Ok(Vec::new()) };
        let found = match &mut self.link {
            Some(link) => stream::after(self.config, link, &self.last, Some(BLOCK))?,
            None if self.tried.is_some_and(|at| at.elapsed() < RETRY) => return Ok(Vec::new()),
            None => {
                self.tried = Some(Instant::now());
                let mut link = Link::connect(self.config, server, Instant::now() + self.config.budget)?;
                link.log_in()?;
                link.take_up_to(crate::store::fleet_reader::LARGEST);
                // A server that accepts connections without answering must not delay this machine's entries. A server
                // that lost its journal begins a new one.
                if stream::end(self.config, &mut link, self.config.budget)? == stream::FIRST {
                    stream::FIRST.clone_into(&mut self.last);
                }
                let found = stream::after(self.config, &mut link, &self.last, None)?;
                self.link = Some(link);
                found
            }
        };
        if let Some((id, _)) = found.last() {
            self.last.clone_from(id);
        }
        let all: Vec<Past> =
            found.into_iter().filter_map(|(id, words)| stream::past(self.config, &id, words)).collect();
        // A shipped entry may be older than the requested period.
        let is_asked_for = |past: &Past, from| past.id().is_empty() || past.ms >= from;
        Ok(all.into_iter().filter(|past| is_asked_for(past, self.from) && self.is_new(past)).collect())
    }

    /// Returns whether the entry was not shown before.
    fn is_new(&mut self, past: &Past) -> bool {
        if past.id().is_empty() || !past.is_servers() {
            return true;
        }
        if !self.known.insert(past.key()) {
            return false;
        }
        self.order.push_back(past.key());
        if self.order.len() > MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
