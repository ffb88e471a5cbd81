//! The subscription of one waiting engine: what is published with a plain `PUBLISH`.
//!
//! A subscription can end without a word: `CLIENT KILL TYPE pubsub`, a proxy's idle limit, a router that forgets the
//! connection. Its end is noticed when it is cut, or when it does not answer a second `SUBSCRIBE`, for which the server's user
//! needs no other permission. It is then opened again, at most once in ten seconds.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use redis::{Value, cmd};

use crate::config::{Config, Server};
use crate::store::StoreError;
use crate::store::link::Link;
use crate::text;

/// How long is waited for more of what was published at once.
pub(super) const MORE: Duration = Duration::from_millis(5);
/// The longest message that is read, and the most that are read at once.
const LONGEST_WORD: u64 = 1024 * 1024;
const MOST_WORDS: usize = 1000;
/// Between two tries to subscribe again: at first, and at most.
pub(super) const FIRST_RETRY: Duration = Duration::from_secs(10);
const SLOWEST_RETRY: Duration = Duration::from_secs(300);
/// A subscription that lasted for so long was a good one.
const GOOD: Duration = Duration::from_secs(60);
/// After so much silence it is asked whether it is still there: at most, and where it was cut sooner.
const QUIET: Duration = Duration::from_secs(15);
const LEAST_QUIET: Duration = Duration::from_secs(5);
/// How long that answer may take.
const ANSWERS: Duration = Duration::from_secs(5);

/// One connection that hears what is published.
pub(super) struct Subscription<'a> {
    config: &'a Config,
    server: &'a Server,
    channels: Vec<String>,
    /// `None` while it is lost, and where the server's user may not subscribe.
    link: Option<Link<'a>>,
    forbidden: bool,
    opened: Instant,
    /// When anything last came.
    heard: Instant,
    /// When it was asked whether it is still there.
    asked: Option<Instant>,
    quiet: Duration,
    /// When it may be opened again.
    next: Instant,
    tries: u32,
    /// Why it was lost, until that is journaled.
    loss: Option<String>,
}

impl<'a> Subscription<'a> {
    /// Subscribes over an open connection that is logged in.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(super) fn open(config: &'a Config, link: Link<'a>, channels: Vec<String>) -> Result<Self, StoreError> {
        let now = Instant::now();
        let server = link.server();
        let mut own = Self {
            config,
            server,
            channels,
            link: None,
            forbidden: false,
            opened: now,
            heard: now,
            asked: None,
            quiet: QUIET,
            next: now,
            tries: 0,
            loss: None,
        };
        own.subscribe(link)?;
        Ok(own)
    }

    fn subscribe(&mut self, mut link: Link<'a>) -> Result<(), StoreError> {
        let mut subscribe = cmd("SUBSCRIBE");
        subscribe.arg(&self.channels);
        link.send(&[subscribe])?;
        for _ in &self.channels {
            match link.take() {
                Ok(_) => {}
                Err(StoreError::Refused { .. }) => {
                    self.forbidden = true;
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        link.take_up_to(LONGEST_WORD);
        (self.opened, self.heard, self.asked) = (Instant::now(), Instant::now(), None);
        self.link = Some(link);
        Ok(())
    }

    /// Can be read once something was published; `None` while it is lost.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(AsFd::as_fd)
    }

    /// Why it was lost, told once.
    pub(super) fn loss(&mut self) -> Option<String> {
        self.loss.take()
    }

    /// Looks after the connection: asks it whether it is there after a silence, and opens it again where it is lost.
    pub(super) fn keep(&mut self) {
        let now = Instant::now();
        match &mut self.link {
            None if self.forbidden || now < self.next => {}
            None => self.open_again(now),
            Some(_) if self.asked.is_some_and(|at| now.saturating_duration_since(at) >= ANSWERS) => {
                self.lose("no answer");
            }
            Some(link) if self.asked.is_none() && now.saturating_duration_since(self.heard) >= self.quiet => {
                let mut again = cmd("SUBSCRIBE");
                again.arg(&self.channels);
                link.until(now + MORE);
                self.asked = Some(now);
                if let Err(e) = link.send(&[again]) {
                    self.lose(&e.to_string());
                }
            }
            Some(_) => {}
        }
    }

    fn open_again(&mut self, now: Instant) {
        let grown = FIRST_RETRY.saturating_mul(1 << self.tries.min(10)).min(SLOWEST_RETRY);
        self.tries = self.tries.saturating_add(1);
        self.next = now + grown;
        let fresh = Link::connect(self.config, self.server, now + self.config.budget);
        // The looks find out whether the server is away.
        let _ = fresh.and_then(|mut link| link.log_in().map(|()| link)).and_then(|link| self.subscribe(link));
    }

    /// It is gone: not before ten seconds after it was opened is it opened again.
    fn lose(&mut self, found: &str) {
        let now = Instant::now();
        if now.saturating_duration_since(self.opened) >= GOOD {
            self.tries = 0;
        }
        let silent = now.saturating_duration_since(self.heard);
        self.quiet = self.quiet.min((silent / 2).max(LEAST_QUIET));
        self.link = None;
        self.asked = None;
        if self.tries == 0 && self.next <= now {
            self.loss = Some(format!(
                "expected the subscription at {} to stay open, found: {}; it is opened again within {} s",
                self.server.shown,
                text::line(found),
                FIRST_RETRY.as_secs()
            ));
        }
    }

    /// What was published by now, the words of several joined; `None` when nothing was.
    pub(super) fn words(&mut self) -> Option<String> {
        let mut words: Vec<String> = Vec::new();
        let mut heard = false;
        loop {
            let link = self.link.as_mut()?;
            // What has come so far, and what the parser still holds of an earlier read.
            link.until(Instant::now() + MORE);
            match link.take() {
                Ok(message) => {
                    (self.heard, self.asked) = (Instant::now(), None);
                    let word = said(message);
                    heard |= word.is_some();
                    words.extend(word.filter(|w| !w.is_empty()));
                    if words.len() >= MOST_WORDS {
                        break;
                    }
                }
                // One too long to be read is a wake-up all the same; the rest of it is left behind with the connection.
                Err(_) if link.overran() => {
                    heard = true;
                    self.lose("a message that is too long");
                    break;
                }
                Err(StoreError::TimedOut { .. }) => break,
                Err(e) => {
                    self.lose(&e.to_string());
                    break;
                }
            }
        }
        heard.then(|| text::line_of(&words.join(" / "), text::LONGEST_NOTE))
    }
}

/// The text of a published message, which may be empty; `None` when it is none.
fn said(message: Value) -> Option<String> {
    let Value::Array(parts) = message else { return None };
    let mut parts = parts.into_iter();
    let kind = parts.next()?;
    if kind != Value::BulkString(b"message".to_vec()) {
        return None;
    }
    match parts.nth(1)? {
        Value::BulkString(bytes) => Some(text::line(&String::from_utf8_lossy(&bytes))),
        _ => None,
    }
}
