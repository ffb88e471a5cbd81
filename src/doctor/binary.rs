//! Checks the two programs: whether the running one, the one on the PATH and the registered one belong together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::again;
use super::registered::{Registered, Source, program};
use super::report::{Check, State};
use crate::client_settings::owner::{HOOK_BINARY, Owner, call, owner};
use crate::client_settings::{Hook, same};
use crate::env;
use crate::read;
use crate::text;

const BINARY: &str = "binary";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long the hook binary may take to print its version.
const ANSWERS: Duration = Duration::from_secs(2);

/// Checks this program, the hook binary beside it, and each program that the hooks run.
pub(super) fn checks(registered: &Registered, project: &Path) -> Vec<Check> {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(e) => return vec![Check::note(BINARY, format!("{VERSION}; its path is not known: {e}"))],
    };
    let shown = text::path(&own);
    let mut checks = vec![match env::on_path("frosty") {
        Some(path) if same(&path, &own) => Check::ok(BINARY, format!("{shown}, {VERSION}, the one on the PATH")),
        Some(path) => {
            let found = format!("{shown}, {VERSION}; but frosty on the PATH is {}", text::path(&path));
            Check::note(BINARY, found).cured_by("type -a frosty")
        }
        None => Check::ok(BINARY, format!("{shown}, {VERSION}; none is on the PATH")),
    }];
    let programs: BTreeMap<PathBuf, &(Source, Hook)> = registered.ours().map(|own| (program(&own.1), own)).collect();
    checks.extend(beside(&own));
    checks.extend(old_form(registered, project));
    checks.extend(
        programs.iter().filter_map(|(program, (source, hook))| {
            of(program, &own, project, &again(registered, source, hook, project))
        }),
    );
    checks
}

/// Checks the hook binary beside this program: whether it is missing, or has another version.
fn beside(own: &Path) -> Option<Check> {
    let path = own.with_file_name(HOOK_BINARY);
    let shown = text::path(&path);
    if !path.is_file() {
        let found = format!("no {HOOK_BINARY} beside {}; ./install.sh puts both in place", text::path(own));
        return Some(Check::warn(BINARY, found, cure(own)));
    }
    let told = read::told_by(Command::new(&path).arg("--version"), ANSWERS, 100);
    let told = told.map(|told| String::from_utf8_lossy(&told).into_owned()).unwrap_or_default();
    let version = told.trim().strip_prefix(HOOK_BINARY).map(str::trim);
    (version != Some(VERSION)).then(|| {
        let version = version.map_or_else(|| "without a version".to_owned(), text::line);
        Check::warn(
            BINARY,
            format!("{shown} is {version}, and frosty {VERSION}; ./install.sh puts both in place"),
            cure(own),
        )
    })
}

/// Returns the command that lists both programs. The path of the repository's install.sh is not known.
fn cure(own: &Path) -> String {
    format!("ls -l {}", text::path(own.parent().unwrap_or(own)))
}

/// Finds entries that an earlier version of `frosty install` wrote. They run `frosty hook`, which starts more slowly.
fn old_form(registered: &Registered, project: &Path) -> Option<Check> {
    let is_old =
        |hook: &Hook| owner(hook) == Owner::Installed && call(hook).is_some_and(|call| !call.is_of_hook_binary());
    let (source, hook) = registered.ours().find(|(_, hook)| is_old(hook))?;
    let found = format!("the hooks run {} hook, and {HOOK_BINARY} starts faster", text::path(&program(hook)));
    let cure = again(registered, source, hook, project);
    Some(Check { state: State::Note, ..Check::warn(BINARY, found, cure) })
}

fn of(registered: &Path, own: &Path, project: &Path, again: &str) -> Option<Check> {
    let named = text::path(registered);
    // The shell expands such a name, so the program is not known here.
    if named.contains(['$', '~']) {
        return None;
    }
    let path = if registered.components().count() > 1 {
        project.join(registered)
    } else {
        match env::on_path(&registered.to_string_lossy()) {
            Some(path) => path,
            None => {
                let found = format!("the hooks run {named}, which is not on the PATH");
                return Some(Check::fail(BINARY, found, again));
            }
        }
    };
    if !path.exists() {
        return Some(Check::fail(BINARY, format!("the hooks run {named}, which does not exist"), again));
    }
    if !path.is_file() || rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_err() {
        let found = format!("the hooks run {named}, which is not executable");
        return Some(Check::fail(BINARY, found, format!("chmod +x {named}")));
    }
    let is_own = same(&path, own) || same(&path, &own.with_file_name(HOOK_BINARY));
    (!is_own).then(|| {
        let found = format!("the hooks run another one: {}", text::path(&path));
        let tool = if path.ends_with(HOOK_BINARY) { path.with_file_name("frosty") } else { path };
        Check::note(BINARY, found).cured_by(format!("{} doctor", text::path(&tool)))
    })
}
