//! Checks the whole installation for `frosty doctor`. It creates, repairs and writes nothing. Every query to another
//! process has a deadline, and a failed check hides no other.

use std::path::{Path, PathBuf};

mod acl;
mod binary;
mod client;
mod client_engines;
mod config;
mod engines;
mod hooks;
mod network;
mod notice;
mod registered;
pub mod report;
mod server;
mod session;
mod state;
mod store;
mod switches;
mod timeouts;
mod usage;
mod work;
mod zones;

use crate::client_settings::owner::{Engine, Owner, owner};
use crate::client_settings::{Hook, Place, same};
use crate::config::{Flags, layers};
use crate::env::Env;
use crate::text;
use registered::{Registered, Source};
use report::Check;

/// Checks everything for the hooks of this project. `place` overrides the store and the fleet of the configuration.
#[must_use]
pub fn examine(env: &Env, project: &Path, place: &Flags) -> Vec<Check> {
    let registered = Registered::read(env, project);
    let (config, layers) = layers(env, Some(project), &as_registered(&registered, place));
    let engine = registered.engines().first().map(|(_, _, engine)| *engine);

    let mut checks = Vec::new();
    if !project.is_dir() {
        let found = format!("{} is not a directory", text::path(project));
        checks.push(Check::fail("project", found, "frosty doctor --project <a folder>"));
    }
    checks.extend(binary::checks(&registered, project));
    checks.extend(hooks::checks(&registered, &config, env, project));
    checks.extend(switches::checks(&registered));
    checks.extend(timeouts::checks(&registered, config.budget, project));
    checks.extend(client_engines::checks(&registered, env, project));
    checks.push(client::check(needs(&registered)));
    checks.extend(config::checks(env, &layers));
    checks.push(session::armed(&config, env, Some(project), engine));
    checks.push(session::seat(&config, env));
    checks.extend(session::window(env));
    checks.extend(notice::checks(&config, env));
    checks.extend(state::checks(&config));
    checks.extend(store::checks(&config, env));
    checks.push(engines::check(&config));
    checks.extend(engines::measuring(&config));
    checks.extend(usage::check(&config, env, project));
    checks.extend(work::check(&config));
    checks.extend(zones::local());
    checks.extend(zones::check());
    checks
}

/// Returns whether an engine is registered for a project.
#[must_use]
pub fn is_registered(env: &Env, project: &Path) -> bool {
    !Registered::read(env, project).engines().is_empty()
}

/// Returns the flags of the engine that is registered for a project.
#[must_use]
pub fn registered_flags(env: &Env, project: &Path) -> Flags {
    as_registered(&Registered::read(env, project), &Flags::default())
}

/// Returns the flags of the registered engine, overridden by those of this command line.
fn as_registered(registered: &Registered, place: &Flags) -> Flags {
    let engines = registered.engines();
    let flags = engines.iter().find_map(|(_, hook, _)| registered::flags(hook).ok()).unwrap_or_default();
    Flags { store: place.store.clone().or(flags.store), fleet: place.fleet.clone().or(flags.fleet), ..flags }
}

fn needs(registered: &Registered) -> client::Needs {
    let mut needs = client::Needs::default();
    for (_, hook) in registered.ours() {
        needs.rewake |= hook.async_rewake;
        needs.args |= hook.args.is_some();
    }
    needs
}

/// Returns the command that registers a hook anew, where `frosty install` wrote it; else an editor command for its
/// file.
fn again(registered: &Registered, source: &Source, hook: &Hook, project: &Path) -> String {
    let install = match source {
        Source::Plugin(plugin) if !plugin.is_lying() => {
            return format!("claude plugin update {}", text::word(&plugin.id));
        }
        Source::Plugin(_) | Source::Settings(Place::Managed) => return edit(&hook.file),
        Source::Settings(_) if owner(hook) != Owner::Installed => return edit(&hook.file),
        Source::Settings(Place::User) => "frosty install --user".to_owned(),
        Source::Settings(Place::Local) => format!("{} --local", install(project)),
        Source::Settings(Place::Project) => install(project),
    };
    // A single entry shows which engine all entries of a file form.
    let is_stop = |stop: &Hook| stop.file == hook.file && owner(stop) == Owner::Installed;
    let plain = registered.engines().iter().any(|(_, stop, engine)| is_stop(stop) && *engine == Engine::Plain);
    format!("{install}{}", if plain { " --plain" } else { "" })
}

fn install(project: &Path) -> String {
    let is_here = std::env::current_dir().is_ok_and(|here| same(&here, project));
    if is_here { "frosty install".to_owned() } else { format!("frosty install --project {}", text::path(project)) }
}

fn edit(file: &Path) -> String {
    format!("${{EDITOR:-vi}} {}", text::path(file))
}

/// Returns an editor command for the user's own configuration.
fn edit_own(env: &Env) -> String {
    env.user_file().map_or_else(|| "${EDITOR:-vi} ~/.claude/frosty.json".to_owned(), |file| edit(&file))
}

/// Returns the project: the one named, else the client's, else the working directory.
#[must_use]
pub fn project(env: &Env, named: Option<PathBuf>) -> PathBuf {
    let here = || std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    named.or_else(|| env.claude_project_dir.clone()).unwrap_or_else(here)
}
