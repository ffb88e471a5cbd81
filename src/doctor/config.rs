//! Checks the sources of the configuration, and reports the wrong ones.

use super::report::{Check, State};
use crate::config::{Layer, origin};
use crate::env;
use crate::env::Env;
use crate::text;

const CONFIG: &str = "config";
const ENVIRONMENT: &str = "environment";

/// Returns one line for the layers, one for each wrong layer, and one for the variables that Frosty does not read.
pub(super) fn checks(env: &Env, layers: &[Layer]) -> Vec<Check> {
    let mut checks = vec![merged(layers)];
    for (layer, wrong) in layers.iter().filter_map(|l| Some((l, l.wrong.as_ref()?))) {
        // The error names its file. For a variable or a flag it names only the kind of source.
        let name = if layer.keys.is_empty() && !layer.name.contains('/') { &layer.name } else { "" };
        let mut check = Check::of_error(CONFIG, State::Fail, wrong);
        if !name.is_empty() && !check.found.contains(name) {
            check.found = format!("{name}: {}", check.found);
        }
        checks.push(check);
    }
    checks.extend(unread(env, &env::unread()));
    checks
}

/// Lists the layers in their order; the last one wins.
fn merged(layers: &[Layer]) -> Check {
    let shown = |layer: &Layer| match (&layer.wrong, layer.keys.as_slice()) {
        (Some(_), _) => format!("{} (left out)", layer.name),
        (None, []) => layer.name.clone(),
        (None, keys) => format!("{} ({})", layer.name, keys.join(", ")),
    };
    let all: Vec<String> = ["defaults".to_owned()].into_iter().chain(layers.iter().map(shown)).collect();
    Check::ok(CONFIG, all.join(" < "))
}

fn unread(env: &Env, unread: &[String]) -> Vec<Check> {
    let mut checks = Vec::new();
    if !unread.is_empty() {
        let names: Vec<String> = unread.iter().map(|name| text::line(name)).collect();
        let found = format!("Frosty does not read {}", names.join(", "));
        // A shell can unset only a name that it could have set.
        let is_name = |name: &&String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let known: Vec<&str> = unread.iter().filter(is_name).map(String::as_str).collect();
        let cure = if known.is_empty() { "env".to_owned() } else { format!("unset {}", known.join(" ")) };
        checks.push(Check::warn(ENVIRONMENT, found, cure));
    }
    let unknown = origin::unknown(env);
    if !unknown.is_empty() {
        let found = format!(
            "whether a project's settings set {} cannot be known here: the client's own environment cannot be read",
            unknown.join(", ")
        );
        checks.push(Check::note(ENVIRONMENT, found).cured_by("less .claude/settings.json .claude/settings.local.json"));
    }
    // These two variables set no key.
    for (name, set) in [
        ("FROSTY_STORE_PASSWORD_FILE", env.store_password_file.is_some()),
        ("FROSTY_STORE_CA_FILE", env.store_ca_file.is_some()),
    ] {
        if set {
            checks.push(Check::ok(ENVIRONMENT, format!("{name} is set")));
        }
    }
    checks
}
