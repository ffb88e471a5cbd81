//! The exit codes of every command.

use std::process::ExitCode;

/// The exit code of a command.
///
/// `frosty hook` returns 0 or 2 to the client (2: the agent continues, or the compaction is refused). Its 2 is
/// made in one function of `hook::reply`, from the proof of an admission. It is not a variant here, so that no
/// other command can exit with it by itself. `frosty gate` exits as its command, which consumed an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded.
    Done = 0,
    /// The command failed, `doctor` found a failure, or the output could not be written. A reader that closes
    /// its pipe is not a failure.
    Failed = 1,
    /// `frosty gate`: the agent reported that it is done, so the command did not run.
    AgentDone = 3,
    /// The command line is wrong, or names a target that does not exist or is ambiguous (`EX_USAGE`). Clap's
    /// own code for it is 2, which the client would take for an admission.
    Usage = 64,
    /// `frosty gate`: the command is not admitted now. `frosty ask`: there is no reply yet (`EX_TEMPFAIL`).
    NotNow = 75,
    /// `frosty gate`: the configuration is wrong (`EX_CONFIG`).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
