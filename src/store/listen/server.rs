//! Ears on a server: one connection looks and then blocks on the streams, another hears plain `PUBLISH`. The streams are for
//! haste, the look for certainty: a signal that came before the block is seen by it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Value, cmd};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::subscription::{FIRST_RETRY, MORE, Subscription};
use super::{EACH, Ears, Heard, LONGEST, Listener, Look, poll};
use crate::config::{Config, Server};
use crate::store::keys::Keys;
use crate::store::link::Link;
use crate::store::loaded::{self, get};
use crate::store::{StoreError, document};
use crate::throttle::state::{FleetState, ScopeState, SessionState};

/// How much later than asked a blocked read may answer.
const GRACE: Duration = Duration::from_secs(2);
/// A reader that is cut again and again is opened so seldom.
const APART: Duration = FIRST_RETRY;
/// A block is no shorter, however soon a connection is cut.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) struct ServerEars<'a> {
    config: &'a Config,
    server: &'a Server,
    /// Looks, and blocks on the streams. Closed when it must not be waited for: then the server forgets its block.
    reader: Option<Link<'a>>,
    /// When the reader was last cut while it blocked.
    cut: Option<Instant>,
    /// How long a block may last: less than the silence after which a connection was cut.
    block: Duration,
    /// Hears what is published.
    published: Subscription<'a>,
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
        let server = link.server();
        let published = Subscription::open(config, link, channels)?;
        let keys = Keys::of(&config.fleet);
        let streams = [keys.wake(session), keys.scope_bell(scope), keys.fleet_bell()];
        Ok(Self {
            config,
            server,
            reader: None,
            cut: None,
            block: LONGEST,
            published,
            session: keys.session(session),
            scope: keys.scope(scope),
            fleet: keys.fleet(),
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

    /// The reader was cut while it blocked. The first time it is opened at once, which finds out whether the server is away;
    /// one that is cut again and again is not opened again sooner than [`APART`] after the last time.
    fn was_cut(&mut self, asked: Instant, interrupt: BorrowedFd<'_>, stirs: &dyn Fn() -> bool) -> Heard {
        let silent = asked.elapsed();
        if silent >= SHORTEST {
            self.block = self.block.min((silent / 2).max(SHORTEST));
        }
        let before = self.cut.replace(Instant::now());
        let Some(until) = before.map(|at| at + APART) else { return Heard::Stirred };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let stirred = match self.published.fd() {
                _ if left.is_zero() => return Heard::Stirred,
                Some(published) => poll([interrupt, published], left.min(EACH)),
                None => poll([interrupt], left.min(EACH)).map(|[a]| [a, false]),
            };
            let Some([interrupted, published]) = stirred else { return Heard::Stirred };
            if published && let Some(word) = self.published.words() {
                return Heard::Word(word);
            }
            if interrupted || stirs() {
                return Heard::Stirred;
            }
        }
    }
}

impl Ears for ServerEars<'_> {
    fn look(&mut self) -> Result<Look, StoreError> {
        self.first_ids()?;
        let commands = [get(&self.session), get(&self.scope), get(&self.fleet), cmd("TIME")];
        let link = self.reader()?;
        let answers = link.ask(&commands)?;
        let [session, scope, fleet, clock] = answers.as_slice() else { return Err(link.nonsense(&Value::Nil)) };
        let Some(now) = loaded::time(clock) else { return Err(link.nonsense(clock)) };
        let session: SessionState = state_of(session);
        let (scope, fleet): (ScopeState, FleetState) = (state_of(scope), state_of(fleet));
        let released = [scope.released, fleet.released, fleet.answered];
        Ok(Look {
            fence: session.fence,
            woken: session.woken,
            holds: [scope.hold, fleet.hold].into_iter().flatten().collect(),
            released: released.into_iter().flatten().max(),
            now,
            is_back: false,
        })
    }

    fn wait(
        &mut self,
        most: Duration,
        interrupt: BorrowedFd<'_>,
        stirs: &dyn Fn() -> bool,
    ) -> Result<Heard, StoreError> {
        // Some may have come with the answer to the subscription.
        if let Some(word) = self.published.words() {
            return Ok(Heard::Word(word));
        }
        self.published.keep();
        self.first_ids()?;
        let most = most.min(self.block).max(Duration::from_millis(1));
        let mut read = cmd("XREAD");
        read.arg("COUNT").arg(16).arg("BLOCK").arg(u64::try_from(most.as_millis()).unwrap_or(u64::MAX)).arg("STREAMS");
        read.arg(self.streams.iter().map(|(key, _)| key).collect::<Vec<_>>());
        read.arg(self.streams.iter().map(|(_, id)| id.as_deref().unwrap_or("$")).collect::<Vec<_>>());
        let asked = Instant::now();
        let until = asked + most + GRACE;
        let link = self.reader()?;
        link.until(until);
        link.send(&[read])?;
        let Some(mut link) = self.reader.take() else { return Ok(Heard::Stirred) };
        loop {
            let left = until.saturating_duration_since(Instant::now()).min(EACH);
            let stirred = match self.published.fd() {
                Some(published) => poll([link.as_fd(), interrupt, published], left),
                None => poll([link.as_fd(), interrupt], left).map(|[a, b]| [a, b, false]),
            };
            match stirred {
                Some([true, ..]) => break,
                // A word, or its end, which does not concern what is read here.
                Some([_, false, true]) => {
                    if let Some(word) = self.published.words() {
                        return Ok(Heard::Word(word));
                    }
                }
                Some([_, false, _]) if !left.is_zero() && !stirs() => {}
                // Neither an answer nor its end: a read finds out what the silence is.
                Some([_, false, _]) if left.is_zero() => {
                    link.until(Instant::now() + MORE);
                    return link.take().map(|_| Heard::Stirred);
                }
                // The connection goes, and with it the server's block.
                _ => return Ok(Heard::Stirred),
            }
        }
        match link.read() {
            Ok(Value::ServerError(_)) => {
                // It may not be read: a slow look is what is left.
                self.reader = Some(link);
                super::pause_until(Instant::now() + most, interrupt, stirs);
            }
            Ok(answer) => {
                if let Err(nonsense) = self.note_ids(answer) {
                    return Err(link.nonsense(&nonsense));
                }
                self.reader = Some(link);
            }
            Err(_) => return Ok(self.was_cut(asked, interrupt, stirs)),
        }
        Ok(Heard::Stirred)
    }

    fn loss(&mut self) -> Option<String> {
        self.published.loss()
    }

    fn hush(&mut self) {
        self.reader = None;
    }
}

/// The state of a document, by the answer to [`get`]; one that cannot be read says nothing.
fn state_of<T: Clone + Default + PartialEq + Serialize + DeserializeOwned>(answer: &Value) -> T {
    let Value::BulkString(text) = answer else { return T::default() };
    document::state(&String::from_utf8_lossy(text)).unwrap_or_default()
}

fn last_entry(key: &str) -> Cmd {
    let mut last = cmd("XREVRANGE");
    last.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
    last
}
