//! The bytes between us and a server: reads and writes that end at the deadline, whatever the pace of the other side.

use std::io::{self, ErrorKind, Read, Write};
#[cfg(not(test))]
pub(crate) use std::net::TcpStream as Stream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::clock;
#[cfg(feature = "tls")]
use crate::store::server::tls::Tls;
#[cfg(test)]
pub(crate) use crate::store::simulator::Stream;

/// A connection, its deadline, and how much is taken from it for one answer.
pub(crate) struct Wire {
    plain: Plain,
    #[cfg(feature = "tls")]
    tls: Option<Box<Tls>>,
    left: u64,
    most: u64,
    ended: bool,
}

impl Wire {
    /// Takes answers of up to `most` bytes.
    pub(crate) fn new(stream: Stream, deadline: Instant, most: u64) -> Self {
        let plain = Plain { stream, deadline };
        #[cfg(feature = "tls")]
        return Self { plain, tls: None, left: most, most, ended: false };
        #[cfg(not(feature = "tls"))]
        Self { plain, left: most, most, ended: false }
    }

    /// Speaks TLS from now on: `shake` shakes hands.
    ///
    /// # Errors
    /// As `shake`.
    #[cfg(feature = "tls")]
    pub(crate) fn secure<E>(&mut self, shake: impl FnOnce(&mut Plain) -> Result<Tls, E>) -> Result<(), E> {
        // The first request follows the end of the handshake at once: it must not wait until that was acknowledged.
        let _ = self.plain.stream.set_nodelay(true);
        self.tls = Some(Box::new(shake(&mut self.plain)?));
        Ok(())
    }

    /// Its deadline.
    pub(crate) fn deadline(&self) -> Instant {
        self.plain.deadline
    }

    /// Sets another deadline, for a connection that lives longer than one call.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.plain.deadline = deadline;
        self.left = self.most;
    }

    /// Whether an answer was given up because it was longer than is taken.
    pub(crate) fn overran(&self) -> bool {
        self.left == 0
    }

    /// Takes answers of up to so many bytes from now on.
    pub(crate) fn take_up_to(&mut self, most: u64) {
        self.most = most;
    }

    /// How much is taken for one answer.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// Whether the deadline is over.
    pub(crate) fn late(&self) -> bool {
        self.plain.late()
    }

    /// Whether the other side has closed the connection.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// When it cannot be written in time.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.left = self.most;
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return tls.send(&mut self.plain, bytes);
        }
        self.plain.write_all(bytes)
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.plain.remaining()?;
            return Err(io::Error::new(ErrorKind::InvalidData, "the reply is too long to be a verdict"));
        }
        #[cfg(feature = "tls")]
        let read = match &mut self.tls {
            Some(tls) => tls.read(&mut self.plain, into),
            None => self.plain.read(into),
        };
        #[cfg(not(feature = "tls"))]
        let read = self.plain.read(into);
        self.ended |= match &read {
            Ok(n) => *n == 0,
            Err(e) => !matches!(e.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock),
        };
        let n = read?;
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.plain.stream.as_fd()
    }
}

/// The socket: every read and write of it has what is left until the deadline.
pub(crate) struct Plain {
    stream: Stream,
    deadline: Instant,
}

impl Plain {
    fn remaining(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(clock::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Whether the deadline is over.
    pub(crate) fn late(&self) -> bool {
        // A timeout of the socket may fire a moment before the deadline.
        self.deadline.saturating_duration_since(clock::now()) < Duration::from_millis(5)
    }
}

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // A signal ends a read that has a timeout, and nobody starts it again.
        loop {
            self.stream.set_read_timeout(Some(self.remaining()?))?;
            match self.stream.read(into) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.remaining()?))?;
            match self.stream.write(bytes) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
