//! A Redis-protocol server's address, as a URL gives it. Its password is kept out of every text that is shown.

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
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database selected after connecting.
    pub database: i64,
    /// The user to log in as, if any.
    pub username: Option<String>,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// Whether TLS is spoken to it (`rediss://`).
    pub tls: bool,
    /// A file with the certificates of who may have signed the server's, instead of the web's authorities.
    pub ca_file: Option<PathBuf>,
    /// The URL without user and password, to be shown.
    pub shown: String,
    password: Option<String>,
    /// What the file held when it was last needed.
    used: Used,
}

/// Two servers are the same whichever of them was logged in to.
#[derive(Clone, Default)]
struct Used(OnceLock<String>);

impl PartialEq for Used {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Used {}

impl Default for Server {
    /// Dragonfly where this product's users run it: port 18000 of this machine.
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
    /// Reads `redis://[user:password@]host[:port][/database]`, and `rediss://` in builds that speak TLS.
    ///
    /// # Errors
    /// What was found (without its password) and what is allowed.
    pub fn parse(url: &str) -> Result<Self, (String, &'static str)> {
        const ALLOWED: &str =
            "auto, embedded, or redis://[user:password@]host[:port][/database] with a port from 1 to 65535";
        const WRITTEN: &str = "redis://[user:password@]host[:port][/database] with every / ? # @ and % of the password written \
as %2F %3F %23 %40 %25, or the password in a file (FROSTY_STORE_PASSWORD_FILE)";
        let found = || secret::url(url);
        const NO_TLS: &str =
            "redis://… (this build speaks no TLS; one that does: cargo build --release --features tls)";
        let tls = url.starts_with("rediss://");
        if tls && !cfg!(feature = "tls") {
            return Err((found(), NO_TLS));
        }
        // The redis crate, which only reads the URL here, was built without TLS.
        let plain = url.replacen("rediss://", "redis://", 1);
        let Some((authority, _)) = plain.strip_prefix("redis://").map(|rest| {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            rest.split_at_checked(end).unwrap_or((rest, ""))
        }) else {
            return Err((found(), ALLOWED));
        };
        // A raw `/`, `?` or `#` in the password ends the host, and what comes of that is another server.
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
        // It is shown in commands to be pasted.
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

    /// The password: the file's, if one is named, else the URL's.
    ///
    /// # Errors
    /// When the file cannot be read, holds none, or is one that others may write.
    pub fn password(&self) -> io::Result<Option<String>> {
        let Some(path) = &self.password_file else { return Ok(self.password.clone()) };
        let password = password_in(path)?;
        let _ = self.used.0.set(password.clone());
        Ok(Some(password))
    }

    /// The text without the password, wherever it was had from: a server may repeat what it was told.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let text = secret::without(text, self.password.as_deref().unwrap_or_default());
        let text = secret::without(&text, self.used.0.get().map_or("", String::as_str));
        match self.password_file.as_deref().map(password_in) {
            // It may have been changed since.
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
    // Of one that is no text nothing is told, not even where.
    file.take(LONGEST).read_to_string(&mut text)?;
    let password = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end_matches(['\r', '\n']);
    if password.is_empty() { invalid("it is empty") } else { Ok(password.to_owned()) }
}

/// A server takes none that is longer.
const LONGEST: u64 = 16 * 1024;
/// What is wrong with a password file that others may write.
pub(crate) const WRITABLE: &str = "others than its owner may write it";
