//! Checks which scope a session started here would have, and whether Frosty would continue it.

use std::path::Path;

use super::report::{Check, State};
use crate::arm;
use crate::client_settings::owner::Engine;
use crate::client_settings::same;
use crate::config::{Arm, Config, encoded};
use crate::env::Env;
use crate::scope;
use crate::text;

const SCOPE: &str = "scope";
const TMUX: &str = "tmux";
const ARMED: &str = "armed";

/// Returns the scope of a session that is started here, and its fleet.
pub(super) fn seat(config: &Config, env: &Env) -> Check {
    let session = env.claude_session_id.as_deref().map(|id| encoded(id, "the environment", "session_id"));
    let id = match &session {
        Some(Ok(id)) => id.clone(),
        Some(Err(e)) => return Check::of_error(SCOPE, State::Fail, e),
        None => "<the session's id>".to_owned(),
    };
    let from = match (&config.scope, env.tmux.is_some() && env.tmux_pane.is_some()) {
        (Some(_), _) => "as configured",
        (None, true) => "this tmux pane",
        (None, false) => "no tmux: each session is its own",
    };
    match scope::resolve(config, env, &id) {
        Ok(scope) => Check::ok(
            SCOPE,
            format!("{scope} ({from}); fleet {}, journal {}", config.fleet, text::line(&config.stream)),
        ),
        Err(e) => Check::of_error(SCOPE, State::Fail, &e),
    }
}

/// Checks whether tmux returns the window's label; `None` outside of tmux.
pub(super) fn window(env: &Env) -> Option<Check> {
    env.tmux.as_ref()?;
    if env.tmux_pane.is_none() {
        let found = "TMUX is set and TMUX_PANE is not: sessions started here have no pane's scope";
        return Some(Check::note(TMUX, found).cured_by("tmux new-session claude"));
    }
    Some(match scope::label(env) {
        Some(label) => Check::ok(TMUX, format!("this window is \"{label}\" in the journal")),
        None => {
            let found = "TMUX is set, but tmux does not answer: the journal shows the scope in the label's place";
            Check::note(TMUX, found).cured_by("tmux display-message -p ok")
        }
    })
}

/// Checks whether a session here is armed, and by which setting.
pub(super) fn armed(config: &Config, env: &Env, project: Option<&Path>, engine: Option<Engine>) -> Check {
    if env.disabled() {
        return Check::fail(ARMED, "FROSTY_DISABLE is set: every hook exits at once", "unset FROSTY_DISABLE");
    }
    // In that case the client waits for its hooks, and a nested `claude -p` inherits all other settings.
    if engine.is_some() && env.unattended() && env.on.as_deref() != Some("print") {
        let found = "no: this is print mode, in which only FROSTY_ON=print arms a session";
        return Check::note(ARMED, found).cured_by("export FROSTY_ON=print");
    }
    let session = env.claude_session_id.as_deref();
    let encoded = session.and_then(|id| encoded(id, "the environment", "session_id").ok());
    let quiet = Env { on: None, ..env.clone() };
    let place = project.map(text::path).unwrap_or_default();
    let steps = [
        (arm::told(&quiet, encoded.as_deref(), None), "this session's switch".to_owned()),
        (arm::told(&quiet, None, project), format!("the switch of the project {place}")),
        (arm::told(env, None, None), format!("FROSTY_ON={}", text::line(env.on.as_deref().unwrap_or_default()))),
    ];
    for (told, what) in steps {
        match told {
            Err(e) => return Check::of_error(ARMED, State::Fail, &e),
            Ok(Some(true)) => return Check::ok(ARMED, format!("yes, by {what}")),
            Ok(Some(false)) => {
                let cure = if what.starts_with("FROSTY_ON") { "unset FROSTY_ON".to_owned() } else { on(env, project) };
                return Check::note(ARMED, format!("no, by {what}")).cured_by(cure);
            }
            Ok(None) => {}
        }
    }
    match config.arm {
        _ if engine.is_none() => Check::note(ARMED, "no engine is registered that could be armed"),
        Arm::Always => Check::ok(ARMED, "yes: the registration arms every session (arm: always)"),
        Arm::Manual => Check::note(ARMED, "no: only sessions that were armed are continued (arm: manual)")
            .cured_by(on(env, project)),
    }
}

/// Returns the command that arms the session in which this runs, else the project that was checked.
fn on(env: &Env, project: Option<&Path>) -> String {
    let meant = super::project(env, None);
    let elsewhere = project.filter(|project| env.claude_session_id.is_none() && !same(project, &meant));
    elsewhere.map_or_else(|| "frosty on".to_owned(), |project| format!("frosty on --project {}", text::path(project)))
}
