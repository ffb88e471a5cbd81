//! Checks for settings that keep registered hooks from running, or their answers from taking effect.

use serde_json::Value;

use super::edit;
use super::registered::Registered;
use super::report::Check;
use crate::client_settings::owner::Engine;
use crate::client_settings::{Hook, Place, SettingsFile};
use crate::config::origin;
use crate::env;
use crate::text;

const SWITCHES: &str = "hooks off";
const CAP: &str = "block cap";

/// Reports every setting that switches hooks off.
pub(super) fn checks(registered: &Registered) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some((file, Value::Bool(true))) = registered.setting(&["disableAllHooks"]) {
        let found = format!("disableAllHooks is true in {}: no hook runs", text::path(&file.path));
        checks.push(Check::fail(SWITCHES, found, edit(&file.path)));
    }
    let managed = |(file, value): &&(SettingsFile, Value)| {
        file.place == Place::Managed && value.get("allowManagedHooksOnly") == Some(&Value::Bool(true))
    };
    if let Some((file, _)) = registered.settings.iter().find(managed) {
        let file = text::path(&file.path);
        let found = format!(
            "allowManagedHooksOnly is true in {file}: only the machine's own hooks run; its administrator can change that"
        );
        checks.push(Check::fail(SWITCHES, found, format!("less {file}")));
    }
    let variables: Vec<(&SettingsFile, &str)> =
        registered.variables().into_iter().filter(|(_, name)| name.starts_with("FROSTY_")).collect();
    let disables = registered.setting(&["env", "FROSTY_DISABLE"]);
    if let Some((file, _)) = disables.filter(|(_, value)| !matches!(value.as_str(), Some("" | "0"))) {
        let found = format!("FROSTY_DISABLE is set for every hook by {}", text::path(&file.path));
        checks.push(Check::fail(SWITCHES, found, edit(&file.path)));
    }
    if checks.is_empty() {
        checks.push(Check::ok(SWITCHES, "no setting keeps hooks from running"));
    }
    checks.extend(projects(registered));
    let others: Vec<&(&SettingsFile, &str)> = variables.iter().filter(|(_, name)| *name != "FROSTY_DISABLE").collect();
    if let Some((file, _)) = others.first() {
        let names: Vec<String> = others.iter().map(|(_, name)| text::line(name)).collect();
        let found = format!("settings set {} for the hooks, and this shell may not", names.join(", "));
        checks.push(Check::note("environment", found).cured_by(format!("less {}", text::path(&file.path))));
    }
    checks.extend(cap(registered));
    checks
}

/// Reports the variables that a project's settings set although they may not. Every hook there exits 0.
fn projects(registered: &Registered) -> Vec<Check> {
    let set = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of_projects =
        registered.settings.iter().filter(|(file, _)| matches!(file.place, Place::Project | Place::Local));
    let blocks = of_projects.filter_map(|(file, value)| Some((file, value.get("env")?.as_object()?)));
    let refused = blocks.filter_map(|(file, block)| {
        let names = block.iter().filter(|(name, value)| !origin::is_allowed(name, &set(value)));
        let names: Vec<String> = names.map(|(name, _)| text::line(name)).collect();
        let file = &file.path;
        let found =
            format!("{} sets {}, which only your shell or your own settings may", text::path(file), names.join(", "));
        (!names.is_empty()).then(|| Check::fail("environment", found, edit(file)))
    });
    refused.collect()
}

/// Reports the client's own limit on consecutive continuations, which does not apply to asyncRewake (2.1.331).
fn cap(registered: &Registered) -> Option<Check> {
    let capped = |hook: &Hook, engine| engine == Engine::Plain || !hook.async_rewake;
    let (_, hook, _) = registered.engines().into_iter().find(|(_, hook, engine)| capped(hook, *engine))?;
    let set = registered.setting(&["env", "CLAUDE_CODE_STOP_HOOK_BLOCK_CAP"]).map(|(_, value)| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    let cap = set.or_else(env::block_cap);
    if cap.as_deref() == Some("0") {
        return Some(Check::ok(CAP, "lifted: Frosty's limits are the only ones"));
    }
    let cap = cap.map_or_else(|| "8".to_owned(), |cap| text::line(&cap));
    let found = format!(
        "the client ends a turn after {cap} continuations in a row that used no tool, and informs no hook; \
to lift that: \"env\": {{\"CLAUDE_CODE_STOP_HOOK_BLOCK_CAP\": \"0\"}}"
    );
    Some(Check::note(CAP, found).cured_by(edit(&hook.file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::State;

    /// The machine's own settings are in a directory that only its administrator can write.
    #[test]
    fn what_the_machine_says() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = |place, name: &str, json: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, json).unwrap();
            SettingsFile { place, path }
        };
        let user = file(Place::User, "user", r#"{"allowManagedHooksOnly": true, "disableAllHooks": false}"#);
        assert_eq!(checks(&Registered::of(vec![user.clone()]))[0].state, State::Ok, "a user has no say in that");
        let managed = file(Place::Managed, "managed", r#"{"allowManagedHooksOnly": true, "disableAllHooks": true}"#);
        let found = checks(&Registered::of(vec![managed, user]));
        assert_eq!(found.iter().map(|c| c.state).collect::<Vec<_>>(), [State::Fail, State::Fail]);
        assert!(found[0].found.contains("disableAllHooks") && found[1].found.contains("allowManagedHooksOnly"));
    }
}
