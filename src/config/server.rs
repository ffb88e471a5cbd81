//! Reads the address of a Redis-protocol server from a URL, and keeps its password out of every shown text.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::read;
use crate::secret;

/// A server.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// The host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database selected after connecting.
    pub database: i64,
    /// The user to log in as, if any.
    pub username: Option<String>,
    /// A file that contains the password.
    pub password_file: Option<PathBuf>,
    /// Whether the connection uses TLS (`rediss://`).
    pub tls: bool,
    /// A file with the authorities' certificates that the server's certificate is checked against, instead of the
    /// web's.
    pub ca_file: Option<PathBuf>,
    /// The URL without user and password, for output.
    pub shown: String,
    password: Option<String>,
    /// The content of the password file at its last use.
    used: Used,
}

/// The last used password. It does not count in comparisons of two servers.
#[derive(Clone, Default)]
struct Used(OnceLock<String>);

impl PartialEq for Used {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Used {}

impl Default for Server {
    /// Returns the server on port 18000 of this machine, the usual place of Dragonfly.
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 18000,
            database: 0,
            username: None,
            password_file: None,
            tls: false,
            ca_file: None,
            shown: "redis://127.0.0.1:18000".to_owned(),
            password: None,
            used: Used::default(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Server {
    /// Reads `redis://[user:password@]host[:port][/database]`, and `rediss://` in builds with TLS.
    ///
    /// # Errors
    /// The found value (without its password) and the allowed values.
    pub fn parse(url: &str) -> Result<Self, (String, &'static str)> {
        const ALLOWED: &str =
            "auto, embedded, or redis://[user:password@]host[:port][/database] with a port from 1 to 65535";
        const WRITTEN: &str = "redis://[user:password@]host[:port][/database] with every / ? # @ and % of the password written \
as %2F %3F %23 %40 %25, or the password in a file (FROSTY_STORE_PASSWORD_FILE)";
        let found = || secret::url(url);
        const NO_TLS: &str = "redis://… (this build has no TLS; one that has it: cargo build --release --features tls)";
        let tls = url.starts_with("rediss://");
        if tls && !cfg!(feature = "tls") {
            return Err((found(), NO_TLS));
        }
        // The redis crate, which only parses the URL here, was built without TLS.
        let plain = url.replacen("rediss://", "redis://", 1);
        let Some((authority, _)) = plain.strip_prefix("redis://").map(|rest| {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            rest.split_at_checked(end).unwrap_or((rest, ""))
        }) else {
            return Err((found(), ALLOWED));
        };
        // A raw `/`, `?` or `#` in the password would end the host, and the result would be another server.
        let hex = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
        if url.split('%').skip(1).any(|part| !hex(part)) {
            return Err((found(), WRITTEN));
        }
        if url.contains(['?', '#']) || (url.contains('@') && !authority.contains('@')) {
            return Err((found(), WRITTEN));
        }
        let info = plain.as_str().into_connection_info().map_err(|_| (found(), ALLOWED))?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return Err((found(), ALLOWED));
        };
        // The host is part of commands that a user pastes.
        if host.chars().any(|c| !c.is_ascii_alphanumeric() && !"._-:%".contains(c)) {
            return Err((found(), ALLOWED));
        }
        let settings = info.redis_settings();
        let database = settings.db();
        let shown_host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let path = if database == 0 { String::new() } else { format!("/{database}") };
        Ok(Self {
            shown: format!("{}://{shown_host}:{port}{path}", if tls { "rediss" } else { "redis" }),
            host,
            port,
            database,
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            password_file: None,
            tls,
            ca_file: None,
            used: Used::default(),
        })
    }

    /// Returns the password: from the file where one is set, else from the URL.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or is writable by other users.
    pub fn password(&self) -> io::Result<Option<String>> {
        let Some(path) = &self.password_file else { return Ok(self.password.clone()) };
        let password = password_in(path)?;
        let _ = self.used.0.set(password.clone());
        Ok(Some(password))
    }

    /// Returns the text without the password of any source: a server may repeat its input.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let text = secret::without(text, self.password.as_deref().unwrap_or_default());
        let text = secret::without(&text, self.used.0.get().map_or("", String::as_str));
        match self.password_file.as_deref().map(password_in) {
            // The file may have changed since its last use.
            Some(Ok(now)) => secret::without(&text, &now),
            _ => text,
        }
    }
}

fn password_in(path: &Path) -> io::Result<String> {
    let file = read::at_once().read(true).open(path)?;
    let about = file.metadata()?;
    let invalid = |what: &str| Err(io::Error::new(ErrorKind::InvalidInput, what));
    if !about.is_file() {
        return invalid("it is no regular file");
    }
    if about.permissions().mode() & 0o022 != 0 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, WRITABLE));
    }
    if about.len() > LONGEST {
        return invalid("it is longer than a password can be");
    }
    let mut text = String::new();
    // The error for a file that is not text must not reveal its content.
    file.take(LONGEST).read_to_string(&mut text)?;
    let password = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end_matches(['\r', '\n']);
    if password.is_empty() { invalid("it is empty") } else { Ok(password.to_owned()) }
}

/// The longest password that a server accepts.
const LONGEST: u64 = 16 * 1024;
/// The error for a password file that other users may write.
pub(crate) const WRITABLE: &str = "others than its owner may write it";
