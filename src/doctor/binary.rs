//! The program: whether what runs, what is on the PATH and what is registered are one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::again;
use super::registered::{Registered, Source, program};
use super::report::Check;
use crate::config::env;
use crate::settings::{Hook, same};
use crate::text;

const BINARY: &str = "binary";

/// This program, and each that the hooks run.
pub(super) fn checks(registered: &Registered, project: &Path) -> Vec<Check> {
    let version = env!("CARGO_PKG_VERSION");
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(e) => return vec![Check::note(BINARY, format!("{version}; its path is not known: {e}"))],
    };
    let shown = text::path(&own);
    let mut checks = vec![match env::on_path("frosty") {
        Some(path) if same(&path, &own) => Check::ok(BINARY, format!("{shown}, {version}, the one on the PATH")),
        Some(path) => {
            let found = format!("{shown}, {version}; but frosty on the PATH is {}", text::path(&path));
            Check::note(BINARY, found).cured_by("type -a frosty")
        }
        None => Check::ok(BINARY, format!("{shown}, {version}; none is on the PATH")),
    }];
    let programs: BTreeMap<PathBuf, &(Source, Hook)> = registered.ours().map(|own| (program(&own.1), own)).collect();
    checks.extend(
        programs.iter().filter_map(|(program, (source, hook))| {
            of(program, &own, project, &again(registered, source, hook, project))
        }),
    );
    checks
}

fn of(registered: &Path, own: &Path, project: &Path, again: &str) -> Option<Check> {
    let named = text::path(registered);
    // What the shell makes of it is not ours to guess.
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
        return Some(Check::fail(BINARY, format!("the hooks run {named}, which is gone"), again));
    }
    if !path.is_file() || rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_err() {
        let found = format!("the hooks run {named}, which is not executable");
        return Some(Check::fail(BINARY, found, format!("chmod +x {named}")));
    }
    (!same(&path, own)).then(|| {
        let found = format!("the hooks run another one: {}", text::path(&path));
        Check::note(BINARY, found).cured_by(format!("{} doctor", text::path(&path)))
    })
}
