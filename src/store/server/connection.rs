//! One connection to a Redis-protocol server, with one deadline over all of it, whatever the pace of the server.
//!
//! The redis crate's encoder writes the commands, and its parser reads the replies.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Cmd, FromRedisValue, Parser, PushKind, Value, cmd};

use crate::clock;
use crate::config::{Config, Server, WRITABLE};
use crate::store::server::remedy;
use crate::store::server::wire::{Stream, Wire};
use crate::store::{CONNECT, StoreError};
use crate::text;

/// The largest reply that a verdict needs; the usual one is a few hundred bytes.
const LARGEST_REPLY: u64 = 64 * 1024;

/// The rights that the server's user needs: the commands (with those of the scripts), the keys and the channels.
///
/// docs/stores.md gives them to people, and tests/it/acl.rs proves them from there.
pub const ACL: &str = "+select +eval +evalsha +subscribe +time +xadd +xread +xrevrange +zadd +zcount \
+zrange +zremrangebyscore +get +set +pexpire +publish ~frosty:* ~torch.continuous.ops ~reflect.willy \
&trigger.nova.* &frosty.wake.* &frosty.hold";

/// A connection, usable until its deadline.
pub(crate) struct Link<'a> {
    config: &'a Config,
    server: &'a Server,
    wire: Wire,
    parser: Parser,
    /// The messages that came between replies.
    pushed: Vec<Pushed>,
    subscribed: bool,
}

/// A message that was published.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) channel: String,
    pub(crate) text: String,
}

impl<'a> Link<'a> {
    /// Connects within [`CONNECT`] and the deadline. No command is sent yet.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub(crate) fn connect(config: &'a Config, server: &'a Server, deadline: Instant) -> Result<Self, StoreError> {
        let left = deadline.saturating_duration_since(clock::now()).min(CONNECT);
        let stream = open(server, clock::now() + left).map_err(|e| failed(server, config.budget, &e))?;
        let wire = Wire::new(stream, deadline, LARGEST_REPLY);
        #[cfg(feature = "tls")]
        let wire = secured(wire, config, server)?;
        Ok(Self { config, server, wire, parser: Parser::new(), pushed: Vec::new(), subscribed: false })
    }

    /// Drops the unanswered commands, so that the kernel does not send them again long after another store has decided.
    pub(crate) fn abandon(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.wire, Some(Duration::ZERO));
    }

    /// Returns the configuration.
    pub(crate) fn config(&self) -> &'a Config {
        self.config
    }

    /// Returns the server.
    pub(crate) fn server(&self) -> &'a Server {
        self.server
    }

    /// Returns the deadline.
    pub(crate) fn deadline(&self) -> Instant {
        self.wire.deadline()
    }

    /// Sets another deadline, for a connection that lives longer than one call.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.wire.until(deadline);
    }

    /// Returns whether a reply was given up because it was too long.
    pub(crate) fn overran(&self) -> bool {
        self.wire.overran()
    }

    /// Sets the largest reply that is read from now on, in bytes.
    pub(crate) fn take_up_to(&mut self, most: u64) {
        self.wire.take_up_to(most);
    }

    /// Connects anew, within the budget.
    ///
    /// Where a reply did not come in time, or was too long, its rest would otherwise be read as the reply to the next
    /// command.
    ///
    /// # Errors
    /// When the server cannot be reached, or refuses the login.
    pub(crate) fn renew(&mut self) -> Result<(), StoreError> {
        let mut fresh = Self::connect(self.config, self.server, clock::now() + self.config.budget)?;
        fresh.log_in()?;
        fresh.take_up_to(self.wire.most());
        fresh.pushed = std::mem::take(&mut self.pushed);
        *self = fresh;
        Ok(())
    }

    /// Sends commands in one write.
    ///
    /// # Errors
    /// When they cannot be written in time.
    pub(crate) fn send<'c>(&mut self, commands: impl IntoIterator<Item = &'c Cmd>) -> Result<(), StoreError> {
        // This is room for a verdict's commands at once.
        let mut bytes = Vec::with_capacity(2048);
        for command in commands {
            command.write_packed_command(&mut bytes);
        }
        self.wire.send(&bytes).map_err(|e| failed(self.server, self.config.budget, &e))
    }

    /// Sends commands in one write and returns their replies; an error among them is an error.
    ///
    /// # Errors
    /// When they cannot be exchanged in time, or the server refuses one.
    pub(crate) fn ask(&mut self, commands: &[Cmd]) -> Result<Vec<Value>, StoreError> {
        self.send(commands)?;
        commands.iter().map(|_| self.take()).collect()
    }

    /// Returns the next reply; an error that the server sent is an error.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub(crate) fn take(&mut self) -> Result<Value, StoreError> {
        match self.read()? {
            Value::ServerError(e) => Err(refused(self.server, &error_text(&e))),
            value => Ok(value),
        }
    }

    /// Returns the error for a reply that does not fit the command.
    pub(crate) fn nonsense(&self, found: &Value) -> StoreError {
        self.no_verdict(&format!("{found:?}"))
    }

    /// Sends the commands in one write and returns the last one's reply.
    ///
    /// # Errors
    /// When they cannot be exchanged in time. An error of the last command is its reply.
    pub(crate) fn call(&mut self, head: &[Cmd], last: &Cmd) -> Result<Value, StoreError> {
        self.send(head.iter().chain([last]))?;
        // An index of another type harms no verdict. But a server that requires a login reports that here, and to the
        // longer call that follows it reports only that the call is long.
        let mut said = None;
        for _ in head {
            match self.read() {
                Ok(Value::ServerError(e)) if e.code() == "NOAUTH" => return Err(refused(self.server, &error_text(&e))),
                Ok(Value::ServerError(e)) => said = Some(refused(self.server, &error_text(&e))),
                Ok(_) => {}
                Err(e) => return Err(said.unwrap_or(e)),
            }
        }
        // An earlier error explains more than the missing reply.
        self.read().map_err(|e| said.unwrap_or(e))
    }

    /// Returns the next reply, whatever it is. Messages that come before it are kept.
    ///
    /// # Errors
    /// When it does not come in time, or is invalid.
    pub(crate) fn read(&mut self) -> Result<Value, StoreError> {
        loop {
            match self.parse()? {
                Value::Push { kind, data } => self.pushed.extend(message(&kind, &data)),
                value if self.subscribed => return Ok(flat(value)),
                value => return Ok(value),
            }
        }
    }

    /// Returns whether the connection is subscribed, and also carries commands.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Subscribes on a connection that continues to carry commands.
    ///
    /// Returns `false` where the server does not support RESP3, or the user may not subscribe.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(crate) fn subscribe(&mut self, channels: &[String]) -> Result<bool, StoreError> {
        let (mut hello, mut subscribe) = (cmd("HELLO"), cmd("SUBSCRIBE"));
        hello.arg(3);
        if matches!(self.call(&[], &hello)?, Value::ServerError(_)) {
            return Ok(false);
        }
        self.subscribed = true;
        subscribe.arg(channels);
        // Only a refusal is a reply, because the subscription itself is pushed.
        self.send(&[subscribe, cmd("TIME")])?;
        let is_refused = matches!(self.read()?, Value::ServerError(_));
        if is_refused {
            self.read()?;
        }
        Ok(!is_refused)
    }

    /// Returns the next message that was published.
    ///
    /// # Errors
    /// When none comes in time, or the connection ended.
    pub(crate) fn pushed(&mut self) -> Result<Pushed, StoreError> {
        while self.pushed.is_empty() {
            match self.parse()? {
                Value::Push { kind, data } => self.pushed.extend(message(&kind, &data)),
                other => return Err(self.nonsense(&other)),
            }
        }
        Ok(self.pushed.remove(0))
    }

    fn parse(&mut self) -> Result<Value, StoreError> {
        self.parser.parse_value(&mut self.wire).map_err(|e| match e.kind() {
            redis::ErrorKind::Io if self.wire.late() && !self.wire.ended() => {
                timed_out(self.server, self.config.budget)
            }
            redis::ErrorKind::Io => self.no_verdict(&format!("a connection that ended early ({e})")),
            _ => self.no_verdict(&e.to_string()),
        })
    }

    fn no_verdict(&self, found: &str) -> StoreError {
        StoreError::Nonsense { at: self.server.shown.clone(), found: text::line(&self.server.masked(found)) }
    }

    /// Logs in and selects the database, where either is configured.
    ///
    /// This takes a round trip before the step, which must not run as another user or in another database when they
    /// fail.
    ///
    /// # Errors
    /// When the password cannot be read or the server refuses.
    pub(crate) fn log_in(&mut self) -> Result<(), StoreError> {
        let mut calls = Vec::new();
        let password = self.server.password().map_err(|e| no_password(self.server, &e))?;
        // A user without a password logs in too, because otherwise the default user would decide.
        if let Some(password) = password.or_else(|| self.server.username.as_ref().map(|_| String::new())) {
            let mut auth = cmd("AUTH");
            if let Some(user) = &self.server.username {
                auth.arg(user);
            }
            auth.arg(password);
            calls.push(auth);
        }
        if self.server.database != 0 {
            let mut select = cmd("SELECT");
            select.arg(self.server.database);
            calls.push(select);
        }
        for call in calls {
            if let Value::ServerError(e) = self.call(&[], &call)? {
                return Err(refused(self.server, &error_text(&e)));
            }
        }
        Ok(())
    }
}

/// Returns a message, if this is one.
fn message(kind: &PushKind, data: &[Value]) -> Option<Pushed> {
    let [channel, text] = data else { return None };
    let word = |value: &Value| match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        other => String::from_redis_value_ref(other).ok(),
    };
    (*kind == PushKind::Message).then_some(Pushed { channel: word(channel)?, text: word(text)? })
}

/// Returns a reply in the form of RESP2, where the members and scores of a sorted set are one list.
fn flat(answer: Value) -> Value {
    let Value::Array(entries) = answer else { return answer };
    let is_scored =
        |entry: &Value| matches!(entry, Value::Array(pair) if matches!(pair.as_slice(), [_, Value::Double(_)]));
    if !entries.iter().all(is_scored) {
        return Value::Array(entries);
    }
    let parts = entries.into_iter().flat_map(|entry| match entry {
        Value::Array(pair) => pair,
        other => vec![other],
    });
    let words = parts.map(|part| match part {
        Value::Double(score) => Value::BulkString(score.to_string().into_bytes()),
        other => other,
    });
    Value::Array(words.collect())
}

impl AsFd for Link<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

/// Returns the same wire, with TLS over it where the server requires that.
#[cfg(feature = "tls")]
fn secured(mut wire: Wire, config: &Config, server: &Server) -> Result<Wire, StoreError> {
    if server.tls {
        wire.secure(|plain| crate::store::server::tls::Tls::shake(server, plain, config.budget))?;
    }
    Ok(wire)
}

#[cfg(test)]
fn open(server: &Server, deadline: Instant) -> io::Result<Stream> {
    crate::store::simulator::connect(server, deadline).unwrap_or_else(|| reach(server, deadline).map(Stream::Socket))
}

#[cfg(not(test))]
fn open(server: &Server, deadline: Instant) -> io::Result<Stream> {
    reach(server, deadline)
}

/// Connects to the first of the server's addresses that answers in time.
///
/// Each address has an equal part of the time that is left, so that one that does not answer leaves some for the
/// others.
fn reach(server: &Server, deadline: Instant) -> io::Result<TcpStream> {
    first_of(&resolve(server, deadline)?, deadline)
}

fn first_of(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::TimedOut);
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let untried = u32::try_from(addresses.len().saturating_sub(tried)).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(address, left / untried.max(1)) {
            // TCP_NODELAY is not needed: without TLS there is never a second write before the first one's reply.
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Returns the server's addresses. A name is resolved in another thread, because a resolver may take ten seconds.
///
/// # Errors
/// When the name has no address, or the resolver does not return in time.
pub(crate) fn resolve(server: &Server, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = server.host.parse() {
        return Ok(vec![SocketAddr::new(ip, server.port)]);
    }
    let (told, answer) = mpsc::channel();
    let (host, port) = (server.host.clone(), server.port);
    let look = move || {
        let found = (host.as_str(), port).to_socket_addrs().map(|all| all.collect::<Vec<_>>());
        let _ = told.send(found);
    };
    thread::Builder::new().spawn(look)?;
    let left = deadline.saturating_duration_since(clock::now());
    answer
        .recv_timeout(left)
        .unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "the name was not resolved in time")))
}

fn failed(server: &Server, budget: Duration, e: &io::Error) -> StoreError {
    let at = server.shown.clone();
    match e.kind() {
        ErrorKind::ConnectionRefused => StoreError::NoListener { at },
        ErrorKind::TimedOut | ErrorKind::WouldBlock => timed_out(server, budget),
        _ => StoreError::Unreachable { at, cause: e.to_string() },
    }
}

fn no_password(server: &Server, e: &io::Error) -> StoreError {
    let path = server.password_file.clone().unwrap_or_default();
    // A variable that contains the password itself names no existing file.
    let is_path = path.is_absolute() || path.exists();
    let file = if is_path { text::path(&path) } else { "the file that it names".to_owned() };
    let cause = e.to_string();
    let cure = match cause.as_str() {
        WRITABLE => format!("chmod go-w {file}"),
        _ => remedy::WITH_PASSWORD.to_owned(),
    };
    StoreError::Password { file, cause, cure }
}

fn timed_out(server: &Server, budget: Duration) -> StoreError {
    StoreError::TimedOut { at: server.shown.clone(), within_ms: budget.as_millis() }
}

/// Returns the error text as the server sent it.
pub(crate) fn error_text(e: &redis::ServerError) -> String {
    format!("{} {}", e.code(), e.details().unwrap_or_default())
}

/// Returns a server's error, with its cure.
pub(crate) fn refused(server: &Server, said: &str) -> StoreError {
    let cure = remedy::cure(server, said);
    StoreError::Refused { at: server.shown.clone(), said: text::line(&server.masked(said)), cure }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::store::server::load::times;

    #[test]
    fn an_answer_of_resp3_reads_as_one_of_resp2() {
        let word = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry = |member: &str, score: f64| Value::Array(vec![word(member), Value::Double(score)]);
        let scored = flat(Value::Array(vec![entry("a", 1_796_059_014_903.0), entry("b", 1_796_059_014_904.0)]));
        assert_eq!(scored, Value::Array(vec![word("a"), word("1796059014903"), word("b"), word("1796059014904")]));
        assert_eq!(times(&scored), [1_796_059_014_903, 1_796_059_014_904]);
        for same in [Value::Array(vec![]), Value::Array(vec![word("1800000000"), word("0")]), Value::Nil, word("x")] {
            assert_eq!(flat(same.clone()), same);
        }
        let pushed = message(&PushKind::Message, &[word("frosty.wake.s"), word("up")]).unwrap();
        assert_eq!((pushed.channel.as_str(), pushed.text.as_str()), ("frosty.wake.s", "up"));
        assert!(message(&PushKind::Subscribe, &[word("frosty.wake.s"), Value::Int(1)]).is_none());
    }

    /// A listener with a full queue answers no connection.
    #[test]
    fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let silent = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&silent, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&silent, 0).unwrap();
        let silent = TcpListener::from(silent);
        let to = silent.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&to, Duration::from_millis(200)) {
            queued.push(stream);
        }
        let listens = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listens.local_addr().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for addresses in [vec![to, good], vec![gone, good], vec![to, gone, good]] {
            let deadline = Instant::now() + Duration::from_secs(3);
            let stream = first_of(&addresses, deadline).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good);
        }
    }
}
