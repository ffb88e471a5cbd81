//! A Redis-protocol server as the store: one script, one round trip. Measured on Redis 7.0; the script keeps to what
//! Dragonfly runs as well.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Cmd, Parser, Value, cmd};

use super::{CONNECT, Store, StoreError, reached};
use crate::config::{Config, Server};
use crate::text;
use crate::throttle::policy::{Class, ClassPolicy, Ms, Quota, millis};
use crate::throttle::step::{Event, Reset, Step};
use crate::throttle::verdict::{Decision, Held, Outcome, Reason, Verdict};

/// The admission script.
pub const SCRIPT: &str = include_str!("admit.lua");
/// Its SHA-1, as `EVALSHA` wants it.
pub const SCRIPT_SHA: &str = include_str!(concat!(env!("OUT_DIR"), "/admit.sha1"));

/// The name of this store in the journal.
pub const NAME: &str = "dragonfly";

/// The largest reply that is read: a verdict is a few hundred bytes.
const LARGEST_REPLY: u64 = 64 * 1024;

/// The longest a scope's key outlives its last fact: seven days of a release, and one more.
const KEEP: Duration = Duration::from_secs(8 * 86_400);

/// What a session's or scope's index forgets after this long.
const INDEX_KEEP: Duration = Duration::from_secs(30 * 86_400);

/// A connection to the server, good until its deadline.
pub struct Dragonfly<'a> {
    config: &'a Config,
    server: &'a Server,
    wire: Wire,
    parser: Parser,
}

impl<'a> Dragonfly<'a> {
    /// Connects within [`CONNECT`] and the deadline. Nothing is sent yet.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn connect(config: &'a Config, server: &'a Server, deadline: Instant) -> Result<Self, StoreError> {
        let left = deadline.saturating_duration_since(Instant::now()).min(CONNECT);
        let stream = reach(server, Instant::now() + left).map_err(|e| failed(server, config.budget, &e))?;
        let wire = Wire { stream, deadline, left: LARGEST_REPLY };
        Ok(Self { config, server, wire, parser: Parser::new() })
    }

    /// Sends the commands in one write and returns the last one's reply.
    fn call(&mut self, head: &[Cmd], last: &Cmd) -> Result<Value, StoreError> {
        let mut bytes = Vec::with_capacity(2048);
        for command in head.iter().chain([last]) {
            command.write_packed_command(&mut bytes);
        }
        self.wire.send(&bytes).map_err(|e| failed(self.server, self.config.budget, &e))?;
        for _ in head {
            // The indexes only list, so that one of another type harms no verdict. But a server that wants a login says
            // so there, and of the longer call that follows only that it is long.
            if let Value::ServerError(e) = self.read()?
                && e.code() == "NOAUTH"
            {
                return Err(refused(self.server, &error_text(&e)));
            }
        }
        self.read()
    }

    fn read(&mut self) -> Result<Value, StoreError> {
        self.parser.parse_value(&mut self.wire).map_err(|e| match e.kind() {
            redis::ErrorKind::Io if self.wire.late() => timed_out(self.server, self.config.budget),
            redis::ErrorKind::Io => StoreError::Nonsense {
                at: self.server.shown.clone(),
                found: format!("a connection that ended early ({})", text::line(&e.to_string())),
            },
            _ => StoreError::Nonsense { at: self.server.shown.clone(), found: text::line(&e.to_string()) },
        })
    }

    /// Logs in and selects the database, where either is configured: a round trip before the step, which must not run
    /// as somebody else or somewhere else when they fail.
    fn log_in(&mut self) -> Result<(), StoreError> {
        let mut calls = Vec::new();
        if let Some(password) = self.server.password().map_err(|e| no_password(self.server, &e))? {
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

    /// The two indexes, in the same write as the step.
    fn indexes(&self, step: &Step) -> Vec<Cmd> {
        let mut head = Vec::with_capacity(4);
        for (index, member) in [("scopes", &step.scope), ("sessions", &step.session)] {
            let key = format!("frosty:{{{}}}:{index}", self.config.fleet);
            let mut add = cmd("ZADD");
            add.arg(&key).arg(step.host_ms).arg(member);
            head.push(add);
            if matches!(step.event, Event::SessionStart { .. }) {
                let mut forget = cmd("ZREMRANGEBYSCORE");
                forget.arg(key).arg("-inf").arg(step.host_ms.saturating_sub(millis(INDEX_KEEP)));
                head.push(forget);
            }
        }
        head
    }
}

impl Store for Dragonfly<'_> {
    fn step(&mut self, step: &Step) -> Result<Verdict, StoreError> {
        self.log_in()?;
        let mut answer = self.call(&self.indexes(step), &invocation("EVALSHA", SCRIPT_SHA, self.config, step))?;
        if matches!(&answer, Value::ServerError(e) if e.code() == "NOSCRIPT") {
            answer = self.call(&[], &invocation("EVAL", SCRIPT, self.config, step))?;
        }
        match answer {
            Value::ServerError(e) => Err(refused(self.server, &error_text(&e))),
            answer => match decision(&answer) {
                Some(decided) => {
                    // Only a verdict shows that this is a server; an open port may be anybody's.
                    reached::remember(self.config, self.server);
                    Ok(Verdict::committed(decided, Vec::new()))
                }
                None => Err(StoreError::Nonsense {
                    at: self.server.shown.clone(),
                    found: text::line(&format!("{answer:?}")),
                }),
            },
        }
    }
}

/// Reads and writes that end at the deadline, whatever the pace of the other side.
struct Wire {
    stream: TcpStream,
    deadline: Instant,
    left: u64,
}

impl Wire {
    fn remaining(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    fn late(&self) -> bool {
        // A timeout of the socket may fire a moment before the deadline.
        self.deadline.saturating_duration_since(Instant::now()) < Duration::from_millis(5)
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.left = LARGEST_REPLY;
        self.stream.set_write_timeout(Some(self.remaining()?))?;
        while !bytes.is_empty() {
            self.remaining()?;
            let n = self.stream.write(bytes)?;
            bytes = bytes.get(n..).unwrap_or_default();
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.remaining()?))?;
        if self.left == 0 {
            return Err(io::Error::new(ErrorKind::InvalidData, "the reply is too long to be a verdict"));
        }
        let n = self.stream.read(into)?;
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}

/// A connection to the first of the server's addresses that answers in time.
fn reach(server: &Server, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::TimedOut);
    for address in resolve(server, deadline)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            // No TCP_NODELAY: there is never a second write before the first one's reply.
            Ok(stream) => return Ok(stream),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// The server's addresses. A name is looked up beside us, since a resolver may take ten seconds.
fn resolve(server: &Server, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
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
    let left = deadline.saturating_duration_since(Instant::now());
    answer
        .recv_timeout(left)
        .unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "the name was not resolved in time")))
}

/// The call of the script for a step: `EVALSHA` with its SHA-1, or `EVAL` with its text, KEYS and ARGV.
///
/// Keys that the event does not need are not named: each may be on another shard.
#[must_use]
pub fn invocation(how: &str, script: &str, config: &Config, step: &Step) -> Cmd {
    let fleet = &config.fleet;
    let Step { scope, session, event, .. } = step;
    let class = event.asks();
    let stop = class == Some(Class::Stop);
    let policy = &config.policy;
    let (scope_quotas, fleet_quotas): (&[Quota], &[Quota]) =
        if stop { (&policy.stop.quotas, &policy.fleet_quotas) } else { (&[], &[]) };

    let names = [
        (true, format!("session:{session}")),
        (event.touches_scope(), format!("scope:{scope}")),
        (stop, "fleet".to_owned()),
        (!scope_quotas.is_empty(), format!("scope:{scope}:quota")),
        (!fleet_quotas.is_empty(), "fleet:quota".to_owned()),
    ];
    let mut call = Cmd::with_capacity(64, 1024);
    call.arg(how).arg(script).arg(1 + names.iter().filter(|(named, _)| *named).count()).arg(&config.stream);
    for (_, name) in names.iter().filter(|(named, _)| *named) {
        call.arg(format!("frosty:{{{fleet}}}:{name}"));
    }

    let mut args = Args(call);
    let (held, rest, failure, registered) = match event {
        Event::Ask { fence } => (Some(*fence), None, None, None),
        Event::Stop { rest } => (None, rest.as_ref(), None, None),
        Event::StopFailure(failure) => (None, None, Some(failure), None),
        Event::SessionStart { name, label } => (None, None, None, Some((name, label))),
        _ => (None, None, None, None),
    };
    args.text(code(event)).maybe(held).flag(step.paced);
    args.int(step.host_ms).text(&step.host).int(step.r.into()).text(&step.id);
    args.text(scope).text(session);
    args.text(registered.map_or("", |(name, _)| name)).text(registered.map_or("", |(_, label)| label));
    args.text(rest.map_or("", |r| r.kind.code())).maybe(rest.and_then(|r| r.lasting).map(millis));
    args.text(rest.map_or("", |r| &r.topic));
    args.text(failure.map_or("", |f| f.class.code()));
    let (at, after) = match failure.and_then(|f| f.reset) {
        Some(Reset::At(at)) => (Some(at), None),
        Some(Reset::After(after)) => (None, Some(millis(after))),
        None => (None, None),
    };
    args.maybe(at).maybe(after);
    args.flag(failure.is_some_and(|f| f.too_long)).text(failure.map_or("", |f| &f.cure));
    args.text(&step.event_name).text(&step.detail).text(fleet).text(NAME);
    args.int(config.journal_max.into()).int(keep(config));
    let limits = policy.class(class.unwrap_or(Class::Stop));
    let cooldown = &limits.cooldown;
    args.int(millis(limits.min_interval));
    args.int(limits.burst.map_or(0, |b| b.limit.into())).int(limits.burst.map_or(0, |b| millis(b.window)));
    args.int(millis(cooldown.backoff.base)).int(cooldown.backoff.factor.into()).int(millis(cooldown.backoff.max));
    args.int(cooldown.jitter.into()).int(millis(cooldown.calm));
    let api = &policy.api_error;
    args.int(millis(api.base)).int(api.factor.into()).int(millis(api.max));
    args.quotas(scope_quotas).quotas(fleet_quotas);
    args.0
}

/// The event as the script knows it.
fn code(event: &Event) -> &'static str {
    match event {
        Event::Stop { .. } => "stop",
        Event::Ask { .. } => "ask",
        Event::StopFailure(_) => "failure",
        Event::PreCompactAuto => "compact",
        Event::PersonPrompt => "prompt",
        Event::ClientPrompt => "client_prompt",
        Event::SessionStart { .. } => "start",
        Event::SessionEnd => "end",
        Event::NeedsYou => "needs_you",
        Event::Other => "other",
    }
}

/// How long a scope's key must outlive its furthest end.
fn keep(config: &Config) -> Ms {
    let classes = [&config.policy.stop, &config.policy.compact];
    let longest =
        |c: &&ClassPolicy| c.min_interval.max(c.cooldown.calm).max(c.burst.map_or(Duration::ZERO, |b| b.window));
    millis(KEEP) + millis(classes.iter().map(longest).max().unwrap_or_default())
}

struct Args(Cmd);

impl Args {
    fn text(&mut self, value: &str) -> &mut Self {
        self.0.arg(value);
        self
    }

    fn int(&mut self, value: Ms) -> &mut Self {
        self.0.arg(value);
        self
    }

    fn maybe(&mut self, value: Option<Ms>) -> &mut Self {
        match value {
            Some(value) => self.int(value),
            None => self.text(""),
        }
    }

    fn flag(&mut self, value: bool) -> &mut Self {
        self.text(if value { "1" } else { "0" })
    }

    fn quotas(&mut self, quotas: &[Quota]) -> &mut Self {
        self.0.arg(quotas.len());
        for quota in quotas {
            self.int(quota.limit.into()).int(millis(quota.per));
        }
        self
    }
}

/// The script's answer: ten strings, an empty one where there is nothing to say.
#[must_use]
pub fn decision(answer: &Value) -> Option<Decision> {
    let Value::Array(fields) = answer else { return None };
    let text = |i: usize| match fields.get(i)? {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    let number = |i: usize| text(i).and_then(|t| if t.is_empty() { None } else { t.parse::<i64>().ok() });
    let outcome = match text(0)? {
        "admit" => Outcome::Admit,
        "refuse" => Outcome::Refuse,
        "record" => Outcome::Record,
        _ => return None,
    };
    let reason = Reason::from_code(text(1)?)?;
    let held = (reason == Reason::Hold)
        .then(|| Held { by: text(8).unwrap_or_default().to_owned(), reason: text(9).unwrap_or_default().to_owned() });
    Some(Decision {
        outcome,
        reason,
        retry_after: number(2).map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
        attempts: u32::try_from(number(3)?).ok()?,
        strikes: u32::try_from(number(4)?).ok()?,
        fence: number(5),
        reason_changed: text(6)? == "1",
        held,
        now: number(7)?,
    })
}

fn failed(server: &Server, budget: Duration, e: &io::Error) -> StoreError {
    let at = server.shown.clone();
    match e.kind() {
        ErrorKind::ConnectionRefused => StoreError::NobodyListens { at },
        ErrorKind::TimedOut | ErrorKind::WouldBlock => timed_out(server, budget),
        _ => StoreError::Unreachable { at, cause: e.to_string() },
    }
}

fn no_password(server: &Server, e: &io::Error) -> StoreError {
    StoreError::Password { path: server.password_file.clone().unwrap_or_default(), cause: e.to_string() }
}

fn timed_out(server: &Server, budget: Duration) -> StoreError {
    StoreError::TimedOut { at: server.shown.clone(), within_ms: budget.as_millis() }
}

fn error_text(e: &redis::ServerError) -> String {
    format!("{} {}", e.code(), e.details().unwrap_or_default())
}

fn refused(server: &Server, said: &str) -> StoreError {
    let at = server.shown.clone();
    let said = text::line(said);
    let has = |code: &str| said.contains(code);
    let cure = if has("without any password") {
        "it wants no password: unset FROSTY_STORE_PASSWORD_FILE (and take it out of the URL)".to_owned()
    } else if has("DB index") {
        "name a database that it has: FROSTY_STORE=redis://host:port/0".to_owned()
    } else if has("NOAUTH") || has("WRONGPASS") || has("invalid username-password") {
        "give it the right password: export FROSTY_STORE_PASSWORD_FILE=<file>".to_owned()
    } else if has("NOPERM") {
        format!("let the user run EVAL, EVALSHA, ZADD and the keys frosty:*: redis-cli -u {at} ACL WHOAMI")
    } else if has("READONLY") {
        "this is a replica: point FROSTY_STORE at the primary".to_owned()
    } else if has("OOM") {
        format!("its memory is full; give it more: redis-cli -u {at} CONFIG SET maxmemory <bytes>")
    } else if has("WRONGTYPE") {
        format!(
            "a key of Frosty's holds another type; find it and delete it: redis-cli -u {at} --scan --pattern 'frosty:*'"
        )
    } else if has("CROSSSLOT") {
        "in a cluster the journal must share the fleet's slot: set \"stream\" to \"torch.continuous.ops{<fleet>}\""
            .to_owned()
    } else {
        format!("check it with: redis-cli -u {at} PING")
    };
    StoreError::Refused { at, said, cure }
}
