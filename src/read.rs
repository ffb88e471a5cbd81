//! Reads external input within limits of time and size.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

/// The size limit of a configuration, switch or password file.
pub const SMALL: u64 = 1024 * 1024;

/// The reason why a stream was not read to its end.
#[derive(Debug)]
pub enum Unended {
    /// The stream was still open at the deadline, after this many bytes.
    Late(usize),
    /// The stream is longer than allowed.
    TooLarge,
    /// Reading failed.
    Failed(io::Error),
}

/// Reads a stream to its end, unbuffered. The standard library's buffers would cost a Stop event three more
/// system calls.
///
/// # Errors
/// Returns an error when the stream does not end within the time or the size, or cannot be read.
pub fn to_end(stream: impl AsFd, within: Duration, most: usize) -> Result<Vec<u8>, Unended> {
    to_end_while(stream, within, most, || false)
}

/// Reads a stream as [`to_end`] does, for a reader with more time. Whenever no data arrived for `within`, or a
/// signal arrived, `goes_on` decides whether to wait as long again.
///
/// # Errors
/// Returns the errors of [`to_end`].
pub fn to_end_while(
    stream: impl AsFd,
    within: Duration,
    most: usize,
    goes_on: impl FnMut() -> bool,
) -> Result<Vec<u8>, Unended> {
    let mut bytes = Vec::new();
    into(&mut bytes, stream, within, most, goes_on).map(|()| bytes)
}

/// Reads the available data of a stream that may never end.
#[must_use]
pub fn what_comes(stream: impl AsFd, within: Duration, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    match into(&mut bytes, stream, within, most, || false) {
        Err(Unended::Late(filled)) => bytes.truncate(filled),
        Ok(()) => {}
        Err(_) => bytes.clear(),
    }
    bytes
}

fn into(
    bytes: &mut Vec<u8>,
    stream: impl AsFd,
    within: Duration,
    most: usize,
    mut goes_on: impl FnMut() -> bool,
) -> Result<(), Unended> {
    let mut deadline = Instant::now() + within;
    let mut filled = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            if goes_on() {
                deadline = Instant::now() + within;
                continue;
            }
            return Err(Unended::Late(filled));
        }
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&stream, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => {
                deadline = Instant::now();
                continue;
            }
            Ok(_) => {}
            Err(Errno::INTR) => {
                if goes_on() {
                    deadline = Instant::now() + within;
                }
                continue;
            }
            Err(e) => return Err(Unended::Failed(e.into())),
        }
        if filled == bytes.len() {
            bytes.resize((bytes.len() * 4).max(2000).min(most + 1), 0);
        }
        match rustix::io::read(&stream, bytes.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(Unended::Failed(e.into())),
        }
        if filled > most {
            return Err(Unended::TooLarge);
        }
    }
    bytes.truncate(filled);
    Ok(())
}

/// Returns the stdout of a program, if it ends within the time, and `None` otherwise. After that time the
/// program and all its child processes are killed.
pub fn told_by(program: &mut Command, within: Duration, most: usize) -> Option<Vec<u8>> {
    let piped = program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = piped.spawn().ok()?;
    // The output is read first, so that a process that keeps the pipe open longer delays nothing.
    let told = child.stdout.take().and_then(|out| to_end(out, within, most).ok());
    if told.is_none() {
        let _ = rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
    told
}

/// Returns options that open a file without waiting for another process, should the path be a pipe.
#[must_use]
pub fn at_once() -> OpenOptions {
    #[allow(clippy::cast_possible_wrap, reason = "a flag, not a number")]
    let flags = OFlags::NONBLOCK.bits() as i32;
    let mut options = OpenOptions::new();
    options.custom_flags(flags);
    options
}

/// Reads a regular file of at most `most` bytes. A pipe, a device or a directory in its place is an error and
/// not a wait.
///
/// # Errors
/// Returns an error when it is not a regular file, is too large, or cannot be read.
pub fn file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file: File = at_once().read(true).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    if about.len() > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a file that is nearly always short, and is read by every Stop event. It uses as few system calls as
/// possible, and does not check the file's type. Anything but a regular file may fail, and does not wait.
///
/// # Errors
/// Returns an error when the file is longer than `most` bytes or cannot be read.
pub fn short<T>(path: &Path, most: u64, parse: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
    // On the stack, since a buffer this short-lived does not justify a page of the heap.
    let mut bytes = [0; 2048];
    let n = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut bytes[..]))?;
    match bytes.get(..n) {
        Some(whole) if n < bytes.len() => Ok(parse(whole)),
        _ => file(path, most).map(|all| parse(&all)),
    }
}

/// Reads a file in which the kernel describes a process. Such a file has no length, and is mostly read in one
/// piece.
///
/// # Errors
/// Returns an error when the file cannot be read.
pub fn of_kernel(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
    let mut bytes = vec![0; 16 * 1024];
    let mut filled = 0;
    loop {
        let room = bytes.get_mut(filled..).unwrap_or_default();
        let wanted = room.len();
        let n = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut *room))?;
        filled += n;
        if n < wanted || filled as u64 >= SMALL {
            bytes.truncate(filled);
            return Ok(bytes);
        }
        bytes.resize(bytes.len() * 2, 0);
    }
}

/// Reads a file as [`file`] does, as text.
///
/// # Errors
/// Returns the errors of [`file`], and an error when the file is not UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    let mut bytes = short(path, SMALL, <[u8]>::to_vec)?;
    if bytes.is_empty() {
        // A pipe without a writer reads like an empty file.
        bytes = file(path, SMALL)?;
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        io::Error::new(ErrorKind::InvalidData, format!("it is not UTF-8 at byte {at}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that waits for another program leaves that one running when it is killed.
    #[test]
    fn what_hangs_goes_with_all_that_it_started() {
        let dir = tempfile::TempDir::new().unwrap();
        let pid = dir.path().join("pid");
        let mut script = Command::new("sh");
        script.args(["-c", "sleep 300 & echo $! > \"$0.new\"; mv \"$0.new\" \"$0\"; wait"]).arg(&pid);
        let within = Duration::from_millis(300);
        while !pid.exists() {
            assert_eq!(told_by(&mut script, within, 100), None);
        }
        let stat = format!("/proc/{}/stat", std::fs::read_to_string(&pid).unwrap().trim());
        let deadline = Instant::now() + Duration::from_secs(10);
        // The process that inherited it may not have reaped it yet.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline, "it is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(told_by(Command::new("echo").arg("x"), within * 100, 100), Some(b"x\n".to_vec()));
    }
}
