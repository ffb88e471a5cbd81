//! The output of Willy's reflections: a stream on the server, a file beside the journal.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use redis::cmd;
use serde_json::{Map, Value};

use crate::read;
use crate::store::fleet_reader::FleetReader;
use crate::store::{StoreError, files};

/// The stream on the server.
pub const STREAM: &str = "reflect.willy";
/// The approximate number of entries in the stream.
const KEPT: u32 = 1000;

/// The file in a fleet's folder, and its new name when it has grown to `ROTATE_AT` bytes.
const FILE: &str = "reflect.willy.jsonl";
const PREVIOUS: &str = "reflect.willy.1.jsonl";
const ROTATE_AT: u64 = 8 * 1024 * 1024;

impl FleetReader<'_> {
    /// Adds an entry to Willy's stream, or, where files are the store or the server is away, to this machine's file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn reflect(&mut self, entry: &Map<String, Value>) -> Result<(), StoreError> {
        let Some(link) = &mut self.server else { return self.reflect_here(entry) };
        let mut add = cmd("XADD");
        add.arg(STREAM).arg("MAXLEN").arg("~").arg(KEPT).arg("*");
        for (name, value) in entry {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            add.arg(name).arg(text);
        }
        link.ask(&[add]).map(|_| ())
    }

    fn reflect_here(&self, entry: &Map<String, Value>) -> Result<(), StoreError> {
        let dir = self.config.state.as_ref().ok_or(StoreError::NoStateFolder)?.join(&self.config.fleet);
        let _lock = files::lock(&dir, Instant::now() + self.config.budget, self.config.budget)?;
        let path = dir.join(FILE);
        if fs::metadata(&path).is_ok_and(|about| about.len() > ROTATE_AT) {
            let _ = fs::rename(&path, dir.join(PREVIOUS));
        }
        let line = serde_json::to_string(entry).unwrap_or_default() + "\n";
        let opened = read::at_once().append(true).create(true).mode(0o600).open(&path);
        let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        written.map_err(|cause| StoreError::Files { doing: "write", path, cause })
    }

    /// Publishes a message on a channel of the server; does nothing where there is no server.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub fn publish(&mut self, channel: &str, message: &str) -> Result<(), StoreError> {
        let Some(link) = &mut self.server else { return Ok(()) };
        link.ask(&[cmd("PUBLISH").arg(channel).arg(message).clone()]).map(|_| ())
    }
}
