//! Checks for the client's own ways to continue or to retry, which no limit of Frosty applies to (client 2.1.332).

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::edit;
use super::registered::Registered;
use super::report::Check;
use crate::client_settings::owner::{Owner, owner};
use crate::client_settings::{self, Place, SettingsFile, user_dir};
use crate::env::{self, Env};
use crate::text;

const LIMIT: &str = "usage limit";
const RETRY: &str = "client retry";
const GOAL: &str = "goal";
const TEAM: &str = "teammates";
const COMPACT: &str = "compaction";

/// The setting "Continue automatically at usage limit" (since 2.1.234).
const AT_LIMIT: &str = "autoContinueAtUsageLimit";
const WATCHDOG: &str = "CLAUDE_CODE_RETRY_WATCHDOG";
const TEAMS: &str = "CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS";

/// The transcripts that are searched for a goal: the last ones of the project, changed within this time.
const MOST: usize = 10;
const RECENT: Duration = Duration::from_secs(24 * 3600);
/// The number of bytes that are read from the end of each.
const END: u64 = 4 * 1024 * 1024;

/// Checks the settings, the environment and the transcripts of a project.
pub(super) fn checks(registered: &Registered, env: &Env, project: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    if !registered.engines().is_empty() {
        checks.push(at_limit(registered));
    }
    checks.extend(retry(registered));
    checks.push(goal(env, project));
    checks.extend(teammates(registered));
    checks.extend(compaction(registered));
    checks
}

/// Reports whether the client itself continues after a usage limit of a subscription. Where it does not, it opens a dialog
/// that only a person can close (2.1.332). It reads the setting from the user's and the machine's settings only.
fn at_limit(registered: &Registered) -> Check {
    let is_read = |file: &SettingsFile| matches!(file.place, Place::Managed | Place::User);
    let set = registered.settings.iter().rev().filter(|(file, _)| is_read(file));
    let also = "after a usage limit of a claude.ai subscription the client continues, and Frosty leaves that to it";
    let alone = "after a usage limit of a claude.ai subscription the client asks a person, and no hook can answer";
    match set.filter_map(|(file, value)| Some((file, value.get(AT_LIMIT)?))).next() {
        Some((file, Value::Bool(false))) => {
            let found = format!("{AT_LIMIT} is false in {}: {alone}; set it to true", text::path(&file.path));
            Check::warn(LIMIT, found, edit(&file.path))
        }
        Some((file, Value::Bool(true))) => {
            Check::ok(LIMIT, format!("{AT_LIMIT} is true in {}: {also}", text::path(&file.path)))
        }
        Some((file, other)) => {
            let (value, file) = (text::line_of(&other.to_string(), 40), &file.path);
            let found = format!("{AT_LIMIT} is {value} in {}, so its effect is not known", text::path(file));
            Check::note(LIMIT, found).cured_by(edit(file))
        }
        None => Check::ok(LIMIT, format!("{AT_LIMIT} is not set, and then it is on: {also}")),
    }
}

/// Reports a client that retries failed API calls for hours, inside the turn.
fn retry(registered: &Registered) -> Option<Check> {
    let (value, cure) = switch(registered, WATCHDOG)?;
    let found = format!(
        "{WATCHDOG} is {value}: the client retries a failed call by itself, and Frosty learns of no API error meanwhile"
    );
    Some(Check::note(RETRY, found).cured_by(cure))
}

/// Reports teams of agents, whose members continue without a Stop event.
fn teammates(registered: &Registered) -> Option<Check> {
    let (value, cure) = switch(registered, TEAMS)?;
    let is_hooked = registered.ours().any(|(_, hook)| hook.event == "TeammateIdle");
    let hook = if is_hooked { "a hook of Frosty's there only records them" } else { "no hook of Frosty's is there" };
    let found = format!(
        "{TEAMS} is {value}: a teammate that stops sends TeammateIdle instead of Stop, and {hook}, so no limit applies to it"
    );
    Some(Check::warn(TEAM, found, cure))
}

/// Returns the value of a variable that switches something on, and the command that removes it: from the settings, else
/// from this shell.
fn switch(registered: &Registered, name: &str) -> Option<(String, String)> {
    let (value, cure) = match registered.setting(&["env", name]) {
        Some((file, Value::String(value))) => (value.clone(), edit(&file.path)),
        Some((file, value)) => (value.to_string(), edit(&file.path)),
        None => (env::of_client(name)?, format!("unset {name}")),
    };
    let is_on = !matches!(value.trim().to_lowercase().as_str(), "" | "0" | "false" | "no" | "off");
    is_on.then(|| (text::line_of(&value, 40), cure))
}

/// Reports an entry of Frosty's that would block the client's compactions where Frosty cannot run.
fn compaction(registered: &Registered) -> Option<Check> {
    let blocks = |file: &Path, entry: &Value| {
        let hook = client_settings::hook(file, "PreCompact", entry);
        hook.is_some_and(|hook| owner(&hook) != Owner::Other)
            && entry.get("onFailure").and_then(Value::as_str) == Some("block")
    };
    let has_one = |(file, value): &&(SettingsFile, Value)| {
        let groups = value.get("hooks").and_then(|hooks| hooks.get("PreCompact")).and_then(Value::as_array);
        let entries = groups.into_iter().flatten().filter_map(|group| group.get("hooks")?.as_array()).flatten();
        entries.into_iter().any(|entry| blocks(&file.path, entry))
    };
    let (file, _) = registered.settings.iter().find(has_one)?;
    let found = format!(
        "onFailure is \"block\" on Frosty's PreCompact entry in {}: where Frosty cannot run, no compaction can; remove that key",
        text::path(&file.path)
    );
    Some(Check::warn(COMPACT, found, edit(&file.path)))
}

/// Reports a `/goal` in force. The client keeps it in the session's transcript, and continues the session until it is
/// met.
fn goal(env: &Env, project: &Path) -> Check {
    let Some(folder) = transcripts(env, project) else {
        return Check::note(GOAL, "not known: there is no directory of user settings");
    };
    let files = match recent(&folder) {
        Ok(files) => files,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok(GOAL, "none: the client has no transcript of this project");
        }
        Err(e) => {
            let found = format!("not known: cannot read {}: {e}", text::path(&folder));
            return Check::note(GOAL, found).cured_by(format!("ls -ld {}", text::path(&folder)));
        }
    };
    let mut unread = 0;
    for file in &files {
        match in_force(file) {
            Ok(Some(condition)) => {
                let session = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let found = format!(
                    "the client's /goal \"{}\" is in force in session {}, so the client itself continues it; to end it: /goal clear",
                    text::line_of(&condition, 60),
                    text::line(&session)
                );
                return Check::note(GOAL, found).cured_by(format!("claude --resume {}", text::word(&session)));
            }
            Ok(None) => {}
            Err(_) => unread += 1,
        }
    }
    if unread > 0 {
        let found = format!("not known: {unread} of {} transcripts cannot be read", files.len());
        return Check::note(GOAL, found).cured_by(format!("ls -l {}", text::path(&folder)));
    }
    let sessions = if files.len() == 1 { "one session".to_owned() } else { format!("{} sessions", files.len()) };
    Check::ok(GOAL, format!("none in force in the {sessions} of this project in the last day"))
}

/// Returns the client's directory with the transcripts of a project.
fn transcripts(env: &Env, project: &Path) -> Option<PathBuf> {
    let project = project.canonicalize().unwrap_or_else(|_| project.to_owned());
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = project.to_string_lossy().chars().map(plain).collect();
    Some(user_dir(env)?.join("projects").join(name))
}

/// Returns the transcripts that changed within the last day, the newest first.
fn recent(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let since = SystemTime::now().checked_sub(RECENT).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(folder)?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "jsonl"))
        .filter_map(|entry| {
            Some((entry.metadata().ok().filter(|about| about.is_file())?.modified().ok()?, entry.path()))
        })
        .filter(|(changed, _)| *changed >= since)
        .collect();
    files.sort_by_key(|(changed, _)| std::cmp::Reverse(*changed));
    Ok(files.into_iter().map(|(_, path)| path).take(MOST).collect())
}

/// Returns the condition of the goal that the end of a transcript shows to be in force.
fn in_force(transcript: &Path) -> std::io::Result<Option<String>> {
    let mut file = File::open(transcript)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).lines().rev().find_map(goal_status).flatten())
}

/// Returns the condition of a goal in force, or `Some(None)` where the line records that no goal is; `None` for any
/// other line.
#[allow(clippy::option_option, reason = "the outer one is a line of another kind")]
fn goal_status(line: &str) -> Option<Option<String>> {
    if !line.contains("\"goal_status\"") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let status = line.get("attachment").filter(|_| line.get("type").and_then(Value::as_str) == Some("attachment"))?;
    if status.get("type").and_then(Value::as_str) != Some("goal_status") {
        return None;
    }
    let is = |key: &str| status.get(key).and_then(Value::as_bool) == Some(true);
    let condition = status.get("condition").and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(condition.filter(|_| !is("met") && !is("failed")).map(str::to_owned))
}
