//! The bytes on a connection to a server: reads and writes that end at the deadline, whatever the pace of the server.

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

/// A connection, its deadline, and the bytes that are still read of one reply.
pub(crate) struct Wire {
    plain: Plain,
    #[cfg(feature = "tls")]
    tls: Option<Box<Tls>>,
    left: u64,
    most: u64,
    ended: bool,
}

impl Wire {
    /// Makes a wire that reads replies of up to `most` bytes.
    pub(crate) fn new(stream: Stream, deadline: Instant, most: u64) -> Self {
        let plain = Plain { stream, deadline };
        #[cfg(feature = "tls")]
        return Self { plain, tls: None, left: most, most, ended: false };
        #[cfg(not(feature = "tls"))]
        Self { plain, left: most, most, ended: false }
    }

    /// Uses TLS from now on; `shake` makes the handshake.
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

    /// Returns the deadline.
    pub(crate) fn deadline(&self) -> Instant {
        self.plain.deadline
    }

    /// Sets another deadline, for a connection that lives longer than one call.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.plain.deadline = deadline;
        self.left = self.most;
    }

    /// Returns whether a reply was given up because it was too long.
    pub(crate) fn overran(&self) -> bool {
        self.left == 0
    }

    /// Sets the largest reply that is read from now on, in bytes.
    pub(crate) fn take_up_to(&mut self, most: u64) {
        self.most = most;
    }

    /// Returns the largest reply that is read, in bytes.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// Returns whether the deadline is over.
    pub(crate) fn late(&self) -> bool {
        self.plain.late()
    }

    /// Returns whether the other side has closed the connection.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// When they cannot be written in time.
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

/// The socket: every read and write of it has the time that is left until the deadline.
pub(crate) struct Plain {
    stream: Stream,
    deadline: Instant,
}

impl Plain {
    fn remaining(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(clock::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Returns whether the deadline is over.
    pub(crate) fn late(&self) -> bool {
        // A timeout of the socket may fire a moment before the deadline.
        self.deadline.saturating_duration_since(clock::now()) < Duration::from_millis(5)
    }
}

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // A signal ends a read that has a timeout, so the read is started again here.
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
