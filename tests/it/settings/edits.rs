//! The edits alone: any settings file, in any layout.

use std::path::Path;

use frosty::client_settings::hooks_in;
use frosty::client_settings::owner::{Engine, Owner, owner};
use frosty::settings::edit::{Without, put, take};
use frosty::settings::registration::{EVENTS, Registration};
use proptest::prelude::*;
use serde_json::Value;

fn registration(engine: Engine) -> Registration {
    Registration { command: "/home/ann/.local/bin/frosty".to_owned(), engine, manual: false, resumes: true }
}

fn file() -> &'static Path {
    Path::new("/p/.claude/settings.json")
}

fn text(without: Without) -> String {
    match without {
        Without::Text(text) => text,
        Without::NoFile => panic!("the file would be gone"),
    }
}

/// White space, as odd as JSON lets it be.
fn blank() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        3 => Just(" ".to_owned()),
        3 => (0usize..7).prop_map(|n| format!("\n{}", " ".repeat(n))),
        1 => (0usize..3).prop_map(|n| format!("\r\n{}", "\t".repeat(n))),
        1 => Just("\n\n \t\r".to_owned()),
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"a\"".to_owned()),
        Just(r#""}]{[\",\\\u0041é🧊""#.to_owned()),
        Just("\"hooks\"".to_owned()),
        Just("\"frosty\"".to_owned()),
        "[a-z]{1,5}".prop_map(|w| format!("\"{w}\"")),
    ]
}

fn list(items: Vec<(String, String, String)>, (open, close): (char, char), empty: &str) -> String {
    if items.is_empty() {
        return format!("{open}{empty}{close}");
    }
    let items: Vec<String> = items.into_iter().map(|(before, item, after)| format!("{before}{item}{after}")).collect();
    format!("{open}{}{close}", items.join(","))
}

/// An object or list of such items, laid out oddly.
fn around(item: BoxedStrategy<String>, brackets: (char, char), most: usize) -> BoxedStrategy<String> {
    (proptest::collection::vec((blank(), item, blank()), 0..=most), blank())
        .prop_map(move |(items, empty)| list(items, brackets, &empty))
        .boxed()
}

fn member(key: BoxedStrategy<String>, value: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (key, blank(), blank(), value).prop_map(|(key, a, b, value)| format!("{key}{a}:{b}{value}")).boxed()
}

fn value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("-1.50e+3".to_owned()),
        Just("12345678901234567890123".to_owned()),
        word()
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            around(inner.clone().boxed(), ('[', ']'), 3),
            around(member(word().boxed(), inner.boxed()), ('{', '}'), 3)
        ]
    })
    .boxed()
}

fn entry() -> BoxedStrategy<String> {
    prop_oneof![
        Just(r#"{"type":"command","command":"say \"done\""}"#.to_owned()),
        Just(r#"{ "command" : "frosty", "args": ["hook"], "type": "command" }"#.to_owned()),
        value()
    ]
    .boxed()
}

fn group() -> BoxedStrategy<String> {
    let hooks = member(Just("\"hooks\"".to_owned()).boxed(), around(entry(), ('[', ']'), 3));
    let matcher = member(Just("\"matcher\"".to_owned()).boxed(), word().boxed());
    prop_oneof![around(prop_oneof![hooks, matcher].boxed(), ('{', '}'), 2), value()].boxed()
}

fn hooks() -> BoxedStrategy<String> {
    let event = prop_oneof![proptest::sample::select(&EVENTS[..]), Just("PreToolUse")].prop_map(|e| format!("\"{e}\""));
    let event = member(event.boxed(), around(group(), ('[', ']'), 3));
    member(Just("\"hooks\"".to_owned()).boxed(), around(event, ('{', '}'), 5))
}

/// A whole settings file: it may have duplicate keys, and be empty in every way.
fn settings() -> impl Strategy<Value = String> {
    let other = member(word().prop_filter("the hooks are made apart", |w| w != "\"hooks\"").boxed(), value());
    let root = around(prop_oneof![hooks(), other].boxed(), ('{', '}'), 3);
    let whole =
        (prop_oneof![Just(""), Just("\u{feff}")], blank(), prop_oneof![9 => root, 1 => Just(String::new())], blank());
    whole.prop_map(|(mark, before, root, after)| format!("{mark}{before}{root}{after}"))
}

/// Everything but Frosty's entries and what may be made for them.
fn rest(text: &str) -> (Vec<frosty::client_settings::Hook>, Option<Value>) {
    let hooks = hooks_in(text, file()).unwrap().into_iter().filter(|h| owner(h) != Owner::Installed).collect();
    let mut value: Option<Value> = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok();
    if let Some(Value::Object(object)) = &mut value {
        object.remove("hooks");
    }
    (hooks, value.filter(|v| v.as_object().is_some_and(|o| !o.is_empty())))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn taking_out_is_putting_in_backwards(before in settings()) {
        let [continuous, plain] = [Engine::Continuous, Engine::Plain].map(registration);
        let once = put(Some(&before), &continuous, file()).unwrap();
        prop_assert_eq!(put(Some(&once), &continuous, file()).unwrap(), once.clone(), "again");
        let own: Vec<_> = hooks_in(&once, file()).unwrap().into_iter().filter(|h| owner(h) == Owner::Installed).collect();
        prop_assert_eq!(own.len(), continuous.count());
        prop_assert_eq!(rest(&once), rest(&before));
        prop_assert_eq!(text(take(&once, file()).unwrap()), before.clone(), "out");
        let switched = put(Some(&once), &plain, file()).unwrap();
        prop_assert_eq!(&switched, &put(Some(&before), &plain, file()).unwrap(), "switched");
        let moved = Registration { command: "/opt/frosty".to_owned(), manual: true, ..continuous };
        let moved = put(Some(&switched), &moved, file()).unwrap();
        prop_assert_eq!(text(take(&moved, file()).unwrap()), before.clone(), "switched, moved, out");
        prop_assert_eq!(text(take(&before, file()).unwrap()), before, "out of what has none");
    }
}

#[test]
fn a_file_that_was_made_goes_and_an_empty_one_stays_empty() {
    // The entry of an earlier version is removed as well.
    for (engine, resumes) in [(Engine::Continuous, true), (Engine::Continuous, false), (Engine::Plain, true)] {
        let wanted = Registration { resumes, ..registration(engine) };
        let made = put(None, &wanted, file()).unwrap();
        assert!(made.ends_with("}\n") && put(Some(&made), &wanted, file()).unwrap() == made);
        assert_eq!(take(&made, file()).unwrap(), Without::NoFile);
        for empty in ["", "\n", "\r\n", " ", "\u{feff}", "\u{feff}\n", "{}", "{}\n", "{ }", "{\n}\n"] {
            let full = put(Some(empty), &wanted, file()).unwrap();
            assert_ne!(full, made);
            assert_eq!(text(take(&full, file()).unwrap()), empty);
        }
    }
}

/// Laid out anew, by the client for example: Frosty's entries are removed, and the rest keeps its layout.
#[test]
fn taking_out_of_what_was_laid_out_anew() {
    let wanted = registration(Engine::Continuous);
    let anew = |text: &str| serde_json::to_string_pretty(&serde_json::from_str::<Value>(text).unwrap()).unwrap();
    for (before, after) in [
        ("{}", "{}"),
        ("", "{}"),
        ("{\"hooks\": {}}", "{}"),
        ("{\"a\": 1}", "{\n  \"a\": 1\n}"),
        (
            "{\"a\": 1, \"hooks\": {\"Stop\": [ {\"hooks\": []} ]}}",
            "{\n  \"a\": 1,\n  \"hooks\": {\n    \"Stop\": [\n      {\n        \"hooks\": []\n      }\n    ]\n  }\n}",
        ),
    ] {
        let full = anew(&put(Some(before), &wanted, file()).unwrap());
        assert_eq!(put(Some(&full), &wanted, file()).unwrap(), full, "nothing is to be done");
        assert_eq!(text(take(&full, file()).unwrap()), after);
    }
    // A group that a person extended keeps the additions.
    let full = put(None, &wanted, file()).unwrap();
    let theirs = full.replacen("[{ \"type\"", "[{ \"type\": \"prompt\", \"prompt\": \"x\" }, { \"type\"", 1);
    let left = text(take(&theirs, file()).unwrap());
    assert_eq!(
        serde_json::from_str::<Value>(&left).unwrap(),
        serde_json::json!({"hooks": {"SessionStart": [{"hooks": [{"type": "prompt", "prompt": "x"}]}]}})
    );
}

/// The published examples equal the written entries, except for the path and the marker.
#[test]
fn the_examples_are_what_is_registered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks");
    for (name, engine, manual) in [
        ("continuous.example.json", Engine::Continuous, false),
        ("settings.example.json", Engine::Plain, false),
        ("hooks.json", Engine::Plain, true),
    ] {
        let example: Value = serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap();
        let wanted = Registration { command: "frosty-hook".to_owned(), engine, manual, resumes: true };
        let mut events: Vec<&String> = example["hooks"].as_object().unwrap().keys().collect();
        let mut all = EVENTS;
        events.sort();
        all.sort_unstable();
        assert_eq!(events, all);
        for event in EVENTS {
            let mut shown = example["hooks"][event][0]["hooks"].as_array().unwrap().clone();
            shown.iter_mut().for_each(|entry| entry["statusMessage"] = "frosty".into());
            assert_eq!(shown, wanted.entries(event), "{name} {event}");
            let written = format!("[{}]", wanted.written(event));
            assert_eq!(serde_json::from_str::<Vec<Value>>(&written).unwrap(), wanted.entries(event));
        }
    }
}

#[test]
fn what_cannot_be_added_to_is_refused() {
    let wanted = registration(Engine::Plain);
    for (json, words) in [
        ("{\"hooks\": null}", "hooks: expected an object, found null"),
        ("{\"hooks\": []}", "hooks: expected an object, found a list"),
        ("{\"hooks\": {\"Stop\": {}}}", "hooks.Stop: expected a list, found an object"),
        ("{\"hooks\": {\"SessionEnd\": \"x\"}}", "hooks.SessionEnd: expected a list, found a text"),
        ("[]", "the file: expected an object, found a list"),
        ("7", "the file: expected an object, found a number"),
        ("{\n  \"a\": 1,\n}", "at line 3, column 1"),
        ("{} x", "trailing characters at line 1, column 4"),
    ] {
        let told = put(Some(json), &wanted, file()).unwrap_err().to_string();
        assert!(told.contains(words) && told.contains("settings.json"), "{told}");
    }
    assert!(take("{\"hooks\": null}", file()).is_ok_and(|left| text(left) == "{\"hooks\": null}"));
}

/// An entry of Frosty's as text in a file.
fn own(event: &str) -> String {
    registration(Engine::Continuous).written(event)
}

/// One file in each layout that the text allows: `⏎` is a line break with its indentation.
fn layouts(text: &str) -> [String; 4] {
    ["", " ", "\n    ", "\r\n\t"].map(|space| text.replace('⏎', space))
}

/// Entries, groups and events of Frosty's between a person's: each goes with exactly one comma, and the rest is JSON.
#[test]
fn own_items_between_a_persons_go_with_one_comma_each() {
    let (a, b) = (r#"{"type":"command","command":"a"}"#, r#"{"type":"command","command":"b"}"#);
    let own = own("Stop");
    let entries = |items: &[&str]| format!(r#"{{"hooks":{{"Stop":[{{"hooks":[⏎{}⏎]}}]}}}}"#, items.join(",⏎"));
    let group = |entry: &str| format!(r#"{{"hooks":[{entry}]}}"#);
    let groups = |items: &[&str]| {
        let items: Vec<_> = items.iter().map(|entry| group(entry)).collect();
        format!(r#"{{"hooks":{{"Stop":[⏎{}⏎]}}}}"#, items.join(",⏎"))
    };
    let events = |items: &[&str]| {
        let names = ["PreToolUse", "Stop", "PostToolUse", "Stop", "Other"];
        let items = items.iter().zip(names).filter(|(entry, _)| !entry.is_empty());
        // A list without white space directly after its bracket was there before, and stays.
        let items: Vec<_> = items.map(|(entry, name)| format!(r#""{name}":[ {}]"#, group(entry))).collect();
        format!(r#"{{"hooks":{{⏎{}⏎}}}}"#, items.join(",⏎"))
    };
    let one = own.as_str();
    let of_lists: [(&[&str], &[&str]); 7] = [
        (&[a, one, b], &[a, b]),
        (&[a, one, one, b], &[a, b]),
        (&[a, one, b, one, a], &[a, b, a]),
        (&[one, a, one], &[a]),
        (&[one, one, a, b], &[a, b]),
        (&[a, b, one, one], &[a, b]),
        (&[one, a, one, b, one], &[a, b]),
    ];
    let of_events: [(&[&str], &[&str]); 2] = [(&[a, one, b], &[a, "", b]), (&[a, one, b, one, a], &[a, "", b, "", a])];
    let mut cases = Vec::new();
    cases.extend(
        of_lists
            .iter()
            .flat_map(|(with, without)| [(entries(with), entries(without)), (groups(with), groups(without))]),
    );
    cases.extend(of_events.iter().map(|(with, without)| (events(with), events(without))));
    for (with, without) in cases {
        for (with, without) in layouts(&with).into_iter().zip(layouts(&without)) {
            assert_eq!(text(take(&with, file()).unwrap()), without, "taken out of {with}");
        }
    }
}

/// An insertion into a file with CRLF line ends has no other line end, and is removed without a trace.
#[test]
fn inserted_text_has_the_line_ends_of_the_file() {
    for before in [
        "{⏎}⏎",
        "{⏎  \"a\": 1⏎}⏎",
        "{⏎  \"hooks\": {}⏎}",
        "{⏎  \"hooks\": {⏎    \"Stop\": []⏎  }⏎}⏎",
        "{⏎  \"hooks\": {⏎    \"Stop\": [⏎      {}⏎    ]⏎  },⏎  \"a\": [⏎  ]⏎}⏎",
        "{⏎  \"hooks\": { \"Stop\": [{\"hooks\": []}], \"PreCompact\": [{}, {}] }⏎}⏎",
    ] {
        for line_end in ["\n", "\r\n"] {
            let before = before.replace('⏎', line_end);
            let full = put(Some(&before), &registration(Engine::Continuous), file()).unwrap();
            assert!(full.matches(line_end).count() > before.matches(line_end).count(), "no line was added: {full}");
            assert_eq!(full.matches('\n').count(), full.matches(line_end).count(), "{line_end:?} in {full:?}");
            assert_eq!(text(take(&full, file()).unwrap()), before);
        }
    }
}

/// The client reads the last of two equal keys: entries under the first are dead. They do not count, and are removed.
#[test]
fn dead_entries_are_no_registration_and_go() {
    let wanted = registration(Engine::Continuous);
    let live = |text: &str| {
        let hooks = hooks_in(text, file()).unwrap();
        hooks.into_iter().filter(|hook| owner(hook) == Owner::Installed).count()
    };
    let written = |text: &str| text.matches("\"statusMessage\": \"frosty\"").count();
    let event = |event: &str| format!(r#""{event}": [ {{"hooks": [{}]}} ]"#, own(event));
    let full = format!(r#"{{"hooks": {{ {} }}}}"#, EVENTS.map(event).join(", "));
    assert_eq!((live(&full), written(&full)), (wanted.count(), wanted.count()));
    // A person's list is behind the entry of the Stop event, or a whole second object behind all of them.
    let of_stop = event("Stop");
    let list = full.replace(&of_stop, &format!("{of_stop}, \"Stop\": []"));
    let object = format!("{}, \"hooks\": {{}}}}", &full[..full.len() - 1]);
    for (dead, lives) in [(list, wanted.count() - 1), (object, 0)] {
        assert_eq!((live(&dead), written(&dead)), (lives, wanted.count()), "{dead}");
        let mended = put(Some(&dead), &wanted, file()).unwrap();
        assert_eq!((live(&mended), written(&mended)), (wanted.count(), wanted.count()), "{mended}");
        let left = text(take(&dead, file()).unwrap());
        assert_eq!(written(&left), 0, "{left}");
        let left: Value = serde_json::from_str(&left).unwrap();
        assert!(left["hooks"].is_object(), "what a person wrote is gone: {left}");
    }
}

/// A group to which a person gave a matcher is theirs: the own entry goes, the group stays.
#[test]
fn a_group_with_a_matcher_stays() {
    for (with, without) in [
        (r#"{"matcher":"x","hooks":[⏎OWN⏎]}"#, r#"{"matcher":"x","hooks":[⏎⏎]}"#),
        (r#"{"hooks":[⏎OWN⏎],⏎"matcher":"x"}"#, r#"{"hooks":[⏎⏎],⏎"matcher":"x"}"#),
        (r#"{"hooks":[],"hooks":[OWN]}"#, r#"{"hooks":[],"hooks":[]}"#),
    ] {
        let whole = |group: &str| format!(r#"{{"hooks":{{"PreCompact":[⏎{group}]}}}}"#);
        let with = whole(with).replace("OWN", &own("PreCompact"));
        for (with, without) in layouts(&with).into_iter().zip(layouts(&whole(without))) {
            assert_eq!(text(take(&with, file()).unwrap()), without, "taken out of {with}");
        }
    }
}
