//! The errors of a store, each with its remedy.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::hint::{Hint, Problem};
use crate::text;

/// Why a store returned no verdict. Nothing is admitted then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connection was refused.
    #[error("cannot connect to {at}: connection refused")]
    NoListener {
        /// The server, without its password.
        at: String,
    },
    /// The connection failed otherwise.
    #[error("the connection to {at} failed: {cause}")]
    Unreachable {
        /// The server, without its password.
        at: String,
        /// The system's error.
        cause: String,
    },
    /// No answer came in time.
    #[error("no answer from {at} in time (budget {within_ms} ms)")]
    TimedOut {
        /// The server, without its password.
        at: String,
        /// The budget of the whole request, of which the server has its part.
        within_ms: u128,
    },
    /// The server returned an error.
    #[error("{at} returned the error \"{said}\"")]
    Refused {
        /// The server, without its password.
        at: String,
        /// The server's error, on one line.
        said: String,
        /// The remedy.
        cure: String,
    },
    /// The server returned something that is no verdict.
    #[error("unexpected reply from {at}: {found}")]
    Nonsense {
        /// The server, without its password.
        at: String,
        /// What it was.
        found: String,
    },
    /// A part of a work queue is damaged.
    #[error("{place} cannot be read ({cause}); nothing was changed")]
    WorkUnreadable {
        /// The file or the key, or the queue.
        place: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A newer version of the program wrote the key.
    #[error("{key} at {at} has the format {format} of a newer frosty (this one reads 1); nothing was changed")]
    Newer {
        /// The server, without its password.
        at: String,
        /// The key.
        key: String,
        /// The format found.
        format: u64,
    },
    /// A newer version of the program wrote the file.
    #[error(
        "{} has the format {version} of a newer frosty (this one reads {expected}); nothing was changed",
        text::path(path)
    )]
    NewerFile {
        /// The file.
        path: PathBuf,
        /// The format of this program.
        expected: u32,
        /// The format found.
        version: u32,
    },
    /// The server is known to be unreachable, and no request is sent to it.
    #[error("{}", .0.message)]
    Away(Problem),
    /// A server was reached for the first time while this step waited for the lock of the files.
    #[error("a server was reached for the first time; the step is sent to it")]
    Met,
    /// An admission came later than any request may take.
    #[error("the machine stalled: an answer that is due within a second came later")]
    TooLate,
    /// The server is unreachable, and the embedded store cannot decide in its place.
    #[error("{server}, and local files cannot decide in its place: {files}")]
    NoOutage {
        /// What is wrong with the server.
        server: Box<StoreError>,
        /// What is wrong with the embedded store.
        files: Box<StoreError>,
    },
    /// The TLS handshake failed.
    #[error("no trusted TLS connection to {at}: {found}")]
    Tls {
        /// The server, without its password.
        at: String,
        /// What it was.
        found: String,
        /// The remedy.
        cure: String,
    },
    /// The password file cannot be used.
    #[error("cannot read the password in {file} (FROSTY_STORE_PASSWORD_FILE): {cause}")]
    Password {
        /// The file, unless its path may be the password itself.
        file: String,
        /// The system's error.
        cause: String,
        /// The remedy.
        cure: String,
    },
    /// There is no directory for the embedded store.
    #[error("no state directory: neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoStateFolder,
    /// Other users can write where the state is.
    #[error(transparent)]
    NotPrivate(#[from] crate::ownership::NotPrivate),
    /// Another process holds the lock for too long.
    #[error("cannot lock {path} within {within_ms} ms: another process holds it", path = text::path(path))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The budget.
        within_ms: u128,
    },
    /// A file or directory of the embedded store cannot be used.
    #[error("cannot {doing} {path}: {cause}", path = text::path(path))]
    Files {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
}

/// The remedy where neither variable that leads to the state directory is set.
pub(crate) const SET_STATE_FOLDER: &str = "set one: export XDG_STATE_HOME=~/.local/state";

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoListener { .. } => "start the server, or use local files: export FROSTY_STORE=embedded".to_owned(),
            Self::Unreachable { at, .. } => format!("check the server: redis-cli -u {at} PING"),
            Self::TimedOut { at, .. } => format!("check the server: redis-cli -u {at} --latency"),
            Self::Nonsense { at, .. } => format!("check what listens there: redis-cli -u {at} INFO server"),
            Self::Newer { .. } | Self::NewerFile { .. } => "update this frosty: frosty --version".to_owned(),
            Self::Refused { cure, .. } | Self::Tls { cure, .. } | Self::Password { cure, .. } => cure.clone(),
            Self::Away(problem) => return problem.hint.clone(),
            Self::Met => return None,
            Self::TooLate => "see how busy the machine is: uptime".to_owned(),
            Self::NoOutage { server, files } => return files.hint().or_else(|| server.hint()),
            Self::NoStateFolder => SET_STATE_FOLDER.to_owned(),
            Self::WorkUnreadable { .. } => "check the store: frosty doctor".to_owned(),
            Self::NotPrivate(e) => return e.hint(),
            Self::Locked { path, .. } => format!("see which process holds it: fuser -v {}", text::path(path)),
            Self::Files { path, cause, .. } => match cause.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    format!("see how full the disk is: df -h {}", text::path(text::standing(path)))
                }
                _ => format!("see the permissions on the way: namei -l {}", text::path(path)),
            },
        })
    }
}

impl StoreError {
    /// Whether the error concerns every request to the server, not one key or this machine's files.
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            Self::Refused { said, .. } => !said.contains("WRONGTYPE") && !self.is_full(),
            Self::Password { .. } => true,
            other => other.is_silence(),
        }
    }

    /// Whether the server takes no more connections. It works, and decides for those that it has.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Refused { said, .. } if said.contains("max number of clients"))
    }

    /// Whether no server that uses the protocol could be reached.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::NoListener { .. }
                | Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Nonsense { .. }
                | Self::Tls { .. }
        )
    }
}
