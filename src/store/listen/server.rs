//! Listens on a server over one connection, which also carries the engine's reads and requests.
//!
//! RESP3 allows commands on a connection that is subscribed. The engine subscribes before its first read, and no
//! command blocks, so that Dragonfly also delivers at once. The notifications make the engine fast, and the reads make
//! it certain.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::{EACH, LONGEST, Listener, Look, WaitEnd, Words, pause_until, poll};
use crate::clock;
use crate::config::{Config, Server};
use crate::policy::work::WorkMode;
use crate::policy::work::queue::InHand;
use crate::store::StoreError;
use crate::store::server::connection::{Link, Pushed};
use crate::store::server::kept_connection::Line;
use crate::store::server::keys::Keys;
use crate::store::server::load::{Load, Loaded};
use crate::store::work::seen;
use crate::text;

/// How long the engine waits for further messages that were published together.
const MORE: Duration = Duration::from_millis(5);
/// The longest message that is read, and the most messages that are read at once.
const LONGEST_WORD: u64 = 1024 * 1024;
const MOST_WORDS: usize = 1000;
/// The shortest time between two openings of a connection that was cut.
const APART: Duration = Duration::from_secs(10);
/// A connection that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(60);
/// The shortest time between two reads, however soon a connection is cut. Without notifications it is the usual time.
const SHORTEST: Duration = Duration::from_secs(1);

pub(crate) struct ServerNotifications<'a> {
    config: &'a Config,
    server: &'a Server,
    scope: String,
    session: String,
    channels: Vec<String>,
    /// The agent whose work queue the session works through; empty for none.
    agent: String,
    /// The entries of that queue that other sessions have in hand, as far as this machine can see their clients.
    in_hand: Vec<InHand>,
    /// The channels on which Frosty itself publishes.
    own: Vec<String>,
    /// Whether the server lets this user subscribe, on a connection that also carries commands.
    subscribes: bool,
    /// How long the engine listens before it reads: less than the silence after which a connection was cut.
    every: Duration,
    /// When the connection was last cut.
    cut: Option<Instant>,
    /// The published texts that are not reported yet.
    words: Words,
    /// Why the connection was lost, until that is journaled.
    loss: Option<String>,
}

impl<'a> ServerNotifications<'a> {
    pub(super) fn new(config: &'a Config, server: &'a Server, listener: &Listener) -> Self {
        let Listener { scope, session, name, agent } = listener;
        let keys = Keys::of(&config.fleet);
        let mut own = vec![keys.session_channel(session), keys.scope_channel(scope), keys.fleet_channel()];
        let is_on = config.policy.work.mode != WorkMode::Off && !agent.is_empty();
        own.extend(is_on.then(|| keys.work_channel(agent)));
        let mut channels = vec![format!("trigger.nova.{scope}"), format!("frosty.wake.{scope}")];
        if !name.is_empty() && name != scope {
            channels.push(format!("trigger.nova.{name}"));
        }
        channels.extend(own.iter().cloned());
        Self {
            config,
            server,
            scope: scope.clone(),
            session: session.clone(),
            agent: agent.clone(),
            in_hand: Vec::new(),
            channels,
            own,
            subscribes: true,
            every: LONGEST,
            cut: None,
            words: Words::default(),
            loss: None,
        }
    }

    /// Reads the state that the next request is decided from, except the quotas.
    pub(super) fn look(&mut self, line: &mut Option<Line<'a>>) -> Result<Look, StoreError> {
        let mut kept = line.take().map(Line::into_link);
        let (link, loaded) = loop {
            let is_kept = kept.is_some();
            let mut link = kept.take().map_or_else(|| self.connect(), Ok)?;
            match self.load(&mut link) {
                // A message that is too long to be read is a wake-up nevertheless.
                Err(_) if is_kept && link.overran() => self.words.add(""),
                // The connection was cut since the last read.
                Err(StoreError::Nonsense { .. } | StoreError::Unreachable { .. }) if is_kept => {}
                loaded => break (link, loaded?),
            }
        };
        let look = Look::of(&loaded);
        let queue = loaded.work.as_ref().map(|work| &work.state.queue);
        self.in_hand = queue.map(|queue| queue.hand.clone()).unwrap_or_default();
        *line = Some(Line::after(link, loaded));
        Ok(look)
    }

    fn connect(&self) -> Result<Link<'a>, StoreError> {
        let mut link = Link::connect(self.config, self.server, clock::now() + self.config.budget)?;
        link.log_in()?;
        Ok(link)
    }

    fn load(&mut self, link: &mut Link<'a>) -> Result<Loaded, StoreError> {
        link.until(clock::now() + self.config.budget);
        if self.subscribes && !link.is_subscribed() {
            self.subscribes = link.subscribe(&self.channels)?;
            link.take_up_to(LONGEST_WORD);
        }
        if !self.subscribes {
            self.every = SHORTEST;
        }
        let load = Load::for_looks(self.config, self.server, &self.scope, &self.session, &self.agent);
        load.answers(link.ask(&load.questions())?)
    }

    pub(super) fn wait(
        &mut self,
        line: &mut Option<Line<'a>>,
        most: Duration,
        interrupt: BorrowedFd<'_>,
        stirs: &dyn Fn() -> bool,
    ) -> WaitEnd {
        let begun = clock::now();
        let until = begun + most.min(self.every).max(Duration::from_millis(1));
        loop {
            let Some(open) = line else { return WaitEnd::Stirred };
            // Some messages may have come with the last replies.
            let heard = self.messages(open.link());
            let is_cut = heard.is_err();
            if !self.words.is_empty() {
                *line = line.take().filter(|_| !is_cut);
                return WaitEnd::Words(std::mem::take(&mut self.words));
            }
            match heard {
                Ok(true) => return WaitEnd::Stirred,
                Ok(false) => {}
                Err(found) => {
                    *line = None;
                    self.was_cut(begun, &found);
                    // The first time it is opened at once, to check whether the server is away.
                    if let Some(opens) = self.opens_again() {
                        pause_until(opens.min(begun + most), interrupt, stirs);
                    }
                    return WaitEnd::Stirred;
                }
            }
            loop {
                let left = until.saturating_duration_since(clock::now()).min(EACH);
                match poll([open.link().as_fd(), interrupt], left) {
                    Some([true, _]) => break,
                    Some([_, false])
                        if !left.is_zero() && !stirs() && !seen(&self.in_hand).iter().any(|(_, runs)| !runs) => {}
                    _ => return WaitEnd::Stirred,
                }
            }
        }
    }

    /// Reads the messages that have come and returns whether any is Frosty's own. The texts of all others are kept.
    fn messages(&mut self, link: &mut Link<'a>) -> Result<bool, String> {
        let mut is_own = false;
        for _ in 0..MOST_WORDS {
            link.until(clock::now() + MORE);
            match link.pushed() {
                Ok(Pushed { channel, text }) if self.own.contains(&channel) => {
                    // The documents contain its text.
                    drop(text);
                    is_own = true;
                }
                Ok(Pushed { text, .. }) => self.words.add(&text),
                Err(_) if link.overran() => {
                    self.words.add("");
                    return Err("a message that is too long".to_owned());
                }
                Err(StoreError::TimedOut { .. }) => break,
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(is_own)
    }

    fn was_cut(&mut self, begun: Instant, found: &str) {
        let now = clock::now();
        let silent = now.saturating_duration_since(begun);
        if silent >= SHORTEST {
            self.every = self.every.min((silent / 2).max(SHORTEST));
        }
        if self.cut.is_none_or(|cut| now.saturating_duration_since(cut) >= GOOD) {
            self.loss = Some(format!(
                "the subscription at {} was lost: {}; it is opened again within {} s",
                self.server.shown,
                text::line(found),
                APART.as_secs()
            ));
        }
    }

    /// Returns when a connection that was cut now is opened again; `None` for at once.
    fn opens_again(&mut self) -> Option<Instant> {
        self.cut.replace(clock::now()).map(|cut| cut + APART)
    }

    pub(super) fn loss(&mut self) -> Option<String> {
        self.loss.take()
    }
}
