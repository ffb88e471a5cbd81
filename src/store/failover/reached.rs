//! Whether `auto` ever reached its server. If it did, an unreachable server is a fault and not a choice.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use crate::clock;
use crate::config::{Config, Server};
use crate::ownership;

const FILE: &str = "reached.json";

/// Returns whether the server was ever reached from this state folder.
#[must_use]
pub fn ever(config: &Config) -> bool {
    // Every result except "not there" counts as reached, because a fault must not open a second store.
    config.state.as_ref().is_some_and(|dir| dir.join(FILE).try_exists().unwrap_or(true))
}

/// Notes that the server of `auto` was reached, under any choice of store.
///
/// A failure to note it does not concern the verdict: a state folder that cannot be written contains no embedded store
/// either.
pub fn remember(config: &Config, server: &Server) {
    let own = Server::default();
    if (&server.host, server.port) != (&own.host, own.port) {
        return;
    }
    let Some(dir) = &config.state else { return };
    let path = dir.join(FILE);
    if path.exists() || ownership::check(&dir.join(&config.fleet)).is_err() {
        return;
    }
    let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    if let Ok(mut file) = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        let _ = writeln!(file, "{{\"reached\":{}}}", clock::host_ms());
    }
}
