//! Describes the origin of a command for a hold: the user, the machine, and the place.

use std::fs;

use crate::clock;
use crate::env::Env;
use crate::naming;
use crate::scope;
use crate::text;

/// `name@machine`.
#[must_use]
pub fn by() -> String {
    let name = Env::user().unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    text::line(&format!("{name}@{}", clock::host()))
}

/// Returns the terminal, the tmux window or the agent's session, and the working directory, as far as they are known.
#[must_use]
pub fn from(env: &Env) -> String {
    let label = scope::label(env);
    // The window names the session; otherwise the directory below and a few digits do.
    let session = env.claude_session_id.as_ref().filter(|_| label.is_none());
    let session = session.map(|id| format!("session {}", naming::of_scope(&text::encode(id))));
    let window = label.map(|label| format!("tmux {label}"));
    let terminal = fs::read_link("/proc/self/fd/0").ok().filter(|path| path.starts_with("/dev/pts"));
    let terminal = terminal.map(|path| path.display().to_string());
    let folder = std::env::current_dir().ok().map(|dir| dir.display().to_string());
    let all: Vec<String> = [session, window, terminal, folder].into_iter().flatten().collect();
    text::line(&all.join(", "))
}
