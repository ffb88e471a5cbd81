//! Reports what changes the meaning of all other lines: shadow mode, and notifications that cannot be delivered.

use std::path::PathBuf;

use super::report::Check;
use crate::config::Config;
use crate::env as environment;
use crate::env::Env;
use crate::text;

const MODE: &str = "mode";
const NOTIFY: &str = "notify";

/// Returns no line where Frosty decides and no notification is configured.
pub(super) fn checks(config: &Config, env: &Env) -> Vec<Check> {
    let mode = config.shadow.then(|| {
        let found = "shadow: it decides and journals without an effect; no session is continued or stopped until \
\"mode\" is \"enforce\"";
        Check::note(MODE, found).cured_by("export FROSTY_MODE=enforce")
    });
    let missing: Vec<String> =
        config.notify.iter().filter_map(|n| n.argv.first()).filter(|p| is_missing(p)).map(|p| text::line(p)).collect();
    let notify = match (config.notify.len(), missing.is_empty()) {
        (0, _) => None,
        (n, true) => Some(Check::ok(NOTIFY, format!("{n} for holds, and for sessions that need you"))),
        (_, false) => {
            let found = format!("no such program: {}", missing.join(", "));
            Some(Check::warn(NOTIFY, found, super::edit_own(env)))
        }
    };
    mode.into_iter().chain(notify).collect()
}

fn is_missing(program: &str) -> bool {
    if program.contains('/') { !PathBuf::from(program).exists() } else { environment::on_path(program).is_none() }
}
