//! Tests the checks of the client's own ways to continue or to retry.

use std::fs;

use frosty::client_settings::owner::Engine;
use serde_json::{Value, json};

use crate::doctor::{doctor, register, registration, well};
use crate::support::Frosty;

#[test]
fn the_clients_own_continuation_at_a_usage_limit() {
    let frosty = well();
    doctor(&frosty).shows("ok", "usage limit", &["is true in", "/.claude/settings.json"]);
    register(&frosty, "user", &json!({}));
    // The client reads it from no project.
    register(&frosty, "local", &json!({"autoContinueAtUsageLimit": false}));
    doctor(&frosty).shows("ok", "usage limit", &["autoContinueAtUsageLimit is not set, and then it is on"]);
    register(&frosty, "user", &json!({"autoContinueAtUsageLimit": false}));
    let off = ["is false in", "asks a person", "-> ${EDITOR:-vi} ", "/.claude/settings.json"];
    doctor(&frosty).shows("warn", "usage limit", &off);
    register(&frosty, "user", &json!({"autoContinueAtUsageLimit": "sometimes"}));
    doctor(&frosty).shows("note", "usage limit", &["is \"sometimes\" in", "is not known"]);
}

#[test]
fn a_client_that_retries_by_itself() {
    let frosty = well();
    register(&frosty, "local", &json!({"env": {"CLAUDE_CODE_RETRY_WATCHDOG": "1"}}));
    let found = ["CLAUDE_CODE_RETRY_WATCHDOG is 1", "-> ${EDITOR:-vi} ", "settings.local.json"];
    doctor(&frosty).only(&["ok", "note"]).shows("note", "client retry", &found);
    register(&frosty, "local", &json!({"env": {"CLAUDE_CODE_RETRY_WATCHDOG": "0"}}));
    doctor(&frosty).only(&["ok"]);
    register(&frosty, "local", &json!({}));
    let frosty = frosty.var("CLAUDE_CODE_RETRY_WATCHDOG", "true");
    doctor(&frosty).shows("note", "client retry", &["is true", "-> unset CLAUDE_CODE_RETRY_WATCHDOG"]);
}

#[test]
fn teammates_that_no_limit_applies_to() {
    let frosty = well();
    let teams = json!({"env": {"CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS": "1"}});
    register(&frosty, "local", &teams);
    doctor(&frosty).shows("warn", "teammates", &["is 1", "no hook of Frosty's is there", "settings.local.json"]);
    let mut settings = registration(Engine::Continuous);
    settings["hooks"]["TeammateIdle"] = settings["hooks"]["Notification"].clone();
    register(&frosty, "project", &settings);
    doctor(&frosty).shows("warn", "teammates", &["only records them"]);
}

#[test]
fn an_entry_that_blocks_compactions() {
    let frosty = well();
    let with = |value: Value, ours: bool| {
        let mut settings = registration(Engine::Continuous);
        let entry = &mut settings["hooks"]["PreCompact"][0]["hooks"];
        match ours {
            true => entry[0]["onFailure"] = value,
            false => entry.as_array_mut().unwrap().push(json!({"type": "command", "command": "x", "onFailure": value})),
        }
        settings
    };
    register(&frosty, "project", &with("block".into(), true));
    doctor(&frosty).shows("warn", "compaction", &["onFailure is \"block\"", "-> ${EDITOR:-vi} "]);
    for (value, ours) in [("continue", true), ("block", false)] {
        register(&frosty, "project", &with(value.into(), ours));
        doctor(&frosty).only(&["ok"]);
    }
}

/// Writes a transcript of the project as the client does (2.1.332).
fn transcript(frosty: &Frosty, session: &str, lines: &[Value]) {
    let project = frosty.project().canonicalize().unwrap().display().to_string();
    let name: String = project.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = frosty.home.path().join(".claude/projects").join(name);
    fs::create_dir_all(&folder).unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.join(format!("{session}.jsonl")), text).unwrap();
}

fn status(met: bool, failed: bool) -> Value {
    json!({"type": "attachment", "attachment":
        {"type": "goal_status", "met": met, "failed": failed, "sentinel": true, "condition": "the tests\u{1b} pass"}})
}

#[test]
fn a_goal_in_force() {
    let frosty = well();
    doctor(&frosty).shows("ok", "goal", &["none: the client has no transcript"]);
    let talk = json!({"type": "user", "message": {"content": "\"goal_status\" is {\"type\":\"goal_status\"}"}});
    transcript(&frosty, "one", std::slice::from_ref(&talk));
    doctor(&frosty).shows("ok", "goal", &["none in force in the one session"]);
    transcript(&frosty, "two", &[status(true, false), status(false, false), talk.clone()]);
    let found = ["/goal \"the tests  pass\" is in force in session two", "/goal clear", "-> claude --resume two"];
    doctor(&frosty).only(&["ok", "note"]).shows("note", "goal", &found);
    for ended in [status(true, false), status(false, true)] {
        transcript(&frosty, "two", &[status(false, false), ended]);
        doctor(&frosty).shows("ok", "goal", &["none in force in the 2 sessions"]);
    }
    // A file in the folder's place cannot be read as one.
    fs::remove_dir_all(frosty.home.path().join(".claude/projects")).unwrap();
    fs::write(frosty.home.path().join(".claude/projects"), "").unwrap();
    doctor(&frosty).shows("note", "goal", &["not known: cannot read", "-> ls -ld "]);
}
