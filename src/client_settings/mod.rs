//! Reads Claude Code's settings files: their paths, and the hooks that are registered in them (client 2.1.331).
//!
//! `settings` changes them. This part is separate, since the hook binary reads them too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::env::Env;
use crate::hint::{Hint, edit};
use crate::read;
use crate::secret;
use crate::text;

pub mod json;
pub mod owner;
mod shell;

/// The largest settings file that is read, in bytes.
pub const LARGEST: u64 = 64 * 1024 * 1024;

/// The level of a settings file. All files that apply to a project apply at once, and their hooks all run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The machine's settings, written by its administrator.
    Managed,
    /// The user's settings, for every project.
    User,
    /// The project's settings, shared with every clone of it.
    Project,
    /// The project's settings that are not shared.
    Local,
}

impl Place {
    /// Returns the level in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::User => "user",
            Self::Project => "project",
            Self::Local => "local",
        }
    }
}

/// A settings file, which may not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFile {
    /// The level of the file.
    pub place: Place,
    /// The path of the file.
    pub path: PathBuf,
}

/// Returns the directory of the user's settings: `CLAUDE_CONFIG_DIR`, else `~/.claude`.
#[must_use]
pub fn user_dir(env: &Env) -> Option<PathBuf> {
    env.claude_config_dir.clone().or_else(|| env.home.as_ref().map(|home| home.join(".claude")))
}

/// Returns every settings file that the client reads for a project, including those that do not exist. A file
/// that would be listed twice (the project is the home directory) is listed once, as the user's.
#[must_use]
pub fn files(env: &Env, project: &Path) -> Vec<SettingsFile> {
    let of = |place, path| SettingsFile { place, path };
    let mut all: Vec<_> = managed(Path::new(MANAGED)).into_iter().map(|path| of(Place::Managed, path)).collect();
    all.extend(user_dir(env).map(|dir| of(Place::User, dir.join("settings.json"))));
    let folder = project.join(".claude");
    let own = [of(Place::Project, folder.join("settings.json")), of(Place::Local, folder.join("settings.local.json"))];
    for file in own {
        if !all.iter().any(|f| same(&f.path, &file.path)) {
            all.push(file);
        }
    }
    all
}

/// The administrator's directory (client 2.1.331).
const MANAGED: &str =
    if cfg!(target_os = "macos") { "/Library/Application Support/ClaudeCode" } else { "/etc/claude-code" };

/// Returns the single file and the files of the directory beside it, each of higher precedence than the one
/// before.
fn managed(folder: &Path) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".json") && !name.starts_with('.')
    };
    let more = fs::read_dir(folder.join("managed-settings.d")).into_iter().flatten().flatten();
    let mut more: Vec<PathBuf> = more.map(|entry| entry.path()).filter(is_one).collect();
    more.sort();
    std::iter::once(folder.join("managed-settings.json")).chain(more).collect()
}

/// Returns whether two paths lead to the same file.
#[must_use]
pub fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The reason why a settings file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The file cannot be read.
    #[error("cannot read {file}: {cause}")]
    Unreadable {
        /// The file.
        file: String,
        /// The system's error.
        cause: io::Error,
    },
    /// The file is not JSON. The client also ignores such a file.
    #[error("{file} is not valid JSON: {cause}")]
    NotJson {
        /// The file.
        file: String,
        /// The error and its position.
        cause: json::NotJson,
    },
    /// A part of the file is of the wrong type.
    #[error("{file}: {key}: expected {expected}, found {found}")]
    WrongType {
        /// The file.
        file: String,
        /// The key, dotted.
        key: String,
        /// The expected type.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
}

impl Hint for Unread {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { file, .. } => format!("look at the file: ls -lL {file}"),
            Self::NotJson { file, .. } | Self::WrongType { file, .. } => edit(file),
        })
    }
}

/// One hook that a settings file, or a plugin, registers.
#[derive(Debug, Clone, PartialEq)]
pub struct Hook {
    /// The file that contains it.
    pub file: PathBuf,
    /// The event on which it is registered.
    pub event: String,
    /// `command`, `prompt`, `http` and so on.
    pub kind: String,
    /// The program, or with no `args` the shell's command line.
    pub command: String,
    /// The program's arguments; `None` where a shell runs the command.
    pub args: Option<Vec<String>>,
    /// The client's timeout for the hook, in seconds.
    pub timeout: Option<f64>,
    /// Whether it runs in the background and wakes the agent with exit 2.
    pub async_rewake: bool,
    /// The entry's `statusMessage`, which contains the marker in entries from `frosty install`.
    pub marker: Option<String>,
}

impl Hook {
    /// Returns the command as it would be typed, on one line that is safe to show.
    #[must_use]
    pub fn shown(&self) -> String {
        let args = self.args.iter().flatten();
        text::line(&secret::command(std::iter::once(&self.command).chain(args).map(String::as_str)))
    }
}

/// Reads the text of a settings file, or returns `None` where there is no file.
///
/// # Errors
/// Returns an error when the file exists and cannot be read.
pub fn load(path: &Path) -> Result<Option<String>, Unread> {
    let unreadable = |cause| Unread::Unreadable { file: text::path(path), cause };
    match read::file(path, LARGEST) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            unreadable(io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 at byte {at}")))
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(e)),
    }
}

/// Returns every hook that a settings file registers, in its order. The list is empty where there is no file.
/// Entries that the client would not accept as hooks are skipped.
///
/// # Errors
/// Returns an error when the file exists and cannot be read or is not JSON.
pub fn hooks(path: &Path) -> Result<Vec<Hook>, Unread> {
    match load(path)? {
        None => Ok(Vec::new()),
        Some(json) => hooks_in(&json, path),
    }
}

/// Does the same as [`hooks`] for a text.
///
/// # Errors
/// Returns an error when the text is not JSON.
pub fn hooks_in(json: &str, path: &Path) -> Result<Vec<Hook>, Unread> {
    let events = parsed(json, path)?.and_then(|root| root.get("hooks")?.members()).unwrap_or_default();
    let mut all = Vec::new();
    for (i, event) in events.iter().enumerate() {
        // Of a key that occurs twice, the client takes the last.
        if events.iter().skip(i + 1).any(|later| later.key == event.key) {
            continue;
        }
        for group in event.value.elements().unwrap_or_default() {
            let entries = group.get("hooks").and_then(|hooks| hooks.elements()).unwrap_or_default();
            all.extend(entries.iter().filter_map(|entry| hook(path, &event.key, &entry.value()?)));
        }
    }
    Ok(all)
}

/// Returns the settings file that switches every hook off (`"disableAllHooks": true`), if the file of the
/// highest precedence with this key does so.
#[must_use]
pub fn disabling(env: &Env, project: &Path) -> Option<PathBuf> {
    let says = |file: SettingsFile| {
        let text = load(&file.path).ok()??;
        let value = parsed(&text, &file.path).ok()??.get("disableAllHooks")?.value()?;
        Some((file.path, value))
    };
    let last = weakest_first(files(env, project)).into_iter().rev().find_map(says);
    last.filter(|(_, value)| *value == Value::Bool(true)).map(|(path, _)| path)
}

/// Sorts the files by precedence, the weakest first. Settings nearer to the project are stronger, and managed
/// ones are the strongest.
#[must_use]
pub fn weakest_first(mut files: Vec<SettingsFile>) -> Vec<SettingsFile> {
    files.sort_by_key(|file| file.place == Place::Managed);
    files
}

/// Parses the value in a file's text, or returns `None` for a text of white space alone.
pub(crate) fn parsed<'a>(json: &'a str, file: &Path) -> Result<Option<json::Node<'a>>, Unread> {
    json::parse(json).map_err(|cause| Unread::NotJson { file: text::path(file), cause })
}

pub(crate) fn wrong_type(file: &Path, key: &str, expected: &'static str, found: &json::Node<'_>) -> Unread {
    let found = match found.kind() {
        kind if kind == expected => "a key in it that is half of a surrogate pair (such as \\ud800)",
        kind => kind,
    };
    Unread::WrongType { file: text::path(file), key: key.to_owned(), expected, found }
}

/// Reads one entry of an event's list.
pub(crate) fn hook(file: &Path, event: &str, entry: &Value) -> Option<Hook> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let args = entry.get("args").and_then(Value::as_array);
    Some(Hook {
        file: file.to_owned(),
        event: event.to_owned(),
        kind: text("type")?,
        command: text("command").unwrap_or_default(),
        args: args.map(|args| args.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        timeout: entry.get("timeout").and_then(Value::as_f64),
        async_rewake: entry.get("asyncRewake").and_then(Value::as_bool).unwrap_or_default(),
        marker: text(owner::MARKER_KEY),
    })
}

#[cfg(test)]
mod tests {
    use super::owner::{Engine, Owner, engine, owner};
    use super::*;

    /// Only root could create files in the real directory.
    #[test]
    fn managed_settings_may_lie_in_a_folder_too() {
        let dir = tempfile::TempDir::new().unwrap();
        let folder = dir.path().join("managed-settings.d");
        fs::create_dir(&folder).unwrap();
        for name in ["20-b.json", "10-a.json", ".hidden.json", "notes.txt"] {
            fs::write(folder.join(name), "{}").unwrap();
        }
        let one = dir.path().join("managed-settings.json");
        assert_eq!(managed(dir.path()), [one, folder.join("10-a.json"), folder.join("20-b.json")]);
        let file = |place, name: &str| SettingsFile { place, path: name.into() };
        let all = vec![file(Place::Managed, "m"), file(Place::Managed, "n"), file(Place::User, "u")];
        let names: Vec<PathBuf> = weakest_first(all).into_iter().map(|f| f.path).collect();
        assert_eq!(names, ["u", "m", "n"].map(PathBuf::from));
    }

    #[test]
    fn hooks_are_listed_with_their_owner_and_engine() {
        let json = r#"{"hooks": {"Stop": [{"hooks": [{"type":"command","command":"dead"}]}],
          "Stop": [7, {"matcher": "", "hooks": [
            {"type":"command","command":"say done"},
            {"type":"command","command":"/b/frosty","args":["hook","--wait","20d"],"asyncRewake":true,"timeout":1900000,"statusMessage":"frosty"},
            {"type":"command","command":"frosty","args":["hook"]},
            {"type":"command","command":"cd /x && ~/bin/frosty hook --arm manual","timeout":1.5},
            {"type":"command","command":"frosty","args":["status"]},
            {"type":"prompt","prompt":"frosty hook"},
            {"type":"command","command":"relative/frosty","args":["hook"],"statusMessage":"frosty"},
            {"type":"command","command":"sh","args":["-c","exec frosty hook --wait 1d"]},
            {"type":"command","command":"env","args":["FROSTY_ON=1","frosty","hook"]},
            {"type":"command","command":"(frosty hook); say --wait"},
            {"type":"command","command":"\"/a b/frosty\" \"hook\"||true"},
            {"type":"command","command":"bash -lc 'frosty hook --wait=1d'"},
            {"type":"command","command":"echo frosty; hook"},
            {"type":"command","command":"/b/frosty-hook","args":["--wait","20d"],"asyncRewake":true,"timeout":1900000,"statusMessage":"frosty"},
            {"type":"command","command":"/b/frosty-hook","args":[],"statusMessage":"frosty"},
            {"type":"command","command":"/b/frosty-hook","statusMessage":"frosty"},
            {"type":"command","command":"frosty-hook","args":["--arm","manual"]},
            {"type":"command","command":"cd /x && ~/bin/frosty-hook --wait=1d || true"},
            {"type":"command","command":"sh","args":["-c","exec frosty-hook --wait 1d"]},
            {"type":"command","command":"env","args":["FROSTY_ON=1","/b/frosty-hook"]},
            {"type":"command","command":"cd ~/src/frosty-hook && make"},
            {"type":"command","command":"git -C frosty-hook pull"},
            {"type":"command","command":"timeout 5 git -C frosty-hook pull"},
            {"type":"prompt","prompt":"frosty-hook"},
            {"type":"command","command":"frosty-hooks"}
          ]}, {"hooks": null}], "Odd": 3}}"#;
        let all = hooks_in(json, Path::new("/s.json")).unwrap();
        let seen: Vec<_> = all.iter().map(|h| (owner(h), engine(h))).collect();
        let plain = (Owner::ByHand, Some(Engine::Plain));
        let none = (Owner::Other, None);
        let waits = (Owner::Installed, Some(Engine::Continuous));
        let by_hand = (Owner::ByHand, Some(Engine::Continuous));
        assert_eq!(seen[..7], [none, waits, plain, plain, none, none, plain]);
        assert_eq!(seen[7..13], [by_hand, plain, plain, plain, by_hand, none]);
        // The hook binary: written by `frosty install`, by hand, and only named.
        assert_eq!(seen[13..16], [waits, (Owner::Installed, Some(Engine::Plain)), plain]);
        assert_eq!(seen[16..20], [plain, by_hand, by_hand, plain]);
        assert_eq!(seen[20..], [none; 5]);
        assert_eq!(all[1].shown(), "/b/frosty hook --wait 20d");
        assert_eq!((all[1].timeout, all[1].async_rewake, all[3].timeout), (Some(1_900_000.0), true, Some(1.5)));
        for json in ["", " \n", "[]", "7", "{}", r#"{"hooks":null}"#, r#"{"hooks":[]}"#, r#"{"hooks":{"Stop":{}}}"#] {
            assert_eq!(hooks_in(json, Path::new("/s.json")).unwrap(), []);
        }
        assert!(matches!(hooks_in("{", Path::new("/s.json")), Err(Unread::NotJson { .. })));
    }
}
