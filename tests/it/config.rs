//! Tests the configuration: precedence, the limits of a project's file, and the texts of errors.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Frosty, Server, stop};
use frosty::config::{Config, Flags, StoreChoice, Trust, apply};
use frosty::env::Env;
use frosty::hint::Problem;

/// All defaults as one file.
const FULL: &str = r#"{
  "store": "auto", "fleet": "default", "scope": null, "name": null, "stream": "torch.continuous.ops",
  "stop":      { "min_interval": "15s", "burst": {"limit": 3, "window": "20s"},
                 "cooldown": {"base": "60s", "factor": 2, "max": "15m", "jitter": 0.2, "calm": "10m"},
                 "quotas": [], "prompt": null },
  "compact":   { "min_interval": "0s", "burst": {"limit": 4, "window": "10m"},
                 "cooldown": {"base": "10m", "factor": 2, "max": "1h", "jitter": 0.2, "calm": "10m"} },
  "api_error": { "base": "60s", "factor": 2, "max": "1h" },
  "fleet_quotas": [], "arm": "always", "mode": "enforce", "park_max": "10m", "print_wait": "9m", "resume_after": "1m",
  "spread": {"step": "250ms", "cold": "2s"},
  "budget": "250ms", "journal_max": 100000, "hold_after_strikes": 5, "notify": []
}"#;

#[test]
fn all_defaults_as_one_file() {
    let mut config = Config::default();
    apply(&mut config, FULL, "file", Trust::Own).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
}

#[test]
fn later_wins() {
    let dir = tempfile::TempDir::new().unwrap();
    let write = |name: &str, json: &str| -> PathBuf {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, json).unwrap();
        path
    };
    write("home/.claude/frosty.json", r#"{"fleet": "user", "stop": {"min_interval": "20s"}, "scope": "user"}"#);
    write("project/.claude/frosty.json", r#"{"stop": {"min_interval": "30s"}, "name": "project"}"#);
    let own = write("own.json", r#"{"stop": {"min_interval": "5s"}, "fleet": "own"}"#);
    let project = dir.path().join("project");
    let mut env = Env { home: Some(dir.path().join("home")), ..Env::default() };
    let load = |env: &Env, flags: &Flags| Config::load(env, Some(&project), flags).unwrap();
    let config = load(&env, &Flags::default());
    assert_eq!((config.fleet.as_str(), config.scope.as_deref()), ("user", Some("user")));
    assert_eq!(config.name.as_deref(), Some("project"));
    assert_eq!(config.policy.stop.min_interval, Duration::from_secs(30));
    env.config = Some(own);
    env.scope = Some("env".into());
    let config = load(&env, &Flags::default());
    assert_eq!((config.fleet.as_str(), config.scope.as_deref()), ("own", Some("env")));
    assert_eq!(config.policy.stop.min_interval, Duration::from_secs(5));
    env.fleet = Some("env fleet".into());
    env.store = Some("redis://localhost:7".into());
    let flags = Flags { fleet: Some("a/b:c".into()), store: Some("embedded".into()), ..Flags::default() };
    let config = load(&env, &flags);
    assert_eq!((config.fleet.as_str(), config.store), ("a%2Fb%3Ac", StoreChoice::Embedded));
    env.claude_config_dir = Some(dir.path().join("elsewhere"));
    env.config = None;
    env.fleet = None;
    assert_eq!(load(&env, &Flags::default()).fleet, "default");
}

#[test]
fn a_home_folder_taken_for_a_project_is_the_users_own() {
    let dir = tempfile::TempDir::new().unwrap();
    fs::create_dir(dir.path().join(".claude")).unwrap();
    fs::write(dir.path().join(".claude/frosty.json"), r#"{"fleet": "mine", "stop": {"min_interval": "1s"}}"#).unwrap();
    let env = Env { home: Some(dir.path().to_owned()), ..Env::default() };
    let config = Config::load(&env, Some(&dir.path().join("./.claude/..")), &Flags::default()).unwrap();
    assert_eq!(config.fleet, "mine");
}

#[test]
fn a_project_may_tighten_and_name() {
    let mut config = Config::default();
    config.policy.stop.quotas = vec![frosty::policy::limits::Quota { limit: 9, per: Duration::from_secs(60) }];
    let tighter = r#"{"name": "n", "stop": {"min_interval": "16s", "burst": {"limit": 2, "window": "30s"},
        "cooldown": {"base": "61s", "factor": 2.5, "max": "16m", "jitter": 0.3, "calm": "11m"},
        "quotas": [{"limit": 100, "per": "1h"}], "prompt": "p"},
        "compact": {"min_interval": "10m"}, "api_error": {"base": "2m", "factor": 3, "max": "2h"}}"#;
    apply(&mut config, tighter, "project", Trust::Project).unwrap();
    assert_eq!(config.policy.stop.quotas.len(), 2, "a project's quotas come on top");
    assert_eq!(config.policy.stop.cooldown.backoff.factor, 2500);
    assert_eq!(config.prompt.as_deref(), Some("p"));
}

/// If the user has no minimum interval, the burst window limits, and a project's interval does not replace it.
#[test]
fn a_projects_minimum_interval_comes_on_top_of_the_users_window() {
    let mut config = Config::default();
    apply(&mut config, r#"{"stop": {"min_interval": "0s"}}"#, "own", Trust::Own).unwrap();
    apply(&mut config, r#"{"stop": {"min_interval": "1s"}, "compact": {"min_interval": "1ms"}}"#, "p", Trust::Project)
        .unwrap();
    assert!(config.policy.stop.window_limits && config.policy.compact.window_limits);
    apply(&mut config, r#"{"stop": {"min_interval": "1s"}}"#, "own", Trust::Own).unwrap();
    assert!(!config.policy.stop.window_limits, "the user's own interval is another matter");

    let own = r#"{"stop": {"min_interval": "0s", "burst": {"limit": 3, "window": "10m"}}}"#;
    let server = Server::start();
    for frosty in [Frosty::on(&server), Frosty::embedded()] {
        let frosty = frosty.config(own).project_config(r#"{"stop": {"min_interval": "1ms"}}"#);
        let codes: Vec<_> = (0..4).map(|_| frosty.hook(&stop("s")).code).collect();
        assert_eq!(codes, [Some(2), Some(2), Some(0), Some(0)], "no more than the window of the user's has places for");
        assert!(frosty.run(&["log"], b"").stdout.contains("burst"), "{}", frosty.run(&["log"], b"").stdout);
    }
}

#[test]
fn a_project_may_not_loosen() {
    for (json, key) in [
        (r#"{"stop": {"min_interval": "14s"}}"#, "stop.min_interval"),
        (r#"{"stop": {"burst": null}}"#, "stop.burst"),
        (r#"{"stop": {"burst": {"limit": 4}}}"#, "stop.burst.limit"),
        (r#"{"stop": {"burst": {"window": "19s"}}}"#, "stop.burst.window"),
        (r#"{"stop": {"cooldown": {"base": "59s"}}}"#, "stop.cooldown.base"),
        (r#"{"stop": {"cooldown": {"factor": 1.9}}}"#, "stop.cooldown.factor"),
        (r#"{"stop": {"cooldown": {"max": "14m"}}}"#, "stop.cooldown.max"),
        (r#"{"stop": {"cooldown": {"jitter": 0.1}}}"#, "stop.cooldown.jitter"),
        (r#"{"stop": {"cooldown": {"calm": "9m"}}}"#, "stop.cooldown.calm"),
        (r#"{"compact": {"burst": {"limit": 5}}}"#, "compact.burst.limit"),
        (r#"{"api_error": {"max": "59m"}}"#, "api_error.max"),
        (r#"{"fleet_quotas": [{"limit": 1, "per": "1h"}]}"#, "fleet_quotas"),
        (r#"{"scope": "x"}"#, "scope"),
        (r#"{"scope": null}"#, "scope"),
        (r#"{"store": "embedded"}"#, "store"),
        (r#"{"stream": "x"}"#, "stream"),
        (r#"{"fleet": "x"}"#, "fleet"),
        (r#"{"arm": "manual"}"#, "arm"),
        (r#"{"notify": []}"#, "notify"),
        (r#"{"mode": "enforce"}"#, "mode"),
        (r#"{"spread": {"step": "0s"}}"#, "spread"),
        (r#"{"budget": "1s"}"#, "budget"),
        (r#"{"journal_max": 5000}"#, "journal_max"),
    ] {
        let error =
            apply(&mut Config::default(), json, "/p/.claude/frosty.json", Trust::Project).unwrap_err().to_string();
        assert!(
            error.starts_with("/p/.claude/frosty.json: invalid value ")
                && error.contains(&format!(" for {key}; expected ")),
            "{error}"
        );
        assert!(error.contains("own configuration"), "{error}");
    }
}

#[test]
fn errors_name_file_key_found_allowed_and_cure() {
    for (json, words) in [
        ("", &["JSON", "EOF"] as &[&str]),
        ("{\"a\"", &["JSON", "EOF"]),
        ("[]", &["an object", "invalid value []"]),
        (r#"{"stopp": {}}"#, &["unknown key \"stopp\" (did you mean \"stop\"?)", "stop, compact"]),
        (r#"{"stop": {"brust": null}}"#, &["\"stop.brust\" (did you mean \"stop.burst\"?)"]),
        (r#"{"stop": {"prompt": "{cnt} of {time} {"}}"#, &["stop.prompt", "{cnt} (did you mean {count}?)", "{held}"]),
        (r#"{"fleet": "a", "fleet": "b"}"#, &["a key twice", "\"fleet\" twice at line 1"]),
        ("{\"stop\": {\n\"burst\": null,\n\"burst\": null}}", &["\"burst\" twice at line 3"]),
        ("{\n // the fleet\n \"fleet\": \"a\"}", &["a comment at line 2, and JSON has none"]),
        ("{\"fleet\": \"http://a\" /* b */}", &["a comment at line 1"]),
        ("# mine\n{}", &["a comment at line 1"]),
        (r#"{"$schema": 5}"#, &["$schema", "invalid value 5"]),
        (r#"{"stop": {"min_intervall": "1s"}}"#, &["unknown key \"stop.min_intervall\"", "min_interval, burst"]),
        (r#"{"stop": {"burst": {"size": 3}}}"#, &["\"stop.burst.size\"", "limit, window"]),
        (r#"{"compact": {"quotas": []}}"#, &["\"compact.quotas\""]),
        (r#"{"stop": {"min_interval": 15}}"#, &["stop.min_interval", "invalid value 15", "\"15s\""]),
        (r#"{"stop": {"min_interval": "15"}}"#, &["stop.min_interval", "invalid value \"15\""]),
        (r#"{"stop": {"min_interval": "32d"}}"#, &["31d"]),
        (r#"{"stop": {"burst": {"limit": 0}}}"#, &["stop.burst.limit", "invalid value 0", "1 to 1000"]),
        (r#"{"stop": {"burst": {"limit": 2.5}}}"#, &["invalid value 2.5"]),
        (r#"{"stop": {"cooldown": {"factor": 0.5}}}"#, &["invalid value 0.5", "1 to 100"]),
        (r#"{"stop": {"cooldown": {"jitter": 1.5}}}"#, &["invalid value 1.5", "0 to 1"]),
        (r#"{"stop": {"cooldown": {"jitter": 0.12345}}}"#, &["three decimals"]),
        (r#"{"stop": {"quotas": [{"limit": 1}]}}"#, &["stop.quotas[0]", "limit and per"]),
        (r#"{"stop": {"quotas": [{"limit": 0, "per": "1h"}]}}"#, &["stop.quotas[0].limit"]),
        (r#"{"stop": {"quotas": {}}}"#, &["stop.quotas", "a list"]),
        (r#"{"store": "postgres://x"}"#, &["store", "embedded", "redis://"]),
        (r#"{"store": "rediss://u:p4ss@h"}"#, &["no TLS"]),
        (r#"{"stream": "frosty:x"}"#, &["stream", "frosty:"]),
        (r#"{"fleet": ""}"#, &["fleet", "1 to 128"]),
        (r#"{"mode": "ghost"}"#, &["mode", "enforce", "shadow"]),
        (r#"{"arm": "yes"}"#, &["arm", "always"]),
        (r#"{"notify": "x"}"#, &["notify"]),
        (r#"{"budget": "1ms"}"#, &["budget", "20ms to 1s"]),
        (r#"{"scope": 5}"#, &["scope", "invalid value 5"]),
        (r#"{"store": "redis://h:99999"}"#, &["1 to 65535"]),
        (r#"{"fleet": "arm"}"#, &["fleet", "\"arm\""]),
        (r#"{"fleet": "undecided"}"#, &["fleet", "\"undecided\""]),
        (r#"{"fleet": "continue.lock"}"#, &["fleet", "\"continue.lock\""]),
    ] {
        let error = apply(&mut Config::default(), json, "/u/frosty.json", Trust::Own).unwrap_err();
        let error = Problem::from(&error).lines();
        for word in words.iter().chain(&["/u/frosty.json", "\nhint: edit the file: ${EDITOR:-vi} /u/frosty.json"]) {
            assert!(error.contains(word), "no {word:?} in {error}");
        }
        assert!(!error.contains("p4ss"), "{error}");
    }
}

#[test]
fn what_an_editor_needs_and_braces_that_name_nothing_are_allowed() {
    for trust in [Trust::Own, Trust::Project] {
        let json =
            r#"{"$schema": "https://x/frosty.json", "stop": {"prompt": "{count} {\"a\": 1} {} {A} {a b} }{ {scope}"}}"#;
        apply(&mut Config::default(), json, "file", trust).unwrap();
    }
    // Two objects may have the same key.
    let json = r#"{"stop": {"min_interval": "20s"}, "compact": {"min_interval": "10m"}}"#;
    apply(&mut Config::default(), json, "file", Trust::Own).unwrap();
}

#[test]
fn what_only_the_whole_shows_to_be_impossible() {
    for (json, words) in [
        (r#"{"stop": {"cooldown": {"base": "20m"}}}"#, "stop.cooldown.max"),
        (r#"{"api_error": {"base": "2h"}}"#, "api_error.max"),
        (r#"{"stop": {"min_interval": "0s", "burst": {"limit": 1}}}"#, "stop.burst.limit"),
    ] {
        let frosty = Frosty::embedded().config(json);
        frosty.hook(&stop("s")).stands_down_saying(&[
            "bad_config",
            ".claude/frosty.json",
            "invalid value ",
            words,
            "expected",
        ]);
    }
}

#[test]
fn in_the_hook_every_fault_is_bad_config_and_exit_0() {
    let unreadable = Frosty::bare().var("FROSTY_STORE", "embedded");
    fs::create_dir(unreadable.home.path().join(".claude/frosty.json")).unwrap();
    unreadable.hook(&stop("s")).stands_down_saying(&["bad_config", ".claude/frosty.json", "ls -ld"]);

    let looser = Frosty::embedded().project_config(r#"{"stop": {"min_interval": "1s"}}"#);
    looser.hook(&stop("s")).stands_down_saying(&["bad_config", "project/.claude/frosty.json:1: ", "stop.min_interval"]);
    assert_eq!(looser.journal()[0]["reason"], "bad_config");

    let broken = Frosty::embedded().config("{");
    broken.hook(&stop("s")).stands_down_saying(&["bad_config", "JSON"]);
    assert_eq!(broken.hook(&crate::support::fixture("PreCompact-auto.json")).code, Some(0));

    for (name, value) in [
        ("FROSTY_CONFIG", "/nowhere.json"),
        ("FROSTY_STORE", "somewhere"),
        ("FROSTY_MODE", "ghost"),
        ("FROSTY_ON", "yes"),
        ("FROSTY_STREAM", "a b"),
    ] {
        let frosty = Frosty::embedded().var(name, value);
        frosty.hook(&stop("s")).stands_down_saying(&["bad_config", value]);
    }
    let long = "x".repeat(129);
    Frosty::embedded().var("FROSTY_SCOPE", &long).hook(&stop("s")).stands_down_saying(&["bad_config", "128"]);
    Frosty::embedded().hook(&stop(&long)).stands_down_saying(&["bad_config", "session_id", "128"]);
}

/// A cloned repository may contain any kind of file at that path.
#[test]
fn what_is_no_regular_file_is_told_and_not_waited_for() {
    for make in ["mkfifo \"$0\"", "ln -s /dev/zero \"$0\"", "head -c 2000000 /dev/zero > \"$0\""] {
        let frosty = Frosty::embedded();
        let path = frosty.project().join(".claude/frosty.json");
        let made = std::process::Command::new("sh").args(["-c", make, path.to_str().unwrap()]).status().unwrap();
        assert!(made.success());
        let answer = frosty.hook(&stop("s"));
        answer.stands_down_saying(&["bad_config", "project/.claude/frosty.json", "ls -ld"]);
        assert!(answer.took < Duration::from_millis(2_500), "{answer:?}");
    }
}

#[test]
fn limits_of_the_configuration_are_the_ones_that_decide() {
    let frosty = Frosty::embedded().config(r#"{"stop": {"min_interval": "0s", "burst": {"limit": 5}}}"#);
    let codes: Vec<_> = (0..5).map(|_| frosty.hook(&stop("s")).code).collect();
    assert_eq!(codes, [Some(2), Some(2), Some(2), Some(2), Some(0)]);
    let frosty = frosty.project_config(r#"{"stop": {"burst": {"limit": 2}}}"#);
    let codes: Vec<_> = (0..2).map(|_| frosty.hook(&stop("t")).code).collect();
    assert_eq!(codes, [Some(2), Some(0)]);
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_names_the_one_with_it() {
    let frosty = Frosty::new().var("FROSTY_STORE", "rediss://frosty:hunter2secret@host:1");
    let answer = frosty.hook(&stop("s"));
    answer.stands_down_saying(&["bad_config", "rediss://***@host:1", "cargo build --release --features tls"]);
}
