//! Checks whether the client's version supports what is registered.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::report::Check;
use crate::env;
use crate::read;
use crate::text;

const CLIENT: &str = "client";
/// How long the client may take to print its version.
const ANSWERS: Duration = Duration::from_secs(3);

/// The pinned version of `tests/client/run.sh`, with which all scenarios were tested.
const TESTED: Version = (2, 1, 332);
/// The oldest version that is known to have `asyncRewake` among its hooks' fields. The version that introduced it is
/// not known.
const HAS_REWAKE: Version = (2, 1, 160);
/// The version that introduced hooks without a shell (`"args"`), according to its release notes.
const HAS_ARGS: Version = (2, 1, 139);

type Version = (u32, u32, u32);

/// The registered features that an old client may not support.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Needs {
    /// `asyncRewake`.
    pub(super) rewake: bool,
    /// `args`.
    pub(super) args: bool,
}

/// Checks the client that a shell would start.
pub(super) fn check(needs: Needs) -> Check {
    let Some(path) = env::on_path("claude") else {
        return Check::note(CLIENT, "no claude on the PATH, so its version is not known");
    };
    let shown = text::path(&path);
    match version_of(&path) {
        Some((said, Some(version))) => of(version, &format!("{} at {shown}", text::line(&said)), needs),
        Some((said, None)) => {
            let found = format!("{shown} prints \"{}\", which is not a version", text::line(&said));
            Check::note(CLIENT, found).cured_by("claude --version")
        }
        None => Check::note(CLIENT, format!("{shown} did not print its version within {} s", ANSWERS.as_secs()))
            .cured_by("claude --version"),
    }
}

fn version_of(path: &Path) -> Option<(String, Option<Version>)> {
    let said = read::told_by(Command::new(path).arg("--version"), ANSWERS, 4096)?;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    let version = parse(&said);
    Some((said, version))
}

/// Parses a text such as `2.1.331 (Claude Code)`.
fn parse(said: &str) -> Option<Version> {
    let mut numbers = said.split_whitespace().next()?.splitn(3, '.').map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

fn of(version: Version, who: &str, needs: Needs) -> Check {
    const UPDATE: &str = "claude update";
    let (major, minor, patch) = TESTED;
    let tested = format!("tested with {major}.{minor}.{patch}");
    if needs.args && version < HAS_ARGS {
        let found = format!("{who}: hooks with \"args\" came with 2.1.139, so it calls frosty without its arguments");
        return Check::fail(CLIENT, found, UPDATE);
    }
    if needs.rewake && version < HAS_REWAKE {
        let found = format!(
            "{who}: it may not know asyncRewake (seen from 2.1.160 on, {tested}), and then waits for its Stop hook"
        );
        return Check::warn(CLIENT, found, UPDATE);
    }
    if version < TESTED {
        return Check::note(CLIENT, format!("{who}: older than {major}.{minor}.{patch}, with which Frosty was tested"))
            .cured_by(UPDATE);
    }
    let rewake = if needs.rewake { ", knows asyncRewake" } else { "" };
    Check::ok(CLIENT, format!("{who}{rewake}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::State;

    #[test]
    fn the_pinned_version_is_the_tested_one() {
        let (major, minor, patch) = TESTED;
        let pinned = format!("\nversion={major}.{minor}.{patch} # the pinned version\n");
        assert!(include_str!("../../tests/client/run.sh").contains(&pinned), "not in tests/client/run.sh: {pinned}");
    }

    #[test]
    fn versions() {
        assert_eq!(parse("2.1.331 (Claude Code)"), Some((2, 1, 331)));
        for none in ["", "claude", "2.1", "2.1.x (Claude Code)"] {
            assert_eq!(parse(none), None, "{none}");
        }
        let all = Needs { rewake: true, args: true };
        let none = Needs::default();
        for (version, needs, state) in [
            ((2, 1, 332), all, State::Ok),
            ((3, 0, 0), all, State::Ok),
            ((2, 1, 331), all, State::Note),
            ((2, 1, 159), all, State::Warn),
            ((2, 1, 159), none, State::Note),
            ((2, 1, 138), all, State::Fail),
            ((1, 9, 400), Needs { rewake: true, args: false }, State::Warn),
        ] {
            assert_eq!(of(version, "x", needs).state, state, "{version:?} {needs:?}");
        }
    }
}
