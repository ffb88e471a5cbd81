//! Checks the usage windows: what the store knows of them, since when, and whether anything reports them.

use std::path::Path;

use super::report::{Check, State};
use crate::client_settings;
use crate::config::Config;
use crate::env::Env;
use crate::settings::status_line::{self, StatusLine};
use crate::store::fleet_reader::FleetReader;
use crate::store::windows;
use crate::text;
use crate::view::usage::Usage;

const USAGE: &str = "usage";
const REGISTER: &str = "frosty install --statusline";

/// Returns what is known of the usage windows; `None` where nothing is known, and no pace needs it.
pub(super) fn check(config: &Config, env: &Env, project: &Path) -> Option<Check> {
    let mut reader = FleetReader::open(config);
    let read = reader.fleet_state().and_then(|state| Ok((state, reader.now()?)));
    let (state, now) = match read {
        Ok(read) => read,
        // The check of the state directory reports an error of the files.
        Err(e) => return reader.server().map(|_| Check::of_error(USAGE, State::Warn, &e)),
    };
    let source = reader.server().map_or_else(|| "files on this machine".to_owned(), text::line);
    let usage = Usage::of(config, &state, now);
    let is_paced = config.policy.pace.is_some();
    let has_line = has_status_line(env, project);
    if let Some(until) = state.windows.unknown_until(now) {
        let effect = if is_paced { ", so the pace admits nothing" } else { "" };
        let end = crate::local_time::clock(until, now);
        let found = format!(
            "the windows in {source} could not be read{effect} until {end}, or until a status line reports them"
        );
        let look =
            || windows_file(config).map_or_else(|| "frosty log -n 20".to_owned(), |path| format!("ls -l {path}*"));
        return Some(Check::warn(USAGE, found, if has_line { look() } else { REGISTER.to_owned() }));
    }
    let known = usage.texts(now);
    if known.is_empty() {
        let found = "the pace needs usage windows, and none is known; print mode has no status line that reports them";
        return match has_line {
            _ if !is_paced => None,
            true => Some(Check::note(USAGE, found)),
            false => Some(Check::warn(USAGE, found, REGISTER)),
        };
    }
    let found = format!("{}, in {source}", known.join("; "));
    if !usage.is_stale(now) {
        return Some(Check::ok(USAGE, found));
    }
    let found = format!("{found}; print mode has no status line that reports them");
    Some(if has_line || !is_paced { Check::note(USAGE, found) } else { Check::warn(USAGE, found, REGISTER) })
}

/// Returns the path of this machine's copy, as a word of a command.
fn windows_file(config: &Config) -> Option<String> {
    Some(text::path(&windows::path(&config.state.as_ref()?.join(&config.fleet))))
}

/// Returns whether a settings file of the project registers Frosty's status line.
fn has_status_line(env: &Env, project: &Path) -> bool {
    client_settings::files(env, project).iter().any(|file| {
        let text = client_settings::load(&file.path).ok().flatten();
        let line = text.and_then(|text| status_line::of(&text, &file.path).ok().flatten());
        matches!(line, Some(StatusLine::Frostys(_)))
    })
}
