//! What is journaled from now on: from the server's stream and from this machine's files at once, so that it does not matter
//! which of them somebody is decided by. What is shipped later bears the id that it had in the files, and is told once.

use std::collections::{HashSet, VecDeque};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::config::Config;
use crate::policy::limits::Ms;
use crate::policy::limits::millis;
use crate::store::server::connection::Link;
use crate::store::{StoreError, server};
use crate::view::journal::Past;
use crate::view::journal::stream;
use crate::view::journal::tail::Tail;

/// How long the server is waited for before the files are looked at again.
const BLOCK: Duration = Duration::from_millis(500);
/// How often a server that is away is tried.
const RETRY: Duration = Duration::from_secs(2);
/// A server that was away from the beginning is read from so long before that: its clock may be behind ours.
const BEHIND: Duration = Duration::from_secs(60);
/// So many ids are remembered.
const MOST_KNOWN: usize = 100_000;

/// What became of the server.
#[derive(Debug)]
pub enum Change {
    /// It went away.
    Away(StoreError),
    /// It answers again, or for the first time.
    Back,
}

/// One look.
#[derive(Debug, Default)]
pub struct News {
    /// What was journaled since the last one, oldest first.
    pub entries: Vec<Past>,
    /// Whether the server went away or came back meanwhile.
    pub change: Option<Change>,
}

/// Follows the journal.
pub struct Follower<'a> {
    config: &'a Config,
    link: Option<Link<'a>>,
    /// Whether the server answered last.
    is_there: bool,
    tried: Option<Instant>,
    /// The last entry of the stream that was read.
    last: String,
    tail: Tail,
    /// What was decided before, and shipped since, is not told: the first reading passed it over.
    from: Ms,
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl<'a> Follower<'a> {
    /// `last` is where the stream ended, where one was read.
    pub(crate) fn new(config: &'a Config, last: Option<String>, tail: Tail, from: Ms, known: HashSet<String>) -> Self {
        let is_there = last.is_some();
        let last = last.unwrap_or_else(|| format!("{}-0", clock::host_ms().saturating_sub(millis(BEHIND)).max(0)));
        let order = known.iter().cloned().collect();
        // Where nothing of the past was asked for, all of it was passed over.
        let from = if from == Ms::MAX { clock::host_ms() } else { from };
        Self { config, link: None, is_there, tried: None, last, tail, from, known, order }
    }

    /// Waits for at most a second or so, and tells what came.
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

    /// What the server's stream got.
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
                // One that takes connections and says nothing must not keep what this machine journals meanwhile. One that
                // lost its journal begins a new one.
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
        // What was shipped may be older than all that was asked for.
        let is_asked_for = |past: &Past, from| past.id().is_empty() || past.ms >= from;
        Ok(all.into_iter().filter(|past| is_asked_for(past, self.from) && self.is_new(past)).collect())
    }

    /// Whether it was not told before.
    fn is_new(&mut self, past: &Past) -> bool {
        if past.id().is_empty() || !past.is_servers() {
            return true;
        }
        if !self.known.insert(past.id().to_owned()) {
            return false;
        }
        self.order.push_back(past.id().to_owned());
        if self.order.len() > MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
