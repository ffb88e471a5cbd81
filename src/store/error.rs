//! What can go wrong with a store, said so that a person can mend it.

use std::path::PathBuf;

use crate::text;

/// Why a store gave no verdict. Nothing is admitted then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connection was refused.
    #[error(
        "expected a Redis-protocol server at {at}, found nobody listening; start it, or choose another store: export FROSTY_STORE=embedded"
    )]
    NobodyListens {
        /// The server, without its password.
        at: String,
    },
    /// The connection failed otherwise.
    #[error("expected a Redis-protocol server at {at}, found: {cause}; check it with: redis-cli -u {at} PING")]
    Unreachable {
        /// The server, without its password.
        at: String,
        /// What the system said.
        cause: String,
    },
    /// No answer in time.
    #[error(
        "expected an answer from {at} in time (budget {within_ms} ms), found none; check it with: redis-cli -u {at} --latency"
    )]
    TimedOut {
        /// The server, without its password.
        at: String,
        /// The budget of the whole ask, of which the server has its part.
        within_ms: u128,
    },
    /// The server answered with an error.
    #[error("the store at {at} answered \"{said}\"; {cure}")]
    Refused {
        /// The server, without its password.
        at: String,
        /// Its words, on one line.
        said: String,
        /// What mends it.
        cure: String,
    },
    /// The server answered something that is no verdict.
    #[error("expected a verdict from {at}, found {found}; check what listens there: redis-cli -u {at} INFO server")]
    Nonsense {
        /// The server, without its password.
        at: String,
        /// What it was.
        found: String,
    },
    /// A newer version of the program wrote what is there.
    #[error(
        "expected the format 1 under {key} at {at}, found {format}, which a newer frosty wrote: nothing was changed; update this one: frosty --version"
    )]
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
        "expected the format {expected} in {}, found {version}, which a newer frosty wrote: nothing was changed; update this one: frosty --version",
        crate::text::path(path)
    )]
    NewerFile {
        /// The file.
        path: PathBuf,
        /// The format of this program.
        expected: u32,
        /// The format found.
        version: u32,
    },
    /// The server is known to be away and is not asked.
    #[error("{why}")]
    Away {
        /// What was wrong when it was asked last, with its cure.
        why: String,
    },
    /// A server was reached for the first time while this step asked for the lock of the files.
    #[error("a server was reached for the first time; the step is sent to it")]
    Met,
    /// An admission came later than any ask may take.
    #[error("expected an answer within a second, found it later: the machine stalled; see how busy it is: uptime")]
    TooLate,
    /// The server cannot be asked, and the embedded store cannot stand in.
    #[error("{server}; nor can the embedded store stand in: {files}")]
    NoStandIn {
        /// What is wrong with the server.
        server: Box<StoreError>,
        /// What is wrong with the embedded store.
        files: Box<StoreError>,
    },
    /// The handshake came to nothing.
    #[error("expected TLS and a certificate to trust at {at}, found {found}; {cure}")]
    Tls {
        /// The server, without its password.
        at: String,
        /// What it was.
        found: String,
        /// What mends it.
        cure: String,
    },
    /// The password file cannot be used.
    #[error("expected a password in {file} (FROSTY_STORE_PASSWORD_FILE), found: {cause}; mend it with: {cure}")]
    Password {
        /// The file; not what may be a password given for its path.
        file: String,
        /// What the system said.
        cause: String,
        /// What mends it.
        cure: String,
    },
    /// There is no folder for the embedded store.
    #[error(
        "expected a state folder, found neither XDG_STATE_HOME nor HOME to be an absolute path; set one: export XDG_STATE_HOME=~/.local/state"
    )]
    NoStateFolder,
    /// Others can write where the state is.
    #[error(transparent)]
    NotPrivate(#[from] crate::ownership::NotPrivate),
    /// Another process holds the lock for too long.
    #[error("expected the lock {path} within {within_ms} ms, found it held; see who holds it: fuser -v {path}", path = text::path(path))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The budget.
        within_ms: u128,
    },
    /// A file or folder of the embedded store cannot be used.
    #[error("expected to {doing} {path}, found: {cause}; see how full it is and who may write there: df {dir} && namei -l {path}", path = text::path(path), dir = text::path(crate::text::standing(path)))]
    Files {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl StoreError {
    /// Whether it is the server's and concerns every ask of it: not one key's, and not this machine's files'.
    pub(crate) fn concerns_all(&self) -> bool {
        match self {
            Self::Refused { said, .. } => !said.contains("WRONGTYPE") && !self.is_full(),
            Self::Password { .. } => true,
            other => other.is_silence(),
        }
    }

    /// Whether the server takes no more connections. It is well, and decides for those that it took.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Refused { said, .. } if said.contains("max number of clients"))
    }

    /// Whether nothing that speaks the protocol could be asked.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::NobodyListens { .. }
                | Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::Nonsense { .. }
                | Self::Tls { .. }
        )
    }
}
