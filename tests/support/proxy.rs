//! A proxy between Frosty and a server, with every failure of a network or a foreign server.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The treatment of connections that are made while the mode lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Everything goes through.
    Pass,
    /// No process listens.
    Refuse,
    /// The handshake is never completed: the backlog is full.
    Unaccepted,
    /// Connections are accepted, and then nothing is sent.
    Silent,
    /// The request arrives; only this many bytes of the reply are returned, then the connection ends.
    Cut(usize),
    /// The reply arrives this much later.
    Delay(Duration),
    /// The reply arrives byte by byte, with this pause after each.
    Drip(Duration),
    /// Every request gets this answer.
    Says(&'static [u8]),
    /// Everything goes through but a commit, which gets this answer and does not arrive.
    Forges(&'static [u8]),
    /// The proxy is gone.
    Closed,
}

impl Mode {
    /// Returns whether the mode freezes existing connections, where the others cut them.
    fn freezes(self) -> bool {
        matches!(self, Self::Unaccepted | Self::Silent)
    }
}

struct Shared {
    port: u16,
    upstream: u16,
    /// The mode, the number of its changes, and the last change in force.
    mode: Mutex<(Mode, u64, u64)>,
    changed: Condvar,
    connections: AtomicU32,
    open: Mutex<Vec<TcpStream>>,
}

pub struct Proxy {
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy to a port of this machine, which listens on another.
    pub fn to(upstream: u16) -> Self {
        let port = super::free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared = Arc::new(Shared {
            port,
            upstream,
            mode: Mutex::new((Mode::Pass, 0, 0)),
            changed: Condvar::new(),
            connections: AtomicU32::new(0),
            open: Mutex::new(Vec::new()),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || own.accept(listener));
        Self { shared }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.shared.port)
    }

    /// Changes the mode; it is in force when this returns.
    pub fn set(&self, mode: Mode) {
        let mut now = self.shared.mode.lock().unwrap();
        *now = (mode, now.1 + 1, now.2);
        let change = now.1;
        self.shared.changed.notify_all();
        while now.2 < change {
            now = self.shared.changed.wait(now).unwrap();
        }
        drop(now);
        if !mode.freezes() {
            for stream in self.shared.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// Returns how many connections were accepted so far.
    pub fn connections(&self) -> u32 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Mode::Closed);
    }
}

impl Shared {
    fn now(&self) -> (Mode, u64) {
        let now = self.mode.lock().unwrap();
        (now.0, now.1)
    }

    /// Records that this change is in force.
    fn settled(&self, change: u64) {
        let mut now = self.mode.lock().unwrap();
        now.2 = now.2.max(change);
        self.changed.notify_all();
    }

    fn wait_past(&self, change: u64) {
        let mut now = self.mode.lock().unwrap();
        while now.1 == change {
            now = self.changed.wait(now).unwrap();
        }
    }

    fn accept(self: Arc<Self>, first: TcpListener) {
        let mut listener = Some(first);
        loop {
            let (mode, change) = self.now();
            match mode {
                Mode::Closed => {
                    drop(listener);
                    return self.settled(change);
                }
                Mode::Refuse => {
                    listener = None;
                    self.settled(change);
                    self.wait_past(change);
                }
                Mode::Unaccepted => {
                    let bound = listener.get_or_insert_with(|| self.bind());
                    let held = self.fill(bound);
                    self.settled(change);
                    self.wait_past(change);
                    drop(held);
                    listener = None;
                }
                mode => {
                    let bound = listener.get_or_insert_with(|| self.bind());
                    self.settled(change);
                    let Some(client) = next(bound) else { continue };
                    self.connections.fetch_add(1, Ordering::SeqCst);
                    let own = Arc::clone(&self);
                    thread::spawn(move || own.serve(client, mode));
                }
            }
        }
    }

    fn bind(&self) -> TcpListener {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => return listener,
                Err(e) => assert!(Instant::now() < end, "port {}: {e}", self.port),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes the backlog as short as possible and fills it, so that the next handshake gets no answer.
    #[allow(unsafe_code, reason = "the standard library cannot shorten a backlog")]
    fn fill(&self, listener: &TcpListener) -> Vec<TcpStream> {
        // SAFETY: the descriptor is an open listening socket; listening again only sets its backlog.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let to = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&to, Duration::from_millis(60)) {
            held.push(stream);
            assert!(held.len() < 20, "the backlog does not fill");
        }
        held
    }

    fn keep(&self, stream: &TcpStream) {
        self.open.lock().unwrap().push(stream.try_clone().unwrap());
    }

    fn serve(&self, mut client: TcpStream, mode: Mode) {
        self.keep(&client);
        let mut bytes = vec![0; 65_536];
        match mode {
            Mode::Silent => {
                // Kept open until the mode changes.
            }
            Mode::Says(answer) => {
                while matches!(client.read(&mut bytes), Ok(1..)) && client.write_all(answer).is_ok() {}
            }
            mode => {
                let Ok(server) = TcpStream::connect(("127.0.0.1", self.upstream)) else {
                    let _ = client.shutdown(Shutdown::Both);
                    return;
                };
                self.keep(&server);
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let back = client.try_clone().unwrap();
                thread::scope(|scope| {
                    scope.spawn(|| match mode {
                        Mode::Forges(answer) => forge(from, to, back, answer),
                        _ => self.pump(from, to, Mode::Pass),
                    });
                    self.pump(server, client, mode);
                });
            }
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, mode: Mode) {
        let mut bytes = vec![0; 65_536];
        let mut passed = 0;
        while let Ok(n @ 1..) = from.read(&mut bytes) {
            let (now, change) = self.now();
            if now.freezes() {
                self.wait_past(change);
                break;
            }
            let sent = match mode {
                Mode::Cut(most) => {
                    let part = n.min(most - passed);
                    passed += part;
                    let sent = to.write_all(&bytes[..part]);
                    if passed == most {
                        break;
                    }
                    sent
                }
                Mode::Delay(late) => {
                    thread::sleep(late);
                    to.write_all(&bytes[..n])
                }
                Mode::Drip(pause) => bytes[..n].iter().try_for_each(|byte| {
                    thread::sleep(pause);
                    to.write_all(&[*byte])
                }),
                _ => to.write_all(&bytes[..n]),
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}

/// Forwards the client's requests to the server, but answers a commit itself.
fn forge(mut from: TcpStream, mut to: TcpStream, mut back: TcpStream, answer: &[u8]) {
    let mut bytes = vec![0; 65_536];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        let commits = bytes[..n].windows(4).any(|word| word == b"EVAL");
        let sent = if commits { back.write_all(answer) } else { to.write_all(&bytes[..n]) };
        if sent.is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Returns the next client, if one connects soon.
fn next(listener: &TcpListener) -> Option<TcpStream> {
    let soon = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    match poll(&mut fds, Some(&soon)) {
        Ok(1..) => listener.accept().ok().map(|(client, _)| client),
        _ => None,
    }
}
