//! `frosty config` and the table of the keys: what the table states is what the parser and the commands do.
//!
//! `FROSTY_CONFIG_DOC=1 cargo test --test it config_cmd::the_reference` writes the table of docs/config.md and
//! docs/frosty.schema.json.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::support::{Frosty, stop};
use frosty::config::keys::{ByProject, KEYS, Key, Kind, values};
use frosty::config::{Config, ConfigError, Flags, Trust, apply, layers, schema};
use frosty::env::Env;
use serde_json::{Value, json};

/// Returns a file that sets one dotted key.
fn file(key: &str, value: &Value) -> String {
    key.rsplit('.').fold(value.clone(), |inner, name| json!({ name: inner })).to_string()
}

fn read(key: &str, value: &Value, trust: Trust) -> Result<Config, String> {
    let mut config = Config::default();
    apply(&mut config, &file(key, value), "f", trust).map(|()| config).map_err(|e| e.to_string())
}

fn is_group(key: &Key) -> bool {
    matches!(key.kind, Kind::Group)
}

fn default_of(key: &Key) -> Value {
    if is_group(key) { Value::Null } else { serde_json::from_str(key.default).unwrap() }
}

/// Returns the values at the bounds of a key, and those just beyond them.
fn bounds(key: &Key) -> (Vec<Value>, Vec<Value>) {
    let thousandths = |n: u32| json!(f64::from(n) / 1000.0);
    match &key.kind {
        Kind::Duration(within) => {
            let (least, most) = (within.start().as_millis(), within.end().as_millis());
            let beyond = [least.checked_sub(1), Some(most + 1)].into_iter().flatten();
            let length = |ms: u128| json!(format!("{ms}ms"));
            (vec![length(least), length(most)], beyond.map(length).collect())
        }
        Kind::Whole(within) => {
            let beyond = [within.start().checked_sub(1), Some(within.end() + 1)].into_iter().flatten();
            (vec![json!(within.start()), json!(within.end())], beyond.map(|n| json!(n)).collect())
        }
        Kind::Decimal(within) => {
            let beyond = [within.start().checked_sub(1), Some(within.end() + 1)].into_iter().flatten();
            (vec![thousandths(*within.start()), thousandths(*within.end())], beyond.map(thousandths).collect())
        }
        Kind::Choice(words) => (words.iter().map(|word| json!(word)).collect(), vec![json!("other")]),
        Kind::Text => (vec![], vec![Value::Null, json!(5)]),
        Kind::OptionalText => (vec![Value::Null, json!("text")], vec![json!(""), json!(5)]),
        Kind::Pace => {
            let cap = |cap: u32| json!({"five_hour": {"cap": cap}});
            (vec![Value::Null, cap(1), cap(100)], vec![cap(0), cap(101), json!({}), json!(5)])
        }
        Kind::Quotas => {
            (vec![json!([{"limit": 1, "per": "1h"}])], vec![json!(vec![json!({"limit": 1, "per": "1h"}); 9])])
        }
        Kind::IdleTable => {
            let row = |units| json!({"units": units, "rest": "1m"});
            let rows = |n: u32| json!((0..n).map(row).collect::<Vec<_>>());
            (vec![json!([]), rows(16)], vec![rows(17), json!([row(3), row(3)]), json!(5)])
        }
        Kind::Commands => (vec![json!(["a", ["b", "c"]])], vec![json!(vec!["a"; 17])]),
        Kind::Routes => {
            let route = json!({"to": "echo", "from": "tasks", "priority": "low", "run": ["cat"]});
            let wrong = [json!([{"to": "echo"}]), json!([{"run": "cat"}]), json!([{"to": "echo", "from": "frosty:x"}])];
            let routes = |n: u32| (0..n).map(|n| json!({"to": n.to_string(), "run": "cat"})).collect::<Vec<_>>();
            let session = |more: Value| {
                let mut route = json!({"to": "echo", "session": "background"});
                route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                json!([route])
            };
            let twice = vec![
                json!([route, route]),
                json!([{"to": "echo", "run": "cat"}, {"to": "echo", "session": "print"}]),
                json!([{"to": "echo", "run": "cat", "model": "haiku"}]),
                session(json!({"run": "cat"})),
                session(json!({"session": "window"})),
                session(json!({"max_sessions": 0})),
                session(json!({"idle_stop": "0s"})),
                session(json!({"folder": "relative"})),
                session(json!({"env": {"FROSTY_STORE": "embedded"}})),
                session(json!({"keys": ["sk-ant-key"]})),
                json!([{"to": "a\tb", "run": "cat"}]),
                json!([{"to": "echo", "run": "cat"}, {"to": "helix", "topic": "echo"}]),
                json!([{"to": "echo", "topic": "alerts", "cover": "echo"}, {"to": "x", "cover": "y"}]),
            ];
            (
                vec![
                    json!([]),
                    json!([route]),
                    json!(routes(64)),
                    session(
                        json!({"session": "print", "folder": "~/src", "model": "haiku", "system_prompt": "Be brief.",
                        "env": {"A": "b"}, "keys": ["~/a.key", "/b.key"], "max_sessions": 2, "idle_stop": "10m"}),
                    ),
                ],
                [vec![json!(routes(65))], twice, wrong.to_vec()].concat(),
            )
        }
        Kind::Profiles => {
            let all = json!({
                "beat": "1m", "idle": {"base": "1m"}, "reflect_every": 1, "dump_every": 2, "dreams": "in_hours",
                "long_rest": "1h", "prompts": {"dream": "Dream. {notes}", "work": null},
            });
            let wrong = [json!({"beat": 1}), json!({"dreams": "yes"}), json!({"reflect_every": 1001}), json!({"x": 1})];
            let wrong = wrong.map(|profile| json!({"mine": profile}));
            (vec![json!({}), json!({"mine": all, "clock": {}})], [vec![json!([])], wrong.to_vec()].concat())
        }
        Kind::Agents => {
            let wrong =
                [json!({"echo": "clock"}), json!({"echo": {"profil": "clock"}}), json!({"echo": {}}), json!([])];
            (vec![json!({}), json!({"echo": {"profile": "clock"}, "a b": {"profile": "measured"}})], wrong.to_vec())
        }
        Kind::Signals => (
            vec![Value::Null, json!([]), json!(["urgent", "a".repeat(32)]), json!(vec!["a"; 32])],
            vec![json!(vec!["a"; 33]), json!(["a".repeat(33)]), json!(["Urgent"]), json!([""]), json!("urgent")],
        ),
        Kind::Group => (vec![Value::Null, json!({})], vec![json!(5)]),
    }
}

/// Returns the dotted names of the values that are not objects.
fn leaves(value: &Value, above: &str, all: &mut Vec<(String, Value)>) {
    match value.as_object() {
        Some(object) if !object.is_empty() => {
            object.iter().for_each(|(key, value)| leaves(value, &format!("{above}.{key}"), all))
        }
        _ => all.push((above.trim_start_matches('.').to_owned(), value.clone())),
    }
}

#[test]
fn the_table_has_every_field_of_the_configuration_with_its_default() {
    let mut fields = Vec::new();
    leaves(&values(&Config::default()), "", &mut fields);
    let mut table: Vec<_> =
        KEYS.iter().filter(|key| !is_group(key)).map(|k| (k.name.to_owned(), default_of(k))).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    table.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(fields, table);
}

#[test]
fn the_table_has_every_key_of_the_parser() {
    let mut groups: Vec<&str> = KEYS.iter().filter_map(|key| Some(key.name.rsplit_once('.')?.0)).collect();
    groups.extend(["stop", "compact", ""]);
    groups.sort_unstable();
    groups.dedup();
    for group in groups {
        let dotted = |name: &str| if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
        let json = file(&dotted("zz"), &json!(1));
        let Err(ConfigError::UnknownKey { allowed, .. }) = apply(&mut Config::default(), &json, "f", Trust::Own) else {
            panic!("{json}");
        };
        let mut parsed: Vec<String> = allowed.split(", ").map(dotted).collect();
        let depth = dotted("x").split('.').count();
        let at_depth = |key: &Key| key.name.split('.').take(depth).collect::<Vec<_>>().join(".");
        let below = |key: &&Key| group.is_empty() || key.name.starts_with(&dotted(""));
        let mut table: Vec<String> = KEYS.iter().filter(below).map(at_depth).collect();
        parsed.sort_unstable();
        table.sort_unstable();
        table.dedup();
        assert_eq!(parsed, table, "below {group:?}");
    }
}

#[test]
fn the_bounds_of_the_table_are_the_parsers() {
    for key in KEYS {
        let (within, beyond) = bounds(key);
        for value in within.iter().chain([&default_of(key)]) {
            read(key.name, value, Trust::Own).unwrap_or_else(|e| panic!("{} = {value}: {e}", key.name));
        }
        for value in beyond {
            let error = read(key.name, &value, Trust::Own).map(|_| value).unwrap_err();
            assert!(error.contains(key.name) && error.contains("expected"), "{error}");
        }
    }
}

#[test]
fn a_project_may_do_what_the_table_states() {
    for key in KEYS {
        let (within, _) = bounds(key);
        let default = default_of(key);
        let own = |value: &Value| read(key.name, value, Trust::Project);
        let refused =
            |value: &Value| own(value).map(|_| (key.name, value.clone())).unwrap_err().contains("own configuration");
        match key.by_project {
            ByProject::No => assert!(refused(&default), "{}", key.name),
            ByProject::Yes => within.iter().for_each(|value| assert!(own(value).is_ok(), "{}", key.name)),
            ByProject::Adds => {
                let quota = json!([{"limit": 1, "per": "1h"}]);
                let mut config = Config::default();
                for (trust, file_of) in [(Trust::Own, "user"), (Trust::Project, "project")] {
                    apply(&mut config, &file(key.name, &quota), file_of, trust).unwrap();
                }
                assert_eq!(config.policy.stop.quotas.len(), 2);
            }
            ByProject::Fewer => {
                let json = |v: Value| file(key.name, &v);
                let mut config = Config::default();
                for (value, trust, is_allowed) in [
                    (json!(["a", "b"]), Trust::Project, true),
                    (json!(["a", "c"]), Trust::Project, false),
                    (Value::Null, Trust::Project, false),
                    (json!(["b"]), Trust::Project, true),
                    (json!(["a"]), Trust::Own, true),
                ] {
                    assert_eq!(apply(&mut config, &json(value.clone()), "f", trust).is_ok(), is_allowed, "{value}");
                }
            }
            ByProject::Smaller if is_group(key) => assert!(refused(&Value::Null), "{}", key.name),
            ByProject::Larger | ByProject::Smaller => {
                let [least, most] = within.as_slice() else { panic!("{}", key.name) };
                let (looser, tighter) = if key.by_project == ByProject::Larger { (least, most) } else { (most, least) };
                assert!(own(tighter).is_ok(), "{}", key.name);
                // The default of `compact.min_interval` is already the least.
                assert!(key.name == "compact.min_interval" || refused(looser), "{}", key.name);
            }
        }
    }
}

#[test]
fn the_variables_and_flags_of_the_table_are_the_ones_that_set_its_keys() {
    let value = |name: &str| match name {
        "FROSTY_STORE" => "embedded",
        "FROSTY_MODE" => "shadow",
        "FROSTY_WORK" => "required",
        _ => "x",
    };
    let skipped = ["FROSTY_CONFIG", "FROSTY_DISABLE", "FROSTY_ON"];
    let env =
        Env::of(|name| (name.starts_with("FROSTY_") && !skipped.contains(&name)).then(|| OsString::from(value(name))));
    let text = |value: &str| Some(value.to_owned());
    let flags =
        Flags { arm: text("manual"), store: text("embedded"), scope: text("x"), fleet: text("x"), ..Flags::default() };
    let (_, all) = layers(&env, None, &flags);
    let mut found: Vec<(String, String)> = all.iter().map(|layer| (layer.name.clone(), layer.sets.join(" "))).collect();
    let of = |key: &Key, by: Option<&str>| Some((by?.to_owned(), key.name.to_owned()));
    let mut table: Vec<_> = KEYS.iter().flat_map(|k| [of(k, k.variable), of(k, k.flag)]).flatten().collect();
    found.sort();
    table.sort();
    assert_eq!(found, table);
    assert!(all.iter().all(|layer| layer.wrong.is_none()), "{all:?}");
}

#[test]
fn the_values_read_back_are_the_same_configuration() {
    let mut config = Config::default();
    let json = r#"{"store": "embedded", "name": "n", "mode": "shadow", "arm": "manual", "scope": "s", "budget": "1s",
        "stop": {"burst": null, "quotas": [{"limit": 3, "per": "90s"}], "prompt": "go"}, "notify": ["say x"],
        "compact": {"cooldown": {"factor": 2.125, "jitter": 0.001}}, "spread": {"cold": "59m1ms"}}"#;
    apply(&mut config, json, "f", Trust::Own).unwrap();
    let mut again = Config::default();
    apply(&mut again, &values(&config).to_string(), "f", Trust::Own).unwrap();
    assert_eq!(format!("{config:?}"), format!("{again:?}"));
}

// ---- the reference ----------------------------------------------------------------------------------------------

/// Returns the reference table of the page.
fn table() -> String {
    let by_project = |key: &Key| match key.by_project {
        ByProject::No => "no",
        ByProject::Yes => "yes",
        ByProject::Larger => "not smaller",
        ByProject::Smaller if is_group(key) => "not `null`",
        ByProject::Smaller => "not larger",
        ByProject::Fewer => "only some of yours",
        ByProject::Adds => "adds to yours",
    };
    let mut out = "| key | default | values | a project may set it | meaning |\n|---|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let also: Vec<String> = [key.variable, key.flag].iter().flatten().map(|by| format!("`{by}`")).collect();
        let also = if also.is_empty() { String::new() } else { format!(" Also: {}.", also.join(", ")) };
        let default = if is_group(key) { String::new() } else { format!("`{}`", key.default) };
        let (name, values) = (key.name, key.values());
        out += &format!("| `{name}` | {default} | {values} | {} | {}{also} |\n", by_project(key), key.about);
    }
    out
}

#[test]
fn the_reference_is_up_to_date() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("config.md")).unwrap();
    let (before, rest) = page.split_once("<!-- keys -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of keys -->\n").unwrap();
    let new = format!("{before}<!-- keys -->\n{}<!-- end of keys -->\n{after}", table());
    for (file, new) in [("config.md", new), ("frosty.schema.json", format!("{:#}\n", schema()))] {
        let path = docs.join(file);
        #[allow(clippy::disallowed_methods, reason = "a test's own knob")]
        let renews = std::env::var_os("FROSTY_CONFIG_DOC").is_some();
        if renews {
            fs::write(&path, &new).unwrap();
        }
        let old = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            old == new,
            "docs/{file} is out of date: FROSTY_CONFIG_DOC=1 cargo test --test it config_cmd::the_reference"
        );
    }
}

/// Each example of the page must be a configuration that is accepted.
#[test]
fn the_examples_of_the_page_are_accepted() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md")).unwrap();
    let examples: Vec<&str> =
        page.split("```json\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert!(examples.len() >= 2 && examples.iter().any(|json| json.contains("\"$schema\"")), "{examples:?}");
    for json in examples {
        let mut config = Config::default();
        apply(&mut config, json, "docs/config.md", Trust::Own).unwrap();
        // The longest one contains all defaults.
        let is_default = format!("{config:?}") == format!("{:?}", Config::default());
        assert_eq!(is_default, json.contains("hold_after_strikes"), "{json}");
    }
}

// ---- the commands -----------------------------------------------------------------------------------------------

impl Frosty {
    fn user_text(&self) -> String {
        fs::read_to_string(self.home.path().join(".claude/frosty.json")).unwrap()
    }

    #[track_caller]
    fn prints(&self, args: &[&str]) -> String {
        let answer = self.run(args, b"");
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.stdout
    }

    /// Expects this exit code and these words on stderr, and nothing on stdout.
    #[track_caller]
    fn refuses(&self, args: &[&str], code: i32, words: &[&str]) {
        let answer = self.run(args, b"");
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(code), ""), "{answer:?}");
        for word in words {
            assert!(answer.stderr.contains(word), "no {word:?} in {answer:?}");
        }
    }
}

#[test]
fn show_names_the_source_of_each_value() {
    let frosty = Frosty::bare()
        .config(r#"{"fleet": "mine", "stop": {"min_interval": "20s", "quotas": [{"limit": 9, "per": "1h"}]}, "compact": {"burst": null}}"#)
        .project_config(r#"{"stop": {"min_interval": "30s", "quotas": [{"limit": 5, "per": "1h"}]}, "name": "nova"}"#)
        .var("FROSTY_STORE", "redis://user:hunter2@127.0.0.1:7/1")
        .var("FROSTY_FLEET", "other");
    let shown = frosty.prints(&["config"]);
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {shown}"));
    let home = frosty.home.path().to_str().unwrap();
    let (users, projects) = (format!("{home}/.claude/frosty.json"), format!("{home}/project/.claude/frosty.json"));
    for (key, value, source) in [
        ("store ", "\"redis://127.0.0.1:7/1\"", "FROSTY_STORE"),
        ("fleet ", "\"other\"", "FROSTY_FLEET"),
        ("budget ", "\"1s\"", &users),
        ("name ", "\"nova\"", &projects),
        ("stop.min_interval ", "\"30s\"", &projects),
        ("stop.burst.limit ", "3", "default"),
        ("compact.burst ", "null", &users),
    ] {
        assert!(
            line(key).contains(&format!(" {value} ")) && line(key).ends_with(&format!(" {source}")),
            "{}",
            line(key)
        );
    }
    assert!(line("stop.quotas").ends_with(&format!("{users} and {projects}")), "{}", line("stop.quotas"));
    assert!(!shown.contains("compact.burst.limit") && !shown.contains("hunter2"), "{shown}");
    let all: Value = serde_json::from_str(&frosty.prints(&["config", "--json"])).unwrap();
    assert_eq!(all["keys"]["stop.min_interval"], json!({"value": "30s", "source": projects}));
    assert_eq!((all["keys"]["arm"]["source"].as_str(), &all["wrong"]), (Some("default"), &json!([])));
    // The flags of the registered hook belong to the configuration of the hooks.
    frosty.prints(&["install", "--user", "--plain"]);
    let all: Value = serde_json::from_str(&frosty.prints(&["config", "--json"])).unwrap();
    assert_eq!(all["keys"]["arm"], json!({"value": "manual", "source": "--arm"}));
}

#[test]
fn get_prints_one_value() {
    let frosty = Frosty::embedded().config(r#"{"stop": {"prompt": "go\u001b on"}}"#);
    for (key, value) in [
        ("stop.min_interval", "15s\n"),
        ("stop.burst", "{\"limit\":3,\"window\":\"20s\"}\n"),
        ("stop.burst.limit", "3\n"),
        ("scope", "null\n"),
        ("stop.prompt", "go on\n"),
    ] {
        assert_eq!(frosty.prints(&["config", "get", key]), value);
    }
    frosty.refuses(
        &["config", "get", "min_interval"],
        64,
        &["unknown key min_interval", "frosty config get stop.min_interval"],
    );
    frosty.refuses(&["config", "get", "stop.brust.limit"], 64, &["frosty config get stop.burst.limit"]);
    frosty.refuses(
        &["config", "get", "redis://u:hunter2@h"],
        64,
        &["redis://***@h", "hint: list the keys: frosty config"],
    );
    // A wrong source means that no hook uses this value.
    frosty.project_config(r#"{"fleet": "x"}"#).refuses(
        &["config", "get", "fleet"],
        1,
        &["project/.claude/frosty.json"],
    );
}

#[test]
fn set_changes_one_value_and_nothing_else() {
    let text = "{\n  \"stop\" : { \"min_interval\": \"1s\",  \"burst\": null },\n  \"fleet\":\"a\"\n}\n";
    let frosty = Frosty::bare();
    let users = frosty.home.path().join(".claude/frosty.json");
    fs::write(&users, text).unwrap();
    let out = frosty.prints(&["config", "set", "stop.min_interval", "20s"]);
    assert_eq!(out, format!("stop.min_interval is set in {}\n", users.display()));
    assert_eq!(frosty.user_text(), text.replace("\"1s\"", "\"20s\""));
    frosty.prints(&["config", "set", "hold_after_strikes", "3"]);
    frosty.prints(&["config", "set", "name", "5"]);
    frosty.prints(&["config", "set", "stop.burst", r#"{"limit": 4, "window": "1m"}"#]);
    let now: Value = serde_json::from_str(&frosty.user_text()).unwrap();
    assert_eq!((&now["name"], &now["hold_after_strikes"]), (&json!("5"), &json!(3)));
    assert_eq!(frosty.prints(&["config", "get", "stop.burst.limit"]), "4\n");
    // A new file, and one that overrides it.
    let frosty = Frosty::bare().var("FROSTY_STORE", "embedded");
    let answer = frosty.run(&["config", "set", "store", "redis://h:1"], b"");
    assert_eq!((answer.code, frosty.user_text().as_str()), (Some(0), "{\n  \"store\": \"redis://h:1\"\n}\n"));
    assert_eq!(answer.stderr, "frosty: FROSTY_STORE overrides it: store is \"embedded\" here\n");
}

#[test]
fn set_in_a_project_only_tightens() {
    let frosty = Frosty::embedded();
    let project = frosty.project();
    let project = project.to_str().unwrap();
    frosty.prints(&["config", "set", "stop.min_interval", "1m", "--project", project]);
    assert_eq!(frosty.prints(&["config", "get", "stop.min_interval"]), "1m\n");
    let before = fs::read_to_string(frosty.project().join(".claude/frosty.json")).unwrap();
    let set = |key, value| ["config", "set", key, value, "--project", project];
    frosty.refuses(&set("stop.min_interval", "14s"), 64, &["nothing was written", "own configuration"]);
    frosty.refuses(&set("fleet", "x"), 64, &["nothing was written", "only in your own configuration"]);
    assert_eq!(fs::read_to_string(frosty.project().join(".claude/frosty.json")).unwrap(), before);
    frosty.refuses(&["config", "set", "name", "x", "--project", "/nowhere"], 64, &["/nowhere"]);
    // The project of a home directory is the user's own.
    frosty.prints(&["config", "set", "fleet", "mine", "--project", frosty.home.path().to_str().unwrap()]);
    assert!(frosty.user_text().contains("\"fleet\": \"mine\""), "{}", frosty.user_text());
}

#[test]
fn bad_input_loses_nothing() {
    let frosty = Frosty::embedded();
    let users = frosty.home.path().join(".claude/frosty.json");
    for (text, key, value, code, words) in [
        (
            "{}",
            "stop.min_interval",
            "soon",
            64,
            &["nothing was written", "the command line", "stop.min_interval", "expected a duration"][..],
        ),
        ("{}", "stop.burst", r#"{"limit": 3, "limit": 4}"#, 1, &["\"limit\" twice"]),
        ("{}", "stop.cooldown.base", "20m", 1, &["stop.cooldown.max", "expected at least cooldown.base"]),
        ("{}", "fleett", "x", 64, &["unknown key fleett", "fleet"]),
        ("{}", "store", "redis://u:hunter2@h:x", 64, &["***"]),
        ("{ // mine\n}", "fleet", "x", 1, &["comment"]),
        ("[]", "fleet", "x", 1, &["an object"]),
        ("{\"stop\": 5}", "stop.prompt", "x", 1, &["expected an object", "5"]),
        ("{\"fleet\": \"a\", \"fleet\": \"b\"}", "fleet", "x", 1, &["twice"]),
    ] {
        fs::write(&users, text).unwrap();
        frosty.refuses(&["config", "set", key, value], code, words);
        let answer = frosty.run(&["config", "set", key, value], b"");
        assert!(!answer.stderr.contains("hunter2"), "{answer:?}");
        assert_eq!(frosty.user_text(), text);
    }
}

#[test]
fn validate_checks_every_source_or_one_file() {
    let frosty = Frosty::embedded();
    assert!(frosty.prints(&["config", "validate"]).ends_with("/.claude/frosty.json: ok\nFROSTY_STORE: ok\n"));
    let file = frosty.home.path().join("new.json");
    fs::write(&file, "{\n\n \"stop\": {\"min_intervall\": \"20s\"}}").unwrap();
    let words = ["new.json:3", "unknown key \"stop.min_intervall\"", "did you mean \"stop.min_interval\"?"];
    frosty.refuses(&["config", "validate", file.to_str().unwrap()], 1, &words);
    fs::write(&file, "{\"fleet\": \"a\"}").unwrap();
    assert!(frosty.prints(&["config", "validate", file.to_str().unwrap()]).ends_with("new.json: ok\n"));
    // A project's file is checked as the hook reads it.
    let frosty = frosty.project_config("{\"fleet\": \"a\"}");
    frosty.refuses(&["config", "validate", ".claude/frosty.json"], 1, &["only in your own configuration"]);
    let answer = frosty.run(&["config", "validate"], b"");
    assert_eq!(answer.code, Some(1));
    assert!(answer.stdout.contains("project/.claude/frosty.json: wrong\nFROSTY_STORE: ok\n"), "{answer:?}");
    assert!(
        answer.stderr.contains("1 of 3 sources") && answer.stderr.contains("`frosty hook` admits nothing"),
        "{answer:?}"
    );
    frosty.hook(&stop("s")).stands_down_saying(&["bad_config"]);
}

#[test]
fn an_error_of_a_route_names_it() {
    let run = json!({"to": "build", "run": ["cat"]});
    for (routes, words) in [
        (json!([run, {"to": "x", "rnu": ["cat"]}]), "unknown key \"routes[1].rnu\""),
        (json!([run, {"to": "x"}]), "invalid value {\"to\":\"x\"} for routes[1]; expected a list"),
        (json!([run, run]), "for routes[1]; expected a route with a from and a topic that no other one has"),
        (json!({"to": "x"}), "for routes; expected a list"),
    ] {
        let frosty = Frosty::bare();
        let refused = frosty.run(&["config", "set", "routes", &routes.to_string()], b"");
        assert!(refused.code == Some(64) && refused.stderr.contains(words), "{refused:?}");
    }
    let near = Frosty::bare().run(&["config", "set", "routes", r#"[{"to": "x", "rnu": ["cat"]}]"#], b"");
    assert!(near.stderr.contains("routes[0].run"), "{near:?}");
}

#[test]
fn schema_is_the_committed_one() {
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/frosty.schema.json")).unwrap();
    assert_eq!(Frosty::bare().prints(&["config", "schema"]), committed);
}

#[test]
fn the_profile_of_one_agent_is_set_and_unset() {
    let frosty = Frosty::embedded();
    let run = |args: &[&str]| frosty.run(&[&["config"], args].concat(), b"");
    let set = run(&["set", "agents.echo.profile", "staccato"]);
    assert_eq!(set.code, Some(0), "{set:?}");
    assert_eq!(run(&["set", "profiles.staccato.beat", "1m"]).code, Some(0));
    assert_eq!(run(&["get", "agents.echo.profile"]).stdout, "staccato\n");
    let file = std::fs::read_to_string(frosty.home.path().join(".claude/frosty.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["agents"], json!({"echo": {"profile": "staccato"}}));
    assert_eq!(file["profiles"], json!({"staccato": {"beat": "1m"}}));
    let wrong = run(&["set", "agents.echo.profile", "stacato"]);
    assert!(wrong.code == Some(64) || wrong.code == Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("did you mean \"staccato\"?"), "{wrong:?}");
    assert_eq!(run(&["unset", "agents.echo.profile"]).code, Some(0));
    assert_eq!(run(&["get", "agents"]).stdout, "{}\n");
}
