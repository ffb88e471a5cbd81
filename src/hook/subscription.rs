//! Whether the client uses a claude.ai subscription, as far as a hook can know.
//!
//! The client (2.1.332) removes the token of a subscription from the environment of its hooks, so the variables that it was
//! started with are read as well (Linux). Only their names are.

use std::path::PathBuf;

use crate::env::{self, Env};
use crate::read;

/// The variables with which the client uses an API key instead.
const KEYS: [&str; 2] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"];
const TOKEN: &str = "CLAUDE_CODE_OAUTH_TOKEN";

/// Returns whether the client uses a subscription: it has the token of one, or a login, and no API key.
pub(super) fn is_used() -> bool {
    let env = Env::read();
    let first = first_environment(&env);
    let is_set = |name: &str| {
        let begins = |entry: &[u8]| entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        env::of_client(name).is_some() || first.split(|byte| *byte == 0).any(begins)
    };
    // macOS keeps the login elsewhere.
    let has_login =
        || cfg!(target_os = "macos") || env.user_file().is_some_and(|f| f.with_file_name(".credentials.json").exists());
    !KEYS.into_iter().any(is_set) && (is_set(TOKEN) || has_login())
}

/// Returns the environment that the client was started with; nothing where it cannot be read.
fn first_environment(env: &Env) -> Vec<u8> {
    let pid = env.claude_pid.as_ref().and_then(|pid| pid.parse::<u32>().ok());
    pid.and_then(|pid| read::of_kernel(&PathBuf::from(format!("/proc/{pid}/environ"))).ok()).unwrap_or_default()
}
