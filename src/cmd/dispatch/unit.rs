//! The unit of systemd for the dispatcher.

use std::io::Write;
use std::path::Path;

use crate::cmd::{PlaceArgs, out};
use crate::env;

/// Prints the unit. It runs this program with the same store and fleet, in this folder and with this search path, and
/// starts it again where it fails. The sessions that it started outlive it.
pub(super) fn print(place: &PlaceArgs) {
    let program = std::env::current_exe().unwrap_or_else(|_| "frosty".into());
    let _ = write!(
        out::stdout(),
        "[Unit]
Description=Frosty dispatcher: work from streams and queues
After=network-online.target

[Service]
WorkingDirectory={folder}
Environment={path}
ExecStart={program} dispatch{again}
KillMode=process
Restart=always
RestartSec=5

[Install]
WantedBy=default.target
",
        folder = std::env::current_dir().unwrap_or_else(|_| "/".into()).to_string_lossy().replace('%', "%%"),
        path = quoted(Path::new(&format!("PATH={}", env::path()))),
        program = quoted(&program),
        again = flags(place),
    );
}

/// Returns the flags for the store and the fleet. A unit that every user can read has no password.
fn flags(place: &PlaceArgs) -> String {
    let given = [("store", &place.store), ("fleet", &place.fleet)];
    let flag =
        |(flag, value): (&str, &Option<String>)| Some(format!(" --{flag} {}", quoted(Path::new(value.as_ref()?))));
    given.into_iter().filter_map(flag).collect()
}

/// Returns a path as systemd reads it in a command: in double quotes, without specifiers.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy().replace('$', "$$").replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{path}\"")
}
