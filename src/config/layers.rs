//! The configuration layer by layer, for those who look: one that is wrong is left out and told, and the others still count.

use std::path::Path;

use crate::config::file::Trust;
use crate::config::{Config, ConfigError, Flags, origin, same};
use crate::env::Env;
use crate::read;
use crate::text;

/// One layer that is there.
#[derive(Debug)]
pub struct Layer {
    /// Which: a file, a variable, or the flags.
    pub name: String,
    /// The keys that a file sets, as far as it can be read.
    pub keys: Vec<String>,
    /// What is wrong with it.
    pub wrong: Option<ConfigError>,
}

/// The configuration as far as it is right, and every layer that is there, the later one winning.
///
/// The same layers in the same order as [`Config::load`] lays them.
#[must_use]
pub fn layers(env: &Env, project: Option<&Path>, flags: &Flags) -> (Config, Vec<Layer>) {
    let mut config = Config { state: env.state_dir(), ..Config::default() };
    let mut layers = Vec::new();
    let mut lay = |config: &mut Config, name: String, keys: Vec<String>, step: &dyn Fn(&mut Config) -> Outcome| {
        let mut tried = config.clone();
        let wrong = match step(&mut tried) {
            Ok(false) => return,
            Ok(true) => {
                *config = tried;
                None
            }
            Err(e) => Some(e),
        };
        layers.push(Layer { name, keys, wrong });
    };
    let user = env.user_file();
    let file = project.map(|dir| dir.join(".claude/frosty.json"));
    let file = file.filter(|path| !user.as_ref().is_some_and(|user| same(user, path)));
    for (path, trust, required) in
        [(user, Trust::Own, false), (file, Trust::Project, false), (env.config.clone(), Trust::Own, true)]
    {
        if let Some(path) = path {
            lay(&mut config, text::path(&path), keys(&path), &|c| c.layer(&path, trust, required));
        }
    }
    for (name, of_one) in one_by_one(env) {
        lay(&mut config, name.to_owned(), Vec::new(), &|c| c.environment(&of_one).map(|()| true));
    }
    for (name, of_one) in flags_one_by_one(flags) {
        lay(&mut config, name.to_owned(), Vec::new(), &|c| c.flags(&of_one).map(|()| true));
    }
    if let Err(e) = origin::check(env, project) {
        layers.push(Layer { name: "the environment".to_owned(), keys: Vec::new(), wrong: Some(e) });
    }
    config.log_in_by(env);
    (config, layers)
}

type Outcome = Result<bool, ConfigError>;

/// The variables that set a key, each alone.
fn one_by_one(env: &Env) -> Vec<(&'static str, Env)> {
    let none = Env::default;
    let mut all = vec![
        ("FROSTY_STORE", env.store.is_some(), Env { store: env.store.clone(), ..none() }),
        ("FROSTY_FLEET", env.fleet.is_some(), Env { fleet: env.fleet.clone(), ..none() }),
        ("FROSTY_STREAM", env.stream.is_some(), Env { stream: env.stream.clone(), ..none() }),
        ("FROSTY_MODE", env.mode.is_some(), Env { mode: env.mode.clone(), ..none() }),
        ("FROSTY_SCOPE", env.scope.is_some(), Env { scope: env.scope.clone(), ..none() }),
        ("FROSTY_NAME", env.name.is_some(), Env { name: env.name.clone(), ..none() }),
    ];
    all.retain(|(_, there, _)| *there);
    all.into_iter().map(|(name, _, env)| (name, env)).collect()
}

/// The flags that set a key, each alone.
fn flags_one_by_one(flags: &Flags) -> Vec<(&'static str, Flags)> {
    let none = Flags::default;
    let mut all = vec![
        ("--arm", flags.arm.is_some(), Flags { arm: flags.arm.clone(), ..none() }),
        ("--store", flags.store.is_some(), Flags { store: flags.store.clone(), ..none() }),
        ("--fleet", flags.fleet.is_some(), Flags { fleet: flags.fleet.clone(), ..none() }),
        ("--scope", flags.scope.is_some(), Flags { scope: flags.scope.clone(), ..none() }),
    ];
    all.retain(|(_, there, _)| *there);
    all.into_iter().map(|(name, _, flags)| (name, flags)).collect()
}

fn keys(path: &Path) -> Vec<String> {
    let json = read::text(path).unwrap_or_default();
    let json = json.strip_prefix('\u{feff}').unwrap_or(&json);
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json).unwrap_or_default();
    object.keys().map(|key| text::line(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreChoice;

    /// What the hooks would use and what is looked at must be the same.
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

        // What is wrong is left out whole, and hides nothing.
        std::fs::write(project.join(".claude/frosty.json"), r#"{"stop": {"min_interval": "40s"}, "store": "x"}"#)
            .unwrap();
        let env = Env { stream: Some("frosty:x".to_owned()), ..env };
        let (config, all) = layers(&env, Some(&project), &flags);
        assert_eq!(all.iter().filter(|l| l.wrong.is_some()).count(), 2);
        assert_eq!((config.fleet.as_str(), config.stream.as_str()), ("b", "s"));
        assert_eq!(config.policy.stop.min_interval.as_secs(), 20);
    }
}
