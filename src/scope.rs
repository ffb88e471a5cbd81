//! Identifies the origin of a request: the scope of one agent, and the window label that people know it by.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::config::{Config, ConfigError, encoded};
use crate::env::Env;
use crate::text;

/// How long tmux may take to return the label.
const TMUX_ANSWERS: Duration = Duration::from_millis(500);

/// Returns the scope, encoded: the configured one, else the tmux pane (`tmux-<server>-p3`), else the session.
///
/// `session` is already encoded.
///
/// # Errors
/// Returns an error when the name is too long.
pub fn resolve(config: &Config, env: &Env, session: &str) -> Result<String, ConfigError> {
    if let Some(scope) = &config.scope {
        return Ok(scope.clone());
    }
    match pane(env) {
        Some(name) => encoded(&name, "the environment", "TMUX"),
        None => Ok(session.to_owned()),
    }
}

/// Adapts the configuration to a session, and returns the session's scope, encoded.
///
/// No person is in the conversation of an unattended session, so it has no quiet minute.
///
/// # Errors
/// Returns an error when the name is too long.
pub fn settle(config: &mut Config, env: &Env, session: &str) -> Result<String, ConfigError> {
    if env.unattended() || env.claude_job_dir.is_some() {
        config.policy.quiet = Duration::ZERO;
    }
    let scope = resolve(config, env, session)?;
    let name = config.name.as_deref().filter(|_| !config.named_by_project).map(text::line).unwrap_or_default();
    config.adopt_profile_of(&name, &scope);
    Ok(scope)
}

/// Returns the agent whose work queue a session works through, encoded: the name that the user gave, else the scope.
///
/// A name from a project's file counts for nothing here, so that no repository takes the work of another agent.
#[must_use]
pub fn agent(name: &str, named_by_project: bool, scope: &str) -> String {
    let encoded = text::encode(name);
    let is_none = named_by_project || encoded.is_empty() || encoded.len() > text::LONGEST_NAME;
    if is_none { scope.to_owned() } else { encoded }
}

/// Returns the pane's scope. `TMUX` contains the server's socket, its pid and a session number.
fn pane(env: &Env) -> Option<String> {
    let pane = env.tmux_pane.as_ref()?.strip_prefix('%')?;
    let socket = env.tmux.as_ref()?.split(',').next()?;
    let server = Path::new(socket).file_name()?.to_string_lossy();
    Some(format!("tmux-{server}-p{pane}"))
}

/// Returns tmux's label `session:window` of the pane, or `None` outside tmux or when tmux does not answer in
/// time.
///
/// It spawns a process, so it is called once, at `SessionStart`, and the label is stored with the session.
#[must_use]
pub fn label(env: &Env) -> Option<String> {
    let (_, pane) = (env.tmux.as_ref()?, env.tmux_pane.as_ref()?);
    let mut ask = Command::new("tmux");
    ask.args(["display-message", "-p", "-t", pane, "#{session_name}:#{window_name}"]);
    let told = crate::read::told_by(&mut ask, TMUX_ANSWERS, 1024);
    let label = String::from_utf8(told?).ok()?;
    let label: String = text::line(&label).chars().take(text::LONGEST_NAME).collect();
    (!label.is_empty()).then_some(label)
}
