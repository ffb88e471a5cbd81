//! Files that a cloned repository or an agent can write never loosen the user's limits.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Answer, feed, stop};
use frosty::config::{Config, Flags};
use frosty::env::{Env, GUARDED};
use frosty::policy::limits::{Class, ClassPolicy};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runner, RngSeed};
use serde_json::{Value, json};
use tempfile::TempDir;

type Variables = BTreeMap<String, String>;

/// A home, a project in it, and a client in a tmux pane with the exports of the user's shell.
struct World {
    dir: TempDir,
    shell: Variables,
}

impl World {
    fn new(user: &Value, shell: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let world = Self { shell: Variables::new(), dir };
        for folder in [world.home().join(".claude"), world.project().join(".claude")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(world.home().join(".claude/frosty.json"), user.to_string()).unwrap();
        let home = world.home().to_str().unwrap().to_owned();
        let base =
            [("HOME", home.as_str()), ("PATH", "/usr/bin:/bin"), ("TMUX", "/tmp/t/default,1,0"), ("TMUX_PANE", "%3")];
        let shell = base.iter().chain(shell).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Self { shell, ..world }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.project().join(".claude").join(name), value.to_string()).unwrap();
    }

    fn settings(&self, name: &str, env: &Variables) {
        self.write(name, &json!({ "env": env }));
    }

    /// Returns the environment of a hook after the client read these settings.
    fn passed_on(&self, files: &[&Variables]) -> Variables {
        let mut all = self.shell.clone();
        files.iter().for_each(|file| all.extend((*file).clone()));
        all.insert("CLAUDE_PROJECT_DIR".to_owned(), self.project().to_str().unwrap().to_owned());
        all
    }

    /// Runs one hook of a client with the shell's variables as its first environment.
    fn hook(&self, variables: &Variables, payload: &str) -> Answer {
        let mut client = Command::new("/bin/sh");
        client.args(["-c", "env -i CLAUDE_PID=$$ \"$@\" hook; exit $?", "client"]);
        client.args(variables.iter().map(|(n, v)| format!("{n}={v}")));
        client.arg(env!("CARGO_BIN_EXE_frosty")).env_clear().envs(&self.shell).current_dir(self.project());
        client.stdout(Stdio::piped()).stderr(Stdio::piped());
        feed(client, payload.as_bytes())
    }
}

fn variables(of: &[(&str, &str)]) -> Variables {
    of.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

fn strict() -> Value {
    json!({"store": "embedded", "budget": "1s", "stop": {"min_interval": "1h"}})
}

#[test]
fn a_scope_in_the_projects_file_is_an_error_and_admits_nothing() {
    let world = World::new(&strict(), &[]);
    let plain = world.passed_on(&[]);
    assert_eq!(world.hook(&plain, &stop("s")).code, Some(2));
    for i in 0..5 {
        world.write("frosty.json", &json!({"scope": format!("x{i}")}));
        let answer = world.hook(&plain, &stop("s"));
        answer.stands_down_saying(&["bad_config", "project/.claude/frosty.json:1: ", " for scope; expected", "EDITOR"]);
    }
}

/// A script that runs a hook under the number of its own shell, with a given environment.
#[test]
fn the_environment_of_another_process_is_no_evidence() {
    let world = World::new(&strict(), &[]);
    let home = TempDir::new().unwrap();
    fs::create_dir_all(home.path().join(".claude")).unwrap();
    fs::write(home.path().join(".claude/frosty.json"), strict().to_string()).unwrap();
    let mut hook = world.passed_on(&[&variables(&[("FROSTY_SCOPE", "a")])]);
    hook.insert("HOME".to_owned(), home.path().to_str().unwrap().to_owned());
    assert_eq!(world.hook(&hook, &stop("s")).code, Some(2));
    world.settings("settings.local.json", &variables(&[("FROSTY_SCOPE", "a")]));
    world.hook(&hook, &stop("s")).stands_down_saying(&["bad_config", " for env.FROSTY_SCOPE; expected"]);
}

#[test]
fn what_a_projects_settings_set_is_refused() {
    let elsewhere = TempDir::new().unwrap();
    let evil = elsewhere.path().join("evil.json");
    fs::write(&evil, r#"{"stop": {"min_interval": "0s", "burst": null}}"#).unwrap();
    let (evil, elsewhere) = (evil.to_str().unwrap(), elsewhere.path().to_str().unwrap());
    for (name, value) in [
        ("FROSTY_CONFIG", evil),
        ("FROSTY_STORE", "redis://127.0.0.1:1"),
        ("FROSTY_STORE", ""),
        ("FROSTY_STORE_PASSWORD_FILE", evil),
        ("FROSTY_STORE_CA_FILE", evil),
        ("FROSTY_FLEET", "x"),
        ("FROSTY_SCOPE", "x"),
        ("FROSTY_STREAM", "x"),
        ("FROSTY_MODE", "enforce"),
        ("FROSTY_ON", "1"),
        ("XDG_STATE_HOME", elsewhere),
        ("CLAUDE_CONFIG_DIR", elsewhere),
        ("HOME", elsewhere),
        ("TMUX_PANE", "%99"),
        ("TMUX", "/tmp/t/other,1,0"),
    ] {
        for file in ["settings.json", "settings.local.json"] {
            let world = World::new(&strict(), &[]);
            let set = variables(&[(name, value)]);
            world.settings(file, &set);
            let hook = world.passed_on(&[&set]);
            let answer = world.hook(&hook, &stop("s"));
            answer.stands_down_saying(&["bad_config", file, &format!(" for env.{name}; expected")]);
            if value.is_empty() || name == "HOME" {
                // It hid nothing, since the shell exports none; and the client takes no HOME from there.
                continue;
            }
            // The client keeps the value when the file no longer has it.
            world.settings(file, &Variables::new());
            world.hook(&hook, &stop("s")).stands_down_saying(&[
                "bad_config",
                "the environment: ",
                &format!(" for {name}; expected"),
            ]);
        }
    }
}

#[test]
fn an_emptied_variable_hides_nothing_that_the_shell_exports() {
    for (name, value) in
        [("FROSTY_MODE", "shadow"), ("FROSTY_ON", "0"), ("FROSTY_DISABLE", "1"), ("FROSTY_FLEET", "mine")]
    {
        let world = World::new(&strict(), &[(name, value)]);
        let hook = world.passed_on(&[&variables(&[(name, "")])]);
        world.hook(&hook, &stop("s")).stands_down_saying(&["bad_config", name]);
    }
}

#[test]
fn what_the_user_sets_stays_the_users() {
    let scope = |world: &World| {
        let journal = fs::read_to_string(world.home().join(".local/state/frosty/default/journal.jsonl")).unwrap();
        let entry: Value = serde_json::from_str(journal.lines().last().unwrap()).unwrap();
        entry["scope"].as_str().unwrap().to_owned()
    };
    let world = World::new(&strict(), &[]);
    assert_eq!(world.hook(&world.passed_on(&[]), &stop("s")).code, Some(2));
    assert_eq!(scope(&world), "tmux-default-p3");
    // Set in the shell.
    let world = World::new(&strict(), &[("FROSTY_SCOPE", "mine"), ("FROSTY_ON", "1")]);
    assert_eq!(world.hook(&world.passed_on(&[]), &stop("s")).code, Some(2));
    assert_eq!(scope(&world), "mine");
    // From the user's settings, whatever value the project has.
    let world = World::new(&strict(), &[]);
    let own = variables(&[("FROSTY_SCOPE", "own")]);
    fs::write(world.home().join(".claude/settings.json"), json!({"env": own}).to_string()).unwrap();
    world.settings("settings.json", &own);
    assert_eq!(world.hook(&world.passed_on(&[&own]), &stop("s")).code, Some(2));
    assert_eq!(scope(&world), "own");
    // Before the program of a hook that the user registered.
    let world = World::new(&strict(), &[]);
    let command =
        json!({"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "FROSTY_SCOPE=line frosty hook"}]}]}});
    fs::write(world.home().join(".claude/settings.json"), command.to_string()).unwrap();
    let line = variables(&[("FROSTY_SCOPE", "line")]);
    assert_eq!(world.hook(&world.passed_on(&[&line]), &stop("s")).code, Some(2));
    // Typed by hand, without a client.
    let by_hand = crate::support::Frosty::embedded().var("FROSTY_SCOPE", "typed");
    assert_eq!(by_hand.hook(&stop("s")).code, Some(2));
}

#[test]
fn a_project_may_name_and_switch_off() {
    let world = World::new(&strict(), &[]);
    let name = variables(&[("FROSTY_NAME", "nova")]);
    world.settings("settings.json", &name);
    assert_eq!(world.hook(&world.passed_on(&[&name]), &stop("s")).code, Some(2));
    for (variable, value) in [("FROSTY_ON", "0"), ("FROSTY_DISABLE", "1")] {
        let world = World::new(&strict(), &[]);
        let off = variables(&[(variable, value)]);
        world.settings("settings.json", &off);
        let answer = world.hook(&world.passed_on(&[&off]), &stop("s"));
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    }
}

// ---- properties -------------------------------------------------------------------------------------------------

fn runner(cases: u32) -> Runner {
    Runner { cases, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..Runner::default() }
}

/// Values that a key or a variable may have, loose ones among them.
fn duration() -> impl Strategy<Value = Value> {
    prop::sample::select(vec!["0s", "1ms", "10s", "15s", "20s", "1h", "x"]).prop_map(Value::from)
}

fn class_json() -> impl Strategy<Value = Value> {
    let burst = prop_oneof![
        Just(Value::Null),
        (1u32..8, duration()).prop_map(|(limit, window)| json!({"limit": limit, "window": window})),
        (1u32..8).prop_map(|limit| json!({"limit": limit})),
    ];
    let quotas =
        prop::collection::vec((1u32..5, duration()).prop_map(|(n, per)| json!({"limit": n, "per": per})), 0..3);
    let cooldown =
        (duration(), 1u32..4).prop_map(|(base, factor)| json!({"base": base, "factor": factor, "max": "1h"}));
    let keys = (
        prop::option::of(duration().boxed()),
        prop::option::of(burst.boxed()),
        prop::option::of(quotas.prop_map(Value::from).boxed()),
        prop::option::of(cooldown.boxed()),
    );
    keys.prop_map(|(min, burst, quotas, cooldown)| {
        let all = [("min_interval", min), ("burst", burst), ("quotas", quotas), ("cooldown", cooldown)];
        Value::Object(all.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect())
    })
}

/// A `frosty.json`: mostly of few keys, so that many are without an error.
fn file() -> impl Strategy<Value = Value> {
    let other = prop::sample::select(vec![
        json!({"scope": "x"}),
        json!({"scope": null}),
        json!({"fleet": "x"}),
        json!({"store": "embedded"}),
        json!({"mode": "shadow"}),
        json!({"mode": "enforce"}),
        json!({"arm": "always"}),
        json!({"stream": "x"}),
        json!({"notify": []}),
        json!({"hold_after_strikes": 0}),
        json!({"fleet_quotas": []}),
        json!({"name": "nova"}),
        json!({}),
        json!([]),
    ]);
    let tight = class_json().prop_map(|stop| json!({ "stop": stop }));
    prop_oneof![3 => tight, 2 => other]
}

/// A value that may occur under `env`.
fn block() -> impl Strategy<Value = Variables> {
    let name = prop::sample::select(
        GUARDED.iter().copied().chain(["FROSTY_NAME", "FROSTY_NEW", "LANG"]).collect::<Vec<&str>>(),
    );
    let value = prop::sample::select(vec!["x", "", "0", "1", "print", "embedded", "enforce", "shadow", "/tmp/x", "%9"]);
    prop::collection::btree_map(name.prop_map(str::to_owned), value.prop_map(str::to_owned), 0..3)
}

fn tighter(user: &ClassPolicy, with: &ClassPolicy) -> bool {
    let burst = match (user.burst, with.burst) {
        (None, _) => true,
        (Some(user), Some(with)) => with.limit <= user.limit && with.window >= user.window,
        (Some(_), None) => false,
    };
    let (a, b) = (&user.cooldown, &with.cooldown);
    burst
        && with.min_interval >= user.min_interval
        && user.quotas.iter().all(|quota| with.quotas.contains(quota))
        && b.backoff.base >= a.backoff.base
        && b.backoff.max >= a.backoff.max
        && b.backoff.factor >= a.backoff.factor
        && b.jitter >= a.jitter
        && b.calm >= a.calm
}

fn env_of(variables: &Variables) -> Env {
    Env::of(|name| variables.get(name).map(OsString::from))
}

proptest! {
    #![proptest_config(runner(300))]

    /// If no client's first environment is known, the files on the disk decide.
    #[test]
    fn the_configuration_is_the_users_or_tighter(
        user in class_json(), file in file(), shared in block(), local in block(), shell in block(),
    ) {
        let user = json!({"store": "redis://127.0.0.1:7", "fleet": "mine", "mode": "enforce", "stop": user});
        let shell: Variables = shell.into_iter().filter(|(n, _)| n.starts_with("FROSTY_")).collect();
        let shell: Vec<(&str, &str)> = shell.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let world = World::new(&user, &shell);
        world.write("frosty.json", &file);
        // The client takes no HOME from there.
        let not_home = |block: Variables| block.into_iter().filter(|(n, _)| n != "HOME").collect::<Variables>();
        let (shared, local) = (not_home(shared), not_home(local));
        world.settings("settings.json", &shared);
        world.settings("settings.local.json", &local);
        let own = Config::load(&env_of(&world.shell), None, &Flags::default());
        let hook = env_of(&world.passed_on(&[&shared, &local]));
        // A session that is left alone is never continued.
        let off = hook.disabled() || hook.on.as_deref() == Some("0");
        let with = Config::load(&hook, Some(&world.project()), &Flags::default());
        if let (false, Ok(own), Ok(with)) = (off, own, with) {
            prop_assert_eq!(seat(&own, &env_of(&world.shell)), seat(&with, &hook));
            for class in [Class::Stop, Class::Compact] {
                prop_assert!(tighter(own.policy.class(class), with.policy.class(class)));
            }
            prop_assert_eq!(&own.policy.fleet_quotas, &with.policy.fleet_quotas);
            prop_assert_eq!(own.policy.hold_after_strikes, with.policy.hold_after_strikes);
        }
    }
}

/// Returns the place of a session's limits, and the settings that switch them off.
fn seat(config: &Config, env: &Env) -> String {
    let scope = frosty::scope::resolve(config, env, "session");
    let Config { store, fleet, state, arm, shadow, stream, notify, .. } = config;
    format!("{scope:?} {store:?} {fleet} {state:?} {arm:?} {shadow} {stream} {notify:?} {:?}", env.on)
}

proptest! {
    #![proptest_config(runner(20))]

    /// At most one admission in the hour, through the binary, whatever the files contained at the client's start and
    /// contain now.
    #[test]
    fn no_second_admission(histories in prop::collection::vec((file(), block(), block(), any::<bool>()), 4)) {
        let world = World::new(&strict(), &[]);
        prop_assert_eq!(world.hook(&world.passed_on(&[]), &stop("s")).code, Some(2));
        for (file, shared, local, is_changed_since) in histories {
            world.write("frosty.json", &file);
            let none = Variables::new();
            world.settings("settings.json", if is_changed_since { &none } else { &shared });
            world.settings("settings.local.json", if is_changed_since { &none } else { &local });
            let answer = world.hook(&world.passed_on(&[&shared, &local]), &stop("s"));
            prop_assert_eq!(answer.code, Some(0), "{:?}", answer);
        }
    }
}

/// A settings file that is no JSON sets nothing, as in the client.
#[test]
fn broken_settings_hide_no_error_of_a_variable() {
    let world = World::new(&strict(), &[]);
    let path: &Path = &world.project().join(".claude/settings.json");
    fs::write(path, "{").unwrap();
    assert_eq!(world.hook(&world.passed_on(&[]), &stop("s")).code, Some(2));
    let hook = world.passed_on(&[&variables(&[("FROSTY_SCOPE", "x")])]);
    world.hook(&hook, &stop("s")).stands_down_saying(&["bad_config", "FROSTY_SCOPE"]);
}
