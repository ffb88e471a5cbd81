//! Ears on a server: one connection looks and then blocks on the streams, another hears plain `PUBLISH`. The streams are for
//! haste, the look for certainty: a signal that came before the block is seen by it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};

use super::{Ears, Heard, LONGEST, Listener, Look, poll};
use crate::config::{Config, Server};
use crate::store::StoreError;
use crate::store::link::Link;
use crate::store::script::{self, HOLD};
use crate::text;
use crate::throttle::policy::Ms;

/// How much later than asked a blocked read may answer.
const GRACE: Duration = Duration::from_secs(2);
/// How long is waited for more of what was published at once.
const MORE: Duration = Duration::from_millis(5);
/// The longest message that is read, and the most that are read at once.
const LONGEST_WORD: u64 = 1024 * 1024;
const MOST_WORDS: usize = 1000;

pub(super) struct ServerEars<'a> {
    config: &'a Config,
    server: &'a Server,
    /// Looks, and blocks on the streams. Closed when it must not be waited for: then the server forgets its block.
    reader: Option<Link<'a>>,
    /// Hears what is published; `None` where the server's user may not.
    published: Option<Link<'a>>,
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
        let server = link.server();
        link.send(&[subscribe])?;
        let mut published = Some(link);
        for _ in &channels {
            match published.as_mut().map(Link::take) {
                Some(Err(StoreError::Refused { .. })) => published = None,
                Some(Err(e)) => return Err(e),
                Some(Ok(_)) | None => {}
            }
        }
        if let Some(link) = &mut published {
            link.take_up_to(LONGEST_WORD);
        }
        let key = |of: &str| format!("frosty:{{{}}}:{of}", config.fleet);
        let scope = key(&format!("scope:{scope}"));
        let session = key(&format!("session:{session}"));
        let fleet = key("fleet");
        let streams = [format!("{session}:wake"), format!("{scope}:bell"), format!("{fleet}:bell")];
        Ok(Self {
            config,
            server,
            reader: None,
            published,
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
    /// Where that is refused, the next look finds what was missed.
    fn first_ids(&mut self) -> Result<(), StoreError> {
        if self.streams.iter().all(|(_, id)| id.is_some()) {
            return Ok(());
        }
        let last: Vec<Cmd> = self.streams.iter().map(|(key, _)| last_entry(key)).collect();
        let link = self.reader()?;
        link.send(&last)?;
        let answers = last.iter().map(|_| link.read()).collect::<Result<Vec<_>, _>>()?;
        for ((_, id), answer) in self.streams.iter_mut().zip(answers) {
            let entries = Vec::<(String, Value)>::from_redis_value(answer);
            let last = entries.map(|all| all.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id));
            *id = Some(last.unwrap_or_else(|_| "$".to_owned()));
        }
        Ok(())
    }

    /// Takes note of what a blocked read brought. Whatever a server answers at once must not be asked at once again.
    fn note_ids(&mut self, answer: Value) -> Result<(), Value> {
        if answer == Value::Nil {
            return Ok(());
        }
        let streams = Vec::<(String, Vec<(String, Value)>)>::from_redis_value_ref(&answer);
        let Ok(streams) = streams else { return Err(answer) };
        for (key, entries) in streams {
            let known = self.streams.iter_mut().find(|(k, _)| *k == key);
            if let (Some((_, id)), Some((last, _))) = (known, entries.into_iter().next_back()) {
                *id = Some(last);
            }
        }
        Ok(())
    }

    /// What was published by now, the words of several joined; `None` when nothing was.
    fn words(&mut self) -> Result<Option<String>, StoreError> {
        let Some(link) = &mut self.published else { return Ok(None) };
        let mut words: Vec<String> = Vec::new();
        let mut heard = false;
        loop {
            // What has come so far, and what the parser still holds of an earlier read.
            link.until(Instant::now() + MORE);
            match link.take() {
                Ok(message) => {
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
                    self.published = None;
                    break;
                }
                Err(StoreError::TimedOut { .. }) => break,
                Err(e) if !heard => return Err(e),
                Err(_) => {
                    self.published = None;
                    break;
                }
            }
        }
        Ok(heard.then(|| text::line_of(&words.join(" / "), text::LONGEST_NOTE)))
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
            hold.arg(key).arg(&HOLD).arg(&["released", "answered"]);
            commands.push(hold);
        }
        commands.push(cmd("TIME"));
        let link = self.reader()?;
        let answers = link.ask(&commands)?;
        let [session, scope, fleet, clock] = answers.as_slice() else { return Err(link.nonsense(&Value::Nil)) };
        let Some(now) = script::time(clock) else { return Err(link.nonsense(clock)) };
        let session = Vec::<Option<String>>::from_redis_value_ref(session).unwrap_or_default();
        let field = |i: usize| session.get(i).and_then(|f| f.as_deref());
        let (fence, woken) = (field(0).and_then(script::whole), field(1) == Some("1"));
        let holds = [scope, fleet].into_iter().filter_map(script::hold).collect();
        let released = [scope, fleet].into_iter().filter_map(released).max();
        Ok(Look { fence, woken, holds, released, now, is_back: false })
    }

    fn wait(&mut self, most: Duration, interrupt: BorrowedFd<'_>) -> Result<Heard, StoreError> {
        // Some may have come with the answer to the subscription.
        if let Some(word) = self.words()? {
            return Ok(Heard::Word(word));
        }
        self.first_ids()?;
        let most = most.min(LONGEST).max(Duration::from_millis(1));
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(16).arg("BLOCK").arg(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)).arg("STREAMS");
        read.arg(self.streams.iter().map(|(key, _)| key).collect::<Vec<_>>());
        read.arg(self.streams.iter().map(|(_, id)| id.as_deref().unwrap_or("$")).collect::<Vec<_>>());
        let link = self.reader()?;
        link.until(Instant::now() + most + GRACE);
        link.send(&[read])?;
        let Some(mut link) = self.reader.take() else { return Ok(Heard::Stirred) };
        let stirred = match &self.published {
            Some(published) => poll([link.as_fd(), interrupt, published.as_fd()], most + GRACE),
            None => poll([link.as_fd(), interrupt], most + GRACE).map(|[a, b]| [a, b, false]),
        };
        // A signal: the connection goes, and with it the server's block.
        let Some([answered, interrupted, published]) = stirred else { return Ok(Heard::Stirred) };
        if answered {
            match link.read()? {
                Value::ServerError(_) => {
                    // It may not be read: a slow look is what is left.
                    self.reader = Some(link);
                    let _ = poll([interrupt], most);
                    return Ok(Heard::Stirred);
                }
                answer => {
                    if let Err(nonsense) = self.note_ids(answer) {
                        return Err(link.nonsense(&nonsense));
                    }
                    self.reader = Some(link);
                }
            }
        } else if !published && !interrupted {
            // Neither an answer nor its end: a read finds out what the silence is.
            link.until(Instant::now() + MORE);
            link.take()?;
        }
        let word = if published { self.words()? } else { None };
        Ok(word.map_or(Heard::Stirred, Heard::Word))
    }

    fn hush(&mut self) {
        self.reader = None;
    }
}

/// When something was last ended before its time: the fields after those of [`HOLD`].
fn released(fields: &Value) -> Option<Ms> {
    let fields = Vec::<Option<String>>::from_redis_value_ref(fields).unwrap_or_default();
    fields.iter().skip(HOLD.len()).filter_map(|field| script::whole(field.as_deref()?)).max()
}

fn last_entry(key: &str) -> Cmd {
    let mut last = cmd("XREVRANGE");
    last.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
    last
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
