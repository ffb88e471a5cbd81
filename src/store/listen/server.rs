//! Ears on a server: one connection looks and then blocks on the streams, another hears plain `PUBLISH`. The streams are for
//! haste, the look for certainty: a signal that came before the block is seen by it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::{Ears, Heard, LONGEST, Listener, Look, poll};
use crate::config::{Config, Server};
use crate::store::StoreError;
use crate::store::link::Link;
use crate::text;
use crate::throttle::policy::Ms;
use crate::throttle::state::Hold;

/// How much later than asked a blocked read may answer.
const GRACE: Duration = Duration::from_secs(2);
/// How long is waited for more of what was published at once.
const MORE: Duration = Duration::from_millis(5);

const HOLD: [&str; 4] = ["hold_reason", "hold_by", "hold_since", "hold_until"];

pub(super) struct ServerEars<'a> {
    config: &'a Config,
    server: &'a Server,
    /// Looks, and blocks on the streams. Closed when it must not be waited for: then the server forgets its block.
    reader: Option<Link<'a>>,
    published: Link<'a>,
    session: String,
    scope: String,
    fleet: String,
    /// The wake stream and the two bells, and the last entry known of each.
    streams: [(String, Option<String>); 3],
}

impl<'a> ServerEars<'a> {
    pub(super) fn open(config: &'a Config, mut link: Link<'a>, listener: &Listener) -> Result<Self, StoreError> {
        link.log_in()?;
        let Listener { scope, session, name } = listener;
        let mut channels = vec![format!("trigger.nova.{scope}"), format!("frosty.wake.{scope}")];
        if !name.is_empty() && name != scope {
            channels.push(format!("trigger.nova.{name}"));
        }
        let mut subscribe = cmd("SUBSCRIBE");
        subscribe.arg(&channels);
        link.send(&[subscribe])?;
        for _ in &channels {
            link.take()?;
        }
        let key = |of: &str| format!("frosty:{{{}}}:{of}", config.fleet);
        let scope = key(&format!("scope:{scope}"));
        let session = key(&format!("session:{session}"));
        let fleet = key("fleet");
        let streams = [format!("{session}:wake"), format!("{scope}:bell"), format!("{fleet}:bell")];
        Ok(Self {
            config,
            server: link.server(),
            reader: None,
            published: link,
            session,
            scope,
            fleet,
            streams: streams.map(|key| (key, None)),
        })
    }

    fn reader(&mut self) -> Result<&mut Link<'a>, StoreError> {
        let deadline = Instant::now() + self.config.budget;
        let mut link = match self.reader.take() {
            Some(link) => link,
            None => {
                let mut link = Link::connect(self.config, self.server, deadline)?;
                link.log_in()?;
                link
            }
        };
        link.until(deadline);
        Ok(self.reader.insert(link))
    }

    /// Which entries of the streams are known already. Asked for before the first look, so that nothing falls between.
    fn first_ids(&mut self) -> Result<(), StoreError> {
        if self.streams.iter().all(|(_, id)| id.is_some()) {
            return Ok(());
        }
        let last: Vec<Cmd> = self.streams.iter().map(|(key, _)| last_entry(key)).collect();
        let answers = self.reader()?.ask(&last)?;
        for ((_, id), answer) in self.streams.iter_mut().zip(answers) {
            let entries = Vec::<(String, Value)>::from_redis_value(answer).unwrap_or_default();
            *id = Some(entries.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id));
        }
        Ok(())
    }

    fn note_ids(&mut self, answer: Value) {
        let streams = Vec::<(String, Vec<(String, Value)>)>::from_redis_value(answer).unwrap_or_default();
        for (key, entries) in streams {
            let known = self.streams.iter_mut().find(|(k, _)| *k == key);
            if let (Some((_, id)), Some((last, _))) = (known, entries.into_iter().next_back()) {
                *id = Some(last);
            }
        }
    }

    /// What was published, the words of several joined.
    fn words(&mut self) -> Result<String, StoreError> {
        let mut words = Vec::new();
        self.published.until(Instant::now() + self.config.budget);
        words.extend(said(self.published.take()?));
        // Each message counts anew; what comes later than this is heard next time.
        self.published.until(Instant::now() + MORE);
        while let Ok(more) = self.published.take() {
            words.extend(said(more));
        }
        Ok(text::line_of(&words.join(" / "), text::LONGEST_NOTE))
    }
}

impl Ears for ServerEars<'_> {
    fn look(&mut self) -> Result<Look, StoreError> {
        self.first_ids()?;
        let mut session = cmd("HMGET");
        session.arg(&self.session).arg(&["fence", "woken"]);
        let mut commands = vec![session];
        for key in [&self.scope, &self.fleet] {
            let mut hold = cmd("HMGET");
            hold.arg(key).arg(&HOLD);
            commands.push(hold);
        }
        commands.push(cmd("TIME"));
        let link = self.reader()?;
        let answers = link.ask(&commands)?;
        let mut texts = answers.iter().map(|a| Vec::<Option<String>>::from_redis_value_ref(a).unwrap_or_default());
        let mut next = || texts.next().unwrap_or_default();
        let session = next();
        let field = |i: usize| session.get(i).and_then(|f| f.as_deref());
        let (fence, woken) = (field(0).and_then(|f| f.parse().ok()), field(1) == Some("1"));
        let holds = [next(), next()].into_iter().filter_map(|fields| hold(&fields)).collect();
        let clock = next();
        let number = |i: usize| clock.get(i).and_then(|f| f.as_ref()?.parse::<Ms>().ok());
        let Some((secs, micros)) = number(0).zip(number(1)) else {
            return Err(link.nonsense(answers.last().unwrap_or(&Value::Nil)));
        };
        Ok(Look { fence, woken, holds, now: secs.saturating_mul(1000).saturating_add(micros / 1000) })
    }

    fn wait(&mut self, most: Duration, interrupt: BorrowedFd<'_>) -> Result<Heard, StoreError> {
        self.first_ids()?;
        let most = most.min(LONGEST).max(Duration::from_millis(1));
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(16).arg("BLOCK").arg(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)).arg("STREAMS");
        read.arg(self.streams.iter().map(|(key, _)| key).collect::<Vec<_>>());
        read.arg(self.streams.iter().map(|(_, id)| id.as_deref().unwrap_or("0-0")).collect::<Vec<_>>());
        let link = self.reader()?;
        link.until(Instant::now() + most + GRACE);
        link.send(&[read])?;
        let Some(mut link) = self.reader.take() else { return Ok(Heard::Stirred) };
        let [answered, published, interrupted] = poll([link.as_fd(), self.published.as_fd(), interrupt], most + GRACE);
        if answered {
            let answer = link.take()?;
            self.reader = Some(link);
            self.note_ids(answer);
        } else if !published && !interrupted {
            // Neither an answer nor its end: a read finds out what the silence is.
            link.until(Instant::now() + MORE);
            link.take()?;
        }
        if published { self.words().map(Heard::Word) } else { Ok(Heard::Stirred) }
    }
}

fn last_entry(key: &str) -> Cmd {
    let mut last = cmd("XREVRANGE");
    last.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
    last
}

/// The text of a published message.
fn said(message: Value) -> Option<String> {
    let Value::Array(parts) = message else { return None };
    match parts.into_iter().nth(2)? {
        Value::BulkString(bytes) => Some(text::line(&String::from_utf8_lossy(&bytes))).filter(|t| !t.is_empty()),
        _ => None,
    }
}

/// As the script reads a hold: whatever is left of one holds.
fn hold(fields: &[Option<String>]) -> Option<Hold> {
    let text = |i: usize| fields.get(i).and_then(Clone::clone).unwrap_or_default();
    if text(0).is_empty() && text(1).is_empty() && text(2).is_empty() {
        return None;
    }
    Some(Hold { reason: text(0), by: text(1), since: text(2).parse().unwrap_or(0), until: text(3).parse().ok() })
}
