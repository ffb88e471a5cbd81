//! Detects Stop hooks of the old kind. Beside one of them nothing is throttled.

use std::path::{Path, PathBuf};

use crate::client_settings::Hook;
use crate::read;

/// The sign of a hook of the old kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Old {
    /// The hook writes to `/xadd/`.
    Xadd,
    /// The hook starts another `claude … -c … &` in the background.
    Starts,
    /// Its last line is, or ends in, a bare `exit 2`.
    AlwaysTwo,
}

impl Old {
    /// Returns the sign in words, after "it".
    #[must_use]
    pub fn does(self) -> &'static str {
        match self {
            Self::Xadd => "writes to /xadd/",
            Self::Starts => "starts claude -c in the background",
            Self::AlwaysTwo => "ends in a bare exit 2",
        }
    }
}

/// Returns the sign by which a hook continues without a request to a store, if there is one. It is found in the
/// hook's command, an argument, or the script that one of them runs. Only `Stop` hooks can continue a session.
#[must_use]
pub fn old_kind(hook: &Hook, home: Option<&Path>, project: &Path) -> Option<Old> {
    if hook.event != "Stop" || hook.kind != "command" {
        return None;
    }
    let texts = || std::iter::once(&hook.command).chain(hook.args.iter().flatten());
    let in_scripts = |text: &String| scripts_of(text, home, project).iter().find_map(|script| in_text(script));
    texts().find_map(|text| in_text(text)).or_else(|| texts().find_map(in_scripts))
}

fn in_text(text: &str) -> Option<Old> {
    if text.contains("/xadd/") {
        return Some(Old::Xadd);
    }
    // A line may continue in the next one.
    if text.replace("\\\n", " ").lines().any(starts_another) {
        return Some(Old::Starts);
    }
    text.lines().rfind(|line| !line.trim().is_empty()).is_some_and(ends_in_two).then_some(Old::AlwaysTwo)
}

/// Returns whether the line contains `claude`, then ` -c` with no `|`, `;` or `&` between them, then a `&` that
/// sends it to the background.
fn starts_another(line: &str) -> bool {
    // An `&` that joins commands or outputs sends nothing to the background.
    let joins = [("&&", ";;"), (">&", "  "), ("<&", "  "), ("&>", "  ")];
    let line = joins.iter().fold(line.to_owned(), |line, (both, other)| line.replace(both, other));
    line.match_indices("claude").any(|(at, word)| {
        let after = line.get(at + word.len()..).unwrap_or_default();
        let command = after.split(['|', ';', '&']).next().unwrap_or_default();
        let behind = |(i, flag): (usize, &str)| after.get(i + flag.len()..).unwrap_or_default();
        let alone = |rest: &str| rest.starts_with('&') || (rest.starts_with(' ') && rest.contains('&'));
        command.match_indices(" -c").map(behind).any(alone)
    })
}

/// Returns whether the text ends in `exit 2` as a command of its own, with nothing but quotes and semicolons
/// after it.
fn ends_in_two(line: &str) -> bool {
    let line = line.trim_end_matches(|c: char| c.is_whitespace() || ";'\"".contains(c));
    let before = line.strip_suffix("exit 2");
    before.is_some_and(|b| b.is_empty() || b.ends_with(|c: char| c.is_whitespace() || ";&".contains(c)))
}

/// Returns the texts of the scripts that a command runs, as far as they can be read.
fn scripts_of(command: &str, home: Option<&Path>, project: &Path) -> Vec<String> {
    let script = |word: &str| {
        let path = path_of(word, home, project);
        let bytes = read::file(&path, read::SMALL).ok()?;
        // A file that is an argument of a shell needs no shebang line.
        let named = path.extension().is_some_and(|end| end == "sh" || end == "bash");
        (named || bytes.starts_with(b"#!")).then(|| String::from_utf8_lossy(&bytes).into_owned())
    };
    // A path with a space in it may be the whole text.
    std::iter::once(command.trim()).chain(command.split_whitespace()).filter_map(script).collect()
}

/// Resolves a word as the shell would, from the project's directory, where the client runs its hooks.
fn path_of(word: &str, home: Option<&Path>, project: &Path) -> PathBuf {
    let mut word: String = word.chars().filter(|c| !"\"'".contains(*c)).collect();
    let project_dir = project.to_string_lossy();
    for name in ["$CLAUDE_PROJECT_DIR", "${CLAUDE_PROJECT_DIR}"] {
        word = word.replace(name, &project_dir);
    }
    if let Some(home) = home {
        let home = home.to_string_lossy();
        word = word.replace("$HOME", &home).replace("${HOME}", &home);
        if let Some(rest) = word.strip_prefix("~/") {
            word = format!("{home}/{rest}");
        }
    }
    project.join(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_kinds() {
        for (text, found) in [
            ("curl -X POST http://localhost:18000/xadd/torch.continuous.ops -d '{}'", Some(Old::Xadd)),
            ("claude -c -p \"go on\" > /dev/null 2>&1 &", Some(Old::Starts)),
            ("nohup claude --model x -c &", Some(Old::Starts)),
            ("claude -p hi; date -c &", None),
            ("claude -continue &", None),
            ("claude -continue -c &", Some(Old::Starts)),
            ("claude -c -p hi", None),
            ("claude -c -p hi 2>&1", None),
            ("claude -c -p hi && date", None),
            ("claude -p hi && date -c &", None),
            ("claude -c -p hi &> /dev/null", None),
            ("claude -c -p hi && date &", Some(Old::Starts)),
            ("nohup claude -c \\\n  -p hi > /dev/null 2>&1 &", Some(Old::Starts)),
            ("echo again >&2; exit 2", Some(Old::AlwaysTwo)),
            ("exit 2", Some(Old::AlwaysTwo)),
            ("sh -c 'date\nexit 2;'\n\n", Some(Old::AlwaysTwo)),
            ("exit 2\ndate", None),
            ("exit 20", None),
            ("noexit 2", None),
            ("", None),
        ] {
            assert_eq!(in_text(text), found, "{text}");
        }
        // The script may be a later argument, and may have no extension.
        let dir = tempfile::TempDir::new().unwrap();
        for (name, text) in [("first", "#!/bin/sh\nexec \"$@\""), ("stop.sh", "exit 2"), ("notes", "exit 2")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let of = |command: &str| old_kind(&json_hook(command), None, dir.path());
        assert_eq!(of("./first bash stop.sh"), Some(Old::AlwaysTwo));
        assert_eq!((of("./first"), of("cat notes")), (None, None));
    }

    fn json_hook(command: &str) -> Hook {
        let entry = serde_json::json!({"type": "command", "command": command});
        crate::client_settings::hook(Path::new("/s.json"), "Stop", &entry).unwrap()
    }
}
