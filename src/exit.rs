//! The exit codes of every command.

use std::process::ExitCode;

/// How a command ends.
///
/// `frosty hook` answers the client with 0 and with 2 (the agent goes on, or the compaction is refused). Its 2 is made at one
/// place, `hook::reply`, from the proof of an admission, and is no variant here, so that no other command can exit so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// It could not be done, `doctor` found a failure, or the output could not be written. A reader that closes its pipe is
    /// no failure.
    Failed = 1,
    /// The command line is wrong, or names what does not exist or may be several (`EX_USAGE`). Clap's own code for it is 2,
    /// which the client would take for an admission.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
