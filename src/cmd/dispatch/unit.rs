//! The unit of systemd for the dispatcher.

use std::io::Write;
use std::path::Path;

use crate::cmd::{PlaceArgs, out};

/// Prints the unit. It runs this program with the same store and fleet, and starts it again where it fails.
pub(super) fn print(place: &PlaceArgs) {
    let program = std::env::current_exe().unwrap_or_else(|_| "frosty".into());
    let _ = write!(
        out::stdout(),
        "[Unit]
Description=Frosty dispatcher: work from streams and queues
After=network-online.target

[Service]
ExecStart={program} dispatch{again}
Restart=always
RestartSec=5

[Install]
WantedBy=default.target
",
        program = quoted(&program),
        again = place.again(),
    );
}

/// Returns a path as systemd reads it in a command: in double quotes, without specifiers.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{path}\"")
}
