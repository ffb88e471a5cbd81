//! A Redis-protocol server's address, as a URL gives it. Its password is kept out of every text that is shown.

use std::fmt;
use std::io;
use std::path::PathBuf;

use redis::{ConnectionAddr, IntoConnectionInfo};

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
    /// The URL without user and password, to be shown.
    pub shown: String,
    password: Option<String>,
}

impl Default for Server {
    /// Dragonfly where this product's users run it: port 18000 of this machine.
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 18000,
            database: 0,
            username: None,
            password_file: None,
            shown: "redis://127.0.0.1:18000".to_owned(),
            password: None,
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Server {
    /// Reads `redis://[user:password@]host[:port][/database]`.
    ///
    /// # Errors
    /// What was found (without its password) and what is allowed.
    pub fn parse(url: &str) -> Result<Self, (String, &'static str)> {
        const ALLOWED: &str =
            "auto, embedded, or redis://[user:password@]host[:port][/database] with a port from 1 to 65535";
        let found = || url.rsplit_once('@').map_or(url, |(_, host)| host).to_owned();
        if url.starts_with("rediss://") {
            return Err((found(), "redis://… (this build speaks no TLS)"));
        }
        if !url.starts_with("redis://") {
            return Err((found(), ALLOWED));
        }
        let info = url.into_connection_info().map_err(|_| (found(), ALLOWED))?;
        let ConnectionAddr::Tcp(host, port) = info.addr().clone() else {
            return Err((found(), ALLOWED));
        };
        let settings = info.redis_settings();
        let database = settings.db();
        let shown_host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let path = if database == 0 { String::new() } else { format!("/{database}") };
        Ok(Self {
            shown: format!("redis://{shown_host}:{port}{path}"),
            host,
            port,
            database,
            username: settings.username().map(str::to_owned),
            password: settings.password().map(str::to_owned),
            password_file: None,
        })
    }

    /// The password: the file's, if one is named, else the URL's.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn password(&self) -> io::Result<Option<String>> {
        let Some(path) = &self.password_file else { return Ok(self.password.clone()) };
        Ok(Some(crate::read::text(path)?.trim_end_matches(['\r', '\n']).to_owned()))
    }
}
