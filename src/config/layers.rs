//! Reads the configuration layer by layer, for the commands that show it. A wrong layer is skipped and reported.

use std::path::Path;

use serde_json::{Map, Value};

use crate::config::file::Trust;
use crate::config::{Config, ConfigError, Flags, origin, same};
use crate::env::Env;
use crate::read;
use crate::text;

/// One layer that exists.
#[derive(Debug)]
pub struct Layer {
    /// The file, the variable, or the flag.
    pub name: String,
    /// The top-level keys of a file that can be read.
    pub keys: Vec<String>,
    /// The dotted keys that the layer sets, such as `stop.min_interval`.
    pub sets: Vec<String>,
    /// Whether the layer may loosen limits.
    pub trust: Trust,
    /// The error in it.
    pub wrong: Option<ConfigError>,
}

/// Returns the configuration of the layers without errors, and every layer that exists. A later layer overrides an
/// earlier one.
///
/// The layers and their order are those of [`Config::load`].
#[must_use]
pub fn layers(env: &Env, project: Option<&Path>, flags: &Flags) -> (Config, Vec<Layer>) {
    let mut config = Config { state: env.state_dir(), ..Config::default() };
    let mut layers = Vec::new();
    let mut lay = |config: &mut Config, mut layer: Layer, step: &dyn Fn(&mut Config) -> Outcome| {
        let mut tried = config.clone();
        match step(&mut tried) {
            Ok(false) => return,
            Ok(true) => *config = tried,
            Err(e) => layer.wrong = Some(e),
        }
        layers.push(layer);
    };
    let user = env.user_file();
    let file = project.map(|dir| dir.join(".claude/frosty.json"));
    let file = file.filter(|path| !user.as_ref().is_some_and(|user| same(user, path)));
    for (path, trust, required) in
        [(user, Trust::Own, false), (file, Trust::Project, false), (env.config.clone(), Trust::Own, true)]
    {
        if let Some(path) = path {
            lay(&mut config, Layer::of_file(&path, trust), &|c| c.layer(&path, trust, required));
        }
    }
    for (name, key, of_one) in one_by_one(env) {
        lay(&mut config, Layer::of_one(name, key), &|c| c.environment(&of_one).map(|()| true));
    }
    for (name, key, of_one) in flags_one_by_one(flags) {
        lay(&mut config, Layer::of_one(name, key), &|c| c.flags(&of_one).map(|()| true));
    }
    if let Err(e) = origin::check(env, project) {
        layers.push(Layer { name: "the environment".to_owned(), wrong: Some(e), ..Layer::of_one("", "") });
    }
    config.log_in_by(env);
    (config, layers)
}

type Outcome = Result<bool, ConfigError>;

/// Returns the variables that set a key: the name, the key, and an environment with this variable alone.
fn one_by_one(env: &Env) -> Vec<(&'static str, &'static str, Env)> {
    let none = Env::default;
    let mut all = vec![
        ("FROSTY_STORE", "store", env.store.is_some(), Env { store: env.store.clone(), ..none() }),
        ("FROSTY_FLEET", "fleet", env.fleet.is_some(), Env { fleet: env.fleet.clone(), ..none() }),
        ("FROSTY_STREAM", "stream", env.stream.is_some(), Env { stream: env.stream.clone(), ..none() }),
        ("FROSTY_MODE", "mode", env.mode.is_some(), Env { mode: env.mode.clone(), ..none() }),
        ("FROSTY_WORK", "work", env.work.is_some(), Env { work: env.work.clone(), ..none() }),
        ("FROSTY_SCOPE", "scope", env.scope.is_some(), Env { scope: env.scope.clone(), ..none() }),
        ("FROSTY_NAME", "name", env.name.is_some(), Env { name: env.name.clone(), ..none() }),
    ];
    all.retain(|(_, _, is_set, _)| *is_set);
    all.into_iter().map(|(name, key, _, env)| (name, key, env)).collect()
}

/// Returns the flags that set a key: the name, the key, and the flags with this one alone.
fn flags_one_by_one(flags: &Flags) -> Vec<(&'static str, &'static str, Flags)> {
    let none = Flags::default;
    let mut all = vec![
        ("--arm", "arm", flags.arm.is_some(), Flags { arm: flags.arm.clone(), ..none() }),
        ("--store", "store", flags.store.is_some(), Flags { store: flags.store.clone(), ..none() }),
        ("--fleet", "fleet", flags.fleet.is_some(), Flags { fleet: flags.fleet.clone(), ..none() }),
        ("--scope", "scope", flags.scope.is_some(), Flags { scope: flags.scope.clone(), ..none() }),
    ];
    all.retain(|(_, _, is_set, _)| *is_set);
    all.into_iter().map(|(name, key, _, flags)| (name, key, flags)).collect()
}

impl Layer {
    fn of_one(name: &str, key: &str) -> Self {
        Self { name: name.to_owned(), keys: Vec::new(), sets: vec![key.to_owned()], trust: Trust::Own, wrong: None }
    }

    fn of_file(path: &Path, trust: Trust) -> Self {
        let json = read::text(path).unwrap_or_default();
        let json = json.strip_prefix('\u{feff}').unwrap_or(&json);
        let object = serde_json::from_str::<Map<String, Value>>(json).unwrap_or_default();
        let mut sets = Vec::new();
        leaves(&object, "", &mut sets);
        let keys = object.keys().map(|key| text::line(key)).collect();
        Self { name: text::path(path), keys, sets, trust, wrong: None }
    }
}

/// Collects the dotted keys of the values that are not objects.
fn leaves(object: &Map<String, Value>, above: &str, all: &mut Vec<String>) {
    for (key, value) in object {
        match value {
            Value::Object(inner) => leaves(inner, &format!("{above}{key}."), all),
            _ => all.push(format!("{above}{key}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreChoice;

    /// The hook and the commands must use the same configuration.
    #[test]
    fn as_it_is_loaded() {
        let home = tempfile::TempDir::new().unwrap();
        let (user, project) = (home.path().join(".claude"), home.path().join("project"));
        std::fs::create_dir_all(project.join(".claude")).unwrap();
        std::fs::create_dir_all(&user).unwrap();
        std::fs::write(user.join("frosty.json"), r#"{"fleet": "a", "stop": {"min_interval": "20s"}}"#).unwrap();
        std::fs::write(project.join(".claude/frosty.json"), r#"{"stop": {"min_interval": "30s"}}"#).unwrap();
        std::fs::write(home.path().join("more.json"), r#"{"stream": "s", "budget": "1s"}"#).unwrap();
        let env = Env {
            home: Some(home.path().to_owned()),
            config: Some(home.path().join("more.json")),
            store: Some("redis://u@h:1/2".to_owned()),
            store_password_file: Some("/p".into()),
            name: Some("n".to_owned()),
            ..Env::default()
        };
        let flags = Flags { fleet: Some("b".to_owned()), arm: Some("manual".to_owned()), ..Flags::default() };
        let loaded = Config::load(&env, Some(&project), &flags).unwrap();
        let (looked_at, all) = layers(&env, Some(&project), &flags);
        assert_eq!(format!("{loaded:?}"), format!("{looked_at:?}"));
        let (StoreChoice::Server(one), StoreChoice::Server(other)) = (&loaded.store, &looked_at.store) else {
            panic!("{looked_at:?}");
        };
        assert_eq!(one, other);
        let names: Vec<&str> = all.iter().map(|l| l.name.rsplit('/').next().unwrap()).collect();
        assert_eq!(
            names,
            ["frosty.json", "frosty.json", "more.json", "FROSTY_STORE", "FROSTY_NAME", "--arm", "--fleet"]
        );
        assert_eq!(all[0].keys, ["fleet", "stop"]);
        assert_eq!(all[0].sets, ["fleet", "stop.min_interval"]);

        // A wrong layer is skipped as a whole, and hides no other.
        std::fs::write(project.join(".claude/frosty.json"), r#"{"stop": {"min_interval": "40s"}, "store": "x"}"#)
            .unwrap();
        let env = Env { stream: Some("frosty:x".to_owned()), ..env };
        let (config, all) = layers(&env, Some(&project), &flags);
        assert_eq!(all.iter().filter(|l| l.wrong.is_some()).count(), 2);
        assert_eq!((config.fleet.as_str(), config.stream.as_str()), ("b", "s"));
        assert_eq!(config.policy.stop.min_interval.as_secs(), 20);
    }
}
