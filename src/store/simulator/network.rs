//! The simulated network: connections between processes and servers. Their messages may be late, lost, held
//! back or doubled.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::database::Reply;
use super::message::{Message, encode, shown};
use super::variants;
use super::world::{self, MILLISECOND, SECOND, Time, World};
use crate::config;

/// The port of the first simulated server; the others follow.
pub(super) const PORT: u16 = 20_000;
/// The host by which a simulated server is configured.
pub(super) const HOST: &str = "127.0.0.1";

static NOTHING: OnceLock<File> = OnceLock::new();

/// One connection.
pub(super) struct Connection {
    process: usize,
    host: usize,
    server: usize,
    /// The start of the server to which the connection was made.
    start: u64,
    /// The bytes that arrived and were not read.
    received: VecDeque<u8>,
    is_closed: bool,
    /// Whether its process has closed it.
    is_dropped: bool,
    /// The channels that it is subscribed to.
    channels: Vec<Vec<u8>>,
    /// Whether a message was lost. All later messages on this connection are lost, too.
    is_mute: bool,
    is_deaf: bool,
    /// The times of the last messages, since neither direction overtakes itself.
    last_sent: Time,
    last_replied: Time,
}

/// All connections, and the cuts between machines and servers.
#[derive(Default)]
pub(super) struct Network {
    connections: Vec<Connection>,
    /// When the cut between a machine and a server ends.
    cuts: BTreeMap<(usize, usize), Time>,
}

impl Network {
    pub(super) fn cut(&mut self, host: usize, server: usize, until: Time) {
        self.cuts.insert((host, server), until);
    }

    /// Returns the process of a connection.
    pub(super) fn process(&self, connection: usize) -> usize {
        self.connections[connection].process
    }

    fn cut_until(&self, host: usize, server: usize, now: Time) -> Option<Time> {
        self.cuts.get(&(host, server)).copied().filter(|until| *until > now)
    }
}

/// An event on the network.
pub(super) enum Happening {
    /// `commands` are those of the message that arrive, and `step` is the id of the step that it was sent for.
    Arrives {
        connection: usize,
        message: Rc<Message>,
        commands: Range<usize>,
        step: Rc<str>,
        is_answered: bool,
    },
    Answered {
        connection: usize,
        bytes: Vec<u8>,
    },
    Closed {
        connection: usize,
    },
}

/// A connection as the product's code reads and writes it: a socket, or a simulated one.
pub(crate) enum Stream {
    Socket(TcpStream),
    Simulated(Simulated),
}

/// The process's end of a simulated connection.
pub(crate) struct Simulated {
    connection: usize,
    patience: Option<Duration>,
}

impl Stream {
    pub(crate) fn set_read_timeout(&mut self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.set_read_timeout(patience),
            Self::Simulated(simulated) => {
                simulated.patience = patience;
                Ok(())
            }
        }
    }

    pub(crate) fn set_write_timeout(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.set_write_timeout(patience),
            Self::Simulated(_) => Ok(()),
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match self {
            Self::Socket(socket) => socket.set_nodelay(nodelay),
            Self::Simulated(_) => Ok(()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.read(into),
            Self::Simulated(simulated) => simulated.receive(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.write(bytes),
            Self::Simulated(simulated) => {
                world::suspend(0);
                world::with(|world| send(world, simulated.connection, Message::parse(bytes)));
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.as_fd(),
            // No option of a socket can be set on it.
            Self::Simulated(_) => nothing(),
        }
    }
}

/// Returns a file that nothing happens to.
pub(super) fn nothing() -> BorrowedFd<'static> {
    NOTHING.get_or_init(|| File::open("/dev/null").unwrap()).as_fd()
}

/// Waits in a simulated process until its newest connection can be read, for at most this long. Without a connection
/// that takes all of the time. Returns whether the connection can be read.
pub(super) fn poll(has_connection: bool, most: Duration) -> bool {
    let deadline = world::with(|world| world.now()) + most;
    loop {
        let (left, connection, is_ready) = world::with(|world| {
            let all = &world.network.connections;
            let is_own = |about: &Connection| Some(about.process) == world.current() && !about.is_dropped;
            let connection = all.iter().rposition(is_own).filter(|_| has_connection);
            let is_ready = connection.is_some_and(|at| all[at].is_closed || !all[at].received.is_empty());
            (world.until(deadline), connection, is_ready)
        });
        if is_ready || left == 0 {
            return is_ready;
        }
        world::suspend_for(left, connection);
    }
}

impl Simulated {
    fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let deadline = world::with(|world| world.now()) + self.patience.unwrap_or(Duration::from_secs(60));
        loop {
            let read = world::with(|world| {
                let left = world.until(deadline);
                let about = &mut world.network.connections[self.connection];
                if !about.received.is_empty() {
                    return Some(about.received.read(into));
                }
                if about.is_closed {
                    return Some(Ok(0));
                }
                (left == 0).then(|| Err(ErrorKind::WouldBlock.into()))
            });
            if let Some(read) = read {
                return read;
            }
            let left = world::with(|world| world.until(deadline));
            world::suspend_for(left, Some(self.connection));
        }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        world::try_with(|world| {
            let about = &mut world.network.connections[self.connection];
            (about.is_closed, about.is_dropped) = (true, true);
        });
    }
}

/// Connects to a simulated server; returns `None` where none is simulated.
pub(crate) fn connect(to: &config::Server, deadline: Instant) -> Option<io::Result<Stream>> {
    let server = usize::from(to.port.checked_sub(PORT)?);
    let (process, host) = world::in_process(|world| (world.current().unwrap(), world.host()))?;
    if to.host != HOST || world::with(|world| server >= world.servers.len()) {
        return None;
    }
    let (takes, left) = world::with(|world| {
        let is_cut = world.network.cut_until(host, server, world.time).is_some();
        let takes = travel(world);
        let is_lost = is_cut || world.chance.happens(world.rates.lost);
        (if is_lost { Time::MAX } else { takes }, world.until(deadline))
    });
    world::suspend(takes.min(left));
    Some(world::with(|world| {
        if takes > left || world.until(deadline) == 0 {
            return Err(ErrorKind::TimedOut.into());
        }
        if !world.servers[server].is_up {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let start = world.servers[server].start;
        let connection = world.network.connections.len();
        world.network.connections.push(Connection {
            process,
            host,
            server,
            start,
            received: VecDeque::new(),
            is_closed: false,
            is_dropped: false,
            channels: Vec::new(),
            is_mute: false,
            is_deaf: false,
            last_sent: 0,
            last_replied: 0,
        });
        Ok(Stream::Simulated(Simulated { connection, patience: None }))
    }))
}

/// Returns the travel time of a message.
fn travel(world: &mut World) -> Time {
    let usual = world.chance.between(50, 400);
    match world.chance.happens(world.rates.delayed) {
        true => usual + world.chance.below(300 * MILLISECOND),
        false => usual,
    }
}

fn send(world: &mut World, connection: usize, mut message: Message) {
    let Connection { host, server, is_mute, .. } = world.network.connections[connection];
    let cut = world.network.cut_until(host, server, world.time);
    let mut after = travel(world);
    let step = world.step_of(world.network.process(connection));
    let is_answered = !variants::sends(world, connection, &mut message);
    if is_mute || cut.is_some() || world.chance.happens(world.rates.lost) {
        world.network.connections[connection].is_mute = true;
        // A proxy, or the other side's kernel, may have the message, and deliver it later.
        if !world.chance.happens(world.rates.held_back) {
            world.tell(|| format!("c{connection}: a message is lost"));
            return;
        }
        let most = world.calms_at.saturating_sub(world.time);
        after += world.chance.below(most.clamp(1, 10 * SECOND));
        world.tell(|| format!("c{connection}: a message is held back for {after} us"));
    }
    let about = &mut world.network.connections[connection];
    about.last_sent = about.last_sent.max(world.time + after);
    let after = about.last_sent - world.time;
    let (commands, message) = (0..message.count(), Rc::new(message));
    let arrives = |is_answered| Happening::Arrives {
        connection,
        message: Rc::clone(&message),
        commands: commands.clone(),
        step: Rc::clone(&step),
        is_answered,
    };
    if world.chance.happens(world.rates.doubled) {
        let again = after + world.chance.below(2 * SECOND);
        world.after(again, world::Happening::Network(arrives(false)));
    }
    let happening = arrives(is_answered);
    world.after(after, world::Happening::Network(happening));
}

/// Performs an event on the network.
pub(super) fn happens(world: &mut World, happening: Happening) {
    match happening {
        Happening::Arrives { connection, message, commands, step, is_answered } => {
            arrives(world, connection, &message, commands, &step, is_answered);
        }
        Happening::Answered { connection, bytes } => {
            world.network.connections[connection].received.extend(bytes);
            wake(world, connection);
        }
        Happening::Closed { connection } => {
            world.network.connections[connection].is_closed = true;
            wake(world, connection);
        }
    }
}

fn wake(world: &mut World, connection: usize) {
    world.wake(world.network.connections[connection].process, connection);
}

/// Runs the commands that arrived at the server, in pieces. Between these it may run commands from others.
fn arrives(
    world: &mut World,
    connection: usize,
    message: &Rc<Message>,
    mut commands: Range<usize>,
    step: &Rc<str>,
    is_answered: bool,
) {
    let Connection { server, start, .. } = world.network.connections[connection];
    if !world.servers[server].is_up || world.servers[server].start != start {
        let after = travel(world);
        return world.after(after, world::Happening::Network(Happening::Closed { connection }));
    }
    if commands.len() > 1 && world.chance.happens(200) {
        let at = usize::try_from(world.chance.between(1, commands.len() as u64 - 1)).unwrap();
        let rest = commands.start + at..commands.end;
        commands.end = rest.start;
        let after = world.chance.below(2 * MILLISECOND);
        let (message, step) = (Rc::clone(message), Rc::clone(step));
        let happening = Happening::Arrives { connection, message, commands: rest, step, is_answered };
        world.after(after, world::Happening::Network(happening));
    }
    let mut bytes = Vec::new();
    for command in commands {
        let (time, command) = (world.time, message.command(command));
        if command[0] == b"SUBSCRIBE" {
            // The reply is a message.
            let channels = command[1..].iter().map(|channel| channel.to_vec());
            world.network.connections[connection].channels.extend(channels);
            continue;
        }
        let reply = match command[0] {
            b"HELLO" => Reply::Status("OK"),
            _ => world.servers[server].run(time, &command, step),
        };
        world.tell(|| shown(connection, &command, &reply));
        encode(&reply, &mut bytes);
    }
    if is_answered {
        answer(world, connection, bytes);
    }
    for (channel, text) in std::mem::take(&mut world.servers[server].published) {
        publish(world, server, &channel, &text);
    }
}

/// Sends a message to the connections that are subscribed to its channel.
pub(super) fn publish(world: &mut World, server: usize, channel: &[u8], text: &[u8]) {
    let start = world.servers[server].start;
    let hears = |about: &Connection| {
        about.server == server
            && about.start == start
            && !about.is_closed
            && about.channels.iter().any(|c| c == channel)
    };
    let all: Vec<usize> =
        (0..world.network.connections.len()).filter(|n| hears(&world.network.connections[*n])).collect();
    let mut bytes = b">3\r\n".to_vec();
    for word in [b"message", channel, text] {
        encode(&Reply::Bulk(word.to_vec()), &mut bytes);
    }
    for connection in all {
        answer(world, connection, bytes.clone());
    }
}

/// Closes the connections of a server that stopped. Its machine may have lost the power, and closes none.
pub(super) fn close_all(world: &mut World, server: usize) {
    let is_open = |about: &Connection| about.server == server && !about.is_closed;
    let all: Vec<usize> =
        (0..world.network.connections.len()).filter(|n| is_open(&world.network.connections[*n])).collect();
    for connection in all {
        let after = travel(world);
        world.after(after, world::Happening::Network(Happening::Closed { connection }));
    }
}

/// Sends bytes back to the process.
pub(super) fn answer(world: &mut World, connection: usize, bytes: Vec<u8>) {
    let Connection { host, server, .. } = world.network.connections[connection];
    let is_cut = world.network.cut_until(host, server, world.time).is_some();
    if world.network.connections[connection].is_deaf || is_cut || world.chance.happens(world.rates.lost) {
        world.network.connections[connection].is_deaf = true;
        world.tell(|| format!("c{connection}: an answer is lost"));
        // The cause of the loss may also have closed the connection.
        if world.chance.happens(400) {
            let after = travel(world);
            world.after(after, world::Happening::Network(Happening::Closed { connection }));
        }
        return;
    }
    let after = travel(world);
    let about = &mut world.network.connections[connection];
    about.last_replied = about.last_replied.max(world.time + after);
    let after = about.last_replied - world.time;
    world.after(after, world::Happening::Network(Happening::Answered { connection, bytes }));
}
